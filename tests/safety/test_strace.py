"""The real process, killed by the kernel at each system call that changes the disk.

What `test_kill` does from the inside, seen from the outside: nothing that bypasses ccm's own code,
or Python's, bypasses this. `strace` lists the calls of a whole run, then one run for each of them
ends on the way into that call; that it did is read from the trace. Calls that fail or only make
durable are left out: a kill there is the kill at the next call.
"""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.safety.campaign import Campaign, Case, Run, disk, mixed
from tests.safety.disk import Disk
from tests.safety.scenarios import SCENARIOS, Scenario
from tests.safety.steps import Ended, Fault
from tests.safety.table import FULL, Tally, sample

__all__ = ["disk"]

SHORT = 4
"""Calls of each scenario."""
CHOSEN = list(SCENARIOS) if FULL else ["create", "update", "key set", "remove", "prune"]

_CALLS = (
    *("open", "openat", "openat2", "creat", "write", "pwrite64", "writev", "pwritev", "ioctl"),
    *("rename", "renameat", "renameat2", "mkdir", "mkdirat", "link", "linkat", "symlink"),
    *("symlinkat", "unlink", "unlinkat", "rmdir", "chmod", "fchmod", "fchmodat", "truncate"),
    *("ftruncate", "fallocate", "copy_file_range", "sendfile", "utimensat", "setxattr"),
)
_LINE = re.compile(r"(?:(?P<pid>\d+) +)?(?P<call>\w+)\((?P<rest>.*)")
_RANDOM = re.compile(r"~([0-9a-f]{16}|\d{8}T\d{12}Z)")
_SCANNING = '"/proc/'
_DOWNLOADS = "/.cache/downloads/"
_TRIES = 40
_LIMIT = 300.0
CCM = ("-m", "ccmirror_py")


@dataclass(frozen=True)
class Point:
    """The call of this name and number (from 1), among those of that name in the first thread.

    Looking for running sessions opens files of every process there is, now more, now less: these
    are not in the number, and `scanned` says how many they were.
    """

    call: str
    number: int
    scanned: int
    paths: str


def as_process(
    disk: Disk, scenario: Scenario, bytecode: dict[str, str], program: Sequence[str] = CCM
) -> Run:
    """Started as people start it. `program` is what follows Python."""
    points: list[Point] = []
    log = disk.user.with_name("trace")

    def traced(*options: str) -> "subprocess.CompletedProcess[str]":
        python = (sys.executable, "-P", *program, *scenario.words.split())
        return subprocess.run(
            ["strace", "-qq", "-y", "-o", str(log), *options, *python],
            env=disk.environ | bytecode,
            cwd="/",  # in a directory of its own -y would name that in each call
            input=scenario.typed,
            capture_output=True,
            text=True,
            timeout=_LIMIT,
            check=False,
        )

    def run(at: int, fault: Fault) -> Ended:
        if not at:
            done = traced("-f", "-e", "trace=" + ",".join(f"?{call}" for call in _CALLS))
            points[:] = _changes(log.read_text().splitlines(), disk.user)
            steps = tuple(f"{point.call} {point.paths}" for point in points)
            return Ended("failed" if done.returncode else "ended", steps, done.stderr)
        point = points[at - 1]
        before = points[: at - 1]
        same = sum((p.call, p.paths) == (point.call, point.paths) for p in before)
        number = point.number + point.scanned
        for _ in range(_TRIES if point.call == "openat" else 1):
            kill = f"inject={point.call}:signal=KILL:when={number}"
            done = traced("-e", f"trace={point.call}", "-e", kill)
            lines = [line for line in log.read_text().splitlines() if line.startswith(point.call)]
            found = [n for n, line in enumerate(lines, 1) if _is_point(line, point, disk.user)]
            if done.returncode in (-9, 137) and found[same:] == [len(lines)]:
                return Ended("killed")
            disk.restore()
            # what a thread imports is not opened by the first, and is so by another run's
            number = found[same] if found[same:] else number + 1
        return Ended("crashed", said=f"{done} {lines[-2:]}")

    return run


