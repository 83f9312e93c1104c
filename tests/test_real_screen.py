"""What a user sees who starts a new variant on a terminal: the question of trust, then the prompt.

What is drawn comes with cursor movements in place of spaces, so texts are compared without both.
"""

import json
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from ccmirror_py.echo import EchoServer
from tests.conftest import Sandbox, provide
from tests.safety.traps import Trap, folder
from tests.test_real import (
    AUTHS,
    JAVASCRIPT,
    OLDER,
    Making,
    keys,
    make,
    messages,
    models,
    sent_as,
    wait_for,
)

ESCAPES = re.compile(r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[\[(][0-9;:?<=>]*[A-Za-z]|\x1b.|\s")
WHICH_TERMINAL = "\x1b[c"
A_PLAIN_ONE = "\x1b[?62c"
MARKED = re.compile("\N{HEAVY RIGHT-POINTING ANGLE QUOTATION MARK ORNAMENT}(?:[0-9][.])?(No|Yes),")
TRUST = "Isthisaprojectyoucreatedoroneyoutrust?"
QUESTION = "Entertoconfirm"
"""The last line of every question there is."""
OTHER_QUESTIONS = (
    "Choosethetextstyle",  # the theme
    "Selectloginmethod",
    "Securitynotes",
    "DetectedacustomAPIkey",
    "Yes,Iaccept",  # bypassed permissions
    "automode",
)
READY = ("?forshortcuts", "acustomendpoint·m-main", "bypasspermissionson")
"""In the middle: where a status line stands, older versions say nothing else."""


class Screen:
    """A program on a terminal. `seen` is all it has drawn since `forget`."""

    def __init__(self, child: "pexpect.spawn[str]") -> None:
        self._child = child
        self._drawn = ""

    @property
    def seen(self) -> str:
        return ESCAPES.sub("", self._drawn)

    def forget(self) -> None:
        self._drawn = ""

    def wait(self, *texts: str) -> None:
        """Until one of `texts` was drawn."""
        end = time.monotonic() + 60
        while not self._has(texts):
            assert time.monotonic() < end, f"{texts} did not come: {self.seen}"
            assert self._read(), f"it ended: {self.seen}"

    def press(self, key: str) -> None:
        self.forget()
        self._child.send(key)

    def type(self, text: str) -> None:
        self.press(text)
        self.wait(text.replace(" ", ""))
        self.press("\r")

    def trust(self) -> None:
        """Until the prompt is there. Which answer is marked at first differs between versions, and
        a question that is drawn again loses keys, so each is pressed until it had its effect."""
        self.wait(QUESTION)
        end = time.monotonic() + 60
        while not self._has(READY):
            assert time.monotonic() < end, f"no prompt came: {self.seen}"
            if MARKED.findall(self.seen)[-1] == "Yes":
                self._child.send("\r")
                self._read_for(5, READY)
            else:
                self._child.send("\x1b[B")
                self._read_for(0.5, READY)

    def leave(self) -> None:
        """Escape, until the program has ended by itself."""
        end = time.monotonic() + 60
        alive = True
        while alive:
            assert time.monotonic() < end, f"it does not end: {self.seen}"
            self._child.send("\x1b")
            alive = self._read_for(1.5, ())

    def _has(self, texts: tuple[str, ...]) -> bool:
        return any(text in self.seen for text in texts)

    def _read_for(self, seconds: float, texts: tuple[str, ...]) -> bool:
        """Until one of `texts` was drawn, at most so long; False when the program has ended."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self._has(texts):
            if not self._read():
                return False
        return True

    def _read(self) -> bool:
        """What was drawn in a moment; False when the program has ended."""
        try:
            drawn = self._child.read_nonblocking(65536, timeout=0.1)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        if WHICH_TERMINAL in drawn:
            self._child.send(A_PLAIN_ONE)
        self._drawn += drawn
        return True


@contextmanager
def started(sandbox: Sandbox, name: str, cwd: Path, proxy: Trap) -> Iterator[Screen]:
    """Nobody but the endpoint may be asked; who is would be asked through `proxy`."""
    child: pexpect.spawn[str] = pexpect.spawn(
        str(sandbox.launcher(name)),
        cwd=str(cwd),
        env={**sandbox.environ, "HTTPS_PROXY": proxy.url, "IS_SANDBOX": "1"},
        encoding="utf-8",
        dimensions=(40, 120),
    )
    try:
        yield Screen(child)
    finally:
        if child.isalive():
            child.kill(signal.SIGKILL)
        child.close()


@pytest.mark.parametrize("rule", ["latest", OLDER, JAVASCRIPT])
def test_the_first_start_asks_for_trust_and_nothing_else(
    real: Sandbox, echo: EchoServer, rule: str
) -> None:
    version = provide(real, rule)
    with Trap() as proxy:
        for auth, options in (*((auth, ()) for auth in AUTHS), ("bearer", ("--yolo",))):
            name = "-".join(("with", auth, *(option.strip("-") for option in options)))
            make(real, name, echo, Making(version, auth, options))
            cwd, asked = folder(real.home / f"project-{name}"), len(messages(echo))
            with started(real, name, cwd, proxy) as screen:
                screen.wait(QUESTION)
                assert TRUST in screen.seen
                assert len(messages(echo)) == asked
                screen.trust()
                drawn = screen.seen
                screen.type("hello there")
                screen.wait("echofromm-main:hellothere")
                drawn += screen.seen
                if options:
                    screen.type("run: touch made && echo $((40 + 2)) made")
                    screen.wait("Thetoolanswered:42made")
                    drawn += screen.seen
            assert (name, [text for text in OTHER_QUESTIONS if text in drawn]) == (name, [])
            assert drawn.count(QUESTION) == drawn.count(TRUST)
            sent = {(r.header("authorization"), r.header("x-api-key")) for r in messages(echo)}
            assert sent >= sent_as(auth)
            assert (cwd / "made").exists() == bool(options)
        assert keys(echo) == sent_as("bearer") | sent_as("x-api-key")
        assert models(echo) == {"m-main"}
        assert proxy.heard == []


def test_trust_is_asked_for_in_every_folder_until_it_is_given(
    real: Sandbox, echo: EchoServer
) -> None:
    provide(real, "latest")
    make(real, "demo", echo, Making("latest"))
    one, two = folder(real.home / "one"), folder(real.home / "two")
    with Trap() as proxy:
        with started(real, "demo", one, proxy) as screen:
            screen.wait(QUESTION)
            screen.leave()
        assert trusted(real, "demo") == set()
        with started(real, "demo", one, proxy) as screen:
            screen.wait(QUESTION)
            assert TRUST in screen.seen
            screen.trust()
            wait_for(lambda: trusted(real, "demo") == {str(one)})
        with started(real, "demo", one, proxy) as screen:
            screen.wait(*READY)
            assert QUESTION not in screen.seen
        with started(real, "demo", two, proxy) as screen:
            screen.wait(QUESTION)
            assert TRUST in screen.seen
    assert messages(echo) == []


def trusted(sandbox: Sandbox, name: str) -> set[str]:
    """The folders this variant's user said yes to."""
    document = json.loads((sandbox.ccm_home / name / "config" / ".claude.json").read_bytes())
    projects = document.get("projects", {})
    return {path for path, known in projects.items() if known.get("hasTrustDialogAccepted")}
