"""A streamed answer put together: what to deliver of each event, and what the whole amounts to in the end."""

from dataclasses import dataclass, field

from services.router.providers.base import UNTOLD, ChatAnswer, Failure
from services.router.providers.events import (
    Broken,
    Done,
    Ended,
    Event,
    Named,
    Refused,
    Text,
    Thinking,
    Told,
    ToolPiece,
    merged,
)
from services.router.providers.tool_calls import MOST_CALLS
from shared.messages.chat import DeltaV1, ToolCallDeltaV1, ToolCallV1
from shared.messages.router import TokensV1
from shared.messages.vocabulary import Outcome

CUT = "cut_answer"


@dataclass
class _Call:
    """A tool call so far."""

    number: int
    id: str
    name: str
    arguments: list[str] = field(default_factory=list)


class Assembly:
    """Adds up the events of one streamed answer. ``started``: something of it, be it a thought, has come."""

    def __init__(self) -> None:
        self.started = False
        self._text: list[str] = []
        self._calls: dict[int, _Call] = {}
        self._tokens: TokensV1 = UNTOLD
        self._cost: int | None = None
        self._named = Named()
        self._ended: Ended | None = None
        self._done = False
        self._trouble: Refused | Broken | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing that may still come can change the answer. What a refusal used is told after it."""
        return self._done or isinstance(self._trouble, Broken)

    def add(self, event: Event) -> DeltaV1 | None:
        """Take in ``event``; what of it is for the caller. Nothing is, once the answer has failed."""
        match event:
            case Text() | ToolPiece() if self._trouble is not None:
                pass
            case Text(text) if text:
                self.started = True
                self._text.append(text)
                return DeltaV1(text=text)
            case ToolPiece():
                self.started = True
                return self._piece(event)
            case Thinking():
                self.started = True
            case Ended():
                self._ended = event
                return self._without_arguments()
            case _:
                self._note(event)
        return None

    def _note(self, event: Event) -> None:
        match event:
            case Told(tokens, cost):
                self._tokens = merged(self._tokens, tokens)
                self._cost = self._cost if cost is None else cost
            case Named(model, id_):
                self._named = Named(model or self._named.model, id_ or self._named.id)
            case Refused() | Broken():
                self._trouble = self._trouble or event
            case Done():
                self._done = True

    def _piece(self, piece: ToolPiece) -> DeltaV1 | None:
        index = len(self._calls) if piece.index is None else piece.index
        call = self._calls.get(index)
        if call is None and len(self._calls) == MOST_CALLS:
            self._trouble = Broken(Outcome.BAD_RESPONSE, "bad_tool_call")
            return None
        if call is None:
            # A provider counts its blocks, texts among them; callers count tool calls.
            number = len(self._calls)
            call = self._calls[index] = _Call(number, piece.id or f"call_{number}", piece.name or "")
            opening = ToolCallDeltaV1(index=number, id=call.id, name=call.name, arguments=piece.arguments)
        else:
            opening = ToolCallDeltaV1(index=call.number, arguments=piece.arguments)
        call.arguments.append(piece.arguments)
        return DeltaV1(tool_calls=(opening,))

    def _without_arguments(self) -> DeltaV1 | None:
        # Some providers write nothing where a tool takes no arguments; to callers that is no JSON.
        silent = [call for call in self._calls.values() if not any(call.arguments)]
        for call in silent:
            call.arguments.append("{}")
        pieces = tuple(ToolCallDeltaV1(index=call.number, arguments="{}") for call in silent)
        return DeltaV1(tool_calls=pieces) if pieces else None

    def end(self, *, clean: bool, request_id: str | None = None, lenient: bool = False) -> ChatAnswer | Failure:
        """What it amounts to. ``clean``: the stream ended as HTTP wants; ``lenient``: a finish reason may be missing.

        Truncated, it is a failure whatever has come. The usage told before a cut is not the final one: unknown.
        """
        id_ = request_id or self._named.id
        match self._trouble:
            case Refused(detail, outcome):
                return Failure(outcome, 200, detail, tokens=self._tokens, provider_request_id=id_)
            case Broken(outcome, detail, status, retry_after_s, tokens):
                # Named before anything came it is an error answer like any other. What was begun may have to be paid.
                shown = 200 if self.started else status or 200
                return Failure(outcome, shown, detail, retry_after_s, tokens, provider_request_id=id_)
        finish = self._finish(clean=clean, lenient=lenient)
        if finish is None:
            detail = "unfinished" if clean or self._done else CUT
            return Failure(Outcome.BAD_RESPONSE, 200, detail, provider_request_id=id_)
        if not all(call.name for call in self._calls.values()):
            return Failure(Outcome.BAD_RESPONSE, 200, "bad_tool_call", tokens=self._tokens, provider_request_id=id_)
        calls = tuple(
            ToolCallV1(id=call.id, name=call.name, arguments="".join(call.arguments)) for call in self._calls.values()
        )
        return ChatAnswer(
            text="".join(self._text),
            finish_reason="tool_calls" if calls and finish in {"stop", "unknown"} else finish,
            tokens=self._tokens,
            response_model=self._named.model,
            provider_request_id=id_,
            provider_cost_usd_micros=self._cost,
            tool_calls=calls,
        )

    def _finish(self, *, clean: bool, lenient: bool) -> str | None:
        if self._ended is None:
            return "unknown" if lenient and self._done else None
        if self._ended.reason == "tool_calls" and not self._calls:
            return None
        return self._ended.reason if self._ended.firm or clean or self._done else None
