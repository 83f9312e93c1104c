"""`ccm probe` as a user meets it: table, exit code, JSON, what it applies."""

import json
from pathlib import Path

import pytest

from tests.conftest import Sandbox
from tests.npm_registry import NpmRegistry
from tests.providers.broken import FIELDS, LOCAL
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
        assert (done.returncode, "nothing was written" in done.stderr) == (1, True)
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
    assert "no key to be had" in done.stdout
