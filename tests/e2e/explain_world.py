"""A workspace in which everything is wrong with some target, and random aliases and requests over it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from shared.testing.upstream import Upstream
from tests.e2e.world import CHAT, World, accept_keys, chat_answer, ok, openai_error

PLENTY = {"monthly_budget_usd": 1000}
# What is wrong with each provider: its model, and its keys (none, one, two …).
GOOD: dict[str, Any] = {"keys": [PLENTY]}
PROVIDERS: dict[str, dict[str, Any]] = {
    "cheap": {**GOOD, "model": {"input_usd_per_mtok": 0.1, "output_usd_per_mtok": 0.2, "context_window": 8_000}},
    "dear": {**GOOD, "model": {"input_usd_per_mtok": 30, "output_usd_per_mtok": 60, "context_window": 200_000}},
    "twice": {"keys": [PLENTY, PLENTY]},
    "simple": {**GOOD, "model": {"features": [], "context_window": 4_000}},
    "keyless": {"keys": []},
    "pictures": {"keys": [{"scopes": {"image": True}}]},
    "restricted": {"keys": [{"restrictions": {"models": ["other-*"]}}, PLENTY]},
    "spent": {"keys": [{"monthly_budget_usd": 0}]},
    "few": {"keys": [{"monthly_budget_tokens": 1}, {"monthly_budget_requests": 0}]},
    "unpriced": {**GOOD, "model": {"input_usd_per_mtok": None, "output_usd_per_mtok": None}},
    "uncapped": {"keys": [{}], "model": {"input_usd_per_mtok": None, "output_usd_per_mtok": None}},
    "tired": {**GOOD, "model": {"context_window": 1_000_000}},
}
TOOL = {"type": "function", "function": {"name": "clock"}}
SCHEMA = {"name": "answer", "schema": {"type": "object"}}
ANSWERS = {
    "success": chat_answer(),
    "invalid_request": openai_error(400, "invalid_value"),
    "context_length_exceeded": openai_error(400, "context_length_exceeded"),
}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
Attempt = tuple[str, str | None, str]


@dataclass
class Mess:
    """The workspace. ``names``: by provider id, which of ``PROVIDERS`` it is."""

    world: World
    workspace: int
    names: dict[str, str] = field(default_factory=dict)
    upstreams: dict[str, Upstream] = field(default_factory=dict)
    tired: str = ""

    def providers(self, random: Random) -> list[str]:
        """Some of them, in any order, sometimes with those that are built in."""
        known = [*self.names, "openrouter", "anthropic"]
        chosen = random.sample(known, random.randint(1, 6))
        return chosen if set(chosen) != {"openrouter"} else [*chosen, "anthropic"]

    async def alias(self, random: Random, *providers: str) -> str:
        """An alias over ``providers``; its id."""
        first, *rest = providers
        body = {
            "workspace_id": self.workspace,
            "alias_name": f"a-{random.getrandbits(48):x}",
            "primary_provider": first,
            "primary_model": "m",
            "fallback_chain": [{"provider": one, "model": "m"} for one in rest],
            "routing_preference": random.choice(["quality", "cost", "speed"]),
            "allow_aggregators": random.random() < 0.5,
        }
        alias: str = ok(await self.world.admin.post("/ai-aliases", **body), 201)["id"]
        return alias

    def script(self, random: Random) -> dict[str, str]:
        """From now on every provider answers in one way; which, by provider."""
        outcomes = {}
        for provider, upstream in self.upstreams.items():
            outcomes[provider] = random.choice(["success", "invalid_request", "context_length_exceeded"])
            upstream.always("POST", CHAT, ANSWERS[outcomes[provider]])
        return outcomes

    async def tire(self) -> None:
        """The provider ``tired`` has no money left, once more: its key rests for a minute from now on."""
        self.upstreams[self.tired].script("POST", CHAT, openai_error(429, "insufficient_quota"))
        alias = await self.world.alias(self.workspace, self.tired)
        assert (await self.world.invoke(self.workspace, alias)).status_code != 200

    def walked(self, targets: Sequence[dict[str, Any]], outcomes: dict[str, str]) -> list[Attempt]:
        """What a call must do that goes along an explained plan while the providers answer so."""
        done: list[Attempt] = []
        given_up, too_small = set(), 0
        for target in targets:
            provider = target["provider"]
            if target["skipped"]:
                done.append((provider, target["key_id"], target["skipped"]["reason"]))
                continue
            window = PROVIDERS[self.names[provider]].get("model", {}).get("context_window")
            if provider in given_up or (window and window <= too_small):
                continue
            done.append((provider, target["key_id"], outcomes[provider]))
            if outcomes[provider] == "success":
                break
            given_up.add(provider)
            if outcomes[provider] == "context_length_exceeded" and window:
                too_small = max(window, too_small)
        return done


def question(random: Random) -> dict[str, Any]:
    """A request of any kind."""
    pictured = [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, PICTURE]}]
    asked: dict[str, Any] = (
        {"messages": pictured} if random.random() < 0.15 else {"prompt": "Hi! " * random.randint(1, 99)}
    )
    options = {
        "max_tokens": random.randint(1, 999),
        "temperature": 0.5,
        "tools": [TOOL],
        "response_format": {"type": "json_schema", "json_schema": SCHEMA},
        "seed": 7,
        "reasoning_effort": "low",
        "provider_options": random.choice([{"openrouter": {"n": 2}}, {"anthropic": {"no_such_field": 1}}]),
    }
    names = random.sample(sorted(options), random.choice([0, 0, 1, 2]))
    return {**asked, "options": {name: options[name] for name in names}}


@asynccontextmanager
async def mess(world: World) -> AsyncIterator[Mess]:
    """Everything set up."""
    made = Mess(world, await world.workspace())
    async with AsyncExitStack() as stack:
        for name, how in PROVIDERS.items():
            upstream = await stack.enter_async_context(Upstream())
            accept_keys(upstream)
            provider = await world.provider(upstream, **how.get("model", {}))
            made.names[provider], made.upstreams[provider] = name, upstream
            for key in how["keys"]:
                await world.key(made.workspace, provider, **key)
        made.tired = next(provider for provider, name in made.names.items() if name == "tired")
        yield made
