"""Anthropic's own word on its releases: a manifest a version, signed with a key of Anthropic's.

Documented at code.claude.com/docs/en/setup ("Binary integrity and code signing"): from 2.1.89 on,
`manifest.json` lists the sha256 of each platform's program, `manifest.json.sig` signs it. npm's
programs are the same bytes (compared for 2.1.235, 2.1.252 and 2.1.286, linux-x64, 2026-11-22), so
this is a second signer beside npm, reached over another host.
"""

import json
import subprocess
from base64 import b64decode
from pathlib import Path

from ccmirror_py import fs
from ccmirror_py.errors import CcmError, VerificationError
from ccmirror_py.transport import Transport, TryAgainError
from ccmirror_py.version import Version

ADDRESS = "https://downloads.claude.ai/claude-code-releases/"
KEY = Path(__file__).with_name("claude-code.asc")
FINGERPRINT = "31DDDE24DDFAB679F42D7BD2BAA929FF1A7ECACE"
FIRST_SIGNED = Version(2, 1, 89)
MANIFEST_LIMIT = 1024 * 1024


class NotComparedError(CcmError):
    """The comparison could not be made; that says nothing about the program."""

    exit_code = 4


class Releases:
    """`key` is an OpenPGP public key in ASCII armour, `fingerprint` that of the key itself."""

    def __init__(
        self,
        transport: Transport,
        address: str = ADDRESS,
        key: Path = KEY,
        fingerprint: str = FINGERPRINT,
    ) -> None:
        self._transport = transport
        self._address = address.rstrip("/") + "/"
        self._key = key
        self._fingerprint = fingerprint

    def checksum(self, version: Version, platform: str, staged: Path) -> str:
        """The sha256 (hexadecimal) Anthropic signed for a program; `platform` as in `linux-x64`.

        `staged` is an empty directory to work in. NotComparedError when nobody can tell,
        VerificationError when the manifest is not signed by Anthropic, or is of another version.
        """
        if version < FIRST_SIGNED:
            raise NotComparedError(f"Anthropic signs releases from {FIRST_SIGNED} on.")
        manifest = self._asked(f"{version}/manifest.json")
        self._check_signature(manifest, self._asked(f"{version}/manifest.json.sig"), staged)
        try:
            document = json.loads(manifest)
            told, checksum = document["version"], document["platforms"][platform]["checksum"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise NotComparedError(
                f"Anthropic's manifest of {version} has no {platform}."
            ) from None
        if told != str(version):
            raise VerificationError(f"Asked for the manifest of {version}, got that of {told}.")
        return str(checksum)

    def _asked(self, path: str) -> bytes:
        try:
            with self._transport.get(self._address + path, {}) as answer:
                content = bytearray()
                for chunk in answer.chunks():
                    content += chunk
                    if len(content) > MANIFEST_LIMIT:
                        raise NotComparedError(f"{self._address}{path} answers without end.")
        except TryAgainError as error:
            raise NotComparedError(f"{self._address} can't be asked: {error.problem}.") from None
        except CcmError as error:
            raise NotComparedError(error.sentence, error.hint) from None
        return bytes(content)

    def _check_signature(self, manifest: bytes, signature: bytes, staged: Path) -> None:
        key = _dearmoured(fs.read_file(self._key).decode())
        names = ["key.gpg", "manifest.json.sig", "manifest.json"]
        for name, content in zip(names, (key, signature, manifest), strict=True):
            fs.replace_file(staged / name, content, 0o600)
        words = ["gpgv", "--homedir", ".", "--status-fd", "1", "--keyring", "./key.gpg", *names[1:]]
        try:
            done = subprocess.run(
                words, cwd=staged, capture_output=True, stdin=subprocess.DEVNULL, check=False
            )
        except FileNotFoundError:
            raise NotComparedError(
                "gpgv is not installed, which checks Anthropic's signature.",
                "Install GnuPG: apt install gpgv, or brew install gnupg",
            ) from None
        valid = [line.split() for line in done.stdout.decode(errors="replace").splitlines()]
        # [GNUPG:] VALIDSIG <signing key> … <primary key>
        if not any(w[1:2] == ["VALIDSIG"] and w[-1] == self._fingerprint for w in valid):
            raise VerificationError("The manifest is not signed with Anthropic's key.")


def _dearmoured(text: str) -> bytes:
    """The key in ASCII armour (RFC 9580, section 6.2): base64 between headers and checksum."""
    body = text.partition("\n\n")[2].partition("\n=")[0]
    return b64decode("".join(body.split()))
