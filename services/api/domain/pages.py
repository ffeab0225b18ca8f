"""Cursors of lists: opaque texts that only we can make, each for one list of one workspace; and pages. Pure."""

import base64
import binascii
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import TypeVar

from shared.errors import invalid
from shared.sealing import length_prefixed

LONGEST = 400
_TAG_BYTES = 16
T = TypeVar("T")


class Cursors:
    """Makes and reads cursors. ``secret``: the 32 bytes access tokens are hashed with."""

    def __init__(self, secret: bytes) -> None:
        self._secret = hmac.new(secret, b"omnipost cursors v1", sha256).digest()

    def made(self, of: str, workspace_id: int | None, place: str) -> str:
        """The cursor behind ``place`` of the list ``of``."""
        tag = self._tag(of, workspace_id, place)
        return base64.urlsafe_b64encode(tag + place.encode()).decode().rstrip("=")

    def place(self, of: str, workspace_id: int | None, cursor: str) -> str:
        """Raises OmniError ``invalid_request`` for a text ``made`` did not make for this list."""
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            place = raw[_TAG_BYTES:].decode()
        except (ValueError, binascii.Error):
            raise _unknown() from None
        # Made again, because base64 has more than one text for some bytes.
        if not hmac.compare_digest(self.made(of, workspace_id, place).encode(), cursor.encode()):
            raise _unknown()
        return place

    def before(self, of: str, workspace_id: int | None, cursor: str | None, given: int | None) -> int | None:
        """Of a list that is read from newer to older: the number below which to read on. Raises ``invalid_request``."""
        return given if cursor is None else int(self.place(of, workspace_id, cursor))

    def older(self, of: str, workspace_id: int | None, items: Sequence[object], number: str, limit: int) -> str | None:
        """The cursor behind a page of such a list; None when it was the last. ``number``: the field that counts."""
        if len(items) < limit:
            return None
        return self.made(of, workspace_id, str(getattr(items[-1], number)))

    def opened(self, of: str, workspace_id: int | None, cursor: str | None) -> str | None:
        """``place``; None for none."""
        return None if cursor is None else self.place(of, workspace_id, cursor)

    def sealed(self, of: str, workspace_id: int | None, place: str | None) -> str | None:
        """``made``; None for none."""
        return None if place is None else self.made(of, workspace_id, place)

    def _tag(self, of: str, workspace_id: int | None, place: str) -> bytes:
        about = length_prefixed(of, "" if workspace_id is None else workspace_id, place)
        return hmac.new(self._secret, about, sha256).digest()[:_TAG_BYTES]


@dataclass(frozen=True)
class Pager:
    """What a caller wants of a list: ``limit`` items (None: all) behind ``cursor`` (None: from the beginning)."""

    cursors: Cursors
    limit: int | None = None
    cursor: str | None = None

    def page(
        self,
        of: str,
        workspace_id: int | None,
        items: Sequence[T],
        place: Callable[[T], str],
        *,
        newest_first: bool = False,
    ) -> tuple[list[T], str | None]:
        """A page and the cursor behind it, None at the end. ``place``: by what the list is ordered, different for each.

        Raises OmniError ``invalid_request``.
        """
        found = sorted(items, key=place, reverse=newest_first)
        if self.cursor is not None:
            last = self.cursors.place(of, workspace_id, self.cursor)
            found = [item for item in found if (place(item) < last if newest_first else place(item) > last)]
        if self.limit is None or len(found) <= self.limit:
            return found, None
        found = found[: self.limit]
        return found, self.cursors.made(of, workspace_id, place(found[-1]))


def moment(at: datetime, id_: object) -> str:
    """The place of something that was made at a moment; ordered as text."""
    return f"{at.astimezone(UTC).isoformat(timespec='microseconds')} {id_}"


def _unknown() -> Exception:
    return invalid("This cursor was not given for this list; start again without one.", field="cursor")
