"""One attempt at one target: reserve and lease together, send, decode, record. Whatever happens is accounted for."""

import asyncio
from contextlib import AbstractAsyncContextManager

from opentelemetry.trace import SpanKind

from services.router.catalogue import Catalogue
from services.router.client import ProviderClient
from services.router.cuts import Cuts, KeyEndedError
from services.router.domain import pricing
from services.router.domain.catalogue import DEFAULT_MAX_TOKENS
from services.router.domain.plan import Candidate
from services.router.job import Attempted, Job, Ticket, view_of
from services.router.keys import Leases, Wanted
from services.router.prices import price_of
from services.router.providers.base import (
    ChatAnswer,
    ChatRequest,
    Failure,
    Unfit,
    billing_of,
)
from services.router.sending import Limits
from services.router.settlements import Settlements
from services.router.verification import Verdicts
from shared import telemetry
from shared.bus import Bus
from shared.clock import Clock
from shared.errors import Code, OmniError, unavailable
from shared.messages.metering import Refusal, ReservationV1, ReserveV1
from shared.messages.router import CallFinishedV1
from shared.messages.vocabulary import START_WITHIN_S, Billing, Outcome

# A reservation outlives the longest time its attempt may take, so that only a dead router lets one expire.
HOLD_MARGIN_S = 30.0
RESERVE_TIMEOUT_S = 5.0
# With less time than this left nothing could come back, and yet it would have to be paid for.
SHORTEST_S = 0.05
# Ahead of the promise by more than lies between the last look at the clock and the first byte.
START_S = START_WITHIN_S - 0.25

_OF_REFUSAL = {
    Refusal.BUDGET_EXCEEDED: (Outcome.BUDGET_EXCEEDED, None),
    Refusal.UNPRICED: (Outcome.BUDGET_EXCEEDED, "model_without_price"),
    Refusal.KEY_BLOCKED: (Outcome.MISSING_KEY, "key_revoked"),
}
_OF_LEASE = {
    Code.MISSING_KEY: Outcome.INVALID_KEY,
    Code.NOT_FOUND: Outcome.MISSING_KEY,
    Code.CONFLICT: Outcome.INVALID_KEY,
    Code.UNSUPPORTED_SCOPE: Outcome.UNSUPPORTED_SCOPE,
}


