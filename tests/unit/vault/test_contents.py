"""A content opens under its own key in its own place, and under nothing else."""

import secrets
from dataclasses import fields, replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from services.vault.domain import envelope
from services.vault.domain.contents import content_key, parse_salt, place_of
from services.vault.domain.envelope import RootPlace
from shared import contents, sealing
from shared.contents import ContentPlace, KeyReader
from shared.errors import OmniError
from shared.messages.contents import ContentKeyV1
from shared.sealing import CannotOpen

PLACE = ContentPlace(1, str(UUID(int=2)), str(UUID(int=3)), str(UUID(int=4)))
ROOT, SALT = bytes(range(32)), bytes(range(32, 64))


def elsewhere(place: ContentPlace) -> list[ContentPlace]:
    """Every other place that differs in one field."""
    changes: list[dict[str, Any]] = [{item.name: str(uuid4())} for item in fields(place)[1:]]
    return [replace(place, workspace_id=9), *(replace(place, **change) for change in changes)]


def test_the_key_of_a_place_is_known_and_no_other_place_has_it() -> None:
    key = content_key(ROOT, SALT, PLACE)
    # Made once with HKDF as RFC 5869 writes it (tests/unit/vault/make_vectors.py has one), never by this code again.
    assert key.hex() == _hkdf(ROOT, SALT, PLACE.associated_data()).hex()
    others = [content_key(ROOT, SALT, other) for other in elsewhere(PLACE)]
    others += [content_key(bytes(32), SALT, PLACE), content_key(ROOT, bytes(32), PLACE)]
    assert len({key, *others}) == 7


def _hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    import hashlib  # noqa: PLC0415
    import hmac  # noqa: PLC0415

    extracted = hmac.digest(salt, secret, hashlib.sha256)
    return hmac.digest(extracted, info + b"\x01", hashlib.sha256)


def test_any_flipped_bit_and_any_other_place_is_refused() -> None:
    key, text = secrets.token_bytes(32), b"what somebody wrote"
    sealed = contents.close(key, text, PLACE)
    assert contents.opened(key, sealed, PLACE) == text
    assert contents.close(key, text, PLACE) != sealed
    tries = [(bytes(32), sealed, PLACE), *((key, sealed, other) for other in elsewhere(PLACE))]
    tries += [(key, sealed[:size], PLACE) for size in range(len(sealed))]
    for bit in range(8 * len(sealed)):
        flipped = bytearray(sealed)
        flipped[bit // 8] ^= 1 << bit % 8
        tries.append((key, bytes(flipped), PLACE))
    opened = 0
    for one in tries:
        try:
            contents.opened(*one)
            opened += 1
        except CannotOpen:
            pass
    print(f"content: tries={len(tries)} opened={opened}")
    assert opened == 0


def test_a_root_opens_in_its_place_only() -> None:
    dek, place = secrets.token_bytes(32), RootPlace(1, uuid4(), uuid4())
    sealed = envelope.encrypt_root(dek, ROOT, place, secrets.token_bytes(32))
    assert envelope.decrypt_root(dek, sealed, place) == ROOT
    wrong = [replace(place, workspace_id=2), replace(place, root_id=uuid4()), replace(place, dek_id=uuid4())]
    for other in wrong:
        with pytest.raises(CannotOpen):
            envelope.decrypt_root(dek, sealed, other)
    with pytest.raises(CannotOpen):
        envelope.unwrap_dek(dek, sealed, envelope.DekPlace(1, place.root_id, "k"))
    with pytest.raises(ValueError, match="32 bytes"):
        envelope.encrypt_root(dek, b"short", place, secrets.token_bytes(32))


def test_a_key_is_read_from_the_vault_only_and_for_its_place_only() -> None:
    vault = sealing.VaultIdentity.from_seed(bytes(32))
    reader = KeyReader(sealing.VaultPublic.parse(vault.public()))
    key = secrets.token_bytes(32)

    def given(signer: sealing.VaultIdentity, salt: bytes = SALT) -> ContentKeyV1:
        public = X25519PublicKey.from_public_bytes(sealing.decode(reader.public_key))
        info = contents.key_info(PLACE, SALT)
        sealed = sealing.seal(key, public, info)
        return ContentKeyV1(
            root_id=PLACE.root_id,
            salt=sealing.encode(salt),
            sealed=sealing.encode(sealed),
            signature=sealing.encode(sealing.sign(signer.signing, info, sealed)),
        )

    assert reader.read(given(vault), PLACE) == key
    another = sealing.VaultIdentity.from_seed(bytes([1]) * 32)
    for wrong in (given(another), given(vault, bytes(32)), given(vault).model_copy(update={"sealed": "%"})):
        with pytest.raises(CannotOpen):
            reader.read(wrong, PLACE)
    for other in elsewhere(PLACE):
        with pytest.raises(CannotOpen):
            reader.read(given(vault), other)
    with pytest.raises(CannotOpen):
        KeyReader(sealing.VaultPublic.parse(vault.public())).read(given(vault), PLACE)


@pytest.mark.parametrize(("call", "attempt"), [("", str(UUID(int=1))), ("x" * 301, str(UUID(int=1))), ("c", "x")])
def test_malformed_places_are_named(call: str, attempt: str) -> None:
    with pytest.raises(OmniError):
        place_of(1, call, attempt, UUID(int=1))
    for salt in ("", "%", sealing.encode(bytes(31))):
        with pytest.raises(OmniError):
            parse_salt(salt)
