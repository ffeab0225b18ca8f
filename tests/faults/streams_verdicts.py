"""Whether streams that were cut ended as they must: pure, from what each side has noted."""

import json
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, NamedTuple

from tests.faults.streams_client import Heard
from tests.faults.streams_plans import Plan
from tests.faults.streams_provider import Note

CLOSED_WITHIN_S = 1.0
SUCCESS = "success"
# What the client heard may end with.
_LAST = frozenset({"done", "error"})


class Row(NamedTuple):
    """One row of the call log."""

    attempt_id: str
    outcome: str
    billing: str
    provider_request_id: str | None
    output_tokens: int | None


@dataclass
class Call:
    """One call as everybody saw it: the client, the provider, the call log."""

    plan: Plan
    heard: Heard
    notes: list[Note] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    @property
    def last(self) -> tuple[str, dict[str, Any]]:
        """The last event; a failure with a status of its own counts as ``error``."""
        if self.heard.status == 200:
            return self.heard.events[-1] if self.heard.events else ("", {})
        return ("error", json.loads(self.heard.body)) if self.heard.ended else ("", {})

    @property
    def is_done(self) -> bool:
        """It was answered to the end."""
        return self.last[0] == "done"

    @property
    def was_cut(self) -> str:
        """Who cut it in fact: a client may find its answer complete before it leaves."""
        if self.heard.left is not None:
            return "client"
        return "provider" if any(note.cut for note in self.notes) else "neither"


def faults_of(calls: Sequence[Call]) -> list[str]:
    """Everything that is wrong."""
    return [
        f"call {call.plan.number} {call.plan.chain} {call.plan.policy}: {one}" for call in calls for one in _of(call)
    ]


def _of(call: Call) -> Iterator[str]:
    yield from _at_the_client(call)
    yield from _at_the_provider(call)
    yield from _in_the_log(call)


def _at_the_client(call: Call) -> Iterator[str]:
    plan, heard, (last, data) = call.plan, call.heard, call.last
    if heard.hung:
        yield f"hung for {heard.took_s:.1f} s"
    if last == "done" and not heard.text == data["output"]["text"] == plan.text:
        yield f"done with {data['output']['text']!r}, heard {heard.text!r}, instead of {plan.text!r}"
    if last != "done" and not plan.text.startswith(heard.text):
        yield f"heard {heard.text!r}, which is not how {plan.text!r} begins"
    if heard.left is None and not (heard.ended and last in _LAST):
        yield f"neither done nor told why not: status {heard.status}, ended {heard.ended}, last {last!r}"
    cuts = sum(note.cut is not None for note in call.notes)
    recoverable = cuts == 0 or (cuts == 1 and len(plan.chain) > 1 and plan.policy != "error")
    if heard.left is None and recoverable and last != "done":
        yield f"failed although it need not have: {data}"


def _at_the_provider(call: Call) -> Iterator[str]:
    if any(note.strays for note in call.notes):
        yield "asked to go on after something that is not the answer's beginning"
    left = call.heard.left
    if left is None:
        return
    for note in call.notes:
        after = (note.closed or note.done or inf) - left
        if max(after, note.received - left) > CLOSED_WITHIN_S:
            yield f"the provider was still asked or read {after:.1f} s after the client had left: {note}"


def closings(call: Call) -> list[float]:
    """Seconds from the client's leaving until each request that was then under way was closed."""
    left = call.heard.left
    if left is None:
        return []
    return [note.closed - left for note in call.notes if note.closed is not None and note.closed > left]


def _in_the_log(call: Call) -> Iterator[str]:
    ids = [row.attempt_id for row in call.rows]
    if len(ids) != len(set(ids)):
        yield "an attempt has two rows"
    if len(call.rows) < len(call.notes) or (len(call.rows) > len(call.notes) and not unseen(call)):
        yield f"{len(call.notes)} requests at the provider, {len(call.rows)} rows: {call.rows}"
    seen = {note.id: note for note in call.notes}
    named = [row.provider_request_id for row in call.rows if (row.provider_request_id or "").startswith("req-")]
    if len(named) != len(set(named)) or not set(named) <= set(seen):
        yield f"rows name the requests {named}, the provider has seen {list(seen)}"
    for row in call.rows:
        note = seen.get(row.provider_request_id or "")
        if row.outcome == SUCCESS and (note is None or note.written < note.enough):
            yield f"a success that the provider has not written: {note}"
        if row.outcome == SUCCESS and (row.billing == "cost") != (row.output_tokens is not None):
            yield f"a success of unknown usage that is charged as if it were known: {row}"
    successes = sum(row.outcome == SUCCESS for row in call.rows)
    if call.is_done and successes != 1:
        yield f"done with {successes} successes"


def unseen(call: Call) -> int:
    """Requests that were given up while they were on their way, because the client had left: they may be recorded."""
    return max(0, len(call.rows) - len(call.notes)) if call.heard.left is not None else 0


def summary(calls: Sequence[Call]) -> str:
    """The numbers, in a few lines."""
    sides = Counter(call.was_cut for call in calls)
    closed = sorted(after for call in calls for after in closings(call)) or [0.0]
    done = [call for call in calls if call.is_done]
    continued = sum(
        any(name == "continued" for name, _ in call.heard.events) for call in done if call.heard.status == 200
    )
    rows, requests = sum(len(call.rows) for call in calls), sum(len(call.notes) for call in calls)
    return (
        f"streams={len(calls)} cut_by_provider={sides['provider']} cut_by_client={sides['client']} "
        f"untouched={sides['neither']}\n"
        f"client left: closed_at_the_provider={len(closed)} closed_p50_ms={1000 * statistics.median(closed):.0f} "
        f"closed_max_ms={1000 * closed[-1]:.0f}\n"
        f"requests={requests} rows={rows} given_up_on_the_way={sum(map(unseen, calls))} "
        f"done={len(done)} of_them_continued={continued} "
        f"errors={sum(call.last[0] == 'error' for call in calls)}"
    )
