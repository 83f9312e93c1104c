"""A home of its own for each test, and the real Claude Code, downloaded once for all of them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from filelock import FileLock

from ccmirror_py.echo import EchoServer
from tests.npm_registry import NpmRegistry
from tests.safety.table import Table, tally

__all__ = ["tally"]

# Started in the background, a shell has us ignore Ctrl-C, and every program we start after us.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Table())


CHECKOUT = Path(__file__).parents[1]
CCM = Path(sys.executable).parent / "ccm"
REAL_CACHE = Path(os.environ.get("CCM_TEST_CACHE", CHECKOUT / ".cache"))

# How this machine reaches the registry: npm's settings, certificates, proxies.
_NETWORK = (
    "npm_config_",
    "node_extra_ca_certs",
    "ssl_cert",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)


@dataclass(frozen=True)
class Sandbox:
    """A user with an empty home directory. `environ` is all the environment there is."""

    home: Path
    environ: Mapping[str, str] = field(repr=False)

    @property
    def ccm_home(self) -> Path:
        return self.home / ".ccm"

    @property
    def bin_dir(self) -> Path:
        return self.home / ".local" / "bin"

    def run(
        self,
        *argv: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: str | None = None,
        timeout: float = 120,
    ) -> "subprocess.CompletedProcess[str]":
        """A program of this user; standard input is empty, never a terminal."""
        return subprocess.run(
            [str(word) for word in argv],
            env={**self.environ, **(env or {})},
            cwd=cwd or self.home,
            input=stdin or "",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )

    def ccm(
        self, *words: str, env: Mapping[str, str] | None = None, stdin: str | None = None
    ) -> "subprocess.CompletedProcess[str]":
        return self.run(CCM, *words, env=env, stdin=stdin)

    def must(
        self, *words: str, env: Mapping[str, str] | None = None, stdin: str | None = None
    ) -> str:
        """What `ccm WORDS` prints; the test fails unless it ends well."""
        done = self.ccm(*words, env=env, stdin=stdin)
        assert done.returncode == 0, f"ccm {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def launcher(self, name: str) -> Path:
        return self.bin_dir / name


def make_sandbox(home: Path, extra: Mapping[str, str]) -> Sandbox:
    home.mkdir(parents=True, exist_ok=True)
    path = f"{home}/.local/bin:{CCM.parent}:/usr/local/bin:/usr/bin:/bin"
    environ = {"HOME": str(home), "PATH": path, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    environ["SHELL"] = "/bin/bash"  # else Claude Code takes zsh where there is one
    return Sandbox(home, environ | dict(extra))


def network_environ() -> dict[str, str]:
    found = {k: v for k, v in os.environ.items() if k.lower().startswith(_NETWORK)}
    return {"NPM_CONFIG_USERCONFIG": str(Path.home() / ".npmrc"), **found}


@pytest.fixture
def npm() -> Iterator[NpmRegistry]:
    """A registry on this machine, for faults the real one won't produce."""
    with NpmRegistry() as registry:
        yield registry


@pytest.fixture
def sandbox(tmp_path: Path, npm: NpmRegistry) -> Sandbox:
    """A user whose npm registry is `npm`; what it serves only stands in for Claude Code."""
    keys = f"{npm.url}-/npm/v1/keys"  # nothing asks npm's own list
    return make_sandbox(tmp_path / "home", {"NPM_CONFIG_REGISTRY": npm.url, "CCM_NPM_KEYS": keys})


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    with EchoServer() as server:
        yield server


@pytest.fixture
def real(tmp_path: Path) -> Sandbox:
    """A user of the real registry."""
    return make_sandbox(tmp_path / "home", network_environ())


def provide(sandbox: Sandbox, version: str) -> str:
    """Put the real Claude Code of `version` (a rule) into the sandbox's store; the version it is.

    Downloaded once for all tests and test runs, through ccm itself, and hard-linked from there.
    """
    name = "v" + "".join(c if c.isalnum() else "-" for c in version)
    cache = make_sandbox(REAL_CACHE / "home", network_environ())
    with FileLock(REAL_CACHE / "lock"):
        cache.must("create", name, "--provider", "echo", "--claude-version", version, "--force")
        record = (cache.ccm_home / name / "variant.json").read_text()
        store = sandbox.ccm_home / ".store"
        store.mkdir(parents=True, exist_ok=True)
        sandbox.ccm_home.chmod(0o700)
        subprocess.run(["cp", "-alf", f"{cache.ccm_home}/.store/.", store], check=True)
    return str(json.loads(record)["version"])
