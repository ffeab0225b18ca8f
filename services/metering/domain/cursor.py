"""The place in the call log where a page ended, as an opaque text. Pure."""

import base64
import binascii
from datetime import UTC, datetime
from uuid import UUID

from shared.errors import invalid

Place = tuple[datetime, UUID]
_MAX_LENGTH = 200
_TRANSACTIONS = 2**63


def encode(place: Place) -> str:
    """URL-safe text for ``place``."""
    started_at, attempt_id = place
    text = f"{started_at.astimezone(UTC).isoformat()} {attempt_id}"
    return base64.urlsafe_b64encode(text.encode()).decode()


def decode(cursor: str) -> Place:
    """Raises OmniError ``invalid_request`` for anything ``encode`` did not make."""
    try:
        raw = base64.b64decode(cursor[:_MAX_LENGTH], altchars=b"-_", validate=True).decode("ascii")
        moment, _, attempt = raw.partition(" ")
        place = datetime.fromisoformat(moment), UUID(attempt)
        made_here = encode(place) == cursor
    except (ValueError, OverflowError, binascii.Error):
        made_here = False
    if not made_here:
        raise invalid("This cursor was not made by this service; start again without one.")
    return place


def encode_change(transaction: int, attempt_id: UUID) -> str:
    """URL-safe text for the place behind a row in the order of changes."""
    return f"{transaction}.{attempt_id}"


def decode_change(cursor: str) -> tuple[int, UUID]:
    """Raises OmniError ``invalid_request`` for anything ``encode_change`` did not make."""
    transaction, _, attempt = cursor[:_MAX_LENGTH].partition(".")
    try:
        change = int(transaction), UUID(attempt)
        made_here = encode_change(*change) == cursor and 0 <= change[0] < _TRANSACTIONS
    except ValueError:
        made_here = False
    if not made_here:
        raise invalid("This cursor was not made by this service; start again without one.")
    return change
