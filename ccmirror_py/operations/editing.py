"""A text the user edits: a private file that is gone afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ccmirror_py import fs
from ccmirror_py.context import Context

_LOCK = ".editing"


@contextmanager
def draft(context: Context, content: str) -> Iterator[Path]:
    """One at a time; what a killed command left there is cleared with other leftovers."""
    context.home.prepare()
    with context.home.lock(_LOCK, context.say):
        directory = context.home.stage(_LOCK)
        try:
            path = directory / "guidance.md"
            fs.write_file(path, content.encode(), 0o600)
            yield path
        finally:
            fs.remove_tree(directory)
