"""Server-sent events out of bytes, however the bytes are cut into pieces (WHATWG HTML, section 9.2.6)."""

from dataclasses import dataclass, field

LARGEST_EVENT = 4 * 1024 * 1024


class TooLargeError(Exception):
    """One event is larger than ``LARGEST_EVENT`` bytes."""


@dataclass(frozen=True)
class ServerEvent:
    """One event. ``name``: its ``event`` field, empty when it has none. A comment alone is no event."""

    data: str = field(repr=False)
    name: str = ""


class EventParser:
    """Feed it the bytes of a body in order; it gives the events they complete.

    Lines end with LF, CR LF or CR. An event that no blank line ends is not given: it was cut.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._data: list[bytes] = []
        self._name = b""
        self._size = 0
        self._begun = False
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """The events that ``chunk`` completes. Raises TooLargeError."""
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if self._begun and b"\n" not in chunk and b"\r" not in chunk:
            # A long line comes in many pieces: looking through all of it again for each would take ever longer.
            self._after_cr = self._after_cr and not chunk
            return self._keep(chunk)
        buffer = bytes(self._rest) + chunk
        if not self._begun and len(buffer) >= len(_BOM):
            self._begun, buffer = True, buffer.removeprefix(_BOM)
        self._after_cr = buffer.endswith(b"\r")
        lines = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest.clear()
        last = lines.pop()
        events = [event for line in lines if (event := self._line(line)) is not None]
        return events + self._keep(last)

    def _keep(self, piece: bytes) -> list[ServerEvent]:
        self._rest += piece
        if self._size + len(self._rest) > LARGEST_EVENT:
            raise TooLargeError
        return []

    def _line(self, line: bytes) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        self._begun = True
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._size += len(value) + 1
        elif name == b"event":
            self._name = value
        if self._size > LARGEST_EVENT:
            raise TooLargeError
        return None

    def _dispatch(self) -> ServerEvent | None:
        data, name = self._data, self._name
        self._data, self._name, self._size = [], b"", 0
        if not data:
            return None
        return ServerEvent(b"\n".join(data).decode(errors="replace"), name.decode(errors="replace"))


_BOM = b"\xef\xbb\xbf"
