"""A forked child that tells its parent what it sees, and ends with that."""

import os
import pickle
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from typing import IO, Any

import ccmirror_py

Tell = Callable[[object], None]


@cache
def warm() -> None:
    """Import, once, what any command imports when it needs it."""
    for module in pkgutil.walk_packages(ccmirror_py.__path__, "ccmirror_py."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    for name in "difflib requests rich.progress rich.table secrets shutil".split():
        import_module(name)


def told_by(child: Callable[[Tell], object]) -> tuple[list[Any], int]:
    """What `child` tells from a process of its own, in that order, and how the process ended: an
    exit code (1 for an error, which is printed), negative for a signal.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _run(child, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = list(_loaded(pipe))
    return told, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _run(child: Callable[[Tell], object], writing: int) -> None:
    write, code = os.write, 1  # `child` may replace functions of `os`

    def tell(what: object) -> None:
        data = pickle.dumps(what)
        while data:
            data = data[write(writing, data) :]

    try:
        child(tell)
        code = 0
    except BaseException:  # noqa: BLE001 (the parent's tests have to show it)
        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(code)


def _loaded(pipe: IO[bytes]) -> Iterator[Any]:
    while True:
        try:
            yield pickle.load(pipe)
        except (EOFError, pickle.UnpicklingError):  # the end, or cut by one
            return
