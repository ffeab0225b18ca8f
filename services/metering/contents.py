"""What calls were about, sealed: kept where the workspace's policy says so at that moment, and only for its days.

The policy's row is locked (shared) while a content is written, so that nothing is stored against a policy that has
been answered.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from psycopg.rows import dict_row, tuple_row

from services.metering import actions
from services.metering.connection import Connection, Raw
from services.metering.domain import intake
from services.metering.domain.contents import Policy, changed
from shared.clock import Clock
from shared.errors import OmniError, invalid, not_found
from shared.messages.contents import (
    ContentPolicyChangedV1,
    ContentPolicyV1,
    GetContentPolicyV1,
    GetContentV1,
    KeptV1,
    SealedContentV1,
    SetContentPolicyV1,
    StoreContentV1,
)
from shared.sealing import decode, encode

SALT_BYTES = 32
_SCOPE = "SELECT set_config('omnipost.workspace', %s, true)"
_GET = "SELECT store_content, content_days, zero_retention FROM content_policies WHERE workspace_id = %s"
_BEGIN = """
    INSERT INTO content_policies (workspace_id, store_content, content_days, zero_retention, updated_at)
    VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_SET = """
    UPDATE content_policies SET store_content = %s, content_days = %s, zero_retention = %s, updated_at = %s
    WHERE workspace_id = %s
"""
_STORE = """
    INSERT INTO ai_call_contents (attempt_id, workspace_id, call_id, stored_at, root_id, salt, sealed)
    SELECT %s, workspace_id, %s::text, %s, %s, %s, %s FROM content_policies
    WHERE workspace_id = %s AND store_content AND NOT zero_retention FOR SHARE
    ON CONFLICT DO NOTHING
"""
_READ = "SELECT * FROM ai_call_contents WHERE workspace_id = %s AND attempt_id = %s AND stored_at >= %s"


class Contents:
    """Each method answers one request. Raises OmniError ``invalid_request``, ``unavailable`` and as contracts say.

    ``announce`` tells the routers; ``forget`` is called when there is something to delete.
    """

    def __init__(
        self,
        connection: Connection,
        clock: Clock,
        announce: Callable[[ContentPolicyChangedV1], Awaitable[None]],
        forget: Callable[[], None],
    ) -> None:
        self._connection, self._clock, self._announce, self._forget = connection, clock, announce, forget

    async def policy(self, request: GetContentPolicyV1) -> ContentPolicyV1:
        """What the workspace wants."""
        workspace_id = intake.check_workspace(request.workspace_id)
        return _published(workspace_id, await self._of_workspace(workspace_id, lambda raw: _policy(raw, workspace_id)))

    async def set_policy(self, request: SetContentPolicyV1) -> ContentPolicyV1:
        """From the answer on nothing is stored against it; what is stored already and may not be, goes at once."""
        workspace_id, now = intake.check_workspace(request.workspace_id), self._clock.now()

        async def work(raw: Raw) -> Policy:
            first = Policy()
            await raw.execute(_BEGIN, (workspace_id, first.store, first.days, first.zero, now))
            after = changed(await _policy(raw, workspace_id, lock=True), request)
            await raw.execute(_SET, (after.store, after.days, after.zero, now, workspace_id))
            facts = {"store": int(after.store), "days": after.days, "zero_retention": int(after.zero)}
            await actions.note(raw, workspace_id, "contents.policy", str(workspace_id), request.actor, facts, now)
            return after

        after = await self._of_workspace(workspace_id, work)
        with suppress(OmniError):  # routers ask again by themselves, and storing is decided here
            await self._announce(ContentPolicyChangedV1(workspace_id=workspace_id))
        self._forget()
        return _published(workspace_id, after)

    async def store(self, request: StoreContentV1) -> KeptV1:
        """Keep a sealed content, if that is wanted now."""
        workspace_id = intake.check_workspace(request.workspace_id)
        row = (
            intake.uuid_of(request.attempt_id, "attempt_id"),
            intake.check_text(request.call_id, "call_id"),
            self._clock.now(),
            intake.uuid_of(request.root_id, "root_id"),
            _bytes(request.salt, "salt", SALT_BYTES),
            _bytes(request.sealed, "sealed"),
        )

        async def work(raw: Raw) -> bool:
            return (await raw.execute(_STORE, (*row, workspace_id))).rowcount == 1

        return KeptV1(kept=await self._of_workspace(workspace_id, work))

    async def get(self, request: GetContentV1) -> SealedContentV1:
        """A content that may still be shown. Raises OmniError ``not_found``."""
        workspace_id = intake.check_workspace(request.workspace_id)
        attempt_id = intake.uuid_of(request.attempt_id, "attempt_id")

        async def work(raw: Raw) -> dict[str, Any] | None:
            oldest = (await _policy(raw, workspace_id)).oldest(self._clock.now())
            reader = raw.cursor(row_factory=dict_row)
            return await (await reader.execute(_READ, (workspace_id, attempt_id, oldest))).fetchone()

        row = await self._of_workspace(workspace_id, work)
        if row is None:
            raise not_found("content", attempt_id=str(attempt_id))
        return SealedContentV1(
            workspace_id=workspace_id,
            call_id=row["call_id"],
            attempt_id=str(attempt_id),
            root_id=str(row["root_id"]),
            salt=encode(row["salt"]),
            sealed=encode(row["sealed"]),
            stored_at=row["stored_at"],
        )

    async def _of_workspace(self, workspace_id: int, work: Callable[[Raw], Awaitable[Any]]) -> Any:  # noqa: ANN401
        """``work`` as one transaction on the rows of a workspace."""

        async def whole(raw: Raw) -> Any:  # noqa: ANN401 - whatever the work gives
            async with raw.transaction():
                await raw.execute(_SCOPE, (str(workspace_id),))
                return await work(raw)

        return await self._connection.run(whole)


async def _policy(raw: Raw, workspace_id: int, *, lock: bool = False) -> Policy:
    reader = raw.cursor(row_factory=tuple_row)
    row = await (await reader.execute(_GET + (" FOR UPDATE" if lock else ""), (workspace_id,))).fetchone()
    return Policy(*row) if row else Policy()


def _published(workspace_id: int, policy: Policy) -> ContentPolicyV1:
    return ContentPolicyV1(
        workspace_id=workspace_id,
        store_content=policy.store,
        content_days=policy.days,
        zero_retention=policy.zero,
    )


def _bytes(text: str, name: str, exactly: int | None = None) -> bytes:
    try:
        raw = decode(text)
    except ValueError:
        raw = b""
    if not raw or (exactly is not None and len(raw) != exactly):
        raise invalid(f"{name} must be base64{f' of {exactly} bytes' if exactly else ''}.", field=name)
    return raw
