"""What was announced and may not be finished: changes that touch more than one place.

A variant's own change is one rename and needs none of this. Creating and removing also touch the
link on PATH, and a new key has older copies to take away; a command that is killed in between
leaves its announcement, which the next command that changes something finishes.
"""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from ccmirror_py import fs
from ccmirror_py.errors import CcmError
from ccmirror_py.home import Home
from ccmirror_py.variant import is_name
from ccmirror_py.variants import Variants

Verb = Literal["create", "create, keep config", "remove", "remove, keep config", "forget keys"]
_VERBS = get_args(Verb)
"""`create, keep config`: the directory already held the config of an earlier variant."""

_OWN_ENTRIES = (
    "current",
    ".current.new",
    "native",
    "variant.json",
    "credential",
    ".credential.new",
)


class Journal:
    def __init__(self, home: Home, variants: Variants) -> None:
        self._home = home
        self._variants = variants

    def announce(self, name: str, verb: Verb) -> None:
        """From now on the next command finishes what this one may not."""
        content = json.dumps({"name": name, "verb": verb}).encode()
        fs.replace_file(self._home.journal / name, content, 0o600)

    def finished(self, name: str) -> None:
        fs.remove_file(self._home.journal / name)

    def remove(self, name: str, keep_config: bool) -> None:
        """Take away all that belongs to `name`; every step can be repeated."""
        try:
            self.announce(name, "remove, keep config" if keep_config else "remove")
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            # a full disk must not keep anybody from making room; if this is killed, what is left
            # is a variant without its command, and the same command again ends it
        self._finish_removal(name, keep_config)

    def recover(self, say: Callable[[str], None]) -> None:
        """Finish what killed commands announced and clear what they left; itself safe to kill.

        What can't be finished is told and tried again by the next command; the others go on.
        """
        if not self._home.journal.is_dir():
            return
        entries = os.listdir(self._home.journal)
        announced = {entry.removeprefix(".").removesuffix(".new") for entry in entries}
        littered = {name for name in self._variants.names() if self._litter(name)}
        for name in sorted(filter(is_name, announced | littered)):
            with self._home.lock_if_free(name) as free:
                if not free:
                    continue  # a living command is at work there
                try:
                    self._finish(name)
                    self._sweep(name)
                except (OSError, CcmError) as error:
                    say(f"What a killed ccm left of {name} can't be cleared yet: {error}")
        self._home.sweep_staging(say)

    def _finish(self, name: str) -> None:
        try:
            verb = json.loads(fs.read_file(self._home.journal / name))["verb"]
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError, RecursionError):
            verb = None
        if verb not in _VERBS:
            verb = "create, keep config"  # of all verbs the one that takes least away
        if verb == "forget keys":
            self._variants.forget_keys(name)
            self.finished(name)
        elif verb.startswith("create") and self._variants.exists(name):
            self._variants.link(name)
            self.finished(name)
        else:
            self._finish_removal(name, keep_config=verb.endswith("keep config"))

    def _finish_removal(self, name: str, keep_config: bool) -> None:
        """Only what ccm and Claude Code made is removed; a directory with more in it stays."""
        directory = self._home.directory(name)
        if self._variants.owns_launcher(name):
            fs.remove_file(self._home.launcher(name))
        for entry in _OWN_ENTRIES:
            fs.remove_file(directory / entry)
        fs.remove_tree(self._home.generations(name))
        if not keep_config:
            fs.remove_tree(self._home.config(name))
        if directory.is_dir() and not any(directory.iterdir()):
            fs.remove_tree(directory)
        self.finished(name)

    def _sweep(self, name: str) -> None:
        for path in self._litter(name):
            if path.name.isdigit():
                fs.remove_tree(path)
            else:
                fs.remove_file(path)

    def _litter(self, name: str) -> list[Path]:
        """What a killed command prepared and did not use: successors, and generations to come."""
        successors = (
            self._home.directory(name) / ".current.new",
            self._home.config(name) / "..claude.json.new",
            self._home.journal / f".{name}.new",
        )
        found = [path for path in successors if os.path.lexists(path)]
        return found + self._variants.abandoned(name)
