"""The registry client against a loopback registry that fails in every way a network can."""

from __future__ import annotations

import base64
import collections
import contextlib
import json
import random
import select
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccmirror_py import transport
from ccmirror_py.cli import wiring
from ccmirror_py.errors import CcmError, NetworkError, NotFoundError, VerificationError
from ccmirror_py.npmrc import PUBLIC_REGISTRY, NpmConfig
from ccmirror_py.platforms import Platform
from ccmirror_py.registry import Registry
from ccmirror_py.release import Release, parse_integrity
from ccmirror_py.transport import CHUNK, Network
from ccmirror_py.version import Channel, Range, Version, parse_version
from tests.npm_registry import (
    METADATA,
    ROOT,
    TARBALL,
    Fault,
    NpmRegistry,
    Reply,
    Request,
    Wire,
    answer,
    body,
    captive_portal,
    integrity,
    manifests,
    other_version,
    redirect,
    sri,
    tarball_url,
)

LINUX = Platform("linux", "x64")
VERSION = Version(2, 1, 330)
LATEST = Channel("latest")
NAMES = st.sampled_from(["name", "version", "dist", "optionalDependencies", "tarball", "integrity"])
LOG_IN = "Log in with `npm login`, or check the _authToken in your .npmrc."
CHECK = "Check the connection, the proxy and `npm ping`, then run the same command again."


@dataclass
class Client:
    """A registry client and the pauses it made."""

    registry: Registry
    cache: Path
    pauses: list[float] = field(default_factory=list)

    def find(self, spec: Channel | Range | Version = LATEST, platform: Platform = LINUX) -> Release:
        return self.registry.find(spec, platform)

    def download(self, release: Release) -> bytes:
        return b"".join(self.registry.download(release, lambda *_: None))


def client(
    npm: NpmRegistry,
    cache: Path,
    values: Mapping[str, str] | None = None,
    network: Network | None = None,
) -> Client:
    pauses: list[float] = []
    config = NpmConfig({"registry": npm.url, **(values or {})})
    registry = Registry(config, network or Network(), cache, pauses.append)
    return Client(registry, cache, pauses)


@pytest.fixture
def ccm(npm: NpmRegistry, tmp_path: Path) -> Client:
    """A client of a registry with some versions; the newest is 2.1.330."""
    for version in ("2.1.112", "2.1.200", "2.1.329", "2.1.330"):
        npm.publish(version)
    return client(npm, tmp_path / "cache")


@pytest.fixture
def other(npm: NpmRegistry) -> Iterator[NpmRegistry]:
    """The same release at another host."""
    with NpmRegistry() as registry:
        registry.publish("2.1.330")
        yield registry


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)
json_objects = st.dictionaries(NAMES, json_values, max_size=6)


def paths(npm: NpmRegistry) -> list[str]:
    return [request.path for request in npm.requests]


def refused(kind: type[CcmError], ccm: Client) -> CcmError:
    with pytest.raises(CcmError) as caught:
        ccm.download(ccm.find())
    assert type(caught.value) is kind
    return caught.value


# --- which release -----------------------------------------------------------------------------


def test_latest_is_the_platforms_package_of_the_tagged_version(
    npm: NpmRegistry, ccm: Client
) -> None:
    data = npm.tarball("2.1.330", "linux-x64")
    package = f"{ROOT}-linux-x64"
    assert ccm.find() == Release(
        package,
        VERSION,
        f"{npm.url}{package}/-/claude-code-linux-x64-2.1.330.tgz",
        parse_integrity(sri(data)),
    )


def test_finding_costs_two_small_documents(npm: NpmRegistry, ccm: Client) -> None:
    ccm.find()
    assert paths(npm) == [
        "/@anthropic-ai%2Fclaude-code/latest",
        "/@anthropic-ai%2Fclaude-code-linux-x64/2.1.330",
    ]


def test_the_root_document_is_asked_for_once_whatever_follows_it(
    npm: NpmRegistry, ccm: Client
) -> None:
    first, second = ccm.find(), ccm.find()
    assert first == second
    assert paths(npm).count("/@anthropic-ai%2Fclaude-code/latest") == 1


@pytest.mark.parametrize("spec", [LATEST, Version(2, 1, 112)])
def test_every_document_is_asked_for_without_compression(
    npm: NpmRegistry, ccm: Client, spec: Channel | Version
) -> None:
    ccm.download(ccm.find(spec))
    assert {request.headers.get("accept-encoding") for request in npm.requests} == {"identity"}


@pytest.mark.parametrize(
    ("spec", "version"),
    [
        (Channel("stable"), "2.1.200"),
        (Channel("next"), "2.1.330"),
        (Version(2, 1, 329), "2.1.329"),
        (Range("2.1.x"), "2.1.330"),
        (Range("2.1.*"), "2.1.330"),
        (Range("2.x"), "2.1.330"),
        (Range(">=2.1.200,<2.1.300"), "2.1.200"),
        (Range("<2.1.330"), "2.1.329"),
        (Range("!=2.1.330"), "2.1.329"),
    ],
    ids=str,
)
def test_tags_versions_and_ranges_mean_what_they_say(
    npm: NpmRegistry, ccm: Client, spec: Channel | Range | Version, version: str
) -> None:
    npm.tag("latest", "2.1.330")
    npm.tag("next", "2.1.330")
    npm.tag("stable", "2.1.200")
    assert ccm.find(spec).version == parse_version(version)


def test_a_range_takes_no_prerelease_and_an_exact_version_does(
    npm: NpmRegistry, ccm: Client
) -> None:
    npm.publish("2.1.331-beta.1")
    assert ccm.find(Range("2.1.x")).version == VERSION
    assert ccm.find(Version(2, 1, 331, "beta.1")).version == Version(2, 1, 331, "beta.1")


def test_a_missing_tag_names_the_tags_there_are(npm: NpmRegistry, ccm: Client) -> None:
    npm.tag("latest", "2.1.330")
    npm.tag("next", "2.1.330")
    with pytest.raises(NotFoundError) as caught:
        ccm.find(Channel("stable"))
    assert (caught.value.sentence, caught.value.hint) == (
        "There is no tag 'stable'.",
        f"{npm.url} has: latest, next.",
    )


