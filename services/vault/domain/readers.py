"""The public keys of those that what leaves the vault is sealed for."""

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from shared import sealing
from shared.errors import OmniError, invalid


def reader_of(public_key: str) -> X25519PublicKey:
    """The key (base64 of 32 bytes) of a request. Raises OmniError ``invalid_request``."""
    try:
        return X25519PublicKey.from_public_bytes(sealing.decode(public_key))
    except ValueError:
        raise bad_reader() from None


def bad_reader() -> OmniError:
    """A key nothing can be sealed for."""
    return invalid("public_key must be base64 of an X25519 public key (32 bytes).", field="public_key")
