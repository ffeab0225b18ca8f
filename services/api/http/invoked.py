"""Answers of calls as the contract has them: whole, and piece by piece."""

import json
from collections.abc import Iterator
from typing import Any

from shared.messages.chat import DeltaV1, ToolCallV1
from shared.messages.router import InvokedV1, TokensV1
from shared.money import format_usd


def invoked_view(answer: InvokedV1) -> dict[str, Any]:
    """A complete answer. ``output.tool_calls`` and ``continued`` only where there are any."""
    reason = answer.fallback_reason
    view = {
        "call_id": answer.call_id,
        "alias_name": answer.alias_name,
        "capability": answer.capability.value,
        "provider": answer.provider,
        "model": answer.model,
        "output": _output(answer),
        "finish_reason": answer.finish_reason,
        "usage": usage_view(answer.tokens),
        "cost_usd": format_usd(answer.cost_usd_micros),
        "fallback": {"used": reason is not None, "reason": reason.value if reason else None},
        "attempts": [attempt.public() for attempt in answer.attempts],
        "warnings": [warning.model_dump() for warning in answer.warnings],
        "latency_ms": answer.latency_ms,
        "funds": answer.funds.value,
    }
    return view | {"continued": [target.model_dump() for target in answer.continued]} if answer.continued else view


def _output(answer: InvokedV1) -> dict[str, Any]:
    calls = [_call_view(call) for call in answer.tool_calls]
    return {"text": answer.text, "tool_calls": calls} if calls else {"text": answer.text}


def _call_view(call: ToolCallV1) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def usage_view(tokens: TokensV1) -> dict[str, int | None]:
    """Tokens with their total; null is unknown."""
    known = tokens.input_tokens is not None and tokens.output_tokens is not None
    total = (tokens.input_tokens or 0) + (tokens.output_tokens or 0) if known else None
    return {**tokens.model_dump(), "total_tokens": total}


def delta_events(delta: DeltaV1) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and data of the events that stand for a piece of an answer."""
    if delta.continued is not None:
        yield "continued", delta.continued.model_dump()
    data: dict[str, Any] = {"text": delta.text} if delta.text else {}
    if delta.tool_calls:
        data["tool_calls"] = [call.model_dump(exclude_none=True) for call in delta.tool_calls]
    if data:
        yield "delta", data


def embedded_json(answer: InvokedV1, vectors: list[str]) -> str:
    """The complete answer of an embedding as JSON; ``vectors`` as ``vector_json`` writes them."""
    view = json.dumps({**invoked_view(answer), "output": None}, ensure_ascii=False)
    before, output, after = view.rpartition('"output": null')
    assert output  # noqa: S101 - it has just been written
    return f'{before}"output": {{"embeddings": [{", ".join(vectors)}]}}{after}'
