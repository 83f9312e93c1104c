"""npm's signatures, with real published ones kept as data (claude-code 2.1.90 to 2.1.100)."""

import hashlib
import json
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ccmirror_py.errors import VerificationError
from ccmirror_py.signature import (
    PUBLISHED_KEYS,
    RegistryKey,
    Signature,
    parse_keys,
    parse_signatures,
    signer,
)
from tests.conftest import Sandbox
from tests.npm_registry import NpmRegistry, manifests

KEY = "SHA256:DhQ8wR5APBvFHLF/+Tc+AYvPOdTpcIDqOhxsBHRwC7U"
EXPIRED = "SHA256:jl3bwswu80PjjokCgh0o2w5c2U4LhQAE57gj9cz1kzA"
PUBLISHED = {
    "2.1.90": (
        "sha512-orm8uULh71ow5yA27PXMGYZrNlEAUmmGOwPrOava6wuai1wAC7J7ZOvx2cbM2u8GJBDkdiNSFdUwYmzc6Qs"
        "WDQ==",
        "MEQCIFqEht1VJg6BcBhwH8KmK7QgiENfHVW2a/DtRIFj8A2MAiBnOjQlz/gCtiw+GlyesG51y76uOUFaEJNo7llzHl"
        "4JYg==",
    ),
    "2.1.98": (
        "sha512-qecREauMWXHplkpjqsuDuUv4ww+NprMl71k9sMuLkZU7qwjLMkTPxRBjuKvZWWMrAPvZWdGZE9LljUTfCQ1"
        "lWQ==",
        "MEQCIGvolW/eLJuocfuN94cinl0Vz9arMrshmIhulXk/9JEBAiAW18CskQ+uEkWf90x4Dc0TqDoRBQ7lmCAXhpXpqb"
        "EJDA==",
    ),
    "2.1.100": (
        "sha512-bt6unBToiPZqDfMLIKCk8i3CHJqKYnGNHQ2iYt0VKX0Zxoa0g6WOdLM9mw8XGpYSMUaaovUIzdLbJ9XKeng"
        "4cQ==",
        "MEYCIQC9lUx0f9sUbdqaDxiz5q/A0Qf9pSD877Ze1wOFBxmgnAIhANhm8H94XwcjQVaoI6SlqoQbM+Wp5bxtsH3Tek"
        "n4ikuC",
    ),
}


def message(version: str, integrity: str) -> str:
    return f"@anthropic-ai/claude-code@{version}:{integrity}"


def by(message: str, *signatures: Signature) -> str | None:
    """Who signed it, by npm's own keys, none of which expired lately."""
    return signer(message, signatures, PUBLISHED_KEYS, lambda: None)


@pytest.mark.parametrize("version", PUBLISHED)
def test_what_npm_published_is_signed(version: str) -> None:
    integrity, signed = PUBLISHED[version]
    assert by(message(version, integrity), Signature(KEY, signed)) == KEY


@pytest.mark.parametrize("version", PUBLISHED)
def test_another_version_name_or_integrity_is_not(version: str) -> None:
    integrity, signed = PUBLISHED[version]
    other = next(i for v, (i, _) in PUBLISHED.items() if v != version)
    for changed in (
        message("2.1.99", integrity),
        message(version, other),
        message(version, integrity).replace("claude-code@", "claude-codo@"),
    ):
        with pytest.raises(VerificationError, match="is wrong"):
            by(changed, Signature(KEY, signed))


def test_signatures_that_can_not_be_one_are_wrong() -> None:
    integrity, signed = PUBLISHED["2.1.98"]
    for text in ("", "?", signed[:-8], signed[:-4] + "AAAA", signed + "AAAA", "QUJD"):
        with pytest.raises(VerificationError, match="is wrong"):
            by(message("2.1.98", integrity), Signature(KEY, text))


def test_a_wrong_signature_beside_a_right_one_is_wrong() -> None:
    integrity, signed = PUBLISHED["2.1.98"]
    with pytest.raises(VerificationError):
        by(
            message("2.1.98", integrity),
            Signature(KEY, signed),
            Signature(KEY, PUBLISHED["2.1.90"][1]),
        )


