"""How fast a target has answered lately: a decayed histogram. Every moment is given by the caller."""

from math import floor, log

HALF_LIFE_S = 300.0
STALE_S = 600.0
EXPLORE_EVERY = 20
# Neighbouring bounds differ by 5 %, which is how exact a median is. 10 ms to 10 minutes are some 226 of them.
_RATIO = 1.05
_SHORTEST_MS = 10.0
_LONGEST_MS = 600_000.0
# Weights grow instead of decaying one by one; before they get out of hand they are all made smaller at once.
_HEAVIEST = 2.0**20


class Latency:
    """Latencies of one target, each counting half as much after every ``HALF_LIFE_S`` seconds."""

    __slots__ = ("_counts", "_landmark", "_last")

    def __init__(self, now: float) -> None:
        self._counts: dict[int, float] = {}
        self._landmark = self._last = now

    def add(self, latency_ms: float, now: float) -> None:
        """Take in an answer that took so long."""
        weight = 2 ** ((now - self._landmark) / HALF_LIFE_S)
        if weight > _HEAVIEST:
            self._counts = {place: left for place, count in self._counts.items() if (left := count / weight) > 1e-6}
            self._landmark, weight = now, 1.0
        place = floor(log(min(max(latency_ms, _SHORTEST_MS), _LONGEST_MS) / _SHORTEST_MS, _RATIO))
        self._counts[place] = self._counts.get(place, 0.0) + weight
        self._last = now

    def p50(self, now: float) -> float | None:
        """The median in ms; None when the last answer is longer ago than ``STALE_S``."""
        if not self._counts or now - self._last > STALE_S:
            return None
        half, below = sum(self._counts.values()) / 2, 0.0
        for place in sorted(self._counts):
            below += self._counts[place]
            if below >= half:
                return float(_SHORTEST_MS * _RATIO ** (place + 0.5))
        return None
