"""What a foreign dialect has to say: how its questions are read, and how ours are answered in its words. All pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from shared.errors import OmniError
from shared.messages.chat import ChatMessageV1, ChatOptionsV1, DeltaV1, EmbeddingV1
from shared.messages.router import InvokedV1


@dataclass(frozen=True, slots=True)
class Asked:
    """A question in somebody else's dialect, as the router takes it.

    ``model``: an alias's name, or ``provider/model``. ``style``: what the dialect needs again when it answers, a frozen
    dataclass of its own.
    """

    model: str
    messages: tuple[ChatMessageV1, ...]
    options: ChatOptionsV1
    embedding: EmbeddingV1 | None = None
    stream: bool = False
    style: object = None


class Writer(Protocol):
    """One streamed answer, piece by piece, as the bytes of a ``text/event-stream``. Every method may return ``b""``."""

    def begin(self) -> bytes:
        """Before the first piece."""
        ...

    def waiting(self) -> bytes:
        """Nothing has come for a while: what keeps the connection alive."""
        ...

    def delta(self, delta: DeltaV1) -> bytes:
        """The next piece."""
        ...

    def end(self, answer: InvokedV1) -> bytes:
        """After the last piece: usage, finish reason, the dialect's mark of the end."""
        ...

    def failed(self, error: OmniError) -> bytes:
        """In place of the end, when the answer failed after it had begun."""
        ...


class Dialect(Protocol):
    """One route of somebody else's API. ``path``: as in ``/v1/messages``."""

    path: str

    def read(self, body: bytes) -> Asked:
        """The question in a request's body.

        Raises OmniError ``invalid_request``, which names fields and rules, never values.
        """
        ...

    def whole(self, asked: Asked, answer: InvokedV1, vectors: Sequence[str], created: int) -> str:
        """A complete answer as the JSON body.

        ``vectors``: of an embedding, each as JSON already (``EmbeddingStyle.written``). ``created``: Unix seconds.
        """
        ...

    def writer(self, asked: Asked, call_id: str, created: int) -> Writer:
        """What writes the streamed answer to ``asked``. ``created``: Unix seconds."""
        ...

    def problem(self, error: OmniError) -> dict[str, Any]:
        """The dialect's own body for an error. Status and headers are the route's."""
        ...
