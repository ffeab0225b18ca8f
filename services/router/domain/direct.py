"""``provider/model`` in place of an alias's name: a chain of that one target, made for the call."""

from collections.abc import Mapping
from datetime import UTC, datetime

from services.router.domain.offer import Offer
from shared.errors import Code, OmniError, invalid
from shared.messages.catalogue import AliasV1, TargetV1
from shared.messages.router import InvokeV1
from shared.messages.vocabulary import Capability

_NO_ID = "00000000-0000-0000-0000-000000000000"
_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
# As many models as a reader can use; a catalogue may hold hundreds.
_NAMED_AT_MOST = 20


def target_in(name: str) -> TargetV1 | None:
    """The target that ``name`` names, ``openrouter/vendor/model`` too; None for an alias's name, which has no slash."""
    provider, slash, model = name.partition("/")
    return TargetV1(provider=provider, model=model) if slash and provider and model else None


def direct_alias(request: InvokeV1, target: TargetV1, offers: Mapping[str, Offer]) -> AliasV1:
    """An alias that is ``target`` and nothing else. Naming an aggregator allows it.

    A model that the catalogue does not know is asked for: providers bring out models faster than catalogues learn.

    Raises:
        OmniError: ``not_found`` for an unknown provider, ``invalid_request`` for a model that does something else.
    """
    offer = offers.get(target.provider)
    if offer is None:
        raise _not_found(f"There is no such provider; there are: {', '.join(sorted(offers))}.", request)
    capability = _capability(request, target, offer)
    if offer.knows_otherwise(capability, target.model):
        raise invalid(f"This model does not do {capability}; {_models_of(offer, capability)}", field="model")
    return AliasV1(
        id=_NO_ID,
        workspace_id=request.workspace_id,
        alias_name=request.alias_name,
        display_name=request.alias_name,
        modality=capability.modality,
        capability=capability,
        chain=(target,),
        allow_aggregators=True,
        on_stream_cut="error" if capability is Capability.EMBEDDING else "continue",
        created_at=_ALWAYS,
        updated_at=_ALWAYS,
    )


def unknown_model(error: OmniError, alias: AliasV1, offers: Mapping[str, Offer]) -> OmniError:
    """``error``, or ``not_found`` in its place when a direct target's provider has said that it has no such model."""
    attempts = error.extra.get("attempts") or ()
    offer = offers.get(alias.chain[0].provider)
    if alias.id != _NO_ID or offer is None or not any(one.get("detail") == "unknown_model" for one in attempts):
        return error
    detail = f"The provider has no such model for this key; {_models_of(offer, alias.capability)}"
    return OmniError(Code.NOT_FOUND, detail, extra=error.extra)


def _capability(request: InvokeV1, target: TargetV1, offer: Offer) -> Capability:
    if request.capability is not None:
        return request.capability
    if request.embedding is not None:
        return Capability.EMBEDDING
    model = offer.models.get(target.model)
    only_completes = model is not None and set(model.capabilities) == {Capability.COMPLETION}
    return Capability.COMPLETION if only_completes else Capability.CHAT


def _models_of(offer: Offer, capability: Capability) -> str:
    known = sorted(name for name in offer.models if offer.way_of(capability, name) is not None)
    if not known:
        return f"no model of {offer.provider} is known to do {capability}."
    return f"models known at {offer.provider}: {', '.join(known[:_NAMED_AT_MOST])}."


def _not_found(detail: str, request: InvokeV1) -> OmniError:
    return OmniError(Code.NOT_FOUND, detail, extra={"alias_name": request.alias_name})
