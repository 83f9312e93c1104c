"""Anthropic's signed manifests, compared with what is installed."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from ccmirror_py.cli import wiring
from ccmirror_py.errors import VerificationError
from ccmirror_py.host import this_platform
from ccmirror_py.npmrc import NpmConfig
from ccmirror_py.releases import FINGERPRINT, KEY, NotComparedError, Releases
from ccmirror_py.transport import Network, Transport
from ccmirror_py.version import Version
from tests.conftest import Sandbox
from tests.npm_registry import NpmRegistry

PLATFORM = this_platform().package.removeprefix("@anthropic-ai/claude-code-")
VERSION = Version(2, 1, 400)

needs_gpg = pytest.mark.skipif(not shutil.which("gpg"), reason="gpg is not installed")


@dataclass(frozen=True)
class Signed:
    """A place that serves signed manifests, and the key of whoever signs them."""

    url: str
    directory: Path
    gnupg: Path
    key: Path
    fingerprint: str

    def gpg(self, *words: str | Path) -> str:
        command = ["gpg", "--homedir", self.gnupg, "--batch", "--yes", "--passphrase", "", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout

    def publish(self, version: str, checksum: str, told: str = "") -> None:
        folder = self.directory / version
        folder.mkdir()
        platforms = {PLATFORM: {"binary": "claude", "checksum": checksum, "size": 1}}
        manifest = folder / "manifest.json"
        manifest.write_text(json.dumps({"version": told or version, "platforms": platforms}))
        self.gpg("--detach-sign", "--output", folder / "manifest.json.sig", manifest)

    def releases(self) -> Releases:
        transport = Transport(NpmConfig(), Network())
        return Releases(transport, self.url, self.key, self.fingerprint)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def signed(tmp_path: Path) -> Iterator[Signed]:
    served, gnupg, key = tmp_path / "releases", tmp_path / "g", tmp_path / "key.asc"
    served.mkdir()
    gnupg.mkdir(mode=0o700)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served)))
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/"
    made = Signed(url, served, gnupg, key, "")
    made.gpg("--quick-generate-key", "Tester <t@example.com>", "ed25519", "sign", "never")
    key.write_text(made.gpg("--armor", "--export"))
    listed = made.gpg("--with-colons", "--list-keys").splitlines()
    fingerprint = next(line.split(":")[9] for line in listed if line.startswith("fpr"))
    yield Signed(url, served, gnupg, key, fingerprint)
    server.shutdown()
    server.server_close()


@needs_gpg
def test_the_key_that_comes_with_ccm_is_the_one_anthropic_documents() -> None:
    shown = subprocess.run(
        ["gpg", "--with-colons", "--show-keys", KEY], capture_output=True, text=True, check=True
    ).stdout
    assert f":{FINGERPRINT}:" in shown
    assert "Anthropic Claude Code Release Signing" in shown


@needs_gpg
def test_a_signed_manifest_tells_the_checksum(signed: Signed, tmp_path: Path) -> None:
    signed.publish("2.1.400", "ab" * 32)
    assert signed.releases().checksum(VERSION, PLATFORM, tmp_path) == "ab" * 32


@needs_gpg
@pytest.mark.parametrize("change", ["manifest", "signature", "another key", "another version"])
def test_what_anthropic_did_not_sign_is_wrong(signed: Signed, tmp_path: Path, change: str) -> None:
    signed.publish("2.1.400", "ab" * 32, told="2.1.399" if change == "another version" else "")
    folder = signed.directory / "2.1.400"
    if change == "manifest":
        manifest = folder / "manifest.json"
        manifest.write_text(manifest.read_text().replace("abab", "abac"))
    if change == "signature":
        (folder / "manifest.json.sig").write_bytes(b"\x88\x5e")
    releases = signed.releases()
    if change == "another key":
        releases = Releases(Transport(NpmConfig(), Network()), signed.url)
    with pytest.raises(VerificationError):
        releases.checksum(VERSION, PLATFORM, tmp_path)


@needs_gpg
def test_what_can_not_be_compared_is_not_called_wrong(
    signed: Signed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    releases = signed.releases()
    with pytest.raises(NotComparedError):
        releases.checksum(VERSION, PLATFORM, tmp_path)  # nothing there
    with pytest.raises(NotComparedError, match=r"from 2\.1\.89 on"):
        releases.checksum(Version(2, 1, 88), PLATFORM, tmp_path)
    signed.publish("2.1.400", "ab" * 32)
    with pytest.raises(NotComparedError, match="has no plan9-x64"):
        releases.checksum(VERSION, "plan9-x64", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotComparedError, match="gpgv is not installed"):
        releases.checksum(VERSION, PLATFORM, tmp_path)


@needs_gpg
def test_verify_compares_each_program_and_says_what_it_could_not(
    sandbox: Sandbox, npm: NpmRegistry, signed: Signed
) -> None:
    npm.publish("2.1.112")
    npm.publish("2.1.400")
    sandbox.must("create", "demo", "--provider", "echo")
    env = {"CCM_RELEASES_URL": signed.url}
    nothing_there = sandbox.ccm("verify", "--releases", env=env)
    assert nothing_there.returncode == 4
    assert "not compared: " in nothing_there.stdout
    sandbox.must("create", "old", "--provider", "echo", "--claude-version", "2.1.112")
    beside = sandbox.ccm("verify", "--releases", "--json", env=env)
    results = {each["version"]: each["result"] for each in json.loads(beside.stdout)["compared"]}
    assert results == {"2.1.112": "no counterpart", "2.1.400": "not compared"}
    sandbox.must("remove", "old", "--yes", "--purge")
    sandbox.must("prune")
    program = sandbox.ccm_home / "demo/current/native/claude"
    signed.publish("2.1.400", hashlib.sha256(program.read_bytes()).hexdigest())
    # signed, but not by Anthropic
    refused = sandbox.ccm("verify", "--releases", "--json", env=env)
    assert refused.returncode == 1
    (compared,) = json.loads(refused.stdout)["compared"]
    assert compared["result"] == "different"
    assert "not signed with Anthropic's key" in compared["detail"]
    assert sandbox.ccm("verify").returncode == 0
    assert list((sandbox.ccm_home / ".staging").iterdir()) == []


@needs_gpg
def test_other_bytes_than_the_signed_ones_are_different(
    sandbox: Sandbox, npm: NpmRegistry, signed: Signed
) -> None:
    from ccmirror_py.operations.compare import compare

    npm.publish("2.1.400")
    sandbox.must("create", "demo", "--provider", "echo")
    context = wiring.context(dict(sandbox.environ))
    program = sandbox.ccm_home / "demo/current/native/claude"
    signed.publish("2.1.400", hashlib.sha256(program.read_bytes()).hexdigest())
    assert [each.result for each in compare(context, signed.releases())] == ["same"]
    shutil.rmtree(signed.directory / "2.1.400")
    signed.publish("2.1.400", "ab" * 32)
    assert [each.result for each in compare(context, signed.releases())] == ["different"]
