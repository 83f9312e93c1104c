"""The variants on this disk: reading them, making them exist, changing and removing them.

One commit point: `current` is a symlink to a generation, and the variant exists while it does. All
the rest is prepared before its rename or cleared after it. What touches a second directory (the
link on PATH) is announced in the journal, which the next command that changes something finishes.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ccmirror_py import fs, records
from ccmirror_py.errors import BusyError, CcmError, DamagedError, NotFoundError, UsageError
from ccmirror_py.home import Home
from ccmirror_py.name import check_name, is_name
from ccmirror_py.records import is_number
from ccmirror_py.secret import Secret, check_secret
from ccmirror_py.sessions import running_sessions
from ccmirror_py.variant import FromFile, Variant, from_fields, same_program
from ccmirror_py.version import Version

KEPT_GENERATIONS = 2


@dataclass(frozen=True)
class Broken:
    """A variant that can't be read, beside the others that can."""

    name: str
    error: CcmError


class Variants:
    def __init__(self, home: Home) -> None:
        self._home = home

    def names(self) -> list[str]:
        """Every variant, readable or not."""
        return records.names(str(self._home.root))

    def exists(self, name: str) -> bool:
        """A directory nobody may look into counts too: it is there, and broken."""
        return records.exists(str(self._home.root), name)

    def lost(self) -> list[str]:
        """Names with records and no `current`. ccm leaves none so: it announces its removals."""
        written = self._home.root.glob("*/generations/*/variant.json")
        return sorted(
            name
            for name in {path.parents[2].name for path in written}
            if is_name(name) and not self.exists(name)
            if not self._home.directory(name).is_symlink()
            if not (self._home.journal / name).exists()
        )

    def get(self, name: str) -> Variant:
        """NotFoundError with what could be meant; DamagedError when the record can't be read."""
        return from_fields(records.get(str(self._home.root), name))

    def read(self, name: str, generation: Path) -> Variant:
        """The record of one generation of `name`."""
        return from_fields(records.read(name, str(generation)))

    def all(self) -> list[Variant | Broken]:
        return [e for e in map(self.get_or_broken, self.names()) if not _is_gone(e)]

    def get_or_broken(self, name: str) -> Variant | Broken:
        try:
            return self.get(name)
        except CcmError as error:
            return Broken(name, error)

    def signed_by(self, name: str) -> str | None:
        """The key that signed the current program's release; None when unsigned or not known."""
        return records.signed_by(str(self._home.root), name)

    def number(self, name: str) -> int:
        """The current generation, 0 when there is none."""
        return records.number(str(self._home.root), name)

    def all_numbers(self, name: str) -> list[int]:
        """Every generation there is, newest first."""
        return sorted(self._numbers(name), reverse=True)

    def abandoned(self, name: str) -> list[Path]:
        """Generations above the current one: a killed command built them and never switched."""
        try:
            current = self.number(name)
        except (DamagedError, PermissionError):
            return []  # any of them may be needed to mend it
        if not current:
            return []  # without `current` nothing says whose they are
        return [self._home.generation(name, n) for n in self.all_numbers(name) if n > current]

    def earlier(self, name: str) -> list[int]:
        """Generations below the current one that are still there, newest first."""
        current = self.number(name)
        return [number for number in self.all_numbers(name) if number < current]

    def earlier_versions(self, name: str) -> set[Version]:
        """Of the generations that are still there; unreadable ones are left out."""
        found = set()
        for number in self.earlier(name):
            with suppress(CcmError):
                found.add(self.read(name, self._home.generation(name, number)).version)
        return found

    def way_back(self, name: str) -> int | None:
        """The newest earlier generation that is different in more than its key and its rule."""
        current = self.get(name)
        for number in self.earlier(name):
            with suppress(CcmError):
                if not same_program(self.read(name, self._home.generation(name, number)), current):
                    return number
        return None

    def check_free(self, name: str, path: str) -> None:
        """UsageError unless `name` can become a variant.

        `path` is the user's PATH, or empty when hiding another command is what the user wants.
        """
        check_name(name)
        directory, launcher = self._home.directory(name), self._home.launcher(name)
        if self.exists(name):
            raise UsageError(
                f"There is a variant '{name}' already.",
                f"Change it with `ccm update {name}`, or make it anew with --force "
                "(its config and sessions stay).",
            )
        if directory.is_symlink() or (directory.exists() and not self._only_config(name)):
            hint = "Move away what is in it, or choose another name."
            if name in self.lost():
                hint = f"If it was a variant: ccm doctor --fix {name}"
            raise UsageError(f"{directory} exists and was not made by ccm.", hint)
        if self.has_launcher_conflict(name):
            raise UsageError(
                f"{launcher} exists and was not made by ccm.",
                "Choose another name, or move that file away.",
            )
        for folder in path.split(os.pathsep):
            command = Path(folder) / name
            if folder and command != launcher and os.access(command, os.X_OK):
                if command.is_dir() or command.resolve() == launcher.resolve():
                    continue
                raise UsageError(
                    f"'{name}' is already the command {command}.",
                    "Choose another name, or hide that command with --shadow.",
                )

    def owns_launcher(self, name: str) -> bool:
        return records.owns_launcher(str(self._home.root), str(self._home.bin_dir), name)

    def has_launcher_conflict(self, name: str) -> bool:
        launcher = self._home.launcher(name)
        return (launcher.is_symlink() or launcher.exists()) and not self.owns_launcher(name)

    def current(self, name: str) -> tuple[Variant, Path]:
        """The variant and the generation it was read from, whatever is changed meanwhile."""
        self.get(name)  # says what is wrong
        generation = self._home.generation(name, self.number(name))
        return self.read(name, generation), generation

    def stored_key(self, name: str, number: int | None = None) -> Secret | None:
        """The key in a generation (the current one), None when there is none.

        DamagedError when there is one that can't be read: what is made without it would lose it.
        """
        path = self._home.generation(name, number or self.number(name)) / "credential"
        hint = f"Give it again: ccm key set {name}"
        try:
            text = fs.read_file(path).decode(errors="replace")
            return check_secret(text.removesuffix("\n"))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DamagedError(path, str(error.strerror), hint) from None
        except UsageError:
            raise DamagedError(path, "holds no key", hint) from None

    def stored_key_of(self, variant: Variant) -> Secret | None:
        """The key of `variant`, which was read a while ago and says where the key may go.

        BusyError when the stored key is another variant's by now.
        """
        if not isinstance(variant.credential, FromFile):
            return None
        present, generation = self.current(variant.name)
        if present.credential != variant.credential:
            raise BusyError(f"Another ccm changed {variant.name} meanwhile.", "Try again.")
        return self.stored_key(variant.name, int(generation.name))

    # --- changes; each is called under the lock of its variant ---

    def stage(self, name: str) -> tuple[int, Path]:
        """The number of the next generation, and an empty directory to build it in."""
        for abandoned in self.abandoned(name):
            fs.remove_tree(abandoned)
        return max(self.number(name), self._last_number(name)) + 1, self._home.stage(name)

    def remember_number(self, name: str) -> None:
        """Before `name` is removed: its numbers are never used again. A launcher that was started a
        moment before would find the files of another variant where it looks for its own."""
        last = max(self._numbers(name), default=0)
        if last > self._last_number(name):
            fs.ensure_directory(self._home.last_number(name).parent)
            fs.replace_file(self._home.last_number(name), str(last).encode(), 0o600)

    def commit(self, name: str, number: int, staged: Path) -> None:
        """Make the staged generation the current one."""
        fs.sync_directory(staged)
        fs.ensure_directory(self._home.generations(name))
        fs.rename(staged, self._home.generation(name, number))
        fs.replace_link(f"generations/{number}", self._home.current(name))

    def link(self, name: str) -> None:
        """The fixed links inside the variant, and the one on PATH. Repeating it is fine."""
        directory = self._home.directory(name)
        for link, target in (
            ("native", "current/native"),
            ("variant.json", "current/variant.json"),
        ):
            with suppress(FileExistsError):
                fs.make_link(target, directory / link)
        fs.ensure_directory(self._home.bin_dir, 0o755)  # a place of the user's, not of ccm's
        try:
            fs.make_link(self._home.launcher_target(name), self._home.launcher(name))
        except FileExistsError:
            if not self.owns_launcher(name):
                raise UsageError(
                    f"{self._home.launcher(name)} exists and was not made by ccm.",
                    f"Move that file away, then run: ccm doctor --fix {name}",
                ) from None

    def forget_keys(self, name: str) -> None:
        """Remove the stored keys of generations that are no longer current."""
        for number in self.earlier(name):
            fs.remove_file(self._home.generation(name, number) / "credential")

    def seed_config(self, name: str, file: str, content: bytes) -> None:
        """A file below `config/`, with what ccm may write into it."""
        path = self._home.config(name) / file
        if path.parent.is_symlink() or (path.parent.exists() and not path.parent.is_dir()):
            return  # the user's
        fs.ensure_directory(path.parent)
        fs.replace_file(path, content, 0o600)

    def link_config(self, name: str, file: str, target: str) -> None:
        """A link below `config/` to what is ccm's; where something is already, it stays."""
        link = self._home.config(name) / file
        if link.parent.is_symlink() or os.path.lexists(link):
            return
        if link.parent.exists() and not link.parent.is_dir():
            return
        fs.ensure_directory(link.parent)
        fs.make_link(target, link)

    def prune(self, name: str) -> None:
        """Remove generations beyond the kept ones; those of running sessions stay."""
        earlier = self.earlier(name)
        kept = {*earlier[: KEPT_GENERATIONS - 1], self.way_back(name)}
        spare = [self._home.generation(name, number) for number in earlier if number not in kept]
        in_use = {session.generation for session in running_sessions(self._home)} if spare else ()
        for generation in spare:
            if generation not in in_use:
                fs.remove_tree(generation)

    def _last_number(self, name: str) -> int:
        try:
            text = fs.read_file(self._home.last_number(name)).decode(errors="replace")
        except OSError:
            return 0
        return int(text) if is_number(text) else 0

    def _numbers(self, name: str) -> list[int]:
        try:
            entries = os.listdir(self._home.generations(name))
        except FileNotFoundError:
            return []
        return [int(entry) for entry in entries if is_number(entry)]

    def has_kept_config(self, name: str) -> bool:
        return not self.exists(name) and self._home.config(name).is_dir()

    def _only_config(self, name: str) -> bool:
        """What `remove --keep-config` leaves."""
        directory = self._home.directory(name)
        return directory.is_dir() and {*os.listdir(directory)} <= {"config", ".DS_Store"}


def _is_gone(entry: Variant | Broken) -> bool:
    """Removed after it was listed."""
    return isinstance(entry, Broken) and isinstance(entry.error, NotFoundError)
