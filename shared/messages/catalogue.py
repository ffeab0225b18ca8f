"""Contracts of the router's catalogue: aliases with their chains, and providers with their models and prices."""

from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import Field

from shared.messages.base import Done, Event, Part, Request, Service
from shared.messages.custody import ActorV1
from shared.messages.vocabulary import Capability, Feature, Modality

KEY_ID = "0190a5c8-5f5e-7c3e-9f7b-0a4b5c6d7e8f"
REGION = r"^[a-z]{2,16}$"
_API = (Service.API,)


class TargetV1(Part):
    """A model at a provider: one step of an alias's chain."""

    provider: str
    model: str


class TimeLimitsV1(Part):
    """Seconds: to connect, to the first byte (while another target remains, on the last), between bytes, in all."""

    connect_s: float = Field(default=3.0, gt=0, le=30)
    first_byte_s: float = Field(default=12.0, gt=0, le=120)
    last_first_byte_s: float = Field(default=60.0, gt=0, le=300)
    silence_s: float = Field(default=20.0, gt=0, le=120)
    total_s: float = Field(default=300.0, gt=0, le=600)


OnStreamCut = Literal["continue", "hold", "error"]
AliasFunds = Literal["own", "platform", "own_then_platform"]
"""Who pays: the workspace's own keys; its credits on the platform's keys; or those where own keys or budgets lack."""


class AliasV1(Part):
    """A name for a chain of targets. ``available`` False: no adapter for any of its targets exists yet.

    ``on_stream_cut``: what happens when a stream breaks after its first piece was delivered. ``continue``: the next
    target goes on with it (plain text only; with tools or JSON it ends with an error). ``hold``: nothing is delivered
    before the answer is complete. ``error``: it ends. ``funds``: see ``AliasFunds``.
    """

    id: str
    workspace_id: int
    alias_name: str
    display_name: str
    modality: Modality
    capability: Capability
    chain: tuple[TargetV1, ...]
    routing_preference: Literal["quality", "speed", "cost"] = "quality"
    allow_aggregators: bool = False
    on_stream_cut: OnStreamCut = "continue"
    time_limits: TimeLimitsV1 = TimeLimitsV1()
    funds: AliasFunds = "own"
    is_default: bool = False
    available: bool = True
    unavailable_targets: tuple[TargetV1, ...] = ()
    created_at: datetime
    updated_at: datetime


class AliasesV1(Part):
    """Aliases of a workspace, by name."""

    items: tuple[AliasV1, ...]


class ListAliasesV1(Request):
    """Every alias of a workspace."""

    subject: ClassVar[str] = "ai.router.aliases.list.v1"
    owner: ClassVar[Service] = Service.ROUTER
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = AliasesV1
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1}

    workspace_id: int


class CreateAliasV1(Request):
    """Create an alias. Problems: ``conflict`` (name taken), ``invalid_request`` (unknown provider, target twice)."""

    subject: ClassVar[str] = "ai.router.aliases.create.v1"
    owner: ClassVar[Service] = Service.ROUTER
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = AliasV1
    example: ClassVar[dict[str, Any]] = {
        "alias_id": KEY_ID, "workspace_id": 1, "alias_name": "creative-writer", "display_name": "Creative Writer",
        "capability": "chat", "chain": [{"provider": "anthropic", "model": "claude-haiku-4-5"}],
    }  # fmt: skip

    alias_id: str
    workspace_id: int
    alias_name: str
    display_name: str
    capability: Capability
    chain: tuple[TargetV1, ...] = Field(min_length=1, max_length=16)
    routing_preference: Literal["quality", "speed", "cost"] = "quality"
    allow_aggregators: bool = False
    on_stream_cut: OnStreamCut = "continue"
    time_limits: TimeLimitsV1 = TimeLimitsV1()
    funds: AliasFunds = "own"


class UpdateAliasV1(Request):
    """Change some fields of an alias; None leaves one alone, ``fallbacks`` replaces the whole rest of the chain."""

    subject: ClassVar[str] = "ai.router.aliases.update.v1"
    owner: ClassVar[Service] = Service.ROUTER
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = AliasV1
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1, "alias_id": KEY_ID, "display_name": "Writer"}

    workspace_id: int
    alias_id: str
    alias_name: str | None = None
    display_name: str | None = None
    capability: Capability | None = None
    primary_provider: str | None = None
    primary_model: str | None = None
    fallbacks: tuple[TargetV1, ...] | None = Field(default=None, max_length=15)
    routing_preference: Literal["quality", "speed", "cost"] | None = None
    allow_aggregators: bool | None = None
    on_stream_cut: OnStreamCut | None = None
    time_limits: TimeLimitsV1 | None = None
    funds: AliasFunds | None = None


class GetAliasV1(Request):
    """One alias. ``workspace_id`` None only for a platform admin's request. Problem ``not_found``."""

    subject: ClassVar[str] = "ai.router.aliases.get.v1"
    owner: ClassVar[Service] = Service.ROUTER
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = AliasV1
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1, "alias_id": KEY_ID}

    workspace_id: int | None
    alias_id: str


