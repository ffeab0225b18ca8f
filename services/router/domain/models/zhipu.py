"""Zhipu's models, as of 2026-11-23.

Windows, limits and features: LiteLLM's model_prices_and_context_window.json (MIT), read 2026-11-23, and the vendor's
openapi.json of 2026-08-22 (response_format is text or json_object, never a schema). Pictures: GLM-V reads at most
12,845,056 pixels in squares of 28, which is 16,384 tokens.
"""

from services.router.domain.models.building import OBJECT, REASONING, TOOLS, VISION, chat, embedding, other
from shared.messages.vocabulary import Capability

_TALKS = (TOOLS, OBJECT)
_REASONS = (*_TALKS, REASONING)
_PICTURE = 16_384

MODELS = (
    chat("glm-4-plus", 128_000, 4_095, *_TALKS),
    chat("glm-4.5", 128_000, 32_000, *_REASONS, thinks=True),
    chat("glm-4.5-air", 128_000, 32_000, *_REASONS, thinks=True),
    chat("glm-4.5v", 128_000, 32_000, *_REASONS, VISION, thinks=True, picture=_PICTURE),
    chat("glm-4.6", 200_000, 128_000, *_REASONS, thinks=True),
    chat("glm-4.7", 200_000, 128_000, *_REASONS, thinks=True),
    chat("glm-5", 200_000, 128_000, *_REASONS, thinks=True),
    chat("glm-5.1", 200_000, 128_000, *_REASONS, thinks=True),
    chat("glm-5v-turbo", 200_000, 128_000, *_REASONS, VISION, thinks=True, picture=_PICTURE),
    chat("glm-5.2", 1_000_000, 128_000, *_REASONS, thinks=True),
    chat("glm-5.3", 1_000_000, 128_000, *_REASONS, thinks=True),
    chat("glm-5.3-flash", 1_048_576, 128_000, *_REASONS, VISION, thinks=True, picture=_PICTURE),
    embedding("embedding-2", 8_192),
    embedding("embedding-3", 8_192),
    other("cogview-4-250304", Capability.IMAGE_GENERATION),
    other("cogvideox-3", Capability.VIDEO_GENERATION),
)
