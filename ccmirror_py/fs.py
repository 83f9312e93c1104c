"""The only ways the disk changes, and how what ccm wrote is read back.

Every function makes its change durable before it returns: file, then the directory that names it
(a rename that survives a power cut needs both). Nothing follows a symlink at the last step, and
nothing replaces a file it was not told to replace. OSError is left to the caller.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import contextmanager, suppress

TYPE_CHECKING = False  # looking commands read with this module: it imports nothing slow
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from io import BufferedReader
    from pathlib import Path
    from typing import BinaryIO

_SURELY_WRITTEN = 600.0
"""Seconds, many times what a kernel waits before it writes."""
_SYNCED_MEANWHILE = 32 * 1024 * 1024
"""Bytes: large enough that the thread costs nothing, small enough to be soon on a slow disk."""
_FICLONE = 0x40049409
"""ioctl that shares a file's blocks until one copy is written (linux/fs.h; btrfs, xfs)."""


def open_regular(path: Path | str) -> BufferedReader:
    """For reading. OSError for anything but a regular file: a FIFO would be waited for for ever."""
    return os.fdopen(_open_regular(path), "rb")


def read_file(path: Path | str) -> bytes:
    """As above; without a file object, which takes longer than the reading."""
    descriptor = _open_regular(path)
    try:
        pieces = []
        while piece := os.read(descriptor, 64 * 1024):
            pieces.append(piece)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(descriptor)
    return b"".join(pieces)


def _open_regular(path: Path | str) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return descriptor


def make_directory(path: Path, mode: int = 0o700) -> None:
    """A new directory, the user's alone unless said otherwise. FileExistsError when it is there."""
    path.mkdir(mode=mode)
    sync_directory(path.parent)


def ensure_directory(path: Path, mode: int = 0o700) -> None:
    """`path` and its missing parents, each with this mode less the umask."""
    if path.is_dir():
        make_last(path.parent)
        return
    ensure_directory(path.parent, mode)
    with suppress(FileExistsError):
        make_directory(path, mode)


@contextmanager
def new_file(path: Path, mode: int, size: int = 0) -> Iterator[BinaryIO]:
    """A file that must not exist yet, durable when the block ends well.

    It has its final permissions before the first byte is in it, whatever the umask, and room for
    `size` bytes, where the file system knows how: a full disk is told before the work.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, mode & 0o700), "wb", buffering=0) as file:
        os.fchmod(file.fileno(), mode)
        if size:
            _reserve(file.fileno(), size)
        yield file
        _sync(file.fileno())


def write_file(path: Path, content: bytes, mode: int) -> None:
    """A new file with this content; FileExistsError when there is one."""
    with new_file(path, mode) as file:
        write_all(file, content)
    sync_directory(path.parent)


def make_older(path: Path, other: Path) -> None:
    """One second older than `other`, whatever order they were written in."""
    os.utime(path, ns=(other.stat().st_mtime_ns - 1_000_000_000,) * 2)


def write_all(file: BinaryIO, content: bytes | memoryview) -> None:
    """An unbuffered write may be short; the rest follows or the error shows."""
    view = memoryview(content)
    while view:
        view = view[file.write(view) :]


def write_stream(file: BinaryIO, chunks: Iterable[memoryview]) -> None:
    """All of `chunks`, which come slowly: what is written is synced meanwhile, so that little is
    left to wait for at the end. OSError also when that sync fails, which is told only once.
    """
    from threading import Thread  # looking commands never come here

    failed: list[OSError] = []
    syncing: Thread | None = None
    unsynced = 0
    try:
        for chunk in chunks:
            write_all(file, chunk)
            unsynced += len(chunk)
            if unsynced >= _SYNCED_MEANWHILE and not (syncing and syncing.is_alive()):
                syncing = Thread(target=_sync_data, args=(file.fileno(), failed))
                syncing.start()
                unsynced = 0
    finally:
        if syncing:
            syncing.join()  # before the descriptor is closed, and perhaps used for another file
    if failed:
        raise failed[0]


def appended_file(path: Path, mode: int) -> BinaryIO:
    """To append to what may as well be lost: it is not synced. OSError for anything but a file."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        descriptor = os.open(path, flags)
    file = os.fdopen(descriptor, "wb", buffering=0)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return file


def drop_file(path: Path) -> None:
    """Take away what may as well come back after a power cut. Also fine when it is gone."""
    path.unlink(missing_ok=True)


def replace_file(path: Path, content: bytes, mode: int) -> None:
    """The file at `path` has the old or the new content, never a mixture."""
    waiting = _waiting(path)
    write_file(waiting, content, mode)
    rename(waiting, path)


def make_link(target: str, link: Path) -> None:
    """A symlink where nothing is yet; FileExistsError otherwise, so nothing is clobbered."""
    link.symlink_to(target)
    sync_directory(link.parent)


def replace_link(target: str, link: Path) -> None:
    """`link` points to the old or the new target at every moment."""
    waiting = _waiting(link)
    make_link(target, waiting)
    rename(waiting, link)


