"""What the real Claude Code draws and sends: themes, status line, title, guidance."""

import json
import signal
import time
from pathlib import Path

import pexpect
import pytest

from ccmirror_py.echo import EchoServer
from ccmirror_py.look import THEME_KEY
from ccmirror_py.palette import colour, tokens
from ccmirror_py.providers import Providers
from tests.conftest import Sandbox, provide
from tests.safety.traps import folder
from tests.test_real import JAVASCRIPT, OLDER, Making, answer, make, messages

THEMED = ("latest", OLDER, "2.1.118")
PROVIDERS = {p.id: p for p in Providers(Path("/nowhere")).all()}
PROMPT = "\N{HEAVY RIGHT-POINTING ANGLE QUOTATION MARK ORNAMENT}"
TITLE = "\x1b]0;demo \N{MIDDLE DOT} custom\x07"


def trusted(sandbox: Sandbox, cwd: Path) -> None:
    """The question of trust was answered before."""
    path = sandbox.ccm_home / "demo/config/.claude.json"
    document = json.loads(path.read_text())
    document["projects"] = {str(cwd): {"hasTrustDialogAccepted": True}}
    path.write_text(json.dumps(document))


class Terminal:
    """A variant on a terminal that shows all colours. `drawn` is everything it wrote."""

    def __init__(self, sandbox: Sandbox, cwd: Path, *words: str) -> None:
        self.drawn = ""
        self._child: pexpect.spawn[str] = pexpect.spawn(
            str(sandbox.launcher("demo")),
            list(words),
            cwd=str(cwd),
            env={**sandbox.environ, "COLORTERM": "truecolor", "IS_SANDBOX": "1"},
            encoding="utf-8",
            codec_errors="replace",
            dimensions=(40, 120),
        )

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *error: object) -> None:
        if self._child.isalive():
            self._child.kill(signal.SIGKILL)
        self._child.close()

    def send(self, text: str) -> None:
        self._child.send(text)

    def wait(self, *texts: str, seconds: float = 60) -> list[str]:
        """Until all of `texts` were drawn; those that were not."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if all(text in self.drawn for text in texts):
                return []
            try:
                drawn = self._child.read_nonblocking(65536, timeout=0.1)
            except pexpect.TIMEOUT:
                continue
            except pexpect.EOF:
                break
            if "\x1b[c" in drawn:
                self._child.send("\x1b[?62c")
            self.drawn += drawn
        return [text for text in texts if text not in self.drawn]


def codes(id_: str) -> list[str]:
    texts = tokens(PROVIDERS[id_].look, "dark")
    found = [colour(texts[token]) for token in ("claude", "inactive")]
    return [f"38;2;{red};{green};{blue}" for red, green, blue in found]


@pytest.mark.parametrize("rule", THEMED)
def test_the_colours_of_every_theme_are_drawn(real: Sandbox, echo: EchoServer, rule: str) -> None:
    make(real, "demo", echo, Making(provide(real, rule)))
    cwd = folder(real.home / "project")
    trusted(real, cwd)
    missing = {}
    for id_ in PROVIDERS:
        real.must("theme", "set", "demo", id_)
        with Terminal(real, cwd) as terminal:
            missing[id_] = terminal.wait(*codes(id_), seconds=20)
    assert {id_: texts for id_, texts in missing.items() if texts} == {}
    settings = json.loads((real.ccm_home / "demo/config/settings.json").read_text())
    assert settings["theme"] == THEME_KEY


@pytest.mark.parametrize("rule", THEMED)
def test_title_status_line_and_verbs_are_the_variants(
    real: Sandbox, echo: EchoServer, rule: str
) -> None:
    make(real, "demo", echo, Making(provide(real, rule)))
    real.must("theme", "set", "demo", "--splash")
    cwd = folder(real.home / "project")
    trusted(real, cwd)
    with Terminal(real, cwd) as terminal:
        assert terminal.wait("\x1b[1mdemo\x1b[22m", PROMPT) == []
        terminal.wait("never drawn", seconds=2)
        assert "a custom endpoint \N{MIDDLE DOT} m-main" in terminal.drawn
        terminal.send("run: sleep 2")
        terminal.wait("sleep", seconds=5)
        terminal.send("\r")
        words = PROVIDERS["custom"].look.verbs
        end = time.monotonic() + 30
        while not any(f"{word[:4]}" in terminal.drawn for word in words):
            assert time.monotonic() < end, terminal.drawn[-2000:]
            terminal.wait("never drawn", seconds=0.3)
        assert terminal.drawn.count("\x1b]0;") == terminal.drawn.count(TITLE) == 1
        assert terminal.drawn.index(TITLE) < terminal.drawn.index("Claude Code ")
    with Terminal(real, cwd, "-p", "hi") as terminal:
        assert terminal.wait("echo from m-main: hi") == []
        assert "\x1b]0;" not in terminal.drawn
        assert "\N{MIDDLE DOT}" not in terminal.drawn


@pytest.mark.parametrize("rule", [*THEMED, JAVASCRIPT])
def test_the_guidance_reaches_the_main_agent_and_subagents(
    real: Sandbox, echo: EchoServer, rule: str
) -> None:
    """Beside the user's own CLAUDE.md, which no update touches."""
    options = ("--model-subagent=m-subagent",)
    make(real, "demo", echo, Making(provide(real, rule), options=options))
    (real.ccm_home / "demo/config/CLAUDE.md").write_text("mine: keep it short\n")
    skill = "---\nname: forked\ndescription: asks a subagent\ncontext: fork\n---\nsay hi\n"
    project = folder(real.home / "project", {".claude/skills/forked/SKILL.md": skill})

    def told(text: str) -> dict[str | None, bool]:
        """Model to whether every request to it had `text`."""
        before = len(messages(echo))
        answer(real, "demo", "hi", cwd=project)
        if rule in ("latest", OLDER):
            answer(real, "demo", "/forked", cwd=project)
        asked: dict[str | None, bool] = {}
        for request in messages(echo)[before:]:
            has = text in json.dumps(request.body, ensure_ascii=False)
            asked[request.model] = asked.get(request.model, True) and has
        return asked

    everybody = {"m-main": True, **({"m-subagent": True} if rule in ("latest", OLDER) else {})}
    assert told("the main model is `m-main`") == everybody
    assert told("mine: keep it short") == everybody
    (real.home / "text").write_text("Use tabs, always.")
    real.must("guidance", "edit", "demo", "--from", str(real.home / "text"))
    assert told("Use tabs, always.") == everybody
    real.must("guidance", "edit", "demo", "--off")
    nobody = dict.fromkeys(everybody, False)
    assert told("the main model is `m-main`") == nobody
    assert told("rules/ccm.md") == nobody
