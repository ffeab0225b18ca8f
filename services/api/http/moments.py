"""Moments as queries name them."""

from datetime import UTC, date, datetime, time, timedelta

from shared.errors import invalid


def instant(name: str, text: str | None) -> datetime | None:
    """An ISO 8601 date or instant, UTC unless it says otherwise. Raises OmniError ``invalid_request``."""
    if not text:
        return None
    try:
        if len(text) == len("2026-11-23"):
            day = datetime.combine(date.fromisoformat(text), time(), UTC)
            # A whole day as the end means that day included.
            return day + timedelta(days=1) if name == "to" else day
        moment = datetime.fromisoformat(text.replace(" ", "+"))
    except (ValueError, OverflowError):
        raise invalid(f"'{name}' is not an ISO 8601 date or instant, such as 2026-11-23.", field=name) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
