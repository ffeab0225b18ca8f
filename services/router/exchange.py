"""The exchange with a provider that an attempt is: its request out, its answer in, whole or as it comes."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext

from opentelemetry.trace import SpanKind

from services.router.careful import Careful
from services.router.client import ProviderClient
from services.router.cuts import Cuts
from services.router.job import Answer, Ticket
from services.router.providers.base import ChatAnswer, Failure
from services.router.sending import Limits, Streamed
from services.router.telling import Hearing
from shared import telemetry
from shared.bus import Bus
from shared.clock import Clock
from shared.messages.vocabulary import START_WITHIN_S, Outcome

_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}")
# Ahead of the promise by more than lies between the last look at the clock and the first byte.
START_S = START_WITHIN_S - 0.25


class Exchanges:
    """Makes exchanges; each is a span of its own."""

    def __init__(self, bus: Bus, clock: Clock, client: ProviderClient, cuts: Cuts) -> None:
        self._bus, self._clock, self._client, self._cuts = bus, clock, client, cuts

    async def make(self, ticket: Ticket, key: bytes, begun: Callable[[], None]) -> tuple[Answer | Failure, bool]:
        """What came of it, and whether a byte of the request may have reached the provider.

        ``begun`` is called when the first piece of a streamed answer is here.
        """
        target, job = ticket.candidate.target, ticket.job
        operation = "embeddings" if job.request.embedding is not None else "chat"
        attributes = {
            telemetry.OPERATION: operation,
            telemetry.PROVIDER: target.provider,
            telemetry.REQUEST_MODEL: target.model,
            telemetry.SERVER_ADDRESS: ticket.candidate.host,
            telemetry.ATTEMPT_ID: ticket.attempt_id,
            telemetry.CALL_ID: job.request.call_id,
        }
        ticket.sent_at = self._clock.monotonic()
        with self._bus.telemetry.span(f"{operation} {target.model}", SpanKind.CLIENT, attributes) as span:
            read, sent = await self._exchange(ticket, key, begun)
            if span.is_recording():
                span.set_attributes(_facts(read))
        return read, sent

    async def _exchange(self, ticket: Ticket, key: bytes, begun: Callable[[], None]) -> tuple[Answer | Failure, bool]:
        telling, careful = ticket.job.telling, Careful(ticket.decode, ticket.dialect, key.decode())
        dialect = careful.dialect if telling is not None else None
        hearing = None if telling is None or dialect is None else Hearing(dialect, telling, self._clock, begun)
        return await self._deliver(ticket, key, careful, hearing)

    async def _deliver(
        self, ticket: Ticket, key: bytes, careful: Careful[Answer], hearing: Hearing | None
    ) -> tuple[Answer | Failure, bool]:
        delivery = await self._client.exchange(
            ticket.entry.row.base_url,
            ticket.http,
            ticket.adapter.auth(key.decode()),
            self._limits(ticket),
            careful.decode,
            listener=hearing,
            using=self._using(ticket),
        )
        result = delivery.result
        if not isinstance(result, Streamed):
            return result, delivery.sent
        if hearing is None:
            return Failure(Outcome.BAD_RESPONSE, result.status, "unexpected_stream"), delivery.sent
        ticket.heard, ticket.first_s = True, hearing.first_s
        return hearing.end(result), delivery.sent

    @asynccontextmanager
    async def _using(self, ticket: Ticket) -> AsyncIterator[None]:
        """As long as the key lasts and the asker listens."""
        asker = ticket.job.asker
        async with (
            self._cuts.using(ticket.keyholder, ticket.candidate.key_id),
            asker.listening() if asker is not None else nullcontext(),
        ):
            yield

    def _limits(self, ticket: Ticket) -> Limits:
        limits = ticket.job.alias.time_limits
        return Limits(
            connect_s=limits.connect_s,
            first_byte_s=limits.last_first_byte_s if ticket.job.is_last else limits.first_byte_s,
            total_s=ticket.job.deadline - self._clock.monotonic(),
            silence_s=limits.silence_s,
            start_by=ticket.began + START_S,
        )


def _facts(read: Answer | Failure) -> dict[str, str | int]:
    outcome = read.outcome if isinstance(read, Failure) else Outcome.SUCCESS
    facts = {
        telemetry.OUTCOME: outcome.value,
        telemetry.INPUT_TOKENS: read.tokens.input_tokens,
        telemetry.OUTPUT_TOKENS: read.tokens.output_tokens,
        telemetry.ERROR_TYPE: None if outcome is Outcome.SUCCESS else outcome.value,
        telemetry.HTTP_STATUS: read.status if isinstance(read, Failure) else 200,
        telemetry.RESPONSE_MODEL: _model_of(read),
    }
    return {name: value for name, value in facts.items() if value is not None}


def _model_of(read: Answer | Failure) -> str | None:
    """The model a provider says it was, unless that could be anything else: it is the provider's text."""
    told = read.response_model if isinstance(read, ChatAnswer) else None
    return told if told is not None and _MODEL.fullmatch(told) else None
