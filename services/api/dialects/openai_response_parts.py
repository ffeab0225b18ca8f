"""What an answer of ``/v1/responses`` is made of: the response itself, its items, its usage."""

from collections.abc import Mapping
from typing import Any

from services.api.dialects.receipt import model_of, receipt
from shared.errors import Code, OmniError
from shared.messages.router import InvokedV1, TokensV1

_FAILURES: Mapping[Code, str] = {
    Code.RATE_LIMITED: "rate_limit_exceeded",
    Code.CONTENT_POLICY: "invalid_prompt",
    Code.CONTEXT_LENGTH_EXCEEDED: "invalid_prompt",
    Code.INVALID_REQUEST: "invalid_prompt",
}


def response(call_id: str, created: int, model: str, shown: Mapping[str, Any]) -> dict[str, Any]:
    """A response that has only begun. ``created``: Unix seconds; ``shown``: what it repeats of the question."""
    return {
        "id": f"resp_{_bare(call_id)}",
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        **shown,
    }


def ended(answer: InvokedV1, output: list[dict[str, Any]]) -> dict[str, Any]:
    """The fields of a response that has its answer. Unknown usage is left out: OpenAI's has no unknown numbers."""
    cut = answer.finish_reason == "length"
    return {
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "model": model_of(answer),
        "output": output,
        **_usage(answer.tokens),
        "omnipost": receipt(answer),
    }


def failed(error: OmniError, output: list[dict[str, Any]]) -> dict[str, Any]:
    """The fields of a response that failed after it had begun; ``omnipost`` in ``error`` has our code."""
    told = {"code": _FAILURES.get(error.code, "server_error"), "message": error.detail}
    return {"status": "failed", "error": {**told, "omnipost": {"code": error.code.value}}, "output": output}


def status(answer: InvokedV1) -> str:
    """Of the items of an answer."""
    return "incomplete" if answer.finish_reason == "length" else "completed"


def message_item(call_id: str, index: int, state: str, text: str | None) -> dict[str, Any]:
    """A message at ``index`` of the output; ``text`` None: it has only begun."""
    content = [] if text is None else [text_part(text)]
    id_ = f"msg_{_bare(call_id)}_{index}"
    return {"id": id_, "type": "message", "status": state, "role": "assistant", "content": content}


def text_part(text: str) -> dict[str, Any]:
    """A message's text."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def call_item(call_id: str, index: int, state: str, call: Mapping[str, str]) -> dict[str, Any]:
    """A function call at ``index`` of the output. ``call``: ``id``, ``name``, ``arguments``."""
    told = {"call_id": call["id"], "name": call["name"], "arguments": call["arguments"]}
    return {"id": f"fc_{_bare(call_id)}_{index}", "type": "function_call", "status": state, **told}


def _usage(tokens: TokensV1) -> dict[str, Any]:
    if tokens.input_tokens is None or tokens.output_tokens is None:
        return {}
    cached, written = tokens.cache_read_tokens or 0, tokens.cache_write_tokens or 0
    usage = {
        "input_tokens": tokens.input_tokens,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "output_tokens": tokens.output_tokens,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning_tokens or 0},
        "total_tokens": tokens.input_tokens + tokens.output_tokens,
    }
    return {"usage": usage}


def _bare(call_id: str) -> str:
    return call_id.replace("-", "")
