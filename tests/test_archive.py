"""Archives through the reader and through the store: what is right is read, chance is refused.

tests/safety/test_archives.py has the hostile ones.
"""

from __future__ import annotations

import contextlib
import random
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ccmirror_py.archive import GzipStream, wanted_entries
from ccmirror_py.errors import VerificationError
from ccmirror_py.home import Home
from ccmirror_py.platforms import Platform
from ccmirror_py.release import Release, parse_integrity, wanted_members
from ccmirror_py.store import Store
from ccmirror_py.version import Version
from tests.npm_registry import NAME, ROOT, WANTED, Member, archive, gzip, sri, tar

LINUX = Platform("linux", "x64")
VERSION = Version(2, 1, 330)
CHUNK = 64 * 1024
MEGABYTE = 1 << 20
PLAIN = tar([Member(NAME, WANTED, mode=0o755), Member("package/package.json", b"{}")])


def chunks(data: bytes, size: int = CHUNK) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def release(data: bytes) -> Release:
    """A release whose archive is exactly these bytes."""
    return Release(f"{ROOT}-linux-x64", VERSION, "http://127.0.0.1/", parse_integrity(sri(data)))


def read(data: bytes, size: int = CHUNK) -> bytes:
    """What the reader takes for the program."""
    stream = GzipStream(chunks(data, size))
    entries = wanted_entries(stream, wanted_members(release(data), LINUX))
    found = b"".join(b"".join(entry.content) for entry in entries)
    stream.digest()
    return found


def store_in(root: Path) -> tuple[Home, Store]:
    home = Home(root / "ccm", root / "bin")
    home.prepare()
    return home, Store(home, LINUX)


def everything(root: Path) -> dict[str, tuple[int, bytes]]:
    """Every file and link, with its mode and content, but locks."""
    return {
        str(path.relative_to(root)): (
            path.lstat().st_mode & 0o7777,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in root.rglob("*")
        if (path.is_symlink() or not path.is_dir()) and path.suffix != ".lock"
    }


def installed(root: Path, data: bytes) -> bytes | None:
    """The program the store made of an archive, None when it refused.

    Whatever came of it: nothing lies anywhere below `root` but the program and its receipt.
    """
    home, store = store_in(root)
    before = everything(root)
    problem, directory = "", None
    try:
        directory = store.ensure(
            release(data), lambda *_: contextlib.nullcontext(chunks(data)), lambda _: None
        )
    except VerificationError as error:
        problem = error.sentence
    assert list(home.staging.iterdir()) == []
    assert problem == "".join(c for c in problem if c.isprintable())
    new = {k: v for k, v in everything(root).items() if before.get(k) != v}
    if directory is None:
        assert new == {}
        return None
    prefix = "ccm/.store/claude-code-linux-x64/2.1.330"
    assert {name: mode for name, (mode, _) in new.items()} == {
        f"{prefix}/claude": 0o555,
        f"{prefix}/receipt.json": 0o444,
    }
    return (directory / "claude").read_bytes()


@contextlib.contextmanager
def bounded(seconds: float = 5, megabytes: int = 32, memory: bool = True) -> Iterator[None]:
    """The block takes no more processor time and no more memory than this.

    Counting every small allocation takes time itself, so many small ones are better not counted.
    """
    start = time.process_time()
    if memory:
        tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1] if memory else 0
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < seconds
    assert peak < megabytes * MEGABYTE


def test_a_large_program_is_streamed(tmp_path: Path) -> None:
    """24 MB that do not compress: holding them would show."""
    data = archive([Member(NAME, random.Random(1).randbytes(24 * MEGABYTE))])
    _, store = store_in(tmp_path)
    with bounded(megabytes=8):
        store.ensure(release(data), lambda *_: contextlib.nullcontext(chunks(data)), lambda _: None)
    assert store.problems(("claude-code-linux-x64", "2.1.330")) == []


# --- what is right is read, however it comes ---------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 511, 512, 513, 1 << 20])
def test_a_good_archive_is_read_whatever_the_chunks(size: int) -> None:
    assert read(gzip(PLAIN), size) == WANTED


@pytest.mark.parametrize("length", [1, 511, 512, 513, 262_143, 262_144, 262_145, 1_000_000])
def test_programs_of_every_length_are_read(length: int) -> None:
    data = random.Random(length).randbytes(length)
    assert read(archive([Member("package/x", data), Member(NAME, data)])) == data


