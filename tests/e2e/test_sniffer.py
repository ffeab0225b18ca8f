"""Who hears everything on the bus that any service may hear still cannot read a key there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import nats
import pydantic
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from nats.aio.client import Client
from nats.aio.msg import Msg

from services.router.keys import Leases, Wanted
from shared import sealing
from shared.bus import Bus
from shared.clock import SystemClock
from shared.errors import Code, OmniError
from shared.messages import ALL
from shared.messages.base import Request, Service
from shared.messages.vault import CreateKeyV1, LeaseKeyV1, LeaseV1, UpdateKeyV1
from shared.messages.vocabulary import Modality
from shared.permissions import inbox_prefix, permissions_of
from shared.testing.stack import Stack
from shared.testing.upstream import Upstream
from tests.e2e.canaries import Search, draw
from tests.e2e.world import CHAT, World, accept_keys, chat_answer, ok

KEYS = 20
# The vault's user is more than a sniffer is supposed to have: it hears the sealed keys on their way in.
TAPPED = (Service.API, Service.ROUTER, Service.METERING, Service.VAULT)


@dataclass
class Sniffer:
    """Every message heard so far, by the NATS user that heard it; and what it was not allowed to hear."""

    heard: list[tuple[Service, Msg]] = field(default_factory=list)
    denied: int = 0

    def parsed(self, kind: type[Any], service: Service) -> list[Any]:
        """The messages of one contract among those heard by ``service``."""
        found = []
        for user, message in self.heard:
            if user is service:
                try:
                    found.append(kind.model_validate_json(message.data))
                except pydantic.ValidationError:
                    continue
        return found


@asynccontextmanager
async def sniffing(stack: Stack) -> AsyncIterator[Sniffer]:
    """Connections with every service's credentials, subscribed to all there is."""
    sniffer, clients = Sniffer(), []
    everything = {">", "*.>", "ai.>", "$JS.>", "$SYS.>", *(message.pattern() for message in ALL)}
    everything |= {f"{inbox_prefix(service)}.>" for service in Service}

    async def denied(_: Exception) -> None:
        sniffer.denied += 1

    for service in TAPPED:

        async def hear(message: Msg, service: Service = service) -> None:
            sniffer.heard.append((service, message))

        client = await nats.connect(stack.nats_url, nkeys_seed_str=_seed(stack, service), error_cb=denied)
        clients.append(client)
        for subject in sorted(everything | set(permissions_of(service).subscribe)):
            await client.subscribe(subject, cb=hear)
        await client.flush()
    try:
        yield sniffer
    finally:
        for client in clients:
            # What the server has sent by now is heard to the end.
            await client.drain()


async def test_a_sniffer_cannot_read_a_key(world: World, stack: Stack) -> None:
    canaries = draw(2 * KEYS, seed=11)
    async with sniffing(stack) as sniffer, Upstream() as upstream:
        accept_keys(upstream)
        upstream.always("POST", CHAT, chat_answer())
        provider = await world.provider(upstream)
        for number in range(KEYS):
            await _life(world, provider, canaries[number], canaries[KEYS + number])
        sent = {request.headers["authorization"].removeprefix("Bearer ") for request in upstream.requests}
    search = Search(canaries)
    found = [hit for user, message in sniffer.heard for hit in search.look(user, _all_of(message))]
    leases: list[LeaseV1] = sniffer.parsed(LeaseV1, Service.ROUTER)
    asked: list[LeaseKeyV1] = sniffer.parsed(LeaseKeyV1, Service.VAULT)
    created: list[CreateKeyV1] = sniffer.parsed(CreateKeyV1, Service.VAULT)
    entered: list[CreateKeyV1 | UpdateKeyV1] = [*created, *_replacing(sniffer)]
    providers = {item.key_id: item.provider for item in created}
    vault = sealing.VaultPublic.parse((stack.home / "secrets" / "vault-public").read_text().strip())
    tries = [_opens_lease(lease, asked) for lease in leases]
    tries += [_opens_entry(item, providers, vault, asked) for item in entered]
    replayed = [await _replays(lease, vault) for lease in leases]
    opened = sum(count for count, _ in tries)
    print(
        f"sniffer: messages={len(sniffer.heard)} denied={sniffer.denied} bytes={search.bytes} found={len(found)} "
        f"leases={len(leases)} entered={len(entered)} tries={sum(count for _, count in tries)} "
        f"replays={2 * len(replayed)} opened={opened + sum(replayed)}"
    )
    assert not found
    assert (opened, sum(replayed)) == (0, 0)
    assert sent == set(canaries), "every key was used"
    assert min(len(leases), len(asked), len(entered)) >= 2 * KEYS
    assert sniffer.denied > 50


