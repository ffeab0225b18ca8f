"""Where limits stand, in the headers that OpenAI's and Anthropic's clients know. Pure."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from math import ceil

from services.api.domain.rates import UNITS, Standing, Unit

Header = tuple[bytes, bytes]


def openai_headers(standings: Mapping[Unit, Standing]) -> Iterator[Header]:
    """``x-ratelimit-…``; a reset as a duration, ``1m0.25s``."""
    for unit in UNITS:
        if (standing := standings.get(unit)) is not None:
            yield _header(f"x-ratelimit-limit-{unit}", str(standing.limit))
            yield _header(f"x-ratelimit-remaining-{unit}", str(standing.remaining))
            yield _header(f"x-ratelimit-reset-{unit}", duration(standing.reset_s))


def anthropic_headers(standings: Mapping[Unit, Standing], now: datetime) -> Iterator[Header]:
    """``anthropic-ratelimit-…``; a reset as an instant, RFC 3339."""
    for unit in UNITS:
        if (standing := standings.get(unit)) is not None:
            at = now + timedelta(seconds=ceil(standing.reset_s))
            yield _header(f"anthropic-ratelimit-{unit}-limit", str(standing.limit))
            yield _header(f"anthropic-ratelimit-{unit}-remaining", str(standing.remaining))
            yield _header(f"anthropic-ratelimit-{unit}-reset", at.strftime("%Y-%m-%dT%H:%M:%SZ"))


def duration(seconds: float) -> str:
    """As OpenAI writes it: ``250ms``, ``1.5s``, ``1m0s``; never shorter than it is."""
    milliseconds = ceil(round(seconds * 1000, 6))
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    return (f"{minutes}m" if minutes else "") + f"{rest / 1000:g}s"


def _header(name: str, value: str) -> Header:
    return name.encode(), value.encode()
