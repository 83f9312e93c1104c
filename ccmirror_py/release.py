"""Releases: one version of Claude Code for one platform, and what of its archive is wanted.

Package names, archive layouts and the change from a JavaScript package to native programs were
read off the packages themselves (npm, 2026-11-22): 1.0.128, 2.1.1, 2.1.112, 2.1.113, 2.1.330.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ccmirror_py.errors import NetworkError, NotFoundError, VerificationError
from ccmirror_py.platforms import ROOT_PACKAGE, SCOPE, Platform
from ccmirror_py.version import FIRST_NATIVE, Version, version_or_none

if TYPE_CHECKING:
    from ccmirror_py.signature import Signature


MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Integrity:
    """A sha512 digest as npm publishes it (`dist.integrity`, Subresource Integrity form)."""

    sha512: bytes

    def __str__(self) -> str:
        return "sha512-" + base64.b64encode(self.sha512).decode()


@dataclass(frozen=True)
class Member:
    """One file wanted from an archive: its exact name there, its name on disk, its mode."""

    archive_name: str
    path: str
    mode: int
    size_limit: int
    required: bool = True


@dataclass(frozen=True)
class Release:
    """`package` is the full npm name. The platform is already chosen.

    `signed_by` is the id of npm's key that signed it, None when the registry sent no signature.
    """

    package: str
    version: Version
    url: str
    integrity: Integrity
    signed_by: str | None = None

    @property
    def native(self) -> bool:
        return self.package != ROOT_PACKAGE

    @property
    def key(self) -> tuple[str, str]:
        """Where the store keeps it: package without scope, version."""
        return self.package.removeprefix(f"{SCOPE}/"), str(self.version)


def wanted_members(release: Release, platform: Platform) -> tuple[Member, ...]:
    """What to take from the archive. Nothing else in it is ever written."""
    if release.native:
        program = platform.program
        return (Member(f"package/{program}", program, 0o555, 1024 * MEGABYTE),)
    rg = "rg.exe" if platform.os == "win32" else "rg"
    vendored = f"{platform.arch}-{platform.os}"
    optional = (
        f"vendor/ripgrep/{vendored}/{rg}",
        f"vendor/ripgrep/{vendored}/ripgrep.node",
        f"vendor/audio-capture/{vendored}/audio-capture.node",
        f"vendor/seccomp/{platform.arch}/apply-seccomp",
        "yoga.wasm",
        "resvg.wasm",
        "tree-sitter.wasm",
        "tree-sitter-bash.wasm",
    )
    return (
        Member("package/cli.js", "cli.js", 0o555, 64 * MEGABYTE),
        # cli.js is an ES module only because this file beside it says so
        Member("package/package.json", "package.json", 0o444, MEGABYTE),
        *(
            Member(f"package/{path}", path, 0o555, 32 * MEGABYTE, required=False)
            for path in optional
        ),
    )


def parse_integrity(text: object) -> Integrity:
    """The sha512 of a `dist.integrity`, which may list several; others are too weak to count."""
    for part in str(text).split() if isinstance(text, str) else ():
        algorithm, _, encoded = part.partition("-")
        if algorithm == "sha512":
            try:
                digest = base64.b64decode(encoded.partition("?")[0], validate=True)
            except (binascii.Error, ValueError):
                continue
            if len(digest) == 64:
                return Integrity(digest)
    raise VerificationError(
        "The registry gives no sha512 for this release, so its bytes can't be checked.",
        "Use a registry that serves dist.integrity, such as the public npm registry.",
    )


def manifest_version(manifest: Mapping[str, object]) -> Version:
    """VerificationError when the registry's document does not tell one."""
    version = version_or_none(manifest.get("version"))
    if version is None:
        raise VerificationError(
            "The registry's answer about Claude Code names no version.",
            "Check the registry settings: npm config get registry",
        )
    return version


def choose_package(manifest: Mapping[str, object], platform: Platform) -> str:
    """Which package of a version holds the program for `platform`.

    `manifest` is the root package's document of that version; since 2.1.113 it lists its platform
    packages as optional dependencies. NotFoundError when there is none for this platform.
    """
    if manifest_version(manifest) < FIRST_NATIVE:
        return ROOT_PACKAGE
    listed = manifest.get("optionalDependencies")
    if not isinstance(listed, Mapping) or platform.package not in listed:
        raise NotFoundError(
            "build of Claude Code",
            f"{manifest.get('version')} for {platform.package.removeprefix(ROOT_PACKAGE + '-')}",
            hint="Choose another version with --claude-version; `ccm versions --available`.",
        )
    return platform.package


def parse_release(
    manifest: Mapping[str, object],
    package: str,
    version: Version,
    signed_by: Callable[[str, tuple[Signature, ...]], str | None],
) -> Release:
    """`manifest` is the registry's document of exactly this package and version.

    `signed_by` gets what was signed and by whom, and says whether that is true.
    """
    from ccmirror_py.signature import parse_signatures  # only when a registry was asked

    if manifest.get("name") != package or manifest.get("version") != str(version):
        raise VerificationError(
            f"Asked for {package} {version}, the registry answered with "
            f"{manifest.get('name')} {manifest.get('version')}.",
            "Check the registry settings: `npm config get registry`.",
        )
    dist = manifest.get("dist")
    url = dist.get("tarball") if isinstance(dist, Mapping) else None
    if not isinstance(dist, Mapping) or not isinstance(url, str):
        raise NetworkError(
            f"The registry's answer about {package} {version} has no download address.",
            "Check the registry settings: `npm config get registry`.",
        )
    message = f"{package}@{version}:{dist.get('integrity')}"
    signer = signed_by(message, parse_signatures(dist.get("signatures")))
    return Release(package, version, url, parse_integrity(dist.get("integrity")), signer)
