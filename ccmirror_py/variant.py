"""Variants: what the user asked for, what it became, and the record of both."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar, cast

from ccmirror_py import look
from ccmirror_py.errors import UsageError
from ccmirror_py.look import Looks
from ccmirror_py.provider import VARIABLE, AuthStyle
from ccmirror_py.version import Spec, Version, parse_spec, parse_version

T = TypeVar("T")

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
_WINDOWS_DEVICES = {"con", "prn", "aux", "nul"} | {
    f"{device}{n}" for device in ("com", "lpt") for n in range(10)
}
# A launcher of such a name could never be started: the shell answers itself.
_SHELL_WORDS = set(
    "alias bg bind break builtin caller case cd command compgen complete compopt continue coproc "
    "declare dirs disown do done echo elif else enable esac eval exec exit export false fc fg fi "
    "for function getopts hash help history if in jobs kill let local logout mapfile popd printf "
    "pushd pwd read readarray readonly return select set shift shopt source suspend test then time "
    "times trap true type typeset ulimit umask unalias unset until wait while".split()
)
# argv[0] of these names turns the native program into another tool (measured, 2.1.330).
_CLAUDE_WORDS = {"claude", "ccm", "rg", "ugrep", "bfs", "node"}


@dataclass(frozen=True)
class FromVariable:
    """The key is read from this environment variable at each launch; it is not copied."""

    name: str


@dataclass(frozen=True)
class FromFile:
    """The key is stored in the variant's own file, mode 0600."""


@dataclass(frozen=True)
class FromCommand:
    """The key is the first line this command prints at each launch."""

    argv: tuple[str, ...]


@dataclass(frozen=True)
class NoKey:
    """There is none: a login of Claude Code itself, or a server that wants none."""


Credential = FromVariable | FromFile | FromCommand | NoKey


@dataclass(frozen=True)
class Choices:
    """What the user chose; it survives every update. None and empty mean the provider's default.

    `models` maps tiers to ids, `inherit` names variables of the shell that may reach Claude Code
    though launchers clear them. `region` is one of the provider's other endpoints.
    """

    provider: str
    region: str | None = None
    base_url: str | None = None
    auth_style: AuthStyle | None = None
    models: Mapping[str, str] = field(default_factory=dict)
    context_window: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    args: tuple[str, ...] = ()
    inherit: tuple[str, ...] = ()
    yolo: bool = False
    share_claude_md: bool = False
    looks: Looks = field(default_factory=Looks)


@dataclass(frozen=True)
class Variant:
    """The record. `environment` is exactly what the launcher sets, the key excepted.

    `key_variable` is the name under which Claude Code gets the key, None without one.
    Times are UTC, ISO 8601, whole seconds.
    """

    name: str
    choices: Choices
    spec: Spec
    version: Version
    credential: Credential
    environment: Mapping[str, str]
    key_variable: str | None
    created: str
    updated: str

    @property
    def base_url(self) -> str | None:
        return self.environment.get("ANTHROPIC_BASE_URL")


def same_program(one: Variant, other: Variant) -> bool:
    """Whether two records start the same: key, rule, date and looks may differ."""

    def plain(variant: Variant) -> Variant:
        choices = replace(variant.choices, looks=Looks())
        keyless = replace(variant, credential=NoKey(), key_variable=None, environment={})
        keyless = replace(keyless, choices=choices)
        return replace(keyless, spec=variant.version, updated="")

    return plain(one) == plain(other)


def is_name(text: str) -> bool:
    """Whether `text` has the form of a name: one part of a path, and the same on every system."""
    return bool(_NAME.fullmatch(text)) and not text.endswith(".")


def check_name(text: str) -> str:
    """`text` when it can be a variant's name everywhere; UsageError says why it can't."""
    hint = "Use 1 to 40 of a-z 0-9 . _ - and begin with a letter or digit: ccm create zai …"
    if not is_name(text):
        raise UsageError(f"'{text}' can't be the name of a variant.", hint)
    if text.partition(".")[0] in _WINDOWS_DEVICES:
        raise UsageError(f"'{text}' is the name of a device on Windows.", hint)
    if text in _CLAUDE_WORDS:
        other = f"Choose another name, such as {text}-own."
        raise UsageError(f"'{text}' would hide a program that is needed itself.", other)
    if text in _SHELL_WORDS:
        other = f"Choose another name, such as my-{text}."
        raise UsageError(f"'{text}' is a word of the shell and could never be started.", other)
    return text


def to_json(variant: Variant) -> dict[str, object]:
    """The record as it is written to variant.json and shown by `ccm show --json`."""
    choices = variant.choices
    return {
        "schema": 1,
        "name": variant.name,
        "provider": choices.provider,
        "spec": str(variant.spec),
        "version": str(variant.version),
        "region": choices.region,
        "base_url": choices.base_url,
        "auth_style": choices.auth_style,
        "models": dict(choices.models),
        "context_window": choices.context_window,
        "env": dict(choices.env),
        "args": list(choices.args),
        "inherit": list(choices.inherit),
        "yolo": choices.yolo,
        "share_claude_md": choices.share_claude_md,
        "looks": look.to_json(choices.looks),
        "credential": credential_to_json(variant.credential),
        "key_variable": variant.key_variable,
        "environment": dict(variant.environment),
        "created": variant.created,
        "updated": variant.updated,
    }


