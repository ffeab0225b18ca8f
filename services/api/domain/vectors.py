"""Embeddings as JSON."""

import base64
import binascii
import math
import struct

from shared.errors import Code, OmniError


def vector_json(vector: str, *, as_base64: bool) -> str:
    """One embedding (base64 of little-endian 32-bit floats) as JSON: that text, or a list of numbers.

    Raises:
        OmniError: ``provider_error`` when it is no such vector, or holds what JSON has no number for.
    """
    try:
        raw = base64.b64decode(vector, validate=True)
        numbers = struct.unpack(f"<{len(raw) // 4}f", raw)
    except (binascii.Error, struct.error):
        raise _no_vector() from None
    if not math.isfinite(sum(numbers)):
        raise _no_vector()
    # Nine digits tell every 32-bit float from every other.
    return f'"{vector}"' if as_base64 else "[" + ", ".join([f"{number:.9g}" for number in numbers]) + "]"


def _no_vector() -> OmniError:
    return OmniError(Code.PROVIDER_ERROR, "The provider has answered with an embedding that cannot be used.")
