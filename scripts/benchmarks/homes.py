"""Users with many variants, made in seconds, for measuring what comes after."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.npm_registry import NpmRegistry

PYTHON = Path(sys.executable)
VENV = PYTHON.parent
VERSION = "2.1.330"
_MANY = """
import os, sys
os.fsync = lambda descriptor: None  # making them is not what is measured
from ccmirror_py.cli.main import main
for number in range(int(sys.argv[1])):
    sys.argv = ["ccm", "create", f"v{number}", "--provider", "echo"]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""


@dataclass(frozen=True)
class User:
    """`environ` is all the environment there is; `registry` serves a stand-in for Claude Code."""

    home: Path
    registry: NpmRegistry
    environ: Mapping[str, str] = field(repr=False)

    def run(self, *words: str | Path, env: Mapping[str, str] | None = None, ends: int = 0) -> str:
        """What it prints; `ends` is the status it has to end with."""
        done = subprocess.run(
            list(map(str, words)),
            env={**self.environ, **(env or {})},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != ends:
            raise SystemExit(f"{' '.join(map(str, words))}: {done.stdout}{done.stderr}")
        return done.stdout

    def ccm(self, *words: str, ends: int = 0) -> Callable[[], str]:
        return lambda: self.run(VENV / "ccm", *words, ends=ends)

    def python(self) -> str:
        """The reference of all commands: an interpreter that does nothing."""
        return self.run(PYTHON, "-c", "pass")

    def everything(self) -> dict[str, tuple[int, int, int]]:
        """Every path with inode, size and time of change: what no command changed stays equal."""
        found = {}
        for folder, folders, names in os.walk(self.home):
            for name in (*folders, *names):
                state = os.lstat(os.path.join(folder, name))  # noqa: PTH118
                found[f"{folder}/{name}"] = (state.st_ino, state.st_size, state.st_mtime_ns)
        return found


@contextmanager
def user(variants: int) -> Iterator[User]:
    """Somebody with so many variants of the newest release, `v0` and on."""
    with TemporaryDirectory() as folder, NpmRegistry() as registry:
        registry.publish(VERSION)
        home = Path(folder) / "home"
        home.mkdir()
        environ = {
            "HOME": str(home),
            "PATH": f"{home}/.local/bin:{VENV}:/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "NPM_CONFIG_REGISTRY": registry.url,
            "CCM_NPM_KEYS": f"{registry.url}-/npm/v1/keys",
        }
        made = User(home, registry, environ)
        made.run(PYTHON, "-P", "-c", _MANY, str(variants))
        _age(home)
        yield made


def _age(home: Path) -> None:
    """They were made an hour ago: what is new ccm syncs again, as it may be of a killed command."""
    for folder, _, _ in os.walk(home):
        moment = os.stat(folder).st_mtime_ns - 3600 * 1_000_000_000  # noqa: PTH116
        os.utime(folder, ns=(moment, moment))
