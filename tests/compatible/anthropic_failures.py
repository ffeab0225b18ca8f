"""Which exception Anthropic's SDK raises, and whether it asks again: by our status, our words and our headers."""

from typing import Any

import anthropic
import pytest

from shared.testing.upstream import Answer
from tests.compatible.anthropic_cases import USER, client, text_of
from tests.compatible.here import WRONG_TOKEN, Case, Here
from tests.compatible.openai_failures import TIMES_OUT
from tests.e2e.test_streaming import streamed
from tests.e2e.world import CHAT, openai_error

FAILURES: list[Case] = []


def case(function: Case) -> Case:
    """One of those that are counted."""
    FAILURES.append(function)
    return function


def body_of(error: anthropic.APIStatusError) -> dict[str, Any]:
    """What an error says."""
    body = error.body
    assert isinstance(body, dict)
    assert body["type"] == "error"
    told: dict[str, Any] = body["error"]
    assert told["message"]
    return told


async def raised_by(here: Here, kind: type[anthropic.APIStatusError], type_: str, **more: Any) -> dict[str, Any]:
    token = more.pop("token", here.place.token)
    given: dict[str, Any] = {"model": here.place.alias, "max_tokens": 50, "messages": [USER], **more}
    with pytest.raises(anthropic.APIStatusError) as raised:
        await client(here, api_key=token).messages.create(**given)
    error = raised.value
    told = body_of(error)
    assert isinstance(error, kind)
    assert told["type"] == type_
    assert error.request_id
    assert isinstance(error.body, dict)
    assert error.body["request_id"] == error.request_id
    return told


@case
async def what_cannot_be_carried_is_a_bad_request(here: Here) -> None:
    block = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}
    messages = [{"role": "user", "content": [block]}]
    told = await raised_by(here, anthropic.BadRequestError, "invalid_request_error", messages=messages)
    assert "'document'" in told["message"]
    await raised_by(here, anthropic.BadRequestError, "invalid_request_error", max_tokens=0)
    assert here.asked_times == 0


@case
async def a_wrong_token(here: Here) -> None:
    await raised_by(here, anthropic.AuthenticationError, "authentication_error", token=WRONG_TOKEN)


@case
async def a_token_that_may_only_look(here: Here) -> None:
    await raised_by(here, anthropic.PermissionDeniedError, "permission_error", token=here.viewer)


@case
async def an_unknown_model(here: Here) -> None:
    await raised_by(here, anthropic.NotFoundError, "not_found_error", model="no-such-alias")


@case
async def no_money(here: Here) -> None:
    await here.spend_nothing()
    told = await raised_by(here, anthropic.PaymentRequiredError, "billing_error")
    assert told["omnipost"]["code"] == "budget_exceeded"


@case
async def a_provider_that_is_busy(here: Here) -> None:
    here.place.upstream.always("POST", CHAT, openai_error(429, "rate_limit_exceeded"))
    await raised_by(here, anthropic.RateLimitError, "rate_limit_error")


@case
async def a_provider_that_is_broken(here: Here) -> None:
    here.place.upstream.always("POST", CHAT, openai_error(500, "server_error"))
    await raised_by(here, anthropic.InternalServerError, "api_error")


@case
async def a_conversation_that_is_too_long(here: Here) -> None:
    here.place.upstream.always("POST", CHAT, openai_error(400, "context_length_exceeded"))
    told = await raised_by(here, anthropic.BadRequestError, "invalid_request_error")
    assert told["omnipost"]["code"] == "context_length_exceeded"


@case
async def a_provider_that_is_silent(here: Here) -> None:
    here.place.upstream.always("POST", CHAT, Answer(hang=True))
    model = await here.place.alias_with(**TIMES_OUT)
    await raised_by(here, anthropic.InternalServerError, "timeout_error", model=model)


@case
async def a_target_without_a_key(here: Here) -> None:
    told = await raised_by(here, anthropic.PaymentRequiredError, "billing_error", model="anthropic/claude-haiku-4-5")
    assert told["omnipost"]["code"] == "missing_key"


@case
async def the_sdk_asks_again_when_told_to(here: Here) -> None:
    here.place.answers(*[openai_error(429, "rate_limit_exceeded")] * 2)
    message = await client(here, max_retries=4).messages.with_raw_response.create(
        model=here.place.alias, max_tokens=50, messages=[USER]
    )
    assert text_of(await message.parse()) == "Hello back."


@case
async def the_sdk_does_not_ask_again_when_told_not_to(here: Here) -> None:
    await here.spend_nothing()
    asked = 0

    async def count(_: object) -> None:
        nonlocal asked
        asked += 1

    http = anthropic.DefaultAsyncHttpxClient(event_hooks={"request": [count]})
    with pytest.raises(anthropic.APIStatusError):
        await client(here, max_retries=3, http_client=http).messages.create(
            model=here.place.alias, max_tokens=5, messages=[USER]
        )
    assert asked == 1


@case
async def counting_fails_in_the_same_words(here: Here) -> None:
    with pytest.raises(anthropic.NotFoundError) as raised:
        await client(here).messages.count_tokens(model="no-such-alias", messages=[USER])
    assert body_of(raised.value)["type"] == "not_found_error"
    with pytest.raises(anthropic.AuthenticationError):
        await client(here, api_key=WRONG_TOKEN).messages.count_tokens(model=here.place.alias, messages=[USER])
    with pytest.raises(anthropic.BadRequestError):
        await client(here).messages.count_tokens(model=here.place.embeds, messages=[USER])
    with pytest.raises(anthropic.NotFoundError):
        await client(here).messages.count_tokens(model="nobody/m", messages=[USER])


@case
async def a_stream_that_breaks_raises(here: Here) -> None:
    model = await here.place.alias_with(on_stream_cut="error")
    here.place.answers(streamed("Hel", last=b""))
    events = await client(here).messages.create(model=model, max_tokens=50, messages=[USER], stream=True)
    with pytest.raises(anthropic.APIStatusError) as raised:
        _ = [event async for event in events]
    assert body_of(raised.value)["type"] == "api_error"
