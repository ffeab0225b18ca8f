"""Contracts of the catalogue's history: who has changed which prices and addresses, and when."""

from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field

from shared.messages.base import Part, Request, Service
from shared.messages.custody import ActorV1

_API = (Service.API,)


class CatalogueChangeV1(Part):
    """What an admin has changed of a provider: the fields that are different, as they were and as they are.

    ``before`` None: the provider was added. Models stand by id, those that stayed as they were are left out.
    """

    version: int
    at: datetime
    actor: ActorV1 | None
    provider: str
    before: dict[str, Any] | None
    after: dict[str, Any]


class CatalogueChangesV1(Part):
    """A page of the changes, newest first; ``next_before`` None on the last page."""

    items: tuple[CatalogueChangeV1, ...]
    next_before: int | None = None


class ListCatalogueChangesV1(Request):
    """Changes of the catalogue with a ``version`` below ``before``."""

    subject: ClassVar[str] = "ai.router.catalogue.changes.v1"
    owner: ClassVar[Service] = Service.ROUTER
    callers: ClassVar[tuple[Service, ...]] = _API
    reply: ClassVar[type[Part]] = CatalogueChangesV1
    example: ClassVar[dict[str, Any]] = {"limit": 50}

    before: int | None = Field(default=None, ge=1)
    limit: int = Field(default=50, ge=1, le=500)
