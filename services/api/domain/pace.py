"""How many requests to work on at once, from how long our own parts take to answer. Pure.

It is not how long calls take, which is the providers' doing: a thousand calls that wait for a slow provider cost
nothing, and a hundred that all have to be carried through at the same moment make each other wait.
"""

from collections import deque

LEAST, FIRST, MOST = 32, 64, 4096
"""Places: never fewer, at the beginning, never more."""
SLOW_S = 0.05
"""From here on a small question to our own parts counts as slow."""
_LOOKED_AT = 3


class Pace:
    """``places``: how many at once. Fewer while even the quickest of the last answers was slow, else more."""

    def __init__(self) -> None:
        self.places = FIRST
        self._delays: deque[float] = deque(maxlen=_LOOKED_AT)
        self._has_been_slow = False

    def heard(self, delay_s: float, taken: int) -> int:
        """Our parts took ``delay_s`` to answer while ``taken`` places were taken; the places there are from now on."""
        self._delays.append(delay_s)
        if min(self._delays) > SLOW_S:
            self._has_been_slow = True
            self.places = max(LEAST, int(min(self.places, taken) * 0.8))
            # What was measured was measured with more of them.
            self._delays.clear()
        elif taken >= self.places:
            # Until it has once been too many, the quickest way up.
            faster = 2.0 if not self._has_been_slow else 1.1
            self.places = min(MOST, int(self.places * faster) + 1)
        return self.places
