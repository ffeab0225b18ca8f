"""One attempt at one target: admit, send, hear, record. Whatever happens is accounted for."""

from dataclasses import replace

from services.router.accounts import Accounts
from services.router.admission import Admission, Admitted
from services.router.breakers import Breakers, Trial
from services.router.domain.breaker import Rest
from services.router.domain.plan import Candidate
from services.router.exchange import Exchanges
from services.router.job import Answer, Attempted, Job, Ticket, view_of
from services.router.latencies import Latencies
from services.router.providers.base import Failure, Unfit
from services.router.verification import Verdicts
from shared import failpoints
from shared.clock import Clock
from shared.messages.router import CallFinishedV1
from shared.messages.vocabulary import Outcome


class Attempts:
    """Makes attempts. Raises OmniError ``unavailable`` when vault or metering cannot answer: no provider is called."""

    def __init__(
        self,
        clock: Clock,
        admission: Admission,
        exchanges: Exchanges,
        accounts: Accounts,
        verdicts: Verdicts,
        breakers: Breakers,
        latencies: Latencies,
    ) -> None:
        self._clock, self._admission, self._exchanges, self._accounts = clock, admission, exchanges, accounts
        self._verdicts, self._breakers, self._latencies = verdicts, breakers, latencies

    def resting(self, job: Job, candidate: Candidate) -> Rest | None:
        """Why ``candidate`` should be tried after all others at this moment; None: it need not."""
        target, holder = candidate.target, candidate.funds.keyholder(job.request.workspace_id)
        return self._breakers.resting(target.provider, target.model, holder, candidate.key_id)

    async def make(
        self, job: Job, candidate: Candidate, index: int, inputs: tuple[str, ...] | None = None
    ) -> Attempted:
        """Try ``candidate``. ``index``: its place among the call's attempts, from 0; ``inputs``: a batch to embed."""
        try:
            ticket = await self._admission.ticket(job, candidate, index, inputs)
        except Unfit as unfit:
            if job.resume is not None and job.prefill:
                job.prefill = False  # the begun answer may be all it cannot take: it may still be asked in words
                return await self.make(job, candidate, index, inputs)
            return Attempted(view_of(candidate, Outcome.UNSUPPORTED_OPTION, detail=unfit.reason))
        if ticket.prefilled and job.telling is not None:
            job.telling.prefilled()
        # Before anything is waited for: of calls that come together, one tries what has rested.
        trial = self._breakers.begin(ticket.keyholder, candidate)
        admitted = await self._admit(ticket, trial)
        failpoints.passing("router.admitted")
        return admitted if isinstance(admitted, Attempted) else await self._send(ticket, admitted, trial)

    async def _admit(self, ticket: Ticket, trial: Trial) -> Admitted | Attempted:
        admitted = None
        try:
            admitted = await self._admission.admit(ticket)
        finally:
            if not isinstance(admitted, Admitted):
                self._breakers.ended(trial, Outcome.CANCELLED)
        return admitted

    async def _send(self, ticket: Ticket, admitted: Admitted, trial: Trial) -> Attempted:
        result: Answer | Failure = Failure(Outcome.CANCELLED)
        sent = True
        trial = replace(trial, began=self._clock.monotonic())
        try:
            result, sent = await self._exchanges.make(ticket, admitted.key, lambda: self._breakers.answering(trial))
        except BaseException:
            self._accounts.finished_soon(ticket, Failure(Outcome.UNKNOWN), sent=True)
            raise
        finally:
            self._ended(trial, result, sent=sent)
        failpoints.passing("router.answered")
        finished = await self._accounts.finished(ticket, result, sent=sent)
        failure = result if isinstance(result, Failure) else None
        view = view_of(
            ticket.candidate,
            finished.outcome,
            status=finished.status,
            latency_ms=finished.latency_ms or 0,
            detail=failure.detail if failure else None,
            retry_after_s=failure.retry_after_s if failure else None,
        )
        await self._learn(ticket, finished, view.detail)
        return Attempted(
            view,
            result,
            finished.cost_usd_micros,
            admitted.reservation.near_cap,
            sent=sent,
            prefilled=ticket.prefilled,
            heard=ticket.heard,
        )

    def _ended(self, trial: Trial, result: Answer | Failure, *, sent: bool) -> None:
        if isinstance(result, Failure):
            self._breakers.ended(
                trial,
                result.outcome,
                status=result.status,
                retry_after_s=result.retry_after_s,
                sent=sent,
                detail=result.detail,
            )
        else:
            self._breakers.ended(trial, Outcome.SUCCESS)

    async def _learn(self, ticket: Ticket, finished: CallFinishedV1, detail: str | None) -> None:
        candidate, workspace_id = ticket.candidate, ticket.job.request.workspace_id
        if finished.outcome is Outcome.SUCCESS:
            taken = ticket.first_s if ticket.first_s is not None else self._clock.monotonic() - ticket.sent_at
            self._latencies.record(workspace_id, candidate.target.provider, candidate.target.model, 1000 * taken)
        if _is_key_refused(finished, detail):
            await self._verdicts.refused(ticket.keyholder, candidate.key_id, candidate.key_version)


def _is_key_refused(finished: CallFinishedV1, detail: str | None) -> bool:
    # 403 and a missing scope may concern this model only, an error inside a 200 may be anything: neither ends the key.
    return finished.outcome is Outcome.INVALID_KEY and finished.status in (400, 401) and detail != "missing_scope"
