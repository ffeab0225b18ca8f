from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.vault.domain import keys
from services.vault.domain.keys import Key
from shared.errors import ADD_A_KEY, Code, OmniError
from shared.messages.vault import LeaseKeyV1
from shared.messages.vocabulary import KeyStatus, Modality

NOW = datetime(2026, 11, 23, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
KEY = Key(
    id=UUID(int=1),
    workspace_id=1,
    provider="openai",
    label="Main",
    masked_key="…1234",
    scopes=frozenset({Modality.TEXT}),
    status=KeyStatus.ACTIVE,
    host="api.openai.com",
    version=3,
    dek_id=UUID(int=2),
    ciphertext=b"ciphertext",
    created_at=NOW,
    updated_at=NOW,
)
REQUEST = LeaseKeyV1(
    router_id="r", public_key="", workspace_id=1, key_id=str(KEY.id), host=KEY.host, scope=Modality.TEXT
)


def lease(status: KeyStatus = KeyStatus.ACTIVE, **changes: object) -> OmniError | None:
    return keys.may_lease(replace(KEY, status=status), REQUEST.model_copy(update=changes))


@given(st.binary(max_size=64))
def test_a_secret_is_printable_ascii_or_refused_without_an_echo(raw: bytes) -> None:
    sound = len(raw) >= 8 and all(0x21 <= byte <= 0x7E for byte in raw)
    if sound:
        assert keys.parse_secret(raw).encode() == raw
        return
    with pytest.raises(OmniError) as caught:
        keys.parse_secret(raw)
    assert caught.value.code is Code.INVALID_REQUEST
    assert caught.value.extra == {"field": "api_key"}


@pytest.mark.parametrize(
    "bad", [b"seven77", b"x" * 4097, b"with space1", b"new\r\nline", "schlüssel".encode(), bytes(9)]
)
def test_bad_secrets(bad: bytes) -> None:
    with pytest.raises(OmniError) as caught:
        keys.parse_secret(bad)
    assert bad.decode() not in caught.value.detail


def test_longest_and_shortest_secret() -> None:
    assert len(keys.parse_secret(b"x" * 4096)) == 4096
    assert keys.parse_secret(b"12345678") == "12345678"


@pytest.mark.parametrize("text", ["", "x" * 301, "a\x00b", "a\nb", "\ud800"])
def test_bad_text(text: str) -> None:
    with pytest.raises(OmniError):
        keys.check_text("label", text)


def test_text_of_the_world_is_welcome() -> None:
    keys.check_text("label", "Schlüssel 鍵 👩‍🔬")


@pytest.mark.parametrize("workspace_id", [0, -1, 2**63])
def test_bad_workspaces(workspace_id: int) -> None:
    with pytest.raises(OmniError):
        keys.check_workspace(workspace_id)


@pytest.mark.parametrize("status", [KeyStatus.ACTIVE, KeyStatus.UNVERIFIED])
def test_an_active_or_unverified_key_may_be_leased(status: KeyStatus) -> None:
    assert lease(status) is None


@pytest.mark.parametrize("status", [KeyStatus.INVALID, KeyStatus.REVOKED])
def test_an_invalid_or_revoked_key_counts_as_missing(status: KeyStatus) -> None:
    problem = lease(status, host="other.example") if status is KeyStatus.REVOKED else lease(status)
    assert problem
    assert (problem.code, problem.detail) == (Code.MISSING_KEY, ADD_A_KEY)
    assert problem.extra == {"key_id": str(KEY.id), "key_status": status.value, "reason": None}


@pytest.mark.parametrize("scope", [Modality.IMAGE, Modality.AUDIO, Modality.VIDEO])
def test_a_scope_that_is_lacking_is_named(scope: Modality) -> None:
    problem = lease(scope=scope)
    assert problem
    sentence = f"This key doesn't allow {scope.value}. Enable '{scope.value}' scope or pick another alias."
    assert (problem.code, problem.detail) == (Code.UNSUPPORTED_SCOPE, sentence)
    assert problem.extra == {"key_id": str(KEY.id), "scope": scope.value}


def test_verifying_passes_status_and_scope_but_not_revocation_and_host() -> None:
    assert lease(KeyStatus.INVALID, scope=Modality.VIDEO, verifying=True) is None
    assert lease(KeyStatus.REVOKED, verifying=True)
    moved = lease(host="other.example", verifying=True)
    assert moved
    assert moved.code is Code.CONFLICT
    assert "enter the key again" in moved.detail


def test_a_new_secret_starts_over() -> None:
    known = replace(KEY, status=KeyStatus.INVALID, status_reason="refused", last_verified_at=NOW)
    fresh = keys.awaiting_secret(known, masked_key="…9", host="h", dek_id=UUID(int=5), now=LATER)
    assert (fresh.version, fresh.status, fresh.status_reason) == (4, KeyStatus.UNVERIFIED, None)
    assert (fresh.last_verified_at, fresh.ciphertext, fresh.host) == (None, None, "h")
    assert (fresh.created_at, fresh.updated_at) == (NOW, LATER)


@pytest.mark.parametrize("status", [KeyStatus.ACTIVE, KeyStatus.INVALID])
def test_a_verdict_counts_for_its_version_only(status: KeyStatus) -> None:
    judged = keys.judged(KEY, 3, status, "reason", LATER)
    assert (judged.status, judged.status_reason, judged.last_verified_at) == (status, "reason", LATER)
    assert keys.judged(KEY, 2, status, "reason", LATER) is KEY


def test_not_being_asked_says_nothing_about_a_key() -> None:
    for status in (KeyStatus.ACTIVE, KeyStatus.INVALID):
        known = replace(KEY, status=status)
        assert keys.judged(known, 3, KeyStatus.UNVERIFIED, "timeout", LATER) is known
    asked = keys.judged(replace(KEY, status=KeyStatus.UNVERIFIED), 3, KeyStatus.UNVERIFIED, "timeout", LATER)
    assert (asked.status, asked.status_reason, asked.last_verified_at) == (KeyStatus.UNVERIFIED, "timeout", None)


def test_revocation_is_final() -> None:
    gone = keys.revoked(KEY, LATER)
    assert (gone.status, gone.ciphertext, gone.revoked_at) == (KeyStatus.REVOKED, None, LATER)
    assert keys.revoked(gone, NOW) is gone
    assert keys.judged(gone, 3, KeyStatus.ACTIVE, None, LATER) is gone
    with pytest.raises(OmniError):
        keys.judged(KEY, 3, KeyStatus.REVOKED, None, LATER)
    with pytest.raises(OmniError) as caught:
        keys.changed(gone, "label", None, None, LATER)
    assert caught.value.code is Code.CONFLICT
    with pytest.raises(OmniError) as caught:
        keys.awaiting_secret(gone, masked_key="", host="", dek_id=gone.dek_id, now=LATER)
    assert caught.value.code is Code.CONFLICT


def test_neither_repr_nor_public_form_shows_the_ciphertext() -> None:
    assert "ciphertext" not in repr(KEY) + KEY.public().model_dump_json()
