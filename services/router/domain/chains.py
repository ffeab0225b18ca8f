"""What an alias must be so that a call of it can succeed: checked when it is written, not when somebody calls it."""

from collections.abc import Mapping, Sequence

from services.router.domain.offer import Offer, does
from shared.errors import invalid
from shared.messages.catalogue import OnStreamCut, TargetV1, TimeLimitsV1
from shared.messages.vocabulary import Capability

MAX_CHAIN = 16
STREAMED = frozenset({Capability.CHAT, Capability.COMPLETION})
_UNCHANGED = TimeLimitsV1()


def check_chain(
    chain: Sequence[TargetV1], capability: Capability, offers: Mapping[str, Offer], *, allow_aggregators: bool
) -> None:
    """Raises OmniError ``invalid_request`` for a chain that cannot work, whatever keys there are.

    What a provider is going to do when its adapter is written counts as possible.
    """
    if not 0 < len(chain) <= MAX_CHAIN:
        raise invalid(f"A chain has 1 to {MAX_CHAIN} targets.", field="fallback_chain")
    for place, target in enumerate(chain):
        # Counted as the caller wrote it: the first target stands outside of the list of fallbacks.
        where = f"fallback_chain.{place - 1}." if place else "primary_"
        _check_target(target, capability, offers.get(target.provider), where)
    if len(set(chain)) < len(chain):
        raise invalid("The chain names a target twice; leave one of them out.", field="fallback_chain")
    if not any(_may_do(offers[target.provider], capability) for target in chain):
        detail = f"None of the chain's providers does {capability}; add one that does or change the capability."
        raise invalid(detail, field="fallback_chain")
    if not allow_aggregators and all(offers[target.provider].aggregator for target in chain):
        detail = "Every target of the chain is an aggregator; set allow_aggregators to true or add a direct provider."
        raise invalid(detail, field="allow_aggregators")


def check_on_stream_cut(wanted: OnStreamCut | None, capability: Capability) -> None:
    """``wanted`` None: nothing was chosen. Raises OmniError ``invalid_request`` where there is no stream to cut."""
    if wanted in ("continue", "hold") and capability not in STREAMED:
        detail = f"{capability} is not streamed, so there is nothing to {wanted}; leave on_stream_cut out."
        raise invalid(detail, field="on_stream_cut")


def check_time_limits(limits: TimeLimitsV1) -> None:
    """A limit left at its default gives way to ``total_s``; a chosen one must fit into it.

    Raises OmniError ``invalid_request``.
    """
    for name in ("connect_s", "first_byte_s", "last_first_byte_s"):
        value = getattr(limits, name)
        if value > limits.total_s and value != getattr(_UNCHANGED, name):
            detail = f"{name} ({value:g} s) is longer than total_s ({limits.total_s:g} s); lower it or raise total_s."
            raise invalid(detail, field=f"time_limits.{name}")


def _check_target(target: TargetV1, capability: Capability, offer: Offer | None, where: str) -> None:
    if offer is None:
        detail = f"There is no provider '{target.provider}' in the catalogue; GET /ai-providers lists them."
        raise invalid(detail, field=f"{where}provider")
    model = offer.models.get(target.model)
    if model is not None and not does(model, capability):
        detail = f"{target.provider}'s {target.model} does not do {capability}; pick another model."
        raise invalid(detail, field=f"{where}model")


def _may_do(offer: Offer, capability: Capability) -> bool:
    return capability in offer.capabilities | offer.planned
