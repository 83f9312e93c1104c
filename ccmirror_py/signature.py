"""npm's signatures: the public registry signs `name@version:integrity` of each release.

Method and keys: npm documentation "About registry signatures" and the registry's own
`/-/npm/v1/keys`, as repeated by public projects (2025 and 2026). Mirrors often leave signatures
out, so a release without one is a level, not an error; a wrong one always is.
"""

import binascii
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ccmirror_py.errors import VerificationError


@dataclass(frozen=True)
class Signature:
    """`signed` is DER, in base64, as npm publishes it."""

    keyid: str
    signed: str


@dataclass(frozen=True)
class RegistryKey:
    """An ECDSA P-256 key: SubjectPublicKeyInfo in base64. `expires` is ISO 8601, or None."""

    key: str
    expires: str | None = None


PUBLISHED_KEYS: Mapping[str, RegistryKey] = {
    "SHA256:jl3bwswu80PjjokCgh0o2w5c2U4LhQAE57gj9cz1kzA": RegistryKey(
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE1Olb3zMAFFxXKHiIkQO5cJ3Yhl5i6UPp+IhuteBJbuHcA5UogKo0E"
        "WtlWwW6KSaKoTNEYL7JlCQiVnkhBktUgg==",
        expires="2025-01-29T00:00:00.000Z",
    ),
    "SHA256:DhQ8wR5APBvFHLF/+Tc+AYvPOdTpcIDqOhxsBHRwC7U": RegistryKey(
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEY6Ya7W++7aUPzvMTrezH6Ycx3c+HOKYCcNGybJZSCJq/fd7Qa8uuA"
        "KtdIkUQtQiEKERhAmE5lMMJhP8OkDOa2g=="
    ),
}
_HINT = "Check the registry settings: npm config get registry"


def parse_signatures(listed: object) -> tuple[Signature, ...]:
    """`dist.signatures` of a manifest; VerificationError when it is there and not npm's form."""
    if listed is None:
        return ()
    if isinstance(listed, list) and all(isinstance(entry, Mapping) for entry in listed):
        pairs = [(entry.get("keyid"), entry.get("sig")) for entry in listed]
        if all(isinstance(keyid, str) and isinstance(sig, str) for keyid, sig in pairs):
            return tuple(Signature(keyid, sig) for keyid, sig in pairs)
    raise VerificationError("The registry's signatures are not in npm's form.", _HINT)


def parse_keys(document: object) -> dict[str, RegistryKey]:
    """Keys by id, from what `/-/npm/v1/keys` answers: `{"keys": [{"keyid", "key", "expires"}]}`.

    ValueError for another form.
    """
    listed = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(listed, list):
        raise ValueError("is not a list of npm's keys")
    found = {}
    for entry in listed:
        known = entry if isinstance(entry, Mapping) else {}
        keyid, key, expires = (known.get(name) for name in ("keyid", "key", "expires"))
        if not isinstance(keyid, str) or not isinstance(key, str):
            raise ValueError("has a key without id")
        found[keyid] = RegistryKey(key, None if expires is None else str(expires))
    return found


def signer(
    message: str,
    signatures: tuple[Signature, ...],
    keys: Mapping[str, RegistryKey],
    published: Callable[[], object],
) -> str | None:
    """The id of the known key that signed `message`; None when no known key is named.

    `published` tells when the release came out, ISO 8601; it is asked only for keys that expire.
    VerificationError when a signature by a known key is wrong, or its key had expired before then.
    """
    valid = None
    for signature in signatures:
        key = keys.get(signature.keyid)
        if key is None:
            continue
        if key.expires is not None and not _is_before(published(), key.expires):
            raise VerificationError(
                f"The signature of {message.partition(':')[0]} is by a key that had expired.", _HINT
            )
        if not _is_signed(message, signature, key):
            raise VerificationError(
                f"The signature of {message.partition(':')[0]} is wrong: the registry serves "
                "something else than was published.",
                _HINT,
            )
        valid = signature.keyid
    return valid


def _is_before(moment: object, end: str) -> bool:
    """False also when one of them is no time: nothing proves that the key was still valid."""
    try:
        one, other = (datetime.fromisoformat(str(text)) for text in (moment, end))
    except ValueError:
        return False
    return one.replace(tzinfo=one.tzinfo or UTC) < other.replace(tzinfo=other.tzinfo or UTC)


def _is_signed(message: str, signature: Signature, key: RegistryKey) -> bool:
    from cryptography.exceptions import InvalidSignature  # 56 ms, only for a download
    from cryptography.hazmat.primitives.asymmetric.ec import (
        ECDSA,
        EllipticCurvePublicKey,
    )
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        public = load_der_public_key(b64decode(key.key))
        if not isinstance(public, EllipticCurvePublicKey):
            return False
        public.verify(b64decode(signature.signed, validate=True), message.encode(), ECDSA(SHA256()))
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True
