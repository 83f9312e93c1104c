"""Every file of ccm's, of Claude Code's and of the user's that ccm reads, damaged in every way.

After each damage commands look, mend, change and remove, and the launcher is started. Nothing may
crash or hang; what is wrong is said in a sentence; nothing of the user's and nothing of another
variant changes; and Claude Code is started with its provider and its pinned settings or not at all.

The commands run in forked children of the test, through the same `main` as the command `ccm`.
"""

import json
import os
import random
import shutil
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from ccmirror_py import fs, launcher, records, store
from ccmirror_py.echo import EchoServer
from ccmirror_py.home import Home
from ccmirror_py.journal import Journal
from ccmirror_py.launcher import Launch
from ccmirror_py.operations import doctor_fix, looks, publish
from tests.conftest import CCM, Sandbox, provide
from tests.npm_registry import NpmRegistry
from tests.safety import told
from tests.safety.disk import Disk
from tests.safety.table import FULL, Tally, sample
from tests.safety.told import DEADLINE, KEY, Said, tell
from tests.safety.traps import Trap, folder
from tests.test_real import Making, keys, make

OLD, NEW = "2.1.400", "2.1.401"
URL = "https://mine.example/anthropic"
PROVIDER = f"""\
schema = 1
id = "mine"
name = "Mine"
description = "a provider of the user's own"
docs_url = "https://mine.example/docs"

[endpoint]
base_url = "{URL}"

[auth]
style = "bearer"
key = "required"
variables = ["MINE_API_KEY"]

[models]
main = "m1"
opus = "m1"
sonnet = "m1"
haiku = "m2"
fable = "m1"
subagent = "m2"

[model.m1]
context = 100000

[model.m2]
context = 64000

[facts]
checked = 2026-11-22
live = false
sources = ["https://mine.example/docs"]
"""
CLAUDE_JSON = {"numStartups": 3, "projects": {"/home/x": {"hasTrustDialogAccepted": True}}}
SETTINGS_JSON = {"model": "opus", "permissions": {"allow": ["Bash(ls:*)"], "deny": []}}

