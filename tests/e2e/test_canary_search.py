"""The search for canaries finds each piece in each form, and does not take the masked form for one."""

import base64
import random
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from services.vault.domain.masking import mask
from tests.e2e.canaries import MARKERS, PIECE, Search, draw, pieces

CANARIES = draw(200)
FORMS: dict[str, Callable[[str], bytes]] = {
    "raw": str.encode,
    "reversed": lambda piece: piece[::-1].encode(),
    "hex": lambda piece: piece.encode().hex().encode(),
    "HEX": lambda piece: piece.encode().hex().upper().encode(),
    "url": lambda piece: quote(piece, safe="").encode(),
    "url, small letters": lambda piece: quote(piece, safe="").replace("%2B", "%2b").encode(),
    "json": lambda piece: "".join(f"\\u{ord(sign):04x}" for sign in piece).encode(),
    "json, signs only": lambda piece: piece.replace("+", "\\u002b").encode(),
    "utf-16-le": lambda piece: piece.encode("utf-16-le"),
    "utf-16-be": lambda piece: piece.encode("utf-16-be"),
    "base64": lambda piece: base64.b64encode(piece.encode()),
    "base64 at 1": lambda piece: base64.b64encode(b"x" + piece.encode() + b"more"),
    "base64 at 2": lambda piece: base64.b64encode(b"xy" + piece.encode() + b"more"),
    "base64url": lambda piece: base64.urlsafe_b64encode(b"\xff\xff\xff" + piece.encode()),
    "base64url at 1": lambda piece: base64.urlsafe_b64encode(b"\xff" + piece.encode() + b"\xff\xff"),
    "base64url at 2": lambda piece: base64.urlsafe_b64encode(b"\xff\xff" + piece.encode() + b"\xff"),
}


@pytest.fixture(scope="module")
def search() -> Search:
    return Search(CANARIES)


@pytest.mark.parametrize("form", FORMS)
def test_every_piece_is_found_in_every_form(search: Search, form: str, tmp_path: Path) -> None:
    rng = random.Random(5)  # noqa: S311 - noise
    planted = [piece for canary in CANARIES[:20] for piece in pieces(canary)]
    missed = []
    for piece in planted:
        content = rng.randbytes(50) + FORMS[form](piece) + rng.randbytes(50)
        if not search.look(form, content):
            missed.append(piece)
    print(f"{form}: planted={len(planted)} missed={len(missed)}")
    assert not missed
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "scratch").write_bytes(b"." * 100_000 + FORMS[form](planted[9]) + b".")
    [found, *_] = search.look_below(tmp_path)
    assert found.place == str(tmp_path / "deep" / "scratch")
    assert 100_000 <= found.at <= 100_004


def test_a_name_of_a_file_is_searched(search: Search, tmp_path: Path) -> None:
    (tmp_path / CANARIES[0][3:12]).touch()
    assert [found.form for found in search.look_below(tmp_path)] == ["raw", "raw"]


def test_the_masked_form_noise_and_seven_characters_are_nothing(search: Search) -> None:
    rng = random.Random(6)  # noqa: S311 - noise
    for canary in CANARIES:
        assert not search.look("masked", f'{{"masked_key":"{mask(canary)}"}}'.encode())
        for start in range(len(canary) - PIECE + 2):
            assert not search.look("seven", b"~" + canary[start : start + PIECE - 1].encode() + b"~")
    assert not search.look("noise", rng.randbytes(10_000_000))
    markers = "".join(f"{marker}  " for marker in MARKERS).encode()
    assert not search.look("markers alone", markers * 1000)


def test_canaries_are_keys_and_all_different() -> None:
    assert len(set(CANARIES)) == 200
    for canary in CANARIES:
        assert 40 <= len(canary) <= 50
        assert all(any(marker in piece for marker in MARKERS) for piece in pieces(canary))