def test_a_missing_version_suggests_a_near_one(ccm: Client) -> None:
    with pytest.raises(NotFoundError) as caught:
        ccm.find(Version(2, 1, 331))
    assert caught.value.sentence == "There is no version of Claude Code '2.1.331'."
    assert caught.value.hint == "Near it: 2.1.329, 2.1.330. All: ccm versions --available"


def test_a_range_without_a_version_names_the_newest(ccm: Client) -> None:
    with pytest.raises(NotFoundError) as caught:
        ccm.find(Range(">=3.0.0"))
    assert (caught.value.sentence, caught.value.hint) == (
        "There is no version of Claude Code within '>=3.0.0'.",
        "The newest is 2.1.330.",
    )


def test_a_tag_of_an_unpublished_version_is_not_found(npm: NpmRegistry, ccm: Client) -> None:
    npm.tag("stable", "2.1.400")
    with pytest.raises(NotFoundError):
        ccm.find(Channel("stable"))


def test_a_version_that_was_unpublished_between_two_questions_is_not_found(
    npm: NpmRegistry, ccm: Client
) -> None:
    ccm.find(Version(2, 1, 329))
    npm.unpublish("2.1.329")
    again = client(npm, ccm.cache)
    with pytest.raises(NotFoundError):
        again.find(Version(2, 1, 329))


@pytest.mark.parametrize(
    "platform",
    [
        Platform(os, arch, musl)
        for os, arch, musl in (
            *(("linux", "x64", False), ("linux", "arm64", False)),
            *(("linux", "x64", True), ("linux", "arm64", True)),
            *(("darwin", "x64", False), ("darwin", "arm64", False)),
            *(("win32", "x64", False), ("win32", "arm64", False)),
        )
    ],
    ids=lambda platform: platform.package.rpartition("/")[2],
)
def test_each_platform_gets_its_own_package(
    npm: NpmRegistry, ccm: Client, platform: Platform
) -> None:
    assert ccm.find(LATEST, platform).package == platform.package
    assert ccm.download(ccm.find(LATEST, platform)) == npm.tarball(
        "2.1.330", platform.package.removeprefix(f"{ROOT}-")
    )


def test_versions_before_native_programs_are_the_root_package(
    npm: NpmRegistry, ccm: Client
) -> None:
    release = ccm.find(Version(2, 1, 112))
    assert (release.package, ccm.download(release)) == (ROOT, npm.tarball("2.1.112"))


def test_a_missing_platform_says_which_and_what_to_do(npm: NpmRegistry, ccm: Client) -> None:
    def without_it(manifest: dict[str, object]) -> None:
        manifest["optionalDependencies"] = {f"{ROOT}-darwin-x64": "2.1.330"}

    npm.fail(METADATA, manifests(without_it))
    with pytest.raises(NotFoundError) as caught:
        ccm.find()
    assert caught.value.sentence == "There is no build of Claude Code '2.1.330 for linux-x64'."
    assert "--claude-version" in caught.value.hint


def test_a_platform_listed_but_not_published_is_not_found(npm: NpmRegistry, ccm: Client) -> None:
    npm.fail(r"linux-x64/2\.1\.330$", answer(404))
    with pytest.raises(NotFoundError):
        ccm.find()


def test_tags_and_versions_come_from_the_abbreviated_document(
    npm: NpmRegistry, ccm: Client
) -> None:
    tags, versions = ccm.registry.tags_and_versions()
    assert tags == {"latest": "2.1.330"}
    assert list(map(str, versions)) == ["2.1.112", "2.1.200", "2.1.329", "2.1.330"]
    accepts = [request.headers["accept"] for request in npm.requests]
    assert accepts == ["application/vnd.npm.install-v1+json"]


def test_a_version_nobody_can_read_does_not_hide_the_others(npm: NpmRegistry, ccm: Client) -> None:
    npm.publish("2.1.328+build.7")
    assert ccm.find(Range("2.1.x")).version == VERSION


# --- answers that are not what they should be --------------------------------------------------


@pytest.mark.parametrize("spec", [LATEST, VERSION, Range("2.1.x")], ids=str)
def test_a_platform_manifest_of_another_version_is_refused(
    npm: NpmRegistry, ccm: Client, spec: Channel | Range | Version
) -> None:
    npm.fail(r"linux-x64/2\.1\.330$", other_version("2.1.329"))
    with pytest.raises(VerificationError) as caught:
        ccm.find(spec)
    assert "answered with @anthropic-ai/claude-code-linux-x64 2.1.329" in caught.value.sentence


@pytest.mark.parametrize("spec", [VERSION, Range(">=2.1.330")], ids=str)
def test_a_root_manifest_of_another_version_is_refused(
    npm: NpmRegistry, ccm: Client, spec: Range | Version
) -> None:
    """Else a mirror could turn an exact version into an older one with a known hole."""
    npm.fail(r"claude-code/2\.1\.330$", other_version("2.1.329"))
    with pytest.raises(VerificationError):
        ccm.find(spec)


def test_a_manifest_of_another_package_is_refused(npm: NpmRegistry, ccm: Client) -> None:
    npm.fail(r"linux-x64/", manifests(lambda manifest: manifest.update(name=f"{ROOT}-linux-arm64")))
    with pytest.raises(VerificationError):
        ccm.find()


@pytest.mark.parametrize("version", [None, "", "banana", 5, ["2.1.330"], "2.1.330\n"])
def test_a_manifest_without_a_version_is_the_registrys_fault_not_the_users(
    npm: NpmRegistry, ccm: Client, version: object
) -> None:
    npm.fail(r"/latest$", manifests(lambda manifest: manifest.update(version=version)))
    with pytest.raises((NetworkError, VerificationError)):
        ccm.find()


def test_among_several_hashes_the_sha512_counts(npm: NpmRegistry, ccm: Client) -> None:
    data = npm.tarball("2.1.330", "linux-x64")
    npm.fail(METADATA, integrity(f"{sri(data, 'sha1')} {sri(data)}"))
    assert ccm.find().integrity == parse_integrity(sri(data))


