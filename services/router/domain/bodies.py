"""What is done to a provider's answer before anyone reads it: decompressed within bounds, and rid of the key."""

import re
import zlib
from collections.abc import Iterator, Mapping, Sequence

SHORTEST_SECRET = 8
PIECE = 8
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
