"""Any host that speaks OpenAI's chat dialect: custom providers and the sandbox. Its base URL is in the catalogue."""

from functools import partial

from services.router.providers import chat_completions
from services.router.providers.answers import bearer, decode_by, judge_by
from services.router.providers.base import Adapter, Dialect, Verification

# Many copies have no list of models.
_UNDECIDED = {404: "not_verifiable", 405: "not_verifiable"}
MODELS = Verification("/models", bearer, judge_by(chat_completions.fail, undecided=_UNDECIDED))
OPENAI_COMPATIBLE = Adapter(
    chat=Dialect(
        # The older name: few copies know ``max_completion_tokens``, and one that ignores it would break the bound.
        encode=partial(chat_completions.encode, limit_field="max_tokens"),
        decode=decode_by(partial(chat_completions.read, lenient=True), chat_completions.fail),
        events=chat_completions.events,
        options=frozenset({"max_tokens", "temperature", "top_p", "stop", "seed"}),
    ),
    auth=bearer,
    fail=chat_completions.fail,
)
