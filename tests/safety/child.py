"""The command `ccm` in a forked child, watched: how it ends, what it says, where it writes, what
memory it takes. The child inherits what a test put in place, seeded mistakes too.
"""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ccmirror_py import transport
from ccmirror_py.cli.main import main
from tests.conftest import Sandbox
from tests.npm_registry import NpmRegistry
from tests.safety.fork import Tell, told_by, warm

OLD, NEW = "2.1.329", "2.1.330"
_CHANGES = frozenset(
    f"os.{call}"
    for call in ("chmod", "chown", "link", "mkdir", "remove", "rename", "rmdir", "symlink")
) | {"shutil.rmtree"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_MAY_WRITE = re.compile(r"\.staging/[^/]+~[^/]+(/|$)|\.(cache|locks|journal)(/|$)|\.store/[^/]+$")
_MAY_MAKE = re.compile(r"(\.(staging|cache|locks|journal|store))?")

MEMORY = 150
"""Megabytes a command may take beyond those it begins with, which are below 50."""
PATIENCE = 30


@dataclass(frozen=True)
class Ended:
    """`outside`: what was changed other than in staging. `grown`: megabytes. `paused`: seconds."""

    code: int
    said: str
    outside: tuple[str, ...]
    grown: int
    seconds: float
    paused: tuple[float, ...]


def ccm(
    sandbox: Sandbox, *words: str, env: Mapping[str, str] | None = None, read_timeout: float = 30
) -> Ended:
    """`ccm WORDS`, whose pauses between tries are noted down instead of waited for."""
    warm()
    told, code = told_by(
        lambda tell: _child(sandbox, words, {**sandbox.environ, **(env or {})}, read_timeout, tell)
    )
    return told[0] if told else Ended(-1, f"ended by signal {-code}", (), 0, PATIENCE, ())


def _child(
    sandbox: Sandbox,
    words: tuple[str, ...],
    environ: Mapping[str, str],
    read_timeout: float,
    tell: Tell,
) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(PATIENCE)
    transport.CONNECT_AND_READ_TIMEOUT = (10.0, read_timeout)
    outside: list[str] = []
    paused: list[float] = []
    code, begin, before = 0, time.monotonic(), _peak()
    said = open(sandbox.home.parent / "said", "w+", encoding="utf-8")  # noqa: PTH123, SIM115
    sys.stdout = sys.stderr = said
    sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(sandbox.home)
    sys.argv = ["ccm", *words]
    sys.dont_write_bytecode = True
    time.sleep = paused.append  # type: ignore[assignment]
    sys.addaudithook(lambda event, args: _note(sandbox.ccm_home, outside, event, args))
    try:
        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # noqa: BLE001 (a traceback is what the user would see)
        code = 1
        said.write(traceback.format_exc())
    seconds = time.monotonic() - begin
    said.seek(0)
    tell(Ended(code, said.read(), tuple(outside), _peak() - before, seconds, tuple(paused)))


def _peak() -> int:
    """The most memory so far, in megabytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit >> 20


def _note(root: Path, outside: list[str], event: str, args: tuple[object, ...]) -> None:
    if event == "open":
        flags = args[2]
        if not isinstance(args[0], str) or not isinstance(flags, int) or not flags & _WRITING:
            return
    elif event not in _CHANGES:
        return
    for path in (os.fspath(a) for a in args if isinstance(a, str | os.PathLike)):
        # relative ones are names within a directory that is being removed
        if isinstance(path, str) and path.startswith("/") and not path.startswith("/dev/"):
            named = Path(path)
            place = os.path.relpath(named.parent.resolve() / named.name, root)
            if event == "shutil.rmtree" and not os.path.lexists(path):
                continue
            if not _MAY_WRITE.match(place) and not (
                event == "os.mkdir" and _MAY_MAKE.fullmatch(place)
            ):
                outside.append(f"{event} {place}")


class Shop:
    """A user with the variant `alpha` at OLD, and a registry that has NEW to offer.

    `restore` brings both back to that.
    """

    def __init__(self, sandbox: Sandbox, npm: NpmRegistry) -> None:
        self.sandbox = sandbox
        self.npm = npm
        self._master = sandbox.home.parent / "master"
        npm.publish(OLD)
        sandbox.must("create", "alpha", "--provider", "echo")
        shutil.rmtree(sandbox.ccm_home / ".cache" / "registry")
        subprocess.run(["cp", "-a", sandbox.home, self._master], check=True)
        self._before = self._files()

    def restore(self) -> None:
        again = 'rm -rf "$1" && cp -a "$2" "$1"'
        argv = ["/bin/sh", "-c", again, "sh", str(self.sandbox.home), str(self._master)]
        subprocess.run(argv, check=True)

    def unlike_before(self, ended: Ended) -> list[str]:
        """What a command that was refused should not have done."""
        now = self._files()
        changed = sorted({path for path, _ in now.items() ^ self._before.items()})
        alpha = self.sandbox.run(self.sandbox.launcher("alpha"), "--version").stdout
        return [
            *(f"changed {path}" for path in changed),
            *(f"outside staging: {what}" for what in ended.outside),
            *([] if alpha.startswith(OLD) else [f"alpha says '{alpha}'"]),
            *([] if "Traceback" not in ended.said else ["a traceback"]),
            *excess(ended),
        ]

    def _files(self) -> dict[str, tuple[int, bytes]]:
        """All there is but empty directories of the store and what is only remembered."""
        found = {}
        for path in self.sandbox.home.rglob("*"):
            place = str(path.relative_to(self.sandbox.home))
            passing = place.startswith((".ccm/.locks/", ".ccm/.cache/"))
            package = place.startswith(".ccm/.store") and path.is_dir() and not path.is_symlink()
            if passing or package:
                continue
            state = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            found[place] = (state.st_mode, content)
        return found


def excess(ended: Ended) -> list[str]:
    """Too much memory, too much time."""
    return [
        *([] if ended.grown < MEMORY else [f"{ended.grown} MB of memory"]),
        *([] if ended.seconds < 5 + len(ended.paused) else [f"{ended.seconds:.1f} seconds"]),
        *([] if max(ended.paused, default=0) <= 30 else [f"pauses of {ended.paused}"]),
    ]
