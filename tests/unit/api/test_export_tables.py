"""The renderings of the call log: exact, and inert in a spreadsheet."""

import csv
import io
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.domain import focus, tables
from services.api.domain.columns import KINDS, NAMES, usd
from services.api.render import render
from shared.messages.usage import CallV1
from shared.money import MICROS_PER_USD, format_usd

CALL: dict[str, Any] = {
    "attempt_id": "0190a5c8-6f5e-7c3e-9f7b-0a4b5c6d7e8f", "call_id": "c", "workspace_id": 7, "key_id": "k",
    "provider": "openai", "model": "gpt-4o", "alias_name": "writer", "capability": "chat", "attempt_index": 0,
    "outcome": "success", "billing": "cost", "status": 200, "fallback_reason": None, "finish_reason": "stop",
    "input_tokens": 10, "output_tokens": 5, "cache_read_tokens": None, "cache_write_tokens": None,
    "reasoning_tokens": None, "cost_usd_micros": 26, "charged_usd_micros": 26, "latency_ms": 412,
    "started_at": "2026-12-31T23:44:46.855295Z", "finished_at": "2027-01-01T00:00:01.000000Z", "trace_id": None,
    "provider_request_id": "req_1", "price_version": "own 1", "funds": "own", "fallback_from": None,
    "first_token_ms": None, "reserved_usd_micros": 700,
}  # fmt: skip
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", '=HYPERLINK("http://a.example")')


def page(*changes: dict[str, Any]) -> dict[str, list[Any]]:
    """A page of calls that differ from ``CALL`` in ``changes``."""
    return {name: [{**CALL, **change}[name] for change in changes] for name in CALL}


def read_csv(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def rendered(format_: str, *pages: dict[str, list[Any]]) -> bytes:
    out = io.BytesIO()
    render(format_, io.BytesIO(b"".join(json.dumps(one).encode() + b"\n" for one in pages)), out)
    return out.getvalue()


def test_the_columns_are_those_of_a_call() -> None:
    assert tuple(KINDS) == tuple(CallV1.model_fields) == tuple(CALL)


@given(st.none() | st.integers(0, 10**15))
def test_money_is_shown_as_everywhere(micros: int | None) -> None:
    assert usd(micros) == format_usd(micros)


def test_every_value_comes_back() -> None:
    calls = page({}, {"model": 'a "b", ü\n🦊', "cost_usd_micros": None, "charged_usd_micros": 10**15})
    for lines in (
        read_csv(rendered("csv", calls)),
        [json.loads(line) for line in rendered("ndjson", calls).splitlines()],
    ):
        assert [tuple(line) for line in lines] == [NAMES, NAMES]
        assert [line["model"] for line in lines] == ["gpt-4o", 'a "b", ü\n🦊']
        assert [line["cost_usd"] or None for line in lines] == ["0.000026", None]
        assert [line["charged_usd"] for line in lines] == ["0.000026", "1000000000.000000"]


@pytest.mark.parametrize("format_", ["csv", "focus"])
@pytest.mark.parametrize("text", FORMULAS)
def test_a_spreadsheet_runs_nothing(format_: str, text: str) -> None:
    free = {name: text for name, kind in KINDS.items() if kind == "free"}
    [line] = read_csv(rendered(format_, page(free)))
    assert not [cell for cell in line.values() if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]
    assert "'" + text in line.values()
    assert json.loads(rendered("ndjson", page(free)))["model"] == text


def test_an_export_without_rows_has_a_header() -> None:
    assert read_csv(rendered("csv")) == read_csv(rendered("focus")) == []
    assert rendered("csv") == tables.csv_header()
    assert rendered("focus") == focus.header()
    assert rendered("ndjson") == b""


def test_focus_says_when_who_and_how_much() -> None:
    own, platform = read_csv(rendered("focus", page({}, {"funds": "platform", "input_tokens": None})))
    assert (own["BillingPeriodStart"], own["BillingPeriodEnd"]) == ("2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z")
    assert (own["ChargePeriodStart"], own["ChargePeriodEnd"]) == ("2026-12-31T23:00:00Z", "2027-01-01T00:00:00Z")
    assert (own["ProviderName"], own["InvoiceIssuerName"], own["PublisherName"]) == ("openai", "openai", "openai")
    assert (platform["ProviderName"], platform["PublisherName"]) == ("OmniPost", "openai")
    assert (own["ConsumedQuantity"], own["ConsumedUnit"]) == ("15.0", "Tokens")
    assert (platform["ConsumedQuantity"], platform["ConsumedUnit"]) == ("", "")
    assert {own[name] for name in ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost")} == {"0.000026"}
    assert json.loads(own["Tags"]) == {
        "alias_name": "writer", "capability": "chat", "funds": "own", "outcome": "success",
    }  # fmt: skip


@given(st.lists(st.integers(0, 10**12), max_size=50))
def test_the_sum_is_exact_in_every_format(charges: list[int]) -> None:
    calls = page(*({"charged_usd_micros": charge} for charge in charges))
    files = [read_csv(rendered("csv", calls)), read_csv(rendered("focus", calls))]
    files.append([json.loads(line) for line in rendered("ndjson", calls).splitlines()])
    for lines in files:
        amounts = [Decimal(line.get("BilledCost") or line["charged_usd"]) for line in lines]
        assert sum(amounts) * MICROS_PER_USD == sum(charges)
