"""Is a key accepted? Asked of the provider by a call that costs nothing, or learned from a refusal in live traffic."""

from contextlib import suppress
from typing import Literal

from services.router.catalogue import Catalogue, Entry
from services.router.client import ProviderClient
from services.router.cuts import Cuts
from services.router.keys import VAULT_TIMEOUT_S, Leases, Wanted
from services.router.providers import verification_of
from services.router.providers.answers import REFUSED
from services.router.providers.base import Failure
from services.router.sending import Limits
from shared.bus import Bus
from shared.clock import Clock
from shared.errors import OmniError, not_found
from shared.messages.platform_credits import ListPlatformKeysV1
from shared.messages.router import VerdictV1, VerifyKeyV1
from shared.messages.vault import GetKeyV1, KeysV1, KeyV1, RecordVerdictV1
from shared.messages.vocabulary import PLATFORM_WORKSPACE, START_WITHIN_S, Funds, KeyStatus, Modality, Outcome

CONNECT_S = 3.0
FIRST_BYTE_S = 10.0
TOTAL_S = 12.0
UNREACHABLE = "provider_unreachable"
_UNANSWERED = {
    Outcome.BAD_RESPONSE: "bad_response",
    Outcome.MISSING_KEY: "key_revoked",
    Outcome.KEY_REVOKED: "key_revoked",
}


class Verdicts:
    """Finds out about keys and tells the vault."""

    def __init__(
        self, bus: Bus, clock: Clock, catalogue: Catalogue, leases: Leases, client: ProviderClient, cuts: Cuts
    ) -> None:
        self._bus, self._clock, self._catalogue = bus, clock, catalogue
        self._leases, self._client, self._cuts = leases, client, cuts

    async def verify(self, request: VerifyKeyV1) -> VerdictV1:
        """Ask the provider, tell the vault. Raises OmniError ``not_found``, or the vault's refusal of a lease."""
        key = await self._key(request)
        verdict = await self._ask(key)
        if verdict.status is not KeyStatus.UNVERIFIED or key.status is KeyStatus.UNVERIFIED:
            # An unreachable provider takes nothing back that was known before.
            await self._tell(key.workspace_id, key.id, key.version, verdict, "check")
        return verdict

    async def refused(self, workspace_id: int, key_id: str, version: int) -> None:
        """A provider has refused the key in a call: mark it, so that its owner sees why and no call tries it again."""
        with suppress(OmniError):
            verdict = VerdictV1(status=KeyStatus.INVALID, reason=REFUSED)
            await self._tell(workspace_id, key_id, version, verdict, "traffic")

    async def _key(self, request: VerifyKeyV1) -> KeyV1:
        if request.workspace_id != PLATFORM_WORKSPACE:
            wanted = GetKeyV1(workspace_id=request.workspace_id, key_id=request.key_id)
            return await self._bus.request(wanted, KeyV1, timeout=VAULT_TIMEOUT_S, repeatable=True)
        ours = await self._bus.request(ListPlatformKeysV1(), KeysV1, timeout=VAULT_TIMEOUT_S, repeatable=True)
        found = next((key for key in ours.items if key.id == request.key_id), None)
        if found is None:
            raise not_found("key", key_id=request.key_id)
        return found

    async def _ask(self, key: KeyV1) -> VerdictV1:
        entry = (await self._catalogue.entries()).get(key.provider)
        if entry is None:
            return VerdictV1(status=KeyStatus.UNVERIFIED, reason="unknown_provider")
        if entry.offer.host != key.host:
            return VerdictV1(status=KeyStatus.INVALID, reason="provider_address_changed")
        start_by = self._clock.monotonic() + START_WITHIN_S
        funds = Funds.PLATFORM if key.workspace_id == PLATFORM_WORKSPACE else Funds.OWN
        wanted = Wanted(key.workspace_id, key.id, key.version, key.host, Modality.TEXT, verifying=True, funds=funds)
        return await self._judge(entry, key, await self._leases.key(wanted), start_by)

    async def _judge(self, entry: Entry, key: KeyV1, secret: bytes, start_by: float) -> VerdictV1:
        verification = verification_of(key.provider)
        delivery = await self._client.send(
            entry.row.base_url,
            verification.request,
            verification.auth(secret.decode()),
            Limits(connect_s=CONNECT_S, first_byte_s=FIRST_BYTE_S, total_s=TOTAL_S, start_by=start_by),
            self._cuts.using(key.workspace_id, key.id),
        )
        if not isinstance(delivery.result, Failure):
            status, reason = verification.judge(delivery.result)
            return VerdictV1(status=status, reason=reason)
        if delivery.result.outcome is Outcome.INVALID_KEY:
            return VerdictV1(status=KeyStatus.INVALID, reason=delivery.result.detail)
        return VerdictV1(status=KeyStatus.UNVERIFIED, reason=_UNANSWERED.get(delivery.result.outcome, UNREACHABLE))

    async def _tell(
        self, workspace_id: int, key_id: str, version: int, verdict: VerdictV1, source: Literal["check", "traffic"]
    ) -> None:
        record = RecordVerdictV1(
            workspace_id=workspace_id,
            key_id=key_id,
            version=version,
            status=verdict.status,
            reason=verdict.reason,
            source=source,
        )
        await self._bus.request(record, KeyV1)
