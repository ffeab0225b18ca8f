"""Bodies the edge accepts, in the specification's words. Unknown fields are refused, refused values never repeated."""

import re
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StrictBool,
    StrictInt,
    model_validator,
)

from services.api.domain.pages import LONGEST
from shared.messages.catalogue import AliasFunds, ModelV1, OnStreamCut, TargetV1, TimeLimitsV1
from shared.messages.metering import Unit
from shared.messages.vault import RestrictionsV1
from shared.messages.vocabulary import Capability, Feature, Modality
from shared.money import micros_from_usd

_SECRET = re.compile(r"[!-~]{8,4096}")
_TEXT = r"^[^\x00-\x1f\x7f]+$"
Name = Annotated[str, Field(min_length=1, max_length=120, pattern=_TEXT)]
AliasName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
ProviderId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
Region = Annotated[str, Field(pattern=r"^[a-z]{2,16}$")]
ModelId = Annotated[str, Field(min_length=1, max_length=200, pattern=_TEXT)]
WorkspaceId = Annotated[StrictInt, Field(ge=1, le=2**53)]
# In a query everything is text, so there an integer need not be strict.
WorkspaceQuery = Annotated[int | None, Field(ge=1, le=2**53)]
WorkspacePath = Annotated[int, Field(ge=1, le=2**53)]
# 0 is the platform's own chain.
AuditWorkspace = Annotated[int | None, Field(ge=0, le=2**53)]
# The ``next_cursor`` of the page before.
CursorText = Annotated[str | None, Field(min_length=1, max_length=LONGEST)]
Count = Annotated[StrictInt, Field(ge=0, le=2**53)]


