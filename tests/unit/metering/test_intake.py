"""What comes from outside: facts, cursors, and everything that is neither."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metering.domain import cursor
from services.metering.domain.intake import Malformed, read_finished
from shared.errors import Code, OmniError
from shared.messages.router import CallFinishedV1

GOOD = CallFinishedV1.model_validate(CallFinishedV1.example).model_dump(mode="json")
CANARY = "sk-canary-0123456789"


def test_a_good_fact_is_read() -> None:
    assert read_finished(json.dumps(GOOD).encode()).cost_usd_micros == 7


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"attempt_id": CANARY}, "attempt_id"),
        ({"key_id": "{" + GOOD["key_id"] + "}"}, "key_id"),
        ({"workspace_id": 0}, "workspace_id"),
        ({"workspace_id": CANARY}, "workspace_id"),
        ({"started_at": "2026-11-23T10:00:00"}, "started_at"),
        ({"finished_at": "0001-01-01T00:00:00+14:00"}, "finished_at"),
        ({"tokens": {"input_tokens": -1}}, "input_tokens"),
        ({"tokens": {"input_tokens": CANARY}}, "tokens"),
        ({"tokens": {CANARY: 1}}, "tokens"),
        ({"cost_usd_micros": 10**16}, "cost_usd_micros"),
        ({"cost_usd_micros": 1.5}, "cost_usd_micros"),
        ({"status": 2**40}, "status"),
        ({"attempt_index": -1}, "attempt_index"),
        ({"provider_request_id": "a\0"}, "provider_request_id"),
        ({"model": "x" * 301}, "model"),
        ({"outcome": CANARY}, "outcome"),
        ({CANARY: 1}, "body"),
    ],
)
def test_a_malformed_fact_is_named_without_its_content(change: dict[str, Any], where: str) -> None:
    with pytest.raises(Malformed) as caught:
        read_finished(json.dumps(GOOD | change).encode())
    assert caught.value.reason.startswith("malformed: ")
    assert where in caught.value.reason
    assert CANARY not in caught.value.reason


@given(st.binary(max_size=200))
def test_no_bytes_whatever_break_the_reader(body: bytes) -> None:
    with pytest.raises(Malformed):
        read_finished(body)


moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive here


@given(moments, st.uuids())
def test_a_cursor_finds_its_place_again(moment: datetime, attempt: UUID) -> None:
    assert cursor.decode(cursor.encode((moment, attempt))) == (moment, attempt)


@given(st.text(max_size=120))
def test_a_cursor_made_elsewhere_is_refused(text: str) -> None:
    with pytest.raises(OmniError) as caught:
        cursor.decode(text)
    assert caught.value.code is Code.INVALID_REQUEST
