"""OmniPost's Python client: ``Client`` blocks, ``AsyncClient`` is awaited; ``omnipost.errors`` has what they raise."""

from omnipost.asking import Ask
from omnipost.async_client import AsyncClient, AsyncStream
from omnipost.calling import Piece
from omnipost.client import Client, Stream
from omnipost.errors import OmniPostError
from omnipost.saving import Exported
from omnipost.shapes import Alias, Answer, Budget, Call, Key, Usage

__all__ = [
    "Alias",
    "Answer",
    "Ask",
    "AsyncClient",
    "AsyncStream",
    "Budget",
    "Call",
    "Client",
    "Exported",
    "Key",
    "OmniPostError",
    "Piece",
    "Stream",
    "Usage",
]
