"""The test registry is itself right: npm and requests accept it, and each fault is what it says."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import posixpath
import re
import shutil
import socket
import subprocess
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator
from gzip import decompress as gunzip
from pathlib import Path

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import npm_registry
from tests.npm_registry import (
    ABBREVIATED,
    BAD_INTEGRITIES,
    EVIL,
    HOSTILE_ARCHIVES,
    METADATA,
    NAME,
    PLATFORMS,
    ROOT,
    TARBALL,
    WANTED,
    Fault,
    Hostile,
    Member,
    NpmRegistry,
    Wire,
    answer,
    archive,
    body,
    broken_json,
    captive_portal,
    encoding_bomb,
    flipped,
    gzip,
    integrity,
    longname,
    manifests,
    other_version,
    pax,
    program,
    redirect,
    script,
    sri,
    tarball_url,
    trailing,
)

VERSION = "2.1.330"
LINUX = f"{ROOT}-linux-x64"


@pytest.fixture
def registry() -> Iterator[NpmRegistry]:
    with NpmRegistry() as registry:
        registry.publish(VERSION)
        yield registry


@pytest.fixture
def client() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def metadata(registry: NpmRegistry, name: str = LINUX) -> str:
    return registry.url + name.replace("/", "%2f")


def tarball(registry: NpmRegistry, name: str = LINUX, version: str = VERSION) -> str:
    return f"{registry.url}{name}/-/{name.split('/')[1]}-{version}.tgz"


def contents(data: bytes) -> dict[str, tuple[bytes, bytes, int]]:
    """Name to type, bytes and mode, as tarfile reads them."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
        for member in tar:
            file = tar.extractfile(member)
            found[member.name] = (member.type, file.read() if file else b"", member.mode)
    return found


# --- npm itself --------------------------------------------------------------------------------

needs_npm = pytest.mark.skipif(not shutil.which("npm"), reason="npm is not installed")


