"""Every NATS user on every subject: exactly the matrix that the messages spell out. And nobody else comes in."""

import asyncio
import base64
import json
import secrets
from contextlib import suppress

import nats
import nkeys
import pytest
from nats.aio.client import Client

from deploy.streams import declared
from shared.messages import ALL, custody
from shared.messages.base import Message, Service
from shared.permissions import inbox_prefix, permissions_of
from shared.testing.stack import Stack

_STREAMS = [item.name for item in declared()]
_DURABLES = ["spy", *(str(item.consumer.durable_name) for item in declared() if item.consumer)]
_API = (
    "INFO", "ACCOUNT.PURGE.X", "STREAM.NAMES", "STREAM.LIST", "STREAM.CREATE.OTHER", "STREAM.CREATE.KV_spy",
    "META.LEADER.STEPDOWN",
    *(f"{verb}.{name}" for name in _STREAMS for verb in (
        "STREAM.CREATE", "STREAM.UPDATE", "STREAM.INFO", "STREAM.DELETE", "STREAM.PURGE", "STREAM.SNAPSHOT",
        "STREAM.RESTORE", "STREAM.MSG.GET", "STREAM.MSG.DELETE", "STREAM.PEER.REMOVE", "STREAM.LEADER.STEPDOWN",
        "DIRECT.GET", "CONSUMER.NAMES", "CONSUMER.LIST", "CONSUMER.CREATE",
    )),
    *(f"{verb}.{name}.{durable}" for name in _STREAMS for durable in _DURABLES for verb in (
        "CONSUMER.CREATE", "CONSUMER.DURABLE.CREATE", "CONSUMER.INFO", "CONSUMER.DELETE", "CONSUMER.MSG.NEXT",
        "CONSUMER.PAUSE", "CONSUMER.RESET", "CONSUMER.UNPIN", "CONSUMER.LEADER.STEPDOWN",
    )),
    *(f"{verb}.ai.calls.finished.v1" for name in _STREAMS for verb in (
        f"DIRECT.GET.{name}", *(f"CONSUMER.CREATE.{name}.{durable}" for durable in _DURABLES),
    )),
)  # fmt: skip
_ACKS = {
    f"$JS.ACK.{before}{name}.{durable}.1.2.3.4.5"
    for before in ("", "_.hash.")
    for name in _STREAMS
    for durable in _DURABLES
}
SUBJECTS = sorted(
    {message.pattern().replace("*", "7") for message in ALL}
    | {f"{inbox_prefix(service)}.{rest}" for service in Service for rest in ("x", "x.y")}
    | {f"$JS.API.{subject}" for subject in _API}
    | _ACKS
    | {"$JS.FC.x.y", "$JS.EVENT.ADVISORY.API", "$KV.spy.x", "$O.spy.C.x"}
    | {
        "$SYS.X",
        "$SYS.REQ.SERVER.PING",
        "$SYS.REQ.USER.INFO",
        "$SRV.PING",
        "_INBOX.x",
        "_INBOX_x.y",
        "_R_.x",
        "ai.other",
        "ai.invoke.7.x",
    }
)
# To subscribe to more than one is allowed is to be refused, not to get what is allowed.
WILDCARDS = sorted(
    {">", "*", "*.>", "ai.>", "ai.*.>", "ai.*.lease.v1", "*.vault.lease.v1", "ai.vault.*.v1", "ai.vault.keys.*.v1"}
    | {"ai.invoke.>", "ai.metering.>", "ai.router.>", "ai.vault.>", "ai.calls.>", "$JS.>", "$JS.API.>", "$JS.ACK.>"}
    | {"$SYS.>", "$KV.>", "_INBOX.>", "_INBOX_router.*", "*.*", "*.*.*", "ai.vault.lease.*"}
    | {f"{inbox_prefix(service)}.>" for service in Service}
    | {message.pattern() for message in ALL}
)


def _matches(pattern: str, subject: str) -> bool:
    """Whether ``pattern`` allows ``subject``, which may have wildcards itself.

    The server takes the ``>`` of ``ai.invoke.>`` for one more word, so ``ai.invoke.*`` allows it; nobody may say
    anything below that.
    """
    parts, names = pattern.split("."), subject.split(".")
    for place, part in enumerate(parts):
        if part == ">":
            return len(names) > place
        if place >= len(names) or part not in ("*", names[place]):
            return False
    return len(parts) == len(names)


def _any(patterns: tuple[str, ...], subject: str) -> bool:
    return any(_matches(pattern, subject) for pattern in patterns)


