"""Anthropic: https://api.anthropic.com."""

from services.router.providers.answers import decode_by, judge_by
from services.router.providers.anthropic_answers import fail, read
from services.router.providers.anthropic_messages import VERSION, encode
from services.router.providers.anthropic_options import OPTIONS, PASSES
from services.router.providers.anthropic_stream import events
from services.router.providers.base import Adapter, Dialect, Provider, Verification
from services.router.providers.chunks import events_by
from shared.messages.vocabulary import Capability


def auth(key: str) -> dict[str, str]:
    """The key, and the version without which nothing is answered."""
    return {"x-api-key": key, **VERSION}


ANTHROPIC = Provider(
    id="anthropic",
    name="Anthropic",
    base_url="https://api.anthropic.com",
    verification=Verification("/v1/models", auth, judge_by(fail, shows="data")),
    adapter=Adapter(
        chat=Dialect(
            encode=encode,
            decode=decode_by(read, fail),
            events=events_by(events),
            options=OPTIONS,
            passes=PASSES,
            prefill=True,
        ),
        auth=auth,
        fail=fail,
    ),
    capabilities=(Capability.CHAT,),
)
