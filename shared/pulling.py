"""Asking JetStream for the next messages of a consumer, many at once.

Why not nats-py's own ``fetch``: it waits for each message by itself, with a timer and a task of its own, and costs more
than everything else on a message's way through a service.
"""

import asyncio
import json

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

# No messages; the time is up; as many unacknowledged as may be, or the consumer has gone, which the next probe finds.
ENDS = ("404", "408", "409")


class Pull:
    """A place for messages to arrive at. Asks for them where ``subject`` says; one ``fetch`` at a time."""

    def __init__(self, client: Client, subject: str) -> None:
        self._client, self._subject = client, subject
        self._inbox = client.new_inbox()
        self._subscription: Subscription | None = None
        self._arrived: list[Msg] = []
        self._wanted = 0
        self._end: str | None = None
        self._enough = asyncio.Event()

    async def open(self) -> None:
        """Begin to listen."""
        self._subscription = await self._client.subscribe(self._inbox, cb=self._heard)

    async def close(self) -> None:
        """Listen no more. Raises NatsError."""
        if self._subscription is not None:
            await self._subscription.unsubscribe()

    async def fetch(self, batch: int, timeout_s: float) -> list[Msg]:
        """Up to ``batch`` of what is there; when nothing is, the next message within ``timeout_s`` seconds, if any.

        Raises NatsError when nobody answers for the consumer, and TimeoutError when nothing is said at all.
        """
        messages = await self._ask({"batch": batch, "no_wait": True}, batch, timeout_s)
        if messages:
            return messages
        return await self._ask({"batch": 1, "expires": int(timeout_s * 1e9)}, 1, timeout_s + 1)

    async def _ask(self, question: dict[str, object], wanted: int, timeout_s: float) -> list[Msg]:
        self._wanted, self._end = wanted, None
        self._enough.clear()
        if not self._arrived:
            await self._client.publish(self._subject, json.dumps(question).encode(), self._inbox)
            try:
                async with asyncio.timeout(timeout_s):
                    await self._enough.wait()
            except TimeoutError:
                if not self._arrived:
                    raise
        # What comes when nobody waits for it any more is kept for the next one who asks.
        messages, self._arrived = self._arrived[:wanted], self._arrived[wanted:]
        if not messages and self._end not in ENDS:
            raise NatsError(f"the stream cannot be read: status {self._end}")
        return messages

    async def _heard(self, message: Msg) -> None:
        status = (message.headers or {}).get("Status") if not message.data else None
        if status is None:
            self._arrived.append(message)
        elif status != "100":
            self._end = status
        if self._end is not None or len(self._arrived) >= self._wanted:
            self._enough.set()
