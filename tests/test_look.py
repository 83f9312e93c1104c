"""How variants look: colours that can be read and told apart, and settings that stay the user's."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccmirror_py import statusline
from ccmirror_py.cli.sample import depth, sample
from ccmirror_py.guidance import provided
from ccmirror_py.look import FORMS, THEME_KEY, Form, Look, Looks
from ccmirror_py.palette import (
    AA,
    BACKGROUNDS,
    colour,
    contrast,
    theme,
    tokens,
)
from ccmirror_py.provider import Price, parse_provider
from ccmirror_py.providers import Providers
from ccmirror_py.seeding import seeded
from ccmirror_py.variant import Choices
from tests.conftest import Sandbox
from tests.npm_registry import NpmRegistry
from tests.safety.shells import INSTALLED, SHELLS

TEXTS = (
    *("claude", "clawd_body", "claudeShimmer", "claudeBlue_FOR_SYSTEM_SPINNER", "permission"),
    *("planMode", "autoAccept", "skill", "bashBorder", "ide", "promptBorder", "text", "inactive"),
    *("subtle", "suggestion", "remember", "background", "success", "error", "warning", "merged"),
    *("professionalBlue", "briefLabelYou", "briefLabelClaude", "fastMode", "rate_limit_fill"),
)
"""What Claude Code writes with, on the terminal's own background."""
BEHIND_TEXT = (
    *("userMessageBackground", "userMessageBackgroundHover", "bashMessageBackgroundColor"),
    *("memoryBackgroundColor", "selectionBg", "diffAdded", "diffRemoved", "diffAddedDimmed"),
    *("diffRemovedDimmed", "diffAddedWord", "diffRemovedWord"),
)
"""What stands behind `text`."""

PROVIDERS = {p.id: p for p in Providers(Path("/nowhere")).all()}
FAMILIES = (
    *("alibaba", "anthropic mirror claude-platform-aws", "minimax", "zai", "ollama"),
    *("moonshot kimi-code", "byteplus-coding volcengine-coding", "bedrock claude-platform-aws"),
)
SEEDS = st.from_regex(r"#[0-9a-f]{6}", fullmatch=True)


def of(texts: Mapping[str, str], token: str) -> tuple[int, int, int]:
    return colour(texts[token])


def unreadable(look: Look, form: Form) -> list[str]:
    texts = tokens(look, form)
    side = "dark" if form.startswith("dark") else "light"
    grounds = BACKGROUNDS[side]
    if form.endswith(
        "-ansi"
    ):  # the terminal chooses what its colours are; black and white are sure
        grounds = ("#000000",) if side == "dark" else ("#ffffff",)
    found = [
        f"{token} {texts[token]} on {ground}"
        for token in TEXTS
        if token in texts
        for ground in grounds
        if contrast(of(texts, token), colour(ground)) < AA
    ]
    if "inverseText" in texts:
        pairs = [
            *(("inverseText", t) for t in ("claude", "permission", "success", "error", "warning")),
            *(("text", token) for token in BEHIND_TEXT),
        ]
        found += [
            f"{text} on {behind}"
            for text, behind in pairs
            if contrast(of(texts, text), of(texts, behind)) < AA
        ]
    return found


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("id_", PROVIDERS)
def test_every_text_of_every_form_can_be_read(id_: str, form: Form) -> None:
    assert unreadable(PROVIDERS[id_].look, form) == []


@given(SEEDS, SEEDS, SEEDS, st.sampled_from(FORMS))
def test_so_it_is_with_the_colours_of_any_other_provider(
    accent: str, second: str, tint: str, form: Form
) -> None:
    assert unreadable(Look("x", accent, second, tint), form) == []


def test_the_ratio_is_the_one_of_wcag() -> None:
    assert contrast(colour("#000000"), colour("#ffffff")) == pytest.approx(21)
    assert contrast(colour("#777777"), colour("#ffffff")) == pytest.approx(4.48, abs=0.005)
    assert contrast(colour("#ff0000"), colour("#ffffff")) == pytest.approx(4.0, abs=0.005)


