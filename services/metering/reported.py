"""From what the rollups say to the published report."""

from collections.abc import Sequence

from services.metering.domain.forecast import Exhaustion, Forecast
from services.metering.domain.latency import quantiles
from services.metering.domain.usage import Counters, total
from services.metering.reports import Report
from shared.messages.metering import BudgetV1
from shared.messages.usage import (
    ExhaustionV1,
    FailureV1,
    FallbackV1,
    UsageForecastV1,
    UsageGroupV1,
    UsageReportV1,
    UsageV1,
)
from shared.messages.vocabulary import Outcome


def usage_report(report: Report, forecast: Forecast, budgets: Sequence[BudgetV1]) -> UsageReportV1:
    """The report as it is published."""
    return UsageReportV1(
        totals=UsageV1.model_validate(_sums(total(counters for _, counters in report.groups))),
        groups=tuple(
            UsageGroupV1.model_validate({"group": name, **_sums(counters)})
            for name, counters in report.groups
            if name is not None
        ),
        budgets=tuple(budgets),
        failures=tuple(
            FailureV1(provider=provider, outcome=Outcome(outcome), requests=requests)
            for provider, outcome, requests in report.failures
        ),
        fallbacks=tuple(
            FallbackV1(
                fallback_from=first or None,
                target=target,
                reason=Outcome(reason),
                requests=requests,
                succeeded=succeeded,
            )
            for first, target, reason, requests, succeeded in report.fallbacks
        ),
        forecast=_forecast(forecast),
    )


def _sums(counters: Counters) -> dict[str, object]:
    histograms = {
        "latency_ms": quantiles(counters.latency_histogram).published(),
        "first_token_ms": quantiles(counters.first_token_histogram).published(),
    }
    plain = {name: value for name, value in counters._asdict().items() if not name.endswith("histogram")}
    return plain | histograms


def _forecast(forecast: Forecast) -> UsageForecastV1:
    return UsageForecastV1(
        month_ends_at=forecast.month_ends_at,
        charged_usd_micros=forecast.charged,
        expected_usd_micros=forecast.expected,
        low_usd_micros=forecast.low,
        high_usd_micros=forecast.high,
        days=forecast.days,
        budgets=tuple(map(_exhaustion, forecast.budgets)),
    )


def _exhaustion(end: Exhaustion) -> ExhaustionV1:
    account = end.account
    return ExhaustionV1(
        scope="workspace" if account.key_id is None else "key",
        key_id=None if account.key_id is None else str(account.key_id),
        funds=account.funds,
        unit=end.unit,
        at=end.at,
    )
