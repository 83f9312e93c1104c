"""How npm users have their registry configured: `.npmrc` files and `npm_config_*` variables.

Syntax, precedence and the binding of credentials to `//host/path/` are npm's own: its packages ini,
@npmcli/config and npm-registry-fetch as of npm 11.19, compared with the program itself by
tests/test_npmrc.py.
"""

import json
import posixpath
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit, urlunsplit

from ccmirror_py.errors import UsageError
from ccmirror_py.platforms import SCOPE

# npm's own default: the registry of this domain
_PUBLIC_DOMAIN = "npmjs.org"
PUBLIC_REGISTRY = f"https://registry.{_PUBLIC_DOMAIN}/"
_REFERENCE = re.compile(r"(\\*)\$\{([^${}]+?)(\?)?\}")
# A project's .npmrc may send what it expands anywhere, so keys of providers are not expanded.
_PROVIDER_KEY = re.compile(r"ANTHROPIC_.*|CLAUDE.*|AWS_.*|.*API_(KEY|TOKEN)|HF_TOKEN")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class NpmConfig:
    """Settings by npm's names; `project` says that a project's file named the registry."""

    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    project: bool = False

    @property
    def registry(self) -> str:
        """The registry for Claude Code's packages, with a trailing slash. UsageError when bad."""
        scoped = self.values.get(f"{SCOPE}:registry")
        url = scoped or self.values.get("registry") or PUBLIC_REGISTRY
        try:
            parts = urlsplit(url)
            usable = parts.scheme in _PORTS and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise UsageError(
                "npm's registry setting is not an http(s) address.",
                "Look at: npm config get registry",
            )
        return url.rstrip("/") + "/"

    def authorization(self, url: str) -> str | None:
        """The header for `url`, from the setting with the longest `//host/path/` above it."""
        try:
            place = _place(urlsplit(url))
        except ValueError:  # a port that is none; asking will say so
            return None
        settings = self._bound()
        while place.count("/") > 2:
            place = place[: place.rindex("/")]
            for form in (f"{place}/", place):
                header = self._authorization_at(settings[form]) if form in settings else None
                if header:
                    return header
        return None

    def _bound(self) -> dict[str, str]:
        """Where credentials are bound to, each with the prefix of its settings as written."""
        found = {}
        for prefix in {key.rpartition(":")[0] for key in self.values if key.startswith("//")}:
            with suppress(ValueError):  # a port that is none
                found[_place(urlsplit(prefix))] = prefix
        return found

    def _authorization_at(self, prefix: str) -> str | None:
        token = self.values.get(f"{prefix}:_authToken")
        if token:
            return f"Bearer {token}"
        basic = self.values.get(f"{prefix}:_auth")
        user, password = (self.values.get(f"{prefix}:{key}") for key in ("username", "_password"))
        if not basic and user and password:
            try:
                clear = b64decode(password)
            except ValueError:
                raise UsageError(
                    f"The _password for {prefix} in your .npmrc is not base64.", "Run: npm login"
                ) from None
            basic = b64encode(user.encode() + b":" + clear).decode()
        return f"Basic {basic}" if basic else None

    def download_url(self, url: str) -> str:
        """npm's `replace-registry-host`: mirrors often repeat the public registry's addresses."""
        rule = self.values.get("replace-registry-host", "npmjs")
        host = urlsplit(PUBLIC_REGISTRY).hostname if rule == "npmjs" else rule
        parts, registry = urlsplit(url), urlsplit(self.registry)
        if rule == "never" or (rule != "always" and parts.hostname != host):
            return url
        return urlunsplit((registry.scheme, registry.netloc, parts.path, parts.query, ""))

    def proxy(self, scheme: str) -> str | None:
        names = ("https-proxy", "proxy") if scheme == "https" else ("proxy",)
        values = (self.values.get(name) for name in names)
        return next((value for value in values if value not in (None, "", "null", "false")), None)


def _place(parts: SplitResult) -> str:
    """`//host/path` the way two spellings of one address agree."""
    port = "" if parts.port in (None, _PORTS.get(parts.scheme)) else f":{parts.port}"
    path = posixpath.normpath(parts.path) if parts.path else ""
    slash = "/" if parts.path.endswith("/") and path != "/" else ""
    return f"//{parts.hostname or ''}{port}{path}{slash}"


def parse_npmrc(text: str, environ: Mapping[str, str], project: bool = False) -> dict[str, str]:
    """Settings of one file; `${VAR}` becomes the variable's value and stays when there is none."""

    def expanded(match: re.Match[str]) -> str:
        backslashes, name, optional = match.groups()
        if len(backslashes) % 2:
            return match[0][(len(backslashes) + 1) // 2 :]
        if project and _PROVIDER_KEY.fullmatch(name):
            return match[0]
        missing = "" if optional else match[0][len(backslashes) :]
        return backslashes[: len(backslashes) // 2] + environ.get(name, missing)

    values = {}
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("["):
            break  # what follows belongs to a section, and npm has no settings in sections
        key, separator, value = line.partition("=")
        if line and line[0] not in "#;" and separator:
            key, value = _unquoted(key.strip()), _unquoted(value.strip())
            values[_REFERENCE.sub(expanded, key)] = _REFERENCE.sub(expanded, value)
    return values


def _unquoted(text: str) -> str:
    """ini's rule: quotes go, an unescaped `;` or `#` begins a comment."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        inner = text[1:-1] if text[0] == "'" else text
        try:
            return str(json.loads(inner))
        except ValueError:
            return inner
    plain, escaping = "", False
    for character in text:
        if escaping:
            plain += character if character in "\\;#" else "\\" + character
            escaping = False
        elif character in ";#":
            break
        elif character == "\\":
            escaping = True
        else:
            plain += character
    return (plain + ("\\" if escaping else "")).strip()


def variables_config(environ: Mapping[str, str]) -> dict[str, str]:
    """Settings from `npm_config_*` in any case; npm reads `_` as `-`, except at the start."""
    values = {}
    for name, value in environ.items():
        if name.lower().startswith("npm_config_") and value:
            key = name[len("npm_config_") :]
            if not key.startswith(("//", "@")):
                key = key[:1].lower() + key[1:].lower().replace("_", "-")
            values[key] = value
    return values


def merge(
    user: Mapping[str, str], project: Mapping[str, str], variables: Mapping[str, str]
) -> NpmConfig:
    """npm's order: environment over project over user."""
    values = {**user, **project, **variables}
    registry_keys = {"registry", f"{SCOPE}:registry"}
    named = any(key in project and values[key] == project[key] for key in registry_keys)
    return NpmConfig(values, project=named)


def referenced(text: str) -> set[str]:
    """Names of the variables a file of settings takes values from."""
    return {match[2] for match in _REFERENCE.finditer(text)}
