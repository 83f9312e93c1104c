"""What one honest attempt to break ccm found, each kept from coming back."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from ccmirror_py.errors import BusyError
from ccmirror_py.home import Home
from ccmirror_py.journal import Journal
from ccmirror_py.sessions import _places
from ccmirror_py.variants import Variants
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


# --- what a second look found ------------------------------------------------------------------


def settings_given(done: "subprocess.CompletedProcess[str]") -> dict[str, str]:
    """The `env` of the file the program was started with."""
    argv = json.loads(done.stdout)["argv"]
    document = json.loads(Path(argv[argv.index("--settings") + 1]).read_text())
    found: dict[str, str] = document["env"]
    return found


def test_an_older_version_for_once_gets_the_pins_it_needs(
    sandbox: Sandbox, npm: NpmRegistry
) -> None:
    for version in ("2.1.118", "2.1.330"):
        npm.publish(version)
    sandbox.must("create", "zai", "--provider", "zai", "--api-key-stdin", stdin="sk-1\n")
    now = sandbox.run(sandbox.launcher("zai"))
    assert "HTTPS_PROXY" not in settings_given(now)  # the host blocks it, from 2.1.330 on
    proxy = {"HTTPS_PROXY": "http://proxy.example:1"}
    old = sandbox.run(sandbox.launcher("zai"), "+2.1.118", env=proxy)
    assert json.loads(old.stdout)["version"] == "2.1.118"
    assert settings_given(old)["HTTPS_PROXY"] == proxy["HTTPS_PROXY"]
    assert settings_given(old)["NODE_EXTRA_CA_CERTS"] == ""


def test_a_proxy_the_user_chose_for_a_variant_stays_its_own(
    sandbox: Sandbox, npm: NpmRegistry
) -> None:
    npm.publish("2.1.330")
    chosen = "http://chosen.example:1"
    sandbox.must("create", "mine", "--provider", "mirror", "--env", f"HTTPS_PROXY={chosen}")
    for shell in ({}, {"HTTPS_PROXY": "http://other.example:2"}):
        done = sandbox.run(sandbox.launcher("mine"), env=shell)
        assert json.loads(done.stdout)["env"]["HTTPS_PROXY"] == chosen
        assert settings_given(done)["HTTPS_PROXY"] == chosen
    assert not (sandbox.ccm_home / ".cache/settings").exists()  # no detour through ccm


def test_a_key_is_never_given_for_a_record_read_before_it(
    sandbox: Sandbox, npm: NpmRegistry
) -> None:
    npm.publish("2.1.330")
    sandbox.must("create", "zai", "--provider", "zai", "--api-key-stdin", stdin="sk-1\n")
    variants = Variants(Home(sandbox.ccm_home, sandbox.bin_dir))
    read = variants.get("zai")
    words = ("create", "zai", "--provider", "deepseek", "--api-key-stdin", "--force")
    sandbox.must(*words, stdin="sk-2\n")
    with pytest.raises(BusyError):
        variants.stored_key_of(read)
    key = variants.stored_key_of(variants.get("zai"))
    assert key
    assert key.reveal() == "sk-2"


def test_a_key_that_can_not_be_read_is_no_missing_key(sandbox: Sandbox, npm: NpmRegistry) -> None:
    npm.publish("2.1.330")
    sandbox.must("create", "zai", "--provider", "zai", "--api-key-stdin", stdin="sk-1\n")
    credential = sandbox.ccm_home / "zai/current/credential"
    kept = credential.with_name("kept")
    credential.rename(kept)
    credential.mkdir()
    npm.publish("2.1.331")
    done = sandbox.ccm("update", "zai")
    assert (done.returncode, "ccm key set zai" in done.stderr) == (7, True)
    credential.rmdir()
    kept.rename(credential)
    sandbox.must("update", "zai")
    assert (sandbox.ccm_home / "zai/current/credential").read_text() == "sk-1\n"


def test_a_name_may_end_like_a_file_that_waits(sandbox: Sandbox, npm: NpmRegistry) -> None:
    npm.publish("2.1.330")
    sandbox.must("create", "zai.new", "--provider", "echo")
    variant = sandbox.ccm_home / "zai.new"
    announced = {"name": "zai.new", "verb": "remove", "trashed": ""}
    (sandbox.ccm_home / ".journal/zai.new").write_text(json.dumps(announced))
    (variant / "current").unlink()  # and there the removal was killed
    sandbox.must("prune")
    assert (variant.exists(), os.listdir(sandbox.ccm_home / ".journal")) == (False, [])


def test_a_variant_whose_generations_can_not_be_listed_stands_in_nobodys_way(
    demo: Sandbox,
) -> None:
    demo.must("create", "other", "--provider", "echo")
    generations = demo.ccm_home / "demo/generations"
    generations.rename(generations.with_name("elsewhere"))
    generations.write_text("")
    said = demo.ccm("key", "set", "other", "--api-key-stdin", stdin="sk-1\n")
    assert (said.returncode, "of demo can't be cleared yet" in said.stderr) == (0, True)
    assert "Traceback" not in demo.ccm("doctor").stderr
    assert "Traceback" not in demo.ccm("remove", "demo", "--yes", "--purge").stderr


def test_keys_are_forgotten_only_when_the_new_one_came(sandbox: Sandbox, npm: NpmRegistry) -> None:
    npm.publish("2.1.330")
    sandbox.must("create", "zai", "--provider", "zai", "--api-key-stdin", stdin="sk-1\n")
    words = ("create", "zai", "--provider", "deepseek", "--api-key-stdin", "--force")
    sandbox.must(*words, stdin="sk-2\n")
    home = Home(sandbox.ccm_home, sandbox.bin_dir)
    Journal(home, Variants(home)).announce("zai", "forget keys")  # and there it was killed
    sandbox.must("prune")
    assert (sandbox.ccm_home / "zai/generations/1/credential").read_text() == "sk-1\n"
    sandbox.must("rollback", "zai")
    assert (
        json.loads(sandbox.run(sandbox.launcher("zai")).stdout)["env"]["ANTHROPIC_AUTH_TOKEN"]
        == "sk-1"
    )


@pytest.mark.parametrize("brought", [True, False])
def test_a_config_brought_along_after_a_killed_create_stays(demo: Sandbox, brought: bool) -> None:
    announced = {"name": "zai", "verb": "create", "trashed": ""}
    (demo.ccm_home / ".journal/zai").write_text(json.dumps(announced))
    config = demo.ccm_home / "zai/config"
    config.mkdir(parents=True)
    (config / ".claude.json").write_text("{}")
    if brought:
        (config / "projects").mkdir()
    demo.must("prune")
    assert config.exists() is brought


def test_prune_leaves_alone_what_another_command_installs(demo: Sandbox, npm: NpmRegistry) -> None:
    npm.publish("2.1.331")
    demo.must("update", "demo")
    demo.must("pin", "demo", "2.1.331")
    for _ in range(2):
        demo.must("key", "set", "demo", "--api-key-stdin", stdin="sk-1\n")
    home = Home(demo.ccm_home, demo.bin_dir)
    demo.must("create", "old", "--provider", "echo", "--claude-version", "2.1.330")
    demo.must("remove", "old", "--yes", "--purge")
    with home.lock(".store-claude-code-linux-x64-2.1.331", print):
        demo.must("prune")  # at once
    assert (demo.ccm_home / ".store/claude-code-linux-x64/2.1.331").exists()


def test_a_session_of_an_older_javascript_release_keeps_what_it_runs(
    demo: Sandbox, npm: NpmRegistry
) -> None:
    npm.publish("2.1.112")
    node = demo.home / "node" / "node"
    node.parent.mkdir()
    # as node's process.title does to its arguments
    node.write_text(
        '#!/bin/bash\n[ "$1" = --version ] && { echo v20.0.0; exit; }\nexec -a claude sleep 30\n'
    )
    node.chmod(0o755)
    path = {"PATH": f"{node.parent}:{demo.environ['PATH']}"}
    words = [str(demo.launcher("demo")), "+2.1.112"]
    with subprocess.Popen(words, env={**demo.environ, **path}) as session:
        deadline = time.monotonic() + 30
        while Path(f"/proc/{session.pid}/cmdline").read_bytes() != b"claude\x0030\x00":
            assert time.monotonic() < deadline, "the session never started"
            time.sleep(0.05)
        demo.must("prune")
        assert (demo.ccm_home / ".store/claude-code/2.1.112/cli.js").exists()
        session.kill()
    demo.must("prune")
    assert not (demo.ccm_home / ".store/claude-code/2.1.112").exists()


def test_sessions_are_found_below_a_directory_with_spaces() -> None:
    root = "/Volumes/My Disk/.ccm/"
    line = f"/bin/sh {root}zai/generations/3/launch -p hello"
    assert _places(line, root) == [f"{root}zai/generations/3/launch"]
    assert _places("vi notes", root) == []


def test_a_current_that_leads_there_by_another_way_is_straightened(demo: Sandbox) -> None:
    demo.must("create", "other", "--provider", "echo")
    current = demo.ccm_home / "demo/current"
    current.unlink()
    current.symlink_to(demo.ccm_home / "demo/generations/1")
    checks = json.loads(demo.ccm("doctor", "--json").stdout)["checks"]
    assert {c["subject"] for c in checks if c["result"] == "failed"} == {"demo"}
    demo.must("doctor", "--fix", "demo")
    assert os.readlink(current) == "generations/1"
    demo.must("prune")


@pytest.mark.parametrize("harm", ["gone", "cut short"])
def test_nobody_rolls_back_to_a_program_that_is_damaged(
    demo: Sandbox, npm: NpmRegistry, harm: str
) -> None:
    npm.publish("2.1.331")
    demo.must("update", "demo")
    program = demo.ccm_home / "demo/generations/1/native/claude"
    program.unlink()
    if harm == "cut short":
        program.write_text("#!/bin/sh\n")
    done = demo.ccm("rollback", "demo")
    assert (done.returncode, "ccm pin demo 2.1.330" in done.stderr) == (7, True)
    assert demo.run(demo.launcher("demo"), "--version").stdout.startswith("2.1.331")


def test_damaged_pins_and_odd_bytes_are_sentences(demo: Sandbox) -> None:
    odd = os.fsdecode(b"\xff")
    refused = demo.ccm("key", "set", "demo", "--api-key-command", f"pass {odd}")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 2)
    refused = demo.ccm("create", "m", "--provider", "mirror", env={"HTTPS_PROXY": f"http://{odd}"})
    assert (refused.returncode, "HTTPS_PROXY is not UTF-8" in refused.stderr) == (2, True)
    assert not (demo.ccm_home / "m").exists()
    (demo.ccm_home / "demo/current/settings.json").write_text("{")
    refused = demo.ccm("audit", "demo")
    assert (refused.returncode, "ccm doctor --fix demo" in refused.stderr) == (7, True)


def test_a_terminal_that_can_not_show_a_mark_is_no_error(demo: Sandbox) -> None:
    words = ("create", "lab", "--provider", "custom", "--base-url", "http://127.0.0.1:9")
    demo.must(*words, "--model", "m", "--api-key-stdin", stdin="sk-1\n")
    done = demo.ccm("probe", "lab", env={"PYTHONIOENCODING": "latin-1:strict"})
    assert (done.returncode, "?  reach" in done.stdout) == (1, True)
    assert "Traceback" not in done.stderr


def test_verify_goes_on_beside_a_link_that_leads_nowhere(demo: Sandbox) -> None:
    native = demo.ccm_home / "demo/current/native"
    (native / "odd").symlink_to("nowhere")
    done = demo.ccm("verify")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_as_one_that_leads_nowhere(demo: Sandbox, closed: str) -> None:
    npm = demo.ccm_home / "demo/generations"
    for line, code in (("list", 0), ("pin demo", 0), ("show nope", 3), ("remove demo", 2)):
        done = demo.run("sh", "-c", f"exec ccm {line} {closed}")
        assert (line, done.returncode, "Traceback" in done.stderr) == (line, code, False)
    assert "ccm:" not in demo.run("sh", "-c", f"exec ccm show nope {closed}").stdout
    assert all(b"ccm:" not in path.read_bytes() for path in npm.rglob("*.json"))


def test_a_variable_that_is_set_is_not_called_unset(sandbox: Sandbox, npm: NpmRegistry) -> None:
    npm.publish("2.1.330")
    variable = {"ZAI_API_KEY": "sk-1"}
    sandbox.must("create", "zai", "--provider", "zai", env=variable)
    done = sandbox.ccm("key", "set", "zai", env=variable)
    assert (done.returncode, "is not set" in done.stderr) == (2, False)
    assert "--api-key-env ZAI_API_KEY" in done.stderr


def test_the_way_back_to_an_older_removal_is_told_and_what_it_has_not(demo: Sandbox) -> None:
    session = demo.ccm_home / "demo/config/projects/p/s.jsonl"
    session.parent.mkdir(parents=True)
    session.write_text("it matters\n")
    demo.must("remove", "demo", "--yes", "--keep-config")
    demo.must("create", "demo", "--provider", "echo")
    (entry,) = json.loads(demo.must("trash", "list", "--json"))["entries"]
    refused = demo.ccm("trash", "restore", "demo")
    assert f"ccm remove demo, then: ccm trash restore {entry['id']}" in refused.stderr
    demo.must("remove", "demo", "--yes")
    done = demo.ccm("trash", "restore", entry["id"])
    assert (done.returncode, "(--keep-config)" in done.stderr) == (0, True)


def test_a_command_is_linked_again_without_its_providers_file(demo: Sandbox) -> None:
    own = demo.ccm_home / ".providers"
    own.mkdir()
    file = own / "lab.toml"
    file.write_text(
        (Path(__file__).parents[1] / "variants/zai.toml").read_text().replace("zai", "lab")
    )
    demo.must("create", "lab", "--provider", "lab", "--api-key-stdin", stdin="sk-1\n")
    file.unlink()
    demo.launcher("lab").unlink()
    assert demo.ccm("doctor", "--fix", "lab").returncode == 1
    assert demo.launcher("lab").is_symlink()


def test_of_several_names_one_that_is_wrong_is_told_before_all_else(demo: Sandbox) -> None:
    done = demo.ccm("remove", "demo", "nope", "--yes")
    assert (done.returncode, "Removing demo" in done.stderr) == (3, False)
