"""The specification's four security tests, by name."""

import json
from typing import Any

from shared.testing.stack import PARTS, Stack
from shared.testing.upstream import Upstream
from tests.e2e.world import CHAT, KEY, Caller, World, accept_keys, chat_answer, ok, openai_error, problem


async def test_security_keys_never_appear_in_client_responses(world: World) -> None:
    secret = "sk-test-never-seen-again-5f3a9c"
    seen: list[str] = []
    workspace = await world.workspace()
    async with Upstream() as upstream:
        accept_keys(upstream)
        # A provider that repeats the key in its error, as some do.
        echo = json.dumps({"error": {"message": f"bad key {secret}", "type": "x", "code": secret}})
        upstream.script("POST", CHAT, openai_error(500, secret), chat_answer(secret), _raw(500, echo))
        provider = await world.provider(upstream)
        key = await world.key(workspace, provider, api_key=secret)
        alias = await world.alias(workspace, provider)
        seen.append(json.dumps(key))
        seen += [(await world.invoke(workspace, alias)).text for _ in range(3)]
        for path in (f"/ai-keys/{key['id']}", "/ai-keys", "/ai-usage", "/ai-usage/calls", "/ai-providers"):
            seen += [(await world.admin.get(path, workspace_id=workspace)).text]
        seen.append((await world.admin.put(f"/ai-keys/{key['id']}", api_key=secret, label="again")).text)
        seen.append((await world.admin.put(f"/ai-keys/{key['id']}", api_key=secret, scopes=secret)).text)
        seen.append((await world.admin.post("/ai-keys", api_key=secret, provider=secret, workspace_id=secret)).text)
        seen.append((await world.admin.post("/ai-keys", **{secret: secret, "api_key": [secret]})).text)
    assert len(seen) > 10
    assert not [text for text in seen if secret in text]
    assert any(f"…{secret[-4:]}" in text for text in seen), "the masked form is shown"


def _raw(status: int, body: str) -> Any:
    from shared.testing.upstream import Answer  # noqa: PLC0415

    return Answer(status=status, headers={"content-type": "application/json"}, body=body.encode())


async def test_security_logs_are_masked(world: World, stack: Stack) -> None:
    secret, prompt = "sk-test-not-for-the-logs-77e1", "a prompt that nobody logs"
    workspace = await world.workspace()
    async with Upstream() as upstream:
        accept_keys(upstream)
        upstream.script("POST", CHAT, chat_answer(prompt), openai_error(401, "invalid_api_key"))
        provider = await world.provider(upstream)
        await world.key(workspace, provider, api_key=secret)
        alias = await world.alias(workspace, provider)
        await world.invoke(workspace, alias, prompt=prompt)
        await world.invoke(workspace, alias, prompt=prompt)
        await world.admin.send(
            "POST", "/ai-keys", content=f'{{"api_key": "{secret}"', headers={"content-type": "application/json"}
        )
    logs = {name: stack.log(name) for name in PARTS}
    assert any(logs.values()), "the services do log"
    for name, text in logs.items():
        assert secret not in text, name
        assert prompt not in text, name
        for line in text.splitlines():
            if name in ("api", "router", "vault", "metering"):
                assert json.loads(line)["service"] == name, "every line is structured"


async def test_security_encryption_and_decryption_are_correct(world: World, stack: Stack) -> None:
    """What the provider receives is the key that was entered; what is stored is not, and differs for equal keys."""
    workspace = await world.workspace()
    secret = "sk-test-round-trip-é".replace("é", "e") + "-x1y2z3"
    async with Upstream() as upstream:
        accept_keys(upstream)
        upstream.always("POST", CHAT, chat_answer())
        provider = await world.provider(upstream)
        first = await world.key(workspace, provider, api_key=secret)
        await world.key(workspace, provider, api_key=secret)
        alias = await world.alias(workspace, provider)
        ok(await world.invoke(workspace, alias))
        assert upstream.requests[-1].headers["authorization"] == f"Bearer {secret}"
    rows = await stack.query("SELECT ciphertext FROM vault.ai_provider_keys WHERE workspace_id = %s", workspace)
    stored = [bytes(row[0]) for row in rows]
    assert len(stored) == 2
    assert stored[0] != stored[1]
    assert not [blob for blob in stored if secret.encode() in blob]
    assert first["version"] == 1


