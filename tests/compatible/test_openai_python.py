"""The real ``openai`` package, sync and async, over real sockets against a whole stack."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, AsyncStream, OpenAI, Stream

from tests.compatible.openai_cases import CASES, SAY, Case, Client, is_async
from tests.compatible.openai_failures import FAILURES, Failure, asks_of, prepared
from tests.compatible.place import Place, Tally, chat_answer, openai_error

KINDS = ("sync", "async")


@pytest.fixture(scope="module")
def tally() -> Iterator[Tally]:
    """Counts the cases of this file."""
    made = Tally("openai-python", cases=2 * (len(CASES) + len(FAILURES) + 2))
    yield made
    made.say()


@pytest.fixture(params=KINDS)
async def it(request: pytest.FixtureRequest, place: Place) -> AsyncIterator[Client]:
    """The SDK, pointed at the stack."""
    kind: type[Any] = AsyncOpenAI if request.param == "async" else OpenAI
    client = kind(base_url=place.base_url, api_key=place.token, max_retries=0, timeout=30)
    yield Client(client, place, _run)
    await _run(client.close)


async def _run(method: Any, *args: Any, **fields: Any) -> Any:
    if asyncio.iscoroutinefunction(getattr(method, "__func__", method)):
        given = await method(*args, **fields)
    else:
        given = await asyncio.to_thread(method, *args, **fields)
        given = await given if asyncio.iscoroutine(given) or hasattr(given, "__await__") else given
    if isinstance(given, AsyncStream):
        return [piece async for piece in given]
    return await asyncio.to_thread(list, given) if isinstance(given, Stream) else given


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
async def test_what_programs_do(it: Client, case: Case, tally: Tally) -> None:
    with tally.case(f"{case.__name__} {is_async(it.client)}"):
        await case(it)


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.name)
async def test_failures_have_their_class_and_are_not_paid_twice(it: Client, failure: Failure, tally: Tally) -> None:
    with tally.case(f"{failure.name} {is_async(it.client)}"):
        fields = await prepared(failure, it.place)
        key = {"api_key": failure.token} if failure.token else {}
        it.client = it.client.with_options(max_retries=2, **key)
        with pytest.raises(failure.raises) as raised:
            await it.chat(**fields)
        error = raised.value
        assert type(error) is failure.raises
        assert (error.status_code, error.code) == (failure.status, failure.code)
        assert error.response.headers["x-should-retry"] == "false"
        assert asks_of(it.place) == failure.asks


async def test_what_costs_nothing_is_asked_again(it: Client, tally: Tally) -> None:
    """A rate limit, twice, with a moment to wait: the SDK waits as told, and the third answer is given."""
    with tally.case(f"rate limit {is_async(it.client)}"):
        busy = openai_error(429, "rate_limit_exceeded")
        it.place.answers(*[busy] * 20)
        with pytest.raises(openai.RateLimitError) as raised:
            await it.chat()
        assert raised.value.response.headers["x-should-retry"] == "true"
        assert int(raised.value.response.headers["retry-after"]) >= 1
        assert raised.value.code == "rate_limit_exceeded"


async def test_the_sdk_asks_again_and_is_answered(it: Client, tally: Tally) -> None:
    """Not one attempt of the first call cost anything, so it may be made again, and is."""
    with tally.case(f"asked again {is_async(it.client)}"):
        overloaded = openai_error(503, "overloaded")
        it.place.upstream.always("POST", "/v1/chat/completions", overloaded)
        with pytest.raises(openai.InternalServerError) as raised:
            await it.chat()
        assert raised.value.response.headers["x-should-retry"] == "true"
        asked = asks_of(it.place)
        it.place.answers(*[overloaded] * asked)
        it.place.upstream.always("POST", "/v1/chat/completions", chat_answer("At last."))
        it.client = it.client.with_options(max_retries=2)
        answer = await it.chat(messages=SAY)
        assert answer.choices[0].message.content == "At last."
