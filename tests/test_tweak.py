"""`ccm tweak`: the real tweakcc on the real 2.1.112, and false ones for what the real one won't do.

A false npm on PATH installs a false tweakcc; all else is real, Claude Code and Node.js included.
"""

import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import pytest

from ccmirror_py import patches, tweakcc
from ccmirror_py.cli import wiring
from ccmirror_py.errors import CcmError, UsageError
from ccmirror_py.operations import tweak as operation
from ccmirror_py.patches import DEFAULT, PATCHES, check_version, chosen, not_applied
from ccmirror_py.platforms import Platform
from ccmirror_py.variant import (
    Choices,
    NoKey,
    Tweaked,
    Variant,
    from_json,
    same_program,
    to_json,
)
from ccmirror_py.version import parse_version
from tests.conftest import CCM, Sandbox, make_sandbox, network_environ, provide
from tests.npm_registry import NpmRegistry

needs_node = pytest.mark.skipif(
    not (shutil.which("node") and shutil.which("npm")), reason="Node.js or npm is not installed"
)
VERSION = "2.1.112"
LINUX = Platform("linux", "x64")

# What tweakcc 4.0.11 printed for 2.1.112, cut down to a line of each kind (2026-11-23).
PRINTED = """\
Applying saved customizations to Claude Code...
Version: 2.1.112

Patches applied (run with --show-unchanged to show all patches):

  Always Applied:
    ✗ Verbose property
    ✓ Fix LSP support — Enable/fix nascent LSP support

  Misc Configurable:
    ○ Themes
    ✓ Thinking block visibility — Thinking blocks outputted by the model will show without Ctrl+O
    ✗ AGENTS.md (and others)

Customizations applied with some failures.
"""


def of(version: str) -> Variant:
    parsed = parse_version(version)
    moment = "2026-11-23T00:00:00Z"
    return Variant("zai", Choices("echo"), parsed, parsed, NoKey(), {}, None, moment, moment)


# --- what is known beforehand ------------------------------------------------------------------


@pytest.mark.parametrize("version", ["2.1.242", "2.1.330", "3.0.0"])
@pytest.mark.parametrize("system", ["linux", "darwin"])
def test_no_system_can_patch_what_is_split(version: str, system: str) -> None:
    with pytest.raises(UsageError, match=r"split into many modules"):
        check_version(of(version), Platform(system, "x64"))


def test_native_programs_for_linux_are_refused_and_others_are_tried() -> None:
    for version in ("2.1.113", "2.1.241"):
        with pytest.raises(UsageError, match="native programs for Linux"):
            check_version(of(version), LINUX)
        check_version(of(version), Platform("darwin", "arm64"))
    check_version(of("2.1.112"), LINUX)


def test_a_patch_that_was_lost_is_refused_from_there_on() -> None:
    assert chosen(["themes"], parse_version("2.1.68"), has_settings=True)
    with pytest.raises(UsageError, match=r"themes .* from Claude Code 2\.1\.69 on"):
        chosen(["themes"], parse_version("2.1.69"), has_settings=True)


def test_a_patch_without_its_settings_and_one_that_is_none_are_refused() -> None:
    with pytest.raises(UsageError, match="does nothing without settings"):
        chosen(["table-format"], parse_version(VERSION), has_settings=False)
    with pytest.raises(UsageError, match="has no patch 'theme'") as error:
        chosen(["theme"], parse_version(VERSION), has_settings=True)
    assert error.value.hint == "Did you mean 'themes'?"


def test_the_usual_patches_are_not_known_to_fail_on_the_newest_that_can_be_patched() -> None:
    assert [patch.id for patch in chosen(DEFAULT, patches.LAST_JAVASCRIPT, False)] == [*DEFAULT]


def test_switches_are_turned_on_among_the_users_own_settings() -> None:
    wanted = [PATCHES["hide-ctrl-g-to-edit"], PATCHES["themes"]]
    own = {"themes": [1], "misc": {"tableFormat": "ascii", "hideCtrlGToEdit": False}}
    assert patches.settings_for(wanted, own) == {
        "themes": [1],
        "misc": {"tableFormat": "ascii", "hideCtrlGToEdit": True},
    }
    assert patches.settings_for(wanted, {"misc": None})["misc"] == {"hideCtrlGToEdit": True}


