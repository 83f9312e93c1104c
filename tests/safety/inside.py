"""A script: runs `ccm` in its own process and writes down what it asks of the system, or stops it.

    python -P inside.py PLAN WORD…      PLAN is JSON of the `Plan` in watched.py

What happens is taken from Python's audit events, which come before it happens; only os.open tells
them no mode, and is wrapped. Nothing else of the program is touched, but by the plan's mistake.
"""

import errno
import json
import os
import signal
import sys
from typing import Any

_GROWS = frozenset(("os.link", "os.mkdir", "os.rename", "os.symlink"))
_CHANGES = _GROWS | {"os.chmod", "os.remove", "os.rmdir"}
_STARTS = frozenset(("subprocess.Popen", "os.exec", "os.posix_spawn"))


class Watch:
    """An audit hook. A step is an `open` or a change below `below`, or the start of a program."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._below: str = plan["below"]
        self._fault: str = plan["fault"]
        self._left: int = plan["at"]
        self._log = os.open(plan["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
        self._names: dict[int, str] = {}
        self._open = os.open

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if event in _STARTS:
            environ = os.environ if args[-1] is None else args[-1]
            pairs = [f"{os.fsdecode(k)}={os.fsdecode(v)}" for k, v in environ.items()]
            self._note("start", [os.fsdecode(word) for word in args[1]], pairs)
        elif event == "open" and not isinstance(args[0], int) and self._is_ours(args[0]):
            path, mode, flags = args
            if mode is not None and flags & os.O_CREAT:
                self._note("made", "open", os.fsdecode(path), 0o666)
        elif event in _CHANGES and any(map(self._is_ours, args[:2])):
            there = event == "os.mkdir" and os.path.lexists(args[0])
            if event in ("os.mkdir", "os.chmod") and not there:
                self._note("made", event[3:], self._name(args[0]), args[1])
        else:
            return
        self._note("step", event)
        self._left -= 1
        grows = event in _GROWS or (event == "open" and args[2] & os.O_CREAT)
        self._stop(grows, str(args[0]))

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        """In the place of os.open."""
        if flags & os.O_CREAT and self._is_ours(path):
            self._note("made", "open", os.fsdecode(path), mode)
        descriptor = self._open(path, flags, mode, dir_fd=dir_fd)
        self._names[descriptor] = os.fsdecode(path)
        return descriptor

    def _is_ours(self, path: Any) -> bool:
        is_path = isinstance(path, str | bytes | os.PathLike) or path in self._names
        return is_path and self._name(path).startswith(self._below)

    def _name(self, path: Any) -> str:
        return self._names[path] if isinstance(path, int) else os.fsdecode(path)

    def _note(self, *what: object) -> None:
        os.write(self._log, json.dumps(what).encode() + b"\n")

    def _stop(self, grows: bool, path: str) -> None:
        if self._fault == "full" and self._left <= 0 and grows:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        if self._left:
            return
        if self._fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._fault == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
        if self._fault == "crash":
            raise RuntimeError("a mistake nobody thought of")


def run() -> None:
    plan = json.loads(sys.argv[1])
    sys.argv = ["ccm", *sys.argv[2:]]
    exec(plan["mistake"], {})
    watch = Watch(plan)
    os.open = watch.open
    sys.addaudithook(watch)

    from ccmirror_py.cli.main import main

    main()


if __name__ == "__main__":
    run()
