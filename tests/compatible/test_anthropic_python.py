"""The real ``anthropic`` package, sync and async, over real sockets against a whole stack."""

from collections.abc import Iterator

import pytest

from tests.compatible.anthropic_cases import CASES
from tests.compatible.anthropic_failures import FAILURES
from tests.compatible.here import Case, Here, tallied
from tests.compatible.place import Tally

ALL = [*CASES, *FAILURES]


@pytest.fixture(scope="module")
def tally() -> Iterator[Tally]:
    """Counts the cases of this file."""
    yield from tallied("anthropic-python", len(ALL))


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.__name__)
async def test_what_programs_do(here: Here, case: Case, tally: Tally) -> None:
    with tally.case(case.__name__):
        await case(here)
