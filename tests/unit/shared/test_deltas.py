"""Joining and splitting changes how an answer travels, never what it says."""

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.deltas import PART_AT_MOST, encoded, is_text, parts
from shared.messages.chat import ContinuedV1, DeltaV1, ToolCallDeltaV1

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
MARK = ContinuedV1(provider="p", model="m", reason="timeout")


def add_up(deltas: list[DeltaV1]) -> tuple[str, dict[int, tuple[str, str, str]], tuple[str, ...]]:
    calls: dict[int, tuple[str, str, str]] = {}
    for call in (call for delta in deltas for call in delta.tool_calls):
        name, number, arguments = calls.get(call.index, ("", "", ""))
        calls[call.index] = name + (call.name or ""), number + (call.id or ""), arguments + call.arguments
    return "".join(one.text for one in deltas), calls, tuple(vector for one in deltas for vector in one.vectors)


@settings(max_examples=60, deadline=None)
@given(
    text=TEXT,
    arguments=st.lists(TEXT, max_size=3),
    vectors=st.lists(st.text("AB+/", max_size=12), max_size=3),
    times=st.sampled_from([1, 9_000, 40_000]),
    mark=st.sampled_from([None, MARK]),
)
def test_parts_are_small_and_say_the_same(
    text: str, arguments: list[str], vectors: list[str], times: int, mark: ContinuedV1 | None
) -> None:
    calls = tuple(
        ToolCallDeltaV1(index=index, id=f"c{index}", name="n", arguments=one * times)
        for index, one in enumerate(arguments)
    )
    whole = DeltaV1(text=text * times, tool_calls=calls, vectors=tuple(vectors) * 300, continued=mark)
    bodies = list(parts(whole))
    assert all(len(body) <= PART_AT_MOST for body in bodies)
    pieces = [DeltaV1.model_validate_json(body) for body in bodies]
    assert add_up(pieces) == add_up([whole])
    assert [piece.continued for piece in pieces] == [whole.continued] + [None] * (len(pieces) - 1)


def test_a_small_delta_is_one_part() -> None:
    assert list(parts(DeltaV1(text="Hi"))) == [b'{"text":"Hi"}']


def test_what_cannot_be_split_is_sent_whole() -> None:
    for whole in (DeltaV1(vectors=("A" * 400_000,)), DeltaV1(text="", continued=MARK)):
        assert [DeltaV1.model_validate_json(body) for body in parts(whole)] == [whole]


def test_only_text_may_be_joined() -> None:
    call = DeltaV1(tool_calls=(ToolCallDeltaV1(index=0, arguments="{"),))
    assert is_text(DeltaV1(text="a"))
    for other in (call, DeltaV1(text="b", continued=MARK), DeltaV1(vectors=("A",))):
        assert not is_text(other)
    assert b"null" not in encoded(call)
