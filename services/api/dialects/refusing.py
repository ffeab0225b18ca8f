"""What a foreign dialect has and we cannot honour: refused by its name, with what to do instead."""

from typing import Any

from pydantic import BeforeValidator

from shared.errors import invalid
from shared.messages.chat import ChatMessageV1

# The catalogue's own.
_PROVIDERS = ("anthropic", "google", "groq", "mistral", "openai", "openrouter", "replicate", "zhipu")
_TOP_K = {"google": "topK"}
_MOST_MESSAGES = 2048


def instead(advice: str) -> BeforeValidator:
    """Makes a field one that is refused by its name. ``advice``: what to do instead."""

    def refuse(value: object) -> object:
        if value is not None:
            raise ValueError(f"this cannot be honoured here; {advice}")
        return value

    return BeforeValidator(refuse)


def carried(value: object, refused: frozenset[str], advice: str) -> object:
    """``value``, unless its ``type`` is one of ``refused``. Raises ValueError, which names it."""
    kind = value.get("type") if isinstance(value, dict) else None
    if isinstance(kind, str) and kind in refused:
        raise ValueError(f"'{kind}' cannot be carried to every provider; {advice}")
    return value


def counted(messages: tuple[ChatMessageV1, ...], field: str) -> tuple[ChatMessageV1, ...]:
    """``messages``, unless they are more than a call may have. Raises OmniError ``invalid_request``."""
    if len(messages) > _MOST_MESSAGES:
        raise invalid(
            f"'{field}' are more than {_MOST_MESSAGES} messages, counting each result of a tool.", field=field
        )
    return messages


def top_k(value: int) -> dict[str, dict[str, Any]]:
    """``provider_options`` with a limit on how many tokens are considered, in the words of each provider.

    Those without a word for it are sent it as well: the router passes them over, for it asks nobody without what was
    asked for.
    """
    return {provider: {_TOP_K.get(provider, "top_k"): value} for provider in _PROVIDERS}
