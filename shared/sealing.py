"""Sealing a key for one reader on the bus: HPKE (RFC 9180) with everything that matters bound in ``info``.

Two uses: the edge seals a new key to the vault, the vault seals a lease to one router process and signs it.
The suite is X25519 / HKDF-SHA256 / AES-256-GCM from ``cryptography.hazmat.primitives.hpke``.
"""

import base64
import binascii
from dataclasses import dataclass, field
from datetime import datetime

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class CannotOpen(Exception):  # noqa: N818 - the one uninformative failure of the whole system has this name
    """It cannot be opened. On purpose there is no telling why."""

    def __init__(self) -> None:
        super().__init__("cannot open")


@dataclass(frozen=True)
class VaultIdentity:
    """The vault's long-term private keys, derived from one 32-byte seed shared by its replicas."""

    signing: Ed25519PrivateKey
    sealing: X25519PrivateKey
    auditing: bytes = field(repr=False)
    """32 bytes: the key of the audit's hash chain."""

    @classmethod
    def from_seed(cls, seed: bytes) -> "VaultIdentity":
        """Derive every key. Raises ValueError unless ``seed`` is 32 bytes."""
        if len(seed) != 32:
            raise ValueError("the vault identity seed must be 32 bytes")
        return cls(
            Ed25519PrivateKey.from_private_bytes(_derive(seed, b"omnipost vault signing v1")),
            X25519PrivateKey.from_private_bytes(_derive(seed, b"omnipost vault sealing v1")),
            _derive(seed, b"omnipost vault auditing v1"),
        )

    def public(self) -> str:
        """Base64 of the Ed25519 and X25519 public keys (64 bytes): what the edge and routers are configured with."""
        return encode(self.signing.public_key().public_bytes_raw() + self.sealing.public_key().public_bytes_raw())


@dataclass(frozen=True)
class VaultPublic:
    """The vault's public keys, as parsed from ``VaultIdentity.public``."""

    signing: Ed25519PublicKey
    sealing: X25519PublicKey

    @classmethod
    def parse(cls, text: str) -> "VaultPublic":
        """Raises ValueError unless ``text`` is base64 of 64 bytes."""
        raw = decode(text)
        if len(raw) != 64:
            raise ValueError("the vault public key must be base64 of 64 bytes")
        return cls(Ed25519PublicKey.from_public_bytes(raw[:32]), X25519PublicKey.from_public_bytes(raw[32:]))


def length_prefixed(*fields: str | bytes | int | datetime) -> bytes:
    """An unambiguous encoding: every field behind its length (4 bytes, big endian)."""
    out = bytearray()
    for value in fields:
        if isinstance(value, datetime):
            raw = value.isoformat().encode()
        else:
            raw = value if isinstance(value, bytes) else str(value).encode()
        out += len(raw).to_bytes(4, "big") + raw
    return bytes(out)


def key_info(*, workspace_id: int, key_id: str, provider: str, host: str) -> bytes:
    """What a key on its way from the edge to the vault is bound to."""
    return length_prefixed("omnipost key v1", workspace_id, key_id, provider, host)


def lease_info(
    *, lease_id: str, router_id: str, workspace_id: int, key_id: str, version: int, host: str, expires_at: datetime
) -> bytes:
    """What a lease is bound to."""
    return length_prefixed("omnipost lease v1", lease_id, router_id, workspace_id, key_id, version, host, expires_at)


def seal(secret: bytes, reader: X25519PublicKey, info: bytes) -> bytes:
    """Seal ``secret`` so that only ``reader`` opens it, and only under the same ``info``."""
    return _SUITE.encrypt(secret, reader, info)


def unseal(sealed: bytes, reader: X25519PrivateKey, info: bytes) -> bytes:
    """Raises CannotOpen when the key, the info or a single bit differs."""
    try:
        return _SUITE.decrypt(sealed, reader, info)
    except (InvalidTag, ValueError):
        raise CannotOpen from None


def sign(signer: Ed25519PrivateKey, info: bytes, sealed: bytes) -> bytes:
    """Signature of the vault over a lease."""
    return signer.sign(length_prefixed(info, sealed))


def check_signature(signer: Ed25519PublicKey, signature: bytes, info: bytes, sealed: bytes) -> None:
    """Raises CannotOpen unless the vault signed exactly this."""
    try:
        signer.verify(signature, length_prefixed(info, sealed))
    except InvalidSignature:
        raise CannotOpen from None


def encode(raw: bytes) -> str:
    """Standard base64."""
    return base64.b64encode(raw).decode()


def decode(text: str) -> bytes:
    """Strict base64. Raises ValueError on anything else, without repeating it."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not base64") from None


def _derive(seed: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(seed)
