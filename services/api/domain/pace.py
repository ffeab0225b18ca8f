"""How many requests to work on at once, from how long our own parts take to answer. Pure.

It is not how long calls take, which is the providers' doing: a thousand calls that wait for a slow provider cost
nothing, and a hundred that all have to be carried through at the same moment make each other wait.
"""

from collections import deque
from math import inf

LEAST, FIRST, MOST = 32, 64, 4096
"""Places: never fewer, at the beginning, never more."""
SLOW_S = 0.05
"""From here on a small question to our own parts counts as slow."""
_LOOKED_AT = 3
_BETTER, _TRIES = 0.95, 3


class Pace:
    """``places``: how many at once. Fewer while even the quickest of the last answers was slow, else more.

    Fewer only as long as that helps: what is slow for another reason stays slow for however few.
    """

    def __init__(self) -> None:
        self.places = FIRST
        self._delays: deque[float] = deque(maxlen=_LOOKED_AT)
        self._has_been_slow = False
        self._before_s, self._in_vain = inf, 0

    def heard(self, delay_s: float, taken: int) -> int:
        """Our parts took ``delay_s`` to answer while ``taken`` places were taken; the places there are from now on."""
        self._delays.append(delay_s)
        quickest = min(self._delays)
        if quickest <= SLOW_S:
            self._before_s, self._in_vain = inf, 0
            self._grow(taken)
        elif len(self._delays) == _LOOKED_AT:
            self._in_vain = 0 if quickest < _BETTER * self._before_s else self._in_vain + 1
            self._before_s = quickest
            if self._in_vain < _TRIES:
                self._has_been_slow = True
                self.places = max(LEAST, int(min(self.places, taken) * 0.8))
            else:
                self._grow(taken)
            # What was measured was measured with another number of them.
            self._delays.clear()
        return self.places

    def _grow(self, taken: int) -> None:
        if taken >= self.places:
            # Until it has once been too many, the quickest way up.
            faster = 2.0 if not self._has_been_slow else 1.1
            self.places = min(MOST, int(self.places * faster) + 1)
