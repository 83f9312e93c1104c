"""What became of one variant in a command that changes versions.

`notices` are what the user has to know or to decide, whether or not something changed.
"""

from dataclasses import dataclass

from ccmirror_py.errors import CcmError
from ccmirror_py.variant import Variant
from ccmirror_py.version import Spec, Version


@dataclass(frozen=True)
class Current:
    """Nothing newer within the rule."""

    name: str
    version: Version
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Updated:
    """From one version to another; with `dry_run` it only would be.

    `changes` are those of the provider's file that came along, in words.
    """

    name: str
    before: Version
    after: Version
    dry_run: bool = False
    changes: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refreshed:
    """The same version with what has changed in its provider's file, in ccm, or in the network.

    `changes` are those of the provider's file, in words.
    """

    name: str
    version: Version
    dry_run: bool = False
    changes: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kept:
    """The rule means an older version now than the one there is, which therefore stays."""

    name: str
    version: Version
    rule: Spec
    offered: Version


@dataclass(frozen=True)
class Refused:
    """What there is stays: `offered` was tried, and failed in `step`; the cause, what mends it."""

    name: str
    version: Version
    offered: Version
    step: str
    cause: str
    fix: str


@dataclass(frozen=True)
class Failed:
    name: str
    error: CcmError


@dataclass(frozen=True)
class RolledBack:
    """What a variant was, and what it is again."""

    before: Variant
    after: Variant


Outcome = Current | Updated | Refreshed | Kept | Refused | Failed
