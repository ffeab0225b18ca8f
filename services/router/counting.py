"""Counts the input tokens of a conversation, by what is reserved for it; calls nobody."""

from collections.abc import Sequence

from services.router.catalogue import Catalogue
from services.router.domain.direct import target_in
from services.router.domain.pricing import expected_tokens, upper_bound_tokens
from services.router.domain.wish import options_for
from shared.errors import invalid, not_found
from shared.messages.catalogue import TargetV1
from shared.messages.counting import CountedV1, CountTokensV1
from shared.messages.vocabulary import Capability


class Counting:
    """Answers ``CountTokensV1``."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def __call__(self, request: CountTokensV1) -> CountedV1:
        """The highest count of any target. Raises OmniError ``not_found``, ``invalid_request``, ``unavailable``."""
        entries = await self._catalogue.entries()
        counted = []
        for target in await self._targets(request):
            if (entry := entries.get(target.provider)) is None:
                raise not_found("provider", provider=target.provider)
            model = entry.model(target.model)
            options = options_for(request.options, target.provider, model)
            expected = expected_tokens(request.messages, options, model)
            counted.append((upper_bound_tokens(request.messages, options, model), expected))
        at_most, expected = max(counted)
        return CountedV1(expected=expected, at_most=at_most)

    async def _targets(self, request: CountTokensV1) -> Sequence[TargetV1]:
        if (target := target_in(request.model)) is not None:
            return [target]
        alias = await self._catalogue.alias(request.workspace_id, request.model)
        if alias.capability not in (Capability.CHAT, Capability.COMPLETION):
            raise invalid(f"This alias does {alias.capability}: it answers no messages.", alias_name=alias.alias_name)
        return alias.chain
