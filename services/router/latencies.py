"""Measured latencies of this process, for the routing preference ``speed``."""

from collections import OrderedDict

from services.router.domain.latency import EXPLORE_EVERY, Latency
from shared.clock import Clock

MOST = 10_000


class Latencies:
    """Latencies by workspace and target, and whose turn it is to try what has none. The longest unused is forgotten."""

    def __init__(self, clock: Clock, most: int = MOST) -> None:
        self._clock, self._most = clock, most
        self._measured: OrderedDict[tuple[int, str, str], Latency] = OrderedDict()
        self._calls: OrderedDict[tuple[int, str], int] = OrderedDict()

    def record(self, workspace_id: int, provider: str, model: str, latency_ms: float) -> None:
        """An attempt has succeeded: ms to its first token when it was streamed, to its whole answer when it was not."""
        now, target = self._clock.monotonic(), (workspace_id, provider, model)
        latency = self._measured.get(target)
        if latency is None:
            latency = self._measured[target] = Latency(now)
            if len(self._measured) > self._most:
                self._measured.popitem(last=False)
        self._measured.move_to_end(target)
        latency.add(latency_ms, now)

    def p50(self, workspace_id: int, provider: str, model: str) -> float | None:
        """The decayed median in ms; None without an answer within the last ten minutes."""
        latency = self._measured.get((workspace_id, provider, model))
        return latency.p50(self._clock.monotonic()) if latency else None

    def explores(self, workspace_id: int, alias_name: str) -> bool:
        """Whether the next call of this alias tries targets without a measured latency first: every 20th does."""
        return self._calls.get((workspace_id, alias_name), 0) % EXPLORE_EVERY == EXPLORE_EVERY - 1

    def called(self, workspace_id: int, alias_name: str) -> None:
        """A call of this alias has been planned with what ``explores`` said; explaining one is none."""
        alias = (workspace_id, alias_name)
        self._calls[alias] = self._calls.get(alias, 0) + 1
        self._calls.move_to_end(alias)
        if len(self._calls) > self._most:
            self._calls.popitem(last=False)
