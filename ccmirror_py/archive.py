"""npm archives, read as a stream: the wanted members by exact name, as regular files, or nothing.

This is not `tarfile`: extraction filters have been escaped (CVE-2025-4517 and its kin), and long
names and sizes of hostile archives end in memory there. What npm publishes needs 500 bytes of
header and two types of entries.
"""

import hashlib
import zlib
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ccmirror_py.ahead import ahead
from ccmirror_py.errors import VerificationError
from ccmirror_py.release import MEGABYTE, Member

BLOCK = 512
PIECE = 256 * 1024
DEPTH = 8
"""Chunks, or pieces, that wait for the next thread."""
INFLATED_LIMIT = 1536 * MEGABYTE
UNWANTED_LIMIT = 64 * MEGABYTE
PADDING_LIMIT = MEGABYTE
MEMBER_COUNT_LIMIT = 10_000
_REGULAR = (b"0", b"\0")
# These describe the next entry by other means: its name above all. No release has any.
_EXTENDED = (b"x", b"g", b"L", b"K")


RETRY = "Try again; if it stays so, the registry or a proxy changes what it serves."


class GzipStream:
    """Inflates compressed chunks and hashes them as they pass, each in a thread of its own.

    Three work at once: one reads `chunks` (the line) and hashes, one inflates, and whoever reads
    here uses what came of it. Between them wait a few chunks at most, so memory stays flat.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._hash = hashlib.sha512()
        compressed = ahead(_hashed(chunks, self._hash), DEPTH)
        self._pieces = ahead(_inflated(compressed), DEPTH)
        self._piece = memoryview(b"")

    def some(self, size: int) -> memoryview:
        """Up to `size` bytes, as they come; none at the end. VerificationError for no gzip."""
        if not self._piece:
            self._piece = memoryview(next(self._pieces, b""))
        part, self._piece = self._piece[:size], self._piece[size:]
        return part

    def read(self, size: int) -> bytes:
        """`size` bytes; fewer only at the end."""
        parts = []
        while size > 0 and (part := self.some(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def digest(self) -> bytes:
        """The sha512 of all compressed bytes, reading those that are left.

        VerificationError when more than padding is left, inside the stream or after its end.
        """
        padding = self.read(PADDING_LIMIT)
        if padding.strip(b"\0") or self.read(1):
            raise VerificationError("The archive goes on after its end.", RETRY)
        return self._hash.digest()  # the pieces end when the chunks do: all are hashed

    def close(self) -> None:
        """What is not read yet won't be."""
        self._pieces.close()


def _hashed(chunks: Iterable[bytes], digest: "hashlib._Hash") -> Generator[bytes]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


def _inflated(chunks: Iterator[bytes]) -> Generator[bytes]:
    """Pieces of at most PIECE bytes. VerificationError for anything but one gzip member."""
    inflate, gzip_error = _inflater()
    compressed, inflated = b"", 0
    while not inflate.eof:
        chunk = compressed or next(chunks, None)
        try:
            piece = inflate.decompress(chunk or b"", PIECE)
        except gzip_error:
            raise VerificationError("What was downloaded is not a gzip archive.", RETRY) from None
        if chunk is None and not piece and not inflate.eof:
            raise VerificationError("The downloaded archive ends too early.", RETRY)
        compressed = inflate.unconsumed_tail
        inflated += len(piece)
        if inflated > INFLATED_LIMIT:
            raise VerificationError("The archive grows beyond every release there is.", RETRY)
        if piece:
            yield piece
    if inflate.unused_data or any(chunks):
        raise VerificationError("The download goes on after the archive's end.", RETRY)


def _inflater() -> tuple[Any, Any]:
    """A decompressor as zlib has it, and the exception it raises. ISA-L takes half the time."""
    try:
        from isal import isal_zlib
    except ImportError:  # no build of it for this machine
        return zlib.decompressobj(wbits=31), zlib.error
    return isal_zlib.decompressobj(wbits=31), isal_zlib.error


@dataclass(frozen=True)
class Entry:
    """One wanted file of an archive: its content, to be read before the next entry is asked for."""

    member: Member
    size: int
    content: Iterator[memoryview]


def wanted_entries(stream: GzipStream, wanted: Iterable[Member]) -> Iterator[Entry]:
    """Each of `wanted` as it comes by. VerificationError for anything odd about them.

    Other entries are skipped whatever they are; nothing of them is used.
    """
    by_name = {member.archive_name.encode(): member for member in wanted}
    seen: set[bytes] = set()
    for _ in range(MEMBER_COUNT_LIMIT):
        header = stream.read(BLOCK)
        if len(header) < BLOCK:
            raise VerificationError("The archive ends within a header.", RETRY)
        if header == bytes(BLOCK):
            break
        name, kind, size = _parse_header(header)
        if kind in _EXTENDED:
            raise VerificationError("The archive renames its entries, as no release does.", RETRY)
        member = by_name.get(name)
        if member is None:
            if size > UNWANTED_LIMIT:
                raise VerificationError("The archive has an entry larger than any release.", RETRY)
            _skip(stream, size)
            continue
        if kind not in _REGULAR or name in seen:
            raise VerificationError(
                f"The archive's {member.archive_name} is not one plain file.", RETRY
            )
        if not 0 < size <= member.size_limit:
            raise VerificationError(
                f"The archive's {member.archive_name} has an impossible size ({size} bytes).", RETRY
            )
        seen.add(name)
        yield Entry(member, size, _content(stream, size))
    else:
        raise VerificationError("The archive has more entries than any release.", RETRY)
    missing = [name for name, member in by_name.items() if member.required and name not in seen]
    if missing:
        raise VerificationError(f"The archive lacks {missing[0].decode()}.", RETRY)


def _parse_header(header: bytes) -> tuple[bytes, bytes, int]:
    """Name, type and size. Layout: POSIX ustar, pax(1) "ustar Interchange Format"."""
    expected = sum(header[:148]) + 8 * ord(" ") + sum(header[156:])
    if _octal(header[148:156]) != expected:
        raise VerificationError("The archive has a damaged header.", RETRY)
    prefix = header[345:500].split(b"\0", 1)[0] if header[257:262] == b"ustar" else b""
    name = header[:100].split(b"\0", 1)[0]
    return (prefix + b"/" + name if prefix else name), header[156:157], _octal(header[124:136])


def _octal(field: bytes) -> int:
    digits = field.strip(b" \0")
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise VerificationError("The archive has a damaged header.", RETRY)
    return int(digits, 8)


def _content(stream: GzipStream, size: int) -> Iterator[memoryview]:
    left = size
    while left:
        chunk = stream.some(left)
        if not chunk:
            raise VerificationError("The archive ends within a file.", RETRY)
        left -= len(chunk)
        yield chunk
    stream.read(-size % BLOCK)


def _skip(stream: GzipStream, size: int) -> None:
    for _ in _content(stream, size):
        pass