async def test_security_workspace_isolation_is_enforced(world: World) -> None:
    mine, theirs = await world.workspace(), await world.workspace()
    me, viewer = await world.member(mine), await world.member(mine, "viewer")
    async with Upstream() as upstream:
        accept_keys(upstream)
        upstream.always("POST", CHAT, chat_answer())
        provider = await world.provider(upstream)
        their_key = await world.key(theirs, provider)
        their_alias = await world.alias(theirs, provider)
        ok(await world.invoke(theirs, their_alias))
        await world.calls(theirs, 1)
        listed = ok(await world.admin.get("/ai-aliases", workspace_id=theirs))["items"]
        alias_id = next(alias["id"] for alias in listed if alias["alias_name"] == their_alias)

        await _nothing_of_theirs(me, theirs, their_key["id"], alias_id)
        body = {"provider": provider, "label": "x", "api_key": KEY, "workspace_id": theirs}
        problem(await me.post("/ai-keys", **body), 403, "forbidden")
        problem(await me.post("/ai-invoke", alias_name=their_alias, prompt="x", workspace_id=theirs), 403, "forbidden")
        # The same alias name in my own workspace is not theirs, and my call cannot use their key.
        problem(await me.post("/ai-invoke", alias_name=their_alias, prompt="x"), 404, "not_found")
        await world.alias(mine, provider)
        named = await world.alias(mine, provider)
        problem(await me.post("/ai-invoke", alias_name=named, prompt="x"), 402, "missing_key")

        assert ok(await me.get("/ai-keys"))["items"] == []
        assert ok(await me.get("/ai-usage"))["totals"]["requests"] == 0
        assert ok(await me.get("/ai-usage/calls"))["items"] == []
        await _platform_only(me, provider)
        await _viewer_only_reads(viewer, provider)


async def _nothing_of_theirs(me: Caller, theirs: int, key_id: str, alias_id: str) -> None:
    for path in ("/ai-keys", "/ai-aliases", "/ai-usage", "/ai-usage/calls", "/ai-usage/export", "/ai-tokens"):
        problem(await me.get(path, workspace_id=theirs), 403, "forbidden")
    for response in (
        await me.get(f"/ai-keys/{key_id}"),
        await me.put(f"/ai-keys/{key_id}", label="mine now"),
        await me.delete(f"/ai-keys/{key_id}"),
        await me.post(f"/ai-keys/{key_id}/verify"),
        await me.get(f"/ai-aliases/{alias_id}"),
        await me.put(f"/ai-aliases/{alias_id}", display_name="mine now"),
        await me.delete(f"/ai-aliases/{alias_id}"),
    ):
        problem(response, 404, "not_found")


async def _platform_only(me: Caller, provider: str) -> None:
    problem(await me.post("/ai-workspaces", name="more"), 403, "forbidden")
    problem(await me.get("/ai-workspaces"), 403, "forbidden")
    problem(await me.post("/ai-providers", id="evil", base_url="https://evil.example/v1"), 403, "forbidden")
    problem(await me.put(f"/ai-providers/{provider}", base_url="https://evil.example/v1"), 403, "forbidden")


async def _viewer_only_reads(viewer: Caller, provider: str) -> None:
    ok(await viewer.get("/ai-keys"))
    ok(await viewer.get("/ai-usage"))
    problem(await viewer.post("/ai-invoke", alias_name="default-writer", prompt="x"), 403, "forbidden")
    problem(await viewer.post("/ai-keys", provider=provider, label="x", api_key=KEY), 403, "forbidden")
    problem(await viewer.post("/ai-tokens", name="x"), 403, "forbidden")


async def test_tokens_are_shown_once_expire_and_can_be_revoked(world: World) -> None:
    workspace = await world.workspace()
    created = ok(await world.admin.post("/ai-tokens", workspace_id=workspace, role="member", name="ci"), 201)
    caller = world.caller(created["token"])
    ok(await caller.get("/ai-keys"))
    listed = ok(await world.admin.get("/ai-tokens", workspace_id=workspace))
    assert created["token"] not in json.dumps(listed)
    assert listed["items"][0]["masked"].endswith(created["token"][-4:])
    assert (await world.admin.delete(f"/ai-tokens/{created['id']}")).status_code == 204
    problem(await caller.get("/ai-keys"), 401, "unauthorized")
    problem(await world.admin.delete("/ai-tokens/00000000-0000-0000-0000-000000000001"), 404, "not_found")
    for token in (None, "x", "omni_" + "a" * 43, "x" * 300):
        problem(await world.caller(token).get("/ai-keys"), 401, "unauthorized")
