"""The store: verified releases, each with its receipt inside. A cache; no variant needs it to run.

A release is downloaded, hashed, inflated and written in one pass into staging; one rename, after
the hash was right, makes it exist. What of the archive came before a download broke off is read
first (`partial`).
"""

import hashlib
import math
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path

from ccmirror_py import fs
from ccmirror_py.archive import RETRY, Entry, GzipStream, wanted_entries
from ccmirror_py.errors import DamagedError, NotFoundError, VerificationError
from ccmirror_py.home import Home
from ccmirror_py.partial import Partial, is_old
from ccmirror_py.platforms import Platform
from ccmirror_py.receipt import RECEIPT, Receipt, read_receipt, write_receipt
from ccmirror_py.release import Release, wanted_members
from ccmirror_py.version import Version, version_or_none

Key = tuple[str, str]
"""Package without scope, version."""

Download = Callable[[Release, int], AbstractContextManager[Iterator[bytes]]]
"""The bytes of a release's archive, from the one of that number on."""


class Store:
    def __init__(self, home: Home, platform: Platform) -> None:
        self._home = home
        self._platform = platform
        self._sound: set[Key] = set()

    def directory(self, key: Key) -> Path:
        package, version = key
        return self._home.store / package / version

    def installed(self) -> list[Key]:
        """What is installed, packages and versions ascending."""
        found = [
            (path.parent.name, version)
            for path in self._home.store.glob("*/*")
            if (path / RECEIPT).is_file() and (version := version_or_none(path.name))
        ]
        return [(package, str(version)) for package, version in sorted(found)]

    def find(self, version: Version) -> Key | None:
        """The installed release of this version for this machine."""
        mine = (self._platform.package.rpartition("/")[2], "claude-code")
        return next((k for k in self.installed() if k[0] in mine and k[1] == str(version)), None)

    def ensure(
        self,
        release: Release,
        download: Download,
        say: Callable[[str], None],
    ) -> Path:
        """The directory of `release`, downloading it when it is not there.

        VerificationError when the bytes are wrong; then nothing of them is kept.
        """
        if not self._is_sound(release):
            with self.held(release, download, say):
                pass
        return self.directory(release.key)

    @contextmanager
    def held(
        self,
        release: Release,
        download: Download,
        say: Callable[[str], None],
    ) -> Iterator[Path]:
        """As `ensure`, and nobody takes the release away within the block."""
        directory, lock_name = self.directory(release.key), _lock_name(release.key)
        with self._home.lock(lock_name, say, timeout=math.inf):  # as long as a download takes
            if not self._is_sound(release):
                # damaged, or without a readable receipt that says what these files are
                fs.remove_tree(directory)
                fs.ensure_directory(directory.parent)
                self.drop_partials(only_old=True)
                self._install(release, download, say)
                self._sound.add(release.key)
            yield directory

    def receipts(self) -> Iterator[Receipt]:
        """Of what is installed, and of what variants were made from; unreadable ones are left out.

        They are the memory of what each release was when it was verified.
        """
        in_variants = self._home.root.glob(f"*/generations/*/native/{RECEIPT}")
        for path in (*self._home.store.glob(f"*/*/{RECEIPT}"), *in_variants):
            with suppress(OSError, ValueError):
                yield read_receipt(path)

    def _is_sound(self, release: Release) -> bool:
        """Whether it is here and its bytes are still those that were verified.

        They are read again (half a second for a program of 381 MB) when they were written to since,
        once for each command.
        """
        return self.has(release) and self.is_sound(release.key)

    def is_sound(self, key: Key) -> bool:
        """The same of what is installed as `key`."""
        if key in self._sound:
            return True
        try:
            receipt, directory = self.receipt(key), self.directory(key)
        except (NotFoundError, DamagedError):
            return False
        untouched = all(_state(directory / n) == receipt.states.get(n) for n in receipt.files)
        if (untouched and receipt.files) or not self.problems(key):
            self._sound.add(key)
        return key in self._sound

    def has(self, release: Release) -> bool:
        try:
            return self.receipt(release.key).integrity == str(release.integrity)
        except (NotFoundError, DamagedError):
            return False

    def receipt(self, key: Key) -> Receipt:
        """NotFoundError or DamagedError when it can't be had."""
        path = self.directory(key) / RECEIPT
        try:
            return read_receipt(path)
        except FileNotFoundError:
            raise NotFoundError("installed release", " ".join(key)) from None
        except (OSError, ValueError):
            raise DamagedError(path, "is damaged", "It is installed again when needed.") from None

    def problems(self, key: Key) -> list[str]:
        """What is wrong with an installed release, after reading all of it. Empty: nothing."""
        try:
            receipt = self.receipt(key)
        except (NotFoundError, DamagedError) as error:
            return [error.sentence]
        if not receipt.files:
            return [f"{self.directory(key) / RECEIPT} lists no files"]
        return file_problems(self.directory(key), receipt.files)

    def remove(self, key: Key, is_unused: Callable[[], bool]) -> bool:
        """Take a release away when `is_unused` still says so; variants keep their own links.

        False also when another command uses it, or took it away already.
        """
        lock_name = _lock_name(key)
        with self._home.lock_if_free(lock_name) as free:
            if not free or not is_unused() or not self.directory(key).exists():
                return False
            staged = self._home.stage(lock_name)
            try:
                fs.rename(self.directory(key), staged / "release")
            finally:
                fs.remove_tree(staged)
        return True

    def partials(self) -> list[Path]:
        """Of downloads that broke off, and of those that go on right now."""
        return sorted(self._home.downloads.glob("*"))

    def drop_partials(self, only_old: bool = False) -> None:
        """But not those that another command is reading or continuing."""
        for path in self.partials():
            if only_old and not is_old(path):
                continue
            with self._home.lock_if_free(path.name.rpartition("~")[0]) as free:
                if free:
                    with suppress(OSError):
                        fs.drop_file(path)

    def _install(self, release: Release, download: Download, say: Callable[[str], None]) -> None:
        """The lock is held. Wrong bytes of an earlier command are no reason to fail."""
        lock_name = _lock_name(release.key)
        archive = hashlib.sha256(release.integrity.sha512).hexdigest()[:32]
        partial = Partial(self._home.downloads / f"{lock_name}~{archive}")
        staged = self._home.stage(lock_name)
        try:
            with partial, download(release, partial.size) as rest:
                with closing(GzipStream(partial.continued_by(rest))) as stream:
                    self._fill(staged, release, stream)
                fs.rename(staged, self.directory(release.key))
        except BaseException as error:
            fs.remove_tree(staged)
            if not isinstance(error, VerificationError) or not partial.size:
                raise
            say("What an earlier download left does not fit; it begins anew.")
            self._install(release, download, say)

    def _fill(self, staged: Path, release: Release, stream: GzipStream) -> None:
        files = {
            entry.member.path: _write(entry, staged)
            for entry in wanted_entries(stream, wanted_members(release, self._platform))
        }
        if stream.digest() != release.integrity.sha512:
            raise VerificationError(
                f"The download of Claude Code {release.version} does not have the sha512 the "
                "registry promised.",
                RETRY,
            )
        package, version = release.key
        states = {name: _state(staged / name) for name in files}
        integrity, signed_by = str(release.integrity), release.signed_by
        write_receipt(staged, Receipt(package, version, integrity, signed_by, files, states))


