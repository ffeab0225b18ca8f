"""The record of how an attempt ended, for metering: what it cost, or why nothing is known or owed."""

from services.router.domain import pricing
from services.router.job import Answer, Ticket, settled
from services.router.providers.base import Failure, billing_of
from services.router.settlements import Settlements
from shared import telemetry
from shared.clock import Clock
from shared.messages.router import CallFinishedV1
from shared.messages.vocabulary import Billing, Outcome


class Accounts:
    """Accounts for attempts. Every ticket that was reserved is told of exactly once."""

    def __init__(self, settlements: Settlements, clock: Clock) -> None:
        self._settlements, self._clock = settlements, clock

    async def finished(self, ticket: Ticket, result: Answer | Failure, *, sent: bool) -> CallFinishedV1:
        """Record the end of an attempt; returns when it is stored, or on its way after a while."""
        event = self._of(ticket, result, sent=sent)
        await self._settlements.publish(event)
        return event

    def finished_soon(self, ticket: Ticket, result: Answer | Failure, *, sent: bool) -> None:
        """Like ``finished``, in the background."""
        self._settlements.publish_soon(self._of(ticket, result, sent=sent))

    def not_sent(self, ticket: Ticket, outcome: Outcome) -> None:
        """Nothing has reached the provider: give the reservation back, in the background."""
        self._settlements.publish_soon(self._event(ticket, sent=False, outcome=outcome, billing=Billing.NOTHING))

    def _of(self, ticket: Ticket, result: Answer | Failure, *, sent: bool) -> CallFinishedV1:
        billing = billing_of(result, sent=sent)
        tokens = settled(result.tokens, result)
        cost = pricing.cost(ticket.price, tokens) if billing is Billing.COST else None
        common = {
            "sent": sent,
            "billing": billing,
            "tokens": tokens,
            "cost_usd_micros": 0 if billing is Billing.NOTHING else cost,
            "provider_request_id": result.provider_request_id,
        }
        if isinstance(result, Failure):
            return self._event(ticket, outcome=result.outcome, status=result.status, **common)
        if result.provider_cost_usd_micros is not None:
            common["cost_usd_micros"] = result.provider_cost_usd_micros
        finish = getattr(result, "finish_reason", None)
        return self._event(ticket, outcome=Outcome.SUCCESS, status=200, finish_reason=finish, **common)

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
                "fallback_from": job.fallback_from,
                "first_token_ms": None if ticket.first_s is None else round(1000 * ticket.first_s),
                "latency_ms": round(1000 * (self._clock.monotonic() - ticket.began)),
                "started_at": ticket.started_at,
                "finished_at": self._clock.now(),
                "trace_id": telemetry.current_trace_id(),
                "price_version": ticket.price.version if ticket.price else None,
                "funds": candidate.funds,
                **fields,
            }
        )
