"""Anthropic's models, as of 2026-11-23.

Windows and limits: LiteLLM's model_prices_and_context_window.json (MIT), read 2026-11-23. Prefill: models up to 4.5
take the beginning of their answer; Claude 4.6 and everything after refuses it with 400 "This model does not support
assistant message prefill" (platform.claude.com/docs/en/about-claude/models/whats-new-claude-4-6#prefill-removal;
QwenLM/qwen-code#8039 for the 5.x families). Pictures: 1,600 tokens and some up to 4.6, 4,784 from 4.7 on
(platform.claude.com/docs/en/build-with-claude/vision; measured up to 1,661 and 4,005).

claude-sonnet-4-5 ends on 2026-11-30 (LiteLLM's deprecation_date) and is named by a default alias.
"""

from services.router.domain.models.building import PREFILL, REASONING, SCHEMA, TOOLS, VISION, chat

_SEES = (TOOLS, VISION, SCHEMA, REASONING)
_SMALL, _LARGE = 1_700, 5_000

MODELS = (
    chat("claude-haiku-4-5", 200_000, 64_000, *_SEES, PREFILL, picture=_SMALL),
    chat("claude-haiku-5-5", 1_000_000, 128_000, *_SEES, thinks=True, picture=_LARGE),
    chat("claude-sonnet-4-5", 200_000, 64_000, *_SEES, PREFILL, picture=_SMALL),
    chat("claude-sonnet-4-6", 1_000_000, 128_000, *_SEES, picture=_SMALL),
    chat("claude-sonnet-5", 1_000_000, 128_000, *_SEES, thinks=True, picture=_LARGE),
    chat("claude-sonnet-5-5", 1_000_000, 128_000, *_SEES, thinks=True, picture=_LARGE),
    chat("claude-opus-4-1", 200_000, 32_000, *_SEES, PREFILL, picture=_SMALL),
    chat("claude-opus-4-5", 200_000, 64_000, *_SEES, PREFILL, picture=_SMALL),
    chat("claude-opus-4-6", 1_000_000, 128_000, *_SEES, picture=_SMALL),
    chat("claude-opus-4-7", 1_000_000, 128_000, *_SEES, picture=_LARGE),
    chat("claude-opus-4-8", 1_000_000, 128_000, *_SEES, picture=_LARGE),
    chat("claude-opus-5", 1_000_000, 128_000, *_SEES, thinks=True, picture=_LARGE),
    chat("claude-opus-5-5", 1_000_000, 128_000, *_SEES, thinks=True, picture=_LARGE),
    chat("claude-fable-5", 1_000_000, 128_000, *_SEES, thinks=True, picture=_LARGE),
    chat("claude-fable-5-1", 1_000_000, 128_000, *_SEES, thinks=True, picture=_LARGE),
)
