"""Google Gemini: https://generativelanguage.googleapis.com."""

from services.router.providers.answers import decode_by, judge_by
from services.router.providers.base import Adapter, Dialect, Provider, Verification
from services.router.providers.chunks import events_by
from services.router.providers.google_answers import events, fail, read
from services.router.providers.google_contents import encode
from services.router.providers.google_embeddings import EMBEDDING
from services.router.providers.google_options import OPTIONS, PASSES
from shared.messages.vocabulary import Capability


def auth(key: str) -> dict[str, str]:
    """The key in a header, never in the URL."""
    return {"x-goog-api-key": key}


GOOGLE = Provider(
    id="google",
    name="Google Gemini",
    base_url="https://generativelanguage.googleapis.com",
    verification=Verification("/v1beta/models?pageSize=1", auth, judge_by(fail, shows="models")),
    adapter=Adapter(
        chat=Dialect(
            encode=encode, decode=decode_by(read, fail), events=events_by(events), options=OPTIONS, passes=PASSES
        ),
        auth=auth,
        fail=fail,
        embedding=EMBEDDING,
    ),
    capabilities=(Capability.CHAT, Capability.EMBEDDING),
    planned_capabilities=(
        Capability.IMAGE_GENERATION,
        Capability.SPEECH_TO_TEXT,
        Capability.TEXT_TO_SPEECH,
        Capability.VIDEO_GENERATION,
    ),
)
