"""The short way answers what typer's commands answer, and leaves to them what is unusual."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ccmirror_py.cli import shortcut
from ccmirror_py.cli.app import _COMMANDS
from tests.conftest import Sandbox, make_sandbox
from tests.npm_registry import NpmRegistry

ONE_DOOR = """
import sys
from ccmirror_py.cli import main, shortcut
if sys.argv.pop(1) == "typer":
    shortcut.answered = lambda words: False
main.main()
if "typer" not in sys.modules:
    sys.stderr.write("answered at once")
"""
WORDS = (
    *(
        ("which", name)
        for name in ("e", "zai", "none", "zaj", "E", "", ".", "../e", "-h", "--json")
    ),
    *(("which",), ("which", "e", "zai"), ("which", "--", "e"), ("which", "e", "--json")),
    *(("list",), ("ls",), ("list", "--json"), ("ls", "--json"), ("list", "-h"), ("list", "x")),
    *(("list", "--json", "--json"), ("--json", "list"), ("--debug", "list")),
)
DAMAGED = ("none", "gone", "text", "list", "other", "newer", "older", "rule", "nul", "key", "deep")


def spoil(record: Path, damage: str) -> None:
    document = json.loads(record.read_text())
    changed = {
        "text": "{",
        "list": "[]",
        "other": json.dumps(document | {"name": "zai"}),
        "newer": json.dumps(document | {"schema": 2}),
        "older": json.dumps(document | {"version": "2.1.100"}),
        "rule": json.dumps(document | {"spec": "newest \x1b[31m"}),
        "nul": json.dumps(document | {"provider": "\0"}),
        "key": json.dumps(document | {"credential": {"from": "variable", "name": "UNSET_KEY"}}),
        "deep": "[" * 100_000,
    }
    record.unlink()
    if damage in changed:
        record.write_text(changed[damage])


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """`e` and `zai` are right; the others are named after what is wrong with them."""
    home = tmp_path_factory.mktemp("shortcut") / "home"
    with NpmRegistry() as npm:
        npm.publish("2.1.330")
        sandbox = make_sandbox(home, {"NPM_CONFIG_REGISTRY": npm.url})
        sandbox.must("create", "e", "--provider", "echo")
        sandbox.must("create", "zai", "--provider", "zai", "--api-key-stdin", stdin="sk-12345678\n")
    for damage in DAMAGED:
        copy = sandbox.ccm_home / f"d-{damage}"
        shutil.copytree(sandbox.ccm_home / "e", copy, symlinks=True)
        record = copy / "generations/1/variant.json"
        record.write_text(record.read_text().replace('"e"', f'"d-{damage}"'))
        if damage != "none":
            spoil(record, damage)
    shutil.copytree(sandbox.ccm_home / "e", sandbox.ccm_home / "d-link", symlinks=True)
    current = sandbox.ccm_home / "d-link/current"
    current.unlink()
    current.symlink_to("../e/generations/1")
    (sandbox.ccm_home / "d-alias").symlink_to("e")
    (sandbox.ccm_home / "d-empty").mkdir()
    (sandbox.ccm_home / "UPPER").mkdir()
    (sandbox.ccm_home / "zai/generations/1/credential").unlink()
    return sandbox


def answer(door: str, sandbox: Sandbox, *words: str, **environ: str | None) -> tuple[int, str, str]:
    env = {k: v for k, v in {**sandbox.environ, **environ}.items() if v is not None}
    done = subprocess.run(
        [sys.executable, "-P", "-c", ONE_DOOR, door, *words],
        env=env,
        cwd=sandbox.home,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def same(sandbox: Sandbox, *words: str, **environ: str | None) -> bool:
    """Whether the short way was taken; either way the answers are the same."""
    short = answer("short", sandbox, *words, **environ)
    code, out, err = answer("typer", sandbox, *words, **environ)
    at_once = short[2].endswith("answered at once")
    assert (short[0], short[1], short[2].removesuffix("answered at once")) == (code, out, err)
    return at_once


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_both_doors_say_the_same(variants: Sandbox, words: tuple[str, ...]) -> None:
    right = words in (("which", "e"), ("which", "zai"))
    listed = words[0] in ("list", "ls") and words[1:] in ((), ("--json",))
    assert same(variants, *words) is (right or listed)


@pytest.mark.parametrize("damage", [*DAMAGED, "link", "alias", "empty"])
def test_of_a_damaged_variant_too(variants: Sandbox, damage: str) -> None:
    is_readable = damage in ("none", "older", "key")
    assert same(variants, "which", f"d-{damage}") is is_readable


ODD: dict[str, dict[str, str | None]] = {
    "relative": {"CCM_HOME": "ccm"},
    "unprintable": {"CCM_HOME": "/tmp/\x1b[31m"},
    "nothing there": {"CCM_HOME": "/nonexistent/ccm"},
    "a file": {"CCM_HOME": "/dev/null"},
    "slashes": {"CCM_HOME": "HOME//.ccm/./"},
    "a link": {"CCM_HOME": "HOME/link"},
    "empty": {"CCM_HOME": ""},
    "no home": {"HOME": None},
    "an empty home": {"HOME": ""},
    "a relative home": {"HOME": "x"},
    "commands elsewhere": {"CCM_BIN_DIR": "/nonexistent/bin"},
    "commands at an odd place": {"CCM_BIN_DIR": "bin"},
    "a key": {"UNSET_KEY": "sk-12345678"},
}


@pytest.mark.parametrize("odd", ODD)
def test_in_an_odd_environment_too(variants: Sandbox, odd: str) -> None:
    link = variants.home / "link"
    if not link.is_symlink():
        link.symlink_to(".ccm")
    home = str(variants.home)
    environ = {k: v and v.replace("HOME", home) for k, v in ODD[odd].items()}
    completing = {"COMP_WORDS": "ccm show ", "COMP_CWORD": "2", "_CCM_COMPLETE": "complete_bash"}
    same(variants, "which", "e", **environ)
    same(variants, "list", **environ)
    same(variants, **{**environ, **completing})


def completed(line: str, shell: str) -> dict[str, str | None]:
    if shell == "bash":
        words = line.split(" ")
        place = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    else:
        place = {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    return {**place, "_CCM_COMPLETE": f"complete_{shell}"}


@pytest.mark.parametrize("command", sorted({*_COMMANDS, "key", "trash", "nothing"}))
def test_names_are_completed_as_typer_completes_them(variants: Sandbox, command: str) -> None:
    takes_name = command in (*shortcut._ONE_NAME, *shortcut._NAMES)
    assert same(variants, **completed(f"ccm {command} z", "bash")) is takes_name
    assert same(variants, **completed(f"ccm {command} e z", "bash")) is (command in shortcut._NAMES)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("typed", ["show ", "show d-", "show nope", "update e ", "show 'e", "sh"])
def test_for_every_shell(variants: Sandbox, shell: str, typed: str) -> None:
    at_once = typed.startswith(("show", "update")) and "'" not in typed
    assert same(variants, **completed(f"ccm {typed}", shell)) is at_once


@pytest.mark.parametrize(
    "environ",
    [
        {"_CCM_COMPLETE": "complete_bash"},
        {"_CCM_COMPLETE": "complete_bash", "COMP_WORDS": "ccm show z", "COMP_CWORD": "9"},
        {"_CCM_COMPLETE": "complete_bash", "COMP_WORDS": "ccm show z", "COMP_CWORD": "x"},
        {"_CCM_COMPLETE": "complete_bash", "COMP_WORDS": "ccm show z", "COMP_CWORD": "-1"},
        {"_CCM_COMPLETE": "complete_bash", "COMP_WORDS": "ccm show --j", "COMP_CWORD": "2"},
        {"_CCM_COMPLETE": "complete_bash", "COMP_WORDS": "ccm show -- z", "COMP_CWORD": "3"},
        {"_CCM_COMPLETE": "source_bash"},
        {"_CCM_COMPLETE": "complete_tcsh", "_TYPER_COMPLETE_ARGS": "ccm show z"},
        {"_CCM_COMPLETE": "complete_fish", "_TYPER_COMPLETE_ARGS": "ccm show z"},
        {"_CCM_COMPLETE": "1"},
    ],
)
def test_other_questions_of_a_shell_go_to_typer(
    variants: Sandbox, environ: dict[str, str | None]
) -> None:
    short = answer("short", variants, **environ)
    assert "answered at once" not in short[2]
    if "Traceback" not in short[2]:
        assert short == answer("typer", variants, **environ)
