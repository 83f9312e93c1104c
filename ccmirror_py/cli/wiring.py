"""Builds what commands work with. The only reader of the environment and of npm's files."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager

from ccmirror_py.cli.render import note
from ccmirror_py.errors import UsageError
from ccmirror_py.host import system_and_architecture, this_platform

TYPE_CHECKING = False  # the shortest commands come here too: what is slow is imported where needed
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ccmirror_py.context import Context
    from ccmirror_py.home import Home
    from ccmirror_py.listing import Place
    from ccmirror_py.npmrc import NpmConfig
    from ccmirror_py.registry import Registry
    from ccmirror_py.release import Release
    from ccmirror_py.releases import Releases
    from ccmirror_py.transport import Network, Transport


def environment() -> Mapping[str, str]:
    """Of this process."""
    return os.environ


def place() -> Place:
    """For looking at variants; `context` is for working with them."""
    from ccmirror_py.listing import Place

    _check_system()
    return Place(*places(os.environ), system_and_architecture()[0], os.environ)


def context(environ: Mapping[str, str] | None = None) -> Context:
    """For this process's environment, unless another is given."""
    from ccmirror_py.context import Context

    environ = dict(os.environ) if environ is None else environ
    _check_system()
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


def _check_system() -> None:
    if sys.platform == "win32":
        raise UsageError(
            "ccm does not run on Windows itself yet.", "It runs in WSL: wsl --install, then Linux."
        )


def this_home() -> Home:
    """For completion, which needs nothing else."""
    return home(os.environ)


def home(environ: Mapping[str, str]) -> Home:
    from ccmirror_py.home import Home

    root, bin_dir = places(environ)
    return Home(_path(root), _path(bin_dir))


def places(environ: Mapping[str, str]) -> tuple[str, str]:
    """CCM_HOME and CCM_BIN_DIR, or their defaults in the user's home directory; resolved."""
    root = environ.get("CCM_HOME") or f"{_users_home(environ)}/.ccm"
    bin_dir = environ.get("CCM_BIN_DIR") or f"{_users_home(environ)}/.local/bin"
    for name, path in (("CCM_HOME", root), ("CCM_BIN_DIR", bin_dir)):
        if not path.startswith("/") or not path.isprintable():
            raise UsageError(
                f"{name} is '{path}'.", "It has to be an absolute path of printable characters."
            )
    return os.path.realpath(root), os.path.realpath(bin_dir)


def user_home(environ: Mapping[str, str]) -> Path:
    return _path(_users_home(environ))


def _users_home(environ: Mapping[str, str]) -> str:
    if not environ.get("HOME"):
        raise UsageError("HOME is not set.", "Set it to your home directory.")
    return environ["HOME"]


def registry(environ: Mapping[str, str]) -> Registry:
    from time import sleep

    from ccmirror_py.registry import Registry
    from ccmirror_py.signers import Signers

    config = _config(environ)
    cache = home(environ).cache
    signers = Signers(cache / "npm-keys.json", environ.get("CCM_NPM_KEYS", ""), note)
    return Registry(config, network(environ, config), cache / "registry", sleep, signers)


def endpoint(environ: Mapping[str, str]) -> Transport:
    """For asking a provider: npm's settings say nothing about it."""
    from ccmirror_py.npmrc import NpmConfig
    from ccmirror_py.transport import Transport

    return Transport(NpmConfig(), network(environ, NpmConfig()))


def releases(environ: Mapping[str, str]) -> Releases:
    from ccmirror_py.releases import ADDRESS, Releases
    from ccmirror_py.transport import Transport

    config = _config(environ)
    address = environ.get("CCM_RELEASES_URL") or ADDRESS
    return Releases(Transport(config, network(environ, config)), address)


def _config(environ: Mapping[str, str]) -> NpmConfig:
    # A project's file would say where the program comes from that gets the user's keys: not of a
    # repository somebody cloned, unless they say so.
    return npm_config(environ, _path(".").absolute() if environ.get("CCM_PROJECT_NPMRC") else None)


def network(environ: Mapping[str, str], config: NpmConfig) -> Network:
    from ccmirror_py.transport import Network

    ca_files = (config.values.get("cafile"), environ.get("NODE_EXTRA_CA_CERTS"))
    return Network(
        ca_files=tuple(_path(path) for path in ca_files if path),
        proxies=proxies(environ),
        no_proxy=environ.get("NO_PROXY") or environ.get("no_proxy") or "",
    )


def endpoint_network(environ: Mapping[str, str], url: str) -> Network:
    """As a launched Claude Code reaches `url`: npm's settings have no say in it."""
    from ccmirror_py.environment import is_loopback
    from ccmirror_py.transport import Network

    own = "127.0.0.1,localhost,::1" if is_loopback(url) else ""  # as launchers set it
    no_proxy = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    ca_file = environ.get("NODE_EXTRA_CA_CERTS")
    return Network(
        ca_files=(_path(ca_file),) if ca_file else (),
        proxies=proxies(environ),
        no_proxy=",".join(filter(None, (own, no_proxy))),
    )


def npm_config(environ: Mapping[str, str], directory: Path | None = None) -> NpmConfig:
    """As npm sees it in `directory`, or `npm -g`: environment, project, user, global."""
    from ccmirror_py.npmrc import merge, parse_npmrc, variables_config

    variables = variables_config(environ)
    user_file = _path(variables.get("userconfig") or f"{_users_home(environ)}/.npmrc")
    user: dict[str, str] = {}
    for path in (variables.get("globalconfig"), str(user_file)):
        user |= parse_npmrc(_text(_path(path)), environ) if path else {}
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
def shown_download(source: Registry, release: Release, start: int) -> Iterator[Iterator[bytes]]:
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


def _path(text: str) -> Path:
    from pathlib import Path

    return Path(text)


def _text(path: Path) -> str:
    from ccmirror_py import fs

    try:
        return fs.read_file(path).decode(errors="replace")
    except OSError:
        return ""
