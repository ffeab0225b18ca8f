"""Where answers arrive: one subscription a process, one token a question, and heartbeats that keep waiting alive."""

import asyncio
import secrets
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from shared.errors import OmniError, unavailable
from shared.streams import STREAM

PROBLEM = "Omnipost-Problem"
WORKING = "Omnipost-Working"
UNTIL = "Omnipost-Until"
SILENCE_S = 7.0
# How long after it was sent a request may still be begun: well before its asker gives up.
PATIENCE_S = 5.0


class Asked(ABC):
    """A question waiting for its answer, which fails after ``timeout`` or ``SILENCE_S`` without a sign of life.

    ``subject``: where it was asked.
    """

    def __init__(self, owner: str, timeout: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.subject = ""
        self._owner, self._deadline = owner, self._loop.time() + timeout
        self._timer = self._loop.call_later(min(timeout, SILENCE_S), self._give_up)

    @abstractmethod
    def take(self, message: Msg, headers: dict[str, str]) -> None:
        """What has arrived for this question, heartbeats excepted."""

    @abstractmethod
    def fail(self, error: OmniError) -> None:
        """There will be no answer."""

    def heard(self) -> None:
        """It is being worked on: wait on."""
        self._timer.cancel()
        self._timer = self._loop.call_at(min(self._deadline, self._loop.time() + SILENCE_S), self._give_up)

    def close(self) -> None:
        """No longer waited for."""
        self._timer.cancel()

    def _give_up(self) -> None:
        self.fail(unavailable(f"No answer from {self._owner}; try again shortly.", carried_out="unknown"))


class _Question(Asked):
    """A question with one answer."""

    def __init__(self, owner: str, timeout: float) -> None:
        super().__init__(owner, timeout)
        self.answer: asyncio.Future[Msg] = self._loop.create_future()

    def take(self, message: Msg, headers: dict[str, str]) -> None:  # noqa: ARG002 - the asker reads them itself
        if not self.answer.done():
            self.answer.set_result(message)

    def fail(self, error: OmniError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class Inbox:
    """Matches answers to questions. ``prefix`` is drawn anew for every process, below what its user may hear.

    ``on_stray`` is told the address of a stream that begins although nobody waits for it any more.
    """

    def __init__(self, below: str, on_stray: Callable[[str], Awaitable[None]]) -> None:
        self.prefix = f"{below}.{secrets.token_hex(8)}"
        self._on_stray = on_stray
        self._asked: dict[str, Asked] = {}

    async def open(self, client: Client) -> None:
        """Start listening for answers."""
        await client.subscribe(f"{self.prefix}.*", cb=self._heard)

    async def ask(
        self,
        client: Client,
        subject: str,
        body: bytes,
        headers: dict[str, str],
        timeout: float,  # noqa: ASYNC109
    ) -> Msg:
        """Send raw bytes and wait for the final answer, at most ``timeout`` seconds.

        Raises OmniError ``unavailable``: nobody serves the subject, silence for ``SILENCE_S``, or time is up. Whether
        the request was carried out is then unknown.
        """
        question = _Question(owner_of(subject), timeout)
        token = await self.begin(client, subject, body, headers, question)
        try:
            return await question.answer
        finally:
            self.end(token)

    async def begin(self, client: Client, subject: str, body: bytes, headers: dict[str, str], asked: Asked) -> str:
        """Send raw bytes; what comes back goes to ``asked`` until ``end``, which is given this token.

        Raises OmniError ``unavailable`` when it cannot be sent; then there is nothing to end.
        """
        if not client.is_connected:
            asked.close()
            # The client would keep it and send it when the server is back, long after the asker has been told no.
            raise unavailable("The message bus is away; try again shortly.")
        token = secrets.token_hex(8)
        self._asked[token], asked.subject = asked, subject
        try:
            await client.publish(subject, body, reply=f"{self.prefix}.{token}", headers=headers)
        except (NatsError, OSError):
            self.end(token)
            raise unavailable(f"The message bus cannot reach {owner_of(subject)}; try again shortly.") from None
        except BaseException:
            self.end(token)
            raise
        return token

    def end(self, token: str) -> None:
        """Nobody waits for it any more."""
        self._asked.pop(token).close()

    def refuse(self, subject: str, error: OmniError) -> None:
        """Nothing that is asked at ``subject`` gets there: tell whoever waits for an answer."""
        for asked in list(self._asked.values()):
            if asked.subject == subject:
                asked.fail(error)

    async def _heard(self, message: Msg) -> None:
        headers = message.headers or {}
        asked = self._asked.get(message.subject.rpartition(".")[2])
        if asked is None:
            if STREAM in headers:
                await self._on_stray(headers[STREAM])
        elif headers.get("Status") == "503" and not message.data:
            asked.fail(unavailable("A part of the system is not running; try again shortly."))
        elif WORKING in headers:
            asked.heard()
        else:
            asked.take(message, headers)


def owner_of(subject: str) -> str:
    """Who answers at ``subject``, in words for people."""
    part = subject.split(".")[1] if "." in subject else subject
    return {"invoke": "the router", "calls": "the call stream"}.get(part, f"the {part} service")
