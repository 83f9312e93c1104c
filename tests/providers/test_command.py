"""`ccm probe` as a user meets it: table, exit code, JSON, what it applies."""

import json
from pathlib import Path

import pytest

from ccmirror_py.messages import PLAIN_CLAUDES
from tests.conftest import Sandbox
from tests.npm_registry import NpmRegistry
from tests.providers.broken import FIELDS, LOCAL, TOOLS
from tests.providers.server import Endpoint, Model

KEY = "sk-probe-4f1c9e07d2"


@pytest.fixture
def user(sandbox: Sandbox, npm: NpmRegistry) -> Sandbox:
    npm.publish("2.1.330")
    return sandbox


def make(user: Sandbox, url: str, *options: str) -> None:
    words = ("create", "lab", "--provider", "custom", "--base-url", url, "--model", "m")
    user.must(*words, "--api-key-stdin", *options, stdin=f"{KEY}\n")


def test_a_good_endpoint_ends_with_0_and_a_bad_one_with_1(user: Sandbox) -> None:
    with Endpoint(Model(key=KEY)) as endpoint:
        make(user, endpoint.url)
        done = user.ccm("probe", "lab")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "✓  tools" in done.stdout
        assert "lab works: it streams, and it calls tools" in done.stderr
    done = user.ccm("probe", "--all")
    assert done.returncode == 1
    assert "✗  reach" in done.stdout
    assert "to mend reach: start the server" in done.stderr


def test_a_wrong_name_costs_no_requests(user: Sandbox) -> None:
    with Endpoint(Model(key=KEY)) as endpoint:
        make(user, endpoint.url)
        done = user.ccm("probe", "lab", "labb")
        assert (done.returncode, done.stdout) == (3, "")
        assert "Did you mean 'lab'?" in done.stderr
        assert not endpoint.requests


def test_a_broken_record_is_a_row_beside_the_others(user: Sandbox) -> None:
    with Endpoint(Model(key=KEY)) as endpoint:
        make(user, endpoint.url)
        user.must("create", "broken", "--provider", "echo")
        (user.ccm_home / "broken/variant.json").write_text("{")
        done = user.ccm("probe", "--all")
        assert done.returncode == 1
        assert "is not valid JSON" in done.stdout
        assert "lab works" in done.stderr


def test_the_fix_of_a_wrong_header_works_as_it_is_told(user: Sandbox) -> None:
    with Endpoint(Model(keys=("x-api-key",))) as endpoint:
        make(user, endpoint.url)
        assert "--auth x-api-key" in user.ccm("probe", "lab").stderr
        make(user, endpoint.url, "--auth", "x-api-key", "--force")
        user.must("probe", "lab")


def test_what_is_applied_is_shown_first_and_mends_it(user: Sandbox) -> None:
    (broken,) = [b for b in FIELDS if b.name == "no system messages, in words of its own"]
    with Endpoint(broken.behaviour) as endpoint:
        make(user, endpoint.url, "--env", "CLAUDE_CODE_MODEL_CAPABILITIES=-x")
        done = user.ccm("probe", "lab", "--apply")
        assert (done.returncode, "Nothing was written" in done.stderr) == (1, True)
        done = user.ccm("probe", "lab", "--apply", "--yes")
        assert "CLAUDE_CODE_MODEL_CAPABILITIES=-x,-mid_conv_system" in done.stderr
        assert done.returncode == 0, done.stdout + done.stderr
        user.must("probe", "lab")
    user.must("doctor", "lab")


def test_a_window_that_is_too_large_is_applied_too(user: Sandbox) -> None:
    (broken,) = [b for b in LOCAL if b.name == "vLLM with a small context"]
    with Endpoint(broken.behaviour) as endpoint:
        make(user, endpoint.url)
        user.must("probe", "lab", "--apply", "--yes")
    record = json.loads(user.must("show", "lab", "--json"))["variant"]
    assert record["context_window"] == 32768


@pytest.mark.parametrize("name", ["no search", "a forced tool that is ignored"])
def test_a_tool_the_endpoint_cannot_serve_is_denied_by_choice(user: Sandbox, name: str) -> None:
    (broken,) = [b for b in (*FIELDS, *TOOLS) if b.name == name]
    with Endpoint(broken.behaviour) as endpoint:
        make(user, endpoint.url, "--provider", "deepseek", "--deny", "CronCreate")
        done = user.ccm("probe", "lab", "--deep", "--apply", "--yes")
        assert "deny: WebSearch" in done.stderr
        assert done.returncode == 0, done.stdout + done.stderr
        again = json.loads(user.must("probe", "lab", "--deep", "--json"))["probes"][0]["steps"]
    assert [step for step in again if step["result"] == "limited"] == []
    assert "CronCreate WebSearch" in user.must("show", "lab")
    pinned = json.loads((user.ccm_home / "lab/current/settings.json").read_text())
    assert pinned["permissions"]["deny"] == ["CronCreate", "WebSearch"]
    user.must("doctor", "lab")


