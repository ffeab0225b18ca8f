import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.vault.domain.masking import mask

PRINTABLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=4096)


@pytest.mark.parametrize(
    ("secret", "masked"),
    [
        ("sk-proj-" + "a" * 40 + "wxyz", "sk-proj-…wxyz"),
        ("sk-ant-api03-" + "a" * 40 + "wxyz", "sk-ant-…wxyz"),
        ("sk-ant-" + "a" * 14 + "wxyz", "sk-…wxyz"),
        ("AIza" + "b" * 31 + "wxyz", "…wxyz"),
        ("r8_" + "b" * 31 + "wxyz", "…wxyz"),
        ("01234567-" + "b" * 30, "…bbbb"),
        ("abcdefghijklmno", "…no"),
        ("abcdefgh", "…gh"),
        ("abc", "…c"),
        ("ab", "…"),
    ],
)
def test_known_forms(secret: str, masked: str) -> None:
    assert mask(secret) == masked


@given(PRINTABLE)
def test_at_most_a_third_is_shown_and_only_from_the_ends(secret: str) -> None:
    head, tail = mask(secret).split("…")
    assert 3 * (len(head) + len(tail)) <= len(secret)
    assert len(head) <= 8
    assert len(tail) <= 4
    assert secret.startswith(head)
    assert secret.endswith(tail)
    assert not head or head.endswith("-")


@given(PRINTABLE.filter(lambda secret: len(secret) < 16))
def test_a_short_key_shows_its_last_two_at_most(secret: str) -> None:
    assert len(mask(secret)) <= 3
    assert mask(secret).startswith("…")
