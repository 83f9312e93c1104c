"""One operation, stopped or failed at chosen steps, and what should not have come of it.

For each case the same disk is laid out again, the operation runs and something happens at that
step, and the disk is looked at, with the launchers and file by file. Then another command, or the
same one, has to make good what is left.
"""

import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from ccmirror_py.cli.app import app_for
from ccmirror_py.context import Context
from ccmirror_py.errors import CcmError
from tests.npm_registry import NpmRegistry
from tests.safety.disk import Disk
from tests.safety.scenarios import SCENARIOS, Act, Scenario
from tests.safety.steps import LASTING, STOPS, Ended, Fault, command_line, in_child, litter

Run = Callable[[int, Fault], Ended]
"""Runs the operation; the fault happens at the step of that number, 0: at none."""

Each = TypeVar("Each")
app_for(["?"])  # imports all commands, once for all the children
_INTERRUPTED = 130


@dataclass(frozen=True)
class Case:
    """`other_first`: another command clears up before the same one is given again."""

    step: int
    fault: Fault
    other_first: bool = True


def as_operation(disk: Disk, scenario: Scenario) -> Run:
    """In a forked child, from the operation on."""
    act = scenario.act

    def run(at: int, fault: Fault) -> Ended:
        context = disk.context(fresh=True)
        return in_child(lambda: act(context), disk.user, at, fault)

    return run


def as_command(disk: Disk, scenario: Scenario) -> Run:
    """In a forked child, from the command line on: with everything people see."""
    action = command_line(scenario.words.split(), scenario.typed, disk.environ)
    return lambda at, fault: in_child(action, disk.user, at, fault)


class Campaign:
    """`after`: the campaign at whose case the disk was left and saved; this one's `run` makes good
    what was left there, and the command given again comes to what it came to there."""

    def __init__(
        self,
        disk: Disk,
        scenario: Scenario,
        run: Callable[[Disk, Scenario], Run] = as_command,
        after: "Campaign | None" = None,
    ) -> None:
        self.violations: list[str] = []
        self._disk = disk
        self._scenario = scenario
        if not after:
            disk.prepare(scenario.before)
        self._old = {name: disk.seen(name) for name in scenario.changes}
        self._inside = {name: self._seen_inside(name) for name in scenario.changes}
        self._others = disk.files(*scenario.changes)
        self._sessions = disk.sessions()
        self._torn = disk.torn()
        self.run = run(disk, scenario)
        whole = self.run(0, "kill")
        assert whole.how == "ended", whole
        self._new = {name: disk.seen(name) for name in self._old}
        self._kept: set[str] = disk.sessions() & (after._kept if after else disk.sessions())
        self._begun: dict[str, str] = after._begun if after else self._old
        self._done: dict[str, str] = after._done if after else self._new
        self.steps = whole.steps

    def try_each(self, cases: Iterable[Case]) -> None:
        for _ in self.found(cases):
            pass

    def found(self, cases: Iterable[Case]) -> Iterator[str]:
        """The violations, case by case; they are kept as well."""
        for case in cases:
            self._disk.restore()
            ended = self.run(case.step, case.fault)
            before = len(self.violations)
            self._look(ended, case)
            if case.other_first:
                self._tried("another command", Context.begin_change, ())
                self._check("after another command: litter", litter(self._disk.home))
            self._again()
            said = f"{self._scenario.words}: {case.fault} at {case.step} ({self._step(case)})"
            for index in range(before, len(self.violations)):
                self.violations[index] = f"{said}: {self.violations[index]}"
            yield from self.violations[before:]

    def _step(self, case: Case) -> str:
        return self.steps[case.step - 1].replace(str(self._disk.user), "~")

    def _look(self, ended: Ended, case: Case) -> None:
        """Each variant is old or new, the rest is as it was."""
        seen = {name: self._disk.seen(name) for name in self._old}
        for name, now in seen.items():
            allowed: tuple[str, ...] = (self._old[name], self._new[name])
            if not now and self._disk.home.current(name).is_symlink():
                # create and remove change two directories: for a moment only the command is missing
                self._check(f"{name} has no command", [] if "" in allowed else [now])
                now = self._seen_inside(name)  # noqa: PLW2901
                allowed = (*allowed, self._inside[name])
            self._check(f"{name} is neither old nor new", [] if now in allowed else [now])
        if case.fault in STOPS:
            self._check("not stopped", [] if _is_stopped(ended, case.fault) else [ended])
        elif ended.how == "ended":
            self._check("ended well, but is not new", [seen] if seen != self._new else [])
            wrong = not may_end_well(self._scenario.words, self._step(case), case.fault)
            self._check("ended well, but something failed", [ended] if wrong else [])
        else:
            self._check("no error for people", [] if is_told(ended) else [ended.how, ended.said])
            excused = self._step(case).startswith(_UNCLEARED)
            staged = [path.name for path in self._disk.home.staging.glob("*")]
            self._check("left in staging", [] if excused or case.fault in LASTING else staged)
        self._check_rest()

    def _seen_inside(self, name: str) -> str:
        """What the variant's own launcher runs, whether or not there is a command on PATH."""
        current = self._disk.home.current(name)
        return self._disk.seen(name, current / "launch") if current.is_symlink() else ""

    def _again(self) -> None:
        """The same command converges to new."""
        self._tried("the same command again", self._scenario.act, self._scenario.again)
        for name, expected in self._done.items():
            now = self._disk.seen(name)
            if now != expected and not (self._scenario.either and now == self._begun[name]):
                self._note(f"the same command again: {name} is '{now}', not '{expected}'")
        self._check("the same command again: litter", litter(self._disk.home))
        if self._scenario.forgets:
            for name in self._new:
                held = self._disk.holds(name, self._scenario.forgets)
                self._check("the key that went is left", held)
        self._check_rest()

    def _tried(self, what: str, act: Act, refused: tuple[type[CcmError], ...]) -> None:
        try:
            act(self._disk.context())
        except (CcmError, OSError) as error:
            if not isinstance(error, refused):
                self._note(f"{what}: {type(error).__name__}: {error}")

    def _check_rest(self) -> None:
        now = self._disk.files(*self._scenario.changes)
        changed = {path for path, _ in now.items() ^ self._others.items()}
        self._check("changed, but not its own", sorted(changed))
        self._check("lost sessions", sorted((self._sessions & self._kept) - self._disk.sessions()))
        self._check("torn", sorted(set(self._disk.torn()) - set(self._torn)))

    def _check(self, what: str, wrong: Sequence[object]) -> None:
        if wrong:
            self._note(f"{what}: {wrong}")

    def _note(self, violation: str) -> None:
        self.violations.append(violation.replace(str(self._disk.user), "~"))


