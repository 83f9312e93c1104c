"""A key that is looked for everywhere: through every command, each way in, and however it ends.

Two keys go about: KEPT is the one the variants have from the beginning, NEW the one a command is
given. Afterwards both are looked for, in pieces and encoded, in all that was said, in every file
below the home directory and TMPDIR, in the keyring, in the arguments and environments of all
programs that were started, and in what the registry was asked.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ccmirror_py.home import Home
from ccmirror_py.journal import Journal
from ccmirror_py.variants import Variants
from tests.conftest import Sandbox, make_sandbox
from tests.keyring_service import MISSING, keyring_service, put, stored, take
from tests.npm_registry import (
    METADATA,
    TARBALL,
    NpmRegistry,
    answer,
    flipped,
    redirect,
    tarball_url,
)
from tests.safety.disk import Disk
from tests.safety.shells import INSTALLED, SHELLS
from tests.safety.table import FULL, Tally, sample
from tests.safety.watched import Fault, Plan, Started, Watched, watched

UNUSED, OLD, NOW, NEWEST = "2.1.399", "2.1.400", "2.1.401", "2.1.402"
VARIABLE = "ZAI_API_KEY"
PIECE = 8
SECONDS = 30.0

# Letters and digits in the middle: no quoting, escaping or URL-encoding changes those.
KEPT_CORE = "9vQm3TzKfYw7RbXe2LsHn8Gd5JcPu4AaWq6Zt1Ni0Ok"
NEW_CORE = "Hx4Pj8Wn2BqVu6Mz0SgLr5Tf9Yc3Dk7EaQ1iXo8NbGw"
KEPT, NEW = f"sk-kept/{KEPT_CORE}+==", f"sk-new/{NEW_CORE}+=="


def traces(core: str) -> "re.Pattern[bytes]":
    """Whatever holds twice PIECE characters of it in a row: plain, in hex or in base64."""
    texts = [core, core.encode().hex()]
    # the first and last characters of base64 also depend on what is around
    texts += [b64encode(b"-" * shift + core.encode()).decode()[4:-4] for shift in range(3)]
    pieces = [t[i : i + PIECE] for t in texts for i in range(0, len(t) - PIECE + 1, PIECE)]
    return re.compile("|".join(map(re.escape, pieces)).encode())


TRACES = {"the kept key": traces(KEPT_CORE), "the new key": traces(NEW_CORE)}


def shows(text: str | bytes) -> list[str]:
    """The keys of which something is in it."""
    data = text.encode(errors="surrogateescape") if isinstance(text, str) else text
    return [name for name, pattern in TRACES.items() if pattern.search(data)]


# --- the user ----------------------------------------------------------------------------------

PROGRAM = """#!/bin/sh
[ "${1-}" = --version ] && { echo '@VERSION@ (Claude Code)'; exit 0; }
case "$*" in *wait*) kill -STOP $$ ;; esac
printf '%s\\n' "Claude Code was here: $*"
"""
PRINT_KEY = '#!/bin/sh\nIFS= read -r key <"$0.$1"\nprintf "%s\\n" "$key"\n'
WAYS = ("stored", "variable", "command", "keyring")
WAYS_IN = ("typed", "stdin", "variable", "command", "keyring")


@dataclass(frozen=True)
class Scene:
    """A user whose variants have the key KEPT in one of the WAYS: `zai` (bearer, with a version to
    go back to and one to go on to), `keyed` (x-api-key) and, without a key, `other`. `gone` was
    removed and always had a stored key. `ring` is how the keyring is reached, and `entries` what is
    in it to begin with, each as `keyring_service` has it.
    """

    sandbox: Sandbox
    npm: NpmRegistry
    way: str
    ring: Mapping[str, str] = field(default_factory=dict)
    entries: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.sandbox.home

    @property
    def master(self) -> Path:
        return self.home.with_name(f"as it was, {self.way}")

    @property
    def print_key(self) -> Path:
        """A password manager: beside the home directory, because its file does hold a key."""
        return self.home.with_name("print key")

    def keep(self, key: str) -> str:
        """The name under which the password manager knows it."""
        name = str(zlib.crc32(key.encode()))
        self.print_key.with_name(f"print key.{name}").write_text(f"{key}\n")
        return name

    def again(self) -> None:
        """As it was made."""
        self.npm.heal()
        subprocess.run(["rm", "-rf", self.home], check=True)
        subprocess.run(["cp", "-a", self.master, self.home], check=True)
        if self.ring:
            there = stored(self.ring)
            for account in there.keys() - self.entries.keys():
                take(self.ring, account)
            for account in self.entries.keys() - there.keys():
                put(self.ring, account, self.entries[account])

    def env(self) -> dict[str, str]:
        return {VARIABLE: KEPT} if self.way == "variable" else {}

    def options(self, way: str, key: str) -> tuple[list[str], dict[str, str], str]:
        """Options, environment and standard input by which a key comes in."""
        if way == "variable":
            return ["--api-key-env", VARIABLE], {VARIABLE: key}, ""
        if way == "command":
            return ["--api-key-command", f"'{self.print_key}' {self.keep(key)}"], {}, ""
        if way == "keyring":
            return ["--api-key-keyring", "--api-key-stdin"], {}, f"{key}\n"
        return (["--api-key-stdin"], {}, f"{key}\n") if way != "typed" else ([], {}, "")


def publish(npm: NpmRegistry, version: str) -> None:
    npm.publish(version, program=PROGRAM.replace("@VERSION@", version).encode())


def furnish(directory: Path, npm: NpmRegistry, ring: Mapping[str, str]) -> dict[str, Scene]:
    """The user of all scenes, saved with each of the WAYS: launchers hold the path of the home."""
    for version in (UNUSED, OLD, NOW):
        publish(npm, version)
    home = directory / "home"
    environ = {"NPM_CONFIG_REGISTRY": npm.url, "TMPDIR": f"{home}/tmp", **ring}
    sandbox = make_sandbox(home, environ)
    (home / "tmp").mkdir()
    own = ("--provider", "custom", "--base-url", "http://127.0.0.1:1", "--auth", "x-api-key")
    lines: list[tuple[str, ...]] = [
        ("create", "zai", "--provider", "zai", "--claude-version", UNUSED, "--api-key-stdin"),
        ("update", "zai", "--claude-version", OLD),
        ("update", "zai", "--claude-version", NOW),
        ("pin", "zai", "2.1.x"),
        ("create", "keyed", *own, "--model", "m", "--claude-version", NOW, "--api-key-stdin"),
        ("create", "other", "--provider", "echo", "--claude-version", NOW),
        ("create", "gone", "--provider", "zai", "--claude-version", NOW, "--api-key-stdin"),
        ("remove", "gone", "--yes"),
    ]
    for line in lines:
        sandbox.must(*line, stdin=f"{KEPT}\n")
    publish(npm, NEWEST)
    scenes = {}
    for way in WAYS if ring else WAYS[:-1]:
        scene = Scene(sandbox, npm, way, ring)
        scene.print_key.write_text(PRINT_KEY)
        scene.print_key.chmod(0o755)
        if way != "stored":
            options, env, stdin = scene.options(way, KEPT)
            for name in ("zai", "keyed"):
                sandbox.must("key", "set", name, *options, env=env, stdin=stdin)
        subprocess.run(["cp", "-a", home, scene.master], check=True)
        scenes[way] = replace(scene, entries=stored(ring) if way == "keyring" else {})
    return scenes


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Scene]]:
    directory = tmp_path_factory.mktemp("scenes")
    with ExitStack() as stack:
        npm = stack.enter_context(NpmRegistry())
        ring: Mapping[str, str] = {}
        if not MISSING:
            ring = stack.enter_context(keyring_service(directory / "ring"))
        made = furnish(directory, npm, ring)

        def scene(way: str) -> Scene:
            if way == "keyring" and MISSING:
                pytest.skip(f"a real keyring needs {', '.join(MISSING)}")
            made[way].again()
            return made[way]

        yield scene


@pytest.fixture
def disk(tmp_path: Path, npm: NpmRegistry) -> Disk:
    return Disk(tmp_path, npm)


# --- where a key may be ------------------------------------------------------------------------

STORED = re.compile(r"\.ccm/(\.trash/)?[^./][^/]*/generations/\d+/credential")
STAGED = re.compile(r"\.ccm/\.staging/[^/]+/(trashed/generations/\d+/)?credential")
"""What a command that was killed was building, or was about to delete."""


def in_files(home: Path, *allowed: "re.Pattern[str]") -> list[str]:
    found = []
    for path in home.rglob("*"):
        place = str(path.relative_to(home))
        held = shows(place)
        if path.is_symlink():
            held += shows(os.readlink(path))
        elif path.is_file() and not any(pattern.fullmatch(place) for pattern in allowed):
            held += shows(path.read_bytes())
        found += [f"{key} is in {place}" for key in held]
    return found


def in_processes(started: tuple[Started, ...], variable: bool) -> list[str]:
    """Arguments: never. Environments: the user's own variable where it was to begin with, but not
    where ccm checks whether a program starts, and the one by which Claude Code gets a bearer key.
    """
    found = []
    for process in started:
        checked = "/.staging/" in process.argv[0] and process.argv[0].endswith("/claude")
        claude = process.argv[0].endswith("/claude") and not checked
        for word in process.argv:
            found += [f"{key} is an argument of {process.argv[0]}" for key in shows(word)]
        for pair in process.environ:
            name = pair.partition("=")[0]
            users = name == VARIABLE and variable and not checked
            if shows(pair) and not users and not (name == "ANTHROPIC_AUTH_TOKEN" and claude):
                found.append(f"a key is in ${name} of {process.argv}")
    return found


def in_requests(npm: NpmRegistry, since: int) -> list[str]:
    asked = (f"{request.path} {dict(request.headers)}" for request in npm.requests[since:])
    return [f"{key} was sent to the registry" for text in asked for key in shows(text)]


def looked_through(scene: Scene, run: Watched, since: int, variable: bool) -> list[str]:
    """Right after a command."""
    found = [f"{key} was said: {run.said}" for key in shows(run.said)]
    found += in_processes((*run.started, *run.traced), variable)
    found += in_requests(scene.npm, since)
    return found + in_files(scene.home, STORED, STAGED)


# --- the campaign ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Command:
    """`takes`: the key options come in the place of KEY. `asks`: the registry, for a release that
    has to be downloaded. `forgets`: the kept key has to go. `sums_up`: errors are told, not raised.
    """

    line: str
    takes: bool = False
    changes: bool = False
    asks: bool = False
    forgets: bool = False
    codes: tuple[int, ...] = (0,)
    sums_up: bool = False

    @property
    def name(self) -> str:
        """Of the variant it is about."""
        return next(word for word in (*self.line.split(), "zai") if word in ("gone", "zai"))


def reads(line: str, *codes: int) -> Command:
    return Command(line, codes=codes or (0,))


def changes(line: str, *, asks: bool = False, forgets: bool = False) -> Command:
    return Command(line, changes=True, asks=asks, forgets=forgets)


COMMANDS = {
    "create": Command("create new --provider zai KEY", takes=True, changes=True, asks=True),
    "create --force": Command(
        "create zai --provider zai --force KEY", takes=True, changes=True, asks=True
    ),
    "key set": Command("key set zai KEY", takes=True, changes=True, forgets=True),
    "ccm": reads(""),
    "list": reads("list"),
    "list --json": reads("list --json"),
    "list --outdated": reads("list --outdated"),
    "show": reads("show zai"),
    "show --json": reads("show zai --json"),
    "env": reads("env zai"),
    "env --format shell": reads("env zai --format shell"),
    "env --json": reads("env keyed --json"),
    "which": reads("which zai"),
    "versions": reads("versions"),
    "versions --available": reads("versions --available"),
    "providers": reads("providers"),
    "providers show": reads("providers show zai"),
    "key show": reads("key show zai"),
    "key show --json": reads("key show zai --json"),
    "doctor": reads("doctor"),
    "doctor --json": reads("doctor --json"),
    # the stand-in for Claude Code answers nothing
    "doctor --launch": reads("doctor zai --launch", 1),
    "audit": reads("audit zai", 1),
    "verify": reads("verify"),
    "completion": reads("completion bash"),
    "update --dry-run": reads("update --all --dry-run"),
    "run": reads("run zai -- hello"),
    "run, x-api-key": reads("run keyed -- hello"),
    "run --settings": changes("run zai -- --settings {} hello"),
    "run +VERSION": changes(f"run zai +{NEWEST} -- hello", asks=True),
    "doctor --fix": changes("doctor zai --fix"),
    "update": replace(changes("update zai", asks=True), sums_up=True),
    "pin": changes(f"pin zai {NEWEST}", asks=True),
    "unpin": changes("unpin zai"),
    "rollback": changes("rollback zai"),
    "key remove": changes("key remove zai", forgets=True),
    "prune": changes("prune"),
    "remove": changes("remove zai --yes"),
    "remove --keep-config": changes("remove zai --yes --keep-config"),
    "remove --purge": changes("remove zai --yes --purge", forgets=True),
    "trash list": reads("trash list"),
    "trash list --json": reads("trash list --json"),
    "trash restore": changes("trash restore gone"),
    "trash empty": changes("trash empty gone --yes", forgets=True),
}

FATES: dict[str, Fault] = {
    "done": "",
    "killed": "kill",
    "killed again": "kill",
    "disk full": "full",
    "interrupted": "interrupt",
    "crashed": "crash",
    "crashed --debug": "crash",
}
REFUSALS = {
    "registry down": (METADATA, answer(503, retry_after="0")),
    "bad archive": (TARBALL, flipped(100)),
    "bad archive --debug": (TARBALL, flipped(100)),
}
NO_KEY = ("no key", "no key --debug")
"""What came in can't be a key: it has a space in it."""


