"""`ccm prune`: free what nothing uses. `ccm verify`: read again what is installed."""

import os
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ccmirror_py import fs
from ccmirror_py.context import Context
from ccmirror_py.errors import DamagedError
from ccmirror_py.home import SETTINGS_LOCK, tweak_lock
from ccmirror_py.operations.trash import empty
from ccmirror_py.receipt import RECEIPT, read_receipt
from ccmirror_py.sessions import running_sessions
from ccmirror_py.store import Key, file_problems
from ccmirror_py.variants import Broken


@dataclass(frozen=True)
class Freed:
    """Releases taken out of the store, bytes that came free, and those the trash still holds."""

    releases: list[Key]
    bytes: int
    trashed: int


def unused_releases(context: Context) -> list[Key]:
    """Releases no generation of any variant was made from.

    DamagedError when a variant can't be read: what it uses is not known then.
    """
    for entry in context.variants.all():
        if isinstance(entry, Broken):
            raise DamagedError(
                context.home.directory(entry.name),
                "can't be read, so nobody knows what it uses",
                f"Run: ccm doctor --fix {entry.name}",
            )
    return _unused(context, context.store.installed())


def _unused(context: Context, keys: Collection[Key]) -> list[Key]:
    """Those no generation was made from, and that no session runs where they are."""
    receipts = context.home.root.glob(f"*/generations/*/native/{RECEIPT}")
    running = {session.release for session in running_sessions(context.home)}
    made = set()
    for receipt in receipts:
        with suppress(FileNotFoundError):  # another command removes that generation now
            made.add(_release_of(receipt))
    used = {key for key in keys if context.store.directory(key) in running} | made
    return [key for key in keys if key not in used]


def _is_unused(context: Context, key: Key) -> bool:
    return bool(_unused(context, [key]))


def _release_of(receipt: Path) -> Key:
    try:
        made_from = read_receipt(receipt)
    except FileNotFoundError:
        raise
    except (OSError, ValueError):
        raise DamagedError(
            receipt,
            "can't be read, so nobody knows what is used",
            f"Run: ccm doctor --fix {receipt.parents[3].name}",
        ) from None
    return made_from.package, made_from.version


def prune(context: Context, dry_run: bool) -> Freed:
    """Remove unused releases, generations beyond the kept ones, merged `--settings` files, npm's
    downloads for `ccm tweak`, what broken downloads left, and what has been in the trash for longer
    than it is kept.
    """
    if not dry_run:
        context.begin_change()
        empty(context, [entry for entry in context.trash.entries() if entry.is_expired])
    releases = unused_releases(context)
    partials = sum(map(_size, context.store.partials()))
    if dry_run:
        size = partials + sum(_own_bytes(context.store.directory(key)) for key in releases)
        return Freed(releases, size, _trashed_bytes(context))
    for name in context.variants.names():
        with context.changing(name):
            if context.variants.exists(name):  # it may have been removed since
                context.variants.prune(name)
    context.store.drop_partials()
    taken: list[Key] = []
    size = partials - sum(map(_size, context.store.partials()))
    for key in releases:
        own = _own_bytes(context.store.directory(key))
        if context.store.remove(key, partial(_is_unused, context, key)):
            taken.append(key)
            size += own
    with context.home.lock(SETTINGS_LOCK, context.say):
        if not running_sessions(context.home):
            fs.remove_tree(context.home.cache / "settings")
    if all(_is_free(context, tweak_lock(name)) for name in context.variants.names()):
        fs.remove_tree(context.home.cache / "npm")
    return Freed(taken, size, _trashed_bytes(context))


def verify(context: Context) -> dict[Path, list[str]]:
    """Every installed release and every variant's program, with what is wrong with each.

    Programs that share their bytes are read once.
    """
    from concurrent.futures import ThreadPoolExecutor

    natives = sorted(context.home.root.glob("*/generations/*/native"))
    looks: dict[Path, Callable[[], list[str]]] = {
        **{
            context.store.directory(k): partial(context.store.problems, k)
            for k in context.store.installed()
        },
        **{native: partial(native_problems, native) for native in natives},
    }
    shared = {directory: _inodes(directory) for directory in looks}
    first = {inodes: directory for directory, inodes in reversed(shared.items())}
    pool = ThreadPoolExecutor(os.cpu_count())  # hashing lets other threads run
    try:
        running = {inodes: pool.submit(looks[directory]) for inodes, directory in first.items()}
        return {directory: running[inodes].result() for directory, inodes in shared.items()}
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C nobody waits for the rest


def tweaked_by(directory: Path) -> str:
    """What changed the program in `directory` since it was published; "" for nothing."""
    try:
        return read_receipt(directory / RECEIPT).tweaked
    except (OSError, ValueError):
        return ""


def is_there(native: Path) -> bool:
    """What a look at names and sizes can tell, without reading hundreds of megabytes."""
    try:
        receipt = read_receipt(native / RECEIPT)
        sizes = {name: (native / name).lstat().st_size for name in receipt.files}
    except (OSError, ValueError):
        return False
    known = {name: state[1] for name, state in receipt.states.items() if state}
    return bool(sizes) and all(sizes[name] == known.get(name, sizes[name]) for name in sizes)


def native_problems(native: Path) -> list[str]:
    """What is wrong with the program of one generation, by its own receipt."""
    try:
        files = read_receipt(native / RECEIPT).files
    except FileNotFoundError:
        return [f"{native / RECEIPT} is missing"]
    except (OSError, ValueError):
        files = {}
    if not files:
        return [f"{native / RECEIPT} is damaged"]
    return file_problems(native, files)


def _inodes(directory: Path) -> frozenset[int]:
    found = set()
    for folder, _, names in os.walk(directory):
        for name in names:
            with suppress(FileNotFoundError):  # another command takes it away now
                found.add((Path(folder) / name).lstat().st_ino)
    return frozenset(found)


def _is_free(context: Context, lock_name: str) -> bool:
    with context.home.lock_if_free(lock_name) as free:
        return free


def _trashed_bytes(context: Context) -> int:
    return sum(_own_bytes(entry.path) for entry in context.trash.entries())


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:  # a download that came to its end
        return 0


def _own_bytes(directory: Path) -> int:
    """Bytes that come free when `directory` goes: files with other links keep theirs."""
    states = []
    for folder, _, names in os.walk(directory):
        for name in names:
            with suppress(FileNotFoundError):  # another command takes it away now
                states.append((Path(folder) / name).lstat())
    return sum(state.st_size for state in states if state.st_nlink == 1)
