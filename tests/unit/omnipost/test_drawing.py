"""What is drawn on a terminal, and what does not reach one."""

from hypothesis import given
from hypothesis import strategies as st

from omnipost.cli.drawing import BAR_WIDTH, bar, colour, harmless, seconds, share_of, spark, usd


def test_a_line_of_days() -> None:
    assert spark([0, 1, 2, 4, 8]) == "▁▂▃▅█"
    assert spark([0, 0]) == "▁▁"
    assert spark([]) == ""


@given(st.floats(0, 3))
def test_a_bar_is_always_as_wide_and_never_lies(share: float) -> None:
    drawn = bar(share)
    assert len(drawn) == BAR_WIDTH
    assert (drawn == "█" * BAR_WIDTH) == (share >= 1)
    assert drawn.startswith("█") == (share > 0)


def test_colours_begin_at_80_and_100_percent() -> None:
    assert [colour(share) for share in (0, 0.799, 0.8, 0.999, 1, 2)] == [
        "green",
        "green",
        "yellow",
        "yellow",
        "red",
        "red",
    ]


def test_shares() -> None:
    assert share_of("4.100000", "5.000000") == 0.82
    assert share_of(1, None) is None
    assert share_of(0, 0) == 1.0
    assert (usd(None), usd("0.000009"), seconds(None), seconds(340), seconds(2310)) == (
        "?",
        "$0.000009",
        "?",
        "340 ms",
        "2.3 s",
    )


@given(st.text())
def test_nothing_steers_a_terminal(text: str) -> None:
    shown = harmless("\x1b]0;title\x07\x9b31m\u202e" + text)
    assert not set(shown) & {*map(chr, range(32)), *map(chr, range(127, 160)), "\u202e"} - {"\n", "\t"}


def test_text_stays_text() -> None:
    assert harmless("Grüße,\n\t世界 👋🏽\r\n") == "Grüße,\n\t世界 👋🏽\n"
