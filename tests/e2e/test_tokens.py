"""The life of an access token: shown once, kept as a keyed hash, good until it expires or is revoked."""

import hashlib
import hmac
from base64 import b64encode

import psycopg
from psycopg import sql

from shared import sealing
from shared.testing.stack import Stack
from tests.e2e.world import World, eventually, ok, problem
from tests.integration.isolation_world import found


async def test_an_expired_token_is_nobodys(world: World, stack: Stack) -> None:
    workspace = await world.workspace()
    made = ok(await world.admin.post("/ai-tokens", workspace_id=workspace, role="owner", expires_in_days=1), 201)
    caller = world.caller(made["token"])
    ok(await caller.get("/ai-keys"))
    await stack.query(
        "UPDATE api.access_tokens SET expires_at = now() - interval '1 second' WHERE id = %s RETURNING 1", made["id"]
    )

    async def refused() -> bool | None:
        return (await caller.get("/ai-keys")).status_code == 401 or None

    # An edge remembers a valid token for two seconds.
    assert await eventually(refused, within_s=3)
    problem(await caller.get("/ai-keys"), 401, "unauthorized")


async def test_a_revoked_token_is_nobodys_at_once(world: World) -> None:
    workspace = await world.workspace()
    made = ok(await world.admin.post("/ai-tokens", workspace_id=workspace, role="owner"), 201)
    caller = world.caller(made["token"])
    ok(await caller.get("/ai-keys"))
    assert (await caller.delete(f"/ai-tokens/{made['id']}")).status_code == 204
    problem(await caller.get("/ai-keys"), 401, "unauthorized")
    listed = ok(await world.admin.get("/ai-tokens", workspace_id=workspace))["items"]
    assert [(item["id"], bool(item["revoked_at"])) for item in listed] == [(made["id"], True)]


async def test_a_token_is_listed_masked_and_stored_as_a_keyed_hash(world: World, stack: Stack) -> None:
    workspace = await world.workspace()
    made = ok(await world.admin.post("/ai-tokens", workspace_id=workspace, role="viewer", name="Dashboard"), 201)
    token: str = made["token"]
    listed = await world.admin.get("/ai-tokens", workspace_id=workspace)
    assert ok(listed)["items"][0]["masked"] == f"{token[:5]}…{token[-4:]}"
    assert "token_hash" not in listed.text
    plain = hashlib.sha256(token.encode()).digest()
    secrets = [token, token[5:], token[5:25], b64encode(token.encode()).decode(), token.encode().hex(), plain.hex()]
    dump = _dump(stack.owner_url)
    assert not [secret for secret in secrets if secret in dump]
    assert stack.admin_token not in dump
    pepper = sealing.decode((stack.home / "secrets" / "token-pepper").read_text().strip())
    assert hmac.new(pepper, token.encode(), hashlib.sha256).hexdigest() in dump, "the dump would have shown it"
    print(f"tokens: {len(dump)} characters of database, 0 of {len(secrets)} forms of a token")


def _dump(owner_url: str) -> str:
    """Every row of every service as text, bytes as hex."""
    rows: list[str] = []
    with psycopg.connect(owner_url, autocommit=True) as connection:
        for table in found(owner_url):
            query = sql.SQL("SELECT t::text FROM {} t").format(table.sql)
            rows += (str(row[0]) for row in connection.execute(query))
    return "\n".join(rows)
