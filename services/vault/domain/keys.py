"""What may happen to a stored key: which input is accepted, how its status moves, who may lease it."""

import re
import unicodedata
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from services.vault.domain.envelope import KeyPlace
from shared.errors import ADD_A_KEY, Code, OmniError, invalid, not_found, restriction_refused, scope_refused
from shared.messages.vault import KeyV1, LeaseKeyV1, RestrictionsV1
from shared.messages.vocabulary import Funds, KeyStatus, Modality

SECRET_MIN_CHARS = 8
SECRET_MAX_CHARS = 4096
TEXT_MAX_CHARS = 300
MODEL_MAX_CHARS = 200
WORKSPACE_MAX = 2**63 - 1
_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@dataclass(frozen=True)
class Key:
    """A stored key. ``ciphertext`` is None once the key is revoked; ``dek_id`` names the DEK that opens it."""

    id: UUID
    workspace_id: int
    provider: str
    label: str
    masked_key: str
    scopes: frozenset[Modality]
    status: KeyStatus
    host: str
    version: int
    dek_id: UUID
    ciphertext: bytes | None = field(repr=False)
    created_at: datetime
    updated_at: datetime
    restrictions: RestrictionsV1 = field(default_factory=RestrictionsV1)
    status_reason: str | None = None
    last_verified_at: datetime | None = None
    revoked_at: datetime | None = None

    @property
    def revoked(self) -> bool:
        """Revocation is final."""
        return self.status is KeyStatus.REVOKED

    def place(self) -> KeyPlace:
        """Where the ciphertext belongs."""
        return KeyPlace(self.workspace_id, self.id, self.version, self.provider, self.host, self.dek_id)

    def public(self) -> KeyV1:
        """The key as anyone but the vault may see it."""
        return KeyV1(
            id=str(self.id),
            workspace_id=self.workspace_id,
            provider=self.provider,
            label=self.label,
            masked_key=self.masked_key,
            scopes=self.scopes,
            restrictions=self.restrictions,
            status=self.status,
            status_reason=self.status_reason,
            host=self.host,
            version=self.version,
            last_verified_at=self.last_verified_at,
            created_at=self.created_at,
            updated_at=self.updated_at,
        )


# -- input ---------------------------------------------------------------------------------------------------


def parse_key_id(text: str) -> UUID:
    """The id of an existing key. Raises OmniError ``not_found``: what is no UUID names no key."""
    try:
        return UUID(text)
    except ValueError:
        raise not_found("key") from None


def parse_new_key_id(text: str) -> UUID:
    """The id of a key to be stored. Raises OmniError ``invalid_request``."""
    try:
        return UUID(text)
    except ValueError:
        raise invalid("key_id must be a UUID.", field="key_id") from None


def check_workspace(workspace_id: int) -> None:
    """Raises OmniError ``invalid_request`` unless it is a positive 64-bit number."""
    if not 1 <= workspace_id <= WORKSPACE_MAX:
        raise invalid("workspace_id must be a positive 64-bit number.", field="workspace_id")


def holder_of(request: LeaseKeyV1) -> int:
    """Whose key a lease is wanted of: the asking workspace's, or for platform funds, and only then, the platform's.

    Raises OmniError ``invalid_request`` unless a workspace asks; the platform itself may only verify its keys.
    """
    if request.funds is Funds.OWN or not request.verifying:
        check_workspace(request.workspace_id)
    return request.funds.keyholder(request.workspace_id)


def check_text(name: str, text: str) -> None:
    """Raises OmniError ``invalid_request`` unless ``text`` is 1 to 300 characters without control characters."""
    if not 1 <= len(text) <= TEXT_MAX_CHARS:
        raise invalid(f"{name} must have 1 to {TEXT_MAX_CHARS} characters.", field=name)
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in text):
        raise invalid(f"{name} must not contain control characters.", field=name)


def check_restrictions(restrictions: RestrictionsV1) -> None:
    """Raises OmniError ``invalid_request`` unless every model and region named could be one.

    A ``*`` stands at a model's end only. To allow nothing is refused too: revoking the key says that better.
    """
    for name in ("models", "regions"):
        if getattr(restrictions, name) == frozenset():
            raise invalid(f"{name} must name at least one, or be null for no restriction.", field=name)
    for model in restrictions.models or ():
        if not 1 <= len(model) <= MODEL_MAX_CHARS or "*" in model[:-1]:
            raise invalid(f"A model has 1 to {MODEL_MAX_CHARS} characters, and a * only at its end.", field="models")
        check_text("models", model)
    if not all(_REGION.fullmatch(region) for region in restrictions.regions or ()):
        raise invalid("A region has 1 to 40 small letters, digits or hyphens, as eu or us.", field="regions")


def parse_secret(raw: bytes) -> str:
    """The API key as text.

    Raises OmniError ``invalid_request``, which never repeats it, unless it is 8 to 4096 printable ASCII characters
    without spaces: a key travels in an HTTP header, where anything else could forge another one.
    """
    if not SECRET_MIN_CHARS <= len(raw) <= SECRET_MAX_CHARS:
        raise invalid(f"An API key has {SECRET_MIN_CHARS} to {SECRET_MAX_CHARS} characters.", field="api_key")
    if not all(0x21 <= byte <= 0x7E for byte in raw):
        raise invalid("An API key has only printable ASCII characters and no spaces.", field="api_key")
    return raw.decode("ascii")


