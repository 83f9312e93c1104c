"""Real servers of others, where they are installed: CCM_LITELLM names the program `litellm`,
CCM_ROUTER the `dist/cli.js` of claude-code-router 2.0.0, both before a loopback backend; and
CCM_LLAMA_SERVER names `llama-server` (llama.cpp), with a model of random weights."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests

from ccmirror_py.line import Line
from ccmirror_py.operations.probe import Talk, table
from ccmirror_py.probe import is_usable
from ccmirror_py.transport import Network
from tests.providers.openai_server import chat
from tests.providers.server import Endpoint
from tests.providers.test_probe import KEY, free_port, probed, shown, target_at, told
from tests.providers.tiny_model import write_model


@contextmanager
def started(port: int, home: Path, *command: str) -> Iterator[str]:
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    with (home / "log").open("wb") as log:
        router = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
    try:
        for _ in range(600):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        router.terminate()
        router.wait(30)


@pytest.mark.skipif("CCM_LITELLM" not in os.environ, reason="LiteLLM is not installed here")
def test_litellm(tmp_path: Path) -> None:
    port = free_port()
    with Endpoint(chat) as backend:

        def model(name: str, prefix: str, url: str) -> object:
            parameters = {"model": f"{prefix}/mock", "api_base": f"{url}/v1", "api_key": "x"}
            return {"model_name": name, "litellm_params": parameters}

        config = {
            "model_list": [
                model("good", "hosted_vllm", backend.url),
                model("responses", "openai", backend.url),
                model("gone", "hosted_vllm", f"http://127.0.0.1:{free_port()}"),
            ],
            "general_settings": {"master_key": KEY},
            "router_settings": {"disable_cooldowns": True, "num_retries": 0},
        }
        (tmp_path / "config.yaml").write_text(json.dumps(config))
        command = (os.environ["CCM_LITELLM"], "--config", str(tmp_path / "config.yaml"))
        options = ("--host", "127.0.0.1", "--port", str(port), "--telemetry", "False")
        with started(port, tmp_path, *command, *options) as url:
            rows = probed(target_at(url, tiers={"main": "good"}), True, 60.0)
            assert is_usable(rows), shown(rows)
            for name, words in {
                "responses": "format of OpenAI's Responses",
                "gone": "can't reach the model behind it",
                "nothing": "choose one it has: ",
            }.items():
                rows = probed(target_at(url, tiers={"main": name}), False, 60.0)
                assert words in shown(rows)
                assert not is_usable(rows)
            assert f"--base-url {url}" in shown(probed(target_at(f"{url}/v1"), False, 60.0))


@pytest.mark.skipif("CCM_ROUTER" not in os.environ, reason="claude-code-router is not installed")
def test_claude_code_router(tmp_path: Path) -> None:
    port = free_port()
    folder = tmp_path / ".claude-code-router"
    folder.mkdir()
    with Endpoint(chat) as backend:
        provider = {
            "name": "mock",
            "api_base_url": f"{backend.url}/v1/chat/completions",
            "api_key": "x",
            "models": ["mock"],
        }
        config = {
            "HOST": "127.0.0.1",
            "PORT": port,
            "APIKEY": KEY,
            "LOG": False,
            "NON_INTERACTIVE_MODE": True,
            "Providers": [provider],
            "Router": {"default": "mock,mock"},
        }
        (folder / "config.json").write_text(json.dumps(config))
        with started(port, tmp_path, "node", os.environ["CCM_ROUTER"], "start") as url:
            rows = probed(target_at(url, tiers={"main": "mock,mock"}), True, 60.0)
            assert is_usable(rows), shown(rows)
            rows = probed(target_at(url, tiers={"main": "nobody,nothing"}))
            assert "there is no nobody,nothing" in shown(rows)


@pytest.mark.skipif("CCM_LLAMA_SERVER" not in os.environ, reason="llama.cpp is not installed here")
def test_llama_cpp(tmp_path: Path) -> None:
    """Routing, key, streaming and what it tells of itself; noise calls no tool."""
    write_model(tmp_path / "tiny.gguf")
    model = ("-m", str(tmp_path / "tiny.gguf"), "--alias", "tiny", "-c", "65536")
    for jinja in ("--jinja", "--no-jinja"):
        port = free_port()
        options = ("--host", "127.0.0.1", "--port", str(port), "--api-key", KEY, jinja)
        with started(port, tmp_path, os.environ["CCM_LLAMA_SERVER"], *model, *options) as url:
            for _ in range(300):
                if requests.get(f"{url}/health", timeout=5).ok:  # the model is loaded
                    break
                time.sleep(0.2)
            rows = probed(target_at(url, tiers={"main": "tiny"}), seconds=60.0)
            for step in ("reach", "path", "key", "models", "count"):
                assert told(rows, step).result == "ok", shown(rows)
            assert "takes 65536 tokens" in told(rows, "window").detail, shown(rows)
            assert not is_usable(rows)
            if jinja == "--jinja":
                assert told(rows, "stream").result == "ok", shown(rows)
                assert "no tools (supports_tools" in told(rows, "server").detail
                wrong = Talk(target_at(url), "sk-another", Line(Network(), 20.0))
                assert told(table(wrong, False), "key").result == "failed"
                assert f"--base-url {url}" in shown(probed(target_at(f"{url}/v1")))
            else:
                tools = told(rows, "tools")
                assert (tools.result, "--jinja" in tools.fix) == ("failed", True), shown(rows)
