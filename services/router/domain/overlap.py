"""Going on with an answer that was cut: what a second model says again of it is taken out."""

SHORTEST = 12
"""Characters: a shorter repetition is taken for chance."""
FARTHEST = 2_000
"""Characters before the cut at which a repetition may begin, unless it is one of the whole answer."""


class Overlap:
    """Feed it a continuation piece by piece; it gives what is new.

    As long as what has come may still turn out to repeat the end of ``before`` (or all of it), it is held back.
    ``exact``: the model was given ``before`` as the beginning of its own answer, so that it says all of it again or
    nothing. What looks like a repeated end is then what comes next, as in a table of zeros.
    """

    def __init__(self, before: str, *, exact: bool = False) -> None:
        self._before = before
        self._blank = before[len(before.rstrip()) :]
        self._head: list[str] = []
        self._length = self._longest = 0
        self._open = [0] if exact else [0, *range(max(1, len(before) - FARTHEST), len(before))]
        self._decided = not before

    def feed(self, text: str) -> str:
        """What of ``text``, and of what was held back, is new."""
        if self._decided or not text:
            return text
        self._open = [at for at in self._open if self._goes_on(at, text)]
        self._head.append(text)
        self._length += len(text)
        return "" if self._open else self._decide()

    def flush(self) -> str:
        """What is still held back when the continuation has ended."""
        if self._decided:
            return ""
        whole = (len(self._before) - at for at in self._open if len(self._before) - at == self._length)
        self._longest = max(self._longest, *whole, 0)
        return self._decide()

    def _goes_on(self, at: int, text: str) -> bool:
        """Whether ``text`` goes on with repeating what stands at ``at``, and may yet do so to the end."""
        left = len(self._before) - at - self._length
        if not self._before.startswith(text[:left], at + self._length):
            return False
        if len(text) > left:
            self._longest = max(self._longest, len(self._before) - at)
        return len(text) <= left

    def _decide(self) -> str:
        self._decided = True
        head = "".join(self._head)
        new = head[self._longest :] if self._longest >= min(SHORTEST, len(self._before)) else head
        return new if self._longest >= SHORTEST else new[self._doubled(new) :]

    def _doubled(self, new: str) -> int:
        """How many blanks at its beginning were said before: models are not shown those at the end, or overlook them.

        Others stay: after the end of a line they are what indents the next one.
        """
        blank = self._blank
        return next((len(blank) - at for at in range(len(blank)) if new.startswith(blank[at:])), 0)
