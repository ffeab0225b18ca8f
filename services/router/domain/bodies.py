"""What is done to a provider's answer before anyone reads it: decompressed within bounds, and rid of the key."""

import zlib
from collections.abc import Mapping, Sequence

SHORTEST_SECRET = 8


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
    """Body and headers without the key: a host that repeats it must not be able to write keys into our logs."""
    for secret in (item for item in secrets if len(item) >= SHORTEST_SECRET):
        body = body.replace(secret.encode(), b"[removed]")
        headers = {name: value for name, value in headers.items() if secret not in value}
    return body, headers
