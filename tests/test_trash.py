"""What was removed comes back as it was, and goes for good only when somebody says so."""

import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.conftest import Sandbox
from tests.npm_registry import NpmRegistry

KEY = "sk-of-demo-0123456789"


@pytest.fixture
def removed(sandbox: Sandbox, npm: NpmRegistry) -> Sandbox:
    """`demo` had a key, a session and two versions, and is gone."""
    npm.publish("2.1.400")
    sandbox.must("create", "demo", "--provider", "deepseek", "--api-key-stdin", stdin=KEY)
    npm.publish("2.1.401")
    sandbox.must("update", "demo")
    session = sandbox.ccm_home / "demo/config/projects/p/s.jsonl"
    session.parent.mkdir(parents=True)
    session.write_text("it matters\n")
    sandbox.must("remove", "demo", "--yes")
    return sandbox


def entries(sandbox: Sandbox) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(sandbox.must("trash", "list", "--json"))["entries"]
    return found


def reported(sandbox: Sandbox) -> tuple[str, str]:
    """The version its command runs, and the key that is given to it."""
    ran = json.loads(sandbox.run(sandbox.launcher("demo")).stdout)
    return ran["version"], ran["env"]["ANTHROPIC_AUTH_TOKEN"]


def aged(sandbox: Sandbox, age: timedelta) -> None:
    """The removal happened so long ago."""
    entry = Path(entries(sandbox)[0]["directory"])
    moment = (datetime.now(UTC) - age).strftime("%Y%m%dT%H%M%S%fZ")
    entry.rename(entry.with_name(f"demo~{moment}"))


def test_a_removed_variant_comes_back_as_it_was(removed: Sandbox) -> None:
    assert not removed.launcher("demo").is_symlink()
    assert not (removed.ccm_home / "demo").exists()
    told = removed.must("trash", "list")
    assert "deepseek 2.1.401, 1 session" in told
    assert "demo is back" in removed.must("trash", "restore", "demo")
    assert reported(removed) == ("2.1.401", KEY)
    session = removed.ccm_home / "demo/config/projects/p/s.jsonl"
    assert session.read_text() == "it matters\n"
    assert entries(removed) == []
    assert os.listdir(removed.ccm_home / ".trash") == []
    removed.must("rollback", "demo")
    assert reported(removed) == ("2.1.400", KEY)


def test_it_comes_back_without_a_registry_and_without_the_store(
    removed: Sandbox, npm: NpmRegistry
) -> None:
    removed.must("prune")
    assert list((removed.ccm_home / ".store").glob("*/*")) == []
    asked = len(npm.requests)
    removed.must("trash", "restore", "demo")
    assert len(npm.requests) == asked
    assert reported(removed) == ("2.1.401", KEY)


def test_of_several_the_newest_comes_back_and_any_by_its_id(removed: Sandbox) -> None:
    removed.must("create", "demo", "--provider", "echo")
    removed.must("remove", "demo", "--yes")
    first, second = entries(removed)
    assert "echo" in second["was"]
    removed.must("trash", "restore", first["id"])
    assert "deepseek" in removed.must("show", "demo")
    refused = removed.ccm("trash", "restore", "demo")
    assert (refused.returncode, "Remove it first" in refused.stderr) == (2, True)
    assert entries(removed) == [second]


def test_what_keep_config_removed_comes_back_to_its_config(
    sandbox: Sandbox, npm: NpmRegistry
) -> None:
    npm.publish("2.1.400")
    sandbox.must("create", "demo", "--provider", "deepseek", "--api-key-stdin", stdin=KEY)
    mine = sandbox.ccm_home / "demo/config/settings.json"
    mine.write_text("{}")
    sandbox.must("remove", "demo", "--keep-config", "--yes")
    assert mine.read_text() == "{}"
    sandbox.must("trash", "restore", "demo")
    assert mine.read_text() == "{}"
    assert reported(sandbox) == ("2.1.400", KEY)


def test_a_config_in_the_way_is_never_replaced(removed: Sandbox) -> None:
    removed.must("create", "demo", "--provider", "echo")
    removed.must("remove", "demo", "--keep-config", "--purge", "--yes")
    refused = removed.ccm("trash", "restore", "demo")
    assert refused.returncode == 2
    assert "Move that directory away first" in refused.stderr
    assert len(entries(removed)) == 1
    shutil.move(removed.ccm_home / "demo/config", removed.home / "mine")
    removed.must("trash", "restore", "demo")


