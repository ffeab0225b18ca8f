"""Money, errors, sealing, traces: the values every service passes around."""

from datetime import UTC, datetime
from decimal import Decimal

import pydantic
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from shared import sealing
from shared.clock import month_of, next_month
from shared.errors import STATUS, Code, OmniError, Problem, faults_of
from shared.money import format_usd, micros_from_usd, round_half_up, round_up, usd_from_micros
from shared.telemetry import parse_traceparent

AMOUNTS = st.integers(0, 10**18)


@given(AMOUNTS)
def test_micro_dollars_survive_the_way_to_usd_and_back(micros: int) -> None:
    assert micros_from_usd(usd_from_micros(micros)) == micros
    assert format_usd(micros) == f"{micros // 10**6}.{micros % 10**6:06d}"


def test_what_micro_dollars_cannot_hold_is_refused_and_unknown_stays_unknown() -> None:
    with pytest.raises(ValueError, match="six decimals"):
        micros_from_usd(Decimal("0.0000001"))
    assert format_usd(None) is None


@given(st.decimals(0, 10**9, places=9))
def test_a_bound_is_never_below_the_cost(micros: Decimal) -> None:
    assert round_up(micros) >= round_half_up(micros) >= round_up(micros) - 1


def test_every_code_has_a_status_and_problems_travel_whole() -> None:
    assert set(STATUS) == set(Code)
    error = OmniError(Code.INVALID_REQUEST, "no", status=413, extra={"field": "x"})
    again = Problem.model_validate_json(Problem.of(error).model_dump_json()).error()
    assert (again.code, again.detail, again.status, again.extra) == (error.code, "no", 413, {"field": "x"})


class _Body(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    number: int
    names: dict[str, int] = {}


@given(st.text(min_size=9).filter(lambda text: not text.isdigit() and text not in "Input should be a valid integer"))
def test_faults_never_repeat_what_was_sent(secret: str) -> None:
    body = {"number": secret + "!", "names": {secret + "!": secret}, secret + "!": 1}
    with pytest.raises(pydantic.ValidationError) as raised:
        _Body.model_validate(body)
    assert secret + "!" not in str(faults_of(raised.value.errors()))


@given(st.binary(min_size=1, max_size=200), st.integers(0, 10_000))
def test_a_lease_opens_for_its_reader_under_its_terms_only(secret: bytes, flip: int) -> None:
    reader, other = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    terms = {"lease_id": "l", "router_id": "r", "workspace_id": 1, "key_id": "k", "version": 1, "host": "h"}
    expires = datetime(2026, 1, 1, tzinfo=UTC)
    info = sealing.lease_info(**terms, expires_at=expires)  # type: ignore[arg-type]
    sealed = sealing.seal(secret, reader.public_key(), info)
    assert sealing.unseal(sealed, reader, info) == secret
    broken = bytearray(sealed)
    broken[flip % len(broken)] ^= 1
    later = sealing.lease_info(**{**terms, "version": 2}, expires_at=expires)  # type: ignore[arg-type]
    for blob, key, under in ((sealed, other, info), (bytes(broken), reader, info), (sealed, reader, later)):
        with pytest.raises(sealing.CannotOpen):
            sealing.unseal(blob, key, under)


def test_length_prefixes_leave_no_two_readings() -> None:
    assert sealing.length_prefixed("ab", "c") != sealing.length_prefixed("a", "bc")


def test_months_begin_and_end_in_utc() -> None:
    late = datetime(2026, 12, 31, 23, 59, tzinfo=UTC)
    assert month_of(late) == datetime(2026, 12, 1, tzinfo=UTC)
    assert next_month(late) == datetime(2027, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "x",
        "00-" + "0" * 32 + "-" + "1" * 16 + "-01",
        "01-" + "1" * 32 + "-" + "1" * 16 + "-01",
        "zz" * 27 + "z",
    ],
)
def test_a_malformed_traceparent_is_no_parent(header: str | None) -> None:
    assert parse_traceparent(header) is None
