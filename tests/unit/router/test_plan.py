from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from services.router.domain.breaker import Rest
from services.router.domain.offer import Offer, Way
from services.router.domain.plan import Candidate, Skipped, larger, overtaken, plan
from services.router.domain.wish import Wish
from shared.messages.catalogue import AliasV1, ModelV1, TargetV1
from shared.messages.chat import ChatOptionsV1
from shared.messages.vault import KeyV1, RestrictionsV1
from shared.messages.vocabulary import Capability, KeyStatus, Modality, Outcome

NONE = RestrictionsV1()
NOW = datetime(2026, 11, 23, tzinfo=UTC)
ALL_OPTIONS = frozenset(ChatOptionsV1.model_fields)
TEXT = frozenset({Modality.TEXT})


def alias(*providers: str, capability: Capability = Capability.CHAT, aggregators: bool = False) -> AliasV1:
    return AliasV1(
        id="a", workspace_id=1, alias_name="a", display_name="A", modality=capability.modality, capability=capability,
        chain=tuple(TargetV1(provider=provider, model="m") for provider in providers),
        allow_aggregators=aggregators, created_at=NOW, updated_at=NOW,
    )  # fmt: skip


def key(
    key_id: str, provider: str, *, scopes: frozenset[Modality] = TEXT, status: KeyStatus = KeyStatus.ACTIVE,
    host: str | None = None, restrictions: RestrictionsV1 = NONE,
) -> KeyV1:  # fmt: skip
    return KeyV1(
        id=key_id, workspace_id=1, provider=provider, label="k", masked_key="…", scopes=scopes, status=status,
        host=host or f"{provider}.example", version=1, created_at=NOW, updated_at=NOW,
        restrictions=restrictions,
    )  # fmt: skip


def offer(
    provider: str, *models: ModelV1, chat: bool = True, aggregator: bool = False, options: frozenset[str] = ALL_OPTIONS,
    region: str | None = None, **ways: Way,
) -> Offer:  # fmt: skip
    known = {Capability(name): way for name, way in ways.items()}
    if chat:
        known[Capability.CHAT] = Way(options, frozenset({"user"}))
    by_id = {model.id: model for model in models}
    return Offer(provider, f"{provider}.example", known, aggregator, region, models=by_id)


def offers(*all_of: Offer) -> dict[str, Offer]:
    return {one.provider: one for one in all_of}


def test_the_written_order_is_kept_and_every_key_of_a_target_gets_its_turn() -> None:
    keys = [key("1", "b"), key("2", "a"), key("3", "a")]
    steps = plan(alias("a", "b"), keys, offers(offer("a"), offer("b")), Wish())
    assert [(step.target.provider, step.key_id) for step in steps] == [("a", "2"), ("a", "3"), ("b", "1")]
    assert all(isinstance(step, Candidate) for step in steps)


def test_every_reason_to_pass_over_a_target() -> None:
    known = offers(
        offer("scoped"), offer("refused"), offer("moved"), offer("keyless"), offer("reseller", aggregator=True),
        offer("future", chat=False), offer("plain", options=frozenset({"max_tokens"})), offer("gone"),
    )  # fmt: skip
    keys = [
        key("1", "scoped", scopes=frozenset({Modality.IMAGE})), key("2", "refused", status=KeyStatus.INVALID),
        key("3", "moved", host="elsewhere.example"), key("4", "reseller"), key("5", "future"), key("6", "plain"),
        key("7", "gone", status=KeyStatus.REVOKED),
    ]  # fmt: skip
    asked = Wish(frozenset({"temperature"}))
    chain = alias("scoped", "refused", "moved", "keyless", "reseller", "future", "plain", "gone", "nobody")
    steps = plan(chain, keys, known, asked)
    assert [(step.outcome, step.detail) for step in steps if isinstance(step, Skipped)] == [
        (Outcome.UNSUPPORTED_SCOPE, "text"),
        (Outcome.INVALID_KEY, None),
        (Outcome.INVALID_KEY, "provider_address_changed"),
        (Outcome.MISSING_KEY, None),
        (Outcome.UNAVAILABLE, "aggregators_not_allowed"),
        (Outcome.UNAVAILABLE, "no_adapter_yet"),
        (Outcome.UNSUPPORTED_OPTION, "temperature"),
        (Outcome.MISSING_KEY, None),
        (Outcome.UNAVAILABLE, "unknown_provider"),
    ]


def test_a_missing_scope_is_told_before_a_missing_adapter() -> None:
    video = alias("future", capability=Capability.VIDEO_GENERATION)
    [step] = plan(video, [key("1", "future")], offers(offer("future", chat=False)), Wish())
    assert isinstance(step, Skipped)
    assert step.outcome is Outcome.UNSUPPORTED_SCOPE


EU = RestrictionsV1(regions=frozenset({"eu"}))
OTHER = RestrictionsV1(models=frozenset({"n", "m-*"}))


def test_a_restricted_key_serves_only_what_it_is_for() -> None:
    known = offers(offer("a", region="eu"), offer("b", region="us"), offer("c"))
    keys = [key("1", "a", restrictions=EU), key("2", "b", restrictions=EU), key("3", "c", restrictions=EU)]
    steps = plan(alias("a", "b", "c"), keys, known, Wish())
    assert [type(step) for step in steps] == [Candidate, Skipped, Skipped]
    assert isinstance(steps[0], Candidate)
    assert (steps[0].restricted, steps[0].region) == (True, "eu")
    for step in steps[1:]:
        assert isinstance(step, Skipped)
        assert (step.outcome, step.detail) == (Outcome.UNSUPPORTED_SCOPE, "region")