@pytest.mark.parametrize("form", FORMS)
def test_a_theme_is_what_claude_code_reads(form: Form) -> None:
    made = theme(PROVIDERS["zai"].look, form)
    assert (made["name"], made["base"]) == ("Z.ai Carbon (ccm)", form)
    overrides = made["overrides"]
    assert isinstance(overrides, dict)
    right = re.compile(
        r"#[0-9a-f]{6}|ansi:(black|red|green|yellow|blue|magenta|cyan|white)(Bright)?"
    )
    assert all(right.fullmatch(text) for text in overrides.values())


def test_every_bundled_provider_has_its_own_palette_and_name() -> None:
    for path in sorted((Path(__file__).parents[1] / "variants").glob("*.toml")):
        assert "\n[look]\n" in path.read_text(), path.name
    names = [provider.look.name for provider in PROVIDERS.values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("form", ["dark", "light"])
def test_vendors_are_told_apart_by_their_colours(form: Form) -> None:
    """Accent and second colour together; what can be read on white has less room to differ."""

    def related(one: str, other: str) -> bool:
        families = [family.split() for family in FAMILIES]
        return any(
            any(one.startswith(word) for word in family)
            and any(other.startswith(word) for word in family)
            for family in families
        )

    def away(one: str, other: str) -> float:
        first, second = tokens(PROVIDERS[one].look, form), tokens(PROVIDERS[other].look, form)
        return float(
            sum(
                (a - b) ** 2
                for token in ("claude", "permission")
                for a, b in zip(of(first, token), of(second, token), strict=True)
            )
            ** 0.5
        )

    least = {"dark": 40, "light": 30}[form]
    alike = [
        (one, other, round(away(one, other)))
        for one, other in combinations(PROVIDERS, 2)
        if not related(one, other) and away(one, other) < least
    ]
    assert alike == []


def test_a_providers_file_without_a_look_has_one_of_its_own() -> None:
    text = (Path(__file__).parents[1] / "variants/echo.toml").read_text()
    start, end = text.index("[look]"), text.index("[facts]")
    plain = parse_provider(text[:start] + text[end:])
    other = parse_provider((text[:start] + text[end:]).replace('id = "echo"', 'id = "lab"'))
    assert plain.look == parse_provider(text[:start] + text[end:]).look
    assert plain.look.accent != other.look.accent
    assert plain.look.verbs == ()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('accent = "red"', "has 'red' in [look], which is not allowed there"),
        ('accent = "#FFD373"', "has '#FFD373' in [look], which is not allowed there"),
        ("accent = 3", "has a 'accent' in [look] that is not a str"),
        ('verbs = "Working"', "has a 'verbs' in [look] that is not a list"),
        ('guidance = ["a\\u001b"]', "is empty or contains control characters"),
        ("blink = true", "has the unknown key 'blink' in [look]"),
    ],
)
def test_a_look_is_read_strictly(line: str, complaint: str) -> None:
    text = (Path(__file__).parents[1] / "variants/echo.toml").read_text()
    name = line.partition(" ")[0]
    text = re.sub(rf"\n{name} = (\[[^]]*\]|\"[^\"]*\")(?=\n)", "", text)
    text = text.replace("[look]\n", f"[look]\n{line}\n")
    with pytest.raises(ValueError, match=re.escape(complaint)):
        parse_provider(text)


# --- what is seeded ---


