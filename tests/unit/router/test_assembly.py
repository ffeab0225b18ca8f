"""Pieces of a streamed answer add up to it, and to nothing when it was truncated."""

from services.router.providers.assembly import Assembly
from services.router.providers.base import ChatAnswer, Failure
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
)
from shared.messages.router import TokensV1
from shared.messages.vocabulary import Outcome

TOLD = Told(TokensV1(input_tokens=3, output_tokens=2))


def end(*events: Event, clean: bool = True, lenient: bool = False) -> ChatAnswer | Failure:
    assembly = Assembly()
    for event in events:
        assembly.add(event)
    return assembly.end(clean=clean, lenient=lenient)


def test_text_usage_and_name() -> None:
    answer = end(Named("m-1", "id-1"), Text("Hel"), Text("lo"), Ended("stop"), TOLD, Done())
    assert isinstance(answer, ChatAnswer)
    assert (answer.text, answer.finish_reason, answer.response_model) == ("Hello", "stop", "m-1")
    assert (answer.tokens.input_tokens, answer.tokens.output_tokens) == (3, 2)
    assert answer.provider_request_id == "id-1"


def test_usage_comes_in_parts() -> None:
    answer = end(
        Told(TokensV1(input_tokens=3, cache_read_tokens=1)),
        Text("x"),
        Told(TokensV1(output_tokens=9), cost_usd_micros=12),
        Ended("stop"),
    )
    assert answer.tokens == TokensV1(input_tokens=3, output_tokens=9, cache_read_tokens=1)
    assert isinstance(answer, ChatAnswer)
    assert answer.provider_cost_usd_micros == 12


def test_tool_calls_by_index_and_whole() -> None:
    answer = end(
        ToolPiece(0, "call-a", "weather", '{"ci'),
        ToolPiece(1, "call-b", "time", "{}"),
        ToolPiece(0, arguments='ty":"Rome"}'),
        ToolPiece(None, None, "place", "{}"),
        Ended("stop"),
    )
    assert isinstance(answer, ChatAnswer)
    assert answer.finish_reason == "tool_calls"
    assert [(call.id, call.name, call.arguments) for call in answer.tool_calls] == [
        ("call-a", "weather", '{"city":"Rome"}'),
        ("call-b", "time", "{}"),
        ("call_2", "place", "{}"),
    ]


def test_truncated_is_never_a_success() -> None:
    for events, clean in (((Text("x"),), True), ((Text("x"),), False), ((), True), ((Text("x"), TOLD), True)):
        failure = end(*events, clean=clean)
        assert isinstance(failure, Failure)
        assert failure.outcome is Outcome.BAD_RESPONSE
        assert failure.tokens == TokensV1(), "what was told before a cut is not the final usage"


def test_an_end_in_every_piece_counts_only_when_the_stream_ends_well() -> None:
    pieces = (Text("x"), Ended("stop", firm=False), TOLD)
    assert isinstance(end(*pieces, clean=True), ChatAnswer)
    assert isinstance(end(*pieces, clean=False), Failure)
    assert isinstance(end(Text("x"), Ended("stop"), clean=False), ChatAnswer)


def test_a_lenient_host_may_leave_the_reason_out() -> None:
    answer = end(Text("x"), Done(), lenient=True)
    assert isinstance(answer, ChatAnswer)
    assert answer.finish_reason == "unknown"
    assert isinstance(end(Text("x"), Done()), Failure)
    assert isinstance(end(Text("x"), lenient=True), Failure)


def test_the_first_trouble_counts() -> None:
    failure = end(Text("x"), Broken(Outcome.RATE_LIMITED, "rate_limit", 429), Refused("refusal"), Ended("stop"), Done())
    assert isinstance(failure, Failure)
    assert (failure.outcome, failure.status, failure.detail) == (Outcome.RATE_LIMITED, 200, "rate_limit")
    refusal = end(Text("x"), Refused("refusal"), TOLD, Done())
    assert isinstance(refusal, Failure)
    assert (refusal.outcome, refusal.tokens.output_tokens) == (Outcome.CONTENT_POLICY, 2)


def test_a_thought_is_a_beginning_and_is_not_delivered() -> None:
    assembly = Assembly()
    assert not assembly.started
    assert assembly.add(Thinking()) is None
    assert assembly.started
    assert assembly.add(Text("")) is None
    assert assembly.add(Done()) is None
    assert assembly.is_over
