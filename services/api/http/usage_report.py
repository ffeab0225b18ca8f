"""How the edge shows a report: money as decimal strings of USD, unknown as null."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from shared.messages.usage import (
    ExhaustionV1,
    FailureV1,
    FallbackV1,
    QuantilesV1,
    UsageForecastV1,
    UsageReportV1,
    UsageV1,
)
from shared.money import format_usd


def report_view(report: UsageReportV1, group_by: str | None) -> dict[str, Any]:
    """The answer of ``GET /ai-usage``."""
    return {
        "totals": _sums(report.totals),
        "groups": [{group_by or "group": item.group, **_sums(item)} for item in report.groups],
        "errors": _errors(report.failures),
        "fallbacks": _fallbacks(report.totals, report.fallbacks),
        "forecast": None if report.forecast is None else _forecast(report.forecast),
        "budgets": [budget.public() for budget in report.budgets],
    }


def _sums(sums: UsageV1) -> dict[str, Any]:
    return {
        "requests": sums.requests,
        "succeeded": sums.succeeded,
        "failed": sums.failed,
        "unknown": sums.unknown,
        "input_tokens": sums.input_tokens,
        "output_tokens": sums.output_tokens,
        "cache_read_tokens": sums.cache_read_tokens,
        "cache_write_tokens": sums.cache_write_tokens,
        "reasoning_tokens": sums.reasoning_tokens,
        "cost_usd": format_usd(sums.cost_usd_micros),
        "charged_usd": format_usd(sums.charged_usd_micros),
        "reserved_usd": format_usd(sums.reserved_usd_micros),
        "fallbacks": sums.fallbacks,
        "average_latency_ms": round(sums.latency_ms_sum / sums.requests) if sums.requests else None,
        "latency_ms": _quantiles(sums.latency_ms),
        "first_token_ms": _quantiles(sums.first_token_ms),
    }


def _quantiles(quantiles: QuantilesV1) -> dict[str, int | None]:
    return {"p50": quantiles.p50, "p95": quantiles.p95, "p99": quantiles.p99}


def _errors(failures: Sequence[FailureV1]) -> dict[str, Any]:
    by_outcome: defaultdict[str, int] = defaultdict(int)
    by_provider: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for failure in failures:
        by_outcome[failure.outcome.value] += failure.requests
        by_provider[failure.provider][failure.outcome.value] = failure.requests
    return {"by_outcome": _most_first(by_outcome), "by_provider": by_provider}


def _fallbacks(totals: UsageV1, fallbacks: Sequence[FallbackV1]) -> dict[str, Any]:
    by_reason: defaultdict[str, int] = defaultdict(int)
    for one in fallbacks:
        by_reason[one.reason.value] += one.requests
    return {
        "rate": round(totals.fallbacks / totals.succeeded, 4) if totals.succeeded else None,
        "by_reason": _most_first(by_reason),
        "from_to": [
            {
                "from": one.fallback_from,
                "to": one.target,
                "reason": one.reason.value,
                "requests": one.requests,
                "succeeded": one.succeeded,
            }
            for one in fallbacks
        ],
    }


def _most_first(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _forecast(forecast: UsageForecastV1) -> dict[str, Any]:
    return {
        "month_ends_at": forecast.month_ends_at.isoformat(),
        "charged_usd": format_usd(forecast.charged_usd_micros),
        "expected_usd": format_usd(forecast.expected_usd_micros),
        "low_usd": format_usd(forecast.low_usd_micros),
        "high_usd": format_usd(forecast.high_usd_micros),
        "days": forecast.days,
        "budgets": [_exhaustion(end) for end in forecast.budgets],
    }


def _exhaustion(end: ExhaustionV1) -> dict[str, Any]:
    return {
        "scope": end.scope,
        "key_id": end.key_id,
        "funds": end.funds.value,
        "unit": "usd" if end.unit == "usd_micros" else end.unit,
        "exhausted_at": end.at.replace(microsecond=0).isoformat(),
    }
