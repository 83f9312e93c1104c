"""Commands of ccm answered in a forked child, by the same `main` as the program `ccm`.

A campaign of thousands of commands can't pay for starting Python each time.
"""

import io
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# imported once, here, and not in each child
from ccmirror_py import registry, transport  # noqa: F401
from ccmirror_py.cli import (  # noqa: F401
    app,
    commands_change,
    commands_create,
    main,
)
from ccmirror_py.operations import (  # noqa: F401
    create,
    doctor,
    key,
    prune,
    publish,
    remove,
    rollback,
    update,
)

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
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        os.environ.clear()
        os.environ.update(environ)
        os.chdir(environ["HOME"])
        for words in commands:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(DEADLINE)
            answer = json.dumps(_answered(words, stdin)).encode() + b"\n"
            signal.alarm(0)
            while answer:
                answer = answer[os.write(writing, answer) :]
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = [Said(tuple(words), *rest) for words, *rest in map(json.loads, pipe)]
    os.waitpid(pid, 0)
    if len(said) < len(commands):
        said.append(Said(commands[len(said)], None))
    return said


def _answered(words: tuple[str, ...], stdin: str) -> tuple[object, ...]:
    sys.argv = ["ccm", *words]
    sys.stdin = io.StringIO(stdin + "\n")
    sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
    code: object = 0
    try:
        main.main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException as error:  # noqa: BLE001 (the parent tells it)
        return words, "crashed", "", f"{type(error).__name__}: {error}"[:300]
    return words, code, sys.stdout.getvalue(), sys.stderr.getvalue()
