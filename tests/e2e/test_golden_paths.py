"""The specification's four golden paths, by name, over real HTTP, NATS and PostgreSQL."""

import pytest

from shared.errors import ADD_A_KEY, ROUTED_TO_FALLBACK
from shared.testing.upstream import Upstream, json_answer
from tests.e2e.world import CHAT, KEY, MODELS, World, accept_keys, chat_answer, ok, openai_error, problem


async def test_golden_add_key_verify_alias_invoke_success(world: World) -> None:
    workspace = await world.workspace()
    async with Upstream() as upstream:
        accept_keys(upstream)
        upstream.always("POST", CHAT, chat_answer("Good morning!", input_tokens=12, output_tokens=7))
        provider = await world.provider(upstream)
        key = await world.key(workspace, provider, scopes={"text": True, "image": False}, monthly_budget_usd=5)
        assert key["status"] == "active"
        assert key["last_verified_at"] is not None
        assert key["monthly_budget_usd"] == 5
        assert key["masked_key"].endswith(KEY[-4:])
        verified = ok(await world.admin.post(f"/ai-keys/{key['id']}/verify"))
        assert verified["status"] == "active"
        alias = await world.alias(workspace, provider)

        answer = ok(await world.invoke(workspace, alias, options={"max_tokens": 100, "temperature": 0.5}))

        assert answer["output"] == {"text": "Good morning!"}
        assert (answer["provider"], answer["model"], answer["alias_name"]) == (provider, "m", alias)
        assert answer["fallback"] == {"used": False, "reason": None}
        assert (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]) == (12, 7)
        assert answer["usage"]["total_tokens"] == 19
        assert answer["cost_usd"] == "0.000026"  # 12 tokens at 1 USD/M and 7 at 2 USD/M
        sent = upstream.requests[-1]
        assert sent.headers["authorization"] == f"Bearer {KEY}"
        assert sent.json["max_tokens"] == 100
        assert sent.json["messages"] == [{"role": "user", "content": "Hello!"}]

        [row] = await world.calls(workspace, 1)
        assert (row["call_id"], row["outcome"], row["cost_usd"]) == (answer["call_id"], "success", "0.000026")
        assert len(row["trace_id"]) == 32
        usage = await world.usage(workspace)
        assert (usage["totals"]["requests"], usage["totals"]["succeeded"], usage["totals"]["failed"]) == (1, 1, 0)
        assert usage["totals"]["cost_usd"] == "0.000026"
        budget = next(item for item in usage["budgets"] if item["key_id"] == key["id"])
        assert (budget["cap_usd"], budget["spent_usd"], budget["held_usd"]) == ("5.000000", "0.000026", "0.000000")


async def test_golden_budget_exhausted_next_provider_success(world: World) -> None:
    workspace = await world.workspace()
    async with Upstream() as first, Upstream() as second:
        for upstream in (first, second):
            accept_keys(upstream)
            upstream.always("POST", CHAT, chat_answer(input_tokens=1, output_tokens=100))
        poor, rich = await world.provider(first, input_usd_per_mtok=0), await world.provider(second)
        # One call of 100 output tokens at 2 USD/M costs 200 micro-dollars: the cap pays for exactly one.
        key = await world.key(workspace, poor, monthly_budget_usd=0.0002)
        await world.key(workspace, rich)
        alias = await world.alias(workspace, poor, rich)

        paid = ok(await world.invoke(workspace, alias, options={"max_tokens": 100}))
        assert (paid["provider"], paid["fallback"]["used"]) == (poor, False)
        await world.calls(workspace, 1)
        answer = ok(await world.invoke(workspace, alias, options={"max_tokens": 100}))

        assert answer["provider"] == rich
        assert answer["fallback"] == {"used": True, "reason": "budget_exceeded"}
        assert [attempt["outcome"] for attempt in answer["attempts"]] == ["budget_exceeded", "success"]
        assert answer["warnings"][0]["code"] == "budget_exceeded"
        assert len([request for request in first.requests if request.path == CHAT]) == 1

        only = await world.alias(workspace, poor)
        refused = problem(await world.invoke(workspace, only, options={"max_tokens": 100}), 402, "budget_exceeded")
        assert refused["detail"] == "Budget reached. Increase cap or switch to platform credits."
        assert refused["key_id"] == key["id"]
        assert refused["budget"]["cap_usd"] == "0.000200"
        assert refused["resets_at"].endswith("-01T00:00:00+00:00")