class DeleteAliasV1(Request):
    """Deactivate an alias: it is gone for callers, its calls stay in the log. Problem ``not_found``."""

    subject: ClassVar[str] = "ai.router.aliases.delete.v1"
    owner: ClassVar[Service] = Service.ROUTER
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = Done
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1, "alias_id": KEY_ID}

    workspace_id: int
    alias_id: str


class SeedWorkspaceV1(Request):
    """Give a new workspace the default aliases. Idempotent: a deleted default alias stays deleted."""

    subject: ClassVar[str] = "ai.router.workspaces.seed.v1"
    owner: ClassVar[Service] = Service.ROUTER
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = Done
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1}

    workspace_id: int


class ModelV1(Part):
    """A model in the catalogue. Prices are USD per million tokens as decimal strings; None: no price known.

    ``features`` None: unknown, and then everything is tried. ``max_image_tokens``: what a picture counts at most.
    ``price_version``: where the prices come from; set by the router alone. In a request no ``capabilities`` leave
    those of a known model as they are.
    """

    id: str = Field(min_length=1, max_length=200)
    capabilities: tuple[Capability, ...] = (Capability.CHAT,)
    input_usd_per_mtok: str | None = Field(default=None, pattern=r"^\d{1,9}(\.\d{1,12})?$")
    output_usd_per_mtok: str | None = Field(default=None, pattern=r"^\d{1,9}(\.\d{1,12})?$")
    cache_read_usd_per_mtok: str | None = Field(default=None, pattern=r"^\d{1,9}(\.\d{1,12})?$")
    cache_write_usd_per_mtok: str | None = Field(default=None, pattern=r"^\d{1,9}(\.\d{1,12})?$")
    features: tuple[Feature, ...] | None = None
    max_image_tokens: int | None = Field(default=None, ge=1)
    context_window: int | None = Field(default=None, ge=1)
    max_output_tokens: int | None = Field(default=None, ge=1)
    default_max_tokens: int | None = Field(default=None, ge=1)
    price_version: str | None = None


class ProviderV1(Part):
    """A provider in the catalogue. ``status`` planned: keys may be stored, but no adapter exists yet.

    ``region``: where it works; None: unknown, or anywhere.
    """

    id: str
    name: str
    kind: Literal["builtin", "openai-compatible"]
    status: Literal["available", "planned"]
    base_url: str
    region: str | None = None
    host: str
    capabilities: tuple[Capability, ...]
    aggregator: bool = False
    simulated: bool = False
    models: tuple[ModelV1, ...]
    updated_at: datetime


class ProvidersV1(Part):
    """The catalogue, by id. ``version``: of the last change by an admin, 0 before the first."""

    items: tuple[ProviderV1, ...]
    version: int = 0


class ListProvidersV1(Request):
    """The whole catalogue. The vault asks where the platform's own keys may go."""

    subject: ClassVar[str] = "ai.router.providers.list.v1"
    owner: ClassVar[Service] = Service.ROUTER
    callers: ClassVar[tuple[Service, ...]] = (Service.API, Service.VAULT)
    reply: ClassVar[type[Part]] = ProvidersV1
    example: ClassVar[dict[str, Any]] = {}


class CreateProviderV1(Request):
    """Add an OpenAI-compatible host. Problems: ``conflict``, ``invalid_request`` (id, or a base_url not allowed)."""

    subject: ClassVar[str] = "ai.router.providers.create.v1"
    owner: ClassVar[Service] = Service.ROUTER
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = ProviderV1
    example: ClassVar[dict[str, Any]] = {
        "id": "acme", "base_url": "https://llm.acme.example/v1",
        "models": [{"id": "acme-1", "input_usd_per_mtok": "1", "output_usd_per_mtok": "2"}],
    }  # fmt: skip

    id: str
    kind: Literal["openai-compatible"] = "openai-compatible"
    name: str | None = Field(default=None, max_length=120)
    base_url: str
    region: str | None = Field(default=None, pattern=REGION)
    models: tuple[ModelV1, ...] = Field(max_length=500)
    simulated: bool = False
    actor: ActorV1 | None = None


class UpdateProviderV1(Request):
    """Change a provider, built-in ones included. ``models`` are added to or replace models of the same id.

    A new ``base_url`` on another host makes stored keys unusable until their owners enter them again. Without a
    ``region`` beside it the region is unknown from then on.
    """

    subject: ClassVar[str] = "ai.router.providers.update.v1"
    owner: ClassVar[Service] = Service.ROUTER
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = ProviderV1
    example: ClassVar[dict[str, Any]] = {"id": "openai", "base_url": "https://api.openai.com/v1"}

    id: str
    name: str | None = Field(default=None, max_length=120)
    base_url: str | None = None
    region: str | None = Field(default=None, pattern=REGION)
    models: tuple[ModelV1, ...] | None = Field(default=None, max_length=500)
    actor: ActorV1 | None = None


class CatalogueChangedV1(Event):
    """Aliases of a workspace (None: providers) have changed: every router replica reads them again."""

    subject: ClassVar[str] = "ai.router.catalogue.changed.v1"
    owner: ClassVar[Service] = Service.ROUTER
    listeners: ClassVar[tuple[Service, ...]] = (Service.ROUTER, Service.VAULT)
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1}

    workspace_id: int | None = None
