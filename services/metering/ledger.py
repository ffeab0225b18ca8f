"""Group commit: reservations that arrive while a transaction runs share the next one, answered after its commit.

One hot budget row then costs one lock and one update per group instead of per call. The row locks decide between
replicas, so any number of them may run.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.metering import accounts
from services.metering.connection import BAD_DATA, Connection, Raw
from services.metering.domain.ledger import Account, Amounts, Ask, Decision, Owner, decide, near_cap, owners_of
from shared import logs
from shared.clock import Clock, month_of
from shared.errors import Code, OmniError, invalid, unavailable

MAX_GROUP = 256
PATIENCE_S = 2.5
"""Below the asker's own time limit: whoever has waited longer has gone, and a grant would only strand a hold."""

_KNOWN = "SELECT attempt_id, workspace_id, key_id, state FROM reservations WHERE attempt_id = ANY(%s::uuid[])"
_INSERT = """
    INSERT INTO reservations (attempt_id, call_id, workspace_id, key_id, provider, model, alias_name, capability,
        attempt_index, trace_id, usd_micros, tokens, expires_at, period_start, created_at)
    SELECT a.*, %s, %s FROM unnest(%s::uuid[], %s::text[], %s::bigint[], %s::uuid[], %s::text[], %s::text[], %s::text[],
        %s::text[], %s::integer[], %s::text[], %s::bigint[], %s::bigint[], %s::timestamptz[]) AS a
"""
_HOLD = """
    INSERT INTO budget_periods AS p (budget_id, period_start, held_usd_micros, held_tokens, held_requests)
    SELECT a.budget_id, %s, a.usd_micros, a.tokens, a.requests
    FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) AS a (budget_id, usd_micros, tokens, requests)
    ON CONFLICT (budget_id, period_start) DO UPDATE SET
        held_usd_micros = p.held_usd_micros + excluded.held_usd_micros,
        held_tokens = p.held_tokens + excluded.held_tokens,
        held_requests = p.held_requests + excluded.held_requests
"""
Verdict = Decision | OmniError


@dataclass(frozen=True, slots=True)
class _Waiting:
    ask: Ask
    since: float
    verdict: asyncio.Future[Decision]


class Ledger:
    """Admits reservations. ``reserve`` may be called by any number of tasks."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection, self._clock = connection, clock
        self._queue: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._log = logs.get()

    async def start(self) -> None:
        """Begin to serve."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Refuse whoever still waits, and end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._answer(self._queue, [unavailable("Metering is stopping; try again.")] * len(self._queue))
        self._queue = []
        await self._connection.close()

    async def reserve(self, ask: Ask) -> Decision:
        """Decide about ``ask``; committed when this returns.

        Raises OmniError: ``unavailable`` (the database is away; whether it is held is unknown), ``conflict`` (the
        attempt id is another's, or its attempt is over), ``invalid_request``.
        """
        verdict: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(ask, self._clock.monotonic(), verdict))
        self._wake.set()
        return await verdict

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            group, self._queue = self._queue[:MAX_GROUP], self._queue[MAX_GROUP:]
            if not self._queue:
                self._wake.clear()
            try:
                await self._serve(group)
            except asyncio.CancelledError:
                self._answer(group, [unavailable("Metering is stopping; try again.")] * len(group))
                raise

    async def _serve(self, group: list[_Waiting]) -> None:
        earliest = self._clock.monotonic() - PATIENCE_S
        late = [waiting for waiting in group if waiting.since < earliest]
        self._answer(late, [unavailable("Metering is too busy; try again shortly.")] * len(late))
        group = [waiting for waiting in group if waiting.since >= earliest and not waiting.verdict.done()]
        if group:
            self._answer(group, await self._verdicts([waiting.ask for waiting in group]))

    async def _verdicts(self, asks: Sequence[Ask]) -> Sequence[Verdict]:
        now = self._clock.now()
        try:
            return await self._connection.run(lambda raw: _admit(raw, asks, now))
        except OmniError as error:
            return [error] * len(asks)
        except BAD_DATA as error:
            if len(asks) > 1:
                # One of them is at fault: each alone, so that its neighbours are not refused with it.
                return [(await self._verdicts([ask]))[0] for ask in asks]
            self._log.warning("a reservation cannot be stored", exc=error)
            return [invalid("This reservation cannot be stored as it is written.")]
        except Exception as error:  # noqa: BLE001 - whatever it is, the askers must hear and the loop go on
            self._log.error("reservations failed", count=len(asks), exc=error)
            return [OmniError(Code.INTERNAL, "The ledger failed; nothing may be spent.")] * len(asks)

    def _answer(self, group: Sequence[_Waiting], verdicts: Sequence[Verdict]) -> None:
        for waiting, verdict in zip(group, verdicts, strict=True):
            if waiting.verdict.done():
                continue
            if isinstance(verdict, OmniError):
                waiting.verdict.set_exception(verdict)
            else:
                waiting.verdict.set_result(verdict)


