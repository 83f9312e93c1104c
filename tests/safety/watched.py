"""`ccm` run by `inside.py`, and by strace where there is one: what it made, started and said."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import pexpect

from tests.conftest import Sandbox

Fault = Literal["", "kill", "full", "interrupt", "crash"]
INSIDE = Path(__file__).with_name("inside.py")
PATIENCE = 60
STRACE = shutil.which("strace")
_ARGUMENT = r'"(?:[^"\\]|\\.)*"(?:\.\.\.)?'
_EXECVE = re.compile(
    rf"execve\({_ARGUMENT}, \[((?:{_ARGUMENT}(?:, )?)*)\], \[((?:{_ARGUMENT}(?:, )?)*)\]\) += 0"
)
_MADE = re.compile(
    r"(?P<call>open|openat|creat|mkdir|mkdirat|chmod|fchmod|fchmodat)\((?:AT_FDCWD<[^>]*>, )?"
    r'(?:"(?P<path>[^"]*)"|\d+<(?P<file>[^>]*)>)(?:, (?P<flags>[A-Z_|]+))?(?:, (?P<mode>0\d*))?'
)


@dataclass(frozen=True)
class Plan:
    """What happens to a ccm at step `at` (from 1), and the mistake (code) it is started with.

    Steps are counted below `below`; from step `at` on the disk is `full`.
    """

    fault: Fault = ""
    at: int = 0
    mistake: str = ""


@dataclass(frozen=True)
class Started:
    argv: tuple[str, ...]
    environ: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, order=True)
class Made:
    """A file or directory that is made, or changed by chmod; `mode` as the kernel was asked."""

    how: Literal["open", "mkdir", "chmod"]
    path: str
    mode: int


@dataclass(frozen=True)
class Watched:
    """`code` is negative for a signal. `traced` is empty without strace."""

    code: int
    said: str
    steps: int
    started: tuple[Started, ...]
    made: tuple[Made, ...]
    traced: tuple[Started, ...]
    traced_made: tuple[Made, ...]


def inside(sandbox: Sandbox, plan: Plan, log: Path) -> list[str]:
    """The command that runs ccm, without its words."""
    told = {**asdict(plan), "below": str(sandbox.home), "log": str(log)}
    return [sys.executable, "-P", "-B", str(INSIDE), json.dumps(told)]


def watched(
    sandbox: Sandbox,
    words: Sequence[str],
    plan: Plan = Plan(),
    *,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    typed: str | None = None,
    umask: int = -1,
) -> Watched:
    """Run `ccm WORDS`, or a program when the first word is a path.

    `typed` is the answer to the question for the key, on a terminal.
    """
    notes = sandbox.home.with_name("watched")
    shutil.rmtree(notes, ignore_errors=True)
    notes.mkdir()
    log = notes / "inside"
    argv = [*words] if words and "/" in words[0] else [*inside(sandbox, plan, log), *words]
    if STRACE:
        calls = "execve,openat,open,creat,mkdir,mkdirat,chmod,fchmod,fchmodat"
        # one file for each process, or the lines of two of them could be mixed
        options = ["-f", "-ff", "-qq", "-y", "-v", "-s", "20000", "--seccomp-bpf"]
        argv = [STRACE, *options, "-e", f"trace={calls}", "-o", str(notes / "trace"), *argv]
    environ = {**sandbox.environ, **(env or {})}
    if typed is None:
        done = subprocess.run(
            argv,
            env=environ,
            cwd=sandbox.home,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            umask=umask,
            check=False,
        )
        code, said = done.returncode, done.stdout + done.stderr
    else:
        code, said = _on_a_terminal(sandbox, argv, environ, typed)
    return _read(notes, str(sandbox.home), code, said)


def _on_a_terminal(
    sandbox: Sandbox, argv: list[str], environ: Mapping[str, str], typed: str
) -> tuple[int, str]:
    child = pexpect.spawn(
        argv[0],
        argv[1:],
        env=dict(environ),
        cwd=str(sandbox.home),
        encoding="utf-8",
        timeout=PATIENCE,
    )
    if child.expect(["Key of [^:]*: ", pexpect.EOF]) == 0:
        said = str(child.before)
        child.waitnoecho(5)
        child.send(typed)
        child.expect(pexpect.EOF)
    else:
        said = ""
    said += str(child.before)
    child.close()
    code = child.exitstatus if child.signalstatus is None else -child.signalstatus
    return int(code or 0), said


def _read(notes: Path, below: str, code: int, said: str) -> Watched:
    log = notes / "inside"
    events = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    lines = [
        line
        for path in sorted(notes.glob("trace.*"))
        for line in path.read_text(errors="replace").splitlines()
    ]
    made = (_made(line) for line in lines)
    return Watched(
        code=code,
        said=said,
        steps=sum(event[0] == "step" for event in events),
        started=tuple(Started(tuple(e[1]), tuple(e[2])) for e in events if e[0] == "start"),
        made=tuple(Made(*event[1:]) for event in events if event[0] == "made"),
        traced=tuple(started for line in lines if (started := _started(line))),
        traced_made=tuple(m for m in made if m and m.path.startswith(below)),
    )


def _started(line: str) -> Started | None:
    """The words keep the escapes of strace; a program that could not be started is none."""
    if not line.startswith("execve(") or not line.endswith("= 0"):
        return None
    found = _EXECVE.match(line)
    assert found, line
    argv, environ = (re.findall(_ARGUMENT, part) for part in found.groups())
    assert not any(word.endswith("...") for word in (*argv, *environ)), "cut short by strace"
    return Started(tuple(word[1:-1] for word in argv), tuple(word[1:-1] for word in environ))


def _made(line: str) -> Made | None:
    found = _MADE.match(line)
    if not found or (found["flags"] and "O_CREAT" not in found["flags"]):
        return None
    if found["mode"] is None or (line.startswith("mkdir") and "= -1 EEXIST" in line):
        return None  # nothing is made
    how = {"op": "open", "cr": "open", "mk": "mkdir"}.get(found["call"][:2], "chmod")
    path = (found["path"] or found["file"]).removesuffix(" (deleted)")
    return Made(how, os.path.normpath(path), int(found["mode"], 8))  # type: ignore[arg-type]
