"""Replicate's chat models, as of 2026-11-23: a prompt in, text out. Prices: ``domain/own_prices.py``.

Ids and windows: LiteLLM's model_prices_and_context_window.json (MIT), read 2026-11-23; windows of makers' models as at
the maker. A prediction takes a prompt and a system prompt: tools and schemas are not expressed there.
"""

from services.router.domain.models.building import chat

MODELS = (
    chat("meta/meta-llama-3-8b-instruct", 8_192, 4_096),
    chat("meta/meta-llama-3-70b-instruct", 8_192, 4_096),
    chat("openai/gpt-4o-mini", 128_000, 16_384),
    chat("openai/gpt-4.1", 1_047_576, 32_768),
    chat("openai/gpt-4.1-mini", 1_047_576, 32_768),
    chat("openai/gpt-5", 400_000, 128_000, thinks=True),
    chat("openai/gpt-5-mini", 400_000, 128_000, thinks=True),
    chat("openai/gpt-oss-20b", 131_072, 65_536, thinks=True),
    chat("openai/gpt-oss-120b", 131_072, 65_536, thinks=True),
    chat("anthropic/claude-4-sonnet", 200_000, 64_000),
    chat("anthropic/claude-4.5-haiku", 200_000, 64_000),
    chat("anthropic/claude-4.5-sonnet", 200_000, 64_000),
    chat("google/gemini-2.5-flash", 1_048_576, 65_535, thinks=True),
    chat("deepseek-ai/deepseek-v3.1", 163_840, 65_536),
    chat("ibm-granite/granite-3.3-8b-instruct", 131_072, 8_192),
)