@pytest.mark.parametrize(
    ("expires", "published", "valid"),
    [
        ("2026-05-01T00:00:00.000Z", "2026-04-09T17:00:00.000Z", True),
        ("2026-04-01T00:00:00.000Z", "2026-04-09T17:00:00.000Z", False),
        ("2026-05-01T00:00:00.000Z", None, False),
        ("soon", "2026-04-09T17:00:00.000Z", False),
        (None, None, True),
    ],
)
def test_an_expired_key_counts_for_what_was_published_before(
    expires: str | None, published: str | None, valid: bool
) -> None:
    integrity, signed = PUBLISHED["2.1.98"]
    keys = {KEY: RegistryKey(PUBLISHED_KEYS[KEY].key, expires)}

    def tried() -> str | None:
        text = message("2.1.98", integrity)
        return signer(text, (Signature(KEY, signed),), keys, lambda: published)

    if valid:
        assert tried() == KEY
        return
    with pytest.raises(VerificationError, match="had expired"):
        tried()


def test_without_a_known_key_nobody_signed() -> None:
    integrity, signed = PUBLISHED["2.1.98"]
    assert by(message("2.1.98", integrity)) is None
    assert by(message("2.1.98", integrity), Signature("SHA256:another", signed)) is None


def test_a_key_of_another_kind_signs_nothing() -> None:
    integrity, signed = PUBLISHED["2.1.98"]
    for key in ("", "?", "QUJD"):
        with pytest.raises(VerificationError, match="is wrong"):
            signer(
                message("2.1.98", integrity),
                (Signature(KEY, signed),),
                {KEY: RegistryKey(key)},
                lambda: None,
            )


def test_signatures_are_read_as_npm_writes_them() -> None:
    assert parse_signatures(None) == ()
    assert parse_signatures([]) == ()
    assert parse_signatures([{"keyid": "k", "sig": "s", "more": 1}]) == (Signature("k", "s"),)
    refused: list[object] = [{}, "x", [1], [{"keyid": "k"}], [{"keyid": 1, "sig": "s"}], 0]
    for listed in refused:
        with pytest.raises(VerificationError):
            parse_signatures(listed)


def test_keys_are_read_as_npm_lists_them() -> None:
    entry = {"keyid": "k", "keytype": "ecdsa-sha2-nistp256", "key": "x", "expires": None}
    assert parse_keys({"keys": [entry]}) == {"k": RegistryKey("x", None)}
    assert parse_keys({"keys": []}) == {}
    refused: list[object] = [None, [], {}, {"keys": None}, {"keys": [1]}, {"keys": [{"key": "x"}]}]
    for document in refused:
        with pytest.raises(ValueError, match=r"is not|has a key"):
            parse_keys(document)


# --- a registry on this machine that signs ---


@dataclass
class Signing:
    """A registry's own key, and what it signs with it."""

    npm: NpmRegistry
    keys: Path
    keyid: str = "SHA256:of-a-test"
    key: EllipticCurvePrivateKey = field(default_factory=lambda: generate_private_key(SECP256R1()))

    def publish(self, version: str, /, **changes: Any) -> None:
        """`changes`: what is signed instead, or under which key it is said to be."""
        self.npm.publish(version)

        def sign(manifest: dict[str, Any]) -> None:
            if manifest["version"] != version or "dist" not in manifest:
                return
            told = {"name": manifest["name"], "version": version, "keyid": self.keyid, **changes}
            text = f"{told['name']}@{told['version']}:{manifest['dist']['integrity']}"
            signed = b64encode(self.key.sign(text.encode(), ECDSA(SHA256()))).decode()
            manifest["dist"]["signatures"] = [{"keyid": told["keyid"], "sig": signed}]

        self.npm.fail(rf"/{version.replace('.', '[.]')}$|/latest$", manifests(sign))

    def list_keys(self, **changes: object) -> None:
        public = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        entry = {"keyid": self.keyid, "key": b64encode(public).decode(), "expires": None, **changes}
        self.keys.write_text(json.dumps({"keys": [entry]}))


@pytest.fixture
def signing(npm: NpmRegistry, tmp_path: Path) -> Signing:
    found = Signing(npm, tmp_path / "keys.json")
    found.list_keys()
    return found


