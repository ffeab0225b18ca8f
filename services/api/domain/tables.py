"""Rows as CSV and as NDJSON. Pure.

A cell of a CSV that a spreadsheet would take for a formula (it begins with ``= + - @``, a tab or a line break) gets an
apostrophe in front: such files are opened by people, and some of these texts were written by providers. NDJSON and
Parquet are exact.
"""

import csv
import io
import json
from collections.abc import Iterable, Sequence

from services.api.domain.columns import KINDS, NAMES, Page, rows

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def inert(cell: str | None) -> str | None:
    """``cell`` as no spreadsheet runs it."""
    return "'" + cell if cell and cell.startswith(_FORMULA) else cell


def csv_lines(lines: Iterable[Sequence[object]]) -> bytes:
    """RFC 4180, UTF-8, lines end with CR LF; nothing stands for None."""
    text = io.StringIO()
    csv.writer(text).writerows(lines)
    return text.getvalue().encode()


def csv_header() -> bytes:
    """The first line of a CSV of the call log."""
    return csv_lines([NAMES])


def csv_page(page: Page) -> bytes:
    """A page of the call log as CSV."""
    safe = {name: map(inert, page[name]) if kind == "free" else page[name] for name, kind in KINDS.items()}
    return csv_lines(rows({name: list(column) for name, column in safe.items()}))


def ndjson_page(page: Page) -> bytes:
    """A page of the call log, one JSON object a line."""
    return "".join(f"{_encode(dict(zip(NAMES, row, strict=True)))}\n" for row in rows(page)).encode()
