"""Going on with an answer that was cut: what a second model says again of it is taken out."""

SHORTEST = 12
"""Characters: a shorter repetition is taken for chance."""


class Overlap:
    """Feed it a continuation piece by piece; it gives what is new.

    As long as what has come may still turn out to repeat the end of ``before`` (or all of it), it is held back.
    """

    def __init__(self, before: str) -> None:
        self._before = before
        self._blank = len(before) > 0 and before[-1].isspace()
        self._head = ""
        self._open: list[int] | None = None
        self._decided = not before

    def feed(self, text: str) -> str:
        """What of ``text``, and of what was held back, is new."""
        if self._decided or not text:
            return text
        self._head += text
        starts = range(len(self._before)) if self._open is None else self._open
        self._open = [at for at in starts if self._may_repeat(at)]
        if any(len(self._before) - at >= len(self._head) for at in self._open):
            return ""
        return self._decide()

    def flush(self) -> str:
        """What is still held back when the continuation has ended."""
        return "" if self._decided else self._decide()

    def _may_repeat(self, at: int) -> bool:
        length = min(len(self._before) - at, len(self._head))
        return self._before.startswith(self._head[:length], at)

    def _decide(self) -> str:
        self._decided = True
        whole = [len(self._before) - at for at in self._open or () if len(self._before) - at <= len(self._head)]
        longest = max(whole, default=0)
        new = self._head[longest:] if longest >= min(SHORTEST, len(self._before)) else self._head
        return new.lstrip(" ") if self._blank and longest < SHORTEST else new
