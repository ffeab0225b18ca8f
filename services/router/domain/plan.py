"""Which targets to try, in which order, and why the others are passed over. The same values give the same plan."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.messages.catalogue import AliasV1, TargetV1
from shared.messages.chat import ChatOptionsV1
from shared.messages.vault import KeyV1
from shared.messages.vocabulary import Capability, KeyStatus, Outcome


@dataclass(frozen=True)
class Offer:
    """What a provider can do today. ``options``: the chat options its adapter can express.

    ``region``: where the provider says it works; None when it does not say.
    """

    provider: str
    host: str
    capabilities: frozenset[Capability]
    options: frozenset[str]
    aggregator: bool
    region: str | None = None


@dataclass(frozen=True)
class Candidate:
    """A target with the key that would pay for it. ``restricted``: the key is for some models or regions only."""

    target: TargetV1
    key_id: str
    key_version: int
    host: str
    region: str | None = None
    restricted: bool = False


@dataclass(frozen=True)
class Skipped:
    """A target that is not called. ``detail`` names what is missing (an option, a key's state), never a value."""

    target: TargetV1
    outcome: Outcome
    detail: str | None = None
    key_id: str | None = None


Step = Candidate | Skipped


def plan(
    alias: AliasV1, keys: Sequence[KeyV1], offers: Mapping[str, Offer], options: ChatOptionsV1
) -> tuple[Step, ...]:
    """The chain of ``alias`` as written, each target once per usable key (oldest key first).

    ``keys``: the workspace's keys, oldest first. A provider missing from ``offers`` is unknown to the catalogue.
    """
    steps: list[Step] = []
    for target in alias.chain:
        mine = [key for key in keys if key.provider == target.provider and key.status is not KeyStatus.REVOKED]
        steps += _steps(alias, target, mine, offers.get(target.provider), options)
    return tuple(steps)


def _steps(
    alias: AliasV1, target: TargetV1, keys: Sequence[KeyV1], offer: Offer | None, options: ChatOptionsV1
) -> list[Step]:
    if offer is None:
        return [Skipped(target, Outcome.UNAVAILABLE, "unknown_provider")]
    if offer.aggregator and not alias.allow_aggregators:
        return [Skipped(target, Outcome.UNAVAILABLE, "aggregators_not_allowed")]
    refusals = [refusal for key in keys if (refusal := _refused(alias, target, key, offer))]
    if alias.capability not in offer.capabilities:
        scope = next((refusal for refusal in refusals if refusal.outcome is Outcome.UNSUPPORTED_SCOPE), None)
        return [scope or Skipped(target, Outcome.UNAVAILABLE, "no_adapter_yet")]
    unknown = unsupported_option(options, offer)
    if unknown:
        return [Skipped(target, Outcome.UNSUPPORTED_OPTION, unknown)]
    if not keys:
        return [Skipped(target, Outcome.MISSING_KEY)]
    refused = {refusal.key_id for refusal in refusals}
    usable = [_candidate(target, key, offer) for key in keys if key.id not in refused]
    return [*usable] or [most_telling(refusals)]


def _candidate(target: TargetV1, key: KeyV1, offer: Offer) -> Candidate:
    restricted = (key.restrictions.models, key.restrictions.regions) != (None, None)
    return Candidate(target, key.id, key.version, key.host, offer.region, restricted)


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


def unsupported_option(options: ChatOptionsV1, offer: Offer) -> str | None:
    """The first option that was asked for and that the provider's adapter cannot express."""
    asked = {name for name, value in options.model_dump().items() if value is not None}
    return next(iter(sorted(asked - offer.options)), None)


def most_telling(refusals: Sequence[Skipped]) -> Skipped:
    """The refusal that is easiest to mend: a scope to enable before a key to replace."""
    return min(refusals, key=lambda refusal: refusal.outcome is not Outcome.UNSUPPORTED_SCOPE)
