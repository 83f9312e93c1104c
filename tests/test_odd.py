"""What one honest attempt to break ccm found, each kept from coming back."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import Sandbox
from tests.npm_registry import NpmRegistry

SLEEPER = b"""#!/bin/sh
if [ "${1-}" = --version ]; then echo '2.1.329 (Claude Code)'; exit 0; fi
read -r line
"""


@pytest.fixture
def demo(sandbox: Sandbox, npm: NpmRegistry) -> Sandbox:
    npm.publish("2.1.330")
    sandbox.must("create", "demo", "--provider", "echo")
    return sandbox


def test_a_session_of_another_version_with_settings_keeps_what_it_runs(
    demo: Sandbox, npm: NpmRegistry
) -> None:
    npm.publish("2.1.329", program=SLEEPER)
    words = [str(demo.launcher("demo")), "+2.1.329", "--settings", "{}"]
    with subprocess.Popen(words, env=dict(demo.environ), stdin=subprocess.PIPE) as session:
        release = demo.ccm_home / ".store" / "claude-code-linux-x64" / "2.1.329"
        deadline = time.monotonic() + 30
        while f"{release}/claude" not in Path(f"/proc/{session.pid}/cmdline").read_text():
            assert time.monotonic() < deadline, "the session never started"
            time.sleep(0.05)
        refused = demo.ccm("remove", "demo", "--yes")
        demo.must("prune")
        assert (refused.returncode, str(session.pid) in refused.stderr) == (6, True)
        assert (release / "claude").exists()
        session.communicate(b"\n", timeout=20)
    demo.must("prune")
    assert not release.exists()


def test_a_key_command_leaves_what_is_piped_in_to_claude_code(
    sandbox: Sandbox, npm: NpmRegistry
) -> None:
    npm.publish("2.1.330", program=b"#!/bin/sh\necho '2.1.330 (Claude Code)'; exec cat\n")
    greedy = sandbox.home / "key"
    greedy.write_text("#!/bin/sh\ncat >/dev/null\necho sk-1\n")
    greedy.chmod(0o755)
    choice = ("--base-url", "http://127.0.0.1:1", "--model", "m", "--api-key-command", "./key")
    sandbox.must("create", "demo", "--provider", "custom", *choice)
    elsewhere = sandbox.home / "elsewhere"
    elsewhere.mkdir()
    done = sandbox.run(sandbox.launcher("demo"), "-p", cwd=elsewhere, stdin="the prompt")
    assert (done.returncode, done.stdout) == (0, "2.1.330 (Claude Code)\nthe prompt")


def test_a_home_behind_a_link_is_on_path_under_both_names(demo: Sandbox, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(demo.home)
    path = f"{link}/.local/bin/:{demo.environ['PATH'].partition(':')[2]}"
    done = demo.ccm("doctor", env={"HOME": str(link), "PATH": path})
    assert "is not on PATH" not in done.stdout


def test_text_that_is_no_text_is_refused_before_anything_is_made(demo: Sandbox) -> None:
    word = os.fsdecode(b"\xff")
    refused = demo.ccm("create", "other", "--provider", "echo", "--arg", word)
    assert (refused.returncode, "Traceback" in refused.stderr) == (2, False)
    refused = demo.ccm("list", env={"CCM_HOME": f"/tmp/{word}"})
    assert (refused.returncode, "Traceback" in refused.stderr) == (2, False)
    record = demo.ccm_home / "demo" / "current" / "variant.json"
    record.write_text(record.read_text().replace('"args": []', '"args": ["\\ud800"]'))
    assert "broken: " in demo.must("list")


def test_json_moves_no_cursor(demo: Sandbox) -> None:
    demo.must("create", "odd", "--provider", "echo", "--arg", "\x9b31m\u202e")
    said = demo.must("list", "--json")
    assert said.isascii()
    assert json.loads(said)["variants"][1]["args"] == ["\x9b31m\u202e"]


def test_a_folder_nobody_can_look_into_or_that_is_gone_does_not_matter(
    demo: Sandbox, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / ".npmrc")
    assert demo.run("ccm", "update", "demo", cwd=tmp_path, timeout=20).returncode == 0
    gone = tmp_path / "gone"
    script = f"mkdir {gone} && cd {gone} && rmdir {gone} && exec ccm update demo"
    assert demo.run("sh", "-c", script).returncode == 0


def test_rollback_finds_the_version_before_pins_and_keys(demo: Sandbox, npm: NpmRegistry) -> None:
    npm.publish("2.1.331")
    demo.must("update", "demo")
    demo.must("pin", "demo")
    demo.must("unpin", "demo")
    demo.must("key", "set", "demo", "--api-key-stdin", stdin="sk-1\n")
    demo.must("key", "set", "demo", "--api-key-stdin", stdin="sk-2\n")
    assert demo.must("rollback", "demo").startswith("demo: 2.1.331 -> 2.1.330\n")
    assert demo.must("rollback", "demo").startswith("demo: 2.1.330 -> 2.1.331\n")
