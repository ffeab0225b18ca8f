"""Every route of the edge, everybody who may knock, and what each must be told: derived from ``access.ALLOWED``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import uuid4

import psycopg
from psycopg import sql

from services.api.domain.access import ALLOWED, Action, Role
from tests.e2e.world import KEY, Caller
from tests.integration.isolation_world import OWNER, found

Verdict = Literal["unauthorized", "forbidden", "elsewhere", "allowed"]
STATUSES: Mapping[Verdict, frozenset[int]] = {
    "unauthorized": frozenset({401}),
    "forbidden": frozenset({403}),
    # Which of the two must not tell a stranger more than he knew: a workspace is named, a key is looked for.
    "elsewhere": frozenset({403, 404}),
    "allowed": frozenset({200, 201, 202, 204}),
}
WORKSPACE_ROLES = (Role.OWNER, Role.ADMIN, Role.MEMBER, Role.VIEWER)


@dataclass
class Side:
    """A workspace and what is in it. Everything it has written bears ``mark``."""

    workspace: int
    mark: str
    provider: str
    key_id: str = ""
    alias_id: str = ""
    alias_name: str = ""
    embeds: str = ""
    token_id: str = ""
    attempt_id: str = ""
    letter_id: str = ""
    webhook_id: str = ""
    delivery_id: str = ""
    receiver: str = "https://example.com/hook"
    # Whatever must never reach the other side: marks, ids.
    secrets: set[str] = field(default_factory=set)

    def ids(self) -> dict[str, str]:
        """What stands for a placeholder of a path."""
        return {
            "workspace_id": str(self.workspace), "key_id": self.key_id, "alias_id": self.alias_id,
            "token_id": self.token_id, "provider_id": self.provider, "attempt_id": self.attempt_id,
            "letter_id": self.letter_id, "webhook_id": self.webhook_id, "delivery_id": self.delivery_id,
            "model_id": self.alias_name,
        }  # fmt: skip


@dataclass(frozen=True)
class Somebody:
    """Who knocks. ``role`` None: nobody we know. ``workspace`` None: of no workspace."""

    name: str
    caller: Caller
    role: Role | None = None
    workspace: int | None = None


@dataclass(frozen=True)
class Route:
    """A route: what it does, and how it says which workspace it is about.

    ``named``: in the query, in the body, in a header, by an id in the path, or not at all (it is about the platform).
    ``destroys``: what the path names is gone afterwards.
    """

    action: Action
    named: Literal["query", "body", "header", "path", "nowhere"]
    body: Callable[[Side], dict[str, Any]] | None = None
    destroys: bool = False

    def verdict(self, who: Somebody, side: Side) -> Verdict:
        """What ``who`` must be told when asking about ``side``."""
        if who.role is None:
            return "unauthorized"
        if who.role not in ALLOWED[self.action]:
            return "forbidden"
        if self.named != "nowhere" and who.workspace not in (None, side.workspace):
            return "elsewhere"
        return "allowed"

    def request(self, who: Somebody, side: Side) -> dict[str, Any]:
        """Query and body of a request by ``who`` about ``side``."""
        how: dict[str, Any] = {}
        if self.named == "query":
            how["params"] = {"workspace_id": side.workspace}
        if self.named == "header":
            how["headers"] = {"x-omnipost-workspace-id": str(side.workspace)}
        if self.body is not None:
            how["json"] = self.body(side)
        if self.named == "body":
            how["json"]["workspace_id"] = side.workspace
        elif self.named == "path" and self.body is not None and who.workspace is not None:
            # Naming one's own workspace beside another's id opens nothing.
            how["json"]["workspace_id"] = who.workspace
        return how


def _key(side: Side) -> dict[str, Any]:
    return {"provider": side.provider, "label": side.mark, "api_key": KEY}


def _alias(side: Side) -> dict[str, Any]:
    name = f"{side.mark}-{uuid4().hex[:8]}"
    return {"alias_name": name, "primary_provider": side.provider, "primary_model": "m"}


def _webhook(side: Side) -> dict[str, Any]:
    return {"url": side.receiver, "events": ["key.invalid"]}


def _invoke(side: Side) -> dict[str, Any]:
    return {"alias_name": side.alias_name, "prompt": "Hello!"}


def _conversation(side: Side) -> dict[str, Any]:
    return {"model": side.alias_name, "messages": [{"role": "user", "content": side.mark}], "max_tokens": 50}


def _counted(side: Side) -> dict[str, Any]:
    return {"model": side.alias_name, "messages": [{"role": "user", "content": side.mark}]}


def _text(side: Side) -> dict[str, Any]:
    return {"model": side.alias_name, "prompt": side.mark}


def _embedded(side: Side) -> dict[str, Any]:
    return {"model": side.embeds, "input": side.mark}


def _reconcile(_: Side) -> dict[str, Any]:
    return {"cost_usd": "0.000002", "input_tokens": 1, "output_tokens": 1}


def _provider(_: Side) -> dict[str, Any]:
    return {"id": f"p-{uuid4().hex}", "base_url": "https://example.com/v1"}


A = Action
# A new route needs a row here. Without one the matrix fails.
ROUTES: Mapping[str, Route] = {
    "GET /ai-keys": Route(A.READ_KEYS, "query"),
    "POST /ai-keys": Route(A.WRITE_KEYS, "body", _key),
    "GET /ai-keys/{key_id}": Route(A.READ_KEYS, "path"),
    "PUT /ai-keys/{key_id}": Route(A.WRITE_KEYS, "path", lambda side: {"label": side.mark}),
    "DELETE /ai-keys/{key_id}": Route(A.WRITE_KEYS, "path", destroys=True),
    "POST /ai-keys/{key_id}/verify": Route(A.WRITE_KEYS, "path"),
    "GET /ai-aliases": Route(A.READ_ALIASES, "query"),
    "POST /ai-aliases": Route(A.WRITE_ALIASES, "body", _alias),
    "GET /ai-aliases/{alias_id}": Route(A.READ_ALIASES, "path"),
    "PUT /ai-aliases/{alias_id}": Route(A.WRITE_ALIASES, "path", lambda side: {"display_name": side.mark}),
    "POST /ai-aliases/{alias_id}/explain": Route(A.READ_ALIASES, "path", lambda side: {"prompt": side.mark}),
    "DELETE /ai-aliases/{alias_id}": Route(A.WRITE_ALIASES, "path", destroys=True),
    "POST /ai-invoke": Route(A.INVOKE, "body", _invoke),
    "POST /v1/chat/completions": Route(A.INVOKE, "header", _conversation),
    "POST /v1/completions": Route(A.INVOKE, "header", _text),
    "POST /v1/embeddings": Route(A.INVOKE, "header", _embedded),
    "POST /v1/responses": Route(A.INVOKE, "header", lambda side: {"model": side.alias_name, "input": side.mark}),
    "POST /v1/messages": Route(A.INVOKE, "header", _conversation),
    "POST /v1/messages/count_tokens": Route(A.READ_ALIASES, "header", _counted),
    "GET /v1/models": Route(A.READ_ALIASES, "header"),
    "GET /v1/models/{model_id}": Route(A.READ_ALIASES, "header"),
    "GET /ai-usage": Route(A.READ_USAGE, "query"),
    "GET /ai-usage/calls": Route(A.READ_USAGE, "query"),
    "GET /ai-usage/export": Route(A.READ_USAGE, "query"),
    "GET /ai-usage/pull": Route(A.READ_USAGE, "query"),
    "GET /ai-usage/unknown": Route(A.READ_USAGE, "query"),
    "POST /ai-usage/unknown/{attempt_id}/reconcile": Route(A.RECONCILE, "body", _reconcile),
    "GET /ai-workspaces/{workspace_id}/retention": Route(A.READ_USAGE, "path"),
    "PUT /ai-workspaces/{workspace_id}/retention": Route(A.WRITE_RETENTION, "path", lambda _: {"call_log_days": 400}),
    "GET /ai-usage/calls/{attempt_id}/content": Route(A.READ_CONTENT, "query"),
    "GET /ai-ledger-actions": Route(A.READ_AUDIT, "query"),
    "GET /ai-dead-letters": Route(A.SETTLE_LETTERS, "nowhere"),
    "POST /ai-dead-letters/{letter_id}/replay": Route(A.SETTLE_LETTERS, "nowhere"),
    "POST /ai-dead-letters/{letter_id}/dismiss": Route(A.SETTLE_LETTERS, "nowhere"),
    "GET /ai-budgets": Route(A.READ_USAGE, "query"),
    "PUT /ai-budgets/workspace": Route(A.WRITE_BUDGETS, "body", lambda _: {"monthly_budget_requests": 10**6}),
    "GET /ai-workspaces/{workspace_id}/credits": Route(A.READ_USAGE, "path"),
    "PUT /ai-workspaces/{workspace_id}/credits": Route(A.SWITCH_CREDITS, "path", lambda _: {"credits": "allowed"}),
    "POST /ai-budgets/resume": Route(A.WRITE_BUDGETS, "body", lambda _: {}),
    "GET /ai-providers": Route(A.READ_CATALOGUE, "nowhere"),
    "GET /ai-provider-changes": Route(A.WRITE_CATALOGUE, "nowhere"),
    "POST /ai-providers": Route(A.WRITE_CATALOGUE, "nowhere", _provider),
    "PUT /ai-providers/{provider_id}": Route(A.WRITE_CATALOGUE, "nowhere", lambda _: {"name": "renamed"}),
    "GET /ai-workspaces": Route(A.WRITE_WORKSPACES, "nowhere"),
    "POST /ai-workspaces": Route(A.WRITE_WORKSPACES, "nowhere", lambda side: {"name": side.mark}),
    "DELETE /ai-workspaces/{workspace_id}": Route(A.WRITE_WORKSPACES, "path", destroys=True),
    "GET /ai-workspaces/{workspace_id}/limits": Route(A.READ_USAGE, "path"),
    "PUT /ai-workspaces/{workspace_id}/limits": Route(
        A.LIMIT_WORKSPACES, "path", lambda _: {"requests_per_minute": 10**9}
    ),
    "POST /ai-workspaces/{workspace_id}/dek-rotation": Route(A.ROTATE_DATA_KEYS, "path"),
    "GET /ai-tokens": Route(A.WRITE_TOKENS, "query"),
    "POST /ai-tokens": Route(A.WRITE_TOKENS, "body", lambda side: {"role": "viewer", "name": side.mark}),
    "PUT /ai-tokens/{token_id}": Route(A.WRITE_TOKENS, "path", lambda _: {"requests_per_minute": 10**9}),
    "DELETE /ai-tokens/{token_id}": Route(A.WRITE_TOKENS, "path", destroys=True),
    "GET /ai-vault/kek-rotation": Route(A.ROTATE_MASTER_KEYS, "nowhere"),
    "POST /ai-vault/kek-rotation": Route(A.ROTATE_MASTER_KEYS, "nowhere"),
    "GET /ai-webhooks": Route(A.READ_WEBHOOKS, "query"),
    "POST /ai-webhooks": Route(A.WRITE_WEBHOOKS, "body", _webhook),
    "PUT /ai-webhooks/{webhook_id}": Route(A.WRITE_WEBHOOKS, "path", lambda _: {"events": ["key.invalid"]}),
    "DELETE /ai-webhooks/{webhook_id}": Route(A.WRITE_WEBHOOKS, "path", destroys=True),
    "POST /ai-webhooks/{webhook_id}/test": Route(A.WRITE_WEBHOOKS, "path"),
    "GET /ai-webhooks/{webhook_id}/deliveries": Route(A.READ_WEBHOOKS, "path"),
    "POST /ai-webhooks/{webhook_id}/deliveries/{delivery_id}/replay": Route(A.WRITE_WEBHOOKS, "path"),
    "GET /ai-audit": Route(A.READ_AUDIT, "query"),
    "GET /ai-audit/verification": Route(A.READ_AUDIT, "query"),
}
# Nothing of a workspace is behind these, and everybody may ask.
OPEN = {"GET /healthz", "GET /readyz"}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def rows_of(owner_url: str, workspace: int) -> dict[str, list[str]]:
    """Every row of a workspace in every table of every service, as JSON, by table."""
    kept: dict[str, list[str]] = {}
    with psycopg.connect(owner_url, autocommit=True) as connection:
        for table in found(owner_url):
            if table.kind == "r" and not table.name.startswith("metering.ai_call_logs"):
                kept[table.name] = _rows(connection, table.name, table.service, table.sql, workspace)
        parent = sql.Identifier("metering", "ai_call_logs")
        kept["metering.ai_call_logs"] = _rows(connection, "metering.ai_call_logs", "metering", parent, workspace)
    return kept


def _rows(connection: Any, name: str, service: str, table: sql.Identifier, workspace: int) -> list[str]:
    connection.execute("SELECT set_config('search_path', %s, false)", (service,))
    columns = {row[0] for row in connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_schema || '.' || table_name = %s", (name,)
    )}  # fmt: skip
    owner = OWNER.get(name, "workspace_id")
    if owner == "workspace_id" and "workspace_id" not in columns:
        return []
    # When a key is to be checked again the vault plans by itself, some time after it was stored.
    query = sql.SQL(f"SELECT (to_jsonb(t) - 'next_check_at')::text FROM {{}} t WHERE {owner} = %s ORDER BY 1").format(
        table
    )
    return [row[0] for row in connection.execute(query, (workspace,))]
