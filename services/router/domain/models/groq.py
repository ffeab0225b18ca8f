"""Groq's models, as of 2026-11-23.

Windows, limits and features: LiteLLM's model_prices_and_context_window.json (MIT) and genai-prices 0.2.3 (MIT), both
read 2026-11-23; JSON schemas by console.groq.com/docs/structured-outputs. Pictures: Qwen's processor makes 16,384
tokens at most (its max_pixels).
"""

from services.router.domain.models.building import OBJECT, REASONING, SCHEMA, TOOLS, VISION, chat

_TALKS = (TOOLS, OBJECT)
_PICTURE = 16_384

MODELS = (
    chat("llama-3.1-8b-instant", 131_072, 131_072, *_TALKS),
    chat("llama-3.3-70b-versatile", 131_072, 32_768, *_TALKS),
    chat("openai/gpt-oss-20b", 131_072, 65_536, *_TALKS, SCHEMA, REASONING, thinks=True),
    chat("openai/gpt-oss-120b", 131_072, 65_536, *_TALKS, SCHEMA, REASONING, thinks=True),
    chat("openai/gpt-oss-safeguard-20b", 131_072, 65_536, *_TALKS, SCHEMA, REASONING, thinks=True),
    chat("qwen/qwen3.8-27b", 131_072, 16_384, *_TALKS, VISION, SCHEMA, REASONING, thinks=True, picture=_PICTURE),
)
