"""Webhooks over real HTTP: signed, retried, replayed; what a receiver may do to us, and what it may not."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import nats
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from shared.messages.alerts import AlertKind
from shared.testing.upstream import Answer, Upstream, json_answer
from tests.integration.webhook_world import World, budget_alert, eventually, key_alert, verified, webhook_world

HOOK = "/hook"


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with webhook_world(tmp_path_factory.mktemp("webhooks")) as made:
        yield made


@pytest.fixture
async def receiver() -> AsyncIterator[Upstream]:
    async with Upstream() as serving:
        serving.always("POST", HOOK, json_answer({}))
        yield serving


async def test_an_alert_arrives_signed_at_those_who_ask_for_it_and_live_on_nats(
    world: World, receiver: Upstream
) -> None:
    mine, theirs = await world.workspace(), await world.workspace()
    asked = await world.webhook(mine, f"{receiver.base_url}{HOOK}?of=mine", "budget.warning", "key.invalid")
    await world.webhook(mine, f"{receiver.base_url}{HOOK}?of=unasked", "budget.halted")
    await world.webhook(theirs, f"{receiver.base_url}{HOOK}?of=theirs")
    listener = await nats.connect(world.nats_url)
    heard = await listener.subscribe(f"ai.events.{mine}.>")
    await listener.flush()
    warning, refused = budget_alert(mine), key_alert(mine)
    for _ in range(3):
        await world.metering.record(warning)
    await world.vault.record(refused)
    await world.ended(asked, 2)
    assert [request.path for request in receiver.requests] == [f"{HOOK}?of=mine"] * 2
    first, second = (verified(request, asked["secret"]) for request in receiver.requests)
    assert (first["type"], first["data"]["used"], first["data"]["alert_id"]) == (
        "budget.warning", 4_100_000, warning.alert_id,
    )  # fmt: skip
    assert (second["type"], second["data"]["key_id"]) == ("key.invalid", refused.key_id)
    assert receiver.requests[0].headers["webhook-id"] == warning.alert_id
    live = [await heard.next_msg(5) for _ in range(2)]
    assert [event.subject for event in live] == [
        f"ai.events.{mine}.budget_warning.v1", f"ai.events.{mine}.key_invalid.v1",
    ]  # fmt: skip
    assert json.loads(live[0].data)["alert"] == first["data"], "both tell the same"
    await listener.close()


async def test_a_forged_or_altered_payload_does_not_verify(world: World, receiver: Upstream) -> None:
    hook = await world.webhook(await world.workspace(), f"{receiver.base_url}{HOOK}")
    await world.ask("POST", f"/ai-webhooks/{hook['id']}/test", 202)
    await world.ended(hook, 1)
    request = receiver.requests[0]
    assert verified(request, hook["secret"])["type"] == "webhook.test"
    with pytest.raises(WebhookVerificationError):
        Webhook(hook["secret"]).verify(request.body + b" ", dict(request.headers))
    with pytest.raises(WebhookVerificationError):
        verified(request, "whsec_" + base64.b64encode(bytes(32)).decode())


async def test_during_a_rotation_both_secrets_sign(world: World, receiver: Upstream) -> None:
    workspace = await world.workspace()
    hook = await world.webhook(workspace, f"{receiver.base_url}{HOOK}")
    path = f"/ai-webhooks/{hook['id']}"
    changed = await world.ask("PUT", path, json={"new_secret": True})
    assert changed["secret"] != hook["secret"]
    await world.ask("POST", f"{path}/test", 202)
    await world.ended(hook, 1)
    world.sql("UPDATE webhooks SET previous_until = now() WHERE id = %s", hook["id"])
    await world.ask("POST", f"{path}/test", 202)
    await world.ended(hook, 2)
    during, after = receiver.requests
    for secret in (hook["secret"], changed["secret"]):
        assert verified(during, secret)["type"] == "webhook.test"
    assert verified(after, changed["secret"])
    with pytest.raises(WebhookVerificationError):
        verified(after, hook["secret"])
    assert "secret" not in await world.shown(workspace, hook)


async def test_what_failed_comes_again_and_what_arrived_can_be_replayed(world: World, receiver: Upstream) -> None:
    workspace = await world.workspace()
    hook = await world.webhook(workspace, f"{receiver.base_url}{HOOK}")
    receiver.script("POST", HOOK, Answer(status=500, body=b"canary-of-an-answer"))
    began = asyncio.get_running_loop().time()
    await world.ask("POST", f"/ai-webhooks/{hook['id']}/test", 202)
    delivery = (await world.ended(hook, 1))[0]
    waited = asyncio.get_running_loop().time() - began
    assert 4.5 <= waited <= 12, "5 s, give or take a tenth, and the time it takes"
    assert (delivery["attempts"], delivery["last_code"]) == (2, 200)
    assert (await world.shown(workspace, hook))["failing_since"] is None
    await world.ask("POST", f"/ai-webhooks/{hook['id']}/deliveries/{delivery['id']}/replay", 202)
    await world.ended(hook, 1)
    async with asyncio.timeout(10):
        await receiver.arrival(3)
    ids = {request.headers["webhook-id"] for request in receiver.requests}
    assert ids == {delivery["event_id"]}, "whoever has it can tell"
    assert len({request.body for request in receiver.requests}) == 1
    assert not world.sql("SELECT 1 FROM webhook_deliveries t WHERE t::text LIKE '%%canary-of-an-answer%%'")
    print(f"webhooks: came again after {waited:.1f} s; attempts=2, replayed under the same id")


async def test_no_redirect_is_followed(world: World, receiver: Upstream) -> None:
    hook = await world.webhook(await world.workspace(), f"{receiver.base_url}/moved")
    receiver.always("POST", "/moved", Answer(status=307, headers={"location": f"{receiver.base_url}{HOOK}"}))
    await world.ask("POST", f"/ai-webhooks/{hook['id']}/test", 202)

    async def answered() -> dict[str, Any] | None:
        return next((item for item in await world.deliveries(hook) if item["last_code"]), None)

    seen = await eventually(answered)
    assert (seen["status"], seen["last_code"], seen["last_trouble"]) == ("pending", 307, "redirect")
    assert [request.path for request in receiver.requests] == ["/moved"]


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook", "https://10.0.0.1/hook", "https://169.254.169.254/latest", "https://localhost/hook",
        "https://[::1]/hook", "https://0x7f000001/", "https://user:pw@example.com/", "https://metadata.internal/",
        "ftp://example.com/", "https://example.com/#x", "https://example.com/\r\nhost: x", "https://2130706433/",
    ],
)  # fmt: skip
async def test_no_webhook_points_inside(world: World, url: str) -> None:
    body = {"workspace_id": 1, "url": url}
    told = await world.ask("POST", "/ai-webhooks", 422, json=body)
    assert told["code"] == "invalid_request"
    assert not world.sql("SELECT 1 FROM webhooks WHERE url = %s", url)


async def test_a_receiver_that_hangs_holds_up_nobody_else(world: World, receiver: Upstream) -> None:
    workspace = await world.workspace()
    receiver.always("POST", "/hangs", Answer(hang=True))
    slow = await world.webhook(workspace, f"{receiver.base_url}/hangs")
    quick = await world.webhook(workspace, f"{receiver.base_url}{HOOK}")
    alerts = [budget_alert(workspace) for _ in range(20)]
    began = asyncio.get_running_loop().time()
    for alert in alerts:
        await world.metering.record(alert)
    await world.ended(quick, 20)
    took = asyncio.get_running_loop().time() - began
    arrived = [request.headers["webhook-id"] for request in receiver.requests if request.path == HOOK]
    assert arrived == [alert.alert_id for alert in alerts], "in order, as all went well"
    assert sum(request.path == "/hangs" for request in receiver.requests) == 1, "one at a time"
    assert took < 8

    async def given_up() -> dict[str, Any] | None:
        return next((item for item in await world.deliveries(slow) if item["last_trouble"] == "timeout"), None)

    await eventually(given_up)
    print(f"webhooks: 20 events past a receiver that hangs in {took:.2f} s, in order")


async def test_a_webhook_that_has_gone_or_failed_for_days_is_disabled_and_can_be_enabled(
    world: World, receiver: Upstream
) -> None:
    workspace = await world.workspace()
    gone = await world.webhook(workspace, f"{receiver.base_url}/gone", "budget.warning")
    failing = await world.webhook(workspace, f"{receiver.base_url}/failing", "budget.exhausted")
    receiver.always("POST", "/gone", Answer(status=410))
    receiver.always("POST", "/failing", Answer(status=503))
    world.sql("UPDATE webhooks SET failing_since = now() - interval '3 days' WHERE id = %s", failing["id"])
    await world.metering.record(budget_alert(workspace))
    await world.metering.record(budget_alert(workspace, AlertKind.BUDGET_EXHAUSTED))
    for hook, why in ((gone, "gone"), (failing, "failing")):
        assert (await _disabled(world, workspace, hook))["disabled_why"] == why
        await world.ask("POST", f"/ai-webhooks/{hook['id']}/test", 409)
    logged = [json.loads(line) for line in world.log.read_text().splitlines() if "a webhook is disabled" in line]
    assert {(line["workspace_id"], line["level"]) for line in logged} == {(workspace, "error")}
    receiver.always("POST", "/failing", json_answer({}))
    assert (await world.ask("PUT", f"/ai-webhooks/{failing['id']}", json={"enabled": True}))["enabled"]
    world.sql("UPDATE webhook_deliveries SET next_at = now() WHERE webhook_id = %s", failing["id"])
    assert (await world.ended(failing, 1))[0]["type"] == "budget.exhausted"


async def _disabled(world: World, workspace: int, hook: dict[str, Any]) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        seen = await world.shown(workspace, hook)
        return None if seen["enabled"] else seen

    return await eventually(look)


async def test_a_malformed_alert_harms_no_other(world: World, receiver: Upstream) -> None:
    workspace = await world.workspace()
    hook = await world.webhook(workspace, f"{receiver.base_url}{HOOK}")
    good = budget_alert(workspace)
    bad: list[Any] = [b"", b"{}", b"\xff", b"[]", good.model_dump_json().replace(good.alert_id, "x").encode()]
    bad += [budget_alert(2**70).model_dump_json().encode(), budget_alert(-1).model_dump_json().encode()]
    stream = world.metering.client.jetstream()
    for body in bad:
        await stream.publish("ai.alerts.budget.v1", body)
    await world.metering.record(good)
    await world.ended(hook, 1)

    async def nothing_left() -> bool | None:
        return None if (await stream.stream_info("ALERTS")).state.messages else True

    await eventually(nothing_left)
    assert len(receiver.requests) == 1


async def test_a_workspace_has_twenty_at_most(world: World, receiver: Upstream) -> None:
    workspace = await world.workspace()
    body = {"workspace_id": workspace, "url": f"{receiver.base_url}{HOOK}"}
    answers = await asyncio.gather(*(world.http.post("/ai-webhooks", json=body) for _ in range(24)))
    assert sorted(answer.status_code for answer in answers) == [201] * 20 + [409] * 4


async def test_secrets_are_nowhere_but_in_the_answers_that_gave_them(world: World, receiver: Upstream) -> None:
    workspace, given = await world.workspace(), list[str]()
    for _ in range(5):
        hook = await world.webhook(workspace, f"{receiver.base_url}{HOOK}")
        changed = await world.ask("PUT", f"/ai-webhooks/{hook['id']}", json={"new_secret": True})
        await world.ask("POST", f"/ai-webhooks/{hook['id']}/test", 202)
        await world.ended(hook, 1)
        given += [hook["secret"], changed["secret"]]
    world.sql("CHECKPOINT")
    raw = [base64.b64decode(secret.removeprefix("whsec_")) for secret in given]
    forms = [form for one in raw for form in (one, one.hex().encode(), base64.b64encode(one))]
    files = [path for path in world.folder.rglob("*") if path.is_file()]
    found = [path for path in files for content in [path.read_bytes()] for form in forms if form in content]
    print(f"webhook secrets: canaries={len(given)} forms={len(forms)} files={len(files)} found={len(found)}")
    assert not found
    assert len(files) > 500
    assert any(str(workspace).encode() in path.read_bytes() for path in files), "the search reads what is there"
