"""The platform's own keys, as the environment gives them: stored at the start like any other, as keys of workspace 0.

A key that is there is added, another one takes its place as the next version, and what is not given any more is
revoked. What is as it should be is left alone. While the vault runs, a key only follows its provider's address.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager, suppress
from uuid import UUID

from sqlalchemy import text

from services.vault.domain.audit import by_service
from services.vault.domain.platform_keys import HOSTS, SCOPES, destination, key_id_of
from services.vault.keyring import Keyring
from services.vault.service import VaultService
from services.vault.store import Store
from shared import logs, sealing
from shared.bus import Bus
from shared.errors import OmniError
from shared.messages.base import Done, Service
from shared.messages.catalogue import CatalogueChangedV1, ListProvidersV1, ProvidersV1
from shared.messages.platform_credits import AdmitPlatformKeyV1
from shared.messages.router import VerdictV1, VerifyKeyV1
from shared.messages.vault import CreateKeyV1, KeyV1, ListKeysV1, RevokeKeyV1, UpdateKeyV1
from shared.messages.vocabulary import PLATFORM_WORKSPACE, KeyStatus

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0
LOOK_EVERY_S = 30.0
ASK_AGAIN_EVERY_S, VERIFY_TIMEOUT_S = 300.0, 20.0
_LABEL = "Platform"
_ITSELF = by_service(Service.VAULT)
# Replicas that start together come one after another; the second finds everything done.
_ALONE = text("SELECT pg_advisory_xact_lock(hashtext('omnipost platform keys'))")


class PlatformKeys:
    """Keeps what is stored in step with ``given`` (secrets by provider id)."""

    def __init__(
        self,
        vault: VaultService,
        store: Store,
        keyring: Keyring,
        identity: sealing.VaultIdentity,
        bus: Bus,
        given: Mapping[str, str],
        allowed: AbstractSet[str],
    ) -> None:
        """``vault``: the one that serves the platform's keys. ``allowed``: see ``domain.platform_keys``."""
        self._vault, self._store, self._keyring, self._identity = vault, store, keyring, identity
        self._bus, self._given, self._allowed = bus, given, allowed
        self._moved = asyncio.Event()
        self._ask_again_at = 0.0
        self._refused: Mapping[str, str | None] = {}
        self._log = logs.get()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Settle, as soon as metering and the router can be asked, and follow addresses from then on."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Follow no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def wake(self) -> None:
        """Addresses may have changed."""
        self._moved.set()

    async def changed(self, event: CatalogueChangedV1) -> None:
        """Somebody has changed an alias (nothing to us) or a provider."""
        if event.workspace_id is None:
            self.wake()

    async def settle(self) -> None:
        """Make what is stored what is given. Raises OmniError: not all of it is done, do it again."""
        if self._given:
            hosts = await self._hosts()
            async with self._alone():
                for provider, secret in self._given.items():
                    await self._keep(provider, secret, hosts[provider])
        for provider in HOSTS.keys() - self._given.keys():
            for key in await self._living(provider):
                await self._vault.revoke(RevokeKeyV1(workspace_id=PLATFORM_WORKSPACE, key_id=key.id, actor=_ITSELF))
        self._log.info("the platform's keys are settled", count=len(self._given))

    async def follow(self) -> None:
        """Bind keys to where their providers are now. Raises OmniError: do it again.

        A key that another replica was given, later than we were, is its business.
        """
        hosts = await self._hosts()
        keys = [key for provider in self._given for key in await self._living(provider)]
        if all(key.host == hosts[key.provider] for key in keys):
            return
        async with self._alone():
            for provider, secret in self._given.items():
                for key in await self._living(provider):
                    if key.host != hosts[provider] and await self._holds(key, secret):
                        await self._replace(key, secret, hosts[provider])

    async def ask_again(self) -> None:
        """Have refused keys checked anew: nobody else can ask for it. Raises OmniError: do it again."""
        for provider in self._given:
            for key in await self._living(provider):
                if key.status is KeyStatus.INVALID:
                    request = VerifyKeyV1(workspace_id=PLATFORM_WORKSPACE, key_id=key.id)
                    await self._bus.request(request, VerdictV1, timeout=VERIFY_TIMEOUT_S)

    # -- steps -----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        await self._until_done(self.settle)
        while self._given:
            # Now and then without being told, too: an announcement may be lost, or come before a replica has heard it.
            with suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), LOOK_EVERY_S)
            self._moved.clear()
            await self._until_done(self.follow)
            if asyncio.get_running_loop().time() >= self._ask_again_at:
                self._ask_again_at = asyncio.get_running_loop().time() + ASK_AGAIN_EVERY_S
                await self._until_done(self.ask_again)

    async def _until_done(self, step: Callable[[], Awaitable[None]]) -> None:
        pause = FIRST_PAUSE_S
        while True:
            try:
                return await step()
            except OmniError as error:
                self._log.warning("the platform's keys are not settled yet", code=error.code)
            except Exception as error:  # noqa: BLE001 - it must outlive whatever goes wrong once
                self._log.error("the platform's keys are not settled yet", exc=error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        async with self._store.transaction(PLATFORM_WORKSPACE) as rows:
            await (await rows.session.connection()).execute(_ALONE)
            yield

    async def _hosts(self) -> Mapping[str, str]:
        catalogue = await self._bus.request(ListProvidersV1(), ProvidersV1, repeatable=True)
        told = {provider.id: provider.host for provider in catalogue.items}
        hosts = {one: destination(one, told.get(one, usual), self._allowed) for one, usual in HOSTS.items()}
        refused = {provider: told.get(provider) for provider in self._given if hosts[provider] != told.get(provider)}
        for provider in {one for one, place in refused.items() if self._refused.get(one) != place}:
            self._log.warning("a key of the platform does not follow its provider to this address", name=provider)
        self._refused = refused
        return hosts

    async def _keep(self, provider: str, secret: str, host: str) -> None:
        living = await self._living(provider)
        if not living:
            await self._add(provider, secret, host)
        for key in living:
            # One that was refused is asked about anew: nobody else could have it checked.
            refused = key.status is KeyStatus.INVALID
            if refused or key.host != host or not await self._holds(key, secret):
                await self._replace(key, secret, host)

    async def _add(self, provider: str, secret: str, host: str) -> None:
        key_id = str(key_id_of(provider, len(await self._known(provider))))
        # Its account first: a key that can be leased but not paid for would be refused, and nobody would know why.
        await self._bus.request(AdmitPlatformKeyV1(key_id=key_id), Done, repeatable=True)
        request = CreateKeyV1(
            key_id=key_id,
            workspace_id=PLATFORM_WORKSPACE,
            provider=provider,
            host=host,
            label=_LABEL,
            scopes=SCOPES,
            sealed=self._sealed(key_id, provider, secret, host),
            actor=_ITSELF,
        )
        await self._vault.create(request)

    async def _replace(self, key: KeyV1, secret: str, host: str) -> None:
        sealed = self._sealed(key.id, key.provider, secret, host)
        request = UpdateKeyV1(workspace_id=PLATFORM_WORKSPACE, key_id=key.id, host=host, sealed=sealed, actor=_ITSELF)
        await self._vault.update(request)

    def _sealed(self, key_id: str, provider: str, secret: str, host: str) -> str:
        info = sealing.key_info(workspace_id=PLATFORM_WORKSPACE, key_id=key_id, provider=provider, host=host)
        return sealing.encode(sealing.seal(secret.encode(), self._identity.sealing.public_key(), info))

    async def _known(self, provider: str) -> list[KeyV1]:
        request = ListKeysV1(workspace_id=PLATFORM_WORKSPACE, providers=frozenset({provider}))
        return list((await self._vault.list(request)).items)

    async def _living(self, provider: str) -> list[KeyV1]:
        return [key for key in await self._known(provider) if key.status is not KeyStatus.REVOKED]

    async def _holds(self, key: KeyV1, secret: str) -> bool:
        async with self._store.transaction(PLATFORM_WORKSPACE) as rows:
            found = await rows.key_with_dek(PLATFORM_WORKSPACE, UUID(key.id))
        return found is not None and await self._keyring.holds(*found, secret.encode())