@dataclass(frozen=True)
class Case:
    command: str
    way: str

    def fates(self) -> list[str]:
        command = COMMANDS[self.command]
        found = [fate for fate in FATES if command.changes or FATES[fate] in ("", "crash")]
        if command.asks:
            found += REFUSALS
        if command.takes:
            found += NO_KEY
        return found


CASES = [
    Case(name, way)
    for name, command in COMMANDS.items()
    for way in (WAYS_IN if command.takes else WAYS)
]
SHORT = [
    *(("create", "typed"), ("create", "stdin"), ("key set", "command"), ("key set", "typed")),
    *(("key remove", "stored"), ("update", "stored"), ("doctor --launch", "variable")),
    *(("create", "keyring"), ("key set", "keyring"), ("key remove", "keyring")),
    *(
        ("remove --purge", "keyring"),
        ("run +VERSION", "command"),
        ("run, x-api-key", "stored"),
        ("list --json", "command"),
    ),
]


class Trial:
    """One command in one way, in each of its fates."""

    def __init__(self, scene: Scene, case: Case) -> None:
        self.violations: list[str] = []
        self.cases = 0
        self.steps = 0
        self._scene = scene
        self._case = case
        self._command = COMMANDS[case.command]
        self._random = random.Random(f"{case}")

    def go(self, fate: str, mistake: str = "") -> None:
        scene, command = self._scene, self._command
        if FATES.get(fate) and not self.steps:
            return  # it neither reads nor changes anything below the home directory
        scene.again()
        if command.line.startswith("doctor zai --fix"):
            (scene.sandbox.ccm_home / "zai" / "current" / "launch").write_text("damaged")
        plan = self._plan(fate, mistake)
        if fate in REFUSALS:
            pattern, fault = REFUSALS[fate]
            scene.npm.fail(pattern, fault)
        since = len(scene.npm.requests)
        before = self._state()
        run = self._run(fate, plan)
        self.cases += 1
        found = self._ended(fate, plan, run)
        if fate == "done" and not self.steps:
            self.steps = run.steps
        variable = "variable" in (scene.way, self._case.way)
        found += looked_through(scene, run, since, variable)
        found += self._afterwards(before, fate)
        place = f"{self._case.command}, {self._case.way}, {fate} ({plan.at}): "
        self.violations += [place + violation for violation in found]

    def _plan(self, fate: str, mistake: str) -> Plan:
        fault = FATES.get(fate, "")
        return Plan(fault, self._random.randint(1, max(1, self.steps)) if fault else 0, mistake)

    def _run(self, fate: str, plan: Plan) -> Watched:
        scene, command = self._scene, self._command
        options, env, stdin, typed = list[str](), scene.env(), "", None
        if command.takes:
            key = NEW if fate not in NO_KEY else f"{NEW[:30]} {NEW[30:]}"
            options, given, stdin = scene.options(self._case.way, key)
            env |= given
            typed = f"{key}\r" if self._case.way == "typed" else None
        words = [
            each for word in command.line.split() for each in (options if word == "KEY" else [word])
        ]
        if fate.endswith("--debug"):
            words = ["--debug", *words]
        return watched(scene.sandbox, words, plan, env=env, stdin=stdin, typed=typed)

    def _ended(self, fate: str, plan: Plan, run: Watched) -> list[str]:
        """Whether it went the way it was meant to: a case in which nothing happens counts for
        nothing.
        """
        command = self._command
        expected: tuple[int, ...] = {
            "kill": (-signal.SIGKILL,),
            "full": (1,),
            "interrupt": (130,),
            "crash": (1,),
            "": command.codes,
        }[plan.fault]
        if fate in REFUSALS:
            expected = (4,) if fate == "registry down" else (5,)
        if fate in NO_KEY:
            expected = (2,)
        raised = plan.fault == "crash" or (fate.endswith("--debug") and not command.sums_up)
        # a full disk is no hindrance to what only takes away, or writes nothing after that step
        may = (0,) if plan.fault == "full" else ()
        if run.code not in (*expected, *may):
            return [f"ended with {run.code}: {run.said}"]
        return [] if ("Traceback" in run.said) == raised else [f"a traceback? {run.said}"]

    def _state(self) -> dict[str, str]:
        """Which generation of each variant is the current one, of the removed ones as well."""
        root = self._scene.sandbox.ccm_home
        links = (*root.glob("*/current"), *root.glob(".trash/*/current"))
        return {link.parent.name: os.readlink(link) for link in links}

    def _afterwards(self, before: dict[str, str], fate: str) -> list[str]:
        """When the next command has cleared up: a key that was not taken is nowhere, and one that
        was taken away is nowhere.
        """
        scene, command = self._scene, self._command
        home = Home(scene.sandbox.ccm_home, scene.sandbox.bin_dir)
        if home.journal.is_dir():
            Journal(home, Variants(home)).recover(lambda _: None)
        found = in_files(scene.home, STORED)
        places = in_files(scene.home)
        own = re.compile(rf"/{command.name}[~/]")
        stored = " ".join(place for place in places if own.search(place))
        taken = self._state() != before
        if not taken and "the new key" in " ".join(places):
            found.append(f"a key that was not taken is left: {places}")
        if taken and command.forgets and "the kept key" in stored:
            found.append(f"a key that was taken away is left: {stored}")
        if fate == "done" and command.takes:
            kept = self._case.way in ("typed", "stdin")
            found += [f"stored: {places}"] if ("the new key" in str(places)) != kept else []
        return found + (self._in_the_keyring(taken) if "keyring" in self._ways else [])

    @property
    def _ways(self) -> tuple[str, str]:
        return self._scene.way, self._case.way

    def _in_the_keyring(self, taken: bool) -> list[str]:
        """After one more command that changes something."""
        scene, command = self._scene, self._command
        scene.sandbox.ccm("prune")
        there = stored(scene.ring)
        found = []
        if not taken and NEW in there.values():
            found.append("a key that was not taken is left in the keyring")
        own = [key for account, key in there.items() if account.startswith(f"{command.name}~")]
        if taken and command.forgets and KEPT in own:
            found.append("a key that was taken away is left in the keyring")
        root = scene.sandbox.ccm_home
        for record in (*root.glob("*/current/variant.json"), *root.glob(".trash/*/current/*.json")):
            account = json.loads(record.read_text()).get("credential", {}).get("account")
            if account and account not in there:
                found.append(f"the key of {record} is lost")
        return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.command}, {case.way}")