@pytest.mark.parametrize(
    ("ids", "problems"),
    [
        ("fix-lsp-support thinking-visibility", ["Verbose property failed", "AGENTS"]),
        ("verbose-property agents-md", ["verbose-property failed", "agents-md failed"]),
        ("themes agents-md verbose-property", ["themes did nothing", "agents-md", "verbose"]),
        ("toolsets agents-md verbose-property", ["toolsets is not spoken of", "agents", "verb"]),
    ],
)
def test_only_what_tweakcc_says_it_applied_counts(ids: str, problems: list[str]) -> None:
    found = not_applied(PRINTED, [PATCHES[id_] for id_ in ids.split()])
    assert [text[: len(start)] for text, start in zip(found, problems, strict=True)] == problems


def test_all_that_was_wanted_and_nothing_failed() -> None:
    printed = PRINTED.replace("✗", "✓")
    assert not_applied(printed, [PATCHES["fix-lsp-support"], PATCHES["agents-md"]]) == []


def test_each_package_is_pinned_by_its_bytes_and_none_by_a_host() -> None:
    folder = files("ccmirror_py") / "tweakcc_package"
    wanted = json.loads((folder / "package.json").read_text())
    lock = json.loads((folder / "package-lock.json").read_text())
    assert wanted["dependencies"] == {"tweakcc": patches.VERSION}
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert packages["node_modules/tweakcc"]["version"] == patches.VERSION
    assert len(packages) > 90
    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())
    assert [name for name, entry in packages.items() if "resolved" in entry] == []


def test_a_record_tells_that_it_is_tweaked_and_one_without_is_not() -> None:
    plain = of(VERSION)
    tweaked = Variant(**{**vars(plain), "tweaked": Tweaked("tweakcc 4.0.11", ("themes",))})
    assert from_json(json.loads(json.dumps(to_json(tweaked)))) == tweaked
    older = {name: value for name, value in to_json(plain).items() if name != "tweaked"}
    assert from_json(older) == plain
    assert not same_program(plain, tweaked)  # so `rollback` does not pass over it


def test_a_version_that_cannot_be_patched_costs_no_request_and_changes_nothing(
    sandbox: Sandbox, npm: NpmRegistry
) -> None:
    npm.publish("2.1.330")
    sandbox.must("create", "new", "--provider", "echo")
    before, asked = snapshot(sandbox.ccm_home), len(npm.requests)
    done = sandbox.ccm("tweak", "new")
    assert done.returncode == 2
    assert "No tweakcc can patch Claude Code 2.1.330: from 2.1.242 on" in done.stderr
    assert "ccm pin new 2.1.112 && ccm tweak new" in done.stderr
    assert len(npm.requests) == asked
    assert snapshot(sandbox.ccm_home) == before


