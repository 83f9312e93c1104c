"""How long a release takes to come, beside what else could fetch it.

The real package comes from a loopback registry (line.py) over several kinds of line. A path and its
references take turns. Each run is a process, with an empty home, from its start to its end.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from table import Row, Run, as_text, medians, ready

CHECKOUT = Path(__file__).resolve().parents[2]
VENV = CHECKOUT / ".venv" / "bin"
VERSION = "2.1.330"
PACKAGE = "@anthropic-ai/claude-code-linux-x64"
CACHE = CHECKOUT / ".cache" / "bench"
RUNS = 5
COUNTED = """
import resource, sys
from ccmirror_py.cli.main import main
sys.argv = ["ccm", *sys.argv[1:]]
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
"""A program: ccm, then the most memory it took (MB), without that of programs it started."""


@dataclass
class Bench:
    """`where` is an empty directory, `port` that of the registry."""

    where: Path
    port: int
    runs: int
    megabytes: list[int] = field(default_factory=list)

    def url(self, line: str) -> str:
        return f"http://127.0.0.1:{self.port}/{line}/"

    def environ(self, line: str, home: Path) -> dict[str, str]:
        path = f"{home}/.local/bin:{VENV}:/usr/local/bin:/usr/bin:/bin"
        environ = {"HOME": str(home), "PATH": path, "LANG": "C.UTF-8"}
        return {**environ, "NPM_CONFIG_REGISTRY": self.url(line), "npm_config_cache": f"{home}/n"}

    def create(self, line: str) -> Callable[[Path], None]:
        """`ccm create` of a variant, with nothing there yet."""

        def run(home: Path) -> None:
            words = ["create", "a", "--provider", "echo"]
            said = self.done([str(VENV / "python"), "-c", COUNTED, *words], line, home)
            self.megabytes.append(int(said.split()[-1]))

        return run

    def shell(self, line: str, text: str) -> Callable[[Path], None]:
        """`URL` in the text is the archive's."""
        text = text.replace("URL", f"{self.url(line)}archive.tgz")
        return self._run(["bash", "-euo", "pipefail", "-c", text], line)

    def npm(self, line: str) -> Callable[[Path], None]:
        words = f"npm install --no-audit --no-fund --prefix . {PACKAGE}@{VERSION}".split()
        return self._run(words, line)

    def _run(self, argv: list[str], line: str) -> Callable[[Path], None]:
        def run(home: Path) -> None:
            self.done(argv, line, home)

        return run

    def done(self, argv: list[str], line: str, home: Path) -> str:
        done = subprocess.run(
            argv,
            env=self.environ(line, home),
            cwd=home,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(argv)}: {done.stdout}{done.stderr}")
        return done.stdout

    def medians(self, *paths: Callable[[Path], None]) -> list[float]:
        """Seconds of each, in an empty home each time."""

        def run(path: Callable[[Path], None]) -> Run:
            def prepare() -> None:
                shutil.rmtree(home, ignore_errors=True)
                home.mkdir()

            home = self.where / "home"
            return prepare, lambda: path(home)

        return medians([run(path) for path in paths], self.runs)


@contextmanager
def bench(quick: bool) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory() as where:
        archive = stand_in(Path(where)) if quick else real_archive()
        argv = [sys.executable, str(Path(__file__).with_name("line.py")), VERSION, PACKAGE]
        with subprocess.Popen([*argv, str(archive)], stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout
            try:
                yield Bench(Path(where), int(server.stdout.readline()), 1 if quick else RUNS)
            finally:
                server.terminate()


def real_archive() -> Path:
    """From the user's registry, once, verified as ccm does it."""
    archive = CACHE / f"{VERSION}.tgz"
    if not archive.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        words = ["npm", "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", str(CACHE)]
        subprocess.run(words, check=True, capture_output=True)
        next(CACHE.glob(f"*-{VERSION}.tgz")).rename(archive)
    return archive


def stand_in(where: Path) -> Path:
    """A small archive whose program tells the version and does nothing else."""
    package = where / "package"
    package.mkdir()
    script = f"#!/bin/sh\necho '{VERSION} (Claude Code)'; exit\n".encode()
    (package / "claude").write_bytes(script + os.urandom(2_000_000))
    (package / "package.json").write_text(f'{{"name": "{PACKAGE}", "version": "{VERSION}"}}')
    archive = where / "archive.tgz"
    subprocess.run(["tar", "czf", archive, "-C", where, "package"], check=True)
    return archive


def rows(quick: bool) -> list[Row]:
    """`quick`: with a small archive, once each, to see that it works."""
    found = []
    with bench(quick) as at:
        curl = "curl -sS -o /dev/null URL"
        references = [("curl | tar xz", at.shell("plain", "curl -sS URL | tar xz"), 0.45)]
        if shutil.which("npm"):
            references.append(("npm install", at.npm("plain"), 0.30))
        seconds, *others = at.medians(at.create("plain"), *(run for _, run, _ in references))
        for (name, _, goal), other in zip(references, others, strict=True):
            found.append(Row("cold create", seconds, name, other, goal))
        for line, name, goal in (("100", "100 MB/s", 1.15), ("25", "25 MB/s", 1.05)):
            ours, other = at.medians(at.create(line), at.shell(line, curl))
            found.append(Row(f"cold create, {name}", ours, "curl -o /dev/null", other, goal))
        plain, far, cut = at.medians(at.create("plain"), at.create("far"), at.create("cut"))
        found.append(Row("cold create, 50 ms away", far, "cold create", plain, None))
        found.append(Row("cold create, cut every 60 MB", cut, "cold create", plain, 1.25))
        found.append(_second(at, 1 if quick else 21))
        print(f"most memory of a cold create: {max(at.megabytes)} MB (goal: 80)", file=sys.stderr)
    return found


def _second(at: Bench, times: int) -> Row:
    """Of a version that is there already."""
    home = at.where / "warm"
    home.mkdir()
    at.create("plain")(home)
    ccm = str(VENV / "ccm")

    def make() -> None:
        at.done([ccm, "create", "second", "--provider", "echo"], "plain", home)

    def remove() -> None:
        at.done([ccm, "remove", "second", "--purge", "--yes"], "plain", home)

    def python() -> None:
        at.done([str(VENV / "python"), "-c", "pass"], "plain", home)

    make()
    files = [home / ".ccm" / name / "current" / "native" / "claude" for name in ("a", "second")]
    if len({file.stat().st_ino for file in files}) == 2:
        print("the second variant shares no inode: shared blocks, or a copy", file=sys.stderr)
    reference, taken = medians([(ready, python), (remove, make)], times)
    return Row("second variant of a version", taken, "python -c pass", reference, 10)


if __name__ == "__main__":
    print(as_text(rows("--quick" in sys.argv[1:])))
