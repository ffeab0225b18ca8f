"""A KEK in this process's memory: 32 random bytes, or a passphrase."""

import base64
import binascii
import secrets

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from services.vault.domain import envelope
from services.vault.domain.envelope import DekPlace

PASSPHRASE_MIN_CHARS = 16
_DISTINCT_MIN = 8
_HEX_CHARS = 64
_SCRYPT_SALT = b"omnipost vault kek passphrase v1"


class Weak(Exception):  # noqa: N818 - reads as the sentence it is
    """A text is no good KEK; the message says why and never repeats it."""


class LocalKek:
    """A KEK held in this process's memory."""

    def __init__(self, material: bytes) -> None:
        """``material``: 32 uniformly random (or stretched) bytes."""
        self._key = _expand(material, b"omnipost vault kek v1", envelope.KEY_BYTES)
        self._id = "local:" + _expand(material, b"omnipost vault kek id v1", 8).hex()

    @classmethod
    def parse(cls, text: str, *, passphrases: bool = True) -> "LocalKek":
        """Read base64 or hex of 32 bytes or, with ``passphrases``, a passphrase of at least 16 characters.

        A passphrase is stretched with scrypt (n=2^15, r=8, p=1; 32 MiB). Raises Weak for anything weaker.
        """
        text = text.strip()
        material = _from_hex(text) or _from_base64(text)
        if material is not None:
            _must_vary(material)
            return cls(material)
        if not passphrases:
            raise Weak("it is not base64 or hex of 32 bytes, and a passphrase is too weak for production")
        if len(text) < PASSPHRASE_MIN_CHARS:
            raise Weak("it is a passphrase of fewer than 16 characters")
        passphrase = text.encode()
        _must_vary(passphrase)
        return cls(Scrypt(salt=_SCRYPT_SALT, length=envelope.KEY_BYTES, n=2**15, r=8, p=1).derive(passphrase))

    @property
    def id(self) -> str:
        """Derived from the key, so another key has another id."""
        return self._id

    async def wrap(self, dek: bytes, place: DekPlace) -> bytes:
        """Encrypt a DEK of 32 bytes for ``place``."""
        return envelope.wrap_dek(self._key, dek, place, secrets.token_bytes(envelope.SALT_BYTES))

    async def unwrap(self, wrapped: bytes, place: DekPlace) -> bytes:
        """The DEK. Raises CannotOpen."""
        return envelope.unwrap_dek(self._key, wrapped, place)

    async def close(self) -> None:
        """Nothing is held open."""


def _from_hex(text: str) -> bytes | None:
    if len(text) != _HEX_CHARS:
        return None
    try:
        return binascii.unhexlify(text)
    except (binascii.Error, ValueError):
        return None


def _from_base64(text: str) -> bytes | None:
    if len(text) not in {43, 44}:
        return None
    standard = text.rstrip("=").translate(str.maketrans("-_", "+/")) + "="
    try:
        material = base64.b64decode(standard, validate=True)
    except (binascii.Error, ValueError):
        return None
    return material if len(material) == envelope.KEY_BYTES else None


def _must_vary(material: bytes) -> None:
    if len(set(material)) < _DISTINCT_MIN:
        raise Weak("it repeats the same few characters")


def _expand(material: bytes, purpose: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=purpose).derive(material)
