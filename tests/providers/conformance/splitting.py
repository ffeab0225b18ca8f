"""A stream cut in two at every offset, and into single bytes: the answer must not depend on where."""

from services.router.domain.sse import EventParser, ServerEvent
from services.router.providers.assembly import Assembly
from services.router.providers.base import ChatAnswer, Dialect, Failure


def every_split(body: bytes, dialect: Dialect, parser: type[EventParser] = EventParser) -> tuple[int, str | None]:
    """How many ways of cutting were tried, and what was wrong with the first that changed the answer.

    The events that come out of a cut are added up once for every different list of them; that equal events give an
    equal answer need not be tried ten thousand times.
    """
    whole = _parsed(parser, body)
    answers = {whole: _added_up(whole, dialect)}
    cuts = [(body[:offset], body[offset:]) for offset in range(len(body) + 1)]
    cuts.append(tuple(body[offset : offset + 1] for offset in range(len(body))))  # type: ignore[arg-type]
    for number, pieces in enumerate(cuts):
        events = _parsed(parser, *pieces)
        if events not in answers:
            answers[events] = _added_up(events, dialect)
        if answers[events] != answers[whole]:
            return number, f"cut at byte {number} of {len(body)} the stream gives another answer"
    return len(cuts), None


def _parsed(made: type[EventParser], *pieces: bytes) -> tuple[ServerEvent, ...]:
    parser = made()
    return tuple(event for piece in pieces for event in parser.feed(piece))


def _added_up(events: tuple[ServerEvent, ...], dialect: Dialect) -> ChatAnswer | Failure:
    assembly = Assembly()
    for event in events:
        for item in dialect.events(event):
            assembly.add(item)
        if assembly.is_over:
            break
    return assembly.end(clean=True, lenient=dialect.lenient)
