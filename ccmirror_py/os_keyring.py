"""The keyring of the operating system: Secret Service (GNOME, KDE) on Linux, Keychain on macOS.

The `keyring` package writes and deletes: it says what went wrong, and gives no key to a command.
The platform's own command reads, for launchers have no Python; so what was written counts only
once that command has read it. The package's backend is named here, not looked for: its settings
and PYTHON_KEYRING_BACKEND could lead to a store that the command does not read.
"""

import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ccmirror_py.errors import UsageError
from ccmirror_py.secret import Secret, check_secret

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

SERVICE = "ccmirror-py"
TIMEOUT = 60.0
"""Seconds: a locked keyring asks for its password in a window."""
OTHERWISE = "Or let ccm keep the key in a file of yours alone: leave out --api-key-keyring"
# gnome-keyring 42.1 with libsecret 0.20.5: a missing entry, a locked keyring and no D-Bus all end
# with 1; `secret-tool clear` is silent about a locked one, too (measured, 2026-11-22).
_BACKENDS = {"linux": "SecretService", "darwin": "macOS"}
_READERS = {"linux": ("secret-tool", "lookup"), "darwin": ("/usr/bin/security",)}


def new_account(name: str) -> str:
    """For one key of the variant `name`; never used again, as generations aren't."""
    return f"{name}~{secrets.token_hex(8)}"


def lookup(account: str, system: str) -> tuple[str, ...]:
    """The command that prints the key of `account` on `linux` or `darwin`."""
    if system == "darwin":
        return (*_READERS[system], "find-generic-password", "-s", SERVICE, "-a", account, "-w")
    return (*_READERS["linux"], "service", SERVICE, "username", account)


def check(system: str, environ: Mapping[str, str]) -> None:
    """UsageError, with what to install, unless keys can be written and launchers could read."""
    program = lookup("", system)[0]
    if not shutil.which(program, path=environ.get("PATH", "")):
        raise UsageError(
            f"There is no command '{program}', with which launchers read the keyring.",
            f"Install it (Debian, Ubuntu: libsecret-tools; Fedora: libsecret). {OTHERWISE}",
        )
    _backend(system)


def store(account: str, key: Secret, system: str) -> None:
    """UsageError when the keyring does not take it."""
    with _told("The keyring did not take the key"):
        _backend(system).set_password(SERVICE, account, key.reveal())


def read(account: str, system: str) -> Secret:
    """The key, read as a launcher reads it; UsageError when it can't be had."""
    command = lookup(account, system)
    hint = "Unlock the keyring, or store the key again: ccm key set"
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
        )
    except FileNotFoundError:
        raise UsageError(f"There is no command '{command[0]}'.", "Install it.") from None
    except (OSError, ValueError, subprocess.TimeoutExpired):
        raise UsageError(f"'{command[0]}' did not answer.", hint) from None
    key = done.stdout.partition("\n")[0]
    if done.returncode or not key:
        said = " ".join(done.stderr.split())[-200:]
        why = f": {said}" if said else " (locked, or the entry is gone)"
        raise UsageError(f"The keyring gave no key{why}.", hint)
    return check_secret(key)


def delete(account: str, system: str) -> None:
    """Nothing is to be done when it is gone; UsageError when nobody can say."""
    with _told("The keyring can't be changed"):
        backend = _backend(system)
        if backend.get_password(SERVICE, account) is not None:
            backend.delete_password(SERVICE, account)


def _backend(system: str) -> "KeyringBackend":
    """UsageError when the package or the service is missing."""
    try:
        module = import_module(f"keyring.backends.{_BACKENDS[system]}")
    except ImportError:
        raise UsageError(
            "The Python package 'keyring' is not installed beside ccm.",
            f"{_how_to_install()} {OTHERWISE}",
        ) from None
    with _told("There is no keyring to be reached"):
        _ = module.Keyring.priority  # asking for it is what raises
    backend: KeyringBackend = module.Keyring()
    return backend


def _how_to_install() -> str:
    """Into the Python that runs this ccm, whichever way it was installed."""
    parts = Path(sys.prefix).parts
    if "pipx" in parts:
        return "Add it: pipx inject ccmirror-py keyring."
    if "uv" in parts:
        return "Add it: uv tool install ccmirror-py --with keyring."
    return f"Add it: {sys.prefix}/bin/pip install keyring."


@contextmanager
def _told(what: str) -> Iterator[None]:
    """The package's errors as one sentence. They come from D-Bus and Keychain as well, and never
    hold the key."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 (those packages have no common class of errors)
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise UsageError(f"{what}: {said}", f"Unlock it in your session. {OTHERWISE}") from None
