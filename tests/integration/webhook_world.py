"""Edge processes between a real NATS server and a real PostgreSQL, receivers on loopback, and who raises alerts."""

import asyncio
import base64
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import httpx2
import psycopg
from psycopg.rows import dict_row
from standardwebhooks import Webhook

from shared import sealing
from shared.bus import Bus
from shared.clock import SystemClock, month_of, next_month
from shared.messages.alerts import AlertKind, BudgetAlertV1, KeyAlertV1
from shared.messages.base import Service
from shared.schemas import service_url
from shared.testing.upstream import Received
from tests.integration.servers import (
    PASSWORD,
    bus,
    free_port,
    make_streams,
    migrated_postgres,
    nats_server,
    running,
    wait_for_port,
)

T = TypeVar("T")
ADMIN = "omni_" + secrets.token_urlsafe(24)


@dataclass
class World:
    """``metering`` and ``vault`` stand in for the services that raise alerts."""

    folder: Path
    nats_url: str
    owner_url: str
    metering: Bus
    vault: Bus
    http: httpx2.AsyncClient

    @property
    def log(self) -> Path:
        return self.folder / "api.log"

    async def ask(self, method: str, path: str, status: int = 200, **how: Any) -> dict[str, Any]:
        """The edge's answer to the platform's admin, which must have ``status``."""
        answer = await self.http.request(method, path, **how)
        assert answer.status_code == status, f"{answer.status_code}: {answer.text[:500]}"
        return dict(answer.json()) if answer.content else {}

    async def workspace(self) -> int:
        """A fresh one."""
        number: int = (await self.ask("POST", "/ai-workspaces", 201, json={"name": "x"}))["id"]
        return number

    async def webhook(self, workspace: int, url: str, *events: str) -> dict[str, Any]:
        """A webhook with its secret."""
        body = {"workspace_id": workspace, "url": url} | ({"events": events} if events else {})
        return await self.ask("POST", "/ai-webhooks", 201, json=body)

    async def deliveries(self, webhook: dict[str, Any]) -> list[dict[str, Any]]:
        """Newest first."""
        answer = await self.ask("GET", f"/ai-webhooks/{webhook['id']}/deliveries", params={"limit": 500})
        return list(answer["items"])

    async def shown(self, workspace: int, webhook: dict[str, Any]) -> dict[str, Any]:
        """The webhook as it is listed."""
        items = (await self.ask("GET", "/ai-webhooks", params={"workspace_id": workspace}))["items"]
        return next(dict(item) for item in items if item["id"] == webhook["id"])

    async def ended(self, webhook: dict[str, Any], count: int) -> list[dict[str, Any]]:
        """Its deliveries, once ``count`` of them are noted as delivered."""

        async def found() -> list[dict[str, Any]] | None:
            items = await self.deliveries(webhook)
            return items if sum(item["status"] == "delivered" for item in items) >= count else None

        return await eventually(found, 60)

    def sql(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """As the database's owner, committed at once."""
        with psycopg.connect(
            self.owner_url, autocommit=True, options="-c search_path=api", row_factory=dict_row
        ) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []


async def eventually(look: Callable[[], Awaitable[T | None]], within_s: float = 15) -> T:
    """What ``look`` finds, asked again until it finds something. Raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while (found := await look()) is None:  # noqa: ASYNC110 - there is nothing to be told by over HTTP
            await asyncio.sleep(0.02)
        return found


def budget_alert(workspace: int, kind: AlertKind = AlertKind.BUDGET_WARNING, **how: Any) -> BudgetAlertV1:
    """As metering tells it."""
    now = SystemClock().now()
    fields = {
        "alert_id": str(uuid4()), "kind": kind, "workspace_id": workspace, "scope": "workspace", "period": "month",
        "period_start": month_of(now), "resets_at": next_month(now), "unit": "usd_micros", "cap": 5_000_000,
        "used": 4_100_000, "at": now,
    }  # fmt: skip
    return BudgetAlertV1.model_validate(fields | how)


def key_alert(workspace: int) -> KeyAlertV1:
    """As the vault tells it."""
    example = KeyAlertV1.example | {"alert_id": str(uuid4()), "workspace_id": workspace}
    return KeyAlertV1.model_validate(example | {"at": SystemClock().now() - timedelta(seconds=1)})


def verified(request: Received, secret: str) -> dict[str, Any]:
    """The payload, once the referee has found its signature right. Raises WebhookVerificationError."""
    payload: dict[str, Any] = Webhook(secret).verify(request.body, dict(request.headers))
    return payload


@contextmanager
def edge(world: World, port: int, **more: str) -> Iterator["subprocess.Popen[bytes]"]:
    """``python -m services.api`` with nothing in its environment but what it needs, and ``more``."""
    environment = {
        "PATH": os.defpath,
        "NATS_URL": world.nats_url,
        "DATABASE_URL": service_url(world.owner_url, "api", PASSWORD),
        "OMNIPOST_PORT": str(port),
        "OMNIPOST_ALLOWED_PRIVATE_HOSTS": "127.0.0.1",
        "TOKEN_PEPPER_FILE": str(world.folder / "pepper"),
        "VAULT_PUBLIC_FILE": str(world.folder / "vault-public"),
        "ADMIN_TOKEN_FILE": str(world.folder / "admin"),
        **more,
    }
    with running([sys.executable, "-m", "services.api"], world.log, environment) as process:
        wait_for_port(port, process)
        yield process


async def serving(world: World, number: int) -> None:
    """Return once ``number`` edge processes have said that they are ready."""
    async with asyncio.timeout(60):
        while world.log.read_bytes().count(b'"ready"') < number:  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.05)


@asynccontextmanager
async def webhook_world(folder: Path) -> AsyncIterator[World]:
    """Everything up with one edge; everything down again at the end."""
    pepper, seed = secrets.token_bytes(32), secrets.token_bytes(32)
    (folder / "pepper").write_text(base64.b64encode(pepper).decode())
    (folder / "vault-public").write_text(sealing.VaultIdentity.from_seed(seed).public())
    (folder / "admin").write_text(ADMIN)
    port = free_port()
    headers = {"authorization": f"Bearer {ADMIN}"}
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False) as http:
        with nats_server(folder) as nats_url, migrated_postgres(folder) as postgres:
            metering, vault = bus(Service.METERING, nats_url), bus(Service.VAULT, nats_url)
            world = World(folder, nats_url, postgres.url, metering, vault, http)
            await asyncio.gather(make_streams(nats_url), metering.start(), vault.start())
            with edge(world, port):
                await serving(world, 1)
                yield world
            await metering.stop(1)
            await vault.stop(1)