@pytest.mark.parametrize(
    ("present", "before", "wanted", "after", "ours"),
    [
        ({}, {}, {"theme": "A"}, {"theme": "A"}, {"theme": "A"}),
        ({"theme": "mine"}, {}, {"theme": "A"}, {"theme": "mine"}, {}),
        ({"theme": "A"}, {"theme": "A"}, {"theme": "B"}, {"theme": "B"}, {"theme": "B"}),
        ({"theme": "mine"}, {"theme": "A"}, {"theme": "B"}, {"theme": "mine"}, {"theme": "A"}),
        ({}, {"theme": "A"}, {"theme": "B"}, {}, {"theme": "A"}),
        ({"theme": "A"}, {"theme": "A"}, {}, {}, {}),
        ({"theme": "mine"}, {"theme": "A"}, {}, {"theme": "mine"}, {"theme": "A"}),
        # killed between the two files
        ({"theme": "B"}, {"theme": "A"}, {"theme": "B"}, {"theme": "B"}, {"theme": "B"}),
    ],
)
def test_only_what_is_still_ccms_is_changed(
    present: dict[str, Any],
    before: dict[str, Any],
    wanted: dict[str, Any],
    after: dict[str, Any],
    ours: dict[str, Any],
) -> None:
    assert seeded({"x": 1, **present}, before, wanted) == ({"x": 1, **after}, ours)


def test_what_is_chosen_through_ccm_stands_whatever_was_there() -> None:
    assert seeded({"theme": "mine"}, {}, {"theme": "A"}, {"theme"}) == (
        {"theme": "A"},
        {"theme": "A"},
    )


def config(sandbox: Sandbox, file: str) -> dict[str, Any]:
    found = json.loads((sandbox.ccm_home / "zai/config" / file).read_text())
    assert isinstance(found, dict)
    return found


@pytest.fixture
def zai(sandbox: Sandbox, npm: NpmRegistry) -> Sandbox:
    npm.publish("2.1.300")
    sandbox.must("create", "zai", "--provider", "zai", "--api-key-env", "ZAI_API_KEY")
    return sandbox


def test_a_new_variant_looks_like_its_provider_in_both_places(zai: Sandbox) -> None:
    settings = config(zai, "settings.json")
    assert settings["theme"] == config(zai, ".claude.json")["theme"] == THEME_KEY
    assert settings["spinnerVerbs"]["verbs"] == list(PROVIDERS["zai"].look.verbs)
    script = Path(settings["statusLine"]["command"])
    assert script.resolve().parent.parent.name == "generations"
    inner = zai.ccm_home / "zai/config"
    assert json.loads((inner / "themes/ccm.json").read_text()) == theme(
        PROVIDERS["zai"].look, "dark"
    )
    assert "WebSearch" in (inner / "rules/ccm.md").read_text()
    pinned = json.loads((zai.ccm_home / "zai/current/settings.json").read_text())
    assert set(pinned) & {"theme", "statusLine", "spinnerVerbs", "outputStyle"} == set()


def test_the_users_later_choice_survives_update_rollback_and_doctor(
    zai: Sandbox, npm: NpmRegistry
) -> None:
    path = zai.ccm_home / "zai/config/settings.json"
    own = {"theme": "light", "statusLine": {"type": "command", "command": "/mine"}, "x": [1]}
    path.write_text(json.dumps(own))
    cloud = zai.ccm_home / "zai/config/.claude.json"
    cloud.write_text(json.dumps({"hasCompletedOnboarding": True}))
    npm.publish("2.1.301")
    kept = zai.ccm_home / "zai/config/CLAUDE.md"
    kept.write_text("mine\n")
    for words in (["update", "zai"], ["rollback", "zai"], ["doctor", "--fix", "zai"]):
        zai.ccm(*words, env={"ZAI_API_KEY": "k"})
        assert json.loads(path.read_text()) == own, words
        assert "theme" not in json.loads(cloud.read_text())
    assert kept.read_text() == "mine\n"
    zai.must("theme", "set", "zai", "kimi-code")
    assert json.loads(path.read_text()) == own | {"theme": THEME_KEY}


