"""Google's models, as of 2026-11-23.

Windows, limits and features: LiteLLM's model_prices_and_context_window.json (MIT), read 2026-11-23. Pictures: Gemini
2.5 counts 258 tokens a tile, at most 24 tiles of 3,072 by 385 pixels; from Gemini 3 on 1,120 by default and 2,240 at
most (ai.google.dev/gemini-api/docs/image-understanding and /media-resolution; measured 1,101 at most).
"""

from services.router.domain.models.building import OBJECT, REASONING, SCHEMA, TOOLS, VISION, chat, embedding, other
from shared.messages.vocabulary import Capability

_SEES = (TOOLS, VISION, OBJECT, SCHEMA, REASONING)
_TILES, _FLAT = 258 * 24, 2_240

MODELS = (
    chat("gemini-2.5-flash", 1_048_576, 65_536, *_SEES, thinks=True, picture=_TILES),
    chat("gemini-2.5-flash-lite", 1_048_576, 65_536, *_SEES, picture=_TILES),
    chat("gemini-2.5-pro", 1_048_576, 65_536, *_SEES, thinks=True, picture=_TILES),
    chat("gemini-3-flash-preview", 1_048_576, 65_536, *_SEES, thinks=True, picture=_FLAT),
    chat("gemini-3.1-flash-lite", 1_048_576, 65_536, *_SEES, thinks=True, picture=_FLAT),
    chat("gemini-3.1-pro-preview", 1_048_576, 65_536, *_SEES, thinks=True, picture=_FLAT),
    chat("gemini-3.5-flash", 1_048_576, 65_536, *_SEES, thinks=True, picture=_FLAT),
    chat("gemini-3.5-flash-lite", 1_048_576, 65_536, *_SEES, thinks=True, picture=_FLAT),
    chat("gemini-3.6-flash", 1_048_576, 65_536, *_SEES, thinks=True, picture=_FLAT),
    chat("gemini-3.7-flash", 1_048_576, 65_536, *_SEES, thinks=True, picture=_FLAT),
    chat("gemini-3.8-flash", 1_048_576, 65_536, *_SEES, thinks=True, picture=_FLAT),
    chat("gemini-4-argon", 1_048_576, 1_048_576, *_SEES, thinks=True, picture=_FLAT),
    embedding("gemini-embedding-001", 2_048),
    embedding("gemini-embedding-2", 8_192),
    other("veo-3.1-generate-preview", Capability.VIDEO_GENERATION),
)
