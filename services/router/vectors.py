"""Vectors on their way to the asker."""

import base64
from collections.abc import Iterator, Sequence

from shared.messages.chat import DeltaV1

# Bytes of vectors in one part: few parts, and none that blocks the bus for long.
PART_BYTES = 128 * 1024


def in_parts(vectors: Sequence[bytes]) -> Iterator[DeltaV1]:
    """``vectors`` (little-endian 32-bit floats each) as pieces of an answer, in their order."""
    together: list[str] = []
    size = 0
    for vector in vectors:
        together.append(base64.b64encode(vector).decode())
        size += len(vector)
        if size >= PART_BYTES:
            yield DeltaV1(vectors=tuple(together))
            together, size = [], 0
    if together:
        yield DeltaV1(vectors=tuple(together))
