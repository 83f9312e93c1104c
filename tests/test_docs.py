"""The documents say what runs."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT, Sandbox
from tests.npm_registry import NpmRegistry
from tests.safety.table import FLOORS

DOCUMENTS = (
    *("README.md", "docs/reference.md", "docs/providers.md", "docs/isolation.md"),
    "docs/looks.md",
)
COMMANDS = tuple(
    "create list show run update pin unpin rollback remove key env which versions providers models "
    "doctor mcp probe verify audit prune trash tweak echo completion theme guidance".split()
)


def shell_lines(document: str) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", (CHECKOUT / document).read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


def test_every_command_of_the_readme_runs_in_the_order_it_is_told(
    sandbox: Sandbox, npm: NpmRegistry
) -> None:
    for version in ("2.1.200", "2.1.290"):
        npm.publish(version)
    password_manager = sandbox.bin_dir / "pass"
    password_manager.parent.mkdir(parents=True)
    password_manager.write_text("#!/bin/sh\necho sk-from-pass\n")
    password_manager.chmod(0o755)
    keys = {
        f"{name}_KEY": "sk-1"
        for name in ("GATEWAY", "ZAI_API", "DEEPSEEK_API", "OPENROUTER_API", "MINIMAX_API")
    }
    for line in shell_lines("README.md"):
        if line.startswith(("scripts/", "ccm audit", "ccm probe")):
            continue  # scripts/check runs this test, the next one scripts/try; tests of their own
        words = [word for word in shlex.split(line) if word != "--launch"]  # test_real has it
        done = sandbox.run(*words, env=keys)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        if line == "ccm versions":
            npm.publish("2.1.295")
            sandbox.must("update", "--all", env=keys)


def test_every_command_about_looks_runs(sandbox: Sandbox, npm: NpmRegistry) -> None:
    npm.publish("2.1.300")
    sandbox.must("create", "zai", "--provider", "zai", "--api-key-env", "ZAI_API_KEY")
    for line in shell_lines("docs/looks.md"):
        done = sandbox.run(*shlex.split(line))
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def test_try_works_from_a_fresh_copy_where_output_is_buffered_and_twice(tmp_path: Path) -> None:
    copy = tmp_path / "ccm"
    left_out = shutil.ignore_patterns(".*_cache", ".cache", ".git", ".try", ".venv", "__pycache__")
    shutil.copytree(CHECKOUT, copy, ignore=left_out)
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    for _ in range(2):
        done = subprocess.run(
            [copy / "scripts/try"],
            env={**environ, "PYTHON": sys.executable},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "\nThe tool answered: hello from a tool\n" in done.stdout
        assert (copy / ".try/bin/demo").is_symlink()


def test_every_command_is_in_the_reference_and_in_the_help(sandbox: Sandbox) -> None:
    reference = (CHECKOUT / "docs/reference.md").read_text()
    told = sandbox.must("--help")
    for command in COMMANDS:
        assert f"`ccm {command}" in reference, command
        assert re.search(rf"^  {command}  ", told, re.MULTILINE), command
        assert sandbox.must(command, "--help")
    listed = re.findall(r"^  ([a-z]+)  ", told.partition("Commands:")[2], re.MULTILINE)
    assert sorted(listed) == sorted(COMMANDS)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_and_option_named_in_passing_exists(sandbox: Sandbox, document: str) -> None:
    text = (CHECKOUT / document).read_text()
    for command, rest in re.findall(r"`ccm ([a-z]+)((?: [^`]*)?)`", text):
        if command == "is":
            continue
        assert command in COMMANDS, command
        told = sandbox.run("ccm", command, "--help").stdout
        if command in ("key", "mcp", "providers", "theme", "guidance", "trash"):
            told += "".join(
                sandbox.run("ccm", command, sub, "--help").stdout
                for sub in (
                    *("set", "show", "remove", "test", "compare", "preview", "edit", "list"),
                    *("add", "empty", "restore"),
                )
            )
        for option in re.findall(r"--[a-z][a-z-]+", rest):
            assert option in told, f"ccm {command} {option}"


def test_the_smallest_provider_file_of_the_docs_is_right(
    sandbox: Sandbox, npm: NpmRegistry
) -> None:
    npm.publish("2.1.300")
    text = re.findall(
        r"```toml\n(.*?)```", (CHECKOUT / "docs/providers.md").read_text(), re.DOTALL
    )[0]
    own = sandbox.ccm_home / ".providers"
    own.mkdir(parents=True, mode=0o700)
    sandbox.ccm_home.chmod(0o700)
    (own / "lab.toml").write_text(text)
    assert "Our lab" in sandbox.must("create", "lab", "--provider", "lab", "--model", "m")


def test_links_between_documents_lead_somewhere() -> None:
    for document in (*DOCUMENTS, "docs/design.md", "CHANGELOG.md", "SECURITY.md"):
        text = (CHECKOUT / document).read_text()
        for named in re.findall(r"`((?:tests|scripts|docs|ccmirror_py)/[a-z_./]+)`", text):
            assert (CHECKOUT / named).exists(), f"{document}: {named}"
        path = CHECKOUT / document
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{document}: {target}"


def test_what_is_installed_has_everything_it_needs(tmp_path: Path, sandbox: Sandbox) -> None:
    """A wheel holds the provider files, which a checkout has elsewhere."""
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target"]
    subprocess.run([*command, str(tmp_path / "site"), str(CHECKOUT)], check=True)
    python = (sys.executable, "-P", "-m", "ccmirror_py")
    done = sandbox.run(*python, "providers", env={"PYTHONPATH": str(tmp_path / "site")})
    assert "zai" in done.stdout
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site/ccmirror_py/variants/zai.toml").is_file()


def test_the_tables_of_the_probe_are_what_a_run_shows() -> None:
    command = [sys.executable, str(CHECKOUT / "scripts/tables"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_safety_table_in_the_docs_is_of_all_suites_and_reaches_every_floor() -> None:
    """It is pasted from `scripts/safety`; this holds it to what it says."""
    text = (CHECKOUT / "docs/safety.md").read_text()
    rows = re.findall(r"^\| (\w+) \| ([\d,]+) \| (\d+) \| (\d+) \|$", text, re.MULTILINE)
    counted = {suite: int(cases.replace(",", "")) for suite, cases, _, _ in rows}
    described = re.findall(r"^\| (\w+) \| [^|\d][^|]* \| [^|]+ \|$", text, re.MULTILINE)
    assert list(counted) == [suite for suite in FLOORS if suite in counted]
    assert set(described) - {"suite"} == set(FLOORS)
    assert all(cases >= FLOORS[suite] for suite, cases in counted.items())
    assert {violations for _, _, violations, _ in rows} == {"0"}
