"""The responses of the real ``openai`` package, sync and async, over real sockets against a whole stack."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.compatible.here import Case, Here, at
from tests.compatible.place import Place, Tally
from tests.compatible.responses_cases import CASES

ALL = CASES


@pytest.fixture(scope="module")
def tally() -> Iterator[Tally]:
    """Counts the cases of this file."""
    made = Tally("openai-responses", cases=len(ALL))
    yield made
    made.say()


@pytest.fixture
async def here(place: Place) -> AsyncIterator[Here]:
    """A place of one's own."""
    async with at(place) as made:
        yield made


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.__name__)
async def test_what_programs_do(here: Here, case: Case, tally: Tally) -> None:
    with tally.case(case.__name__):
        await case(here)
