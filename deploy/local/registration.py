"""Makes the sandbox provider usable: provider, workspace 1000, key and aliases, over HTTP like any other client.

Every step may be repeated: what exists is left as it is, what no longer fits is put right.
"""

import secrets
from typing import Any

from deploy.local.edge import Edge, EdgeRefused
from deploy.local.sandbox import CHAT_MODELS, EMBEDDING_MODEL

WORKSPACE = 1000
PROVIDER = "sandbox"
FAILOVER_ALIAS = "sandbox-failover"
_CONFLICT = 409
# Name, what it shows, what it does, and its models in order.
_ALIASES = (
    ("sandbox-echo", "Sandbox: echo", "chat", "sandbox-echo"),
    ("sandbox-stream", "Sandbox: a word at a time", "chat", "sandbox-stream"),
    (FAILOVER_ALIAS, "Sandbox: failover", "chat", "sandbox-500", "sandbox-429", "sandbox-echo"),
    ("sandbox-cut", "Sandbox: cut, and continued", "chat", "sandbox-cut", "sandbox-stream"),
    ("sandbox-embedding", "Sandbox: vectors", "embedding", EMBEDDING_MODEL),
)


def register(edge: Edge, port: int) -> None:
    """Register the sandbox that listens on ``port``. Raises EdgeRefused."""
    _provider(edge, f"http://127.0.0.1:{port}/v1")
    _create(edge, "/ai-workspaces", {"id": WORKSPACE, "name": "Sandbox"})
    _key(edge, f"127.0.0.1:{port}")
    _aliases(edge)


def _provider(edge: Edge, base_url: str) -> None:
    known = next((item for item in _items(edge, "/ai-providers") if item["id"] == PROVIDER), None)
    models: list[dict[str, Any]] = [
        {"id": model, "input_usd_per_mtok": "1", "output_usd_per_mtok": "2"} for model in CHAT_MODELS
    ]
    models.append({"id": EMBEDDING_MODEL, "capabilities": ["embedding"], "input_usd_per_mtok": "1"})
    if known is not None:
        lacks = {model["id"] for model in models} - {model["id"] for model in known["models"]}
        if known["base_url"] != base_url or lacks:
            edge.call("PUT", f"/ai-providers/{PROVIDER}", {"base_url": base_url, "models": models})
        return
    edge.call(
        "POST",
        "/ai-providers",
        {
            "id": PROVIDER,
            "kind": "openai-compatible",
            "name": "Sandbox (simulated, local)",
            "base_url": base_url,
            "simulated": True,
            "models": models,
        },
    )


def _key(edge: Edge, host: str) -> None:
    secret = f"sandbox-{secrets.token_urlsafe(24)}"
    keys = [
        item
        for item in _items(edge, f"/ai-keys?workspace_id={WORKSPACE}")
        if item["provider"] == PROVIDER and item["status"] != "revoked"
    ]
    if not keys:
        body = {
            "workspace_id": WORKSPACE,
            "provider": PROVIDER,
            "label": "Sandbox",
            "api_key": secret,
            "scopes": {"text": True},
        }
        edge.call("POST", "/ai-keys", body)
    elif not any(item["status"] == "active" and item["destination"] == host for item in keys):
        # A key is bound to the host it was entered for; the sandbox has moved to another port.
        edge.call("PUT", f"/ai-keys/{keys[0]['id']}", {"api_key": secret})


def _aliases(edge: Edge) -> None:
    known = {item["alias_name"] for item in _items(edge, f"/ai-aliases?workspace_id={WORKSPACE}")}
    for name, shown, capability, *models in _ALIASES:
        if name in known:
            continue
        body = {
            "workspace_id": WORKSPACE,
            "alias_name": name,
            "display_name": shown,
            "capability": capability,
            "primary_provider": PROVIDER,
            "primary_model": models[0],
            "fallback_chain": [
                {"provider": PROVIDER, "model": model, "priority": place} for place, model in enumerate(models[1:], 1)
            ],
        }
        _create(edge, "/ai-aliases", body)


def _items(edge: Edge, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = edge.call("GET", path)["items"]
    return found


def _create(edge: Edge, path: str, body: dict[str, Any]) -> None:
    try:
        edge.call("POST", path, body)
    except EdgeRefused as refused:
        if refused.status != _CONFLICT:
            raise