def create(
    sandbox: Sandbox, signing: Signing, name: str = "demo", **env: str
) -> tuple[int, str, str]:
    trusted = {"CCM_NPM_KEYS": str(signing.keys), **env}
    done = sandbox.ccm("create", name, "--provider", "echo", env=trusted)
    return done.returncode, done.stdout, done.stderr


def test_a_release_that_is_signed_says_so_everywhere(sandbox: Sandbox, signing: Signing) -> None:
    signing.publish("2.1.400")
    code, out, _ = create(sandbox, signing, CCM_REQUIRE_SIGNATURE="1")
    assert (code, "signed by npm (SHA256:of-a-test)" in out) == (0, True)
    assert "signed by npm (SHA256:of-a-test)" in sandbox.must("show", "demo")
    assert json.loads(sandbox.must("list", "--json"))["variants"][0]["signed_by"] == signing.keyid
    sandbox.ccm("doctor", "demo")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": "2.1.399"}, "is wrong"),
        ({"name": "@anthropic-ai/claude-code"}, "is wrong"),
        ({"keyid": "SHA256:nobody"}, "does not list"),
    ],
)
def test_what_is_signed_wrongly_is_refused_and_nothing_is_left(
    sandbox: Sandbox, signing: Signing, changes: dict[str, str], said: str
) -> None:
    signing.publish("2.1.400", **changes)
    code, _, told = create(sandbox, signing)
    assert (code, said in told) == (5, True), told
    assert list((sandbox.ccm_home / ".store").glob("*/*")) == []
    assert not sandbox.launcher("demo").is_symlink()


def test_a_key_that_expired_before_the_release_signs_nothing(
    sandbox: Sandbox, signing: Signing
) -> None:
    signing.publish("2.1.400")  # on 2026-01-01
    signing.list_keys(expires="2025-12-31T00:00:00.000Z")
    code, _, told = create(sandbox, signing)
    assert (code, "had expired" in told) == (5, True)
    signing.list_keys(expires="2026-01-02T00:00:00.000Z")
    code, out, _ = create(sandbox, signing, "later", CCM_HOME=str(sandbox.home / "another"))
    assert (code, "signed by npm" in out) == (0, True)


def test_an_unknown_key_is_looked_up_once_and_remembered(
    sandbox: Sandbox, signing: Signing, npm: NpmRegistry
) -> None:
    signing.publish("2.1.400")
    npm.keys = json.loads(signing.keys.read_text())
    url = f"{npm.url}-/npm/v1/keys"
    code, out, told = create(sandbox, signing, CCM_NPM_KEYS=url)
    assert (code, "signed by npm" in out) == (0, True)
    assert f"lists a key ccm did not know: {signing.keyid}" in told
    signing.publish("2.1.401")
    npm.keys = None  # remembered: not asked for any more
    sandbox.must("update", "demo", env={"CCM_NPM_KEYS": url, "CCM_REQUIRE_SIGNATURE": "1"})
    asked = [request for request in npm.requests if request.path.endswith("/keys")]
    assert len(asked) == 1


def test_a_key_nobody_can_be_asked_about_is_no_signature_and_that_is_told(
    sandbox: Sandbox, signing: Signing, npm: NpmRegistry
) -> None:
    signing.publish("2.1.400")
    url = f"{npm.url}-/npm/v1/keys"
    code, out, told = create(sandbox, signing, CCM_NPM_KEYS=url)
    assert (code, "integrity only, no signature" in out) == (0, True)
    assert "can't be asked about it" in told
    code, _, told = create(sandbox, signing, "other", CCM_NPM_KEYS=url, CCM_REQUIRE_SIGNATURE="1")
    assert (code, "There is no signature of a known key" in told) == (5, True)
    npm.publish("2.1.402")
    env = {"CCM_REQUIRE_SIGNATURE": "1", "CCM_NPM_KEYS": url}
    assert sandbox.ccm("update", "demo", env=env).returncode == 5


def test_a_list_of_nobody_is_a_list(sandbox: Sandbox, signing: Signing) -> None:
    signing.publish("2.1.400")
    signing.keys.write_text('{"keys": []}')
    code, _, told = create(sandbox, signing)
    assert (code, f"by a key that {signing.keys} does not list" in told) == (5, True)


