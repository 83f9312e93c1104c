"""Two commands at once, one of them held at a chosen point: the result is that of some order.

First the pairs of a matrix: a forked child stops itself (SIGSTOP) before a named step of its
operation, another command is let in until it ends or says that it waits, and then the first one
goes on, or is killed. Exit codes and what the launchers run have to be what one after the other
gives, in one of the two orders. Then single races and the waiting itself, with real processes.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ccmirror_py.context import Context
from ccmirror_py.credential import NewKey
from ccmirror_py.errors import BusyError, CcmError
from ccmirror_py.home import Home
from ccmirror_py.operations.create import CreateRequest
from ccmirror_py.operations.create import create as create_variant
from ccmirror_py.operations.doctor_fix import fix
from ccmirror_py.operations.key import set_key
from ccmirror_py.operations.prune import prune
from ccmirror_py.operations.remove import remove
from ccmirror_py.operations.rollback import rollback
from ccmirror_py.operations.update import pin, unpin
from ccmirror_py.secret import Secret
from ccmirror_py.variant import Choices, FromFile
from ccmirror_py.version import parse_spec
from tests.conftest import CCM, CHECKOUT, Sandbox
from tests.npm_registry import TARBALL, NpmRegistry, Wire
from tests.safety.disk import Disk
from tests.safety.fork import warm
from tests.safety.forked import KILLED, Point, Started, start
from tests.safety.scenarios import (
    NEW,
    NEW_KEY,
    NEW_MODEL,
    OLD,
    UNUSED,
    Act,
    made,
    updated,
)
from tests.safety.steps import litter
from tests.safety.table import Tally, sample

WAITING = "Waiting for another ccm that is working on {} …"
PATIENCE = 30.0

# --- the matrix --------------------------------------------------------------------------------


def eventful(context: Context) -> None:
    """`alpha` has something to go back to and to go on to, and the store something to prune."""
    omega = CreateRequest("omega", Choices("echo"), parse_spec(UNUSED), NewKey(FromFile()))
    create_variant(context, omega)
    remove(context, "omega", keep_config=False, force=False)
    pin(context, "alpha", parse_spec(NEW))
    pin(context, "alpha", parse_spec(OLD))
    unpin(context, "alpha")
    # what `doctor --fix` has to mend; nothing else minds
    launch = context.home.current("alpha") / "launch"
    launch.write_text(launch.read_text() + "# a line of somebody's\n")


def keyed(context: Context) -> object:
    return set_key(context, "alpha", NewKey(FromFile(), Secret(NEW_KEY)))


ACTS: dict[str, Act] = {
    "create": made("gamma"),
    "create --force": made("alpha", NEW_MODEL, force=True),
    "update": updated("alpha"),
    "update of two": updated("beta", "alpha"),
    "pin to a version": lambda c: pin(c, "alpha", parse_spec(NEW)),
    "pin where it is": lambda c: pin(c, "alpha", None),
    "rollback": lambda c: rollback(c, "alpha"),
    "key set": keyed,
    "doctor --fix": lambda c: fix(c, "alpha"),
    "remove": lambda c: remove(c, "alpha", False, False),
    "remove --keep-config": lambda c: remove(c, "alpha", True, False),
    "prune": lambda c: prune(c, False),
}
STAGED, PLACED = Point("os.mkdir ~/.ccm/.staging/alpha~"), Point("os.rename ~/.ccm/.staging/alpha~")
FLIPPED = Point("os.rename ~/.ccm/alpha/.current.new")
POINTS: dict[str, tuple[Point, ...]] = {
    "create": (
        Point("os.rename ~/.ccm/.journal/.gamma.new"),
        Point("os.rename ~/.ccm/gamma/.current.new"),
        Point("~/.local/bin/gamma"),
        Point("os.remove ~/.ccm/.journal/gamma"),
    ),
    "create --force": (STAGED, FLIPPED),
    "update": (STAGED, PLACED, FLIPPED),
    "update of two": (Point("os.rename ~/.ccm/beta/.current.new"),),
    "pin to a version": (STAGED, FLIPPED),
    "pin where it is": (FLIPPED,),
    "rollback": (STAGED, FLIPPED),
    "key set": (FLIPPED, Point("/credential"), Point("os.remove ~/.ccm/.journal/alpha")),
    "doctor --fix": (FLIPPED,),
    "remove": (
        Point("os.rename ~/.ccm/.journal/.alpha.new"),
        Point("os.remove ~/.local/bin/alpha"),
        Point("os.rename ~/.ccm/alpha/current"),
        Point("os.remove ~/.ccm/.journal/alpha"),
    ),
    "remove --keep-config": (Point("os.rename ~/.ccm/alpha/current"),),
    "prune": (Point(f"os.rename ~/.ccm/.store/claude-code-linux-x64/{UNUSED}"),),
}
NAMES = ("alpha", "beta", "gamma")

Outcome = tuple[int, int, tuple[str, ...]]
"""The exit codes of the first and the second command, and what the launchers run then."""


class Races:
    """Pairs of operations on one disk, and what the two orders of each make of it."""

    def __init__(self, disk: Disk, place: Path) -> None:
        warm()
        self.disk = disk
        self._place = place
        self._orders: dict[tuple[str, str], tuple[Outcome, Outcome, Outcome]] = {}
        disk.prepare(eventful)

    def race(self, held: str, point: Point, other: str, is_killed: bool) -> str:
        """What is wrong with it, if so."""
        orders = self.orders(held, other)
        self.disk.restore()
        first = self._start(held, "first", point)
        if not _stopped(first.pid):
            return f"it was not held: {first.said()}"
        second = self._start(other, "second")
        second_code = _ended_or_waits(second)
        os.kill(first.pid, signal.SIGKILL if is_killed else signal.SIGCONT)
        first_code = _code(first)
        second_code = _code(second) if second_code is None else second_code
        said = first.said() + second.said()
        self.disk.context().begin_change()
        outcome = (first_code, second_code, self._seen())
        allowed = {(KILLED, *order[1:]) for order in orders} if is_killed else set(orders[:2])
        wrong = [] if outcome in allowed else [f"{outcome}, not one of {sorted(allowed)}"]
        wrong += [f"litter: {path}" for path in litter(self.disk.home)]
        wrong += ["a traceback"] if "Traceback" in said else []
        return f"{'; '.join(wrong)}; {said}" if wrong else ""

    def orders(self, held: str, other: str) -> tuple[Outcome, Outcome, Outcome]:
        """`held` then `other`; the other way round; `other` alone."""
        if (held, other) not in self._orders:
            self._orders[held, other] = (
                self._one_after_the_other((held, other)),
                self._one_after_the_other((other, held)),
                self._one_after_the_other((other,)),
            )
            first, (second, one, seen), alone = self._orders[held, other]
            self._orders[held, other] = (first, (one, second, seen), alone)
        return self._orders[held, other]

    def _one_after_the_other(self, names: tuple[str, ...]) -> Outcome:
        self.disk.restore()
        codes = [_code(self._start(name, "alone")) for name in names]
        return (codes[0] if len(codes) > 1 else 0, codes[-1], self._seen())

    def _seen(self) -> tuple[str, ...]:
        """A variant without its command is neither there nor gone."""
        home = self.disk.home
        return tuple(
            self.disk.seen(name) or ("no command" if home.current(name).is_symlink() else "")
            for name in NAMES
        )

    def _start(self, name: str, output: str, stop: Point | None = None) -> Started:
        user = str(self.disk.user)
        place = Point(stop.text.replace("~/", f"{user}/"), stop.count) if stop else None
        context = replace(self.disk.context(fresh=True), say=lambda text: print(text, flush=True))
        return start(lambda: _told(ACTS[name], context), self._place / output, place)


def _told(act: Act, context: Context) -> None:
    try:
        act(context)
    except CcmError as error:
        print(error.sentence)
        sys.exit(error.exit_code)


def _stopped(pid: int) -> bool:
    _, status = os.waitpid(pid, os.WUNTRACED)
    return os.WIFSTOPPED(status)


def _ended_or_waits(started: Started) -> int | None:
    """The exit code; None when it waits for a lock."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        pid, status = os.waitpid(started.pid, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if "Waiting for another ccm" in started.said():
            return None
        time.sleep(0.005)
    return None