def test_files_of_the_user_are_not_replaced(sandbox: Sandbox, npm: NpmRegistry) -> None:
    npm.publish("2.1.300")
    inner = sandbox.ccm_home / "zai/config"
    (inner / "themes").mkdir(parents=True)
    (inner / "themes/ccm.json").write_text("{}")
    (inner / "ccm").write_text("mine")
    dotfiles = sandbox.home / "dotfiles"
    dotfiles.mkdir()
    (inner / "rules").symlink_to(dotfiles)
    (dotfiles / "settings.json").write_text("{}")
    (inner / "settings.json").symlink_to(dotfiles / "settings.json")
    for path in (sandbox.ccm_home, sandbox.ccm_home / "zai", inner):
        path.chmod(0o700)
    sandbox.must("create", "zai", "--provider", "zai", "--api-key-env", "ZAI_API_KEY")
    assert (inner / "themes/ccm.json").read_text() == "{}"
    assert (inner / "ccm").read_text() == "mine"
    assert os.listdir(dotfiles) == ["settings.json"]
    assert (dotfiles / "settings.json").read_text() == "{}"


def test_a_theme_is_chosen_and_shown_and_rollback_leaves_it(zai: Sandbox, npm: NpmRegistry) -> None:
    npm.publish("2.1.301")
    zai.must("theme", "set", "zai", "kimi-code", "--form", "light", "--no-status-line", "--splash")
    assert "statusLine" not in config(zai, "settings.json")
    shown = json.loads(zai.must("theme", "show", "zai", "--json"))
    assert shown == {
        "schema": 1,
        "theme": "Kimi Teal",
        "form": "light",
        "used": THEME_KEY,
        "status_line": False,
        "verbs": True,
        "title": True,
        "splash": True,
    }
    assert zai.ccm("rollback", "zai").returncode == 3  # looks are no reason to go back
    zai.must("update", "zai")
    zai.must("rollback", "zai")
    assert json.loads(zai.must("theme", "show", "zai", "--json")) == shown
    text = (zai.ccm_home / "zai/config/themes/ccm.json").read_text()
    assert json.loads(text) == theme(PROVIDERS["kimi-code"].look, "light")
    zai.must("theme", "set", "zai", "none", "--no-verbs")
    assert set(config(zai, "settings.json")) == set()
    assert "theme" not in config(zai, ".claude.json")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("theme", "set", "zai"), 2),
        (("theme", "set", "zai", "nothere"), 3),
        (("theme", "set", "zai", "--form", "purple"), 2),
        (("theme", "set", "nothere", "zai"), 3),
        (("theme", "preview", "nothere"), 3),
        (("guidance", "edit", "zai"), 2),
        (("guidance", "edit", "zai", "--off", "--reset"), 2),
        (("guidance", "edit", "zai", "--from", "/nothere"), 3),
        (("create", "two", "--provider", "echo", "--theme", "nothere"), 3),
    ],
)
def test_bad_input_is_one_sentence_and_changes_nothing(
    zai: Sandbox, words: tuple[str, ...], code: int
) -> None:
    before = os.readlink(zai.ccm_home / "zai/current")
    done = zai.ccm(*words)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert done.stderr.startswith("ccm: ")
    assert len(done.stderr.splitlines()) <= 2
    assert os.readlink(zai.ccm_home / "zai/current") == before
    assert not (zai.ccm_home / "two").exists()


def test_versions_without_themes_are_told_of_and_get_none(
    sandbox: Sandbox, npm: NpmRegistry
) -> None:
    npm.publish("2.1.117")
    npm.publish("2.1.118")
    words = ("create", "zai", "--provider", "zai", "--api-key-env", "K", "--claude-version")
    done = sandbox.ccm(*words, "2.1.117")
    assert "2.1.118 is the first" in done.stderr
    assert "theme" not in config(sandbox, "settings.json")
    assert "2.1.118 is the first" in sandbox.ccm("theme", "set", "zai", "light").stderr
    assert "2.1.118 is the first" not in sandbox.ccm("pin", "zai", "2.1.118").stderr
    assert config(sandbox, "settings.json")["theme"] == THEME_KEY


