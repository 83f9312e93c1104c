"""Releases: which package of a version is taken, what it has to say, what is wanted of it."""

import base64
import hashlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccmirror_py.errors import NetworkError, NotFoundError, VerificationError
from ccmirror_py.platforms import ROOT_PACKAGE, Platform, program_of
from ccmirror_py.release import (
    MEGABYTE,
    Integrity,
    Member,
    Release,
    choose_package,
    parse_integrity,
    parse_release,
    wanted_members,
)
from ccmirror_py.version import FIRST_NATIVE, Version, parse_version


def nobody(message: str, signatures: object) -> None:
    """Who signed it, where that is not what is tried."""


PACKAGES = {
    Platform("linux", "x64"): "@anthropic-ai/claude-code-linux-x64",
    Platform("linux", "arm64"): "@anthropic-ai/claude-code-linux-arm64",
    Platform("linux", "x64", musl=True): "@anthropic-ai/claude-code-linux-x64-musl",
    Platform("linux", "arm64", musl=True): "@anthropic-ai/claude-code-linux-arm64-musl",
    Platform("darwin", "x64"): "@anthropic-ai/claude-code-darwin-x64",
    Platform("darwin", "arm64"): "@anthropic-ai/claude-code-darwin-arm64",
    Platform("win32", "x64"): "@anthropic-ai/claude-code-win32-x64",
    Platform("win32", "arm64"): "@anthropic-ai/claude-code-win32-arm64",
}
LINUX = Platform("linux", "x64")
WINDOWS = Platform("win32", "arm64")
DIGEST = hashlib.sha512(b"bytes").digest()
SHA512 = "sha512-" + base64.b64encode(DIGEST).decode()
SHA1 = "sha1-" + base64.b64encode(hashlib.sha1(b"bytes").digest()).decode()
SHA256 = "sha256-" + base64.b64encode(hashlib.sha256(b"bytes").digest()).decode()
OTHER = "sha512-" + base64.b64encode(hashlib.sha512(b"other").digest()).decode()
VERSION = Version(2, 1, 330)
URL = "https://registry.example/x/-/x-2.1.330.tgz"


def manifest(version: str, *packages: str) -> dict[str, object]:
    """The root package's document, with these optional dependencies."""
    return {"version": version, "optionalDependencies": dict.fromkeys(packages, version)}


def document(**changes: object) -> dict[str, object]:
    """The registry's document of PACKAGES[LINUX] 2.1.330."""
    whole: dict[str, object] = {
        "name": PACKAGES[LINUX],
        "version": "2.1.330",
        "dist": {"tarball": URL, "integrity": SHA512},
    }
    return whole | changes


def test_each_of_the_eight_platforms_has_its_package() -> None:
    assert {platform: platform.package for platform in PACKAGES} == PACKAGES


@pytest.mark.parametrize("platform", PACKAGES)
def test_the_platform_package_is_chosen_when_the_version_lists_it(platform: Platform) -> None:
    listed = manifest("2.1.330", *PACKAGES.values())
    assert choose_package(listed, platform) == PACKAGES[platform]


@pytest.mark.parametrize("platform", PACKAGES)
def test_a_version_without_the_platform_is_not_found(platform: Platform) -> None:
    others = [package for key, package in PACKAGES.items() if key != platform]
    with pytest.raises(NotFoundError) as refused:
        choose_package(manifest("2.1.330", *others), platform)
    what = PACKAGES[platform].removeprefix("@anthropic-ai/claude-code-")
    assert refused.value.sentence == f"There is no build of Claude Code '2.1.330 for {what}'."
    assert refused.value.hint


@pytest.mark.parametrize("listed", [None, [], "x", 3, {}, [PACKAGES[LINUX]]])
def test_a_version_that_lists_nothing_usable_has_no_build(listed: object) -> None:
    with pytest.raises(NotFoundError):
        choose_package({"version": "2.1.330", "optionalDependencies": listed}, LINUX)


@pytest.mark.parametrize("version", ["0.2.9", "1.0.128", "2.0.0", "2.1.1", "2.1.112"])
@pytest.mark.parametrize("platform", PACKAGES)
def test_before_native_programs_all_platforms_share_the_root_package(
    version: str, platform: Platform
) -> None:
    assert choose_package(manifest(version), platform) == ROOT_PACKAGE
    assert program_of(parse_version(version), platform) == "cli.js"


def test_the_first_native_version_has_a_program_for_each_platform() -> None:
    programs = {platform.os: program_of(FIRST_NATIVE, platform) for platform in PACKAGES}
    assert programs == {"linux": "claude", "darwin": "claude", "win32": "claude.exe"}
    listed = manifest(str(FIRST_NATIVE), PACKAGES[LINUX])
    assert choose_package(listed, LINUX) == PACKAGES[LINUX]


