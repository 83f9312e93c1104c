"""Writes down what an action does to the disk below one directory, call by call.

The action runs in a forked child in which the functions of `os` and `io` that change the disk are
wrapped: each does what it always did and then says so. Directories and files are numbered nodes, as
in a file system, so that hard links and renamed directories stay what they are. Lock files are left
out: they are empty, are made anew when missing, and would only multiply the states.
"""

import builtins
import fcntl
import io
import os
import signal
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn

from ccmirror_py.errors import CcmError
from tests.safety.fork import Tell, told_by

TOP = 0
"""The node of the directory that is watched."""
LOCKS = ".locks"
_FICLONE = 0x40049409
_STARTED = 60
"""Seconds a child may take."""

Kind = Literal["directory", "file", "link"]
Where = tuple[int, str]
"""A name in a directory."""


class File(NamedTuple):
    """A node as it is: `content` of a file, or where a symlink points."""

    kind: Kind
    mode: int
    content: bytes = b""


@dataclass(frozen=True)
class Names:
    """Names that change in one step, together or not at all; None is a name that goes."""

    changes: tuple[tuple[Where, int | None], ...]
    said: str


@dataclass(frozen=True)
class Made(Names):
    """A name for a new node, which is `file` to begin with."""

    file: File


@dataclass(frozen=True)
class Written:
    node: int
    at: int
    data: bytes
    said: str


@dataclass(frozen=True)
class Cut:
    """Truncated to `size`."""

    node: int
    size: int
    said: str


@dataclass(frozen=True)
class Allowed:
    node: int
    mode: int
    said: str


@dataclass(frozen=True)
class Synced:
    node: int
    said: str


Step = Names | Written | Cut | Allowed | Synced


@dataclass(frozen=True)
class Recording:
    """What there was (`files`, `names`), what was done then, and how it ended."""

    files: Mapping[int, File]
    names: Mapping[Where, int]
    steps: tuple[Step, ...]
    ended: str

    @property
    def count(self) -> int:
        """Of all nodes there ever were."""
        return len(self.files) + sum(isinstance(step, Made) for step in self.steps)


@dataclass
class Snapshot:
    """The disk below `top`; `nodes` are what the kernel calls them."""

    top: Path
    known: Mapping[str, int] = field(default_factory=dict)
    """Paths whose nodes have numbers already; new nodes are then counted on from `first`."""
    first: int = 0
    files: dict[int, File] = field(default_factory=dict)
    names: dict[Where, int] = field(default_factory=dict)
    nodes: dict[tuple[int, int], int] = field(default_factory=dict)
    """By device and inode; a directory that is not in here is not watched."""

    def __post_init__(self) -> None:
        self._add(self.top)

    def _add(self, path: Path) -> int:
        state = path.lstat()
        inode = (state.st_dev, state.st_ino)
        if inode in self.nodes:
            return self.nodes[inode]
        relative = "" if path == self.top else str(path.relative_to(self.top))
        node = self.known[relative] if self.known else len(self.files)
        self.files[node] = file_at(path)
        if path.name == LOCKS:
            return node
        self.nodes[inode] = node
        if stat.S_ISDIR(state.st_mode):
            for name in sorted(os.listdir(path)):
                self.names[node, name] = self._add(path / name)
        return node


def file_at(path: Path) -> File:
    state = path.lstat()
    mode = stat.S_IMODE(state.st_mode)
    if stat.S_ISLNK(state.st_mode):
        return File("link", 0, os.readlink(path).encode())
    if stat.S_ISDIR(state.st_mode):
        return File("directory", mode)
    return File("file", mode, path.read_bytes())


def record(
    action: Callable[[], object],
    top: Path,
    killed_after: int = 0,
    before: tuple[Recording, Mapping[str, int]] | None = None,
) -> Recording:
    """Run `action` in a child; it is killed after so many steps, if any.

    `before`: what went on before without a cut, and the tree it came to; both become one.
    """
    first = before[0] if before else None
    snapshot = Snapshot(top, before[1] if before else {}, first.count if first else 0)
    said, _ = told_by(lambda tell: _child(action, snapshot, tell, killed_after))
    ended = said.pop() if said and isinstance(said[-1], str) else "killed"
    if first:
        return Recording(first.files, first.names, (*first.steps, *said), ended)
    return Recording(snapshot.files, snapshot.names, tuple(said), ended)


def _child(action: Callable[[], object], before: Snapshot, tell: Tell, killed_after: int) -> None:
    signal.alarm(_STARTED)
    count = 0

    def send(what: object) -> None:
        nonlocal count
        tell(what)
        count += 1
        if count == killed_after:
            os.kill(os.getpid(), signal.SIGKILL)

    ended = "ended"
    try:
        sys.dont_write_bytecode = True
        Recorder(before, send).install()
        action()
    except (CcmError, OSError) as error:
        ended = f"failed: {type(error).__name__}: {error}"
    except BaseException as error:  # noqa: BLE001 (the parent shows it)
        ended = f"crashed: {type(error).__name__}: {error}"
    killed_after = 0
    send(ended)


