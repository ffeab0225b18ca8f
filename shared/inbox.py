"""Where answers arrive: one subscription a process, one token a question, and heartbeats that keep waiting alive."""

import asyncio
import secrets

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from shared.errors import unavailable

PROBLEM = "Omnipost-Problem"
WORKING = "Omnipost-Working"
UNTIL = "Omnipost-Until"
SILENCE_S = 7.0
# How long after it was sent a request may still be begun: well before its asker gives up.
PATIENCE_S = 5.0


class _Asked:
    """A question waiting for its answer, which fails after ``timeout`` or ``SILENCE_S`` without a heartbeat."""

    __slots__ = ("_deadline", "_loop", "_owner", "_timer", "answer")

    def __init__(self, owner: str, timeout: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._owner, self._deadline = owner, self._loop.time() + timeout
        self.answer: asyncio.Future[Msg] = self._loop.create_future()
        self._timer = self._loop.call_later(min(timeout, SILENCE_S), self._give_up)

    def heard(self) -> None:
        """It is being worked on: wait on."""
        self._timer.cancel()
        self._timer = self._loop.call_at(min(self._deadline, self._loop.time() + SILENCE_S), self._give_up)

    def close(self) -> None:
        """No longer waited for."""
        self._timer.cancel()

    def _give_up(self) -> None:
        if not self.answer.done():
            self.answer.set_exception(unavailable(f"No answer from {self._owner}; try again shortly."))


class Inbox:
    """Matches answers to questions. ``prefix`` is drawn anew for every process, below what its user may hear."""

    def __init__(self, below: str) -> None:
        self.prefix = f"{below}.{secrets.token_hex(8)}"
        self._asked: dict[str, _Asked] = {}

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
        if not client.is_connected:
            # The client would keep it and send it when the server is back, long after the asker has been told no.
            raise unavailable("The message bus is away; try again shortly.")
        token = secrets.token_hex(8)
        asked = self._asked[token] = _Asked(_owner(subject), timeout)
        try:
            await client.publish(subject, body, reply=f"{self.prefix}.{token}", headers=headers)
            return await asked.answer
        except (NatsError, OSError):
            raise unavailable(f"The message bus cannot reach {_owner(subject)}; try again shortly.") from None
        finally:
            asked.close()
            del self._asked[token]

    async def _heard(self, message: Msg) -> None:
        asked = self._asked.get(message.subject.rpartition(".")[2])
        if asked is None or asked.answer.done():
            return
        headers = message.headers or {}
        if headers.get("Status") == "503" and not message.data:
            asked.answer.set_exception(unavailable("A part of the system is not running; try again shortly."))
        elif WORKING in headers:
            asked.heard()
        else:
            asked.answer.set_result(message)


def _owner(subject: str) -> str:
    part = subject.split(".")[1] if "." in subject else subject
    return {"invoke": "the router", "calls": "the call stream"}.get(part, f"the {part} service")
