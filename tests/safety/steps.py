"""Stops an operation at any of its steps: the process dies there, or the disk is full there.

A step is whatever changes the disk below one directory, as `sys.addaudithook` reports it before it
happens. No code of ours is replaced, so nothing that bypasses `fs` bypasses this. Writes into open
files and fsync are not seen.
"""

import errno
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from ccmirror_py.errors import CcmError
from ccmirror_py.home import Home
from ccmirror_py.host import this_platform
from ccmirror_py.store import Store

_CHANGES = frozenset(
    f"os.{call}"
    for call in (
        *("chmod", "chown", "link", "mkdir", "remove", "removexattr", "rename", "rmdir"),
        *("setxattr", "symlink", "truncate", "utime"),
    )
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_STARTED = 60.0
"""Seconds a child may take."""

Fault = Literal["kill", "full"]


@dataclass(frozen=True)
class Ended:
    """`steps` are empty for a killed child, which can't tell any more."""

    how: Literal["killed", "ended", "failed", "crashed"]
    steps: tuple[str, ...] = ()
    said: str = ""


def in_child(
    action: Callable[[], object], below: Path, at: int = 0, fault: Fault = "kill"
) -> Ended:
    """Run `action` in a forked child; step number `at` (from 1) does not happen any more."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _child(action, _Steps(str(below), at, fault), writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        report = pipe.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return Ended("killed")
    how, steps, said = json.loads(report)
    return Ended(how, tuple(steps), said)


class _Steps:
    def __init__(self, below: str, at: int, fault: Fault) -> None:
        self.seen: list[str] = []
        self._below = below
        self._at = at
        self._fault = fault

    def __call__(self, event: str, args: tuple[object, ...]) -> None:
        if event == "open":
            path, _, flags = args
            if not isinstance(flags, int) or not flags & _WRITING:
                return
            if not str(path).startswith(self._below):
                return
        elif event not in _CHANGES:
            return
        self.seen.append(f"{event} {' '.join(str(a) for a in args if not isinstance(a, int))}")
        if len(self.seen) == self._at:
            if self._fault == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(args[0]))


def _child(action: Callable[[], object], steps: _Steps, writing: int) -> NoReturn:
    signal.alarm(int(_STARTED))
    how, said = "ended", ""
    try:
        sys.dont_write_bytecode = True
        sys.addaudithook(steps)
        action()
    except (CcmError, OSError) as error:
        how, said = "failed", f"{type(error).__name__}: {error}"
    except BaseException as error:  # noqa: BLE001 (the parent shows it)
        how, said = "crashed", f"{type(error).__name__}: {error}"
    report = json.dumps([how, steps.seen, said]).encode()
    while report:
        report = report[os.write(writing, report) :]
    os._exit(0)


def litter(home: Home) -> list[str]:
    """What should not be there when nothing runs, relative to the home of ccm."""
    root, store = home.root, Store(home, this_platform())
    found = [path for part in (home.staging, home.journal) for path in part.iterdir()]
    places = (home.journal, *root.glob("[!.]*"), *root.glob("[!.]*/config"))
    found += [path for place in places for path in place.glob(".*.new")]
    found += [
        entry for entry in home.store.glob("*/*") if store.problems((entry.parent.name, entry.name))
    ]
    for variant in root.glob("[!.]*"):
        current = variant / "current"
        number = int(os.readlink(current).rpartition("/")[2]) if current.is_symlink() else 0
        if not number and os.listdir(variant) != ["config"]:
            found.append(variant)
        found += [g for g in variant.glob("generations/*") if int(g.name) > number]
    found += [path for path in home.bin_dir.glob("*") if path.is_symlink() and not path.exists()]
    return sorted({os.path.relpath(path, root) for path in found})
