"""Is a service able to do its part of a call? Asked by the edge for ``/readyz`` and by the local stack."""

from typing import Any, ClassVar

from shared.messages.base import Part, Request, Service


class ReadyV1(Part):
    """The service can serve: its database answers and its dependencies are loaded."""

    service: Service


class _PingV1(Request):
    callers: ClassVar[tuple[Service, ...]] = (Service.API,)
    reply: ClassVar[type[Part]] = ReadyV1
    example: ClassVar[dict[str, Any]] = {}


class PingRouterV1(_PingV1):
    """Can the router route?"""

    subject: ClassVar[str] = "ai.router.ping.v1"
    owner: ClassVar[Service] = Service.ROUTER


class PingVaultV1(_PingV1):
    """Can the vault open keys?"""

    subject: ClassVar[str] = "ai.vault.ping.v1"
    owner: ClassVar[Service] = Service.VAULT


class PingMeteringV1(_PingV1):
    """Can metering admit calls?"""

    subject: ClassVar[str] = "ai.metering.ping.v1"
    owner: ClassVar[Service] = Service.METERING
