"""Envelope encryption: a KEK wraps the workspace's DEK, the DEK encrypts API keys and the workspace's content root.

All layers are one binary format, version 1, of ``OVERHEAD`` bytes plus the plaintext's length::

    offset  bytes  field
    0       1      format version, 0x01
    1       1      layer: 0x01 a DEK under a KEK, 0x02 an API key under a DEK, 0x03 a content root under a DEK
    2       32     salt, fresh random for every envelope
    34      32     key commitment
    66      n      AES-256-GCM ciphertext
    66+n    16     GCM tag

``HKDF-SHA256(wrapping key, salt, info = length_prefixed("omnipost envelope v1", layer, associated data))``
gives 76 bytes: the AES key (32), the nonce (12) and the commitment (32). So the same wrapping key never meets the
same nonce twice, and one envelope opens under one key and one place only: the commitment is compared in constant
time before anything is decrypted. The associated data is authenticated by GCM as well. It is the length-prefixed
list of the format version and everything that says where the ciphertext belongs: ``DekPlace``, ``KeyPlace`` and
``RootPlace``.

Whatever is wrong with an envelope, its key or its place, the failure is ``CannotOpen``.
"""

import hmac
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.sealing import CannotOpen, length_prefixed

FORMAT = 1
DEK_LAYER = 1
KEY_LAYER = 2
ROOT_LAYER = 3
KEY_BYTES = 32
SALT_BYTES = 32
_NONCE_BYTES = 12
_COMMITMENT_BYTES = 32
_TAG_BYTES = 16
_HEADER_BYTES = 2 + SALT_BYTES + _COMMITMENT_BYTES
OVERHEAD = _HEADER_BYTES + _TAG_BYTES


class Kek(Protocol):
    """A key-encryption key, here or in a remote key service."""

    @property
    def id(self) -> str:
        """Names this very key for good; stored beside what it wraps, not secret."""
        ...

    async def wrap(self, dek: bytes, place: "DekPlace") -> bytes:
        """Encrypt 32 bytes for ``place``. Raises OmniError ``unavailable`` when the key service is away."""
        ...

    async def unwrap(self, wrapped: bytes, place: "DekPlace") -> bytes:
        """The DEK. Raises CannotOpen, or OmniError ``unavailable`` when the key service is away."""
        ...

    async def close(self) -> None:
        """Let go of the key service."""
        ...


@dataclass(frozen=True)
class DekPlace:
    """Where a wrapped DEK belongs."""

    workspace_id: int
    dek_id: UUID
    kek_id: str

    def associated_data(self) -> bytes:
        """What the wrapped DEK is bound to."""
        return length_prefixed("omnipost dek", FORMAT, self.workspace_id, str(self.dek_id), self.kek_id)


@dataclass(frozen=True)
class KeyPlace:
    """Where an encrypted API key belongs. ``host``: the only destination it may be sent to."""

    workspace_id: int
    key_id: UUID
    version: int
    provider: str
    host: str
    dek_id: UUID

    def associated_data(self) -> bytes:
        """What the encrypted key is bound to."""
        return length_prefixed(
            "omnipost key",
            FORMAT,
            self.workspace_id,
            str(self.key_id),
            self.version,
            self.provider,
            self.host,
            str(self.dek_id),
        )


@dataclass(frozen=True)
class RootPlace:
    """Where an encrypted content root belongs."""

    workspace_id: int
    root_id: UUID
    dek_id: UUID

    def associated_data(self) -> bytes:
        """What the encrypted content root is bound to."""
        return length_prefixed("omnipost root", FORMAT, self.workspace_id, str(self.root_id), str(self.dek_id))


def wrap_dek(kek: bytes, dek: bytes, place: DekPlace, salt: bytes) -> bytes:
    """Encrypt a DEK (32 bytes) under a KEK (32 bytes). ``salt``: 32 fresh random bytes, never used before."""
    if len(dek) != KEY_BYTES:
        raise ValueError("a DEK has 32 bytes")
    return _close(DEK_LAYER, kek, dek, place.associated_data(), salt)


def unwrap_dek(kek: bytes, wrapped: bytes, place: DekPlace) -> bytes:
    """The DEK, 32 bytes. Raises CannotOpen."""
    dek = _open(DEK_LAYER, kek, wrapped, place.associated_data())
    if len(dek) != KEY_BYTES:
        raise CannotOpen
    return dek


def encrypt_key(dek: bytes, secret: bytes, place: KeyPlace, salt: bytes) -> bytes:
    """Encrypt an API key under a DEK (32 bytes). ``salt``: 32 fresh random bytes, never used before."""
    return _close(KEY_LAYER, dek, secret, place.associated_data(), salt)


def decrypt_key(dek: bytes, ciphertext: bytes, place: KeyPlace) -> bytes:
    """The API key. Raises CannotOpen."""
    return _open(KEY_LAYER, dek, ciphertext, place.associated_data())


def encrypt_root(dek: bytes, root: bytes, place: RootPlace, salt: bytes) -> bytes:
    """Encrypt a content root (32 bytes) under a DEK (32 bytes). ``salt``: 32 fresh random bytes, never used before."""
    if len(root) != KEY_BYTES:
        raise ValueError("a content root has 32 bytes")
    return _close(ROOT_LAYER, dek, root, place.associated_data(), salt)


def decrypt_root(dek: bytes, ciphertext: bytes, place: RootPlace) -> bytes:
    """The content root, 32 bytes. Raises CannotOpen."""
    root = _open(ROOT_LAYER, dek, ciphertext, place.associated_data())
    if len(root) != KEY_BYTES:
        raise CannotOpen
    return root


def _close(layer: int, key: bytes, plaintext: bytes, associated: bytes, salt: bytes) -> bytes:
    if len(key) != KEY_BYTES or len(salt) != SALT_BYTES:
        raise ValueError("a wrapping key and a salt have 32 bytes each")
    aes, nonce, commitment = _derive(layer, key, salt, associated)
    return bytes((FORMAT, layer)) + salt + commitment + AESGCM(aes).encrypt(nonce, plaintext, associated)


def _open(layer: int, key: bytes, envelope: bytes, associated: bytes) -> bytes:
    if len(key) != KEY_BYTES or len(envelope) < OVERHEAD or envelope[:2] != bytes((FORMAT, layer)):
        raise CannotOpen
    salt = envelope[2 : 2 + SALT_BYTES]
    aes, nonce, commitment = _derive(layer, key, salt, associated)
    if not hmac.compare_digest(commitment, envelope[2 + SALT_BYTES : _HEADER_BYTES]):
        raise CannotOpen
    try:
        return AESGCM(aes).decrypt(nonce, envelope[_HEADER_BYTES:], associated)
    except InvalidTag:
        raise CannotOpen from None


def _derive(layer: int, key: bytes, salt: bytes, associated: bytes) -> tuple[bytes, bytes, bytes]:
    size = KEY_BYTES + _NONCE_BYTES + _COMMITMENT_BYTES
    info = length_prefixed("omnipost envelope v1", layer, associated)
    out = HKDF(algorithm=SHA256(), length=size, salt=salt, info=info).derive(key)
    return out[:KEY_BYTES], out[KEY_BYTES : KEY_BYTES + _NONCE_BYTES], out[KEY_BYTES + _NONCE_BYTES :]
