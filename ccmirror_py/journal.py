"""What was announced and may not be finished: changes that touch more than one place.

A variant's own change is one rename and needs none of this. Creating and removing also touch the
link on PATH, and a new key has older copies to take away; a command that is killed in between
leaves its announcement, which the next command that changes something finishes.
"""

import errno
import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal, get_args

from ccmirror_py import fs
from ccmirror_py.errors import CcmError
from ccmirror_py.home import Home
from ccmirror_py.keyring_entries import forget
from ccmirror_py.name import is_name
from ccmirror_py.records import is_number
from ccmirror_py.variants import Variants

Verb = Literal[
    "create", "create, keep config", "remove", "remove, keep config", "restore", "forget keys"
]
"""`create, keep config`: the directory already held the config of an earlier variant."""

_MOVED = ("current", "native", "variant.json", "generations", "config")
"""What a removal moves to the trash, in this order; a restoration moves it back from the end."""

_OWN_ENTRIES = (
    "current",
    ".current.new",
    "native",
    "variant.json",
    "credential",
    ".credential.new",
)

_CHANGED = ("", "/generations", "/config", "/config/ccm", "/config/rules", "/config/themes")
"""Directories of a variant in which ccm makes, replaces or removes something."""

_SEEDED = frozenset(
    ".claude.json ..claude.json.new settings.json .settings.json.new ccm rules themes".split()
)
"""All that `create` itself puts into `config/`."""

_SEEDS = ("..claude.json.new", ".settings.json.new", "ccm/.seeded.json.new")
"""What is prepared in `config/` to take the place of a file there."""


