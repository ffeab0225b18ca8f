"""Whether a workspace uses the platform's credits: a switch on the very account that they are held on.

Admission locks that account, so once "off" has been answered nothing more is admitted on credits, at any replica.
"""

from typing import LiteralString

from psycopg.rows import tuple_row

from services.metering import actions
from services.metering.connection import Connection, Raw
from services.metering.domain import intake
from shared.clock import Clock
from shared.messages.platform_credits import CreditsV1, GetCreditsV1, SetCreditsV1

_SCOPE = "SELECT set_config('omnipost.workspace', %s, true)"
_CAPPED: LiteralString = " OR ".join(
    f"{day}cap_{unit} IS NOT NULL" for day in ("", "day_") for unit in ("usd_micros", "tokens", "requests")
)
_GET = (
    f"SELECT credits_allowed, {_CAPPED} FROM ai_provider_budgets "  # noqa: S608 - constants of this module
    "WHERE workspace_id = %s AND scope = 'workspace' AND key_id IS NULL AND funds = 'platform'"
)
# An account that this makes has no cap, and so it grants nothing.
_SET = """
    INSERT INTO ai_provider_budgets (workspace_id, scope, funds, credits_allowed, created_at, updated_at)
    VALUES (%(workspace)s, 'workspace', 'platform', %(allowed)s, %(now)s, %(now)s)
    ON CONFLICT (workspace_id, scope, key_id, funds) DO UPDATE
        SET credits_allowed = excluded.credits_allowed, updated_at = excluded.updated_at
"""


class Credits:
    """Each method answers one request. Raises OmniError ``invalid_request``, ``unavailable``."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection, self._clock = connection, clock

    async def get(self, request: GetCreditsV1) -> CreditsV1:
        """The switch, and whether credits were granted. "off" unless somebody has said otherwise."""
        workspace_id = intake.check_workspace(request.workspace_id)

        async def work(raw: Raw) -> CreditsV1:
            async with raw.transaction():
                return await _standing(raw, workspace_id)

        return await self._connection.run(work)

    async def set(self, request: SetCreditsV1) -> CreditsV1:
        """From the answer on. Who did it is in the ledger's actions."""
        workspace_id, now = intake.check_workspace(request.workspace_id), self._clock.now()
        values = {"workspace": workspace_id, "allowed": request.credits == "allowed", "now": now}

        async def work(raw: Raw) -> CreditsV1:
            async with raw.transaction():
                before = await _standing(raw, workspace_id)
                await raw.execute(_SET, values)
                facts = {"credits": request.credits, "before": before.credits}
                await actions.note(raw, workspace_id, "credits.set", str(workspace_id), request.actor, facts, now)
                return before.model_copy(update={"credits": request.credits})

        return await self._connection.run(work)


async def _standing(raw: Raw, workspace_id: int) -> CreditsV1:
    await raw.execute(_SCOPE, (str(workspace_id),))
    row = await (await raw.cursor(row_factory=tuple_row).execute(_GET, (workspace_id,))).fetchone()
    allowed, granted = row or (False, False)
    return CreditsV1(workspace_id=workspace_id, credits="allowed" if allowed else "off", granted=granted)