async def _admit(raw: Raw, asks: Sequence[Ask], now: datetime) -> list[Verdict]:
    period = month_of(now).date()
    unique = {ask.attempt_id: ask for ask in reversed(asks)}
    owners = {owner for ask in asks for owner in owners_of(ask.workspace_id, ask.key_id)}
    async with raw.pipeline():
        await raw.execute("BEGIN")
        locked = await accounts.lock_accounts(raw, owners, period)
        # Read under the lock: the same attempt, asked of another replica a moment ago, is seen.
        known_rows = await raw.execute(_KNOWN, (list(unique),))
        standing = await locked.read()
        missing = {workspace for workspace, _ in standing if (workspace, None) not in standing}
        if missing:
            await accounts.create_workspaces(raw, missing)
            standing = await (await accounts.lock_accounts(raw, owners, period)).read()
        known = {row[0]: row for row in await known_rows.fetchall()}
        fresh = [unique[attempt] for attempt in dict.fromkeys(ask.attempt_id for ask in asks) if attempt not in known]
        decisions, holds = decide(fresh, standing)
        decided = {decision.attempt_id: decision for decision in decisions}
        if holds:
            await _insert(raw, [ask for ask in fresh if decided[ask.attempt_id].granted], now)
            await _hold(raw, {standing[owner].budget_id: amounts for owner, amounts in holds.items()}, now)
        await raw.execute("COMMIT")
    return [decided.get(ask.attempt_id) or _again(ask, known[ask.attempt_id], standing) for ask in asks]


def _again(ask: Ask, known: tuple[object, ...], standing: dict[Owner, Account]) -> Verdict:
    _, workspace_id, key_id, state = known
    if (workspace_id, key_id) != (ask.workspace_id, ask.key_id):
        return OmniError(Code.CONFLICT, "This attempt id is already used for another key.")
    if state != "held":
        # Its hold is gone, so the same yes again would let a call run unpaid.
        return OmniError(Code.CONFLICT, f"This attempt is already {state}; a new attempt needs a new id.")
    return Decision(ask.attempt_id, near_cap=near_cap(ask.workspace_id, ask.key_id, standing))


async def _insert(raw: Raw, asks: Sequence[Ask], now: datetime) -> None:
    rows = [
        (
            ask.attempt_id, ask.call_id, ask.workspace_id, ask.key_id, ask.provider, ask.model, ask.alias_name,
            ask.capability, ask.attempt_index, ask.trace_id, ask.usd_micros, ask.tokens,
            now + timedelta(seconds=ask.ttl_s),
        )
        for ask in asks
    ]  # fmt: skip
    columns = [list(column) for column in zip(*rows, strict=True)]
    await raw.execute(_INSERT, (month_of(now).date(), now, *columns))


async def _hold(raw: Raw, holds: dict[int, Amounts], now: datetime) -> None:
    rows = [(budget, amounts.usd_micros, amounts.tokens, amounts.requests) for budget, amounts in holds.items()]
    columns = [list(column) for column in zip(*rows, strict=True)]
    await raw.execute(_HOLD, (month_of(now).date(), *columns))
