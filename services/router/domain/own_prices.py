"""Prices genai-prices has not, each with its source; read 2026-11-23.

Replicate prices its own hosting and passes on makers' prices: replicate.com/pricing, as LiteLLM's
model_prices_and_context_window.json (MIT) has it. Zhipu: bigmodel.cn/pricing, in yuan there, at the rate genai-prices
itself uses for Zhipu (0.138 USD). The rest: the same LiteLLM file, figures of the makers' price pages.
"""

from collections.abc import Mapping
from decimal import Decimal

from services.router.domain.pricing import Price, Rate

READ_ON = "2026-11-23"
OWN = f"own {READ_ON}"
LITELLM = "LiteLLM model_prices_and_context_window.json, 2026-11-23"
BIGMODEL = "docs.bigmodel.cn/cn/guide/models/embedding: 0.5 CNY per million tokens"
MAKER = "the maker's price, passed on (openrouter.ai/docs/faq); every answer tells its cost besides"
_NO_OUTPUT = None

# provider, model: USD per million tokens in, out, from cache (None: as other input), and where it stands.
TABLE: Mapping[tuple[str, str], tuple[str, str | None, str | None, str]] = {
    ("zhipu", "embedding-2"): ("0.069", _NO_OUTPUT, None, BIGMODEL),
    ("zhipu", "embedding-3"): ("0.069", _NO_OUTPUT, None, BIGMODEL),
    ("zhipu", "glm-4.5"): ("0.6", "2.2", None, LITELLM),
    ("zhipu", "glm-4.5v"): ("0.6", "1.8", None, LITELLM),
    ("zhipu", "glm-4.6"): ("0.6", "2.2", None, LITELLM),
    ("zhipu", "glm-5v-turbo"): ("1.2", "4", None, LITELLM),
    ("openrouter", "openai/text-embedding-3-small"): ("0.02", _NO_OUTPUT, None, MAKER),
    ("openrouter", "openai/text-embedding-3-large"): ("0.13", _NO_OUTPUT, None, MAKER),
    ("replicate", "meta/llama-2-70b-chat"): ("0.65", "2.75", None, LITELLM),
    ("replicate", "meta/meta-llama-3-8b-instruct"): ("0.05", "0.25", None, LITELLM),
    ("replicate", "meta/meta-llama-3-70b-instruct"): ("0.65", "2.75", None, LITELLM),
    ("replicate", "openai/gpt-4o"): ("2.5", "10", None, LITELLM),
    ("replicate", "openai/gpt-4o-mini"): ("0.15", "0.6", None, LITELLM),
    ("replicate", "openai/gpt-4.1"): ("2", "8", None, LITELLM),
    ("replicate", "openai/gpt-4.1-mini"): ("0.4", "1.6", None, LITELLM),
    ("replicate", "openai/gpt-4.1-nano"): ("0.1", "0.4", None, LITELLM),
    ("replicate", "openai/gpt-5"): ("1.25", "10", None, LITELLM),
    ("replicate", "openai/gpt-5-mini"): ("0.25", "2", None, LITELLM),
    ("replicate", "openai/gpt-5-nano"): ("0.05", "0.4", None, LITELLM),
    ("replicate", "openai/o4-mini"): ("1", "4", None, LITELLM),
    ("replicate", "openai/gpt-oss-20b"): ("0.09", "0.36", None, LITELLM),
    ("replicate", "openai/gpt-oss-120b"): ("0.18", "0.72", None, LITELLM),
    ("replicate", "anthropic/claude-4-sonnet"): ("3", "15", None, LITELLM),
    ("replicate", "anthropic/claude-4.5-haiku"): ("1", "5", None, LITELLM),
    ("replicate", "anthropic/claude-4.5-sonnet"): ("3", "15", None, LITELLM),
    ("replicate", "google/gemini-2.5-flash"): ("0.3", "2.5", None, LITELLM),
    ("replicate", "google/gemini-3-pro"): ("2", "12", None, LITELLM),
    ("replicate", "deepseek-ai/deepseek-v3"): ("1.45", "1.45", None, LITELLM),
    ("replicate", "deepseek-ai/deepseek-v3.1"): ("0.672", "2.016", None, LITELLM),
    ("replicate", "ibm-granite/granite-3.3-8b-instruct"): ("0.03", "0.25", None, LITELLM),
}


def own_price(provider_id: str, model_id: str) -> Price | None:
    """The table's price; None for a model that is not in it."""
    row = TABLE.get((provider_id, model_id))
    if row is None:
        return None
    paid, answered, cached, _ = row
    return Price(
        Rate(Decimal(paid)),
        None if answered is None else Rate(Decimal(answered)),
        None if cached is None else Rate(Decimal(cached)),
        version=OWN,
    )
