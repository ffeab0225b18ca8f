import gzip
import random
import string
import zlib
from time import process_time

import pytest

from services.router.domain.bodies import PIECE, Seams, Unpacking, UnreadableError, without, without_in_texts

PREFIXES = ("sk-proj-", "sk-ant-api03-", "gsk_", "AIza", "", "sk-or-v1-")
_LETTERS = string.ascii_letters + string.digits + "-_"


def _keys(count: int) -> list[tuple[str, str]]:
    """Vendor's prefix, and the whole key."""
    rng = random.Random(4)  # noqa: S311 - keys that open nothing
    prefixes = [PREFIXES[number % len(PREFIXES)] for number in range(count)]
    return [(prefix, prefix + "".join(rng.choices(_LETTERS, k=40))) for prefix in prefixes]


def _is_word(piece: str) -> bool:
    return not set(piece) - set(string.ascii_lowercase + "-_")


def test_no_piece_of_a_key_comes_through() -> None:
    cut = 0
    for prefix, key in _keys(30):
        for start in range(len(key) - PIECE + 1):
            for end in range(start + PIECE, len(key) + 1):
                if end <= len(prefix):
                    continue
                text = f"<{key[start:end]}>"
                body, headers = without(text.encode(), {"x-request-id": text, "date": "x"}, [key])
                left = [at for at in range(len(key) - PIECE + 1) if key[at : at + PIECE].encode() in body]
                assert not [at for at in left if at + PIECE > len(prefix) and not _is_word(key[at : at + PIECE])], text
                assert (list(headers) == ["date"]) is (text.encode() != body)
                cut += text.encode() != body
    print(f"pieces={cut} left=0")
    assert cut > 10_000


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("sk-ant-api03-Xa91ZZbf0123456789", "Keys begin with sk-ant-api03-, others with sk-proj-."),
        ("sk-proj-0a1b2c3d4e5f6a7b8c9d", "export KEY=sk-proj-…"),
        ("my-development-key-for-ollama", "development goes on; ollama is for-all"),
        ("sk-0a1b2c3d4e5f6a7b8c9d", "0a1b2c3 is shorter than a piece"),
        ("short12", "short12 is no key"),
    ],
)
def test_what_is_no_secret_stays(key: str, text: str) -> None:
    assert without(text.encode(), {"x-request-id": text}, [key]) == (text.encode(), {"x-request-id": text})


def test_a_whole_key_of_words_is_cut_out() -> None:
    key = "my-development-key-for-ollama"
    assert without(f"bad key {key}!".encode(), {"x": key, "y": "z"}, [key]) == (b"bad key [removed]!", {"y": "z"})


def test_it_costs_microseconds() -> None:
    key = "sk-proj-" + "".join(key for _, key in _keys(4))[:156]
    headers = {f"x-header-{number}": "some value or other" for number in range(20)}
    body = b'{"choices": [{"message": {"content": "An answer of ordinary length."}}]}' * 28
    began = process_time()
    for _ in range(1000):
        without(body, headers, [key])
    spent = (process_time() - began) * 1000
    print(f"a body of {len(body)} bytes and a key of {len(key)} characters: {spent:.0f} µs")
    assert spent < 1000


def test_texts_are_cleaned_like_bodies() -> None:
    for _, key in _keys(20):
        cleaned = without_in_texts([key])
        for text in (f"ä {key} ß", f"part {key[9:30]}", "no key at all", key[:7]):
            assert cleaned(text).encode() == without(text.encode(), {}, [key])[0]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 8, 13, 1000])
def test_a_key_that_comes_in_pieces_is_cut_out(size: int) -> None:
    for prefix, key in _keys(50):
        seams, text = Seams([key]), f"my key is {key}, and that is {key[len(prefix) :]}."
        given = "".join(seams.clean("text", text[at : at + size]) for at in range(0, len(text), size))
        windows = (key[at : at + PIECE] for at in range(len(prefix), len(key) - PIECE + 1))
        assert not [window for window in windows if window in given]
        assert given.startswith("my key is ")
        assert given.endswith(".")
        assert given.count("[removed]") == 2


def test_two_texts_at_once_are_told_apart() -> None:
    seams = Seams(["sk-Zq7aBcDeFg"])
    given = [seams.clean(channel, text) for channel, text in ((0, "Zq7aB"), (1, "cDeFg"), (0, "cDeFg"))]
    assert given == ["Zq7aB", "cDeFg", "[removed]"]


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_body_is_unpacked_however_it_is_cut(size: int) -> None:
    body = random.Random(5).randbytes(3000) + bytes(300_000)  # noqa: S311 - no secret
    for encoding, packed in {"gzip": gzip.compress(body), "deflate": zlib.compress(body), "": body}.items():
        unpacking = Unpacking(encoding, 1_000_000)
        pieces = [piece for at in range(0, len(packed), size) for piece in unpacking.feed(packed[at : at + size])]
        assert b"".join(pieces) == body
        assert unpacking.is_whole
        assert not encoding or max(map(len, pieces)) <= 65_536
    cut = Unpacking("gzip", 1_000_000)
    assert len(b"".join(cut.feed(gzip.compress(body)[:-9]))) <= len(body)
    assert not cut.is_whole


@pytest.mark.parametrize(
    ("encoding", "packed", "reason"),
    [
        ("br", b"", "not_decodable"),
        ("gzip", b"plain text", "not_decodable"),
        ("gzip", gzip.compress(b"a") + b"more", "not_decodable"),
        ("gzip", gzip.compress(bytes(10_000_000)), "answer_too_large"),
        ("", bytes(1_000_001), "answer_too_large"),
    ],
)
def test_what_cannot_be_unpacked_is_refused(encoding: str, packed: bytes, reason: str) -> None:
    given = 0
    with pytest.raises(UnreadableError) as refused:  # noqa: PT012 - the first piece may still come
        for piece in Unpacking(encoding, 1_000_000).feed(packed):
            given += len(piece)
    assert refused.value.reason == reason
    assert given <= 1_000_000
