"""Killed, or without space on the disk, at every step: each variant is old or new, and the next
command makes good.

A complete run of the operation in a forked child counts its steps. Then, once for each step, the
same disk is laid out again, a child runs the operation and does not survive that step (`steps.py`),
and the disk is looked at: with the launchers, and file by file.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from ccmirror_py import fs, host
from ccmirror_py.context import Context
from ccmirror_py.credential import NewKey
from ccmirror_py.errors import CcmError, NotFoundError, UsageError
from ccmirror_py.home import Home
from ccmirror_py.journal import Journal, Verb
from ccmirror_py.npmrc import NpmConfig
from ccmirror_py.operations.create import CreateRequest, create
from ccmirror_py.operations.key import remove_key, set_key
from ccmirror_py.operations.prune import prune
from ccmirror_py.operations.remove import remove
from ccmirror_py.operations.rollback import rollback
from ccmirror_py.operations.update import UpdateRequest, pin, update
from ccmirror_py.outcome import Failed
from ccmirror_py.registry import Registry
from ccmirror_py.secret import Secret
from ccmirror_py.transport import Network
from ccmirror_py.variant import Choices, FromFile
from ccmirror_py.variants import Variants
from ccmirror_py.version import LATEST, parse_spec
from tests.npm_registry import NpmRegistry
from tests.steps import Ended, Fault, in_child, litter

UNUSED, OLD, NEW = "2.1.399", "2.1.400", "2.1.401"
OLD_KEY, NEW_KEY = "key-of-old-0123456789", "key-of-new-0123456789"
SESSION = Path("config/projects/x/y.jsonl")
OLD_MODEL, NEW_MODEL = "model-of-old", "model-of-new"

Act = Callable[[Context], object]


@dataclass(frozen=True)
class Scenario:
    """An operation on the variants `changes`. `again`: how the finished one may be refused.

    `before` turns the common beginning (`alpha` and `beta` at OLD, NEW published) into what this
    operation needs. `either`: repeating it goes to and fro. `forgets`: a key that has to go.
    """

    act: Act
    changes: tuple[str, ...] = ("alpha",)
    before: Act = field(default=lambda _: None)
    again: tuple[type[CcmError], ...] = ()
    either: bool = False
    forgets: str = ""


def made(
    name: str, model: str = OLD_MODEL, force: bool = False, provider: str = "deepseek"
) -> Callable[[Context], object]:
    choices = Choices(provider=provider, models={"main": model})
    key = NewKey(FromFile(), Secret(OLD_KEY))
    return lambda context: create(context, CreateRequest(name, choices, LATEST, key, force))


def updated(*names: str) -> Act:
    def act(context: Context) -> None:
        for outcome in update(context, UpdateRequest(names)):
            if isinstance(outcome, Failed):
                raise outcome.error

    return act


def without_first_settings(context: Context) -> None:
    """NEW is in the store, and `create` has something to write into an existing config."""
    updated("beta")(context)
    (context.home.config("alpha") / ".claude.json").unlink()


def kept_without_first_settings(context: Context) -> None:
    without_first_settings(context)
    remove(context, "alpha", keep_config=True, force=False)


def much_to_prune(context: Context) -> None:
    """A release nobody uses, a generation a session held, a settings file of a session."""
    omega = CreateRequest("omega", Choices("echo"), parse_spec(UNUSED), NewKey(FromFile()))
    create(context, omega)
    remove(context, "omega", keep_config=False, force=False)
    updated("alpha")(context)
    second = context.home.generation("alpha", 2)
    shutil.copytree(second, context.home.root / "held")
    for rule in ("2.1.x", "2.x"):
        pin(context, "alpha", parse_spec(rule))
    (context.home.root / "held").rename(second)
    fs.make_directory(context.home.cache / "settings")
    fs.write_file(context.home.cache / "settings" / "some.json", b"{}", 0o600)


def nothing_yet(context: Context) -> None:
    shutil.rmtree(context.home.root)
    shutil.rmtree(context.home.bin_dir.parent)


SCENARIOS = {
    "first create": Scenario(
        made("alpha"), changes=("alpha", "beta"), before=nothing_yet, again=(UsageError,)
    ),
    "create": Scenario(made("gamma"), changes=("gamma",), again=(UsageError,)),
    "create in kept config": Scenario(
        made("alpha"), before=kept_without_first_settings, again=(UsageError,)
    ),
    "create --force": Scenario(
        made("alpha", NEW_MODEL, force=True),
        before=without_first_settings,
    ),
    "update": Scenario(updated("alpha")),
    "update of two": Scenario(updated("alpha", "beta"), changes=("alpha", "beta")),
    "pin to a version": Scenario(
        lambda c: pin(c, "alpha", parse_spec(NEW)), before=updated("beta")
    ),
    "pin where it is": Scenario(lambda c: pin(c, "alpha", None)),
    "rollback": Scenario(lambda c: rollback(c, "alpha"), before=updated("alpha"), either=True),
    "key set": Scenario(
        lambda c: set_key(c, "alpha", NewKey(FromFile(), Secret(NEW_KEY))), forgets=OLD_KEY
    ),
    "key remove": Scenario(
        lambda c: remove_key(c, "gamma"),
        changes=("gamma",),
        before=made("gamma", provider="echo"),
        again=(UsageError,),
        forgets=OLD_KEY,
    ),
    "remove": Scenario(lambda c: remove(c, "alpha", False, False), again=(NotFoundError,)),
    "remove --keep-config": Scenario(
        lambda c: remove(c, "alpha", True, False), again=(NotFoundError,)
    ),
    "prune": Scenario(lambda c: prune(c, False), before=much_to_prune),
}


# --- the disk ----------------------------------------------------------------------------------


class Disk:
    """One user's home directory, which can be laid out as it was as often as one likes."""

    def __init__(self, directory: Path, npm: NpmRegistry) -> None:
        self.user = directory / "home"
        self.home = Home(self.user / ".ccm", self.user / ".local" / "bin")
        self._master = directory / "master"
        self._npm = npm
        self._config = NpmConfig({"registry": npm.url})
        # a client that was never used: its connections are not shared with forked children
        self._fresh, self._used = self._registry(), self._registry()

    def context(self, fresh: bool = False) -> Context:
        registry = self._fresh if fresh else self._used
        return Context(
            home=self.home,
            platform=host.this_platform(),
            environ={"HOME": str(self.user), "PATH": "/usr/bin:/bin"},
            user_home=self.user,
            ccm=("/usr/bin/true",),
            say=lambda _: None,
            show=lambda source, release: source.download(release, lambda *_: None),
            connect=lambda: registry,
        )

    def prepare(self, before: Act) -> None:
        """`alpha` and `beta` at OLD with a session each, NEW is there to be had."""
        self._npm.publish(UNUSED)
        self._npm.publish(OLD)
        for name in ("alpha", "beta"):
            made(name)(self.context())
            session = self.home.directory(name) / SESSION
            session.parent.mkdir(parents=True)
            session.write_text('{"it": "matters"}\n')
        (self.home.bin_dir / "tool").write_text("the user's own\n")
        (self.user / ".claude.json").write_text("{}")
        self._npm.publish(NEW)
        self._used = self._registry()  # what `latest` is has changed
        before(self.context())
        self.save()

    def save(self) -> None:
        shutil.rmtree(self._master, ignore_errors=True)
        subprocess.run(["cp", "-a", self.user, self._master], check=True)

    def restore(self) -> None:
        """Hard links among the files stay hard links."""
        subprocess.run(
            ["/bin/sh", "-c", 'rm -rf "$1" && cp -a "$2" "$1"', "sh", self.user, self._master],
            check=True,
        )

    def _registry(self) -> Registry:
        cache = self.home.cache / "registry"
        return Registry(self._config, Network(), cache, lambda _: None)

    # --- looking at it ---

    def seen(self, name: str, launcher: Path | None = None) -> str:
        """What the variant's command runs and by which rule; empty when there is no command."""
        command = launcher or self.home.launcher(name)
        if not command.is_symlink() and not command.exists():
            return ""
        done = subprocess.run(
            ["/bin/sh", str(command)],
            env={"HOME": str(self.user), "PATH": "/usr/bin:/bin"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return f"broken: {done.stderr.strip()}"
        ran = json.loads(done.stdout)
        env, generation = ran["env"], Path(ran["program"]).parents[1]
        if ran["argv"] != ["--settings", str(generation / "settings.json")]:
            return f"mixed: {ran['program']} {ran['argv']}"
        rule = Variants(self.home).read(name, generation).spec
        chosen = (env.get("ANTHROPIC_MODEL"), env.get("ANTHROPIC_AUTH_TOKEN"), rule)
        return f"{ran['version']} {' '.join(map(str, chosen))}"

    def files(self, *but: str) -> dict[str, str]:
        """The user's files and those of every variant, `but` what belongs to these names."""
        ours = (f".ccm/{name}" for name in self.variants() if name not in but)
        theirs = (name for name in os.listdir(self.user) if name not in (".ccm", ".local"))
        launchers = (
            f".local/bin/{path.name}"
            for path in self.home.bin_dir.glob("*")
            if path.name not in but
        )
        return {
            str(path.relative_to(self.user)): _content(path)
            for top in (*ours, *theirs, *launchers)
            for path in (self.user / top, *(self.user / top).rglob("*"))
        }

    def variants(self) -> list[str]:
        return [path.name for path in self.home.root.glob("[!.]*")]

    def sessions(self) -> set[str]:
        return {name for name in self.variants() if (self.home.root / name / SESSION).exists()}

    def holds(self, name: str, text: str) -> list[str]:
        """Files of a variant with this text in them."""
        found = (path for path in self.home.directory(name).rglob("*") if path.is_file())
        return [str(path) for path in found if text.encode() in path.read_bytes()]


def _content(path: Path) -> str:
    state = path.lstat()
    if path.is_symlink():
        return f"-> {path.readlink()}"
    return f"{state.st_mode:o} {path.read_bytes()!r}" if path.is_file() else f"{state.st_mode:o}"


# --- the campaign ------------------------------------------------------------------------------


class Campaign:
    """Stops one scenario at each of its steps and writes down what should not have come of it.

    With `prepared` the disk is saved already, as it should be before each of them.
    """

    def __init__(self, disk: Disk, scenario: Scenario, prepared: bool = False) -> None:
        self.violations: list[str] = []
        self._disk = disk
        self._scenario = scenario
        if not prepared:
            disk.prepare(scenario.before)
        self._old = {name: disk.seen(name) for name in scenario.changes}
        self._others = disk.files(*scenario.changes)
        self._sessions = disk.sessions()
        whole = self.child(0, "kill")
        assert whole.how == "ended", whole
        self._new = {name: disk.seen(name) for name in self._old}
        self._kept = disk.sessions()
        self.steps = whole.steps

    def run(self, fault: Fault, another_first: bool) -> None:
        """`another_first`: another command clears up before the same one is given again."""
        for number, step in enumerate(self.steps, 1):
            self._disk.restore()
            ended = self.child(number, fault)
            before = len(self.violations)
            self._look(ended, fault)
            if another_first:
                self._tried("another command", Context.begin_change, ())
                self._check("after another command: litter", litter(self._disk.home))
            self._again()
            for index in range(before, len(self.violations)):
                said = f"step {number} ({step.replace(str(self._disk.user), '~')})"
                self.violations[index] = f"{said}: {self.violations[index]}"

    def check(self) -> None:
        assert not self.violations, "\n".join(self.violations)

    def child(self, at: int, fault: Fault) -> Ended:
        act, context = self._scenario.act, self._disk.context(fresh=True)
        return in_child(lambda: act(context), self._disk.user, at, fault)

    def _look(self, ended: Ended, fault: Fault) -> None:
        """Each variant is old or new, the rest is as it was."""
        seen = {name: self._disk.seen(name) for name in self._old}
        for name, now in seen.items():
            allowed = (self._old[name], self._new[name])
            if not now and self._disk.home.current(name).is_symlink():
                # create and remove change two directories: for a moment only the command is missing
                self._check(f"{name} has no command", [] if "" in allowed else [now])
                now = self._disk.seen(name, self._disk.home.current(name) / "launch")  # noqa: PLW2901
            self._check(f"{name} is neither old nor new", [] if now in allowed else [now])
        if fault == "kill":
            self._check("not killed", [] if ended.how == "killed" else [ended])
        elif ended.how == "ended":
            self._check("ended well, but is not new", [seen] if seen != self._new else [])
        else:
            self._check("no error for people", [] if ended.how == "failed" else [ended])
            removing = ended.steps[-1].startswith(("os.remove", "os.rmdir"))
            staged = [path.name for path in self._disk.home.staging.glob("*")]
            self._check("left in staging", [] if removing else staged)
        self._check_rest()

    def _again(self) -> None:
        """The same command converges to new."""
        self._tried("the same command again", self._scenario.act, self._scenario.again)
        for name, expected in self._new.items():
            now = self._disk.seen(name)
            if now != expected and not (self._scenario.either and now == self._old[name]):
                self._note(f"the same command again: {name} is '{now}', not '{expected}'")
        self._check("the same command again: litter", litter(self._disk.home))
        if self._scenario.forgets:
            for name in self._new:
                held = self._disk.holds(name, self._scenario.forgets)
                self._check("the key that went is left", held)
        self._check_rest()

    def _tried(self, what: str, act: Act, refused: tuple[type[CcmError], ...]) -> None:
        try:
            act(self._disk.context())
        except (CcmError, OSError) as error:
            if not isinstance(error, refused):
                self._note(f"{what}: {type(error).__name__}: {error}")

    def _check_rest(self) -> None:
        now = self._disk.files(*self._scenario.changes)
        changed = {path for path, _ in now.items() ^ self._others.items()}
        self._check("changed, but not its own", sorted(changed))
        self._check("lost sessions", sorted((self._sessions & self._kept) - self._disk.sessions()))

    def _check(self, what: str, wrong: Sequence[object]) -> None:
        if wrong:
            self._note(f"{what}: {wrong}")

    def _note(self, violation: str) -> None:
        self.violations.append(violation.replace(str(self._disk.user), "~"))


@pytest.fixture
def disk(tmp_path: Path, npm: NpmRegistry) -> Disk:
    return Disk(tmp_path, npm)


@pytest.mark.parametrize("name", SCENARIOS)
def test_after_a_kill_at_any_step_the_same_command_converges(disk: Disk, name: str) -> None:
    campaign = Campaign(disk, SCENARIOS[name])
    campaign.run("kill", another_first=False)
    campaign.check()


@pytest.mark.parametrize("name", SCENARIOS)
def test_after_a_kill_at_any_step_any_other_command_clears_up(disk: Disk, name: str) -> None:
    campaign = Campaign(disk, SCENARIOS[name])
    campaign.run("kill", another_first=True)
    campaign.check()


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_full_disk_at_any_step_is_an_error_that_changes_nothing(disk: Disk, name: str) -> None:
    campaign = Campaign(disk, SCENARIOS[name])
    campaign.run("full", another_first=True)
    campaign.check()


@pytest.mark.parametrize("name", ["create", "create in kept config", "update", "remove", "prune"])
def test_a_kill_while_a_kill_is_made_good_changes_nothing(disk: Disk, name: str) -> None:
    scenario = SCENARIOS[name]
    first = Campaign(disk, scenario)
    # half of the work is done; almost all of it is
    for number in (len(first.steps) // 2, len(first.steps) - 4):
        disk.restore()
        first.child(number, "kill")
        disk.save()
        second = Campaign(disk, replace(scenario, act=Context.begin_change), prepared=True)
        second.run("kill", another_first=True)
        second.check()


@pytest.mark.parametrize("instead", ["link", "file"])
def test_a_removal_that_cannot_be_finished_stops_no_other_variant(disk: Disk, instead: str) -> None:
    disk.prepare(lambda _: None)
    config, elsewhere = disk.home.config("alpha"), disk.user / "elsewhere"
    config.rename(elsewhere)
    config.symlink_to(elsewhere) if instead == "link" else config.write_text("not a directory")
    with suppress(CcmError, OSError):  # refusing is as good as removing it
        remove(disk.context(), "alpha", keep_config=False, force=False)
    updated("beta")(disk.context())
    assert disk.seen("beta").startswith(NEW)
    assert (elsewhere / SESSION.relative_to("config")).exists()


def test_what_a_kill_leaves_of_a_remembered_answer_is_cleared_away(disk: Disk) -> None:
    campaign = Campaign(disk, SCENARIOS["update"])
    step = next(n for n, s in enumerate(campaign.steps, 1) if "rename" in s and "/registry/" in s)
    disk.restore()
    campaign.child(step, "kill")
    updated("alpha")(disk.context())
    disk.context().begin_change()
    assert list((disk.home.cache / "registry").glob(".*.new")) == []


# --- does the campaign see anything? -----------------------------------------------------------


def unlink_then_link(target: str, link: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def no_announcement(journal: Journal, name: str, verb: Verb) -> None:
    pass


def announced_as_removal(
    journal: Journal, name: str, verb: Verb, announce: Callable[..., None] = Journal.announce
) -> None:
    announce(journal, name, "remove")


@dataclass(frozen=True)
class Seed:
    """A mistake, put in place of what is right, and the violation it has to come out as."""

    place: object
    name: str
    wrong: Callable[..., None]
    scenario: str
    fault: Fault
    violation: str


SEEDS = {
    "a link replaced in two steps": Seed(
        fs, "replace_link", unlink_then_link, "update", "kill", "is neither old nor new"
    ),
    "create without a journal": Seed(
        Journal, "announce", no_announcement, "create", "kill", "litter: ['gamma'"
    ),
    "a journal that says remove": Seed(
        Journal, "announce", announced_as_removal, "create in kept config", "kill", "lost sessions"
    ),
    "staging that is never swept": Seed(
        Home, "sweep_staging", lambda *_: None, "update", "kill", "litter: ['.staging/"
    ),
    "a failure that clears nothing": Seed(
        fs, "remove_tree", lambda _: None, "update", "full", "left in staging"
    ),
}


@pytest.mark.parametrize("name", SEEDS)
def test_the_campaign_finds_a_mistake(
    disk: Disk, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    seed = SEEDS[name]
    monkeypatch.setattr(seed.place, seed.name, seed.wrong)
    campaign = Campaign(disk, SCENARIOS[seed.scenario])
    campaign.run(seed.fault, another_first=True)
    assert any(seed.violation in violation for violation in campaign.violations)
