"""Joining and splitting the pieces of an answer: what they say stays the same, and the same order."""

from collections.abc import Iterator

from shared.messages.chat import DeltaV1

# In bytes of JSON: what may be gathered for a slow asker, and what a part holds at most.
JOINED_AT_MOST = 16 * 1024
PART_AT_MOST = 256 * 1024


def encoded(delta: DeltaV1) -> bytes:
    """``delta`` as it travels."""
    return delta.model_dump_json(exclude_defaults=True).encode()


def is_text(delta: DeltaV1) -> bool:
    """Whether it is text alone, which is as good when it is joined to more."""
    return not (delta.tool_calls or delta.vectors) and delta.continued is None


def parts(delta: DeltaV1) -> Iterator[bytes]:
    """``delta`` as one or more parts of at most ``PART_AT_MOST`` bytes; a vector is never split."""
    body = encoded(delta)
    halves = _halves(delta) if len(body) > PART_AT_MOST else None
    if halves is None:
        yield body
    else:
        for half in halves:
            yield from parts(half)


def _halves(delta: DeltaV1) -> tuple[DeltaV1, DeltaV1] | None:
    if len(delta.text) > 1:
        middle = len(delta.text) // 2
        rest = delta.model_copy(update={"text": delta.text[middle:], "continued": None})
        return DeltaV1(text=delta.text[:middle], continued=delta.continued), rest
    if delta.tool_calls:
        return _halves_of_calls(delta)
    if len(delta.vectors) > 1:
        middle = len(delta.vectors) // 2
        return delta.model_copy(update={"vectors": delta.vectors[:middle]}), DeltaV1(vectors=delta.vectors[middle:])
    return None


def _halves_of_calls(delta: DeltaV1) -> tuple[DeltaV1, DeltaV1] | None:
    first, *others = delta.tool_calls
    if others or delta.vectors:
        alone = delta.model_copy(update={"tool_calls": (first,), "vectors": ()})
        return alone, DeltaV1(tool_calls=tuple(others), vectors=delta.vectors)
    middle = len(first.arguments) // 2
    if not middle:
        return None
    begin = first.model_copy(update={"arguments": first.arguments[:middle]})
    end = first.model_copy(update={"arguments": first.arguments[middle:], "id": None, "name": None})
    return delta.model_copy(update={"tool_calls": (begin,)}), DeltaV1(tool_calls=(end,))
