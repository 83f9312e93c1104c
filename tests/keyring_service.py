"""A real keyring for tests: a D-Bus of its own, and gnome-keyring, unlocked."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

PROGRAMS = ("dbus-daemon", "dbus-send", "gnome-keyring-daemon", "secret-tool")
MISSING = [program for program in PROGRAMS if not shutil.which(program)]
MISSING += [] if find_spec("keyring") else ["the Python package keyring"]

needs_keyring = pytest.mark.skipif(
    bool(MISSING), reason=f"a real keyring needs {', '.join(MISSING)}"
)


@contextmanager
def keyring_service(directory: Path) -> Iterator[Mapping[str, str]]:
    """What has to be in the environment of those who use it."""
    directory.mkdir()
    environ = {"HOME": str(directory), "XDG_DATA_HOME": str(directory), "PATH": os.environ["PATH"]}
    bus = subprocess.Popen(
        ["dbus-daemon", "--session", "--nofork", "--print-address"],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    daemon = None
    sockets = tempfile.mkdtemp()  # the name of a socket is short, and those of tests are long
    try:
        assert bus.stdout is not None
        address = bus.stdout.readline().strip()
        environ |= {"DBUS_SESSION_BUS_ADDRESS": address}
        daemon = subprocess.Popen(
            ["gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets"],
            env={**environ, "XDG_RUNTIME_DIR": sockets},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert daemon.stdin is not None
        daemon.stdin.write("a password")
        daemon.stdin.close()
        wait_for_it(environ)
        yield {"DBUS_SESSION_BUS_ADDRESS": address}
    finally:
        for process in (daemon, bus):
            if process is not None:
                process.kill()
                process.wait()
        shutil.rmtree(sockets, ignore_errors=True)


def wait_for_it(environ: Mapping[str, str]) -> None:
    """Asked before it is there, D-Bus would start another one, which is locked."""
    words = (
        "--session --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.NameHasOwner"
    )
    ask = ["dbus-send", *words.split(), "string:org.freedesktop.secrets"]
    for _ in range(200):
        done = subprocess.run(ask, env=environ, capture_output=True, text=True, check=False)
        if "true" in done.stdout:
            return
        time.sleep(0.05)
    raise AssertionError("gnome-keyring-daemon did not come up")


def stored(environ: Mapping[str, str]) -> dict[str, str]:
    """Account to key: all that ccm has in this keyring."""
    done = subprocess.run(
        ["secret-tool", "search", "--all", "--unlock", "service", "ccmirror-py"],
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    # secrets are said on stdout, attributes on stderr, in the same order
    keys = [s.partition(" = ")[2] for s in done.stdout.splitlines() if s.startswith("secret = ")]
    lines = (done.stdout + done.stderr).splitlines()
    names = [s.partition(" = ")[2] for s in lines if s.startswith("attribute.username = ")]
    return dict(zip(names, keys, strict=True))


def put(environ: Mapping[str, str], account: str, key: str) -> None:
    """As the user would with the keyring's own program."""
    words = ("secret-tool", "store", "--label", "x", "service", "ccmirror-py", "username", account)
    subprocess.run(
        words, env={"PATH": os.environ["PATH"], **environ}, input=key, text=True, check=True
    )


def take(environ: Mapping[str, str], account: str) -> None:
    words = ("secret-tool", "clear", "service", "ccmirror-py", "username", account)
    subprocess.run(words, env={"PATH": os.environ["PATH"], **environ}, check=True)
