"""OpenAI's models, as of 2026-11-23.

Windows, limits and features: LiteLLM's model_prices_and_context_window.json (MIT), read 2026-11-23; where it gives the
input alone, the window is that and the output. Pictures: developers.openai.com/api/docs/guides/images-vision (tiles of
512 pixels, at most 8; patches of 32 pixels, at most 1,536, times a factor; 10,000 patches times 1.2 for gpt-5.4 and
gpt-5.5). Newer models read pictures as they are and are given the highest figure we know.

Past their announced end on 2026-11-23, but named by default aliases or still asked for: gpt-4, gpt-4-turbo,
gpt-4.1-nano, gpt-3.5-turbo, gpt-3.5-turbo-instruct, o4-mini (LiteLLM's deprecation_date).
"""

from services.router.domain.models.building import (
    OBJECT,
    REASONING,
    SCHEMA,
    TOOLS,
    VISION,
    chat,
    completion,
    embedding,
    other,
)
from shared.messages.vocabulary import Capability

_JSON = (TOOLS, OBJECT, SCHEMA)
_SEES = (*_JSON, VISION)
_REASONS = (*_SEES, REASONING)
_TILES, _TILES_4O_MINI, _TILES_5, _TILES_O = 85 + 170 * 8, 2_833 + 5_667 * 8, 70 + 140 * 8, 75 + 150 * 8
_MINI, _NANO, _O4, _FULL = 2_489, 3_779, 2_642, 12_000

MODELS = (
    chat("gpt-3.5-turbo", 16_385, 4_096, TOOLS, OBJECT),
    chat("gpt-4", 8_192, 8_192, TOOLS),
    chat("gpt-4-turbo", 128_000, 4_096, TOOLS, OBJECT, VISION, picture=_TILES),
    chat("gpt-4o", 128_000, 16_384, *_SEES, picture=_TILES),
    chat("gpt-4o-mini", 128_000, 16_384, *_SEES, picture=_TILES_4O_MINI),
    chat("gpt-4.1", 1_047_576, 32_768, *_SEES, picture=_TILES),
    chat("gpt-4.1-mini", 1_047_576, 32_768, *_SEES, picture=_MINI),
    chat("gpt-4.1-nano", 1_047_576, 32_768, *_SEES, picture=_NANO),
    chat("o3", 200_000, 100_000, *_REASONS, thinks=True, picture=_TILES_O),
    chat("o4-mini", 200_000, 100_000, *_REASONS, thinks=True, picture=_O4),
    chat("gpt-5", 400_000, 128_000, *_REASONS, thinks=True, picture=_TILES_5),
    chat("gpt-5-mini", 400_000, 128_000, *_REASONS, thinks=True, picture=_MINI),
    chat("gpt-5-nano", 400_000, 128_000, *_REASONS, thinks=True, picture=_NANO),
    chat("gpt-5.1", 400_000, 128_000, *_REASONS, thinks=True, picture=_TILES_5),
    chat("gpt-5.2", 400_000, 128_000, *_REASONS, thinks=True),
    chat("gpt-5.4", 1_050_000, 128_000, *_REASONS, thinks=True, picture=_FULL),
    chat("gpt-5.4-mini", 400_000, 128_000, *_REASONS, thinks=True),
    chat("gpt-5.4-nano", 400_000, 128_000, *_REASONS, thinks=True),
    chat("gpt-5.5", 1_050_000, 128_000, *_REASONS, thinks=True, picture=_FULL),
    chat("gpt-5.6", 1_050_000, 128_000, *_REASONS, thinks=True),
    chat("gpt-5.6-sol", 1_050_000, 128_000, *_REASONS, thinks=True),
    chat("gpt-5.6-terra", 1_050_000, 128_000, *_REASONS, thinks=True),
    chat("gpt-5.6-luna", 1_050_000, 128_000, *_REASONS, thinks=True),
    chat("gpt-6-astra", 1_050_000, 128_000, *_REASONS, thinks=True),
    chat("gpt-6-sol", 1_050_000, 128_000, *_REASONS, thinks=True),
    chat("gpt-6-luna", 1_050_000, 128_000, *_REASONS, thinks=True),
    chat("gpt-6.1-sol", 1_050_000, 128_000, *_REASONS, thinks=True),
    chat("gpt-6.1-terra", 1_050_000, 128_000, *_REASONS, thinks=True),
    completion("gpt-3.5-turbo-instruct", 4_096, 4_096),
    completion("babbage-002", 16_384, 4_096),
    completion("davinci-002", 16_384, 4_096),
    embedding("text-embedding-3-small", 8_191),
    embedding("text-embedding-3-large", 8_191),
    embedding("text-embedding-ada-002", 8_191),
    other("dall-e-3", Capability.IMAGE_GENERATION),
    other("gpt-image-1", Capability.IMAGE_GENERATION, Capability.IMAGE_EDITING),
    other("whisper-1", Capability.SPEECH_TO_TEXT),
    other("gpt-4o-mini-tts", Capability.TEXT_TO_SPEECH),
)
