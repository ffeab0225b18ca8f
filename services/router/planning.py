"""Plans calls, those that are made and those that are only explained, from what is known at the moment."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.router.breakers import Breakers
from services.router.catalogue import Catalogue, Entry
from services.router.domain import pricing
from services.router.domain.breaker import Rest
from services.router.domain.credits import ROUNDS
from services.router.domain.direct import direct_alias, target_in
from services.router.domain.plan import Step, plan
from services.router.domain.preference import Signals
from services.router.domain.wish import options_for, wish_of
from services.router.keys import KeyDirectory
from services.router.latencies import Latencies
from services.router.prices import price_of
from shared.clock import Clock
from shared.messages.catalogue import AliasV1, TargetV1
from shared.messages.router import ForecastV1, InvokeV1
from shared.messages.vocabulary import Funds


@dataclass(frozen=True)
class Planned:
    """What a call would try, in this order, and the catalogue it was planned with."""

    steps: tuple[Step, ...]
    entries: Mapping[str, Entry]


class Planner:
    """Plans. Raises OmniError ``unavailable`` when the catalogue or the vault's list of keys cannot be read."""

    def __init__(
        self, catalogue: Catalogue, directory: KeyDirectory, breakers: Breakers, latencies: Latencies, clock: Clock
    ) -> None:
        self._catalogue, self._directory, self._clock = catalogue, directory, clock
        self._breakers, self._latencies = breakers, latencies

    async def alias(self, request: InvokeV1) -> AliasV1:
        """The alias a call names, or the target in its place. Raises OmniError ``not_found``, ``invalid_request``."""
        target = target_in(request.alias_name)
        if target is not None:
            return direct_alias(request, target, await self._catalogue.offers())
        return await self._catalogue.alias(request.workspace_id, request.alias_name)

    async def plan(self, alias: AliasV1, request: InvokeV1) -> Planned:
        """The plan of a call that is made now: it takes its turn in trying what nobody has measured lately."""
        planned = await self.preview(alias, request)
        if alias.routing_preference == "speed":
            self._latencies.called(request.workspace_id, alias.alias_name)
        return planned

    async def preview(self, alias: AliasV1, request: InvokeV1) -> Planned:
        """The plan that a call would get if it came now: the round with own keys, the one on credits, or both."""
        entries = await self._catalogue.entries()
        rounds = [await self._round(alias, request, entries, funds) for funds in ROUNDS[alias.funds]]
        return Planned(tuple(step for steps in rounds for step in steps), entries)

    def forecast(self, request: InvokeV1, target: TargetV1, entry: Entry) -> ForecastV1:
        """What ``request`` would cost at ``target``."""
        model = entry.model(target.model)
        price = price_of(target.provider, model, self._clock.now())
        if request.embedding is not None:
            return pricing.embedding_forecast(price, request.embedding.inputs)
        return pricing.forecast(price, request.messages, options_for(request.options, target.provider, model), model)

    def latency(self, workspace_id: int, target: TargetV1) -> float | None:
        """Milliseconds ``target`` usually takes; None when nobody has measured it lately."""
        return self._latencies.p50(workspace_id, target.provider, target.model)

    async def _round(
        self, alias: AliasV1, request: InvokeV1, entries: Mapping[str, Entry], funds: Funds
    ) -> tuple[Step, ...]:
        holder = funds.keyholder(request.workspace_id)
        keys = await self._directory.of(holder)
        offers = {one.provider: entries[one.provider].offer for one in alias.chain if one.provider in entries}
        wish = wish_of(request.messages, request.options, request.embedding)

        def rests(target: TargetV1, key_id: str) -> Rest | None:
            return self._breakers.resting(target.provider, target.model, holder, key_id)

        return plan(alias, keys, offers, wish, self._signals(request, alias, entries), rests, funds)

    def _signals(self, request: InvokeV1, alias: AliasV1, entries: Mapping[str, Entry]) -> Signals:
        if alias.routing_preference == "cost":
            priced = [target for target in alias.chain if target.provider in entries]
            return Signals(
                {one: self.forecast(request, one, entries[one.provider]).expected_usd_micros for one in priced}
            )
        if alias.routing_preference == "speed":
            latencies = {target: self.latency(request.workspace_id, target) for target in alias.chain}
            exploring = self._latencies.explores(request.workspace_id, alias.alias_name)
            return Signals(latencies=latencies, exploring=exploring)
        return Signals()
