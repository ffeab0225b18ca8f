"""Contracts of content: what calls were about and what was answered, kept only where a workspace has opted in.

The router seals it under a key of the vault's, metering keeps it and cannot open it, the edge opens it for people who
may read it. It travels on core NATS and never enters a stream. See ``docs/decisions/0017-content.md``.
"""

from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field

from shared.messages.base import Done, Event, Part, Request, Service
from shared.messages.chat import ChatMessageV1, ChatOptionsV1, EmbeddingV1, ToolCallV1
from shared.messages.custody import ActorV1
from shared.messages.metering import ATTEMPT_ID

LARGEST_CONTENT = 524_288
"""Bytes of a stored content before it is sealed; what is larger is shortened."""

ROOT_ID = "0190a5c8-7f5e-7c3e-9f7b-0a4b5c6d7e8f"
_API, _ROUTER = (Service.API,), (Service.ROUTER,)
_ACTOR = {"kind": "token", "id": "00000000-0000-0000-0000-000000000001", "role": "owner"}
_ATTEMPT = {"workspace_id": 1, "call_id": ATTEMPT_ID, "attempt_id": ATTEMPT_ID}


class ContentV1(Part):
    """What an attempt was asked and what it answered; this is what is sealed.

    ``messages`` and ``options``, or ``embedding``, are the call's. ``continues``: the beginning of an answer that this
    attempt was to go on with. ``complete`` False: ``text`` is what the caller had heard when the attempt failed.
    ``shortened``: it was larger than ``LARGEST_CONTENT``; pictures are left out then, and texts cut.
    """

    messages: tuple[ChatMessageV1, ...] = Field(default=(), repr=False)
    options: ChatOptionsV1 = Field(default=ChatOptionsV1(), repr=False)
    embedding: EmbeddingV1 | None = Field(default=None, repr=False)
    continues: str | None = Field(default=None, repr=False)
    text: str = Field(default="", repr=False)
    tool_calls: tuple[ToolCallV1, ...] = Field(default=(), repr=False)
    complete: bool
    shortened: bool = False


# -- whether it is kept: metering ----------------------------------------------------------------------------


class ContentPolicyV1(Part):
    """Whether the content of a workspace's calls is stored, and for how many days.

    ``zero_retention`` forbids it and wins over everything: nothing is stored, nothing stored is shown, all of it goes.
    """

    workspace_id: int
    store_content: bool = False
    content_days: int = 30
    zero_retention: bool = False


class GetContentPolicyV1(Request):
    """The policy of a workspace; one that never said anything stores nothing."""

    subject: ClassVar[str] = "ai.metering.contents.policy.get.v1"
    owner: ClassVar[Service] = Service.METERING
    callers: ClassVar[tuple[Service, ...]] = (Service.API, Service.ROUTER)
    reply: ClassVar[type[Part]] = ContentPolicyV1
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1}

    workspace_id: int


class SetContentPolicyV1(Request):
    """Change what is named; None leaves it as it is. Once it has answered, nothing is stored against it.

    Problems: ``conflict`` (storing while zero retention holds), ``forbidden`` (zero retention lifted by anyone but an
    owner of the workspace), ``invalid_request`` (both at once).
    """

    subject: ClassVar[str] = "ai.metering.contents.policy.set.v1"
    owner: ClassVar[Service] = Service.METERING
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = ContentPolicyV1
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1, "store_content": True, "content_days": 30, "actor": _ACTOR}

    workspace_id: int
    store_content: bool | None = None
    content_days: int | None = Field(default=None, ge=1, le=365)
    zero_retention: bool | None = None
    actor: ActorV1


class ContentPolicyChangedV1(Event):
    """A workspace's policy is another one: ask again. Nothing rests on it: metering stores nothing against a policy."""

    subject: ClassVar[str] = "ai.metering.contents.policy.changed.v1"
    owner: ClassVar[Service] = Service.METERING
    listeners: ClassVar[tuple[Service, ...]] = _ROUTER
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1}

    workspace_id: int


