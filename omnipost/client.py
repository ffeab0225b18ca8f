"""The blocking client."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx2

from omnipost.asking import Ask
from omnipost.calling import Filters, Piece, Question, StreamState, call, call_page
from omnipost.everything import Everything
from omnipost.exchange import Result, Send, Steps, asked, lost, responded
from omnipost.saving import Exported, Progress, Saving, export_of
from omnipost.settings import is_loopback, read
from omnipost.shapes import Answer, Call

T = TypeVar("T")
R = TypeVar("R")


class Client(Everything["Client"]):
    """OmniPost, asked blockingly; in a ``with`` block, or closed at the end. Threads may share one.

    ``url``, ``token``, ``workspace_id`` left out: from the environment or the local stack (``settings.read``).
    ``retries``: how often a request is asked again where that cannot do anything twice.
    Everything raises OmniPostError.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        workspace_id: int | None = None,
        retries: int = 2,
        allow_http: bool = False,
    ) -> None:
        settings = read(url, token, workspace_id=workspace_id, allow_http=allow_http)
        self._http = httpx2.Client(base_url=settings.url, trust_env=not is_loopback(settings.url))
        super().__init__(self, settings, retries)

    def ask(self, ask: Ask[T]) -> T:
        """The answer of any request."""
        return self._drive(asked(ask, self._settings.token, self._retries))

    def invoke(self, alias: str, **question: Unpack[Question]) -> Answer:
        """Call an alias, and wait for the whole answer. A POST that is asked again is never called twice."""
        return self.ask(call(alias, self.workspace_id, **question))

    def stream(self, alias: str, **question: Unpack[Question]) -> "Stream":
        """Call an alias and read the answer as it comes; leaving the ``with`` block ends the call."""
        return Stream(self, call(alias, self.workspace_id, stream=True, **question))

    def calls(self, **filters: Unpack[Filters]) -> Iterator[Call]:
        """The call log, newest first, page by page as it is read."""
        cursor: str | None = None
        while True:
            page = self.ask(call_page(self.workspace_id, cursor, filters))
            yield from page["items"]
            if not (cursor := page["next_cursor"]):
                return

    def export(
        self,
        path: str | Path,
        format_: str = "csv",
        *,
        since: str | None = None,
        until: str | None = None,
        progress: Progress | None = None,
    ) -> Exported:
        """The call log of [since, until) in a file: csv, ndjson, parquet or focus. It is there whole or not at all."""
        ask = export_of(self.workspace_id, format_, since, until)
        with self._open(ask) as response, Saving(Path(path), response, format_, progress) as saving:
            try:
                for chunk in response.iter_bytes():
                    saving.write(chunk)
            except httpx2.RequestError as error:
                broken = lost(type(error).__name__)
            else:
                return saving.finish()
            raise broken

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _open(self, ask: Ask[Any]) -> Iterator[httpx2.Response]:
        response = self._drive(responded(ask, self._settings.token, self._retries, streamed=True))
        try:
            yield response
        finally:
            response.close()

    def _drive(self, steps: Steps[R]) -> R:
        result: Result = None
        while True:
            try:
                step = steps.send(result)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            if isinstance(step, Send):
                result = self._sent(step)
            else:
                time.sleep(step.seconds)
                result = None

    def _sent(self, send: Send) -> Result:
        request = self._http.build_request(**send.parts())
        try:
            response = self._http.send(request, stream=True)
            if not send.streamed or not response.is_success:
                with closing(response):
                    response.read()
        except httpx2.RequestError as error:
            return error
        return response


class Stream(StreamState):
    """A streamed answer: iterate over its pieces in a ``with`` block; then ``answer`` is the whole of it."""

    def __init__(self, client: Client, ask: Ask[Answer]) -> None:
        super().__init__()
        self._opening = client._open(ask)  # noqa: SLF001 - a part of the client

    def __enter__(self) -> Self:
        return self._opened(self._opening.__enter__())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opening.__exit__(kind, error, trace)

    def __iter__(self) -> Iterator[Piece]:
        """Pieces as they come. Raises OmniPostError when the call fails or the stream is cut."""
        try:
            for event in self._events():
                if (piece := self._reading.take(event)) is not None:
                    yield piece
        except (httpx2.RequestError, ValueError) as error:
            broken = self._reading.broken(error)
        else:
            self._reading.whole()
            return
        raise broken

    def text(self) -> Iterator[str]:
        """Only the pieces' texts."""
        return (piece.text for piece in self if piece.text)