def test_models_are_asked_as_an_older_claude_where_no_variable_can_tell(
    user: Sandbox, npm: NpmRegistry
) -> None:
    (broken,) = [b for b in FIELDS if b.overrides == {PLAIN_CLAUDES[0]: "m"}]
    npm.publish("2.1.200")
    with Endpoint(broken.behaviour) as endpoint:
        make(user, endpoint.url, "--claude-version", "2.1.200")
        assert user.ccm("probe", "lab").returncode == 1
        done = user.ccm("probe", "lab", "--apply", "--yes")
        assert f"asked as {PLAIN_CLAUDES[0]}: m" in done.stderr
        assert done.returncode == 0, done.stdout + done.stderr
        user.must("probe", "lab")
        user.must("update", "lab", "--claude-version", "2.1.330")
        user.must("probe", "lab")
    pinned = json.loads((user.ccm_home / "lab/current/settings.json").read_text())
    assert pinned["modelOverrides"] == {PLAIN_CLAUDES[0]: "m"}
    assert f"asked as    {PLAIN_CLAUDES[0]}: m" in user.must("show", "lab")
    user.must("rollback", "lab")
    user.must("rollback", "lab")


def test_a_model_that_is_not_overridden_is_asked_in_its_own_way(user: Sandbox) -> None:
    """No false green for the other tiers."""
    (broken,) = [b for b in FIELDS if b.name == "no effort"]
    with Endpoint(broken.behaviour) as endpoint:
        override = f"{PLAIN_CLAUDES[0]}=m"
        make(user, endpoint.url, "--model-override", override, "--model-haiku", "other")
        done = user.ccm("probe", "lab", "--json")
    steps = json.loads(done.stdout)["probes"][0]["steps"]
    told = {s["detail"].split(" ")[0]: s["result"] for s in steps if s["step"] == "models"}
    assert told["m"] == "ok"
    assert "failed" in [step["result"] for step in steps]


def test_choices_that_make_no_sense_are_refused_before_anything_is_made(user: Sandbox) -> None:
    for words in (
        ("--model-override", "m"),
        ("--model-override", "gpt-5=m"),
        ("--deny", ""),
        ("--mcp", "zread"),
    ):
        done = user.ccm(
            *("create", "lab", "--provider", "custom", "--base-url", "http://127.0.0.1:1"),
            *("--model", "m", "--api-key-stdin", *words),
            stdin=f"{KEY}\n",
        )
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert not (user.ccm_home / "lab").exists()


def test_create_offers_the_probe_and_runs_it_only_when_asked(user: Sandbox) -> None:
    with Endpoint(Model(key=KEY)) as endpoint:
        words = ["create", "lab", "--provider", "custom", "--base-url", endpoint.url]
        words += ["--model", "m", "--api-key-stdin"]
        told = user.must(*words, stdin=f"{KEY}\n")
        assert "ccm probe lab" in told
        assert endpoint.requests == []
        assert "Never tried on its provider: lab" in user.ccm("doctor").stderr
        done = user.ccm(*words, "--force", "--probe", stdin=f"{KEY}\n")
        assert done.returncode == 0, done.stderr
        assert "✓  tools" in done.stdout
        assert "ccm probe lab" not in done.stdout
        assert "Never tried" not in user.ccm("doctor").stderr
    moved = user.ccm(*words, "--base-url", "http://127.0.0.1:9", "--force", stdin=f"{KEY}\n")
    assert moved.returncode == 0, moved.stderr
    assert "Never tried" in user.ccm("doctor").stderr, "another endpoint"
    done = user.ccm(*words, "--force", "--probe", stdin="sk-another-key\n")
    assert done.returncode == 1, "made, and not usable"
    assert "lab can't be worked with" in done.stderr
    assert "custom" in user.must("show", "lab")


def test_the_json_holds_every_step_and_never_the_key(user: Sandbox) -> None:
    with Endpoint(Model()) as endpoint:
        make(user, endpoint.url)
        told = user.must("probe", "lab", "--json", "--deep")
    document = json.loads(told)
    assert document["schema"] == 1
    assert document["probes"][0]["usable"] is True
    steps = {step["step"] for step in document["probes"][0]["steps"]}
    assert {"reach", "path", "key", "models", "stream", "tools", "images", "window"} <= steps
    assert KEY not in told


def test_a_login_is_not_probed_and_a_missing_key_is_said(user: Sandbox, tmp_path: Path) -> None:
    user.must("create", "own", "--provider", "mirror")
    done = user.ccm("probe", "own")
    assert done.returncode == 0
    assert "can't be lent" in done.stdout
    user.must("create", "ds", "--provider", "deepseek", "--api-key-env", "DEEPSEEK_API_KEY")
    done = user.ccm("probe", "ds")
    assert done.returncode == 1
    assert "$DEEPSEEK_API_KEY is not set" in done.stdout
