"""MCP servers of a provider: the real Claude Code connects to them, with the key by reference."""

import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from ccmirror_py.echo import EchoServer
from tests.conftest import CHECKOUT, Sandbox, provide
from tests.npm_registry import NpmRegistry

KEY = "sk-mcp-4f1c9e07d2ab"


class McpServer(ThreadingHTTPServer):
    """One tool, `look`. `asked` holds the method and the key of each request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/mcp"


class _Handler(BaseHTTPRequestHandler):
    server: McpServer

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((asked["method"], self.headers.get("authorization", "")))
        results = {
            "initialize": {
                "protocolVersion": asked.get("params", {}).get("protocolVersion"),
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "look", "version": "1"},
            },
            "tools/list": {"tools": [{"name": "look", "inputSchema": {"type": "object"}}]},
        }
        answer = {"jsonrpc": "2.0", "id": asked.get("id"), "result": results.get(asked["method"])}
        body = json.dumps(answer).encode() if "id" in asked else b""
        self.send_response(200 if body else 202)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.send_response(405)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[McpServer]:
    with McpServer() as made:
        thread = Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def lab(user: Sandbox, endpoint: str, mcp: str) -> None:
    """A provider of the user's own, with two MCP servers."""
    text = re.findall(
        r"```toml\n(.*?)```", (CHECKOUT / "docs/providers.md").read_text(), re.DOTALL
    )[0]
    text = text.replace("http://127.0.0.1:8080", endpoint)
    text = text.replace('key = "optional"', 'key = "required"\nvariables = ["LAB_KEY"]')
    seen = user.home / "seen"
    text += f"""
[mcp.look]
description = "looks"
url = "{mcp}"
headers = {{ Authorization = "Bearer ${{LAB_KEY}}" }}

[mcp.here]
description = "runs here"
command = ["/bin/sh", "-c", 'echo "$HERE_KEY" >"{seen}"']
environment = {{ HERE_KEY = "${{LAB_KEY}}" }}
"""
    own = user.ccm_home / ".providers"
    own.mkdir(parents=True, mode=0o700, exist_ok=True)
    user.ccm_home.chmod(0o700)
    (own / "lab.toml").write_text(text)


def offered(echo: EchoServer) -> set[str]:
    tools = [tool for r in echo.received for tool in r.body.get("tools", [])]  # type: ignore[attr-defined]
    return {tool["name"] for tool in tools if "name" in tool}


def texts(directory: Path) -> str:
    """All that is written in a variant, but for the key's own file and the program."""
    files = [p for p in directory.rglob("*") if p.is_file() and "native" not in p.parts]
    return "".join(path.read_text(errors="replace") for path in files if path.name != "credential")


@pytest.mark.parametrize("version", ["2.1.330", "2.1.200", "2.1.113"])
@pytest.mark.parametrize("stored", [True, False], ids=["stored", "variable"])
def test_the_real_claude_code_connects_with_the_variants_key(
    real: Sandbox, echo: EchoServer, server: McpServer, version: str, stored: bool
) -> None:
    exact = provide(real, version)
    lab(real, echo.url, server.url)
    how = ("--api-key-stdin",) if stored else ("--api-key-env", "LAB_KEY")
    env = {} if stored else {"LAB_KEY": KEY}
    create = ("create", "lab", "--provider", "lab", "--model", "m", "--claude-version", exact)
    real.must(*create, *how, "--mcp", "look", "--mcp", "here", stdin=f"{KEY}\n", env=env)
    done = real.run(real.launcher("lab"), "hello there", "-p", env=env)
    assert "hello there" in done.stdout, "the prompt is not taken for a server"
    assert {key for _, key in server.asked} == {f"Bearer {KEY}"}
    assert {"initialize", "tools/list"} <= {method for method, _ in server.asked}
    assert "mcp__look__look" in offered(echo)
    assert (real.home / "seen").read_text() == f"{KEY}\n"
    assert KEY not in texts(real.ccm_home / "lab")
    real.must("doctor", "lab", env=env)


