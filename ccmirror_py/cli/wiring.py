"""Builds what commands work with. The only reader of the environment and of npm's files."""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ccmirror_py import fs
from ccmirror_py.cli.render import note
from ccmirror_py.context import Context
from ccmirror_py.errors import UsageError
from ccmirror_py.home import Home
from ccmirror_py.host import this_platform

if TYPE_CHECKING:
    from ccmirror_py.npmrc import NpmConfig
    from ccmirror_py.registry import Registry
    from ccmirror_py.release import Release
    from ccmirror_py.releases import Releases
    from ccmirror_py.transport import Network, Transport


def context(environ: Mapping[str, str] | None = None) -> Context:
    """For this process's environment, unless another is given."""
    environ = dict(os.environ) if environ is None else environ
    if sys.platform == "win32":
        raise UsageError(
            "ccm does not run on Windows itself yet.", "It runs in WSL: wsl --install, then Linux."
        )
    return Context(
        home=home(environ),
        platform=this_platform(),
        environ=environ,
        user_home=user_home(environ),
        # -P: a ccmirror_py.py lying in the current directory is not ours
        ccm=(sys.executable, "-P", "-m", "ccmirror_py"),
        say=note,
        show=shown_download,
        connect=lambda: registry(environ),
    )


def this_home() -> Home:
    """For completion, which needs nothing else."""
    return home(os.environ)


def home(environ: Mapping[str, str]) -> Home:
    """CCM_HOME and CCM_BIN_DIR, or their defaults in the user's home directory."""
    root = environ.get("CCM_HOME") or user_home(environ) / ".ccm"
    bin_dir = environ.get("CCM_BIN_DIR") or user_home(environ) / ".local" / "bin"
    for name, path in (("CCM_HOME", Path(root)), ("CCM_BIN_DIR", Path(bin_dir))):
        if not path.is_absolute() or not str(path).isprintable():
            raise UsageError(
                f"{name} is '{path!s}'.", "It has to be an absolute path of printable characters."
            )
    return Home(Path(root).resolve(), Path(bin_dir).resolve())


def user_home(environ: Mapping[str, str]) -> Path:
    if not environ.get("HOME"):
        raise UsageError("HOME is not set.", "Set it to your home directory.")
    return Path(environ["HOME"])


def registry(environ: Mapping[str, str]) -> "Registry":
    from ccmirror_py.registry import Registry
    from ccmirror_py.signers import Signers

    config = _config(environ)
    cache = home(environ).cache
    signers = Signers(cache / "npm-keys.json", environ.get("CCM_NPM_KEYS", ""), note)
    return Registry(config, network(environ, config), cache / "registry", time.sleep, signers)


def endpoint(environ: Mapping[str, str]) -> "Transport":
    """For asking a provider: npm's settings say nothing about it."""
    from ccmirror_py.npmrc import NpmConfig
    from ccmirror_py.transport import Transport

    return Transport(NpmConfig(), network(environ, NpmConfig()))


def releases(environ: Mapping[str, str]) -> "Releases":
    from ccmirror_py.releases import ADDRESS, Releases
    from ccmirror_py.transport import Transport

    config = _config(environ)
    address = environ.get("CCM_RELEASES_URL") or ADDRESS
    return Releases(Transport(config, network(environ, config)), address)


def _config(environ: Mapping[str, str]) -> "NpmConfig":
    # A project's file would say where the program comes from that gets the user's keys: not of a
    # repository somebody cloned, unless they say so.
    return npm_config(environ, Path.cwd() if environ.get("CCM_PROJECT_NPMRC") else None)


def network(environ: Mapping[str, str], config: "NpmConfig") -> "Network":
    from ccmirror_py.transport import Network

    ca_files = (config.values.get("cafile"), environ.get("NODE_EXTRA_CA_CERTS"))
    return Network(
        ca_files=tuple(Path(path) for path in ca_files if path),
        proxies=proxies(environ),
        no_proxy=environ.get("NO_PROXY") or environ.get("no_proxy") or "",
    )


def endpoint_network(environ: Mapping[str, str], url: str) -> "Network":
    """As a launched Claude Code reaches `url`: npm's settings have no say in it."""
    from ccmirror_py.environment import is_loopback
    from ccmirror_py.transport import Network

    own = "127.0.0.1,localhost,::1" if is_loopback(url) else ""  # as launchers set it
    no_proxy = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    ca_file = environ.get("NODE_EXTRA_CA_CERTS")
    return Network(
        ca_files=(Path(ca_file),) if ca_file else (),
        proxies=proxies(environ),
        no_proxy=",".join(filter(None, (own, no_proxy))),
    )


def npm_config(environ: Mapping[str, str], directory: Path | None = None) -> "NpmConfig":
    """As npm sees it in `directory`, or `npm -g`: environment, project, user, global."""
    from ccmirror_py.npmrc import merge, parse_npmrc, variables_config

    variables = variables_config(environ)
    user_file = Path(variables.get("userconfig") or user_home(environ) / ".npmrc")
    user: dict[str, str] = {}
    for path in (variables.get("globalconfig"), user_file):
        user |= parse_npmrc(_text(Path(path)), environ) if path else {}
    project = {}
    if directory:
        project_file = project_directory(directory) / ".npmrc"
        if project_file.resolve() != user_file.resolve():
            project = parse_npmrc(_text(project_file), environ, project=True)
    return merge(user, project, variables)


def project_directory(directory: Path) -> Path:
    """npm's rule: the nearest folder upwards with a package.json or node_modules, else here."""
    for folder in (directory, *directory.parents):
        if (folder / "package.json").exists() or (folder / "node_modules").exists():
            return folder
    return directory


def proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Scheme to proxy. Lower case wins, as curl and npm have it."""
    found = {}
    for scheme in ("http", "https"):
        for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"):
            if environ.get(name):
                found[scheme] = environ[name]
                break
    return found


@contextmanager
def shown_download(source: "Registry", release: "Release", start: int) -> Iterator[Iterator[bytes]]:
    """The bytes of `release` from the one of number `start` on, with a progress bar where people
    watch. Another thread may read them; the bar goes when the block ends.
    """
    if not sys.stderr.isatty():
        yield source.download(release, lambda *_: None, start)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("Claude Code {task.fields[version]}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, version=str(release.version))
        yield source.download(
            release,
            lambda received, total: bar.update(task, completed=received, total=total),
            start,
        )


def _text(path: Path) -> str:
    try:
        return fs.read_file(path).decode(errors="replace")
    except OSError:
        return ""
