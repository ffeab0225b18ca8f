"""Names people use for a provider, and the one the catalogue uses."""

SYNONYMS = {"gemini": "google", "zai": "zhipu", "glm": "zhipu"}


def canonical(provider: str) -> str:
    """The catalogue's name of ``provider``."""
    return SYNONYMS.get(provider, provider)
