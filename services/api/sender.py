"""Sends what is due to webhooks, at least once: an attempt is noted only after it was made."""

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from services.api.claims import Claim, Claims
from services.api.courier import TOTAL_S, Courier
from services.api.domain import webhooks
from services.api.domain.webhook_secrets import SecretBox
from shared import failpoints, logs
from shared.clock import Clock
from shared.errors import OmniError
from shared.sealing import CannotOpen

_PURGE_EVERY_S = 3600.0


@dataclass(frozen=True)
class Pace:
    """``look_s``: how often due deliveries are looked for, beside being told. ``claim_s``: how long one is ours.

    A claim outlives the longest attempt, or another replica would send the same meanwhile.
    """

    look_s: float = 1.0
    claim_s: float = 2 * TOTAL_S
    at_once: int = 32


_USUAL = Pace()


class Sender:
    """Runs from ``begin`` to ``stop``; any number of replicas may."""

    def __init__(self, claims: Claims, courier: Courier, box: SecretBox, clock: Clock, pace: Pace = _USUAL) -> None:
        self._claims, self._courier, self._box, self._clock = claims, courier, box, clock
        self._pace = pace
        self._wake = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._purged_at = clock.monotonic() - _PURGE_EVERY_S
        self._log = logs.get()

    def begin(self) -> None:
        """Begin with what is left from before."""
        self._wake.set()
        self._task = asyncio.create_task(self._run())

    def wake(self) -> None:
        """Something is due."""
        self._wake.set()

    async def stop(self, grace_s: float) -> None:
        """Claim no more, and let what is under way end within ``grace_s`` seconds."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._sending:
            await asyncio.wait(self._sending, timeout=grace_s)
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        await self._courier.close()

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pace.look_s):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self._turn()
            except OmniError as error:
                self._log.warning("webhooks wait", code=error.code)
            except Exception as error:  # noqa: BLE001 - the loop must outlive whatever one round met
                self._log.error("webhooks cannot be sent", exc=error)

    async def _turn(self) -> None:
        room = self._pace.at_once - len(self._sending)
        if room > 0:
            now = self._clock.now()
            for claim in await self._claims.claim(now, now + timedelta(seconds=self._pace.claim_s), room):
                task = asyncio.create_task(self._send(claim))
                self._sending.add(task)
                task.add_done_callback(self._sent)
        if self._clock.monotonic() - self._purged_at >= _PURGE_EVERY_S:
            await self._claims.purge(self._clock.now() - webhooks.KEEP)
            self._purged_at = self._clock.monotonic()

    def _sent(self, task: "asyncio.Task[None]") -> None:
        self._sending.discard(task)
        # The next one of the same webhook has waited for this.
        self._wake.set()
        if not task.cancelled() and (error := task.exception()):
            self._log.error("a delivery is not noted; it comes again", exc=error)

    async def _send(self, claim: Claim) -> None:
        failpoints.passing("api.webhook.claimed")
        answer = await self._attempt(claim)
        failpoints.passing("api.webhook.sent")
        now = self._clock.now()
        then = webhooks.following(answer, claim.attempts, claim.failing_since, now, random.random())  # noqa: S311 - jitter
        next_at = None if then.wait_s is None else now + timedelta(seconds=then.wait_s)
        await self._claims.note(claim, answer, then, now, next_at)
        if then.disable:
            self._log.error("a webhook is disabled", workspace_id=claim.workspace_id, reason=then.disable)
        elif not answer.is_taken:
            told = {"status": answer.code, "reason": answer.trouble, "attempt": claim.attempts}
            self._log.info("a webhook was not reached", workspace_id=claim.workspace_id, **told)

    async def _attempt(self, claim: Claim) -> webhooks.Answer:
        now, payload = self._clock.now(), claim.body.encode()
        sealed = [claim.secret]
        if claim.previous_secret and claim.previous_until and claim.previous_until > now:
            sealed.append(claim.previous_secret)
        try:
            secrets = [self._box.opened(one, claim.place) for one in sealed]
        except CannotOpen:
            self._log.error("a webhook's secret cannot be opened; give it a new one", workspace_id=claim.workspace_id)
            return webhooks.Answer(None, "not_signed")
        return await self._courier.bring(
            claim.url, webhooks.headers(str(claim.event_id), now, payload, secrets), payload
        )