class Recorder:
    """`install` changes this process for good: only for one that ends when the action does."""

    def __init__(self, before: Snapshot, send: Callable[[Step], None]) -> None:
        self._send = send
        self._nodes = dict(before.nodes)
        self._count = before.first or len(before.files)
        # where each node was last, for people
        self._places = {node: where for where, node in before.names.items()}

    def install(self) -> None:
        for name in (
            *("open", "mkdir", "symlink", "link", "rename", "unlink", "rmdir", "chmod", "fchmod"),
            *("truncate", "ftruncate", "fsync", "write", "fdopen"),
            *(["posix_fallocate"] if hasattr(os, "posix_fallocate") else []),
        ):
            setattr(os, name, getattr(self, f"_{name}")(getattr(os, name)))
        os.replace, os.remove, os.fdatasync = os.rename, os.unlink, os.fsync
        io.open = builtins.open = self._io_open(io.open)
        fcntl.ioctl = self._ioctl(fcntl.ioctl)
        fcntl.fcntl = self._fcntl(fcntl.fcntl)
        for name in (
            "pwrite",
            "writev",
            "pwritev",
            "sendfile",
            "copy_file_range",
        ):
            if hasattr(os, name):
                setattr(os, name, _not_recorded(name))

    # --- names ---

    def _mkdir(self, call: Callable[..., None]) -> Callable[..., None]:
        def mkdir(path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
            call(path, mode, dir_fd=dir_fd)
            self._made(path, dir_fd, "mkdir")

        return mkdir

    def _symlink(self, call: Callable[..., None]) -> Callable[..., None]:
        def symlink(
            src: Any, dst: Any, target_is_directory: bool = False, *, dir_fd: int | None = None
        ) -> None:
            call(src, dst, target_is_directory, dir_fd=dir_fd)
            self._made(dst, dir_fd, "symlink")

        return symlink

    def _open(self, call: Callable[..., int]) -> Callable[..., int]:
        def open_(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            there = not flags & os.O_CREAT or _is_there(path, dir_fd)
            descriptor = call(path, flags, mode, dir_fd=dir_fd)
            if not there:
                self._made(path, dir_fd, "create")
            elif flags & os.O_TRUNC:
                self._cut(descriptor, 0)
            return descriptor

        return open_

    def _link(self, call: Callable[..., None]) -> Callable[..., None]:
        def link(src: Any, dst: Any, **options: Any) -> None:
            call(src, dst, **options)
            where = self._where(dst, options.get("dst_dir_fd"))
            if where:
                node = self._node(os.lstat(dst))
                assert node is not None, f"{src} is not watched"
                self._send(Names(((where, node),), f"link {self._said(where)}"))

        return link

    def _rename(self, call: Callable[..., None]) -> Callable[..., None]:
        def rename(src: Any, dst: Any, **options: Any) -> None:
            source = self._where(src, options.get("src_dir_fd"))
            node = self._node(os.lstat(src)) if source else None
            call(src, dst, **options)
            target = self._where(dst, options.get("dst_dir_fd"))
            assert bool(source) == bool(target), f"{src} or {dst} is not watched"
            if source and target:
                said = f"rename {self._said(source)} {self._said(target)}"
                assert node is not None
                self._places[node] = target
                self._send(Names(((source, None), (target, node)), said))

        return rename

    def _unlink(self, call: Callable[..., None], verb: str = "unlink") -> Callable[..., None]:
        def unlink(path: Any, *, dir_fd: int | None = None) -> None:
            where = self._where(path, dir_fd)
            call(path, dir_fd=dir_fd)
            if where:
                self._send(Names(((where, None),), f"{verb} {self._said(where)}"))

        return unlink

    def _rmdir(self, call: Callable[..., None]) -> Callable[..., None]:
        return self._unlink(call, "rmdir")

    # --- what is in a file ---

    def _chmod(self, call: Callable[..., None]) -> Callable[..., None]:
        def chmod(path: Any, mode: int, **options: Any) -> None:
            call(path, mode, **options)
            assert not options.get("dir_fd")
            node = self._node(os.fstat(path) if isinstance(path, int) else Path(path).stat())
            if node is not None:
                self._send(Allowed(node, mode, f"chmod {self._path(node)}"))

        return chmod

    def _fchmod(self, call: Callable[..., None]) -> Callable[..., None]:
        return self._chmod(call)

    def _truncate(self, call: Callable[..., None]) -> Callable[..., None]:
        def truncate(path: Any, length: int) -> None:
            call(path, length)
            self._cut(path, length)

        return truncate

    def _ftruncate(self, call: Callable[..., None]) -> Callable[..., None]:
        return self._truncate(call)

    def _posix_fallocate(self, call: Callable[..., None]) -> Callable[..., None]:
        def posix_fallocate(descriptor: int, offset: int, size: int) -> None:
            call(descriptor, offset, size)
            self._cut(descriptor, os.fstat(descriptor).st_size)  # zeros up to there

        return posix_fallocate

    def _write(self, call: Callable[..., int]) -> Callable[..., int]:
        def write(descriptor: int, data: Any) -> int:
            count = call(descriptor, data)
            self.wrote(descriptor, bytes(data[:count]))
            return count

        return write

    def _fdopen(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def fdopen(fd: int, mode: str = "r", *args: Any, **options: Any) -> Any:
            return io.open(fd, mode, *args, **options)  # noqa: UP020 (it is the wrapped one)

        return fdopen

    def _io_open(self, call: Callable[..., Any]) -> Callable[..., Any]:
        recorder = self

        class Raw(io.FileIO):
            def write(self, data: Any) -> int:
                count = super().write(data)
                recorder.wrote(self.fileno(), bytes(memoryview(data).cast("B")[:count]))
                return count

            def truncate(self, size: int | None = None) -> int:
                size = super().truncate(size)
                recorder._cut(self.fileno(), size)
                return size

        def open_(
            file: Any, mode: str = "r", buffering: int = -1, *args: Any, **options: Any
        ) -> Any:
            if not set(mode) & set("wax+"):
                return call(file, mode, buffering, *args, **options)
            there = isinstance(file, int) or _is_there(file, None)
            raw = Raw(file, mode.replace("b", "").replace("t", ""))
            if not there:
                recorder._made(file, None, "create")
            elif "w" in mode and not isinstance(file, int):
                recorder._cut(raw.fileno(), 0)
            if buffering == 0:
                return raw
            buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            if "b" in mode:
                return buffered
            options.pop("closefd", None)
            options.pop("opener", None)
            return io.TextIOWrapper(buffered, *args, **options)

        return open_

    def wrote(self, descriptor: int, data: bytes) -> None:
        node = self._node(os.fstat(descriptor))
        if node is not None:
            at = os.lseek(descriptor, 0, os.SEEK_CUR) - len(data)
            self._send(Written(node, at, data, f"write {self._path(node)}"))

    def _ioctl(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def ioctl(fd: Any, request: int, *args: Any) -> Any:
            result = call(fd, request, *args)
            if request == _FICLONE:
                data = os.pread(args[0], os.fstat(args[0]).st_size, 0)
                node = self._node(os.fstat(fd))
                if node is not None:
                    self._send(Written(node, 0, data, f"clone {self._path(node)}"))
            return result

        return ioctl

    # --- making it last ---

    def _fsync(self, call: Callable[..., None]) -> Callable[..., None]:
        def fsync(fd: Any) -> None:
            call(fd)
            self._synced(fd)

        return fsync

    def _fcntl(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def fcntl_(fd: Any, command: int, *args: Any) -> Any:
            result = call(fd, command, *args)
            if command == getattr(fcntl, "F_FULLFSYNC", None):
                self._synced(fd)
            return result

        return fcntl_

    def _synced(self, fd: Any) -> None:
        node = self._node(os.fstat(fd))
        if node is not None:
            self._send(Synced(node, f"fsync {self._path(node)}"))

    # --- which node, and where ---

    def _made(self, path: Any, dir_fd: int | None, verb: str) -> None:
        where = self._where(path, dir_fd)
        if where is None:
            return
        state = os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
        node, self._count = self._count, self._count + 1
        self._places[node] = where
        if where[1] != LOCKS:
            self._nodes[state.st_dev, state.st_ino] = node
        if stat.S_ISDIR(state.st_mode):
            file = File("directory", stat.S_IMODE(state.st_mode))
        elif stat.S_ISLNK(state.st_mode):
            file = File("link", 0, os.readlink(path, dir_fd=dir_fd).encode())
        else:
            file = File("file", stat.S_IMODE(state.st_mode))
        self._send(Made(((where, node),), f"{verb} {self._said(where)}", file))

    def _cut(self, file: Any, size: int) -> None:
        node = self._node(os.fstat(file) if isinstance(file, int) else Path(file).stat())
        if node is not None:
            self._send(Cut(node, size, f"truncate {self._path(node)}"))

    def _where(self, path: Any, dir_fd: int | None) -> Where | None:
        """None when it is not below what is watched."""
        folder, name = os.path.split(os.fsdecode(path))
        assert dir_fd is None or not folder, path
        parent = os.fstat(dir_fd) if dir_fd is not None else Path(folder or ".").stat()
        node = self._node(parent)
        return None if node is None else (node, name)

    def _node(self, state: os.stat_result) -> int | None:
        return self._nodes.get((state.st_dev, state.st_ino))

    def _path(self, node: int) -> str:
        return "." if node == TOP else self._said(self._places[node])

    def _said(self, where: Where) -> str:
        folder, name = where
        return os.path.normpath(f"{self._path(folder)}/{name}")


def _is_there(path: Any, dir_fd: int | None) -> bool:
    try:
        os.stat(path, dir_fd=dir_fd)
    except FileNotFoundError:
        return False
    return True


def _not_recorded(name: str) -> Callable[..., NoReturn]:
    def refused(*args: Any, **options: Any) -> NoReturn:
        raise AssertionError(f"os.{name} is used now: the recorder has to learn it")

    return refused
