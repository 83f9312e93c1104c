"""Nobody else gets at anything, not for a moment, whatever the umask.

Every mode a file or directory is made with is read where the kernel is asked for it: by `inside.py`
in the process itself, and by strace where there is one; both have to tell the same.
"""

import os
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from ccmirror_py import fs
from ccmirror_py.context import Context
from tests.conftest import Sandbox
from tests.npm_registry import NpmRegistry
from tests.safety.disk import Disk
from tests.safety.scenarios import SCENARIOS
from tests.safety.steps import in_child
from tests.safety.table import FULL, Tally, sample
from tests.safety.watched import STRACE, Made, Plan, Watched, watched

UMASKS = (0o000, 0o002, 0o022, 0o077)
KEY = "sk-of-somebody-0123456789"
PROGRAM = b"""#!/bin/sh
[ "${1-}" = --version ] && { echo '@VERSION@ (Claude Code)'; exit 0; }
exit 0
"""


@dataclass(frozen=True)
class Step:
    """A command of one user's day; `main`: also in the short form. `damage` is removed before."""

    line: str
    main: bool = False
    damage: str = ""
    codes: tuple[int, ...] = (0,)


DAY = (
    Step("create zai --provider zai --api-key-stdin --claude-version 2.1.399", main=True),
    Step("create e --provider echo --claude-version 2.1.400"),
    Step("update zai --claude-version latest", main=True),
    Step("create zai --provider zai --force --api-key-stdin"),
    Step("pin zai 2.1.400"),
    Step("unpin zai"),
    Step("rollback zai"),
    Step("key set zai --api-key-stdin", main=True),
    Step("run zai -- --settings {} hello", main=True),
    Step("run zai +2.1.400 -- hello"),
    Step("verify"),
    Step("doctor zai --fix", damage="zai/current/launch"),
    Step("doctor zai --fix", damage="zai/current/native/claude", main=True),
    Step("doctor zai --launch", damage=".locks", codes=(1,)),
    Step("versions --available"),
    Step("list --outdated"),
    Step("prune"),
    Step("key remove zai"),
    Step("remove e --yes --keep-config"),
    Step("create e --provider echo"),
    Step("remove zai --yes", main=True),
    Step("trash list"),
    Step("trash restore zai", main=True),
    Step("remove zai --yes --purge"),
    Step("trash empty --yes"),
)


# --- what may be --------------------------------------------------------------------------------

EXECUTED = {"claude": 0o555, "launch": 0o700, "statusline": 0o700}
READ_ONLY = {"receipt.json": 0o444}


def for_a_moment(home: Path, umask: int, made: Sequence[Made]) -> list[str]:
    """Modes with which something was asked for, and that should not have been.

    In ccm's home the mode itself has to be right, without the help of a umask.
    """
    found = []
    for each in made:
        place = Path(each.path).relative_to(home)
        if place.parts[0] != ".ccm":
            allowed = 0o755  # the place of commands is the user's: the umask counts
        elif each.how == "mkdir":
            allowed = 0o700
        elif each.how == "open":
            allowed = 0o600 | EXECUTED.get(place.name, 0) & 0o700
        else:
            directory = 0o700 if Path(each.path).is_dir() else 0o600
            allowed = (EXECUTED | READ_ONLY).get(place.name, directory)
        left = each.mode if each.how == "chmod" else each.mode & ~umask
        if each.mode & ~allowed or left & 0o022:
            found.append(f"{each.how} {place} {each.mode:o}")
    return found


def in_the_end(home: Path, umask: int) -> list[str]:
    """What can be had of the disk now."""
    found = []
    for path in home.rglob("*"):
        place, state = path.relative_to(home), path.lstat()
        mode = stat.S_IMODE(state.st_mode)
        if stat.S_ISLNK(state.st_mode):
            continue
        if place.parts[0] != ".ccm":
            expected = 0o755 & ~umask
        elif stat.S_ISDIR(state.st_mode):
            expected = 0o700
        else:
            expected = (EXECUTED | READ_ONLY).get(path.name, 0o600)
        if mode != expected:
            found.append(f"{place} is {mode:o}, not {expected:o}")
    return found


def disagreed(run: Watched) -> list[str]:
    """What only one of the two has seen."""
    if not STRACE:
        return []
    seen, traced = set(run.made), set(run.traced_made)
    return [f"seen by one only: {made}" for made in sorted(seen ^ traced)]


# --- the campaign -------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", UMASKS, ids=lambda umask: f"{umask:03o}")
def test_nobody_else_gets_at_anything_for_a_moment(
    sandbox: Sandbox, npm: NpmRegistry, tally: Tally, umask: int
) -> None:
    steps = [step for step in DAY if FULL or step.main]
    violations, made = through_the_day(sandbox, npm, umask, steps)
    assert {each.how for each in made} == {"open", "mkdir", "chmod"}
    assert len(made) > 10 * len(steps)
    tally(len(steps), violations)