def test_another_key_of_the_same_target_takes_over_from_a_restricted_one() -> None:
    keys = [key("1", "a", restrictions=OTHER), key("2", "a"), key("3", "b", restrictions=OTHER)]
    steps = plan(alias("a", "b"), keys, offers(offer("a"), offer("b")), Wish())
    assert [(type(step), step.key_id) for step in steps] == [(Candidate, "2"), (Skipped, "3")]
    assert isinstance(steps[0], Candidate)
    assert not steps[0].restricted
    assert isinstance(steps[1], Skipped)
    assert (steps[1].outcome, steps[1].detail) == (Outcome.UNSUPPORTED_SCOPE, "model")


KEYS = st.lists(
    st.builds(
        key,
        st.uuids().map(str),
        st.sampled_from("abc"),
        scopes=st.frozensets(st.sampled_from(Modality)),
        status=st.sampled_from(KeyStatus),
        host=st.sampled_from([None, "elsewhere.example"]),
        restrictions=st.sampled_from([RestrictionsV1(), EU, OTHER, RestrictionsV1(models=frozenset({"*"}))]),
    ),
    max_size=8,
)


@given(KEYS, st.permutations("abc"))
def test_only_usable_keys_are_ever_candidates_and_no_target_is_forgotten(keys: list[KeyV1], chain: list[str]) -> None:
    steps = plan(alias(*chain), keys, offers(*map(offer, "abc")), Wish())
    by_id = {one.id: one for one in keys}
    for step in steps:
        if isinstance(step, Candidate):
            chosen = by_id[step.key_id]
            assert chosen.provider == step.target.provider
            assert chosen.status in (KeyStatus.ACTIVE, KeyStatus.UNVERIFIED)
            assert Modality.TEXT in chosen.scopes
            assert chosen.restrictions.models in (None, frozenset({"*"}))
            assert chosen.restrictions.regions is None
            assert step.restricted == (chosen.restrictions != RestrictionsV1())
            assert chosen.host == f"{chosen.provider}.example"
    assert list(dict.fromkeys(step.target.provider for step in steps)) == chain


COMPLETION, EMBEDDING = Capability.COMPLETION, Capability.EMBEDDING
OWN = Way(frozenset({"max_tokens"}))


def test_a_completion_goes_to_the_endpoint_of_its_model_and_an_embedding_to_who_embeds() -> None:
    instruct, chatty = ModelV1(id="m", capabilities=(COMPLETION,)), ModelV1(id="m")
    known = offers(
        offer("own", instruct, completion=OWN), offer("mapped", chatty, completion=OWN), offer("unknown"),
        offer("neither", ModelV1(id="m", capabilities=(EMBEDDING,)), completion=OWN), offer("endless", instruct),
    )  # fmt: skip
    keys = [key(name, name) for name in known]
    steps = plan(alias(*known, capability=COMPLETION), keys, known, Wish())
    ways = {step.target.provider: step.way for step in steps if isinstance(step, Candidate)}
    assert ways == {"own": COMPLETION, "mapped": Capability.CHAT, "unknown": Capability.CHAT}
    skipped = {step.target.provider: (step.outcome, step.detail) for step in steps if isinstance(step, Skipped)}
    assert skipped == {
        "neither": (Outcome.UNAVAILABLE, "model_without_capability"),
        "endless": (Outcome.UNAVAILABLE, "provider_without_capability"),
    }
    known = offers(offer("a", embedding=Way(frozenset())), offer("b", chatty, embedding=OWN), offer("c"))
    steps = plan(alias(*known, capability=EMBEDDING), [key(name, name) for name in known], known, Wish())
    assert [step.way if isinstance(step, Candidate) else step.detail for step in steps] == [
        EMBEDDING, "model_without_capability", "provider_without_capability",
    ]  # fmt: skip


def test_what_rests_is_tried_last_in_its_order_and_says_why() -> None:
    keys = [key("1", "a"), key("2", "b"), key("3", "b"), key("4", "c")]
    tired = Rest(9.0, Outcome.RATE_LIMITED)
    steps = plan(alias("a", "b", "c", "d"), keys, offers(*map(offer, "abc")), Wish(),
                 rests=lambda _, key_id: tired if key_id in ("1", "2") else None)  # fmt: skip
    assert [step.key_id for step in steps] == ["3", "4", None, "1", "2"]
    candidates = [step for step in steps if isinstance(step, Candidate)]
    assert [(one.place, one.resting) for one in candidates] == [(1, None), (2, None), (0, tired), (1, tired)]
    assert [overtaken(steps, one) for one in candidates] == [candidates[2], candidates[2], None, candidates[2]]
    assert all(isinstance(step, Candidate) for step in plan(alias("a"), keys, offers(offer("a")), Wish(),
                                                             rests=lambda *_: tired))  # fmt: skip


def test_after_a_window_was_too_small_only_larger_or_unknown_ones_are_left() -> None:
    known = offers(
        *(offer(name, ModelV1(id="m", context_window=size)) for name, size in zip("abc", (8, 32, 8), strict=True))
    )
    steps = plan(
        alias("a", "b", "c", "d", "e"), [key(name, name) for name in "abcd"], known | offers(offer("d")), Wish()
    )
    assert [step.window for step in steps if isinstance(step, Candidate)] == [8, 32, 8, None]
    assert [step.target.provider for step in larger(steps, 8)] == ["b", "d", "e"]
    assert [step.target.provider for step in larger(steps, 32)] == ["d", "e"]
    assert larger(steps, None) == steps
