"""Variants: what the user asked for, what it became, and the record of both."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast

from ccmirror_py import look
from ccmirror_py.address import host_of
from ccmirror_py.errors import UsageError
from ccmirror_py.look import Looks
from ccmirror_py.provider import AuthStyle
from ccmirror_py.record import Record, variable_name
from ccmirror_py.version import Spec, Version, parse_spec, parse_version

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
_ACCOUNT = re.compile(rf"{_NAME.pattern}~[0-9a-f]{{16}}")


@dataclass(frozen=True)
class FromVariable:
    """The key is read from this environment variable at each launch; it is not copied."""

    name: str


@dataclass(frozen=True)
class FromFile:
    """The key is stored in the variant's own file, mode 0600.

    `host` is where alone it goes, as `address.host_of` writes it; None before that is known.
    """

    host: str | None = None


@dataclass(frozen=True)
class FromKeyring:
    """The key is stored in the system's keyring under `account`; `host` as above."""

    account: str
    host: str | None = None


@dataclass(frozen=True)
class FromCommand:
    """The key is the first line this command prints at each launch."""

    argv: tuple[str, ...]


@dataclass(frozen=True)
class NoKey:
    """There is none: a login of Claude Code itself, or a server that wants none."""


Credential = FromVariable | FromFile | FromKeyring | FromCommand | NoKey


@dataclass(frozen=True)
class Choices:
    """What the user chose; it survives every update. None and empty mean the provider's default.

    `models` maps tiers to ids, `inherit` names variables of the shell that may reach Claude Code
    though launchers clear them. `region` is one of the provider's other endpoints. `deny` are tools
    beside those the provider's file denies. `model_overrides` maps ids of Claude models to models
    that Claude Code then asks just as it asks that Claude. `mcp` names servers the provider offers.
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
    deny: tuple[str, ...] = ()
    model_overrides: Mapping[str, str] = field(default_factory=dict)
    mcp: tuple[str, ...] = ()
    looks: Looks = field(default_factory=Looks)


@dataclass(frozen=True)
class Tweaked:
    """What `ccm tweak` made of the program: by which tool, which of its patches."""

    by: str
    patches: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.by}: {', '.join(self.patches)}"


@dataclass(frozen=True)
class Variant:
    """The record. `environment` is exactly what the launcher sets, the key excepted.

    `key_variable` is the name under which Claude Code gets the key, None without one. `mcp_servers`
    are the chosen servers as Claude Code is given them; keys are references (`${…}`) in them.
    `tweaked` None: the program is as it was released. Times are UTC, ISO 8601, whole seconds.
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
    mcp_servers: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    tweaked: Tweaked | None = None

    @property
    def base_url(self) -> str | None:
        return self.environment.get("ANTHROPIC_BASE_URL")

    @property
    def host(self) -> str | None:
        """Where its requests go, and its key with them."""
        try:
            return host_of(self.base_url) if self.base_url else None
        except ValueError:
            return self.base_url  # of a record somebody spoiled: like no other host


def bound(variant: Variant) -> Variant:
    """With a stored key tied to the host the variant talks to."""
    credential = variant.credential
    if not isinstance(credential, FromFile | FromKeyring):
        return variant
    return replace(variant, credential=replace(credential, host=variant.host))


def given_for(variant: Variant) -> str | None:
    """The host its stored key is tied to; None without one."""
    credential = variant.credential
    return credential.host if isinstance(credential, FromFile | FromKeyring) else None


def strays(variant: Variant) -> bool:
    """Whether its stored key would go to another host than the one it was given for."""
    return None not in (given_for(variant), variant.host) and given_for(variant) != variant.host


def same_program(one: Variant, other: Variant) -> bool:
    """Whether two records start the same: key, rule, date and looks may differ."""

    def plain(variant: Variant) -> Variant:
        choices = replace(variant.choices, looks=Looks())
        keyless = replace(variant, credential=NoKey(), key_variable=None, environment={})
        keyless = replace(keyless, choices=choices)
        keyless = replace(keyless, mcp_servers={})  # of the choices, and of how the key comes
        return replace(keyless, spec=variant.version, updated="")

    return plain(one) == plain(other)


