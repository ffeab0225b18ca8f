"""Contracts of the vault: stored keys, leases, and the news that a key has changed."""

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import Field

from shared.messages.base import Done, Event, Part, Request, Service
from shared.messages.custody import ActorV1
from shared.messages.vocabulary import Funds, KeyStatus, Modality

KEY_ID = "0190a5c8-5f5e-7c3e-9f7b-0a4b5c6d7e8f"
_API, _ROUTER = (Service.API,), (Service.ROUTER,)


class RestrictionsV1(Part):
    """Where a key may be used besides its scopes; None does not restrict.

    ``models``: model ids, a trailing ``*`` stands for any ending. ``regions``: regions of providers as the catalogue
    names them (``eu``, ``us``, ``cn`` …); a provider of unknown region is outside of every one.
    """

    models: frozenset[str] | None = Field(default=None, max_length=100)
    regions: frozenset[str] | None = Field(default=None, max_length=20)

    def refuses(self, model: str | None, region: str | None) -> Literal["model", "region"] | None:
        """What forbids a call of ``model`` at a provider in ``region``; None when nothing does.

        Unknown (None) is refused wherever there is a restriction: the key's owner has not allowed it.
        """
        if self.models is not None and not (model and any(_matches(model, allowed) for allowed in self.models)):
            return "model"
        if self.regions is not None and region not in self.regions:
            return "region"
        return None


class KeyV1(Part):
    """A stored key as anyone but the vault may see it. ``masked_key``: prefix and last four."""

    id: str
    workspace_id: int
    provider: str
    label: str
    masked_key: str
    scopes: frozenset[Modality]
    restrictions: RestrictionsV1 = RestrictionsV1()
    status: KeyStatus
    status_reason: str | None = None
    host: str
    version: int
    last_verified_at: datetime | None = None
    created_at: datetime
    updated_at: datetime


class KeysV1(Part):
    """Stored keys, oldest first."""

    items: tuple[KeyV1, ...]


class CreateKeyV1(Request):
    """Store a key. ``sealed`` is base64 of the key, HPKE-sealed to the vault with ``shared.sealing.key_info``.

    The caller draws ``key_id`` (a UUID) so that a repeated request stores one key. ``host`` is the
    destination (``host`` or ``host:port``) the key is bound to for good.
    """

    subject: ClassVar[str] = "ai.vault.keys.create.v1"
    owner: ClassVar[Service] = Service.VAULT
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = KeyV1
    example: ClassVar[dict[str, Any]] = {
        "key_id": KEY_ID, "workspace_id": 1, "provider": "openai", "host": "api.openai.com",
        "label": "Main", "scopes": ["text"], "sealed": "c2VhbGVk",
    }  # fmt: skip

    key_id: str
    workspace_id: int
    provider: str
    host: str
    label: str
    scopes: frozenset[Modality]
    restrictions: RestrictionsV1 = RestrictionsV1()
    sealed: str = Field(repr=False)
    actor: ActorV1 | None = None


class ListKeysV1(Request):
    """Every key of a workspace, revoked ones included; ``providers`` narrows the list."""

    subject: ClassVar[str] = "ai.vault.keys.list.v1"
    owner: ClassVar[Service] = Service.VAULT
    callers: ClassVar[tuple[Service, ...]] = (Service.API, Service.ROUTER)
    reply: ClassVar[type[Part]] = KeysV1
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1, "providers": ["openai"]}

    workspace_id: int
    providers: frozenset[str] | None = None


class GetKeyV1(Request):
    """One key. ``workspace_id`` None only for a platform admin's request. Problem ``not_found``."""

    subject: ClassVar[str] = "ai.vault.keys.get.v1"
    owner: ClassVar[Service] = Service.VAULT
    callers: ClassVar[tuple[Service, ...]] = (Service.API, Service.ROUTER)
    reply: ClassVar[type[Part]] = KeyV1
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1, "key_id": KEY_ID}

    workspace_id: int | None
    key_id: str


