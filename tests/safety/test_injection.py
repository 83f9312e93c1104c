"""Hostile values in every place a value can enter, in every shell: nothing is executed, and each
arrives byte for byte or was refused when the variant was made.

A run is one start of a launcher that `create` made. Whatever a value would execute leaves a file.
"""

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from ccmirror_py import host, launcher
from ccmirror_py.cli import params, wiring
from ccmirror_py.context import Context
from ccmirror_py.credential import NewKey
from ccmirror_py.environment import KEY_DESCRIPTOR
from ccmirror_py.errors import UsageError
from ccmirror_py.launcher import Launch, render
from ccmirror_py.name import check_name, is_name
from ccmirror_py.npmrc import NpmConfig
from ccmirror_py.operations import publish
from ccmirror_py.operations.create import CreateRequest, create
from ccmirror_py.provider import TIERS, AuthStyle, parse_provider
from ccmirror_py.registry import Registry
from ccmirror_py.secret import parse_secret
from ccmirror_py.transport import Network
from ccmirror_py.variant import (
    Choices,
    FromCommand,
    FromFile,
    Variant,
    credential_from_json,
)
from ccmirror_py.version import LATEST
from tests.npm_registry import NpmRegistry
from tests.safety.shells import HOSTILE, INSTALLED, SHELLS, SHELLS_OWN, WITH_NEWLINES
from tests.safety.table import Tally, sample

S = TypeVar("S")
T = TypeVar("T")
VALUES = (*HOSTILE, *WITH_NEWLINES)
STAND_IN = b"""#!/bin/sh
[ "${1-}" != --version ] || { echo "2.1.330 (Claude Code)"; exit; }
printf '%s\\0' "$0" "$@" >"$RECORD/words"
env -0 >"$RECORD/environment"
[ ! -e /dev/fd/3 ] || cat <&3 >"$RECORD/descriptor"
"""
CCM = """#!/bin/sh
printf '%s\\0' "$@" >"$RECORD/ccm"
"""
PRINT = """#!/bin/sh
[ ! -e "$0.creating" ] || { echo sk-for-create; exit; }
printf '%s\\n' "$@"
"""
PROVIDER = """schema = 1
id = "hostile"
name = "Hostile"
description = "from a file of the user's"
docs_url = ""
[endpoint]
asks_base_url = true
[auth]
style = "bearer"
key = "required"
[models]
asks_models = true
[environment]
FROM_PROVIDER = %s
[facts]
checked = 2026-11-22
live = false
sources = []
[facts.confidence]
"""


def accepted(make: Callable[[], T], plain: S) -> T | S:
    """What a value becomes at create, `plain` where it is refused."""
    try:
        return make()
    except (UsageError, ValueError):
        return plain