def test_a_preview_has_the_colours_the_terminal_can_show() -> None:
    look = PROVIDERS["zai"].look
    red, green, blue = colour(look.accent)
    assert f"\x1b[38;2;{red};{green};{blue};" in sample(look, "dark", 24)
    assert "\x1b[38;5;221;" in sample(look, "dark", 8)
    assert "\x1b" not in sample(look, "dark", 0)
    assert depth({"TERM": "xterm", "COLORTERM": "truecolor"}, True) == 24
    assert depth({"TERM": "xterm"}, True) == 8
    for environ in ({"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}, {}):
        assert depth(environ, True) == 0
    assert depth({"TERM": "xterm"}, False) == 0


# --- guidance ---


def test_guidance_says_what_the_providers_file_says() -> None:
    text = provided("z", PROVIDERS["zai"], Choices("zai"))
    assert "`glm-5.3` can't see images" in text
    assert "plan with it: WebSearch." in text
    assert "`mcp__web-search-prime__`" in text
    assert "`glm-5.3-flash` can't see" not in text
    denied = provided("z", PROVIDERS["zai"], Choices("zai", deny=("WebFetch", "NotebookEdit")))
    assert "plan with it: WebSearch, WebFetch, NotebookEdit.\n" in denied
    assert provided("m", PROVIDERS["mirror"], Choices("mirror")) == ""
    assert all(len(provided("x", p, Choices(p.id))) < 2000 for p in PROVIDERS.values())


def test_the_users_own_guidance_wins_and_comes_back_off(zai: Sandbox) -> None:
    theirs = zai.must("guidance", "show", "zai")
    (zai.home / "mine.md").write_text("Use tabs.\n")
    zai.must("guidance", "edit", "zai", "--from", str(zai.home / "mine.md"))
    assert zai.must("guidance", "show", "zai") == "Use tabs.\n"
    zai.must("update", "zai")
    assert (zai.ccm_home / "zai/config/rules/ccm.md").read_text() == "Use tabs.\n"
    zai.must("guidance", "edit", "zai", "--off")
    assert (zai.ccm_home / "zai/config/rules/ccm.md").read_text() == ""
    assert zai.must("guidance", "show", "zai") == ""
    zai.must("guidance", "edit", "zai", "--reset")
    assert zai.must("guidance", "show", "zai") == theirs
    zai.must("create", "two", "--provider", "echo", "--no-guidance", "--no-status-line")
    assert (zai.ccm_home / "two/config/rules/ccm.md").read_text() == ""


# --- the status line ---

PRICES = {"m 1": Price(1, 2, 0.5, None, None, ""), "b": Price(10, 10, 10, 10, None, "")}  # type: ignore[arg-type]


def line(tmp_path: Path, given: object, shell: str = "dash", **environ: str) -> str:
    script = tmp_path / "statusline"
    script.write_text(
        statusline.render("zai", "Z.ai '$(touch evil)", ("38;2;1;2;3", "38;5;9"), PRICES)
    )
    done = subprocess.run(
        [*SHELLS[shell], str(script)],
        input=given if isinstance(given, str) else json.dumps(given),
        env={"PATH": "/usr/bin:/bin", "ANTHROPIC_AUTH_TOKEN": "sk-secret", **environ},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.stderr == ""
    assert "secret" not in done.stdout
    assert not (tmp_path / "evil").exists()
    return done.stdout.rstrip("\n")


def said(request_id: str, model: str, **usage: int) -> str:
    message = {
        "id": "msg_1",
        "role": "assistant",
        "model": model,
        "content": [{"type": "tool_use", "input": {"usage": {"input_tokens": 999}}}],
        "usage": {f"{kind}_tokens": count for kind, count in usage.items()},
    }
    record = {"message": message, "requestId": request_id, "type": "assistant"}
    return json.dumps(record, separators=(",", ":"))


def handed(transcript: Path) -> dict[str, object]:
    return {
        "session_id": "s",
        "transcript_path": str(transcript),
        "model": {"id": "m 1[1m]", "display_name": "x"},
        "context_window": {
            "total_input_tokens": 5,
            "context_window_size": 200000,
            "used_percentage": 12,
        },
    }


def compact(document: object) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


PLAIN = "zai · Z.ai '$(touch evil) · m 1 · context 12% of 200k"


@pytest.mark.parametrize("shell", INSTALLED)
def test_the_status_line_counts_by_the_providers_prices(tmp_path: Path, shell: str) -> None:
    transcript = tmp_path / "a b" / "s.jsonl"
    (tmp_path / "a b" / "s" / "subagents").mkdir(parents=True)
    one = said("r1", "m 1", input=1_000_000, output=500_000, cache_read_input=2_000_000)
    transcript.write_text("\n".join([one, one, '{"type":"user"}', said("r2", "m 1", output=5)]))
    agent = tmp_path / "a b" / "s" / "subagents" / "agent-1.jsonl"
    agent.write_text(said("r3", "b", input=100_000))
    told = line(tmp_path, compact(handed(transcript)), shell, NO_COLOR="1")
    assert told == f"{PLAIN} · ~$4.00"


@pytest.mark.parametrize("awk", ["busybox awk", "mawk", "gawk", "original-awk"])
def test_every_awk_tells_the_cost(tmp_path: Path, awk: str) -> None:
    if not shutil.which(awk.partition(" ")[0]):
        pytest.skip("not installed")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "awk").write_text(f'#!/bin/sh\nexec {awk} "$@"\n')
    (tmp_path / "bin" / "awk").chmod(0o755)
    transcript = tmp_path / "s.jsonl"
    for count, cost in ((4_000_000, "4.00"), (123_000, "0.123")):
        transcript.write_text(said("r1", "m 1", input=count))
        path = f"{tmp_path}/bin:/usr/bin:/bin"
        told = line(tmp_path, compact(handed(transcript)), NO_COLOR="1", PATH=path)
        assert told == f"{PLAIN} · ~${cost}"


def test_no_cost_is_told_that_could_be_false(tmp_path: Path) -> None:
    transcript = tmp_path / "s.jsonl"
    for text in (
        said("r1", "unheard of", input=5),
        said("r1", "m 1", cache_creation_input=5),  # nobody knows its price
        said("r1", "m 1", input=500) + "\n" + said("r2", "other", input=1),
        "",
        "{",
    ):
        transcript.write_text(text)
        assert line(tmp_path, compact(handed(transcript)), NO_COLOR="1") == PLAIN, text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "\n\n",
        '{"model":{"id":"a\\"b"}}',
        '{"transcript_path":"/etc/passwd"}',
    ],
)
def test_what_can_not_be_read_is_left_out(tmp_path: Path, text: str) -> None:
    assert line(tmp_path, text, NO_COLOR="1") == "zai · Z.ai '$(touch evil)"


