"""A home directory that can be laid out again as often as a campaign likes, and looked at."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from copy import copy
from pathlib import Path
from typing import Self

from ccmirror_py import host
from ccmirror_py.context import Context
from ccmirror_py.home import Home
from ccmirror_py.npmrc import NpmConfig
from ccmirror_py.registry import Registry
from ccmirror_py.transport import Network
from ccmirror_py.variants import Variants
from tests.npm_registry import NpmRegistry
from tests.safety.scenarios import NEW, OLD, SESSION, UNUSED, Act, made


class Disk:
    """One user's home directory, which can be laid out as it was as often as one likes."""

    def __init__(self, directory: Path, npm: NpmRegistry) -> None:
        self.user = directory / "home"
        self.home = Home(self.user / ".ccm", self.user / ".local" / "bin")
        self._master = directory / "master"
        self._npm = npm
        self._config = NpmConfig({"registry": npm.url})
        # a client that was never used: its connections are not shared with forked children
        self._fresh, self._used = self._registry(), self._registry()

    @property
    def environ(self) -> dict[str, str]:
        """Of the user, who has the commands on PATH and a registry that needs no certificates."""
        return {
            "HOME": str(self.user),
            "PATH": f"{self.home.bin_dir}:/usr/bin:/bin",
            "NPM_CONFIG_REGISTRY": self._npm.url,
            "SSL_CERT_FILE": os.devnull,  # reading them all would be half of each case
        }

    def context(self, fresh: bool = False) -> Context:
        registry = self._fresh if fresh else self._used
        return Context(
            home=self.home,
            platform=host.this_platform(),
            environ=self.environ,
            user_home=self.user,
            ccm=(sys.executable, "-P", "-m", "ccmirror_py"),
            say=lambda _: None,
            show=lambda source, release, start: nullcontext(
                source.download(release, lambda *_: None, start)
            ),
            connect=lambda: registry,
        )

    def prepare(self, before: Act) -> None:
        """`alpha` and `beta` at OLD with a session each, NEW is there to be had."""
        self._npm.publish(UNUSED)
        self._npm.publish(OLD)
        for name in ("alpha", "beta"):
            made(name)(self.context())
            session = self.home.directory(name) / SESSION
            session.parent.mkdir(parents=True)
            session.write_text(json.dumps({"of": name}))
        (self.home.bin_dir / "tool").write_text("the user's own\n")
        (self.user / ".claude.json").write_text("{}")
        self._npm.publish(NEW)
        self._used = self._registry()  # what `latest` is has changed
        before(self.context())
        self.save()

    def beside(self, master: str) -> Self:
        """The same disk, to be saved in another place."""
        other = copy(self)
        other._master = self._master.with_name(master)
        return other

    def save(self) -> None:
        shutil.rmtree(self._master, ignore_errors=True)
        subprocess.run(["cp", "-a", self.user, self._master], check=True)

    def restore(self) -> None:
        """Hard links among the files stay hard links."""
        subprocess.run(
            ["/bin/sh", "-c", 'rm -rf "$1" && cp -a "$2" "$1"', "sh", self.user, self._master],
            check=True,
        )

    def _registry(self) -> Registry:
        cache = self.home.cache / "registry"
        return Registry(self._config, Network(), cache, lambda _: None)

    # --- looking at it ---

    def seen(self, name: str, launcher: Path | None = None) -> str:
        """What the variant's command runs and by which rule; empty when there is no command."""
        command = launcher or self.home.launcher(name)
        if not command.is_symlink() and not command.exists():
            return ""
        done = subprocess.run(
            ["/bin/sh", str(command)],
            env={"HOME": str(self.user), "PATH": "/usr/bin:/bin"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return f"broken: {done.stderr.strip()}"
        ran = json.loads(done.stdout)
        env, generation = ran["env"], Path(ran["program"]).parents[1]
        if ran["argv"] != ["--settings", str(generation / "settings.json")]:
            return f"mixed: {ran['program']} {ran['argv']}"
        rule = Variants(self.home).read(name, generation).spec
        chosen = (env.get("ANTHROPIC_MODEL"), env.get("ANTHROPIC_AUTH_TOKEN"), rule)
        return f"{ran['version']} {' '.join(map(str, chosen))}"

    def files(self, *but: str) -> dict[str, str]:
        """The user's files and those of every variant, `but` what belongs to these names."""
        ours = (f".ccm/{name}" for name in self.variants() if name not in but)
        theirs = (name for name in os.listdir(self.user) if name not in (".ccm", ".local"))
        launchers = (
            f".local/bin/{path.name}"
            for path in self.home.bin_dir.glob("*")
            if path.name not in but
        )
        return {
            str(path.relative_to(self.user)): _content(path)
            for top in (*ours, *theirs, *launchers)
            for path in (self.user / top, *(self.user / top).rglob("*"))
        }

    def variants(self) -> list[str]:
        return [path.name for path in self.home.root.glob("[!.]*")]

    def sessions(self) -> set[str]:
        """The variants whose session is still there, wherever below the home of ccm."""
        found = self.home.root.rglob(SESSION.name)
        return {str(json.loads(session.read_text())["of"]) for session in found}

    def torn(self) -> list[str]:
        """Records that others read, and that are neither old nor new."""
        records = [
            *self.home.root.glob("[!.]*/config/.claude.json"),
            *self.home.root.glob("[!.]*/generations/*/*.json"),
            *self.home.journal.glob("[!.]*"),
        ]
        return [str(record) for record in records if not _is_json(record)]

    def holds(self, name: str, text: str) -> list[str]:
        """Files of a variant with this text in them."""
        found = (path for path in self.home.directory(name).rglob("*") if path.is_file())
        return [str(path) for path in found if text.encode() in path.read_bytes()]


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text())
    except ValueError:
        return False
    return True


def _content(path: Path) -> str:
    state = path.lstat()
    if path.is_symlink():
        return f"-> {path.readlink()}"
    return f"{state.st_mode:o} {path.read_bytes()!r}" if path.is_file() else f"{state.st_mode:o}"
