import base64
import secrets
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.vault.domain.envelope import DekPlace
from services.vault.keks.lines import parse
from services.vault.keks.local import LocalKek, Weak
from shared.errors import Code, OmniError
from shared.sealing import CannotOpen

RAW = bytes(range(100, 132))
FORMS = [
    RAW.hex(),
    RAW.hex().upper(),
    base64.b64encode(RAW).decode(),
    base64.urlsafe_b64encode(RAW).decode(),
    base64.urlsafe_b64encode(RAW).decode().rstrip("="),
    f"  {RAW.hex()}\n",
]


def test_every_form_of_the_same_key_is_the_same_kek() -> None:
    assert len({LocalKek.parse(form).id for form in FORMS}) == 1


def test_another_key_has_another_id() -> None:
    others = [secrets.token_hex(32), "a passphrase of some length", "a passphrase of same length"]
    assert len({LocalKek.parse(form).id for form in [FORMS[0], *others]}) == 4


@pytest.mark.parametrize(
    "weak",
    ["", "short", "15 characters..", "a" * 40, "ab" * 16, "0" * 64, base64.b64encode(bytes(32)).decode(), "x" * 44],
)
def test_weak_forms_are_refused_without_being_repeated(weak: str) -> None:
    with pytest.raises(OmniError) as caught:
        parse(weak, "AI_ENCRYPTION_KEY", production=False)
    assert caught.value.code is Code.INVALID_REQUEST
    assert "AI_ENCRYPTION_KEY is refused" in caught.value.detail
    assert not weak or weak not in str(caught.value)


@settings(max_examples=200)
@given(st.text(max_size=15))
def test_nothing_below_sixteen_characters_is_a_kek(text: str) -> None:
    with pytest.raises(Weak):
        LocalKek.parse(text)


async def test_a_dek_opens_under_its_own_kek_and_place_only() -> None:
    kek, other = LocalKek.parse(FORMS[0]), LocalKek.parse("another passphrase")
    place = DekPlace(1, UUID(int=7), kek.id)
    dek = secrets.token_bytes(32)
    wrapped = await kek.wrap(dek, place)
    assert await kek.unwrap(wrapped, place) == dek
    assert await kek.wrap(dek, place) != wrapped
    with pytest.raises(CannotOpen):
        await other.unwrap(wrapped, place)
    with pytest.raises(CannotOpen):
        await kek.unwrap(wrapped, DekPlace(2, UUID(int=7), kek.id))


def test_a_kek_does_not_print_itself() -> None:
    assert RAW.hex()[:8] not in repr(LocalKek(RAW))
