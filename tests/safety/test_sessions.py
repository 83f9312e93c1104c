"""A session that runs stays what it was through every command, or the command refuses and says so.

A session started from its launcher is asked, after each change, to start its own program again (as
Claude Code does for its tools) and to read its pinned settings. One case is one change, or one row
of changes, on one kind of session. Most sessions are a small stand-in that answers on its standard
input; the real Claude Code, native and as JavaScript, goes through the changes in one session each.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from ccmirror_py import variants
from ccmirror_py.echo import EchoServer
from ccmirror_py.home import Home
from ccmirror_py.operations import prune as operations_prune
from ccmirror_py.operations import remove as operations_remove
from tests.conftest import Sandbox, provide
from tests.npm_registry import NpmRegistry
from tests.safety.fork import warm
from tests.safety.forked import command, start
from tests.safety.steps import litter
from tests.safety.table import Tally, sample

OLDEST, OLD, NEW, NEWER = "2.1.399", "2.1.400", "2.1.401", "2.1.402"
KEY, NEW_KEY = "key-of-old-0123456789", "key-of-new-0123456789"
JAVASCRIPT = "2.1.112"
BUSY = 6

PROGRAM = r"""#!/bin/sh
[ "$1" = --version ] && { echo '@ (Claude Code)'; exit; }
while read -r line; do
  [ -r "$2" ] || { echo 'its settings are gone'; continue; }
  "$0" --version 2>&1 || echo "its program is gone"
done
"""

# --- a stand-in --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Session:
    process: "subprocess.Popen[str]"

    def again(self) -> str:
        """What it says to starting its own program again."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("again\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


