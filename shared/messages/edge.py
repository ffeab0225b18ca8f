"""What edges tell each other."""

from typing import Any, ClassVar

from pydantic import Field

from shared.messages.base import Event, Part, Service


class RateCellV1(Part):
    """What ``edge`` has admitted in ``slot`` (quarters of a second since 1970) of one subject, all of it.

    ``subject``: ``t:<token>`` or ``w:<workspace>``.
    """

    edge: str = Field(pattern=r"^[0-9a-f]{8,32}$")
    subject: str = Field(pattern=r"^[tw]:[0-9a-f-]{1,40}$")
    slot: int = Field(ge=0)
    requests: int = Field(ge=0)
    tokens: int = Field(ge=0)


class RatesToldV1(Event):
    """An edge to its replicas: what was admitted where a rate limit holds, since the last time.

    It may be lost: what is told later replaces what was told before. ``fresh``: the edge has just begun and knows
    nothing of the last minute; the others tell all they know.
    """

    subject: ClassVar[str] = "ai.edge.rates.v1"
    owner: ClassVar[Service] = Service.API
    listeners: ClassVar[tuple[Service, ...]] = (Service.API,)
    example: ClassVar[dict[str, Any]] = {
        "edge": "9f86d081", "fresh": False,
        "cells": [{"edge": "9f86d081", "subject": "w:1", "slot": 7184361600, "requests": 3, "tokens": 1200}],
    }  # fmt: skip

    edge: str = Field(pattern=r"^[0-9a-f]{8,32}$")
    fresh: bool = False
    cells: tuple[RateCellV1, ...] = Field(default=(), max_length=4096)