SCHEMA = 1


def is_newer(schema: object) -> bool:
    return isinstance(schema, int) and schema > SCHEMA


def from_json(document: object) -> Variant:
    """The record in `document`; ValueError says what is wrong with it."""
    record = _Record(document)
    if record.take("schema", int) != SCHEMA:
        raise ValueError("has a schema this ccm does not know")
    auth_style = record.take_or_none("auth_style", str)
    if auth_style not in (None, "bearer", "x-api-key"):
        raise ValueError("has an unknown auth_style")
    key_variable = record.take_or_none("key_variable", str)
    try:
        variant = Variant(
            name=check_name(record.take("name", str)),
            choices=Choices(
                provider=record.take("provider", str),
                region=record.take_or_none("region", str),
                base_url=record.take_or_none("base_url", str),
                auth_style=cast(AuthStyle | None, auth_style),
                models=record.texts_by_name("models"),
                context_window=record.tokens("context_window"),
                env=record.variables("env"),
                args=record.texts("args"),
                inherit=tuple(map(_variable, record.texts("inherit"))),
                yolo=record.take("yolo", bool),
                share_claude_md=record.take("share_claude_md", bool),
                looks=look.from_json(record.take_or_none("looks", dict) or {}),
            ),
            spec=parse_spec(record.take("spec", str)),
            version=parse_version(record.take("version", str)),
            credential=credential_from_json(record.take("credential", dict)),
            environment=record.variables("environment"),
            key_variable=None if key_variable is None else _variable(key_variable),
            created=record.take("created", str),
            updated=record.take("updated", str),
        )
    except UsageError as error:
        raise ValueError(f"is damaged: {error.sentence}") from None
    return variant


def credential_to_json(credential: Credential) -> dict[str, object]:
    match credential:
        case FromVariable(name):
            return {"from": "variable", "name": name}
        case FromFile():
            return {"from": "file"}
        case FromCommand(argv):
            return {"from": "command", "argv": list(argv)}
        case NoKey():
            return {"from": "none"}


def credential_from_json(document: object) -> Credential:
    record = _Record(document)
    match record.take("from", str):
        case "variable":
            return FromVariable(_variable(record.take("name", str)))
        case "file":
            return FromFile()
        case "command":
            argv = record.texts("argv")
            if not argv:
                raise ValueError("has an empty command for the key")
            return FromCommand(argv)
        case "none":
            return NoKey()
        case other:
            raise ValueError(f"has an unknown credential '{other}'")


def _variable(name: str) -> str:
    """Names of variables stand unquoted in the launcher."""
    if not VARIABLE.fullmatch(name):
        raise ValueError(f"has '{name}' for the name of a variable")
    return name


class _Record:
    """A JSON object read with types; every complaint is a ValueError naming the field."""

    def __init__(self, document: object) -> None:
        if not isinstance(document, dict):
            raise ValueError("is not a JSON object")
        self._values: dict[str, object] = document

    def take(self, name: str, kind: type[T]) -> T:
        value = self.take_or_none(name, kind)
        if value is None:
            raise ValueError(f"lacks '{name}'")
        return value

    def take_or_none(self, name: str, kind: type[T]) -> T | None:
        value = self._values.get(name)
        if value is not None and (
            not isinstance(value, kind) or (kind is int and isinstance(value, bool))
        ):
            raise ValueError(f"has a '{name}' that is not a {kind.__name__}")
        if isinstance(value, str):
            _check_text(name, value)
        return value

    def tokens(self, name: str) -> int | None:
        number = self.take_or_none(name, int)
        if number is not None and number < 1:
            raise ValueError(f"has a '{name}' that is not a number of tokens")
        return number

    def texts(self, name: str) -> tuple[str, ...]:
        values = self.take(name, list)
        if not all(isinstance(value, str) for value in values):
            raise ValueError(f"has a '{name}' that is not a list of texts")
        for value in values:
            _check_text(name, value)
        return tuple(values)

    def texts_by_name(self, name: str) -> dict[str, str]:
        values = self.take(name, dict)
        if not all(isinstance(k, str) and isinstance(v, str) for k, v in values.items()):
            raise ValueError(f"has a '{name}' that does not map texts to texts")
        for value in values.values():
            _check_text(name, value)
        return dict(values)

    def variables(self, name: str) -> dict[str, str]:
        return {_variable(key): value for key, value in self.texts_by_name(name).items()}


def _check_text(name: str, value: str) -> None:
    try:
        usable = b"\0" not in value.encode()
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise ValueError(f"has a '{name}' that no program could be given")
