"""Contracts of platform credits: whether a workspace uses them, and the keys of the platform that they are spent on.

How much it has been given is a budget of its own (``SetWorkspaceBudgetV1`` with ``funds`` platform). See
``docs/decisions/0019-credits.md``.
"""

from typing import Any, ClassVar

from shared.messages.base import Done, Part, Request, Service
from shared.messages.custody import ActorV1
from shared.messages.metering import KEY_ID, Credits
from shared.messages.vault import KeysV1

_ACTOR = {"kind": "token", "id": "00000000-0000-0000-0000-000000000001", "role": "owner"}


class CreditsV1(Part):
    """Whether a workspace uses platform credits, and whether any were granted to it. Both are needed."""

    workspace_id: int
    credits: Credits = "off"
    granted: bool = False


class GetCreditsV1(Request):
    """How it stands with a workspace's credits; one that never said anything does not use them."""

    subject: ClassVar[str] = "ai.metering.credits.get.v1"
    owner: ClassVar[Service] = Service.METERING
    callers: ClassVar[tuple[Service, ...]] = (Service.API,)
    reply: ClassVar[type[Part]] = CreditsV1
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1}

    workspace_id: int


class SetCreditsV1(Request):
    """Switch a workspace's credits on or off. Once "off" has answered, no call of it is admitted on credits."""

    subject: ClassVar[str] = "ai.metering.credits.set.v1"
    owner: ClassVar[Service] = Service.METERING
    callers: ClassVar[tuple[Service, ...]] = (Service.API,)
    reply: ClassVar[type[Part]] = CreditsV1
    example: ClassVar[dict[str, Any]] = {"workspace_id": 1, "credits": "allowed", "actor": _ACTOR}

    workspace_id: int
    credits: Credits
    actor: ActorV1


class AdmitPlatformKeyV1(Request):
    """Give a key of the platform its account, without caps: without one no call with it is admitted. Idempotent.

    It comes before the key itself is stored. A blocked key stays blocked.
    """

    subject: ClassVar[str] = "ai.metering.keys.admit.v1"
    owner: ClassVar[Service] = Service.METERING
    callers: ClassVar[tuple[Service, ...]] = (Service.VAULT,)
    reply: ClassVar[type[Part]] = Done
    example: ClassVar[dict[str, Any]] = {"key_id": KEY_ID}

    key_id: str


class ListPlatformKeysV1(Request):
    """Every key of the platform, revoked ones included. The router alone may ask: no workspace sees them."""

    subject: ClassVar[str] = "ai.vault.platform.keys.list.v1"
    owner: ClassVar[Service] = Service.VAULT
    callers: ClassVar[tuple[Service, ...]] = (Service.ROUTER,)
    reply: ClassVar[type[Part]] = KeysV1
    example: ClassVar[dict[str, Any]] = {}