# -- the sealed content: metering ----------------------------------------------------------------------------


class SealedContentV1(Part):
    """A ``ContentV1`` as it is kept. ``sealed`` (base64) opens with the key that ``OpenContentKeyV1`` gives for it."""

    workspace_id: int
    call_id: str
    attempt_id: str
    root_id: str
    salt: str
    sealed: str = Field(repr=False)
    stored_at: datetime


class KeptV1(Part):
    """Whether the content was taken: False when the workspace does not want it, or had it already."""

    kept: bool


class StoreContentV1(Request):
    """Keep the content of an attempt, if its workspace's policy says so at this very moment."""

    subject: ClassVar[str] = "ai.metering.contents.store.v1"
    owner: ClassVar[Service] = Service.METERING
    callers: ClassVar[tuple[Service, ...]] = _ROUTER
    reply: ClassVar[type[Part]] = KeptV1
    example: ClassVar[dict[str, Any]] = _ATTEMPT | {"root_id": ROOT_ID, "salt": "c2FsdA==", "sealed": "c2VhbGVk"}

    workspace_id: int
    call_id: str
    attempt_id: str
    root_id: str
    salt: str = Field(max_length=64)
    sealed: str = Field(repr=False, max_length=720_000)


class GetContentV1(Request):
    """The content of an attempt. Problem ``not_found``: none is stored, its days are over, or zero retention holds."""

    subject: ClassVar[str] = "ai.metering.contents.get.v1"
    owner: ClassVar[Service] = Service.METERING
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = SealedContentV1
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1, "attempt_id": ATTEMPT_ID}

    workspace_id: int
    attempt_id: str


# -- its keys: the vault -------------------------------------------------------------------------------------


class ContentKeyV1(Part):
    """The key of one attempt's content, for the process that asked.

    ``sealed`` (base64, HPKE) opens with the asker's private key and the info of ``shared.contents.key_info``;
    ``signature`` (base64, Ed25519) is the vault's over that info and the sealed bytes. ``salt``: base64.
    """

    root_id: str
    salt: str
    sealed: str = Field(repr=False)
    signature: str = Field(repr=False)


class NewContentKeyV1(Request):
    """A fresh key to seal one attempt's content with, never given twice. ``public_key``: base64 of raw X25519.

    Problems: ``not_found`` (the workspace has been shredded), ``unavailable`` (KEK or database away).
    """

    subject: ClassVar[str] = "ai.vault.contents.key.v1"
    owner: ClassVar[Service] = Service.VAULT
    callers: ClassVar[tuple[Service, ...]] = _ROUTER
    reply: ClassVar[type[Part]] = ContentKeyV1
    example: ClassVar[dict[str, Any]] = _ATTEMPT | {"public_key": "cHVibGlj"}

    workspace_id: int
    call_id: str
    attempt_id: str
    public_key: str


class OpenContentKeyV1(Request):
    """The key of a stored content once more, for ``actor`` to read it: it is in the audit before it is given.

    Problems: ``not_found`` (what it was derived from has been destroyed), ``unavailable``.
    """

    subject: ClassVar[str] = "ai.vault.contents.open.v1"
    owner: ClassVar[Service] = Service.VAULT
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = ContentKeyV1
    example: ClassVar[dict[str, Any]] = _ATTEMPT | {
        "public_key": "cHVibGlj", "root_id": ROOT_ID, "salt": "c2FsdA==", "actor": _ACTOR,
    }  # fmt: skip

    workspace_id: int
    call_id: str
    attempt_id: str
    public_key: str
    root_id: str
    salt: str = Field(max_length=64)
    actor: ActorV1


class DestroyContentsV1(Request):
    """Destroy what every content key of a workspace is derived from: nothing stored can be opened. Idempotent."""

    subject: ClassVar[str] = "ai.vault.contents.destroy.v1"
    owner: ClassVar[Service] = Service.VAULT
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = Done
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1, "actor": _ACTOR}

    workspace_id: int
    actor: ActorV1
