"""How two requests, or an expectation and an answer, differ: in words that a person can act on."""

import json
import struct
from typing import Any

from services.router.providers.base import ChatAnswer, EmbedAnswer, Failure, Pending
from shared.messages.router import TokensV1
from tests.providers.conformance.reference import Expectation, Hand, Read, Reading, Trouble, Vectors, Waiting


def differences(path: str, wanted: Any, got: Any) -> list[str]:
    """Every place below ``path`` where two pieces of JSON differ."""
    if isinstance(wanted, dict) and isinstance(got, dict):
        found = [f"{path}.{name}: recorded {_short(wanted[name])}, ours lacks it" for name in wanted if name not in got]
        found += [f"{path}.{name}: ours has {_short(got[name])} besides" for name in got if name not in wanted]
        return found + [
            line for name in wanted if name in got for line in differences(f"{path}.{name}", wanted[name], got[name])
        ]
    if isinstance(wanted, list) and isinstance(got, list) and len(wanted) == len(got):
        pairs = enumerate(zip(wanted, got, strict=True))
        return [line for index, (one, other) in pairs for line in differences(f"{path}[{index}]", one, other)]
    same = wanted == got and isinstance(wanted, bool) == isinstance(got, bool)
    return [] if same else [f"{path}: recorded {_short(wanted)}, ours {_short(got)}"]


def difference(wanted: Reading | Expectation, got: Any) -> str | None:
    """How ``got`` (a reading, or what our adapter gives) differs from ``wanted``; None when it does not."""
    told = _as_reading(got)
    if isinstance(wanted, Hand) and isinstance(told, Read):
        wanted = _noted(wanted, told)
    if isinstance(wanted, Read) and isinstance(told, Read):
        return _of_texts(wanted, told)
    if isinstance(wanted, Trouble) and isinstance(told, Trouble):
        same = wanted.outcome is told.outcome and (wanted.detail is None or told.detail in {None, wanted.detail})
        return None if same else f"expected {wanted}, got {told}"
    if isinstance(wanted, Waiting) and isinstance(told, Waiting):
        same = wanted.id == told.id and told.stream in {None, wanted.stream}
        return None if same else f"expected {wanted}, got {told}"
    return None if wanted == told else f"expected {_short(wanted)}, got {_short(told)}"


def _noted(hand: Hand, told: Read) -> Read:
    """What was noted as a reading, its text completed by ``told`` where only its ends and its length were noted."""
    begins, same = told.text.startswith(hand.text), len(told.text) == hand.length
    text = told.text if begins and same and told.text.endswith(hand.ends) else f"{hand.text} … {hand.ends}"
    return Read(text, hand.finish, hand.tokens, hand.calls, hand.cost)


def _of_texts(wanted: Read, told: Read) -> str | None:
    fields = ("text", "finish", "tokens", "cost")
    for name in fields:
        one, other = getattr(wanted, name), getattr(told, name)
        if one != other:
            return f"{name}: expected {_short(one)}, got {_short(other)}"
    if len(wanted.calls) != len(told.calls):
        return f"{len(wanted.calls)} tool calls expected, got {len(told.calls)}"
    for one, other in zip(wanted.calls, told.calls, strict=True):
        same = one == other or (one[0] == other[0] and _object(one[1]) == _object(other[1]) is not None)
        if not same:
            return f"tool call: expected {_short(one)}, got {_short(other)}"
    return None


def _object(arguments: Any) -> Any:
    return json.loads(arguments or "{}") if isinstance(arguments, str) else arguments


def _as_reading(got: Any) -> Any:
    match got:
        case ChatAnswer():
            calls = tuple((call.name, call.arguments) for call in got.tool_calls)
            return Read(got.text, got.finish_reason, _counts(got.tokens), calls, got.provider_cost_usd_micros)
        case Failure():
            return Trouble(got.outcome, got.detail)
        case EmbedAnswer():
            first = struct.unpack(f"<{len(got.vectors[0]) // 4}f", got.vectors[0])
            begins = tuple(round(number, 5) for number in first[:4])
            return Vectors(len(got.vectors), len(first), begins, got.tokens.input_tokens)
        case Pending():
            assert got.cancel is not None
            return Waiting(got.cancel.path.split("/")[-2], got.elsewhere)
    return got


def _counts(tokens: TokensV1) -> tuple[int | None, ...]:
    return (
        tokens.input_tokens,
        tokens.output_tokens,
        tokens.cache_read_tokens,
        tokens.cache_write_tokens,
        tokens.reasoning_tokens,
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:200]} … {text[-80:]}"
