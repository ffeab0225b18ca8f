"""Signing, retrying, giving up, and how secrets are kept: pure."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from services.api.domain.webhook_secrets import NONCE_BYTES, Place, SecretBox, shown
from services.api.domain.webhooks import DELAYS_S, GIVE_UP_AFTER, Answer, body, following, headers
from shared.clock import SystemClock
from shared.sealing import CannotOpen

NOW = datetime(2026, 11, 23, tzinfo=UTC)
PLACE = Place(7, UUID(int=1))
BOX = SecretBox(b"p" * 32)
SEALED = BOX.sealed(b"s" * 32, PLACE, b"n" * NONCE_BYTES)


@given(st.binary(min_size=24, max_size=64), st.text(max_size=200), st.uuids())
def test_the_referee_accepts_what_we_sign(secret: bytes, text: str, event: UUID) -> None:
    now = SystemClock().now()
    text = text.encode("utf-8", "replace").decode()
    payload = body("key.invalid", now, {"text": text}).encode()
    sent = headers(str(event), now, payload, [b"another" * 5, secret])
    assert Webhook(shown(secret)).verify(payload, sent)["data"] == {"text": text}


def test_attempts_come_ever_more_slowly_and_end_after_three_days() -> None:
    waited, attempts = timedelta(), 1
    while (then := following(Answer(500), attempts, NOW, NOW, 0.5)).status == "pending":
        assert then.wait_s == DELAYS_S[attempts - 1]
        waited, attempts = waited + timedelta(seconds=then.wait_s), attempts + 1
    assert (then.status, attempts) == ("failed", 10)
    assert GIVE_UP_AFTER < waited < timedelta(days=4)
    print(f"webhooks: {attempts} attempts in {waited}")


@pytest.mark.parametrize(("jitter", "least", "most"), [(0.0, 4.4, 4.6), (1.0, 5.4, 5.6)])
def test_pauses_differ_by_a_tenth(jitter: float, least: float, most: float) -> None:
    wait_s = following(Answer(None, "timeout"), 1, None, NOW, jitter).wait_s
    assert wait_s is not None
    assert least <= wait_s <= most


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (Answer(200), "delivered"), (Answer(204), "delivered"), (Answer(302, "redirect"), "pending"),
        (Answer(400), "pending"), (Answer(410), "failed"), (Answer(None, "not_allowed"), "pending"),
        (Answer(199), "pending"),
    ],
)  # fmt: skip
def test_only_a_2xx_is_an_arrival(answer: Answer, status: str) -> None:
    assert following(answer, 1, None, NOW, 0.5).status == status


def test_a_receiver_may_ask_for_more_time_but_not_for_ever() -> None:
    assert following(Answer(429, retry_after_s=90), 1, None, NOW, 0.5).wait_s == 90
    assert following(Answer(429, retry_after_s=1), 1, None, NOW, 0.5).wait_s == 5
    assert following(Answer(503, retry_after_s=10**9), 1, None, NOW, 0.5).wait_s == 24 * 3600


def test_a_webhook_is_given_up_when_nothing_has_reached_it_for_days() -> None:
    almost = NOW - GIVE_UP_AFTER + timedelta(seconds=1)
    assert following(Answer(500), 3, almost, NOW, 0.5).disable is None
    assert following(Answer(500), 3, NOW - GIVE_UP_AFTER, NOW, 0.5).disable == "failing"
    assert following(Answer(410), 1, None, NOW, 0.5).disable == "gone"
    assert following(Answer(200), 9, NOW - GIVE_UP_AFTER, NOW, 0.5).disable is None


def test_a_secret_opens_only_in_its_place_and_under_its_pepper() -> None:
    assert BOX.opened(SEALED, PLACE) == b"s" * 32
    for place in (Place(8, PLACE.webhook_id), Place(7, UUID(int=2))):
        with pytest.raises(CannotOpen):
            BOX.opened(SEALED, place)
    with pytest.raises(CannotOpen):
        SecretBox(b"q" * 32).opened(SEALED, PLACE)


def test_no_bit_of_it_can_be_changed() -> None:
    changed = [SEALED[:at] + bytes([SEALED[at] ^ 1]) + SEALED[at + 1 :] for at in range(len(SEALED))]
    for sealed in [*changed, SEALED[:-1], SEALED[:5], b""]:
        with pytest.raises(CannotOpen):
            BOX.opened(sealed, PLACE)
    print(f"webhook secrets: changed={len(changed)} refused={len(changed)}")
