"""Killed at every step: each variant is old or new, and the next command makes good.

A complete run of the operation in a forked child counts its steps. Then, once for each step, the
same disk is laid out again, a child runs the operation and does not survive that step (`steps.py`),
and the disk is looked at: with the launchers, and file by file.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ccmirror_py import fs
from ccmirror_py.context import Context
from ccmirror_py.errors import CcmError
from ccmirror_py.home import Home
from ccmirror_py.journal import Journal, Verb
from ccmirror_py.operations.remove import remove
from tests.npm_registry import NpmRegistry
from tests.safety.disk import Disk
from tests.safety.scenarios import NEW, SCENARIOS, SESSION, Act, Scenario, updated
from tests.safety.steps import Ended, Fault, in_child, litter
from tests.safety.table import Tally

# --- the campaign ------------------------------------------------------------------------------


class Campaign:
    """Stops one scenario at each of its steps and writes down what should not have come of it.

    With `prepared` the disk is saved already, as it should be before each of them.
    """

    def __init__(self, disk: Disk, scenario: Scenario, prepared: bool = False) -> None:
        self.violations: list[str] = []
        self._disk = disk
        self._scenario = scenario
        if not prepared:
            disk.prepare(scenario.before)
        self._old = {name: disk.seen(name) for name in scenario.changes}
        self._inside = {name: self._seen_inside(name) for name in scenario.changes}
        self._others = disk.files(*scenario.changes)
        self._sessions = disk.sessions()
        whole = self.child(0, "kill")
        assert whole.how == "ended", whole
        self._new = {name: disk.seen(name) for name in self._old}
        self._kept = disk.sessions()
        self.steps = whole.steps

    def run(self, fault: Fault, another_first: bool) -> None:
        """`another_first`: another command clears up before the same one is given again."""
        for number, step in enumerate(self.steps, 1):
            self._disk.restore()
            ended = self.child(number, fault)
            before = len(self.violations)
            self._look(ended, fault)
            if another_first:
                self._tried("another command", Context.begin_change, ())
                self._check("after another command: litter", litter(self._disk.home))
            self._again()
            for index in range(before, len(self.violations)):
                said = f"step {number} ({step.replace(str(self._disk.user), '~')})"
                self.violations[index] = f"{said}: {self.violations[index]}"

    def child(self, at: int, fault: Fault) -> Ended:
        act, context = self._scenario.act, self._disk.context(fresh=True)
        return in_child(lambda: act(context), self._disk.user, at, fault)

    def _look(self, ended: Ended, fault: Fault) -> None:
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
        if fault == "kill":
            self._check("not killed", [] if ended.how == "killed" else [ended])
        elif ended.how == "ended":
            self._check("ended well, but is not new", [seen] if seen != self._new else [])
        else:
            self._check("no error for people", [] if ended.how == "failed" else [ended])
            removing = ended.steps[-1].startswith(("os.remove", "os.rmdir"))
            staged = [path.name for path in self._disk.home.staging.glob("*")]
            self._check("left in staging", [] if removing else staged)
        self._check_rest()

    def _seen_inside(self, name: str) -> str:
        """What the variant's own launcher runs, whether or not there is a command on PATH."""
        current = self._disk.home.current(name)
        return self._disk.seen(name, current / "launch") if current.is_symlink() else ""

    def _again(self) -> None:
        """The same command converges to new."""
        self._tried("the same command again", self._scenario.act, self._scenario.again)
        for name, expected in self._new.items():
            now = self._disk.seen(name)
            if now != expected and not (self._scenario.either and now == self._old[name]):
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

    def _check(self, what: str, wrong: Sequence[object]) -> None:
        if wrong:
            self._note(f"{what}: {wrong}")

    def _note(self, violation: str) -> None:
        self.violations.append(violation.replace(str(self._disk.user), "~"))


@pytest.fixture
def disk(tmp_path: Path, npm: NpmRegistry) -> Disk:
    return Disk(tmp_path, npm)


@pytest.mark.parametrize("name", SCENARIOS)
def test_after_a_kill_at_any_step_the_same_command_converges(
    disk: Disk, tally: Tally, name: str
) -> None:
    campaign = Campaign(disk, SCENARIOS[name])
    campaign.run("kill", another_first=False)
    tally(len(campaign.steps), campaign.violations)


