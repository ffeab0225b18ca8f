"""How the secrets that sign webhooks are kept: encrypted under a key that is not in the database.

The key is derived from the pepper of the access tokens, so that the database alone, or a copy of it, signs nothing. A
ciphertext opens only for its workspace and webhook: format (1 byte, 1), nonce (12), AES-256-GCM.
"""

import base64
from dataclasses import dataclass
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.sealing import CannotOpen, length_prefixed

PREFIX = "whsec_"
SECRET_BYTES = 32
NONCE_BYTES = 12
_FORMAT = b"\x01"


@dataclass(frozen=True)
class Place:
    """Whose secret it is."""

    workspace_id: int
    webhook_id: UUID

    @property
    def bound(self) -> bytes:
        """What the ciphertext is bound to."""
        return length_prefixed("omnipost webhook v1", self.workspace_id, str(self.webhook_id))


class SecretBox:
    """Encrypts and decrypts the secrets of all webhooks."""

    def __init__(self, pepper: bytes) -> None:
        """``pepper``: the 32 bytes access tokens are hashed with."""
        derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"omnipost webhook secrets v1").derive(pepper)
        self._cipher = AESGCM(derived)

    def sealed(self, secret: bytes, place: Place, nonce: bytes) -> bytes:
        """``secret`` for the database. ``nonce``: 12 random bytes, never used before."""
        return _FORMAT + nonce + self._cipher.encrypt(nonce, secret, _FORMAT + place.bound)

    def opened(self, sealed: bytes, place: Place) -> bytes:
        """Raises CannotOpen for anything that was not sealed for ``place``."""
        nonce, rest = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, rest, sealed[:1] + place.bound)
        except (InvalidTag, ValueError):
            raise CannotOpen from None


def shown(secret: bytes) -> str:
    """The secret as its owner gets it, once."""
    return PREFIX + base64.b64encode(secret).decode()
