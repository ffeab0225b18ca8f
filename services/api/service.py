"""What the edge does that takes more than one message: adding a key, listing keys with their budgets, workspaces."""

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from services.api.domain.access import Action, Principal, masked_token, token_hash
from services.api.domain.rates import Rates
from services.api.domain.synonyms import canonical
from services.api.schemas import KeyChange, KeyIn, Limits, RatesIn, TokenChange, TokenIn
from services.api.store import Store, TokenRow
from shared import sealing
from shared.bus import Bus
from shared.clock import Clock
from shared.errors import OmniError, invalid, not_found
from shared.messages.base import Done
from shared.messages.catalogue import ListProvidersV1, ProvidersV1, ProviderV1, SeedWorkspaceV1
from shared.messages.custody import ActorV1
from shared.messages.metering import BudgetsV1, BudgetV1, ListBudgetsV1, SetKeyBudgetV1
from shared.messages.router import VerdictV1, VerifyKeyV1
from shared.messages.vault import CreateKeyV1, GetKeyV1, KeysV1, KeyV1, ListKeysV1, RevokeKeyV1, UpdateKeyV1
from shared.messages.vocabulary import Modality
from shared.remembered import Remembered

VERIFY_TIMEOUT_S = 20.0
REVOKE_TIMEOUT_S = 20.0
# How long another replica may go on admitting a workspace that has been deleted here.
REMEMBER_WORKSPACE_S = 2.0


@dataclass(frozen=True)
class KeyWithBudget:
    """A stored key and its budget; None when metering does not know the key (it cannot be used then).

    ``day``: the same budget on its day; None when that has no limit.
    """

    key: KeyV1
    budget: BudgetV1 | None
    day: BudgetV1 | None = None


