"""Canary keys, and a search for the smallest piece of one in any form that bytes are commonly written in.

A canary repeats a rare marker so often that each of its 8-character pieces holds a whole one: the search looks for the
few spellings of a marker, and only there compares with the pieces of all canaries. What the masked form shows (``sk-``
and the last four characters) is shorter than a piece.
"""

import base64
import random
import string
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

PIECE = 8
# A marker of three characters every five: eight in a row cannot miss one.
_PERIODS = 8
# Real keys have letters and digits; a sign among them shows what escapes them.
MARKERS = ("Zq7", "Q+z")
_FILL = string.ascii_letters + string.digits


@dataclass(frozen=True)
class Found:
    """A piece of a canary: in which form, and at which byte of ``place``."""

    place: str
    form: str
    at: int


def draw(count: int, seed: int = 7) -> list[str]:
    """``count`` canaries, of both markers, the same ones every time. About 43 characters each."""
    rng = random.Random(seed)  # noqa: S311 - keys that open nothing
    return [
        "sk-" + "".join(MARKERS[number % 2] + "".join(rng.choices(_FILL, k=2)) for _ in range(_PERIODS))
        for number in range(count)
    ]


def pieces(canary: str) -> Iterator[str]:
    """Every run of ``PIECE`` characters."""
    return (canary[start : start + PIECE] for start in range(len(canary) - PIECE + 1))


class Search:
    """Finds every piece of ``canaries`` in every form; counts what it has looked at."""

    def __init__(self, canaries: Iterable[str]) -> None:
        self.files = self.bytes = 0
        # Spelling of a marker -> (where it stands in the spelling of a piece, that spelling's length) -> spellings
        self._forms: dict[bytes, dict[tuple[int, int], dict[bytes, str]]] = defaultdict(lambda: defaultdict(dict))
        for piece in {piece for canary in canaries for piece in pieces(canary)}:
            marker = next(marker for marker in MARKERS if marker in piece)
            for form, spelled, anchor, offset in _spellings(piece, piece.index(marker)):
                self._forms[anchor][offset, len(spelled)].setdefault(spelled, form)

    def look(self, place: str, content: bytes) -> list[Found]:
        """What is found in ``content``; ``place`` is its name."""
        self.bytes += len(content)
        found = []
        for anchor, shapes in self._forms.items():
            at = content.find(anchor)
            while at >= 0:
                for (offset, length), spelled in shapes.items():
                    form = spelled.get(content[max(0, at - offset) : max(0, at - offset) + length])
                    if form:
                        found.append(Found(place, form, at - offset))
                at = content.find(anchor, at + 1)
        return found

    def look_below(self, folder: Path) -> list[Found]:
        """What is found in the files of ``folder`` and in their names; a file may vanish meanwhile."""
        found = []
        for file in folder.rglob("*"):
            found += self.look(f"the name of {file}", str(file).encode(errors="surrogateescape"))
            if file.is_file() and not file.is_symlink():
                try:
                    content = file.read_bytes()
                except FileNotFoundError:
                    continue
                self.files += 1
                found += self.look(str(file), content)
        return found


def _spellings(piece: str, mark: int) -> Iterator[tuple[str, bytes, bytes, int]]:
    """Name of the form, ``piece`` in it, the marker at index ``mark`` in it, and where in the spelling that stands."""
    marker = piece[mark : mark + 3]
    backwards = piece[::-1]
    yield "raw", piece.encode(), marker.encode(), mark
    yield "reversed", backwards.encode(), marker[::-1].encode(), PIECE - mark - 3
    writers: dict[str, Callable[[str], bytes]] = {
        "hex": lambda text: text.encode().hex().encode(),
        "HEX": lambda text: text.encode().hex().upper().encode(),
        "url": lambda text: quote(text, safe="").encode(),
        "url, small letters": lambda text: quote(text, safe="").replace("%2B", "%2b").encode(),
        "json": lambda text: "".join(f"\\u{ord(sign):04x}" for sign in text).encode(),
        # Without the last byte the two byte orders look the same.
        "utf-16": lambda text: text.encode("utf-16-le")[:-1],
    }
    if "+" in piece:
        writers["json, signs only"] = lambda text: text.replace("+", "\\u002b").encode()
    for form, write in writers.items():
        yield form, write(piece), write(marker), _length(write, piece[:mark])
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + piece.encode() + b"\0\0")
        start, end = _whole(shift, PIECE)
        first, last = _whole(shift + mark, 3)
        yield f"base64 at {shift}", text[start:end], text[first:last], first - start
        safe = text.translate(bytes.maketrans(b"+/", b"-_"))
        yield f"base64url at {shift}", safe[start:end], safe[first:last], first - start


def _length(write: Callable[[str], bytes], before: str) -> int:
    """How many bytes ``before`` takes in front of more text."""
    return len(write(before + "a")) - len(write("a"))


def _whole(start: int, count: int) -> tuple[int, int]:
    """The base64 characters that depend on ``count`` bytes from ``start`` and on nothing else."""
    return -(-8 * start // 6), 8 * (start + count) // 6
