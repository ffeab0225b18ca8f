"""A choice of OpenRouter's models, as of 2026-11-23; any other of its ids works too, with what is known of its price.

Windows, limits and features are those of the makers (see their files); OpenRouter may end sooner. Pictures: as at the
maker. Prefill is left out: which of its hosts answers is not known before.
"""

from services.router.domain.models.building import OBJECT, REASONING, SCHEMA, TOOLS, VISION, chat, embedding

_TALKS = (TOOLS, OBJECT, SCHEMA)
_SEES = (*_TALKS, VISION)
_REASONS = (*_TALKS, REASONING)
_ALL = (*_SEES, REASONING)
_CLAUDE = (TOOLS, VISION, SCHEMA, REASONING)

MODELS = (
    chat("openai/gpt-4o", 128_000, 16_384, *_SEES, picture=1_445),
    chat("openai/gpt-4o-mini", 128_000, 16_384, *_SEES, picture=48_169),
    chat("openai/gpt-5-mini", 400_000, 128_000, *_ALL, thinks=True, picture=2_489),
    chat("openai/gpt-5.5", 1_050_000, 128_000, *_ALL, thinks=True, picture=12_000),
    chat("openai/gpt-6-sol", 1_050_000, 128_000, *_ALL, thinks=True),
    chat("openai/gpt-oss-120b", 131_072, 65_536, *_REASONS, thinks=True),
    chat("anthropic/claude-haiku-4.5", 200_000, 64_000, *_CLAUDE, picture=1_700),
    chat("anthropic/claude-haiku-5.5", 1_000_000, 128_000, *_CLAUDE, thinks=True, picture=5_000),
    chat("anthropic/claude-sonnet-5.5", 1_000_000, 128_000, *_CLAUDE, thinks=True, picture=5_000),
    chat("google/gemini-2.5-flash", 1_048_576, 65_535, *_ALL, thinks=True, picture=6_192),
    chat("google/gemini-3.8-flash", 1_048_576, 65_536, *_ALL, thinks=True, picture=2_240),
    chat("mistralai/mistral-large-2512", 262_144, 131_072, *_SEES, picture=4_160),
    chat("deepseek/deepseek-v3.2", 163_840, 65_536, *_REASONS),
    chat("meta-llama/llama-3.3-70b-instruct", 131_072, 16_384, *_TALKS),
    chat("z-ai/glm-5.3", 1_000_000, 128_000, TOOLS, OBJECT, REASONING, thinks=True),
    embedding("openai/text-embedding-3-small", 8_191),
    embedding("openai/text-embedding-3-large", 8_191),
)