def _state(path: Path) -> list[int] | None:
    """Inode, size and modification time; None for anything but a regular file."""
    try:
        state = path.lstat()
    except (OSError, ValueError):  # a name no file can have
        return None
    return [state.st_ino, state.st_size, state.st_mtime_ns] if stat.S_ISREG(state.st_mode) else None


def _lock_name(key: Key) -> str:
    return f".store-{'-'.join(key)}"


def file_problems(directory: Path, files: dict[str, str]) -> list[str]:
    """Compares files below `directory` with their sha256."""
    problems = []
    for name, expected in files.items():
        path = directory / name
        if path.is_symlink():
            problems.append(f"{path} is not what was installed")
            continue
        try:
            actual = file_sha256(path)
        except (OSError, ValueError) as error:  # a name no file can have
            reason = error.strerror if isinstance(error, OSError) else "is no path"
            problems.append(f"{path}: {reason}")
            continue
        if actual != expected:
            problems.append(f"{path} is not what was installed")
    return problems


def file_sha256(path: Path) -> str:
    """OSError for anything but a regular file, ValueError for a name no file can have."""
    with fs.open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(entry: Entry, staged: Path) -> str:
    path = staged / entry.member.path
    fs.ensure_directory(path.parent)
    digest = hashlib.sha256()

    def hashed() -> Iterator[memoryview]:
        for chunk in entry.content:
            digest.update(chunk)
            yield chunk

    with fs.new_file(path, entry.member.mode, entry.size) as file:
        fs.write_stream(file, hashed())
    fs.sync_directory(path.parent)
    return digest.hexdigest()
