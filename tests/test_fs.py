"""Each of the only ways the disk changes, for itself."""

import errno
import io
import os
import pwd
import re
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from ccmirror_py import fs
from tests.conftest import CHECKOUT
from tests.safety.steps import in_child

MASKS = (0o000, 0o022, 0o077)
PYTHON = Path(sys.executable)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture(params=MASKS, ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on another file system than `tmp_path`."""
    here = Path("/dev/shm")
    if not here.is_dir() or here.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system here")
    with tempfile.TemporaryDirectory(dir=here) as directory:
        yield Path(directory)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """As the store has them: files nobody may write, one of them in a folder."""
    return make_release(tmp_path / "release")


def make_release(directory: Path) -> Path:
    (directory / "vendor").mkdir(parents=True)
    for path, content, bits in (
        ("claude", b"#!/bin/sh\necho 2.1.400\n" + b"# \n" * 300_000, 0o555),
        ("receipt.json", b"{}", 0o444),
        ("vendor/rg", b"rg", 0o555),
    ):
        (directory / path).write_bytes(content)
        (directory / path).chmod(bits)
    return directory


def tree(directory: Path) -> dict[str, tuple[str, bytes]]:
    return {
        str(path.relative_to(directory)): (
            oct(mode(path)),
            path.read_bytes() if path.is_file() else b"",
        )
        for path in directory.rglob("*")
    }


def released(directory: Path) -> dict[str, tuple[str, bytes]]:
    """What a clone of `directory` has to be: its directories are the user's own."""
    return {
        name: ("0o700" if (directory / name).is_dir() else bits, content)
        for name, (bits, content) in tree(directory).items()
    }


# --- permissions -------------------------------------------------------------------------------


def test_a_directory_is_the_users_own_under_any_umask(tmp_path: Path, umask: int) -> None:
    fs.make_directory(tmp_path / "one")
    fs.ensure_directory(tmp_path / "a" / "b" / "c")
    made = [tmp_path / part for part in ("one", "a", "a/b", "a/b/c")]
    assert [mode(path) for path in made] == [0o700] * 4


@pytest.mark.parametrize("bits", [0o600, 0o700, 0o444, 0o555, 0o755])
def test_a_file_has_its_permissions_under_any_umask(tmp_path: Path, umask: int, bits: int) -> None:
    fs.write_file(tmp_path / "file", b"content", bits)
    assert mode(tmp_path / "file") == bits


def test_a_file_has_its_permissions_before_the_first_byte(tmp_path: Path, umask: int) -> None:
    with fs.new_file(tmp_path / "file", 0o600) as file:
        assert (mode(tmp_path / "file"), os.fstat(file.fileno()).st_size) == (0o600, 0)


def test_a_clone_has_the_permissions_of_the_release(
    tmp_path: Path, release: Path, umask: int
) -> None:
    fs.clone_tree(release, tmp_path / "clone")
    assert tree(tmp_path / "clone") == released(release)
    assert mode(tmp_path / "clone") == 0o700


def test_existing_directories_keep_their_permissions(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir(mode=0o755)
    (tmp_path / "bin").chmod(0o755)
    fs.ensure_directory(tmp_path / "bin")
    assert mode(tmp_path / "bin") == 0o755


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
def test_nothing_is_open_to_others_for_a_moment(tmp_path: Path, release: Path) -> None:
    """The modes files and directories are born with, as the kernel is asked for them."""
    calls = traced(tmp_path, release, "openat,mkdir,mkdirat")
    born = [int(call.rpartition(", ")[2].rstrip(")"), 8) for call in calls if made_by(call)]
    assert len(born) >= 9
    assert [oct(bits) for bits in born if bits & 0o077] == []


# --- durability --------------------------------------------------------------------------------


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
def test_what_a_rename_makes_visible_is_on_the_disk_before_it_and_the_name_after(
    tmp_path: Path, release: Path
) -> None:
    """No kill can show a missing fsync (a crash of the machine can), so the calls are read."""
    calls = traced(tmp_path, release, "openat,mkdir,link,symlink,rename,fsync,unlink,ioctl")
    waiting: set[str] = set()
    for call in calls:
        name = call.partition("(")[0]
        paths = re.findall(r'"([^"]*)"', call)
        if name == "fsync":
            synced = re.findall(r"<([^>]*)>", call)[0].removesuffix(" (deleted)")
            waiting -= {path for path in waiting if path in (synced, f"name {synced}")}
        elif name == "rename":
            source, target = paths
            unsafe = {path for path in waiting if path.removeprefix("name ").startswith(source)}
            unsafe |= waiting & {f"name {Path(source).parent}"}
            assert not unsafe, f"{call} while {unsafe} may be lost"
            waiting |= {f"name {Path(target).parent}", f"name {Path(source).parent}"}
        elif name == "unlink":
            waiting -= {paths[0]}
        elif name in ("mkdir", "link", "symlink") or made_by(call):
            waiting.add(f"name {Path(paths[-1]).parent}")
            waiting |= {paths[0]} if made_by(call) and name == "openat" else set()
    assert not waiting, f"may be lost: {waiting}"


_EVERYTHING = """
import os, sys
from pathlib import Path
from ccmirror_py import fs
os.umask(0)
here, release = Path(sys.argv[1]), Path(sys.argv[2])
fs.ensure_directory(here / "a" / "b")
fs.write_file(here / "secret", b"secret", 0o600)
fs.replace_file(here / "secret", b"other", 0o600)
fs.make_link("secret", here / "link")
fs.replace_link("elsewhere", here / "link")
fs.clone_tree(release, here / "clone")
fs.rename(here / "clone", here / "a" / "clone")
"""


def traced(tmp_path: Path, release: Path, calls: str) -> list[str]:
    """The calls of one process that uses everything, about paths in its own directory."""
    here = tmp_path / "traced"
    here.mkdir(mode=0o700)
    log = tmp_path / "strace.log"
    argv: list[str | Path] = [
        "strace",
        "-f",
        "-qq",
        "-y",
        "-z",
        "-s",
        "4096",
        "-o",
        log,
        "-e",
        f"trace={calls}",
    ]
    done = subprocess.run(
        [*argv, PYTHON, "-B", "-c", _EVERYTHING, here, release],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    lines = (line.partition(" ")[2].strip() for line in log.read_text().splitlines())
    return [line.rpartition(" = ")[0].strip() for line in lines if str(here) in line]


def made_by(call: str) -> bool:
    return "O_CREAT" in call or call.startswith("mkdir")


# --- nothing is replaced that was not meant ------------------------------------------------------


@pytest.mark.parametrize("there", ["file", "directory", "link", "dangling link"])
@pytest.mark.parametrize("what", ["new_file", "write_file", "make_link", "make_directory"])
def test_what_is_there_is_neither_replaced_nor_followed(
    tmp_path: Path, there: str, what: str
) -> None:
    path, other = tmp_path / "path", tmp_path / "other"
    if there == "file":
        path.write_text("mine")
    elif there == "directory":
        path.mkdir()
    else:
        path.symlink_to(other)
    if there == "link":
        other.write_text("mine")
    before = tree(tmp_path), os.readlink(path) if path.is_symlink() else ""
    with pytest.raises(FileExistsError):
        makers()[what](path)
    assert (tree(tmp_path), os.readlink(path) if path.is_symlink() else "") == before


def makers() -> dict[str, Callable[[Path], object]]:
    def new_file(path: Path) -> None:
        with fs.new_file(path, 0o600):
            pass

    return {
        "new_file": new_file,
        "write_file": lambda path: fs.write_file(path, b"ours", 0o600),
        "make_link": lambda path: fs.make_link("target", path),
        "make_directory": fs.make_directory,
    }


def test_replacing_a_link_leaves_its_target_alone(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("the user's")
    (tmp_path / "file").symlink_to(target)
    fs.replace_file(tmp_path / "file", b"ours", 0o600)
    assert (target.read_text(), (tmp_path / "file").read_text()) == ("the user's", "ours")


@pytest.mark.parametrize("left", ["file", "link"])
def test_what_a_crash_left_of_a_successor_is_no_obstacle(tmp_path: Path, left: str) -> None:
    target = tmp_path / "target"
    target.write_text("the user's")
    waiting = tmp_path / ".path.new"
    waiting.symlink_to(target) if left == "link" else waiting.write_text("half of i")
    fs.replace_file(tmp_path / "path", b"whole", 0o600)
    assert ((tmp_path / "path").read_text(), target.read_text()) == ("whole", "the user's")
    waiting.symlink_to(target) if left == "link" else waiting.write_text("half of i")
    fs.replace_link("there", tmp_path / "path")
    assert os.readlink(tmp_path / "path") == "there"
    assert sorted(os.listdir(tmp_path)) == ["path", "target"]


# --- old or new at every moment ------------------------------------------------------------------


def polled(look: Callable[[], object], change: Callable[[int], None]) -> set[object]:
    """What another thread sees while `change` is called again and again."""
    seen: set[object] = set()
    looks, done = 0, threading.Event()

    def poll() -> None:
        nonlocal looks
        while not done.is_set():
            try:
                seen.add(look())
            except OSError as error:
                seen.add(repr(error))
            looks += 1

    poller = threading.Thread(target=poll)
    poller.start()
    for number in range(200):
        change(number)
    done.set()
    poller.join()
    assert looks >= 200
    return seen


def test_a_replaced_link_points_to_the_old_or_the_new_target(tmp_path: Path) -> None:
    link, targets = tmp_path / "link", ("generations/1", "generations/2")
    fs.make_link(targets[0], link)
    seen = polled(lambda: os.readlink(link), lambda n: fs.replace_link(targets[n % 2], link))
    assert seen == set(targets)


def test_a_replaced_file_has_the_old_or_the_new_content(tmp_path: Path) -> None:
    path, contents = tmp_path / "file", (b"old" * 20_000, b"new" * 30_000)
    fs.write_file(path, contents[0], 0o600)
    seen = polled(path.read_bytes, lambda n: fs.replace_file(path, contents[n % 2], 0o600))
    assert seen == set(contents)


# --- clones --------------------------------------------------------------------------------------


def test_a_clone_costs_no_bytes(tmp_path: Path, release: Path) -> None:
    before = shutil.disk_usage(tmp_path).free
    for number in range(20):
        fs.clone_tree(release, tmp_path / str(number))
    program, clone = (release / "claude").stat(), (tmp_path / "0" / "claude").stat()
    if program.st_ino != clone.st_ino:  # a reflink: an inode of its own with the same blocks
        assert before - shutil.disk_usage(tmp_path).free < 10 * program.st_size
    assert tree(tmp_path / "0") == released(release)


def test_a_clone_on_another_file_system_is_a_copy(release: Path, other_disk: Path) -> None:
    fs.clone_tree(release, other_disk / "clone")
    assert tree(other_disk / "clone") == released(release)
    assert (other_disk / "clone" / "claude").stat().st_dev != release.stat().st_dev


def test_a_clone_outlives_its_source(tmp_path: Path, release: Path) -> None:
    expected = released(release)
    fs.clone_tree(release, tmp_path / "clone")
    fs.remove_tree(release)
    assert tree(tmp_path / "clone") == expected


def test_a_clone_never_mixes_with_what_is_there(tmp_path: Path, release: Path) -> None:
    (tmp_path / "clone").mkdir()
    with pytest.raises(FileExistsError):
        fs.clone_tree(release, tmp_path / "clone")
    assert list((tmp_path / "clone").iterdir()) == []


def test_a_copy_that_does_not_fit_is_an_error_not_half_a_program(
    release: Path, other_disk: Path
) -> None:
    """A full disk takes a part of the last write and says so only by the count it returns."""
    size = (release / "claude").stat().st_size
    assert size < 1024 * 1024  # one write of the copy
    with pytest.raises(OSError):  # noqa: PT011 (EFBIG here, ENOSPC on a full disk)
        limited(size - 1000, lambda: fs.clone_tree(release, other_disk / "clone"))


def test_a_file_that_does_not_fit_is_an_error_not_half_a_file(tmp_path: Path) -> None:
    with pytest.raises(OSError):  # noqa: PT011
        limited(5_000, lambda: fs.write_file(tmp_path / "file", b"x" * 6_000, 0o600))


def limited(size: int, action: Callable[[], None]) -> None:
    """No file may grow beyond `size`: the write that would is short, the next one fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        action()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


class ShortWrites(io.RawIOBase):
    """Takes three bytes at a time, as pipes, quotas and network file systems may."""

    def __init__(self) -> None:
        self.taken = b""

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        piece = bytes(content)[:3]
        self.taken += piece
        return len(piece)


def test_short_writes_are_continued() -> None:
    file = ShortWrites()
    fs.write_all(cast(BinaryIO, file), b"0123456789")
    assert file.taken == b"0123456789"


# --- removal -------------------------------------------------------------------------------------


def test_removing_what_is_gone_is_fine(tmp_path: Path) -> None:
    fs.remove_file(tmp_path / "file")
    fs.remove_tree(tmp_path / "tree")


def test_a_tree_is_removed_although_files_in_it_go_by_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "tree"
    for number in range(10):
        (tree / f"{number}").mkdir(parents=True)
        for name in "abc":
            (tree / f"{number}" / name).touch()
    real = os.unlink
    gone: list[str] = []

    def unlink(name: str, *, dir_fd: int | None = None) -> None:
        if len(gone) < 5:
            gone.append(name)
            real(name, dir_fd=dir_fd)  # a session was faster
        real(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", unlink)
    fs.remove_tree(tree)
    assert not tree.exists()


def test_removal_does_not_follow_symlinks(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "folder" / "file").write_text("the user's")
    inside = tmp_path / "tree" / "a" / "b"
    inside.mkdir(parents=True)
    (inside / "folder").symlink_to(outside / "folder")
    (inside / "file").symlink_to(outside / "folder" / "file")
    (inside / "loop").symlink_to(tmp_path / "tree")
    before = tree(outside)
    fs.remove_tree(tmp_path / "tree")
    assert (sorted(os.listdir(tmp_path)), tree(outside)) == (["outside"], before)


def test_a_symlink_in_place_of_the_tree_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("the user's")
    (tmp_path / "tree").symlink_to(outside)
    fs.remove_tree(tmp_path / "tree")
    assert sorted(os.listdir(tmp_path)) == ["outside"]
    assert (outside / "file").read_text() == "the user's"


@pytest.mark.parametrize("bits", [0o555, 0o500, 0o300, 0o000], ids=oct)
def test_directories_without_permissions_can_be_removed(tmp_path: Path, bits: int) -> None:
    """Go's module cache and Claude Code's plugins leave such directories behind."""
    top = Path(tempfile.mkdtemp(dir="/tmp"))
    deep = top / "tree" / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "file").write_text("")
    (top / "outside").mkdir(mode=0o555)
    (top / "outside").chmod(0o555)
    (deep / "link").symlink_to(top / "outside")
    for directory in (deep, deep.parent, deep.parent.parent):
        directory.chmod(bits)
    try:
        ended = in_child(lambda: as_somebody(top, lambda: fs.remove_tree(top / "tree")), top)
        assert (ended.how, ended.said) == ("ended", "")
        assert (os.listdir(top), mode(top / "outside")) == (["outside"], 0o555)
    finally:
        subprocess.run(["chmod", "-R", "u+rwx", top], check=True)
        shutil.rmtree(top)


def as_somebody(top: Path, action: Callable[[], None]) -> None:
    """As a user whom permissions stop, and who owns everything below `top`; there is no way back"""
    if os.getuid() == 0:
        user = pwd.getpwnam("nobody")
        subprocess.run(["chown", "-hR", str(user.pw_uid), top], check=True)
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    action()


# --- running programs ----------------------------------------------------------------------------


def test_a_running_program_can_be_replaced_and_removed(tmp_path: Path) -> None:
    """Never ETXTBSY: a successor is another file, and the kernel keeps what runs."""
    store, old, new = tmp_path / "store", tmp_path / "1", tmp_path / "2"
    store.mkdir()
    shutil.copy("/bin/sleep", store / "claude")
    (store / "claude").chmod(0o555)
    fs.clone_tree(store, old)
    fs.make_link("1", tmp_path / "current")
    with subprocess.Popen([tmp_path / "current" / "claude", "60"]) as session:
        try:
            fs.clone_tree(store, new)
            fs.replace_link("2", tmp_path / "current")
            fs.replace_file(old / "claude", b"#!/bin/sh\nexit 0\n", 0o555)
            fs.remove_tree(old)
            fs.remove_tree(store)
            assert session.poll() is None
            started = subprocess.run([tmp_path / "current" / "claude", "0"], check=False)
            assert started.returncode == 0
        finally:
            session.kill()


def test_a_new_program_can_be_started_at_once(tmp_path: Path) -> None:
    for number in range(50):
        program = tmp_path / str(number)
        fs.write_file(program, b"#!/bin/sh\nexit 0\n", 0o555)
        assert subprocess.run([program], check=False).returncode == 0


# --- long files and files that may be lost -------------------------------------------------------


def pieces(count: int) -> Iterator[memoryview]:
    return (memoryview(bytes([number]) * 1000) for number in range(count))


def test_what_comes_slowly_is_synced_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(fs, "_SYNCED_MEANWHILE", 5000)
    monkeypatch.setattr(os, "fdatasync", lambda fd: synced.append(os.fstat(fd).st_size))
    with fs.new_file(tmp_path / "a", 0o600) as file:
        fs.write_stream(file, pieces(50))
    assert (tmp_path / "a").read_bytes() == b"".join(pieces(50))
    assert synced
    assert synced[0] >= 5000


def test_a_sync_that_fails_meanwhile_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel tells it once; the sync at the end would find nothing wrong."""

    def failing(descriptor: int) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(fs, "_SYNCED_MEANWHILE", 5000)
    monkeypatch.setattr(os, "fdatasync", failing)
    with pytest.raises(OSError, match="the disk is broken"):
        with fs.new_file(tmp_path / "a", 0o600) as file:
            fs.write_stream(file, pieces(50))


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="macOS has none")
def test_a_disk_without_the_room_is_told_before_the_work(tmp_path: Path) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            with fs.new_file(tmp_path / "a", 0o600, 200_000):
                pytest.fail("the work began")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_that_reserves_nothing_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refusing(descriptor: int, offset: int, size: int) -> None:
        raise OSError(code, "not here")

    monkeypatch.setattr(os, "posix_fallocate", refusing, raising=False)
    with fs.new_file(tmp_path / "a", 0o600, 4) as file:
        fs.write_all(file, b"here")
    assert (tmp_path / "a").read_bytes() == b"here"


def test_a_file_is_appended_to_and_never_through_a_link(tmp_path: Path) -> None:
    for text in (b"one", b"two"):
        with fs.appended_file(tmp_path / "a", 0o600) as file:
            fs.write_all(file, text)
    assert (tmp_path / "a").read_bytes() == b"onetwo"
    (tmp_path / "link").symlink_to("a")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(OSError):  # noqa: PT011 (which one depends on the system)
            fs.appended_file(tmp_path / name, 0o600)
