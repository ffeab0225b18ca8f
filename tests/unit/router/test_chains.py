from typing import Any

import pytest

from services.router.domain.chains import MAX_CHAIN, check_chain, check_on_stream_cut, check_time_limits
from services.router.domain.offer import Offer, Way
from shared.errors import Code, OmniError
from shared.messages.catalogue import ModelV1, OnStreamCut, TargetV1, TimeLimitsV1
from shared.messages.vocabulary import Capability

CHATS = {Capability.CHAT: Way(frozenset())}
BOTH = {**CHATS, Capability.EMBEDDING: Way(frozenset())}
KNOWN = {
    "plain": Offer("plain", "plain.example", CHATS, models={"talk": ModelV1(id="talk")}),
    "both": Offer("both", "both.example", BOTH, models={
        "vectors": ModelV1(id="vectors", capabilities=(Capability.EMBEDDING,)),
        "prompts": ModelV1(id="prompts", capabilities=(Capability.COMPLETION,)),
    }),
    "films": Offer("films", "films.example", {}, planned=frozenset({Capability.VIDEO_GENERATION})),
    "resold": Offer("resold", "resold.example", CHATS, aggregator=True),
    "resold-too": Offer("resold-too", "resold-too.example", CHATS, aggregator=True),
}  # fmt: skip


def targets(*names: str) -> tuple[TargetV1, ...]:
    return tuple(TargetV1(provider=name.split("/")[0], model=name.split("/")[1]) for name in names)


@pytest.mark.parametrize(
    ("chain", "capability", "field", "says"),
    [
        (("nobody/m",), "chat", "primary_provider", "no provider 'nobody'"),
        (("plain/m", "both/m", "nobody/m"), "chat", "fallback_chain.1.provider", "no provider 'nobody'"),
        (("both/vectors",), "chat", "primary_model", "both's vectors does not do chat"),
        (("both/m", "plain/talk"), "embedding", "fallback_chain.0.model", "plain's talk does not do embedding"),
        (("plain/m", "both/m", "plain/m"), "chat", "fallback_chain", "a target twice"),
        (("plain/m", "films/m"), "embedding", "fallback_chain", "does embedding"),
        (("films/m",), "chat", "fallback_chain", "does chat"),
        (("resold/m", "resold-too/m"), "chat", "allow_aggregators", "set allow_aggregators to true"),
        ((), "chat", "fallback_chain", "1 to 16 targets"),
        (tuple(f"plain/{number}" for number in range(MAX_CHAIN + 1)), "chat", "fallback_chain", "1 to 16 targets"),
    ],
)
def test_an_impossible_chain_is_refused_and_the_sentence_says_what_to_do(
    chain: tuple[str, ...], capability: str, field: str, says: str
) -> None:
    with pytest.raises(OmniError, match=says) as caught:
        check_chain(targets(*chain), Capability(capability), KNOWN, allow_aggregators=False)
    assert (caught.value.code, caught.value.extra["field"]) == (Code.INVALID_REQUEST, field)


@pytest.mark.parametrize(
    ("chain", "capability", "allow"),
    [
        (("plain/unheard-of",), "chat", False),
        (("plain/talk", "both/prompts"), "completion", False),
        (("plain/m", "both/vectors"), "embedding", False),
        (("films/m",), "video_generation", False),
        (("resold/m",), "chat", True),
        (("resold/m", "plain/m"), "chat", False),
    ],
)
def test_a_chain_of_which_something_can_come_is_taken(chain: tuple[str, ...], capability: str, *, allow: bool) -> None:
    check_chain(targets(*chain), Capability(capability), KNOWN, allow_aggregators=allow)


@pytest.mark.parametrize("capability", Capability)
@pytest.mark.parametrize("wanted", [None, "continue", "hold", "error"])
def test_only_what_streams_can_be_continued_or_held(capability: Capability, wanted: OnStreamCut | None) -> None:
    if capability in (Capability.CHAT, Capability.COMPLETION) or wanted in (None, "error"):
        check_on_stream_cut(wanted, capability)
        return
    with pytest.raises(OmniError, match=f"{capability} is not streamed") as caught:
        check_on_stream_cut(wanted, capability)
    assert caught.value.extra["field"] == "on_stream_cut"


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ({}, None),
        ({"total_s": 3}, None),
        ({"first_byte_s": 5, "total_s": 5}, None),
        ({"first_byte_s": 5, "total_s": 4}, "first_byte_s"),
        ({"last_first_byte_s": 31, "total_s": 30}, "last_first_byte_s"),
        ({"connect_s": 4, "total_s": 2}, "connect_s"),
    ],
)
def test_chosen_limits_fit_into_the_total_and_defaults_give_way(limits: dict[str, Any], field: str | None) -> None:
    if field is None:
        check_time_limits(TimeLimitsV1(**limits))
        return
    with pytest.raises(OmniError, match="longer than total_s") as caught:
        check_time_limits(TimeLimitsV1(**limits))
    assert caught.value.extra["field"] == f"time_limits.{field}"