class _User:
    """One service's NATS user, and the permission violations the server has reported to it."""

    def __init__(self) -> None:
        self.denied: list[str] = []
        self._heard = asyncio.Event()

    async def failed(self, error: Exception) -> None:
        self.denied.append(str(error).lower())
        self._heard.set()

    async def connect(self, stack: Stack, service: Service) -> Client:
        return await nats.connect(
            stack.nats_url,
            nkeys_seed_str=_seed(stack, service),
            inbox_prefix=inbox_prefix(service),
            error_cb=self.failed,
        )

    async def denials(self, count: int) -> str:
        """Everything denied so far, once ``count`` denials have been heard or five seconds are over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                while len(self.denied) < count:
                    self._heard.clear()
                    await self._heard.wait()
        return "\n".join(self.denied)


@pytest.mark.parametrize("service", list(Service))
async def test_users_may_do_exactly_what_the_matrix_says(stack: Stack, service: Service) -> None:
    user, row = _User(), permissions_of(service)
    heard = sorted({*SUBJECTS, *WILDCARDS})
    unheard = [subject for subject in heard if not _any(row.subscribe, subject)]
    unsaid = [subject for subject in SUBJECTS if not _any(row.publish, subject)]
    client = await user.connect(stack, service)
    try:
        for subject in SUBJECTS:
            await client.publish(subject, b"")
        for subject in heard:
            # Beside the queue group of the service and not in it, so that the stack loses no request to this listener.
            await client.subscribe(subject)
        for subject in unheard:
            await client.subscribe(subject, queue=Service.VAULT)
        await client.flush()
        denied = await user.denials(len(unsaid) + 2 * len(unheard))
        assert not [subject for subject in unsaid if f'publish to "{subject.lower()}"' not in denied]
        for ending in ("", ' using queue "vault"'):
            assert not [name for name in unheard if f'subscription to "{name.lower()}"{ending}' not in denied]
        assert len(user.denied) == len(unsaid) + 2 * len(unheard), "nothing that is allowed was denied"
        print(
            f"{service}: publish {len(SUBJECTS) - len(unsaid)} of {len(SUBJECTS)} subjects, "
            f"subscribe {len(heard) - len(unheard)} of {len(heard)}, denials={len(user.denied)}, others=0"
        )
    finally:
        await client.close()


def test_the_matrix_holds_every_message() -> None:
    published = {message.pattern().replace("*", "7") for message in ALL}
    own = [item for item in vars(custody).values() if isinstance(item, type) and issubclass(item, Message)]
    named = {item.pattern() for item in own if hasattr(item, "subject")}
    assert len(named) >= 6
    assert named <= published <= set(SUBJECTS)
    for item in own:
        if hasattr(item, "subject"):
            hearing = [service for service in Service if _any(permissions_of(service).subscribe, item.pattern())]
            assert hearing == [Service.VAULT], item


async def _answer(stack: Stack, connect: dict[str, object] | None, then: bytes = b"") -> bytes:
    """The first line the server says to a CONNECT with these options (its nonce is signed by ``seed``) and ``then``."""
    host, _, port = stack.nats_url.removeprefix("nats://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        info = json.loads((await reader.readline()).removeprefix(b"INFO "))
        options: dict[str, object] = {"verbose": False, "pedantic": False, **(connect or {})}
        seed = options.pop("seed", None)
        if isinstance(seed, str):
            signed = nkeys.from_seed(seed.encode()).sign(info["nonce"].encode())
            options["sig"] = base64.urlsafe_b64encode(signed).rstrip(b"=").decode()
        hello = b"" if connect is None else b"CONNECT " + json.dumps(options).encode() + b"\r\n"
        writer.write(hello + then + b"PING\r\n")
        return await asyncio.wait_for(reader.readline(), 5)
    finally:
        writer.close()
        await writer.wait_closed()


async def test_nobody_comes_in_without_a_key_of_a_service(stack: Stack) -> None:
    mine = nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER).decode()
    theirs = _seed(stack, Service.VAULT)
    tries: dict[str, dict[str, object] | None] = {
        "nothing": {},
        "no CONNECT": None,
        "a foreign key": {"nkey": _public(mine), "seed": mine},
        "a service's name without a signature": {"nkey": _public(theirs)},
        "a service's name, signed by another": {"nkey": _public(theirs), "seed": mine},
        "a service's name, signed by another service": {"nkey": _public(theirs), "seed": _seed(stack, Service.API)},
        "a signature of something else": {"nkey": _public(theirs), "sig": base64.b64encode(b"x" * 64).decode()},
        "a user and a password": {"user": "vault", "pass": "vault"},
        "a seed as a password": {"user": _public(theirs), "pass": theirs},
        "a token": {"auth_token": theirs},
    }
    for name, options in tries.items():
        said = (await _answer(stack, options)).lower()
        assert b"authorization violation" in said, (name, said)
    assert await _answer(stack, {"nkey": _public(theirs), "seed": theirs}) == b"PONG\r\n"
    print(f"connections tried={len(tries)} refused={len(tries)}; with a service's key: accepted")


async def test_an_asterisk_within_a_name_is_no_way_around(stack: Stack) -> None:
    for service in Service:
        seed = _seed(stack, service)
        for subject in (b"_INBOX_*.>", b"_INBOX*.>", b"_INBOX_*", b"a*.vault.>", b"_INBOX_vaul*.*"):
            said = await _answer(stack, {"nkey": _public(seed), "seed": seed}, b"SUB " + subject + b" 1\r\n")
            assert b"permissions violation" in said.lower(), (service, subject, said)


def _seed(stack: Stack, service: Service) -> str:
    return (stack.home / "secrets" / f"nkey-{service}.seed").read_text().strip()


def _public(seed: str) -> str:
    public: bytes = nkeys.from_seed(seed.encode()).public_key
    return public.decode()
