"""The machines Claude Code is published for, and its names at npm (read there, 2026-11-22).

Apart from release.py, since every command asks where it runs and few what is published.
"""

from dataclasses import dataclass

from ccmirror_py import rule
from ccmirror_py.version import Version

SCOPE = "@anthropic-ai"
ROOT_PACKAGE = f"{SCOPE}/claude-code"


@dataclass(frozen=True)
class Platform:
    """`os` linux, darwin or win32; `arch` x64 or arm64; `musl` only on Linux."""

    os: str
    arch: str
    musl: bool = False

    @property
    def package(self) -> str:
        suffix = "-musl" if self.musl else ""
        return f"{ROOT_PACKAGE}-{self.os}-{self.arch}{suffix}"

    @property
    def program(self) -> str:
        return rule.program_name(rule.FIRST_NATIVE, self.os)


def program_of(version: Version, platform: Platform) -> str:
    """Path of what is executed, relative to the release."""
    return rule.program_name(str(version), platform.os)
