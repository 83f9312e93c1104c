"""How a variant comes to its key. Nothing here decides to use another vendor's key."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ccmirror_py.environment import CLEARED_PREFIXES
from ccmirror_py.errors import UsageError
from ccmirror_py.fields import key_text
from ccmirror_py.secret import Secret, check_secret
from ccmirror_py.variant import (
    Credential,
    FromCommand,
    FromFile,
    FromKeyring,
    FromVariable,
    NoKey,
    credential_to_json,
)

if TYPE_CHECKING:
    from ccmirror_py.provider import Provider


@dataclass(frozen=True)
class NewKey:
    """`secret` is given when the key is to be stored."""

    credential: Credential
    secret: Secret | None = None


COMMAND_TIMEOUT = 60.0
"""Seconds: a password manager may ask for a fingerprint."""


def found_credential(provider: Provider, environ: Mapping[str, str]) -> Credential | None:
    """What is used when the user said nothing; None when a key has to be asked for."""
    if provider.auth.key in ("login", "cloud"):
        return NoKey()
    for name in provider.auth.variables:
        if environ.get(name):
            return FromVariable(name)
    return NoKey() if provider.auth.key == "optional" else None


def check_variable(name: str, provider: Provider, providers: Iterable[Provider]) -> FromVariable:
    """UsageError when `name` is where users keep the key of somebody else."""
    own = name in provider.auth.variables or provider.asks_base_url
    owner = next((p for p in providers if name in p.auth.variables), None)
    if owner and not own:
        raise UsageError(
            f"{name} is the key of {owner.name}; it would be sent to {provider.name}.",
            f"Keep the key of {provider.name} in a variable of its own, such as "
            f"{next(iter(provider.auth.variables), 'MY_API_KEY')}.",
        )
    if not name.isidentifier() or not name.isascii():
        raise UsageError(f"'{name}' is not the name of a variable.", "Such as: ZAI_API_KEY.")
    return FromVariable(name)


def fetch(
    credential: Credential, stored: Secret | None, environ: Mapping[str, str]
) -> Secret | None:
    """The key as the launcher would get it now; None when there is none to be had.

    UsageError when the command or the keyring fails, or what there is can't be a key.
    """
    match credential:
        case NoKey():
            return None
        case FromFile():
            return stored
        case FromVariable(name):
            inside = environ.get("CLAUDECODE") or environ.get("CCM_VARIANT")
            if inside and name.startswith(CLEARED_PREFIXES):
                return None  # of the session around this one, which has another key
            return check_secret(environ[name]) if environ.get(name) else None
        case FromCommand(argv):
            return _printed(argv)
        case FromKeyring(account):
            from ccmirror_py import os_keyring

            return os_keyring.read(account, sys.platform)


def missing(credential: Credential, name: str) -> tuple[str, str]:
    """Why `fetch` found none for the variant `name`, and what to do."""
    if isinstance(credential, FromVariable):
        variable = credential.name
        return f"${variable} is not set", f"set {variable}, or: ccm key set {name}"
    return "its stored key is missing", f"ccm key set {name}"


def _printed(argv: tuple[str, ...]) -> Secret:
    import subprocess  # 8 ms that most commands need not pay

    if not argv:
        raise UsageError("The command for the key is empty.", "Such as: 'pass show zai'")
    hint = f"Run it yourself to see why: {argv[0]} …"
    try:
        done = subprocess.run(
            argv,
            stdin=None if sys.stdin.isatty() else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            timeout=COMMAND_TIMEOUT,
        )
    except FileNotFoundError:
        raise UsageError(
            f"There is no command '{argv[0]}' to print the key.",
            "Install it, or give its whole path.",
        ) from None
    except (OSError, ValueError, subprocess.TimeoutExpired):
        raise UsageError(f"The command '{argv[0]}' did not print a key.", hint) from None
    if done.returncode:
        raise UsageError(f"The command '{argv[0]}' failed ({done.returncode}).", hint)
    return check_secret(done.stdout.partition("\n")[0])


def described(credential: Credential) -> str:
    """For people; never the key."""
    return key_text(credential_to_json(credential))
