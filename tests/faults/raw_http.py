"""HTTP by hand, for requests that no library would send."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True)
class Heard:
    """What came back: the statuses in order, whether the server has closed, and all bytes."""

    statuses: tuple[int, ...]
    closed: bool
    raw: bytes


async def say(port: int, sent: bytes, *, quiet_s: float = 0.4) -> Heard:
    """Send bytes; hear until the server closes or is quiet for ``quiet_s`` seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    raw, closed = b"", False
    with suppress(OSError):
        writer.write(sent)
        await writer.drain()
    try:
        while True:
            async with asyncio.timeout(quiet_s):
                got = await reader.read(65536)
            if not got:
                closed = True
                break
            raw += got
    except TimeoutError:
        pass
    except OSError:
        closed = True
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return Heard(statuses_in(raw), closed, raw)


def statuses_in(raw: bytes) -> tuple[int, ...]:
    """The statuses of the answers in ``raw``, which all have a Content-Length."""
    found: list[int] = []
    while raw.startswith(b"HTTP/1.1 "):
        head, _, rest = raw.partition(b"\r\n\r\n")
        found.append(int(head[9:12]))
        length = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0")
        raw = rest[int(length.partition(b":")[2]) :]
    if raw:
        raise AssertionError(f"these are no answers: {raw[:80]!r}")
    return tuple(status for status in found if status >= 200)
