"""Google Gemini: https://generativelanguage.googleapis.com."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from services.router.providers.answers import decode_by, failure_of, generated, judge_by, refused, seconds_in
from services.router.providers.base import (
    Adapter,
    ChatAnswer,
    ChatRequest,
    Dialect,
    Failure,
    HttpAnswer,
    HttpRequest,
    Provider,
    Unfit,
    Verification,
    at,
    count_at,
    json_body,
    json_of,
    text_at,
)
from shared.messages.chat import ChatOptionsV1
from shared.messages.router import TokensV1
from shared.messages.vocabulary import Capability, Outcome

_FINISH: Mapping[str, str] = {"STOP": "stop", "MAX_TOKENS": "length"}
_BLOCKED = frozenset({"SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"})
_ROLES = {"user": "user", "assistant": "model"}


def encode(request: ChatRequest) -> HttpRequest:
    """The request; system messages are joined, wherever they stood.

    Raises:
        Unfit: nothing but system messages.
    """
    system = "\n\n".join(item.text for item in request.messages if item.role == "system")
    contents = [
        {"role": _ROLES[item.role], "parts": [{"text": item.text}]}
        for item in request.messages
        if item.role != "system"
    ]
    if not contents:
        raise Unfit("no_user_message")
    body: dict[str, Any] = {"contents": contents, "generationConfig": _generation(request.options)}
    if system:
        body["systemInstruction"] = {"parts": [{"text": system}]}
    path = f"/v1beta/models/{quote(request.model, safe='')}:generateContent"
    return HttpRequest("POST", path, {"content-type": "application/json"}, json_body(body))


def _generation(options: ChatOptionsV1) -> dict[str, Any]:
    settings = {
        "maxOutputTokens": options.max_tokens,
        "temperature": options.temperature,
        "topP": options.top_p,
        "stopSequences": list(options.stop) if options.stop is not None else None,
        "seed": options.seed,
    }
    return {name: value for name, value in settings.items() if value is not None}


def read(answer: HttpAnswer, body: dict[str, Any]) -> ChatAnswer | Failure:
    """The joined text parts of the first candidate; thoughts are left out."""
    tokens, reason = tokens_in(body), text_at(body, "candidates", 0, "finishReason")
    if at(body, "promptFeedback", "blockReason"):
        return refused(answer, "prompt_blocked", tokens)
    if reason in _BLOCKED:
        return refused(answer, reason.lower(), tokens)
    text = _text(at(body, "candidates", 0, "content", "parts"))
    if text is None and reason == "MAX_TOKENS":
        text = ""  # thoughts can use up the limit before the first word
    finish, model = _FINISH.get(reason or ""), text_at(body, "modelVersion")
    return generated(answer, tokens, finish=finish, text=text, model=model, id_=at(body, "responseId"))


def _text(parts: object) -> str | None:
    if not isinstance(parts, list):
        return None
    texts = [at(part, "text") for part in parts if at(part, "thought") is not True and at(part, "text") is not None]
    return "".join(texts) if texts and all(isinstance(text, str) for text in texts) else None


def tokens_in(body: dict[str, Any]) -> TokensV1:
    """Usage; thoughts are generated and paid for beside the candidates. A count of 0 is left out on the wire."""
    usage = at(body, "usageMetadata")
    prompt, total = count_at(usage, "promptTokenCount"), count_at(usage, "totalTokenCount")
    visible, thoughts = count_at(usage, "candidatesTokenCount"), count_at(usage, "thoughtsTokenCount")
    output = None if visible is None and thoughts is None else (visible or 0) + (thoughts or 0)
    if output is None and prompt is not None and total is not None and total >= prompt:
        output = total - prompt
    return TokensV1(
        input_tokens=prompt,
        output_tokens=output,
        cache_read_tokens=count_at(usage, "cachedContentTokenCount"),
        reasoning_tokens=thoughts,
    )


def fail(answer: HttpAnswer) -> Failure:
    """The failure in an error answer: by the reason in its details, then its ``status``."""
    body = json_of(answer)
    found = at(body, "error", "details")
    details = found if isinstance(found, list) else []
    reason = next((text for item in details if (text := text_at(item, "reason"))), None)
    wait = next((text for item in details if (text := text_at(item, "retryDelay"))), None)
    failure = failure_of(answer, reason, text_at(body, "error", "status"), retry_after_s=seconds_in(wait))
    if answer.status == 429 and _quota_is_out(details, wait):
        return replace(failure, outcome=Outcome.QUOTA_EXHAUSTED)
    said = text_at(body, "error", "message", longest=2000) or ""
    if answer.status == 400 and "exceeds the maximum number of tokens" in said:
        return replace(failure, outcome=Outcome.CONTEXT_LENGTH_EXCEEDED, detail="context_length_exceeded")
    return failure


def _quota_is_out(details: list[Any], wait: str | None) -> bool:
    # The same status and sentence stand for "slow down" and for "no more today"; the quota's name tells them apart.
    violations = [at(item, "violations") for item in details if at(item, "violations")]
    quotas = str(violations)
    return "PerDay" in quotas or (bool(violations) and wait is None and "PerMinute" not in quotas)


def auth(key: str) -> dict[str, str]:
    """The key in a header, never in the URL."""
    return {"x-goog-api-key": key}


GOOGLE = Provider(
    id="google",
    name="Google Gemini",
    base_url="https://generativelanguage.googleapis.com",
    verification=Verification("/v1beta/models?pageSize=1", auth, judge_by(fail, shows="models")),
    adapter=Adapter(
        chat=Dialect(
            encode=encode,
            decode=decode_by(read, fail),
            events=lambda _: (),
            options=frozenset({"max_tokens", "temperature", "top_p", "stop", "seed"}),
        ),
        auth=auth,
        fail=fail,
    ),
    capabilities=(Capability.CHAT,),
    planned_capabilities=(
        Capability.EMBEDDING,
        Capability.IMAGE_GENERATION,
        Capability.SPEECH_TO_TEXT,
        Capability.TEXT_TO_SPEECH,
        Capability.VIDEO_GENERATION,
    ),
)
