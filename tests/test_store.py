"""The store: what gets in, what does not, and that nothing is left of what did not."""

from __future__ import annotations

import hashlib
import json
import os
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest

from ccmirror_py.errors import CcmError, DamagedError, NotFoundError
from ccmirror_py.errors import VerificationError as Refused
from ccmirror_py.home import Home
from ccmirror_py.npmrc import NpmConfig
from ccmirror_py.platforms import Platform
from ccmirror_py.receipt import Receipt
from ccmirror_py.registry import Registry
from ccmirror_py.release import Release
from ccmirror_py.sealed import opened
from ccmirror_py.store import Download, Store
from ccmirror_py.transport import Network
from ccmirror_py.version import Version
from tests.npm_registry import (
    TARBALL,
    Member,
    NpmRegistry,
    Wire,
    archive,
    captive_portal,
    flipped,
    program,
    script,
    sri,
)

LINUX = Platform("linux", "x64")
NATIVE, SCRIPT = Version(2, 1, 330), Version(2, 1, 112)
KEY = ("claude-code-linux-x64", "2.1.330")
RIGHT = program("2.1.330")


@dataclass(frozen=True)
class Shop:
    """A store, and the registry it is filled from. `said` collects what people are told."""

    home: Home
    store: Store
    npm: NpmRegistry
    said: list[str]

    def registry(self) -> Registry:
        config = NpmConfig({"registry": self.npm.url})
        return Registry(config, Network(), self.home.cache / "registry", lambda _: None)

    def find(self, version: Version = NATIVE, platform: Platform = LINUX) -> Release:
        return self.registry().find(version, platform)

    def ensure(self, release: Release) -> Path:
        return self.store.ensure(release, self.download, self.said.append)

    def download(self, release: Release, start: int) -> AbstractContextManager[Iterator[bytes]]:
        return nullcontext(self.registry().download(release, lambda *_: None, start))

    def left(self) -> list[str]:
        """Every file of the store and of staging."""
        return sorted(
            str(path.relative_to(self.home.root))
            for top in (self.home.store, self.home.staging)
            for path in top.rglob("*")
            if not path.is_dir()
        )


def shop_of(root: Path, npm: NpmRegistry, platform: Platform = LINUX) -> Shop:
    home = Home(root / "ccm", root / "bin")
    home.prepare()
    return Shop(home, Store(home, platform), npm, [])


@pytest.fixture
def shop(tmp_path: Path, npm: NpmRegistry) -> Shop:
    for version in ("2.1.112", "2.1.329", "2.1.330"):
        npm.publish(version)
    return shop_of(tmp_path, npm)