async def test_the_process_that_asked_can_read_it(world: World, stack: Stack) -> None:
    """Otherwise nothing above could fail."""
    [canary] = draw(1, seed=12)
    vault = sealing.VaultPublic.parse((stack.home / "secrets" / "vault-public").read_text().strip())
    prefix = inbox_prefix(Service.ROUTER)
    client = await nats.connect(
        stack.nats_url, nkeys_seed_str=_seed(stack, Service.ROUTER), inbox_prefix=prefix.encode()
    )
    mine = Leases(cast("Bus", _Direct(client)), SystemClock(), vault, "a-router")
    async with sniffing(stack) as sniffer, Upstream() as upstream:
        accept_keys(upstream)
        workspace = await world.workspace()
        key = await world.key(workspace, await world.provider(upstream), api_key=canary)
        [[host]] = await stack.query("SELECT host FROM vault.ai_provider_keys WHERE id = %s", key["id"])
        wanted = Wanted(workspace, key["id"], 1, host, Modality.TEXT)
        assert await mine.key(wanted) == canary.encode()
    await client.close()
    [lease] = [one for one in sniffer.parsed(LeaseV1, Service.ROUTER) if one.router_id == "a-router"]
    other = Leases(cast("Bus", _Replay(lease)), SystemClock(), vault, "a-router")
    assert await _refused(other, wanted) is Code.UNAVAILABLE
    other._private = mine._private  # what is in the memory of the process that asked
    assert await other.key(wanted) == canary.encode()


async def _life(world: World, provider: str, secret: str, second: str) -> None:
    """A key is stored, verified, leased and used, replaced, used again, and revoked."""
    workspace = await world.workspace()
    key = await world.key(workspace, provider, api_key=secret)
    alias = await world.alias(workspace, provider)
    ok(await world.invoke(workspace, alias))
    ok(await world.admin.post(f"/ai-keys/{key['id']}/verify"))
    ok(await world.admin.put(f"/ai-keys/{key['id']}", api_key=second))
    ok(await world.invoke(workspace, alias))
    assert (await world.admin.delete(f"/ai-keys/{key['id']}")).status_code == 204


def _opens_lease(lease: LeaseV1, asked: list[LeaseKeyV1]) -> tuple[int, int]:
    """How often it opens, of how many tries: with new keys, and with the public keys heard used as private ones."""
    info = sealing.lease_info(**lease.model_dump(exclude={"sealed", "signature"}))
    return _opens(lease.sealed, info, [sealing.decode(key) for key in {request.public_key for request in asked}])


def _opens_entry(
    item: CreateKeyV1 | UpdateKeyV1, providers: dict[str, str], vault: sealing.VaultPublic, asked: list[LeaseKeyV1]
) -> tuple[int, int]:
    host = str(item.host)
    info = sealing.key_info(
        workspace_id=item.workspace_id, key_id=item.key_id, provider=providers[item.key_id], host=host
    )
    public = [vault.sealing.public_bytes_raw(), *(sealing.decode(request.public_key) for request in asked[:3])]
    return _opens(str(item.sealed), info, public)


def _opens(sealed: str, info: bytes, heard: list[bytes]) -> tuple[int, int]:
    readers = [X25519PrivateKey.generate(), *map(X25519PrivateKey.from_private_bytes, heard)]
    opened = 0
    for reader in readers:
        try:
            sealing.unseal(sealing.decode(sealed), reader, info)
        except sealing.CannotOpen:
            continue
        opened += 1
    return opened, len(readers)


class _Direct:
    """A router process that asks over a connection of its own."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def request(self, message: Request, reply: type[LeaseV1], **_: object) -> LeaseV1:
        answer = await self._client.request(message.subject, message.model_dump_json().encode(), timeout=5)
        assert "Omnipost-Problem" not in (answer.headers or {}), answer.data
        return reply.model_validate_json(answer.data)


class _Replay:
    """A bus on which somebody answers every request with what was heard before."""

    def __init__(self, answer: LeaseV1) -> None:
        self._answer = answer

    async def request(self, *_: object, **__: object) -> LeaseV1:
        return self._answer


async def _replays(lease: LeaseV1, vault: sealing.VaultPublic) -> int:
    """How many other router processes take the lease for theirs: one of another name, one of the same."""
    wanted = Wanted(lease.workspace_id, lease.key_id, lease.version, lease.host, Modality.TEXT)
    taken = 0
    for name in ("another-router", lease.router_id):
        process = Leases(cast("Bus", _Replay(lease)), SystemClock(), vault, name)
        taken += await _refused(process, wanted) is not Code.UNAVAILABLE
    return taken


async def _refused(process: Leases, wanted: Wanted) -> Code | None:
    try:
        await process.key(wanted)
    except OmniError as error:
        return error.code
    return None


def _replacing(sniffer: Sniffer) -> list[UpdateKeyV1]:
    return [item for item in sniffer.parsed(UpdateKeyV1, Service.VAULT) if item.sealed]


def _all_of(message: Msg) -> bytes:
    return f"{message.subject} {message.reply} {message.headers}\n".encode() + message.data


def _seed(stack: Stack, service: Service) -> str:
    return (stack.home / "secrets" / f"nkey-{service}.seed").read_text().strip()