def test_a_key_for_another_endpoint_is_not_the_vendors(
    real: Sandbox, echo: EchoServer, server: McpServer
) -> None:
    version = provide(real, "2.1.200")
    lab(real, "http://127.0.0.1:1", server.url)
    create = ("create", "lab", "--provider", "lab", "--model", "m", "--claude-version", version)
    words = (*create, "--base-url", echo.url, "--api-key-stdin", "--mcp", "look")
    done = real.ccm(*words, stdin=f"{KEY}\n")
    assert done.returncode == 0, done.stderr
    assert "Set LAB_KEY before you start it" in done.stderr
    real.run(real.launcher("lab"), "-p", "hi", env={"LAB_KEY": "sk-the-vendors-own"})
    assert {key for _, key in server.asked} == {"Bearer sk-the-vendors-own"}


def test_servers_are_added_and_taken_away_and_survive_updates(
    sandbox: Sandbox, npm: NpmRegistry
) -> None:
    npm.publish("2.1.290")
    sandbox.must("create", "zai", "--provider", "zai", "--api-key-stdin", stdin=f"{KEY}\n")
    assert "-     zread" in sandbox.must("mcp", "list", "zai")
    done = sandbox.ccm("mcp", "add", "zai", "zread", "nope")
    assert (done.returncode, done.stdout) == (2, "")
    assert "offers no MCP server 'nope'" in done.stderr
    assert "zread" in sandbox.must("mcp", "add", "zai", "zread", "web-reader")
    assert "yes   zread" in sandbox.must("mcp", "list", "zai")
    npm.publish("2.1.295")
    sandbox.must("update", "zai")
    assert "MCP         zread web-reader" in sandbox.must("show", "zai")
    started = json.loads(sandbox.run(sandbox.launcher("zai"), "x").stdout)
    (given,) = [word for word in started["argv"] if word.startswith("--mcp-config=")]
    servers = json.loads(given.partition("=")[2])["mcpServers"]
    assert servers["zread"] == {
        "type": "http",
        "url": "https://api.z.ai/api/mcp/zread/mcp",
        "headers": {"Authorization": "Bearer ${CCM_MCP_KEY}"},
    }
    assert started["env"]["CCM_MCP_KEY"] == KEY
    assert started["argv"][-1] == "x"
    assert not any(KEY in word for word in started["argv"])
    assert "of its provider: none" in sandbox.must("mcp", "remove", "zai", "zread", "web-reader")
    done = sandbox.ccm("mcp", "remove", "zai", "zread")
    assert (done.returncode, "zai does not use 'zread'" in done.stderr) == (2, True)
    started = json.loads(sandbox.run(sandbox.launcher("zai")).stdout)
    assert "CCM_MCP_KEY" not in started["env"]
    assert not any("mcp" in word for word in started["argv"])
    sandbox.must("rollback", "zai")
    assert "MCP         zread web-reader" in sandbox.must("show", "zai")
    document = json.loads(sandbox.must("mcp", "list", "zai", "--json"))
    assert {s["name"] for s in document["servers"] if s["used"]} == {"zread", "web-reader"}


def test_a_key_that_is_kept_out_of_the_environment_is_not_lent(
    sandbox: Sandbox, npm: NpmRegistry
) -> None:
    npm.publish("2.1.290")
    words = ("create", "zai", "--provider", "zai", "--auth", "x-api-key", "--mcp", "zread")
    done = sandbox.ccm(*words, "--api-key-stdin", stdin=f"{KEY}\n")
    assert done.returncode == 0, done.stderr
    assert "Set ZAI_API_KEY before you start it" in done.stderr
    started = json.loads(sandbox.run(sandbox.launcher("zai")).stdout)
    assert "CCM_MCP_KEY" not in started["env"]
    assert "${ZAI_API_KEY}" in " ".join(started["argv"])
    assert KEY not in json.dumps(started)