def _changes(lines: Sequence[str], below: Path) -> list[Point]:
    counts, scanned, points = Counter[str](), 0, []
    main = lines[0].partition(" ")[0]
    for line in lines:
        parts = _LINE.match(line)
        if not parts:
            continue  # how a process ended, or the second half of a call that waited
        call, rest = parts["call"], parts["rest"]
        changes = _is_change(call, rest, below)
        if parts["pid"] != main:
            # the thread that reads a download keeps what has come; to lose that is no loss
            assert not changes or _DOWNLOADS in rest, "calls are counted in one thread"
        elif _SCANNING in rest:
            scanned += 1
        else:
            counts[call] += 1
            if changes:
                others = scanned if call == "openat" else 0
                points.append(Point(call, counts[call], others, _paths(line, below)))
    return points


def _is_point(line: str, point: Point, below: Path) -> bool:
    rest = line.removeprefix(f"{point.call}(")
    return _is_change(point.call, rest, below) and _paths(line, below) == point.paths


def _is_change(call: str, rest: str, below: Path) -> bool:
    if str(below) not in rest or re.search(r"\) += -1 E", rest):
        return False
    if call.startswith("open"):
        return re.search(r"O_(WRONLY|CREAT|TRUNC)", rest) is not None
    return call != "ioctl" or "FICLONE" in rest


def _paths(line: str, below: Path) -> str:
    """The paths in a call, as they are in every run."""
    found = re.findall(re.escape(str(below)) + r'([^">]*)', line.partition(") = ")[0])
    return " ".join("~" + _RANDOM.sub("~…", path) for path in found)


@pytest.fixture(scope="module")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Everything ccm imports, compiled once and never while it is traced."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    if subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], check=False).returncode:
        pytest.skip("processes can't be traced here")
    environ = {"PYTHONPYCACHEPREFIX": str(tmp_path_factory.mktemp("bytecode"))}
    everything = (
        "from ccmirror_py import registry; from ccmirror_py.cli.app import app_for; app_for(['?'])"
    )
    subprocess.run([sys.executable, "-P", "-c", everything], env=environ, check=True)
    return {**environ, "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.mark.parametrize("name", CHOSEN)
def test_after_a_kill_at_any_system_call_the_next_command_makes_good(
    disk: Disk, tally: Tally, bytecode: dict[str, str], name: str
) -> None:
    campaign = Campaign(disk, SCENARIOS[name], partial(as_process, bytecode=bytecode))
    cases = [Case(step, "kill") for step in range(1, len(campaign.steps) + 1)]
    chosen = sample(mixed(cases), SHORT)
    campaign.try_each(chosen)
    tally(len(chosen), campaign.violations)


# --- does it see anything? ---------------------------------------------------------------------


_TWO_STEPS = """
from ccmirror_py import fs
from ccmirror_py.cli.main import main

def replace_link(target, link):
    link.unlink(missing_ok=True)
    link.symlink_to(target)

fs.replace_link = replace_link
main()
"""
_IN_PLACE = """
from ccmirror_py import fs
from ccmirror_py.cli.main import main

fs.replace_file = lambda path, content, mode: path.write_bytes(content)
main()
"""
SEEDS = {
    "a link replaced in two steps": (_TWO_STEPS, "update", "is neither old nor new"),
    "a record written in place, around fs": (_IN_PLACE, "create in kept config", "torn"),
}


@pytest.mark.parametrize("name", SEEDS)
def test_the_campaign_finds_a_mistake(
    disk: Disk, tally: Tally, bytecode: dict[str, str], name: str
) -> None:
    program, scenario, violation = SEEDS[name]
    wrong = partial(as_process, bytecode=bytecode, program=("-c", program))
    campaign = Campaign(disk, SCENARIOS[scenario], wrong)
    cases = [Case(step, "kill") for step in range(len(campaign.steps), 0, -1)]
    assert any(violation in found for found in campaign.found(cases))
    tally(1, [], suite="seeds")
