"""Sealing what a call was about: AES-256-GCM under a key of the vault's, bound to the one attempt it belongs to.

The key of an attempt is ``HKDF-SHA256(content root, salt, info)`` with the place as info, 32 bytes; only the vault has
the root. A sealed content is a nonce (12 bytes, random), the ciphertext and the tag (16 bytes).
"""

import secrets
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared import sealing
from shared.messages.contents import ContentKeyV1
from shared.sealing import CannotOpen, VaultPublic, length_prefixed

NONCE_BYTES = 12
TAG_BYTES = 16


@dataclass(frozen=True)
class ContentPlace:
    """Which attempt a content belongs to, and the root its key is derived from; the last three are UUIDs as text."""

    workspace_id: int
    call_id: str
    attempt_id: str
    root_id: str

    def associated_data(self) -> bytes:
        """What key and ciphertext are bound to."""
        return length_prefixed("omnipost content v1", self.workspace_id, self.call_id, self.attempt_id, self.root_id)


def key_info(place: ContentPlace, salt: bytes) -> bytes:
    """What a content key on its way from the vault is bound to."""
    return length_prefixed("omnipost content key v1", place.associated_data(), salt)


def close(key: bytes, content: bytes, place: ContentPlace) -> bytes:
    """Seal ``content`` under a key of 32 bytes."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, content, place.associated_data())


def opened(key: bytes, sealed: bytes, place: ContentPlace) -> bytes:
    """The content. Raises CannotOpen when the key, the place or a single bit differs."""
    if len(sealed) < NONCE_BYTES + TAG_BYTES:
        raise CannotOpen
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place.associated_data())
    except InvalidTag:
        raise CannotOpen from None


class KeyReader:
    """Reads the content keys the vault gives to this process. Its own key pair lives as long as the process."""

    def __init__(self, vault: VaultPublic) -> None:
        self._vault = vault
        self._private = X25519PrivateKey.generate()
        self.public_key = sealing.encode(self._private.public_key().public_bytes_raw())

    def read(self, given: ContentKeyV1, place: ContentPlace) -> bytes:
        """The key, 32 bytes. Raises CannotOpen unless the vault gave exactly this key for exactly this place."""
        try:
            info = key_info(place, sealing.decode(given.salt))
            sealed = sealing.decode(given.sealed)
            sealing.check_signature(self._vault.signing, sealing.decode(given.signature), info, sealed)
        except ValueError:
            raise CannotOpen from None
        return sealing.unseal(sealed, self._private, info)
