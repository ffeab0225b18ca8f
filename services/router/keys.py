"""What the router remembers of keys: their public part for planning, and leases of the keys themselves.

Both are forgotten at once when the vault announces a change, and after a few seconds anyhow. Neither is trusted:
every call reserves at metering, which refuses a revoked key however fresh a lease looks here.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from services.router.breakers import Breakers
from services.router.cuts import Cuts
from shared import sealing
from shared.bus import Bus
from shared.clock import Clock
from shared.errors import Code, OmniError
from shared.messages.platform_credits import ListPlatformKeysV1
from shared.messages.vault import KeyChangedV1, KeysV1, KeyV1, LeaseKeyV1, LeaseV1, ListKeysV1
from shared.messages.vocabulary import PLATFORM_WORKSPACE, Funds, KeyStatus, Modality
from shared.remembered import Remembered

REMEMBER_S = 10.0
LEASE_MARGIN_S = 2.0
# Enough for another replica of the vault to be asked after one has died over the question.
VAULT_TIMEOUT_S = 5.0


class KeyDirectory:
    """The public part of a workspace's keys, oldest first, asked of the vault once in ``REMEMBER_S`` seconds.

    The platform's own are those of ``PLATFORM_WORKSPACE``.
    """

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._keys: Remembered[int, Sequence[KeyV1]] = Remembered(self._ask, clock, keep_s=REMEMBER_S)

    async def of(self, workspace_id: int) -> Sequence[KeyV1]:
        """Every key of the workspace, revoked ones too. Raises OmniError ``unavailable`` when the vault is away."""
        return await self._keys.get(workspace_id)

    def forget(self, workspace_id: int) -> None:
        """Ask again next time."""
        self._keys.forget(workspace_id)

    def forget_all(self) -> None:
        """Ask again next time, whatever the workspace."""
        self._keys.forget_all()

    async def _ask(self, workspace_id: int) -> Sequence[KeyV1]:
        is_platform = workspace_id == PLATFORM_WORKSPACE
        request = ListPlatformKeysV1() if is_platform else ListKeysV1(workspace_id=workspace_id)
        return (await self._bus.request(request, KeysV1, timeout=VAULT_TIMEOUT_S, repeatable=True)).items


@dataclass(frozen=True)
class Wanted:
    """Which key is needed for what; a lease serves nothing else.

    ``workspace_id``: whose call it is for. ``funds`` platform: the key is the platform's.
    ``model`` and ``region`` both None: for every model everywhere, which the vault grants for unrestricted keys only.
    ``verifying``: for a free check, whatever scope, restrictions and status say.
    """

    workspace_id: int
    key_id: str
    version: int
    host: str
    scope: Modality
    model: str | None = None
    region: str | None = None
    verifying: bool = False
    funds: Funds = Funds.OWN


@dataclass(frozen=True)
class _Lease:
    """A key in clear; ``until``: monotonic seconds, already past for one that is used once."""

    secret: bytes = field(repr=False)
    until: float


class Leases:
    """Keys in clear, for at most the seconds the vault has granted, in this process's memory only."""

    def __init__(self, bus: Bus, clock: Clock, vault: sealing.VaultPublic, router_id: str) -> None:
        self._bus, self._clock, self._vault, self._router_id = bus, clock, vault, router_id
        self._private = X25519PrivateKey.generate()
        self._public = sealing.encode(self._private.public_key().public_bytes_raw())
        self._held: Remembered[Wanted, _Lease] = Remembered(
            self._lease, clock, keep_s=lambda lease: lease.until - clock.monotonic()
        )

    async def key(self, wanted: Wanted) -> bytes:
        """The key itself.

        Raises OmniError: the vault's refusal (``missing_key``, ``unsupported_scope``, ``conflict``, ``not_found``),
        or ``unavailable`` when the vault is away or its lease does not hold.
        """
        return (await self._held.get(wanted)).secret

    def at_hand(self, wanted: Wanted) -> bytes | None:
        """The key itself if it is leased at this moment; nobody is asked."""
        lease = self._held.peek(wanted)
        return None if lease is None else lease.secret

    def forget(self, key_id: str) -> None:
        """Drop every lease of a key, those on their way too."""
        self._held.forget_where(lambda wanted: wanted.key_id == key_id)

    def forget_all(self) -> None:
        """Drop every lease."""
        self._held.forget_all()

    def drop_expired(self) -> None:
        """Take keys whose time is over out of memory."""
        self._held.drop_expired()

    async def _lease(self, wanted: Wanted) -> _Lease:
        asked_at = self._clock.monotonic()
        request = LeaseKeyV1(
            router_id=self._router_id,
            public_key=self._public,
            workspace_id=wanted.workspace_id,
            key_id=wanted.key_id,
            host=wanted.host,
            scope=wanted.scope,
            model=wanted.model,
            region=wanted.region,
            verifying=wanted.verifying,
            funds=wanted.funds,
        )
        lease = await self._bus.request(request, LeaseV1, timeout=VAULT_TIMEOUT_S, repeatable=True)
        secret = self._open(lease, wanted)
        valid_s = (lease.expires_at - self._clock.now()).total_seconds() - LEASE_MARGIN_S
        return _Lease(secret, asked_at if wanted.verifying else asked_at + valid_s)

    def _open(self, lease: LeaseV1, wanted: Wanted) -> bytes:
        # Everything the vault bound is compared with what was asked for, not with what the answer claims.
        info = sealing.lease_info(
            lease_id=lease.lease_id,
            router_id=self._router_id,
            workspace_id=wanted.funds.keyholder(wanted.workspace_id),
            key_id=wanted.key_id,
            version=lease.version,
            host=wanted.host,
            expires_at=lease.expires_at,
        )
        try:
            sealed = sealing.decode(lease.sealed)
            sealing.check_signature(self._vault.signing, sealing.decode(lease.signature), info, sealed)
            secret = sealing.unseal(sealed, self._private, info)
        except (sealing.CannotOpen, ValueError):
            raise OmniError(Code.UNAVAILABLE, "The vault's lease does not hold; try again shortly.") from None
        if lease.version < wanted.version or lease.expires_at <= self._clock.now():
            raise OmniError(Code.UNAVAILABLE, "The vault's lease is out of date; try again shortly.")
        return secret


class KeyNews:
    """Acts on what becomes known of keys."""

    def __init__(self, directory: KeyDirectory, leases: Leases, cuts: Cuts, breakers: Breakers) -> None:
        self._directory, self._leases, self._cuts, self._breakers = directory, leases, cuts, breakers
        self._looking: asyncio.Task[None] | None = None

    async def changed(self, event: KeyChangedV1) -> None:
        """Forget everything about the key, before the next request is taken; of a revoked one cut what is running."""
        self._directory.forget(event.workspace_id)
        self._leases.forget(event.key_id)
        self._breakers.key_changed(event.workspace_id, event.key_id)
        if event.revoked:
            self._cuts.end(event.workspace_id, event.key_id)

    def missed(self) -> None:
        """Announcements may have been missed: trust nothing that is remembered, and ask about what is running."""
        self._directory.forget_all()
        self._leases.forget_all()
        self._looking = asyncio.create_task(self._look_after())

    async def _look_after(self) -> None:
        running = set(self._cuts.under_way())
        for workspace_id in {workspace_id for workspace_id, _ in running}:
            with suppress(OmniError):
                for key in await self._directory.of(workspace_id):
                    if key.status is KeyStatus.REVOKED and (workspace_id, key.id) in running:
                        self._cuts.end(workspace_id, key.id)
