"""Replicate: https://api.replicate.com/v1."""

from services.router.providers.answers import bearer, failure_of, judge_by
from services.router.providers.base import Adapter, Dialect, Provider, Verification
from services.router.providers.replicate_answers import decode, events
from services.router.providers.replicate_input import OPTIONS, PASSES, encode
from shared.messages.vocabulary import Capability

REPLICATE = Provider(
    id="replicate",
    name="Replicate",
    base_url="https://api.replicate.com/v1",
    verification=Verification("/account", bearer, judge_by(failure_of, shows="username")),
    adapter=Adapter(
        chat=Dialect(encode=encode, decode=decode, events=events, options=OPTIONS, passes=PASSES),
        auth=bearer,
        fail=failure_of,
    ),
    capabilities=(Capability.CHAT,),
    planned_capabilities=(Capability.IMAGE_GENERATION, Capability.VIDEO_GENERATION),
    aggregator=True,
)
