"""A download that broke off is continued by the next command, and what was left is never trusted.

Real processes: killed, interrupted, cut off; then what they left is changed in every way.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path

import pytest

from ccmirror_py import fs, partial
from ccmirror_py.errors import NetworkError, VerificationError
from ccmirror_py.home import Home
from ccmirror_py.store import Download, Store
from tests.conftest import CCM, Sandbox
from tests.npm_registry import TARBALL, NpmRegistry, Wire, body, flipped
from tests.safety.child import NEW, ccm
from tests.safety.test_downloads import PACKAGE, PLATFORM, RIGHT
from tests.test_archive import release

CREATE = ("create", "beta", "--provider", "echo")
STALL = 150_000


def ranges(npm: NpmRegistry) -> list[str | None]:
    return [r.range for r in npm.requests if r.path.endswith(".tgz")]


def kept(sandbox: Sandbox) -> list[Path]:
    return sorted((sandbox.ccm_home / ".cache" / "downloads").glob("*"))


def is_right(sandbox: Sandbox) -> bool:
    store = sandbox.ccm_home / ".store" / f"claude-code-{PACKAGE}" / NEW
    native = sandbox.ccm_home / "beta" / "current" / "native"
    return all((place / PLATFORM.program).read_bytes() == RIGHT for place in (store, native))


def stopped(sandbox: Sandbox, npm: NpmRegistry, how: int) -> int:
    """`ccm create` gets that signal when two chunks are there and the line is silent; its end."""
    npm.fail(TARBALL, Wire(stall=60, stall_at=STALL), times=1)
    argv = [str(CCM), *CREATE]
    with subprocess.Popen(
        argv, env=dict(sandbox.environ), cwd=sandbox.home, stderr=subprocess.DEVNULL
    ) as running:
        end = time.monotonic() + 30
        while sum(path.stat().st_size for path in kept(sandbox)) < 2 * partial.CHUNK:
            assert time.monotonic() < end
            assert running.poll() is None
            time.sleep(0.01)
        running.send_signal(how)
        return running.wait(10)


@pytest.fixture
def published(npm: NpmRegistry) -> bytes:
    npm.publish(NEW, program=RIGHT)
    return npm.tarball(NEW, PACKAGE)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_the_next_command_asks_for_the_rest_only(
    sandbox: Sandbox, npm: NpmRegistry, published: bytes, how: signal.Signals
) -> None:
    code = stopped(sandbox, npm, how)
    assert code == (130 if how == signal.SIGINT else -how)
    [left] = kept(sandbox)
    assert left.stat().st_mode & 0o7777 == 0o600
    size = left.stat().st_size
    assert left.read_bytes() == published[:size]
    sandbox.must(*CREATE)
    assert ranges(npm) == [None, f"bytes={size}-"]
    assert (is_right(sandbox), kept(sandbox)) == (True, [])


def test_a_line_that_stays_broken_costs_the_rest_only(
    sandbox: Sandbox, npm: NpmRegistry, published: bytes
) -> None:
    npm.fail(TARBALL, Wire(cut=0))
    npm.fail(TARBALL, Wire(cut=STALL), times=1)
    assert ccm(sandbox, *CREATE).code == 4
    size = kept(sandbox)[0].stat().st_size
    assert published[:size] == kept(sandbox)[0].read_bytes()
    npm.heal()
    asked = len(npm.requests)
    sandbox.must(*CREATE)
    assert [r.range for r in npm.requests[asked:] if r.path.endswith(".tgz")] == [f"bytes={size}-"]
    assert is_right(sandbox)


def changed(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def other_kind(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


DAMAGE: Mapping[str, Callable[[Path, bytes], object]] = {
    "a bit of it": lambda p, d: changed(p, bytes([*d[:70_000], d[70_000] ^ 1, *d[70_001:100_000]])),
    "its first byte": lambda p, d: changed(p, b"x" + d[1:90_000]),
    "zeros, as after a power cut": lambda p, d: changed(p, d[:65_536] + bytes(30_000)),
    "all zeros": lambda p, d: changed(p, bytes(90_000)),
    "noise": lambda p, d: changed(p, os.urandom(90_000)),
    "longer than the archive": lambda p, d: changed(p, d + b"more"),
    "much longer": lambda p, d: changed(p, d * 3),
    "another, longer archive": lambda p, d: changed(p, b"\x1f\x8b" + os.urandom(len(d) * 2)),
    "empty": lambda p, d: changed(p, b""),
    "all of it": changed,
    "all but a byte": lambda p, d: changed(p, d[:-1]),
    "one byte": lambda p, d: changed(p, d[:1]),
    "a directory": lambda p, d: other_kind(p, Path.mkdir),
    "a pipe": lambda p, d: other_kind(p, os.mkfifo),
    "a link to nowhere": lambda p, d: other_kind(p, lambda q: q.symlink_to("nowhere")),
    "a link to a file": lambda p, d: other_kind(p, lambda q: q.symlink_to("../../../precious")),
    "nobody may read it": lambda p, d: p.chmod(0),
    "gone": lambda p, d: p.unlink(),
}


def test_whatever_was_done_to_it_the_program_is_right(
    sandbox: Sandbox, npm: NpmRegistry, published: bytes
) -> None:
    precious = sandbox.home / "precious"
    precious.write_bytes(b"mine")
    stopped(sandbox, npm, signal.SIGKILL)
    [left] = kept(sandbox)
    found = []
    for name, damage in DAMAGE.items():
        if left.is_dir():
            left.rmdir()
        left.unlink(missing_ok=True)
        left.write_bytes(published[:90_000])
        damage(left, published)
        done = sandbox.ccm(*CREATE)
        found += [] if done.returncode == 0 else [f"{name}: {done.stderr}"]
        found += [] if done.returncode or is_right(sandbox) else [f"{name}: wrong program"]
        found += [] if name == "a directory" or not kept(sandbox) else [f"{name}: it is kept"]
        sandbox.must("remove", "beta", "--purge", "--yes")
        sandbox.must("prune")
    assert precious.read_bytes() == b"mine"
    assert found == []


@pytest.mark.parametrize("fault", [flipped(-9), body(lambda data: data[:-3])])
def test_bytes_that_stay_wrong_are_refused_and_nothing_is_left(
    sandbox: Sandbox, npm: NpmRegistry, published: bytes, fault: Callable[..., object]
) -> None:
    stopped(sandbox, npm, signal.SIGKILL)
    npm.fail(TARBALL, fault)  # type: ignore[arg-type]
    asked = len(npm.requests)
    assert sandbox.ccm(*CREATE).returncode == 5
    again = [r.range for r in npm.requests[asked:] if r.path.endswith(".tgz")]
    assert (len(again), again[-1]) == (2, None)  # the rest, then once from the beginning
    assert kept(sandbox) == []
    assert not (sandbox.ccm_home / ".store" / f"claude-code-{PACKAGE}" / NEW).exists()


def test_another_mirror_goes_on(sandbox: Sandbox, npm: NpmRegistry, published: bytes) -> None:
    """The bytes are known by their hash, not by who sent them."""
    stopped(sandbox, npm, signal.SIGKILL)
    size = kept(sandbox)[0].stat().st_size
    with NpmRegistry() as mirror:
        mirror.publish(NEW, program=RIGHT)
        sandbox.must(*CREATE, env={"NPM_CONFIG_REGISTRY": mirror.url})
        assert ranges(mirror) == [f"bytes={size}-"]
    assert is_right(sandbox)


# --- within one process: what keeping does and does not ------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "ccm", tmp_path / "bin")
    home.prepare()
    return home


def sent(data: bytes, error: BaseException | None = None) -> tuple[Download, list[int]]:
    """That download (up to an error), and from which byte on it was asked for, each time."""
    starts: list[int] = []

    def chunks(start: int) -> Iterator[bytes]:
        for at in range(start, len(data), 1000):
            yield data[at : at + 1000]
        if error:
            raise error

    def download(_: object, start: int) -> nullcontext[Iterator[bytes]]:
        starts.append(start)
        return nullcontext(chunks(start))

    return download, starts


@pytest.mark.parametrize(
    ("error", "stays"),
    [
        (NetworkError("the line"), True),
        (KeyboardInterrupt(), True),
        (OSError(28, "No space left on device"), False),
        (VerificationError("wrong"), False),
        (MemoryError(), False),
    ],
)
def test_what_was_received_stays_when_going_on_makes_sense(
    home: Home, published: bytes, error: BaseException, stays: bool
) -> None:
    store = Store(home, PLATFORM)
    broken, _ = sent(published[:50_000], error)
    with pytest.raises(type(error)):
        store.ensure(release(published), broken, print)
    assert [path.read_bytes() for path in store.partials()] == [published[:50_000]] * stays
    whole, starts = sent(published)
    store.ensure(release(published), whole, print)
    assert (starts, store.partials()) == ([50_000 * stays], [])


def test_a_disk_that_has_no_room_for_it_stops_no_download(
    home: Home, published: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., None] = fs.write_all

    def full(file: object, content: bytes | memoryview) -> None:
        if isinstance(content, bytes) and content == published[20_000:21_000]:
            raise OSError(28, "No space left on device")
        real(file, content)

    monkeypatch.setattr(fs, "write_all", full)
    store = Store(home, PLATFORM)
    broken, _ = sent(published[:50_000], NetworkError("the line"))
    with pytest.raises(NetworkError):
        store.ensure(release(published), broken, print)
    assert store.partials() == []  # what was there went, for the room it took
    store.ensure(release(published), sent(published)[0], print)
    assert store.problems(release(published).key) == []


def test_a_place_that_can_not_be_written_stops_no_download(home: Home, published: bytes) -> None:
    home.downloads.write_bytes(b"in the way")
    store = Store(home, PLATFORM)
    store.ensure(release(published), sent(published)[0], print)
    assert store.problems(release(published).key) == []


def test_old_ones_go_with_the_next_download_and_all_with_prune(
    home: Home, published: bytes
) -> None:
    store = Store(home, PLATFORM)
    home.downloads.mkdir()
    old, new = (home.downloads / f".store-claude-code-{n}~x" for n in ("2.1.1", "2.1.2"))
    for path in (old, new):
        path.write_bytes(b"x")
    week = time.time() - 8 * 24 * 3600
    os.utime(old, (week, week))
    store.ensure(release(published), sent(published)[0], print)
    assert store.partials() == [new]
    with home.lock(".store-claude-code-2.1.2", print):
        store.drop_partials()
        assert store.partials() == [new]  # another ccm is at it
    store.drop_partials()
    assert store.partials() == []


def test_prune_frees_what_broken_downloads_left(
    sandbox: Sandbox, npm: NpmRegistry, published: bytes
) -> None:
    stopped(sandbox, npm, signal.SIGKILL)
    size = kept(sandbox)[0].stat().st_size
    assert json.loads(sandbox.must("prune", "--dry-run", "--json"))["bytes"] == size
    assert len(kept(sandbox)) == 1
    assert json.loads(sandbox.must("prune", "--json"))["bytes"] == size
    assert kept(sandbox) == []
