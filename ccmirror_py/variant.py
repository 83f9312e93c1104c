"""Variants: what the user asked for, what it became, and the record of both."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ccmirror_py import look
from ccmirror_py.fields import SCHEMA, checked, checked_credential, host_asked
from ccmirror_py.look import Looks
from ccmirror_py.version import Spec, Version, parse_spec, parse_version

if TYPE_CHECKING:
    from ccmirror_py.fields import Fields
    from ccmirror_py.provider import AuthStyle


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
    auth_style: "AuthStyle | None" = None
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
        return host_asked(self.environment)


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
    """Whether two records start the same: rule, dates, looks and a key for the same host may
    differ."""

    def plain(variant: Variant) -> Variant:
        choices = replace(variant.choices, looks=Looks())
        keyless = replace(variant, credential=NoKey(), key_variable=None, environment={})
        keyless = replace(keyless, choices=choices)
        keyless = replace(keyless, mcp_servers={})  # of the choices, and of how the key comes
        return replace(keyless, spec=variant.version, created="", updated="")

    hosts = {given_for(one), given_for(other)} - {None}
    return len(hosts) < 2 and plain(one) == plain(other)


def to_json(variant: Variant) -> dict[str, object]:
    """The record as it is written to variant.json and shown by `ccm show --json`."""
    choices = variant.choices
    return {
        "schema": SCHEMA,
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


def from_json(document: object) -> Variant:
    """The record in `document`; ValueError says what is wrong with it."""
    return from_fields(checked(document))


def from_fields(fields: "Fields") -> Variant:
    """The same of what `fields.checked` gave."""
    return Variant(
        name=fields["name"],
        choices=Choices(
            provider=fields["provider"],
            region=fields["region"],
            base_url=fields["base_url"],
            auth_style=fields["auth_style"],
            models=dict(fields["models"]),
            context_window=fields["context_window"],
            env=dict(fields["env"]),
            args=tuple(fields["args"]),
            inherit=tuple(fields["inherit"]),
            yolo=fields["yolo"],
            share_claude_md=fields["share_claude_md"],
            looks=Looks(**fields["looks"]),
            deny=tuple(fields["deny"]),
            model_overrides=dict(fields["model_overrides"]),
            mcp=tuple(fields["mcp"]),
        ),
        spec=parse_spec(fields["spec"]),
        version=parse_version(fields["version"]),
        credential=_credential(fields["credential"]),
        environment=dict(fields["environment"]),
        key_variable=fields["key_variable"],
        created=fields["created"],
        updated=fields["updated"],
        mcp_servers=dict(fields["mcp_servers"]),
        tweaked=_tweaked(fields["tweaked"]),
    )


def _tweaked_to_json(tweaked: Tweaked | None) -> dict[str, object] | None:
    return {"by": tweaked.by, "patches": list(tweaked.patches)} if tweaked else None


def _tweaked(fields: "Fields | None") -> Tweaked | None:
    return Tweaked(fields["by"], tuple(fields["patches"])) if fields else None


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
    return _credential(checked_credential(document))


def _credential(fields: "Fields") -> Credential:
    match fields["from"]:
        case "variable":
            return FromVariable(fields["name"])
        case "file":
            return FromFile(fields.get("host"))
        case "keyring":
            return FromKeyring(fields["account"], fields.get("host"))
        case "command":
            return FromCommand(tuple(fields["argv"]))
    return NoKey()
