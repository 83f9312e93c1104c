"""Stops an operation at any of its steps: the process dies there, or the step fails there.

A step is whatever changes the disk below one directory, as `sys.addaudithook` reports it before it
happens. No code of ours is replaced, so nothing that bypasses `fs` bypasses this. What is done with
a file that is open raises no audit event; there `os.fsync`, `os.posix_fallocate` and the file that
`os.fdopen` returns are wrapped in the child, so these, writing and closing are steps as well. A
file opened in another way is seen when it is opened only (and with strace; test_architecture keeps
such out of ccm).
"""

import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from ccmirror_py.cli.main import main
from ccmirror_py.errors import CcmError
from ccmirror_py.home import Home
from ccmirror_py.host import this_platform
from ccmirror_py.store import Store
from tests.safety.fork import Tell, told_by

_CHANGES = frozenset(
    f"os.{call}"
    for call in (
        *("chmod", "chown", "link", "mkdir", "remove", "removexattr", "rename", "rmdir"),
        *("setxattr", "symlink", "truncate", "utime"),
    )
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_FICLONE = 0x40049409
_LIMIT = 300
"""Seconds a child may take on a busy machine."""

STOPS = ("kill", "terminate", "interrupt")
ERRORS = ("ENOSPC", "EIO", "EACCES", "EROFS", "EMFILE", "EDQUOT")
LASTING = {"full": "ENOSPC", "read-only": "EROFS"}
"""From the step on: whatever takes space fails, or whatever changes something."""
_TAKES_SPACE = ("open", "write", "reserve", "os.mkdir", "os.symlink", "os.link", "os.rename")

Fault = str
"""One of those, or "short": half of what is to be written is."""


def faults_of(step: str) -> tuple[Fault, ...]:
    """The ways this step can fail."""
    kind = step.partition(" ")[0]
    match kind:
        case "write":
            return ("ENOSPC", "EIO", "EDQUOT", "short", "full", "read-only")
        case "fsync":
            return ("EIO", "ENOSPC", "EDQUOT", "EROFS")
        case "close":
            return ("EIO", "ENOSPC", "EDQUOT")
        case "reserve":
            return ("EIO", "ENOSPC", "EDQUOT", "full", "read-only")
        case "fcntl.ioctl":
            return ERRORS
    return (*ERRORS, *(("full",) if kind in _TAKES_SPACE else ()), "read-only")


How = Literal["killed", "terminated", "ended", "failed", "crashed"]


@dataclass(frozen=True)
class Ended:
    """`steps` are empty for a killed child, which can't tell any more; `code` is an exit code."""

    how: How
    steps: tuple[str, ...] = ()
    said: str = ""
    code: int = 0


def in_child(
    action: Callable[[], object], below: Path, at: int = 0, fault: Fault = "kill"
) -> Ended:
    """Run `action` in a forked child; step number `at` (from 1) does not happen any more."""
    told, code = told_by(lambda tell: _child(action, _Steps(str(below), at, fault), tell))
    if code in _ENDINGS:
        return Ended(_ENDINGS[code])
    ended: Ended = told[0]
    return ended


def command_line(
    words: Sequence[str], typed: str, environ: Mapping[str, str]
) -> Callable[[], object]:
    """The action of typing `ccm WORDS`: all of the program, in a process that is already there."""

    def action() -> None:
        os.environ.clear()
        os.environ.update(environ)
        sys.argv = ["ccm", *words]
        sys.stdin, sys.stdout, sys.stderr = io.StringIO(typed), io.StringIO(), io.StringIO()
        os.execv = lambda *_: sys.exit(0)  # what `ccm run` becomes is no step of ccm
        main()

    return action


class _Steps:
    def __init__(self, below: str, at: int, fault: Fault) -> None:
        self.seen: list[str] = []
        self._below = below
        self._at = at
        self._fault = fault
        self._opened = ""
        self._paths: dict[int, str] = {}

    def __call__(self, event: str, args: tuple[object, ...]) -> None:
        """The audit hook."""
        if event == "open":
            path, _, flags = args
            self._opened = str(path)
            if not isinstance(flags, int) or not flags & _WRITING:
                return
            if not self._opened.startswith(self._below):
                return
            args = (path,)
        elif event == "fcntl.ioctl":
            if args[1] != _FICLONE:
                return
        elif event not in _CHANGES:
            return
        if isinstance(args[0], int):
            args = (self._path(args[0]),)
        paths = (str(each) for each in args[:2] if isinstance(each, str | os.PathLike))
        self.take(" ".join((event, *paths)))

    def take(self, step: str) -> bool:
        """Whether the step is to be done in full; if it happens at all."""
        self.seen.append(step)
        number, kind = len(self.seen), step.partition(" ")[0]
        here, lasts = number == self._at, self._fault in LASTING and number > self._at > 0
        if not here and not lasts:
            return True
        if self._fault in STOPS:
            os.kill(os.getpid(), _SIGNALS[self._fault])  # Ctrl-C is raised in here
        if here and kind == "write" and self._fault in ("short", "full"):
            return False
        if self._fault == "full" and kind not in _TAKES_SPACE:
            return True
        code = getattr(errno, LASTING.get(self._fault, self._fault))
        raise OSError(code, os.strerror(code), step.partition(" ")[2])

    def watch_open_files(self) -> None:
        """Replaces what the standard library does with open files by the same as a step."""
        real_fsync, real_fdopen = os.fsync, os.fdopen

        def fsync(descriptor: int) -> None:
            self.take(f"fsync {self._path(descriptor)}")
            real_fsync(descriptor)

        def fdopen(descriptor: int, mode: str = "r", buffering: int = -1, **more: Any) -> IO[Any]:
            if "w" not in mode or not self._opened.startswith(self._below):
                return real_fdopen(descriptor, mode, buffering, **more)
            assert buffering == 0, "only unbuffered writing is watched"
            self._paths[descriptor] = self._opened
            return _Watched(self, descriptor, self._opened)

        def reserve(descriptor: int, offset: int, size: int) -> None:
            self.take(f"reserve {self._path(descriptor)}")
            real_reserve(descriptor, offset, size)

        if hasattr(os, "posix_fallocate"):  # not on macOS
            real_reserve = os.posix_fallocate
            os.posix_fallocate = reserve
        os.fsync = fsync  # type: ignore[assignment]
        os.fdopen = fdopen  # type: ignore[assignment]

    def closed(self, descriptor: int) -> None:
        self._paths.pop(descriptor, None)

    def _path(self, descriptor: int) -> str:
        """Of a file being written, else what was opened last: a directory, to be synced."""
        return self._paths.get(descriptor, self._opened)


_SIGNALS = {"kill": signal.SIGKILL, "terminate": signal.SIGTERM, "interrupt": signal.SIGINT}
_ENDINGS: Mapping[int, How] = {-signal.SIGKILL: "killed", -signal.SIGTERM: "terminated"}


class _Watched(io.FileIO):
    """A file whose writes and whose closing are steps."""

    def __init__(self, steps: _Steps, descriptor: int, path: str) -> None:
        super().__init__(descriptor, "wb")
        self._steps = steps
        self._path = path

    def write(self, data: Any) -> int:
        whole = self._steps.take(f"write {self._path}")
        return super().write(data if whole else data[: max(1, len(data) // 2)])

    def close(self) -> None:
        if self.closed:
            return
        descriptor = self.fileno()
        try:
            self._steps.take(f"close {self._path}")
        finally:
            self._steps.closed(descriptor)
            super().close()  # a close that fails has closed all the same


def _child(action: Callable[[], object], steps: _Steps, tell: Tell) -> None:
    signal.alarm(_LIMIT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    how: How = "ended"
    said, code = "", 0
    try:
        sys.dont_write_bytecode = True
        steps.watch_open_files()
        sys.addaudithook(steps)
        action()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        how = "failed" if code else "ended"
        said = sys.stderr.getvalue() if isinstance(sys.stderr, io.StringIO) else ""
    except (CcmError, OSError) as error:
        how, said = "failed", f"{type(error).__name__}: {error}"
    except BaseException as error:  # noqa: BLE001 (the parent shows it)
        how, said = "crashed", f"{type(error).__name__}: {error}"
    tell(Ended(how, tuple(steps.seen), said, code))


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