def _code(started: Started) -> int:
    deadline = time.monotonic() + PATIENCE
    while True:
        pid, status = os.waitpid(started.pid, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(started.pid, signal.SIGKILL)
        time.sleep(0.002)


@pytest.fixture
def races(tmp_path: Path, npm: NpmRegistry) -> Races:
    return Races(Disk(tmp_path, npm), tmp_path)


@pytest.mark.parametrize("held", ACTS)
def test_two_commands_at_once_are_one_after_the_other(
    races: Races, tally: Tally, held: str
) -> None:
    cases = [
        (point, other, is_killed)
        for point in POINTS[held]
        for other in ACTS
        for is_killed in (False, True)
    ]
    chosen = sample(cases, 3)
    violations = []
    for point, other, is_killed in chosen:
        wrong = races.race(held, point, other, is_killed)
        if wrong:
            fate = "killed there" if is_killed else "going on"
            violations.append(f"{held} held before {point.text}, {other}, {fate}: {wrong}")
    tally(len(chosen), violations)


# --- does the matrix see anything? ---------------------------------------------------------------


@contextmanager
def no_lock(*_: object) -> Iterator[None]:
    yield


@contextmanager
def lock_alone(context: Context, name: str) -> Iterator[None]:
    with context.home.lock(name, context.say):
        yield


@dataclass(frozen=True)
class Mistake:
    """What is wrong instead of `name` in `place`, and the race that has to show it."""

    place: object
    name: str
    wrong: Callable[..., object]
    held: str
    point: Point
    other: str
    is_killed: bool = False


MISTAKES = {
    "no lock": Mistake(Home, "lock", no_lock, "update", STAGED, "key set"),
    "a killed one's announcement is overwritten": Mistake(
        Context,
        "changing",
        lock_alone,
        "remove",
        Point("os.rename ~/.ccm/alpha/current"),
        "key set",
        is_killed=True,
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_the_matrix_finds_a_mistake(
    races: Races, monkeypatch: pytest.MonkeyPatch, tally: Tally, name: str
) -> None:
    seed = MISTAKES[name]
    races.orders(seed.held, seed.other)
    monkeypatch.setattr(seed.place, seed.name, seed.wrong)
    assert races.race(seed.held, seed.point, seed.other, seed.is_killed)
    tally(1, [], suite="seeds")


# --- two real processes -------------------------------------------------------------------------


class Running:
    """A ccm in the background, and what it has said so far."""

    def __init__(self, sandbox: Sandbox, *words: str) -> None:
        self.process = subprocess.Popen(
            [CCM, *words],
            env=dict(sandbox.environ),
            cwd=sandbox.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def until_it_says(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while text not in self.said:
            assert self.process.poll() is None, f"ended without '{text}': {self.said}"
            assert time.monotonic() < deadline, f"still not '{text}': {self.said}"
            time.sleep(0.01)

    def end(self) -> int:
        code = self.process.wait(PATIENCE)
        self._reader.join()
        return code

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.said += line
        assert self.process.stdout
        self.said += self.process.stdout.read()
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture
def home(sandbox: Sandbox, npm: NpmRegistry) -> Home:
    """Of a user for whom OLD is the newest there is."""
    npm.publish(OLD)
    return Home(sandbox.ccm_home, sandbox.bin_dir)


@contextmanager
def locked(home: Home, name: str) -> Iterator[None]:
    home.prepare()
    with home.lock(name, lambda _: None):
        yield


def create(sandbox: Sandbox, *names: str) -> None:
    for name in names:
        sandbox.must("create", name, "--provider", "echo")


def ran(sandbox: Sandbox, name: str) -> str:
    """The version the launcher runs; what is wrong instead, if so."""
    try:
        done = sandbox.run(sandbox.launcher(name))
    except FileNotFoundError:
        return "absent"
    if done.returncode:
        return f"failed: {done.stderr}"
    report = json.loads(done.stdout)
    generation = Path(report["program"]).parents[1]
    if report["argv"] != ["--settings", str(generation / "settings.json")]:
        return f"mixed: {report}"
    return str(report["version"])


def downloads(npm: NpmRegistry) -> int:
    return sum(bool(re.search(TARBALL, request.path)) for request in npm.requests)


def test_of_two_creates_of_one_name_one_wins_and_nothing_is_mixed(
    sandbox: Sandbox, home: Home
) -> None:
    create(sandbox, "other")  # so that both need no download and arrive together
    words = (
        "create",
        "alpha",
        "--provider",
        "deepseek",
        "--api-key-command",
        "echo key-0123456789",
    )
    with locked(home, "alpha"):
        both = [Running(sandbox, *words, "--model", model) for model in ("one", "two")]
        for each in both:
            each.until_it_says(WAITING.format("alpha"))
    codes = [each.end() for each in both]
    assert sorted(codes) == [0, 2], [each.said for each in both]
    loser, winner = both[codes.index(2)], ("one", "two")[codes.index(0)]
    assert "There is a variant 'alpha' already." in loser.said
    report = json.loads(sandbox.run(sandbox.launcher("alpha")).stdout)
    models = {v for k, v in report["env"].items() if k.startswith("ANTHROPIC_") and "MODEL" in k}
    assert models == {winner}
    assert litter(home) == []


def test_two_creates_at_the_same_moment_on_an_empty_disk(sandbox: Sandbox, home: Home) -> None:
    both = [Running(sandbox, "create", "alpha", "--provider", "echo") for _ in range(2)]
    codes = sorted(each.end() for each in both)
    assert codes == [0, 2], [each.said for each in both]
    assert (ran(sandbox, "alpha"), litter(home)) == (OLD, [])


def test_two_creates_with_one_version_share_one_download(
    sandbox: Sandbox, home: Home, npm: NpmRegistry
) -> None:
    npm.fail(TARBALL, Wire(delay=2.0))
    names = ("alpha", "beta", "gamma")
    together = [Running(sandbox, "create", name, "--provider", "echo") for name in names]
    codes = [each.end() for each in together]
    assert codes == [0, 0, 0], [each.said for each in together]
    assert downloads(npm) == 1
    assert sum("Waiting for another ccm" in each.said for each in together) == 2
    assert [ran(sandbox, name) for name in names] == [OLD] * 3
    assert litter(home) == []


@pytest.mark.parametrize(
    "words",
    [("update", "--all"), ("update", "alpha", "--claude-version", "2.1.x"), ("pin", "alpha", NEW)],
)
def test_the_same_change_twice_at_once_is_one_change(
    sandbox: Sandbox, home: Home, npm: NpmRegistry, words: tuple[str, ...]
) -> None:
    create(sandbox, "alpha", "beta")
    npm.publish(NEW)
    with locked(home, "alpha"):
        both = [Running(sandbox, *words) for _ in range(2)]
        for each in both:
            each.until_it_says(WAITING.format("alpha"))
    assert [each.end() for each in both] == [0, 0], [each.said for each in both]
    assert downloads(npm) == 2  # OLD and NEW, each once
    assert ran(sandbox, "alpha") == NEW
    sandbox.must("rollback", "alpha")  # the way back is not lost to a second NEW
    assert (ran(sandbox, "alpha"), litter(home)) == (OLD, [])


@pytest.mark.parametrize("first", ["update", "remove"])
def test_remove_against_update_leaves_a_variant_or_nothing(
    sandbox: Sandbox, home: Home, npm: NpmRegistry, first: str
) -> None:
    create(sandbox, "alpha", "beta")
    npm.publish(NEW)
    words = {"update": ("update", "alpha"), "remove": ("remove", "alpha", "--yes")}
    order = sorted(words, key=lambda verb: verb != first)
    with locked(home, "alpha"):
        both = {}
        for verb in order:
            both[verb] = Running(sandbox, *words[verb])
            both[verb].until_it_says(WAITING.format("alpha"))
    codes = {verb: each.end() for verb, each in both.items()}
    assert codes["remove"] == 0, both["remove"].said
    assert codes["update"] in (0, 3), both["update"].said
    assert not home.directory("alpha").exists()
    assert not home.launcher("alpha").is_symlink()
    assert (ran(sandbox, "beta"), litter(home)) == (OLD, [])


@pytest.mark.parametrize("verb", ["create", "update"])
def test_prune_does_not_take_a_release_that_is_about_to_be_used(
    sandbox: Sandbox, home: Home, npm: NpmRegistry, verb: str
) -> None:
    create(sandbox, "beta")
    npm.publish(NEW)
    name = "beta" if verb == "update" else "alpha"
    words = ("update", "beta") if verb == "update" else ("create", "alpha", "--provider", "echo")
    with locked(home, name):
        waiting = Running(sandbox, *words)
        waiting.until_it_says(WAITING.format(name))  # NEW is in the store, nobody has it yet
        pruning = Running(sandbox, "prune")
        time.sleep(1.5)  # it may wait, too
    assert (waiting.end(), pruning.end()) == (0, 0), (waiting.said, pruning.said)
    assert (ran(sandbox, name), litter(home)) == (NEW, [])


# --- waiting -----------------------------------------------------------------------------------


def test_the_second_says_that_it_waits_and_goes_on(sandbox: Sandbox, home: Home) -> None:
    create(sandbox, "alpha")
    with locked(home, "alpha"):
        second = Running(sandbox, "pin", "alpha")
        second.until_it_says(WAITING.format("alpha"))
        time.sleep(0.3)
        assert second.process.poll() is None
    assert second.end() == 0
    assert f"alpha stays at {OLD}" in second.said


def test_work_on_another_variant_does_not_wait(sandbox: Sandbox, home: Home) -> None:
    create(sandbox, "alpha", "beta")
    with locked(home, "alpha"):
        done = sandbox.ccm("pin", "beta")
        shown = sandbox.ccm("list")
    assert (done.returncode, shown.returncode, "Waiting" in done.stderr) == (0, 0, False)


def test_running_a_variant_does_not_wait(sandbox: Sandbox, home: Home) -> None:
    create(sandbox, "alpha")
    with locked(home, "alpha"):
        assert ran(sandbox, "alpha") == OLD


def test_who_waits_too_long_is_told_so(sandbox: Sandbox, home: Home) -> None:
    said: list[str] = []
    with holder(sandbox, home, "alpha"):
        begun = time.monotonic()
        with pytest.raises(BusyError) as caught, home.lock("alpha", said.append, timeout=0.3):
            pass
        waited = time.monotonic() - begun
    assert 0.3 <= waited < 5
    assert said == [WAITING.format("alpha")]
    assert caught.value.exit_code == 6
    assert "alpha" in caught.value.sentence
    assert caught.value.hint


def test_the_lock_of_a_killed_process_is_free(sandbox: Sandbox, home: Home) -> None:
    create(sandbox, "alpha")
    with holder(sandbox, home, "alpha") as process:
        process.kill()
        process.wait()
        done = sandbox.ccm("pin", "alpha")
    assert (done.returncode, "Waiting" in done.stderr) == (0, False)


@contextmanager
def holder(sandbox: Sandbox, home: Home, name: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Another process that holds a lock and does not think of letting go."""
    code = (
        "import sys, time; from pathlib import Path; from ccmirror_py.home import Home\n"
        "home = Home(Path(sys.argv[1]), Path(sys.argv[2])); home.prepare()\n"
        "with home.lock(sys.argv[3], print): print('held', flush=True); time.sleep(600)\n"
    )
    home.prepare()
    with subprocess.Popen(
        [sys.executable, "-c", code, home.root, home.bin_dir, name],
        env={**sandbox.environ, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        try:
            yield process
        finally:
            process.kill()
