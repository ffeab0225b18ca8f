"""A key that stops working is told of once per version, whatever dies in between."""

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack

import pytest

from shared.messages.alerts import AlertKind, KeyAlertV1
from shared.messages.base import Done
from shared.messages.vault import KeyV1, RecordVerdictV1, RevokeKeyV1, UpdateKeyV1
from shared.messages.vocabulary import KeyStatus
from shared.records import Delivery, RecordConsumer
from tests.integration.servers import make_streams
from tests.integration.vault_world import HOST, PASSPHRASE, World, ready, vault_process, world_without_a_vault

SECRET = "sk-proj-" + secrets.token_hex(20)
ACTIVE, INVALID, UNVERIFIED = KeyStatus.ACTIVE, KeyStatus.INVALID, KeyStatus.UNVERIFIED


@pytest.fixture
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world_without_a_vault(tmp_path_factory.mktemp("vault")) as made:
        yield made


async def _verdicts(world: World, key: KeyV1, *statuses: KeyStatus, version: int = 1) -> None:
    for status in statuses:
        place = {"workspace_id": key.workspace_id, "key_id": key.id, "version": version, "reason": "refused"}
        await world.router.request(RecordVerdictV1.model_validate(place | {"status": status}), KeyV1)


async def _replaced(world: World, key: KeyV1) -> None:
    sealed = world.sealed(SECRET + "x", key_id=key.id, workspace_id=key.workspace_id, provider=key.provider, host=HOST)
    update = UpdateKeyV1(workspace_id=key.workspace_id, key_id=key.id, host=HOST, sealed=sealed)
    await world.api.request(update, KeyV1)


class Heard:
    """The edge, as far as alerts go."""

    def __init__(self, world: World) -> None:
        self.alerts: list[KeyAlertV1] = []
        self._came = asyncio.Event()
        self.consumer = RecordConsumer(world.api, KeyAlertV1, self._take)

    async def _take(self, deliveries: Sequence[Delivery]) -> None:
        assert {delivery.subject for delivery in deliveries} == {KeyAlertV1.subject}
        self.alerts += [KeyAlertV1.model_validate_json(delivery.body) for delivery in deliveries]
        self._came.set()

    async def about(self, key: KeyV1) -> list[KeyAlertV1]:
        """All there are, once there is one about ``key``."""
        async with asyncio.timeout(30):
            while key.id not in {alert.key_id for alert in self.alerts}:
                self._came.clear()
                await self._came.wait()
        return self.alerts


async def test_once_per_version_of_a_key_that_worked(world: World) -> None:
    await make_streams(world.nats_url)
    heard = Heard(world)
    with vault_process(world, PASSPHRASE):
        await ready(world)
        await heard.consumer.start()
        key, never, last = [await world.create(SECRET, workspace_id=3) for _ in range(3)]
        await _verdicts(world, never, UNVERIFIED, INVALID, INVALID)
        await _verdicts(world, key, ACTIVE, INVALID, INVALID, ACTIVE, INVALID)
        await _replaced(world, key)
        await _verdicts(world, key, INVALID)
        await _verdicts(world, key, ACTIVE, INVALID, ACTIVE, INVALID, version=2)
        await world.api.request(RevokeKeyV1(workspace_id=3, key_id=never.id), Done)
        await _verdicts(world, last, ACTIVE, INVALID)
        alerts = await heard.about(last)
        await heard.consumer.stop(1)
    assert [(alert.key_id, alert.version) for alert in alerts] == [(key.id, 1), (key.id, 2), (last.id, 1)]
    assert {(alert.kind, alert.workspace_id, alert.reason) for alert in alerts} == {
        (AlertKind.KEY_INVALID, 3, "refused")
    }
    assert SECRET not in "".join(alert.model_dump_json() for alert in alerts)


async def test_a_vault_that_is_killed_before_the_stream_is_there_tells_later(world: World) -> None:
    with ExitStack() as stack:
        vault = stack.enter_context(vault_process(world, PASSPHRASE))
        await ready(world)
        keys = [await world.create(SECRET, workspace_id=4) for _ in range(20)]
        for key in keys:
            await _verdicts(world, key, ACTIVE, INVALID)
        vault.send_signal(signal.SIGKILL)
        vault.wait()
    assert world.sql("SELECT count(*) FROM key_alerts WHERE told_at IS NULL") == [(20,)]
    await make_streams(world.nats_url)
    heard = Heard(world)
    with vault_process(world, PASSPHRASE), vault_process(world, PASSPHRASE):
        await heard.consumer.start()
        for key in keys:
            await heard.about(key)
        await heard.consumer.stop(1)
    once = {alert.alert_id for alert in heard.alerts}
    print(f"key alerts: raised=20 after a kill -9 heard={len(heard.alerts)} different={len(once)}")
    assert len(heard.alerts) == len(once) == 20, "two replicas tell the same; the stream keeps it once"
