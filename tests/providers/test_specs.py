"""Every request our adapters make, against the providers' official descriptions (``../shared/providers/specs``).

Groq publishes none; its SDK's types stand in, and need no folder.
"""

import json
from dataclasses import replace

import pytest

from services.router.providers import PROVIDERS
from services.router.providers.base import Adapter, HttpRequest, json_body
from tests.providers.specs.calls import OPTIONS, OWN, requests_of
from tests.providers.specs.documents import SPECS, UNDESCRIBED, complaints

EIGHT = tuple(OWN)
CHECKED = EIGHT if SPECS.is_dir() else ("groq",)


def _adapter(provider: str) -> Adapter:
    adapter = PROVIDERS[provider].adapter
    assert adapter is not None
    return adapter


@pytest.mark.parametrize("provider", CHECKED)
def test_requests_are_valid(provider: str, capsys: pytest.CaptureFixture[str]) -> None:
    made = requests_of(provider, _adapter(provider))
    requests = [request for request in made if (provider, request.path) not in UNDESCRIBED]
    wrong = {request.body: told for request in requests if (told := complaints(provider, request))}
    with capsys.disabled():
        print(f"\nspecs: {provider} {len(requests) - len(wrong)} of {len(requests)} requests valid")
    assert not wrong, "\n".join(f"{told[0]} in {body.decode()[:600]}" for body, told in [*wrong.items()][:10])
    assert len(requests) >= 100 or provider == "replicate"


@pytest.mark.parametrize("provider", CHECKED)
def test_what_is_wrong_is_refused(provider: str) -> None:
    """The checks themselves: a field nobody knows, one of the wrong type, one that is missing, another path."""
    good = next(iter(requests_of(provider, _adapter(provider))))
    body = json.loads(good.body)
    conversation = next(name for name in ("messages", "contents", "input") if name in body)

    def refused(changed: dict[str, object]) -> bool:
        return bool(complaints(provider, replace(good, body=json_body(changed))))

    assert not complaints(provider, good)
    assert refused(body | {"nonsense": True})
    assert refused(body | {conversation: 5})
    assert refused({name: value for name, value in body.items() if name != conversation}) or provider == "google"
    if provider != "groq":
        assert complaints(provider, HttpRequest("POST", f"{good.path}/elsewhere", {}, good.body))


@pytest.mark.parametrize("provider", EIGHT)
def test_every_option_is_among_the_calls(provider: str) -> None:
    adapter = _adapter(provider)
    named = {name for options in OPTIONS for name in options} | {"max_tokens"}
    assert adapter.chat.options <= named
    assert adapter.chat.passes <= {name for fields in OWN[provider] for name in fields}
