"""Pages of a list: every item once, whatever is added or removed in between; and cursors nobody else can make."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.domain.pages import LONGEST, Cursors, Pager
from shared.errors import OmniError

CURSORS = Cursors(bytes(32))


def read(items: list[str], limit: int, *, newest_first: bool = False) -> list[str]:
    found, cursor = list[str](), None
    while True:
        page, cursor = Pager(CURSORS, limit, cursor).page("x", 1, items, str, newest_first=newest_first)
        assert len(page) <= limit
        found += page
        if cursor is None:
            return found


@given(st.sets(st.text(max_size=20)), st.integers(1, 7), st.booleans())
def test_all_pages_together_are_the_list(items: set[str], limit: int, newest_first: bool) -> None:  # noqa: FBT001
    assert read(list(items), limit, newest_first=newest_first) == sorted(items, reverse=newest_first)


def test_without_a_limit_everything_comes_at_once() -> None:
    assert Pager(CURSORS).page("x", 1, ["b", "a"], str) == (["a", "b"], None)


def test_what_a_cursor_stands_behind_may_be_gone() -> None:
    _, cursor = Pager(CURSORS, 2).page("x", 1, ["a", "b", "c", "d"], str)
    assert Pager(CURSORS, 2, cursor).page("x", 1, ["a", "bb", "c"], str) == (["bb", "c"], None)


@pytest.mark.parametrize(("of", "workspace"), [("y", 1), ("x", 2), ("x", None)])
def test_a_cursor_is_good_for_its_list_and_workspace_only(of: str, workspace: int | None) -> None:
    with pytest.raises(OmniError, match="cursor"):
        CURSORS.place(of, workspace, CURSORS.made("x", 1, "a"))


@given(st.text(max_size=LONGEST))
def test_nobody_makes_a_cursor(text: str) -> None:
    with pytest.raises(OmniError, match="cursor"):
        CURSORS.place("x", 1, text)


@given(st.integers(0, 100), st.sampled_from("AZaz09-_="))
def test_no_character_of_it_can_be_changed(at: int, character: str) -> None:
    cursor = CURSORS.made("x", 1, "a place")
    at %= len(cursor)
    changed = cursor[:at] + character + cursor[at + 1 :]
    if changed != cursor:
        with pytest.raises(OmniError, match="cursor"):
            CURSORS.place("x", 1, changed)
