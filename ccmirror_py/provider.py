"""Providers: the data of one endpoint, one TOML file each, read strictly.

The format is documented in docs/providers.md; a key this module does not know is an error that
names it, so that a typing mistake never becomes a silent default.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal, TypeVar, cast
from urllib.parse import urlsplit

TIERS = ("main", "opus", "sonnet", "haiku", "fable", "subagent")
"""`main` answers when nothing else is chosen; the others are what Claude Code asks for by name."""

AuthStyle = Literal["bearer", "x-api-key"]
KeyRule = Literal["required", "optional", "login"]

UNKNOWN_MODEL_WINDOW = 200_000
"""Tokens assumed for a model nobody described. Claude Code 2.1.330 itself would assume 1,000,000
and compact too late (measured, 2026-11-22)."""

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")

T = TypeVar("T")


@dataclass(frozen=True)
class Auth:
    """How the endpoint wants its key. `variables` are the names users keep such a key in.

    `key` is "required", "optional" (a local server that ignores it) or "login" (Claude Code's own
    login is used unless a key is given on purpose).
    """

    style: AuthStyle
    key: KeyRule
    variables: tuple[str, ...] = ()
    key_url: str = ""


@dataclass(frozen=True)
class Facts:
    """Where the data comes from and how sure it is, shown to users as it is."""

    checked: date
    live: bool
    confidence: Mapping[str, str]
    sources: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Provider:
    """`base_url` None means: Anthropic's own endpoint for a login, else the user must give one.

    `windows` maps model ids (without a `[1m]` suffix) to tokens.
    """

    id: str
    name: str
    description: str
    base_url: str | None
    asks_base_url: bool
    auth: Auth
    models: Mapping[str, str]
    asks_models: bool
    windows: Mapping[str, int]
    auto_compact: int | None
    environment: Mapping[str, str]
    deny: tuple[str, ...]
    docs_url: str
    facts: Facts

    @property
    def first_party(self) -> bool:
        """Claude Code talks to Anthropic itself, so nothing about models or traffic is changed."""
        return self.auth.key == "login"


def parse_provider(text: str) -> Provider:
    """The provider described by a TOML text; ValueError says what is wrong with it and where."""
    try:
        top = _Table(tomllib.loads(text), "")
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"is not valid TOML: {error}") from None
    except RecursionError:
        raise ValueError("is nested too deep") from None
    if top.take("schema", int) != 1:
        raise ValueError("has a 'schema' this ccm does not know (1 is known)")
    endpoint = top.table("endpoint")
    auth = top.table("auth")
    models = top.table("models")
    context = top.table("context")
    settings = top.table("settings")
    facts = top.table("facts")
    provider = Provider(
        id=_matching(top.take("id", str), _ID, "id"),
        name=top.take("name", str),
        description=top.take("description", str),
        base_url=_url(endpoint.take("base_url", str, "")) or None,
        asks_base_url=endpoint.take("asks_base_url", bool, False),
        auth=Auth(
            style=cast(AuthStyle, auth.choice("style", ("bearer", "x-api-key"))),
            key=cast(KeyRule, auth.choice("key", ("required", "optional", "login"))),
            variables=tuple(_matching(v, VARIABLE, "variables") for v in auth.texts("variables")),
            key_url=_url(auth.take("key_url", str, "")),
        ),
        models={tier: models.take(tier, str) for tier in TIERS if tier in models},
        asks_models=models.take("asks_models", bool, False),
        windows=context.table("windows").all(int),
        auto_compact=context.take("auto_compact", int, 0) or None,
        environment=top.table("environment").all(str),
        deny=settings.texts("deny"),
        docs_url=_url(top.take("docs_url", str, "")),
        facts=Facts(
            checked=facts.take("checked", date),
            live=facts.take("live", bool),
            confidence=facts.table("confidence").all(str),
            sources=facts.texts("sources"),
            notes=facts.texts("notes"),
        ),
    )
    for table in (top, endpoint, auth, models, context, settings, facts):
        table.must_be_empty()
    _check(provider)
    return provider


def _check(provider: Provider) -> None:
    if provider.models and set(provider.models) != set(TIERS):
        missing = ", ".join(sorted(set(TIERS) - set(provider.models)))
        raise ValueError(f"names some models but not all tiers in [models]: {missing} missing")
    if not provider.name or not all(provider.models.values()):
        raise ValueError("has an empty name or model")
    for name in provider.environment:
        _matching(name, VARIABLE, "[environment]")
    for model, tokens in provider.windows.items():
        if tokens < 1 or model.endswith("[1m]"):
            raise ValueError(f"has a window for '{model}' that can't be used: {tokens}")
    if provider.auto_compact is not None and provider.auto_compact < 1:
        raise ValueError(f"has auto_compact = {provider.auto_compact}; it is a number of tokens")
    if not (provider.base_url or provider.asks_base_url or provider.first_party):
        raise ValueError("has neither 'base_url' nor 'asks_base_url = true' in [endpoint]")


def check_base_url(text: str) -> str:
    """`text` without a trailing slash; ValueError unless it is an http(s) URL of an endpoint."""
    if not text.isprintable() or " " in text:
        raise ValueError("contains spaces or control characters")
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is none
        usable = False
    if not usable:
        raise ValueError("is not an http:// or https:// address")
    if "@" in parts.netloc:
        raise ValueError("contains a user name or password; keys belong to `ccm key set`")
    if "?" in text or "#" in text:
        raise ValueError("contains a query or fragment")
    return text.rstrip("/")


def check_text(text: str) -> str:
    """`text` when it is one printable line (a model id, a value); ValueError otherwise."""
    if not text or not text.isprintable():
        raise ValueError("is empty or contains control characters")
    return text


def _url(text: str) -> str:
    return check_base_url(text) if text else ""


def _matching(text: str, pattern: re.Pattern[str], where: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(f"has '{text}' in {where}, which is not allowed there")
    return text


class _Table:
    """A TOML table that notices the keys nobody asked for."""

    def __init__(self, values: dict[str, object], where: str) -> None:
        self._values = dict(values)
        self._where = f"[{where}]" if where else "the top level"
        self._path = where

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def take(self, key: str, kind: type[T], default: T | None = None) -> T:
        value = self._values.pop(key, default)
        if value is None:
            raise ValueError(f"lacks '{key}' in {self._where}")
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ValueError(f"has a '{key}' in {self._where} that is not a {kind.__name__}")
        if isinstance(value, str) and value:
            check_text(value)
        return value

    def choice(self, key: str, allowed: tuple[str, ...]) -> str:
        value = self.take(key, str)
        if value not in allowed:
            raise ValueError(
                f"has {key} = '{value}' in {self._where}; it is {' or '.join(allowed)}"
            )
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        values = self.take(key, list, [])
        if not all(isinstance(value, str) and value for value in values):
            raise ValueError(f"has a '{key}' in {self._where} that is not a list of texts")
        return tuple(check_text(value) for value in values)

    def table(self, key: str) -> "_Table":
        return _Table(self.take(key, dict, {}), f"{self._path}.{key}".lstrip("."))

    def all(self, kind: type[T]) -> dict[str, T]:
        return {key: self.take(key, kind) for key in list(self._values)}

    def must_be_empty(self) -> None:
        if self._values:
            raise ValueError(f"has the unknown key '{next(iter(self._values))}' in {self._where}")
