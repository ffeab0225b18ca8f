"""Any host that speaks OpenAI's chat dialect: custom providers and the sandbox. Its base URL is in the catalogue."""

from services.router.providers import completions
from services.router.providers.answers import bearer, judge_by
from services.router.providers.base import Verification
from services.router.providers.chat_completions import adapter
from services.router.providers.chat_failures import fail
from services.router.providers.chat_host import Host
from services.router.providers.embeddings import embedding

# Many copies have no list of models.
_UNDECIDED = {404: "not_verifiable", 405: "not_verifiable"}
_PASSES = frozenset({
    "chat_template_kwargs", "logit_bias", "logprobs", "min_p", "repetition_penalty", "top_k", "top_logprobs", "user",
})  # fmt: skip
_HOST = Host(
    passes=_PASSES,
    # The older name: few copies know ``max_completion_tokens``, and one that ignores it would break the bound.
    limit_field="max_tokens",
    # vLLM, llama.cpp and others tell the usage of a stream only then, and without it the reserved maximum is charged.
    # Copies that tell it anyway take the field as well, or ignore it.
    asks_usage=True,
    # Copies without pictures know only one form of content.
    joins_text=True,
    lenient=True,
)
MODELS = Verification("/models", bearer, judge_by(fail, undecided=_UNDECIDED))
# Not asked for base64: a copy that does not know it may refuse the request.
OPENAI_COMPATIBLE = adapter(_HOST, completion=completions.dialect(_HOST), embedding=embedding(_HOST, 32))
