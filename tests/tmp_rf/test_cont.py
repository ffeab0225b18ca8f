import asyncio, json
from time import perf_counter
from uuid import uuid4
import pytest
from collections import Counter
from shared.errors import OmniError
from shared.messages.catalogue import ModelV1, UpdateProviderV1, ProviderV1
from shared.messages.router import InvokedV1
from shared.messages.vocabulary import Capability
from shared.messages.chat import ChatOptionsV1
from shared.testing.upstream import Answer, Upstream, json_answer, stream_answer
from tests.integration.router_world import World, asked, router_world
from tests.integration.test_walk import error, GOOD, CHAT, alias_over
from tests.integration.test_streamed_calls import texts, chunk, USAGE, DONE, WHOLE, WORDS, text_of, event

@pytest.fixture
async def world(tmp_path):
    async with router_world(tmp_path) as made:
        yield made
def cut(*parts): 
    b=b"".join(parts); return stream_answer(b, b"data: {", cut_after=len(b)+12)
async def show(name, world, ws, alias, *ups, **kw):
    t=perf_counter()
    pieces, final = await world.stream(ws, alias, **kw)
    print(f"\n{name}: text={text_of(pieces)!r} marks={[p.continued.provider[:8] for p in pieces if p.continued]}", end=" ")
    if isinstance(final, InvokedV1): print("OK", final.finish_reason, "fallback", final.fallback_reason, [(a.provider[:8],a.outcome.value,a.detail) for a in final.attempts], "cont",len(final.continued), "same" if final.text==text_of(pieces) else "DIFF")
    else: print("ERR", final.code, final.detail, {k:v for k,v in final.extra.items() if k not in("call_id","alias_name","attempts")}, [(a["provider"][:8],a["outcome"],a.get("detail")) for a in final.extra.get("attempts",[])])
    for u in ups:
        for r in u.requests: print("   asked", json.dumps(r.json.get("messages") or r.json.get("prompt"))[:230], {k:v for k,v in r.json.items() if "max" in k})
    return final
async def test_all(world):
  for name in ("mistral","groq"):
    async with Upstream() as a, Upstream() as b:
        ws = uuid4().int % 2**40 + 1
        p1 = await world.provider(a)
        p2 = await world.api.request(UpdateProviderV1(id=name, base_url=f"{b.base_url}/v1", timeout=None) if False else UpdateProviderV1(id=name, base_url=f"{b.base_url}/v1"), ProviderV1)
        for p in (p1,p2): world.key(ws,p)
        alias = await world.alias(ws, (p1,"m"), (p2,"unknown-model"))
        good = stream_answer(*texts(*WORDS[2:]), chunk("stop"), USAGE, DONE)
        a.always("POST", CHAT, cut(*texts(*WORDS[:2])))
        b.script("POST", CHAT, error(400,"invalid_request_error")); b.always("POST", CHAT, good)
        await show(name+" refuses prefill", world, ws, alias, b)
        b.requests.clear()
        b.always("POST", CHAT, stream_answer(*texts(*WORDS), chunk("stop"), USAGE, DONE))
        await show(name+" echo", world, ws, alias, b)
        b.requests.clear()
        b.always("POST", CHAT, error(400,"invalid_request_error"))
        await show(name+" refuses both", world, ws, alias, b)
        b.requests.clear(); b.always("POST", CHAT, stream_answer(*WHOLE))
        a.always("POST", CHAT, cut(*texts("\n")))
        await show(name+" only newline", world, ws, alias, b)
        b.requests.clear()
        a.always("POST", CHAT, cut(chunk(reasoning_content="hmm")))
        await show(name+" only thoughts", world, ws, alias, b)
        b.requests.clear(); b.always("POST", CHAT, good)
        a.always("POST", CHAT, cut(*texts(*WORDS[:2]), chunk("length")))
        await show(name+" cut after finish", world, ws, alias, b)
        a.always("POST", CHAT, cut(*texts(*WORDS[:2]))); b.always("POST", CHAT, cut(*texts(WORDS[2])))
        b.requests.clear()
        await show(name+" both cut again and again", world, ws, alias, b)
async def test_completion(world):
    async with Upstream() as a, Upstream() as b:
        ws = uuid4().int % 2**40 + 1
        m=(ModelV1(id="c", capabilities=(Capability.COMPLETION,)),)
        ps=[await world.provider(u, models=m) for u in (a,b)]
        for p in ps: world.key(ws,p)
        alias = await world.alias(ws, *((p,"c") for p in ps), capability=Capability.COMPLETION)
        def t(text=None, fin=None): return event({"choices":[{"index":0,"text":text or "","finish_reason":fin}]})
        C="/v1/completions"
        a.always("POST", C, cut(t("upon "),t("a ")))
        b.always("POST", C, stream_answer(t("time"),t(None,"stop"),USAGE,DONE))
        await show("completion", world, ws, alias, b)
async def test_one_target_keys(world):
    async with Upstream() as a:
        ws = uuid4().int % 2**40 + 1
        p = await world.provider(a)
        for _ in range(2): world.key(ws,p)
        alias = await world.alias(ws,(p,"m"))
        a.script("POST", CHAT, cut(*texts(*WORDS[:2])), error(429,"rate_limit_exceeded",**{"retry-after":"1"}), stream_answer(*texts(*WORDS[2:]),chunk("stop"),USAGE,DONE))
        await show("one target two keys", world, ws, alias, a)
        a.requests.clear()
        a.script("POST", CHAT, cut(*texts(*WORDS[:2])), error(503), error(503), stream_answer(*texts(*WORDS[2:]),chunk("stop"),USAGE,DONE))
        await show("one target retries", world, ws, alias, a)
        a.requests.clear()
        broken = stream_answer(*texts(*WORDS[:2]), event({"error":{"code":429,"message":"slow","type":"rate_limit_exceeded"}}))
        a.script("POST", CHAT, broken, stream_answer(*texts(*WORDS[2:]),chunk("stop"),USAGE,DONE))
        await show("429 in stream", world, ws, alias, a)
        a.requests.clear()
        a.script("POST", CHAT, cut(*texts(*WORDS[:2])), stream_answer(*texts(*WORDS[2:]),chunk("stop"),USAGE,DONE))
        await show("tiny max", world, ws, alias, a, options=ChatOptionsV1(max_tokens=5))