class Journal:
    def __init__(self, home: Home, variants: Variants) -> None:
        self._home = home
        self._variants = variants

    def announce(self, name: str, verb: Verb, trashed: str = "") -> None:
        """From now on the next command finishes what this one may not.

        `trashed` is the entry of the trash that things are moved to, or come back from. Keys are
        forgotten only when there is a later generation than now.
        """
        now = self._variants.number(name) if verb == "forget keys" else 0
        announced = {"name": name, "verb": verb, "trashed": trashed, "after": now}
        content = json.dumps(announced).encode()
        fs.replace_file(self._home.journal / name, content, 0o600)

    def finished(self, name: str) -> None:
        fs.remove_file(self._home.journal / name)

    def remove(self, name: str, keep_config: bool, trashed: str) -> None:
        """Take away all that belongs to `name`; every step can be repeated.

        It goes to the entry `trashed` of the trash, or for good when that is empty.
        """
        try:
            self.announce(name, "remove, keep config" if keep_config else "remove", trashed)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            if trashed:
                raise CcmError(
                    "The disk is full, so nothing can be moved to the trash.",
                    f"Delete it for good instead: ccm remove {name} --purge",
                ) from None
            # a full disk must not keep anybody from making room; if this is killed, what is left
            # is a variant without its command, and the same command again ends it
        try:
            self._finish_removal(name, keep_config, trashed)
        except OSError as error:
            if self._variants.exists(name):
                self._take_back(name)
                raise
            raise CcmError(
                f"{name} is removed only in part: {error.filename}: {error.strerror}.",
                "Mend that; the next ccm command that changes something ends it: ccm prune",
            ) from None

    def restore(self, name: str, trashed: str) -> None:
        """Bring `name`, which nothing else has taken meanwhile, back from the trash."""
        self.announce(name, "restore", trashed)
        self._finish_restoration(name, trashed)

    def give_up(self, name: str) -> None:
        """After a failure: what was announced and did not come about is cleared away, so that
        nothing that comes later is taken for it. What can't be, the next command clears."""
        self.settle(name, lambda _: None)

    def forget_keys(self, name: str) -> None:
        """What was announced as `forget keys`: the present key takes the place of all others."""
        self._variants.forget_keys(name)
        forget(self._home, self._variants, name)
        self.finished(name)

    def recover(self, say: Callable[[str], None]) -> None:
        """Finish what killed commands announced and clear what they left; itself safe to kill.

        What can't be finished is told and tried again by the next command; the others go on.
        """
        if not self._home.journal.is_dir():
            return
        entries = os.listdir(self._home.journal)
        # what is waiting to take an announcement's place bears its name between "." and ".new"
        announced = {e[1:].removesuffix(".new") if e.startswith(".") else e for e in entries}
        names = self._variants.names()
        self._make_last({*names, *filter(is_name, announced)})
        littered = {name for name in names if self._has_litter(name)}
        for name in sorted(filter(is_name, announced | littered)):
            with self._home.lock_if_free(name) as free:
                if free:  # else a living command is at work there
                    self.settle(name, say)
        self._home.sweep_staging(say)

    def settle(self, name: str, say: Callable[[str], None]) -> None:
        """The same for one name, whose lock is held."""
        self._make_last({name})
        try:
            self._finish(name, say)
            self._sweep(name)
        except (OSError, CcmError) as error:
            say(f"What a killed ccm left of {name} can't be cleared yet: {error}")

    def _make_last(self, names: set[str]) -> None:
        """What a killed command did last may not be on the disk yet: it has to be, before anything
        is taken away because of it, and before anybody is told that it is done."""
        home = self._home
        for directory in (home.journal, home.staging, home.trash, home.bin_dir, home.numbers):
            fs.make_last(directory)
        for name in sorted(names):
            for inner in _CHANGED:
                fs.make_last(f"{home.root}/{name}{inner}")  # texts: among hundreds it counts

    def _take_back(self, name: str) -> None:
        """A removal that did not get as far as `current`: the variant is whole."""
        with suppress(OSError, CcmError):
            self._variants.link(name)
        self.finished(name)

    def _finish(self, name: str, say: Callable[[str], None]) -> None:
        try:
            verb, trashed, after = self._announced(name)
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError, RecursionError):
            if self._variants.exists(name):
                self._variants.link(name)
            self.finished(name)
            say(f"What was announced for {name} can't be read; nothing was taken away.")
            return
        if verb == "forget keys":
            if self._variants.number(name) > after:
                self.forget_keys(name)
            else:
                self.finished(name)  # the new key never became the variant's
        elif verb == "restore":
            self._finish_restoration(name, trashed)
        elif verb.startswith("create") and self._variants.exists(name):
            self._variants.link(name)
            self.finished(name)
        elif verb.startswith("remove") and self._variants.exists(name):
            self._take_back(name)
        else:
            keep_config = verb.endswith("keep config")
            if verb == "create":
                keep_config = self._has_more_than_seeds(name)
            self._finish_removal(name, keep_config, trashed)

    def _announced(self, name: str) -> tuple[str, str, int]:
        """What `announce` wrote; ValueError, KeyError or TypeError for anything else."""
        announced = json.loads(fs.read_file(self._home.journal / name))
        verb, trashed = str(announced["verb"]), str(announced["trashed"])
        after = announced.get("after", 0)  # absent before 2026-11-23
        if verb not in get_args(Verb) or not _fits(name, verb, trashed):
            raise ValueError("is no announcement")
        return verb, trashed, int(after)

    def _has_more_than_seeds(self, name: str) -> bool:
        """Somebody may have brought an old config along since a `create` was killed."""
        try:
            found = os.listdir(self._home.config(name))
        except FileNotFoundError:
            return False
        return not _SEEDED.issuperset(found)

    def _finish_removal(self, name: str, keep_config: bool, trashed: str) -> None:
        """Only what ccm and Claude Code made is taken; a directory with more in it stays."""
        directory = self._home.directory(name)
        try:
            self._variants.remember_number(name)
        except OSError as error:
            if trashed or error.errno != errno.ENOSPC:
                raise
        if self._variants.owns_launcher(name):
            fs.remove_file(self._home.launcher(name))
        if trashed:
            moved = [entry for entry in _MOVED if entry != "config" or not keep_config]
            _move(moved, directory, self._home.trash / trashed)
        for entry in _OWN_ENTRIES:
            fs.remove_file(directory / entry)
        fs.remove_tree(self._home.generations(name))
        if keep_config:
            # once nothing is announced, nobody looks into the config of what is no variant
            for seed in _SEEDS:
                fs.remove_file(self._home.config(name) / seed)
        else:
            fs.remove_tree(self._home.config(name))
        if directory.is_dir() and not any(directory.iterdir()):
            fs.remove_tree(directory)
        self.finished(name)

    def _finish_restoration(self, name: str, trashed: str) -> None:
        """The last thing that comes back is `current`, which makes it a variant again."""
        entry = self._home.trash / trashed
        _move(list(reversed(_MOVED)), entry, self._home.directory(name))
        if entry.is_dir() and not any(entry.iterdir()):
            fs.remove_tree(entry)
        if self._variants.exists(name):
            self._variants.link(name)
        self.finished(name)

    def _sweep(self, name: str) -> None:
        for path in self._litter(name):
            if is_number(path.name):
                fs.remove_tree(path)
            else:
                fs.remove_file(path)

    def _has_litter(self, name: str) -> bool:
        try:
            return bool(self._litter(name))
        except OSError:
            return True  # and `settle` says what is in the way

    def _litter(self, name: str) -> list[Path]:
        """What a killed command prepared and did not use: successors, and generations to come."""
        own = f"{self._home.root}/{name}"
        successors = (
            f"{own}/.current.new",
            *(f"{own}/config/{seed}" for seed in _SEEDS),
            f"{self._home.journal}/.{name}.new",
        )
        found = [Path(path) for path in successors if os.path.lexists(path)]
        return found + self._variants.abandoned(name)


def _fits(name: str, verb: str, trashed: str) -> bool:
    """Whether it can be the entry of the trash this verb names; "" where it needs none."""
    is_entry = re.fullmatch(rf"{re.escape(name)}~[0-9TZ]+", trashed) is not None
    return is_entry or (not trashed and verb != "restore")


def _move(entries: list[str], source: Path, target: Path) -> None:
    """Those of `entries` that are still in `source`."""
    fs.ensure_directory(target)
    for entry in entries:
        if os.path.lexists(source / entry):
            fs.rename(source / entry, target / entry)
