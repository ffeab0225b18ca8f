"""Cursors of pulls: nobody makes one up, and their checksum says what was pulled."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.domain.pulled import NOTHING, Pulled, cursor_of, pulled_of
from shared.errors import Code, OmniError

SECRET = b"s" * 32
PLACE = "12345.0190a5c8-6f5e-7c3e-9f7b-0a4b5c6d7e8f"


@given(st.integers(1, 2**53), st.integers(0, 2**60), st.none() | st.just(PLACE), st.binary(min_size=32, max_size=32))
def test_a_cursor_comes_back(workspace: int, rows: int, place: str | None, chain: bytes) -> None:
    pulled = Pulled(workspace, place, rows, chain)
    cursor = cursor_of(pulled, SECRET)
    assert pulled_of(cursor, workspace, SECRET) == pulled
    assert len(cursor) < 300


def test_the_chain_is_what_a_consumer_computes() -> None:
    pulled, chain = Pulled(1), NOTHING
    for page in (b"a\n", b"b\nc\n"):
        pulled = pulled.with_page(page, page.count(b"\n"), PLACE)
        chain = hashlib.sha256(chain + hashlib.sha256(page).digest()).digest()
    assert (pulled.rows, pulled.chain) == (3, chain)
    assert pulled.with_page(b"", 0, PLACE) == pulled


@given(st.integers(0, 10**6), st.sampled_from("Az09-_=%\x00é "))
def test_a_changed_cursor_is_refused(at: int, character: str) -> None:
    cursor = cursor_of(Pulled(7, PLACE, 12), SECRET)
    at %= len(cursor)
    changed = cursor[:at] + character + cursor[at + 1 :]
    if changed != cursor:
        with pytest.raises(OmniError) as caught:
            pulled_of(changed, 7, SECRET)
        assert caught.value.code is Code.INVALID_REQUEST


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "A" * 299, "é" * 50, cursor_of(Pulled(8, PLACE), SECRET)])
def test_what_is_not_ours_is_refused(cursor: str) -> None:
    with pytest.raises(OmniError):
        pulled_of(cursor, 7, SECRET)
    with pytest.raises(OmniError):
        pulled_of(cursor_of(Pulled(7, PLACE), b"t" * 32), 7, SECRET)
