"""How npm users have their registry configured: `.npmrc` files and `npm_config_*` variables.

Precedence and the binding of credentials to `//host/path/` are npm's own, from its documentation
"npmrc" and "Config" (docs.npmjs.com, npm 11, 2026).
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

from ccmirror_py.errors import UsageError
from ccmirror_py.release import SCOPE

# npm's own default: the registry of this domain
_PUBLIC_DOMAIN = "npmjs.org"
_PUBLIC_REGISTRY = f"https://registry.{_PUBLIC_DOMAIN}/"
_REFERENCE = re.compile(r"\$\{([^${}]+)\}")
# A project's .npmrc may send what it expands anywhere, so keys of providers are not expanded.
_PROVIDER_KEY = re.compile(r"ANTHROPIC_.*|CLAUDE.*|AWS_.*|.*API_KEY")


@dataclass(frozen=True)
class NpmConfig:
    """Settings by npm's names; `project` says that a project's file named the registry."""

    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    project: bool = False

    @property
    def registry(self) -> str:
        """The registry for Claude Code's packages, with a trailing slash. UsageError when bad."""
        scoped = self.values.get(f"{SCOPE}:registry")
        url = scoped or self.values.get("registry") or _PUBLIC_REGISTRY
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
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
        parts = urlsplit(url)
        path = f"//{parts.netloc}{parts.path}"
        while path.count("/") > 2:
            path = path[: path.rindex("/")]
            header = self._authorization_at(f"{path}/") or self._authorization_at(path)
            if header:
                return header
        return None

    def _authorization_at(self, prefix: str) -> str | None:
        token = self.values.get(f"{prefix}:_authToken")
        if token:
            return f"Bearer {token}"
        basic = self.values.get(f"{prefix}:_auth")
        user, password = (self.values.get(f"{prefix}:{key}") for key in ("username", "_password"))
        if not basic and user and password:
            clear = f"{user}:{b64decode(password).decode(errors='replace')}"
            basic = b64encode(clear.encode()).decode()
        return f"Basic {basic}" if basic else None

    def download_url(self, url: str) -> str:
        """npm's `replace-registry-host`: mirrors often repeat the public registry's addresses."""
        parts, registry = urlsplit(url), urlsplit(self.registry)
        if parts.netloc != urlsplit(_PUBLIC_REGISTRY).netloc:
            return url
        return urlunsplit((registry.scheme, registry.netloc, parts.path, parts.query, ""))

    def proxy(self, scheme: str) -> str | None:
        names = ("https-proxy", "proxy") if scheme == "https" else ("proxy",)
        return next((self.values[name] for name in names if self.values.get(name)), None)


def parse_npmrc(text: str, environ: Mapping[str, str], project: bool = False) -> dict[str, str]:
    """Settings of one file; `${VAR}` becomes the variable's value and stays when there is none."""

    def expanded(match: re.Match[str]) -> str:
        name = match[1]
        if project and _PROVIDER_KEY.fullmatch(name):
            return match[0]
        return environ.get(name, match[0])

    values = {}
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line[0] in "#;[":
            continue
        key, separator, value = line.partition("=")
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        if separator:
            values[_REFERENCE.sub(expanded, key.strip())] = _REFERENCE.sub(expanded, value)
    return values


def variables_config(environ: Mapping[str, str]) -> dict[str, str]:
    """Settings from `npm_config_*` in any case; npm reads `_` as `-`, except at the start."""
    values = {}
    for name, value in environ.items():
        if name.lower().startswith("npm_config_") and value:
            key = name[len("npm_config_") :]
            plain = not key.startswith(("//", "@"))
            values[key.lower().replace("_", "-") if plain else key] = value
    return values


def merge(
    user: Mapping[str, str], project: Mapping[str, str], variables: Mapping[str, str]
) -> NpmConfig:
    """npm's order: environment over project over user."""
    values = {**user, **project, **variables}
    registry_keys = {"registry", f"{SCOPE}:registry"}
    named = any(key in project and values[key] == project[key] for key in registry_keys)
    return NpmConfig(values, project=named)
