"""Which platform this machine is."""

import platform
import sys
from pathlib import Path

from ccmirror_py.errors import UsageError
from ccmirror_py.release import Platform

_ARCHITECTURES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}
_SYSTEMS = {"linux": "linux", "darwin": "darwin", "win32": "win32"}


def this_platform() -> Platform:
    """UsageError when there is no Claude Code for a machine like this."""
    os_name = _SYSTEMS.get(sys.platform)
    arch = _ARCHITECTURES.get(platform.machine().lower())
    if not os_name or not arch:
        raise UsageError(
            f"There is no Claude Code for {sys.platform} on {platform.machine()}.",
            "It exists for Linux, macOS and Windows on x64 and arm64.",
        )
    return Platform(os_name, arch, musl=os_name == "linux" and _is_musl())


def _is_musl() -> bool:
    """musl's loader stands at a fixed place; a machine that has both loaders uses glibc."""
    return not platform.libc_ver()[0] and any(Path("/lib").glob("ld-musl-*.so.1"))
