"""Several ccm at once: each change happens as if it were alone, and nobody waits for the dead."""

import json
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from ccmirror_py.errors import BusyError
from ccmirror_py.home import Home
from tests.conftest import CCM, CHECKOUT, Sandbox
from tests.npm_registry import TARBALL, NpmRegistry, Wire
from tests.safety.steps import litter

OLD, NEW = "2.1.400", "2.1.401"
WAITING = "Waiting for another ccm that is working on {} …"
PATIENCE = 30.0


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


# --- two ---------------------------------------------------------------------------------------


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


# --- many --------------------------------------------------------------------------------------

STEADY, PASSING = ("alpha", "beta"), ("gamma", "delta")
PROCESSES, COMMANDS, LAUNCHES = 8, 12, 300


def random_command(chance: random.Random) -> tuple[str, ...]:
    """A change of a variant that stays, of one that comes and goes, or of all."""
    version = chance.choice((OLD, NEW))
    steady, passing = chance.choice(STEADY), chance.choice(PASSING)
    return chance.choice(
        (
            ("pin", steady, version),
            ("pin", steady, version),
            ("unpin", steady),
            ("update", *STEADY),
            ("update", steady, "--claude-version", version),
            ("rollback", steady),
            ("create", steady, "--provider", "echo", "--claude-version", version, "--force"),
            ("create", passing, "--provider", "echo", "--claude-version", version),
            ("create", passing, "--provider", "echo", "--claude-version", version),
            ("remove", passing, "--yes"),
            ("remove", passing, "--yes", "--keep-config"),
            ("update", passing),
            ("prune",),
        )
    )


class Crowd:
    """Processes that change everything at random, a quarter of them killed, while others look."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.launched: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.violations: list[str] = []
        self._sandbox = sandbox
        self._done = threading.Event()

    def run(self) -> None:
        pollers = [threading.Thread(target=self._poll, args=(name,)) for name in STEADY + PASSING]
        for poller in pollers:
            poller.start()
        with ThreadPoolExecutor(PROCESSES) as crowd:
            list(crowd.map(self._work, range(PROCESSES)))
        while sum(self.launched.values()) < LAUNCHES and not self.violations:
            time.sleep(0.1)
        self._done.set()
        for poller in pollers:
            poller.join()

    def _work(self, seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(COMMANDS):
            words = random_command(chance)
            running = Running(self._sandbox, *words)
            if chance.random() < 0.25:
                time.sleep(chance.uniform(0.2, 1.0))
                running.process.send_signal(signal.SIGKILL)
            code = running.end()
            self.ended[str(code)] += 1
            was_running = code == BusyError.exit_code and "is running" in running.said
            if code not in (0, 2, 3, -signal.SIGKILL) and not was_running:
                self.violations.append(f"ccm {' '.join(words)} ended with {code}: {running.said}")

    def _poll(self, name: str) -> None:
        allowed = {OLD, NEW} if name in STEADY else {OLD, NEW, "absent"}
        while not self._done.is_set():
            version = ran(self._sandbox, name)
            self.launched[version] += 1
            is_going = name in PASSING and version.startswith("failed")
            if version not in allowed and not is_going:
                self.violations.append(f"{name}: {version}")


def test_in_a_crowd_every_launch_is_old_or_new_and_one_command_makes_good(
    sandbox: Sandbox, home: Home, npm: NpmRegistry
) -> None:
    create(sandbox, *STEADY, *PASSING)
    npm.publish(NEW)
    crowd = Crowd(sandbox)
    crowd.run()
    print(f"\nlaunches {dict(crowd.launched)}, commands {dict(crowd.ended)}")
    assert not crowd.violations, "\n".join(crowd.violations)
    assert sum(crowd.launched[version] for version in (OLD, NEW)) >= LAUNCHES
    sandbox.must("prune")
    assert litter(home) == []
    for name in (*STEADY, *PASSING):
        expected = {OLD, NEW} if home.current(name).is_symlink() else {"absent"}
        assert ran(sandbox, name) in expected
    sandbox.must("doctor")
