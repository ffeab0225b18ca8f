"""Before an attempt: the request it would send and what it can cost at most; then the reservation and the key."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial

from services.router.accounts import Accounts
from services.router.catalogue import Catalogue, Entry
from services.router.cuts import Cuts, KeyEndedError
from services.router.domain import pricing
from services.router.domain.catalogue import DEFAULT_MAX_TOKENS
from services.router.domain.credits import CREDITS_OFF, NO_CREDITS
from services.router.domain.plan import Candidate
from services.router.domain.wish import options_for
from services.router.job import Attempted, Job, Ticket, view_of
from services.router.keys import Leases, Wanted
from services.router.prices import price_of
from services.router.providers.base import (
    Adapter,
    Ceiling,
    ChatRequest,
    Dialect,
    EmbedAnswer,
    EmbedRequest,
    Failure,
    HttpAnswer,
    Unfit,
)
from services.router.reserving import SHORTEST_S, Reservations
from services.router.resuming import resumed
from services.router.sending import GONE
from shared.bus import Bus
from shared.clock import Clock
from shared.errors import Code, OmniError, unavailable
from shared.messages.catalogue import ModelV1
from shared.messages.metering import Refusal, ReservationV1
from shared.messages.vocabulary import Capability, Outcome
from shared.streams import AskerGoneError

# A lease taken while the reservation waited longer than this is taken anew.
OLD_LEASE_S = 1.0

_OF_REFUSAL = {
    Refusal.BUDGET_EXCEEDED: (Outcome.BUDGET_EXCEEDED, None),
    Refusal.UNPRICED: (Outcome.BUDGET_EXCEEDED, "model_without_price"),
    Refusal.KEY_BLOCKED: (Outcome.MISSING_KEY, "key_revoked"),
    Refusal.HALTED: (Outcome.BUDGET_EXCEEDED, "halted"),
    Refusal.NO_CREDITS: (Outcome.BUDGET_EXCEEDED, NO_CREDITS),
    Refusal.CREDITS_OFF: (Outcome.BUDGET_EXCEEDED, CREDITS_OFF),
}
_OF_LEASE = {
    Code.MISSING_KEY: Outcome.INVALID_KEY,
    Code.NOT_FOUND: Outcome.MISSING_KEY,
    Code.CONFLICT: Outcome.INVALID_KEY,
    Code.UNSUPPORTED_SCOPE: Outcome.UNSUPPORTED_SCOPE,
}


@dataclass(frozen=True)
class Admitted:
    """The attempt may be made: it is paid for and this is its key."""

    reservation: ReservationV1
    key: bytes = field(repr=False)


@dataclass(frozen=True)
class _Place:
    """Where an attempt stands."""

    job: Job
    candidate: Candidate
    index: int
    entry: Entry
    adapter: Adapter

    @property
    def model(self) -> ModelV1:
        return self.entry.model(self.candidate.target.model)


class Admission:
    """Admits attempts. Raises OmniError ``unavailable`` when vault or metering cannot answer: nothing is then sent."""

    def __init__(
        self, bus: Bus, clock: Clock, catalogue: Catalogue, leases: Leases, accounts: Accounts, cuts: Cuts
    ) -> None:
        self._clock, self._catalogue, self._reservations = clock, catalogue, Reservations(bus, clock)
        self._leases, self._accounts, self._cuts = leases, accounts, cuts

    async def ticket(self, job: Job, candidate: Candidate, index: int, inputs: tuple[str, ...] | None = None) -> Ticket:
        """The attempt as it would be made; nobody is asked anything. ``inputs``: the texts of this batch to embed.

        Raises:
            Unfit: the target cannot take this request.
        """
        entry = (await self._catalogue.entries())[candidate.target.provider]
        if entry.adapter is None or entry.offer.host != candidate.host:
            raise Unfit("provider_changed")
        place = _Place(job, candidate, index, entry, entry.adapter)
        asked = job.request.embedding
        return self._chat(place) if asked is None else self._embedding(place, inputs or asked.inputs, asked.dimensions)

    def _chat(self, place: _Place) -> Ticket:
        job, candidate, adapter, model = place.job, place.candidate, place.adapter, place.model
        own = adapter.completion if candidate.way is Capability.COMPLETION else None
        dialect = own or adapter.chat
        question = _question(job, candidate, model, dialect)
        now = self._clock.now()
        price = price_of(candidate.target.provider, model, now)
        input_bound = pricing.upper_bound_tokens(question.messages, question.options, model)
        question = replace(question, ceiling=_ceiling(price, input_bound))
        output_bound = question.options.max_tokens or DEFAULT_MAX_TOKENS
        return Ticket(
            job=job,
            candidate=candidate,
            index=place.index,
            entry=place.entry,
            adapter=adapter,
            http=dialect.encode(question),
            decode=dialect.decode,
            dialect=dialect,
            price=price,
            bound_usd_micros=pricing.bound(price, input_bound, output_bound),
            bound_tokens=input_bound + output_bound,
            began=self._clock.monotonic(),
            started_at=now,
            prefilled=question.continues,
        )

    def _embedding(self, place: _Place, inputs: tuple[str, ...], dimensions: int | None) -> Ticket:
        candidate, embedding, model = place.candidate, place.adapter.embedding, place.model
        if embedding is None:
            raise Unfit("embedding")
        now = self._clock.now()
        price = price_of(candidate.target.provider, model, now)
        bound_tokens = pricing.embedding_bound_tokens(inputs)
        return Ticket(
            job=place.job,
            candidate=candidate,
            index=place.index,
            entry=place.entry,
            adapter=place.adapter,
            http=embedding.encode(EmbedRequest(model.id, inputs, dimensions)),
            decode=partial(_all_of, len(inputs), embedding.decode),
            dialect=None,
            price=price,
            bound_usd_micros=pricing.embedding_bound(price, bound_tokens),
            bound_tokens=bound_tokens,
            began=self._clock.monotonic(),
            started_at=now,
        )

    async def admit(self, ticket: Ticket) -> Admitted | Attempted:
        """Reserve and lease, together; how the attempt ended when it may not be made.

        Waits for calls under way when only they stand against it; whoever gives up the attempt ends the waiting.
        """
        asked = self._clock.monotonic()
        try:
            async with self._using(ticket), _while_asked(ticket):
                reserved, leased = await self._reserved_and_leased(ticket)
                if ticket.began - asked > OLD_LEASE_S and isinstance(reserved, ReservationV1) and reserved.granted:
                    (leased,) = await asyncio.gather(self._leases.key(_wanted(ticket)), return_exceptions=True)
        except KeyEndedError:
            return self._give_up(ticket, Outcome.MISSING_KEY, "key_revoked")
        except AskerGoneError:
            return self._give_up(ticket, Outcome.CANCELLED, GONE.detail)
        except asyncio.CancelledError:
            # Whether it was granted nobody knows any more; that nothing was sent is certain.
            self._accounts.not_sent(ticket, Outcome.UNAVAILABLE)
            raise
        if isinstance(reserved, BaseException):
            # Metering may have committed before its answer was lost: this takes the hold back.
            self._accounts.not_sent(ticket, Outcome.UNAVAILABLE)
            raise reserved
        if not reserved.granted:
            return self._refused(ticket, reserved)
        if isinstance(leased, BaseException):
            return self._not_leased(ticket, leased)
        if ticket.job.deadline - self._clock.monotonic() < SHORTEST_S:
            return self._give_up(ticket, Outcome.TIMEOUT, "no_time_left")
        return Admitted(reserved, leased)

    async def _reserved_and_leased(self, ticket: Ticket) -> tuple[ReservationV1 | BaseException, bytes | BaseException]:
        wanted = _wanted(ticket)
        leased = self._leases.at_hand(wanted)
        if leased is None:
            return await asyncio.gather(
                self._reservations.reserve(ticket), self._leases.key(wanted), return_exceptions=True
            )
        # As nearly always: two tasks would cost more than asking does.
        try:
            return await self._reservations.reserve(ticket), leased
        except Exception as error:  # noqa: BLE001 - the caller looks at it as it would at the other way's
            return error, leased

    def _using(self, ticket: Ticket) -> AbstractAsyncContextManager[None]:
        return self._cuts.using(ticket.keyholder, ticket.candidate.key_id)

    def _refused(self, ticket: Ticket, reservation: ReservationV1) -> Attempted:
        outcome, detail = _OF_REFUSAL[reservation.refusal or Refusal.BUDGET_EXCEEDED]
        candidate, budget = ticket.candidate, reservation.budget
        if outcome is Outcome.MISSING_KEY:
            self._leases.forget(candidate.key_id)
        if budget is not None and budget.blocked and budget.key_id == candidate.key_id:
            # There is no unblocking: the key has ended, whether the vault's announcement has arrived or not.
            self._cuts.end(ticket.keyholder, candidate.key_id)
        # What a key of the platform has spent is made up of everybody's calls.
        is_theirs = budget is not None and budget.workspace_id == ticket.job.request.workspace_id
        return Attempted(view_of(candidate, outcome, detail=detail), budget=budget if is_theirs else None)

    def _not_leased(self, ticket: Ticket, error: BaseException) -> Attempted:
        if not isinstance(error, OmniError) or error.code not in _OF_LEASE:
            self._accounts.not_sent(ticket, Outcome.UNAVAILABLE)
            raise error if isinstance(error, OmniError) else unavailable("The vault did not answer.") from error
        restriction = next((name for name in ("model", "region") if name in error.extra), None)
        detail = restriction or str(error.extra.get("reason") or error.extra.get("scope") or "") or None
        return self._give_up(ticket, _OF_LEASE[error.code], detail)

    def _give_up(self, ticket: Ticket, outcome: Outcome, detail: str | None) -> Attempted:
        self._accounts.not_sent(ticket, outcome)
        return Attempted(view_of(ticket.candidate, outcome, detail=detail))


def _wanted(ticket: Ticket) -> Wanted:
    candidate = ticket.candidate
    # One lease of an unrestricted key serves every model, so that a busy key costs one round trip in half a minute.
    return Wanted(
        workspace_id=ticket.job.request.workspace_id,
        key_id=candidate.key_id,
        version=candidate.key_version,
        host=candidate.host,
        scope=ticket.job.alias.modality,
        model=candidate.target.model if candidate.restricted else None,
        region=candidate.region if candidate.restricted else None,
        funds=candidate.funds,
    )


def _while_asked(ticket: Ticket) -> AbstractAsyncContextManager[None]:
    asker = ticket.job.asker
    return nullcontext() if asker is None else asker.listening()


def _all_of(
    count: int, decode: Callable[[HttpAnswer], EmbedAnswer | Failure], answer: HttpAnswer
) -> EmbedAnswer | Failure:
    read = decode(answer)
    if isinstance(read, Failure) or len(read.vectors) == count:
        return read
    return Failure(Outcome.BAD_RESPONSE, answer.status, "missing_vectors", tokens=read.tokens)


def _ceiling(price: pricing.Price | None, input_bound: int) -> Ceiling | None:
    if price is None or price.input is None or price.output is None:
        return None
    return Ceiling(price.input.highest(input_bound), price.output.highest(input_bound))


def _question(job: Job, candidate: Candidate, model: ModelV1, dialect: Dialect) -> ChatRequest:
    options = options_for(job.request.options, candidate.target.provider, model)
    question = ChatRequest(model.id, job.request.messages, options, stream=job.telling is not None)
    if job.resume is None:
        return question
    return resumed(question, job.resume, model, dialect, prefill=job.prefill)
