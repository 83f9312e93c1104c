"""Sixteen processes that change everything at random, and what the launchers say meanwhile.

Every command and every poll is written down with the moments it began and ended; `judged` then
looks for what no order of the commands explains.
"""

import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ccmirror_py.home import LOCK_TIMEOUT
from tests.conftest import Sandbox
from tests.npm_registry import NpmRegistry
from tests.safety.fork import warm
from tests.safety.forked import KILLED, Started, command, in_own_process, start

OLD, NEW, NEWER = "2.1.400", "2.1.401", "2.1.402"
STEADY, PASSING = ("alpha", "beta"), ("gamma", "delta")
NAMES = STEADY + PASSING
ABSENT = "absent"
POLLERS = 6
TO_KILL = 0.3
"""Some of them are done before their moment comes."""

PROGRAM = r"""#!/bin/sh
[ "$1" = --version ] && { echo '@ (Claude Code)'; exit; }
printf '%s\n' '@' "$0" "$*" "$ANTHROPIC_AUTH_TOKEN" "$ANTHROPIC_MODEL" "$ANTHROPIC_BASE_URL" \
  "$STAMP"
while IFS= read -r line; do printf '%s\n' "$line"; done <"$2"
"""
"""Tells what it was started with, and the settings that were pinned for it."""


@dataclass(frozen=True)
class Size:
    """`polls`: the crowd goes on until there were as many."""

    processes: int
    commands: int
    polls: int


@dataclass(frozen=True)
class Command:
    """One command line; `stamp` is in all that it sets, and in nothing another one sets.

    `kill_after` is a share of the time commands usually take.
    """

    words: tuple[str, ...]
    stamp: str
    stdin: str = ""
    kill_after: float | None = None


@dataclass(frozen=True)
class Ran:
    """A command and its time; `code` is KILLED when it did not live to end."""

    words: tuple[str, ...]
    stamp: str
    code: int
    begun: float
    ended: float


@dataclass(frozen=True)
class Poll:
    """`seen`: ABSENT, or the version; `key` is the key it had. `wrong`: what does not belong
    together, or how the launcher failed."""

    name: str
    begun: float
    ended: float
    seen: str
    key: str = ""
    wrong: str = ""


@dataclass
class History:
    commands: list[Ran] = field(default_factory=list)
    polls: list[Poll] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


def publish(npm: NpmRegistry) -> None:
    for version in (OLD, NEW, NEWER):
        npm.publish(version, program=PROGRAM.replace("@", version).encode())


def creation(name: str, stamp: str, *options: str, host: str = "one") -> Command:
    """The key says for which host it is, and everything says who made it."""
    words: tuple[str, ...]
    words = ("create", name, "--provider", "custom", "--base-url", f"https://{host}.example")
    words += ("--model", f"model-{stamp}", "--env", f"STAMP={stamp}", "--api-key-stdin", *options)
    return Command(words, stamp, f"key-{stamp}-{host}-0123456789\n")


def random_command(chance: random.Random, stamp: str) -> Command:
    """A change of a variant that stays, of one that comes and goes, or of all.

    Only `alpha` is given keys, and it has one endpoint: a rollback to another endpoint takes the
    key of then, which `key set` took off the disk.
    """
    version = chance.choice((OLD, NEW, NEWER))
    steady, passing = chance.choice(STEADY), chance.choice(PASSING)
    anew = creation(
        steady,
        stamp,
        *("--force", "--claude-version", version),
        host=chance.choice(("one", "two")) if steady == "beta" else "one",
    )
    coming = creation(passing, stamp, "--claude-version", version)
    key = Command(
        ("key", "set", "alpha", "--api-key-stdin"), stamp, f"key-{stamp}-one-0123456789\n"
    )
    going = [("remove", passing, "--yes", *more) for more in ((), ("--force",), ("--keep-config",))]
    others = [
        ("pin", steady, version),
        ("pin", passing, version),
        ("unpin", steady),
        ("update", *STEADY),
        ("update", passing),
        ("update", steady, "--claude-version", version),
        ("rollback", steady),
        ("rollback", passing),
        ("doctor", "--fix", steady),
        ("prune",),
        ("list",),
    ]
    simple = [Command(words, stamp) for words in (*going, *others)]
    chosen = chance.choice([anew, coming, coming, coming, key, key, *simple])
    kill_after = chance.random() if chance.random() < TO_KILL else None
    return Command(chosen.words, stamp, chosen.stdin, kill_after)