def test_the_list_needs_neither_a_variant_nor_a_network(tmp_path: Path) -> None:
    lonely = make_sandbox(tmp_path / "home", {})
    told = lonely.must("tweak", "--list")
    assert [line.partition(" ")[0] for line in told.splitlines()] == ["PATCH", *PATCHES]
    patches = json.loads(lonely.must("tweak", "--list", "--json"))["patches"]
    assert [patch["id"] for patch in patches] == [*PATCHES]
    assert not lonely.ccm_home.exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "No variant was named."),
        (("old", "--config", "my.json"), "--config says how to patch, and not what."),
        (("old", "--config", "none.json", "--patches", "themes"), "none.json: No such file"),
        (("old", "--config", "list.json", "--patches", "themes"), "holds no 'settings'"),
        (("old", "--config", "bad.json", "--patches", "themes"), "is not valid JSON"),
    ],
)
def test_what_makes_no_sense_is_said_in_a_sentence(
    sandbox: Sandbox, npm: NpmRegistry, words: tuple[str, ...], sentence: str
) -> None:
    npm.publish(VERSION)
    sandbox.must("create", "old", "--provider", "echo")
    (sandbox.home / "list.json").write_text("[]")
    (sandbox.home / "bad.json").write_text("{")
    done = sandbox.ccm("tweak", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr


def test_without_node_or_with_an_old_one_it_says_so(sandbox: Sandbox, npm: NpmRegistry) -> None:
    npm.publish(VERSION)
    sandbox.must("create", "old", "--provider", "echo")
    own = sandbox.home / "own"
    own.mkdir()
    done = sandbox.ccm("tweak", "old", env={"PATH": str(own)})
    assert done.returncode == 3
    assert "tweakcc 4.0.11 needs Node.js 20 or newer and its npm on PATH" in done.stderr
    for name, said in (("node", "v18.20.4"), ("npm", "10")):
        (own / name).write_text(f"#!/bin/sh\necho {said}\n")
        (own / name).chmod(0o755)
    done = sandbox.ccm("tweak", "old", env={"PATH": str(own)})
    assert done.returncode == 3
    assert "is v18.20.4" in done.stderr


# --- a false tweakcc ---------------------------------------------------------------------------


APPLIED = "\n".join(f"    ✓ {PATCHES[id_].name} — what it does" for id_ in DEFAULT)
_FALSE = """\
import fs from "node:fs";
const program = process.env.TWEAKCC_CC_INSTALLATION_PATH;
fs.writeFileSync("@NOTES@/tweakcc.json", JSON.stringify(
  {pid: process.pid, environ: process.env, argv: process.argv.slice(2)}));
const say = text => console.log(text);
const change = text => { fs.chmodSync(program, 0o755); fs.writeFileSync(program, text); };
const was = fs.readFileSync(program, "utf8");
const applied = `@APPLIED@`;
"""
FAULTS = {
    "says that one failed, and ends with 0": (
        "change(was + '\\n//'); say(applied.replace('✓', '✗')); say('Customizations applied');",
        "show-more-items-in-select-menus failed",
    ),
    "says that one did nothing": (
        "change(was + '\\n//'); say(applied.replace('✓', '○'));",
        "show-more-items-in-select-menus did nothing",
    ),
    "says nothing": ("change(was + '\\n//');", "is not spoken of"),
    "wrote nothing": ("say(applied);", "says it patched the program, and did not"),
    "wrote what is no program": ("change('}{'); say(applied);", "does not start"),
    "wrote half of it": (
        "change(was.slice(0, was.length / 2)); say(applied);",
        "does not start",
    ),
    "wrote one that tells its version and no more": (
        "change(\"#!/usr/bin/env node\\nconsole.log(process.argv.includes('--version') ? "
        "'2.1.112 (Claude Code)' : 'The model says: ok')\"); say(applied);",
        "starts and does not work: no tool call came through",
    ),
    "changed another file": (
        "change(was + '\\n//'); const other = program.replace('cli.js', 'package.json'); "
        "fs.chmodSync(other, 0o644); fs.appendFileSync(other, ' '); say(applied);",
        "changed other files than the program",
    ),
    "added a file": (
        "change(was + '\\n//'); fs.writeFileSync(program + '.bak', was); say(applied);",
        "changed other files than the program",
    ),
    "took the program away": ("fs.unlinkSync(program); say(applied);", "changed other files"),
    "put a link in its place": (
        "fs.renameSync(program, '@NOTES@/cli.js'); fs.symlinkSync('@NOTES@/cli.js', program); "
        "say(applied);",
        "changed other files",
    ),
    "ended badly": ("throw new Error('no such thing')", "Error: no such thing"),
}


@pytest.fixture
def old(tmp_path: Path) -> Sandbox:
    """A user with a variant `old` of the real 2.1.112, and another beside it."""
    home = tmp_path / "home"
    own = tmp_path / "own"
    own.mkdir()
    sandbox = make_sandbox(home, network_environ())
    sandbox = Sandbox(home, {**sandbox.environ, "PATH": f"{own}:{sandbox.environ['PATH']}"})
    provide(sandbox, VERSION)
    for name in ("old", "beside"):
        sandbox.must("create", name, "--provider", "echo", "--claude-version", VERSION)
    return sandbox


def false_npm(sandbox: Sandbox, script: str) -> Path:
    """npm and tweakcc replaced; where they note what they were given."""
    own = Path(sandbox.environ["PATH"].partition(":")[0])
    text = (_FALSE + script).replace("@NOTES@", str(own)).replace("@APPLIED@", APPLIED)
    (own / "index.mjs").write_text(text)
    npm = f"""#!/bin/sh
env >{own}/npm.env
printf '%s\\n' "$@" >{own}/npm.argv
ls >{own}/npm.files
mkdir -p node_modules/tweakcc/dist && cp {own}/index.mjs node_modules/tweakcc/dist/
"""
    (own / "npm").write_text(npm)
    (own / "npm").chmod(0o755)
    return own


def snapshot(folder: Path) -> dict[str, str]:
    """Every file and link below it with what it holds, but for locks, caches and logs."""
    found = {}
    for path in sorted(folder.rglob("*")):
        relative = str(path.relative_to(folder))
        if relative.startswith((".locks", ".cache", ".numbers")):
            continue
        if path.is_symlink():
            found[relative] = os.readlink(path)
        elif path.is_file():
            found[relative] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@needs_node
@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_work_leaves_everything_as_it_was(old: Sandbox, fault: str) -> None:
    script, reason = FAULTS[fault]
    false_npm(old, script)
    before = snapshot(old.ccm_home)
    done = old.ccm("tweak", "old")
    assert done.returncode == 1, done.stderr
    assert reason in done.stderr
    assert snapshot(old.ccm_home) == before
    assert os.listdir(old.ccm_home / ".staging") == []


@needs_node
def test_one_that_never_ends_is_ended(old: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    own = false_npm(old, "setInterval(() => {}, 1000);")
    monkeypatch.setattr(tweakcc, "PATCH_TIMEOUT", 3.0)
    before = snapshot(old.ccm_home)
    with pytest.raises(CcmError, match="did not end within 3 seconds"):
        operation.tweak(wiring.context(old.environ), operation.TweakRequest("old"))
    assert snapshot(old.ccm_home) == before
    assert not is_running(json.loads((own / "tweakcc.json").read_text())["pid"])


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ended_while_it_patches(sandbox: Sandbox, by: signal.Signals) -> int:
    """ccm gets the signal while a tweakcc that never ends is at work; the id of that one."""
    own = false_npm(sandbox, "change('}{'); setInterval(() => {}, 1000);")
    notes = own / "tweakcc.json"
    process = subprocess.Popen(
        [CCM, "tweak", "old"], env=dict(sandbox.environ), stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while not (notes.exists() and notes.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(by)
        process.wait(30)
    finally:
        process.kill()
        process.wait()
    return int(json.loads(notes.read_text())["pid"])


@needs_node
@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_in_the_middle_ends_tweakcc_too_and_leaves_nothing(
    old: Sandbox, by: signal.Signals
) -> None:
    before = snapshot(old.ccm_home)
    pid = ended_while_it_patches(old, by)
    assert not is_running(pid)
    assert snapshot(old.ccm_home) == before
    assert os.listdir(old.ccm_home / ".staging") == []


@needs_node
def test_a_kill_in_the_middle_leaves_the_variant_and_the_next_command_clears_up(
    old: Sandbox,
) -> None:
    before = snapshot(old.ccm_home)
    pid = ended_while_it_patches(old, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)  # what the kill left running
    assert os.listdir(old.ccm_home / ".staging") != []
    left = {n: v for n, v in snapshot(old.ccm_home).items() if not n.startswith(".staging")}
    assert left == before
    old.must("pin", "old")
    assert os.listdir(old.ccm_home / ".staging") == []


@needs_node
def test_neither_npm_nor_tweakcc_is_given_a_key(old: Sandbox) -> None:
    own = false_npm(old, "change(was + '\\n//'); say(applied);")
    (old.home / ".npmrc").write_text("//registry.example.com/:_authToken=${FOR_NPM}\n")
    keys = {"ZAI_API_KEY": "sk-zai", "ANTHROPIC_API_KEY": "sk-ant", "AWS_SECRET": "aws"}
    npmrc = {"NPM_CONFIG_USERCONFIG": "", "FOR_NPM": "token-of-npm"}
    done = old.ccm("tweak", "old", env={**keys, **npmrc})
    assert done.returncode == 0, done.stderr
    for_npm = (own / "npm.env").read_text()
    given = json.loads((own / "tweakcc.json").read_text())
    assert "FOR_NPM=token-of-npm\n" in for_npm  # the user's own .npmrc asks for it
    for key in keys:
        assert key not in for_npm
        assert key not in given["environ"]
    assert set(given["environ"]) <= {
        *("PATH", "HOME", "TMPDIR", "LANG", "XDG_CONFIG_HOME"),
        *("TWEAKCC_CONFIG_DIR", "TWEAKCC_CC_INSTALLATION_PATH"),
    }
    assert given["environ"]["HOME"].startswith(f"{old.ccm_home}/.staging/")
    assert given["argv"] == ["--apply", "--patches", ",".join(DEFAULT)]
    assert "--ignore-scripts" in (own / "npm.argv").read_text().split()
    assert "package-lock.json" in (own / "npm.files").read_text().split()


@needs_node
def test_settings_are_the_users_and_the_program_they_name_is_not_touched(old: Sandbox) -> None:
    own = false_npm(
        old,
        "change(was + '\\n//'); say('    ✓ Table format — x'); "
        "fs.copyFileSync(process.env.TWEAKCC_CONFIG_DIR + '/config.json', '@NOTES@/given.json');",
    )
    config = {"ccInstallationPath": "/usr/bin/env", "settings": {"misc": {"tableFormat": "ascii"}}}
    (old.home / "my.json").write_text(json.dumps(config))
    told = old.must("tweak", "old", "--config", "my.json", "--patches", "table-format")
    assert "tweaked by tweakcc 4.0.11: table-format" in told
    assert json.loads((own / "given.json").read_text()) == {"settings": config["settings"]}


@needs_node
@pytest.mark.parametrize(
    ("script", "code", "sentence"),
    [
        ("echo 'npm error code E404' >&2; exit 1", 4, "npm could not install tweakcc 4.0.11"),
        ("echo 'npm error code EINTEGRITY' >&2; exit 1", 5, "gives other bytes"),
        ("exit 0", 4, "npm could not install tweakcc 4.0.11: no reason given"),
    ],
)
def test_what_npm_can_not_install_is_said(
    old: Sandbox, script: str, code: int, sentence: str
) -> None:
    own = false_npm(old, "")
    (own / "npm").write_text(f"#!/bin/sh\n{script}\n")
    before = snapshot(old.ccm_home)
    done = old.ccm("tweak", "old")
    assert (done.returncode, done.stdout) == (code, "")
    assert sentence in done.stderr
    assert snapshot(old.ccm_home) == before


@needs_node
def test_the_program_in_the_store_is_damaged_and_a_sound_one_is_patched(old: Sandbox) -> None:
    """Patches go upon the release as it was published, which is fetched again."""
    false_npm(old, "change(was + '\\n//'); say(applied);")
    stored = old.ccm_home / ".store/claude-code" / VERSION / "cli.js"
    text = stored.read_bytes()
    stored.unlink()  # a link that the variants share: theirs stay
    stored.write_bytes(text.replace(b"2.1.112", b"2.1.1.2", 1))
    assert old.ccm("tweak", "old").returncode == 0
    patched = (old.ccm_home / "old/native/cli.js").read_bytes()
    assert patched == text + b"\n//"


@needs_node
def test_tweaking_again_begins_with_the_release_and_needs_no_registry(old: Sandbox) -> None:
    false_npm(old, "change(was + '\\n//'); say(applied);")
    nowhere = {"NPM_CONFIG_REGISTRY": "http://127.0.0.1:9/"}
    for _ in range(2):
        done = old.ccm("tweak", "old", env=nowhere)
        assert done.returncode == 0, done.stderr
    assert (old.ccm_home / "old/native/cli.js").read_bytes().endswith(b"\n//")
    assert not (old.ccm_home / "old/native/cli.js").read_bytes().endswith(b"\n//\n//")


# --- the real one ------------------------------------------------------------------------------


def bytes_of(paths: list[Path]) -> Mapping[Path, str]:
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@needs_node
def test_the_real_tweakcc_patches_the_real_claude_code_and_all_commands_tell_the_truth(
    old: Sandbox,
) -> None:
    home = old.ccm_home
    store = home / ".store/claude-code" / VERSION
    others = [p for p in [*store.rglob("*"), *(home / "beside/native/").rglob("*")] if p.is_file()]
    original = (home / "old/native/cli.js").read_bytes()
    others.append((home / "old/native/cli.js").resolve())
    before = bytes_of(others)

    wanted = "show-more-items-in-select-menus,thinking-visibility,hide-ctrl-g-to-edit"
    told = old.must("tweak", "old", "--patches", wanted)
    assert "old: Claude Code 2.1.112, tweaked by tweakcc 4.0.11: show-more" in told

    program = (home / "old/native/cli.js").resolve()
    assert bytes_of(others) == before
    patched = program.read_bytes()
    assert patched != original
    assert stat.S_IMODE(program.stat().st_mode) == 0o555
    assert not any(program.samefile(other) for other in others)
    receipt = json.loads((program.parent / "receipt.json").read_text())
    assert receipt["tweaked"] == "tweakcc 4.0.11"
    assert receipt["files"]["cli.js"] == hashlib.sha256(program.read_bytes()).hexdigest()
    assert os.listdir(home / ".staging") == []

    record = json.loads(old.must("show", "old", "--json"))["variant"]
    assert record["tweaked"] == {"by": "tweakcc 4.0.11", "patches": wanted.split(",")}
    assert f"since then, by tweakcc 4.0.11: {wanted.replace(',', ', ')}" in old.must("show", "old")
    assert "tweaked" not in old.must("show", "beside")
    assert "2.1.112 tweaked" in old.must("list")
    assert f"ok, as tweakcc 4.0.11 left it: {program.parent}" in old.must("verify")
    checks = json.loads(old.must("doctor", "old", "--launch", "--json"))["checks"]
    told_of = {check["name"]: check["detail"] for check in checks}
    assert told_of["program"].startswith("every byte as tweakcc 4.0.11 left it, of a release")
    assert told_of["launch"].startswith("one prompt, one tool call")

    old.must("key", "set", "old", "--api-key-env", "SOME_KEY")
    old.must("pin", "old")
    old.must("prune")
    assert (home / "old/native/cli.js").read_bytes() == patched
    assert store.is_dir()  # its release is in use still

    told = old.must("rollback", "old")
    assert "program tweaked (tweakcc 4.0.11: show-more" in told
    assert (home / "old/native/cli.js").read_bytes() == original
    assert "-> tweaked (tweakcc 4.0.11" in old.must("rollback", "old")
    assert (home / "old/native/cli.js").read_bytes() == patched


@needs_node
def test_an_update_brings_a_program_that_is_not_tweaked_and_says_so(old: Sandbox) -> None:
    false_npm(old, "change(was + '\\n//'); say(applied);")
    old.must("tweak", "old")
    provide(old, "2.1.113")
    told = old.must("update", "old", "--claude-version", VERSION)
    assert "no longer tweaked" not in told
    assert json.loads(old.must("show", "old", "--json"))["variant"]["tweaked"]
    told = old.must("pin", "old", "2.1.113")
    assert "its program is no longer tweaked; to try again: ccm tweak old --patches show" in told
    assert json.loads(old.must("show", "old", "--json"))["variant"]["tweaked"] is None
    assert "every byte as installed" in old.must("doctor", "old", "--json")


@needs_node
def test_mending_a_tweaked_program_brings_the_release_and_says_so(old: Sandbox) -> None:
    false_npm(old, "change(was + '\\n//'); say(applied);")
    old.must("tweak", "old")
    program = (old.ccm_home / "old/native/cli.js").resolve()
    program.chmod(0o755)
    program.write_text("damaged")
    assert "cli.js is not what was installed" in old.ccm("verify").stdout
    done = old.ccm("doctor", "--fix", "old")
    assert "old: its program is as released again; to tweak it: ccm tweak old" in done.stderr
    assert json.loads(old.must("show", "old", "--json"))["variant"]["tweaked"] is None


@needs_node
def test_a_registry_without_tweakcc_is_a_fault_of_the_network(
    old: Sandbox, npm: NpmRegistry
) -> None:
    before = snapshot(old.ccm_home)
    done = old.ccm("tweak", "old", env={"NPM_CONFIG_REGISTRY": npm.url})
    assert done.returncode == 4, done.stderr
    assert "npm could not install tweakcc 4.0.11" in done.stderr
    assert snapshot(old.ccm_home) == before


@needs_node
def test_the_real_tweakcc_says_which_patches_it_can_not_apply(old: Sandbox) -> None:
    """`agents-md` would be refused beforehand; this one is only known when it runs."""
    before = snapshot(old.ccm_home)
    config = old.home / "my.json"
    config.write_text(json.dumps({"settings": {"toolsets": [], "subagentModels": {}}}))
    words = ("--patches", "subagent-models,thinking-visibility", "--config", str(config))
    done = old.ccm("tweak", "old", *words)
    assert done.returncode == 1
    assert "could not apply every patch: subagent-models did nothing" in done.stderr
    assert "These can be applied: --patches thinking-visibility" in done.stderr
    assert snapshot(old.ccm_home) == before
