"""``/healthz``: this process lives. ``/readyz``: a call can be served end to end."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from services.api.service import Edge
from shared.errors import OmniError
from shared.messages.health import PingMeteringV1, PingRouterV1, PingVaultV1, ReadyV1

routes = APIRouter(tags=["health"])
PING_TIMEOUT_S = 1.5


@routes.get("/healthz")
async def alive() -> dict[str, str]:
    """The event loop turns."""
    return {"status": "ok"}


@routes.get("/readyz")
async def ready(request: Request) -> JSONResponse:
    """200 when edge, router, vault and metering can all do their part; 503 naming those that cannot."""
    edge: Edge = request.app.state.edge
    pings = {"router": PingRouterV1(), "vault": PingVaultV1(), "metering": PingMeteringV1()}
    answers = await asyncio.gather(
        edge.store.ping(),
        *(edge.bus.request(ping, ReadyV1, timeout=PING_TIMEOUT_S) for ping in pings.values()),
        return_exceptions=True,
    )
    checks: dict[str, Any] = {
        name: "ok" if not isinstance(answer, BaseException) else _why(answer)
        for name, answer in zip(("api", *pings), answers, strict=True)
    }
    if not request.app.state.seeded.is_set():
        checks["workspaces"] = "the default aliases are not there yet"
    healthy = all(check == "ok" for check in checks.values())
    return JSONResponse({"status": "ready" if healthy else "not ready", "checks": checks}, 200 if healthy else 503)


def _why(error: BaseException) -> str:
    return error.detail if isinstance(error, OmniError) else "failed"
