"""An export on its way into a file: it gets its name only when it is complete."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

from omnipost.asking import Ask
from omnipost.exchange import lost

Progress = Callable[[int, int | None], None]
"""Called with the bytes so far, and the rows of the whole file (None: too many to be counted)."""
EXPORT_S = 120.0


@dataclass(frozen=True, slots=True)
class Exported:
    """A complete file. ``rows``: how many attempts are in it; None: they were too many to be counted."""

    path: Path
    bytes: int
    sha256: str
    rows: int | None


def export_of(workspace_id: int | None, format_: str, since: str | None, until: str | None) -> Ask[bytes]:
    """A file of the call log."""
    query = {"workspace_id": workspace_id, "format": format_, "from": since, "to": until}
    return Ask("GET", "/ai-usage/export", query, read_s=EXPORT_S)


class Saving:
    """A file beside ``path`` that takes its place at the end; what is left unfinished is deleted. Raises OSError."""

    def __init__(self, path: Path, response: httpx2.Response, format_: str, progress: Progress | None) -> None:
        total = response.headers.get("x-omnipost-rows-total")
        self._rows = int(total) if total else None
        self._path, self._progress = path, progress
        self._lines = 0 if format_ == "ndjson" else None
        self._digest, self._bytes = hashlib.sha256(), 0
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        self._unfinished, self._file = Path(name), os.fdopen(descriptor, "wb")

    def __enter__(self) -> Self:
        return self

    def write(self, chunk: bytes) -> None:
        """Add to the file."""
        self._file.write(chunk)
        self._digest.update(chunk)
        self._bytes += len(chunk)
        if self._lines is not None:
            self._lines += chunk.count(b"\n")
        if self._progress:
            self._progress(self._bytes, self._rows)

    def finish(self) -> Exported:
        """The file under its own name. Raises AnswerLostError when rows are missing."""
        if None not in (self._lines, self._rows) and self._lines != self._rows:
            raise lost("rows of the export are missing")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._unfinished.replace(self._path)
        return Exported(self._path, self._bytes, self._digest.hexdigest(), self._rows)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._unfinished.unlink(missing_ok=True)
