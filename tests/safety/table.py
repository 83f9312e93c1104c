"""How many cases each suite of the safety campaign tried, how many went wrong, and the table of it.

A suite is a module of this package. Its tests hand their counts to the fixture `tally`; at the end
of every run the table is printed. `scripts/safety` runs all suites in full size (CCM_SAFETY=full),
each in a process of its own that leaves its rows as JSON in CCM_SAFETY_ROWS; this module as a
program prints the table of all of them. There a suite below its floor is an error as well.
"""

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

FULL = os.environ.get("CCM_SAFETY") == "full"
FLOORS = {
    "kill": 1_400,
    "recovery": 2_000,
    "strace": 490,
    "fail": 4_500,
    "power": 2_000,
    "together": 8_000,
    "polls": 40_000,
    "races": 24,
    "downloads": 140,
    "archives": 70,
    "damage": 3_000,
    "properties": 24_000,
    "permissions": 48,
    "injection": 4_500,
    "secrets": 240,
    "routing": 60,
    "sessions": 12,
    "seeds": 12,
}
"""The least number of cases of the full size."""

Tally = Callable[..., None]
Case = TypeVar("Case")
_COUNTED = "safety"


def sample(cases: Sequence[Case], short: int) -> Sequence[Case]:
    """All of them in the full size, else about `short`, evenly picked: the same in each run."""
    return cases if FULL else cases[:: max(1, len(cases) // short)]


@pytest.fixture
def tally(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Tally:
    """`tally(cases, violations)`: counts them for this suite; the test fails when there is one.

    `suite` where a module counts two things.
    """
    module = request.path.stem.removeprefix("test_")

    def count(cases: int, violations: Sequence[str], suite: str = module) -> None:
        assert suite in FLOORS
        record_property(_COUNTED, [suite, cases, len(violations)])
        assert not violations, "\n".join(violations)

    return count


Rows = dict[str, tuple[int, int, float]]
"""Suite to cases, violations and seconds."""


class Table:
    """Collects what the tests of this run counted, also those of pytest-xdist's workers."""

    def __init__(self) -> None:
        self._rows: Rows = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call":
            return
        counted = [
            (str(value[0]), int(value[1]), int(value[2]))
            for name, value in report.user_properties
            if name == _COUNTED and isinstance(value, list)
        ]
        for suite, cases, violations in counted:
            add(self._rows, suite, (cases, violations, report.duration / len(counted)))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._rows:
            terminalreporter.section("safety campaign", "-")
            terminalreporter.write_line(text(self._rows))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        place = os.environ.get("CCM_SAFETY_ROWS")
        if place and not hasattr(session.config, "workerinput"):
            Path(place, f"{os.getpid()}.json").write_text(json.dumps(self._rows))
        elif FULL and below(self._rows) and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def add(rows: Rows, suite: str, row: tuple[int, int, float]) -> None:
    before = rows.get(suite, (0, 0, 0.0))
    rows[suite] = (before[0] + row[0], before[1] + row[1], before[2] + row[2])


def below(rows: Rows) -> list[str]:
    """Suites with fewer cases than their floor. Each suite has only some of the seeds."""
    whole = len(rows) == len(FLOORS)
    checked = {suite: row for suite, row in rows.items() if suite != "seeds" or whole}
    return [suite for suite, row in checked.items() if row[0] < FLOORS[suite]]


def text(rows: Rows) -> str:
    """In Markdown, in the order of the floors."""
    lines = [
        "| suite | cases | violations | seconds |",
        "| --- | ---: | ---: | ---: |",
    ]
    low_ones = below(rows) if FULL else []
    for suite, floor in FLOORS.items():
        if suite in rows:
            cases, violations, seconds = rows[suite]
            low = f" (floor {floor:,})" if suite in low_ones else ""
            lines.append(f"| {suite} | {cases:,}{low} | {violations} | {seconds:.0f} |")
    return "\n".join(lines)


def main() -> int:
    """`python -m tests.safety.table DIRECTORY`: 1 when a suite is below its floor."""
    rows: Rows = {}
    for path in sorted(Path(sys.argv[1]).glob("*.json")):
        for suite, row in json.loads(path.read_text()).items():
            add(rows, suite, row)
    print(text(rows))
    return int(bool(below(rows)))


if __name__ == "__main__":
    sys.exit(main())
