"""Two workspaces with a row each in every table there is, and connections as the services open them."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import psycopg
from psycopg import sql

from services.metering.domain.usage import Counters
from shared.clock import SystemClock
from shared.db import EVERY_WORKSPACE, Scope
from shared.schemas import service_url, services
from tests.integration.servers import PASSWORD

MINE, THEIRS = 1, 2
NOW, LONG_AGO = SystemClock().now(), datetime(1999, 1, 1, tzinfo=UTC)
EXCEPTED = {
    "router.ai_providers": "the catalogue is everybody's; only a platform admin's request writes it",
    **{f"{service}.alembic_version": "no service may write it" for service in services()},
}
# Rows of no workspace: only work on every workspace reaches them.
PLATFORM = {"metering.dead_letters", "router.ai_catalogue_changes", "vault.kek_rotations", "vault.retired_keks"}
# Where the workspace is not in a column ``workspace_id``: how to read it, and what to set to move a row to another.
OWNER = {
    "api.workspaces": "id",
    "metering.budget_periods": "(SELECT workspace_id FROM ai_provider_budgets b WHERE b.id = budget_id)",
}
MOVED = {"api.workspaces": "id", "metering.budget_periods": "budget_id"}
TABLES = """
    SELECT n.nspname || '.' || c.relname, c.relkind, c.relrowsecurity AND c.relforcerowsecurity,
        (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind NOT IN ('i', 'I', 'S', 't', 'c') AND n.nspname = ANY(%s) ORDER BY c.oid
"""
Connection = psycopg.Connection[tuple[object, ...]]
Row = dict[str, object]


@dataclass(frozen=True)
class Table:
    """A table, partition or view as PostgreSQL's catalogue has it; ``name`` with its schema."""

    name: str
    kind: str
    forced: bool
    policies: int

    @property
    def service(self) -> str:
        """Whose it is."""
        return self.name.partition(".")[0]

    @property
    def sql(self) -> sql.Identifier:
        """The name, quoted."""
        return sql.Identifier(*self.name.split("."))

    @property
    def has_parts(self) -> bool:
        """Whether its rows are its partitions' rows."""
        return self.kind == "p"

    def row(self, workspace: int) -> Row:
        """A row of ``workspace`` that this table takes."""
        is_part = self.name.startswith("metering.ai_call_logs_")
        row = rows(workspace).get("metering.ai_call_logs" if is_part else self.name)
        assert row, f"{self.name} is new: force its row-level security and write a row for it here (or except it)"
        return row | {"started_at": LONG_AGO} if self.name.endswith("_default") else row


def connect(url: str, service: str, scope: Scope | None) -> Connection:
    """As the service itself, on the rows of ``scope`` (None: it does not say)."""
    options = "" if scope is None else f"-c omnipost.workspace={scope}"
    return psycopg.connect(service_url(url, service, PASSWORD), autocommit=True, options=options)


def found(url: str) -> list[Table]:
    """Whatever holds rows in the services' schemas, oldest first: a parent comes before its children."""
    with psycopg.connect(url) as connection:
        return [Table(*row) for row in connection.execute(TABLES, (list(services()),))]


def guarded(url: str) -> list[Table]:
    """All of them but the excepted."""
    return [table for table in found(url) if table.name not in EXCEPTED]


def fill(url: str) -> None:
    """One row of each workspace in every table, written on a connection of that workspace."""
    with connect(url, "metering", EVERY_WORKSPACE) as connection:
        connection.execute("SELECT ensure_call_log_partition(%s)", (NOW.date(),))
    for table in guarded(url):
        for workspace in (MINE, THEIRS):
            if not table.has_parts:
                with connect(
                    url, table.service, EVERY_WORKSPACE if table.name in PLATFORM else workspace
                ) as connection:
                    insert(connection, table, table.row(workspace))


def insert(connection: Connection, table: Table, row: Row) -> None:
    """Raises psycopg.errors.InsufficientPrivilege where a policy forbids it."""
    names = sql.SQL(", ").join(map(sql.Identifier, row))
    places = sql.SQL(", ").join([sql.Placeholder()] * len(row))
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(table.sql, names, places)
    connection.execute(statement, list(row.values()))


def rows(workspace: int) -> dict[str, Row]:
    """A row of ``workspace`` for every table, by table. Ids are the workspace's number."""
    router = {"router.ai_model_aliases": _alias(workspace), "router.ai_catalogue_changes": _change(workspace)}
    return _contents(workspace) | _edge(workspace) | _vault(workspace) | _metering(workspace) | router


def _edge(workspace: int) -> dict[str, Row]:
    token = {"id": UUID(int=workspace), "workspace_id": workspace, "role": "owner", "name": "x", "masked": "omni_…x"}
    return {
        "api.workspaces": {"id": workspace, "name": "x", "created_at": NOW},
        "api.access_tokens": token | {"token_hash": bytes([workspace] * 32), "created_at": NOW},
        "api.webhooks": {
            "id": UUID(int=workspace),
            "workspace_id": workspace,
            "url": "https://example.com/",
            "events": ["x"],
            "secret": b"x",
            "created_at": NOW,
            "updated_at": NOW,
        },
        "api.idempotent_requests": {
            "name": bytes([workspace] * 32),
            "workspace_id": workspace,
            "fingerprint": b"x",
            "effect_id": UUID(int=workspace),
            "holder": UUID(int=workspace),
            "lease_until": NOW,
            "created_at": NOW,
        },
        "api.webhook_deliveries": {
            "id": UUID(int=workspace),
            "webhook_id": UUID(int=workspace),
            "workspace_id": workspace,
            "event_id": UUID(int=workspace),
            "type": "x",
            "body": "{}",
            "next_at": NOW,
            "created_at": NOW,
        },
    }


def _alias(workspace: int) -> Row:
    target = {"provider": "openai", "model": "m"}
    return {
        "id": UUID(int=workspace), "workspace_id": workspace, "alias_name": "a", "display_name": "A",
        "capability": "chat", "chain": json.dumps([target]), "routing_preference": "quality", "allow_aggregators": True,
        "time_limits": "{}", "is_default": False, "created_at": NOW, "updated_at": NOW,
    }  # fmt: skip


def _change(workspace: int) -> Row:
    return {"version": workspace, "at": NOW, "provider": "openai", "after": "{}"}


def _vault(workspace: int) -> dict[str, Row]:
    one, digest = UUID(int=workspace), bytes(32)
    key = {
        "id": one, "workspace_id": workspace, "provider": "openai", "label": "x", "masked_key": "…x",
        "scopes": ["text"], "status": "active", "host": "h", "version": 1, "dek_id": one, "ciphertext": b"x",
        "created_at": NOW, "updated_at": NOW,
    }  # fmt: skip
    entry = {"workspace_id": workspace, "seq": 1, "at": NOW, "action": "x", "actor": "{}", "facts": "{}"}
    return {
        "vault.workspace_deks": {
            "id": one, "workspace_id": workspace, "kek_id": "k", "wrapped": b"x", "created_at": NOW,
        },
        "vault.ai_provider_keys": key,
        "vault.key_audit": entry | {"previous": digest, "hash": digest},
        "vault.audit_heads": {"workspace_id": workspace, "seq": 1, "hash": digest, "seal": digest},
        "vault.key_alerts": {
            "alert_id": one, "workspace_id": workspace, "key_id": one, "version": 1, "body": "{}", "raised_at": NOW,
        },
        "vault.shredded_workspaces": {"workspace_id": workspace, "shredded_at": NOW},
        "vault.retired_keks": {"kek_id": str(workspace), "retired_at": NOW},
        "vault.kek_rotations": {
            "id": one, "to_kek_id": "k", "old_kek_ids": ["o"], "total": 0, "state": "done", "started_at": NOW,
            "finished_at": NOW,
        },
    }  # fmt: skip


def _contents(workspace: int) -> dict[str, Row]:
    one, mine = UUID(int=workspace), {"workspace_id": workspace}
    policy = {"store_content": True, "content_days": 1, "zero_retention": False, "updated_at": NOW}
    content = {"attempt_id": one, "call_id": "c", "stored_at": NOW, "root_id": one, "salt": b"x", "sealed": b"x"}
    return {
        "metering.content_policies": mine | policy,
        "metering.ai_call_contents": mine | content,
        "vault.content_roots": mine | {"id": one, "dek_id": one, "ciphertext": b"x", "created_at": NOW},
    }


def _metering(workspace: int) -> dict[str, Row]:
    # Far from the numbers the table itself gives.
    one, number = UUID(int=workspace), 10**6 + workspace
    call = {
        "attempt_id": one, "call_id": "c", "workspace_id": workspace, "key_id": one, "provider": "openai",
        "model": "m", "alias_name": "a", "capability": "chat", "attempt_index": 0,
    }  # fmt: skip
    counted = {
        "workspace_id": workspace, "provider": "p", "alias_name": "a", "model": "m", "key_id": one,
        "capability": "chat", "funds": "own", "outcome": "success", **dict.fromkeys(Counters._fields, 1),
    }  # fmt: skip
    fallback = {"workspace_id": workspace, "fallback_from": "p/m", "target": "q/m", "reason": "timeout"}
    fallback |= {"requests": 1, "succeeded": 1}
    letter = {"received_at": NOW, "subject": "s", "reason": "r", "body": b"x", "delivered": 1}
    ended = {"outcome": "ok", "billing": "cost", "charged_usd_micros": 1, "started_at": NOW, "finished_at": NOW}
    acted = {"action": "a", "subject": "s", "actor": "{}", "facts": "{}"}
    return {
        "metering.ledger_actions": {"id": number, "workspace_id": workspace, "at": NOW} | acted,
        "metering.reconciled_attempts": {
            "attempt_id": one, "workspace_id": workspace, "started_at": NOW, "at": NOW, "charged_before_usd_micros": 1,
            "charged_before_tokens": 1, "cost_usd_micros": 1, "input_tokens": 1, "output_tokens": 1,
        },
        "metering.call_log_retention": {"workspace_id": workspace, "call_log_days": 1, "updated_at": NOW},
        "metering.ended_attempts": {"attempt_id": one, "workspace_id": workspace, "state": "settled"},
        "metering.reservations": call | {"tokens": 1, "period_start": NOW.date(), "created_at": NOW, "expires_at": NOW},
        "metering.ai_call_logs": call | ended,
        "metering.usage_rollups": counted | {"hour": NOW},
        "metering.usage_days": counted | {"day": NOW},
        "metering.fallback_rollups": fallback | {"hour": NOW},
        "metering.fallback_days": fallback | {"day": NOW},
        "metering.dead_letters": letter | {"fingerprint": bytes([workspace])},
        **_budgets(workspace, one, number),
    }  # fmt: skip


def _budgets(workspace: int, one: UUID, number: int) -> dict[str, Row]:
    budget = {"id": number, "workspace_id": workspace, "scope": "key", "key_id": one}
    return {
        "metering.ai_provider_budgets": budget | {"created_at": NOW, "updated_at": NOW},
        "metering.budget_periods": {"budget_id": number, "period_start": NOW.date()},
        "metering.budget_alerts": {
            "alert_id": one, "workspace_id": workspace, "budget_id": number, "span": "day", "period_start": NOW.date(),
            "unit": "tokens", "kind": "budget.warning", "body": "{}", "raised_at": NOW,
        },
    }  # fmt: skip