def test_a_foreign_command_in_the_way_is_never_replaced(removed: Sandbox) -> None:
    removed.launcher("demo").write_text("the user's own\n")
    refused = removed.ccm("trash", "restore", "demo")
    assert (refused.returncode, "not made by ccm" in refused.stderr) == (2, True)
    assert removed.launcher("demo").read_text() == "the user's own\n"


@pytest.mark.parametrize("command", ["remove", "prune"])
def test_after_thirty_days_it_goes_with_the_next_clearing(removed: Sandbox, command: str) -> None:
    aged(removed, timedelta(days=29, hours=23))
    removed.must("create", "other", "--provider", "echo")
    removed.must("prune")
    assert len(entries(removed)) == 1
    aged(removed, timedelta(days=30, hours=1))
    removed.must("update", "--all")  # other commands take nothing away
    assert len(entries(removed)) == 1
    words = ("remove", "other", "--purge", "--yes") if command == "remove" else ("prune",)
    removed.must(*words)
    assert entries(removed) == []


def test_purge_leaves_nothing(sandbox: Sandbox, npm: NpmRegistry) -> None:
    npm.publish("2.1.400")
    sandbox.must("create", "demo", "--provider", "deepseek", "--api-key-stdin", stdin=KEY)
    sandbox.must("remove", "demo", "--purge", "--yes")
    assert entries(sandbox) == []
    left = [p for p in sandbox.ccm_home.rglob("*") if p.is_file() and KEY in p.read_text("latin-1")]
    assert left == []


def test_emptying_asks_first_and_takes_only_what_is_named(removed: Sandbox) -> None:
    removed.must("create", "other", "--provider", "echo")
    removed.must("remove", "other", "--yes")
    asked = removed.ccm("trash", "empty")
    assert (asked.returncode, "Nobody is there to agree" in asked.stderr) == (2, True)
    removed.must("trash", "empty", "other", "--yes")
    assert [entry["name"] for entry in entries(removed)] == ["demo"]
    other = removed.ccm("trash", "restore", "quite-another")
    assert (other.returncode, "Known: demo." in other.stderr) == (3, True)
    removed.must("trash", "empty", "--yes")
    assert entries(removed) == []
    assert "empty" in removed.ccm("trash", "empty").stderr
    nothing = removed.ccm("trash", "restore", "demo")
    assert nothing.returncode == 3


def test_what_ccm_did_not_put_into_the_trash_stays_there(removed: Sandbox) -> None:
    foreign = removed.ccm_home / ".trash/mine"
    foreign.mkdir()
    (foreign / "letter").write_text("the user's own\n")
    removed.must("trash", "empty", "--yes")
    assert (foreign / "letter").exists()


@pytest.mark.parametrize("how", [(), ("--purge",), ("--keep-config",)])
def test_numbers_of_generations_are_never_used_again(
    removed: Sandbox, how: tuple[str, ...]
) -> None:
    """Else a launcher that was started a moment before would read the files of another variant."""
    removed.must("create", "demo", "--provider", "echo")
    assert (removed.ccm_home / "demo/current").readlink() == Path("generations/3")
    removed.must("remove", "demo", "--yes", *how)
    removed.must("create", "demo", "--provider", "echo")
    assert (removed.ccm_home / "demo/current").readlink() == Path("generations/4")


def test_a_removal_that_can_not_begin_is_taken_back(sandbox: Sandbox, npm: NpmRegistry) -> None:
    npm.publish("2.1.400")
    for name in ("demo", "other"):
        sandbox.must("create", name, "--provider", "deepseek", "--api-key-stdin", stdin=KEY)
    (sandbox.ccm_home / ".numbers").write_text("somebody's\n")
    for how in ((), ("--purge",)):
        refused = sandbox.ccm("remove", "demo", "--yes", *how)
        assert refused.returncode == 1
        assert refused.stderr.count("\n     ") >= 1
        sandbox.must("update", "other")  # makes good what was announced; nothing is
        assert reported(sandbox) == ("2.1.400", KEY)
    assert entries(sandbox) == []


