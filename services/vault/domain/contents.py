"""The key of one attempt's content, derived from the workspace's content root."""

from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.contents import ContentPlace
from shared.errors import invalid
from shared.sealing import decode

KEY_BYTES = 32
SALT_BYTES = 32


def content_key(root: bytes, salt: bytes, place: ContentPlace) -> bytes:
    """32 bytes. ``salt``: 32 bytes drawn by the vault for every key, so that nobody else can ask for one again."""
    info = place.associated_data()
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=info).derive(root)


def place_of(workspace_id: int, call_id: str, attempt_id: str, root_id: UUID) -> ContentPlace:
    """The place, its ids in canonical form. Raises OmniError ``invalid_request``."""
    if not 1 <= len(call_id) <= 300:
        raise invalid("call_id must have 1 to 300 characters.", field="call_id")
    try:
        attempt = str(UUID(attempt_id))
    except ValueError:
        raise invalid("attempt_id must be a UUID.", field="attempt_id") from None
    return ContentPlace(workspace_id, call_id, attempt, str(root_id))


def parse_salt(text: str) -> bytes:
    """32 bytes. Raises OmniError ``invalid_request``."""
    try:
        salt = decode(text)
    except ValueError:
        salt = b""
    if len(salt) != SALT_BYTES:
        raise invalid("salt must be base64 of 32 bytes.", field="salt")
    return salt
