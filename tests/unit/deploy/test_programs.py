import re
from pathlib import Path

import pytest

from deploy.local import programs
from deploy.local.child import restart_delay
from deploy.local.nats import render
from deploy.local.programs import SERVICES, Wiring, environment_of
from deploy.local.settings import PLATFORM_KEYS, CannotStart, parse
from shared.messages.base import Service
from shared.permissions import Permissions, permissions_of
from shared.schemas import database_of, head_of, service_url, services

EVERYWHERE = {"PATH", "OMNIPOST_ENV", "LOG_LEVEL", "NATS_URL", "NATS_NKEY_SEED_FILE", "DATABASE_URL"}
OWN = {
    "api": {
        "VAULT_PUBLIC_FILE",
        "OMNIPOST_HOST",
        "OMNIPOST_PORT",
        "TOKEN_PEPPER_FILE",
        "ADMIN_TOKEN_FILE",
        "OMNIPOST_ALLOWED_PRIVATE_HOSTS",
    },
    "router": {"VAULT_PUBLIC_FILE", "OMNIPOST_ALLOWED_PRIVATE_HOSTS"},
    "vault": {"VAULT_KEKS_FILE", "VAULT_IDENTITY_FILE", "OMNIPOST_ALLOWED_PRIVATE_HOSTS", "OPENAI_API_KEY"},
    "metering": set[str](),
}


def wiring_of(folder: Path, **environment: str) -> Wiring:
    for name in (*(f"pg-{service}" for service in SERVICES), "kek"):
        (folder / name).write_text(f"{name}-secret\n")
    return Wiring(
        settings=parse({"PATH": "/bin", "AWS_SECRET_ACCESS_KEY": "no", "OPENAI_API_KEY": "no", **environment}),
        secrets=folder,
        admin_token=folder / "admin-token",
        nats_url="nats://127.0.0.1:4222",
        nkeys=folder,
        database_url="postgresql://owner:owner-secret@127.0.0.1:5432/shop?sslmode=disable",
        sandbox_port=9,
    )


def test_the_services_are_the_services() -> None:
    assert set(SERVICES) == set(Service) == set(services())


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_gets_exactly_what_it_needs(name: str, tmp_path: Path) -> None:
    environment = environment_of(wiring_of(tmp_path), name)
    assert set(environment) == EVERYWHERE | OWN[name]
    assert "owner-secret" not in "".join(environment.values())


def test_only_the_vault_sees_the_encryption_key(tmp_path: Path) -> None:
    wiring = wiring_of(tmp_path, AI_ENCRYPTION_KEY="given-key")
    holders = [name for name in SERVICES if "given-key" in environment_of(wiring, name).values()]
    assert holders == ["vault"]
    both = environment_of(wiring_of(tmp_path, AI_ENCRYPTION_KEY="new", AI_ENCRYPTION_KEY_PREVIOUS="old"), "vault")
    assert (both["AI_ENCRYPTION_KEY"], both["AI_ENCRYPTION_KEY_PREVIOUS"]) == ("new", "old")
    from_file = environment_of(wiring_of(tmp_path), "vault")
    assert "kek-secret" not in from_file.values()
    assert Path(from_file["VAULT_KEKS_FILE"]).read_text() == "kek-secret\n"


def test_only_the_vault_sees_the_platforms_keys(tmp_path: Path) -> None:
    given = {name: f"{name}-given" for name in PLATFORM_KEYS}
    wiring = wiring_of(tmp_path, **given)
    started = [programs.service(wiring, name) for name in SERVICES] + [programs.sandbox(wiring)]
    for program in started:
        held = given.items() & program.environment.items()
        assert held == (given.items() if program.name == "vault" else set())
        assert not any("-given" in part for part in program.command)


def test_settings_never_show_a_secret() -> None:
    kept = dict.fromkeys(("AI_ENCRYPTION_KEY", "DATABASE_URL", *PLATFORM_KEYS), "s3cret")
    shown = repr(parse({"NATS_URL": "nats://u:s3cret@h", **kept}))
    assert "s3cret" not in shown


def test_the_router_may_reach_the_sandbox_and_what_was_allowed(tmp_path: Path) -> None:
    wiring = wiring_of(tmp_path, OMNIPOST_ALLOWED_PRIVATE_HOSTS="10.0.0.1:80,lab")
    assert environment_of(wiring, "router")["OMNIPOST_ALLOWED_PRIVATE_HOSTS"] == "10.0.0.1:80,lab,127.0.0.1:9"


@pytest.mark.parametrize("name", SERVICES)
def test_nats_allows_exactly_the_matrix(name: str) -> None:
    row = permissions_of(Service(name))
    config = render({"UNKEY": row}, operator="UOPERATOR", port=4222, store=Path("/state/nats"))
    allowed = [set(re.findall(r'"([^"]+)"', found)) for found in re.findall(r"allow: \[([^\]]*)\]", config)]
    assert allowed == [{"$JS.API.>"}, {"_INBOX_operator.>"}, set(row.publish), set(row.subscribe)]
    assert ("allow_responses" in config) == (row.replies > 0)
    assert f"max: {row.replies}," in config or row.replies == 0
    assert 'listen: "127.0.0.1:4222"' in config
    assert "sync_interval: 100ms" in config


def test_nats_without_a_row_allows_nothing() -> None:
    config = render({"UNKEY": Permissions((), (), 0)}, operator="UOPERATOR", port=1, store=Path("/s"))
    assert config.count("allow: []") == 2


@pytest.mark.parametrize(
    ("environment", "said"),
    [({"OMNIPOST_PORT": "eighty"}, "OMNIPOST_PORT"), ({"OMNIPOST_PORT": "70000"}, "OMNIPOST_PORT"),
     ({"LOG_LEVEL": "loud"}, "LOG_LEVEL")],
)  # fmt: skip
def test_bad_settings_are_named(environment: dict[str, str], said: str) -> None:
    with pytest.raises(CannotStart, match=said):
        parse(environment)


def test_a_service_url_has_its_own_role_and_keeps_the_rest() -> None:
    url = service_url("postgres://o:p@db:6432/shop?sslmode=require", "api", "a/b")
    assert url == "postgresql://shop_api:a%2Fb@db:6432/shop?sslmode=require"


@pytest.mark.parametrize("url", ["mysql://h/d", "postgresql://user:s3cret@host", "s3cret"])
def test_a_url_without_a_database_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="postgresql://user:password@host") as caught:
        database_of(url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_a_head(name: str) -> None:
    assert head_of(name) >= "0001"


def test_a_died_process_comes_back_at_once_then_slower_up_to_a_limit() -> None:
    delays: list[float | None] = [None]
    for _ in range(8):
        delays.append(restart_delay(delays[-1], lived_s=1))
    assert delays[1:] == [0.0, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0]
    assert restart_delay(2.0, lived_s=6) == 0.0