@dataclass(frozen=True)
class World:
    """One value, everywhere. In `work`, where launchers are started, no file may appear."""

    root: Path
    npm: NpmRegistry
    value: str

    def __post_init__(self) -> None:
        for name in ("work", "tools"):
            (self.root / name).mkdir(parents=True)
        for path, text in ((self.ccm, CCM), (self.root / "tools" / "print", PRINT)):
            path.write_text(text)
            path.chmod(0o755)

    @property
    def is_file_name(self) -> bool:
        return len(self.value.encode()) < 200 and "\n" not in self.value

    @property
    def ccm(self) -> Path:
        return self.root / "tools" / (self.value if self.is_file_name else "ccm")

    @property
    def context(self) -> Context:
        plain = {"HOME": str(self.root), "PATH": os.environ["PATH"]}
        named = {**plain, "CCM_HOME": f"{self.root}/{self.value}/.ccm"}
        named |= {"CCM_BIN_DIR": f"{self.root}/{self.value}/bin"}
        home = wiring.home(plain)
        if self.is_file_name:
            home = accepted(lambda: wiring.home(named), home)
        config = NpmConfig({"registry": self.npm.url})
        return Context(
            home=home,
            platform=host.this_platform(),
            environ=plain,
            user_home=self.root,
            ccm=(str(self.ccm), self.value),
            say=lambda _: None,
            show=lambda source, release, start: nullcontext(
                source.download(release, lambda *_: None, start)
            ),
            connect=lambda: Registry(config, Network(), home.cache / "registry", lambda _: None),
        )

    def make(self, context: Context, name: str, key: NewKey, auth: AuthStyle) -> Variant:
        """A variant with the value in every place that takes it."""
        value = self.value
        text = PROVIDER % json.dumps(value, ensure_ascii=False)
        own = context.home.own_providers
        own.mkdir(parents=True, exist_ok=True)
        context.home.root.chmod(0o700)
        parsed = accepted(lambda: parse_provider(text), None)
        usable = text if parsed else PROVIDER % '"plain"'
        (own / "hostile.toml").write_text(usable, encoding="utf-8")
        plain_url = "https://plain.example"
        url = accepted(lambda: params.base_url(f"https://x.example/{value}"), plain_url)
        choices = Choices(
            provider="hostile",
            base_url=url,
            auth_style=auth,
            models=accepted(lambda: params.models(value, {}), dict.fromkeys(TIERS, "plain")),
            env=accepted(lambda: params.pairs([f"MY_VALUE={value}"]), {}),
            args=accepted(lambda: params.arguments([value]), ()),
            inherit=("ANTHROPIC_INHERITED",),
        )
        return create(context, CreateRequest(name, choices, LATEST, key))

    def run(self, shell: str, launch: Path, *words: str) -> "subprocess.CompletedProcess[str]":
        record = self.root / "record"
        shutil.rmtree(record, ignore_errors=True)
        record.mkdir()
        return subprocess.run(
            [*SHELLS[shell], str(launch), *words],
            env=self.environ,
            cwd=self.root / "work",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
            check=False,
        )

    @property
    def environ(self) -> dict[str, str]:
        return {
            "HOME": str(self.root),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "RECORD": str(self.root / "record"),
            "ANTHROPIC_INHERITED": self.value,
            "MY_OWN": self.value,
        }

    def recorded(self, name: str) -> list[str] | None:
        path = self.root / "record" / name
        return os.fsdecode(path.read_bytes()).split("\0")[:-1] if path.exists() else None

    def executed(self) -> list[str]:
        """Files that only a value could have made; they are taken away."""
        found = [path for path in (self.root / "work").iterdir() if path.exists()]
        found += list(self.root.rglob("canary"))
        for path in found:
            path.unlink(missing_ok=True)
        return [f"executed: {path.name} appeared" for path in found]


def differences(what: str, seen: object, expected: object) -> list[str]:
    if isinstance(seen, dict) and isinstance(expected, dict):
        names = sorted({name for name, _ in seen.items() ^ expected.items()})
        return [f"{what} {n}: {seen.get(n)!r}, not {expected.get(n)!r}" for n in names]
    return [] if seen == expected else [f"{what}: {seen!r}, not {expected!r}"]


def arrived(
    world: World, variant: Variant, launch: Path, added: Mapping[str, str], words: Sequence[str]
) -> list[str]:
    """Compares what the program got with what it should have got."""
    generation = launch.parent
    program = str(generation / "native" / host.this_platform().program)
    said, pairs = world.recorded("words"), world.recorded("environment")
    if said is None or pairs is None:
        return ["the program was not started"]
    environment = dict(text.split("=", 1) for text in pairs)
    expected = {
        **world.environ,
        **variant.environment,
        "CCM_GENERATION": str(generation),
        "CCM_PROGRAM": program,
        **added,
    }
    settings = str(generation / "settings.json")
    return [
        *differences(
            "argument",
            said,
            [program, "--settings", settings, *variant.choices.args, *words],
        ),
        *differences(
            "variable", {k: v for k, v in environment.items() if k not in SHELLS_OWN}, expected
        ),
    ]


