"""What of an attempt is stored for workspaces that want it, and how it is made to fit."""

from collections.abc import Iterable
from typing import Any

from shared.messages.chat import ChatMessageV1, ContentPartV1, ImagePartV1, ToolCallV1
from shared.messages.contents import ContentV1
from shared.messages.router import InvokeV1

# Texts are cut to ever fewer characters until it fits; first of all pictures go.
_CUTS = (None, 16_000, 2_000, 100)
_LARGE_OPTIONS = ("tools", "tool_choice", "response_format", "provider_options", "stop")


def weight(request: InvokeV1) -> int:
    """About how many characters somebody has written into ``request``."""
    inputs = request.embedding.inputs if request.embedding else ()
    return sum(map(len, inputs)) + sum(
        len(part.url) if isinstance(part, ImagePartV1) else len(part.text)
        for message in request.messages
        for part in message.parts
    )


def content_of(request: InvokeV1, *, continues: str | None, answer: Any = None, heard: str = "") -> ContentV1:  # noqa: ANN401
    """The content of an attempt. ``answer``: with ``text`` and ``tool_calls``, if it was text; None: it failed.

    ``heard``: what the caller had heard of an attempt that failed.
    """
    return ContentV1(
        messages=request.messages,
        options=request.options,
        embedding=request.embedding,
        continues=continues,
        text=heard if answer is None else getattr(answer, "text", ""),
        tool_calls=getattr(answer, "tool_calls", ()),
        complete=answer is not None,
    )


def fitted(content: ContentV1, most: int) -> bytes:
    """``content`` as UTF-8 JSON of at most ``most`` bytes (1,000 at least), shortened where it must be."""
    body = _json(content)
    if len(body) <= most:
        return body
    for longest in _CUTS:
        body = _json(_shortened(content, longest))
        if len(body) <= most:
            return body
    return _json(ContentV1(text=content.text[:100], complete=content.complete, shortened=True))


def _json(content: ContentV1) -> bytes:
    return content.model_dump_json(exclude_defaults=True).encode()


def _shortened(content: ContentV1, longest: int | None) -> ContentV1:
    changes: dict[str, Any] = {
        "messages": tuple(_message(message, longest) for message in content.messages),
        "text": content.text[:longest],
        "continues": None if content.continues is None else content.continues[:longest],
        "tool_calls": _calls(content.tool_calls, longest),
        "shortened": True,
    }
    if content.embedding is not None:
        inputs = tuple(text[:longest] for text in content.embedding.inputs)
        changes["embedding"] = content.embedding.model_copy(update={"inputs": inputs})
    if longest is not None:
        changes["options"] = content.options.model_copy(update=dict.fromkeys(_LARGE_OPTIONS))
    return content.model_copy(update=changes)


def _message(message: ChatMessageV1, longest: int | None) -> ChatMessageV1:
    if isinstance(message.content, str):
        content: str | tuple[ContentPartV1, ...] = message.content[:longest]
    else:
        content = tuple(_part(part, longest) for part in message.content)
    return message.model_copy(update={"content": content, "tool_calls": _calls(message.tool_calls, longest)})


def _part(part: ContentPartV1, longest: int | None) -> ContentPartV1:
    if isinstance(part, ImagePartV1):
        kind, _, _ = part.url.partition(",")
        return part.model_copy(update={"url": f"{kind},"}) if kind.startswith("data:") else part
    return part.model_copy(update={"text": part.text[:longest]})


def _calls(calls: Iterable[ToolCallV1], longest: int | None) -> tuple[ToolCallV1, ...]:
    return tuple(call.model_copy(update={"arguments": call.arguments[:longest]}) for call in calls)
