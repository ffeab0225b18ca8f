"""``python -m deploy.local.faults [NAME]``: the fault runs; the last line counts them (``make faults``)."""

import sys

import pytest


class Tally:
    """Counts tests by how they ended; an error outside the test itself is a failure, too."""

    def __init__(self) -> None:
        self.passed = self.failed = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called by pytest for the set-up, the call and the tear-down of each test."""
        if report.failed:
            self.failed += 1
        elif report.when == "call" and report.passed:
            self.passed += 1


def main(names: list[str]) -> int:
    """Pytest's exit code."""
    tally = Tally()
    # Every area's runs sit in classes that begin with its name: ``ONLY=ledger`` is ``TestLedger…``.
    only = ["-k", " or ".join(f"Test{name.capitalize()}" for name in names)] if names else []
    code = pytest.main(["-q", "-s", "-m", "faults", *only], plugins=[tally])
    if code == pytest.ExitCode.NO_TESTS_COLLECTED:
        print(f"there are no fault runs for {', '.join(names)} yet")
    print(f"faults: {tally.passed} passed, {tally.failed} failed")
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