# --- the disk ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """`alpha` of the user's own provider, at NEW with OLD to go back to, and `beta` beside it."""

    disk: Disk
    npm: NpmRegistry

    @property
    def home(self) -> Home:
        return self.disk.home

    @property
    def environ(self) -> dict[str, str]:
        return {
            "HOME": str(self.disk.user),
            "PATH": f"{self.home.bin_dir}:{CCM.parent}:/usr/bin:/bin",
            "NPM_CONFIG_REGISTRY": self.npm.url,
            "LANG": "C.UTF-8",
        }

    def make(self) -> None:
        user = self.disk.user
        user.mkdir()
        self.npm.publish(OLD)
        self.home.own_providers.mkdir(parents=True)
        self.home.root.chmod(0o700)
        (self.home.own_providers / "mine.toml").write_text(PROVIDER)
        host = self.npm.url.removeprefix("http:").rstrip("/")
        (user / ".npmrc").write_text(f"; npm's own\n{host}/:_authToken=t0ken\nfund=false\n")
        self._must("create", "alpha", "--provider", "mine", "--api-key-stdin")
        self._must("create", "beta", "--provider", "deepseek", "--api-key-stdin")
        self.npm.publish(NEW)
        self._must("update", "alpha")
        for name in ("alpha", "beta"):
            config = self.home.config(name)
            (config / "settings.json").write_text(json.dumps(SETTINGS_JSON, indent=2))
            session = config / "projects" / "x" / "y.jsonl"
            session.parent.mkdir(parents=True)
            session.write_text('{"it": "matters"}\n')
        # as Claude Code rewrote it: without what ccm would add at the next change
        (self.home.config("alpha") / ".claude.json").write_text(json.dumps(CLAUDE_JSON, indent=2))
        (user / "elsewhere").mkdir()
        (user / "elsewhere" / "notes").write_text("the user's own\n")
        (user / "elsewhere" / "notes").chmod(0o644)
        self.disk.save()

    def _must(self, *words: str) -> None:
        (said,) = tell(self.environ, [words])
        assert said.code == 0, said

    def path(self, file: str) -> Path:
        """One of FILES; the journal's is written here, as a killed `create` leaves it."""
        home, (_, place) = self.home, FILES[file]
        if file == "journal":
            home.journal.joinpath("alpha").write_text('{"name": "alpha", "verb": "create"}')
        return next(iter(sorted(home.root.glob(place)))) if place else self.disk.user / file

    def started(self, name: str) -> str:
        """ "right", what the launcher says instead, or "WRONG" and how."""
        words = [str(self.home.launcher(name)), "-p", "x"]
        try:
            done = subprocess.run(
                words,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=DEADLINE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "WRONG: hangs"
        except OSError as error:
            return f"refused: {error.strerror}"
        if not done.stdout:
            told = done.stderr.decode(errors="replace").strip()
            return f"refused: {told}" if told and done.returncode else "nothing"
        ran = json.loads(done.stdout.decode(errors="replace"))
        env, argv = ran["env"], ran["argv"]
        if name == "alpha" and env.get("ANTHROPIC_BASE_URL") != URL:
            return f"WRONG: sends to {env.get('ANTHROPIC_BASE_URL')}"
        if env.get("ANTHROPIC_AUTH_TOKEN") != KEY:
            return f"WRONG: has the key {env.get('ANTHROPIC_AUTH_TOKEN')}"
        if argv[:1] != ["--settings"] or argv[2:] != ["-p", "x"]:
            return f"WRONG: is started with {argv}"
        try:
            pinned = json.loads(Path(argv[1]).read_text(encoding="utf-8"))
            pins = (pinned["apiKeyHelper"], pinned["env"]["ANTHROPIC_BASE_URL"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f"WRONG: is started with settings that don't load: {error!r}"
        if pins != ("", env["ANTHROPIC_BASE_URL"]):
            return f"WRONG: is started with settings that pin {pins}"
        return "right"

    def files(self, *tops: str) -> dict[str, str]:
        """Every path below these, relative to the user's home, with mode and content."""
        found = {}
        for top in tops:
            path = self.disk.user / top
            found[top] = _look(path)
            if path.is_dir() and not path.is_symlink():
                for folder, names, files in os.walk(path):
                    for name in (*names, *files):
                        each = Path(folder, name)
                        found[str(each.relative_to(self.disk.user))] = _look(each)
        return found


def _look(path: Path) -> str:
    try:
        state = path.lstat()
        if path.is_symlink():
            return f"-> {path.readlink()}"
        kept = f"{state.st_mode:o} {state.st_uid}"
        regular = path.is_file() and state.st_size < 100_000
        return f"{kept} {path.read_bytes()!r}" if regular else f"{kept} {state.st_size}"
    except OSError as error:
        return str(error.strerror)


# --- what is damaged, and how ------------------------------------------------------------------

RELEASE = "claude-code-*"
FILES = {
    "variant.json": ("json", "alpha/generations/2/variant.json"),
    "settings.json": ("json", "alpha/generations/2/settings.json"),
    "launch": ("text", "alpha/generations/2/launch"),
    "credential": ("text", "alpha/generations/2/credential"),
    "theme.json": ("json", "alpha/generations/2/theme.json"),
    "statusline": ("text", "alpha/generations/2/statusline"),
    "guidance.md": ("text", "alpha/generations/2/guidance.md"),
    "seeded.json": ("json", "alpha/config/ccm/seeded.json"),
    "receipt": ("json", "alpha/generations/2/native/receipt.json"),
    "receipt in the store": ("json", f".store/{RELEASE}/{NEW}/receipt.json"),
    "journal": ("json", ".journal/alpha"),
    "answer of the registry": ("json", ".cache/registry/*.json"),
    "provider": ("toml", ".providers/mine.toml"),
    "user's settings.json": ("json", "alpha/config/settings.json"),
    ".claude.json": ("json", "alpha/config/.claude.json"),
    ".npmrc": ("text", ""),
}
"""What it is written in, and where below ccm's home."""

NAMED = {
    "variant.json": "variant.json",
    "settings.json": "pinned settings",
    "launch": "launcher",
    "theme.json": "looks",
    "statusline": "looks",
    "guidance.md": "looks",
    "credential": "key",
    "receipt": "program",
    "provider": "mine",
    "user's settings.json": "your settings.json",
    ".claude.json": "your .claude.json",
}
"""What `doctor` calls a file, where it looks at it."""

MADE_OF_RECORD = ("launcher", "pinned settings", "looks")

NOT_LAUNCHED = {"settings.json", "launch", "credential"}
"""The files a launcher reads. With any other damaged it starts as ever."""

MENDED = {"variant.json", "settings.json", "launch", "receipt", "receipt in the store", "journal"}
MENDED |= {"answer of the registry", "theme.json", "statusline", "guidance.md"}
"""What `doctor --fix` can make good without a decision of the user's."""

UNSEEN = {"a NUL in it", "a NUL at its end", "UTF-32"}
"""Added NULs in the pinned settings: most shells read past them. `doctor` sees them."""

NOT_EVERY_BYTE = {
    "launch": 16,
    "statusline": 16,
    "theme.json": 8,
    "seeded.json": 8,
    "answer of the registry": 8,
}
"""They are long; every so many bytes, then."""

Change = Callable[[bytes], bytes]
Damage = Callable[[Path, World], object]

SOME_MEGABYTES = 3_000_000
ANY = {
    "empty": lambda _: b"",
    "a byte order mark": lambda good: b"\xef\xbb\xbf" + good,
    "zeros": lambda good: bytes(len(good)),
    "a NUL in it": lambda good: good[: len(good) // 2] + b"\0" + good[len(good) // 2 :],
    "a NUL at its end": lambda good: good + b"\0",
    "UTF-16": lambda good: good.decode().encode("utf-16"),
    "UTF-32": lambda good: good.decode().encode("utf-32-be"),
    "no text": lambda _: b"\xff\xfe\0garbage",
    "an escape": lambda good: b"\x1b]0;x\x07" + good,
    "other line ends": lambda good: good.replace(b"\n", b"\r\n") + b"\r\n",
    "twice": lambda good: good + good,
    "spaces without end": lambda good: good + b" " * SOME_MEGABYTES,
    "letters without end": lambda good: good + b"x" * SOME_MEGABYTES,
    "100,000 [": lambda _: b"[" * 100_000,
    '100,000 {"a":': lambda _: b'{"a":' * 100_000,
    "100,000 [ ]": lambda _: b"[" * 100_000 + b"]" * 100_000,
}
JSON = {
    "NaN": lambda good: _with(good, "NaN"),
    "Infinity": lambda good: _with(good, "-Infinity"),
    "1e400": lambda good: _with(good, "1e400"),
    "a number without end": lambda good: _with(good, "9" * 10_000),
    "half a character": lambda good: _with(good, '"\\ud800"'),
    "a NUL as a text": lambda good: _with(good, '"\\u0000"'),
    "too deep below a key": lambda good: _with(good, "[" * 100_000 + "]" * 100_000),
    "a schema to come": lambda good: _with(good, "99", "schema"),
    "a key again": lambda good: good.rstrip()[:-1] + b', "name": null, "files": null}',
    "null": lambda _: b"null",
    "a list": lambda _: b"[]",
    "a number": lambda _: b"7",
    "a text": lambda _: b'"x"',
    "an empty object": lambda _: b"{}",
}
TOML = {
    "nan": lambda good: good.replace(b"100000", b"nan"),
    "inf": lambda good: good.replace(b"100000", b"-inf"),
    "1e400": lambda good: good.replace(b"100000", b"1e400"),
    "a number without end": lambda good: good.replace(b"100000", b"9" * 10_000),
    "a key again": lambda good: b"schema = 1\n" + good,
    "a table again": lambda good: good + b"[auth]\n",
    "too deep": lambda good: good + b"x = " + b"[" * 100_000,
    "too deep below a key": lambda good: good + b"." * 10 + b"a." * 50_000 + b"a = 1",
    "half a character": lambda good: good.replace(b'"Mine"', b'"\\ud800"'),
    "a NUL as a text": lambda good: good.replace(b'"Mine"', b'"\\u0000"'),
    "another id": lambda good: good.replace(b'"mine"', b'"zai"'),
    "a schema to come": lambda good: good.replace(b"schema = 1", b"schema = 99"),
}
WRONG = ("null", "true", "7", "1.5", "[]", "{}", "[7]", '{"": {}}', '"\\ud800"', "[[]]")


def _with(good: bytes, value: str, key: str = "zzz") -> bytes:
    """One more key; the last of two counts."""
    return good.rstrip()[:-1] + f', "{key}": {value}}}'.encode()


def changed(change: Change) -> Damage:
    """Other content in a file of its own: programs and receipts share theirs with the store."""

    def damage(path: Path, _: World) -> None:
        content, mode = change(path.read_bytes()), path.stat().st_mode
        path.unlink()
        path.write_bytes(content)
        path.chmod(mode)

    return damage


def _linked(target: Callable[[Path, World], object]) -> Damage:
    def damage(path: Path, world: World) -> None:
        to = target(path, world)
        path.unlink(missing_ok=True)
        path.symlink_to(str(to))

    return damage


def _moved(path: Path, world: World) -> Path:
    return Path(shutil.move(path, world.disk.user / "elsewhere" / "moved"))


def _fifo(path: Path, _: World) -> None:
    path.unlink()
    os.mkfifo(path)


def _socket(path: Path, _: World) -> None:
    path.unlink()
    before = Path.cwd()
    os.chdir(path.parent)  # the names of sockets are short
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(before)


def _directory(path: Path, _: World) -> None:
    path.unlink()
    (path / "something").mkdir(parents=True)


def _mode(mode: int) -> Damage:
    def damage(path: Path, world: World) -> None:
        changed(lambda good: good)(path, world)
        path.chmod(mode)

    return damage


def _another_owner(path: Path, world: World) -> None:
    changed(lambda good: good)(path, world)
    os.chown(path, 12_345, 12_345)


INSTEAD: dict[str, Damage] = {
    "missing": lambda path, _: path.unlink(),
    "a link to where it was moved": _linked(_moved),
    "a link to a file of the user's": _linked(lambda _, w: w.disk.user / "elsewhere" / "notes"),
    "a link to itself": _linked(lambda path, _: path.name),
    "a link to nowhere": _linked(lambda *_: "/nonexistent/x"),
    "a link to a folder": _linked(lambda _, w: w.disk.user / "elsewhere"),
    "a link to what never ends": _linked(lambda *_: "/dev/zero"),
    "a directory": _directory,
    "a FIFO": _fifo,
    "a socket": _socket,
    "nobody may read it": _mode(0),
    "everybody may write it": _mode(0o666),
    **({"somebody else's": _another_owner} if os.geteuid() == 0 else {}),
}


@dataclass(frozen=True)
class Case:
    """`deep`: commands that change something are tried, too. `kind` groups what is alike."""

    kind: str
    name: str
    damage: Damage
    deep: bool


def cases(file: str, good: bytes) -> list[Case]:
    """All of one file, of content `good`."""
    form = FILES[file][0]
    own = {"json": JSON, "toml": TOML, "text": {}}[form]
    listed = [Case("instead", name, damage, True) for name, damage in INSTEAD.items()]
    listed += [Case("odd", name, changed(change), True) for name, change in {**ANY, **own}.items()]
    if form == "json":
        keys = list(json.loads(good))[:20]
        listed += [
            Case("type", f"{key}: {value}", changed(_typed(key, value)), index % 5 == 0)
            for index, (key, value) in enumerate((k, v) for k in keys for v in WRONG)
        ]
    listed += [
        Case("cut", f"cut at {at}", changed(_cut(at)), at % (len(good) // 20 + 1) == 1)
        for at in range(0, len(good), NOT_EVERY_BYTE.get(file, 1))
    ]
    chance = random.Random(file)
    bits = chance.sample(range(8 * len(good)), min(200, 8 * len(good)))
    listed += [
        Case("flip", f"bit {bit}", changed(_flipped(bit)), index % 10 == 0)
        for index, bit in enumerate(bits)
    ]
    return listed


def _typed(key: str, value: str) -> Change:
    return lambda good: json.dumps({**json.loads(good), key: json.loads(value)}).encode()


def _cut(at: int) -> Change:
    return lambda good: good[:at]


def _flipped(bit: int) -> Change:
    def flip(good: bytes) -> bytes:
        at, mask = bit // 8, 1 << bit % 8
        return good[:at] + bytes([good[at] ^ mask]) + good[at + 1 :]

    return flip


# --- the campaign ------------------------------------------------------------------------------

LOOK: tuple[tuple[str, ...], ...] = (("list", "--json"), ("doctor", "alpha"))
LOOK_LONGER: tuple[tuple[str, ...], ...] = (
    ("list",),
    ("show", "alpha"),
    ("show", "alpha", "--json"),
    ("doctor", "--json"),
)
LOOK_LONGER += ((), ("key", "show", "alpha"), ("providers",), ("versions",), ("prune", "--dry-run"))
LOOK_LONGER += (("env", "alpha"), ("verify",), ("update", "--all", "--dry-run"))
MEND = (("doctor", "--fix", "alpha"),)
USE = (
    ("update", "alpha"),
    ("prune",),
    ("pin", "alpha"),
    ("rollback", "alpha"),
    ("create", "gamma", "--provider", "echo"),
    ("key", "set", "alpha", "--api-key-stdin"),
    ("update", "--all"),
)
GO = (("remove", "alpha", "--yes"), ("create", "gamma", "--provider", "echo"), ("list", "--json"))
BESIDE = (".ccm/beta", ".local/bin/beta", "elsewhere")
USERS = (".ccm/alpha/config", ".npmrc", ".ccm/.providers")

CLAUDE, SEEDED = ".ccm/alpha/config/.claude.json", ".ccm/alpha/config/ccm/seeded.json"
GAINS = {".claude.json": CLAUDE, "seeded.json": ".ccm/alpha/config/settings.json"}


class Campaign:
    """Tries the cases of one file and writes down what should not have come of them."""

    def __init__(self, world: World, file: str) -> None:
        self.violations: list[str] = []
        self._world, self._file = world, file
        self._good = world.path(file).read_bytes()
        self._content = self._good
        self._case = ""

    def run(self, tried: Sequence[Case], first: int = 0) -> None:
        self._lay_out()
        for index, case in enumerate(tried, first):
            self._case = f"{self._file}, {case.name}"
            self._look(case)
            if case.deep:
                for number, change in enumerate((self._mend, self._use, self._go)):
                    if index % 3 == number or (FULL and case.kind in ("instead", "odd")):
                        self._lay_out(case)
                        change()
                self._lay_out()
            else:
                changed(lambda _: self._good)(self._path, self._world)

    def _lay_out(self, case: Case | None = None) -> None:
        """The disk as it was; with the damage of `case`."""
        self._world.disk.restore()
        self._path = self._world.path(self._file)
        if case:
            case.damage(self._path, self._world)

    def _look(self, case: Case) -> None:
        world = self._world
        case.damage(self._path, world)
        before = world.files(".")
        commands = (*LOOK, *LOOK_LONGER) if case.deep else LOOK
        said = {one.words: one for one in self._told(commands)}
        looked = {path: text for path, text in world.files(".").items() if _lasts(path)}
        self._same("looking changed", {p: t for p, t in before.items() if _lasts(p)}, looked)
        self._listed(said[LOOK[0]])
        examined = said.get(LOOK[1])
        if examined and self._file in NAMED and (examined.code or self._file == "settings.json"):
            words = examined.out + examined.err
            # a record that says something else can be read: then what was made of it is wrong
            failed = words.partition("failed")[2]
            named = NAMED[self._file] in words or any(made in failed for made in MADE_OF_RECORD)
            self._check(f"doctor does not name it: {words}", not named)
        if self._file == "launch" and case.kind not in ("cut", "instead"):
            return  # a changed script is another program; doctor sees every byte of it
        self._started(world.started("alpha"), case)

    def _started(self, how: str, case: Case) -> None:
        if self._file == "settings.json" and case.name in UNSEEN:
            return
        unharmed = self._file not in NOT_LAUNCHED
        if case.name == f"cut at {len(self._good) - 1}" and self._good.endswith(b"\n"):
            return  # the last line's end says nothing
        if case.kind == "instead" and how == "right":
            return  # the same content, elsewhere or of another mode
        if self._file == "credential" and how.startswith("WRONG: has the key"):
            return  # another key for the right provider: nothing says what it was
        if self._file == "launch" and how == "nothing" and case.kind in ("cut", "instead"):
            return  # cut within its first line it can't say anything
        ok = how == "right" if unharmed else how.startswith("refused: ")
        ok = ok or (self._file == "credential" and how == "right")
        self._check(f"alpha's launcher: {how}", not ok)

    def _mend(self) -> None:
        users = self._world.files(*USERS, "elsewhere")
        (said,) = self._told(MEND)
        self._same_users(users)
        newer = "newer ccm" in said.out
        if self._file in MENDED and "bit" not in self._case and not newer:
            self._check(f"not mended: {said.out}{said.err}", said.code != 0)
        if said.code == 0:
            how = self._world.started("alpha")
            lost = self._file == "credential" and how.startswith("WRONG: has the key")
            self._check(f"mended, but alpha: {how}", how != "right" and not lost)
        else:
            honest = "to mend alpha" in said.err or said.err.startswith("ccm: ")
            self._check(f"not mended, without a word: {said.out}{said.err}", not honest)
        self._beside()

    def _use(self) -> None:
        users = self._world.files(*USERS, "elsewhere")
        for said in self._told(USE):
            if said.words[0] == "create" and self._file != ".npmrc":
                self._check(f"no other variant can be made: {said.err}", said.code != 0)
        self._same_users(users)
        how = self._world.started("alpha")
        wrong = how.startswith("WRONG") and self._file not in ("launch", "credential")
        self._check(f"after the changes alpha: {how}", wrong)
        self._beside(updated=True)

    def _go(self) -> None:
        elsewhere = self._world.files("elsewhere")
        removed, *others, listed = self._told(GO)
        self._listed(listed, "gamma")
        if removed.code == 0:
            left = os.path.lexists(self._world.home.launcher("alpha"))
            self._check("removed, but its command is left", left)
        self._check(f"no other variant can be made: {others}", others[0].code != 0)
        self._same("elsewhere", elsewhere, self._world.files("elsewhere"))
        self._beside()

    # --- what must hold ---

    def _told(self, commands: Sequence[tuple[str, ...]]) -> list[Said]:
        answers = tell(self._world.environ, commands)
        for said in answers:
            if said.code is None:
                self._check(f"{said}: no answer in {DEADLINE} s", True)
            elif said.code == "crashed":
                self._check(f"{said}: {said.err}", True)
            else:
                text = said.out + said.err
                self._check(f"{said}: exit code {said.code}", said.code not in range(8))
                self._check(f"{said}: {said.code}, and nothing said", bool(said.code) and not text)
                self._check(f"{said}: {text}", "Traceback" in text)
                self._check(f"{said}: moves the cursor", "\x1b" in text)
                refused = said.err.startswith("ccm: ") and not said.out
                self._check(f"{said}: not one line and a hint: {said.err}", refused and _long(said))
        answers += [Said(words, None) for words in commands[len(answers) :]]
        return answers

    def _listed(self, said: Said, other: str = "beta") -> None:
        try:
            listed = {each["name"]: each for each in json.loads(said.out)["variants"]}
        except (ValueError, KeyError, TypeError):
            self._check(f"{said}: no JSON: {said.out}{said.err}", True)
            return
        self._check(f"{other} is not listed", listed.get(other, {}).get("state") != "ok")

    def _beside(self, updated: bool = False) -> None:
        """The other variant and what lies outside are as they were, and it works."""
        how = self._world.started("beta")
        self._check(f"beta: {how}", how != "right")
        if not updated:
            self._same("beta", self._other, self._world.files(*BESIDE[:2]))

    @property
    def _other(self) -> dict[str, str]:
        if not hasattr(self, "_beta"):
            world = self._world
            master = World(Disk.__new__(Disk), world.npm)
            master.disk.user = world.disk.user.with_name("master")
            self._beta = master.files(*BESIDE[:2])
        return self._beta

    def _same_users(self, before: dict[str, str]) -> None:
        """Nothing of the user's changes, but that ccm answers questions in a good .claude.json; and
        where it no longer knows that it did, says again how the variant looks."""
        after = self._world.files(*USERS, "elsewhere")
        gains, own = GAINS.get(self._file, ""), SEEDED if self._file == "seeded.json" else ""
        if before.get(gains) != after.get(gains):
            was, now = (_document(files.get(gains, "")) for files in (before, after))
            kept = was is not None and now is not None and was.items() <= now.items()
            long = before.get(gains, "").rpartition(" ")[2].isdigit()  # only its size is known
            added = kept or ((long or gains not in before) and now is not None)
            self._check(f"{gains} was {before.get(gains)}, is {after.get(gains)}", not added)
        same = [
            {path: text for path, text in files.items() if path not in (CLAUDE, gains, own)}
            for files in (before, after)
        ]
        self._same("the user's", *same)

    def _same(self, what: str, before: dict[str, str], after: dict[str, str]) -> None:
        wrong = {path for path, _ in before.items() ^ after.items()}
        self._check(f"{what}: {sorted(wrong)[:3]}", bool(wrong))

    def _check(self, what: str, wrong: bool) -> None:
        if wrong:
            told = f"{self._case}: {what}".replace(str(self._world.disk.user), "~")
            self.violations.append(told[:400])


def _long(said: Said) -> bool:
    return len(said.err.strip().splitlines()) > 4


def _lasts(path: str) -> bool:
    """Looking may remember answers of the registry, and tells nobody what time it is."""
    return not path.startswith(".ccm/.cache") and path not in (".", ".ccm")


def _document(seen: str) -> dict[str, object] | None:
    """What a file seen by `_look` holds, if it is a JSON object."""
    try:
        document = json.loads(eval(seen.split(" ", 2)[2]))
    except (ValueError, IndexError, SyntaxError, RecursionError, NameError, TypeError):
        return None
    return document if isinstance(document, dict) else None


@pytest.fixture
def world(tmp_path: Path, npm: NpmRegistry) -> World:
    made = World(Disk(tmp_path, npm), npm)
    made.make()
    return made


@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_is_told_and_harms_nothing_else(
    world: World, tally: Tally, file: str
) -> None:
    campaign = Campaign(world, file)
    all_of_them = cases(file, world.path(file).read_bytes())
    few = [
        case
        for kind, short in (("instead", 4), ("odd", 4), ("type", 6), ("cut", 12), ("flip", 8))
        for case in sample([case for case in all_of_them if case.kind == kind], short)
    ]
    campaign.run(few)
    tally(len(few), campaign.violations)


SAMPLE = ("empty", "a FIFO", "no text", "100,000 [", "a link to what never ends")


@pytest.mark.parametrize("file", FILES)
def test_the_program_itself_answers_as_well(world: World, file: str) -> None:
    sandbox = Sandbox(world.disk.user, world.environ)
    campaign = Campaign(world, file)
    for case in cases(file, world.path(file).read_bytes()):
        if case.name in (SAMPLE if FULL else SAMPLE[:2]):
            campaign._lay_out(case)
            for words in (("list", "--json"), ("doctor", "--fix", "alpha")):
                done = sandbox.run(CCM, *words, timeout=30)
                assert done.returncode in (0, 1)
                assert "Traceback" not in done.stderr
            assert not world.started("alpha").startswith("WRONG: sends")
            assert world.started("beta") == "right"


# --- what Claude Code itself makes of it -------------------------------------------------------

RULES = ("latest", "2.1.200", "2.1.118", "2.1.112")
FOREIGN = "f0re1gn"


def project_that_leads_astray(real: Sandbox, trap: Trap) -> Path:
    env = {"ANTHROPIC_BASE_URL": trap.url, "ANTHROPIC_CUSTOM_HEADERS": f"x-astray: {FOREIGN}"}
    own = {"env": {**env, "ANTHROPIC_AUTH_TOKEN": FOREIGN}, "apiKeyHelper": f"echo {FOREIGN}"}
    return folder(real.home / "project", {".claude/settings.json": json.dumps(own)})


@pytest.mark.parametrize("rule", RULES)
def test_claude_code_is_not_started_without_the_pinned_settings(
    real: Sandbox, echo: EchoServer, tally: Tally, rule: str
) -> None:
    """It would start with settings it can't read, and a project's would count (2026-11-22)."""
    make(real, "zai", echo, Making(provide(real, rule)))
    pinned = real.ccm_home / "zai" / "current" / "settings.json"
    good, wrong = pinned.read_bytes(), []
    changes = {"cut": good[:-3], "zeros": bytes(len(good)), **dict(WORTHLESS), "missing": None}
    with Trap() as trap:
        project = project_that_leads_astray(real, trap)
        for name, content in changes.items():
            pinned.unlink(missing_ok=True)
            if content is not None:
                pinned.write_bytes(content)
            done = real.run(real.launcher("zai"), "-p", "hello", cwd=project)
            if done.returncode != 127 or "ccm doctor --fix zai" not in done.stderr:
                wrong.append(f"{name}: {done.returncode} {done.stderr}")
        assert not echo.received
        real.must("doctor", "--fix", "zai")
        done = real.run(real.launcher("zai"), "-p", "hello", cwd=project)
        assert done.stdout == "echo from m-main: hello\n"
        assert not trap.heard
    assert FOREIGN not in str(echo.received)
    tally(len(changes), wrong)


WORTHLESS = {"empty": b"", "an empty object": b"{}", "a list": b"[]", "no text": b"\xff\xfe"}


@pytest.mark.parametrize("rule", RULES)
def test_broken_settings_of_the_user_lead_nobody_astray(
    real: Sandbox, echo: EchoServer, tally: Tally, rule: str
) -> None:
    make(real, "zai", echo, Making(provide(real, rule)))
    users = real.ccm_home / "zai" / "config" / "settings.json"
    wrong = []
    with Trap() as trap:
        project = project_that_leads_astray(real, trap)
        for name, content in {**WORTHLESS, "cut": b'{"env": {"X": "1"'}.items():
            users.write_bytes(content)
            done = real.run(real.launcher("zai"), "-p", "hello", cwd=project)
            # an empty file is none to Claude Code, which then notes the theme it runs with
            allowed = {content} if content else {b"", b'{\n  "theme": "custom:ccm"\n}\n'}
            if done.stdout != "echo from m-main: hello\n" or users.read_bytes() not in allowed:
                wrong.append(f"{name}: {done.stdout}{done.stderr}, {users.read_bytes()!r}")
        assert not trap.heard
    assert keys(echo) == {("Bearer sk-own-0123456789abcdef", None)}
    assert FOREIGN not in str(echo.received)
    tally(5, wrong)


# --- does the campaign see anything? -----------------------------------------------------------


def _waiting(path: Path | str) -> int:
    return os.open(path, os.O_RDONLY)


def _any_other_word_removes(self: Journal, name: str, say: Callable[[str], None]) -> None:
    verb = json.loads(fs.read_file(self._home.journal / name))["verb"]
    if not verb.startswith("create"):
        self._finish_removal(name, verb.endswith("keep config"), "")


def _behind_links(modes: Mapping[Path, int]) -> None:
    for path, mode in modes.items():
        if path.exists():
            path.chmod(mode)


def _without_braces(launch: Launch) -> str:
    return RENDER(launch).replace("{ # Made", "# Made").removesuffix("}\n")


def _listing_no_path(good: bytes) -> bytes:
    """A receipt without a checksum, as the first ccm wrote them."""
    plain = {key: value for key, value in json.loads(good).items() if key != "crc32"}
    return json.dumps({**plain, "files": {"\0": ""}}).encode()


def _anything(path: Path) -> dict[str, object]:
    return {}


def _nothing_checked(launch: Launch) -> str:
    return ""


RENDER = launcher.render


@dataclass(frozen=True)
class Seed:
    """A mistake, put in place of what is right, and the violation it has to come out as."""

    place: object
    name: str
    wrong: object
    file: str
    case: str
    violation: str


SEEDS = {
    "a record waited for": Seed(
        fs, "_open_regular", _waiting, "variant.json", "a FIFO", "no answer"
    ),
    "a record too deep": Seed(
        records, "RecursionError", KeyError, "variant.json", "100,000 [", "RecursionError"
    ),
    "any other word removes": Seed(
        Journal, "_finish", _any_other_word_removes, "journal", "bit 0", "the user's"
    ),
    "modes changed behind links": Seed(
        doctor_fix,
        "_set_modes",
        _behind_links,
        "credential",
        "a link to a file of the user's",
        "the user's",
    ),
    "pinned settings taken as they are": Seed(
        launcher,
        "_settings",
        _nothing_checked,
        "settings.json",
        "empty",
        "settings that don't load",
    ),
    "a launcher cut": Seed(publish, "render", _without_braces, "launch", "cut", "WRONG"),
    "a broken .claude.json written anew": Seed(
        looks, "_read_object", _anything, ".claude.json", "no text", ".claude.json was"
    ),
    "a name no file can have": Seed(
        store, "ValueError", KeyError, "receipt", 'files: {"\\u0000": ""}', "ValueError"
    ),
}


@pytest.mark.parametrize("name", SEEDS)
def test_the_campaign_finds_a_mistake(
    tmp_path: Path, npm: NpmRegistry, monkeypatch: pytest.MonkeyPatch, tally: Tally, name: str
) -> None:
    seed = SEEDS[name]
    monkeypatch.setattr(seed.place, seed.name, seed.wrong, raising=False)
    monkeypatch.setattr(told, "DEADLINE", 4)
    world = World(Disk(tmp_path, npm), npm)
    world.make()
    campaign = Campaign(world, seed.file)
    good = world.path(seed.file).read_bytes()
    chosen = [case for case in cases(seed.file, good) if case.name == seed.case]
    if seed.case == "cut":  # right after the program's path, and after each line
        ends = [at for at, byte in enumerate(good) if byte == ord("\n")] + [good.rindex(b" --sett")]
        chosen = [Case("cut", f"cut at {at}", changed(_cut(at)), False) for at in ends]
    if seed.case == "bit 0":
        other = changed(lambda good: good.replace(b"create", b"crdate"))
        chosen = [Case("flip", "another word", other, True)]
    if seed.file == "receipt":
        chosen = [Case("type", seed.case, changed(_listing_no_path), True)]
    assert chosen
    for number in range(3):  # looking, and then each of what else is tried
        campaign.run(chosen, first=number)
        if any(seed.violation in violation for violation in campaign.violations):
            break
    else:
        pytest.fail("\n".join(["not seen", *campaign.violations]))
    tally(1, [], suite="seeds")
