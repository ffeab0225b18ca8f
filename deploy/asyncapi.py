"""``python -m deploy.asyncapi``: every message on the bus as one AsyncAPI 3.0 document (``make asyncapi``).

Derived from the messages themselves, like the permissions: what stands in ``docs/asyncapi.json`` is what runs, and a
test compares the two. FastStream's own document would leave out the path of every call, which does not run through it.
"""

import json
from pathlib import Path
from typing import Any

from pydantic.json_schema import models_json_schema

from shared.messages import ALL
from shared.messages.base import Event, Message, Part, Record, Request
from shared.permissions import inbox_prefix

FILE = Path(__file__).resolve().parent.parent / "docs" / "asyncapi.json"
_SCHEMAS = "#/components/schemas/"
_SERVER = {"host": "127.0.0.1:4222", "pathname": "/", "protocol": "nats", "description": "one NKey user a service"}
_DESCRIPTION = (
    "Services talk over core NATS; only finished calls and alerts are stored (JetStream). A request that fails is "
    "answered with the header Omnipost-Problem and a problem as its body. See docs/nats.md for other services."
)


def document() -> dict[str, Any]:
    """The whole document."""
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "OmniPost AI provider system", "version": "1", "description": _DESCRIPTION},
        "defaultContentType": "application/json",
        "servers": {"nats": _SERVER},
        "channels": {name: channel for message in ALL for name, channel in _channels(message).items()},
        "operations": {name: operation for message in ALL for name, operation in _operations(message).items()},
        "components": {
            "messages": {model.__name__: _message(model) for model in _models()},
            "schemas": _schemas(),
        },
    }


def text() -> str:
    """The document as it is committed."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def _models() -> list[type[Part]]:
    found = {model.__name__: model for message in ALL for model in _parts(message)}
    return [found[name] for name in sorted(found)]


def _parts(message: type[Message]) -> list[type[Part]]:
    if not issubclass(message, Request):
        return [message]
    return [message, message.reply, *([] if message.part is None else [message.part])]


def _schemas() -> dict[str, Any]:
    _, schemas = models_json_schema([(model, "validation") for model in _models()], ref_template=_SCHEMAS + "{model}")
    found: dict[str, Any] = schemas["$defs"]
    return dict(sorted(found.items()))


def _message(model: type[Part]) -> dict[str, Any]:
    described = {"name": model.__name__, "payload": {"$ref": _SCHEMAS + model.__name__}}
    summary = (model.__doc__ or "").strip().partition("\n")[0]
    example = getattr(model, "example", None)
    return described | {"summary": summary} | ({"examples": [{"payload": example}]} if example else {})


def _channels(message: type[Message]) -> dict[str, Any]:
    name = message.__name__
    parameters = [part[1:-1] for part in message.subject.split(".") if part.startswith("{")]
    channel: dict[str, Any] = {"address": message.subject, "messages": {name: _message_ref(message)}}
    if parameters:
        channel["parameters"] = {parameter: {} for parameter in parameters}
    if issubclass(message, Record):
        channel["description"] = f"Stored in the JetStream stream {message.stream}."
    if not issubclass(message, Request):
        return {name: channel}
    answers = {model.__name__: _message_ref(model) for model in _parts(message)[1:]}
    return {name: channel, f"{name}Reply": {"address": None, "messages": answers}}


def _operations(message: type[Message]) -> dict[str, Any]:
    name = message.__name__
    common = {"channel": {"$ref": f"#/channels/{name}"}, "messages": [_in_channel(name, message)]}
    if issubclass(message, Request):
        who = [*map(str, message.callers), *(["other OmniPost services"] if message.for_guests else [])]
        reply = {
            "address": {"location": "$message.header#/reply", "description": _inboxes(message)},
            "channel": {"$ref": f"#/channels/{name}Reply"},
            "messages": [_in_channel(f"{name}Reply", model) for model in _parts(message)[1:]],
        }
        answering = common | {"action": "receive", "summary": f"{message.owner} answers {', '.join(who)}"}
        return {f"{message.owner}.answer.{name}": answering | {"reply": reply}}
    hearing = message.listeners if issubclass(message, Event) else ()
    who = [*map(str, hearing)] or ["other OmniPost services"]
    if issubclass(message, Record):
        who = [str(message.consumer)]
    saying = {"action": "send", "summary": f"{message.owner} tells {', '.join(who)}"}
    return {f"{message.owner}.send.{name}": common | saying}


def _inboxes(message: type[Request]) -> str:
    return "below " + ", ".join(f"{inbox_prefix(caller)}." for caller in message.callers)


def _message_ref(model: type[Part]) -> dict[str, str]:
    return {"$ref": f"#/components/messages/{model.__name__}"}


def _in_channel(channel: str, model: type[Part]) -> dict[str, str]:
    return {"$ref": f"#/channels/{channel}/messages/{model.__name__}"}


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