@pytest.mark.parametrize(
    ("fault", "reason", "status"),
    [
        ("500", "provider_error", 500),
        ("429", "rate_limited", 429),
        ("timeout", "timeout", None),
        ("refused", "connection_error", None),
        ("reset", "connection_error", None),
        ("garbage", "bad_response", 200),
    ],
)
async def test_golden_provider_failure_automatic_failover_success_with_logging(
    world: World, fault: str, reason: str, status: int | None
) -> None:
    workspace = await world.workspace()
    async with Upstream() as bad, Upstream() as good:
        accept_keys(bad)
        accept_keys(good)
        good.always("POST", CHAT, chat_answer("Saved."))
        first, second = await world.provider(bad), await world.provider(good)
        await world.key(workspace, first)
        await world.key(workspace, second)
        alias = await world.alias(workspace, first, second, time_limits={"first_byte_s": 0.5, "connect_s": 0.5})
        if fault == "refused":
            await bad.__aexit__(None, None, None)
        else:
            bad.always("POST", CHAT, _faults(fault))

        answer = ok(await world.invoke(workspace, alias))

        assert answer["output"]["text"] == "Saved."
        assert answer["provider"] == second
        assert answer["fallback"] == {"used": True, "reason": reason}
        assert [(item["outcome"], item["status"]) for item in answer["attempts"]] == [
            (reason, status),
            ("success", 200),
        ]
        assert answer["warnings"] == [{"code": "provider_error", "detail": ROUTED_TO_FALLBACK}]
        sent = fault != "refused"
        rows = await world.calls(workspace, 2 if sent else 1)
        assert rows[0]["outcome"] == "success"
        assert rows[0]["fallback_reason"] == reason
        if sent:
            assert (rows[1]["outcome"], rows[1]["provider"]) == (reason, first)
        usage = await world.usage(workspace)
        assert (usage["totals"]["succeeded"], usage["totals"]["fallbacks"]) == (1, 1)


def _faults(fault: str):  # type: ignore[no-untyped-def]  # noqa: ANN202
    return {
        "500": openai_error(500, "server_error"),
        "429": openai_error(429, "rate_limit_exceeded"),
        "timeout": chat_answer(hang=True),
        "reset": chat_answer(reset=True),
        "garbage": json_answer("not a chat completion"),
    }[fault]


async def test_golden_invalid_key_clear_error_user_fixes_it_success(world: World) -> None:
    workspace = await world.workspace()
    async with Upstream() as upstream:
        upstream.always("GET", MODELS, openai_error(401, "invalid_api_key"))
        upstream.always("POST", CHAT, chat_answer("Mended."))
        provider = await world.provider(upstream)
        alias = await world.alias(workspace, provider)

        missing = problem(await world.invoke(workspace, alias), 402, "missing_key")
        assert (missing["detail"], missing["alias_name"]) == (ADD_A_KEY, alias)

        key = await world.key(workspace, provider)
        assert key["status"] == "invalid"
        assert key["status_reason"]
        refused = problem(await world.invoke(workspace, alias), 402, "missing_key")
        assert (refused["key_id"], refused["key_status"]) == (key["id"], "invalid")
        assert provider in refused["hint"]
        assert not [request for request in upstream.requests if request.path == CHAT]

        accept_keys(upstream)
        fixed = ok(await world.admin.put(f"/ai-keys/{key['id']}", api_key="sk-test-a-key-that-works-4321"))
        assert (fixed["status"], fixed["id"], fixed["version"]) == ("active", key["id"], 2)
        answer = ok(await world.invoke(workspace, alias))
        assert answer["output"]["text"] == "Mended."
        assert upstream.requests[-1].headers["authorization"] == "Bearer sk-test-a-key-that-works-4321"


