"""Prices genai-prices has not, each with its source; read 2026-11-23.

Replicate prices its own hosting and passes on makers' prices: replicate.com/pricing, as LiteLLM's
model_prices_and_context_window.json (MIT) has it; only models whose limit of output our adapter knows how to set are
here, since without one no bound would hold. Zhipu: bigmodel.cn/pricing, in yuan there, at the rate genai-prices itself
uses for Zhipu (0.138 USD). The rest: the same LiteLLM file, figures of the makers' price pages.
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

# provider, model: USD per million tokens in and out (None: it makes none), and where it stands.
TABLE: Mapping[tuple[str, str], tuple[str, str | None, str]] = {
    ("zhipu", "embedding-2"): ("0.069", _NO_OUTPUT, BIGMODEL),
    ("zhipu", "embedding-3"): ("0.069", _NO_OUTPUT, BIGMODEL),
    ("zhipu", "glm-4.5"): ("0.6", "2.2", LITELLM),
    ("zhipu", "glm-4.5v"): ("0.6", "1.8", LITELLM),
    ("zhipu", "glm-4.6"): ("0.6", "2.2", LITELLM),
    ("zhipu", "glm-5v-turbo"): ("1.2", "4", LITELLM),
    ("openrouter", "openai/text-embedding-3-small"): ("0.02", _NO_OUTPUT, MAKER),
    ("openrouter", "openai/text-embedding-3-large"): ("0.13", _NO_OUTPUT, MAKER),
    ("replicate", "meta/llama-2-70b-chat"): ("0.65", "2.75", LITELLM),
    ("replicate", "meta/meta-llama-3-8b-instruct"): ("0.05", "0.25", LITELLM),
    ("replicate", "meta/meta-llama-3-70b-instruct"): ("0.65", "2.75", LITELLM),
    ("replicate", "anthropic/claude-4-sonnet"): ("3", "15", LITELLM),
    ("replicate", "anthropic/claude-4.5-haiku"): ("1", "5", LITELLM),
    ("replicate", "anthropic/claude-4.5-sonnet"): ("3", "15", LITELLM),
    ("replicate", "deepseek-ai/deepseek-v3"): ("1.45", "1.45", LITELLM),
    ("replicate", "deepseek-ai/deepseek-v3.1"): ("0.672", "2.016", LITELLM),
    ("replicate", "ibm-granite/granite-3.3-8b-instruct"): ("0.03", "0.25", LITELLM),
}


def own_price(provider_id: str, model_id: str) -> Price | None:
    """The table's price; None for a model that is not in it."""
    row = TABLE.get((provider_id, model_id))
    if row is None:
        return None
    paid, answered, _ = row
    return Price(
        Rate(Decimal(paid)),
        None if answered is None else Rate(Decimal(answered)),
        version=OWN,
    )
