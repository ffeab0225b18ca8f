"""``provider/model`` in place of an alias."""

from typing import Any

import pytest

from services.router.domain.direct import direct_alias, target_in, unknown_model
from services.router.domain.offer import Offer, Way
from shared.errors import Code, OmniError
from shared.messages.catalogue import AliasV1, ModelV1, TargetV1
from shared.messages.chat import ChatMessageV1
from shared.messages.router import InvokeV1
from shared.messages.vocabulary import Capability

WAYS = {one: Way(frozenset()) for one in (Capability.CHAT, Capability.COMPLETION, Capability.EMBEDDING)}
MODELS = {
    "talks": ModelV1(id="talks"),
    "goes-on": ModelV1(id="goes-on", capabilities=(Capability.COMPLETION,)),
    "embeds": ModelV1(id="embeds", capabilities=(Capability.EMBEDDING,)),
}
OFFERS = {
    "p": Offer(provider="p", host="p.example", ways=WAYS, models=MODELS),
    "openrouter": Offer(provider="openrouter", host="o.example", ways=WAYS, aggregator=True),
}


def alias(name: str, **fields: Any) -> AliasV1:
    messages = () if "embedding" in fields else (ChatMessageV1(role="user", content="x"),)
    request = InvokeV1(workspace_id=1, call_id="c", alias_name=name, messages=messages, **fields)
    target = target_in(name)
    assert target is not None
    return direct_alias(request, target, OFFERS)


def test_a_slash_makes_the_difference() -> None:
    assert target_in("fast-drafts") is None
    assert target_in("openrouter/vendor/model") == TargetV1(provider="openrouter", model="vendor/model")
    assert target_in("/m") is target_in("p/") is None


def test_it_is_a_chain_of_that_one_target() -> None:
    made = alias("p/talks")
    assert made.chain == (TargetV1(provider="p", model="talks"),)
    assert (made.alias_name, made.capability) == ("p/talks", Capability.CHAT)
    assert alias("openrouter/vendor/model").allow_aggregators


def test_the_model_says_how_it_is_asked() -> None:
    assert alias("p/goes-on").capability is Capability.COMPLETION
    assert alias("p/embeds", embedding={"inputs": ("x",)}).capability is Capability.EMBEDDING
    assert alias("p/brand-new").capability is Capability.CHAT


def test_what_does_not_exist_is_told_with_what_does() -> None:
    with pytest.raises(OmniError, match=r"there are: openrouter, p\.") as raised:
        alias("nobody/m")
    assert raised.value.code is Code.NOT_FOUND
    with pytest.raises(OmniError, match=r"does not do chat; models known at p: talks\.") as raised:
        alias("p/embeds")
    assert raised.value.code is Code.INVALID_REQUEST


def test_a_provider_that_knows_no_such_model_is_believed() -> None:
    error = OmniError(Code.PROVIDER_ERROR, "", extra={"call_id": "c", "attempts": [{"detail": "unknown_model"}]})
    told = unknown_model(error, alias("p/brand-new"), OFFERS)
    assert (told.code, told.status, told.extra["call_id"]) == (Code.NOT_FOUND, 404, "c")
    assert "models known at p: talks." in told.detail
    of_an_alias = alias("p/brand-new").model_copy(update={"id": "0190a5c8-5f5e-7c3e-9f7b-0a4b5c6d7e8f"})
    assert unknown_model(error, of_an_alias, OFFERS) is error
    other = OmniError(Code.TIMEOUT, "", extra={"attempts": [{"detail": "total_timeout"}]})
    assert unknown_model(other, alias("p/talks"), OFFERS) is other
