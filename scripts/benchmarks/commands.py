"""How long commands take, beside an interpreter that does nothing."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial

from homes import VERSION, User, user
from table import Row, Run, medians, ready

REFERENCE = "python -c pass"
KEY = "sk-0123456789"
PEERS = ("cc-mirror list", "pipx list", "uv tool list", "npm ls -g", "mise ls")


def rows(quick: bool) -> list[Row]:
    """`quick`: few variants, once each, and no real Claude Code: to see that it works."""
    times, few, many = (1, 2, 3) if quick else (21, 100, 1000)
    found = []
    with user(few) as some:
        found += _at_once(some, few, times)
        found += _others(some, times)
        found += _launches(some, times)
        found += _changes(some, times)
        found += _updates(some, few, times)
    with user(many) as crowd:
        found += _beside(crowd, times, [_list(crowd, many, 7), _list_json(crowd, many)])
    return found if quick else found + _peers(times)


Case = tuple[str, Run, float | None]


def _beside(at: User, times: int, cases: list[Case]) -> list[Row]:
    """Each case and the reference, all in turns."""
    runs = [(ready, at.python), *(run for _, run, _ in cases)]
    reference, *taken = medians(runs, times)
    return [
        Row(path, seconds, REFERENCE, reference, goal)
        for (path, _, goal), seconds in zip(cases, taken, strict=True)
    ]


def _list(at: User, count: int, goal: float) -> Case:
    return f"ccm list, {count:,} variants", (ready, at.ccm("list")), goal


def _list_json(at: User, count: int) -> Case:
    return f"ccm list --json, {count:,} variants", (ready, at.ccm("list", "--json")), None


def _at_once(at: User, few: int, times: int) -> list[Row]:
    cases: list[Case] = [
        ("ccm --version", (ready, at.ccm("--version")), 3),
        ("ccm which NAME", (ready, at.ccm("which", "v0")), 3),
        _list(at, few, 4),
        _list_json(at, few),
    ]
    shells = ("bash", "zsh", "fish")
    cases += [(f"completing a name, {sh}", (ready, _completing(at, sh)), 3) for sh in shells]
    return _beside(at, times, cases)


def _completing(at: User, shell: str) -> Callable[[], str]:
    line = "ccm update v"
    words = {"COMP_WORDS": line, "COMP_CWORD": "2"}
    words |= {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    return lambda: at.run("ccm", env={**words, "_CCM_COMPLETE": f"complete_{shell}"})


def _others(at: User, times: int) -> list[Row]:
    """Until their first work: shown from one record, or refused before anything is done."""
    cases: list[Case] = [
        ("ccm show NAME", (ready, at.ccm("show", "v0")), 7),
        ("ccm env NAME", (ready, at.ccm("env", "v0")), 7),
        ("ccm update, refused", (ready, at.ccm("update", ends=2)), 7),
        ("ccm create, refused", (ready, at.ccm("create", "v0", "--provider", "echo", ends=2)), 7),
        ("ccm --help", (ready, at.ccm("--help")), None),
    ]
    return _beside(at, times, cases)


def _changes(at: User, times: int) -> list[Row]:
    at.registry.publish("2.1.331")
    at.ccm("create", "back", "--provider", "echo", "--claude-version", VERSION)()
    at.ccm("pin", "back", "2.1.331")()
    restore, again = at.ccm("trash", "restore", "v0"), at.ccm("unpin", "v1")
    at.ccm("remove", "v0", "--yes")()
    cases: list[Case] = [
        ("ccm pin NAME", (again, at.ccm("pin", "v1")), 10),
        ("ccm rollback NAME", (ready, at.ccm("rollback", "back")), 10),
        ("ccm remove NAME --yes", (restore, at.ccm("remove", "v0", "--yes")), 10),
    ]
    found = _beside(at, times, cases)
    restore()
    at.ccm("unpin", "v1")()
    at.ccm("remove", "back", "--purge", "--yes")()
    at.registry.unpublish("2.1.331")
    return found


def _updates(at: User, few: int, times: int) -> list[Row]:
    nothing_new = at.ccm("update", "--all")
    nothing_new()
    before, asked = at.everything(), len(at.registry.requests)
    nothing_new()
    requests = len(at.registry.requests) - asked
    if at.everything() != before:
        raise SystemExit("ccm update --all wrote to the disk, and nothing was new")
    path = f"ccm update --all, nothing new, {few} variants"
    _say(f"{path}: {requests} requests")
    return [*_beside(at, times, [(path, (ready, nothing_new), 25)]), _new_releases(at, few)]


def _new_releases(at: User, few: int) -> Row:
    """One release after the other: the first of the variants alone, then all of them."""
    alone, together, told = [], [], ""
    for number in range(3):
        at.registry.publish(f"2.1.{340 + 2 * number}")
        alone += medians([(ready, at.ccm("update", "v0"))], 1)
        at.registry.publish(f"2.1.{341 + 2 * number}")
        asked = len(at.registry.requests)
        together += medians([(ready, at.ccm("update", "--all"))], 1)
        paths = [request.path for request in at.registry.requests[asked:]]
        downloads = sum(path.endswith(".tgz") for path in paths)
        told = f"{downloads} download, {len(paths) - downloads} other requests"
    each = (sorted(together)[1] - sorted(alone)[1]) / (few - 1)
    _say(f"ccm update --all, a new release, {few} variants: {told}")
    return Row(f"ccm update --all, new release, each of {few}", each, "15 ms", 0.015, 1)


def _launches(at: User, times: int) -> list[Row]:
    """What launchers add to a program that does next to nothing."""
    shell = {"ZAI_API_KEY": KEY}
    for name in ("key1", "key2"):
        at.run("ccm", "create", name, "--provider", "zai", env=shell)
    at.run("sh", "-c", f"echo {KEY} | ccm key set key2 --api-key-stdin")
    bare = at.home / ".ccm/v0/current/native/claude"
    starts = [bare, *(at.home / ".local/bin" / name for name in ("v0", "key1", "key2"))]
    runs: list[Run] = [(ready, partial(at.run, start, "-p", "x", env=shell)) for start in starts]
    plain, *launched = medians(runs, 5 * times)
    for name in ("key1", "key2"):
        at.run("ccm", "remove", name, "--purge", "--yes")
    keys = ("no key", "a key from a variable", "a stored key")
    return [
        Row(f"launcher, {key}: added", max(each - plain, 0), "1.5 ms", 0.0015, 1)
        for key, each in zip(keys, launched, strict=True)
    ]


def _peers(times: int) -> list[Row]:
    found = []
    for peer in PEERS:
        words = peer.split()
        program = shutil.which(words[0])
        if program is None:
            _say(f"not installed, so not measured: {words[0]}")
            continue

        def run(argv: tuple[str, ...] = (program, *words[1:])) -> None:
            subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, check=False)

        def python() -> None:
            subprocess.run([sys.executable, "-c", "pass"], check=True)

        reference, taken = medians([(ready, python), (ready, run)], times)
        found.append(Row(peer, taken, REFERENCE, reference, None))
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr)
