"""Where everything a command says goes: people get tables, ``--json`` gets objects, a pipe gets no colour."""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from rich.console import Console
from rich.table import Table
from rich.text import Text

from omnipost.cli.drawing import harmless

EXIT_BROKEN_PIPE = 141
# A table in a file is not to be broken into lines of a terminal nobody has.
_PIPE_WIDTH = 1000


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class Output:
    """What a command says. Results go to stdout, everything else to stderr."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError, ValueError):
                stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a text stream of the interpreter
        self.is_terminal = sys.stdout.isatty()
        width = None if self.is_terminal else _PIPE_WIDTH
        self._console = _Console(markup=False, highlight=False, emoji=False, width=width)
        self._aside = _Console(markup=False, highlight=False, emoji=False, stderr=True, soft_wrap=True)

    def value(self, value: object) -> None:
        """One JSON object on a line of its own."""
        sys.stdout.write(json.dumps(value, default=str) + "\n")
        sys.stdout.flush()

    def values(self, values: Iterable[object]) -> None:
        """NDJSON: one object a line."""
        for value in values:
            self.value(value)

    def line(self, *parts: str | Text) -> None:
        """A line of text."""
        self._console.print(Text.assemble(*(_clean(part) for part in parts)), soft_wrap=True)

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
        """A table; ``-`` in place of its rows when there are none. A heading that begins with ``>`` is for numbers."""
        table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
        for heading in headings:
            right = heading.startswith(">")
            table.add_column(heading.removeprefix(">"), justify="right" if right else "left", overflow="fold")
        for row in rows:
            table.add_row(*(_clean(cell) for cell in row))
        self._console.print(table)

    def piece(self, text: str) -> None:
        """A piece of an answer, at once: as it is into a file or pipe, harmless onto a terminal."""
        sys.stdout.write(harmless(text) if self.is_terminal else text)
        sys.stdout.flush()

    def aside(self, text: str, style: str = "") -> None:
        """A line on stderr."""
        self._aside.print(Text(harmless(text), style=style))

    def failure(self, problem: Mapping[str, object], lines: Sequence[str]) -> None:
        """Why it did not work, on stderr: ``{"error": problem}``, or ``lines`` for people."""
        if self.as_json:
            sys.stderr.write(json.dumps({"error": problem}, default=str) + "\n")
            return
        for place, line in enumerate(lines):
            self.aside(line, "" if place else "bold red")


def leave_broken_pipe() -> None:
    """After the reader has left: nothing more is written, also not while the interpreter ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


def _clean(cell: str | Text) -> Text:
    return cell if isinstance(cell, Text) else Text(harmless(cell))
