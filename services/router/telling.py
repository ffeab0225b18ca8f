"""What the caller of a stream hears: one answer in one order, whichever targets have a part in it."""

from collections.abc import Callable

from services.router.domain.overlap import Overlap
from services.router.domain.sse import ServerEvent
from services.router.providers.answers import request_id
from services.router.providers.assembly import Assembly
from services.router.providers.base import ChatAnswer, Dialect, Failure, HttpAnswer
from services.router.sending import Streamed
from shared.clock import Clock
from shared.messages.catalogue import OnStreamCut, TargetV1
from shared.messages.chat import ContinuedV1, DeltaV1, ToolCallDeltaV1
from shared.messages.vocabulary import Outcome
from shared.streams import Sink


class Telling:
    """Passes on what targets say. ``count``: pieces the caller has heard; none of them can be taken back.

    ``policy`` is the alias's ``on_stream_cut``; what is not ``plain`` text is never continued.
    """

    def __init__(self, sink: Sink, policy: OnStreamCut, *, plain: bool) -> None:
        self.sink, self._holds = sink, policy == "hold"
        self.continues = policy == "continue" and plain
        self.count = 0
        self._told: list[str] = []
        self._overlap: Overlap | None = None
        self._mark: ContinuedV1 | None = None

    @property
    def begun(self) -> bool:
        """The caller has heard something."""
        return self.count > 0

    @property
    def text(self) -> str:
        """All text the caller has heard."""
        return "".join(self._told)

    def resume(self, target: TargetV1, reason: Outcome) -> None:
        """From now on ``target`` goes on where the one before was cut."""
        self._overlap = Overlap(self.text)
        self._mark = ContinuedV1(provider=target.provider, model=target.model, reason=reason.value)

    def prefilled(self) -> None:
        """The target was given what has been told as the beginning of its own answer."""
        self._overlap = Overlap(self.text, exact=True)

    async def tell(self, delta: DeltaV1) -> None:
        """Pass on a piece, once the caller has room for it. Raises AskerGoneError."""
        if self._holds:
            return
        if self._overlap is not None and delta.text:
            delta = delta.model_copy(update={"text": self._overlap.feed(delta.text)})
        await self._send(delta)

    async def whole(self, answer: ChatAnswer, *, heard: bool) -> None:
        """The answer is complete: tell what has not been told of it. ``heard``: it came in pieces, through ``tell``."""
        if self._holds or not heard:
            self._holds = False
            calls = tuple(
                ToolCallDeltaV1(index=index, id=call.id, name=call.name, arguments=call.arguments)
                for index, call in enumerate(answer.tool_calls)
            )
            await self.tell(DeltaV1(text=answer.text, tool_calls=calls))
        if self._overlap is not None:
            await self._send(DeltaV1(text=self._overlap.flush()))

    async def _send(self, delta: DeltaV1) -> None:
        if not delta.text and not delta.tool_calls:
            return
        if self._mark is not None:
            delta, self._mark = delta.model_copy(update={"continued": self._mark}), None
        self.count += 1
        self._told.append(delta.text)
        await self.sink.send(delta)


class Hearing:
    """Hears one target's stream: adds it up, and tells the caller (a ``sending.Listener``).

    ``first_s``: seconds until the answer began, None before. ``begun`` is called at that moment.
    """

    def __init__(self, dialect: Dialect, telling: Telling, clock: Clock, begun: Callable[[], None]) -> None:
        self.assembly = Assembly()
        self.first_s: float | None = None
        self._dialect, self._telling, self._clock, self._begun = dialect, telling, clock, begun
        self._began = clock.monotonic()

    @property
    def started(self) -> bool:
        """Something of the answer has come."""
        return self.assembly.started

    @property
    def is_over(self) -> bool:
        """Nothing that may still come is wanted."""
        return self.assembly.is_over

    async def hear(self, event: ServerEvent) -> None:
        """Take in one event. Raises AskerGoneError."""
        for item in self._dialect.events(event):
            delta = self.assembly.add(item)
            if self.first_s is None and self.assembly.started:
                self.first_s = self._clock.monotonic() - self._began
                self._begun()
            if delta is not None:
                await self._telling.tell(delta)

    def end(self, stream: Streamed) -> ChatAnswer | Failure:
        """What the stream amounts to, now that it has ended."""
        id_ = request_id(HttpAnswer(stream.status, stream.headers, b""))
        return self.assembly.end(clean=stream.clean, request_id=id_, lenient=self._dialect.lenient)
