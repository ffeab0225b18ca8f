"""Settling finished calls: batches from the stream, each in one transaction, every message at most once in effect.

What cannot be settled goes to ``dead_letters`` in the same transaction, and its neighbours are not harmed.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from opentelemetry.trace import SpanKind
from psycopg import AsyncCursor
from psycopg.errors import SerializationFailure
from psycopg.rows import args_row, tuple_row

from services.metering import postings
from services.metering.connection import BAD_DATA, Connection, Raw
from services.metering.domain.intake import Malformed, read_finished
from services.metering.domain.settlement import LATE, Bar, Reservation, Settlement, State, Stray, settle
from shared import failpoints, logs
from shared.clock import Clock
from shared.messages.router import CallFinishedV1
from shared.records import Delivery
from shared.telemetry import Telemetry

BATCH = 1024
"""Calls in one transaction: what a transaction costs by itself is then nothing to each."""
MAX_DELIVERIES = 5
POISON = "poison: the database refuses it"
WRONG = (*BAD_DATA, postings.Drift)

_LOCK = postings.SELECT_RESERVATIONS + "attempt_id = ANY(%s::uuid[]) ORDER BY attempt_id FOR UPDATE"
_ENDED = "SELECT attempt_id, state FROM ended_attempts WHERE attempt_id = ANY(%s::uuid[])"
_BAR_COLUMNS = (
    "attempt_id", "call_id", "workspace_id", "key_id", "provider", "model", "alias_name", "capability",
    "attempt_index", "trace_id", "usd_micros", "tokens", "state", "period_start", "created_at",
)  # fmt: skip
_BAR = f"""
    INSERT INTO reservations ({", ".join(_BAR_COLUMNS)}, expires_at, finished_at)
    VALUES ({", ".join(["%s"] * (len(_BAR_COLUMNS) + 2))}) ON CONFLICT DO NOTHING
"""  # noqa: S608 - the names are this module's own
_BURY = """
    INSERT INTO dead_letters AS d (received_at, subject, reason, attempt_id, body, fingerprint, delivered)
    SELECT %s, %s, a.* FROM unnest(%s::text[], %s::uuid[], %s::bytea[], %s::bytea[], %s::integer[]) AS a
    ORDER BY 6
    ON CONFLICT (fingerprint) DO UPDATE SET delivered = greatest(d.delivered, excluded.delivered)
