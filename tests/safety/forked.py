"""ccm in forked children of a process that has imported everything: a command costs its work only.

What runs is `ccmirror_py.cli.main.main` with the words of a command line, in a process of its own
with its own environment, standard streams and exit code, as a shell would start it.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from tests.safety.fork import told_by

KILLED = -int(signal.SIGKILL)


@dataclass(frozen=True)
class Point:
    """Before the `count`-th call, as an audit event shows it, that has `text` in it: the event's
    name and what is not a number of its arguments (`os.rename SOURCE TARGET`)."""

    text: str
    count: int = 1


@dataclass(frozen=True)
class Started:
    """`output` is a file with what it says on both streams."""

    pid: int
    output: Path

    def said(self) -> str:
        return self.output.read_text(errors="replace")


def start(action: Callable[[], object], output: Path, stop: Point | None = None) -> Started:
    """`action` in a child that exits 0, or with the code of its SystemExit, or with 70.

    With `stop` the child stops itself (SIGSTOP) at that point, until it is continued or killed.
    """
    output.touch(0o600)  # it may be killed before it opens it
    pid = os.fork()
    if pid == 0:
        _child(action, output, stop)
    return Started(pid, output)


def command(
    words: tuple[str, ...], environ: Mapping[str, str], stdin: str = ""
) -> Callable[[], object]:
    """`ccm WORDS` of a user with this environment, for `start`."""

    def run() -> None:
        from ccmirror_py.cli.main import main

        os.environ.clear()
        os.environ.update(environ)
        os.chdir(environ["HOME"])
        reading, writing = os.pipe()
        os.write(writing, stdin.encode())
        os.close(writing)
        os.dup2(reading, 0)
        sys.argv = ["ccm", *words]
        main()

    return run


def _child(action: Callable[[], object], output: Path, stop: Point | None) -> NoReturn:
    code = 70
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        file = os.open(output, os.O_WRONLY | os.O_TRUNC)
        for descriptor in (1, 2):
            os.dup2(file, descriptor)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 (for as long as the process)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115
        if stop:
            sys.addaudithook(_stopper(stop))
        action()
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 0
    except BaseException:  # noqa: BLE001 (a traceback is what the campaign looks for)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _stopper(stop: Point) -> Callable[[str, tuple[object, ...]], None]:
    left = stop.count

    def hook(event: str, args: tuple[object, ...]) -> None:
        nonlocal left
        if not event.startswith("os."):
            return
        texts = [event, *(str(argument) for argument in args if not isinstance(argument, int))]
        if stop.text in " ".join(texts):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGSTOP)

    return hook


def in_own_process(action: Callable[[], Any]) -> Any:
    """What `action` returns, computed in a forked child with a single thread."""
    told, _ = told_by(lambda tell: tell(action()))
    assert told, "it raised an error, see what it printed"
    return told[0]