def is_name(text: str) -> bool:
    """Whether `text` has the form of a name: one part of a path, and the same on every system."""
    return bool(_NAME.fullmatch(text)) and not text.endswith(".")


def is_account(text: str, name: str) -> bool:
    """Whether `text` can be an entry of the keyring that belongs to the variant `name`."""
    return bool(_ACCOUNT.fullmatch(text)) and text.rpartition("~")[0] == name


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
        "deny": list(choices.deny),
        "model_overrides": dict(choices.model_overrides),
        "mcp": list(choices.mcp),
        "credential": credential_to_json(variant.credential),
        "key_variable": variant.key_variable,
        "environment": dict(variant.environment),
        "mcp_servers": dict(variant.mcp_servers),
        "created": variant.created,
        "updated": variant.updated,
        "tweaked": _tweaked_to_json(variant.tweaked),
    }


SCHEMA = 1


def is_newer(schema: object) -> bool:
    return isinstance(schema, int) and schema > SCHEMA


def from_json(document: object) -> Variant:
    """The record in `document`; ValueError says what is wrong with it."""
    record = Record(document)
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
                inherit=tuple(map(variable_name, record.texts("inherit"))),
                yolo=record.take("yolo", bool),
                share_claude_md=record.take("share_claude_md", bool),
                looks=look.from_json(record.take_or_none("looks", dict) or {}),
                deny=record.texts("deny", ()),
                model_overrides=record.texts_by_name("model_overrides", {}),
                mcp=record.texts("mcp", ()),
            ),
            spec=parse_spec(record.take("spec", str)),
            version=parse_version(record.take("version", str)),
            credential=credential_from_json(record.take("credential", dict)),
            environment=record.variables("environment"),
            key_variable=None if key_variable is None else variable_name(key_variable),
            created=record.take("created", str),
            updated=record.take("updated", str),
            tweaked=_tweaked_from_json(record.take_or_none("tweaked", dict)),
            mcp_servers=record.objects("mcp_servers"),
        )
    except UsageError as error:
        raise ValueError(f"is damaged: {error.sentence}") from None
    credential = variant.credential
    if isinstance(credential, FromKeyring) and not is_account(credential.account, variant.name):
        raise ValueError("has the keyring's entry of another variant")
    if isinstance(credential, FromFile) and credential.host is None:
        return bound(variant)  # written before hosts were: the key was given for this one
    return variant


def _tweaked_to_json(tweaked: Tweaked | None) -> dict[str, object] | None:
    return {"by": tweaked.by, "patches": list(tweaked.patches)} if tweaked else None


def _tweaked_from_json(document: object) -> Tweaked | None:
    if document is None:
        return None
    record = Record(document)
    return Tweaked(record.take("by", str), record.texts("patches"))


def credential_to_json(credential: Credential) -> dict[str, object]:
    match credential:
        case FromVariable(name):
            return {"from": "variable", "name": name}
        case FromFile(host):
            return {"from": "file", **({} if host is None else {"host": host})}
        case FromKeyring(account, host):
            found = {"from": "keyring", "account": account}
            return {**found, **({} if host is None else {"host": host})}
        case FromCommand(argv):
            return {"from": "command", "argv": list(argv)}
        case NoKey():
            return {"from": "none"}


def credential_from_json(document: object) -> Credential:
    record = Record(document)
    match record.take("from", str):
        case "variable":
            return FromVariable(variable_name(record.take("name", str)))
        case "file":
            return FromFile(record.take_or_none("host", str))
        case "keyring":
            account = record.take("account", str)
            if not _ACCOUNT.fullmatch(account):
                raise ValueError(f"has '{account}' for an entry of the keyring")
            return FromKeyring(account, record.take_or_none("host", str))
        case "command":
            argv = record.texts("argv")
            if not argv:
                raise ValueError("has an empty command for the key")
            return FromCommand(argv)
        case "none":
            return NoKey()
        case other:
            raise ValueError(f"has an unknown credential '{other}'")
