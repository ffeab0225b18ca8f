"""What every message shares: a subject, a version in its name, an owner, and who may send it.

The NATS permission matrix (``shared/permissions.py``) is derived from these attributes, so a
message that names its callers is also the rule that lets them call.
"""

from enum import StrEnum
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class Service(StrEnum):
    """The processes that own a NATS user."""

    API = "api"
    ROUTER = "router"
    VAULT = "vault"
    METERING = "metering"


class Part(BaseModel):
    """A value inside a message: frozen, strict about unknown fields, silent about rejected input."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Message(Part):
    """A published contract. Never edit a published version: write ``…V2`` beside it."""

    subject: ClassVar[str]
    owner: ClassVar[Service]
    example: ClassVar[dict[str, Any]]

    def address(self) -> str:
        """The subject this very message goes to (fills ``{workspace_id}``)."""
        return self.subject.format_map(self.__dict__) if "{" in self.subject else self.subject

    @classmethod
    def pattern(cls) -> str:
        """The subject a server subscribes to (a wildcard for every placeholder)."""
        return ".".join("*" if part.startswith("{") else part for part in cls.subject.split("."))


class Request(Message):
    """Asked of ``owner`` by ``callers``; answered once with ``reply`` or a problem.

    ``max_replies`` above 1 leaves room for heartbeats before the answer (``shared.bus`` sends them). Where there is a
    ``part``, an answer may come in such parts first (``shared.streams``): when the request's ``stream`` says so.
    ``for_guests``: OmniPost's other services may ask it too, each in the workspaces it is given (``docs/nats.md``).
    """

    reply: ClassVar[type[Part]]
    part: ClassVar[type[Part] | None] = None
    max_replies: ClassVar[int] = 1
    callers: ClassVar[tuple[Service, ...]]
    for_guests: ClassVar[bool] = False


class Event(Message):
    """Announced by ``owner`` to every replica of ``listeners``; may be missed (core NATS).

    ``from_guests``: OmniPost's other services announce it, too. ``for_guests``: they may hear it.
    """

    listeners: ClassVar[tuple[Service, ...]]
    from_guests: ClassVar[bool] = False
    for_guests: ClassVar[bool] = False


class Hint(Event):
    """An event whose latest one per subject is also kept in the KV bucket ``bucket``, for replicas that start later.

    It may be lost, with the bucket and all: nothing may rest on it but a shorter way. Subject: ``$KV.<bucket>.…``.
    """

    bucket: ClassVar[str]
    keep_s: ClassVar[float]


class Record(Message):
    """Written by ``owner`` to a JetStream stream; delivered to ``consumer`` at least once."""

    stream: ClassVar[str]
    consumer: ClassVar[Service]

    @classmethod
    def durable(cls) -> str:
        """The name under which ``consumer`` reads the whole stream; every record of a stream has the same one."""
        return f"{cls.consumer}-{cls.stream.lower()}"

    def message_id(self) -> str:
        """``Nats-Msg-Id``: the same fact published twice is stored once."""
        raise NotImplementedError


class Done(Part):
    """The answer of a request that only changes something."""

    done: bool = True