def campaign(world: World, shells: Sequence[str]) -> tuple[int, list[str]]:
    """Three runs a shell: a stored bearer key, an x-api-key by command, a hand-over to ccm."""
    value, context = world.value, world.context
    key = accepted(lambda: parse_secret(value), parse_secret("sk-plain"))
    stored = world.make(context, "stored", NewKey(FromFile(), key), "bearer")
    creating = world.root / "tools" / "print.creating"
    creating.touch()
    command = FromCommand((str(world.root / "tools" / "print"), value, "second"))
    printed = world.make(context, "printed", NewKey(command), "x-api-key")
    creating.unlink()
    launches = {
        variant.name: context.home.launcher(variant.name).resolve() for variant in (stored, printed)
    }
    runs, found = 0, [f"create: {problem}" for problem in world.executed()]
    for shell in shells:
        problems = []
        world.run(shell, launches["stored"], "x", value)
        bearer = {"ANTHROPIC_AUTH_TOKEN": key.reveal()}
        problems += arrived(world, stored, launches["stored"], bearer, ["x", value])
        done = world.run(shell, launches["printed"], "x", value)
        first = value.partition("\n")[0]
        if first:
            descriptor = {KEY_DESCRIPTOR: "3"}
            problems += arrived(world, printed, launches["printed"], descriptor, ["x", value])
            passed = world.root / "record" / "descriptor"
            told = os.fsdecode(passed.read_bytes()) if passed.exists() else None
            problems += differences("key", told, f"{first}\n")
        else:
            problems += differences("exit code without a key", done.returncode, 1)
        world.run(shell, launches["stored"], "--settings", value, value)
        handed = [value, "run", "stored", "--", "--settings", value, value]
        problems += differences("handed to ccm", world.recorded("ccm"), handed)
        problems += world.executed()
        runs += 3
        found += [f"{shell}, {value[:60]!r}: {problem[:300]}" for problem in problems]
    return runs, found


@pytest.fixture
def registry(npm: NpmRegistry) -> NpmRegistry:
    npm.publish("2.1.330", program=STAND_IN)
    return npm


def test_there_are_enough_values() -> None:
    assert len(set(VALUES)) == len(VALUES) >= 100


@pytest.mark.parametrize("part", range(4))
def test_a_value_arrives_as_it_is_and_is_never_executed(
    tmp_path: Path, registry: NpmRegistry, tally: Tally, part: int
) -> None:
    runs = 0
    found: list[str] = []
    for number, value in enumerate(sample(VALUES, 20)[part::4]):
        done, problems = campaign(World(tmp_path / str(number), registry, value), INSTALLED)
        runs, found = runs + done, found + problems
    tally(runs, found)


def test_no_value_can_be_a_name(tally: Tally) -> None:
    taken = []
    for value in VALUES:
        try:
            taken.append(check_name(value))
        except UsageError:
            continue
    tally(len(VALUES), [f"a variant may be called {name!r}" for name in taken])


def test_no_value_can_be_an_entry_of_the_keyring(tally: Tally) -> None:
    """It stands in launchers, and in the words of the program that reads the keyring."""
    taken = []
    values = [value for value in VALUES if not is_name(value)]
    entries = [f for v in values for f in (v, f"a~{v}", f"{v}~{'0' * 16}", f"a~{'0' * 16}{v}")]
    for entry in entries:
        with suppress(ValueError):
            credential_from_json({"from": "keyring", "account": entry})
            taken.append(entry)
    tally(len(entries), [f"an entry may be called {entry!r}" for entry in taken])


# --- does the campaign see anything? -----------------------------------------------------------


def with_unquoted_words(launch: Launch) -> str:
    return render(launch).replace('"$@"', "$@")


def with_an_evaluated_key(launch: Launch) -> str:
    return render(launch).replace("unset ccm_key", 'eval "ccm_key=$ccm_key"; unset ccm_key')


@dataclass(frozen=True)
class Seed:
    """A mistake in the place of what is right, and the violation it has to come out as."""

    place: object
    name: str
    wrong: object
    value: str
    violation: str


SEEDS = {
    "double quotes": Seed(
        launcher, "quote", lambda text: f'"{text}"', "$(touch canary)", "executed"
    ),
    "no quotes": Seed(
        launcher,
        "quote",
        lambda text: text if text == ">canary" else shlex.quote(text),
        ">canary",
        "executed",
    ),
    "words that are split": Seed(publish, "render", with_unquoted_words, "a #b", "argument"),
    "a key that is evaluated": Seed(
        publish, "render", with_an_evaluated_key, "$(>canary)x", "executed"
    ),
}


@pytest.mark.parametrize("name", SEEDS)
def test_the_campaign_finds_a_mistake(
    tmp_path: Path,
    registry: NpmRegistry,
    monkeypatch: pytest.MonkeyPatch,
    tally: Tally,
    name: str,
) -> None:
    seed = SEEDS[name]
    monkeypatch.setattr(seed.place, seed.name, seed.wrong)
    _, found = campaign(World(tmp_path / "w", registry, seed.value), INSTALLED[:2])
    assert [problem for problem in found if seed.violation in problem], found
    tally(1, [], suite="seeds")