def crowded(sandbox: Sandbox, seed: int, size: Size) -> History:
    """The variants are there already, each made with its own name for a stamp."""
    warm()
    told = in_own_process(lambda: _crowd(sandbox, seed, size))
    return History(
        [Ran(**{**each, "words": tuple(each["words"])}) for each in told["commands"]],
        [Poll(**each) for each in told["polls"]],
        told["violations"],
    )


def _crowd(sandbox: Sandbox, seed: int, size: Size) -> dict[str, object]:
    place = sandbox.home.parent / f"crowd-{seed}"
    place.mkdir()
    logs = [place / f"polls-{number}" for number in range(POLLERS)]
    pollers = [_poller(sandbox, log, number) for number, log in enumerate(logs)]
    history = History()
    try:
        _run_all(sandbox, random.Random(seed), size, place, history)
    finally:
        for pid in pollers:
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
    history.polls = [poll for log in logs for poll in _polls(log)]
    return asdict(history)


# --- commands ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Running:
    command: Command
    started: Started
    begun: float
    kill_at: float


def _run_all(
    sandbox: Sandbox, chance: random.Random, size: Size, place: Path, history: History
) -> None:
    """As many at once as there are processes; the next one begins when one ends."""
    running: dict[int, _Running] = {}
    number, usual, is_enough = 0, 1.0, False
    parent = os.getppid()
    while running or not is_enough:
        if os.getppid() != parent:  # nobody waits for the result any more
            os._exit(1)
        while len(running) < size.processes and not is_enough:
            number += 1
            coming = random_command(chance, f"s{number}")
            started = start(
                command(coming.words, sandbox.environ, coming.stdin), place / f"said-{number}"
            )
            begun = time.monotonic()
            after = LOCK_TIMEOUT if coming.kill_after is None else coming.kill_after * usual
            running[started.pid] = _Running(coming, started, begun, begun + after)
            is_enough = bool(history.violations) or (
                number >= size.processes * size.commands and _count(place) >= size.polls
            )
        for pid, each in list(running.items()):
            if time.monotonic() >= each.kill_at:
                os.kill(pid, signal.SIGKILL)
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del running[pid]
                ran = _ended(each, os.waitstatus_to_exitcode(status), history)
                usual += 0.05 * (ran.ended - ran.begun - usual)
        time.sleep(0.002)


def _ended(each: _Running, code: int, history: History) -> Ran:
    ran = Ran(each.command.words, each.command.stamp, code, each.begun, time.monotonic())
    history.commands.append(ran)
    said = each.started.said()
    line = f"ccm {' '.join(ran.words)} ended with {code}: {said}"
    if code == KILLED and each.command.kill_after is None:
        history.violations.append(f"no end after {LOCK_TIMEOUT} s: {line}")
    if "Traceback" in said or not _is_fine(ran, said):
        history.violations.append(line)
    return ran


def _is_fine(ran: Ran, said: str) -> bool:
    """It did what it should, or says what there is or is not already, or who is running."""
    verb, *names = ran.words
    reasons = {
        2: verb == "create" and "There is a variant" in said,
        3: verb == "rollback" or bool(set(names) & set(PASSING)),
        6: verb == "remove" and "is running (process" in said,
    }
    return ran.code in (0, KILLED) or reasons.get(ran.code, False)


# --- polls -------------------------------------------------------------------------------------


