"""``omnipost usage``: what was used, day by day and by whom, and how full the budgets are."""

import time
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Annotated, Any

import typer
from rich.text import Text

from omnipost.cli.drawing import bar, colour, count, instant, number, seconds, share_of, spark, usd
from omnipost.cli.session import Session, command
from omnipost.shapes import Budget, Usage

_UNITS = ("usd", "tokens", "requests")


def register(root: typer.Typer) -> None:
    """Add ``usage`` to the command line."""
    command(root, "usage")(usage)


def usage(
    session: Session,
    days: Annotated[int, typer.Option(min=1, max=366, help="How many days, today included.")] = 30,
    by: Annotated[str, typer.Option(help="provider, alias, model, key, capability or outcome.")] = "alias",
) -> None:
    """Totals, a line of the days, groups, and budgets as bars. --json: one object, ``days`` beside the API's report."""
    since = today() - timedelta(days=days - 1)
    report = session.client.usage.report(since=since.isoformat(), group_by=by)
    daily = session.client.usage.report(since=since.isoformat(), group_by="day")["groups"]
    if session.out.as_json:
        session.out.value({**report, "days": daily})
        return
    _totals(session, report, since, days)
    _days(session, daily, since, days)
    session.out.line()
    session.out.table(
        (by.upper(), ">REQUESTS", ">FAILED", ">TOKENS IN", ">TOKENS OUT", ">COST", ">CHARGED", ">P95"),
        (_group(by, group) for group in report["groups"]),
    )
    session.out.line()
    for line in filter(None, map(_budget, _units(report["budgets"]))):
        session.out.line(*line)


def today() -> date:
    """Today, where the ledger is: in UTC."""
    # The clock of whoever asks is the only one there is here; nothing but a query's first day depends on it.
    now = time.gmtime()
    return date(now.tm_year, now.tm_mon, now.tm_mday)


def _totals(session: Session, report: Usage, since: date, days: int) -> None:
    totals = report["totals"]
    session.out.line(
        Text(f"{count(totals['requests'])} requests", "bold"),
        f" in {days} days from {since}: {count(totals['failed'])} failed, {count(totals['fallbacks'])} fallbacks,"
        f" {count(totals['input_tokens'])} → {count(totals['output_tokens'])} tokens,"
        f" {usd(totals['charged_usd'])} charged",
    )
    if forecast := report["forecast"]:
        expected = forecast["expected_usd"]
        session.out.line(
            f"this month: {usd(forecast['charged_usd'])} so far" + (f", {usd(expected)} expected" if expected else "")
        )


def _days(session: Session, groups: list[dict[str, Any]], since: date, days: int) -> None:
    by_day = {str(group["day"])[:10]: group for group in groups}
    every = [by_day.get((since + timedelta(days=place)).isoformat(), {}) for place in range(days)]
    for name, title in (("requests", "requests"), ("charged_usd", "charged ")):
        line = spark([float(number(group.get(name)) or 0) for group in every])
        session.out.line(f"{title}  ", Text(line, "cyan"))


def _group(by: str, group: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        str(group[by]),
        count(group["requests"]),
        count(group["failed"]),
        count(group["input_tokens"]),
        count(group["output_tokens"]),
        usd(group["cost_usd"]),
        usd(group["charged_usd"]),
        seconds(group["latency_ms"]["p95"]) if group["latency_ms"] else "?",
    )


def _units(budgets: list[Budget]) -> Iterator[tuple[Mapping[str, Any], str]]:
    return ((budget, unit) for budget in budgets for unit in _UNITS)


def _budget(limit: tuple[Mapping[str, Any], str]) -> tuple[str | Text, ...] | None:
    budget, unit = limit
    cap, spent = budget[f"cap_{unit}"], budget[f"spent_{unit}"]
    share = share_of(spent, cap)
    if share is None:
        return None
    whose = f"key {budget['key_id'][:8]}" if budget["key_id"] else "workspace"
    funds = "" if budget["funds"] == "own" else " (credits)"
    amount = f"{usd(spent)} of {usd(cap)}" if unit == "usd" else f"{count(spent)} of {count(cap)} {unit}"
    halted = Text("  halted: omnipost budgets resume", "red") if budget["halted"] else Text("")
    return (
        f"{whose + funds:<22} {budget['period']:<6}",
        Text(bar(share), colour(share)),
        Text(f" {share:>5.0%} ", colour(share)),
        f"{amount}, anew {instant(budget['resets_at'])}",
        halted,
    )
