"""`update --probe`: the real Claude Code of the next version is tried before it takes the place."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from ccmirror_py.messages import PLAIN_CLAUDES
from tests.conftest import Sandbox, provide
from tests.npm_registry import NpmRegistry
from tests.providers.broken import GOOD, has_effort, has_system_message, refuses
from tests.providers.server import Behaviour, Endpoint, Request, error

KEY = "sk-trial-4f1c9e07d2"
STRICT = refuses(has_system_message, error(500, "system message must be at the beginning"))
"""2.1.113 sends no such message, 2.1.200 does (run 2026-11-22)."""


def make(user: Sandbox, name: str, url: str, version: str, *options: str) -> None:
    user.must(
        *("create", name, "--provider", "custom", "--base-url", url, "--model", "m", "--force"),
        *("--claude-version", version, "--api-key-stdin", *options),
        stdin=f"{KEY}\n",
    )


def tree(directory: Path) -> Mapping[str, object]:
    """Every path below, with what is in it or where it leads."""
    found: dict[str, object] = {}
    for folder, directories, names in os.walk(directory):
        for name in (*directories, *names):
            path = Path(folder) / name
            what = path.readlink() if path.is_symlink() else path.is_file() and path.stat().st_ino
            found[str(path.relative_to(directory))] = what
    return found


def answers_no_later_than(version: str) -> Behaviour:
    """An endpoint that a newer Claude Code upsets with something nobody knows yet."""

    def answer(request: Request) -> object:
        agent = request.headers.get("user-agent", "")
        is_real = "x-claude-code-session-id" in request.headers
        if is_real and f"claude-cli/{version} " not in agent:
            return error(400, "some_new_field: Extra inputs are not permitted")
        return GOOD(request)

    return answer  # type: ignore[return-value]


def test_what_the_new_version_cannot_do_there_keeps_the_old_one(real: Sandbox) -> None:
    old, new = provide(real, "2.1.113"), provide(real, "2.1.200")
    with Endpoint(STRICT) as strict, Endpoint(GOOD) as good:
        make(real, "lab", strict.url, old)
        make(real, "fine", good.url, old)
        real.must("probe", "lab")
        before = tree(real.ccm_home / "lab")
        done = real.ccm("update", "--all", "--claude-version", new, "--probe")
        assert done.returncode == 1, done.stdout + done.stderr
        assert f"fine: {old} -> {new}" in done.stdout
        assert f"lab: {old} stays: {new} was tried and fails in 'system'" in done.stderr
        assert "at the beginning only" in done.stderr
        assert tree(real.ccm_home / "lab") == before, "nothing of it remains"
        assert list((real.ccm_home / ".staging").iterdir()) == []
        done = real.ccm("update", "lab", "--claude-version", new, "--probe", "--json")
        (outcome,) = json.loads(done.stdout)["outcomes"]
        assert done.returncode == 1
        assert (outcome["outcome"], outcome["version"], outcome["offered"]) == ("kept", old, new)
        assert (outcome["step"], outcome["fix"] != "") == ("system", True)
        done = real.ccm("pin", "lab", new, "--probe")
        assert (done.returncode, "stays" in done.stderr) == (1, True)
        assert tree(real.ccm_home / "lab") == before
        used = [r for e in (strict, good) for r in e.requests if r.is_message]
        assert {request.key for request in used} == {("bearer", KEY)}
    assert KEY not in done.stdout + done.stderr


def test_what_the_probe_does_not_know_yet_shows_in_the_launch(real: Sandbox) -> None:
    old, new = provide(real, "2.1.113"), provide(real, "2.1.200")
    with Endpoint(answers_no_later_than(old)) as endpoint:
        make(real, "lab", endpoint.url, old)
        done = real.ccm("update", "lab", "--claude-version", new, "--probe")
        assert done.returncode == 1, done.stdout
        assert "fails in 'launch'" in done.stderr
        assert "some_new_field" in done.stderr
        assert json.loads(real.must("show", "lab", "--json"))["variant"]["version"] == old


def test_a_change_of_the_provider_is_tried_as_well_and_what_works_is_taken(real: Sandbox) -> None:
    version = provide(real, "2.1.200")
    with Endpoint(GOOD) as good, Endpoint(STRICT) as strict:
        own = real.ccm_home / ".providers"
        own.mkdir(parents=True, mode=0o700, exist_ok=True)
        file = (Path(__file__).parents[2] / "docs/providers.md").read_text()
        text = file.partition("```toml\n")[2].partition("```")[0]
        (own / "lab.toml").write_text(text.replace("http://127.0.0.1:8080", good.url))
        create = ("create", "lab", "--provider", "lab", "--model", "m", "--claude-version", version)
        env = {"LAB_KEY": KEY}  # a stored key would not go to another host at all
        real.must(*create, "--api-key-env", "LAB_KEY", env=env)
        (own / "lab.toml").write_text(text.replace("http://127.0.0.1:8080", strict.url))
        done = real.ccm("update", "lab", "--probe", env=env)
        assert done.returncode == 1
        assert "what has changed was tried and fails in 'system'" in done.stderr
        assert good.url in real.must("env", "lab")
        with Endpoint(GOOD) as other:
            (own / "lab.toml").write_text(text.replace("http://127.0.0.1:8080", other.url))
            told = real.must("update", "lab", "--probe", env=env)
            assert f"endpoint: {good.url} -> {other.url}" in told


def test_a_login_is_started_and_not_lent(real: Sandbox) -> None:
    old, new = provide(real, "2.1.113"), provide(real, "2.1.200")
    real.must("create", "own", "--provider", "mirror", "--claude-version", old)
    assert f"{old} -> {new}" in real.must("update", "own", "--claude-version", new, "--probe")


def test_a_program_that_can_not_call_a_tool_is_refused(sandbox: Sandbox, npm: NpmRegistry) -> None:
    npm.publish("2.1.200")
    with Endpoint(GOOD) as endpoint:
        make(sandbox, "lab", endpoint.url, "latest")
        npm.publish("2.1.290")
        done = sandbox.ccm("update", "lab", "--probe")
        assert done.returncode == 1
        assert "2.1.290 was tried and fails in 'launch': no tool call came through" in done.stderr
        assert endpoint.requests == [], "what does not even start costs nothing"
        assert "would become 2.1.290" in sandbox.must("update", "lab", "--probe", "--dry-run")


@pytest.mark.parametrize("version", ["2.1.200", "2.1.113"])
def test_an_override_makes_the_real_claude_code_ask_plainly_and_keeps_the_window(
    real: Sandbox, version: str
) -> None:
    exact = provide(real, version)
    plain = refuses(
        lambda r: has_system_message(r) or has_effort(r),
        error(400, "output_config: Extra inputs are not permitted"),
    )
    with Endpoint(plain) as endpoint:
        make(real, "lab", endpoint.url, exact)
        said = real.run(real.launcher("lab"), "-p", "hi")
        assert said.returncode == 1, said.stdout
        done = real.ccm("probe", "lab", "--apply", "--yes")
        assert f"asked as {PLAIN_CLAUDES[0]}: m" in done.stderr
        assert done.returncode == 0, done.stdout + done.stderr
        said = real.run(real.launcher("lab"), "-p", "hi", "--output-format", "json")
        assert said.returncode == 0, said.stdout + said.stderr
        assert json.loads(said.stdout)["modelUsage"]["m"]["contextWindow"] == 200_000
        real.must("doctor", "lab")


def test_a_denied_tool_is_not_offered_by_the_real_claude_code(real: Sandbox) -> None:
    version = provide(real, "2.1.200")
    with Endpoint(GOOD) as endpoint:
        for options in ((), ("--deny", "CronCreate")):
            make(real, "lab", endpoint.url, version, *options)
            before = len(endpoint.requests)
            real.run(real.launcher("lab"), "-p", "hi")
            asked = [r for r in endpoint.requests[before:] if r.body.get("tools")]
            names = {tool["name"] for r in asked for tool in r.body["tools"]}
            assert "Bash" in names
            assert ("CronCreate" in names) is not bool(options)
