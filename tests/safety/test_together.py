"""Several ccm at once: each change happens as if it were alone, and launchers never see between.

The crowd of `crowd.py`: sixteen processes give random commands about four variants, a quarter of
them is killed at a random moment, and pollers run the launchers all the while. A case of the suite
`together` is one command. A case of `polls` is one real run of a launcher by /bin/sh and of the
(small) program it starts, which tells its version, its arguments, its key, its variables and the
settings that were pinned for it: all of them have to be of one state the variant had. Single races
are in test_races.py.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from filelock import FileLock

from ccmirror_py import fs
from ccmirror_py.home import Home
from tests.conftest import Sandbox
from tests.npm_registry import NpmRegistry
from tests.safety.crowd import (
    ABSENT,
    NAMES,
    OLD,
    PASSING,
    History,
    Poll,
    Ran,
    Size,
    creation,
    crowded,
    judged,
    polled,
    publish,
)
from tests.safety.forked import KILLED
from tests.safety.steps import litter
from tests.safety.table import FULL, Tally

SEEDS = range(10) if FULL else range(1)
SIZE = Size(16, 50, 4_050) if FULL else Size(16, 12, 500)


@pytest.fixture
def home(sandbox: Sandbox, npm: NpmRegistry) -> Home:
    """Of a user with four variants, at the oldest of three versions."""
    publish(npm)
    for name in NAMES:
        first = creation(name, name, "--claude-version", OLD)
        sandbox.must(*first.words, stdin=first.stdin)
    return Home(sandbox.ccm_home, sandbox.bin_dir)


@pytest.mark.parametrize("seed", SEEDS)
def test_in_a_crowd_every_launch_is_of_one_state_and_one_command_makes_good(
    sandbox: Sandbox, home: Home, tally: Tally, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    with FileLock(tmp_path_factory.getbasetemp().parent / "crowd.lock"):  # not two at a time
        history = crowded(sandbox, seed, SIZE)
    violations = judged(history)
    codes = Counter(ran.code for ran in history.commands)
    print(f"\n{dict(codes)}, {dict(Counter(poll.seen for poll in history.polls))}")
    assert codes[KILLED] >= len(history.commands) // 12  # how many depends on the machine's speed
    if not violations:
        violations += made_good(sandbox, home)
    tally(len(history.commands), violations)
    tally(len(history.polls), [], suite="polls")


def made_good(sandbox: Sandbox, home: Home) -> list[str]:
    """What one command that changes something leaves to be wished for."""
    sandbox.must("prune")
    wrong = [f"litter: {path}" for path in litter(home)]
    for name in NAMES:
        poll = polled(sandbox, name)
        is_there = home.current(name).is_symlink()
        if poll.wrong or is_there != (poll.seen != ABSENT) or not (is_there or name in PASSING):
            wrong.append(f"at the end: {poll}")
    doctor = sandbox.ccm("doctor")
    return wrong + ([f"doctor: {doctor.stdout}{doctor.stderr}"] if doctor.returncode else [])


# --- does the crowd see anything? --------------------------------------------------------------


@contextmanager
def no_lock(*_: object) -> Iterator[None]:
    yield


@contextmanager
def always_free(*_: object) -> Iterator[bool]:
    yield True


def unlink_then_link(target: str, link: object) -> None:
    fs.remove_file(link)  # type: ignore[arg-type]
    fs.make_link(target, link)  # type: ignore[arg-type]


MISTAKES: dict[str, tuple[object, str, Callable[..., object]]] = {
    "no lock": (Home, "lock", no_lock),
    "recovery that takes the living for dead": (Home, "lock_if_free", always_free),
    "a link replaced in two steps": (fs, "replace_link", unlink_then_link),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_the_crowd_finds_a_mistake(
    sandbox: Sandbox, home: Home, monkeypatch: pytest.MonkeyPatch, tally: Tally, name: str
) -> None:
    place, attribute, wrong = MISTAKES[name]
    monkeypatch.setattr(place, attribute, wrong)
    history = crowded(sandbox, 0, Size(16, 50, 0))
    assert judged(history)
    tally(1, [], suite="seeds")


def ran(begun: float, ended: float, *words: str, stamp: str = "x", code: int = 0) -> Ran:
    return Ran(words, stamp, code, begun, ended)


KEY = ("key", "set", "alpha")
SEEN = Poll("alpha", 10.0, 11.0, OLD, "key-alpha-one-0123456789")
GONE = Poll("gamma", 10.0, 11.0, ABSENT)
THERE = replace(SEEN, name="gamma")


@pytest.mark.parametrize(
    ("poll", "commands", "is_wrong"),
    [
        (SEEN, [], False),
        (replace(SEEN, wrong="mixed"), [], True),
        (replace(SEEN, seen=ABSENT), [ran(1, 2, "remove", "alpha")], True),
        (SEEN, [ran(1, 2, *KEY, stamp="s1")], True),
        (SEEN, [ran(1, 2, *KEY, stamp="s1", code=KILLED)], False),
        (SEEN, [ran(1, 20, *KEY, stamp="s1")], False),
        (replace(SEEN, key="key-s1-one-0"), [ran(1, 2, *KEY, stamp="s1")], False),
        (replace(SEEN, key="key-s1-one-0"), [ran(12, 13, *KEY, stamp="s1")], True),
        (replace(THERE, wrong="mixed"), [ran(1, 2, "remove", "gamma", code=KILLED)], True),
        (replace(THERE, wrong="mixed"), [ran(1, 10.5, "remove", "gamma")], True),
        (GONE, [], True),
        (GONE, [ran(1, 2, "remove", "gamma", code=KILLED)], False),
        (GONE, [ran(1, 2, "remove", "gamma"), ran(3, 4, "create", "gamma")], True),
        (GONE, [ran(1, 5, "remove", "gamma"), ran(3, 4, "create", "gamma")], False),
        (GONE, [ran(12, 13, "remove", "gamma")], True),
        (THERE, [ran(1, 2, "remove", "gamma")], True),
        (THERE, [ran(1, 2, "remove", "gamma"), ran(3, 40, "create", "gamma")], False),
    ],
)
def test_the_judge_knows_what_an_order_explains(
    poll: Poll, commands: list[Ran], is_wrong: bool
) -> None:
    assert bool(judged(History(commands, [poll]))) is is_wrong
