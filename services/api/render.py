"""``python -m services.api.render FORMAT``: pages of the call log from standard input to a file on standard output.

A process of its own for every download: it can neither hold up the calls the edge passes on nor grow the edge, and
pipes make it as slow as who reads. Input: one JSON object of columns a line. It is ended with its input, or killed.
"""

import io
import json
import sys
from collections.abc import Callable
from typing import BinaryIO

from typing_extensions import Buffer

from services.api.domain import focus, tables
from services.api.domain.columns import KINDS, Page, shown_name

ROW_GROUP = 20_000
_BUFFER = 256 * 1024
_SHEETS: dict[str, tuple[Callable[[], bytes], Callable[[Page], bytes]]] = {
    "csv": (tables.csv_header, tables.csv_page),
    "focus": (focus.header, focus.page),
    "ndjson": (bytes, tables.ndjson_page),
}


def render(format_: str, pages: BinaryIO, out: BinaryIO) -> None:
    """All of ``pages`` to ``out``."""
    if format_ == "parquet":
        _parquet(pages, out)
        return
    header, sheet = _SHEETS[format_]
    out.write(header())
    for line in pages:
        out.write(sheet(json.loads(line)))
        out.flush()


class _Lines(io.RawIOBase):
    """The pages as NDJSON, made as they are read: what Arrow's reader of JSON takes."""

    def __init__(self, pages: BinaryIO) -> None:
        super().__init__()
        self._pages, self._page = pages, io.BytesIO()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        while not (taken := self._page.readinto(buffer)):
            line = self._pages.readline()
            if not line:
                break
            self._page = io.BytesIO(tables.ndjson_page(json.loads(line)))
        return taken


def _parquet(pages: BinaryIO, out: BinaryIO) -> None:
    # Loaded for this format only.
    from arro3.core import DataType, Field, Schema  # noqa: PLC0415
    from arro3.io import read_json, write_parquet  # noqa: PLC0415

    types = {
        "text": DataType.utf8(),
        "free": DataType.utf8(),
        "integer": DataType.int64(),
        "usd": DataType.decimal128(18, 6),
        "instant": DataType.timestamp("us", tz="UTC"),
    }
    schema = Schema([Field(shown_name(name), types[kind]) for name, kind in KINDS.items()])
    calls = read_json(io.BufferedReader(_Lines(pages), _BUFFER), schema, batch_size=4096)
    write_parquet(calls, out, compression="zstd(1)", max_row_group_size=ROW_GROUP)


if __name__ == "__main__":
    render(sys.argv[1], sys.stdin.buffer, sys.stdout.buffer)
    sys.stdout.buffer.flush()
