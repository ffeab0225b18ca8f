"""The platform's own keys: where they may go, who may have them leased, and how they are given."""

import re
from pathlib import Path
from uuid import UUID

import pydantic
import pytest

from services.router.domain.destinations import host_of
from services.router.providers import PROVIDERS
from services.vault.domain.keys import holder_of
from services.vault.domain.platform_keys import HOSTS, destination, key_id_of
from services.vault.settings import Settings
from shared.errors import Code, OmniError
from shared.messages.vault import LeaseKeyV1
from shared.messages.vocabulary import PLATFORM_WORKSPACE, Funds

GOOD = "sk-platform-0123456789"


def wish(workspace_id: int, funds: Funds, *, verifying: bool = False) -> LeaseKeyV1:
    changes = {"workspace_id": workspace_id, "funds": funds, "verifying": verifying}
    return LeaseKeyV1.model_validate(LeaseKeyV1.example | changes)


def test_usual_hosts_are_those_of_the_catalogue() -> None:
    assert {name: host_of(PROVIDERS[name].base_url) for name in HOSTS} == HOSTS


@pytest.mark.parametrize(
    ("catalogued", "allowed", "bound"),
    [
        ("api.openai.com", set(), "api.openai.com"),
        ("evil.example", set(), "api.openai.com"),
        ("evil.example", {"127.0.0.1"}, "api.openai.com"),
        ("http://127.0.0.1:9", {"127.0.0.1"}, "http://127.0.0.1:9"),
        ("http://127.0.0.1:9", {"127.0.0.1:9"}, "http://127.0.0.1:9"),
        ("http://127.0.0.1:9", {"127.0.0.1:8"}, "api.openai.com"),
        ("proxy.corp.example", {"proxy.corp.example"}, "proxy.corp.example"),
        ("proxy.corp.example:8443", {"proxy.corp.example:8443"}, "proxy.corp.example:8443"),
    ],
)
def test_a_key_follows_its_provider_only_where_the_environment_allows(
    catalogued: str, allowed: set[str], bound: str
) -> None:
    assert destination("openai", catalogued, allowed) == bound


def test_ids_are_the_same_for_every_replica_and_new_after_a_revocation() -> None:
    ids = {key_id_of(provider, ended) for provider in HOSTS for ended in range(3)}
    assert len(ids) == 9
    assert key_id_of("openai", 0) == key_id_of("openai", 0)
    assert all(isinstance(one, UUID) for one in ids)


def test_only_platform_funds_get_a_key_of_the_platform_and_nothing_else() -> None:
    assert holder_of(wish(7, Funds.OWN)) == 7
    assert holder_of(wish(7, Funds.PLATFORM)) == PLATFORM_WORKSPACE
    assert holder_of(wish(0, Funds.PLATFORM, verifying=True)) == PLATFORM_WORKSPACE
    for refused in (
        wish(0, Funds.OWN),
        wish(0, Funds.OWN, verifying=True),
        wish(0, Funds.PLATFORM),
        wish(-1, Funds.OWN),
    ):
        with pytest.raises(OmniError) as caught:
            holder_of(refused)
        assert caught.value.code is Code.INVALID_REQUEST


def test_keys_come_from_the_environment_and_never_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f" {GOOD}\n")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "")
    settings = Settings(vault_identity_file=Path("x"))
    assert settings.platform_keys() == {"openai": GOOD}
    assert GOOD not in repr(settings)
    monkeypatch.setenv("GOOGLE_AI_API_KEY", f"{GOOD} with a space")
    with pytest.raises(pydantic.ValidationError) as caught:
        Settings(vault_identity_file=Path("x"))
    assert re.search("google_ai_api_key", str(caught.value))
    assert GOOD not in str(caught.value)
