"""Where everything is.

    ~/.ccm/                              CCM_HOME, mode 0700
      zai/                               a variant: exists while `current` does
        generations/7/                   never changed once published
          native/                        the release, sharing its bytes with the store
          variant.json settings.json launch
          credential                     0600, only when the user chose to store a key
        current -> generations/7         THE commit point: every change is one rename of this link
        native -> current/native         fixed links for people
        variant.json -> current/variant.json
        config/                          CLAUDE_CONFIG_DIR: Claude Code's and the user's
      .store/<package>/<version>/        verified releases, each with its receipt; a cache
      .numbers/<name>                  the last generation of a variant that was removed
      .trash/<name>~<time>/            what `remove` took away, for 30 days
      .keyring/<name>~<number>         which entries ccm has in the system's keyring; never a key
      .cache/downloads/                what came of downloads that broke off, for the next command
      .staging/ .locks/ .cache/ .journal/ .providers/
    ~/.local/bin/zai -> ~/.ccm/zai/current/launch      CCM_BIN_DIR

Asking for a path never creates it.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ccmirror_py import fs
from ccmirror_py.errors import BusyError, UsageError

LOCK_TIMEOUT = 60.0
"""Seconds. Locks are held while something is built, never while something is downloaded, except
the lock of the one release that is being downloaded, which is waited for as long as it takes."""

SETTINGS_LOCK = ".settings"
"""Of what `ccm run` keeps in `.cache/settings`."""


def tweak_lock(name: str) -> str:
    """While npm's downloads in `.cache/npm` are used for the variant `name`."""
    return f".tweak-{name}"


@dataclass(frozen=True)
class Home:
    """`root` and `bin_dir` are absolute and resolved."""

    root: Path
    bin_dir: Path

    def directory(self, name: str) -> Path:
        return self.root / name

    def generations(self, name: str) -> Path:
        return self.root / name / "generations"

    def generation(self, name: str, number: int) -> Path:
        return self.generations(name) / str(number)

    def current(self, name: str) -> Path:
        return self.root / name / "current"

    def config(self, name: str) -> Path:
        return self.root / name / "config"

    def launcher(self, name: str) -> Path:
        return self.bin_dir / name

    def launcher_target(self, name: str) -> str:
        return str(self.current(name) / "launch")

    @property
    def store(self) -> Path:
        return self.root / ".store"

    @property
    def staging(self) -> Path:
        return self.root / ".staging"

    @property
    def cache(self) -> Path:
        return self.root / ".cache"

    @property
    def downloads(self) -> Path:
        """What came of downloads that broke off; the names begin with that of a lock, and `~`."""
        return self.cache / "downloads"

    @property
    def journal(self) -> Path:
        return self.root / ".journal"

    @property
    def numbers(self) -> Path:
        """The last number of each variant that is removed, so that none is given twice."""
        return self.root / ".numbers"

    def last_number(self, name: str) -> Path:
        return self.numbers / name

    @property
    def trash(self) -> Path:
        return self.root / ".trash"

    @property
    def keyring(self) -> Path:
        return self.root / ".keyring"

    @property
    def own_providers(self) -> Path:
        return self.root / ".providers"

    def prepare(self) -> None:
        """Make the directories. UsageError when others could change what is in them."""
        for directory in (self.root, self.staging, self.journal, self._locks, self.cache):
            fs.ensure_directory(directory)
        state = self.root.stat()
        if state.st_uid != os.getuid():
            raise UsageError(
                f"{self.root} belongs to another user.", "Set CCM_HOME to a directory of your own."
            )
        if state.st_mode & 0o022:
            raise UsageError(f"Other users may change {self.root}.", f"Run: chmod 700 {self.root}")

    @contextmanager
    def lock(
        self, name: str, say: Callable[[str], None], timeout: float = LOCK_TIMEOUT
    ) -> Iterator[None]:
        """Nobody else changes `name` (a variant, or a release) meanwhile; `say` when it takes time.

        BusyError after `timeout` seconds. The kernel frees the lock of a process that died.
        """
        descriptor = self._open_lock(name)
        try:
            if not fs.try_lock(descriptor):
                say(f"Waiting for another ccm that is working on {name.removeprefix('.store-')} …")
                end = time.monotonic() + timeout
                while not fs.try_lock(descriptor):
                    if time.monotonic() > end:
                        raise BusyError(
                            f"Another ccm has been working on {name} for {timeout:.0f} seconds.",
                            "Try again when it is done.",
                        )
                    time.sleep(0.05)
            yield
        finally:
            os.close(descriptor)  # and free

    @contextmanager
    def lock_if_free(self, name: str) -> Iterator[bool]:
        """As `lock`, but True or False at once instead of waiting."""
        descriptor = self._open_lock(name)
        try:
            yield fs.try_lock(descriptor)
        finally:
            os.close(descriptor)

    def stage(self, lock_name: str) -> Path:
        """A new empty directory to build something in; call it while holding `lock_name`."""
        staged = self.staging / f"{lock_name}~{os.urandom(8).hex()}"
        fs.make_directory(staged)
        return staged

    def sweep_staging(self, say: Callable[[str], None]) -> None:
        """Remove what killed commands were building: nobody holds the lock it was built under."""
        for staged in self.staging.iterdir():
            with self.lock_if_free(staged.name.rpartition("~")[0]) as free:
                try:
                    if free:
                        with suppress(FileNotFoundError, NotADirectoryError):
                            # what was moved in here for removal must not be back without its parts
                            fs.sync_directory(staged)
                        fs.remove_tree(staged)
                except OSError as error:
                    say(f"What a killed ccm left in {staged} can't be cleared yet: {error}")

    def _open_lock(self, name: str) -> int:
        fs.ensure_directory(self._locks)
        return fs.open_lock(self._locks / f"{name}.lock")

    @property
    def _locks(self) -> Path:
        return self.root / ".locks"
