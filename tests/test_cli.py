"""`ccm` as a user meets it: in a process of its own, with a loopback registry and stand-ins."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.conftest import CCM, Sandbox, make_sandbox
from tests.npm_registry import METADATA, TARBALL, NpmRegistry, Wire, answer, flipped, program

Done = subprocess.CompletedProcess[str]
KEY = "sk-secret-0123456789"
COMMANDS = (
    *("create", "list", "ls", "show", "run", "update", "pin", "unpin", "rollback", "remove", "rm"),
    *("key", "key set", "key show", "key test", "key remove", "env", "which", "versions"),
    *("providers", "providers show", "doctor", "verify", "prune", "echo", "completion"),
)
READING = (
    *("list", "ls", "list --outdated", "show zai", "env zai", "env zai --format json"),
    *("versions", "versions --available", "providers", "providers show zai", "key show zai"),
    *("doctor", "doctor zai e", "verify", "prune --dry-run", "update --all --dry-run", "which zai"),
)


def furnish(home: Path, npm: NpmRegistry) -> Sandbox:
    """A user with the variants `e` (echo, newest) and `zai` (one version behind, a stored key)."""
    npm.publish("2.1.329")
    npm.publish("2.1.330")
    sandbox = make_sandbox(home, {"NPM_CONFIG_REGISTRY": npm.url})
    sandbox.must("create", "e", "--provider", "echo")
    exact = ("--claude-version", "2.1.329", "--api-key-stdin")
    sandbox.must("create", "zai", "--provider", "zai", *exact, stdin=f"{KEY}\n")
    return sandbox


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Made once, for the commands that change nothing."""
    with NpmRegistry() as npm:
        yield furnish(tmp_path_factory.mktemp("reader") / "home", npm)


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once, for `user` to come back to: launchers and records hold its path."""
    home = tmp_path_factory.mktemp("user") / "home"
    with NpmRegistry() as npm:
        furnish(home, npm)
    subprocess.run(["cp", "-a", home, home.with_name("as it was")], check=True)
    return home


@pytest.fixture
def user(furnished: Path, npm: NpmRegistry) -> Sandbox:
    """The same for tests that change it: each finds it as it was made."""
    subprocess.run(["rm", "-rf", furnished], check=True)
    subprocess.run(["cp", "-a", furnished.with_name("as it was"), furnished], check=True)
    npm.publish("2.1.329")
    npm.publish("2.1.330")
    return make_sandbox(furnished, {"NPM_CONFIG_REGISTRY": npm.url})


def ccm(sandbox: Sandbox, line: str, **options: Any) -> Done:
    """`ccm` with the words of a shell line; what waits for ever fails after ten seconds."""
    return sandbox.run(CCM, *shlex.split(line), **{"timeout": 10, **options})


def told(done: Done) -> tuple[int, str, list[str]]:
    """Exit code, standard output, lines of standard error.

    Never a traceback, a key, or an escape code, which pipes don't get.
    """
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert KEY not in done.stdout + done.stderr
    return done.returncode, done.stdout, done.stderr.splitlines()


def everything(top: Path) -> dict[str, tuple[int, str]]:
    """Every path below `top` with its mode and its content or target."""
    found = {}
    for path in sorted(top.rglob("*")):
        state = path.lstat()
        content = str(path.readlink()) if path.is_symlink() else ""
        if stat.S_ISREG(state.st_mode):
            content = path.read_bytes().hex()
        found[str(path.relative_to(top))] = (state.st_mode, content)
    return found


def record(sandbox: Sandbox, name: str) -> dict[str, Any]:
    text = (sandbox.ccm_home / name / "variant.json").read_text()
    document: dict[str, Any] = json.loads(text)
    return document


def generation(sandbox: Sandbox, name: str) -> Path:
    return (sandbox.ccm_home / name / "current").resolve()


# --- what commands say -------------------------------------------------------------------------


def test_ccm_alone_shows_a_newcomer_the_first_step(sandbox: Sandbox) -> None:
    code, out, err = told(ccm(sandbox, ""))
    assert (code, err) == (0, [])
    assert "ccm create zai --provider zai" in out
    assert len(out.splitlines()) < 10
    assert not sandbox.ccm_home.exists()


def test_ccm_alone_shows_where_things_stand_and_the_next_step(reader: Sandbox) -> None:
    code, out, err = told(ccm(reader, ""))
    lines = out.splitlines()
    assert (code, err) == (0, [])
    assert lines[0].split() == ["NAME", "PROVIDER", "VERSION", "RULE", "KEY", "CHANGED", "STATE"]
    assert [line.split()[:4] for line in lines[1:3]] == [
        ["e", "echo", "2.1.330", "latest"],
        ["zai", "zai", "2.1.329", "2.1.329"],
    ]
    assert lines[-1] == "Next: e, or: ccm update --all"


def test_the_next_step_of_a_missing_key_is_to_set_it(sandbox: Sandbox, npm: NpmRegistry) -> None:
    npm.publish("2.1.330")
    env = {"DEEPSEEK_API_KEY": KEY}
    sandbox.must("create", "ds", "--provider", "deepseek", env=env)
    assert (
        ccm(sandbox, "").stdout.splitlines()[-1]
        == "Next: export DEEPSEEK_API_KEY, or: ccm key set ds"
    )
    assert ccm(sandbox, "", env=env).stdout.splitlines()[-1] == "Next: ds, or: ccm update --all"


def test_the_next_step_of_a_broken_variant_is_to_mend_it_whatever_its_name(
    sandbox: Sandbox, npm: NpmRegistry
) -> None:
    npm.publish("2.1.330")
    sandbox.must("create", "monkey", "--provider", "echo")
    (generation(sandbox, "monkey") / "variant.json").unlink()
    assert ccm(sandbox, "").stdout.splitlines()[-1] == "Next: ccm doctor --fix monkey"


def test_create_ends_with_how_to_run_it(sandbox: Sandbox, npm: NpmRegistry) -> None:
    npm.publish("2.1.330")
    done = ccm(sandbox, "create zai --provider zai --api-key-stdin", stdin=f"{KEY}\n")
    assert told(done) == (
        0,
        "zai is ready: Claude Code 2.1.330 for Z.ai, key: stored (0600).\n"
        "  run it         zai\n"
        "  checked        integrity only, no signature\n"
        "  look at it     ccm show zai, ccm doctor zai\n"
        "  check provider ccm probe zai\n",
        [],
    )


def test_a_subscription_is_told_how_to_log_in(sandbox: Sandbox, npm: NpmRegistry) -> None:
    npm.publish("2.1.330")
    out = sandbox.must("create", "cc", "--provider", "mirror", "--shadow")
    assert "/login" in out
    assert record(sandbox, "cc")["credential"] == {"from": "none"}


def test_a_folder_that_is_not_on_path_is_told(sandbox: Sandbox, npm: NpmRegistry) -> None:
    npm.publish("2.1.330")
    env = {"PATH": "/usr/bin:/bin"}
    code, _, err = told(ccm(sandbox, "create e --provider echo", env=env))
    assert (code, err) == (
        0,
        [
            f"{sandbox.bin_dir} is not on your PATH yet. Add this to your shell's start file:",
            f'  export PATH="{sandbox.bin_dir}:$PATH"',
        ],
    )
    code, out, _ = told(ccm(sandbox, "doctor", env=env))
    assert code == 1
    assert f"{sandbox.bin_dir} is not on PATH" in out


def test_list_and_ls_are_the_same_and_tell_what_is_there(reader: Sandbox) -> None:
    code, out, err = told(ccm(reader, "list"))
    assert (code, err) == (0, [])
    assert ccm(reader, "ls").stdout == out
    assert [re.split(r"  +", line) for line in out.splitlines()[1:]] == [
        ["e", "echo", "2.1.330", "latest", "none", "now", "ok"],
        ["zai", "zai", "2.1.329", "2.1.329", "stored (0600)", "now", "ok"],
    ] or "min" in out


def test_an_empty_list_is_said_beside_the_output(sandbox: Sandbox) -> None:
    assert told(ccm(sandbox, "list")) == (0, "", ["There are no variants yet."])
    assert told(ccm(sandbox, "versions")) == (0, "", ["Nothing is installed yet."])
    assert not sandbox.ccm_home.exists()


def test_show_tells_what_a_variant_is(reader: Sandbox) -> None:
    code, out, err = told(ccm(reader, "show zai"))
    facts = dict(line.split(None, 1) for line in out.splitlines())
    assert (code, err) == (0, [])
    assert facts["endpoint"] == "https://api.z.ai/api/anthropic"
    assert facts["version"] == "2.1.329 (rule: 2.1.329)"
    assert facts["key"] == "stored (0600)"
    assert facts["launcher"] == str(reader.launcher("zai"))
    assert facts["state"] == "ok"


def test_env_is_what_the_launcher_sets_in_three_forms(reader: Sandbox) -> None:
    document = json.loads(ccm(reader, "env zai --json").stdout)
    environment = document["environment"]
    assert environment.pop("ANTHROPIC_AUTH_TOKEN") == "*** (stored (0600))"
    seen = json.loads(reader.run(reader.launcher("zai")).stdout)["env"]
    assert {name: seen[name] for name in environment} == environment
    text = ccm(reader, "env zai").stdout.splitlines()
    assert text[:-1] == [f"{name}={value}" for name, value in environment.items()]
    shell = ccm(reader, "env zai --format shell").stdout
    names = " ".join(environment)
    script = f'{shell}\nfor n in {names}; do eval "printf \'%s\\n\' \\"\\${{$n}}\\""; done'
    assert reader.run("sh", "-c", script).stdout.splitlines() == list(environment.values())


def test_which_is_the_program_the_launcher_starts(reader: Sandbox) -> None:
    path = ccm(reader, "which zai").stdout.rstrip("\n")
    assert json.loads(reader.run(reader.launcher("zai")).stdout)["program"] == path


def test_versions_tell_who_uses_what(reader: Sandbox) -> None:
    out = ccm(reader, "versions").stdout
    assert [line.split() for line in out.splitlines()[1:]] == [
        ["2.1.329", "claude-code-linux-x64", "zai"],
        ["2.1.330", "claude-code-linux-x64", "e"],
    ]
    available = ccm(reader, "versions --available").stdout
    assert available == "2.1.329\n2.1.330\nlatest: 2.1.330\n"


def test_providers_are_listed_and_shown(reader: Sandbox) -> None:
    code, out, _ = told(ccm(reader, "providers"))
    assert code == 0
    ids = [line.split()[0] for line in out.splitlines()[1:] if line]
    assert {"custom", "deepseek", "echo", "mirror", "openrouter", "zai"} <= set(ids)
    assert len(set(ids)) >= 48
    code, out, _ = told(ccm(reader, "providers show zai"))
    assert code == 0
    assert "https://api.z.ai/api/anthropic" in out
    assert "ZAI_API_KEY" in out


def test_doctor_and_verify_find_a_good_state_good(reader: Sandbox) -> None:
    code, out, err = told(ccm(reader, "doctor"))
    assert (code, err) == (0, ["Never tried on its provider: e, zai. Try: ccm probe e"])
    assert {line.split()[0] for line in out.splitlines()[1:]} == {"ok"}
    code, out, err = told(ccm(reader, "verify"))
    assert (code, err) == (0, [])
    assert {line.partition(": ")[0] for line in out.splitlines()} == {"ok"}
    assert len(out.splitlines()) == 4


def test_update_pin_unpin_rollback_and_remove_tell_what_became_of_it(
    user: Sandbox, npm: NpmRegistry
) -> None:
    npm.publish("2.1.331")
    steps = [
        (
            "update --dry-run --all",
            "e: 2.1.330 would become 2.1.331\nzai: 2.1.329, nothing to do\n",
        ),
        ("list --outdated", None),
        ("update e", "e: 2.1.330 -> 2.1.331\n"),
        ("update e", "e: 2.1.331, nothing to do\n"),
        ("pin e", "e stays at 2.1.331.\n"),
        (
            "pin e '<2.1.331'",
            "e: 2.1.331 -> 2.1.330 (older)\n"
            "e stays within <2.1.331 (now 2.1.330); see: ccm update e\n",
        ),
        ("update e", "e: 2.1.330, nothing to do\n"),
        ("unpin e", "e follows latest (now 2.1.330); see: ccm update e\n"),
        ("update --all", "e: 2.1.330 -> 2.1.331\nzai: 2.1.329, nothing to do\n"),
        ("rollback e", "e: 2.1.331 -> 2.1.330\n"),
        ("update zai --claude-version 2.1.x", "zai: 2.1.329 -> 2.1.331\n"),
        ("prune --dry-run", None),
        (
            "key remove zai",
            "zai: its stored key is gone; from now on the key comes from $ZAI_API_KEY.\n",
        ),
        ("key show zai", "$ZAI_API_KEY\n"),
        (
            "remove zai --yes",
            "zai is gone.\n"
            "  within 30 days it comes back, key included, with: ccm trash restore zai\n"
            "  take it off the disk now: ccm trash empty zai\n",
        ),
        (
            "rm e --yes --keep-config --purge",
            f"e is gone.\n  kept for a new one: {user.ccm_home / 'e' / 'config'}\n",
        ),
        ("prune", None),
        ("versions", ""),
    ]
    for line, expected in steps:
        code, out, _ = told(ccm(user, line))
        assert code == 0, line
        assert expected is None or out == expected
    assert os.listdir(user.ccm_home / "e") == ["config"]
    assert os.listdir(user.bin_dir) == []


def test_a_rule_that_changes_nothing_else_is_a_change(user: Sandbox) -> None:
    for option in ("-n", ""):
        out = told(ccm(user, f"update e --claude-version 2.1.x {option}"))[1]
        assert out.endswith("     rule latest -> 2.1.x\n")
    assert record(user, "e")["spec"] == "2.1.x"
    assert told(ccm(user, "update e --claude-version 2.1.x"))[1] == "e: 2.1.330, nothing to do\n"


def test_a_list_of_the_outdated_calls_nothing_current_it_could_not_ask_about(user: Sandbox) -> None:
    code, out, err = told(
        ccm(user, "list --outdated", env={"NPM_CONFIG_REGISTRY": "http://127.0.0.1:9/"})
    )
    assert (code, out, "Everything is current." in err) == (1, "", False)


def test_remove_says_what_goes_before_it_goes(user: Sandbox) -> None:
    before = everything(user.home)
    code, out, err = told(ccm(user, "remove zai"))
    assert (code, out) == (2, "")
    assert err == [
        "Removing zai moves to the trash:",
        f"  {user.ccm_home}/zai/ (program, key, settings)",
        f"  {user.ccm_home}/zai/config/ (config and 0 recorded sessions)",
        f"  {user.bin_dir}/zai",
        "ccm: Nobody is there to agree.",
        "     Add --yes.",
    ]
    assert everything(user.home) == before


def test_remove_takes_away_all_it_made_and_nothing_else(sandbox: Sandbox, npm: NpmRegistry) -> None:
    npm.publish("2.1.330")
    (sandbox.home / "mine").write_text("mine")
    sandbox.bin_dir.mkdir(parents=True)
    (sandbox.bin_dir / "other").write_text("other")
    before = {path: state for path, state in everything(sandbox.home).items() if ".ccm" not in path}
    sandbox.must("create", "e", "--provider", "echo")
    sandbox.must("remove", "e", "--yes")
    after = {path: state for path, state in everything(sandbox.home).items() if ".ccm" not in path}
    assert after == before
    assert not (sandbox.ccm_home / "e").exists()


def test_what_the_user_put_beside_a_variant_stays(user: Sandbox) -> None:
    (user.ccm_home / "e" / "notes.txt").write_text("mine")
    user.must("remove", "e", "--yes")
    assert os.listdir(user.ccm_home / "e") == ["notes.txt"]


@pytest.mark.parametrize("line", [line for line in READING if "--format" not in line])
def test_reading_commands_give_one_json_document_and_change_nothing(
    reader: Sandbox, line: str
) -> None:
    before = everything(reader.home)
    code, out, err = told(ccm(reader, f"{line} --json"))
    assert (code, err) == (0, [])
    if not re.search("available|outdated|update", line):  # these may remember an answer
        assert everything(reader.home) == before
    document = json.loads(out)
    assert document["schema"] == 1
    assert out == json.dumps(document, indent=2, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("line", ["list", "versions", "doctor", "verify", "prune", "update --all"])
def test_json_of_nothing_is_a_document_too(sandbox: Sandbox, line: str) -> None:
    code, out, err = told(ccm(sandbox, f"{line} --json"))
    assert (code, err) == (0, [])
    assert json.loads(out)["schema"] == 1


def test_the_json_of_a_list_says_what_show_says(reader: Sandbox) -> None:
    variants = json.loads(ccm(reader, "list --json").stdout)["variants"]
    shown = [json.loads(ccm(reader, f"show {n} --json").stdout)["variant"] for n in ("e", "zai")]
    assert variants == shown
    assert [variant["state"] for variant in variants] == ["ok", "ok"]


# --- exit codes and mistakes -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "near"),
    [
        ("lst", "list"),
        ("crate x", "create"),
        ("updat", "update"),
        ("key st zai", "set"),
        ("list --jsno", "--json"),
        ("create x --provder zai", "--provider"),
        ("update --al", "--all"),
    ],
)
def test_an_unknown_word_is_a_usage_error_that_names_the_near_one(
    sandbox: Sandbox, line: str, near: str
) -> None:
    code, out, err = told(ccm(sandbox, line))
    assert (code, out) == (2, "")
    assert re.search(r"[Dd]id you mean|[Pp]ossible options", err[-1])
    assert near in err[-1]


@pytest.mark.parametrize(
    "line",
    [
        *("frobnicate", "--frobnicate", "create", "show", "create x --context-window many"),
        *("update", "update --all zai", "create x --context-window 5", "env zai --format xml"),
        *("completion powershell", "create e --provider echo --claude-version '>2'"),
        *("create e --provider echo --model ''", "create e --provider echo --env A"),
        *("create e --provider echo --env ANTHROPIC_API_KEY=x", "echo --port 99999"),
        *("create c --provider custom --base-url example.com", "create c --provider custom"),
        *("create c --provider custom --base-url https://a:b@example.com/x --model m",),
        *("create e --provider echo --inherit A-B", "create e --provider echo --auth basic"),
        *("create e --provider echo --inherit ANTHROPIC_BASE_URL",),
        *("create o --provider openrouter", "create o --provider openrouter --model-opus m"),
        *("create z --provider zai --api-key-stdin --api-key-env ZAI_API_KEY",),
        *("create z --provider zai --api-key-command ''", "create e --provider echo --api-key k"),
        *("create z --provider zai --api-key-command 'unbalanced \"quote'",),
        *("create z --provider zai --api-key-command false", "create 1 2 --provider echo"),
        *("create z --provider zai --api-key-command no-such-command-anywhere",),
        *("create z --provider zai --api-key-stdin",),
        *("create e --provider echo --arg --settings --arg x", "theme", "guidance"),
        *("create e --provider echo --arg=--settings=x",),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_happens(
    sandbox: Sandbox, npm: NpmRegistry, line: str
) -> None:
    code, out, err = told(ccm(sandbox, line))
    if line.startswith(("env", "show ")):
        assert code in (2, 3)
    else:
        assert code == 2
    assert out == ""
    assert err
    assert (npm.requests, list(sandbox.home.iterdir())) == ((), [])


@pytest.mark.parametrize(
    "line",
    [
        *("show nope", "env nope", "which nope", "update nope", "pin nope", "unpin nope"),
        *("rollback nope", "remove nope --yes", "key set nope --api-key-stdin", "key show nope"),
        *("key remove nope", "doctor nope", "run nope", "providers show nope"),
        *("create x --provider nope", "doctor --fix nope", "update --dry-run nope"),
    ],
)
def test_what_is_not_there_is_exit_3(sandbox: Sandbox, npm: NpmRegistry, line: str) -> None:
    code, out, err = told(ccm(sandbox, line))
    assert (code, out) == (3, "")
    assert len(err) <= 2
    assert (npm.requests, [p.name for p in sandbox.home.iterdir() if p.name != ".ccm"]) == ((), [])


def test_a_near_variant_and_a_near_provider_are_suggested(reader: Sandbox) -> None:
    assert told(ccm(reader, "show zia")) == (
        3,
        "",
        ["ccm: There is no variant 'zia'.", "     Did you mean 'zai'?"],
    )
    assert told(ccm(reader, "create x --provider deepsek")) == (
        3,
        "",
        ["ccm: There is no provider 'deepsek'.", "     Did you mean 'deepseek'?"],
    )


def test_a_refusing_registry_is_exit_4_and_nothing_is_made(
    sandbox: Sandbox, npm: NpmRegistry
) -> None:
    npm.publish("2.1.330")
    npm.fail(METADATA, answer(401))
    code, out, err = told(ccm(sandbox, "create e --provider echo"))
    assert (code, out) == (4, "")
    assert err[-1].strip() == "Log in with `npm login`, or check the _authToken in your .npmrc."
    assert not (sandbox.ccm_home / "e").exists()
    assert not sandbox.launcher("e").is_symlink()


def test_a_registry_nobody_answers_at_is_exit_4(sandbox: Sandbox) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        env = {"NPM_CONFIG_REGISTRY": f"http://127.0.0.1:{unused.getsockname()[1]}/"}
    code, out, err = told(ccm(sandbox, "versions --available", env=env, timeout=30))
    assert (code, out, len(err)) == (4, "", 2)


def test_wrong_bytes_are_exit_5_and_nothing_is_made(sandbox: Sandbox, npm: NpmRegistry) -> None:
    npm.publish("2.1.330")
    npm.fail(TARBALL, flipped(99))
    code, out, err = told(ccm(sandbox, "create e --provider echo"))
    assert (code, out, len(err)) == (5, "", 2)
    assert not (sandbox.ccm_home / "e").exists()
    assert not sandbox.launcher("e").is_symlink()
    assert list((sandbox.ccm_home / ".staging").iterdir()) == []


@pytest.mark.parametrize(
    "code", [b"", b"garbage", b"#!/bin/sh\nexit 1\n", program("2.1.331"), b"#!/no/such/thing\n"]
)
def test_a_program_that_does_not_start_is_exit_5_and_changes_nothing(
    user: Sandbox, npm: NpmRegistry, code: bytes
) -> None:
    npm.publish("2.1.332", program=code or b"\x7fELF")
    before = record(user, "e")
    done = told(ccm(user, "update e"))
    assert (done[0], done[1]) == (5, "")
    assert record(user, "e") == before
    assert ccm(user, "doctor e").returncode == 0


def sleeping(version: str) -> bytes:
    """A stand-in that runs until its input ends."""
    answer = f"[ \"$1\" = --version ] && echo '{version} (Claude Code)' && exit"
    return f"#!/bin/sh\n{answer}\nread -r line\n".encode()


def test_a_running_variant_is_exit_6_for_remove_and_updates_go_on(
    sandbox: Sandbox, npm: NpmRegistry
) -> None:
    npm.publish("2.1.329", program=sleeping("2.1.329"))
    npm.publish("2.1.330")
    sandbox.must("create", "e", "--provider", "echo", "--claude-version", "2.1.329")
    with subprocess.Popen(
        [sandbox.launcher("e")], env=dict(sandbox.environ), stdin=subprocess.PIPE
    ) as session:
        time.sleep(0.3)
        code, out, err = told(ccm(sandbox, "remove e --yes"))
        assert (code, out) == (6, "")
        assert err[-2] == f"ccm: 'e' is running (process {session.pid})."
        assert sandbox.launcher("e").is_symlink()
        sandbox.must("update", "e", "--claude-version", "latest")
        assert session.poll() is None
        assert told(ccm(sandbox, "remove e --yes --force"))[0] == 0
        session.communicate(b"\n")


def test_of_several_to_be_removed_none_goes_while_one_is_running(
    sandbox: Sandbox, npm: NpmRegistry
) -> None:
    npm.publish("2.1.329", program=sleeping("2.1.329"))
    for name in ("a", "b"):
        sandbox.must("create", name, "--provider", "echo")
    with subprocess.Popen(
        [sandbox.launcher("b")], env=dict(sandbox.environ), stdin=subprocess.PIPE
    ) as session:
        time.sleep(0.3)
        code, out, err = told(ccm(sandbox, "remove a b --yes"))
        assert (code, out) == (6, "")
        assert err[0] == f"ccm: 'b' is running (process {session.pid})."
        assert sandbox.launcher("a").is_symlink()
        session.communicate(b"\n")


def test_a_damaged_record_is_exit_7(user: Sandbox) -> None:
    (generation(user, "e") / "variant.json").write_text("{")
    for line in ("show e", "env e", "which e", "pin e", "rollback e", "run e", "key show e"):
        code, out, err = told(ccm(user, line))
        assert (code, out) == (7, ""), line
        assert err[-1].strip() == "Run: ccm doctor --fix e"


def test_an_operating_system_error_is_a_sentence(sandbox: Sandbox, npm: NpmRegistry) -> None:
    npm.publish("2.1.330")
    (sandbox.home / "file").write_text("")
    env = {"CCM_HOME": str(sandbox.home / "file" / "below")}
    code, out, err = told(ccm(sandbox, "create e --provider echo", env=env))
    assert (code, out) == (1, "")
    assert err[0].startswith(f"ccm: {sandbox.home}/file")


@pytest.mark.parametrize(
    "registry", ["http://[x", "ftp://example.com/", "not a url", "http://127.0.0.1:99999999/"]
)
def test_a_registry_setting_that_is_none_is_a_sentence(sandbox: Sandbox, registry: str) -> None:
    done = ccm(sandbox, "versions --available", env={"NPM_CONFIG_REGISTRY": registry}, timeout=30)
    code, out, err = told(done)
    assert code in (2, 4)
    assert (out, len(err)) == ("", 2)


def test_debug_shows_where_an_error_comes_from(reader: Sandbox) -> None:
    plain, debug = ccm(reader, "show nope"), ccm(reader, "--debug show nope")
    assert "Traceback" not in plain.stderr
    assert debug.stderr.startswith("Traceback")
    assert debug.returncode != 0
    assert ccm(reader, "--debug list").stdout == ccm(reader, "list").stdout


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_command_has_help(sandbox: Sandbox, command: str) -> None:
    code, out, err = told(ccm(sandbox, f"{command} --help"))
    assert (code, err) == (0, [])
    assert out.startswith(f"Usage: ccm {command}".rstrip())
    assert len(out.split("\n\n")) >= 2
    assert not list(sandbox.home.iterdir())


def test_the_help_of_ccm_names_every_command(sandbox: Sandbox) -> None:
    out = ccm(sandbox, "--help").stdout
    listed = set(re.findall(r"^  ([a-z]+)  ", out, re.MULTILINE))
    shown = {command for command in COMMANDS if " " not in command} - {"ls", "rm"}
    assert shown <= listed
    for line in out.partition("Commands:")[2].splitlines():
        assert not re.fullmatch(r"  [a-z]+ *", line), f"{line} has no help"


def test_version_is_one_line(sandbox: Sandbox) -> None:
    assert re.fullmatch(r"ccm \d+\.\d+\.\d+\n", ccm(sandbox, "--version").stdout)
    assert ccm(sandbox, "-V").stdout == ccm(sandbox, "--version").stdout


# --- names -------------------------------------------------------------------------------------

BAD_NAMES = (
    *("../x", "..", ".", "", "/tmp/x", "a/b", "-x", ".x", "x.", "x y", "a" * 41, "\x1b[31m"),
    *("claude", "ccm", "cd", "con", "nul.txt", "lpt9", "Zai", "$(x)", "zai\n"),
    *("z\u00e4i", "za\u0308i", "\uff5aai", "z\u0430i", "za\u200bi"),
)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_cannot_be_one_is_refused_before_anything_happens(
    sandbox: Sandbox, npm: NpmRegistry, name: str
) -> None:
    done = sandbox.run(CCM, "create", "--provider", "echo", "--", name, timeout=10)
    code, out, err = told(done)
    assert (code, out) == (2, "")
    assert "\x1b" not in done.stderr
    assert err
    assert (npm.requests, list(sandbox.home.iterdir())) == ((), [])


@pytest.mark.parametrize("name", ["git", "sh", "awk"])
def test_the_name_of_a_command_is_refused_unless_hiding_it_is_wanted(
    sandbox: Sandbox, npm: NpmRegistry, name: str
) -> None:
    commands = sandbox.home / "commands"
    commands.mkdir()
    (commands / name).write_text("#!/bin/sh\n")
    (commands / name).chmod(0o755)
    env = {"PATH": f"{sandbox.bin_dir}:{commands}"}
    code, out, err = told(ccm(sandbox, f"create {name} --provider echo", env=env))
    assert (code, out, err) == (
        2,
        "",
        [
            f"ccm: '{name}' is already the command {commands / name}.",
            "     Choose another name, or hide that command with --shadow.",
        ],
    )
    assert (npm.requests, os.listdir(sandbox.home)) == ((), ["commands"])
    npm.publish("2.1.330")
    env = {"PATH": f"{sandbox.bin_dir}:{commands}:/usr/bin:/bin"}
    assert ccm(sandbox, f"create {name} --provider echo --shadow", env=env).returncode == 0


@pytest.mark.parametrize("kind", ["file", "directory", "link", "dangling link", "fifo"])
def test_what_is_at_the_launchers_place_is_never_touched(
    sandbox: Sandbox, npm: NpmRegistry, kind: str
) -> None:
    sandbox.bin_dir.mkdir(parents=True)
    real = sandbox.home / "the-users-own"
    real.write_text("precious")
    make(kind, sandbox.launcher("e"), real)
    before = everything(sandbox.home)
    for line in ("create e --provider echo", "create e --provider echo --force --shadow"):
        code, out, err = told(ccm(sandbox, line))
        assert (code, out) == (2, "")
        assert err[0] == f"ccm: {sandbox.launcher('e')} exists and was not made by ccm."
    assert (everything(sandbox.home), npm.requests) == (before, ())


def make(kind: str, path: Path, real: Path) -> None:
    if kind == "file":
        path.write_text("#!/bin/sh\necho mine\n")
    elif kind == "directory":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(real)
    elif kind == "dangling link":
        path.symlink_to("nowhere")
    elif kind == "fifo":
        os.mkfifo(path)


@pytest.mark.parametrize("kind", ["file", "directory", "link", "dangling link", "fifo"])
def test_what_is_at_the_variants_place_is_never_touched(
    sandbox: Sandbox, npm: NpmRegistry, kind: str
) -> None:
    sandbox.ccm_home.mkdir(mode=0o700)
    real = sandbox.home / "elsewhere"
    real.mkdir()
    (real / "config").mkdir()
    place = sandbox.ccm_home / "e"
    make(kind, place, real)
    if kind == "directory":
        (place / "mine").write_text("mine")
    before = everything(sandbox.home)
    for line in ("create e --provider echo", "create e --provider echo --force"):
        code, out, err = told(ccm(sandbox, line))
        assert (code, out) == (2, "")
        assert err[0] == f"ccm: {place} exists and was not made by ccm."
    assert (everything(sandbox.home), npm.requests) == (before, ())


def test_a_variant_without_its_current_link_is_named_and_mended(user: Sandbox) -> None:
    before = user.must("show", "e", "--json")
    (user.ccm_home / "e/current").unlink()
    looked = ccm(user, "doctor")
    assert looked.returncode == 1
    assert f"{user.ccm_home}/e/current is gone" in looked.stdout
    assert "to mend e, record: ccm doctor --fix e" in looked.stderr
    refused = told(ccm(user, "create e --provider echo"))
    assert refused[0] == 2
    assert refused[2][1].endswith("ccm doctor --fix e")
    assert ccm(user, "doctor --fix e").returncode == 0
    assert user.must("show", "e", "--json") == before


def test_no_summary_in_the_help_is_cut(sandbox: Sandbox) -> None:
    for line in ("--help", "key --help", "mcp --help", "trash --help", "providers --help"):
        assert "..." not in ccm(sandbox, line).stdout.replace("ARGS]...", "")


def test_a_launcher_replaced_by_the_user_survives_everything(user: Sandbox) -> None:
    user.launcher("e").unlink()
    user.launcher("e").write_text("#!/bin/sh\necho mine\n")
    assert ccm(user, "doctor e").returncode == 1
    assert ccm(user, "doctor --fix e").returncode == 1
    assert ccm(user, "pin e").returncode == 0
    assert ccm(user, "remove e --yes").returncode == 0
    assert user.launcher("e").read_text() == "#!/bin/sh\necho mine\n"


OUTSIDE = (
    *("remove {} --yes", "remove {} --yes --keep-config --force", "update {}", "pin {}"),
    *("rollback {}", "doctor --fix {}", "key remove {}", "key set {} --api-key-stdin", "show {}"),
)


@pytest.mark.parametrize("line", OUTSIDE)
def test_a_path_is_never_taken_for_a_variant(user: Sandbox, line: str) -> None:
    """Other tools keep a link `current` beside `config` too: a deployed web application does."""
    app = user.home / "app"
    (app / "config").mkdir(parents=True)
    (app / "config" / "database.yml").write_text("precious")
    (app / "generations" / "1").mkdir(parents=True)
    (app / "current").symlink_to("generations/1")
    (user.home / "current").symlink_to("app/generations/1")
    before = everything(user.home)
    for name in ("../app", "..", str(app)):
        done = ccm(user, line.format(name), stdin=f"{KEY}\n")
        assert everything(user.home) == before
        assert told(done)[0] in (2, 3)


# --- keys --------------------------------------------------------------------------------------


def test_without_a_terminal_nothing_is_asked_and_the_option_is_named(
    sandbox: Sandbox, npm: NpmRegistry
) -> None:
    cases = {
        "create x": "--provider",
        "create x --provider zai": "--api-key-env VARIABLE, --api-key-stdin, --api-key-keyring",
        "create x --provider openrouter --api-key-stdin": "--model MODEL",
        "create x --provider custom --model m --api-key-stdin": "--base-url",
    }
    for line, option in cases.items():
        code, out, err = told(ccm(sandbox, line, stdin=f"{KEY}\n"))
        assert (code, out) == (2, "")
        assert option in err[-1]
    assert (npm.requests, list(sandbox.home.iterdir())) == ((), [])


@pytest.mark.parametrize(
    "variable",
    ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "DEEPSEEK_API_KEY", "OPENROUTER_API_KEY"],
)
def test_the_key_of_somebody_else_is_never_taken(
    sandbox: Sandbox, npm: NpmRegistry, variable: str
) -> None:
    code, out, err = told(ccm(sandbox, "create zai --provider zai", env={variable: KEY}))
    assert (code, out) == (2, "")
    assert err[0] == "ccm: Z.ai needs a key, and ZAI_API_KEY is not set."
    assert not list(sandbox.home.iterdir())


@pytest.mark.parametrize("variable", ["ANTHROPIC_API_KEY", "DEEPSEEK_API_KEY"])
def test_another_vendors_variable_is_refused_when_named(
    sandbox: Sandbox, npm: NpmRegistry, variable: str
) -> None:
    line = f"create zai --provider zai --api-key-env {variable}"
    code, out, err = told(ccm(sandbox, line, env={variable: KEY}))
    assert (code, out) == (2, "")
    assert err[0].startswith(f"ccm: {variable} is the key of ")
    assert not list(sandbox.home.iterdir())


def test_the_usual_variable_is_taken_as_a_reference(sandbox: Sandbox, npm: NpmRegistry) -> None:
    npm.publish("2.1.330")
    env = {"ZAI_API_KEY": KEY, "ANTHROPIC_API_KEY": "sk-ant-mine"}
    code, _, err = told(ccm(sandbox, "create zai --provider zai", env=env))
    assert (code, err) == (0, ["The key of Z.ai is read from $ZAI_API_KEY at each start."])
    assert record(sandbox, "zai")["credential"] == {"from": "variable", "name": "ZAI_API_KEY"}
    assert not holding(sandbox.home, KEY)
    seen = json.loads(sandbox.run(sandbox.launcher("zai"), env=env).stdout)["env"]
    assert {k: v for k, v in seen.items() if v == KEY and k != "ZAI_API_KEY"} == {
        "ANTHROPIC_AUTH_TOKEN": KEY
    }
    assert "sk-ant-mine" not in seen.values()


def holding(top: Path, text: str) -> list[str]:
    """The files below `top` that hold this text."""
    return [
        str(path.relative_to(top))
        for path in top.rglob("*")
        if path.is_file() and not path.is_symlink() and text.encode() in path.read_bytes()
    ]


def token(sandbox: Sandbox, name: str, env: Mapping[str, str] | None = None) -> str:
    """The key Claude Code gets."""
    seen = json.loads(sandbox.run(sandbox.launcher(name), env=env).stdout)
    return str(seen["env"].get("ANTHROPIC_AUTH_TOKEN"))


def test_a_key_comes_in_three_ways_and_can_be_changed_and_removed(user: Sandbox) -> None:
    stored = user.ccm_home / "zai" / "generations"
    assert token(user, "zai") == KEY
    files = holding(user.home, KEY)
    assert files == [".ccm/zai/generations/1/credential"]
    assert (stored / "1" / "credential").stat().st_mode & 0o777 == 0o600

    user.must("key", "set", "zai", "--api-key-env", "MY_ZAI", env={"MY_ZAI": "sk-variable"})
    assert ccm(user, "key show zai").stdout == "$MY_ZAI\n"
    assert token(user, "zai", {"MY_ZAI": "sk-variable"}) == "sk-variable"
    assert holding(user.home, KEY) == []

    user.must("key", "set", "zai", "--api-key-command", "printf '%s\\n' sk-printed more")
    assert token(user, "zai") == "sk-printed"

    user.must("key", "set", "zai", "--api-key-stdin", stdin="sk-new\nsecond line\n")
    assert token(user, "zai") == "sk-new"

    user.must("key", "remove", "zai")
    assert holding(user.home, "sk-new") == []
    done = user.run(user.launcher("zai"))
    assert done.returncode == 1
    assert done.stderr == "zai: ZAI_API_KEY is not set; export it, or run: ccm key set zai\n"


def test_a_key_that_is_changed_where_it_comes_from_needs_no_command(user: Sandbox) -> None:
    """The keyring: tests/test_keyring.py. What ccm itself stored is changed with `key set`."""
    kept = user.home / "kept"
    user.must("key", "set", "zai", "--api-key-env", "MY_ZAI", env={"MY_ZAI": "sk-1"})
    for key in ("sk-1", "sk-2"):
        assert token(user, "zai", {"MY_ZAI": key}) == key
    kept.write_text("sk-3\n")
    user.must("key", "set", "zai", "--api-key-command", f"cat {kept}")
    made = generation(user, "zai")
    for key in ("sk-3", "sk-4"):
        kept.write_text(f"{key}\n")
        assert token(user, "zai") == key
    assert generation(user, "zai") == made


@pytest.mark.parametrize(
    "typed", ["", "\n", "two words\n", "sk-\x1b[31m\n", "x" * 5000, "k\u00e4y"]
)
def test_what_cannot_be_a_key_is_refused_and_not_repeated(
    user: Sandbox, npm: NpmRegistry, typed: str
) -> None:
    before = record(user, "zai")
    code, out, err = told(ccm(user, "key set zai --api-key-stdin", stdin=typed))
    assert (code, out) == (2, "")
    assert not typed.strip() or typed.strip() not in "".join(err)
    assert record(user, "zai") == before


def test_what_is_not_utf_8_is_no_key_in_any_locale(user: Sandbox) -> None:
    done = subprocess.run(
        [CCM, "key", "set", "zai", "--api-key-stdin"],
        env={**user.environ, "PYTHONIOENCODING": "utf-8:strict"},  # as in en_US.UTF-8
        input=b"sk-\xe4\n",
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"ccm: That is not a key")


def test_a_variable_that_is_not_set_yet_is_told(sandbox: Sandbox, npm: NpmRegistry) -> None:
    npm.publish("2.1.330")
    code, _, err = told(ccm(sandbox, "create zai --provider zai --api-key-env ZAI_API_KEY"))
    assert code == 0
    assert err == ["ZAI_API_KEY is not set here; set it before you start the variant."]


# --- on a terminal -----------------------------------------------------------------------------


def spawn(sandbox: Sandbox, *words: str, env: Mapping[str, str] | None = None) -> Any:
    return pexpect.spawn(
        str(CCM),
        list(words),
        env={**sandbox.environ, **(env or {})},
        cwd=str(sandbox.home),
        encoding="utf-8",
        timeout=15,
    )


def finished(child: Any) -> tuple[int, str]:
    """Exit code, and all that was on the screen since the last expectation."""
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus, child.before


def test_on_a_terminal_the_key_is_asked_for_without_echo_and_stored_for_the_user_alone(
    sandbox: Sandbox, npm: NpmRegistry
) -> None:
    npm.publish("2.1.330")
    child = spawn(sandbox, "create", "zai", "--provider", "zai")
    child.expect("Get a key: https://z.ai")
    child.expect("Key of Z.ai")
    child.waitnoecho(5)
    child.sendline(KEY)
    code, screen = finished(child)
    assert code == 0
    assert KEY not in screen
    assert "zai is ready" in screen
    credential = generation(sandbox, "zai") / "credential"
    assert (credential.read_text(), credential.stat().st_mode & 0o777) == (f"{KEY}\n", 0o600)
    assert holding(sandbox.home, KEY) == [".ccm/zai/generations/1/credential"]


def test_on_a_terminal_what_is_missing_is_asked_for(sandbox: Sandbox, npm: NpmRegistry) -> None:
    npm.publish("2.1.330")
    child = spawn(sandbox, "create", "mine")
    child.expect("Provider")
    child.sendline("custom")
    child.expect("Model for every tier")
    child.sendline("my-model")
    child.expect("Address of the endpoint")
    child.sendline("https://example.com/anthropic")
    child.expect("Key of")
    child.waitnoecho(5)
    child.sendline(KEY)
    assert finished(child)[0] == 0
    found = record(sandbox, "mine")
    assert (found["provider"], found["base_url"]) == ("custom", "https://example.com/anthropic")
    assert set(found["models"].values()) == {"my-model"}


@pytest.mark.parametrize("end", ["\x03", "\x04"], ids=["ctrl-c", "ctrl-d"])
def test_a_question_can_be_left(sandbox: Sandbox, npm: NpmRegistry, end: str) -> None:
    child = spawn(sandbox, "create", "zai", "--provider", "zai")
    child.expect("Key of Z.ai")
    child.waitnoecho(5)
    child.send(end)
    code, screen = finished(child)
    assert code in ((130,) if end == "\x03" else (1, 2, 130))
    assert "Traceback" not in screen
    assert (npm.requests, list(sandbox.home.iterdir())) == ((), [])


@pytest.mark.parametrize(
    ("line", "question"),
    [
        ("create mine", "Provider"),
        ("create mine --provider custom", "Model for every tier"),
        ("remove zai", "Go on"),
    ],
)
@pytest.mark.parametrize("end", ["\x03", "\x04"], ids=["ctrl-c", "ctrl-d"])
def test_any_question_can_be_left(user: Sandbox, line: str, question: str, end: str) -> None:
    child = spawn(user, *line.split())
    child.expect(question)
    child.send(end)
    code, screen = finished(child)
    assert code == 130 if end == "\x03" else code in (1, 2)
    assert "Traceback" not in screen
    assert sorted(os.listdir(user.bin_dir)) == ["e", "zai"]


@pytest.mark.parametrize(("answered", "gone"), [("y", True), ("n", False), ("", False)])
def test_remove_asks_on_a_terminal(user: Sandbox, answered: str, gone: bool) -> None:
    child = spawn(user, "remove", "zai")
    child.expect("Removing zai moves to the trash")
    child.expect("Go on")
    child.sendline(answered)
    code, _ = finished(child)
    assert ((user.ccm_home / "zai").exists(), code == 0) == (not gone, gone)


def test_a_download_is_shown_with_a_bar_on_a_terminal_only(
    sandbox: Sandbox, npm: NpmRegistry
) -> None:
    npm.publish("2.1.330")
    npm.fail(TARBALL, Wire(rate=1500))
    child = spawn(sandbox, "create", "e", "--provider", "echo")
    child.expect("Claude Code 2.1.330")
    assert finished(child)[0] == 0
    assert told(ccm(sandbox, "create f --provider echo --claude-version 2.1.330"))[2] == []


@pytest.mark.parametrize("line", ["list", "doctor", "--help", "crate"])
def test_no_color_means_no_escape_codes_even_on_a_terminal(reader: Sandbox, line: str) -> None:
    child = spawn(reader, *line.split(), env={"NO_COLOR": "1"})
    assert "\x1b" not in finished(child)[1]


@pytest.mark.parametrize(
    "line",
    [
        *("list", "list --json", "--help", "providers", "env zai", "completion bash"),
        *("--version", "env zai --format shell", "show zai --json", "providers compare"),
    ],
)
def test_a_reader_that_has_seen_enough_is_no_error(reader: Sandbox, line: str) -> None:
    """`ccm list | head -1`, with a head that is already gone."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [CCM, *line.split()],
            env=dict(reader.environ),
            stdout=write_end,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(write_end)
    assert done.stderr == b""
    assert done.returncode == 0 or line == "--help"  # which typer prints and ends by itself


