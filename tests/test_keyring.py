"""Keys in the system's keyring, with a real one: what goes in, what a launcher reads, what goes."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pexpect
import pytest

from ccmirror_py import os_keyring
from ccmirror_py.echo import EchoServer
from tests.conftest import CCM, Sandbox, make_sandbox, network_environ, provide
from tests.keyring_service import keyring_service, needs_keyring, put, stored, take
from tests.npm_registry import NpmRegistry

KEY, OTHER = "sk-in-the-keyring-1", "sk-in-the-keyring-2"
pytestmark = needs_keyring
CREATE = ("create", "zai", "--provider", "zai", "--api-key-keyring", "--api-key-stdin")
SET = ("key", "set", "zai", "--api-key-keyring", "--api-key-stdin")


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[Mapping[str, str]]:
    with keyring_service(tmp_path / "ring") as environ:
        yield environ


@pytest.fixture
def user(tmp_path: Path, npm: NpmRegistry, ring: Mapping[str, str]) -> Sandbox:
    npm.publish("2.1.329")
    npm.publish("2.1.330")
    return make_sandbox(tmp_path / "home", {"NPM_CONFIG_REGISTRY": npm.url, **ring})


def account(user: Sandbox) -> str:
    record = json.loads((user.ccm_home / "zai" / "variant.json").read_text())
    assert record["credential"]["from"] == "keyring"
    return str(record["credential"]["account"])


def token(user: Sandbox) -> str:
    done = user.run(user.launcher("zai"), stdin="for Claude Code\n")
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["env"]["ANTHROPIC_AUTH_TOKEN"])


def ledger(user: Sandbox) -> list[str]:
    directory = user.ccm_home / ".keyring"
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


def on_disk(user: Sandbox, key: str) -> list[Path]:
    files = [path for path in user.home.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in files if key.encode() in path.read_bytes()]


def test_a_key_is_kept_there_alone_and_read_from_there_at_each_start(
    user: Sandbox, ring: Mapping[str, str]
) -> None:
    user.must(*CREATE, stdin=f"{KEY}\n")
    assert stored(ring) == {account(user): KEY}
    assert account(user).startswith("zai~")
    assert on_disk(user, KEY) == []
    assert user.must("key", "show", "zai") == "stored in the keyring\n"
    assert token(user) == KEY
    put(ring, account(user), OTHER)  # changed behind ccm's back: no need to make anything anew
    assert token(user) == OTHER
    assert "key" in user.must("doctor", "zai")


def test_a_key_typed_on_a_terminal_goes_there(user: Sandbox, ring: Mapping[str, str]) -> None:
    child = pexpect.spawn(
        str(CCM),
        ["create", "zai", "--provider", "zai", "--api-key-keyring"],
        env=dict(user.environ),
        cwd=str(user.home),
        encoding="utf-8",
        timeout=30,
    )
    child.expect("Key of Z.ai")
    child.waitnoecho(5)
    child.sendline(KEY)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert list(stored(ring).values()) == [KEY]


def test_a_new_key_takes_the_place_of_the_old_one(user: Sandbox, ring: Mapping[str, str]) -> None:
    user.must(*CREATE, stdin=f"{KEY}\n")
    first = account(user)
    user.must(*SET, stdin=f"{OTHER}\n")
    assert account(user) != first
    assert stored(ring) == {account(user): OTHER}
    assert ledger(user) == [account(user)]
    assert token(user) == OTHER
    user.must("key", "set", "zai", "--api-key-stdin", stdin="sk-in-a-file\n")
    assert (stored(ring), ledger(user)) == ({}, [])
    assert token(user) == "sk-in-a-file"
    user.must(*SET, stdin=f"{KEY}\n")
    assert on_disk(user, "sk-in-a-file") == []
    assert "its stored key is gone" in user.must("key", "remove", "zai")
    assert (stored(ring), ledger(user)) == ({}, [])


def test_the_trash_can_give_it_back_and_what_is_deleted_for_good_takes_it_along(
    user: Sandbox, ring: Mapping[str, str]
) -> None:
    user.must(*CREATE, stdin=f"{KEY}\n")
    user.must("remove", "zai", "--yes")
    user.must("prune")
    assert list(stored(ring).values()) == [KEY]
    # one of the same name has a key of its own
    user.must(*CREATE, stdin=f"{OTHER}\n")
    assert sorted(stored(ring).values()) == [KEY, OTHER]
    user.must("key", "remove", "zai")
    user.must("remove", "zai", "--purge", "--yes")
    assert list(stored(ring).values()) == [KEY]
    user.must("trash", "restore", "zai")
    assert token(user) == KEY
    user.must("remove", "zai", "--yes")
    user.must("trash", "empty", "--yes")
    assert (stored(ring), ledger(user)) == ({}, [])
    user.must(*CREATE, stdin=f"{KEY}\n")
    user.must("remove", "zai", "--purge", "--yes")
    assert (stored(ring), ledger(user)) == ({}, [])


def test_rolling_back_finds_the_key_of_the_host_it_goes_back_to(
    user: Sandbox, ring: Mapping[str, str]
) -> None:
    words = ("create", "zai", "--provider", "custom", "--model", "m")
    how = ("--api-key-keyring", "--api-key-stdin", "--force")
    user.must(*words, "--base-url", "http://127.0.0.1:1", *how, stdin=f"{KEY}\n")
    user.must(*words, "--base-url", "http://127.0.0.1:2", *how, stdin=f"{OTHER}\n")
    assert sorted(stored(ring).values()) == [KEY, OTHER]
    user.must("rollback", "zai")
    assert token(user) == KEY
    user.must("rollback", "zai")
    assert token(user) == OTHER
    user.must(*words, "--base-url", "http://127.0.0.1:2/x", *how, stdin="sk-third\n")
    user.must("rollback", "zai")
    assert token(user) == "sk-third"  # the same host: the present key stays
    # when no generation speaks of it any more, the first goes by itself
    user.must("update", "zai", "--claude-version", "2.1.329", "--allow-older")
    user.must("update", "zai", "--claude-version", "2.1.330")
    assert KEY not in stored(ring).values()
    assert token(user) == "sk-third"


def test_updates_keep_it(user: Sandbox, ring: Mapping[str, str]) -> None:
    user.must(*CREATE, "--claude-version", "2.1.329", stdin=f"{KEY}\n")
    before = account(user)
    user.must("update", "zai", "--claude-version", "latest")
    user.must("pin", "zai")
    user.must("rollback", "zai")
    assert (account(user), token(user)) == (before, KEY)


def test_nobody_else_sees_which_entries_there_are(user: Sandbox) -> None:
    done = user.run("sh", "-c", f"umask 0; exec {CCM} {' '.join(CREATE)}", stdin=f"{KEY}\n")
    assert done.returncode == 0, done.stderr
    directory = user.ccm_home / ".keyring"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in directory.iterdir()] == [0o600]


@pytest.mark.parametrize("auth", ["bearer", "x-api-key"])
def test_the_real_claude_code_sends_it(
    tmp_path: Path, ring: Mapping[str, str], echo: EchoServer, auth: str
) -> None:
    real = make_sandbox(tmp_path / "home", {**network_environ(), **ring})
    version = provide(real, "latest")
    words = ("create", "zai", "--provider", "custom", "--base-url", echo.url, "--model", "m")
    made = ("--auth", auth, "--claude-version", version, *CREATE[4:])
    real.must(*words, *made, stdin=f"{KEY}\n")
    for key in (KEY, OTHER):
        put(ring, account(real), key)
        done = real.run(real.launcher("zai"), "-p", "hi")
        assert (done.returncode, done.stdout) == (0, "echo from m: hi\n"), done.stderr
        last = [request for request in echo.received if request.method == "POST"][-1]
        sent = (last.header("authorization"), last.header("x-api-key"))
        assert sent == ((f"Bearer {key}", None) if auth == "bearer" else (None, key))
    assert on_disk(real, KEY) == []


# --- when there is no keyring -----------------------------------------------------------------


def everything(user: Sandbox) -> set[str]:
    return {str(path) for path in user.home.rglob("*")}


WITHOUT = {
    "service": ({"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent"}, "no keyring to be reached"),
    "command": ({"PATH": "/nonexistent"}, "There is no command 'secret-tool'"),
}


@pytest.mark.parametrize("what", WITHOUT)
def test_without_it_create_and_key_set_refuse_and_change_nothing(user: Sandbox, what: str) -> None:
    environ, said = WITHOUT[what]
    done = user.ccm(*CREATE, env=environ, stdin=f"{KEY}\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "leave out --api-key-keyring" in done.stderr
    assert everything(user) == set()
    user.must("create", "zai", "--provider", "zai", "--api-key-stdin", stdin="sk-file\n")
    before = everything(user)
    done = user.ccm(*SET, env=environ, stdin=f"{KEY}\n")
    assert (done.returncode, done.stdout, said in done.stderr) == (2, "", True)
    assert (everything(user), token(user)) == (before, "sk-file")


def test_a_key_that_the_launcher_could_not_read_is_refused(
    user: Sandbox, ring: Mapping[str, str]
) -> None:
    """A secret-tool that speaks to another keyring than the one written to."""
    user.must("create", "zai", "--provider", "zai", "--api-key-stdin", stdin="sk-file\n")
    user.bin_dir.joinpath("secret-tool").write_text("#!/bin/sh\nexit 1\n")
    user.bin_dir.joinpath("secret-tool").chmod(0o755)
    done = user.ccm(*SET, stdin=f"{KEY}\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert "The keyring gave no key" in done.stderr
    assert (stored(ring), ledger(user), token(user)) == ({}, [], "sk-file")


def test_a_launcher_that_finds_no_key_says_so_in_one_line(
    user: Sandbox, ring: Mapping[str, str]
) -> None:
    user.must(*CREATE, stdin=f"{KEY}\n")
    take(ring, account(user))
    done = user.run(user.launcher("zai"))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "zai: the keyring gave no key (it is locked, the entry is gone" in done.stderr
    assert user.run(user.launcher("zai"), "--help").returncode == 0
    done = user.ccm("key", "test", "zai")
    assert (done.returncode, "The keyring gave no key" in done.stdout) == (1, True)
    assert user.ccm("doctor", "zai").returncode == 1


def test_what_cannot_be_deleted_now_is_deleted_later(
    user: Sandbox, ring: Mapping[str, str]
) -> None:
    user.must(*CREATE, stdin=f"{KEY}\n")
    gone = {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent"}
    done = user.ccm("key", "remove", "zai", env=gone)
    assert done.returncode == 0
    assert "will go from the keyring when that can be reached" in done.stdout
    assert "An old key of zai is still in the keyring" in done.stderr
    assert list(stored(ring).values()) == [KEY]
    user.must("remove", "zai", "--purge", "--yes")
    assert (stored(ring), ledger(user)) == ({}, [])


def test_what_a_killed_command_left_there_goes_with_the_next_one(
    user: Sandbox, ring: Mapping[str, str]
) -> None:
    """Killed between the keyring and the generation, and between the generation and the end."""
    user.must(*CREATE, stdin=f"{KEY}\n")
    left = os_keyring.new_account("zai")
    put(ring, left, OTHER)
    (user.ccm_home / ".keyring" / left).touch(0o600)
    user.must("prune")
    assert stored(ring) == {account(user): KEY}
    first = account(user)
    user.must(*SET, stdin=f"{OTHER}\n")
    put(ring, first, KEY)
    (user.ccm_home / ".keyring" / first).touch(0o600)
    announced = {"name": "zai", "verb": "forget keys", "trashed": "", "after": 1}
    (user.ccm_home / ".journal/zai").write_text(json.dumps(announced))
    user.must("prune")
    assert (stored(ring), ledger(user)) == ({account(user): OTHER}, [account(user)])


def test_a_record_that_cannot_be_read_costs_no_key(user: Sandbox, ring: Mapping[str, str]) -> None:
    user.must(*CREATE, stdin=f"{KEY}\n")
    kept = account(user)
    (user.ccm_home / "zai" / "current" / "variant.json").write_text("{")
    user.must("create", "e", "--provider", "echo")
    assert stored(ring) == {kept: KEY}
    generations = user.ccm_home / "zai" / "generations"
    generations.rename(generations.with_name("elsewhere"))
    generations.write_text("")
    assert user.ccm("update", "e").returncode == 0
    assert stored(ring) == {kept: KEY}


def test_what_else_lies_beside_the_generations_keeps_no_old_key(
    user: Sandbox, ring: Mapping[str, str]
) -> None:
    user.must(*CREATE, stdin=f"{KEY}\n")
    (user.ccm_home / "zai/generations/.DS_Store").touch()
    user.must(*SET, stdin=f"{OTHER}\n")
    assert list(stored(ring).values()) == [OTHER]


# --- where it must not show -------------------------------------------------------------------


def test_a_key_is_in_no_argument_of_any_program(user: Sandbox, tmp_path: Path) -> None:
    strace = tmp_path / "strace"
    command = ["strace", "-f", "-s", "65536", "-e", "trace=execve", "-v", "-o", str(strace)]
    if user.run("sh", "-c", "command -v strace").returncode:
        pytest.skip("strace is not installed")
    for words, key in ((CREATE, KEY), (SET, OTHER)):
        done = user.run(*command, CCM, *words, stdin=f"{key}\n")
        assert done.returncode == 0, done.stderr
        traced = strace.read_text()
        assert "secret-tool" in traced
        assert key not in traced
        assert key not in done.stdout + done.stderr


def test_listing_and_making_variants_with_other_keys_import_no_keyring(user: Sandbox) -> None:
    line = (
        "import sys; from ccmirror_py.cli.app import app_for as a; sys.argv[1:] = w = {!r}; a(w)()"
    )
    for words in (["list"], ["create", "zai", "--provider", "zai", "--api-key-stdin"]):
        python = str(CCM.with_name("python"))
        done = subprocess.run(
            [python, "-X", "importtime", "-c", line.format(words)],
            env=dict(user.environ),
            input=f"{KEY}\n",
            capture_output=True,
            text=True,
            check=True,
        )
        names = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert ("ccmirror_py.keyring_entries" in names) is (words != ["list"])
        assert {"keyring", "secretstorage", "ccmirror_py.os_keyring"} & names == set()
