"""How many tokens a conversation has, as the router counts before a call."""

from typing import Any, ClassVar

from pydantic import Field

from shared.messages.base import Part, Request, Service
from shared.messages.chat import ChatMessageV1, ChatOptionsV1


class CountedV1(Part):
    """Input tokens. ``at_most``: no target counts more, what is reserved goes by it; ``expected``: a guess by size."""

    expected: int
    at_most: int


class CountTokensV1(Request):
    """Count the input tokens of a conversation for ``model``, an alias's name or ``provider/model``; calls nobody.

    Problems: ``not_found`` (alias, provider), ``invalid_request`` (the alias does something else),
    ``unavailable``.
    """

    subject: ClassVar[str] = "ai.router.tokens.count.v1"
    owner: ClassVar[Service] = Service.ROUTER
    callers: ClassVar[tuple[Service, ...]] = (Service.API,)
    reply: ClassVar[type[Part]] = CountedV1
    example: ClassVar[dict[str, Any]] = {
        "workspace_id": 1, "model": "fast-drafts", "messages": [{"role": "user", "content": "Hello!"}],
    }  # fmt: skip

    workspace_id: int
    model: str = Field(max_length=300)
    messages: tuple[ChatMessageV1, ...] = Field(min_length=1, max_length=2048)
    options: ChatOptionsV1 = ChatOptionsV1()
