"""Every NATS user on every subject: exactly the matrix that the messages spell out."""

import asyncio

import nats
import pytest
from nats.aio.client import Client

from shared.messages import ALL
from shared.messages.base import Service
from shared.permissions import Permissions, inbox_prefix, permissions_of
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

    async def failed(self, error: Exception) -> None:
        self.denied.append(str(error).lower())

    async def connect(self, stack: Stack, service: Service) -> Client:
        seed = (stack.home / "secrets" / f"nkey-{service}.seed").read_text().strip()
        return await nats.connect(
            stack.nats_url, nkeys_seed_str=seed, inbox_prefix=inbox_prefix(service), error_cb=self.failed
        )


@pytest.mark.parametrize("service", list(Service))
async def test_users_may_do_exactly_what_the_matrix_says(stack: Stack, service: Service) -> None:
    user, row = _User(), permissions_of(service)
    client = await user.connect(stack, service)
    try:
        for subject in SUBJECTS:
            await client.publish(subject, b"")
            # In a queue group of its own, so that the stack loses no request to this listener.
            listening = await client.subscribe(subject, queue="isolation-test") if not _mine(row, subject) else None
            await client.flush()
            if listening:
                await listening.unsubscribe()
        await asyncio.sleep(0)
        denied = "\n".join(user.denied)
        for subject in SUBJECTS:
            may_publish = any(_matches(pattern, subject) for pattern in row.publish)
            assert (f'publish to "{subject.lower()}"' in denied) != may_publish, f"publish {subject}"
            if not _mine(row, subject):
                assert f'subscription to "{subject.lower()}"' in denied, f"subscribe {subject}"
        print(f"{service}: {len(SUBJECTS)} subjects, {len(user.denied)} denials")
    finally:
        await client.close()


def _mine(row: Permissions, subject: str) -> bool:
    return any(_matches(pattern, subject) for pattern in row.subscribe)


async def test_nobody_comes_in_without_a_key(stack: Stack) -> None:
    with pytest.raises(nats.errors.Error):
        await nats.connect(stack.nats_url, allow_reconnect=False, max_reconnect_attempts=0)
