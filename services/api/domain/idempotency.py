"""What is known of a request with an Idempotency-Key, derived so that only who sends it again can make use of it. Pure.

Token and key are stored nowhere. From both, and the pepper of the access tokens, HKDF-SHA256 derives three keys of 32
bytes: the name its row is found by, the one its fingerprint is made with, and the one its answer is sealed under.
"""

import hmac
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.sealing import CannotOpen, length_prefixed

NONCE_BYTES = 12
_FORMAT = b"\x01"


@dataclass(frozen=True)
class Wish:
    """A request as far as repeating it is concerned. ``target``: path and query."""

    key: str = field(repr=False)
    token: str = field(repr=False)
    method: str
    target: bytes = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class Marks:
    """``name``: under which its row is found. ``fingerprint``: the same for the same request only."""

    name: bytes
    fingerprint: bytes
    _sealing: bytes = field(repr=False)

    def sealed(self, answer: bytes, nonce: bytes) -> bytes:
        """``answer`` for the database: format (1 byte, 1), nonce (12, never used before), AES-256-GCM."""
        return _FORMAT + nonce + AESGCM(self._sealing).encrypt(nonce, answer, self._bound)

    def opened(self, sealed: bytes) -> bytes:
        """Raises CannotOpen for anything that was not sealed for this very request."""
        nonce, rest = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        if sealed[:1] != _FORMAT:
            raise CannotOpen
        try:
            return AESGCM(self._sealing).decrypt(nonce, rest, self._bound)
        except (InvalidTag, ValueError):
            raise CannotOpen from None

    @property
    def _bound(self) -> bytes:
        return length_prefixed("omnipost idempotency v1", self.name, self.fingerprint)


def marks(wish: Wish, pepper: bytes) -> Marks:
    """``pepper``: the 32 bytes access tokens are hashed with."""
    info = length_prefixed("omnipost idempotency v1", wish.key)
    secret = wish.token.encode("utf-8", "surrogatepass")
    derived = HKDF(algorithm=SHA256(), length=96, salt=pepper, info=info).derive(secret)
    request = length_prefixed(wish.method, wish.target, wish.body)
    return Marks(derived[:32], hmac.new(derived[32:64], request, sha256).digest(), derived[64:])
