"""The request that goes on with an answer another target began."""

import json

import pytest

from services.router.domain.models import openai
from services.router.providers import PROVIDERS
from services.router.providers.base import ChatRequest
from services.router.resuming import resumed
from shared.messages.catalogue import ModelV1
from shared.messages.chat import ChatMessageV1, ChatOptionsV1


@pytest.mark.parametrize(
    ("limit", "begun", "left"), [(100, 40, 90), (100, 399, 16), (100, 4_000, 16), (5, 8, 5), (1, 1, 1)]
)
@pytest.mark.parametrize("prefill", [True, False])
def test_the_limit_shrinks_by_what_is_there_and_never_grows(
    limit: int, begun: int, left: int, *, prefill: bool
) -> None:
    adapter = PROVIDERS["anthropic"].adapter
    assert adapter is not None
    question = ChatRequest("m", (ChatMessageV1(role="user", content="Hi"),), ChatOptionsV1(max_tokens=limit))
    made = resumed(question, "x" * begun, ModelV1(id="m"), adapter.chat, prefill=prefill)
    assert made.options.max_tokens == left
    assert made.continues is prefill
    assert made.messages[1] == ChatMessageV1(role="assistant", content="x" * begun)


def test_blanks_alone_are_no_beginning() -> None:
    adapter = PROVIDERS["anthropic"].adapter
    assert adapter is not None
    question = ChatRequest("m", (ChatMessageV1(role="user", content="Hi"),), ChatOptionsV1(max_tokens=9))
    assert resumed(question, "\n \n", ModelV1(id="m"), adapter.chat, prefill=True) == question


def test_a_completion_goes_on_as_a_longer_prompt() -> None:
    adapter = PROVIDERS["openai"].adapter
    assert adapter is not None
    assert adapter.completion is not None
    question = ChatRequest("m", (ChatMessageV1(role="user", content="Once"),), ChatOptionsV1(max_tokens=9))
    model = next(one for one in openai.MODELS if one.id == "davinci-002")
    made = resumed(question, " upon a", model, adapter.completion, prefill=True)
    assert json.loads(adapter.completion.encode(made).body) == {"model": "m", "prompt": "Once upon a", "max_tokens": 9}
