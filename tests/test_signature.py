"""npm's signatures, with real published ones kept as data (claude-code 2.1.90 to 2.1.100)."""

import json

import pytest

from ccmirror_py.errors import VerificationError
from ccmirror_py.release import ROOT_PACKAGE, parse_release
from ccmirror_py.signature import Signature, parse_signatures, signer
from ccmirror_py.version import Version
from tests.conftest import Sandbox
from tests.npm_registry import NpmRegistry

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


@pytest.mark.parametrize("version", PUBLISHED)
def test_what_npm_published_is_signed(version: str) -> None:
    integrity, signed = PUBLISHED[version]
    assert signer(message(version, integrity), (Signature(KEY, signed),)) == KEY


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
            signer(changed, (Signature(KEY, signed),))


def test_signatures_that_can_not_be_one_are_wrong() -> None:
    integrity, signed = PUBLISHED["2.1.98"]
    for text in ("", "?", signed[:-8], signed[:-4] + "AAAA", signed + "AAAA", "QUJD"):
        with pytest.raises(VerificationError, match="is wrong"):
            signer(message("2.1.98", integrity), (Signature(KEY, text),))


def test_a_wrong_signature_beside_a_right_one_is_wrong() -> None:
    integrity, signed = PUBLISHED["2.1.98"]
    both = (Signature(KEY, signed), Signature(KEY, PUBLISHED["2.1.90"][1]))
    with pytest.raises(VerificationError):
        signer(message("2.1.98", integrity), both)


def test_a_key_that_had_expired_before_claude_code_existed_signs_nothing() -> None:
    integrity, signed = PUBLISHED["2.1.98"]
    with pytest.raises(VerificationError, match="had expired"):
        signer(message("2.1.98", integrity), (Signature(EXPIRED, signed),))


def test_without_a_known_key_nobody_signed() -> None:
    integrity, signed = PUBLISHED["2.1.98"]
    assert signer(message("2.1.98", integrity), ()) is None
    assert signer(message("2.1.98", integrity), (Signature("SHA256:another", signed),)) is None


def test_signatures_are_read_as_npm_writes_them() -> None:
    assert parse_signatures(None) == ()
    assert parse_signatures([]) == ()
    assert parse_signatures([{"keyid": "k", "sig": "s", "more": 1}]) == (Signature("k", "s"),)
    refused: list[object] = [{}, "x", [1], [{"keyid": "k"}], [{"keyid": 1, "sig": "s"}], 0]
    for listed in refused:
        with pytest.raises(VerificationError):
            parse_signatures(listed)


def manifest(version: str, **dist: object) -> dict[str, object]:
    integrity, signed = PUBLISHED[version]
    whole: dict[str, object] = {
        "integrity": integrity,
        "tarball": "https://registry.example/x.tgz",
        "signatures": [{"keyid": KEY, "sig": signed}],
    }
    return {"name": ROOT_PACKAGE, "version": version, "dist": {**whole, **dist}}


def test_a_release_knows_who_signed_it() -> None:
    version = Version(2, 1, 98)
    assert parse_release(manifest("2.1.98"), ROOT_PACKAGE, version).signed_by == KEY
    unsigned = manifest("2.1.98", signatures=None)
    assert parse_release(unsigned, ROOT_PACKAGE, version).signed_by is None
    swapped = manifest("2.1.98", integrity=PUBLISHED["2.1.90"][0])
    with pytest.raises(VerificationError):
        parse_release(swapped, ROOT_PACKAGE, version)


def test_the_level_is_shown_and_can_be_required(sandbox: Sandbox, npm: NpmRegistry) -> None:
    npm.publish("2.1.330")
    required = {"CCM_REQUIRE_SIGNATURE": "1"}
    refused = sandbox.ccm("create", "demo", "--provider", "echo", env=required)
    assert (refused.returncode, "sends no signature" in refused.stderr) == (5, True)
    sandbox.must("create", "demo", "--provider", "echo")
    assert "integrity only, no signature" in sandbox.must("show", "demo")


def test_what_was_signed_before_is_not_taken_unsigned_in_silence(
    sandbox: Sandbox, npm: NpmRegistry
) -> None:
    npm.publish("2.1.330")
    sandbox.must("create", "demo", "--provider", "echo")
    receipt = next((sandbox.ccm_home / ".store").glob("*/*/receipt.json"))
    signed = {**json.loads(receipt.read_text()), "signed_by": KEY}
    receipt.unlink()
    receipt.write_text(json.dumps(signed))
    npm.publish("2.1.331")
    assert "sends no signatures" in sandbox.ccm("update", "demo").stderr
