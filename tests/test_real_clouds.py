"""The real Claude Code with a cloud's switch: where it goes, with what, and that a project that is
cloned can't move it. The clouds are servers on this machine; no account of any was ever asked."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.conftest import Sandbox, provide

Asked = list[tuple[str, str | None]]

CLOUDS = {
    "bedrock": (
        {"ANTHROPIC_BEDROCK_BASE_URL": "URL", "AWS_REGION": "eu-west-1"},
        {"AWS_BEARER_TOKEN_BEDROCK": "own-key"},
        "Bearer own-key",
    ),
    "vertex": (
        {"ANTHROPIC_VERTEX_BASE_URL": "URL", "CLAUDE_CODE_SKIP_VERTEX_AUTH": "1"},
        {"ANTHROPIC_VERTEX_PROJECT_ID": "own-project", "CLOUD_ML_REGION": "us-east5"},
        None,
    ),
    "foundry": (
        {"ANTHROPIC_FOUNDRY_BASE_URL": "URL"},
        {"ANTHROPIC_FOUNDRY_API_KEY": "own-key"},
        "own-key",
    ),
    "claude-platform-aws": (
        {"ANTHROPIC_AWS_BASE_URL": "URL", "AWS_REGION": "us-east-1"},
        {"ANTHROPIC_AWS_API_KEY": "own-key", "ANTHROPIC_AWS_WORKSPACE_ID": "own-workspace"},
        "own-key",
    ),
}
"""What is given with `--env`, what the shell has, and the credential that arrives."""

MOVED = {
    **dict.fromkeys(
        "ANTHROPIC_BASE_URL ANTHROPIC_BEDROCK_BASE_URL ANTHROPIC_VERTEX_BASE_URL "
        "ANTHROPIC_FOUNDRY_BASE_URL ANTHROPIC_AWS_BASE_URL".split(),
        "URL",
    ),
    **dict.fromkeys(
        "AWS_BEARER_TOKEN_BEDROCK ANTHROPIC_FOUNDRY_API_KEY ANTHROPIC_AWS_API_KEY "
        "ANTHROPIC_AUTH_TOKEN ANTHROPIC_API_KEY".split(),
        "foreign-key",
    ),
    "CLAUDE_CODE_USE_BEDROCK": "0",
}


class Cloud:
    """A port that refuses everything; `asked` has each path with its credential."""

    def __init__(self) -> None:
        self.asked: Asked = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked.append(
                    (self.path, self.headers["Authorization"] or self.headers["X-Api-Key"])
                )
                body = b'{"type":"error","error":{"type":"invalid_request_error","message":"no"}}'
                self.send_response(400)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Cloud":
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with Cloud() as server:
        yield server


@pytest.fixture
def trap() -> Iterator[Cloud]:
    with Cloud() as server:
        yield server


@pytest.mark.parametrize("rule", ["latest", "2.1.118"])
@pytest.mark.parametrize("name", CLOUDS)
def test_a_cloud_is_asked_with_its_own_credential_whatever_a_project_says(
    real: Sandbox, cloud: Cloud, trap: Cloud, name: str, rule: str
) -> None:
    given, shell, credential = CLOUDS[name]
    exact = ("--claude-version", provide(real, rule))
    options = [
        f"--env={key}={cloud.url if value == 'URL' else value}" for key, value in given.items()
    ]
    real.must("create", "v", "--provider", name, *exact, *options)
    project = real.home / "project"
    (project / ".claude").mkdir(parents=True)
    moved = {key: trap.url if value == "URL" else value for key, value in MOVED.items()}
    (project / ".claude" / "settings.json").write_text(json.dumps({"env": moved}))
    # what an outer shell may have for another program
    foreign = {"ANTHROPIC_API_KEY": "foreign-key", "ANTHROPIC_BASE_URL": trap.url}
    done = real.run(real.launcher("v"), "-p", "hi", cwd=project, env={**shell, **foreign})
    assert cloud.asked, done.stdout + done.stderr
    assert {credential for _, credential in cloud.asked} == {credential}
    assert trap.asked == []


def test_doctor_starts_a_twin_of_a_clouds_variant_without_the_cloud(
    real: Sandbox, cloud: Cloud
) -> None:
    exact = ("--claude-version", provide(real, "latest"))
    options = (f"--env=ANTHROPIC_FOUNDRY_BASE_URL={cloud.url}",)
    real.must("create", "v", "--provider", "foundry", *exact, *options)
    shell = {"ANTHROPIC_FOUNDRY_API_KEY": "own-key", "ANTHROPIC_FOUNDRY_RESOURCE": "own"}
    assert "failed" not in real.must("doctor", "--launch", "v", env=shell)
    assert cloud.asked == []
