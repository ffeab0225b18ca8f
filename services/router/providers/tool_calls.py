"""Tool calls on their way between dialects: ids that every provider takes, arguments as text and as an object."""

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from services.router.providers.base import Unfit, object_in
from shared.messages.chat import ToolCallV1

# What Gemini wants back with a call rides behind its id: callers hand ids back as they are, and the contract has no
# other place for it. The mark is LiteLLM's, so that conversations begun there can go on here.
_RIDER = "__thought__"
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,40}")
_MADE_UP = re.compile(r"call_[0-9a-f]{24}_\d+")

MOST_CALLS = 128
"""Calls in one answer: as many as may come back with it. What has more cannot be gone on with."""


def signed(id_: str, signature: str | None) -> str:
    """``id_`` with a thought signature behind it, when there is one."""
    return f"{id_}{_RIDER}{signature}" if signature else id_


def signature_in(id_: str) -> str | None:
    """The thought signature behind an id, None without one."""
    return id_.partition(_RIDER)[2] or None


def bare(id_: str) -> str:
    """The id without a thought signature."""
    return id_.partition(_RIDER)[0]


def plain(id_: str) -> str:
    """A stand-in for ``id_`` that every provider takes: 1 to 40 letters, digits, ``_`` and ``-``. The same every time.

    An answer's calls and the results sent later must still find each other, so what does not fit is digested.
    """
    told = bare(id_)
    return told if _PLAIN.fullmatch(told) else f"call_{hashlib.sha256(told.encode(errors='replace')).hexdigest()[:24]}"


class MadeUp:
    """Ids for calls that their provider gave none: unlike any other's, also in a longer conversation.

    ``answer``: a whole answer or one event of a streamed one. It is read once, however many calls it holds.
    """

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self._answer = answer

    def id(self, position: int) -> str:
        """The id of the call at ``position`` in the answer."""
        return f"call_{self._digest}_{position}"

    @cached_property
    def _digest(self) -> str:
        return hashlib.sha256(json.dumps(self._answer, sort_keys=True).encode()).hexdigest()[:24]


def is_made_up(id_: str) -> bool:
    """Whether ``id_`` comes from ``MadeUp``, so that its provider has never seen it."""
    return _MADE_UP.fullmatch(bare(id_)) is not None


def arguments_text(arguments: object) -> str:
    """A call's arguments as JSON text."""
    return json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))


def arguments_object(call: ToolCallV1) -> dict[str, Any]:
    """A call's arguments as the object they must be; no text at all is an empty one.

    Raises:
        Unfit: they are no JSON object.
    """
    found = object_in(call.arguments) if call.arguments.strip() else {}
    if found is None:
        raise Unfit("tool_arguments")
    return found
