"""`ccm trash`: give back what was removed, or forget it."""

import os
from collections.abc import Sequence

from ccmirror_py.context import Context
from ccmirror_py.errors import UsageError
from ccmirror_py.trash import Trashed


def restore(context: Context, text: str) -> Trashed:
    """The newest removed variant of this name, or the entry of this id, as it was."""
    context.begin_change()
    name = context.trash.find(text).name
    with context.changing(name):
        entry = context.trash.find(text)
        if context.variants.exists(name):
            raise UsageError(
                f"There is a variant '{name}' now.",
                f"Remove it first: ccm remove {name}, then: ccm trash restore {entry.id}",
            )
        context.variants.check_free(name, "")
        if not (entry.path / "current").is_symlink():
            raise UsageError(f"{entry.path} holds no variant.", "Look into it yourself.")
        if os.path.lexists(entry.path / "config") and context.home.config(name).exists():
            raise UsageError(
                f"{context.home.config(name)} is there, and the removed one has a config too.",
                "Move that directory away first.",
            )
        context.journal.restore(name, entry.id)
    return entry


def empty(context: Context, entries: Sequence[Trashed]) -> None:
    """Delete these entries of the trash for good."""
    context.begin_change()
    for entry in entries:
        with context.changing(entry.name):
            if entry.path.is_dir():  # another ccm may have been here
                context.trash.delete(entry)
