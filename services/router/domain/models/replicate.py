"""Replicate's chat models, as of 2026-11-23: a prompt in, text out. Prices: ``domain/own_prices.py``.

Ids and windows: LiteLLM's model_prices_and_context_window.json (MIT), read 2026-11-23; windows of makers' models as at
the maker. A prediction takes a prompt and a system prompt: tools and schemas are not expressed there. OpenAI's and
Google's models are left out: their inputs call the limit of output ``max_completion_tokens`` and ``max_output_tokens``,
and a limit that a model does not know is no limit.
"""

from services.router.domain.models.building import chat

MODELS = (
    chat("meta/llama-2-70b-chat", 4_096, 2_048),
    chat("meta/meta-llama-3-8b-instruct", 8_192, 4_096),
    chat("meta/meta-llama-3-70b-instruct", 8_192, 4_096),
    chat("anthropic/claude-4-sonnet", 200_000, 64_000),
    chat("anthropic/claude-4.5-haiku", 200_000, 64_000),
    chat("anthropic/claude-4.5-sonnet", 200_000, 64_000),
    chat("deepseek-ai/deepseek-v3.1", 163_840, 65_536),
    chat("ibm-granite/granite-3.3-8b-instruct", 131_072, 8_192),
)
