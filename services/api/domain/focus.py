"""The call log as billing data by FOCUS 1.2, the FinOps Open Cost and Usage Specification. Pure.

One row an attempt. What it took from its budget is all four costs: BilledCost, EffectiveCost, ListCost and
ContractedCost (there are no discounts here), so the file adds up to what /ai-usage calls charged. An attempt is one
priced request of a model; its tokens are what was consumed. ``ServiceProviderName`` and ``HostProviderName`` are the
names FOCUS 1.3 gives to provider and host. Quantities have a decimal point and ids are no numbers, so that readers who
guess a CSV's types guess those of the specification. Custom columns begin with ``x_``, as the specification wants it.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from itertools import repeat
from typing import Any

from services.api.domain.columns import Page, usd
from services.api.domain.tables import csv_lines, inert

PLATFORM = "OmniPost"
_INSTANT = "%Y-%m-%dT%H:%M:%SZ"
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@lru_cache(maxsize=1024)
def _hour(hour: str, hours: int) -> str:
    return (datetime.fromisoformat(f"{hour}:00:00") + timedelta(hours=hours)).strftime(_INSTANT)


@lru_cache(maxsize=1024)
def _month(month: str, months: int) -> str:
    years, index = divmod(int(month[5:]) - 1 + months, 12)
    return f"{int(month[:4]) + years:04d}-{index + 1:02d}-01T00:00:00Z"


@lru_cache(maxsize=1024)
def _tags(alias_name: str, capability: str, funds: str, outcome: str) -> str:
    return _encode({"alias_name": alias_name, "capability": capability, "funds": funds, "outcome": outcome})


class _Sheet:
    """A page of calls, and columns that several others are made of. By column: a million rows are many."""

    def __init__(self, calls: Page) -> None:
        self.calls = calls

    def texts(self, name: str) -> Iterable[str | None]:
        return map(inert, self.calls[name])

    def rows(self, *names: str) -> Iterable[tuple[Any, ...]]:
        return zip(*(self.calls[name] for name in names), strict=True)

    @cached_property
    def charged(self) -> Sequence[str | None]:
        return [usd(micros) for micros in self.calls["charged_usd_micros"]]

    @cached_property
    def tokens(self) -> Sequence[int | None]:
        pairs = self.rows("input_tokens", "output_tokens")
        return [None if read is None or written is None else read + written for read, written in pairs]

    @cached_property
    def targets(self) -> Sequence[str | None]:
        return [inert(f"{provider}/{model}") for provider, model in self.rows("provider", "model")]

    @cached_property
    def sellers(self) -> Sequence[str | None]:
        # Whose bill it is on: a workspace's own key is billed by the provider, credits are billed by the platform.
        pairs = self.rows("funds", "provider")
        return [PLATFORM if funds == "platform" else inert(provider) for funds, provider in pairs]

    def skus(self, name: str, separator: str) -> Iterable[str]:
        details = zip(self.targets, self.calls[name], strict=True)
        return [f"{target}{separator}{detail or 'unpriced'}" for target, detail in details]

    def hours(self, later: int) -> Iterable[str]:
        return [_hour(at[:13], later) for at in self.calls["started_at"]]

    def months(self, later: int) -> Iterable[str]:
        return [_month(at[:7], later) for at in self.calls["started_at"]]


_Column = Callable[[_Sheet], Iterable[object]]


def _always(value: str | None) -> _Column:
    return lambda sheet: repeat(value, len(sheet.calls["attempt_id"]))


def _same(name: str) -> _Column:
    return lambda sheet: sheet.texts(name)


def _number(name: str) -> _Column:
    return lambda sheet: sheet.calls[name]


def _charged(sheet: _Sheet) -> Iterable[object]:
    return sheet.charged


def _seller(sheet: _Sheet) -> Iterable[object]:
    return sheet.sellers


COLUMNS: Mapping[str, _Column] = {
    "BilledCost": _charged,
    "BillingAccountId": lambda sheet: [f"workspace-{one}" for one in sheet.calls["workspace_id"]],
    "BillingAccountName": lambda sheet: [f"Workspace {one}" for one in sheet.calls["workspace_id"]],
    "BillingAccountType": _always("Workspace"),
    "BillingCurrency": _always("USD"),
    "BillingPeriodEnd": lambda sheet: sheet.months(1),
    "BillingPeriodStart": lambda sheet: sheet.months(0),
    "ChargeCategory": _always("Usage"),
    "ChargeClass": _always(None),
    "ChargeDescription": lambda sheet: [
        f"{capability} by {provider}/{model}"
        for capability, provider, model in sheet.rows("capability", "provider", "model")
    ],
    "ChargeFrequency": _always("Usage-Based"),
    "ChargePeriodEnd": lambda sheet: sheet.hours(1),
    "ChargePeriodStart": lambda sheet: sheet.hours(0),
    "ConsumedQuantity": lambda sheet: [None if tokens is None else f"{tokens}.0" for tokens in sheet.tokens],
    "ConsumedUnit": lambda sheet: [None if tokens is None else "Tokens" for tokens in sheet.tokens],
    "ContractedCost": _charged,
    "ContractedUnitPrice": _charged,
    "EffectiveCost": _charged,
    "HostProviderName": _same("provider"),
    "InvoiceId": _always(None),
    "InvoiceIssuerName": _seller,
    "ListCost": _charged,
    "ListUnitPrice": _charged,
    "PricingCategory": _always("Standard"),
    "PricingQuantity": _always("1.0"),
    "PricingUnit": _always("Requests"),
    "ProviderName": _seller,
    "PublisherName": _same("provider"),
    "RegionId": _always(None),
    "RegionName": _always(None),
    "ResourceId": lambda sheet: sheet.targets,
    "ResourceName": _same("model"),
    "ResourceType": _always("Model"),
    "ServiceCategory": _always("AI and Machine Learning"),
    "ServiceName": _same("provider"),
    "ServiceProviderName": _seller,
    "ServiceSubcategory": _always("Generative AI"),
    "SkuId": lambda sheet: sheet.skus("capability", "/"),
    "SkuMeter": _always("Requests"),
    "SkuPriceDetails": _always(None),
    "SkuPriceId": lambda sheet: sheet.skus("price_version", "@"),
    "SubAccountId": _same("key_id"),
    "SubAccountName": lambda sheet: [f"Key {key}" for key in sheet.calls["key_id"]],
    "SubAccountType": _always("API key"),
    "Tags": lambda sheet: [_tags(*row) for row in sheet.rows("alias_name", "capability", "funds", "outcome")],
    "x_AttemptId": _same("attempt_id"),
    "x_Billing": _same("billing"),
    "x_CallId": _same("call_id"),
    "x_CostUsd": lambda sheet: map(usd, sheet.calls["cost_usd_micros"]),
    "x_FinishedAt": _same("finished_at"),
    "x_InputTokens": _number("input_tokens"),
    "x_OutputTokens": _number("output_tokens"),
    "x_StartedAt": _same("started_at"),
    "x_WorkspaceId": _number("workspace_id"),
}


def header() -> bytes:
    """The first line of the CSV."""
    return csv_lines([tuple(COLUMNS)])


def page(calls: Page) -> bytes:
    """A page of the call log as CSV."""
    sheet = _Sheet(calls)
    return csv_lines(zip(*(column(sheet) for column in COLUMNS.values()), strict=True))