def _is_stopped(ended: Ended, fault: Fault) -> bool:
    """Ctrl-C is told from the command line only, by its exit code."""
    match fault:
        case "kill":
            return ended.how == "killed"
        case "terminate":
            return ended.how == "terminated"
    return ended.code == _INTERRUPTED and "Traceback" not in ended.said


def is_told(ended: Ended) -> bool:
    """For each variant that failed one line says what and one what to do; both come last."""
    lines = ended.said.splitlines()
    errors = [line for line in lines if line.startswith("ccm: ") or ": failed: " in line]
    hints = [line for line in lines if line.startswith("     ")]
    told = lines[-2 * len(errors) :] == [
        line for pair in zip(errors, hints, strict=False) for line in pair
    ]
    return ended.how == "failed" and 1 <= ended.code <= 7 and bool(errors) and told


def may_end_well(words: str, step: str, fault: Fault) -> bool:
    """Whether `ccm WORDS` may get over this: what failed is done another way, or is no loss."""
    if fault == "short":
        return True  # the rest is written after it
    if fault == "EACCES" and step.startswith(("os.remove", "os.rmdir")):
        return True  # made writable first, then removed
    if fault in ("ENOSPC", "full") and _NEEDLESS.search(step) and "--purge" in words:
        return True  # a full disk keeps nobody from making room
    if step == "fsync ~/.ccm" and words.startswith("create"):
        return True  # the cache's directory is looked at before an answer is remembered in it
    return step.startswith(_NO_LOSS) or step.partition(" ")[2].startswith(_ONLY_REMEMBERED)


_NEEDLESS = re.compile(r"/\.(journal|numbers)|^fsync ~(/\.ccm)?$")
"""The journal and the last number, and the directories above theirs."""
_UNCLEARED = ("os.remove", "os.rmdir", "fsync ~/.ccm/.staging")
"""What can't be removed stays, and so does a new directory that is perhaps not there for good."""
_NO_LOSS = ("fcntl.ioctl", "os.mkdir ~/.ccm/.locks", "fsync ~/.ccm/.cache")
"""Blocks that can't be shared are linked; a directory that is there; an answer remembered."""
_ONLY_REMEMBERED = ("~/.ccm/.cache/registry", "~/.ccm/.cache/downloads")
"""Answers of the registry; what is kept of a download in case it breaks off."""


@pytest.fixture
def disk(tmp_path: Path, npm: NpmRegistry, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Without waiting for the disk: what a process leaves when it dies is the same, and a power
    cut is another suite's. Each fsync is a step all the same."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    return Disk(tmp_path, npm)


def mixed(cases: Iterable[Each]) -> list[Each]:
    """In an order of no meaning, the same in each run: a part of it has some of everything."""
    found = list(cases)
    random.Random(len(found)).shuffle(found)
    return found


each_scenario = pytest.mark.parametrize("name", SCENARIOS)
