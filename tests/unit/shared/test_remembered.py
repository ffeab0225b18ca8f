"""The short memory: who waits together reads once, and what is forgotten while it is read is not remembered."""

import asyncio
from datetime import UTC, datetime

import pytest

from shared.remembered import Remembered


class Hand:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds


class Source:
    """Counts what is read of it, and waits at ``gate``."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self, key: str) -> float:
        self.read.append(key)
        await self.gate.wait()
        return float(key.rpartition(":")[2])


@pytest.fixture
def source() -> Source:
    return Source()


async def test_each_value_expires_at_its_own_time(source: Source) -> None:
    clock = Hand()
    memory: Remembered[str, float] = Remembered(source.load, clock, keep_s=lambda value: value)
    for moment, read in ((0, 3), (4, 1), (1, 2), (100, 3)):
        clock.seconds += moment
        source.read.clear()
        for key in ("a:5", "b:20", "never:0"):
            await memory.get(key)
        assert len(source.read) == read, moment
    assert {key for key, _ in memory._known.items()} == {"a:5", "b:20"}
    clock.seconds += 6
    memory.drop_expired()
    assert set(memory._known) == {"b:20"}


async def test_what_is_forgotten_while_it_is_read_is_given_but_not_remembered(source: Source) -> None:
    memory: Remembered[str, float] = Remembered(source.load, Hand(), keep_s=60)
    source.gate.clear()
    waiting = [asyncio.ensure_future(memory.get("a:1")) for _ in range(3)]
    await asyncio.sleep(0)
    memory.forget_where(lambda key: key.startswith("a"))
    source.gate.set()
    assert await asyncio.gather(*waiting) == [1.0] * 3
    assert source.read == ["a:1"]
    await memory.get("a:1")
    await memory.get("a:1")
    assert source.read == ["a:1"] * 2


async def test_who_leaves_does_not_take_the_answer_from_the_others(source: Source) -> None:
    memory: Remembered[str, float] = Remembered(source.load, Hand(), keep_s=60)
    source.gate.clear()
    leaving, staying = (asyncio.ensure_future(memory.get("a:1")) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.sleep(0)
    source.gate.set()
    assert await staying == 1.0
    assert leaving.cancelled()
    assert source.read == ["a:1"]