def test_another_version_for_once_has_to_be_signed_too(
    sandbox: Sandbox, signing: Signing, npm: NpmRegistry
) -> None:
    npm.publish("2.1.399")
    signing.publish("2.1.400")
    trusted = {"CCM_NPM_KEYS": str(signing.keys)}
    sandbox.must("create", "demo", "--provider", "echo", env=trusted)
    assert sandbox.run(sandbox.launcher("demo"), "+2.1.399", env=trusted).returncode == 0
    required = {**trusted, "CCM_REQUIRE_SIGNATURE": "1"}
    refused = sandbox.run(sandbox.launcher("demo"), "+2.1.399", env=required)
    assert (refused.returncode, "There is no signature" in refused.stderr) == (5, True)


def test_the_level_is_shown_and_can_be_required(sandbox: Sandbox, npm: NpmRegistry) -> None:
    npm.publish("2.1.330")
    required = {"CCM_REQUIRE_SIGNATURE": "1"}
    refused = sandbox.ccm("create", "demo", "--provider", "echo", env=required)
    assert (refused.returncode, "no signature of a known key" in refused.stderr) == (5, True)
    sandbox.must("create", "demo", "--provider", "echo")
    assert "integrity only, no signature" in sandbox.must("show", "demo")


def test_what_was_signed_before_is_not_taken_unsigned_in_silence(
    sandbox: Sandbox, signing: Signing, npm: NpmRegistry
) -> None:
    signing.publish("2.1.330")
    create(sandbox, signing)
    npm.heal()
    npm.publish("2.1.331")
    assert "sends no signatures" in sandbox.ccm("update", "demo").stderr
    sandbox.must("prune")  # the memory is in the variants, not in the store alone
    npm.publish("2.1.332")
    assert "sends no signatures" in sandbox.ccm("update", "demo").stderr


# --- what was installed once ---


def test_a_version_that_was_installed_is_never_installed_with_other_bytes(
    sandbox: Sandbox, npm: NpmRegistry
) -> None:
    npm.publish("2.1.400")
    sandbox.must("create", "demo", "--provider", "echo")
    sandbox.must("pin", "demo")
    npm.publish("2.1.400", program=b"#!/bin/sh\necho something else\n")
    for words in (
        ("create", "other", "--provider", "echo"),
        ("create", "other", "--provider", "echo", "--claude-version", "2.1.400"),
    ):
        refused = sandbox.ccm(*words)
        assert (refused.returncode, "names other bytes" in refused.stderr) == (5, True)
    store = next((sandbox.ccm_home / ".store").glob("*/*"))
    program = sandbox.ccm_home / "demo/current/native/claude"
    before = hashlib.sha256(program.read_bytes()).hexdigest()
    sandbox.run("rm", "-r", "-f", store)  # as after a prune on another day
    program.chmod(0o755)
    program.write_bytes(b"damaged")
    refused = sandbox.ccm("doctor", "--fix", "demo")
    assert "names other bytes" in refused.stdout + refused.stderr
    npm.publish("2.1.400")  # the registry is honest again
    sandbox.ccm("doctor", "--fix", "demo")
    program = sandbox.ccm_home / "demo/current/native/claude"
    assert hashlib.sha256(program.read_bytes()).hexdigest() == before


def test_an_older_version_is_never_taken_in_silence(sandbox: Sandbox, npm: NpmRegistry) -> None:
    for version in ("2.1.400", "2.1.401"):
        npm.publish(version)
    for name, rule in (("follows", "latest"), ("within", "2.1.x")):
        sandbox.must("create", name, "--provider", "echo", "--claude-version", rule)
    npm.unpublish("2.1.401")
    for _ in range(2):
        kept = sandbox.must("update", "--all")
        assert kept.count("2.1.401 stays") == 2
        assert "means 2.1.400 now, which is older" in kept
    outcomes = json.loads(sandbox.must("update", "--all", "--json"))["outcomes"]
    assert {o["outcome"] for o in outcomes} == {"kept"}
    assert "2.1.401" in sandbox.must("list")
    taken = sandbox.must("update", "follows", "--allow-older")
    assert "2.1.401 -> 2.1.400 (older)" in taken
    pinned = sandbox.must("pin", "within", "2.1.400")
    assert "2.1.401 -> 2.1.400 (older)" in pinned
