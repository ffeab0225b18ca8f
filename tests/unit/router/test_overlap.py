"""What a second model repeats of an answer that was cut is taken out, nothing else is."""

import random
from time import perf_counter

import pytest

from services.router.domain.overlap import SHORTEST, Overlap

BEFORE = "The quick brown fox jumps over the lazy dog, and then it "


def joined(before: str, *pieces: str) -> str:
    overlap = Overlap(before)
    return before + "".join(overlap.feed(piece) for piece in pieces) + overlap.flush()


def test_what_is_new_comes_through_as_it_is() -> None:
    assert joined(BEFORE, "sleeps", " well.") == BEFORE + "sleeps well."
    assert joined("", "All", " of it") == "All of it"


def test_a_repeated_end_is_taken_out() -> None:
    assert joined(BEFORE, "the lazy dog, and then it sleeps.") == BEFORE + "sleeps."


def test_an_answer_begun_anew_is_taken_out_up_to_where_it_was_cut() -> None:
    assert joined(BEFORE, BEFORE + "sleeps.") == BEFORE + "sleeps."
    assert joined("Short", "Short and sweet") == "Short and sweet"


def test_a_short_repetition_is_chance() -> None:
    assert joined("banana", "nana") == "banananana"
    assert SHORTEST > 4


def test_a_blank_at_the_seam_is_not_doubled() -> None:
    assert joined("Hello ", " world") == "Hello world"
    assert joined("Hello", " world") == "Hello world"


def test_blanks_at_the_seam_are_said_once() -> None:
    assert joined("One\n\n", "\n\nTwo") == "One\n\nTwo"
    assert joined("One\n\n", "\n", "\nTwo") == "One\n\nTwo"
    assert joined("One\n", "\n\nTwo") == "One\n\nTwo"
    assert joined("if x: ", "  return") == "if x:  return"
    assert joined("One\n\n", "Two") == "One\n\nTwo"
    assert joined("One", "\n\nTwo") == "One\n\nTwo"


def test_what_is_held_back_comes_in_the_end() -> None:
    assert joined(BEFORE, "The quick brown") == BEFORE + "The quick brown"


def test_any_cut_and_any_pieces_give_the_whole_answer() -> None:
    rng = random.Random(11)  # noqa: S311 - no secret
    words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu"]
    right = 0
    for _ in range(2_000):
        whole = " ".join(rng.choice(words) + str(rng.randrange(1000)) for _ in range(rng.randrange(5, 60)))
        cut = rng.randrange(SHORTEST, len(whole))
        again = rng.choice([cut, 0, max(0, cut - rng.randrange(SHORTEST, 60))])
        rest, pieces = whole[again:], []
        while rest:
            size = rng.randrange(1, 12)
            pieces.append(rest[:size])
            rest = rest[size:]
        right += joined(whole[:cut], *pieces) == whole
    print(f"overlap: cuts=2000 seamless={right}")
    assert right >= 1_990  # a blank at the seam can be the model's or the cut's: nobody can tell


def test_what_indents_the_next_line_stays() -> None:
    assert joined("def f():\n", "    return 1") == "def f():\n    return 1"
    assert joined("- a\n", "  - b") == "- a\n  - b"
    assert joined("def f():\n    ", "    return 1") == "def f():\n    return 1"
    assert joined("def f():\n    ", "\n    return 1") == "def f():\n    return 1"


def test_whoever_was_given_the_beginning_repeats_all_of_it_or_nothing() -> None:
    row = "x = [" + "0, " * 8

    def prefilled(before: str, piece: str) -> str:
        overlap = Overlap(before, exact=True)
        return before + overlap.feed(piece) + overlap.flush()

    assert prefilled(row, "0, 0, 0, 0, 0, 0, 1]") == row + "0, 0, 0, 0, 0, 0, 1]"
    assert prefilled(row, row + "1]") == row + "1]"
    assert prefilled("Hello ", " world") == "Hello world"


@pytest.mark.parametrize("before", ["a" * 100_000, "".join(f"{number} " for number in range(60_000))])
def test_a_long_answer_begun_anew_does_not_hold_everybody_up(before: str) -> None:
    overlap, began = Overlap(before), perf_counter()
    told = "".join(overlap.feed(before[at : at + 4]) for at in range(0, 20_000, 4))
    taken = perf_counter() - began
    print(f"overlap: characters={len(before)} pieces=5000 cpu_ms_per_piece={taken / 5:.3f}")
    assert told == ""
    assert taken < 5, "0.2 s a piece before only the end was searched"
