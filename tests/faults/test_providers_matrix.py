"""Every fault of a provider, streamed and whole, on chains of one, two and three targets."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from uuid import uuid4

import pytest

from shared.errors import OmniError
from shared.messages.catalogue import ProviderV1, TimeLimitsV1
from shared.messages.router import InvokedV1
from shared.messages.vocabulary import Outcome
from shared.testing.stack import free_port
from shared.testing.upstream import Upstream
from tests.faults.provider_faults import FAULTS, HEALTHY, End, Fault
from tests.faults.self_signed import self_signed
from tests.integration.router_world import World, router_world

pytestmark = pytest.mark.faults

CHAT = "/v1/chat/completions"
LIMITS = TimeLimitsV1(connect_s=1, first_byte_s=0.8, last_first_byte_s=0.8, silence_s=0.6, total_s=6)
# Above the total limit: what accounting and a busy machine add.
HANGS_S = LIMITS.total_s + 3.0
AT_ONCE = 6


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with router_world(tmp_path_factory.mktemp("router")) as made:
        yield made


@dataclass(frozen=True)
class Case:
    """One cell of the matrix."""

    fault: Fault
    streams: bool
    length: int

    @property
    def end(self) -> End:
        return self.fault.streamed if self.streams else self.fault.whole

    @property
    def name(self) -> str:
        return f"{self.fault.name}, {'streamed' if self.streams else 'whole'}, chain of {self.length}"


@dataclass(frozen=True)
class Places:
    """Ports at which TLS cannot be had: one speaks none, one shows a certificate it has signed itself."""

    plain: int
    self_signed: int


async def _say_no(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
    with suppress(ConnectionError):
        await writer.drain()
    writer.close()


@pytest.fixture(scope="module")
async def places(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Places]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path_factory.mktemp("tls")))
    async with (
        await asyncio.start_server(_say_no, "127.0.0.1", 0) as plain,
        await asyncio.start_server(_say_no, "127.0.0.1", 0, ssl=context) as signed,
    ):
        yield Places(plain.sockets[0].getsockname()[1], signed.sockets[0].getsockname()[1])


async def _provider(world: World, fault: Fault, upstream: Upstream, places: Places) -> ProviderV1:
    base_urls = {
        "closed": f"http://127.0.0.1:{free_port()}/v1",
        "unknown": "https://no-such-host.invalid/v1",
        "plain": f"https://127.0.0.1:{places.plain}/v1",
        "self-signed": f"https://127.0.0.1:{places.self_signed}/v1",
        None: f"{upstream.base_url}/v1",
    }
    return await world.provider_at(base_urls[fault.place])


async def _run(world: World, places: Places, case: Case) -> str | None:
    """What is wrong with this cell; None when it is as the table says."""
    workspace = uuid4().int % 2**40 + 1
    async with Upstream() as faulty, Upstream() as healthy:
        faulty.always("POST", CHAT, case.fault.answer(case.streams))
        healthy.always("POST", CHAT, HEALTHY[case.streams])
        bad = max(1, case.length - 1)
        chain = [(await _provider(world, case.fault, faulty, places), f"m{place}") for place in range(bad)]
        if case.length > 1:
            chain.append((await world.provider(healthy), "last"))
        for provider, _ in chain:
            world.key(workspace, provider)
        alias = await world.alias(workspace, *chain, time_limits=LIMITS)
        called = perf_counter()
        pieces, final = await _call(world, workspace, alias, streams=case.streams)
        took = perf_counter() - called
    if took > HANGS_S:
        return f"took {took:.1f} s"
    if case.length == 1:
        return _alone(case, final, "".join(pieces), len(faulty.requests))
    return _with_others(case, final, "".join(pieces))


async def _call(world: World, workspace: int, alias: str, *, streams: bool) -> tuple[list[str], InvokedV1 | OmniError]:
    if streams:
        pieces, final = await world.stream(workspace, alias)
        return [piece.text for piece in pieces], final
    try:
        return [], await world.call(workspace, alias)
    except OmniError as error:
        return [], error


def _alone(case: Case, final: InvokedV1 | OmniError, told: str, requests: int) -> str | None:
    end = case.end
    if isinstance(final, InvokedV1):
        return None if end.outcome is Outcome.SUCCESS else f"succeeded with {final.text!r}"
    if final.code is not end.code:
        return f"{final.code} instead of {end.code}: {final.extra}"
    first = final.extra["attempts"][0]
    if (first["outcome"], first.get("detail")) != (end.outcome.value, end.detail or first.get("detail")):
        return f"{first} instead of {end.outcome}, {end.detail}"
    if requests > max(end.tries, 1) or (end.tries and not requests):
        return f"{requests} requests instead of at most {end.tries}"
    return None if bool(told) == end.began else f"told {told!r}"


def _with_others(case: Case, final: InvokedV1 | OmniError, told: str) -> str | None:
    if case.fault.stops:
        return None if isinstance(final, OmniError) and final.code is case.end.code else f"not stopped: {final}"
    if isinstance(final, OmniError):
        return f"failed: {final.code} {final.extra}"
    if case.end.outcome is Outcome.SUCCESS:
        return None if final.fallback_reason is None else "needed a fallback"
    if final.fallback_reason is not case.end.outcome:
        return f"fallback because of {final.fallback_reason} instead of {case.end.outcome}"
    if case.streams and told != final.text:
        return f"told {told!r}, and then {final.text!r}"
    return None if "world." in final.text else f"answered {final.text!r}"


class TestProvidersMatrix:
    async def test_every_fault_ends_as_the_table_says(self, world: World, places: Places) -> None:
        cases = [Case(fault, streams, length) for fault in FAULTS for streams in (False, True) for length in (1, 2, 3)]
        gate, wrong = asyncio.Semaphore(AT_ONCE), []

        async def check(case: Case) -> None:
            async with gate:
                fault = await _run(world, places, case)
            if fault is not None:
                wrong.append(f"{case.name}: {fault}")

        await asyncio.gather(*map(check, cases))
        print(f"provider faults={len(FAULTS)} cases={len(cases)} as_expected={len(cases) - len(wrong)}")
        assert len(FAULTS) >= 40
        assert not wrong, "\n".join(wrong)
