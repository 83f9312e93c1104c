"""Every error a user can see: one sentence, one hint, one exit code.

Exit codes: 1 some of several failed or a check failed, 2 usage, 3 not found, 4 network,
5 verification, 6 busy, 7 broken record. 0 and 130 (interrupted) are not errors of this module.
"""

from __future__ import annotations

TYPE_CHECKING = False  # what `ccm list` imports is kept small (docs/performance.md)
if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class CcmError(Exception):
    """`sentence` says what happened, `hint` what to do about it (a command where there is one)."""

    exit_code = 1

    def __init__(self, sentence: str, hint: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.hint = hint


class UsageError(CcmError):
    """What was asked makes no sense; nothing was done."""

    exit_code = 2


class NotFoundError(CcmError):
    """`kind` is a word for people ("variant"); `known` is what could have been meant."""

    exit_code = 3

    def __init__(self, kind: str, name: str, known: Iterable[str] = (), hint: str = "") -> None:
        names = sorted(known)
        super().__init__(f"There is no {kind} '{name}'.", did_you_mean(name, names) or hint)


class NetworkError(CcmError):
    """The registry could not be asked, or refused."""

    exit_code = 4


class VerificationError(CcmError):
    """Bytes are not what they should be."""

    exit_code = 5


class BusyError(CcmError):
    """Another process holds what this one needs."""

    exit_code = 6


class DamagedError(CcmError):
    """Something ccm wrote can no longer be read."""

    exit_code = 7

    def __init__(self, path: Path | str, reason: str, hint: str = "") -> None:
        super().__init__(f"{path} {reason}.", hint)


class NewerError(CcmError):
    """A newer ccm wrote it; this one neither reads nor replaces it."""

    exit_code = 7

    def __init__(self, path: Path | str) -> None:
        super().__init__(f"{path} was written by a newer ccm.", "Update ccm, then try again.")


class DiskError(CcmError):
    """The operating system refused a file operation."""

    def __init__(self, error: OSError) -> None:
        where = f"{error.filename}: " if error.filename else ""
        super().__init__(f"{where}{error.strerror or error}.", "Nothing was changed by this step.")


FEW = 12


def did_you_mean(name: str, known: list[str]) -> str:
    """A hint naming the nearest of `known`, or all of them when they are few; else ""."""
    from difflib import get_close_matches  # 4 ms, only on the way to an error

    near = get_close_matches(name, known, n=1)
    if near:
        return f"Did you mean '{near[0]}'?"
    if 0 < len(known) <= FEW:
        return f"Known: {', '.join(known)}."
    return ""