def test_a_portal_says_that_something_is_in_the_way(npm: NpmRegistry, ccm: Client) -> None:
    npm.fail(METADATA, captive_portal())
    error = refused(NetworkError, ccm)
    assert (error.sentence, error.hint) == (
        f"{npm.url}@anthropic-ai%2Fclaude-code/latest did not answer as an npm registry does.",
        "A proxy or login page may be in the way; check: npm ping",
    )


def test_a_package_document_that_is_not_npms_is_refused(npm: NpmRegistry, ccm: Client) -> None:
    npm.fail(r"claude-code$", answer(200, b'{"dist-tags": [], "versions": {}}'))
    with pytest.raises(NetworkError):
        ccm.registry.tags_and_versions()


def test_a_document_without_end_is_given_up(npm: NpmRegistry, ccm: Client) -> None:
    npm.fail(METADATA, answer(200, b"x" * (65 << 20)))
    assert "answers without end" in refused(NetworkError, ccm).sentence


# --- asking again ------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again_with_growing_pauses(
    npm: NpmRegistry, ccm: Client, status: int
) -> None:
    npm.fail(METADATA, answer(status), times=3)
    assert ccm.find().version == VERSION
    assert ccm.pauses == [0.5, 1.0, 2.0]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_stays_busy_is_given_up_after_five_tries(
    npm: NpmRegistry, ccm: Client, status: int
) -> None:
    npm.fail(METADATA, answer(status))
    error = refused(NetworkError, ccm)
    assert (error.sentence, error.hint) == (
        f"{urlsplit(npm.url).netloc} can't be used: it keeps answering with status {status}.",
        CHECK,
    )
    assert (len(npm.requests), ccm.pauses) == (5, [0.5, 1.0, 2.0, 4.0])


@pytest.mark.parametrize(
    ("retry_after", "pause"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("2.5", 2.5),
        ("86400", 30.0),
        ("1e400", 30.0),
        ("inf", 30.0),
        ("-5", 0.0),
        ("soon", 0.5),
        ("", 0.5),
        ("Sun, 22 Nov 2026 18:00:00 GMT", 0.5),
    ],
)
def test_what_the_server_asks_for_is_waited_but_never_long(
    npm: NpmRegistry, ccm: Client, retry_after: str, pause: float
) -> None:
    npm.fail(METADATA, answer(429, retry_after=retry_after), times=1)
    ccm.find()
    assert ccm.pauses == [pause]


DROPPED: Mapping[str, Wire] = {
    "before the first byte": Wire(cut=0),
    "in the middle": Wire(cut=40),
    "with a reset": Wire(cut=40, reset=True),
    "length too large": Wire(length=10),
    "broken chunks": Wire(chunked="broken"),
}


@pytest.mark.parametrize("name", DROPPED)
def test_a_dropped_connection_is_tried_again(npm: NpmRegistry, ccm: Client, name: str) -> None:
    npm.fail(METADATA, DROPPED[name], times=2)
    assert ccm.find().version == VERSION
    assert ccm.pauses == [0.5, 1.0]


