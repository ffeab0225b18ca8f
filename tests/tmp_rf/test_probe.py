import asyncio, json
from contextlib import suppress
from time import perf_counter
from uuid import uuid4
import pytest
from collections import Counter
from shared.errors import OmniError
from shared.messages.catalogue import ModelV1
from shared.messages.router import InvokedV1
from shared.testing.upstream import Answer, Upstream, json_answer, stream_answer
from tests.integration.router_world import World, asked, router_world
from tests.integration.test_walk import error, GOOD, CHAT, alias_over
from tests.integration.test_streamed_calls import texts, chunk, USAGE, DONE, WHOLE, WORDS, text_of

@pytest.fixture
async def world(tmp_path):
    async with router_world(tmp_path) as made:
        yield made

@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("length", [1, 2, 3])
async def test_half(world, streamed, length):
    async with Upstream() as a, Upstream() as b, Upstream() as c:
        ws = uuid4().int % 2**40 + 1
        alias = await alias_over(world, ws, *(a, b, c)[:length])
        good = stream_answer(*WHOLE) if streamed else GOOD
        N = 320
        a.script("POST", CHAT, *([error(500), good] * (2*N)))
        b.always("POST", CHAT, good); c.always("POST", CHAT, good)
        sem = asyncio.Semaphore(32); res = Counter()
        async def one():
            async with sem:
                if streamed:
                    _, f = await world.stream(ws, alias)
                    res["ok" if isinstance(f, InvokedV1) else f.code] += 1
                else:
                    try: await world.call(ws, alias); res["ok"] += 1
                    except OmniError as e: res[e.code] += 1
        t = perf_counter()
        await asyncio.gather(*(one() for _ in range(N)))
        att = len(a.requests)+len(b.requests)+len(c.requests)
        print(f"\nHALF32 chain={length} streamed={streamed} calls={N} attempts={att} ratio={att/N:.3f} {dict(res)} took={perf_counter()-t:.1f}")

async def test_herd(world):
    async with Upstream() as a, Upstream() as b:
        ws = uuid4().int % 2**40 + 1
        alias = await alias_over(world, ws, a, b)
        a.always("POST", CHAT, error(500)); b.always("POST", CHAT, GOOD)
        for _ in range(8): await world.call(ws, alias)
        n = len(a.requests)
        await asyncio.sleep(5.05)
        await asyncio.gather(*(world.call(ws, alias) for _ in range(32)))
        print("\nHERD calls to failing primary before", n, "in half-open burst of 32:", len(a.requests)-n)

async def test_hold_huge(world):
    async with Upstream() as a:
        ws = uuid4().int % 2**40 + 1
        for policy in ("hold", "continue"):
            alias = await alias_over(world, ws, a, on_stream_cut=policy)
            for size in (3, 7, 12):
                word = "x" * 60_000
                a.always("POST", CHAT, stream_answer(*texts(*[word]*(size*17)), chunk("stop"), USAGE, DONE))
                t = perf_counter()
                pieces, final = await world.stream(ws, alias)
                print(f"\nHUGE {policy} {size} MB: pieces={len(pieces)} chars={len(text_of(pieces))} final={type(final).__name__} {getattr(final,'code','')} {getattr(final,'detail','')} final_text={len(getattr(final,'text','') or '')} {perf_counter()-t:.1f}s")

async def test_restart(world):
    async with Upstream() as a:
        ws = uuid4().int % 2**40 + 1
        alias = await alias_over(world, ws, a)
        go = asyncio.Event()
        a.always("POST", CHAT, stream_answer(*texts(*WORDS[:2]), go, *texts(*WORDS[2:]), chunk("stop"), USAGE, DONE))
        started = [asyncio.Event() for _ in range(50)]
        async def one(i):
            got = []
            try:
                async with world.api.stream(asked(ws, alias, stream=True), InvokedV1, timeout=30) as answer:
                    async for d in answer:
                        got.append(d.text); started[i].set()
                    return "whole" if "".join(got) == "".join(WORDS) else "WRONG:" + "".join(got)
            except OmniError as e:
                return f"{e.code}: {e.detail} got={len(got)}"
        tasks = [asyncio.create_task(one(i)) for i in range(50)]
        await asyncio.gather(*(s.wait() for s in started))
        t = perf_counter()
        world.nats.kill(); world.nats.start(); 
        go.set()
        res = Counter(await asyncio.gather(*tasks))
        print("\nNATS restart", dict(res), f"{perf_counter()-t:.1f}s", "leavings", a.leavings)

async def test_sigterm(world):
    async with Upstream() as a:
        ws = uuid4().int % 2**40 + 1
        alias = await alias_over(world, ws, a)
        go = asyncio.Event()
        a.always("POST", CHAT, stream_answer(*texts(*WORDS[:2]), go, *texts(*WORDS[2:]), chunk("stop"), USAGE, DONE))
        started = [asyncio.Event() for _ in range(50)]
        async def one(i):
            got = []; t=perf_counter()
            try:
                async with world.api.stream(asked(ws, alias, stream=True), InvokedV1, timeout=40) as answer:
                    async for d in answer:
                        got.append(d.text); started[i].set()
                    return "whole"
            except OmniError as e:
                return f"{e.code}: {e.detail} {e.extra} got={len(got)}"
        tasks = [asyncio.create_task(one(i)) for i in range(50)]
        await asyncio.gather(*(s.wait() for s in started))
        t = perf_counter()
        stopping = asyncio.create_task(world.app.stop(5))
        res = Counter(await asyncio.gather(*tasks))
        print("\nSIGTERM never-ending streams", dict(res), f"{perf_counter()-t:.1f}s", "leavings", a.leavings)
        await stopping
        print("stop took", f"{perf_counter()-t:.1f}s")