# --- damage ------------------------------------------------------------------------------------


def rewritten(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        document = json.loads(path.read_bytes())
        change(document)
        path.write_text(json.dumps(document))

    return damage


def replaced(kind: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.unlink()
        make(kind, path, path.parent)

    return damage


def bytes_of(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


RECORD_DAMAGE: Mapping[str, Callable[[Path], object]] = {
    "empty": bytes_of(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "garbage": bytes_of(b"\xff\xfe\0garbage"),
    "zeros": bytes_of(bytes(500)),
    "list": bytes_of(b"[]"),
    "null": bytes_of(b"null"),
    "deep": bytes_of(b"[" * 100_000),
    "schema 2": rewritten(lambda record: record.update(schema=2)),
    "no schema": rewritten(lambda record: record.pop("schema")),
    "another name": rewritten(lambda record: record.update(name="other")),
    "hostile name": rewritten(lambda record: record.update(name="../../x")),
    "bad version": rewritten(lambda record: record.update(version="2.1")),
    "bad rule": rewritten(lambda record: record.update(spec=">>>")),
    "no credential": rewritten(lambda record: record.update(credential={})),
    "wrong types": rewritten(lambda record: record.update(args="x", yolo="yes", env=[])),
    "missing": lambda path: path.unlink(),
    "directory": replaced("directory"),
    "dangling link": replaced("dangling link"),
    "fifo": replaced("fifo"),
    "link to nowhere": lambda path: relink(path, "generations/99"),
    "link elsewhere": lambda path: relink(path, "/nonexistent"),
    "link to itself": lambda path: relink(path, "current"),
}


def relink(path: Path, target: str) -> None:
    """The `current` above a file of a generation points elsewhere."""
    current = path.parents[2] / "current"
    current.unlink()
    current.symlink_to(target)


@pytest.mark.parametrize("name", RECORD_DAMAGE)
def test_a_damaged_record_is_one_line_beside_the_others(user: Sandbox, name: str) -> None:
    RECORD_DAMAGE[name](generation(user, "e") / "variant.json")
    code, out, err = told(ccm(user, "list"))
    lines = {line.split()[0]: line for line in out.splitlines()[1:]}
    assert (code, err, list(lines)) == (0, [], ["e", "zai"])
    assert "broken: " in lines["e"]
    assert lines["zai"].endswith("ok")
    code, out, err = told(ccm(user, "doctor"))
    rows = [line.split() for line in out.splitlines()[1:]]
    assert code == 1
    assert [row[:3] for row in rows if row[1] == "e"] == [["failed", "e", "record"]]
    assert {row[0] for row in rows if row[1] == "zai"} == {"ok"}
    assert user.run(user.launcher("zai"), "--version").stdout == "2.1.329 (Claude Code)\n"


def test_a_damaged_record_is_one_element_of_the_json(user: Sandbox) -> None:
    path = generation(user, "e") / "variant.json"
    path.unlink()
    variants = json.loads(ccm(user, "list --json").stdout)["variants"]
    assert variants[0] == {
        "name": "e",
        "error": f"{user.ccm_home}/e/current/variant.json is missing.",
        "hint": "Run: ccm doctor --fix e",
    }
    assert variants[1]["state"] == "ok"
    assert ccm(user, "versions").returncode == 0


FILE_DAMAGE: Mapping[str, tuple[str, Callable[[Path], object]]] = {
    "program missing": ("native/claude", lambda path: path.unlink()),
    "program directory": ("native/claude", replaced("directory")),
    "program fifo": ("native/claude", replaced("fifo")),
    "receipt missing": ("native/receipt.json", lambda path: path.unlink()),
    "receipt garbage": ("native/receipt.json", lambda path: overwrite(path, b"\xffgarbage")),
    "receipt list": ("native/receipt.json", lambda path: overwrite(path, b"[]")),
    "receipt directory": ("native/receipt.json", replaced("directory")),
    "receipt fifo": ("native/receipt.json", replaced("fifo")),
    "settings missing": ("settings.json", lambda path: path.unlink()),
    "settings garbage": ("settings.json", bytes_of(b"{")),
    "settings without the pin": ("settings.json", bytes_of(b"{}")),
    "settings fifo": ("settings.json", replaced("fifo")),
    "launcher missing": ("launch", lambda path: path.unlink()),
    "launcher garbage": ("launch", bytes_of(b"\xff\xfe")),
    "launcher changed": ("launch", lambda path: path.write_text(path.read_text() + "#\n")),
    "launcher directory": ("launch", replaced("directory")),
    "launcher fifo": ("launch", replaced("fifo")),
    "launcher not executable": ("launch", lambda path: path.chmod(0o600)),
    "key missing": ("credential", lambda path: path.unlink()),
    "key garbage": ("credential", bytes_of(b"\xff\xfe")),
    "key empty": ("credential", bytes_of(b"")),
    "key directory": ("credential", replaced("directory")),
    "key fifo": ("credential", replaced("fifo")),
    "key for all": ("credential", lambda path: path.chmod(0o644)),
    "generation for all": (".", lambda path: path.chmod(0o755)),
}


def overwrite(path: Path, content: bytes) -> None:
    """As a new file: the old one may share its bytes with the store."""
    path.unlink()
    path.write_bytes(content)


@pytest.mark.parametrize("name", FILE_DAMAGE)
def test_doctor_finds_every_damaged_file_and_the_others_work(user: Sandbox, name: str) -> None:
    file, damage = FILE_DAMAGE[name]
    damage(generation(user, "zai") / file)
    code, out, err = told(ccm(user, "doctor"))
    rows = [line.split() for line in out.splitlines()[1:]]
    assert code == 1
    assert "failed" in {row[0] for row in rows if row[1] == "zai"}
    assert {row[0] for row in rows if row[1] == "e"} == {"ok"}
    assert any(line.startswith("to mend zai, ") for line in err)
    code, out, err = told(ccm(user, "list"))
    assert (code, len(out.splitlines()), err) == (0, 3, [])
    for line in ("prune --dry-run", "verify") if "receipt" in name or "program" in name else ():
        assert told(ccm(user, line))[0] in (0, 1, 7), line


MENDED = [name for name in FILE_DAMAGE if not name.startswith("key") or name == "key for all"]


@pytest.mark.parametrize("name", MENDED)
def test_doctor_fix_mends_what_has_one_right_answer(user: Sandbox, name: str) -> None:
    file, damage = FILE_DAMAGE[name]
    damage(generation(user, "zai") / file)
    code, out, err = told(ccm(user, "doctor --fix zai"))
    assert (code, err) == (0, []), out
    assert {line.split()[0] for line in out.splitlines()[1:]} == {"ok"}
    assert token(user, "zai") == KEY
    assert record(user, "zai")["version"] == "2.1.329"


def test_doctor_fix_puts_the_links_and_permissions_back(user: Sandbox) -> None:
    user.launcher("zai").unlink()
    (user.ccm_home / "zai" / "native").unlink()
    (user.ccm_home / "zai").chmod(0o755)
    (user.ccm_home / "zai" / "config").chmod(0o777)
    assert ccm(user, "doctor zai").returncode == 1
    assert told(ccm(user, "doctor --fix zai"))[0] == 0
    assert token(user, "zai") == KEY
    assert (user.ccm_home / "zai" / "config").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("command", ["doctor --fix e", "create e --provider echo --force"])
def test_a_record_of_a_newer_ccm_is_neither_read_nor_replaced(user: Sandbox, command: str) -> None:
    user.must("pin", "e")
    RECORD_DAMAGE["schema 2"](generation(user, "e") / "variant.json")
    code, out, err = told(ccm(user, command))
    assert code != 0
    assert "was written by a newer ccm" in out + " ".join(err)
    assert record(user, "e")["schema"] == 2


def test_doctor_fix_keeps_the_newest_key_for_the_same_endpoint(user: Sandbox) -> None:
    user.must("key", "set", "zai", "--api-key-stdin", stdin="sk-the-newest\n")
    (generation(user, "zai") / "variant.json").write_text("")
    assert told(ccm(user, "doctor --fix zai"))[0] == 0
    user.must("pin", "zai", "2.1.x")
    assert token(user, "zai") == "sk-the-newest"


@pytest.mark.parametrize("name", ["truncated", "missing", "directory", "fifo"])
def test_doctor_fix_goes_back_to_the_newest_record_that_can_be_read(
    user: Sandbox, npm: NpmRegistry, name: str
) -> None:
    user.must("pin", "e")
    RECORD_DAMAGE[name](generation(user, "e") / "variant.json")
    code, out, _ = told(ccm(user, "doctor --fix e"))
    assert code == 0, out
    assert record(user, "e")["spec"] == "latest"


def test_doctor_fix_says_when_nothing_can_be_read_any_more(user: Sandbox) -> None:
    (generation(user, "e") / "variant.json").unlink()
    code, out, err = told(ccm(user, "doctor --fix e"))
    assert code == 1
    assert "has no readable record left" in out
    assert any("ccm create e --provider" in line for line in err)
    (user.ccm_home / "e" / "config" / "mine.txt").write_text("mine")
    assert told(ccm(user, "create e --provider echo --force"))[0] == 0
    assert told(ccm(user, "doctor e"))[0] == 0
    assert (user.ccm_home / "e" / "config" / "mine.txt").read_text() == "mine"


def test_a_damaged_variant_can_be_removed(user: Sandbox) -> None:
    (generation(user, "e") / "variant.json").write_text("{")
    assert told(ccm(user, "remove e --yes"))[0] == 0
    assert not (user.ccm_home / "e").exists()


def test_one_broken_variant_does_not_stop_the_update_of_the_others(
    user: Sandbox, npm: NpmRegistry
) -> None:
    user.must("unpin", "zai")
    (generation(user, "e") / "variant.json").write_text("{")
    code, out, err = told(ccm(user, "update --all"))
    assert (code, out) == (1, "zai: 2.1.329 -> 2.1.330\n")
    assert err[0].startswith("e: failed: ")
    assert record(user, "zai")["version"] == "2.1.330"
    code, out, err = told(ccm(user, "update --all --json"))
    assert code == 1
    assert [each["outcome"] for each in json.loads(out)["outcomes"]] == ["failed", "current"]


def test_nothing_is_pruned_while_a_variant_cannot_be_read(user: Sandbox) -> None:
    (generation(user, "e") / "variant.json").write_text("{")
    before = sorted(os.listdir(user.ccm_home / ".store" / "claude-code-linux-x64"))
    code, out, err = told(ccm(user, "prune"))
    assert (code, out, len(err)) == (7, "", 2)
    assert sorted(os.listdir(user.ccm_home / ".store" / "claude-code-linux-x64")) == before


@pytest.mark.parametrize("file", ["settings.json", ".claude.json"])
@pytest.mark.parametrize("kind", ["garbage", "directory", "fifo"])
def test_a_broken_file_of_the_users_own_is_told_and_left_alone(
    user: Sandbox, file: str, kind: str
) -> None:
    path = user.ccm_home / "e" / "config" / file
    path.unlink(missing_ok=True)
    if kind == "garbage":
        path.write_text("{")
    else:
        make(kind, path, path.parent)
    before = everything(path.parent)
    for line in ("doctor e", "doctor --fix e"):
        code, out, err = told(ccm(user, line))
        assert code == 1
        assert f"your {file}" in out
        assert err == [f"to mend e, your {file}: mend {path}"]
    assert everything(path.parent) == before


def test_a_broken_provider_of_the_users_own_is_one_line_beside_the_others(user: Sandbox) -> None:
    own = user.ccm_home / ".providers"
    own.mkdir()
    (own / "mine.toml").write_text("schema = 1\nidd = 'mine'\n")
    code, out, err = told(ccm(user, "providers"))
    assert (code, err) == (0, [])
    assert [line.split()[1] for line in out.splitlines() if line.startswith("mine")] == ["broken"]
    code, out, err = told(ccm(user, "providers show mine"))
    assert (code, out, len(err)) == (7, "", 2)
    document = json.loads(ccm(user, "providers --json").stdout)
    assert {"zai", "mine"} <= {provider["id"] for provider in document["providers"]}


def test_a_broken_provider_does_not_stop_the_keys_of_others(user: Sandbox) -> None:
    own = user.ccm_home / ".providers"
    own.mkdir()
    (own / "mine.toml").write_text("schema = 1\n")
    done = ccm(user, "key set zai --api-key-env ZAI_API_KEY")
    assert told(done)[0] == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_directory_is_one_line_beside_the_others(user: Sandbox) -> None:
    (user.ccm_home / "e").chmod(0)
    try:
        code, out, _ = told(ccm(user, "list"))
        assert code == 0
        assert "zai" in out
        assert ccm(user, "doctor").returncode == 1
    finally:
        (user.ccm_home / "e").chmod(0o700)


# --- sharing, waiting, breaking off ------------------------------------------------------------


def test_a_second_variant_of_a_version_costs_no_download_and_no_bytes(
    user: Sandbox, npm: NpmRegistry
) -> None:
    before = len([r for r in npm.requests if r.path.endswith(".tgz")])
    user.must("create", "e2", "--provider", "echo")
    assert len([r for r in npm.requests if r.path.endswith(".tgz")]) == before
    store = user.ccm_home / ".store" / "claude-code-linux-x64" / "2.1.330" / "claude"
    programs = [generation(user, name) / "native" / "claude" for name in ("e", "e2")]
    assert {path.stat().st_ino for path in programs} == {store.stat().st_ino}


def test_another_ccm_is_waited_for_and_that_is_said(user: Sandbox) -> None:
    from filelock import FileLock

    lock = FileLock(user.ccm_home / ".locks" / "e.lock")
    with lock:
        waiting = subprocess.Popen(
            [CCM, "pin", "e"],
            env=dict(user.environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert waiting.stderr is not None
        assert waiting.stderr.readline() == "Waiting for another ccm that is working on e …\n"
        assert waiting.poll() is None
    out, _ = waiting.communicate(timeout=10)
    assert (waiting.returncode, out) == (0, "e stays at 2.1.330.\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_download_is_exit_130_and_leaves_nothing(
    sandbox: Sandbox, npm: NpmRegistry, number: signal.Signals
) -> None:
    npm.publish("2.1.330")
    npm.fail(TARBALL, Wire(rate=50))
    with subprocess.Popen(
        [CCM, "create", "e", "--provider", "echo"],
        env=dict(sandbox.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        deadline = time.monotonic() + 10
        while not any(r.path.endswith(".tgz") for r in npm.requests):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.2)
        child.send_signal(number)
        out, err = child.communicate(timeout=10)
    assert child.returncode in ((130,) if number == signal.SIGINT else (130, 143, -15))
    assert (out, "Traceback" in err) == ("", False)
    assert not (sandbox.ccm_home / "e").exists()
    npm.heal()
    sandbox.must("create", "e", "--provider", "echo")
    assert list((sandbox.ccm_home / ".staging").iterdir()) == []
    assert ccm(sandbox, "doctor").returncode == 0


# --- places ------------------------------------------------------------------------------------

ODD = 'it\'s "quite" $HOME `odd` \\ é & ;'


def test_homes_with_spaces_quotes_and_dollars_work(sandbox: Sandbox, npm: NpmRegistry) -> None:
    npm.publish("2.1.329")
    npm.publish("2.1.330")
    home, bin_dir = sandbox.home / ODD / ".ccm", sandbox.home / ODD / "bin"
    env = {
        "CCM_HOME": str(home),
        "CCM_BIN_DIR": str(bin_dir),
        "PATH": f"{bin_dir}:{sandbox.environ['PATH']}",
    }
    odd = Sandbox(sandbox.home, {**sandbox.environ, **env})
    exact = ("--claude-version", "2.1.329", "--api-key-stdin")
    odd.must("create", "zai", "--provider", "zai", *exact, stdin=f"{KEY}\n")
    odd.must("update", "zai", "--claude-version", "latest")
    seen = json.loads(odd.run(bin_dir / "zai", "a b", "$c", "d'e\"").stdout)
    assert seen["env"]["CLAUDE_CONFIG_DIR"] == str(home / "zai" / "config")
    assert seen["env"]["ANTHROPIC_AUTH_TOKEN"] == KEY
    assert seen["argv"][-3:] == ["a b", "$c", "d'e\""]
    assert told(ccm(odd, "doctor"))[0] == 0
    odd.must("rollback", "zai")
    odd.must("remove", "zai", "--yes")
    assert os.listdir(bin_dir) == []
    assert os.listdir(sandbox.home) == [ODD]


@pytest.mark.parametrize("name", ["CCM_HOME", "CCM_BIN_DIR"])
@pytest.mark.parametrize("value", ["relative", "~/x", "/tmp/a\nb"])
def test_a_home_that_is_not_absolute_is_exit_2(sandbox: Sandbox, name: str, value: str) -> None:
    code, out, err = told(ccm(sandbox, "create e --provider echo", env={name: value}))
    assert (code, out) == (2, "")
    assert err[0].startswith(f"ccm: {name} is ")
    assert not list(sandbox.home.iterdir())


def test_no_home_is_exit_2(sandbox: Sandbox) -> None:
    code, out, err = told(ccm(sandbox, "list", env={"HOME": ""}))
    assert (code, out, err[0]) == (2, "", "ccm: HOME is not set.")


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
def test_a_home_others_can_change_is_refused(sandbox: Sandbox, npm: NpmRegistry, mode: int) -> None:
    sandbox.ccm_home.mkdir()
    sandbox.ccm_home.chmod(mode)
    code, out, err = told(ccm(sandbox, "create e --provider echo"))
    assert (code, out) == (2, "")
    assert err == [
        f"ccm: Other users may change {sandbox.ccm_home}.",
        f"     Run: chmod 700 {sandbox.ccm_home}",
    ]
    assert npm.requests == ()


# --- completion --------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(sandbox: Sandbox, shell: str) -> None:
    code, out, err = told(ccm(sandbox, f"completion {shell}"))
    assert (code, err) == (0, [])
    assert "_CCM_COMPLETE" in out
    assert not list(sandbox.home.iterdir())


COMPLETED = {
    "ccm update z": ["zai"],
    "ccm show ": ["e", "zai"],
    "ccm remove e": ["e"],
    "ccm key set z": ["zai"],
    "ccm create x --provider d": ["deepseek"],
    "ccm create x --provider xiaomi --region plan-s": ["plan-sgp"],
    "ccm create x --provider nope --region ": [],
    "ccm create x --auth ": ["bearer", "x-api-key"],
    "ccm create x --provider zai --mcp web-s": ["web-search-prime"],
    "ccm mcp add zai web-r": ["web-reader"],
    "ccm mcp add z": ["zai"],
    "ccm theme set zai dar": ["dark", "dark-ansi", "dark-daltonized"],
    "ccm theme set zai ow": ["own"],
    "ccm theme set zai --form li": ["light", "light-ansi", "light-daltonized"],
    "ccm theme preview e": ["e", "echo"],
    "ccm env zai --format s": ["shell"],
    "ccm completion f": ["fish"],
    "ccm providers show openr": ["openrouter"],
    "ccm upd": ["update"],
    "ccm update --dr": ["--dry-run"],
}


@pytest.mark.parametrize("line", COMPLETED)
def test_bash_completes_variants_providers_commands_and_options(reader: Sandbox, line: str) -> None:
    count = len(line.split(" ")) - 1
    env = {"_CCM_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(count)}
    done = reader.run(CCM, env=env, timeout=10)
    assert (sorted(done.stdout.split()), done.stderr) == (COMPLETED[line], "")


def test_bash_itself_completes_with_the_printed_script(reader: Sandbox) -> None:
    script = (
        'eval "$(ccm completion bash)"\n'
        "COMP_WORDS=(ccm update z) COMP_CWORD=2\n"
        "_ccm_completion ccm\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = reader.run("bash", "-c", script, timeout=10)
    assert (done.stdout, done.stderr) == ("zai\n", "")


def test_zsh_and_fish_are_answered(reader: Sandbox) -> None:
    words = {"_TYPER_COMPLETE_ARGS": "ccm update z"}
    zsh = reader.run(CCM, env={"_CCM_COMPLETE": "complete_zsh", **words}, timeout=10)
    fish = reader.run(
        CCM,
        env={
            "_CCM_COMPLETE": "complete_fish",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            **words,
        },
        timeout=10,
    )
    assert "zai" in zsh.stdout
    assert fish.stdout.split() == ["zai"]
    assert zsh.stderr + fish.stderr == ""


def test_completion_of_a_broken_home_is_silent(sandbox: Sandbox) -> None:
    env = {"_CCM_COMPLETE": "complete_bash", "COMP_WORDS": "ccm update z", "COMP_CWORD": "2"}
    done = sandbox.run(CCM, env=env, timeout=10)
    assert (done.stdout.strip(), done.stderr) == ("", "")
    assert not list(sandbox.home.iterdir())
