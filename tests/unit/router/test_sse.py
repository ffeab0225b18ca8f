"""Server-sent events, cut into pieces in every way."""

import random
from time import process_time

import pytest

from services.router.domain.sse import LARGEST_EVENT, EventParser, ServerEvent, TooLargeError

BODY = (
    "\ufeff: a comment\n\n"
    'data: {"text": "héllo"}\n\n'
    "event: ping\r\ndata:\r\n\r\n"
    "event:delta\rdata: one\rdata:  two\r\r"
    "id: 7\nretry: 3\n\n"
    "data: [DONE]\n\n"
    "data: cut off"
).encode()
EVENTS = [
    ServerEvent('{"text": "héllo"}'),
    ServerEvent("", "ping"),
    ServerEvent("one\n two", "delta"),
    ServerEvent("[DONE]"),
]


def parsed(*chunks: bytes) -> list[ServerEvent]:
    parser = EventParser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


def test_every_line_end_and_field() -> None:
    assert parsed(BODY) == EVENTS


def test_every_way_to_cut_it_in_two_and_single_bytes() -> None:
    for at in range(len(BODY) + 1):
        assert parsed(BODY[:at], BODY[at:]) == EVENTS, at
    assert parsed(*(BODY[at : at + 1] for at in range(len(BODY)))) == EVENTS


def test_random_cuts() -> None:
    rng = random.Random(7)  # noqa: S311 - no secret
    for _ in range(500):
        cuts = sorted(rng.sample(range(len(BODY)), rng.randrange(1, 20)))
        chunks = [BODY[start:end] for start, end in zip([0, *cuts], [*cuts, len(BODY)], strict=True)]
        assert parsed(*chunks) == EVENTS, cuts


@pytest.mark.parametrize("piece", [b"x" * 65_536, b"data: " + b"x" * 65_536 + b"\n"])
def test_an_event_has_a_largest_size(piece: bytes) -> None:
    parser = EventParser()
    for _ in range(LARGEST_EVENT // 65_536 - 1):
        assert parser.feed(piece) == []
    with pytest.raises(TooLargeError):
        parser.feed(piece * 2)


def test_a_long_line_costs_no_more_for_coming_in_small_pieces() -> None:
    parser, piece = EventParser(), b"x" * 1024
    began = process_time()
    assert parser.feed(b"data: ") == []
    for _ in range(4000):
        assert parser.feed(piece) == []
    [event] = parser.feed(b"\n\n")
    spent = process_time() - began
    print(f"an event of {len(event.data)} bytes in pieces of 1 KiB: {1000 * spent:.0f} ms")
    assert len(event.data) == 4000 * 1024
    assert spent < 0.5