"""


@dataclass(frozen=True, slots=True)
class _Letter:
    """A message nobody can act on by program. The fingerprint makes its repetitions one row."""

    reason: str
    attempt_id: UUID | None
    body: bytes
    delivered: int

    @property
    def fingerprint(self) -> bytes:
        what = self.attempt_id.bytes if self.attempt_id else self.body
        return hashlib.sha256(self.reason.encode() + b"\0" + what).digest()


_Facts = dict[UUID, tuple[CallFinishedV1, Delivery]]


class Settler:
    """The handler of the call stream."""

    def __init__(self, connection: Connection, clock: Clock, telemetry: Telemetry) -> None:
        self._connection, self._clock, self._telemetry = connection, clock, telemetry
        self._log = logs.get()

    async def settle(self, deliveries: Sequence[Delivery]) -> None:
        """Settle a batch; committed when this returns, so it may be acknowledged.

        Raises OmniError ``unavailable`` (nothing was settled), or what went wrong with a message that the ledger
        refuses and that has not come often enough to be buried: then all of the batch may come again.
        """
        with ExitStack() as spans:
            for delivery in deliveries if self._telemetry.makes_spans else ():
                spans.enter_context(
                    self._telemetry.received("CallFinishedV1 settle", delivery.traceparent, SpanKind.CONSUMER)
                )
            failure = await self._settle_apart(deliveries)
            if failure is not None:
                raise failure

    async def _settle_apart(self, deliveries: Sequence[Delivery]) -> Exception | None:
        """Halve until whoever is at fault is alone; what went wrong with one that may come again."""
        try:
            await self._settle_together(deliveries)
        except WRONG as error:
            if len(deliveries) > 1:
                middle = len(deliveries) // 2
                failures = [await self._settle_apart(half) for half in (deliveries[:middle], deliveries[middle:])]
                return failures[0] or failures[1]
            (delivery,) = deliveries
            if delivery.deliveries < MAX_DELIVERIES:
                return error
            await self._bury_alone(_Letter(POISON, None, delivery.body, delivery.deliveries))
        return None

    async def _settle_together(self, deliveries: Sequence[Delivery]) -> None:
        facts, malformed = _read(deliveries)
        now = self._clock.now()
        buried = await self._connection.run(lambda raw: _transact(raw, facts, malformed, now))
        if buried:
            self._log.warning("events went to the dead letters", subject=CallFinishedV1.subject, count=buried)

    async def _bury_alone(self, letter: _Letter) -> None:
        now = self._clock.now()
        await self._connection.run(lambda raw: _bury(raw, [letter], now))

    async def close(self) -> None:
        """Drop the connection."""
        await self._connection.close()


def _read(deliveries: Sequence[Delivery]) -> tuple[_Facts, list[_Letter]]:
    facts: _Facts = {}
    malformed = []
    for delivery in deliveries:
        try:
            event = read_finished(delivery.body)
        except Malformed as error:
            malformed.append(_Letter(error.reason, None, delivery.body, delivery.deliveries))
        else:
            facts.setdefault(UUID(event.attempt_id), (event, delivery))
    return facts, malformed


async def _transact(raw: Raw, facts: _Facts, malformed: Sequence[_Letter], now: datetime) -> int:
    async with raw.pipeline():
        await raw.execute("BEGIN")
        reading = await _lock(raw, facts)
        held = {reservation.attempt_id: reservation for reservation in await reading.fetchall()}
    letters, ends = list(malformed), await _ends(raw, {attempt: event for attempt, (event, _) in facts.items()}, held)
    for attempt, end in ends.items():
        if isinstance(end, Stray):
            delivery = facts[attempt][1]
            letters.append(_Letter(end.reason, attempt, delivery.body, delivery.deliveries))
    await _bar(raw, [end.reservation for end in ends.values() if isinstance(end, Bar)], now)
    await _bury(raw, letters, now)
    await postings.post(raw, [end for end in ends.values() if isinstance(end, Settlement)], now)
    failpoints.passing("metering.settle.commit")
    await raw.execute("COMMIT")
    failpoints.passing("metering.settle.committed")
    return len(letters)


async def settle_one(raw: Raw, event: CallFinishedV1, now: datetime) -> Settlement | Bar | Stray | None:
    """Settle one fact in the caller's transaction; what became of it (None: a repetition). Raises ``WRONG``."""
    attempt = UUID(event.attempt_id)
    held = {reservation.attempt_id: reservation for reservation in await (await _lock(raw, [attempt])).fetchall()}
    end = (await _ends(raw, {attempt: event}, held))[attempt]
    if isinstance(end, Bar):
        await _bar(raw, [end.reservation], now)
    elif isinstance(end, Settlement):
        await postings.post(raw, [end], now)
    return end


async def _lock(raw: Raw, attempts: Iterable[UUID]) -> AsyncCursor[Reservation]:
    cursor = raw.cursor(row_factory=args_row(Reservation))
    await cursor.execute(_LOCK, (postings.array(attempts),))
    return cursor


async def _ends(
    raw: Raw, events: Mapping[UUID, CallFinishedV1], held: Mapping[UUID, Reservation]
) -> dict[UUID, Settlement | Bar | Stray | None]:
    ended = await _ended(raw, [attempt for attempt in events if attempt not in held])
    return {
        attempt: _after_purge(ended[attempt]) if attempt in ended else settle(held.get(attempt), event)
        for attempt, event in events.items()
    }


def _after_purge(state: str) -> Stray | None:
    return Stray(f"{LATE} {state}") if state == State.EXPIRED else None


async def _ended(raw: Raw, attempts: Sequence[UUID]) -> dict[UUID, str]:
    """Attempts whose reservations have been purged, and how they ended."""
    if not attempts:
        return {}
    cursor = raw.cursor(row_factory=tuple_row)
    await cursor.execute(_ENDED, (list(attempts),))
    return {attempt: state for attempt, state in await cursor.fetchall()}  # noqa: C416 - rows are tuples of anything


async def _bar(raw: Raw, given_up: Sequence[Reservation], now: datetime) -> None:
    for reservation in given_up:
        values = [getattr(reservation, name) for name in _BAR_COLUMNS]
        if (await raw.execute(_BAR, (*values, now, now))).rowcount != 1:
            # It was granted after we looked. Looking again finds it held.
            raise SerializationFailure


async def _bury(raw: Raw, letters: Sequence[_Letter], now: datetime) -> None:
    # Two equal letters in one statement would be one row updated twice, which PostgreSQL refuses.
    rows = list({letter.fingerprint: letter for letter in letters}.values())
    if not rows:
        return
    columns = (
        [row.reason for row in rows],
        [row.attempt_id for row in rows],
        [row.body for row in rows],
        [row.fingerprint for row in rows],
        [row.delivered for row in rows],
    )
    await raw.execute(_BURY, (now, CallFinishedV1.subject, *columns))
