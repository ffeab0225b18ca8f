"""Use cases of retention: how long rows are kept, whether content is, and reading what one call was about."""

from collections.abc import Awaitable, Callable

from services.api.schemas_bookkeeping import RetentionIn
from shared.bus import Bus
from shared.contents import ContentPlace, KeyReader, opened
from shared.errors import OmniError, unavailable
from shared.messages.base import Done
from shared.messages.bookkeeping import GetRetentionV1, RetentionV1, SetRetentionV1
from shared.messages.contents import (
    ContentKeyV1,
    ContentPolicyV1,
    ContentV1,
    DestroyContentsV1,
    GetContentPolicyV1,
    GetContentV1,
    OpenContentKeyV1,
    SealedContentV1,
    SetContentPolicyV1,
)
from shared.messages.custody import ActorV1
from shared.sealing import CannotOpen, VaultPublic, decode

TIMEOUT_S = 6.0


class Contents:
    """Every failure is an OmniError. Content is in clear here only while somebody who may read it is answered."""

    def __init__(self, bus: Bus, vault: VaultPublic, drop_answers: Callable[[int], Awaitable[None]]) -> None:
        """``drop_answers``: destroys what is kept for repetitions of a workspace's requests."""
        self._bus, self._reader, self._drop_answers = bus, KeyReader(vault), drop_answers

    async def retention(self, workspace_id: int) -> tuple[RetentionV1, ContentPolicyV1]:
        """How long the call log is kept, and what of content is."""
        rows = await self._bus.request(GetRetentionV1(workspace_id=workspace_id), RetentionV1)
        policy = await self._bus.request(GetContentPolicyV1(workspace_id=workspace_id), ContentPolicyV1)
        return rows, policy

    async def set_retention(
        self, workspace_id: int, change: RetentionIn, actor: ActorV1
    ) -> tuple[RetentionV1, ContentPolicyV1]:
        """Change what ``change`` names. Zero retention also destroys what stored content could be opened with."""
        about = change.model_dump(include={"store_content", "content_days", "zero_retention"}, exclude_none=True)
        if about:
            policy = SetContentPolicyV1(workspace_id=workspace_id, actor=actor, **about)
            await self._bus.request(policy, ContentPolicyV1)
        if change.zero_retention:
            await self._drop_answers(workspace_id)
            await self._bus.request(DestroyContentsV1(workspace_id=workspace_id, actor=actor), Done)
        if "call_log_days" in change.model_fields_set:
            rows = SetRetentionV1(workspace_id=workspace_id, call_log_days=change.call_log_days, actor=actor)
            await self._bus.request(rows, RetentionV1)
        return await self.retention(workspace_id)

    async def read(self, workspace_id: int, attempt_id: str, actor: ActorV1) -> tuple[SealedContentV1, ContentV1]:
        """What an attempt was about. That ``actor`` reads it is in the audit first.

        Raises OmniError ``not_found``: nothing is stored, its days are over, or it has been destroyed.
        """
        wanted = GetContentV1(workspace_id=workspace_id, attempt_id=attempt_id)
        stored = await self._bus.request(wanted, SealedContentV1, timeout=TIMEOUT_S)
        wish = OpenContentKeyV1(
            workspace_id=workspace_id,
            call_id=stored.call_id,
            attempt_id=stored.attempt_id,
            public_key=self._reader.public_key,
            root_id=stored.root_id,
            salt=stored.salt,
            actor=actor,
        )
        given = await self._bus.request(wish, ContentKeyV1, timeout=TIMEOUT_S)
        place = ContentPlace(workspace_id, stored.call_id, stored.attempt_id, stored.root_id)
        try:
            body = opened(self._reader.read(given, place), decode(stored.sealed), place)
            return stored, ContentV1.model_validate_json(body)
        except (CannotOpen, ValueError):
            raise _cannot_open() from None


def _cannot_open() -> OmniError:
    return unavailable("This content cannot be opened.")
