"""Real routers before a loopback backend, where they are installed: CCM_LITELLM names the program
`litellm`, CCM_ROUTER the `dist/cli.js` of claude-code-router 2.0.0."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ccmirror_py.probe import is_usable
from tests.providers.openai_server import chat
from tests.providers.server import Endpoint
from tests.providers.test_probe import KEY, free_port, probed, shown, target_at


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
