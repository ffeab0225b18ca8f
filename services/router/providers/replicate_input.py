"""Requests to Replicate: a conversation as the input of a prediction.

Its language models take one ``prompt`` and a ``system_prompt``. A single question is the prompt as it is. A longer
conversation becomes one text in the way Llama's own chat texts are written, by which its models know who speaks:

    [INST] first question [/INST] first answer
    [INST] second question [/INST]
"""

import re
from collections.abc import Sequence
from urllib.parse import quote

from services.router.providers.base import ChatRequest, HttpRequest, Unfit, json_body
from shared.messages.chat import ChatMessageV1, ChatOptionsV1

OPTIONS = frozenset({"max_tokens", "temperature", "top_p", "stop", "seed"})
PASSES = frozenset({"top_k"})
# Long enough for most answers, and shorter than the time a target has for its first byte: a prediction whose creation
# nobody saw answered could not be cancelled.
WAIT = "wait=5"
# No call lives longer than that, so a prediction that outlives the router that asked for it ends by itself.
CANCEL_AFTER = "10m"
_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)/([A-Za-z0-9][A-Za-z0-9._-]*)")
_VERSION = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*:)?([0-9a-f]{64})")


def encode(request: ChatRequest) -> HttpRequest:
    """The request for a prediction.

    Raises:
        Unfit: a model id that is neither ``owner/name`` nor a version, pictures, tools, or a stop with a comma.
    """
    body: dict[str, object] = {"input": _input(request)}
    headers = {"content-type": "application/json", "cancel-after": CANCEL_AFTER}
    if version := _VERSION.fullmatch(request.model):
        path = "/predictions"
        body["version"] = version[1]
    elif name := _NAME.fullmatch(request.model):
        path = f"/models/{quote(name[1], safe='')}/{quote(name[2], safe='')}/predictions"
    else:
        raise Unfit("model_id")
    if request.stream:
        # The prediction is JSON; what streams is asked for where that says.
        told = headers | {"accept": "application/json"}
        return HttpRequest("POST", path, told, json_body(body | {"stream": True}))
    return HttpRequest("POST", path, headers | {"prefer": WAIT}, json_body(body))


def _input(request: ChatRequest) -> dict[str, object]:
    options = request.options
    own = (options.provider_options or {}).get("replicate", {})
    system = "\n\n".join(item.text for item in request.messages if item.role == "system")
    made: dict[str, object] = {
        "prompt": _prompt(request.messages),
        "system_prompt": system or None,
        # Models of the Llama 2 kind call the limit by its second name. Inputs a model does not know are passed over,
        # and a limit that it does not know would be none.
        "max_tokens": options.max_tokens,
        "max_new_tokens": options.max_tokens,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "stop_sequences": _stop(options),
        "seed": options.seed,
    }
    return {name: value for name, value in (own | made).items() if value is not None}


def _stop(options: ChatOptionsV1) -> str | None:
    if options.stop is None:
        return None
    if any("," in text for text in options.stop):
        raise Unfit("stop")
    return ",".join(options.stop)


def _prompt(messages: Sequence[ChatMessageV1]) -> str:
    if any(item.images for item in messages):
        raise Unfit("image")
    if any(item.role == "tool" or item.tool_calls for item in messages):
        raise Unfit("tools")
    said = [item for item in messages if item.role != "system"]
    if not said or said[-1].role != "user":
        # Models wrap the prompt into their own words for a question: nothing in it is the beginning of an answer.
        raise Unfit("no_user_message" if not said else "last_message")
    if len(said) == 1:
        return said[0].text
    return "".join(f"[INST] {item.text} [/INST]" if item.role == "user" else f" {item.text}\n" for item in said)
