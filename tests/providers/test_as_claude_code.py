"""The probe's first request beside that of the real Claude Code of the same variant."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ccmirror_py.echo import EchoServer, Received
from tests.conftest import Sandbox, provide

KEY = "sk-own-0123456789abcdef"
SETTINGS = (
    (),
    ("CLAUDE_CODE_EFFORT_LEVEL=unset",),
    ("CLAUDE_CODE_EFFORT_LEVEL=max", "MAX_THINKING_TOKENS=0"),
    ("CLAUDE_CODE_MODEL_CAPABILITIES=-mid_conv_system,-effort",),
    ("DISABLE_PROMPT_CACHING=1", "DISABLE_INTERLEAVED_THINKING=1"),
    ("CLAUDE_CODE_DISABLE_THINKING=1", "ANTHROPIC_CUSTOM_HEADERS=X-Lab: 7"),
)


def shape(request: Received) -> dict[str, Any]:
    """All of a request that is not its words."""
    body: Mapping[str, Any] = request.body
    thinking = body.get("thinking")
    return {
        "path": request.path,
        "fields": sorted(body),
        "model": body["model"],
        "betas": request.header("anthropic-beta"),
        "version": request.header("anthropic-version"),
        "authorization": request.header("authorization"),
        "x-api-key": request.header("x-api-key"),
        "x-app": request.header("x-app"),
        "x-lab": request.header("x-lab"),
        "agent": str(request.header("user-agent")).partition(" ")[0],
        "thinking": thinking and thinking["type"],
        "output_config": body.get("output_config"),
        "roles": [message["role"] for message in body["messages"]],
        "cached": "cache_control" in json.dumps(dict(body)),
        "stream": body.get("stream"),
        "system": {block["type"] for block in body["system"]},
        "metadata": sorted(json.loads(body["metadata"]["user_id"])),
    }


@pytest.mark.parametrize("version", ["latest", "2.1.200", "2.1.113"])
def test_the_probe_asks_as_the_real_claude_code_does(real: Sandbox, version: str) -> None:
    exact = provide(real, version)
    with EchoServer() as echo:
        for number, variables in enumerate(SETTINGS):
            auth = "x-api-key" if number % 2 else "bearer"
            model = "m[1m]" if number == 1 else "m"
            options = [word for variable in variables for word in ("--env", variable)]
            real.must(
                *("create", "x", "--provider", "custom", "--base-url", f"{echo.url}/", "--force"),
                *("--model", model, "--auth", auth, "--claude-version", exact, *options),
                "--api-key-stdin",
                stdin=f"{KEY}\n",
            )
            before = len(echo.received)
            real.run(real.launcher("x"), "-p", "hi")
            between = len(echo.received)
            assert real.ccm("probe", "x").returncode == 0
            asked = [r for r in echo.received[before:between] if r.method == "POST"]
            probed = [r for r in echo.received[between:] if r.method == "POST"]
            assert shape(probed[0]) == shape(asked[0]), variables


def test_launch_runs_one_command_through_the_endpoint(real: Sandbox, tmp_path: Path) -> None:
    version = provide(real, "latest")
    with EchoServer() as echo:
        real.must(
            *("create", "x", "--provider", "custom", "--base-url", echo.url, "--model", "m"),
            *("--claude-version", version, "--api-key-stdin"),
            stdin=f"{KEY}\n",
        )
        done = real.ccm("probe", "x", "--launch", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        (probe,) = json.loads(done.stdout)["probes"]
        keys = {r.header("authorization") for r in echo.received if r.method == "POST"}
    assert [s["result"] for s in probe["steps"] if s["step"] == "launch"] == ["ok"]
    assert keys == {f"Bearer {KEY}"}, "the real key, and no other"
    assert list((real.ccm_home / ".staging").iterdir()) == []
