"""Which request goes to which use case."""

from services.vault.service import VaultService
from shared.bus import Bus
from shared.messages.health import PingVaultV1
from shared.messages.vault import (
    CreateKeyV1,
    GetKeyV1,
    LeaseKeyV1,
    ListKeysV1,
    RecordVerdictV1,
    RevokeKeyV1,
    UpdateKeyV1,
)


def subscribe(bus: Bus, vault: VaultService) -> None:
    """Register every request the vault answers."""
    bus.answer_call(LeaseKeyV1, vault.lease)
    bus.answer(PingVaultV1, vault.ping)
    bus.answer(CreateKeyV1, vault.create)
    bus.answer(ListKeysV1, vault.list)
    bus.answer(GetKeyV1, vault.get)
    bus.answer(UpdateKeyV1, vault.update)
    bus.answer(RevokeKeyV1, vault.revoke)
    bus.answer(RecordVerdictV1, vault.record_verdict)
