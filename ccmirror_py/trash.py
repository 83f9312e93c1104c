"""What `ccm remove` took away and can still give back: config, sessions, key and program.

An entry is a directory `.trash/NAME~TIME` with what was in the variant's own directory. The
journal moves things in and out; here they are only looked at, and deleted.
"""

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ccmirror_py import fs
from ccmirror_py.errors import NotFoundError
from ccmirror_py.home import Home
from ccmirror_py.name import is_name

KEPT = timedelta(days=30)
_TIME = "%Y%m%dT%H%M%S%fZ"
_PARTS = "([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{6})Z"


@dataclass(frozen=True)
class Trashed:
    """`removed` is UTC."""

    id: str
    name: str
    removed: datetime
    path: Path

    @property
    def expires(self) -> datetime:
        return self.removed + KEPT

    @property
    def is_expired(self) -> bool:
        return self.expires < datetime.now(UTC)


class Trash:
    def __init__(self, home: Home) -> None:
        self._home = home

    def new_id(self, name: str) -> str:
        return f"{name}~{datetime.now(UTC).strftime(_TIME)}"

    def entries(self) -> list[Trashed]:
        """Oldest first. What has another form of name was not put there by ccm."""
        try:
            ids = os.listdir(self._home.trash)
        except FileNotFoundError:
            return []
        return sorted(
            (entry for id_ in ids if (entry := self._entry(id_))), key=lambda e: (e.removed, e.id)
        )

    def find(self, text: str) -> Trashed:
        """The entry with this id, else the newest of this name."""
        entries = self.entries()
        for entry in reversed(entries):
            if text in (entry.id, entry.name):
                return entry
        hint = "See: ccm trash list" if entries else "The trash is empty."
        raise NotFoundError("removed variant", text, {entry.name for entry in entries}, hint)

    def delete(self, entry: Trashed) -> None:
        """For good. In one step it is no entry any more; call it under the lock of its name."""
        staged = self._home.stage(entry.name)
        try:
            fs.rename(entry.path, staged / "trashed")
        finally:
            fs.remove_tree(staged)

    def _entry(self, id_: str) -> Trashed | None:
        name, _, moment = id_.rpartition("~")
        path = self._home.trash / id_
        try:
            parts = re.fullmatch(_PARTS, moment)
            if not parts:
                return None
            # strptime takes 3 ms to import
            year, month, day, hour, minute, second, microsecond = map(int, parts.groups())
            removed = datetime(year, month, day, hour, minute, second, microsecond, UTC)
            entry = Trashed(id_, name, removed, path)
            is_ours = is_name(name) and bool(entry.expires)
        except (ValueError, OverflowError):  # a time after the last there is
            return None
        return entry if is_ours and path.is_dir() and not path.is_symlink() else None
