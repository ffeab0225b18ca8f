import json
import random
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from services.vault.domain.envelope import (
    DEK_LAYER,
    KEY_LAYER,
    OVERHEAD,
    DekPlace,
    KeyPlace,
    decrypt_key,
    encrypt_key,
    unwrap_dek,
    wrap_dek,
)
from shared.sealing import CannotOpen

# Made once by `python -m tests.unit.vault.make_vectors`; a change of the format needs a new version, never new vectors.
VECTORS = json.loads(Path(__file__).with_name("vectors.json").read_text())
ROWS = 1000
SIZES = {"version": (0, 1), "layer": (1, 2), "salt": (2, 34), "commitment": (34, 66), "tag": (-16, None)}


def _bytes(rng: random.Random, count: int = 32) -> bytes:
    return rng.randbytes(count)


def _uuid(rng: random.Random) -> UUID:
    return UUID(bytes=_bytes(rng, 16))


def _stored(rng: random.Random, number: int) -> tuple[bytes, DekPlace, bytes, bytes, KeyPlace, bytes]:
    kek, dek = _bytes(rng), _bytes(rng)
    dek_place = DekPlace(number, _uuid(rng), f"local:{_bytes(rng, 8).hex()}")
    key_place = KeyPlace(number, _uuid(rng), number, f"provider{number}", f"host{number}.example", dek_place.dek_id)
    secret = b"sk-" + _bytes(rng, 20).hex().encode()
    wrapped = wrap_dek(kek, dek, dek_place, _bytes(rng))
    return kek, dek_place, wrapped, dek, key_place, encrypt_key(dek, secret, key_place, _bytes(rng))


def _refused(opened: Callable[..., bytes], *arguments: Any) -> int:
    with pytest.raises(CannotOpen):
        opened(*arguments)
    return 1


def _damaged(envelope: bytes, other: bytes, rng: random.Random) -> list[bytes]:
    """Every field flipped in one bit, and every field taken from another envelope; cut and prolonged, too."""
    results = [envelope[:-1], envelope + b"\0", envelope[: OVERHEAD - 1], b""]
    for start, end in [*SIZES.values(), (66, len(envelope) - 16)]:
        span = range(len(envelope))[start:end]
        flipped = bytearray(envelope)
        flipped[rng.choice(span)] ^= 1 << rng.randrange(8)
        swapped = bytearray(envelope)
        swapped[span.start : span.stop] = other[span.start : span.stop]
        results += [bytes(flipped)] + ([bytes(swapped)] if swapped != envelope else [])
    return results


def _moved(place: Any, other: Any) -> list[Any]:
    return [replace(place, **{field.name: getattr(other, field.name)}) for field in fields(place)]


def test_every_swapped_or_flipped_field_of_a_thousand_stored_envelopes_is_refused() -> None:
    rng = random.Random(2)  # noqa: S311 - the same rows every time
    rows = [_stored(rng, number) for number in range(1, ROWS + 1)]
    refused = 0
    for row, other in zip(rows, rows[1:] + rows[:1], strict=True):
        kek, dek_place, wrapped, dek, key_place, ciphertext = row
        assert unwrap_dek(kek, wrapped, dek_place) == dek
        assert decrypt_key(dek, ciphertext, key_place).startswith(b"sk-")
        for damaged in [*_damaged(wrapped, other[2], rng), other[2], ciphertext]:
            refused += _refused(unwrap_dek, kek, damaged, dek_place)
        for damaged in [*_damaged(ciphertext, other[5], rng), other[5], wrapped]:
            refused += _refused(decrypt_key, dek, damaged, key_place)
        for moved in [*_moved(dek_place, other[1]), other[1]]:
            refused += _refused(unwrap_dek, kek, wrapped, moved)
        for moved in [*_moved(key_place, other[4]), other[4]]:
            refused += _refused(decrypt_key, dek, ciphertext, moved)
        refused += _refused(unwrap_dek, other[0], wrapped, dek_place)
        refused += _refused(decrypt_key, other[3], ciphertext, key_place)
    print(f"\nenvelopes={ROWS} alterations={refused} refused={refused} opened=0")
    assert refused >= 40 * ROWS


def test_fields_cannot_run_into_each_other() -> None:
    rng = random.Random(3)  # noqa: S311 - the same rows every time
    dek, dek_id, key_id = _bytes(rng), _uuid(rng), _uuid(rng)
    ciphertext = encrypt_key(dek, b"sk-secret", KeyPlace(1, key_id, 11, "ab", "c.example", dek_id), _bytes(rng))
    for place in (
        KeyPlace(1, key_id, 11, "abc", ".example", dek_id),
        KeyPlace(1, key_id, 1, "1ab", "c.example", dek_id),
    ):
        _refused(decrypt_key, dek, ciphertext, place)


def test_the_failure_says_nothing() -> None:
    with pytest.raises(CannotOpen) as caught:
        decrypt_key(bytes(32), bytes(200), KeyPlace(1, UUID(int=1), 1, "p", "h", UUID(int=2)))
    assert str(caught.value) == "cannot open"
    assert caught.value.__cause__ is None


def test_the_sizes_of_the_docstring() -> None:
    place = KeyPlace(1, UUID(int=1), 1, "p", "h", UUID(int=2))
    ciphertext = encrypt_key(bytes(32), b"x" * 50, place, b"s" * 32)
    assert OVERHEAD == 82
    assert len(ciphertext) == 50 + OVERHEAD
    assert ciphertext[:34] == bytes((1, KEY_LAYER)) + b"s" * 32
    assert wrap_dek(bytes(32), bytes(32), DekPlace(1, UUID(int=2), "k"), b"s" * 32)[:2] == bytes((1, DEK_LAYER))


@pytest.mark.parametrize("bad", [(b"k" * 31, b"s" * 32), (b"k" * 32, b"s" * 31)])
def test_a_short_key_or_salt_is_a_programming_error(bad: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        encrypt_key(bad[0], b"secret", KeyPlace(1, UUID(int=1), 1, "p", "h", UUID(int=2)), bad[1])
    with pytest.raises(ValueError, match="32 bytes"):
        wrap_dek(b"k" * 32, b"d" * 16, DekPlace(1, UUID(int=2), "k"), b"s" * 32)


@pytest.mark.parametrize("vector", VECTORS["deks"], ids=str)
def test_dek_vectors(vector: dict[str, Any]) -> None:
    place = DekPlace(vector["workspace_id"], UUID(vector["dek_id"]), vector["kek_id"])
    kek, dek = bytes.fromhex(vector["kek"]), bytes.fromhex(vector["dek"])
    assert wrap_dek(kek, dek, place, bytes.fromhex(vector["salt"])).hex() == vector["wrapped"]
    assert unwrap_dek(kek, bytes.fromhex(vector["wrapped"]), place) == dek


@pytest.mark.parametrize("vector", VECTORS["keys"], ids=str)
def test_key_vectors(vector: dict[str, Any]) -> None:
    names = ("workspace_id", "key_id", "version", "provider", "host", "dek_id")
    values: dict[str, Any] = {name: vector[name] for name in names}
    place = KeyPlace(**values | {name: UUID(vector[name]) for name in ("key_id", "dek_id")})
    dek = bytes.fromhex(vector["dek"])
    assert (
        encrypt_key(dek, vector["secret"].encode(), place, bytes.fromhex(vector["salt"])).hex() == vector["ciphertext"]
    )
    assert decrypt_key(dek, bytes.fromhex(vector["ciphertext"]), place).decode() == vector["secret"]
