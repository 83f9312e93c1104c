"""How many cases each suite of the safety campaign tried, how many went wrong, and the table of it.

A suite is a module of this package. Its tests hand their counts to the fixture `tally`; at the end
of every run the table is printed. `scripts/safety` runs all suites in full size (CCM_SAFETY=full),
and then a suite below its floor is an error as well.
"""

import os
from collections.abc import Callable, Sequence
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


class Table:
    """Collects what the tests of this run counted, also those of pytest-xdist's workers."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[int, int, float]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call":
            return
        counted = [
            (str(value[0]), int(value[1]), int(value[2]))
            for name, value in report.user_properties
            if name == _COUNTED and isinstance(value, list)
        ]
        for suite, cases, violations in counted:
            before = self._rows.get(suite, (0, 0, 0.0))
            seconds = report.duration / len(counted)
            row = (before[0] + cases, before[1] + violations, before[2] + seconds)
            self._rows[suite] = row

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._rows:
            terminalreporter.section("safety campaign", "-")
            terminalreporter.write_line(self.text())

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if FULL and self.below() and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def below(self) -> list[str]:
        """Suites with fewer cases than their floor. Each suite has only some of the seeds."""
        whole = len(self._rows) == len(FLOORS)
        checked = {suite: row for suite, row in self._rows.items() if suite != "seeds" or whole}
        return [suite for suite, row in checked.items() if row[0] < FLOORS[suite]]

    def text(self) -> str:
        """In Markdown, in the order of the floors."""
        lines = [
            "| suite | cases | violations | seconds |",
            "| --- | ---: | ---: | ---: |",
        ]
        for suite, floor in FLOORS.items():
            if suite in self._rows:
                cases, violations, seconds = self._rows[suite]
                low = f" (floor {floor:,})" if FULL and cases < floor else ""
                lines.append(f"| {suite} | {cases:,}{low} | {violations} | {seconds:.0f} |")
        return "\n".join(lines)
