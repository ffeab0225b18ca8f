"""How far somebody has pulled the call log, as a signed text; and the checksums by which he knows that he has it all.

``chain`` is SHA-256(chain so far, then SHA-256 of the page), both as bytes; it begins with 32 zero bytes. Pure.
"""

import base64
import binascii
import hashlib
import hmac
import struct
from dataclasses import dataclass

from shared.errors import invalid

NOTHING = bytes(32)
_FORM = struct.Struct(">BQQ32s")
_VERSION = 1
_TAG_BYTES = 16
_MAX_LENGTH = 300
_PURPOSE = b"omnipost.ai-usage.pull"


@dataclass(frozen=True, slots=True)
class Pulled:
    """``place``: behind the last row, as metering names it; ``rows``: how many so far."""

    workspace_id: int
    place: str | None = None
    rows: int = 0
    chain: bytes = NOTHING

    def with_page(self, page: bytes, rows: int, place: str | None) -> "Pulled":
        """After another page. One without rows changes nothing, so that asking for news does not count."""
        if not rows:
            return self
        chain = hashlib.sha256(self.chain + hashlib.sha256(page).digest()).digest()
        return Pulled(self.workspace_id, place, self.rows + rows, chain)


def cursor_of(pulled: Pulled, secret: bytes) -> str:
    """``pulled`` as URL-safe text that only ``secret`` can make."""
    body = _FORM.pack(_VERSION, pulled.workspace_id, pulled.rows, pulled.chain) + (pulled.place or "").encode()
    return base64.urlsafe_b64encode(_tag(body, secret) + body).decode().rstrip("=")


def pulled_of(cursor: str, workspace_id: int, secret: bytes) -> Pulled:
    """Raises OmniError ``invalid_request`` for a text ``cursor_of`` did not make, or made for another workspace."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        raw = base64.b64decode(padded[:_MAX_LENGTH], altchars=b"-_", validate=True)
        tag, body = raw[:_TAG_BYTES], raw[_TAG_BYTES:]
        version, of_workspace, rows, chain = _FORM.unpack_from(body)
        known = hmac.compare_digest(tag, _tag(body, secret)) and (version, of_workspace) == (_VERSION, workspace_id)
        pulled = Pulled(workspace_id, body[_FORM.size :].decode() or None, rows, chain)
        # Base64 has more than one text for some bytes.
        known = known and cursor_of(pulled, secret) == cursor
    except (ValueError, struct.error, binascii.Error):
        known = False
    if not known:
        raise invalid("This cursor was not given for this workspace; start again without one.", field="cursor")
    return pulled


def _tag(body: bytes, secret: bytes) -> bytes:
    return hmac.new(secret, _PURPOSE + body, hashlib.sha256).digest()[:_TAG_BYTES]