@pytest.mark.parametrize("position", range(3))
def test_it_does_not_matter_where_the_program_comes(position: int) -> None:
    members = [Member("package/README.md", b"#"), Member("package/package.json", b"{}")]
    members.insert(position, Member(NAME, WANTED))
    assert read(archive(members)) == WANTED


def test_empty_chunks_in_between_are_no_end() -> None:
    """A server may send them; the line has not ended for it."""
    data = gzip(PLAIN)
    stream = GzipStream(iter([b"", data[:100], b"", b"", data[100:], b""]))
    entries = wanted_entries(stream, wanted_members(release(data), LINUX))
    assert b"".join(b"".join(entry.content) for entry in entries) == WANTED


def test_what_follows_the_archive_counts_for_the_hash(tmp_path: Path) -> None:
    """Else bytes behind the end could be changed without anybody noticing."""
    _, store = store_in(tmp_path)
    data = gzip(PLAIN)
    with pytest.raises(VerificationError):
        store.ensure(
            release(data),
            lambda *_: contextlib.nullcontext(chunks(data + b"\0" * 99)),
            lambda _: None,
        )


# --- chance ------------------------------------------------------------------------------------

POSITIONS = st.integers(0, len(PLAIN) - 1)
EDITS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), POSITIONS, st.binary(min_size=1, max_size=1)),
        st.tuples(st.just("flip"), POSITIONS, st.integers(0, 7).map(lambda n: bytes([1 << n]))),
        st.tuples(st.just("insert"), POSITIONS, st.binary(min_size=1, max_size=600)),
        st.tuples(st.just("delete"), POSITIONS, st.integers(1, 600).map(bytes)),
    ),
    min_size=1,
    max_size=4,
)


def edited(data: bytes, edits: list[tuple[str, int, bytes]]) -> bytes:
    for kind, at, what in edits:
        if kind == "set":
            data = data[:at] + what + data[at + 1 :]
        elif kind == "flip" and at < len(data):
            data = data[:at] + bytes([data[at] ^ what[0]]) + data[at + 1 :]
        elif kind == "insert":
            data = data[:at] + what + data[at:]
        elif kind == "delete":
            data = data[:at] + data[at + len(what) :]
    return data


def honest(plain: bytes) -> bytes:
    """The same tar with right checksums, so that a change in a header gets through to the rest."""
    out = bytearray(plain)
    for start in range(0, len(out) - 511, 512):
        if bytes(out[start + 257 : start + 262]) == b"ustar":
            out[start + 148 : start + 156] = b" " * 8
            total = sum(out[start : start + 512])
            out[start + 148 : start + 156] = b"%06o\0 " % total
    return bytes(out)


@settings(max_examples=300, deadline=None)
@given(EDITS, st.booleans())
@example([("delete", 0, bytes(512))], False)
def test_a_changed_tar_is_refused_or_holds_one_plain_program(
    edits: list[tuple[str, int, bytes]], right_checksums: bool
) -> None:
    plain = edited(PLAIN, edits)
    data = gzip(honest(plain) if right_checksums else plain)
    try:
        found = read(data)
    except VerificationError:
        return
    assert found in plain


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_changed_gzip_is_refused_or_right(data: st.DataObject) -> None:
    whole = gzip(PLAIN)
    positions = st.integers(0, len(whole) - 1)
    at, bit = data.draw(positions), data.draw(st.integers(0, 7))
    changed = whole[:at] + bytes([whole[at] ^ (1 << bit)]) + whole[at + 1 :]
    try:
        found = read(changed)
    except VerificationError:
        return
    assert found == WANTED


@settings(max_examples=60, deadline=None)
@given(EDITS)
def test_the_store_writes_nothing_outside_whatever_the_tar(
    edits: list[tuple[str, int, bytes]],
) -> None:
    data = gzip(honest(edited(PLAIN, edits)))
    with tempfile.TemporaryDirectory() as directory:
        installed(Path(directory), data)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=2000), st.booleans())
def test_noise_is_refused(noise: bytes, compressed: bool) -> None:
    with pytest.raises(VerificationError):
        read(gzip(noise) if compressed else noise)
