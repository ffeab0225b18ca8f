"""The platform's own keys: what they are called, and where each may go."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from uuid import NAMESPACE_URL, UUID, uuid5

from shared.destinations import is_listed, parse_base_url
from shared.messages.vocabulary import Modality

HOSTS: Mapping[str, str] = {
    "openai": "api.openai.com",
    "anthropic": "api.anthropic.com",
    "google": "generativelanguage.googleapis.com",
}
"""The providers that the platform may have a key of, and their usual hosts."""

SCOPES = frozenset(Modality)


def key_id_of(provider: str, ended: int) -> UUID:
    """The id of the platform's key of ``provider`` when so many before it have been revoked.

    Drawn by nobody, so that replicas which start together mean the same key.
    """
    return uuid5(NAMESPACE_URL, f"omnipost:platform-key:{provider}:{ended}")


def destination(provider: str, catalogued: str, allowed: AbstractSet[str]) -> str:
    """What the platform's key of ``provider`` is bound to, in the form of ``Destination.bound``.

    ``catalogued``: where the catalogue says the provider is (of the same form). The key follows only to hosts in
    ``allowed``, which stand in the environment like the key itself: whoever may only write the catalogue cannot have it
    sent somewhere.
    """
    place = parse_base_url(catalogued if "://" in catalogued else f"https://{catalogued}")
    return catalogued if is_listed(place.host, place.port, allowed) else HOSTS[provider]