def test_a_removal_killed_before_its_first_step_is_taken_back(removed: Sandbox) -> None:
    removed.must("trash", "restore", "demo")
    (removed.ccm_home / ".journal/demo").write_text(
        json.dumps({"name": "demo", "verb": "remove", "trashed": ""})
    )
    removed.launcher("demo").unlink()
    removed.must("prune")
    assert reported(removed) == ("2.1.401", KEY)


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "{}",
        "garbage",
        '{"verb": "restore", "trashed": "../../x"}',
        '{"verb": "remove", "trashed": "other~20260101T000000000000Z"}',
        '{"verb": "of a newer ccm", "trashed": ""}',
    ],
)
def test_what_can_not_be_read_in_the_journal_takes_nothing_away(
    removed: Sandbox, entry: str
) -> None:
    trashed = Path(entries(removed)[0]["directory"])
    half_restored = removed.ccm_home / "demo"
    half_restored.mkdir()
    for name in ("config", "generations"):
        (trashed / name).rename(half_restored / name)
    (removed.ccm_home / ".journal/demo").write_text(entry)
    told = removed.ccm("prune")
    assert (told.returncode, "nothing was taken away" in told.stderr) == (0, True)
    assert (half_restored / "generations/2/credential").read_text() == f"{KEY}\n"
    assert (half_restored / "config/projects/p/s.jsonl").exists()
    assert "nothing was taken away" not in removed.ccm("prune").stderr


def test_generations_without_current_are_nobodys_litter(removed: Sandbox) -> None:
    photos = removed.ccm_home / "backup/generations/2026"
    photos.mkdir(parents=True)
    (photos / "photo").write_text("mine\n")
    fake = removed.ccm_home / ".trash/backup~20260101T000000000000Z"
    (fake / "config").mkdir(parents=True)
    for words in (("trash", "restore", "backup"), ("prune",), ("trash", "empty", "--yes")):
        removed.ccm(*words)
        assert (photos / "photo").read_text() == "mine\n"
    removed.must("create", "demo", "--provider", "echo")
    (removed.ccm_home / "demo/current").unlink()
    refused = removed.ccm("create", "demo", "--provider", "echo")
    assert (refused.returncode, "ccm doctor --fix demo" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    "name",
    [
        "demo~99991231T000000000000Z",
        "..~20260101T000000000000Z",
        "My Backup~20260101T000000000000Z",
        "demo~20260101",
        "~20260101T000000000000Z",
    ],
)
@pytest.mark.parametrize("kind", ["directory", "file", "link"])
def test_what_has_the_name_of_an_entry_and_is_none_is_left_alone(
    removed: Sandbox, name: str, kind: str
) -> None:
    removed.must("trash", "empty", "--yes")
    path = removed.ccm_home / ".trash" / name
    elsewhere = removed.home / "elsewhere"
    (elsewhere / "config").mkdir(parents=True)
    if kind == "directory":
        path.mkdir()
    elif kind == "file":
        path.write_text("mine\n")
    else:
        path.symlink_to(elsewhere)
    assert entries(removed) == []
    assert removed.ccm("trash", "restore", name.partition("~")[0] or "x").returncode == 3
    removed.must("trash", "empty", "--yes")
    removed.must("prune")
    assert os.path.lexists(path)
    assert (elsewhere / "config").is_dir()


def test_what_is_no_number_among_generations_is_left_alone(removed: Sandbox) -> None:
    removed.must("trash", "restore", "demo")
    odd = {"²", "0", "007", "9" * 200, "mine"}
    for name in odd:
        (removed.ccm_home / "demo/generations" / name).mkdir()
    (removed.ccm_home / ".numbers/demo").write_text("9" * 300)
    removed.must("pin", "demo")
    assert reported(removed)[1] == KEY
    assert odd < set(os.listdir(removed.ccm_home / "demo/generations"))


def test_what_the_trash_still_holds_is_told_where_one_frees_space(removed: Sandbox) -> None:
    config = next(removed.ccm_home.glob(".trash/*/config"))
    (config / "big").write_bytes(bytes(3_000_000))
    (config / "link").symlink_to(removed.ccm_home / "not/there")
    for line in (("prune", "--dry-run"), ("prune",)):
        told = removed.ccm(*line)
        assert "The trash still holds 3 MB" in told.stderr
        assert "ccm trash empty" in told.stderr
    held = json.loads(removed.must("prune", "--json"))
    assert held["bytes"] == 0
    assert 3_000_000 <= held["trashed"] < 4_000_000
    removed.must("trash", "empty", "--yes")
    assert "trash" not in removed.ccm("prune").stderr


def test_trash_alone_lists(removed: Sandbox) -> None:
    assert removed.must("trash") == removed.must("trash", "list")
