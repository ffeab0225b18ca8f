"""What is done to a provider's answer before anyone reads it: decompressed within bounds, and rid of the key."""

import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence

SHORTEST_SECRET = 8
PIECE = 8
NOT_DECODABLE = "not_decodable"
TOO_LARGE = "answer_too_large"
_STEP = 64 * 1024
_REMOVED = b"[removed]"
# ``sk-proj-``, ``sk-ant-api03-``, ``gsk_``: every key of a vendor has it, and texts about keys do, too.
_VENDOR = re.compile(r"(?:[a-z]{1,8}[0-9]{0,2}[-_]){1,3}")
_WORDS = re.compile(r"[a-z_-]*")


def decoded(raw: bytes, encoding: str, limit: int) -> bytes | None:
    """``raw`` decompressed; None when it cannot be, or would be larger than ``limit`` bytes."""
    kind = encoding.strip().lower()
    if kind in {"", "identity"}:
        return raw
    if kind not in {"gzip", "x-gzip", "deflate"}:
        return None
    stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        body = stream.decompress(raw, limit + 1)
    except zlib.error:
        return None
    return body if stream.eof and not stream.unused_data and len(body) <= limit else None


class UnreadableError(Exception):
    """A body cannot be read to its end; ``reason`` is safe to show."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unpacking:
    """Decompresses a body piece by piece, in steps that stay small however well it was compressed.

    Args:
        encoding: its ``content-encoding``.
        limit: bytes it may have, as they come and decompressed.

    Raises:
        UnreadableError: the encoding is not one we ask for.
    """

    def __init__(self, encoding: str, limit: int) -> None:
        kind = encoding.strip().lower()
        if kind not in {"", "identity", "gzip", "x-gzip", "deflate"}:
            raise UnreadableError(NOT_DECODABLE)
        self._stream = None if kind in {"", "identity"} else zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
        self._came, self._gave, self._limit = 0, 0, limit

    @property
    def is_whole(self) -> bool:
        """Whether the compressed data has come to its own end."""
        return self._stream is None or self._stream.eof

    def feed(self, raw: bytes) -> Iterator[bytes]:
        """What ``raw`` goes on with, decompressed. Raises UnreadableError."""
        self._came = self._count(self._came + len(raw))
        if self._stream is None:
            yield raw
            return
        more = True
        while more:
            if self._stream.eof and raw:
                raise UnreadableError(NOT_DECODABLE)
            try:
                out = self._stream.decompress(raw, _STEP)
            except zlib.error:
                raise UnreadableError(NOT_DECODABLE) from None
            self._gave = self._count(self._gave + len(out))
            raw = self._stream.unconsumed_tail or self._stream.unused_data
            # A full step may have left output behind although all input is taken.
            more = bool(raw) or len(out) == _STEP
            if out:
                yield out

    def _count(self, size: int) -> int:
        if size > self._limit:
            raise UnreadableError(TOO_LARGE)
        return size


def without(body: bytes, headers: Mapping[str, str], secrets: Sequence[str]) -> tuple[bytes, Mapping[str, str]]:
    """Body and headers without the key: a host that repeats it must not be able to write keys into our logs.

    Nor a part of it: no ``PIECE`` characters in a row come through, unless they are the vendor's prefix or mere words.
    """
    named = "\n".join(headers.values())
    for secret in (item for item in secrets if len(item) >= SHORTEST_SECRET):
        body = body.replace(secret.encode(), _REMOVED)
        if any(probe.encode() in body for probe in _probes(secret)):
            for piece in _pieces(secret):
                body = body.replace(piece.encode(), _REMOVED)
        if any(probe in named for probe in (secret, *_probes(secret))):
            told = (secret, *_pieces(secret))
            headers = {name: value for name, value in headers.items() if not any(piece in value for piece in told)}
    return body, headers


def without_in_texts(secrets: Sequence[str]) -> Callable[[str], str]:
    """``without`` for the many short texts of one answer."""
    probes = tuple(probe for secret in secrets if len(secret) >= SHORTEST_SECRET for probe in _probes(secret))

    def cleaned(text: str) -> str:
        if not any(probe in text for probe in probes):
            return text
        return without(text.encode(), {}, secrets)[0].decode(errors="replace")

    return cleaned


class Seams:
    """Cuts the key out of texts that come piece by piece, wherever they are cut.

    What has been given cannot be taken back: fewer than ``PIECE`` characters of a key in a row may have come through
    before it is recognised.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = [secret for secret in secrets if len(secret) >= SHORTEST_SECRET]
        self._probes = tuple(probe for secret in self._secrets for probe in _probes(secret))
        self._tails: dict[object, tuple[str, bool]] = {}

    def clean(self, channel: object, text: str) -> str:
        """The next piece of the text that ``channel`` names, without what the key goes on with there."""
        if not text:
            return text
        before, was_removed = self._tails.get(channel, ("", False))
        whole = before + text
        found = self._found(whole) if any(probe in whole for probe in self._probes) else set()
        kept: list[str] = []
        for place in range(len(before), len(whole)) if found else ():
            if place not in found:
                kept.append(whole[place])
            elif not was_removed:
                kept.append(_REMOVED.decode())
            was_removed = place in found
        self._tails[channel] = whole[1 - PIECE :], was_removed and bool(found)
        return "".join(kept) if found else text

    def _found(self, whole: str) -> set[int]:
        places: set[int] = set()
        # Named anew each time: nearly no answer needs them, and they cost more than all else that is done to it.
        for piece in (piece for secret in self._secrets for piece in _pieces(secret)):
            at = whole.find(piece)
            while at >= 0:
                places.update(range(at, at + PIECE))
                at = whole.find(piece, at + 1)
        return places


def _probes(secret: str) -> Iterator[str]:
    # Whatever holds PIECE characters of the key holds one of these: looking for the few first keeps a call cheap.
    size = PIECE // 2
    return (secret[start : start + size] for start in range(0, len(secret) - size + 1, PIECE - size + 1))


def _pieces(secret: str) -> Iterator[str]:
    prefix = _VENDOR.match(secret)
    known = prefix.end() if prefix else 0
    for end in range(max(PIECE, known + 1), len(secret) + 1):
        piece = secret[end - PIECE : end]
        if not _WORDS.fullmatch(piece):
            yield piece