async def test_a_key_refused_in_a_call_is_marked_and_the_next_one_is_taken(world: World) -> None:
    workspace = await world.workspace()
    async with Upstream() as upstream:
        accept_keys(upstream)
        upstream.script("POST", CHAT, openai_error(401, "invalid_api_key"))
        upstream.always("POST", CHAT, chat_answer("From the second key."))
        provider = await world.provider(upstream)
        stale = await world.key(workspace, provider)
        await world.key(workspace, provider, api_key="sk-test-second-key-0987654321")
        alias = await world.alias(workspace, provider)

        answer = ok(await world.invoke(workspace, alias))

        assert answer["output"]["text"] == "From the second key."
        assert answer["fallback"] == {"used": True, "reason": "invalid_key"}
        keys = ok(await world.admin.get("/ai-keys", workspace_id=workspace))["items"]
        assert [key["status"] for key in keys if key["id"] == stale["id"]] == ["invalid"]


async def test_a_scope_the_key_lacks_is_named(world: World) -> None:
    workspace = await world.workspace()
    async with Upstream() as upstream:
        accept_keys(upstream)
        provider = await world.provider(upstream)
        await world.key(workspace, provider, scopes={"text": False, "image": True})
        alias = await world.alias(workspace, provider)
        refused = problem(await world.invoke(workspace, alias), 403, "unsupported_scope")
        assert refused["detail"] == ("This key doesn't allow text. Enable 'text' scope or pick another alias.")
        assert refused["scope"] == "text"

        await world.key(workspace, "google", api_key="AIza-test-0123456789abcdefgh", scopes={"text": True})
        video = problem(await world.invoke(workspace, "video-synth"), 403, "unsupported_scope")
        assert video["detail"] == "This key doesn't allow video. Enable 'video' scope or pick another alias."


async def test_a_revoked_key_is_never_used_again(world: World) -> None:
    workspace = await world.workspace()
    async with Upstream() as upstream:
        accept_keys(upstream)
        upstream.always("POST", CHAT, chat_answer())
        provider = await world.provider(upstream)
        key = await world.key(workspace, provider)
        alias = await world.alias(workspace, provider)
        ok(await world.invoke(workspace, alias))

        assert (await world.admin.delete(f"/ai-keys/{key['id']}")).status_code == 204
        problem(await world.invoke(workspace, alias), 402, "missing_key")
        assert (await world.admin.delete(f"/ai-keys/{key['id']}")).status_code == 204
        problem(await world.admin.put(f"/ai-keys/{key['id']}", label="again"), 409, "conflict")
        [listed] = ok(await world.admin.get("/ai-keys", workspace_id=workspace))["items"]
        assert listed["status"] == "revoked"


async def test_every_route_is_documented(world: World) -> None:
    document = ok(await world.caller(None).get("/openapi.json"))
    for path in ("/ai-keys", "/ai-keys/{key_id}/verify", "/ai-aliases", "/ai-invoke", "/ai-usage", "/ai-providers"):
        assert path in document["paths"]
    body = document["paths"]["/ai-invoke"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert "alias_name" in document["components"]["schemas"][body["$ref"].rpartition("/")[2]]["properties"]


async def test_a_new_workspace_has_the_default_aliases(world: World) -> None:
    workspace = await world.workspace()
    aliases = ok(await world.admin.get("/ai-aliases", workspace_id=workspace))["items"]
    chains = {
        alias["alias_name"]: [alias["primary_provider"], *(target["provider"] for target in alias["fallback_chain"])]
        for alias in aliases
    }
    assert chains == {
        "default-writer": ["openai", "anthropic", "zhipu"],
        "fast-drafts": ["openai", "google"],
        "code-assist": ["openai", "groq"],
        "image-hero": ["openai", "stability"],
        "stt-transcribe": ["deepgram", "openai"],
        "tts-voice": ["elevenlabs"],
        "video-synth": ["google", "kling", "runway"],
    }
    assert {alias["alias_name"] for alias in aliases if not alias["available"]} == {
        "image-hero", "stt-transcribe", "tts-voice", "video-synth",
    }  # fmt: skip
    refused = problem(await world.invoke(workspace, "image-hero"), 503, "unavailable")
    assert "image_generation" in refused["detail"]