def test_nobody_listening_is_one_sentence(npm: NpmRegistry, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    ccm = client(npm, tmp_path / "cache", {"registry": f"http://127.0.0.1:{port}/"})
    error = refused(NetworkError, ccm)
    assert error.sentence == f"127.0.0.1:{port} can't be used: it refuses the connection."
    assert ccm.pauses == [0.5, 1.0, 2.0, 4.0]


@pytest.mark.parametrize("status", [401, 403])
def test_refused_access_says_how_to_log_in_and_is_not_repeated(
    npm: NpmRegistry, ccm: Client, status: int
) -> None:
    npm.fail(METADATA, answer(status))
    error = refused(NetworkError, ccm)
    address = f"{npm.url}@anthropic-ai%2Fclaude-code/latest"
    assert (error.sentence, error.hint) == (f"{address} refused access ({status}).", LOG_IN)
    assert (len(npm.requests), ccm.pauses) == (1, [])


@pytest.mark.parametrize("status", [404, 405, 410])
def test_a_registry_without_the_package_is_not_found_at_once(
    npm: NpmRegistry, ccm: Client, status: int
) -> None:
    npm.fail(METADATA, answer(status))
    error = refused(NotFoundError, ccm)
    assert error.sentence == (
        f"There is no document at the registry '{npm.url}@anthropic-ai%2Fclaude-code'."
    )
    assert ccm.pauses == []


# --- conditional requests ----------------------------------------------------------------------


def state(directory: Path) -> dict[str, tuple[int, int, bytes]]:
    """Name to inode, time of change and content: equal when nothing was written."""
    return {
        path.name: (path.stat().st_ino, path.stat().st_ctime_ns, path.read_bytes())
        for path in directory.iterdir()
    }


def test_an_answer_is_remembered_and_then_only_asked_whether_it_still_holds(
    npm: NpmRegistry, ccm: Client
) -> None:
    first = ccm.find()
    known = state(ccm.cache)
    before = len(npm.requests)
    second = client(npm, ccm.cache).find()
    asked = npm.requests[before:]
    assert second == first
    assert [r.headers.get("if-none-match") is not None for r in asked] == [True, True]
    assert state(ccm.cache) == known


def test_a_304_is_answered_from_what_is_remembered(npm: NpmRegistry, ccm: Client) -> None:
    first = ccm.find()
    npm.fail(METADATA, answer(304, b""))
    assert client(npm, ccm.cache).find() == first


def test_a_changed_answer_replaces_the_remembered_one(npm: NpmRegistry, ccm: Client) -> None:
    ccm.find()
    npm.publish("2.1.331")
    assert client(npm, ccm.cache).find().version == Version(2, 1, 331)
    assert client(npm, ccm.cache).find().version == Version(2, 1, 331)


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage", b"[]", b'{"etag": "x"}', b"\xff\xfe", b"[" * 100_000, b'{"etag":"x","body'],
)
def test_a_damaged_memory_is_only_asked_again(
    npm: NpmRegistry, ccm: Client, content: bytes
) -> None:
    first = ccm.find()
    for path in ccm.cache.iterdir():
        path.write_bytes(content)
    assert client(npm, ccm.cache).find() == first


def test_remembered_answers_are_private(ccm: Client) -> None:
    ccm.find()
    assert {path.stat().st_mode & 0o777 for path in ccm.cache.iterdir()} == {0o600}
    assert ccm.cache.stat().st_mode & 0o777 == 0o700


def test_an_answer_without_an_etag_is_not_remembered(npm: NpmRegistry, ccm: Client) -> None:
    npm.fail(METADATA, lambda reply: answer(200, reply.body)(reply))
    ccm.find()
    assert not list(ccm.cache.glob("*"))


# --- credentials and redirects -----------------------------------------------------------------


def bound(npm: NpmRegistry, path: str = "") -> str:
    return f"//{urlsplit(npm.url).netloc}/{path}"


def test_a_token_goes_to_its_own_host_for_documents_and_archives(
    npm: NpmRegistry, ccm: Client
) -> None:
    npm.token = "npm_secret"
    logged_in = client(npm, ccm.cache, {f"{bound(npm)}:_authToken": "npm_secret"})
    assert logged_in.download(logged_in.find()) == npm.tarball("2.1.330", "linux-x64")
    assert {r.headers.get("authorization") for r in npm.requests} == {"Bearer npm_secret"}


@pytest.mark.parametrize(
    "settings",
    [
        {"{}:_auth": base64.b64encode(b"ada:pass word").decode()},
        {"{}:username": "ada", "{}:_password": base64.b64encode(b"pass word").decode()},
    ],
)
def test_user_and_password_are_sent_as_npm_sends_them(
    npm: NpmRegistry, ccm: Client, settings: dict[str, str]
) -> None:
    npm.login = ("ada", "pass word")
    values = {key.format(bound(npm)): value for key, value in settings.items()}
    assert client(npm, ccm.cache, values).find().version == VERSION


def test_a_token_of_another_host_or_path_stays_at_home(npm: NpmRegistry, ccm: Client) -> None:
    values = {
        "//127.0.0.1/:_authToken": "without the port",
        "//localhost/:_authToken": "another name",
        f"{PUBLIC_REGISTRY[6:]}:_authToken": "the public one",
        f"{bound(npm, 'private/')}:_authToken": "another path",
        ":_authToken": "bound to nothing",
        "_authToken": "bound to nothing, as npm had it before 9",
    }
    client(npm, ccm.cache, values).find()
    assert {r.headers.get("authorization") for r in npm.requests} == {None}


def test_the_longest_path_decides_between_tokens(npm: NpmRegistry, ccm: Client) -> None:
    values = {
        "registry": f"{npm.url}api/npm",
        f"{bound(npm)}:_authToken": "short",
        f"{bound(npm, 'api/npm/')}:_authToken": "long",
    }
    client(npm, ccm.cache, values).find()
    assert {r.headers.get("authorization") for r in npm.requests} == {"Bearer long"}


def test_a_redirect_within_the_host_keeps_the_token(npm: NpmRegistry, ccm: Client) -> None:
    npm.token = "npm_secret"
    npm.fail(r"^/@.*latest$", redirect("/moved{path}"))
    logged_in = client(npm, ccm.cache, {f"{bound(npm)}:_authToken": "npm_secret"})
    assert logged_in.find().version == VERSION


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_is_followed_without_the_token(
    npm: NpmRegistry, ccm: Client, other: NpmRegistry, status: int
) -> None:
    npm.token = "npm_secret"
    npm.fail(r".", redirect(f"{other.url}cdn{{path}}", status))
    logged_in = client(npm, ccm.cache, {f"{bound(npm)}:_authToken": "npm_secret"})
    release = logged_in.find()
    assert logged_in.download(release) == other.tarball("2.1.330", "linux-x64")
    assert {r.headers.get("authorization") for r in npm.requests} == {"Bearer npm_secret"}
    assert {r.headers.get("authorization") for r in other.requests} == {None}


def test_five_redirects_are_followed(npm: NpmRegistry, ccm: Client) -> None:
    npm.fail(r"latest$", redirect("/again{path}"), times=5)
    assert ccm.find().version == VERSION


@pytest.mark.parametrize("to", ["{path}", "/again{path}", "http://127.0.0.1:{port}{path}"])
def test_a_redirect_without_end_is_given_up(npm: NpmRegistry, ccm: Client, to: str) -> None:
    npm.fail(METADATA, redirect(to.replace("{port}", str(urlsplit(npm.url).port))))
    error = refused(NetworkError, ccm)
    assert error.sentence.endswith("redirects in circles.")
    assert (len(npm.requests), ccm.pauses) == (6, [])


@pytest.mark.parametrize(
    "to", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/x", "javascript:alert(1)"]
)
def test_a_redirect_to_another_protocol_is_refused(npm: NpmRegistry, ccm: Client, to: str) -> None:
    npm.fail(METADATA, redirect(to))
    assert refused(NetworkError, ccm).sentence.endswith("which is not https.")


@pytest.mark.parametrize(
    "to", ["http://[x{path}", "http://127.0.0.1:99999{path}", "http://{path}", "http://\u2100/"]
)
def test_a_redirect_to_nowhere_is_one_sentence(npm: NpmRegistry, ccm: Client, to: str) -> None:
    npm.fail(METADATA, redirect(to))
    refused(NetworkError, ccm)


@pytest.mark.parametrize("registry", ["http://[x", "http://127.0.0.1:99999/", "ftp://x/", "x", "/"])
def test_a_registry_setting_that_is_no_address_is_one_sentence(
    npm: NpmRegistry, tmp_path: Path, registry: str
) -> None:
    with pytest.raises(CcmError):
        client(npm, tmp_path / "cache", {"registry": registry}).find()


@pytest.mark.parametrize(
    ("key", "value"),
    [("_authToken", "t\u20acken"), ("_password", "zZz1z"), ("_auth", "\u20ac\u20ac")],
)
def test_a_credential_that_cannot_be_one_is_one_sentence(
    npm: NpmRegistry, ccm: Client, key: str, value: str
) -> None:
    values = {f"{bound(npm)}:{key}": value, f"{bound(npm)}:username": "ada"}
    with pytest.raises(CcmError) as caught:
        client(npm, ccm.cache, values).find()
    assert value not in caught.value.sentence + caught.value.hint


FAILURES: Mapping[str, Fault] = {
    "404": answer(404),
    "401": answer(401),
    "503": answer(503),
    "portal": captive_portal(),
    "circles": redirect("{path}"),
    "not https": redirect("file:///x"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_password_in_the_registrys_address_is_never_shown(
    npm: NpmRegistry, ccm: Client, name: str
) -> None:
    npm.fail(METADATA, FAILURES[name])
    secretive = npm.url.replace("http://", "http://ada:sekret@")
    with pytest.raises(CcmError) as caught:
        client(npm, ccm.cache, {"registry": secretive}).find()
    assert "sekret" not in caught.value.sentence + caught.value.hint


# --- downloads ---------------------------------------------------------------------------------


def test_progress_is_told_in_bytes_with_the_whole(npm: NpmRegistry, ccm: Client) -> None:
    data = npm.tarball("2.1.330", "linux-x64")
    told: list[tuple[int, int | None]] = []
    received = b"".join(ccm.registry.download(ccm.find(), lambda *step: told.append(step)))
    assert received == data
    assert told[-1] == (len(data), len(data))
    assert [step[0] for step in told] == sorted({step[0] for step in told})


def test_progress_without_a_length_has_no_whole(npm: NpmRegistry, ccm: Client) -> None:
    npm.fail(TARBALL, Wire(chunked="well"))
    data = npm.tarball("2.1.330", "linux-x64")
    told: list[tuple[int, int | None]] = []
    assert b"".join(ccm.registry.download(ccm.find(), lambda *step: told.append(step))) == data
    assert told[-1] == (len(data), None)


def ranges(npm: NpmRegistry) -> list[str | None]:
    return [r.range for r in npm.requests if r.path.endswith(".tgz")]


@pytest.fixture
def big(npm: NpmRegistry, ccm: Client) -> bytes:
    """The archive of the newest release, now of one megabyte."""
    npm.publish("2.1.331", program=random.Random(7).randbytes(1 << 20))
    return npm.tarball("2.1.331", "linux-x64")


def test_a_broken_download_goes_on_where_it_broke(
    npm: NpmRegistry, ccm: Client, big: bytes
) -> None:
    """To the chunk: what of the last one had come is asked for again."""
    npm.fail(TARBALL, Wire(cut=600_000), times=1)
    told: list[tuple[int, int | None]] = []
    received = b"".join(ccm.registry.download(ccm.find(), lambda *step: told.append(step)))
    assert received == big
    assert ranges(npm) == [None, f"bytes={600_000 // CHUNK * CHUNK}-"]
    count = -(-len(big) // CHUNK)
    assert told == [(min(n * CHUNK, len(big)), len(big)) for n in range(1, count + 1)]
    assert ccm.pauses == [0.5]


def test_a_reset_connection_costs_a_few_chunks_and_no_more(
    npm: NpmRegistry, ccm: Client, big: bytes
) -> None:
    npm.fail(TARBALL, Wire(cut=900_000, reset=True), times=2)
    assert ccm.download(ccm.find()) == big
    assert len(ccm.pauses) in (1, 2)  # what had come may outrun the reset


def test_a_download_may_break_many_times_while_it_gets_on(
    npm: NpmRegistry, ccm: Client, big: bytes
) -> None:
    """More often than an address is tried that never answers."""
    npm.publish("2.1.332", program=random.Random(7).randbytes(2 << 20))
    npm.fail(TARBALL, Wire(cut=CHUNK + 1), times=7)
    assert ccm.download(ccm.find()) == npm.tarball("2.1.332", "linux-x64")
    assert ranges(npm) == [None, *(f"bytes={CHUNK * n}-" for n in range(1, 8))]
    assert ccm.pauses == [0.5] * 7


def test_a_download_that_never_gets_on_is_given_up(npm: NpmRegistry, ccm: Client) -> None:
    npm.fail(TARBALL, Wire(cut=0))
    error = refused(NetworkError, ccm)
    assert error.sentence.startswith(f"{urlsplit(npm.url).netloc} can't be used: ")
    assert ccm.pauses == [0.5, 1.0, 2.0, 4.0]


def test_a_server_without_ranges_starts_again_and_nothing_comes_twice(
    npm: NpmRegistry, ccm: Client, big: bytes
) -> None:
    npm.ranges = False
    npm.fail(TARBALL, Wire(cut=600_000), times=2)
    told: list[tuple[int, int | None]] = []
    received = b"".join(ccm.registry.download(ccm.find(), lambda *step: told.append(step)))
    assert received == big
    assert told[-1] == (len(big), len(big))
    assert max(step[0] for step in told) == len(big)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again_for_the_archive(
    npm: NpmRegistry, ccm: Client, status: int
) -> None:
    npm.fail(TARBALL, answer(status, retry_after="3"), times=2)
    assert ccm.download(ccm.find()) == npm.tarball("2.1.330", "linux-x64")
    assert ccm.pauses == [3.0, 3.0]


def test_a_server_that_breaks_in_between_with_an_error_still_goes_on(
    npm: NpmRegistry, ccm: Client, big: bytes
) -> None:
    def fault(reply: Reply) -> Reply:
        return faults.pop(0)(reply) if faults else reply

    faults: list[Fault] = [Wire(cut=600_000), answer(503), answer(502)]
    npm.fail(TARBALL, fault)
    assert ccm.download(ccm.find()) == big
    assert ranges(npm) == [None, *[f"bytes={600_000 // CHUNK * CHUNK}-"] * 3]


@pytest.mark.parametrize("ranges_are_known", [True, False])
def test_a_download_begins_where_an_earlier_command_ended(
    npm: NpmRegistry, ccm: Client, big: bytes, ranges_are_known: bool
) -> None:
    npm.ranges = ranges_are_known
    npm.fail(TARBALL, Wire(cut=700_000), times=1)
    release, told = ccm.find(), list[tuple[int, int | None]]()
    start = 100_001
    rest = b"".join(ccm.registry.download(release, lambda *step: told.append(step), start))
    assert rest == big[start:]
    assert ranges(npm)[0] == f"bytes={start}-"
    assert told[-1] == (len(big), len(big))


@pytest.mark.parametrize("beyond", [0, 1, 5000])
def test_where_there_is_no_rest_the_hash_is_left_to_judge(
    npm: NpmRegistry, ccm: Client, big: bytes, beyond: int
) -> None:
    chunks = ccm.registry.download(ccm.find(), lambda *_: None, len(big) + beyond)
    assert (b"".join(chunks), ccm.pauses) == (b"", [])


def test_a_line_that_hardly_moves_counts_as_broken(
    npm: NpmRegistry, ccm: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte comes long before the time for one is up; no single wait would be noticed."""
    monkeypatch.setattr(transport, "PATIENCE", 0.3)
    npm.fail(TARBALL, Wire(rate=20), times=1)
    assert ccm.download(ccm.find()) == npm.tarball("2.1.330", "linux-x64")
    assert ccm.pauses == [0.5]
    npm.fail(TARBALL, Wire(rate=20))
    assert "next to nothing" in refused(NetworkError, ccm).sentence


def test_a_slow_line_is_waited_for(
    npm: NpmRegistry, ccm: Client, big: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "PATIENCE", 0.1)
    npm.fail(TARBALL, Wire(rate=1_500_000))
    assert (ccm.download(ccm.find()), ccm.pauses) == (big, [])


def test_each_rule_and_each_release_is_asked_for_once(npm: NpmRegistry, ccm: Client) -> None:
    for _ in range(3):
        assert ccm.registry.version(LATEST, LINUX) == VERSION
    assert len(paths(npm)) == 1
    for spec in (LATEST, VERSION, LATEST, VERSION):
        assert ccm.find(spec).version == VERSION
    assert len(paths(npm)) == 3
    assert all(request.path.rpartition("/")[2] in ("latest", "2.1.330") for request in npm.requests)


@pytest.mark.parametrize(("status", "kind"), [(401, NetworkError), (404, NotFoundError)])
def test_an_archive_that_is_refused_or_gone_is_said_at_once(
    npm: NpmRegistry, ccm: Client, status: int, kind: type[CcmError]
) -> None:
    npm.fail(TARBALL, answer(status))
    refused(kind, ccm)
    assert ccm.pauses == []


class _Endless(BaseHTTPRequestHandler):
    """A download that does not stop."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(bytes(1 << 20))

    def log_message(self, *_: object) -> None:
        pass


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        pass  # clients go away, that is what they are here for


@contextlib.contextmanager
def serving(
    handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext | None = None
) -> Iterator[int]:
    """The port of a loopback server."""
    with _QuietServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        if context:
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def test_a_download_without_end_is_stopped_at_one_gigabyte(npm: NpmRegistry, ccm: Client) -> None:
    with serving(_Endless) as port:
        release = Release(
            f"{ROOT}-linux-x64",
            VERSION,
            f"http://127.0.0.1:{port}/x.tgz",
            parse_integrity(sri(b"")),
        )
        chunks = ccm.registry.download(release, lambda *_: None)
        with pytest.raises(VerificationError) as caught:
            collections.deque(chunks, maxlen=0)
    assert caught.value.sentence == "The download is larger than any release there is."


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1{path}",
        "//127.0.0.1{path}",
        "{path}",
        "",
        "http://user:pass@127.0.0.1:1{path}",
        "https://user@127.0.0.1:1{path}",
        "javascript:alert(1)",
        "data:application/gzip;base64,AAAA",
        "http://[x{path}",
        "http://127.0.0.1:99999{path}",
        "http://",
    ],
)
def test_an_archive_at_an_address_nobody_should_follow_is_refused(
    npm: NpmRegistry, ccm: Client, url: str
) -> None:
    npm.fail(METADATA, tarball_url(url))
    with pytest.raises(CcmError) as caught:
        ccm.download(ccm.find())
    assert type(caught.value) in (VerificationError, NetworkError)
    assert "pass@" not in caught.value.sentence + caught.value.hint
    assert not [request for request in npm.requests if request.path.endswith(".tgz")]


def test_an_archive_on_another_host_is_taken_without_the_token(
    npm: NpmRegistry, ccm: Client, other: NpmRegistry
) -> None:
    npm.token = "npm_secret"
    npm.fail(METADATA, tarball_url(other.url.rstrip("/") + "{path}"))
    logged_in = client(npm, ccm.cache, {f"{bound(npm)}:_authToken": "npm_secret"})
    assert logged_in.download(logged_in.find()) == other.tarball("2.1.330", "linux-x64")
    assert [r.headers.get("authorization") for r in other.requests] == [None]


def test_a_mirror_that_repeats_the_public_addresses_serves_the_archive_itself(
    npm: NpmRegistry, ccm: Client
) -> None:
    npm.fail(METADATA, tarball_url(PUBLIC_REGISTRY.rstrip("/") + "{path}"))
    assert ccm.download(ccm.find()) == npm.tarball("2.1.330", "linux-x64")


def test_a_portal_in_place_of_the_archive_is_passed_on_for_the_hash_to_tell(
    npm: NpmRegistry, ccm: Client
) -> None:
    npm.fail(TARBALL, body(lambda _: b"<html>"))
    assert ccm.download(ccm.find()) == b"<html>"


def test_no_document_makes_the_client_fail_in_another_way() -> None:
    with NpmRegistry() as npm:
        npm.publish("2.1.330")

        @settings(max_examples=80, deadline=None)
        @given(st.binary(max_size=300) | json_objects.map(lambda value: json.dumps(value).encode()))
        def refuses(data: bytes) -> None:
            npm.heal()
            npm.fail(r".", answer(200, data))
            with pytest.raises(CcmError) as caught:
                client(npm, Path("/nonexistent/ccm")).find()
            assert type(caught.value) in (NetworkError, VerificationError, NotFoundError)

        refuses()


# --- TLS ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tls:
    """A registry behind TLS with a certificate nobody knows yet."""

    url: str
    certificate: Path


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    directory = tmp_path_factory.mktemp("tls")
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(
        ["openssl", "req", "-x509", *kind, *names, *files], check=True, capture_output=True
    )
    return certificate, key


@pytest.fixture
def tls(npm: NpmRegistry, ccm: Client, certificate: tuple[Path, Path]) -> Iterator[Tls]:
    """`npm` behind TLS."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = npm.reply(Request("GET", self.path, headers))
            data = reply.body
            if not self.path.endswith(".tgz"):
                data = data.replace(npm.url.encode(), f"https://{self.headers['Host']}/".encode())
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                if name.lower() != "content-length":
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with serving(Handler, context) as port:
        yield Tls(f"https://127.0.0.1:{port}/", certificate[0])


def test_an_unknown_certificate_is_one_sentence_and_not_tried_again(
    npm: NpmRegistry, ccm: Client, tls: Tls
) -> None:
    stranger = client(npm, ccm.cache, {"registry": tls.url})
    error = refused(NetworkError, stranger)
    where = urlsplit(tls.url).netloc
    assert error.sentence == (
        f"{where} can't be used: its certificate is not trusted (self-signed certificate)."
    )
    assert all(name in error.hint for name in ("cafile", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"))
    assert stranger.pauses == []


def test_an_unknown_certificate_of_the_archives_host_is_not_tried_again(
    npm: NpmRegistry, ccm: Client, tls: Tls
) -> None:
    npm.fail(METADATA, tarball_url(tls.url.rstrip("/") + "{path}"))
    assert "certificate" in refused(NetworkError, ccm).sentence
    assert ccm.pauses == []


def test_a_certificate_the_user_trusts_is_trusted_for_everything(
    npm: NpmRegistry, ccm: Client, tls: Tls
) -> None:
    trusting = client(npm, ccm.cache, {"registry": tls.url}, Network((tls.certificate,)))
    release = trusting.find()
    assert urlsplit(release.url).netloc == urlsplit(tls.url).netloc
    assert trusting.download(release) == npm.tarball("2.1.330", "linux-x64")


def test_ssl_cert_file_is_honoured(
    npm: NpmRegistry, ccm: Client, tls: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.certificate))
    assert client(npm, ccm.cache, {"registry": tls.url}).find().version == VERSION


@pytest.mark.parametrize("setting", ["npmrc", "variable", "NODE_EXTRA_CA_CERTS"])
def test_cafile_and_node_extra_ca_certs_are_found_where_npm_users_keep_them(
    ccm: Client, tls: Tls, tmp_path: Path, setting: str
) -> None:
    environ = {"HOME": str(tmp_path), "NPM_CONFIG_REGISTRY": tls.url}
    file = str(tls.certificate)
    if setting == "npmrc":
        (tmp_path / ".npmrc").write_text(f"cafile={file}\n")
    else:
        environ["npm_config_cafile" if setting == "variable" else setting] = file
    assert wiring.registry(environ).find(LATEST, LINUX).version == VERSION


def test_the_name_in_a_trusted_certificate_is_still_checked(
    npm: NpmRegistry, ccm: Client, tls: Tls
) -> None:
    url = tls.url.replace("127.0.0.1", "localhost")
    wrong = client(npm, ccm.cache, {"registry": url}, Network((tls.certificate,)))
    assert "certificate" in refused(NetworkError, wrong).sentence


def test_https_is_never_left_by_a_redirect(npm: NpmRegistry, ccm: Client, tls: Tls) -> None:
    npm.fail(r"latest$", redirect(npm.url.rstrip("/") + "/plain{path}"))
    trusting = client(npm, ccm.cache, {"registry": tls.url}, Network((tls.certificate,)))
    error = refused(NetworkError, trusting)
    assert error.sentence.endswith(
        f"redirects to {npm.url}plain/@anthropic-ai/claude-code/latest, which is not https."
    )
    assert len(npm.requests) == 1


def test_https_is_never_left_by_an_archives_address(
    npm: NpmRegistry, ccm: Client, tls: Tls
) -> None:
    npm.fail(METADATA, tarball_url("http://127.0.0.1:1{path}"))
    trusting = client(npm, ccm.cache, {"registry": tls.url}, Network((tls.certificate,)))
    assert "does not follow" in refused(VerificationError, trusting).sentence


@pytest.mark.parametrize("content", [None, b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_certificates_that_cannot_be_read_are_named(
    npm: NpmRegistry, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(NetworkError) as caught:
        client(npm, tmp_path / "cache", network=Network((file,))).find()
    assert str(file) in caught.value.sentence
    assert caught.value.hint == "Check npm's cafile and NODE_EXTRA_CA_CERTS."


# --- proxies -----------------------------------------------------------------------------------


class Proxy(socketserver.ThreadingTCPServer):
    """An HTTP proxy in a few lines. `seen` is the first line and the login of each request."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Proxying)
        self.seen: list[tuple[str, str | None]] = []
        self.refusing = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Proxying(socketserver.StreamRequestHandler):
    server: Proxy

    def handle(self) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.rfile.readline()
            if not line:
                return
            head += line
        words = head.decode("latin-1").split("\r\n")[0].split(" ")
        login = [h for h in head.decode("latin-1").split("\r\n") if h.startswith("Proxy-Auth")]
        self.server.seen.append((" ".join(words[:2]), login[0].split(" ")[2] if login else None))
        if self.server.refusing:
            self.wfile.write(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        target = words[1] if words[0] == "CONNECT" else urlsplit(words[1]).netloc
        host, _, port = target.partition(":")
        with socket.create_connection((host, int(port))) as there:
            if words[0] == "CONNECT":
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                path = words[1].partition(target)[2].encode()
                lines = head.split(b"\r\n")
                lines[0] = b"GET " + path + b" HTTP/1.1"
                there.sendall(b"\r\n".join([lines[0], b"Connection: close", *lines[1:]]))
            self._pump(there)

    def _pump(self, there: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                for ready in select.select([there, self.connection], [], [])[0]:
                    data = ready.recv(1 << 16)
                    if not data:
                        return
                    (self.connection if ready is there else there).sendall(data)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def found_by(environ: Mapping[str, str], home: Path) -> Version:
    """As the command would: with the settings of `environ` and of the .npmrc in `home`."""
    return wiring.registry({"HOME": str(home), **environ}).find(LATEST, LINUX).version


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "npm_config_proxy"])
def test_a_proxy_from_the_environment_is_used(
    npm: NpmRegistry, ccm: Client, proxy: Proxy, tmp_path: Path, name: str
) -> None:
    environ = {"NPM_CONFIG_REGISTRY": npm.url, name: proxy.url}
    assert found_by(environ, tmp_path) == VERSION
    assert [line for line, _ in proxy.seen] == [
        f"GET {npm.url}@anthropic-ai%2Fclaude-code/latest",
        f"GET {npm.url}@anthropic-ai%2Fclaude-code-linux-x64/2.1.330",
    ]


def test_a_proxy_from_npmrc_wins_over_the_environment(
    npm: NpmRegistry, ccm: Client, proxy: Proxy, tmp_path: Path
) -> None:
    (tmp_path / ".npmrc").write_text(f"registry={npm.url}\nproxy={proxy.url}\n")
    assert found_by({"http_proxy": "http://127.0.0.1:1"}, tmp_path) == VERSION
    assert len(proxy.seen) == 2


def test_the_proxys_own_login_goes_to_the_proxy(
    npm: NpmRegistry, ccm: Client, proxy: Proxy, tmp_path: Path
) -> None:
    environ = {
        "NPM_CONFIG_REGISTRY": npm.url,
        "http_proxy": proxy.url.replace("http://", "http://ada:pw@"),
    }
    assert found_by(environ, tmp_path) == VERSION
    assert {login for _, login in proxy.seen} == {base64.b64encode(b"ada:pw").decode()}
    assert {r.headers.get("authorization") for r in npm.requests} == {None}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NO_PROXY", "127.0.0.1"),
        ("no_proxy", "localhost,127.0.0.1"),
        ("NO_PROXY", "*"),
        ("npm_config_noproxy", "127.0.0.1"),
    ],
)
def test_no_proxy_goes_around_the_proxy(
    npm: NpmRegistry, ccm: Client, proxy: Proxy, tmp_path: Path, name: str, value: str
) -> None:
    environ = {"NPM_CONFIG_REGISTRY": npm.url, "http_proxy": proxy.url, name: value}
    assert found_by(environ, tmp_path) == VERSION
    assert proxy.seen == []


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY", "npm_config_https_proxy"])
def test_https_goes_through_a_tunnel_of_the_proxy(
    ccm: Client, tls: Tls, proxy: Proxy, tmp_path: Path, name: str
) -> None:
    environ = {
        "NPM_CONFIG_REGISTRY": tls.url,
        "NODE_EXTRA_CA_CERTS": str(tls.certificate),
        name: proxy.url,
    }
    assert found_by(environ, tmp_path) == VERSION
    assert {line for line, _ in proxy.seen} == {f"CONNECT {urlsplit(tls.url).netloc}"}


def test_a_proxy_that_refuses_is_said(
    npm: NpmRegistry, ccm: Client, tls: Tls, proxy: Proxy
) -> None:
    proxy.refusing = True
    network = Network((tls.certificate,), {"https": proxy.url})
    behind = client(npm, ccm.cache, {"registry": tls.url}, network)
    assert refused(NetworkError, behind).sentence.endswith("can't be used: the proxy refused.")


# --- npm's settings ----------------------------------------------------------------------------


def test_a_scoped_registry_wins_and_a_token_comes_from_a_variable(
    npm: NpmRegistry, ccm: Client, tmp_path: Path
) -> None:
    npm.token = "npm_secret"
    (tmp_path / ".npmrc").write_text(
        "; a comment\n# another\n"
        "registry = http://127.0.0.1:1/\n"
        f"@anthropic-ai:registry = {npm.url}\n"
        f"{bound(npm)}:_authToken = ${{MY_NPM_TOKEN}}\n"
    )
    assert found_by({"MY_NPM_TOKEN": "npm_secret"}, tmp_path) == VERSION


def test_the_environment_wins_over_the_project_and_the_project_over_the_user(
    npm: NpmRegistry, ccm: Client, tmp_path: Path
) -> None:
    home, project = tmp_path / "home", tmp_path / "project"
    (project / "deep" / "down").mkdir(parents=True)
    home.mkdir()
    (home / ".npmrc").write_text("registry=http://127.0.0.1:1/\n")
    (project / ".npmrc").write_text(f"registry={npm.url}\n")
    (project / "package.json").write_text("{}")
    environ = {"HOME": str(home)}
    inside = project / "deep" / "down"
    assert wiring.npm_config(environ, home).registry == "http://127.0.0.1:1/"
    assert wiring.npm_config(environ, inside).registry == npm.url
    assert wiring.npm_config(environ, inside).project
    environ["NPM_CONFIG_REGISTRY"] = "http://127.0.0.1:2/"
    assert wiring.npm_config(environ, inside).registry == "http://127.0.0.1:2/"
    assert not wiring.npm_config(environ, inside).project


def test_a_netrc_is_not_read(npm: NpmRegistry, ccm: Client, tmp_path: Path) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login ada password sekret\n")
    netrc.chmod(0o600)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path))
        patch.setenv("NETRC", str(netrc))
        ccm.find()
    assert {r.headers.get("authorization") for r in npm.requests} == {None}


def test_a_cloned_repository_does_not_say_where_programs_come_from(
    npm: NpmRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    npm.publish(str(VERSION))
    (tmp_path / "home" / ".npmrc").write_text(f"registry={npm.url}\n")
    (tmp_path / "package.json").write_text("{}")
    (tmp_path / ".npmrc").write_text("registry=http://127.0.0.1:1/${KEY}/\n")
    monkeypatch.chdir(tmp_path)
    environ = {"HOME": str(tmp_path / "home"), "KEY": "canary"}
    assert wiring.registry(environ).find(LATEST, LINUX).version == VERSION
    config = wiring.npm_config(environ, tmp_path)
    assert (config.registry, config.project) == ("http://127.0.0.1:1/canary/", True)