def npm(
    registry: NpmRegistry, cwd: Path, *arguments: str, **config: str
) -> subprocess.CompletedProcess[str]:
    settings = {"cache": str(cwd / ".npm"), "userconfig": str(cwd / "npmrc"), "audit": "false"}
    settings |= {"update_notifier": "false", "fund": "false", "fetch_retries": "0", **config}
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd), "NO_PROXY": "127.0.0.1"}
    environment |= {f"npm_config_{key}": value for key, value in settings.items()}
    command = ["npm", "--registry", registry.url, *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@needs_npm
def test_npm_views_versions_tags_and_platform_packages(
    registry: NpmRegistry, tmp_path: Path
) -> None:
    registry.publish("2.1.331")
    registry.tag("stable", VERSION)
    view = npm(registry, tmp_path, "view", ROOT, "versions", "dist-tags", "--json")
    assert json.loads(view.stdout) == {
        "versions": [VERSION, "2.1.331"],
        "dist-tags": {"latest": "2.1.331", "stable": VERSION},
    }
    wanted = npm(registry, tmp_path, "view", f"{ROOT}@stable", "optionalDependencies", "--json")
    assert json.loads(wanted.stdout) == {f"{ROOT}-{each}": VERSION for each in PLATFORMS}
    tags = npm(registry, tmp_path, "dist-tag", "ls", LINUX)
    assert tags.stdout.splitlines() == ["latest: 2.1.331", f"stable: {VERSION}"]
    assert npm(registry, tmp_path, "ping").returncode == 0


@needs_npm
def test_npm_packs_the_published_bytes(registry: NpmRegistry, tmp_path: Path) -> None:
    packed = npm(registry, tmp_path, "pack", f"{LINUX}@latest", "--json")
    (report,) = json.loads(packed.stdout)
    data = (tmp_path / report["filename"]).read_bytes()
    assert data == registry.tarball(VERSION, "linux-x64")
    assert report["integrity"] == sri(data)
    files = [(file["path"], file["mode"]) for file in report["files"]]
    assert ("claude", 0o755) in files


@needs_npm
def test_npm_installs_the_package_of_this_machine(registry: NpmRegistry, tmp_path: Path) -> None:
    installed = npm(registry, tmp_path, "install", "--ignore-scripts", ROOT)
    assert installed.returncode == 0, installed.stderr
    (native,) = (tmp_path / "node_modules/@anthropic-ai").glob("claude-code-*")
    shown = subprocess.run([native / "claude", "--version"], capture_output=True, check=True)
    assert shown.stdout == b"2.1.330 (Claude Code)\n"


@needs_npm
def test_npm_installs_a_javascript_version(registry: NpmRegistry, tmp_path: Path) -> None:
    registry.publish("2.1.112")
    installed = npm(registry, tmp_path, "install", f"{ROOT}@2.1.112")
    assert installed.returncode == 0, installed.stderr
    package = tmp_path / "node_modules" / ROOT
    shown = subprocess.run(
        [tmp_path / "node_modules/.bin/claude", "a b"], capture_output=True, check=True
    )
    assert json.loads(shown.stdout)["argv"] == ["a b"]
    assert len([*package.glob("vendor/ripgrep/*/rg*")]) == 6
    rg = subprocess.run([package / "vendor/ripgrep/x64-linux/rg"], capture_output=True, check=True)
    assert rg.stdout == b"ripgrep 14.1.1\n"


@needs_npm
@pytest.mark.parametrize(
    ("pattern", "fault", "message"),
    [
        (METADATA, integrity(BAD_INTEGRITIES["wrong"]), "EINTEGRITY"),
        (TARBALL, flipped(300), "EINTEGRITY"),
        (METADATA, answer(503), "E503"),
        (METADATA, broken_json(), "JSON"),
        (METADATA, redirect("{path}"), "redirect"),
    ],
)
def test_npm_sees_the_fault(
    registry: NpmRegistry, tmp_path: Path, pattern: str, fault: Fault, message: str
) -> None:
    registry.fail(pattern, fault)
    packed = npm(registry, tmp_path, "pack", f"{LINUX}@{VERSION}")
    assert packed.returncode != 0
    assert message in packed.stderr


@needs_npm
def test_npm_sends_the_token_for_metadata_and_tarball(
    registry: NpmRegistry, tmp_path: Path
) -> None:
    registry.token = "t0ken"
    assert "E401" in npm(registry, tmp_path, "pack", LINUX).stderr
    (tmp_path / "npmrc").write_text(f"{registry.url.removeprefix('http:')}:_authToken=t0ken\n")
    packed = npm(registry, tmp_path, "pack", LINUX)
    assert packed.returncode == 0, packed.stderr


# --- what is served ----------------------------------------------------------------------------


def test_a_manifest_names_its_bytes(registry: NpmRegistry, client: requests.Session) -> None:
    manifest = client.get(metadata(registry) + "/latest").json()
    data = client.get(manifest["dist"]["tarball"]).content
    assert manifest["dist"] == {
        "tarball": tarball(registry),
        "integrity": sri(data),
        "shasum": hashlib.sha1(data).hexdigest(),
    }
    assert (manifest["os"], manifest["cpu"], manifest["libc"]) == (["linux"], ["x64"], ["glibc"])
    assert sri(b"x") == "sha512-" + base64.b64encode(hashlib.sha512(b"x").digest()).decode()


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_platform_package_has_four_regular_files(registry: NpmRegistry, platform: str) -> None:
    files = contents(registry.tarball(VERSION, platform))
    file = "package/claude.exe" if "win32" in platform else "package/claude"
    others = ["package/package.json", "package/LICENSE.md", "package/README.md"]
    assert [*files] == [file, *others]
    assert {kind for kind, _, _ in files.values()} == {b"0"}
    assert files[file] == (b"0", program(VERSION), 0o755)
    system, cpu, libc = (*platform.split("-"), "glibc")[:3]
    package = json.loads(files["package/package.json"][1])
    assert (package["name"], package["version"]) == (f"{ROOT}-{platform}", VERSION)
    assert (package["os"], package["cpu"]) == ([system], [cpu])
    assert package.get("libc") == ([libc] if system == "linux" else None)


def test_old_versions_are_javascript_and_the_last_of_them_have_platform_packages(
    registry: NpmRegistry, client: requests.Session
) -> None:
    registry.publish("2.1.109")
    registry.publish("2.1.110", program=b"// mine\n")
    registry.publish("2.1.113")
    assert [*client.get(metadata(registry)).json()["versions"]] == [VERSION, "2.1.110", "2.1.113"]
    assert "package/cli.js" not in contents(registry.tarball("2.1.113"))
    files = contents(registry.tarball("2.1.109"))
    assert files["package/cli.js"][1] == script("2.1.109")
    assert json.loads(files["package/package.json"][1])["type"] == "module"
    assert contents(registry.tarball("2.1.110"))["package/cli.js"][1] == b"// mine\n"
    assert "optionalDependencies" not in client.get(metadata(registry, ROOT) + "/2.1.110").json()


def test_packuments_are_full_or_abbreviated(
    registry: NpmRegistry, client: requests.Session
) -> None:
    full = client.get(registry.url + LINUX)
    short = client.get(metadata(registry), headers={"Accept": f"{ABBREVIATED}; q=1.0, */*"})
    assert full.headers["content-type"] == "application/json"
    assert short.headers["content-type"] == ABBREVIATED
    assert full.json()["time"] == {VERSION: "2026-01-01T00:00:00.000Z"}
    assert "time" not in short.json()
    assert "license" in full.json()["versions"][VERSION]
    assert "license" not in short.json()["versions"][VERSION]
    assert full.json()["dist-tags"] == short.json()["dist-tags"] == {"latest": VERSION}
    assert full.headers["etag"] != short.headers["etag"]


def test_publish_takes_other_bytes_fields_and_platforms(
    registry: NpmRegistry, client: requests.Session
) -> None:
    registry.publish(
        "2.1.331", platforms=["linux-x64"], tarball=b"T", deprecated="no", dist={"x": 1}
    )
    manifest = client.get(metadata(registry) + "/2.1.331").json()
    assert (manifest["deprecated"], manifest["dist"]["x"]) == ("no", 1)
    assert manifest["dist"]["integrity"] == sri(b"T")
    assert registry.tarball("2.1.331", "linux-x64") == b"T"
    assert registry.tarball("2.1.331") != b"T"
    assert client.get(metadata(registry, f"{ROOT}-darwin-x64") + "/2.1.331").status_code == 404
    assert (
        client.get(metadata(registry, f"{ROOT}-darwin-x64") + "/latest").json()["version"]
        == VERSION
    )


def test_tags_move_and_may_point_nowhere(registry: NpmRegistry, client: requests.Session) -> None:
    tags = f"{registry.url}-/package/{LINUX.replace('/', '%2f')}/dist-tags"
    registry.publish("2.1.329")
    assert client.get(tags).json() == {"latest": "2.1.329"}
    registry.publish(VERSION)
    assert client.get(tags).json() == {"latest": VERSION}
    registry.publish("2.1.329")
    registry.tag("latest", VERSION)
    assert client.get(metadata(registry) + "/latest").json()["version"] == VERSION
    registry.tag("latest", "9.9.9")
    assert client.get(tags).json() == {"latest": "9.9.9"}
    assert client.get(metadata(registry) + "/latest").status_code == 404
    registry.unpublish(VERSION)
    assert client.get(metadata(registry) + f"/{VERSION}").status_code == 404
    assert client.get(tarball(registry)).status_code == 404
    registry.unpublish("2.1.329")
    assert client.get(metadata(registry)).status_code == 404


@pytest.mark.parametrize(
    "path", ["", "left-pad", "@anthropic-ai/nothing", "@anthropic-ai", f"{LINUX}/-/x"]
)
def test_what_is_not_there_is_404_in_json(
    registry: NpmRegistry, client: requests.Session, path: str
) -> None:
    missing = client.get(registry.url + path)
    assert (missing.status_code, [*missing.json()]) == (404, ["error"])


def test_a_registry_can_lie_below_a_path(registry: NpmRegistry, client: requests.Session) -> None:
    manifest = client.get(f"{registry.url}api/npm/{LINUX}/latest").json()
    assert manifest["dist"]["tarball"].startswith(f"{registry.url}api/npm/{LINUX}/-/")
    assert client.get(manifest["dist"]["tarball"]).content == registry.tarball(VERSION, "linux-x64")
    assert client.get(f"{registry.url}api/npm/-/ping").json() == {}


def test_an_unchanged_answer_is_304(registry: NpmRegistry, client: requests.Session) -> None:
    for url in (metadata(registry), metadata(registry) + "/latest", tarball(registry)):
        tag = client.get(url).headers["etag"]
        assert re.fullmatch(r'"[0-9a-f]{32}"', tag)
        again = client.get(url, headers={"If-None-Match": f'"x", {tag}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    tag = client.get(metadata(registry)).headers["etag"]
    registry.publish("2.1.331")
    assert client.get(metadata(registry), headers={"If-None-Match": tag}).status_code == 200


@settings(deadline=None)
@given(first=st.integers(0, 60) | st.none(), last=st.integers(0, 60) | st.none())
def test_ranges_are_slices(first: int | None, last: int | None) -> None:
    data = bytes(range(50))
    reply = npm_registry.Reply("", 200, data, {}, '"e"')
    asked = {"range": f"bytes={'' if first is None else first}-{'' if last is None else last}"}
    got = npm_registry._narrowed(reply, asked, True)
    if first is None:
        expected = data[-last:] if last else b""
    else:
        expected = data[first:] if last is None else data[first : last + 1]
    assert (got.status, got.body) == ((206, expected) if expected else (416, b""))
    if expected:
        start = data.index(expected)
        assert got.headers["Content-Range"] == f"bytes {start}-{start + len(expected) - 1}/50"


def test_tarballs_resume_with_range_and_if_range(
    registry: NpmRegistry, client: requests.Session
) -> None:
    url, data = tarball(registry), registry.tarball(VERSION, "linux-x64")
    whole = client.get(url)
    assert (whole.content, whole.headers["accept-ranges"]) == (data, "bytes")
    rest = client.get(url, headers={"Range": "bytes=100-", "If-Range": whole.headers["etag"]})
    assert (rest.status_code, rest.content) == (206, data[100:])
    assert rest.headers["content-range"] == f"bytes 100-{len(data) - 1}/{len(data)}"
    changed = client.get(url, headers={"Range": "bytes=100-", "If-Range": '"other"'})
    assert (changed.status_code, changed.content) == (200, data)
    after = client.get(url, headers={"Range": f"bytes={len(data)}-"})
    assert (after.status_code, after.headers["content-range"]) == (416, f"bytes */{len(data)}")
    registry.ranges = False
    full = client.get(url, headers={"Range": "bytes=100-"})
    assert (full.status_code, full.content) == (200, data)
    assert "accept-ranges" not in full.headers


def test_head_has_the_headers_only(registry: NpmRegistry, client: requests.Session) -> None:
    head = client.head(tarball(registry))
    assert int(head.headers["content-length"]) == len(registry.tarball(VERSION, "linux-x64"))
    assert head.content == b""


def test_every_path_needs_the_token_or_the_login(
    registry: NpmRegistry, client: requests.Session
) -> None:
    registry.token, registry.login = "t", ("user", "pass")
    for url in (metadata(registry), tarball(registry)):
        refused = client.get(url, headers={"Authorization": "Bearer x"})
        assert (refused.status_code, "www-authenticate" in refused.headers) == (401, True)
        assert client.get(url).status_code == 401
        assert client.get(url, headers={"Authorization": "Bearer t"}).status_code == 200
        assert client.get(url, auth=("user", "pass")).status_code == 200
        assert client.get(url, auth=("user", "")).status_code == 401


def test_requests_are_recorded_as_sent(registry: NpmRegistry, client: requests.Session) -> None:
    client.get(metadata(registry), headers={"X-Case": "A", "Range": "bytes=0-"})
    (request,) = registry.requests
    assert (request.method, request.path) == ("GET", "/@anthropic-ai%2Fclaude-code-linux-x64")
    assert (request.headers["x-case"], request.range) == ("A", "bytes=0-")


def test_after_the_end_nothing_is_served(client: requests.Session) -> None:
    with NpmRegistry() as registry:
        registry.publish(VERSION)
        assert client.get(metadata(registry)).ok
    with pytest.raises(requests.ConnectionError):
        client.get(metadata(registry))


# --- faults ------------------------------------------------------------------------------------


def test_a_fault_hits_its_paths_so_often(registry: NpmRegistry, client: requests.Session) -> None:
    registry.fail(TARBALL, answer(503, b"busy", retry_after="7"), times=2)
    assert client.get(metadata(registry)).ok
    for _ in range(2):
        busy = client.get(tarball(registry))
        assert (busy.status_code, busy.content, busy.headers["retry-after"]) == (503, b"busy", "7")
    assert client.get(tarball(registry)).ok
    registry.fail(".", answer(500))
    assert client.get(metadata(registry)).status_code == 500
    registry.heal()
    assert client.get(metadata(registry)).ok


@pytest.mark.parametrize("name", BAD_INTEGRITIES)
def test_integrity_is_what_the_fault_says(
    registry: NpmRegistry, client: requests.Session, name: str
) -> None:
    value = BAD_INTEGRITIES[name]
    good = client.get(metadata(registry) + "/latest")
    registry.fail(METADATA, integrity(value))
    bad = client.get(
        metadata(registry) + "/latest", headers={"If-None-Match": good.headers["etag"]}
    )
    assert bad.status_code == 200
    assert bad.json()["dist"].get("integrity") == value != good.json()["dist"]["integrity"]
    assert bad.json()["dist"]["shasum"] == good.json()["dist"]["shasum"]
    packument = client.get(metadata(registry)).json()
    assert packument["versions"][VERSION]["dist"] == bad.json()["dist"]
    registry.fail(METADATA, integrity(None, shasum=False))
    assert [*client.get(metadata(registry) + "/latest").json()["dist"]] == ["tarball"]


def test_metadata_can_point_elsewhere(registry: NpmRegistry, client: requests.Session) -> None:
    registry.fail(METADATA, tarball_url("http://u:p@elsewhere{path}"), other_version("1.0.0"))
    manifest = client.get(metadata(registry) + f"/{VERSION}").json()
    assert manifest["version"] == "1.0.0"
    path = tarball(registry).removeprefix(registry.url)
    assert manifest["dist"]["tarball"] == f"http://u:p@elsewhere/{path}"
    registry.fail(METADATA, manifests(lambda manifest: manifest.pop("dist")))
    assert "dist" not in client.get(metadata(registry) + "/latest").json()
    assert client.get(tarball(registry)).ok


def test_bodies_can_be_wrong(registry: NpmRegistry, client: requests.Session) -> None:
    data = registry.tarball(VERSION, "linux-x64")
    expected: list[tuple[Fault, bytes]] = [
        (flipped(0), bytes([data[0] ^ 1]) + data[1:]),
        (flipped(-1), data[:-1] + bytes([data[-1] ^ 1])),
        (trailing(b"xyz"), data + b"xyz"),
        (body(lambda good: good[:99]), data[:99]),
        (Wire(chunked="well"), data),
        (Wire(length=None), data),
        (Wire(length=-5), data[:-5]),
    ]
    etag = client.get(tarball(registry)).headers["etag"]
    for fault, content in expected:
        registry.heal()
        registry.fail(TARBALL, fault)
        got = client.get(tarball(registry))
        assert (got.content, got.headers["etag"]) == (content, etag)
        assert ("content-length" in got.headers) == (fault not in [f for f, _ in expected[4:6]])
    registry.heal()
    registry.fail(TARBALL, flipped(10))
    part = client.get(tarball(registry), headers={"Range": "bytes=10-11"}).content
    assert part == bytes([data[10] ^ 1, data[11]])
    registry.fail(METADATA, broken_json())
    with pytest.raises(requests.JSONDecodeError):
        client.get(metadata(registry)).json()
    registry.fail(METADATA, captive_portal())
    portal = client.get(metadata(registry))
    assert (portal.status_code, portal.headers["content-type"]) == (200, "text/html")


@pytest.mark.parametrize(
    "fault",
    [
        Wire(cut=100),
        Wire(cut=0),
        Wire(cut=100, reset=True),
        Wire(length=10),
        Wire(chunked="broken"),
        Wire(chunked="well", cut=100),
    ],
    ids=str,
)
def test_a_broken_connection_is_an_error(
    registry: NpmRegistry, client: requests.Session, fault: Wire
) -> None:
    registry.fail(TARBALL, fault, times=1)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        client.get(tarball(registry))
    assert client.get(tarball(registry)).content == registry.tarball(VERSION, "linux-x64")


def test_cut_sends_so_many_bytes_and_reset_is_a_reset(registry: NpmRegistry) -> None:
    for fault, error in ((Wire(cut=7), None), (Wire(cut=7, reset=True), ConnectionResetError)):
        registry.heal()
        registry.fail(TARBALL, fault)
        with socket.create_connection(("127.0.0.1", int(registry.url[17:-1])), 5) as raw:
            raw.sendall(f"GET /{tarball(registry)[len(registry.url) :]} HTTP/1.1\r\n\r\n".encode())
            received, seen = b"", None
            try:
                while piece := raw.recv(4096):
                    received += piece
            except ConnectionResetError as caught:
                seen = type(caught)
        assert len(received.partition(b"\r\n\r\n")[2]) == 7
        assert seen is error


def test_content_length_can_be_any_text(registry: NpmRegistry, client: requests.Session) -> None:
    registry.fail(TARBALL, Wire(length="-1"))
    assert client.get(tarball(registry), stream=True).headers["content-length"] == "-1"


@pytest.mark.parametrize(
    "fault", [Wire(delay=0.3), Wire(stall=0.3, stall_at=50), Wire(rate=2200)], ids=str
)
def test_slow_answers_are_slow_and_right(
    registry: NpmRegistry, client: requests.Session, fault: Wire
) -> None:
    registry.fail(TARBALL, fault)
    start = time.monotonic()
    assert client.get(tarball(registry)).content == registry.tarball(VERSION, "linux-x64")
    assert 0.25 < time.monotonic() - start < 10


def test_a_stall_ends_with_the_registry(client: requests.Session) -> None:
    start = time.monotonic()
    with NpmRegistry() as registry:
        registry.publish(VERSION)
        registry.fail(TARBALL, Wire(stall=60, stall_at=5))
        with pytest.raises(requests.ConnectionError):
            client.get(tarball(registry), timeout=0.2)
    assert time.monotonic() - start < 5


def test_redirects_go_where_they_say(registry: NpmRegistry, client: requests.Session) -> None:
    data = registry.tarball(VERSION, "linux-x64")
    registry.fail(TARBALL, redirect("/mirror{path}", 307), times=3)
    chain = client.get(tarball(registry))
    assert (len(chain.history), chain.history[0].status_code, chain.content) == (3, 307, data)
    with NpmRegistry() as other:
        other.publish(VERSION, tarball=EVIL)
        registry.fail(TARBALL, redirect(other.url.rstrip("/") + "{path}"), times=1)
        assert client.get(tarball(registry)).content == EVIL
    registry.fail(TARBALL, redirect("{path}"))
    with pytest.raises(requests.TooManyRedirects):
        client.get(tarball(registry))


def test_an_encoding_bomb_is_small_on_the_wire(
    registry: NpmRegistry, client: requests.Session
) -> None:
    registry.fail(METADATA, encoding_bomb(20))
    bomb = client.get(metadata(registry), headers={"Accept-Encoding": "identity"})
    assert bomb.headers["content-encoding"] == "gzip"
    assert int(bomb.headers["content-length"]) < 30_000
    assert bomb.content == bytes(20 << 20)


# --- the programs inside -----------------------------------------------------------------------

VALUES = ["", "a b", 'q"uo\\te', "new\nline\r\t", "\x01\x1f\x7f", "$(id) `id` %s \\n &", "é 漢 🙂"]
SHELLS = [s for s in ("dash", "bash", "mksh", "ksh", "zsh") if shutil.which(s)]


@pytest.mark.parametrize("shell", ["", *SHELLS])
def test_the_program_shows_argv_and_environment(tmp_path: Path, shell: str) -> None:
    path = tmp_path / "claude"
    path.write_bytes(program(VERSION))
    path.chmod(0o555)
    start = [shutil.which(shell) or shell] if shell else []
    shown = subprocess.run([*start, path, "--version"], capture_output=True, env={}, check=True)
    assert shown.stdout == b"2.1.330 (Claude Code)\n"
    environment = {f"V{n}": value for n, value in enumerate(VALUES)} | {"i": "1", "out": "2"}
    argv = ["-p", "--help", "A=1", *VALUES]
    shown = subprocess.run([*start, path, *argv], capture_output=True, env=environment, check=True)
    assert shown.stdout.count(b"\n") == 1
    seen = json.loads(shown.stdout)
    assert (seen["version"], seen["program"], seen["argv"]) == (VERSION, str(path), argv)
    added = {"PWD", "OLDPWD", "SHLVL", "_", "LOGNAME", "HOME", "PATH", "AWKPATH", "AWKLIBPATH"} | {
        "A__z"
    }
    assert {k: v for k, v in seen["env"].items() if k not in added} == environment


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_the_script_shows_argv_and_environment(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"type": "module"}')
    path = tmp_path / "cli.js"
    path.write_bytes(script("2.1.112"))
    environment = {f"V{n}": value for n, value in enumerate(VALUES)}
    command = [str(shutil.which("node")), str(path)]
    shown = subprocess.run([*command, "--version"], capture_output=True, check=True)
    assert shown.stdout == b"2.1.112 (Claude Code)\n"
    shown = subprocess.run([*command, *VALUES], capture_output=True, env=environment, check=True)
    seen = json.loads(shown.stdout)
    assert seen == {"version": "2.1.112", "program": str(path), "argv": VALUES, "env": environment}


# --- archives ----------------------------------------------------------------------------------


def reading(data: bytes) -> list[bytes | None]:
    """What the format's rules say is at NAME: bytes, or None for anything but a regular file.

    ValueError for damage. Written for clearness: it holds everything in memory.
    """
    stream, at, entries = data, 0, list[bytes | None]()
    if data.startswith(b"\x1f\x8b"):
        stream = b""
    while data.startswith(b"\x1f\x8b"):
        inflate = zlib.decompressobj(31)
        stream += inflate.decompress(data)
        if not inflate.eof:
            raise ValueError("gzip truncated")
        data = inflate.unused_data
    everywhere: dict[str, str] = {}
    here: dict[str, str] = {}
    while at < len(stream) and stream[at : at + 1024] != bytes(1024):
        head, at = stream[at : at + 512], at + 512
        if head == bytes(512):
            continue
        if len(head) < 512 or int(head[148:156].strip(b"\0 "), 8) != 256 + sum(head) - sum(
            head[148:156]
        ):
            raise ValueError("header")
        kind = chr(head[156])
        fields = {} if kind in "xgLK" else everywhere | here
        binary = head[124] & 0x80
        size = (
            int.from_bytes(head[125:136], "big") if binary else int(head[124:136].strip(b"\0 "), 8)
        )
        size = int(fields.get("size", size))
        content = stream[at : at + size]
        if size < 0 or head[124] == 0xFF or len(content) < size:
            raise ValueError("size")
        at += size + -size % 512
        if kind == "L":
            here["path"] = content.rstrip(b"\0").decode()
        elif kind == "K":
            here["linkpath"] = content.rstrip(b"\0").decode()
        elif kind in "xg":
            while content:
                length = int(content.split(b" ", 1)[0])
                record, content = content[:length], content[length:]
                key, equals, value = record.partition(b" ")[2].decode().partition("=")
                if len(record) != length or not equals or not value.endswith("\n"):
                    raise ValueError("pax")
                (everywhere if kind == "g" else here)[key] = value[:-1]
        else:
            name, prefix = (head[a:b].split(b"\0")[0].decode() for a, b in ((0, 100), (345, 500)))
            name = fields.get("path", f"{prefix}/{name}" if prefix else name)
            sparse = any(key.startswith("GNU.sparse") for key in fields)
            if fields.get("GNU.sparse.name", name) == NAME:
                entries.append(content if kind in "0\x007" and not sparse else None)
            here = {}
    return entries


@pytest.fixture
def small_bombs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npm_registry, "BOMB_MIB", 3)


def outcome(reader: Callable[[bytes], bytes | None], data: bytes) -> bytes | None:
    try:
        return reader(data)
    except (ValueError, KeyError, EOFError, OSError, OverflowError, zlib.error, tarfile.TarError):
        return None


def by_the_rules(data: bytes) -> bytes | None:
    entries = reading(data)
    return entries[0] if len(entries) == 1 else None


@pytest.mark.usefixtures("small_bombs")
@pytest.mark.parametrize("name", HOSTILE_ARCHIVES)
def test_each_archive_is_as_hostile_as_it_is_labelled(name: str) -> None:
    hostile = HOSTILE_ARCHIVES[name]
    got = outcome(by_the_rules, hostile.build())
    assert (got == WANTED) is not hostile.must_refuse


def the_last(data: bytes) -> bytes | None:
    """tarfile by name: the last member counts, links are followed."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        file = tar.extractfile(NAME)
        return file.read() if file else None


def the_first_alike(data: bytes) -> bytes | None:
    """The first regular member whose cleaned name fits; what extracting to a Mac would do."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            name = posixpath.normpath(member.name.lstrip("/").replace("\\", "/")).lower()
            if name.split("\0")[0] == NAME and member.isreg():
                file = tar.extractfile(member)
                return file.read() if file else None
    return None


def without_extensions(data: bytes) -> bytes | None:
    """Every header is looked at, pax and GNU headers are skipped over; the last member counts."""
    stream, at, found = zlib.decompressobj(31).decompress(data), 0, None
    while at + 512 <= len(stream):
        head, at = stream[at : at + 512], at + 512
        size = int(head[124:135].strip(b"\0 ") or b"0", 8)
        if head[:100].rstrip(b"\0") == NAME.encode():
            found = stream[at : at + size]
        at += max(size + -size % 512, 0)
    return found


@pytest.mark.usefixtures("small_bombs")
def test_the_archives_fool_readers_that_are_not_strict() -> None:
    def fooled(reader: Callable[[bytes], bytes | None], hostile: Hostile) -> bool:
        got = outcome(reader, hostile.build())
        return got is not None and (hostile.must_refuse or got != WANTED)

    # tarfile takes for ever, 10 GB of memory, or a few seconds
    slow = {"size negative", "size negative in base 256"}
    slow |= {"pax sparse of 10 GB", "100,000 empty members"}
    readers = (the_last, the_first_alike, without_extensions)
    last, first, plain = (
        {n for n, each in HOSTILE_ARCHIVES.items() if n not in slow and fooled(reader, each)}
        for reader in readers
    )
    assert last >= {"duplicate, second differs", "pax path onto the wanted", "symlink to a sibling"}
    assert first >= {"duplicate, first differs", "dot slash", "backslashes", "case variant"}
    assert plain >= {"pax size hides a member", "member after the end marker", "fifo"}
    assert len(last | first | plain) > 50


@pytest.mark.parametrize(
    "name",
    [
        "traversal",
        "traversal inside",
        "symlink as the parent",
        "symlink, then a file below it",
        "symlink, then a file through it",
    ],
)
def test_extracting_everything_writes_outside(tmp_path: Path, name: str) -> None:
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(HOSTILE_ARCHIVES[name].build())) as tar:
        with contextlib.suppress(OSError):
            tar.extractall(inside, filter="fully_trusted")
    assert [path for path in tmp_path.rglob("*") if path.is_file() and inside not in path.parents]


def test_a_bomb_is_small_until_it_is_inflated() -> None:
    bomb, size = HOSTILE_ARCHIVES["bomb beside"].build(), 0
    inflate = zlib.decompressobj(31)
    rest = bomb
    while not inflate.eof:
        size += len(last := inflate.decompress(rest, 1 << 20))
        rest = inflate.unconsumed_tail
    assert (len(bomb) < 1_200_000, size >> 20) == (True, 1025)
    assert last.endswith(bytes(1024))


@settings(deadline=None)
@given(st.binary(max_size=999), st.integers(0, 2), st.binary(max_size=999))
def test_gzip_is_read_by_gzip(before: bytes, zeros: int, after: bytes) -> None:
    assert gunzip(gzip(before, zeros, after)) == before + bytes(zeros << 20) + after


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=120)


@settings(deadline=None)
@given(name=NAMES, data=st.binary(max_size=1500), mode=st.integers(0, 0o7777))
def test_honest_archives_are_read_by_tarfile(name: str, data: bytes, mode: int) -> None:
    last = Member("package/last", mode=mode)
    for head in (pax(path=name), longname(name)):
        got = contents(archive([head, Member("x", data), last]))
        assert got == {name: (b"0", data, 0o644), "package/last": (b"0", b"", mode)}


def test_special_members_have_their_types() -> None:
    types = {"symlink": b"2", "hard link": b"1", "character device": b"3", "block device": b"4"}
    types |= {"directory": b"5", "fifo": b"6", "contiguous": b"7", "old regular type": b"\0"}
    for name, kind in types.items():
        with tarfile.open(fileobj=io.BytesIO(HOSTILE_ARCHIVES[name].build())) as tar:
            assert tar.getmember(NAME).type == kind, name
    assert contents(HOSTILE_ARCHIVES["setuid"].build())[NAME] == (b"0", WANTED, 0o7777)
