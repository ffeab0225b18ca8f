"""Zhipu GLM: https://open.bigmodel.cn/api/paas/v4 (the international address is https://api.z.ai/api/paas/v4)."""

import re
from functools import partial
from typing import Any

from services.router.providers.answers import bearer, judge_by
from services.router.providers.base import ChatRequest, Provider, Unfit, Verification
from services.router.providers.chat_completions import adapter
from services.router.providers.chat_failures import fail
from services.router.providers.chat_host import Host
from services.router.providers.embeddings import embedding
from services.router.providers.verifications import NO_REQUEST, only_refusals
from shared.messages.vocabulary import Capability

# GLM-5.2 brought ``reasoning_effort``. Models before it can only think or not, and ignore the field.
_WITHOUT_EFFORT = re.compile(r"glm-(4|5(?!\.[2-9]))")
_COOLEST_P = 0.01


def shape(request: ChatRequest, body: dict[str, Any]) -> None:
    """The body in Zhipu's words.

    Raises:
        Unfit: an option has a value that Zhipu does not have.
    """
    options, images = request.options, [image for message in request.messages for image in message.images]
    beyond = {
        "temperature_above_1": (options.temperature or 0) > 1,
        "top_p_below_0.01": (options.top_p or 1) < _COOLEST_P,
        "stop_more_than_one": len(options.stop or ()) > 1,
        "tool_choice": options.tool_choice not in {None, "auto"},
        "json_schema": options.response_format is not None and options.response_format.type == "json_schema",
        "image_detail": any(image.detail is not None for image in images),
        "strict_tool": any(tool.strict for tool in options.tools or ()),
    }
    if any(beyond.values()):
        raise Unfit(next(reason for reason, is_so in beyond.items() if is_so))
    for tool in body.get("tools", ()):
        function = {"description": "", "parameters": {"type": "object", "properties": {}}} | tool["function"]
        tool["function"] = {name: value for name, value in function.items() if name != "strict"}
    if options.reasoning_effort is not None and _WITHOUT_EFFORT.match(request.model):
        if options.reasoning_effort != "none":
            raise Unfit("reasoning_effort")
        del body["reasoning_effort"]
        body["thinking"] = {"type": "disabled"}


# Its numbers mean something else elsewhere (Mistral's 1300 is a rate limit), so they are translated here.
_CODES = (
    dict.fromkeys(("1000", "1001", "1002", "1003", "1004"), "invalid_api_key")
    | dict.fromkeys(("1110", "1111", "1112", "1121"), "account_deactivated")
    | dict.fromkeys(("1113", "1304", "1308", "1309", "1310"), "insufficient_quota")
    | dict.fromkeys(("1302", "1303"), "rate_limit_exceeded")
    | dict.fromkeys(("1120", "1230", "1234", "1305", "1312"), "server_error")
    | dict.fromkeys(("1211", "1221", "1222"), "model_not_found")
    | dict.fromkeys(("1300", "1301"), "content_filter")
    | {"1261": "context_length_exceeded"}
)
_OPTIONS = frozenset({
    "max_tokens", "temperature", "top_p", "stop", "tools", "tool_choice", "response_format", "reasoning_effort",
})  # fmt: skip
_HOST = Host(
    options=_OPTIONS,
    passes=frozenset({"do_sample", "thinking", "tool_stream", "user_id"}),
    asks_usage=True,
    # Models without pictures know only this form of content.
    joins_text=True,
    shape=shape,
    codes=_CODES,
)

ZHIPU = Provider(
    id="zhipu",
    name="Zhipu",
    base_url="https://open.bigmodel.cn/api/paas/v4",
    # What a good key is told of a task that does not exist is not documented; nor what a list would cost.
    verification=Verification(
        f"/async-result/{NO_REQUEST}", bearer, only_refusals(judge_by(partial(fail, host=_HOST)))
    ),
    adapter=adapter(_HOST, embedding=embedding(_HOST, 64)),
    capabilities=(Capability.CHAT, Capability.EMBEDDING),
    planned_capabilities=(Capability.IMAGE_GENERATION, Capability.VIDEO_GENERATION),
    region="cn",
)