class Attempts:
    """Makes attempts. Raises OmniError ``unavailable`` when vault or metering cannot answer: no provider is called."""

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        catalogue: Catalogue,
        leases: Leases,
        client: ProviderClient,
        settlements: Settlements,
        verdicts: Verdicts,
        cuts: Cuts,
    ) -> None:
        self._bus, self._clock, self._catalogue, self._cuts = bus, clock, catalogue, cuts
        self._leases, self._client, self._settlements, self._verdicts = leases, client, settlements, verdicts

    async def make(self, job: Job, candidate: Candidate, index: int) -> Attempted:
        """Try ``candidate``; ``index`` is its place among the call's attempts, from 0."""
        try:
            ticket = await self._ticket(job, candidate, index)
        except Unfit as unfit:
            return Attempted(view_of(candidate, Outcome.UNSUPPORTED_OPTION, detail=unfit.reason))
        try:
            async with self._using(ticket):
                reserved, leased = await asyncio.gather(
                    self._reserve(ticket), self._lease(ticket), return_exceptions=True
                )
        except KeyEndedError:
            return self._give_up(ticket, Outcome.MISSING_KEY, "key_revoked")
        except asyncio.CancelledError:
            # Whether it was granted nobody knows any more; that nothing was sent is certain.
            self._settlements.publish_soon(self._not_sent(ticket, Outcome.UNAVAILABLE))
            raise
        if isinstance(reserved, BaseException):
            # Metering may have committed before its answer was lost: this takes the hold back.
            self._settlements.publish_soon(self._not_sent(ticket, Outcome.UNAVAILABLE))
            raise reserved
        if not reserved.granted:
            return self._refused(ticket, reserved)
        if isinstance(leased, BaseException):
            return self._not_leased(ticket, leased)
        if job.deadline - self._clock.monotonic() < SHORTEST_S:
            return self._give_up(ticket, Outcome.TIMEOUT, "no_time_left")
        return await self._send(ticket, reserved, leased)

    async def _ticket(self, job: Job, candidate: Candidate, index: int) -> Ticket:
        entry = (await self._catalogue.entries())[candidate.target.provider]
        if entry.adapter is None or entry.offer.host != candidate.host:
            raise Unfit("provider_changed")
        model = entry.model(candidate.target.model)
        options = job.request.options
        if options.max_tokens is None:
            injected = model.default_max_tokens or min(
                DEFAULT_MAX_TOKENS, model.max_output_tokens or DEFAULT_MAX_TOKENS
            )
            options = options.model_copy(update={"max_tokens": injected})
        now = self._clock.now()
        price = price_of(candidate.target.provider, model, now)
        input_bound = pricing.upper_bound_tokens(job.request.messages)
        output_bound = options.max_tokens or DEFAULT_MAX_TOKENS
        return Ticket(
            job=job,
            candidate=candidate,
            index=index,
            entry=entry,
            adapter=entry.adapter,
            http=entry.adapter.chat.encode(ChatRequest(model.id, job.request.messages, options)),
            price=price,
            bound_usd_micros=pricing.bound(price, input_bound, output_bound),
            bound_tokens=input_bound + output_bound,
            began=self._clock.monotonic(),
            started_at=now,
        )

    async def _reserve(self, ticket: Ticket) -> ReservationV1:
        job, candidate = ticket.job, ticket.candidate
        request = ReserveV1(
            attempt_id=ticket.attempt_id,
            call_id=job.request.call_id,
            workspace_id=job.request.workspace_id,
            key_id=candidate.key_id,
            provider=candidate.target.provider,
            model=candidate.target.model,
            alias_name=job.alias.alias_name,
            capability=job.alias.capability,
            usd_micros=ticket.bound_usd_micros,
            tokens=ticket.bound_tokens,
            ttl_s=max(1.0, job.deadline - ticket.began) + HOLD_MARGIN_S,
            attempt_index=ticket.index,
            trace_id=telemetry.current_trace_id(),
        )
        return await self._bus.request(request, ReservationV1, timeout=RESERVE_TIMEOUT_S)

    async def _lease(self, ticket: Ticket) -> bytes:
        candidate, request = ticket.candidate, ticket.job.request
        # One lease of an unrestricted key serves every model, so that a busy key costs one round trip in half a minute.
        wanted = Wanted(
            workspace_id=request.workspace_id,
            key_id=candidate.key_id,
            version=candidate.key_version,
            host=candidate.host,
            scope=ticket.job.alias.modality,
            model=candidate.target.model if candidate.restricted else None,
            region=candidate.region if candidate.restricted else None,
        )
        return await self._leases.key(wanted)

    def _using(self, ticket: Ticket) -> AbstractAsyncContextManager[None]:
        return self._cuts.using(ticket.job.request.workspace_id, ticket.candidate.key_id)

    def _refused(self, ticket: Ticket, reservation: ReservationV1) -> Attempted:
        outcome, detail = _OF_REFUSAL[reservation.refusal or Refusal.BUDGET_EXCEEDED]
        candidate, budget = ticket.candidate, reservation.budget
        if outcome is Outcome.MISSING_KEY:
            self._leases.forget(candidate.key_id)
        if budget is not None and budget.blocked and budget.key_id == candidate.key_id:
            # There is no unblocking: the key has ended, whether the vault's announcement has arrived or not.
            self._cuts.end(ticket.job.request.workspace_id, candidate.key_id)
        return Attempted(view_of(candidate, outcome, detail=detail), budget=budget)

    def _not_leased(self, ticket: Ticket, error: BaseException) -> Attempted:
        if not isinstance(error, OmniError) or error.code not in _OF_LEASE:
            self._settlements.publish_soon(self._not_sent(ticket, Outcome.UNAVAILABLE))
            raise error if isinstance(error, OmniError) else unavailable("The vault did not answer.") from error
        restriction = next((name for name in ("model", "region") if name in error.extra), None)
        detail = restriction or str(error.extra.get("reason") or error.extra.get("scope") or "") or None
        return self._give_up(ticket, _OF_LEASE[error.code], detail)

    def _give_up(self, ticket: Ticket, outcome: Outcome, detail: str | None) -> Attempted:
        self._settlements.publish_soon(self._not_sent(ticket, outcome))
        return Attempted(view_of(ticket.candidate, outcome, detail=detail))

    async def _send(self, ticket: Ticket, reservation: ReservationV1, key: bytes) -> Attempted:
        result: ChatAnswer | Failure = Failure(Outcome.UNKNOWN)
        sent = True
        try:
            result, sent = await self._call(ticket, key)
        except BaseException:
            self._settlements.publish_soon(self._finished(ticket, result, sent=True))
            raise
        finished = self._finished(ticket, result, sent=sent)
        await self._settlements.publish(finished)
        view = view_of(
            ticket.candidate,
            finished.outcome,
            status=finished.status,
            latency_ms=finished.latency_ms or 0,
            detail=result.detail if isinstance(result, Failure) else None,
            retry_after_s=result.retry_after_s if isinstance(result, Failure) else None,
        )
        if _is_key_refused(finished, view.detail):
            candidate = ticket.candidate
            await self._verdicts.refused(ticket.job.request.workspace_id, candidate.key_id, candidate.key_version)
        return Attempted(view, result, finished.cost_usd_micros, reservation.near_cap)

    async def _call(self, ticket: Ticket, key: bytes) -> tuple[ChatAnswer | Failure, bool]:
        limits = ticket.job.alias.time_limits
        attributes = {
            telemetry.OPERATION: "chat",
            telemetry.PROVIDER: ticket.candidate.target.provider,
            telemetry.REQUEST_MODEL: ticket.candidate.target.model,
            telemetry.SERVER_ADDRESS: ticket.candidate.host,
            telemetry.ATTEMPT_ID: ticket.attempt_id,
            telemetry.CALL_ID: ticket.job.request.call_id,
        }
        with self._bus.telemetry.span(f"chat {ticket.candidate.target.model}", SpanKind.CLIENT, attributes) as span:
            delivery = await self._client.send(
                ticket.entry.row.base_url,
                ticket.http,
                ticket.adapter.auth(key.decode()),
                Limits(
                    connect_s=limits.connect_s,
                    first_byte_s=limits.last_first_byte_s if ticket.job.is_last else limits.first_byte_s,
                    total_s=ticket.job.deadline - self._clock.monotonic(),
                    silence_s=limits.silence_s,
                    start_by=ticket.began + START_S,
                ),
                self._using(ticket),
            )
            result = delivery.result
            read = result if isinstance(result, Failure) else ticket.adapter.chat.decode(result)
            outcome = read.outcome if isinstance(read, Failure) else Outcome.SUCCESS
            if span.is_recording():
                span.set_attributes(_facts(read, outcome))
        return read, delivery.sent

    def _finished(self, ticket: Ticket, result: ChatAnswer | Failure, *, sent: bool) -> CallFinishedV1:
        billing = billing_of(result, sent=sent)
        cost = pricing.cost(ticket.price, result.tokens) if billing is Billing.COST else None
        common = {
            "sent": sent,
            "billing": billing,
            "tokens": result.tokens,
            "cost_usd_micros": 0 if billing is Billing.NOTHING else cost,
            "provider_request_id": result.provider_request_id,
        }
        if isinstance(result, Failure):
            return self._event(ticket, outcome=result.outcome, status=result.status, **common)
        if result.provider_cost_usd_micros is not None:
            common["cost_usd_micros"] = result.provider_cost_usd_micros
        return self._event(ticket, outcome=Outcome.SUCCESS, status=200, finish_reason=result.finish_reason, **common)

    def _not_sent(self, ticket: Ticket, outcome: Outcome) -> CallFinishedV1:
        return self._event(ticket, sent=False, outcome=outcome, billing=Billing.NOTHING)

    def _event(self, ticket: Ticket, **fields: object) -> CallFinishedV1:
        job, candidate = ticket.job, ticket.candidate
        return CallFinishedV1.model_validate(
            {
                "attempt_id": ticket.attempt_id,
                "call_id": job.request.call_id,
                "workspace_id": job.request.workspace_id,
                "key_id": candidate.key_id,
                "provider": candidate.target.provider,
                "model": candidate.target.model,
                "alias_name": job.alias.alias_name,
                "capability": job.alias.capability,
                "attempt_index": ticket.index,
                "fallback_reason": job.fallback_reason,
                "latency_ms": round(1000 * (self._clock.monotonic() - ticket.began)),
                "started_at": ticket.started_at,
                "finished_at": self._clock.now(),
                "trace_id": telemetry.current_trace_id(),
                "price_version": ticket.price.version if ticket.price else None,
                **fields,
            }
        )


def _is_key_refused(finished: CallFinishedV1, detail: str | None) -> bool:
    # 403 and a missing scope may concern this model only, an error inside a 200 may be anything: neither ends the key.
    return finished.outcome is Outcome.INVALID_KEY and finished.status in (400, 401) and detail != "missing_scope"


def _facts(read: ChatAnswer | Failure, outcome: Outcome) -> dict[str, str | int]:
    facts = {
        telemetry.OUTCOME: outcome.value,
        telemetry.INPUT_TOKENS: read.tokens.input_tokens,
        telemetry.OUTPUT_TOKENS: read.tokens.output_tokens,
        telemetry.ERROR_TYPE: None if outcome is Outcome.SUCCESS else outcome.value,
        telemetry.HTTP_STATUS: read.status if isinstance(read, Failure) else 200,
        telemetry.RESPONSE_MODEL: read.response_model if isinstance(read, ChatAnswer) else None,
    }
    return {name: value for name, value in facts.items() if value is not None}