def rename(source: Path, target: Path) -> None:
    source.rename(target)
    sync_directory(target.parent)
    if source.parent != target.parent:
        sync_directory(source.parent)


def clone_tree(source: Path, target: Path) -> None:
    """The files of `source` in a new directory `target`, sharing their bytes where possible.

    Reflinked, else hard-linked, else copied: neither another file system nor a full link count is
    an error. Hard links share mode and content, so sources are files nobody may write.
    """
    make_directory(target)
    for entry in sorted(source.iterdir()):
        if entry.is_dir():
            clone_tree(entry, target / entry.name)
        else:
            _clone_file(entry, target / entry.name)
    sync_directory(target)


def copy_file(source: Path, target: Path, mode: int) -> None:
    """A new file of the same content, with bytes of its own: who writes to it changes no other."""
    with open_regular(source) as old, new_file(target, mode) as new:
        while chunk := old.read(1024 * 1024):
            write_all(new, chunk)
    sync_directory(target.parent)


def make_private(path: Path, mode: int = 0o700) -> None:
    """A directory, or a file with its own mode, that only its user can use."""
    path.chmod(mode)
    if path.is_dir() or path.is_file():  # else there is nothing a disk could lose
        _sync_path(path, os.O_NONBLOCK)


def remove_file(path: Path) -> None:
    """Also fine when it is already gone; who removed it may have been killed before the sync."""
    with suppress(FileNotFoundError):
        with suppress(FileNotFoundError):
            path.unlink()
        sync_directory(path.parent)


def remove_tree(path: Path) -> None:
    """Also fine when it is already gone; symlinks in it are removed, never followed."""
    if path.is_symlink():
        remove_file(path)
        return
    try:
        _remove_all_of(path)
    except PermissionError:
        _make_writable(path)
        _remove_all_of(path)
    with suppress(FileNotFoundError):
        sync_directory(path.parent)  # also when who removed it was killed before the sync


def _remove_all_of(path: Path) -> None:
    """Also while files in it go by themselves, which ends `rmtree` before its end (Python 3.11)."""
    import shutil  # 8 ms, and reading commands never come here

    for _ in range(100):
        with suppress(FileNotFoundError):
            shutil.rmtree(path)
        if not os.path.lexists(path):
            return
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))


def _make_writable(path: Path) -> None:
    """Claude Code's plugins may leave read-only directories behind."""
    from pathlib import Path

    path.chmod(0o700)
    for folder, names, _ in os.walk(path):
        for name in names:
            directory = Path(folder, name)
            if not directory.is_symlink():
                directory.chmod(0o700)  # before the walk goes into it


def sync_directory(path: Path | str) -> None:
    _sync_path(path, os.O_DIRECTORY)


def _sync_path(path: Path | str, flag: int) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flag)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)


def make_last(path: Path | str) -> None:
    """What a killed process did in this directory a moment ago and did not sync; else nothing.

    File systems write on their own within half a minute (ext4: 5 seconds, ext4(5), `commit`), so
    what is older is on the disk.
    """
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        if abs(time.time() - os.stat(path).st_mtime) < _SURELY_WRITTEN:  # noqa: PTH116
            sync_directory(path)


def open_lock(path: Path) -> int:
    """A descriptor for `try_lock`; the file is made when it is not there, and stays for ever.

    Never removed, so that two can't lock two files of one name.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return os.open(path, flags, 0o600)


def try_lock(descriptor: int) -> bool:
    """flock(2): the kernel frees it when the descriptor is closed, or its process dies."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sync_data(descriptor: int, failed: list[OSError]) -> None:
    try:
        getattr(os, "fdatasync", os.fsync)(descriptor)  # macOS has only the latter
    except OSError as error:
        failed.append(error)


def _reserve(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):  # macOS has none
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV):
                raise


def _sync(descriptor: int) -> None:
    """On macOS fsync leaves the bytes in the drive's cache; F_FULLFSYNC does not (fsync(2))."""
    import fcntl

    if full := getattr(fcntl, "F_FULLFSYNC", None):
        try:
            fcntl.fcntl(descriptor, full)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EINVAL, errno.ENOTTY):
                raise  # not every file system there has it; any other error is one
    os.fsync(descriptor)


def _waiting(path: Path) -> Path:
    """Where the successor of `path` is prepared. Under the lock, so one name is enough; what a
    crash left there goes first."""
    waiting = path.with_name(f".{path.name}.new")
    remove_file(waiting)
    return waiting


def _clone_file(source: Path, target: Path) -> None:
    if _reflink(source, target):
        return
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP):
            raise
        copy_file(source, target, source.stat().st_mode & 0o777)


def _reflink(source: Path, target: Path) -> bool:
    """False, and nothing left behind, where the file system can't."""
    if not hasattr(os, "copy_file_range"):  # the ioctl is Linux's, as this function is
        return False
    import fcntl

    with open_regular(source) as old, new_file(target, source.stat().st_mode & 0o777) as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        except OSError:
            target.unlink()
            return False
    return True