@pytest.mark.parametrize("name", SCENARIOS)
def test_after_a_kill_at_any_step_any_other_command_clears_up(
    disk: Disk, tally: Tally, name: str
) -> None:
    campaign = Campaign(disk, SCENARIOS[name])
    campaign.run("kill", another_first=True)
    tally(len(campaign.steps), campaign.violations)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_full_disk_at_any_step_is_an_error_that_changes_nothing(
    disk: Disk, tally: Tally, name: str
) -> None:
    campaign = Campaign(disk, SCENARIOS[name])
    campaign.run("full", another_first=True)
    tally(len(campaign.steps), campaign.violations)


@pytest.mark.parametrize("name", ["create", "create in kept config", "update", "remove", "prune"])
def test_a_kill_while_a_kill_is_made_good_changes_nothing(
    disk: Disk, tally: Tally, name: str
) -> None:
    scenario = SCENARIOS[name]
    first = Campaign(disk, scenario)
    # half of the work is done; almost all of it is
    for number in (len(first.steps) // 2, len(first.steps) - 4):
        disk.restore()
        first.child(number, "kill")
        disk.save()
        second = Campaign(disk, replace(scenario, act=Context.begin_change), prepared=True)
        second.run("kill", another_first=True)
        tally(len(second.steps), second.violations, suite="recovery")


@pytest.mark.parametrize("instead", ["link", "file"])
def test_a_removal_that_cannot_be_finished_stops_no_other_variant(disk: Disk, instead: str) -> None:
    disk.prepare(lambda _: None)
    config, elsewhere = disk.home.config("alpha"), disk.user / "elsewhere"
    config.rename(elsewhere)
    config.symlink_to(elsewhere) if instead == "link" else config.write_text("not a directory")
    with suppress(CcmError, OSError):  # refusing is as good as removing it
        remove(disk.context(), "alpha", keep_config=False, force=False)
    updated("beta")(disk.context())
    assert disk.seen("beta").startswith(NEW)
    assert (elsewhere / SESSION.relative_to("config")).exists()


def test_what_a_kill_leaves_of_a_remembered_answer_is_cleared_away(disk: Disk) -> None:
    campaign = Campaign(disk, SCENARIOS["update"])
    step = next(n for n, s in enumerate(campaign.steps, 1) if "rename" in s and "/registry/" in s)
    disk.restore()
    campaign.child(step, "kill")
    updated("alpha")(disk.context())
    disk.context().begin_change()
    assert list((disk.home.cache / "registry").glob(".*.new")) == []


# --- does the campaign see anything? -----------------------------------------------------------


def unlink_then_link(target: str, link: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def no_announcement(journal: Journal, name: str, verb: Verb, trashed: str = "") -> None:
    pass


def announced_as_removal(
    journal: Journal,
    name: str,
    verb: Verb,
    trashed: str = "",
    announce: Callable[..., None] = Journal.announce,
) -> None:
    announce(journal, name, "remove", trashed)


@dataclass(frozen=True)
class Seed:
    """A mistake, put in place of what is right, and the violation it has to come out as."""

    place: object
    name: str
    wrong: Callable[..., None]
    scenario: str
    fault: Fault
    violation: str


SEEDS = {
    "a link replaced in two steps": Seed(
        fs, "replace_link", unlink_then_link, "update", "kill", "is neither old nor new"
    ),
    "create without a journal": Seed(
        Journal, "announce", no_announcement, "create", "kill", "litter: ['gamma'"
    ),
    "a journal that says remove": Seed(
        Journal, "announce", announced_as_removal, "create in kept config", "kill", "lost sessions"
    ),
    "staging that is never swept": Seed(
        Home, "sweep_staging", lambda *_: None, "update", "kill", "litter: ['.staging/"
    ),
    "a failure that clears nothing": Seed(
        fs, "remove_tree", lambda _: None, "update", "full", "left in staging"
    ),
}


@pytest.mark.parametrize("name", SEEDS)
def test_the_campaign_finds_a_mistake(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    seed = SEEDS[name]
    monkeypatch.setattr(seed.place, seed.name, seed.wrong)
    campaign = Campaign(disk, SCENARIOS[seed.scenario])
    campaign.run(seed.fault, another_first=True)
    assert any(seed.violation in violation for violation in campaign.violations)
