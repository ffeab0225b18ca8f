"""Use cases around what keys are kept with: rotation, deleting a workspace for good, and the audit."""

from services.api.domain.access import Action, Principal
from services.api.service import Edge
from shared.clock import Clock
from shared.errors import not_found
from shared.messages.base import Done
from shared.messages.custody import (
    ActorV1,
    AuditV1,
    AuditVerdictV1,
    DekRotationV1,
    GetKekRotationV1,
    KekRotationV1,
    QueryAuditV1,
    RotateDekV1,
    RotateKekV1,
    ShredWorkspaceV1,
    VerifyAuditV1,
)
from shared.messages.platform_credits import CreditsV1, SetCreditsV1
from shared.messages.vocabulary import PLATFORM_WORKSPACE as PLATFORM

SHRED_TIMEOUT_S = 60.0
VERIFY_TIMEOUT_S = 120.0
_ITSELF = ActorV1(kind="service", id="api")


class Custody:
    """Every failure is an OmniError."""

    def __init__(self, edge: Edge, clock: Clock) -> None:
        self._edge, self._bus, self._store, self._clock = edge, edge.bus, edge.store, clock

    async def rotate_kek(self, actor: ActorV1) -> KekRotationV1:
        """Begin to move every data key to the active KEK, or look at the move under way."""
        return await self._bus.request(RotateKekV1(actor=actor), KekRotationV1)

    async def kek_rotation(self) -> KekRotationV1:
        """The last rotation, as far as it has come."""
        return await self._bus.request(GetKekRotationV1(), KekRotationV1, repeatable=True, timeout=5)

    async def rotate_dek(self, workspace_id: int, actor: ActorV1) -> DekRotationV1:
        """A new data key for one workspace."""
        return await self._bus.request(RotateDekV1(workspace_id=workspace_id, actor=actor), DekRotationV1, timeout=6)

    async def delete_workspace(self, workspace_id: int, actor: ActorV1) -> None:
        """Nobody comes in any more, and its keys are destroyed: beyond recovery once this has returned.

        Repeating it completes one that was interrupted. Raises OmniError ``not_found``, ``unavailable``.
        """
        if not await self._store.delete_workspace(workspace_id, self._clock.now()):
            raise not_found("workspace", workspace_id=workspace_id)
        self._edge.forget_workspace(workspace_id)
        await self._shred(workspace_id, actor)

    async def finish_deletions(self) -> None:
        """Destroy the keys of workspaces whose deletion was interrupted. Raises OmniError ``unavailable``."""
        for workspace_id in await self._store.unshredded():
            await self._shred(workspace_id, _ITSELF)

    async def audit(self, query: QueryAuditV1) -> AuditV1:
        """A page of a workspace's audit."""
        return await self._bus.request(query, AuditV1, timeout=5, repeatable=True)

    async def audit_scope(self, caller: Principal, named: int | None) -> int:
        """Whose audit a request is about; ``PLATFORM`` only for a platform admin. Raises OmniError."""
        caller.may(Action.READ_AUDIT)
        if named == PLATFORM and caller.workspace_id is None:
            return PLATFORM
        # Of a deleted workspace the audit remains, for the platform to read.
        return caller.reach(named)

    async def verify_audit(self, workspace_ids: list[int]) -> list[AuditVerdictV1]:
        """Recompute whole chains, one after another."""
        return [
            await self._bus.request(VerifyAuditV1(workspace_id=workspace_id), AuditVerdictV1, timeout=VERIFY_TIMEOUT_S)
            for workspace_id in workspace_ids
        ]

    async def every_chain(self) -> list[int]:
        """The platform's chain and every workspace's, deleted ones included."""
        return [PLATFORM, *await self._store.every_workspace_id()]

    async def _shred(self, workspace_id: int, actor: ActorV1) -> None:
        # Other services may go on asking for it: what is no key of its own must end, too.
        off = SetCreditsV1(workspace_id=workspace_id, credits="off", actor=actor)
        await self._bus.request(off, CreditsV1)
        shred = ShredWorkspaceV1(workspace_id=workspace_id, actor=actor)
        await self._bus.request(shred, Done, timeout=SHRED_TIMEOUT_S)
        await self._store.shredded(workspace_id, self._clock.now())
