"""Which request goes to which use case."""

from services.vault.audit import Audit
from services.vault.contents import Contents
from services.vault.dek_rotation import DekRotation
from services.vault.leasing import Leasing
from services.vault.platform_keys import PlatformKeys
from services.vault.rotation import KekRotation
from services.vault.service import VaultService
from services.vault.shredding import Shredding
from shared.bus import Bus
from shared.messages.catalogue import CatalogueChangedV1
from shared.messages.contents import DestroyContentsV1, NewContentKeyV1, OpenContentKeyV1
from shared.messages.custody import (
    GetKekRotationV1,
    QueryAuditV1,
    RotateDekV1,
    RotateKekV1,
    ShredWorkspaceV1,
    VerifyAuditV1,
)
from shared.messages.health import PingVaultV1
from shared.messages.platform_credits import ListPlatformKeysV1
from shared.messages.vault import (
    CreateKeyV1,
    GetKeyV1,
    KeysV1,
    KeyV1,
    LeaseKeyV1,
    ListKeysV1,
    RecordVerdictV1,
    RevokeKeyV1,
    UpdateKeyV1,
)
from shared.messages.vocabulary import PLATFORM_WORKSPACE


def subscribe(bus: Bus, vault: VaultService, platform: VaultService, leasing: Leasing) -> None:
    """Register every request about keys. ``platform``: serves the platform's own, which only the router asks about."""

    async def record_verdict(request: RecordVerdictV1) -> KeyV1:
        serving = platform if request.workspace_id == PLATFORM_WORKSPACE else vault
        return await serving.record_verdict(request)

    async def list_platform(_: ListPlatformKeysV1) -> KeysV1:
        return await platform.list(ListKeysV1(workspace_id=PLATFORM_WORKSPACE))

    bus.answer_call(LeaseKeyV1, leasing.lease)
    bus.answer(PingVaultV1, vault.ping)
    bus.answer(CreateKeyV1, vault.create)
    bus.answer(ListKeysV1, vault.list)
    bus.answer(GetKeyV1, vault.get)
    bus.answer(UpdateKeyV1, vault.update)
    bus.answer(RevokeKeyV1, vault.revoke)
    bus.answer(RecordVerdictV1, record_verdict)
    bus.answer(ListPlatformKeysV1, list_platform)


def subscribe_platform(bus: Bus, platform: PlatformKeys) -> None:
    """Register what moves the platform's own keys."""
    bus.listen(CatalogueChangedV1, platform.changed)
    bus.on_reconnected(platform.wake)


def subscribe_audit(bus: Bus, audit: Audit) -> None:
    """Register every request about what was done to keys."""
    bus.answer(QueryAuditV1, audit.query)
    bus.answer(VerifyAuditV1, audit.verify)


def subscribe_custody(bus: Bus, rotation: KekRotation, dek_rotation: DekRotation, shredding: Shredding) -> None:
    """Register every request about what keys are encrypted with."""
    bus.answer(RotateKekV1, rotation.start)
    bus.answer(GetKekRotationV1, rotation.progress)
    bus.answer(RotateDekV1, dek_rotation.rotate)
    bus.answer(ShredWorkspaceV1, shredding.shred)


def subscribe_contents(bus: Bus, contents: Contents) -> None:
    """Register every request about keys of stored content."""
    bus.answer_call(NewContentKeyV1, contents.new_key)
    bus.answer(OpenContentKeyV1, contents.open_key)
    bus.answer(DestroyContentsV1, contents.destroy)