# -- transitions ---------------------------------------------------------------------------------------------


def changed(
    key: Key,
    label: str | None,
    scopes: frozenset[Modality] | None,
    restrictions: RestrictionsV1 | None,
    now: datetime,
) -> Key:
    """``key`` under another label, with other scopes or restrictions; None leaves one alone.

    The very same key when nothing differs. Raises OmniError ``conflict``.
    """
    _must_live(key)
    after = replace(
        key,
        label=key.label if label is None else label,
        scopes=key.scopes if scopes is None else scopes,
        restrictions=key.restrictions if restrictions is None else restrictions,
    )
    return key if after == key else replace(after, updated_at=now)


def awaiting_secret(key: Key, *, masked_key: str, host: str, dek_id: UUID, now: datetime) -> Key:
    """The next version of ``key``, whose new secret is yet to be encrypted. Raises OmniError ``conflict``.

    Nothing is known about a new secret, so what was found out about the old one is forgotten.
    """
    _must_live(key)
    return replace(
        key,
        masked_key=masked_key,
        host=host,
        dek_id=dek_id,
        version=key.version + 1,
        status=KeyStatus.UNVERIFIED,
        status_reason=None,
        last_verified_at=None,
        ciphertext=None,
        updated_at=now,
    )


def revoked(key: Key, now: datetime) -> Key:
    """``key`` without its ciphertext, for good."""
    if key.revoked:
        return key
    return replace(key, status=KeyStatus.REVOKED, status_reason=None, ciphertext=None, revoked_at=now, updated_at=now)


def judged(key: Key, version: int, status: KeyStatus, reason: str | None, now: datetime) -> Key:
    """``key`` after a verdict on ``version``; unchanged when that is not its version or the key is revoked.

    ``unverified`` means the provider could not be asked: that never replaces what a provider has said before.
    Raises OmniError ``invalid_request`` for a verdict of ``revoked``, which is not something to find out.
    """
    if status is KeyStatus.REVOKED:
        raise invalid("A verdict cannot revoke a key.", field="status")
    if key.revoked or version != key.version:
        return key
    if status is KeyStatus.UNVERIFIED:
        return key if key.status is not KeyStatus.UNVERIFIED else replace(key, status_reason=reason, updated_at=now)
    return replace(key, status=status, status_reason=reason, last_verified_at=now, updated_at=now)


def stopped_working(before: Key, after: Key) -> bool:
    """Whether a verdict has made a working key one that its provider refuses: somebody should hear of it."""
    return before.status is KeyStatus.ACTIVE and after.status is KeyStatus.INVALID


def same_request(stored: Key, asked: Key) -> bool:
    """Whether creating ``asked`` is a repetition of what created ``stored`` (their secrets are compared elsewhere)."""
    return (
        not stored.revoked
        and (stored.id, stored.workspace_id, stored.provider, stored.host, stored.label, stored.scopes)
        == (asked.id, asked.workspace_id, asked.provider, asked.host, asked.label, asked.scopes)
        and stored.restrictions == asked.restrictions
    )  # fmt: skip


def _must_live(key: Key) -> None:
    if key.revoked:
        raise OmniError(Code.CONFLICT, "This key has been revoked; add a new one.", extra={"key_id": str(key.id)})


# -- leasing -------------------------------------------------------------------------------------------------


def may_lease(key: Key, request: LeaseKeyV1) -> OmniError | None:
    """None when the router may have the key, else the problem to answer.

    ``request.verifying`` allows a key of any status but revoked, any scope, model and region: it only asks whether
    the key works.
    """
    if key.revoked:
        return _missing(key)
    if key.host != request.host:
        detail = "The provider's address has changed since this key was stored; enter the key again."
        return OmniError(Code.CONFLICT, detail, extra={"key_id": str(key.id)})
    if request.verifying:
        return None
    return _missing(key) if key.status is KeyStatus.INVALID else _not_allowed(key, request)


def _not_allowed(key: Key, request: LeaseKeyV1) -> OmniError | None:
    if request.scope not in key.scopes:
        extra = {"key_id": str(key.id), "scope": request.scope.value}
        return OmniError(Code.UNSUPPORTED_SCOPE, scope_refused(request.scope), extra=extra)
    refused = key.restrictions.refuses(request.model, request.region)
    if refused:
        value: str | None = getattr(request, refused)
        return OmniError(
            Code.UNSUPPORTED_SCOPE, restriction_refused(refused, value), extra={"key_id": str(key.id), refused: value}
        )
    return None


def _missing(key: Key) -> OmniError:
    extra = {"key_id": str(key.id), "key_status": key.status.value, "reason": key.status_reason}
    return OmniError(Code.MISSING_KEY, ADD_A_KEY, extra=extra)
