"""A listener that remembers, and what the tests of streams send."""

import asyncio
import json
from dataclasses import dataclass, field

from services.router.client import ProviderClient
from services.router.domain.sse import ServerEvent
from services.router.providers.base import Failure, HttpAnswer, HttpRequest
from services.router.sending import Delivery, Limits, Streamed

KEY = "sk-stream-canary-0123456789"
AUTH = {"authorization": f"Bearer {KEY}"}
PATH = "/v1/chat"
REQUEST = HttpRequest("POST", "/chat", {"content-type": "application/json"}, b'{"stream":true}')
LIMITS = Limits(connect_s=3, first_byte_s=3, total_s=10, silence_s=3)
DONE = b"data: [DONE]\n\n"


def event(text: str) -> bytes:
    """An event that says ``text``."""
    return f"data: {json.dumps({'text': text}, ensure_ascii=False)}\n\n".encode()


@dataclass
class Ear:
    """Starts with the first text, is over with ``[DONE]``. ``door``: what has to be open before an event is taken."""

    texts: list[str] = field(default_factory=list)
    raw: list[ServerEvent] = field(default_factory=list)
    is_over: bool = False
    door: asyncio.Event | None = None
    knocked: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def started(self) -> bool:
        return bool(self.texts)

    async def hear(self, heard: ServerEvent) -> None:
        self.raw.append(heard)
        self.knocked.set()
        if self.door is not None:
            await self.door.wait()
        if heard.data == "[DONE]":
            self.is_over = True
        elif text := json.loads(heard.data).get("text"):
            self.texts.append(text)


async def listen(
    client: ProviderClient, base_url: str, ear: Ear, limits: Limits = LIMITS
) -> Delivery[Streamed | HttpAnswer | Failure]:
    delivery = await client.stream(base_url + "/v1", REQUEST, AUTH, limits, ear)
    assert KEY not in repr(delivery)
    return delivery
