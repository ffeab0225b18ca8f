"""The columns of an export of the call log: names, kinds, and values from metering's pages. Pure, and quick to import.

Nothing here may import a contract: a renderer is a fresh process for every download.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

Kind = Literal["text", "free", "integer", "usd", "instant"]
"""``free``: text that somebody else has written. ``usd``: micro-dollars there, a decimal text of USD here."""

# As the contract of a call has them, in its order.
KINDS: Mapping[str, Kind] = {
    "attempt_id": "text",
    "call_id": "free",
    "workspace_id": "integer",
    "key_id": "text",
    "provider": "free",
    "model": "free",
    "alias_name": "free",
    "capability": "text",
    "attempt_index": "integer",
    "outcome": "text",
    "billing": "text",
    "status": "integer",
    "fallback_reason": "text",
    "finish_reason": "free",
    "input_tokens": "integer",
    "output_tokens": "integer",
    "cache_read_tokens": "integer",
    "cache_write_tokens": "integer",
    "reasoning_tokens": "integer",
    "cost_usd_micros": "usd",
    "charged_usd_micros": "usd",
    "latency_ms": "integer",
    "started_at": "instant",
    "finished_at": "instant",
    "trace_id": "free",
    "provider_request_id": "free",
    "price_version": "free",
    "funds": "text",
    "fallback_from": "free",
    "first_token_ms": "integer",
    "reserved_usd_micros": "usd",
}
Page = Mapping[str, Sequence[Any]]
Row = tuple[Any, ...]


def shown_name(name: str) -> str:
    """``cost_usd`` for ``cost_usd_micros``."""
    return name.removesuffix("_micros")


NAMES = tuple(shown_name(name) for name in KINDS)


def usd(micros: int | None) -> str | None:
    """Like ``shared.money.format_usd``, of amounts that are not negative, at a tenth of its cost."""
    return None if micros is None else f"{micros // 1_000_000}.{micros % 1_000_000:06d}"


def rows(page: Page) -> Iterator[Row]:
    """The rows of a page, values in the order of ``NAMES``."""
    columns = (map(usd, page[name]) if kind == "usd" else page[name] for name, kind in KINDS.items())
    return zip(*columns, strict=True)
