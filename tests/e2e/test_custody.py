"""What keys are kept with, seen from outside: restrictions, rotation, the audit, and the end of a workspace."""

from typing import Any

from shared.testing.stack import Stack
from shared.testing.upstream import Upstream
from tests.e2e.world import CHAT, World, accept_keys, chat_answer, eventually, ok, problem

SECRET = "sk-test-custody-0123456789abcdef"


async def audit(world: World, workspace: int) -> list[dict[str, Any]]:
    """A workspace's audit, oldest first."""
    page = ok(await world.admin.get("/ai-audit", workspace_id=workspace, limit=500))
    assert page["next_before"] is None
    items: list[dict[str, Any]] = page["items"]
    return items[::-1]


async def test_the_audit_says_who_did_what_to_a_key_and_from_where(world: World) -> None:
    workspace = await world.workspace()
    owner = await world.member(workspace, "owner")
    tokens = ok(await owner.get("/ai-tokens"))["items"]
    async with Upstream() as upstream:
        accept_keys(upstream)
        provider = await world.provider(upstream)
        body = {"provider": provider, "label": "A label", "api_key": SECRET}
        key = ok(await owner.post("/ai-keys", **body), 201)
        ok(await owner.put(f"/ai-keys/{key['id']}", scopes={"text": True, "image": True}))
        ok(await owner.put(f"/ai-keys/{key['id']}", api_key=SECRET + "2"))
        assert (await owner.delete(f"/ai-keys/{key['id']}")).status_code == 204
    entries = await audit(world, workspace)
    actions = [entry["action"] for entry in entries]
    assert [action for action in actions if action != "key_verified"] == [
        "key_created",
        "key_changed",
        "secret_replaced",
        "key_revoked",
    ]
    by_people = [entry for entry in entries if entry["actor"]["kind"] == "token"]
    assert {entry["actor"]["id"] for entry in by_people} == {tokens[0]["id"]}
    assert {entry["actor"]["role"] for entry in by_people} == {"owner"}
    assert {entry["actor"]["address"] for entry in by_people} == {"127.0.0.1"}
    assert all(len(entry["trace_id"]) == 32 for entry in by_people)
    assert {entry["key_id"] for entry in entries} == {key["id"]}
    assert SECRET not in str(entries)
    assert "A label" not in str(entries)
    verdict = ok(await owner.get("/ai-audit/verification"))
    assert (verdict["intact"], verdict["entries"], verdict["broken"]) == (True, len(entries), [])
    narrowed = ok(await owner.get("/ai-audit", key_id=key["id"], limit=2))
    assert len(narrowed["items"]) == 2
    assert narrowed["next_before"] == narrowed["items"][-1]["seq"]


async def test_a_restricted_key_is_not_used_for_another_model(world: World) -> None:
    workspace = await world.workspace()
    async with Upstream() as upstream:
        accept_keys(upstream)
        upstream.always("POST", CHAT, chat_answer())
        provider = await world.provider(upstream)
        alias = await world.alias(workspace, provider)
        key = await world.key(workspace, provider, restrictions={"models": ["other*"]})
        assert key["restrictions"] == {"models": ["other*"], "regions": None}
        refused = problem(await world.invoke(workspace, alias), 403, "unsupported_scope")
        assert refused["model"] == "m"
        assert refused["key_id"] == key["id"]
        assert not [request for request in upstream.requests if request.path == CHAT]
        ok(await world.admin.put(f"/ai-keys/{key['id']}", restrictions={"models": ["other*", "m"]}))
        ok(await world.invoke(workspace, alias))
        ok(await world.admin.put(f"/ai-keys/{key['id']}", restrictions={"regions": ["eu"]}))
        assert problem(await world.invoke(workspace, alias), 403, "unsupported_scope")["restriction"] == "region"
        ok(await world.admin.put(f"/ai-providers/{provider}", region="eu"))
        ok(await world.invoke(workspace, alias))
        ok(await world.admin.put(f"/ai-providers/{provider}", region="us"))
        problem(await world.invoke(workspace, alias), 403, "unsupported_scope")
        ok(await world.admin.put(f"/ai-keys/{key['id']}", restrictions={}))
        ok(await world.invoke(workspace, alias))


async def test_data_keys_and_master_keys_are_rotated_under_running_calls(world: World, stack: Stack) -> None:
    workspace = await world.workspace()
    owner = await world.member(workspace, "owner")
    async with Upstream() as upstream:
        accept_keys(upstream)
        upstream.always("POST", CHAT, chat_answer())
        provider = await world.provider(upstream)
        await world.key(workspace, provider, api_key=SECRET)
        alias = await world.alias(workspace, provider)
        before = await stack.query(
            "SELECT k.ciphertext, d.id FROM vault.ai_provider_keys k JOIN vault.workspace_deks d ON d.id = k.dek_id"
            " WHERE k.workspace_id = %s",
            workspace,
        )
        assert ok(await owner.post(f"/ai-workspaces/{workspace}/dek-rotation"))["keys"] == 1
        after = await stack.query(
            "SELECT ciphertext, dek_id FROM vault.ai_provider_keys WHERE workspace_id = %s", workspace
        )
        assert bytes(before[0][0]) != bytes(after[0][0])
        assert before[0][1] != after[0][1]
        ok(await world.invoke(workspace, alias))
        assert upstream.requests[-1].headers["authorization"] == f"Bearer {SECRET}"

        begun = ok(await world.admin.post("/ai-vault/kek-rotation"), 202)
        assert begun["state"] in ("running", "done")

        async def done() -> dict[str, Any] | None:
            found = ok(await world.admin.get("/ai-vault/kek-rotation"))
            return found if found["state"] == "done" else None

        assert (await eventually(done))["remaining"] == 0
        ok(await world.invoke(workspace, alias))


async def test_a_deleted_workspace_is_beyond_recovery(world: World, stack: Stack) -> None:
    workspace = await world.workspace()
    owner = await world.member(workspace, "owner")
    async with Upstream() as upstream:
        accept_keys(upstream)
        upstream.always("POST", CHAT, chat_answer())
        provider = await world.provider(upstream)
        key = await world.key(workspace, provider, api_key=SECRET)
        alias = await world.alias(workspace, provider)
        ok(await world.invoke(workspace, alias))
        path = f"/ai-workspaces/{workspace}"
        problem(await owner.delete(path), 403, "forbidden")
        assert (await world.admin.delete(path)).status_code == 204
        assert (await world.admin.delete(path)).status_code == 204
        problem(await owner.get("/ai-keys"), 401, "unauthorized")
        problem(await world.invoke(workspace, alias), 404, "not_found")
        body = {"workspace_id": workspace, "provider": provider, "api_key": SECRET}
        problem(await world.admin.post("/ai-keys", **body), 404, "not_found")
    rows = await stack.query(
        "SELECT k.ciphertext, d.wrapped FROM vault.ai_provider_keys k JOIN vault.workspace_deks d ON d.id = k.dek_id"
        " WHERE k.id = %s",
        key["id"],
    )
    assert rows == [(None, None)], "ciphertext and data key are gone"
    actions = [entry["action"] for entry in await audit(world, workspace)]
    assert {"key_created", "workspace_shredded"} <= set(actions)
    listed = ok(await world.admin.get("/ai-workspaces"))["items"]
    assert workspace not in [item["id"] for item in listed]
    problem(await world.admin.delete("/ai-workspaces/987654321"), 404, "not_found")