def tree(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Path to mode and content of every file."""
    return {
        str(path.relative_to(directory)): (path.stat().st_mode & 0o7777, path.read_bytes())
        for path in directory.rglob("*")
        if not path.is_dir()
    }


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# --- what gets in ------------------------------------------------------------------------------


def test_the_program_and_a_receipt_are_all_that_is_kept(shop: Shop) -> None:
    release = shop.find()
    directory = shop.ensure(release)
    files = tree(directory)
    receipt = files.pop("receipt.json")
    assert directory == shop.home.store / "claude-code-linux-x64" / "2.1.330"
    assert files == {"claude": (0o555, RIGHT)}
    assert receipt[0] == 0o444
    program = (directory / "claude").stat()
    assert opened(json.loads(receipt[1])) == {
        "package": "claude-code-linux-x64",
        "version": "2.1.330",
        "integrity": sri(shop.npm.tarball("2.1.330", "linux-x64")),
        "signed_by": None,
        "files": {"claude": sha256(RIGHT)},
        "states": {"claude": [program.st_ino, program.st_size, program.st_mtime_ns]},
        "tweaked": "",
    }
    assert shop.left() == [
        ".store/claude-code-linux-x64/2.1.330/claude",
        ".store/claude-code-linux-x64/2.1.330/receipt.json",
    ]


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_modes_do_not_depend_on_the_umask(shop: Shop, umask: int) -> None:
    release = shop.find()
    if umask == 0o777:
        shop.home.store.mkdir(mode=0o700)  # nobody but root could make anything below
        if os.geteuid() != 0:
            pytest.skip("a directory of mode 000 is of no use")
    before = os.umask(umask)
    try:
        directory = shop.ensure(release)
    finally:
        os.umask(before)
    assert {name: mode for name, (mode, _) in tree(directory).items()} == {
        "claude": 0o555,
        "receipt.json": 0o444,
    }
    assert directory.stat().st_mode & 0o077 == 0


def test_modes_in_the_archive_count_for_nothing(shop: Shop) -> None:
    data = archive([Member("package/claude", RIGHT, mode=0o6777)])
    shop.npm.publish("2.1.330", tarball=data)
    assert tree(shop.ensure(shop.find()))["claude"] == (0o555, RIGHT)


def test_the_second_time_nothing_is_asked_and_nothing_is_written(shop: Shop) -> None:
    release = shop.find()
    directory = shop.ensure(release)
    before = (len(shop.npm.requests), directory.stat().st_ino, directory.stat().st_ctime_ns)
    assert shop.ensure(release) == directory
    after = (len(shop.npm.requests), directory.stat().st_ino, directory.stat().st_ctime_ns)
    assert after == before
    assert shop.said == []


def test_two_versions_and_another_platform_are_kept_side_by_side(shop: Shop) -> None:
    shop.ensure(shop.find(Version(2, 1, 329)))
    shop.ensure(shop.find())
    shop.ensure(shop.find(NATIVE, Platform("linux", "x64", musl=True)))
    assert shop.store.installed() == [
        ("claude-code-linux-x64", "2.1.329"),
        ("claude-code-linux-x64", "2.1.330"),
        ("claude-code-linux-x64-musl", "2.1.330"),
    ]
    assert shop.store.find(NATIVE) == KEY
    assert shop.store.find(Version(2, 1, 331)) is None


def test_versions_are_listed_as_numbers(shop: Shop) -> None:
    for version in ("2.1.1000", "2.1.999"):
        shop.npm.publish(version)
        shop.ensure(shop.find(Version(2, 1, int(version.rpartition(".")[2]))))
    assert [version for _, version in shop.store.installed()] == ["2.1.999", "2.1.1000"]


@pytest.mark.parametrize("name", [".DS_Store", "nightly", "2.1", "2.1.330.bak"])
def test_a_directory_of_somebody_else_in_the_store_does_no_harm(shop: Shop, name: str) -> None:
    shop.ensure(shop.find())
    strange = shop.home.store / "claude-code-linux-x64" / name
    strange.mkdir()
    (strange / "receipt.json").write_text("{}")
    assert KEY in shop.store.installed()
    assert shop.store.find(NATIVE) == KEY


def test_a_windows_package_is_its_exe(tmp_path: Path, npm: NpmRegistry) -> None:
    npm.publish("2.1.330")
    windows = Platform("win32", "x64")
    shop = shop_of(tmp_path, npm, windows)
    assert set(tree(shop.ensure(shop.find(NATIVE, windows)))) == {"claude.exe", "receipt.json"}


@pytest.mark.parametrize(
    ("platform", "vendored"),
    [
        (LINUX, "vendor/ripgrep/x64-linux/rg"),
        (Platform("darwin", "arm64"), "vendor/ripgrep/arm64-darwin/rg"),
        (Platform("win32", "x64"), "vendor/ripgrep/x64-win32/rg.exe"),
        (Platform("linux", "arm64", musl=True), "vendor/ripgrep/arm64-linux/rg"),
    ],
)
def test_the_javascript_package_takes_only_this_platforms_vendored_files(
    tmp_path: Path, npm: NpmRegistry, platform: Platform, vendored: str
) -> None:
    npm.publish("2.1.112")
    shop = shop_of(tmp_path, npm, platform)
    directory = shop.ensure(shop.find(SCRIPT, platform))
    files = tree(directory)
    assert {name: mode for name, (mode, _) in files.items()} == {
        "cli.js": 0o555,
        "package.json": 0o444,
        vendored: 0o555,
        "receipt.json": 0o444,
    }
    assert files["cli.js"][1] == script("2.1.112")
    assert shop.store.problems(("claude-code", "2.1.112")) == []
    assert shop.store.receipt(("claude-code", "2.1.112")).files == {
        name: sha256(content) for name, (_, content) in files.items() if name != "receipt.json"
    }
    assert {path.stat().st_mode & 0o077 for path in directory.rglob("*") if path.is_dir()} == {0}


def test_two_at_once_download_once(shop: Shop) -> None:
    release = shop.find()
    shop.npm.fail(TARBALL, Wire(delay=0.3))
    threads = [threading.Thread(target=shop.ensure, args=(release,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len([r for r in shop.npm.requests if r.path.endswith(".tgz")]) == 1
    assert (
        shop.said
        == ["Waiting for another ccm that is working on claude-code-linux-x64-2.1.330 …"] * 2
    )
    assert shop.store.problems(KEY) == []


# --- what does not (wrong bytes: tests/safety/test_downloads.py) ----------------------------------


def test_after_wrong_bytes_the_right_ones_are_taken(shop: Shop) -> None:
    shop.npm.fail(TARBALL, flipped(100), times=1)
    release = shop.find()
    with pytest.raises(Refused):
        shop.ensure(release)
    assert tree(shop.ensure(release))["claude"] == (0o555, RIGHT)


def chunks(data: bytes, size: int = 100) -> Download:
    return lambda _, begin: nullcontext(
        data[start : start + size] for start in range(begin, len(data), size)
    )


@pytest.mark.parametrize("size", [1, 7, 511, 513, 100_000])
def test_it_does_not_matter_how_the_bytes_are_cut(shop: Shop, size: int) -> None:
    data = shop.npm.tarball("2.1.330", "linux-x64")
    directory = shop.store.ensure(shop.find(), chunks(data, size), shop.said.append)
    assert tree(directory)["claude"] == (0o555, RIGHT)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, MemoryError])
def test_an_interrupted_download_leaves_nothing(shop: Shop, error: type[BaseException]) -> None:
    data = shop.npm.tarball("2.1.330", "linux-x64")

    def broken() -> Iterator[bytes]:
        yield data[: len(data) // 2]
        raise error

    with pytest.raises(error):
        shop.store.ensure(shop.find(), lambda *_: nullcontext(broken()), shop.said.append)
    assert (shop.left(), list(shop.home.staging.iterdir())) == ([], [])


@pytest.mark.parametrize(
    "members",
    [
        [Member("package/cli.js", b"x")],
        [Member("package/package.json", b"{}")],
        [Member("cli.js", b"x"), Member("package.json", b"{}")],
    ],
)
def test_a_javascript_package_without_its_parts_is_refused(
    shop: Shop, members: list[Member]
) -> None:
    shop.npm.publish("2.1.112", tarball=archive(members))
    with pytest.raises(Refused):
        shop.ensure(shop.find(SCRIPT))
    assert shop.left() == []


# --- what is there already ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        b"[]",
        b"{}",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"package":"x","version":"1","integrity":"x","files":[]}',
        b'{"package":"x","version":"1","integrity":"sha512-AAAA","files":{}}',
    ],
)
def test_a_broken_receipt_means_the_release_is_installed_again(shop: Shop, content: bytes) -> None:
    release = shop.find()
    directory = shop.ensure(release)
    (directory / "claude").unlink()
    (directory / "receipt.json").unlink()
    (directory / "receipt.json").write_bytes(content)
    assert not shop.store.has(release)
    assert shop.ensure(release) == directory
    assert tree(directory)["claude"] == (0o555, RIGHT)
    assert shop.store.problems(KEY) == []


@pytest.mark.parametrize("thing", ["missing", "directory", "dangling link"])
def test_a_receipt_that_is_no_file_means_the_release_is_installed_again(
    shop: Shop, thing: str
) -> None:
    release = shop.find()
    directory = shop.ensure(release)
    receipt = directory / "receipt.json"
    receipt.unlink()
    if thing == "directory":
        receipt.mkdir()
    elif thing == "dangling link":
        receipt.symlink_to("nowhere")
    shop.ensure(release)
    assert shop.store.problems(KEY) == []


@pytest.mark.parametrize("ranges", [True, False], ids=["with ranges", "without ranges"])
def test_a_download_that_broke_is_verified_as_a_whole(shop: Shop, ranges: bool) -> None:
    noise = random.Random(7).randbytes(1 << 20)
    shop.npm.publish("2.1.331", program=noise)
    shop.npm.ranges = ranges
    shop.npm.fail(TARBALL, Wire(cut=600_000), times=2)
    directory = shop.ensure(shop.find(Version(2, 1, 331)))
    assert (directory / "claude").read_bytes() == noise


def test_an_archive_with_a_new_hash_replaces_the_old_release(shop: Shop) -> None:
    shop.ensure(shop.find())
    shop.npm.publish("2.1.330", program=RIGHT + b"# rebuilt\n")
    directory = shop.ensure(shop.find())
    assert tree(directory)["claude"] == (0o555, RIGHT + b"# rebuilt\n")
    assert shop.store.problems(KEY) == []


def test_a_receipt_is_read_or_said_to_be_missing_or_damaged(shop: Shop) -> None:
    with pytest.raises(NotFoundError):
        shop.store.receipt(KEY)
    directory = shop.ensure(shop.find())
    program = (directory / "claude").stat()
    assert shop.store.receipt(KEY) == Receipt(
        *KEY,
        sri(shop.npm.tarball("2.1.330", "linux-x64")),
        None,
        {"claude": sha256(RIGHT)},
        {"claude": [program.st_ino, program.st_size, program.st_mtime_ns]},
    )
    (directory / "receipt.json").chmod(0o600)
    (directory / "receipt.json").write_bytes(b"{")
    with pytest.raises(DamagedError):
        shop.store.receipt(KEY)


def change(path: Path, data: bytes) -> None:
    path.chmod(0o700)
    path.write_bytes(data)


def replace(path: Path) -> Path:
    path.unlink()
    return path


DAMAGE: Mapping[str, Callable[[Path], object]] = {
    "one byte": lambda path: change(path, RIGHT[:50] + b"!" + RIGHT[51:]),
    "one bit of the last byte": lambda path: change(path, RIGHT[:-1] + bytes([RIGHT[-1] ^ 1])),
    "shorter": lambda path: change(path, RIGHT[:-1]),
    "longer": lambda path: change(path, RIGHT + b"\n"),
    "empty": lambda path: change(path, b""),
    "missing": lambda path: path.unlink(),
    "a directory": lambda path: replace(path).mkdir(),
    "a dangling link": lambda path: replace(path).symlink_to("nowhere"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_every_damage_of_the_program_is_found(shop: Shop, name: str) -> None:
    program_path = shop.ensure(shop.find()) / "claude"
    assert shop.store.problems(KEY) == []
    DAMAGE[name](program_path)
    problems = shop.store.problems(KEY)
    assert len(problems) == 1
    assert problems[0].startswith(str(program_path))


def test_the_same_damage_with_the_old_time_and_size_is_found(shop: Shop) -> None:
    path = shop.ensure(shop.find()) / "claude"
    before = path.stat()
    change(path, RIGHT[::-1])
    path.chmod(0o555)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert shop.store.problems(KEY) == [f"{path} is not what was installed"]


def test_a_release_that_is_not_there_is_a_problem(shop: Shop) -> None:
    assert shop.store.problems(KEY) == [
        "There is no installed release 'claude-code-linux-x64 2.1.330'."
    ]


def test_a_removed_release_leaves_nothing_and_its_links_live_on(shop: Shop, tmp_path: Path) -> None:
    directory = shop.ensure(shop.find())
    link = tmp_path / "claude"
    link.hardlink_to(directory / "claude")
    assert shop.store.remove(KEY, lambda: True)
    assert (shop.left(), list(shop.home.staging.iterdir())) == ([], [])
    assert shop.store.installed() == []
    assert link.read_bytes() == RIGHT


def test_a_release_that_came_into_use_meanwhile_is_not_removed(shop: Shop) -> None:
    shop.ensure(shop.find())
    assert not shop.store.remove(KEY, lambda: False)
    assert shop.store.problems(KEY) == []


def test_a_removed_release_can_be_had_again(shop: Shop) -> None:
    release = shop.find()
    shop.ensure(release)
    assert shop.store.remove(KEY, lambda: True)
    assert tree(shop.ensure(release))["claude"] == (0o555, RIGHT)


def test_what_an_error_says_fits_on_a_line(shop: Shop) -> None:
    shop.npm.fail(TARBALL, captive_portal())
    with pytest.raises(CcmError) as caught:
        shop.ensure(shop.find())
    assert "\n" not in caught.value.sentence
    assert caught.value.exit_code == 5
