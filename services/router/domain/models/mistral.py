"""Mistral's models, as of 2026-11-23.

Windows, limits and features: LiteLLM's model_prices_and_context_window.json (MIT), read 2026-11-23, and Mistral's
openapi.yaml of 2026-08-21 (prefill is ``prefix`` on the last assistant message, for every chat model). Pictures:
patches of 14 or 16 pixels, merged by two in newer models, at most 1,540 by 1,540 pixels; Pixtral's 64 by 64 and a break
per row is the most (docs.mistral.ai/capabilities/vision, mistral-common).
"""

from services.router.domain.models.building import (
    OBJECT,
    PREFILL,
    REASONING,
    SCHEMA,
    TOOLS,
    VISION,
    chat,
    embedding,
)

_TALKS = (TOOLS, OBJECT, SCHEMA, PREFILL)
_SEES = (*_TALKS, VISION)
_PICTURE = 64 * 64 + 64

MODELS = (
    chat("ministral-3b-2512", 131_072, 131_072, *_SEES, picture=_PICTURE),
    chat("ministral-8b-2512", 262_144, 262_144, *_SEES, picture=_PICTURE),
    chat("ministral-14b-2512", 262_144, 262_144, *_SEES, picture=_PICTURE),
    chat("mistral-small-latest", 262_144, 262_144, *_SEES, REASONING, picture=_PICTURE),
    chat("mistral-small-2603", 262_144, 262_144, *_SEES, REASONING, picture=_PICTURE),
    chat("mistral-medium-latest", 262_144, 262_144, *_SEES, REASONING, picture=_PICTURE),
    chat("mistral-medium-3-5", 262_144, 262_144, *_SEES, REASONING, picture=_PICTURE),
    chat("mistral-large-latest", 262_144, 262_144, *_SEES, picture=_PICTURE),
    chat("mistral-large-2512", 262_144, 262_144, *_SEES, picture=_PICTURE),
    chat("mistral-large-4", 1_048_576, 1_048_576, *_SEES, REASONING, picture=_PICTURE),
    chat("codestral-2508", 128_000, 128_000, *_TALKS),
    chat("codestral-latest", 128_000, 128_000, *_TALKS),
    chat("devstral-2512", 262_144, 262_144, *_TALKS),
    chat("open-mistral-nemo", 128_000, 128_000, OBJECT, SCHEMA, PREFILL),
    embedding("mistral-embed", 8_192),
    embedding("codestral-embed", 8_192),
)
