"""Providers: the data of one endpoint, one TOML file each, read strictly.

The format is documented in docs/providers.md; a key this module does not know is an error that
names it, so that a typing mistake never becomes a silent default.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Literal, cast, get_args

from ccmirror_py.address import check_base_url
from ccmirror_py.errors import UsageError
from ccmirror_py.look import Look, read_look
from ccmirror_py.name import VARIABLE
from ccmirror_py.toml_table import Table, matching

TIERS = ("main", "opus", "sonnet", "haiku", "fable", "subagent")
"""`main` answers when nothing else is chosen; the others are what Claude Code asks for by name."""

AuthStyle = Literal["bearer", "x-api-key"]
KeyRule = Literal["required", "optional", "login", "cloud"]
Thinking = Literal["required", "optional", "off"]
Group = Literal["subscription", "api", "gateway", "local", "cloud", "own"]
Cloud = Literal["bedrock", "vertex", "foundry", "anthropic-aws"]

UNKNOWN_MODEL_WINDOW = 200_000
"""Tokens assumed for a model nobody described. Claude Code 2.1.330 itself would assume 1,000,000
and compact too late (measured, 2026-11-22)."""

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_MCP_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Auth:
    """How the endpoint wants its key. `variables` are the names users keep such a key in.

    `key` is "required", "optional" (a local server that ignores it), "login" (Claude Code's own
    login is used unless a key is given on purpose) or "cloud" (a cloud's own credentials).
    """

    style: AuthStyle
    key: KeyRule
    variables: tuple[str, ...] = ()
    key_url: str = ""


@dataclass(frozen=True)
class Price:
    """USD per million tokens, as `source` had it on the day `checked`. None: not known."""

    input: float
    output: float
    cache_read: float | None
    cache_write: float | None
    checked: date
    source: str


@dataclass(frozen=True)
class Model:
    """What is known of a model under one provider; None: not known. Sizes are tokens.

    `auto_compact` is where Claude Code should compact when that is before the window is full.
    `thinking` "required" means that requests without it are refused, "off" that those with it are.
    """

    context: int | None
    max_output: int | None = None
    auto_compact: int | None = None
    vision: bool | None = None
    thinking: Thinking = "optional"
    price: Price | None = None
    note: str = ""


@dataclass(frozen=True)
class Region:
    """Another endpoint of the same provider: another place, or another plan."""

    base_url: str
    description: str
    key_url: str = ""
    models: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Retired:
    """A model id that has gone. `use` is its successor, "" when nobody named one; while `works`,
    the endpoint still takes the old id."""

    since: date
    use: str = ""
    works: bool = False


@dataclass(frozen=True)
class McpServer:
    """An MCP server the vendor offers; either `url` or `command`. Keys are `${VARIABLE}`s."""

    description: str
    url: str = ""
    command: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Facts:
    """Where the data comes from and how sure it is, shown to users as it is.

    `unverified` means that not even the endpoint could be found in anything its vendor wrote.
    """

    checked: date
    live: bool
    confidence: Mapping[str, str]
    sources: tuple[str, ...]
    notes: tuple[str, ...] = ()
    unverified: bool = False


@dataclass(frozen=True)
class Provider:
    """`base_url` None means: Claude Code's own endpoint when `first_party`, else the user must give
    one. `models` maps tiers to ids, `catalog` ids (without a `[1m]` suffix) to what is known."""

    id: str
    name: str
    description: str
    group: Group
    base_url: str | None
    asks_base_url: bool
    cloud: Cloud | None
    first_party: bool
    models_url: str
    regions: Mapping[str, Region]
    auth: Auth
    models: Mapping[str, str]
    asks_models: bool
    catalog: Mapping[str, Model]
    retired: Mapping[str, Retired]
    mcp: Mapping[str, McpServer]
    environment: Mapping[str, str]
    deny: tuple[str, ...]
    docs_url: str
    look: Look
    facts: Facts

    def model(self, id_: str) -> Model:
        """With or without `[1m]`; one that knows nothing for a model that is not in the file."""
        return self.catalog.get(plain(id_), Model(None))


def plain(model: str) -> str:
    """A model id as the endpoint gets it; `[1m]` is for Claude Code alone."""
    return model.removesuffix("[1m]")


def in_region(provider: Provider, name: str | None) -> Provider:
    """The provider as it is there; None is the endpoint its file begins with."""
    if name is None:
        return provider
    region = provider.regions.get(name)
    if region is None:
        known = ", ".join(provider.regions)
        raise UsageError(
            f"{provider.name} has no region or plan '{name}'.",
            f"Known: {known}; or none of them. See: ccm providers show {provider.id}"
            if known
            else f"It has one endpoint; leave it out. See: ccm providers show {provider.id}",
        )
    return replace(
        provider,
        base_url=region.base_url,
        models=region.models or provider.models,
        asks_models=provider.asks_models and not region.models,
        auth=replace(provider.auth, key_url=region.key_url or provider.auth.key_url),
    )


def parse_provider(text: str) -> Provider:
    """The provider described by a TOML text; ValueError says what is wrong with it and where."""
    try:
        top = Table(tomllib.loads(text), "")
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"is not valid TOML: {error}") from None
    except RecursionError:
        raise ValueError("is nested too deep") from None
    if top.take("schema", int) != 1:
        raise ValueError("has a 'schema' this ccm does not know (1 is known)")
    endpoint = top.table("endpoint")
    models = top.table("models")
    auth = _auth(top.table("auth"))
    cloud = endpoint.choice("cloud", get_args(Cloud)) if "cloud" in endpoint else None
    anthropic = endpoint.take("anthropic", bool, False)
    id_, name = matching(top.take("id", str), _ID, "id"), top.take("name", str)
    provider = Provider(
        id=id_,
        name=name,
        description=top.take("description", str),
        group=cast(Group, top.choice("group", get_args(Group), "own")),
        base_url=_url(endpoint, "base_url") or None,
        asks_base_url=endpoint.take("asks_base_url", bool, False),
        cloud=cast(Cloud | None, cloud),
        first_party=auth.key == "login" or anthropic or cloud is not None,
        models_url=_url(endpoint, "models_url"),
        regions={_id(name): _region(table) for name, table in top.tables("regions").items()},
        auth=auth,
        models=_tiers(models),
        asks_models=models.take("asks_models", bool, False),
        catalog=_catalog(top),
        retired={name: _retired(table) for name, table in top.tables("retired").items()},
        mcp={
            matching(name, _MCP_NAME, "[mcp]"): _mcp(name, table)
            for name, table in top.tables("mcp").items()
        },
        environment=_variables(top.table("environment"), "[environment]"),
        deny=top.table("settings").texts("deny"),
        docs_url=_url(top, "docs_url"),
        look=read_look(top, id_, name),
        facts=_facts(top.table("facts")),
    )
    top.must_be_empty()
    _check(provider)
    return provider


def _auth(table: Table) -> Auth:
    return Auth(
        style=cast(AuthStyle, table.choice("style", get_args(AuthStyle))),
        key=cast(KeyRule, table.choice("key", get_args(KeyRule))),
        variables=tuple(matching(v, VARIABLE, "variables") for v in table.texts("variables")),
        key_url=_url(table, "key_url"),
    )


def _tiers(table: Table) -> dict[str, str]:
    """All tiers or none."""
    models = {tier: table.take(tier, str) for tier in TIERS if tier in table}
    missing = ", ".join(sorted(set(TIERS) - set(models)))
    if models and missing:
        raise ValueError(f"names some models but not all tiers in {table.where}: {missing} missing")
    if not all(models.values()):
        raise ValueError(f"has an empty model in {table.where}")
    return models


def _region(table: Table) -> Region:
    region = Region(
        base_url=_url(table, "base_url"),
        description=table.take("description", str),
        key_url=_url(table, "key_url"),
        models=_tiers(table.table("models")),
    )
    if not region.base_url:
        raise ValueError(f"lacks 'base_url' in {table.where}")
    return region


def _catalog(top: Table) -> dict[str, Model]:
    """Models; a price without a day and a source of its own has those of `[prices]`."""
    prices = top.table("prices")
    checked = prices.take("checked", date) if "checked" in prices else None
    source = prices.take("source", str, "")
    return {
        _model_id(name): Model(
            context=table.tokens("context"),
            max_output=table.tokens("max_output") if "max_output" in table else None,
            auto_compact=table.tokens("auto_compact") if "auto_compact" in table else None,
            vision=table.take("vision", bool) if "vision" in table else None,
            thinking=cast(Thinking, table.choice("thinking", get_args(Thinking), "optional")),
            price=_price(table.table("price"), checked, source) if "price" in table else None,
            note=table.take("note", str, ""),
        )
        for name, table in top.tables("model").items()
    }


def _price(table: Table, checked: date | None, source: str) -> Price:
    return Price(
        input=table.amount("input"),
        output=table.amount("output"),
        cache_read=table.amount("cache_read") if "cache_read" in table else None,
        cache_write=table.amount("cache_write") if "cache_write" in table else None,
        checked=table.take("checked", date, checked),
        source=table.take("source", str, source or None),
    )


def _retired(table: Table) -> Retired:
    return Retired(
        since=table.take("since", date),
        use=table.take("use", str, ""),
        works=table.take("works", bool, False),
    )


def _mcp(name: str, table: Table) -> McpServer:
    server = McpServer(
        description=table.take("description", str),
        url=_url(table, "url"),
        command=table.texts("command"),
        headers=table.table("headers").all(str),
        environment=_variables(table.table("environment"), table.where),
    )
    if bool(server.url) == bool(server.command):
        raise ValueError(f"has both or neither of 'url' and 'command' in [mcp.{name}]")
    return server


def _facts(table: Table) -> Facts:
    return Facts(
        checked=table.take("checked", date),
        live=table.take("live", bool),
        confidence=table.table("confidence").all(str),
        sources=table.texts("sources"),
        notes=table.texts("notes"),
        unverified=table.take("unverified", bool, False),
    )


def _check(provider: Provider) -> None:
    if not provider.name:
        raise ValueError("has an empty name")
    if (provider.cloud is None) != (provider.auth.key != "cloud"):
        raise ValueError("has 'cloud' in one of [endpoint] and [auth] only")
    if not (provider.base_url or provider.asks_base_url or provider.first_party):
        raise ValueError("has neither 'base_url' nor 'asks_base_url = true' in [endpoint]")


def _url(table: Table, key: str) -> str:
    text = table.take(key, str, "")
    return check_base_url(text) if text else ""


def _id(text: str) -> str:
    return matching(text, _ID, "[regions]")


def _model_id(text: str) -> str:
    if text.endswith("[1m]"):
        raise ValueError(f"has the model '{text}'; [1m] is no part of a model's id")
    return text


def _variables(table: Table, where: str) -> dict[str, str]:
    values = table.all(str)
    for name in values:
        matching(name, VARIABLE, where)
    return values