def _poller(sandbox: Sandbox, log: Path, number: int) -> int:
    """The pid of a child that runs one launcher after the other until it is told to end."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    try:
        with log.open("w") as file:
            while True:
                if os.getppid() != parent:
                    os._exit(0)
                for name in NAMES[number % 4 :] + NAMES[: number % 4]:
                    print(json.dumps(asdict(polled(sandbox, name))), file=file, flush=True)
    finally:
        os._exit(1)


def _polls(log: Path) -> Iterator[Poll]:
    for line in log.read_text().splitlines():
        with contextlib.suppress(ValueError):  # the last one may be cut
            yield Poll(**json.loads(line))


def _count(place: Path) -> int:
    """Of the polls, by the size of their logs: about."""
    return sum(log.read_bytes().count(b"\n") for log in place.glob("polls-*"))


def polled(sandbox: Sandbox, name: str) -> Poll:
    """One run of the launcher by /bin/sh, and of the program it starts."""
    begun = time.monotonic()
    reading, writing = os.pipe()
    pid = os.posix_spawn(
        "/bin/sh",
        ["/bin/sh", str(sandbox.launcher(name))],
        {"HOME": str(sandbox.home), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, writing, 1),
            (os.POSIX_SPAWN_DUP2, writing, 2),
        ],
    )
    os.close(writing)
    with os.fdopen(reading, errors="replace") as pipe:
        said = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    ended = time.monotonic()
    if code and ("cannot open" in said or "No such file" in said):
        return Poll(name, begun, ended, ABSENT)
    if code:
        return Poll(name, begun, ended, "failed", wrong=f"failed with {code}: {said.strip()}")
    version, program, arguments, key, model, url, stamp, *rest = said.split("\n")
    generation = Path(program).parents[1]
    wrong = ""
    try:
        pinned = json.loads("\n".join(rest))["env"]
    except (ValueError, KeyError):
        pinned = {}
    host = url.removeprefix("https://").removesuffix(".example")
    together = {
        "settings": arguments == f"--settings {generation}/settings.json",
        "name": generation.parents[1].name == name,
        "version": version in (OLD, NEW, NEWER),
        "model": model == f"model-{stamp}",
        "key": key.split("-")[2] == host if key.count("-") == 3 else False,
        "pinned endpoint": pinned.get("ANTHROPIC_BASE_URL") == url,
        "pinned model": pinned.get("ANTHROPIC_MODEL") == model,
        "pinned variable": pinned.get("STAMP") == stamp,
    }
    mixed = [what for what, fits in together.items() if not fits]
    if mixed:
        wrong = f"mixed ({', '.join(mixed)}): {said}"
    return Poll(name, begun, ended, version, key, wrong)


# --- what no order of the commands explains ----------------------------------------------------


def judged(history: History) -> list[str]:
    violations = list(history.violations)
    for poll in history.polls:
        is_gone = poll.seen == ABSENT or (poll.name in PASSING and poll.seen == "failed")
        if is_gone and poll.name in PASSING:
            wrong = "" if _may_be_absent(poll, history.commands) else f"absent {poll.wrong}"
        elif poll.wrong or is_gone:
            wrong = poll.wrong or poll.seen
        elif poll.name in PASSING:
            wrong = "" if _may_be_there(poll, history.commands) else "there after its removal"
        else:
            wrong = _stale(poll, history.commands) if poll.name == "alpha" else ""
        if wrong:
            violations.append(f"{poll.name} at {poll.begun:.3f}: {wrong}")
    return violations


def _may_be_absent(poll: Poll, commands: Sequence[Ran]) -> bool:
    """Unless a creation was done, and no removal was at work after it had begun."""
    creations = [ran for ran in commands if _is_about(ran, "create", poll.name) and not ran.code]
    removals = _at_work(commands, "remove", poll)
    done = max((ran.begun for ran in creations if ran.ended < poll.begun), default=None)
    if done is None:  # the one before the crowd
        return bool(removals)
    return any(ran.ended > done for ran in removals)


def _may_be_there(poll: Poll, commands: Sequence[Ran]) -> bool:
    """Unless a removal was done, and no creation was at work after it had begun."""
    removals = [ran for ran in commands if _is_about(ran, "remove", poll.name) and not ran.code]
    done = max((ran.begun for ran in removals if ran.ended < poll.begun), default=None)
    creations = _at_work(commands, "create", poll)
    return done is None or any(ran.ended > done for ran in creations)


def _at_work(commands: Sequence[Ran], verb: str, poll: Poll) -> list[Ran]:
    return [
        ran
        for ran in commands
        if _is_about(ran, verb, poll.name) and ran.code in (0, KILLED) and ran.begun < poll.ended
    ]


def _is_about(ran: Ran, verb: str, name: str) -> bool:
    return ran.words[0] == verb and name in ran.words[1:3]


def _stale(poll: Poll, commands: Sequence[Ran]) -> str:
    """A key that was replaced, by a command that had ended, before the poll began: a lost change.

    Whatever else changes a variant keeps the key it has.
    """
    setters = [
        ran for ran in commands if _is_about(ran, "key", "set") or _is_about(ran, "create", "alpha")
    ]
    stamp = poll.key.split("-")[1]
    mine = next((ran for ran in setters if ran.stamp == stamp), None)
    if mine and mine.begun > poll.ended:
        return f"has a key nobody gave it yet: {poll.key}"
    replaced = mine.ended if mine else 0.0
    later = [ran for ran in setters if not ran.code and replaced < ran.begun]
    done = next((ran for ran in later if ran.ended < poll.begun), None)
    return f"still has {poll.key}, which ccm {' '.join(done.words)} replaced" if done else ""