def _money(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("an amount is a number")  # noqa: TRY004 - pydantic turns ValueError into a clear answer
    return value


Usd = Annotated[Decimal, BeforeValidator(_money), Field(ge=0, le=1_000_000_000, decimal_places=6)]


class Body(BaseModel):
    """A request body."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, frozen=True)


def _scopes(value: object) -> object:
    # The specification's object of booleans; a plain list of names is understood as well.
    if isinstance(value, list):
        return dict.fromkeys((str(item) for item in value), True)
    return value


Scopes = Annotated[dict[Modality, StrictBool], BeforeValidator(_scopes)]


def _secret(value: SecretStr) -> SecretStr:
    # Pasted keys bring white space along. What the vault would refuse is refused before anything is stored for it.
    text = value.get_secret_value().strip()
    if not _SECRET.fullmatch(text):
        raise ValueError("a key is 8 to 4,096 printable ASCII characters without spaces")
    return SecretStr(text)


Secret = Annotated[SecretStr, AfterValidator(_secret)]


class Restrictions(Body):
    """Where a key may be used besides its scopes; left out or null does not restrict. ``gpt-4o*`` ends anyhow."""

    models: frozenset[ModelId] | None = Field(default=None, min_length=1, max_length=100)
    regions: frozenset[Region] | None = Field(default=None, min_length=1, max_length=20)

    def restrictions(self) -> RestrictionsV1:
        """As the vault keeps them."""
        return RestrictionsV1(models=self.models, regions=self.regions)


class Limits(Body):
    """Budgets. Days and months begin at 00:00 UTC; null is no limit."""

    monthly_budget_usd: Usd | None = None
    monthly_budget_tokens: Count | None = None
    monthly_budget_requests: Count | None = None
    daily_budget_usd: Usd | None = None
    daily_budget_tokens: Count | None = None
    daily_budget_requests: Count | None = None

    def caps(self, period: Literal["monthly", "daily"]) -> dict[Unit, int | None]:
        """The caps that were named, null ones too; money in micro-dollars."""
        named = {unit: f"{period}_budget_{suffix}" for unit, suffix in _SUFFIXES.items()}
        given = {unit: getattr(self, name) for unit, name in named.items() if name in self.model_fields_set}
        usd = given.get("usd_micros")
        return given if usd is None else given | {"usd_micros": micros_from_usd(usd)}


_SUFFIXES: dict[Unit, str] = {"usd_micros": "usd", "tokens": "tokens", "requests": "requests"}


class KeyIn(Limits):
    """A key to store. ``scopes`` left out: text only."""

    workspace_id: WorkspaceId | None = None
    provider: ProviderId
    label: Name = "Key"
    api_key: Secret
    scopes: Scopes = Field(default={Modality.TEXT: True})
    restrictions: Restrictions = Restrictions()


class KeyChange(Limits):
    """What to change of a key; what is left out stays. A budget of null removes the limit."""

    workspace_id: WorkspaceId | None = None
    label: Name | None = None
    api_key: Secret | None = None
    scopes: Scopes | None = None
    restrictions: Restrictions | None = None


class Fallback(Body):
    """A further target; lower ``priority`` comes first, equal ones in the written order."""

    provider: ProviderId
    model: ModelId
    priority: StrictInt = 0


Fallbacks = Annotated[tuple[Fallback, ...], Field(max_length=15)]


def ordered(fallbacks: tuple[Fallback, ...]) -> tuple[TargetV1, ...]:
    """The targets in the order they are tried."""
    by_priority = sorted(fallbacks, key=lambda fallback: fallback.priority)
    return tuple(TargetV1(provider=fallback.provider, model=fallback.model) for fallback in by_priority)


class AliasIn(Body):
    """An alias to create. ``modality`` follows from ``capability`` and must agree when it is given."""

    workspace_id: WorkspaceId | None = None
    alias_name: AliasName
    display_name: Name | None = None
    modality: Modality | None = None
    capability: Capability = Capability.CHAT
    primary_provider: ProviderId
    primary_model: ModelId
    fallback_chain: Fallbacks = ()
    routing_preference: Literal["quality", "speed", "cost"] = "quality"
    allow_aggregators: StrictBool = False
    on_stream_cut: OnStreamCut = "continue"
    time_limits: TimeLimitsV1 = TimeLimitsV1()
    funds: AliasFunds = "own"

    @model_validator(mode="after")
    def _modality_agrees(self) -> "AliasIn":
        if self.modality not in (None, self.capability.modality):
            raise ValueError("modality and capability do not belong together")
        return self


class AliasChange(Body):
    """What to change of an alias; what is left out stays."""

    workspace_id: WorkspaceId | None = None
    alias_name: AliasName | None = None
    display_name: Name | None = None
    modality: Modality | None = None
    capability: Capability | None = None
    primary_provider: ProviderId | None = None
    primary_model: ModelId | None = None
    fallback_chain: Fallbacks | None = None
    routing_preference: Literal["quality", "speed", "cost"] | None = None
    allow_aggregators: StrictBool | None = None
    on_stream_cut: OnStreamCut | None = None
    time_limits: TimeLimitsV1 | None = None
    funds: AliasFunds | None = None


def _decimal_text(value: object) -> object:
    # JSON numbers are welcome; they are kept as the decimal text that was written.
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return format(Decimal(str(value)), "f")
    return value


Price = Annotated[str, BeforeValidator(_decimal_text), Field(pattern=r"^\d{1,9}(\.\d{1,12})?$")]


class ModelIn(Body):
    """A model of a provider; of a built-in one, what is left out stays as it is built in.

    Prices are USD per million tokens. Left out: as in the tables, else unknown, and then no $ budget admits it.
    ``capabilities`` left out: chat, or those of a known model. ``features`` left out: unknown, and everything is tried.
    """

    id: ModelId
    capabilities: tuple[Capability, ...] = Field(default=(), max_length=16)
    input_usd_per_mtok: Price | None = None
    output_usd_per_mtok: Price | None = None
    cache_read_usd_per_mtok: Price | None = None
    cache_write_usd_per_mtok: Price | None = None
    features: Annotated[tuple[Feature, ...], Field(max_length=16)] | None = None
    max_image_tokens: Annotated[StrictInt, Field(ge=1, le=2**31)] | None = None
    context_window: Annotated[StrictInt, Field(ge=1, le=2**31)] | None = None
    max_output_tokens: Annotated[StrictInt, Field(ge=1, le=2**31)] | None = None
    default_max_tokens: Annotated[StrictInt, Field(ge=1, le=2**31)] | None = None

    def model(self) -> ModelV1:
        """As the catalogue holds it."""
        return ModelV1.model_validate(self.model_dump())


Models = Annotated[tuple[ModelIn, ...], Field(max_length=500)]
BaseUrl = Annotated[str, Field(min_length=8, max_length=2048)]


class ProviderIn(Body):
    """A provider to add to the catalogue. ``simulated``: its answers are not real, and it is labelled so.

    ``region``: where it works (``eu``, ``us``); left out: unknown, and then outside of every key's regions.
    """

    id: ProviderId
    kind: Literal["openai-compatible"] = "openai-compatible"
    name: Name | None = None
    base_url: BaseUrl
    region: Region | None = None
    models: Models = ()
    simulated: StrictBool = False


class ProviderChange(Body):
    """What to change of a provider, a built-in one included. A new ``base_url`` without ``region`` makes it unknown."""

    name: Name | None = None
    base_url: BaseUrl | None = None
    region: Region | None = None
    models: Models | None = None


class WorkspaceIn(Body):
    """A workspace to create; without ``id`` the next free one is taken."""

    id: WorkspaceId | None = None
    name: Name


PerMinute = Annotated[StrictInt, Field(ge=1, le=10**12)] | None


class RatesIn(Body):
    """Limits a minute on ``/ai-invoke`` and ``/v1``; null: the deployment's default, usually none."""

    workspace_id: WorkspaceId | None = None
    requests_per_minute: PerMinute = None
    tokens_per_minute: PerMinute = None


class TokenIn(RatesIn):
    """An access token to create for a workspace."""

    role: Literal["owner", "admin", "member", "viewer"] = "member"
    name: Name = "Token"
    expires_in_days: Annotated[StrictInt, Field(ge=1, le=3650)] | None = None


class TokenChange(RatesIn):
    """What to change of an access token; what is left out stays."""

    name: Name | None = None