class UpdateKeyV1(Request):
    """Change a key's label, scopes or restrictions, or replace the secret (``sealed`` and ``host`` together).

    A replaced secret raises ``version`` and sets the status to ``unverified``. None leaves a field alone.
    Problems: ``not_found``, ``conflict`` (revoked).
    """

    subject: ClassVar[str] = "ai.vault.keys.update.v1"
    owner: ClassVar[Service] = Service.VAULT
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = KeyV1
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1, "key_id": KEY_ID, "label": "Spare"}

    workspace_id: int
    key_id: str
    label: str | None = None
    scopes: frozenset[Modality] | None = None
    restrictions: RestrictionsV1 | None = None
    host: str | None = None
    sealed: str | None = Field(default=None, repr=False)
    actor: ActorV1 | None = None


class RevokeKeyV1(Request):
    """Revoke for good: no call starts with the key, and none is running any more, once this has answered. Idempotent.

    Metering blocks the key first (committed), then the ciphertext is destroyed and the routers cut what is running.
    """

    max_replies: ClassVar[int] = 20

    subject: ClassVar[str] = "ai.vault.keys.revoke.v1"
    owner: ClassVar[Service] = Service.VAULT
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = Done
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1, "key_id": KEY_ID}

    workspace_id: int
    key_id: str
    actor: ActorV1 | None = None


class RecordVerdictV1(Request):
    """What a verification, or live traffic, found out about one version of a key.

    A verdict on an older ``version`` than the stored one is ignored; the answer is the key as it stands.
    """

    subject: ClassVar[str] = "ai.vault.keys.verdict.v1"
    owner: ClassVar[Service] = Service.VAULT
    callers: ClassVar[tuple[Service, ...]] = _ROUTER
    reply: ClassVar[type[Part]] = KeyV1
    example: ClassVar[dict[str, Any]] = {
        "workspace_id": 1, "key_id": KEY_ID, "version": 1, "status": "invalid", "reason": "refused_by_provider",
    }  # fmt: skip

    workspace_id: int
    key_id: str
    version: int
    status: KeyStatus
    reason: str | None = None
    source: Literal["check", "traffic"] = "check"


class LeaseV1(Part):
    """A key sealed to one router process, signed by the vault.

    ``sealed`` (base64) opens with the router's private key and the info of ``shared.sealing.lease_info``
    over exactly these fields; ``signature`` (base64, Ed25519) covers that info and the sealed bytes.
    """

    lease_id: str
    router_id: str
    workspace_id: int
    key_id: str
    version: int
    host: str
    expires_at: datetime
    sealed: str = Field(repr=False)
    signature: str = Field(repr=False)


class LeaseKeyV1(Request):
    """Lease a key to the asking router process, for a call of ``workspace_id``.

    ``funds`` own: a key of that very workspace; platform: one of the platform's, and then the lease names workspace 0
    (``Funds.keyholder``). Neither ever gives a key of the other kind.
    The vault checks workspace, status, host and, unless ``verifying``, that ``scope`` and the key's restrictions allow
    ``model`` in ``region``. ``public_key``: base64 of the router's raw X25519 public key.
    Problems: ``not_found``, ``missing_key`` (revoked or invalid), ``unsupported_scope`` (``extra`` says which of
    ``scope``, ``model``, ``region`` is refused), ``conflict`` (host changed), ``unavailable`` (KEK or database away).
    """

    subject: ClassVar[str] = "ai.vault.lease.v1"
    owner: ClassVar[Service] = Service.VAULT
    callers: ClassVar[tuple[Service, ...]] = _ROUTER
    reply: ClassVar[type[Part]] = LeaseV1
    example: ClassVar[dict[str, Any]] = {
        "router_id": "router-1", "public_key": "cHVibGlj", "workspace_id": 1, "key_id": KEY_ID,
        "host": "api.openai.com", "scope": "text", "model": "gpt-4o-mini", "region": "us",
    }  # fmt: skip

    router_id: str
    public_key: str
    workspace_id: int
    key_id: str
    host: str
    scope: Modality
    model: str | None = None
    region: str | None = None
    verifying: bool = False
    funds: Funds = Funds.OWN


class KeyChangedV1(Event):
    """A key was created, changed or revoked: drop what you remember of it."""

    subject: ClassVar[str] = "ai.vault.keys.changed.v1"
    owner: ClassVar[Service] = Service.VAULT
    listeners: ClassVar[tuple[Service, ...]] = _ROUTER
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1, "key_id": KEY_ID, "revoked": True}

    workspace_id: int
    key_id: str
    revoked: bool = False


def _matches(model: str, allowed: str) -> bool:
    return model.startswith(allowed[:-1]) if allowed.endswith("*") else model == allowed
