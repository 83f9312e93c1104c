"""What is stopped, failed, cut and replayed: every operation that changes something, each with the
disk it begins on and what may come of repeating it.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ccmirror_py import fs
from ccmirror_py.context import Context
from ccmirror_py.credential import NewKey
from ccmirror_py.errors import CcmError, NotFoundError, UsageError
from ccmirror_py.operations.create import CreateRequest, create
from ccmirror_py.operations.doctor_fix import fix
from ccmirror_py.operations.key import remove_key, set_key
from ccmirror_py.operations.prune import prune
from ccmirror_py.operations.remove import remove
from ccmirror_py.operations.rollback import rollback
from ccmirror_py.operations.run import command_for
from ccmirror_py.operations.trash import empty, restore
from ccmirror_py.operations.update import UpdateRequest, pin, unpin, update
from ccmirror_py.outcome import Failed
from ccmirror_py.secret import Secret
from ccmirror_py.variant import Choices, FromFile
from ccmirror_py.version import LATEST, parse_spec

UNUSED, OLD, NEW = "2.1.399", "2.1.400", "2.1.401"
OLD_KEY, NEW_KEY = "key-of-old-0123456789", "key-of-new-0123456789"
SESSION = Path("config/projects/x/y.jsonl")
OLD_MODEL, NEW_MODEL = "model-of-old", "model-of-new"

Act = Callable[[Context], object]


@dataclass(frozen=True)
class Scenario:
    """An operation on the variants `changes`. `again`: how the finished one may be refused.

    `words` are what is typed after `ccm` for the same, and `typed` what comes on standard input.
    `before` turns the common beginning (`alpha` and `beta` at OLD, NEW published) into what this
    operation needs. `either`: repeating it goes to and fro. `forgets`: a key that has to go.
    """

    act: Act
    words: str = ""
    changes: tuple[str, ...] = ("alpha",)
    before: Act = field(default=lambda _: None)
    again: tuple[type[CcmError], ...] = ()
    either: bool = False
    forgets: str = ""
    typed: str = ""


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


def without_program(context: Context) -> None:
    (context.home.current("alpha") / "native" / "claude").unlink()


_CREATE = f"--provider deepseek --model {OLD_MODEL} --api-key-stdin"

SCENARIOS = {
    "first create": Scenario(
        made("alpha"),
        f"create alpha {_CREATE}",
        changes=("alpha", "beta"),
        before=nothing_yet,
        again=(UsageError,),
        typed=OLD_KEY,
    ),
    "create": Scenario(
        made("gamma"),
        f"create gamma {_CREATE}",
        changes=("gamma",),
        again=(UsageError,),
        typed=OLD_KEY,
    ),
    "create in kept config": Scenario(
        made("alpha"),
        f"create alpha {_CREATE}",
        before=kept_without_first_settings,
        again=(UsageError,),
        typed=OLD_KEY,
    ),
    "create --force": Scenario(
        made("alpha", NEW_MODEL, force=True),
        f"create alpha --force --provider deepseek --model {NEW_MODEL} --api-key-stdin",
        before=without_first_settings,
        typed=OLD_KEY,
    ),
    "update": Scenario(updated("alpha"), "update alpha"),
    "update of two": Scenario(
        updated("alpha", "beta"), "update alpha beta", changes=("alpha", "beta")
    ),
    "pin to a version": Scenario(
        lambda c: pin(c, "alpha", parse_spec(NEW)), f"pin alpha {NEW}", before=updated("beta")
    ),
    "pin where it is": Scenario(lambda c: pin(c, "alpha", None), "pin alpha"),
    "unpin": Scenario(
        lambda c: unpin(c, "alpha"), "unpin alpha", before=lambda c: pin(c, "alpha", None)
    ),
    "rollback": Scenario(
        lambda c: rollback(c, "alpha"), "rollback alpha", before=updated("alpha"), either=True
    ),
    "key set": Scenario(
        lambda c: set_key(c, "alpha", NewKey(FromFile(), Secret(NEW_KEY))),
        "key set alpha --api-key-stdin",
        forgets=OLD_KEY,
        typed=NEW_KEY,
    ),
    "key remove": Scenario(
        lambda c: remove_key(c, "gamma"),
        "key remove gamma",
        changes=("gamma",),
        before=made("gamma", provider="echo"),
        again=(UsageError,),
        forgets=OLD_KEY,
    ),
    "remove": Scenario(
        lambda c: remove(c, "alpha", False), "remove alpha --yes", again=(NotFoundError,)
    ),
    "remove --keep-config": Scenario(
        lambda c: remove(c, "alpha", True),
        "remove alpha --keep-config --yes",
        again=(NotFoundError,),
    ),
    "remove --purge": Scenario(
        lambda c: remove(c, "alpha", False, purge=True),
        "remove alpha --purge --yes",
        again=(NotFoundError,),
        forgets=OLD_KEY,
    ),
    "trash restore": Scenario(
        lambda c: restore(c, "alpha"),
        "trash restore alpha",
        before=lambda c: remove(c, "alpha", False),
        again=(NotFoundError,),
    ),
    "trash empty": Scenario(
        lambda c: empty(c, c.trash.entries()),
        "trash empty --yes",
        before=lambda c: remove(c, "alpha", False),
    ),
    "prune": Scenario(lambda c: prune(c, False), "prune", before=much_to_prune),
    "run another version": Scenario(
        lambda c: command_for(c, "alpha", [f"+{NEW}", "--settings", "{}"]),
        f"run alpha +{NEW} --settings {{}}",
    ),
    "doctor --fix": Scenario(
        lambda c: fix(c, "alpha"), "doctor --fix alpha", before=without_program
    ),
}