def through_the_day(
    sandbox: Sandbox, npm: NpmRegistry, umask: int, steps: Sequence[Step], mistake: str = ""
) -> tuple[list[str], list[Made]]:
    violations: list[str] = []
    everything: list[Made] = []
    for version in ("2.1.399", "2.1.400", "2.1.401"):
        npm.publish(version, program=PROGRAM.replace(b"@VERSION@", version.encode()))
    for step in steps:
        if step.damage:
            subprocess.run(["rm", "-r", sandbox.ccm_home / step.damage], check=True)
        plan = Plan(mistake=mistake)
        run = watched(sandbox, step.line.split(), plan, stdin=f"{KEY}\n", umask=umask)
        made = {*run.made, *run.traced_made}
        found = for_a_moment(sandbox.home, umask, sorted(made))
        found += disagreed(run)
        found += in_the_end(sandbox.home, umask)
        if run.code not in step.codes:
            found.append(f"ended with {run.code}: {run.said}")
        violations += [f"umask {umask:03o}, {step.line}: {each}" for each in found]
        everything += made
    return violations, everything


# --- a link that somebody puts in the way -------------------------------------------------------


class Planted:
    """An audit hook: just before a file is opened for writing for the `at`-th time, and after any
    look whether there is one, a link to `target` lies in its place.
    """

    def __init__(self, below: Path, target: Path, at: int) -> None:
        self._below = f"{below}/"
        self._target = target
        self._left = at

    def __call__(self, event: str, args: tuple[object, ...]) -> None:
        if event != "open" or not self._left:
            return
        path, _, flags = args
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes and str(path).startswith(self._below):
            self._left -= 1
            if not self._left:
                Path(str(path)).unlink(missing_ok=True)
                Path(str(path)).symlink_to(self._target)


@pytest.fixture
def disk(tmp_path: Path, npm: NpmRegistry) -> Disk:
    return Disk(tmp_path, npm)


@pytest.mark.parametrize("name", sample(list(SCENARIOS), 5))
def test_a_link_planted_in_between_is_not_written_through(
    disk: Disk, tally: Tally, name: str
) -> None:
    cases, violations = planted(disk, name, 2)
    tally(cases, violations)


def planted(disk: Disk, name: str, short: int) -> tuple[int, list[str]]:
    scenario, victim = SCENARIOS[name], disk.user.with_name("victim")
    disk.prepare(scenario.before)
    context = disk.context(fresh=True)
    whole = in_child(lambda: scenario.act(context), disk.user)
    count = sum(step.startswith("open ") for step in whole.steps)
    cases = sample([(at, there) for at in range(1, count + 1) for there in (True, False)], short)
    violations = []
    for at, there in cases:
        disk.restore()
        victim.unlink(missing_ok=True)
        if there:
            victim.write_text("somebody else's")
            victim.chmod(0o644)
        context, hook = disk.context(fresh=True), Planted(disk.user, victim, at)

        def attacked(context: Context = context, hook: Planted = hook) -> None:
            sys.addaudithook(hook)
            scenario.act(context)

        ended = in_child(attacked, disk.user)
        if ended.how not in ("ended", "failed"):
            violations.append(f"{name}, file {at}: {ended}")
        if os.path.lexists(victim) != there:
            violations.append(f"{name}, file {at}: written through a link to nothing")
        if there and (victim.read_text(), victim.stat().st_mode & 0o777) != (
            "somebody else's",
            0o644,
        ):
            violations.append(f"{name}, file {at}: written through a link to a file")
    return len(cases), violations


# --- does it see anything? ----------------------------------------------------------------------

MISTAKES = {
    "chmod after rename": (
        "from ccmirror_py import fs\n"
        "def replace(path, content, mode):\n"
        "    waiting = fs._waiting(path)\n"
        "    waiting.write_bytes(content)\n"
        "    fs.rename(waiting, path)\n"
        "    path.chmod(mode)\n"
        "fs.replace_file = replace",
        "open .ccm/.journal/.zai.new 666",
    ),
    "a credential as any other file": (
        "from ccmirror_py import fs\n"
        "real = fs.write_file\n"
        "fs.write_file = lambda path, content, mode: real(path, content, mode | 0o044)",
        "credential 644",
    ),
    "directories left to the umask": (
        "from ccmirror_py import fs\nfs.make_directory = lambda path, mode=0o777: path.mkdir()",
        "mkdir .ccm 777",
    ),
    "locks that others can take": (
        "import os\n"
        "from ccmirror_py import fs\n"
        "fs.open_lock = lambda path: os.open(path, os.O_RDWR | os.O_CREAT, 0o644)",
        ".lock 644",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_it_finds_a_mistake(sandbox: Sandbox, npm: NpmRegistry, tally: Tally, name: str) -> None:
    mistake, violation = MISTAKES[name]
    violations, _ = through_the_day(sandbox, npm, 0o022, DAY[:1], mistake)
    assert any(violation in each for each in violations), violations
    tally(1, [], suite="seeds")


def check_then_open(path: Path, content: bytes, mode: int) -> None:
    if path.exists():
        raise FileExistsError(path)
    with path.open("wb") as file:
        file.write(content)
    path.chmod(mode)


def test_it_finds_a_file_that_is_looked_for_and_then_opened(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    monkeypatch.setattr(fs, "write_file", check_then_open)
    _, violations = planted(disk, "key set", 100)
    assert any("through a link to nothing" in each for each in violations), violations
    assert any("through a link to a file" in each for each in violations), violations
    tally(1, [], suite="seeds")