def test_a_key_is_nowhere_but_where_it_belongs(
    scenes: Callable[[str], Scene], tally: Tally, case: Case
) -> None:
    if not FULL and (case.command, case.way) not in SHORT:
        pytest.skip("in the full size only")
    if case.way == "keyring" and MISSING:
        pytest.skip(f"a real keyring needs {', '.join(MISSING)}")
    trial = Trial(scenes(case.way if not COMMANDS[case.command].takes else "stored"), case)
    for fate in case.fates() if FULL else ["done", *sample(case.fates()[1:], 4)]:
        trial.go(fate)
    tally(trial.cases, trial.violations)


# --- the launcher ------------------------------------------------------------------------------


def stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("way", WAYS)
def test_while_claude_code_runs_the_key_is_in_no_argument_and_no_file(
    scenes: Callable[[str], Scene], tally: Tally, way: str
) -> None:
    """In each shell, for the here-document of an x-api-key may go through a file in TMPDIR."""
    scene, violations = scenes(way), list[str]()
    shells = INSTALLED if FULL else INSTALLED[:3]
    for shell in shells:
        for name in ("zai", "keyed"):
            launcher = scene.sandbox.launcher(name)
            process = subprocess.Popen(
                [*SHELLS[shell], launcher, "wait"],
                env={**scene.sandbox.environ, **scene.env()},
                cwd=scene.home,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            try:
                violations += [
                    f"{shell}, {name}: {each}" for each in while_it_waits(scene, process)
                ]
            finally:
                process.kill()
            said, _ = process.communicate(timeout=SECONDS)
            violations += [f"{shell}, {name}: {key} was said" for key in shows(said)]
            left = in_files(scene.home, STORED)
            violations += [f"{shell}, {name}, killed: {each}" for each in left]
    tally(2 * len(shells), violations)


def while_it_waits(scene: Scene, process: "subprocess.Popen[bytes]") -> list[str]:
    deadline = time.monotonic() + SECONDS
    while not stopped(process.pid):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the program never came to its stop"
        time.sleep(0.005)
    found = in_files(scene.home, STORED)
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            words = (directory / "cmdline").read_bytes()
        except OSError:
            continue  # it ended
        found += [f"{key} is an argument of {words!r}" for key in shows(words)]
    environ = Path(f"/proc/{process.pid}/environ").read_bytes()
    pairs = [pair.decode(errors="replace") for pair in environ.split(b"\0") if shows(pair)]
    bearer = any(pair.startswith("CCM_VARIANT=zai") for pair in environ.decode().split("\0"))
    allowed = {VARIABLE} if scene.way == "variable" else set[str]()
    allowed |= {"ANTHROPIC_AUTH_TOKEN"} if bearer else set()
    found += [f"{pair} in the environment" for pair in pairs if pair.split("=")[0] not in allowed]
    if bearer and f"ANTHROPIC_AUTH_TOKEN={KEPT}" not in pairs:
        found.append("the key did not arrive")
    return found


LAUNCHES = {
    "hello": ("hello",),
    "--version": ("--version",),
    "-p": ("-p", "hello"),
    "--settings": ("--settings", "{}", "hello"),
    "+VERSION": (f"+{OLD}", "hello"),
    "+VERSION --settings": (f"+{OLD}", "--settings={}", "hello"),
    "update": ("update",),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_launcher_hands_the_key_to_claude_code_alone(
    scenes: Callable[[str], Scene], tally: Tally, way: str
) -> None:
    violations, cases = [], 0
    for name in ("zai", "keyed"):
        for words in LAUNCHES.values() if FULL else list(LAUNCHES.values())[::3]:
            scene = scenes(way)
            since = len(scene.npm.requests)
            launcher = str(scene.sandbox.launcher(name))
            run = watched(scene.sandbox, [launcher, *words], env=scene.env())
            found = looked_through(scene, run, since, way == "variable")
            good = run.code == (2 if words == ("update",) else 0)
            found += [] if good else [f"ended with {run.code}: {run.said}"]
            violations += [f"{name} {' '.join(words)}, {way}: {each}" for each in found]
            cases += 1
    tally(cases, violations)


def test_a_proxys_password_is_in_no_argument(scenes: Callable[[str], Scene], tally: Tally) -> None:
    """A login pins the proxies of the shell; others are handed over to ccm."""
    sandbox = scenes("stored").sandbox
    proxies = [f"http://ada:{password}@127.0.0.1:9" for password in (KEPT_CORE, NEW_CORE)]
    env = {"HTTPS_PROXY": proxies[0]}
    assert watched(sandbox, "create mine --provider mirror".split(), env=env).code == 0
    launches = [["hello"], ["--settings", "{}"], [f"+{OLD}", "hello"]]
    violations = []
    for words in launches:
        for proxy in proxies:
            env = {"HTTPS_PROXY": proxy}
            run = watched(sandbox, [str(sandbox.launcher("mine")), *words], env=env)
            found = [f"{key} was said" for key in shows(run.said)]
            found += [
                f"{key} is an argument of {process.argv[0]}"
                for process in run.traced
                for word in process.argv
                for key in shows(word)
            ]
            found += [f"ended with {run.code}: {run.said}"] if run.code else []
            violations += [f"{words}: {each}" for each in found]
    tally(2 * len(launches), violations)


def test_what_commands_work_with_does_not_show_the_environment(disk: Disk) -> None:
    context = replace(disk.context(), environ={VARIABLE: KEPT})
    assert shows(f"{context} {context!r}") == []


# --- the registry's own credential -------------------------------------------------------------

TOKEN = f"npm_{NEW_CORE}"
BASIC = b64encode(TOKEN.encode() + b":" + TOKEN.encode()).decode()


@dataclass(frozen=True)
class Login:
    """How a user's npm has a credential of the registry at `//PLACE/`."""

    npmrc: str = ""
    variable: str = ""
    value: str = ""
    address: str = ""


LOGINS = {
    "_authToken": Login(f"//PLACE/:_authToken={TOKEN}\n"),
    "_authToken from a variable": Login("//PLACE/:_authToken=${MY_TOKEN}\n", "MY_TOKEN", TOKEN),
    "_authToken in a variable": Login("", "npm_config_//PLACE/:_authToken", TOKEN),
    "_auth": Login(f"//PLACE/:_auth={BASIC}\n"),
    "username, _password": Login(
        f"//PLACE/:username={TOKEN}\n//PLACE/:_password={b64encode(TOKEN.encode()).decode()}\n"
    ),
    "in the address": Login(address=f"{TOKEN}:{TOKEN}@"),
}
REGISTRY_FATES = (
    *("done", "refused", "refused --debug", "down", "bad archive", "bad archive --debug"),
    *("metadata elsewhere", "archive elsewhere", "archive named elsewhere", "killed", "crashed"),
)


@pytest.mark.parametrize("way", LOGINS)
def test_a_registrys_credential_goes_to_that_registry_alone(
    sandbox: Sandbox, npm: NpmRegistry, tally: Tally, way: str
) -> None:
    violations = []
    fates = REGISTRY_FATES if FULL else sample(REGISTRY_FATES, 3)
    for fate in fates:
        shutil.rmtree(sandbox.ccm_home, ignore_errors=True)
        shutil.rmtree(sandbox.bin_dir, ignore_errors=True)
        found = sent_elsewhere(sandbox, npm, LOGINS[way], fate)
        violations += [f"{way}, {fate}: {each}" for each in found]
    tally(len(fates), violations)


def sent_elsewhere(
    sandbox: Sandbox, npm: NpmRegistry, login: Login, fate: str, mistake: str = ""
) -> list[str]:
    npm.heal()
    publish(npm, NOW)
    npm.token, npm.login = None, None
    if "_authToken" in login.npmrc + login.variable:
        npm.token = TOKEN if "refused" not in fate else "another"
    elif not login.address:
        npm.login = (TOKEN, TOKEN if "refused" not in fate else "another")
    elif "refused" in fate:
        npm.fail(METADATA, answer(401))
    place = urlsplit(npm.url).netloc
    npmrc = sandbox.home / ".npmrc"
    npmrc.write_text(login.npmrc.replace("PLACE", place))
    env = {"NPM_CONFIG_REGISTRY": f"http://{login.address}{place}/"}
    if login.variable:
        env[login.variable.replace("PLACE", place)] = login.value
    with NpmRegistry() as other:
        publish(other, NOW)
        there = other.url.rstrip("/") + "{path}"
        if fate == "down":
            npm.fail(METADATA, answer(503, retry_after="0"))
        elif fate.startswith("bad archive"):
            npm.fail(TARBALL, flipped(100))
        elif fate.endswith("elsewhere"):
            fault = tarball_url(there) if "named" in fate else redirect(there)
            npm.fail(TARBALL if fate == "archive elsewhere" else METADATA, fault)
        at = {"killed": Plan("kill", 30), "crashed": Plan("crash", 20)}.get(fate, Plan())
        words = ["create", "e", "--provider", "echo"]
        words = ["--debug", *words] if fate.endswith("--debug") else words
        run = watched(sandbox, words, replace(at, mistake=mistake), env=env)
        asked = [str(dict(request.headers)) + request.path for request in other.requests]
    found = [f"{key} was sent elsewhere: {text}" for text in asked for key in shows(text)]
    found += [f"sent elsewhere: {text}" for text in asked if "authorization" in text]
    if fate.endswith("elsewhere") and not asked:
        found.append("nothing was asked elsewhere")
    codes = {"done": 0, "killed": -signal.SIGKILL, "down": 4, "bad archive": 5, "refused": 4}
    usual = fate.removesuffix(" --debug")
    expected = codes.get(usual, 0 if fate.endswith("elsewhere") else 1)
    if run.code != expected:
        found.append(f"ended with {run.code}: {run.said}")
    for key in shows(run.said):
        found.append(f"{key} was said: {run.said}")
    for process in (*run.started, *run.traced):
        ccm = "inside.py" in " ".join(process.argv)
        for text in (*process.argv, *(() if ccm else process.environ)):
            found += [f"{key} went to {process.argv}" for key in shows(text)]
    return found + in_files(sandbox.home, re.compile(r"\.npmrc"))


# --- does it see anything? ---------------------------------------------------------------------


@dataclass(frozen=True)
class Mistake:
    """Code that is run before ccm, and the case in which it has to come out as `violation`."""

    code: str
    command: str
    way: str
    fate: str
    violation: str


MISTAKES = {
    "a launcher that passes the key as an argument": Mistake(
        "from ccmirror_py import launcher\n"
        "real = launcher._exec\n"
        "launcher._exec = lambda launch: real(launch).replace('ccm_key ', '').replace(\n"
        "    '--settings', '--api-key \"$ccm_key\" --settings')",
        *("run +VERSION", "stored", "done", "--api-key"),
    ),
    "a key tried out on a command line": Mistake(
        "import subprocess\n"
        "from ccmirror_py import secret\n"
        "real = secret.check_secret\n"
        "def check(text):\n"
        "    subprocess.run(['/bin/sh', '-c', ':', 'Authorization: Bearer ' + text])\n"
        "    return real(text)\n"
        "secret.check_secret = check",
        *("key set", "stdin", "done", "the new key is an argument of /bin/sh"),
    ),
    "a program checked in the user's environment": Mistake(
        "import subprocess\n"
        "real = subprocess.run\n"
        "subprocess.run = lambda argv, env=None, **options: real(argv, **options)",
        *("update", "variable", "done", "a key is in $ZAI_API_KEY of"),
    ),
    "an error that repeats what was typed": Mistake(
        "from ccmirror_py import secret\n"
        "from ccmirror_py.errors import UsageError\n"
        "def check(text):\n"
        "    raise UsageError(f'{text} is not a key.')\n"
        "secret.check_secret = check",
        *("create", "typed", "no key", "the new key was said"),
    ),
    "a Secret that shows itself": Mistake(
        "from ccmirror_py import fs\n"
        "from ccmirror_py.operations import publish\n"
        "from ccmirror_py.secret import Secret\n"
        "Secret.__str__ = Secret.__repr__ = Secret.reveal\n"
        "real = publish.write_generation\n"
        "def write(context, coming, *places):\n"
        "    assert not coming.key, f'what about {coming}?'\n"
        "publish.write_generation = write",
        *("key set", "stdin", "done", "the new key was said"),
    ),
    "a traceback with the values of variables": Mistake(
        "from rich.traceback import install\n"
        "from ccmirror_py import fs\n"
        "install(show_locals=True, locals_max_string=None)\n"
        "real = fs.write_all\n"
        "def write(file, content):\n"
        "    assert not content.startswith(b'sk-')\n"
        "    real(file, content)\n"
        "fs.write_all = write",
        *("key set", "stdin", "done", "the new key was said"),
    ),
    "a log of what is written": Mistake(
        "import os\n"
        "from ccmirror_py import fs\n"
        "real = fs.write_file\n"
        "def write(path, content, mode):\n"
        "    real(path, content, mode)\n"
        "    with open(os.environ['HOME'] + '/.ccm/.cache/log', 'ab') as log:\n"
        "        log.write(repr(content).encode())\n"
        "fs.write_file = write",
        *("key set", "stdin", "done", "is in .ccm/.cache/log"),
    ),
    "a key on its way through TMPDIR": Mistake(
        "import base64, tempfile\n"
        "from ccmirror_py import secret\n"
        "real = secret.parse_secret\n"
        "def parse(text):\n"
        "    with tempfile.NamedTemporaryFile(delete=False) as file:\n"
        "        file.write(base64.b64encode(b'x' + text.encode()))\n"
        "    return real(text)\n"
        "secret.parse_secret = parse",
        *("key set", "stdin", "done", "the new key is in tmp/"),
    ),
    "a key sent to the registry": Mistake(
        "import os, urllib.parse\n"
        "from ccmirror_py import transport\n"
        "real = transport.Transport.get\n"
        "def get(self, url, headers):\n"
        "    told = urllib.parse.quote(os.environ.get('ZAI_API_KEY', ''))\n"
        "    return real(self, url, {**headers, 'X-Telemetry': told})\n"
        "transport.Transport.get = get",
        *("update", "variable", "done", "was sent to the registry"),
    ),
    "a key in the words of the keyring's program": Mistake(
        "import subprocess\n"
        "from ccmirror_py import os_keyring\n"
        "text = 'printf %s \"$1\" | secret-tool store --label x service $2 username $3'\n"
        "def store(account, key, system):\n"
        "    words = ['sh', '-c', text, 'sh', key.reveal(), os_keyring.SERVICE, account]\n"
        "    subprocess.run(words, check=True)\n"
        "os_keyring.store = store",
        *("key set", "keyring", "done", "the new key is an argument"),
    ),
    "older keys that stay": Mistake(
        "from ccmirror_py.variants import Variants\nVariants.forget_keys = lambda self, name: None",
        *("key remove", "stored", "done", "a key that was taken away is left"),
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_it_finds_a_mistake(scenes: Callable[[str], Scene], tally: Tally, name: str) -> None:
    mistake = MISTAKES[name]
    if mistake.way == "keyring" and MISSING:
        pytest.skip(f"a real keyring needs {', '.join(MISSING)}")
    takes = COMMANDS[mistake.command].takes
    trial = Trial(scenes("stored" if takes else mistake.way), Case(mistake.command, mistake.way))
    trial.steps = 30
    trial.go(mistake.fate, mistake.code)
    assert any(mistake.violation in violation for violation in trial.violations), trial.violations
    tally(1, [], suite="seeds")


TOKEN_MISTAKES = {
    "a credential that follows a redirect": (
        "from ccmirror_py.npmrc import NpmConfig\n"
        "real = NpmConfig.authorization\n"
        "NpmConfig.authorization = lambda self, url: real(self, self.registry)",
        *("_authToken", "archive elsewhere", "was sent elsewhere"),
    ),
    "an error with the whole address": (
        "from ccmirror_py import registry, transport\n"
        "transport.host = registry.host = lambda url: url",
        *("in the address", "down", "was said"),
    ),
}


@pytest.mark.parametrize("name", TOKEN_MISTAKES)
def test_it_finds_a_mistake_with_a_credential(
    sandbox: Sandbox, npm: NpmRegistry, tally: Tally, name: str
) -> None:
    code, way, fate, violation = TOKEN_MISTAKES[name]
    found = sent_elsewhere(sandbox, npm, LOGINS[way], fate, code)
    assert any(violation in each for each in found), found
    tally(1, [], suite="seeds")
