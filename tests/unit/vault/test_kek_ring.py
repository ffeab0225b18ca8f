import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.vault.keks.aws import AwsKek
from services.vault.keks.lines import parse
from services.vault.keks.local import LocalKek
from services.vault.keks.ring import LOOK_EVERY_S, Ring
from services.vault.keks.transit import TransitKek
from shared.errors import Code, OmniError

ARN = "arn:aws:kms:eu-west-1:123456789012:key/0f5d9bd0-6a1f-4b9c-a2a4-6b2a8f4f2c11"
KEY = "https://vault.example/v1/transit/keys/omnipost"
TOKEN = "token_file=/run/token"
PASSPHRASE = "correct horse battery staple"
REFUSED = [
    f"aws-kms:{ARN[:-1]}:alias/x",
    "aws-kms:alias/omnipost",
    "aws-kms:",
    f"aws-kms:{ARN} endpoint=",
    f"aws-kms:{ARN} profile=canary",
    f"aws-kms:{ARN} region=eu-west-1 region=eu-west-2",
    f"aws-kms:{ARN} endpoint=ftp://canary",
    f"transit:{KEY}",
    f"transit:{KEY} {TOKEN} kubernetes_role=vault",
    f"transit:https://user:canary@vault.example/v1/transit/keys/omnipost {TOKEN}",
    f"transit:https://vault.example/transit/keys/omnipost {TOKEN}",
    f"transit:https://vault.example/v1/transit/omnipost {TOKEN}",
    f"transit:https://vault.example:canary/v1/transit/keys/omnipost {TOKEN}",
    f"transit:vault.example/v1/transit/keys/omnipost {TOKEN}",
    f"transit:{KEY} {TOKEN} canary",
]


@dataclass
class HandClock:
    """Time that passes when it is told to."""

    seconds: float = field(default=100.0)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds


def fresh() -> str:
    return secrets.token_hex(32)


def ring(
    active: str | None = None, previous: str | None = None, file: Path | None = None, *, production: bool = False
) -> tuple[Ring, HandClock]:
    clock = HandClock()
    return Ring(active, previous, file, clock, production=production), clock


def local_id(text: str) -> str:
    return LocalKek.parse(text).id


def test_remote_keks_are_named_by_what_they_are() -> None:
    aws = parse(f"aws-kms:{ARN} endpoint=http://127.0.0.1:9 region=eu-west-2", "x", production=True)
    transit = parse(f"transit:{KEY} {TOKEN} namespace=team", "x", production=True)
    assert isinstance(aws, AwsKek)
    assert isinstance(transit, TransitKek)
    assert (aws.id, transit.id) == (f"aws-kms:{ARN}", "transit:vault.example/transit/omnipost#team")
    assert parse(f"transit:{KEY} kubernetes_role=vault", "x", production=True).id != transit.id


@pytest.mark.parametrize("text", REFUSED)
@pytest.mark.parametrize("production", [True, False])
def test_a_wrong_line_is_refused_without_being_repeated(text: str, *, production: bool) -> None:
    with pytest.raises(OmniError, match="Line 3 is refused") as caught:
        parse(text, "Line 3", production=production)
    assert caught.value.code is Code.INVALID_REQUEST
    assert "canary" not in caught.value.detail
    assert text.partition(":")[2][:20] not in caught.value.detail or not text.partition(":")[2]


@pytest.mark.parametrize(
    "text",
    [
        PASSPHRASE,
        f"aws-kms:{ARN} endpoint=http://kms.example",
        f"transit:http://vault.example/v1/transit/keys/omnipost {TOKEN}",
        f"transit:http://127.0.0.1.example/v1/transit/keys/omnipost {TOKEN}",
    ],
)
def test_production_is_stricter(text: str) -> None:
    assert parse(text, "x", production=False)
    with pytest.raises(OmniError, match="production") as caught:
        parse(text, "x", production=True)
    assert text not in caught.value.detail
    assert parse(text.replace("vault.example", "127.0.0.1"), "x", production=False)


def test_production_takes_random_bytes_and_loopback() -> None:
    for text in (fresh(), f"transit:http://127.0.0.1:8200/v1/transit/keys/omnipost {TOKEN}"):
        assert parse(text, "x", production=True)


def test_the_order_is_active_then_file_then_previous(tmp_path: Path) -> None:
    texts = [fresh() for _ in range(4)]
    (tmp_path / "keks").write_text(f"# ours\n\n  {texts[1]}  \n{texts[2]}\n{texts[0]}\n")
    both, _ = ring(texts[0], texts[3], tmp_path / "keks")
    assert both.ids == tuple(map(local_id, texts))
    assert both.active.id == local_id(texts[0])
    alone, _ = ring(None, None, tmp_path / "keks")
    assert alone.active.id == local_id(texts[1])


@pytest.mark.parametrize("missing", [None, "", "  "])
def test_without_a_kek_it_says_what_to_do(missing: str | None) -> None:
    with pytest.raises(OmniError, match=r"set AI_ENCRYPTION_KEY \(openssl rand -base64 32\)"):
        ring(missing)


def test_a_missing_file_and_a_bad_line_are_named(tmp_path: Path) -> None:
    with pytest.raises(OmniError, match="VAULT_KEKS_FILE must name a readable text file"):
        ring(fresh(), None, tmp_path / "none")
    (tmp_path / "keks").write_text(f"{fresh()}\n# fine\nshort-canary\n")
    with pytest.raises(OmniError, match="Line 3 of VAULT_KEKS_FILE is refused") as caught:
        ring(None, None, tmp_path / "keks")
    assert "canary" not in caught.value.detail


def test_a_changed_file_is_read_within_a_second_and_at_once_for_an_unknown_kek(tmp_path: Path) -> None:
    file, old, new, newest = tmp_path / "keks", fresh(), fresh(), fresh()
    file.write_text(old)
    found, clock = ring(None, None, file)
    file.write_text(f"{new}\n{old}")
    assert found.active.id == local_id(old), "not looked at twice within a second"
    clock.seconds += LOOK_EVERY_S
    assert found.ids == (local_id(new), local_id(old))
    file.write_text(f"{newest}\n{new}\n{old}")
    kek = found.find(local_id(newest))
    assert kek is not None
    assert kek.id == local_id(newest)
    assert found.find(local_id(fresh())) is None


@pytest.mark.parametrize("broken", ["", "# nothing\n", "short-canary", "\udc80", None])
def test_a_broken_file_leaves_the_keks_as_they_were(tmp_path: Path, broken: str | None) -> None:
    file, old, new = tmp_path / "keks", fresh(), fresh()
    file.write_text(old)
    found, clock = ring(None, None, file)
    if broken is None:
        file.unlink()
    else:
        file.write_text(broken, errors="surrogateescape")
    clock.seconds += LOOK_EVERY_S
    with capture_logs() as said:
        assert found.active.id == local_id(old)
    assert [line["log_level"] for line in said] == ["error"]
    assert "canary" not in str(said)
    file.write_text(new)
    clock.seconds += LOOK_EVERY_S
    assert found.active.id == local_id(new)


def test_reading_again_keeps_the_same_keks(tmp_path: Path) -> None:
    file = tmp_path / "keks"
    file.write_text(PASSPHRASE)
    found, _ = ring(None, None, file)
    before = found.active
    file.write_text(f"{fresh()}\n{PASSPHRASE}")
    assert found.find(before.id) is before or found.find(local_id(PASSPHRASE)) is before
    assert PASSPHRASE not in repr(vars(found))
