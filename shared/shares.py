"""A number of places that many use at once, fairly: who has more than a share never keeps out who has less. Pure."""

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Shares(Generic[K]):
    """Who holds how many of ``most`` places.

    While there are free places anybody may take them. When there are none, somebody who would hold no more than an
    equal share still may; so at most twice ``most`` are ever held.
    """

    def __init__(self, most: int) -> None:
        self.most, self.total = most, 0
        self._held: dict[K, int] = {}

    def held(self, who: K) -> int:
        """How many ``who`` holds."""
        return self._held.get(who, 0)

    def has_room(self, who: K, amount: int = 1) -> bool:
        """Whether ``who`` may take ``amount`` more."""
        if self.total + amount <= self.most:
            return True
        held = self._held.get(who, 0)
        return held + amount <= self.most // (len(self._held) + (not held))

    def take(self, who: K, amount: int = 1) -> None:
        """They are ``who``'s now."""
        self._held[who] = self._held.get(who, 0) + amount
        self.total += amount

    def give_back(self, who: K, amount: int = 1) -> None:
        """They are free again."""
        left = self._held[who] - amount
        self.total -= amount
        if left:
            self._held[who] = left
        else:
            del self._held[who]
