"""What the router remembers of keys: their public part for planning, and leases of the keys themselves.

Both are forgotten at once when the vault announces a change, and after a few seconds anyhow. Neither is trusted:
every call reserves at metering, which refuses a revoked key however fresh a lease looks here.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from shared import sealing
from shared.bus import Bus
from shared.clock import Clock
from shared.errors import Code, OmniError
from shared.messages.vault import KeyChangedV1, KeysV1, KeyV1, LeaseKeyV1, LeaseV1, ListKeysV1
from shared.messages.vocabulary import Modality
from shared.remembered import Remembered

REMEMBER_S = 10.0
LEASE_MARGIN_S = 2.0
MAX_REVOKED = 10_000


class KeyDirectory:
    """The public part of a workspace's keys, oldest first, asked of the vault once in ``REMEMBER_S`` seconds."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._keys: Remembered[int, Sequence[KeyV1]] = Remembered(self._ask, clock, keep_s=REMEMBER_S)

    async def of(self, workspace_id: int) -> Sequence[KeyV1]:
        """Every key of the workspace. Raises OmniError ``unavailable`` when the vault is away."""
        return await self._keys.get(workspace_id)

    def forget(self, workspace_id: int) -> None:
        """Ask again next time."""
        self._keys.forget(workspace_id)

    async def _ask(self, workspace_id: int) -> Sequence[KeyV1]:
        return (await self._bus.request(ListKeysV1(workspace_id=workspace_id), KeysV1)).items


@dataclass(frozen=True)
class Wanted:
    """Which key is needed for what. ``verifying``: for a free check, whatever scope and status say."""

    workspace_id: int
    key_id: str
    version: int
    host: str
    scope: Modality
    verifying: bool = False


class Leases:
    """Keys in clear, for at most the seconds the vault has granted, in this process's memory only."""

    def __init__(self, bus: Bus, clock: Clock, vault: sealing.VaultPublic, router_id: str) -> None:
        self._bus, self._clock, self._vault, self._router_id = bus, clock, vault, router_id
        self._private = X25519PrivateKey.generate()
        self._public = sealing.encode(self._private.public_key().public_bytes_raw())
        self._held: dict[Wanted, tuple[float, bytes]] = {}
        self._asking: dict[Wanted, asyncio.Task[bytes]] = {}
        self._revoked: dict[str, None] = {}

    async def key(self, wanted: Wanted) -> bytes:
        """The key itself.

        Raises OmniError: the vault's refusal (``missing_key``, ``unsupported_scope``, ``conflict``, ``not_found``),
        or ``unavailable`` when the vault is away or its lease does not hold.
        """
        held = self._held.get(wanted)
        if held and self._clock.monotonic() < held[0]:
            return held[1]
        asking = self._asking.get(wanted)
        if asking is None:
            asking = self._asking[wanted] = asyncio.create_task(self._lease(wanted))
            asking.add_done_callback(lambda task: self._leased(wanted, task))
        return await asyncio.shield(asking)

    def forget(self, key_id: str) -> None:
        """Drop every lease of a key."""
        for wanted in [wanted for wanted in self._held if wanted.key_id == key_id]:
            del self._held[wanted]
        for wanted in [wanted for wanted in self._asking if wanted.key_id == key_id]:
            del self._asking[wanted]

    def revoke(self, key_id: str) -> None:
        """Drop every lease of a key for good: what was granted for it a moment ago must not be used any more."""
        self.forget(key_id)
        while len(self._revoked) >= MAX_REVOKED:
            del self._revoked[next(iter(self._revoked))]
        self._revoked[key_id] = None

    def is_revoked(self, key_id: str) -> bool:
        """Whether the vault has announced the key's end to this process."""
        return key_id in self._revoked

    def drop_expired(self) -> None:
        """Take keys whose time is over out of memory."""
        now = self._clock.monotonic()
        for wanted in [wanted for wanted, (until, _) in self._held.items() if until <= now]:
            del self._held[wanted]

    async def _lease(self, wanted: Wanted) -> bytes:
        asked_at = self._clock.monotonic()
        request = LeaseKeyV1(
            router_id=self._router_id,
            public_key=self._public,
            workspace_id=wanted.workspace_id,
            key_id=wanted.key_id,
            host=wanted.host,
            scope=wanted.scope,
            verifying=wanted.verifying,
        )
        lease = await self._bus.request(request, LeaseV1)
        secret = self._open(lease, wanted)
        valid_s = (lease.expires_at - self._clock.now()).total_seconds() - LEASE_MARGIN_S
        if not wanted.verifying and self._asking.get(wanted) is asyncio.current_task():
            self._held[wanted] = (asked_at + valid_s, secret)
        return secret

    def _open(self, lease: LeaseV1, wanted: Wanted) -> bytes:
        # Everything the vault bound is compared with what was asked for, not with what the answer claims.
        info = sealing.lease_info(
            lease_id=lease.lease_id,
            router_id=self._router_id,
            workspace_id=wanted.workspace_id,
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

    def _leased(self, wanted: Wanted, task: "asyncio.Task[bytes]") -> None:
        if not task.cancelled():
            task.exception()
        if self._asking.get(wanted) is task:
            del self._asking[wanted]


class KeyNews:
    """Acts on the vault's announcements."""

    def __init__(self, directory: KeyDirectory, leases: Leases) -> None:
        self._directory, self._leases = directory, leases

    async def changed(self, event: KeyChangedV1) -> None:
        """Forget everything about the key, before the next request is taken."""
        self._directory.forget(event.workspace_id)
        if event.revoked:
            self._leases.revoke(event.key_id)
        else:
            self._leases.forget(event.key_id)