@contextmanager
def session(sandbox: Sandbox, *words: str) -> Iterator[Session]:
    with subprocess.Popen(
        [sandbox.launcher("alpha"), *words],
        env=dict(sandbox.environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Session(process)
        finally:
            process.kill()


def ccm(sandbox: Sandbox, line: str) -> tuple[int, str]:
    """The exit code of a command line, and what it says."""
    output = sandbox.home.parent / "said"
    started = start(command(tuple(line.split()), sandbox.environ, f"{NEW_KEY}\n"), output)
    code = os.waitstatus_to_exitcode(os.waitpid(started.pid, 0)[1])
    return code, started.said()


CREATE = "create alpha --provider custom --base-url https://one.example --model m --api-key-stdin"
UPDATE, ANOTHER = f"update alpha --claude-version {NEW}", f"update alpha --claude-version {NEWER}"
CHANGES: dict[str, tuple[str, ...]] = {
    "update": (UPDATE,),
    "update to the newest": ("update --all",),
    "rollback": ("rollback alpha",),
    "rollback twice": ("rollback alpha", "rollback alpha"),
    "pin": (f"pin alpha {NEW}",),
    "pin where it is": ("pin alpha",),
    "unpin": ("unpin alpha",),
    "key set": ("key set alpha --api-key-stdin",),
    "key set twice, prune": (*["key set alpha --api-key-stdin"] * 2, "prune"),
    "key from a variable": ("key set alpha --api-key-env SOME_KEY",),
    "doctor --fix": ("doctor --fix alpha",),
    "create --force": (f"{CREATE} --force --claude-version {NEW}",),
    "create --force of the same": (f"{CREATE} --force --claude-version {OLD}",),
    "updates that would prune its generation": (UPDATE, ANOTHER, "pin alpha", "unpin alpha"),
    "updates and prune": (UPDATE, ANOTHER, "pin alpha", "prune", "prune"),
    "prune": ("prune",),
}
REFUSED = {
    "remove": "remove alpha --yes",
    "remove --keep-config": "remove alpha --yes --keep-config",
    "remove of two": "remove beta alpha --yes",
    "remove --all": "remove --all --yes",
}


@pytest.fixture
def user(sandbox: Sandbox, npm: NpmRegistry) -> Sandbox:
    """With `alpha` at OLD, by that rule, and something to go back to."""
    warm()
    for version in (OLDEST, OLD, NEW, NEWER):
        npm.publish(version, program=PROGRAM.replace("@", version).encode())
    for line in (
        f"{CREATE} --claude-version {OLDEST}",
        "create beta --provider echo",
        f"pin alpha {OLD}",
    ):
        code, said = ccm(sandbox, line)
        assert code == 0, said
    launch = sandbox.ccm_home / "alpha" / "current" / "launch"
    launch.write_text(launch.read_text() + "# for doctor --fix to mend\n")
    return sandbox


def through(user: Sandbox, lines: tuple[str, ...]) -> list[str]:
    """What goes wrong in and after a session during which these commands are given."""
    generation = (user.ccm_home / "alpha" / "current").resolve()
    wrong = []
    with session(user) as running:
        assert running.again() == f"{OLD} (Claude Code)"
        for line in lines:
            code, said = ccm(user, line)
            answer = running.again()
            # `doctor` also looks at what this sandbox's PATH lacks
            if code and not line.startswith("doctor"):
                wrong.append(f"ccm {line}: {code} {said}")
            if answer != f"{OLD} (Claude Code)":
                wrong.append(f"after ccm {line} the session says: {answer}")
    for line in (UPDATE, ANOTHER, "pin alpha", "prune"):
        wrong += [said for code, said in [ccm(user, line)] if code]
    if generation.exists():
        wrong.append("its generation stays when it has ended")
    code, said = ccm(user, "remove alpha --yes")
    return wrong + ([f"remove: {said}"] if code else []) + litter(home(user))


def home(sandbox: Sandbox) -> Home:
    return Home(sandbox.ccm_home, sandbox.bin_dir)


@pytest.mark.parametrize("name", CHANGES)
def test_a_session_stays_what_it_was_through(user: Sandbox, tally: Tally, name: str) -> None:
    tally(1, through(user, CHANGES[name]))


def refusal(user: Sandbox, line: str) -> list[str]:
    """What is wrong when `line` is given while a session runs."""
    with session(user) as running:
        assert running.again() == f"{OLD} (Claude Code)"
        code, said = ccm(user, line)
        pid = running.process.pid
        wrong = [] if code == BUSY and f"process {pid}" in said else [f"{code}: {said}"]
        if running.again() != f"{OLD} (Claude Code)" or not user.launcher("alpha").exists():
            wrong.append("it was taken away")
    return wrong


@pytest.mark.parametrize("name", REFUSED)
def test_a_session_is_named_by(user: Sandbox, tally: Tally, name: str) -> None:
    wrong = refusal(user, REFUSED[name])
    code, said = ccm(user, "remove alpha --yes")
    tally(1, wrong + ([f"when it had ended: {said}"] if code else []))


def test_a_forced_removal_goes_and_leaves_the_process_alone(user: Sandbox, tally: Tally) -> None:
    with session(user) as running:
        assert running.again() == f"{OLD} (Claude Code)"
        code, said = ccm(user, "remove alpha --yes --force")
        wrong = [] if code == 0 and running.process.poll() is None else [f"{code}: {said}"]
        wrong += ["still a command"] if user.launcher("alpha").is_symlink() else []
        tally(1, wrong + litter(home(user)))


def test_a_session_of_another_version_keeps_its_release(user: Sandbox, tally: Tally) -> None:
    """`alpha +VERSION` runs it where the store has it, and no generation holds it."""
    with session(user, f"+{NEWER}") as running:
        assert running.again() == f"{NEWER} (Claude Code)"
        assert ccm(user, "remove beta --yes")[0] == 0
        codes = [ccm(user, line)[0] for line in ("prune", "pin alpha", "prune")]
        answer = running.again()
    ccm(user, "prune")
    wrong = [] if (codes, answer) == ([0] * 3, f"{NEWER} (Claude Code)") else [f"{codes} {answer}"]
    if list(home(user).store.glob(f"*/{NEWER}")):
        wrong.append("its release stays when it has ended")
    tally(1, wrong)


MISTAKES: dict[str, tuple[tuple[object, ...], Callable[[Sandbox], list[str]]]] = {
    "remove does not look for sessions": (
        (operations_remove,),
        lambda user: refusal(user, REFUSED["remove"]),
    ),
    "prune ignores sessions": (
        (operations_prune, variants),
        lambda user: through(user, CHANGES["updates and prune"]),
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_session_finds_a_mistake(
    user: Sandbox, monkeypatch: pytest.MonkeyPatch, tally: Tally, name: str
) -> None:
    modules, look = MISTAKES[name]
    for module in modules:
        monkeypatch.setattr(module, "running_sessions", lambda _: [])
    assert look(user)
    tally(1, [], suite="seeds")


# --- the real one ------------------------------------------------------------------------------

REAL_KEY = "sk-own-0123456789abcdef"
WAIT = (
    # for two minutes at most: nothing goes on when a test ends early
    "i=0; until test -e go-$n || test $i -gt 2400; do sleep 0.05; i=$((i + 1)); done; "
    "rg --version >said-$n 2>&1; touch done-$n"
)


@pytest.mark.parametrize("rule", sample(("latest", JAVASCRIPT), 1))
def test_the_real_claude_code_stays_what_it_was(
    real: Sandbox, echo: EchoServer, tally: Tally, rule: str
) -> None:
    """In one turn its Bash tool runs `rg`, which is the program itself, after each change."""
    if rule == JAVASCRIPT and not shutil.which("node"):
        pytest.skip("2.1.112 needs Node")
    version = provide(real, rule)
    for other in ("2.1.118", "2.1.113"):
        provide(real, other)
    create = f"create demo --provider custom --base-url {echo.url} --model m-main --api-key-stdin"
    # all that it takes is more than Claude Code gives a tool
    create += f" --env BASH_DEFAULT_TIMEOUT_MS=600000 --claude-version {version}"
    lines = (
        "key set demo --api-key-stdin",
        "doctor --fix demo",
        "pin demo",
        "unpin demo",
        "update demo --claude-version 2.1.118",
        "update demo --claude-version 2.1.113",
        "prune",
        "rollback demo",
        f"{create} --force",
        "prune",
        "remove demo --yes",
        "remove demo --yes --keep-config",
        "remove demo --yes --force",
    )
    real.must(*create.split(), stdin=f"{REAL_KEY}\n")
    cwd = real.home / "project"
    cwd.mkdir()
    numbers = " ".join(map(str, range(len(lines))))
    prompt = f"run: for n in {numbers}; do {WAIT}; done"
    violations = []
    with subprocess.Popen(
        [real.launcher("demo"), "-p", prompt, "--allowedTools", "Bash"],
        cwd=cwd,
        env=dict(real.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as process:
        try:
            until(lambda: bool(messages(echo)))
            for number, line in enumerate(lines):
                done = real.ccm(*line.split(), stdin=f"{REAL_KEY}\n")
                is_refused = "remove" in line and "--force" not in line
                if done.returncode != (BUSY if is_refused else 0):
                    violations.append(f"ccm {line}: {done.returncode} {done.stderr}")
                if is_refused and f"process {process.pid}" not in done.stderr:
                    violations.append(f"ccm {line} does not name {process.pid}: {done.stderr}")
                if "--yes --force" in line:
                    break  # what it needs is gone, as the user wanted
                (cwd / f"go-{number}").touch()
                until((cwd / f"done-{number}").exists)
                said = (cwd / f"said-{number}").read_text()
                if not said.startswith("ripgrep "):
                    violations.append(f"after ccm {line}: {said}")
            if process.poll() is not None:
                violations.append("it has ended")
        finally:
            process.kill()
    tally(len(lines), violations)


def messages(server: EchoServer) -> list[object]:
    return [request for request in server.received if request.path.startswith("/v1/messages")]


def until(what: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
