"""The responses of the real ``openai`` package, sync and async, over real sockets against a whole stack."""

from collections.abc import Iterator

import pytest

from tests.compatible.here import Case, Here, tallied
from tests.compatible.place import Tally
from tests.compatible.responses_cases import CASES

ALL = CASES


@pytest.fixture(scope="module")
def tally() -> Iterator[Tally]:
    """Counts the cases of this file."""
    yield from tallied("openai-responses", len(ALL))


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.__name__)
async def test_what_programs_do(here: Here, case: Case, tally: Tally) -> None:
    with tally.case(case.__name__):
        await case(here)
