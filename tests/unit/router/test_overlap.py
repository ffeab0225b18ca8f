"""What a second model repeats of an answer that was cut is taken out, nothing else is."""

import random

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
