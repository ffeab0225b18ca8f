"""The router with its neighbours: leases kept and asked for patiently, keys cut at once, restrictions kept to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from time import perf_counter
from uuid import uuid4

import pytest

from shared.errors import Code, OmniError
from shared.messages.catalogue import ListProvidersV1, ProvidersV1, ProviderV1, UpdateProviderV1
from shared.messages.router import InvokedV1, VerdictV1, VerifyKeyV1
from shared.messages.vault import KeyChangedV1, LeaseKeyV1, RestrictionsV1
from shared.messages.vocabulary import START_WITHIN_S, Billing, KeyStatus, Outcome
from shared.testing.upstream import Answer, Upstream, json_answer
from tests.e2e.world import eventually
from tests.integration.router_world import World, router_world

CHAT = "/v1/chat/completions"
GOOD = json_answer(
    {
        "choices": [{"finish_reason": "stop", "message": {"content": "hi"}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }
)


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with router_world(tmp_path_factory.mktemp("router")) as made:
        yield made


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as serving:
        serving.always("POST", CHAT, GOOD)
        yield serving


@pytest.fixture
def workspace() -> int:
    return uuid4().int % 2**40 + 1


async def test_a_call_from_a_live_lease_adds_no_vault_round_trip(
    world: World, upstream: Upstream, workspace: int
) -> None:
    provider = await world.provider(upstream)
    world.key(workspace, provider)
    aliases = [await world.alias(workspace, (provider, model)) for model in ("m", "n", "o")]
    await world.call(workspace, aliases[0])
    assert world.heard["ai.vault.lease.v1"] >= 1
    world.heard.clear()
    began = perf_counter()
    for number in range(200):
        await world.call(workspace, aliases[number % 3])
    print(f"calls=200 models=3 leases={world.heard['ai.vault.lease.v1']} vault_messages={world.heard.total()}", end=" ")
    print(f"seconds={perf_counter() - began:.2f}")
    assert len(upstream.requests) == 201
    assert world.heard["ai.vault.lease.v1"] == 0
    assert world.heard.total() <= (perf_counter() - began) / 10 + 1  # the directory is read again every 10 s


async def test_a_vault_replica_that_dies_over_a_lease_costs_no_call(
    world: World, upstream: Upstream, workspace: int
) -> None:
    provider = await world.provider(upstream)
    world.key(workspace, provider)
    alias = await world.alias(workspace, (provider, "m"))
    world.vault.dies_over = 1
    began = perf_counter()
    answer = await world.call(workspace, alias)
    print(f"a lease asked of a dead replica: answered after {perf_counter() - began:.2f} s")
    assert answer.attempts[0].outcome is Outcome.SUCCESS


async def test_a_restricted_key_is_leased_for_one_model_and_region_at_a_time(
    world: World, upstream: Upstream, workspace: int
) -> None:
    provider = await world.provider(upstream, region="eu")
    only = RestrictionsV1(models=frozenset({"m*"}), regions=frozenset({"eu"}))
    key = world.key(workspace, provider, restrictions=only)
    aliases = [await world.alias(workspace, (provider, model)) for model in ("m", "m2", "other")]
    for _ in range(2):
        for alias in aliases[:2]:
            await world.call(workspace, alias)
    asked = [(one.model, one.region) for one in world.vault.asked if one.key_id == key.id]
    assert asked == [("m", "eu"), ("m2", "eu")]
    with pytest.raises(OmniError) as raised:
        await world.call(workspace, aliases[2])
    assert raised.value.code is Code.UNSUPPORTED_SCOPE
    assert (raised.value.extra["restriction"], raised.value.extra["key_id"]) == ("model", key.id)
    assert len([one for one in world.vault.asked if one.key_id == key.id]) == 2


async def test_the_vault_has_the_last_word_on_a_restriction_the_router_has_not_heard_of(
    world: World, upstream: Upstream, workspace: int
) -> None:
    provider = await world.provider(upstream)
    key = world.key(workspace, provider)
    alias = await world.alias(workspace, (provider, "m"))
    await world.call(workspace, alias)
    limited = key.model_copy(update={"restrictions": RestrictionsV1(models=frozenset({"n"}))})
    world.vault.keys[key.id] = limited
    world.app._leases.forget(key.id)  # the lease is over, the directory is still remembered
    with pytest.raises(OmniError) as raised:
        await world.call(workspace, alias)
    assert (raised.value.code, raised.value.extra["restriction"]) == (Code.UNSUPPORTED_SCOPE, "model")
    assert len(upstream.requests) == 1


async def test_a_revoked_key_is_cut_and_another_key_takes_over(
    world: World, upstream: Upstream, workspace: int
) -> None:
    provider = await world.provider(upstream)
    dying, _ = world.key(workspace, provider), world.key(workspace, provider)
    alias, call_id = await world.alias(workspace, (provider, "m")), str(uuid4())
    upstream.script("POST", CHAT, Answer(body=b"x" * 10_000, drip_s=0.01))
    calling = asyncio.create_task(world.call(workspace, alias, call_id))
    await upstream.arrival(1)
    [connection] = upstream._serving
    began = perf_counter()
    await world.vault.revoke(dying)
    await asyncio.wait({connection}, timeout=5)
    cut_ms = 1000 * (perf_counter() - began)
    answer = await calling
    print(f"announced to cut: {cut_ms:.1f} ms")
    assert cut_ms < 250
    assert [attempt.outcome for attempt in answer.attempts] == [Outcome.KEY_REVOKED, Outcome.SUCCESS]
    first = next(one for one in await world.metering.end_of(call_id) if one.key_id == dying.id)
    assert (first.outcome, first.billing, first.sent) == (Outcome.KEY_REVOKED, Billing.UNKNOWN, True)
    assert first.cost_usd_micros is None


async def test_the_last_key_revoked_ends_the_call_as_one_without_a_key(
    world: World, upstream: Upstream, workspace: int
) -> None:
    provider = await world.provider(upstream)
    key = world.key(workspace, provider)
    alias = await world.alias(workspace, (provider, "m"))
    upstream.script("POST", CHAT, Answer(hang=True))
    calling = asyncio.create_task(world.call(workspace, alias))
    await upstream.arrival(1)
    await world.vault.revoke(key)
    with pytest.raises(OmniError) as raised:
        await calling
    assert raised.value.code is Code.MISSING_KEY
    assert (raised.value.extra["key_status"], raised.value.extra["key_id"]) == ("revoked", key.id)


async def test_a_key_revoked_while_it_is_reserved_for_is_given_up_unsent(
    world: World, upstream: Upstream, workspace: int
) -> None:
    provider = await world.provider(upstream)
    key = world.key(workspace, provider)
    alias, call_id = await world.alias(workspace, (provider, "m")), str(uuid4())
    world.metering.delay_s = 3.0
    world.metering.reserving.clear()
    calling = asyncio.create_task(world.call(workspace, alias, call_id))
    await world.metering.reserving.wait()
    world.metering.delay_s = 0.0
    began = perf_counter()
    await world.vault.revoke(key)
    with pytest.raises(OmniError) as raised:
        await calling
    assert perf_counter() - began < 0.5
    assert raised.value.code is Code.MISSING_KEY
    [gone] = await world.metering.end_of(call_id)
    assert (gone.outcome, gone.billing, gone.sent) == (Outcome.MISSING_KEY, Billing.NOTHING, False)
    assert not upstream.requests


async def test_nothing_is_sent_once_it_is_too_late_to_start(world: World, upstream: Upstream, workspace: int) -> None:
    provider = await world.provider(upstream)
    world.key(workspace, provider)
    alias, call_id = await world.alias(workspace, (provider, "m")), str(uuid4())
    world.metering.delay_s = START_WITHIN_S
    try:
        with pytest.raises(OmniError) as raised:
            await world.call(workspace, alias, call_id)
    finally:
        world.metering.delay_s = 0.0
    assert raised.value.code is Code.TIMEOUT
    assert raised.value.extra["attempts"][0]["detail"] == "not_started_in_time"
    [late] = await world.metering.end_of(call_id)
    assert (late.billing, late.sent) == (Billing.NOTHING, False)
    assert not upstream.connections


async def test_a_refusal_in_traffic_is_told_as_such_and_a_check_as_a_check(
    world: World, upstream: Upstream, workspace: int
) -> None:
    provider = await world.provider(upstream)
    key = world.key(workspace, provider, status_reason=None)
    alias = await world.alias(workspace, (provider, "m"))
    upstream.script("POST", CHAT, json_answer({"error": {"code": "invalid_api_key"}}, 401))
    with pytest.raises(OmniError):
        await world.call(workspace, alias)
    upstream.always("GET", "/v1/models", json_answer({"data": []}))
    checked = await world.api.request(VerifyKeyV1(workspace_id=workspace, key_id=key.id), VerdictV1)
    assert checked.status is KeyStatus.ACTIVE
    told = [(one.status, one.reason, one.source) for one in world.vault.verdicts if one.key_id == key.id]
    assert told == [(KeyStatus.INVALID, "refused_by_provider", "traffic"), (KeyStatus.ACTIVE, None, "check")]


async def test_a_key_of_a_provider_without_an_adapter_is_checked_too(
    world: World, upstream: Upstream, workspace: int
) -> None:
    update = UpdateProviderV1(id="elevenlabs", base_url=upstream.base_url)
    provider = await world.api.request(update, ProviderV1)
    key = world.key(workspace, provider)
    refusal = {"detail": {"status": "invalid_api_key", "message": "no"}}
    upstream.script("GET", "/v1/user", json_answer(refusal, 401), json_answer({"user_id": "u"}))
    found = [await world.api.request(VerifyKeyV1(workspace_id=workspace, key_id=key.id), VerdictV1) for _ in range(2)]
    assert [one.status for one in found] == [KeyStatus.INVALID, KeyStatus.ACTIVE]
    assert upstream.requests[0].headers["xi-api-key"] == f"sk-{key.id}"
    assert [one.verifying for one in world.vault.asked if one.key_id == key.id] == [True, True]


async def test_regions_are_seeded_kept_and_lost_with_the_address(world: World, upstream: Upstream) -> None:
    catalogue = await world.api.request(ListProvidersV1(), ProvidersV1)
    seeded = {item.id: item.region for item in catalogue.items if item.region}
    assert seeded == {"zhipu": "cn", "kling": "sg"} | {key: seeded[key] for key in seeded if key.startswith("t-")}

    async def change(**fields: str) -> str | None:
        return (await world.api.request(UpdateProviderV1(id="kling", **fields), ProviderV1)).region

    assert await change(name="Kling AI") == "sg"
    assert await change(base_url="https://api-singapore.klingai.com") == "sg"
    assert await change(base_url=upstream.base_url) is None
    assert await change(region="eu") == "eu"
    assert await change(base_url="https://api.example.com", region="us") == "us"


async def test_after_an_outage_of_the_bus_nothing_remembered_is_trusted(
    world: World, upstream: Upstream, workspace: int
) -> None:
    provider = await world.provider(upstream)
    dying, staying = world.key(workspace, provider), world.key(workspace, provider)
    alias = await world.alias(workspace, (provider, "m"))
    upstream.script("POST", CHAT, Answer(body=b"x" * 10_000, drip_s=0.01))
    calling = asyncio.create_task(world.call(workspace, alias))
    await upstream.arrival(1)
    [connection] = upstream._serving
    await asyncio.to_thread(world.nats.kill)
    world.vault.revoke_unheard(dying)
    await asyncio.to_thread(world.nats.start)
    await asyncio.wait({connection}, timeout=20)
    assert connection.done(), "what was running with the revoked key was not cut"
    calling.cancel()
    asked = len(world.vault.asked)
    await eventually(lambda: _answered(world, workspace, alias), within_s=20)
    leased = [one for one in world.vault.asked[asked:] if isinstance(one, LeaseKeyV1) and one.workspace_id == workspace]
    assert {one.key_id for one in leased} <= {staying.id}
    await world.vault.bus.announce(KeyChangedV1(workspace_id=workspace, key_id=staying.id))


async def _answered(world: World, workspace: int, alias: str) -> InvokedV1 | None:
    with suppress(OmniError):
        return await world.call(workspace, alias)
    return None