class Edge:
    """Use cases of the HTTP API. Every failure is an OmniError."""

    def __init__(self, bus: Bus, store: Store, clock: Clock, vault: sealing.VaultPublic, pepper: bytes) -> None:
        self.bus, self.store = bus, store
        self._clock, self._vault, self._pepper = clock, vault, pepper
        self._workspaces = Remembered(
            store.workspace_rates, clock, keep_s=REMEMBER_WORKSPACE_S, worth=lambda found: found is not None
        )

    async def workspace(self, caller: Principal, action: Action, named: int | None) -> int:
        """The workspace a request is about, once the caller may do ``action`` there.

        Raises OmniError: ``forbidden``, ``invalid_request`` (none named), ``not_found`` (no such workspace).
        """
        caller.may(action)
        workspace_id = caller.reach(named)
        await self.rates_of(workspace_id)
        return workspace_id

    async def rates_of(self, workspace_id: int) -> Rates:
        """The rate limits of a workspace. Raises OmniError ``not_found``."""
        if (rates := await self._workspaces.get(workspace_id)) is None:
            raise not_found("workspace", workspace_id=workspace_id)
        return rates

    def forget_workspace(self, workspace_id: int) -> None:
        """It has been deleted, or its limits have changed."""
        self._workspaces.forget(workspace_id)

    async def provider(self, provider_id: str) -> ProviderV1:
        """A provider of the catalogue. Raises OmniError ``invalid_request`` when it is unknown."""
        name = canonical(provider_id)
        providers = await self.bus.request(ListProvidersV1(), ProvidersV1)
        found = next((provider for provider in providers.items if provider.id == name), None)
        if found is None:
            known = ", ".join(provider.id for provider in providers.items)
            raise invalid(f"There is no such provider; choose one of: {known}.", field="provider")
        return found

    # -- keys ------------------------------------------------------------------------------------------------

    async def add_key(self, workspace_id: int, new_id: UUID, body: KeyIn, actor: ActorV1) -> KeyWithBudget:
        """Store a key with its budget and verify it. A refused key is stored as ``invalid``, to be mended later.

        The same again under the same id stores nothing new.
        """
        provider = await self.provider(body.provider)
        key_id = str(new_id)
        await self._set_caps(workspace_id, key_id, body)
        created = CreateKeyV1(
            key_id=key_id,
            workspace_id=workspace_id,
            provider=provider.id,
            host=provider.host,
            label=body.label,
            scopes=_enabled(body.scopes),
            restrictions=body.restrictions.restrictions(),
            actor=actor,
            sealed=self._sealed(body.api_key.get_secret_value(), workspace_id, key_id, provider.id, provider.host),
        )
        await self.bus.request(created, KeyV1)
        await self._try_verify(workspace_id, key_id)
        return await self.key(workspace_id, key_id)

    async def change_key(self, key: KeyV1, body: KeyChange, actor: ActorV1) -> KeyWithBudget:
        """Change what ``body`` names; a new secret is verified before the answer."""
        sealed = host = None
        if body.api_key is not None:
            host = (await self.provider(key.provider)).host
            sealed = self._sealed(body.api_key.get_secret_value(), key.workspace_id, key.id, key.provider, host)
        scopes = None if body.scopes is None else _enabled(body.scopes)
        change = UpdateKeyV1(
            workspace_id=key.workspace_id,
            key_id=key.id,
            label=body.label,
            scopes=scopes,
            restrictions=None if body.restrictions is None else body.restrictions.restrictions(),
            host=host,
            sealed=sealed,
            actor=actor,
        )
        # The vault refuses what cannot be done before any cap is moved.
        await self.bus.request(change, KeyV1)
        if body.caps("monthly") or body.caps("daily"):
            await self._set_caps(key.workspace_id, key.id, body)
        if sealed:
            await self._try_verify(key.workspace_id, key.id)
        return await self.key(key.workspace_id, key.id)

    async def verify_key(self, key: KeyV1) -> KeyWithBudget:
        """Ask the provider about the key, and return the key as it stands then."""
        request = VerifyKeyV1(workspace_id=key.workspace_id, key_id=key.id)
        await self.bus.request(request, VerdictV1, timeout=VERIFY_TIMEOUT_S)
        return await self.key(key.workspace_id, key.id)

    async def _try_verify(self, workspace_id: int, key_id: str) -> None:
        # The key is stored by now: a router that is away must not make the caller believe that it is not.
        with suppress(OmniError):
            request = VerifyKeyV1(workspace_id=workspace_id, key_id=key_id)
            await self.bus.request(request, VerdictV1, timeout=VERIFY_TIMEOUT_S)

    async def find_key(self, caller: Principal, action: Action, key_id: str) -> KeyV1:
        """A key by id, wherever the caller may look. Raises OmniError ``not_found``, ``forbidden``."""
        caller.may(action)
        return await self.bus.request(GetKeyV1(workspace_id=caller.workspace_id, key_id=key_id), KeyV1)

    async def key(self, workspace_id: int, key_id: str) -> KeyWithBudget:
        """One key with its budget."""
        key = await self.bus.request(GetKeyV1(workspace_id=workspace_id, key_id=key_id), KeyV1)
        return _with_budget(key, await self.budgets(workspace_id))

    async def keys(self, workspace_id: int) -> list[KeyWithBudget]:
        """Every key of a workspace, oldest first, revoked ones included."""
        keys = await self.bus.request(ListKeysV1(workspace_id=workspace_id), KeysV1)
        budgets = await self.budgets(workspace_id)
        return [_with_budget(key, budgets) for key in keys.items]

    async def revoke_key(self, key: KeyV1, actor: ActorV1) -> None:
        """After this returns no call runs or starts with the key."""
        revoke = RevokeKeyV1(workspace_id=key.workspace_id, key_id=key.id, actor=actor)
        await self.bus.request(revoke, Done, timeout=REVOKE_TIMEOUT_S)

    async def budgets(self, workspace_id: int) -> tuple[BudgetV1, ...]:
        """Every budget of a workspace: its own first, its credits, its keys'."""
        return (await self.bus.request(ListBudgetsV1(workspace_id=workspace_id), BudgetsV1)).items

    async def _set_caps(self, workspace_id: int, key_id: str, limits: Limits) -> None:
        caps, day_caps = limits.caps("monthly"), limits.caps("daily")
        request = SetKeyBudgetV1(workspace_id=workspace_id, key_id=key_id, caps=caps, day_caps=day_caps)
        await self.bus.request(request, BudgetV1)

    def _sealed(self, secret: str, workspace_id: int, key_id: str, provider: str, host: str) -> str:
        info = sealing.key_info(workspace_id=workspace_id, key_id=key_id, provider=provider, host=host)
        return sealing.encode(sealing.seal(secret.encode(), self._vault.sealing, info))

    # -- workspaces and tokens -------------------------------------------------------------------------------

    async def add_workspace(self, workspace_id: int | None, name: str) -> int:
        """Create a workspace with the default aliases. Raises OmniError ``conflict``."""
        created = await self.store.add_workspace(workspace_id, name, self._clock.now())
        with suppress(OmniError):
            # It exists by now; with the router away ``seed_workspaces`` completes it soon.
            await self._seed(created)
        return created

    async def seed_workspaces(self) -> None:
        """Give every workspace that has none yet its default aliases (one may have been left half made)."""
        for workspace_id in await self.store.unseeded():
            await self._seed(workspace_id)

    async def _seed(self, workspace_id: int) -> None:
        await self.bus.request(SeedWorkspaceV1(workspace_id=workspace_id), Done)
        await self.store.seeded(workspace_id, self._clock.now())

    async def add_token(self, workspace_id: int, new_id: UUID, body: TokenIn) -> tuple[TokenRow, str]:
        """A new access token: its row, and the token itself, which is shown this once.

        One with this id that nobody has been told of is made anew.
        """
        token = f"omni_{secrets.token_urlsafe(32)}"
        now = self._clock.now()
        row = TokenRow(
            id=new_id,
            workspace_id=workspace_id,
            role=body.role,
            name=body.name,
            masked=masked_token(token),
            token_hash=token_hash(self._pepper, token),
            created_at=now,
            expires_at=now + timedelta(days=body.expires_in_days) if body.expires_in_days else None,
            requests_per_minute=body.requests_per_minute,
            tokens_per_minute=body.tokens_per_minute,
        )
        await self.store.put_token(row)
        return row, token

    async def change_token(self, token_id: UUID, workspace_id: int | None, body: TokenChange) -> TokenRow:
        """Change what ``body`` names. Raises OmniError ``not_found``."""
        named = body.model_dump(include=body.model_fields_set - {"workspace_id"})
        # A token always has a name: null leaves it as it is, as leaving it out does.
        changes = {name: value for name, value in named.items() if name != "name" or value is not None}
        if (row := await self.store.change_token(token_id, workspace_id, changes)) is None:
            raise not_found("token")
        return row

    async def limit_workspace(self, workspace_id: int, body: RatesIn) -> Rates:
        """Change the rate limits ``body`` names; the limits as they stand then. Raises OmniError ``not_found``."""
        if changes := body.model_dump(include=body.model_fields_set - {"workspace_id"}):
            await self.store.limit_workspace(workspace_id, changes)
        self.forget_workspace(workspace_id)
        return await self.rates_of(workspace_id)

    async def revoke_token(self, token_id: UUID, workspace_id: int | None) -> None:
        """Raises OmniError ``not_found``."""
        if not await self.store.revoke_token(token_id, workspace_id, self._clock.now()):
            raise not_found("token")


def _enabled(scopes: Mapping[Modality, bool]) -> frozenset[Modality]:
    return frozenset(modality for modality, allowed in scopes.items() if allowed)


def _with_budget(key: KeyV1, budgets: Sequence[BudgetV1]) -> KeyWithBudget:
    mine = {budget.period: budget for budget in budgets if budget.key_id == key.id}
    return KeyWithBudget(key, mine.get("month"), mine.get("day"))
