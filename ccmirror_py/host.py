"""Which platform this machine is."""

from __future__ import annotations

import os
import sys

from ccmirror_py.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ccmirror_py.platforms import Platform

_ARCHITECTURES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}
_SYSTEMS = {"linux": "linux", "darwin": "darwin", "win32": "win32"}


def system_and_architecture() -> tuple[str, str]:
    """As npm names them. UsageError when there is no Claude Code for a machine like this."""
    machine = _machine()
    os_name = _SYSTEMS.get(sys.platform)
    arch = _ARCHITECTURES.get(machine.lower())
    if not os_name or not arch:
        raise UsageError(
            f"There is no Claude Code for {sys.platform} on {machine}.",
            "It exists for Linux, macOS and Windows on x64 and arm64.",
        )
    return os_name, arch


def this_platform() -> Platform:
    """UsageError as above."""
    from ccmirror_py.platforms import Platform

    os_name, arch = system_and_architecture()
    return Platform(os_name, arch, musl=os_name == "linux" and _is_musl())


def _is_musl() -> bool:
    """musl's loader stands at a fixed place; a machine that has both loaders uses glibc."""
    from pathlib import Path

    return not _is_glibc() and any(Path("/lib").glob("ld-musl-*.so.1"))


def _machine() -> str:
    if sys.platform == "win32":
        import platform

        return platform.machine()
    return os.uname().machine  # what the module platform says, without its 2 ms


def _is_glibc() -> bool:
    """confstr(3): only glibc knows the name."""
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (OSError, ValueError):
        return False