@pytest.mark.parametrize(
    "text",
    [
        SHA512,
        f"{SHA1} {SHA512}",
        f"{SHA512} {SHA1}",
        f"{SHA256}  {SHA1}\n{SHA512}",
        f"{SHA512}?option",
        f"sha512-not/base64! {SHA512}",
        f"sha512-YWJj {SHA512}",
        f"{SHA512} {OTHER}",
    ],
)
def test_the_sha512_is_taken_from_among_several(text: str) -> None:
    assert parse_integrity(text) == Integrity(DIGEST)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        None,
        7,
        [SHA512],
        {"sha512": SHA512},
        SHA1,
        SHA256,
        f"{SHA1} {SHA256}",
        "sha512-",
        "sha512",
        "sha512-YWJj",
        SHA512[:-3],
        SHA512.replace("sha512-", "sha512:"),
        SHA512.upper(),
        SHA512.replace("sha512", "sha-512"),
        "sha512-" + DIGEST.hex(),
        "sha512-é" + SHA512[8:],
        SHA512 + "AAAA",
        "sha384-" + SHA512.removeprefix("sha512-"),
    ],
)
def test_without_a_right_sha512_nothing_is_trusted(text: object) -> None:
    with pytest.raises(VerificationError) as refused:
        parse_integrity(text)
    assert (refused.value.exit_code, bool(refused.value.hint)) == (5, True)


@given(st.binary(min_size=64, max_size=64))
def test_an_integrity_survives_being_written_and_read(digest: bytes) -> None:
    assert parse_integrity(str(Integrity(digest))) == Integrity(digest)


@given(st.one_of(st.text(), st.text(alphabet="sha512- =+/AZaz09?")))
def test_any_text_is_a_sha512_or_a_verification_error(text: str) -> None:
    with suppress(VerificationError):
        assert len(parse_integrity(text).sha512) == 64


def test_a_release_is_what_the_registry_says_about_it() -> None:
    release = parse_release(document(), PACKAGES[LINUX], VERSION, nobody)
    assert release == Release(PACKAGES[LINUX], VERSION, URL, Integrity(DIGEST))
    assert (release.native, release.key) == (True, ("claude-code-linux-x64", "2.1.330"))


def test_the_javascript_release_is_kept_under_the_name_of_the_root_package() -> None:
    release = Release(ROOT_PACKAGE, Version(2, 1, 1), URL, Integrity(DIGEST))
    assert (release.native, release.key) == (False, ("claude-code", "2.1.1"))


@pytest.mark.parametrize(
    "changes",
    [
        {"name": PACKAGES[WINDOWS]},
        {"name": ROOT_PACKAGE},
        {"name": "claude-code-linux-x64"},
        {"name": None},
        {"version": "2.1.329"},
        {"version": "2.1.330 "},
        {"version": "v2.1.330"},
        {"version": None},
        {"version": 2},
    ],
)
def test_an_answer_about_something_else_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(VerificationError) as refused:
        parse_release(document(**changes), PACKAGES[LINUX], VERSION, nobody)
    assert refused.value.sentence.startswith(f"Asked for {PACKAGES[LINUX]} 2.1.330, ")


@pytest.mark.parametrize(
    "dist", [None, [], "x", {}, {"integrity": SHA512}, {"tarball": None}, {"tarball": [URL]}]
)
def test_an_answer_without_an_address_is_refused(dist: object) -> None:
    with pytest.raises(NetworkError) as refused:
        parse_release(document(dist=dist), PACKAGES[LINUX], VERSION, nobody)
    assert refused.value.hint


@pytest.mark.parametrize("integrity", [None, "", SHA1, "sha512-AAAA"])
def test_a_release_without_a_sha512_is_refused(integrity: object) -> None:
    answer = document(dist={"tarball": URL, "integrity": integrity, "shasum": "00" * 20})
    with pytest.raises(VerificationError):
        parse_release(answer, PACKAGES[LINUX], VERSION, nobody)


@pytest.mark.parametrize(
    ("platform", "program"), [(LINUX, "claude"), (WINDOWS, "claude.exe")], ids=["linux", "win32"]
)
def test_of_a_native_archive_only_the_program_is_wanted(platform: Platform, program: str) -> None:
    release = Release(platform.package, VERSION, URL, Integrity(DIGEST))
    assert wanted_members(release, platform) == (
        Member(f"package/{program}", program, 0o555, 1024 * MEGABYTE),
    )


def test_of_a_javascript_archive_the_program_and_its_module_marker_are_required() -> None:
    release = Release(ROOT_PACKAGE, Version(2, 1, 1), URL, Integrity(DIGEST))
    wanted = {platform: wanted_members(release, platform) for platform in (LINUX, WINDOWS)}
    required = {
        platform: [(m.archive_name, m.path, m.mode) for m in members if m.required]
        for platform, members in wanted.items()
    }
    both = [("package/cli.js", "cli.js", 0o555), ("package/package.json", "package.json", 0o444)]
    assert required == {LINUX: both, WINDOWS: both}
    helpers = {
        platform: [m.path for m in members if "ripgrep" in m.path and not m.path.endswith(".node")]
        for platform, members in wanted.items()
    }
    assert helpers == {
        LINUX: ["vendor/ripgrep/x64-linux/rg"],
        WINDOWS: ["vendor/ripgrep/arm64-win32/rg.exe"],
    }


@pytest.mark.parametrize("platform", PACKAGES)
def test_no_wanted_member_leaves_the_release_or_may_be_written_later(platform: Platform) -> None:
    for package in (ROOT_PACKAGE, platform.package):
        members = wanted_members(Release(package, VERSION, URL, Integrity(DIGEST)), platform)
        paths = [member.path for member in members]
        assert len(set(paths)) == len(paths)
        for member in members:
            assert member.archive_name == f"package/{member.path}"
            assert ".." not in member.path.split("/")
            assert not member.path.startswith("/")
            assert member.mode & 0o222 == 0
            assert 0 < member.size_limit <= 1024 * MEGABYTE
