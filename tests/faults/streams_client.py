"""A client of streamed calls that can leave after any byte."""

import asyncio
import json
import socket
import struct
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import httptools

from tests.faults.streams_plans import Plan

Events = list[tuple[str, dict[str, Any]]]


@dataclass
class Heard:
    """What came of one call.

    Attributes:
        ended: the HTTP answer came to its proper end.
        left: monotonic seconds at which the client left; None: it stayed.
        took_s: seconds from sending to the end or the leaving.
        hung: nothing had ended it in time.
    """

    status: int | None = None
    body: bytes = field(default=b"", repr=False)
    ended: bool = False
    left: float | None = None
    took_s: float = 0.0
    hung: bool = False

    @property
    def events(self) -> Events:
        """The complete events of a stream; comments left out."""
        blocks = self.body.decode(errors="replace").split("\n\n")[:-1]
        found = [block.partition("\ndata: ") for block in blocks if not block.startswith(":")]
        return [(name.removeprefix("event: "), json.loads(data)) for name, _, data in found]

    @property
    def text(self) -> str:
        """The pieces, joined."""
        return "".join(data.get("text", "") for name, data in self.events if name == "delta")


class _Reading:
    """Takes an HTTP answer apart (callbacks of httptools)."""

    def __init__(self, heard: Heard) -> None:
        self._heard, self._pieces = heard, bytearray()
        self.parser = httptools.HttpResponseParser(self)

    def on_headers_complete(self) -> None:
        self._heard.status = self.parser.get_status_code()

    def on_body(self, piece: bytes) -> None:
        self._pieces += piece
        self._heard.body = bytes(self._pieces)

    def on_message_complete(self) -> None:
        self._heard.ended = True


@dataclass(frozen=True)
class Client:
    """Calls the edge at ``base_url``. ``limit_s``: the longest a call may take."""

    base_url: str
    token: str
    limit_s: float

    async def call(self, plan: Plan, body: dict[str, Any], trace_id: str) -> Heard:
        """Make a streamed call and leave it as ``plan`` says."""
        heard, began = Heard(), monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(self.base_url).port)
        try:
            async with asyncio.timeout(self.limit_s):
                writer.write(self._request({**body, "stream": True}, trace_id))
                await _read(reader, heard, plan)
        except TimeoutError:
            heard.hung = True
        heard.took_s = monotonic() - began
        if heard.ended or heard.left is None:
            writer.transport.abort()
        else:
            _leave(writer, politely=plan.politely)
        return heard

    def _request(self, body: dict[str, Any], trace_id: str) -> bytes:
        data = json.dumps(body).encode()
        lines = (
            "POST /ai-invoke HTTP/1.1", "host: edge", f"authorization: Bearer {self.token}",
            f"traceparent: 00-{trace_id}-00000000000000aa-00", "content-type: application/json",
            f"content-length: {len(data)}", "", "",
        )  # fmt: skip
        return "\r\n".join(lines).encode() + data


async def _read(reader: asyncio.StreamReader, heard: Heard, plan: Plan) -> None:
    """Until the answer has ended, the connection is closed, or it is time to leave."""
    reading, left = _Reading(heard), plan.leave_at
    patience = asyncio.timeout(plan.leave_after_s)
    try:
        async with patience:
            while left != 0 and not heard.ended:
                data = await reader.read(65_536 if left is None else left)
                if not data:
                    return
                left = None if left is None else left - len(data)
                reading.parser.feed_data(data)
    except ConnectionError:
        return
    except TimeoutError:
        if not patience.expired():
            raise
    if not heard.ended:
        heard.left = monotonic()


def _leave(writer: asyncio.StreamWriter, *, politely: bool) -> None:
    if politely:
        writer.close()
        return
    peer: socket.socket = writer.get_extra_info("socket")
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
