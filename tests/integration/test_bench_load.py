"""The load generator of ``make bench`` against a server that is slower than it is asked."""

import asyncio

from bench.load import Target, paired

SLOW_S = 0.3


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.readuntil(b"\r\n\r\n"):
        await asyncio.sleep(SLOW_S)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")


async def test_calls_begin_in_time_however_slow_their_answers_are() -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    target = Target.post(server.sockets[0].getsockname()[1], "/", b"", "t")
    (seconds,) = await paired([target], 100, 40)
    assert len(seconds) == 40
    assert min(seconds) >= SLOW_S
    server.close()
