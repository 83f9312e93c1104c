"""What a download that broke off has left, for the command after it.

A killed command, Ctrl-C or a line that stays broken cost nothing but the rest: the compressed bytes
are also appended to a file, and the next download of the same archive reads that first. They are
never trusted: they pass the same hash as the bytes from the line. So they need no sync, no server
has to be the same one (`If-Range`), and a failure to keep them is no failure.
"""

import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from ccmirror_py import fs
from ccmirror_py.errors import NetworkError

CHUNK = 64 * 1024
KEPT = 7 * 24 * 3600.0
"""Seconds after which nobody comes back for the rest."""


class Partial:
    """The file at `path`, within its `with`. Its `size` is that of what an earlier command left.

    The file stays when the block ends because the line broke or somebody stopped it. It goes when
    all is done, when the bytes were wrong, and when the disk failed, which may need the room.
    """

    def __init__(self, path: Path) -> None:
        from threading import Lock  # looking commands import the store, not this

        self._path = path
        self._file: BinaryIO | None = None
        self._lock = Lock()  # of a reading thread nobody waits for any more
        self.size = 0

    def __enter__(self) -> "Partial":
        self.size = 0
        try:
            fs.ensure_directory(self._path.parent)
            self._file = fs.appended_file(self._path, 0o600)
            self.size = self._path.stat().st_size
        except OSError:
            self._drop()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            broke_off = error is not None and not isinstance(error, Exception)
            if broke_off or isinstance(error, NetworkError):
                self._close()
            else:
                self._drop()

    def continued_by(self, rest: Iterator[bytes]) -> Generator[bytes]:
        """What is there, then `rest`, which is kept as it passes."""
        if self.size:
            with fs.open_regular(self._path) as file:
                left = self.size
                while left and (chunk := file.read(min(left, CHUNK))):
                    left -= len(chunk)
                    yield chunk
        for chunk in rest:
            self._keep(chunk)
            yield chunk

    def _keep(self, chunk: bytes) -> None:
        with self._lock:
            if self._file is not None:
                try:
                    fs.write_all(self._file, chunk)
                except OSError:  # a full disk, say: the download needs the room more than this does
                    self._drop()

    def _drop(self) -> None:
        self._close()
        with suppress(OSError):
            fs.drop_file(self._path)

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                file.close()


def is_old(path: Path) -> bool:
    """Whether nobody comes back for the rest of it."""
    with suppress(OSError):
        return abs(time.time() - path.lstat().st_mtime) > KEPT
    return False
