"""What is stored of a call: all of it where it fits, and never more than that."""

from hypothesis import given, settings
from hypothesis import strategies as st

from services.router.domain.contents import content_of, fitted, weight
from services.router.providers.base import UNTOLD, ChatAnswer, EmbedAnswer
from shared.messages.chat import (
    ChatMessageV1,
    ChatOptionsV1,
    EmbeddingV1,
    ImagePartV1,
    TextPartV1,
    ToolCallV1,
    ToolV1,
)
from shared.messages.contents import LARGEST_CONTENT, ContentV1
from shared.messages.router import InvokeV1

IDS = {"workspace_id": 1, "call_id": "c", "alias_name": "a"}
CALL = ToolCallV1(id="1", name="weather", arguments='{"city": "Linz"}')


def asked(*messages: ChatMessageV1, **fields: object) -> InvokeV1:
    return InvokeV1.model_validate({**IDS, "messages": messages, **fields})


def read(body: bytes) -> ContentV1:
    return ContentV1.model_validate_json(body)


def test_whatever_fits_is_stored_as_it_is() -> None:
    picture = ImagePartV1(url="data:image/png;base64,AAAA")
    options = ChatOptionsV1(max_tokens=5, tools=(ToolV1(name="weather", parameters={"type": "object"}),))
    request = asked(
        ChatMessageV1(role="user", content=(TextPartV1(text="Wie schön ☀"), picture)),
        ChatMessageV1(role="assistant", tool_calls=(CALL,)),
        ChatMessageV1(role="tool", content="rain", tool_call_id="1"),
        options=options,
    )
    answer = ChatAnswer("Take a coat.", "stop", UNTOLD, tool_calls=(CALL,))
    stored = read(fitted(content_of(request, continues="Take", answer=answer), LARGEST_CONTENT))
    assert (stored.messages, stored.options, stored.continues) == (request.messages, options, "Take")
    assert (stored.text, stored.tool_calls, stored.complete, stored.shortened) == ("Take a coat.", (CALL,), True, False)


def test_of_a_failure_what_was_heard_and_of_an_embedding_what_was_asked() -> None:
    failed = content_of(asked(ChatMessageV1(role="user", content="Hi")), continues=None, heard="One tw")
    assert (failed.text, failed.complete) == ("One tw", False)
    request = InvokeV1.model_validate({**IDS, "embedding": EmbeddingV1(inputs=("a", "b"))})
    embedded = content_of(request, continues=None, answer=EmbedAnswer((b"", b""), UNTOLD))
    assert embedded.embedding == request.embedding
    assert (embedded.text, embedded.complete) == ("", True)


def test_pictures_go_first_and_texts_are_cut_then() -> None:
    picture = ImagePartV1(url="data:image/png;base64," + "A" * 5000)
    remote = ImagePartV1(url="https://example.com/x.png")
    request = asked(ChatMessageV1(role="user", content=(TextPartV1(text="x" * 500), picture, remote)))
    whole = content_of(request, continues=None, heard="y" * 500)
    without = read(fitted(whole, 2000))
    assert without.shortened
    assert [part.url for part in without.messages[0].images] == ["data:image/png;base64,", remote.url]
    assert (without.messages[0].text, without.text) == ("x" * 500, "y" * 500)
    cut = read(fitted(whole, 1000))
    assert (cut.messages[0].text, cut.text) == ("x" * 100, "y" * 100)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=3000)
parts = st.lists(
    st.one_of(
        st.builds(TextPartV1, text=texts),
        st.builds(lambda size: ImagePartV1(url="data:image/png;base64," + "A" * size), st.integers(0, 4000)),
    ),
    min_size=1,
    max_size=4,
).map(tuple)
messages = st.lists(
    st.builds(lambda content: ChatMessageV1(role="user", content=content), st.one_of(texts, parts)),
    min_size=1,
    max_size=6,
)
schemas = st.dictionaries(texts, texts, max_size=5)


@settings(max_examples=300, deadline=None)
@given(messages, texts, schemas, st.integers(1000, 20_000))
def test_it_always_fits_and_always_reads_back(
    said: list[ChatMessageV1], heard: str, schema: dict[str, str], most: int
) -> None:
    options = ChatOptionsV1(tools=(ToolV1(name="t", parameters=schema),))
    content = content_of(asked(*said, options=options), continues=None, heard=heard)
    body = fitted(content, most)
    assert len(body) <= most
    stored = read(body)
    if len(content.model_dump_json(exclude_defaults=True).encode()) <= most:
        assert stored == content
    else:
        assert stored.shortened
        assert content.text.startswith(stored.text)


def test_weight_is_what_somebody_wrote() -> None:
    picture = ImagePartV1(url="data:image/png;base64,AAAA")
    said = ChatMessageV1(role="user", content=(TextPartV1(text="four"), picture))
    assert weight(asked(said, ChatMessageV1(role="user", content="12"))) == 4 + len(picture.url) + 2
    assert weight(InvokeV1.model_validate({**IDS, "embedding": EmbeddingV1(inputs=("abc", "de"))})) == 5
