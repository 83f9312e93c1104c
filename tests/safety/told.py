"""Commands of ccm answered in a forked child, by the same `main` as the program `ccm`.

A campaign of thousands of commands can't pay for starting Python each time.
"""

import io
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ccmirror_py.cli import main
from tests.safety.fork import Tell, told_by, warm

KEY = "key-of-alpha-0123456789"
"""What a command finds on its standard input."""
DEADLINE = 15
"""Seconds for one command, even on a busy machine. What hangs, hangs for ever."""


@dataclass(frozen=True)
class Said:
    """`code` is None when the command hung, and "crashed" with the error in `err`."""

    words: tuple[str, ...]
    code: int | str | None
    out: str = ""
    err: str = ""

    def __str__(self) -> str:
        return f"ccm {' '.join(self.words)}"


def tell(
    environ: Mapping[str, str], commands: Sequence[tuple[str, ...]], stdin: str = KEY
) -> list[Said]:
    """What `ccm` answers to each of `commands`, one after the other."""
    warm()
    said, _ = told_by(lambda say: _answer(environ, commands, stdin, say))
    if len(said) < len(commands):
        said.append(Said(commands[len(said)], None))
    return said


def _answer(
    environ: Mapping[str, str], commands: Sequence[tuple[str, ...]], stdin: str, say: Tell
) -> None:
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(environ["HOME"])
    for words in commands:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(DEADLINE)
        said = _said(tuple(words), stdin)
        signal.alarm(0)
        say(said)


def _said(words: tuple[str, ...], stdin: str) -> Said:
    sys.argv = ["ccm", *words]
    sys.stdin = io.StringIO(stdin + "\n")
    sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
    code: int | str = 0
    try:
        main.main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException as error:  # noqa: BLE001 (the parent tells it)
        return Said(words, "crashed", "", f"{type(error).__name__}: {error}"[:300])
    return Said(words, code, sys.stdout.getvalue(), sys.stderr.getvalue())
