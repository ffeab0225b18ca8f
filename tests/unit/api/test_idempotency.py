"""What is kept of a request can be found and opened by whoever sends it again, and by nobody else."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.domain.idempotency import Wish, marks
from shared.sealing import CannotOpen

PEPPER, NONCE = bytes(32), bytes(12)
WISH = Wish(key="order-1", token="omni_0123456789", method="POST", target=b"/ai-invoke?", body=b"{}")
ANSWER = b"the answer"


def test_the_same_request_opens_what_it_has_sealed() -> None:
    assert marks(WISH, PEPPER).opened(marks(WISH, PEPPER).sealed(ANSWER, NONCE)) == ANSWER


@pytest.mark.parametrize("change", [{"key": "order-2"}, {"token": "omni_0123456788"}])
def test_another_key_or_token_finds_nothing_and_opens_nothing(change: dict[str, str]) -> None:
    mine, theirs = marks(WISH, PEPPER), marks(replace(WISH, **change), PEPPER)  # type: ignore[arg-type]
    assert mine.name != theirs.name
    with pytest.raises(CannotOpen):
        theirs.opened(mine.sealed(ANSWER, NONCE))


@pytest.mark.parametrize("change", [{"method": "PUT"}, {"target": b"/ai-keys?"}, {"body": b"{ }"}])
def test_another_request_under_the_key_is_found_and_told_apart(change: dict[str, object]) -> None:
    mine, other = marks(WISH, PEPPER), marks(replace(WISH, **change), PEPPER)  # type: ignore[arg-type]
    assert mine.name == other.name
    assert mine.fingerprint != other.fingerprint
    with pytest.raises(CannotOpen):
        other.opened(mine.sealed(ANSWER, NONCE))


def test_the_database_and_the_pepper_do_not_tell_the_token_or_the_question() -> None:
    kept = marks(WISH, PEPPER)
    shown = repr(kept) + repr(WISH)
    assert "omni_" not in shown
    assert "order-1" not in shown
    assert marks(WISH, bytes(31) + b"\x01").name != kept.name


@given(st.binary(max_size=200))
def test_no_damaged_answer_is_opened(damage: bytes) -> None:
    whole = marks(WISH, PEPPER).sealed(ANSWER, NONCE)
    damaged = damage + whole[len(damage) :]
    if damaged != whole:
        with pytest.raises(CannotOpen):
            marks(WISH, PEPPER).opened(damaged)