def test_colours_of_the_status_line_follow_the_terminal(tmp_path: Path) -> None:
    assert line(tmp_path, "{}").startswith("\x1b[1;38;5;9mzai\x1b[0m")
    assert line(tmp_path, "{}", COLORTERM="truecolor").startswith("\x1b[1;38;2;1;2;3mzai\x1b[0m")


def test_the_status_line_is_quick(tmp_path: Path) -> None:
    """On a transcript of 2 MB; the best of some, on a machine that has other things to do."""
    transcript = tmp_path / "s.jsonl"
    lines = [said(f"r{n}", "m 1", input=1) + "\n" + "x" * 2000 for n in range(800)]
    transcript.write_text("\n".join(lines))
    script = tmp_path / "statusline"
    script.write_text(statusline.render("zai", "Z.ai", ("1", "1"), PRICES))
    took = []
    for _ in range(20):
        start = time.perf_counter()
        subprocess.run(
            ["/bin/sh", script],
            input=compact(handed(transcript)).encode(),
            capture_output=True,
            check=True,
        )
        took.append(time.perf_counter() - start)
    assert min(took) < 0.015


def test_prices_are_those_of_the_endpoint_they_are_of() -> None:
    zai = PROVIDERS["zai"]
    assert "glm-5.3" in statusline.prices_of(zai, Choices("zai"))
    assert statusline.prices_of(zai, Choices("zai", base_url="https://x.example")) == {}
    assert statusline.prices_of(PROVIDERS["kimi-code"], Choices("kimi-code")) == {}


def test_looks_are_chosen_by_default() -> None:
    assert Choices("zai").looks == Looks()
