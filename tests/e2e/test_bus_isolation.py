"""Every NATS user on every subject: exactly the matrix that the messages spell out."""

import asyncio

import nats
import pytest
from nats.aio.client import Client

from shared.messages import ALL
from shared.messages.base import Service
from shared.permissions import inbox_prefix, permissions_of
from shared.testing.stack import Stack

SUBJECTS = sorted(
    {message.pattern().replace("*", "7") for message in ALL}
    | {f"{inbox_prefix(service)}.x" for service in Service}
    | {
        "ai.other",
        "$JS.API.STREAM.DELETE.CALLS",
        "$JS.API.STREAM.PURGE.CALLS",
        "$JS.API.STREAM.MSG.GET.CALLS",
        "$SYS.X",
    }
)


def _matches(pattern: str, subject: str) -> bool:
    parts, names = pattern.split("."), subject.split(".")
    for place, part in enumerate(parts):
        if part == ">":
            return len(names) > place
        if place >= len(names) or part not in ("*", names[place]):
            return False
    return len(parts) == len(names)


class _User:
    """One service's NATS user, and the permission violations the server has reported to it."""

    def __init__(self) -> None:
        self.denied: list[str] = []
        self._heard = asyncio.Event()

    async def failed(self, error: Exception) -> None:
        self.denied.append(str(error).lower())
        self._heard.set()

    async def connect(self, stack: Stack, service: Service) -> Client:
        seed = (stack.home / "secrets" / f"nkey-{service}.seed").read_text().strip()
        return await nats.connect(
            stack.nats_url, nkeys_seed_str=seed, inbox_prefix=inbox_prefix(service), error_cb=self.failed
        )

    async def denials(self, count: int) -> str:
        """Everything denied so far, once ``count`` denials have been heard."""
        async with asyncio.timeout(5):
            while len(self.denied) < count:
                self._heard.clear()
                await self._heard.wait()
        return "\n".join(self.denied)


@pytest.mark.parametrize("service", list(Service))
async def test_users_may_do_exactly_what_the_matrix_says(stack: Stack, service: Service) -> None:
    user, row = _User(), permissions_of(service)
    unheard = [subject for subject in SUBJECTS if not _any(row.subscribe, subject)]
    unsaid = [subject for subject in SUBJECTS if not _any(row.publish, subject)]
    client = await user.connect(stack, service)
    try:
        for subject in SUBJECTS:
            await client.publish(subject, b"")
        for subject in unheard:
            # What it may hear it is not made to hear here: the stack would lose requests to this listener.
            await client.subscribe(subject)
        await client.flush()
        denied = await user.denials(len(unheard) + len(unsaid))
        assert not [subject for subject in unsaid if f'publish to "{subject.lower()}"' not in denied]
        assert not [subject for subject in unheard if f'subscription to "{subject.lower()}"' not in denied]
        assert len(user.denied) == len(unheard) + len(unsaid), "nothing that is allowed was denied"
        print(f"{service}: {len(SUBJECTS)} subjects, {len(user.denied)} denials")
    finally:
        await client.close()


def _any(patterns: tuple[str, ...], subject: str) -> bool:
    return any(_matches(pattern, subject) for pattern in patterns)


async def test_nobody_comes_in_without_a_key(stack: Stack) -> None:
    host, _, port = stack.nats_url.removeprefix("nats://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    assert (await reader.readline()).startswith(b"INFO ")
    writer.write(b'CONNECT {"verbose":false,"pedantic":false}\r\nPING\r\n')
    assert b"authorization violation" in (await reader.readline()).lower()
    writer.close()
    await writer.wait_closed()
