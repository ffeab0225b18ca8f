"""Which targets to try, in which order, and why the others are passed over. The same values give the same plan."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from services.router.domain.breaker import Rest
from services.router.domain.offer import Offer
from services.router.domain.preference import NOTHING_KNOWN, Signals, ordered
from services.router.domain.wish import Wish, lacking
from shared.messages.catalogue import AliasV1, TargetV1
from shared.messages.vault import KeyV1
from shared.messages.vocabulary import Capability, Funds, KeyStatus, Outcome

Rests = Callable[[TargetV1, str], Rest | None]
"""Whether a target is left alone for a while when it would be called with the key of this id."""


@dataclass(frozen=True)
class Candidate:
    """A target with the key that would pay for it.

    Attributes:
        restricted: the key is for some models or regions only.
        way: what it is asked as; a completion may be asked as a chat.
        window: tokens its model can hold, None when nobody knows.
        place: of its target in the order of preference, from 0.
        resting: why it is better left alone now; it comes after those that are not resting.
        funds: who pays; of platform funds the key is the platform's.
    """

    target: TargetV1
    key_id: str
    key_version: int
    host: str
    region: str | None = None
    restricted: bool = False
    way: Capability = Capability.CHAT
    window: int | None = None
    place: int = 0
    resting: Rest | None = None
    funds: Funds = Funds.OWN


@dataclass(frozen=True)
class Skipped:
    """A target that is not called. ``detail`` names what is missing (an option, a key's state), never a value.

    ``place`` and ``funds``: as in ``Candidate``.
    """

    target: TargetV1
    outcome: Outcome
    detail: str | None = None
    key_id: str | None = None
    place: int = 0
    funds: Funds = Funds.OWN


Step = Candidate | Skipped


def plan(
    alias: AliasV1,
    keys: Sequence[KeyV1],
    offers: Mapping[str, Offer],
    wish: Wish,
    signals: Signals = NOTHING_KNOWN,
    rests: Rests = lambda _, __: None,
    funds: Funds = Funds.OWN,
) -> tuple[Step, ...]:
    """The chain of ``alias`` in the order it prefers, each target once per usable key (oldest key first).

    ``keys``: of whoever's ``funds`` they are, oldest first. A provider missing from ``offers`` is unknown to the
    catalogue.
    Candidates that are resting come last, in their order: whoever has no other target is still served.
    """
    steps: list[Step] = []
    for place, target in enumerate(ordered(alias.chain, alias.routing_preference, signals)):
        for step in _steps(alias, target, keys, offers.get(target.provider), wish):
            rest = rests(target, step.key_id) if isinstance(step, Candidate) else None
            placed = replace(step, place=place, funds=funds) if place or funds is not Funds.OWN else step
            steps.append(replace(placed, resting=rest) if rest and isinstance(placed, Candidate) else placed)
    return tuple(sorted(steps, key=lambda step: isinstance(step, Candidate) and step.resting is not None))


def larger(steps: Sequence[Step], window: int | None) -> tuple[Step, ...]:
    """``steps`` without the candidates whose window is not larger than ``window``, which was too small.

    A window nobody knows may be larger; when the one that was too small is unknown, all may be.
    """
    if window is None:
        return tuple(steps)
    return tuple(step for step in steps if isinstance(step, Skipped) or step.window is None or step.window > window)


def overtaken(steps: Sequence[Step], chosen: Candidate) -> Candidate | None:
    """The most preferred candidate that ``chosen`` is taken before because it is resting; None when there is none."""
    resting = [step for step in steps if isinstance(step, Candidate) and step.resting and step.place < chosen.place]
    return min(resting, key=lambda step: step.place, default=None)


def _steps(
    alias: AliasV1, target: TargetV1, all_keys: Sequence[KeyV1], offer: Offer | None, wish: Wish
) -> list[Candidate] | list[Skipped]:
    if offer is None:
        return [Skipped(target, Outcome.UNAVAILABLE, "unknown_provider")]
    if offer.aggregator and not alias.allow_aggregators:
        return [Skipped(target, Outcome.UNAVAILABLE, "aggregators_not_allowed")]
    keys = [key for key in all_keys if key.provider == target.provider and key.status is not KeyStatus.REVOKED]
    refusals = [refusal for key in keys if (refusal := _refused(alias, target, key, offer))]
    way = offer.way_of(alias.capability, target.model)
    if way is None:
        scope = next((refusal for refusal in refusals if refusal.outcome is Outcome.UNSUPPORTED_SCOPE), None)
        return [scope or Skipped(target, Outcome.UNAVAILABLE, _why_no_way(alias, target, offer))]
    missing = lacking(wish, target.provider, offer.ways[way], offer.models.get(target.model))
    if missing:
        return [Skipped(target, Outcome.UNSUPPORTED_OPTION, missing)]
    if not keys:
        return [Skipped(target, Outcome.MISSING_KEY)]
    refused = {refusal.key_id for refusal in refusals}
    usable = [_candidate(target, key, offer, way) for key in keys if key.id not in refused]
    return usable or [most_telling(refusals)]


def _why_no_way(alias: AliasV1, target: TargetV1, offer: Offer) -> str:
    if offer.knows_otherwise(alias.capability, target.model):
        return "model_without_capability"
    is_coming = not offer.ways or alias.capability in offer.planned
    return "no_adapter_yet" if is_coming else "provider_without_capability"


def _candidate(target: TargetV1, key: KeyV1, offer: Offer, way: Capability) -> Candidate:
    model = offer.models.get(target.model)
    return Candidate(
        target,
        key.id,
        key.version,
        key.host,
        region=offer.region,
        restricted=(key.restrictions.models, key.restrictions.regions) != (None, None),
        way=way,
        window=None if model is None else model.context_window,
    )


def _refused(alias: AliasV1, target: TargetV1, key: KeyV1, offer: Offer) -> Skipped | None:
    if key.status is KeyStatus.INVALID:
        return Skipped(target, Outcome.INVALID_KEY, key.status_reason, key.id)
    if key.host != offer.host:
        return Skipped(target, Outcome.INVALID_KEY, "provider_address_changed", key.id)
    if alias.modality not in key.scopes:
        return Skipped(target, Outcome.UNSUPPORTED_SCOPE, alias.modality.value, key.id)
    if refused := key.restrictions.refuses(target.model, offer.region):
        return Skipped(target, Outcome.UNSUPPORTED_SCOPE, refused, key.id)
    return None


def most_telling(refusals: Sequence[Skipped]) -> Skipped:
    """The refusal that is easiest to mend: a scope to enable before a key to replace."""
    return min(refusals, key=lambda refusal: refusal.outcome is not Outcome.UNSUPPORTED_SCOPE)
