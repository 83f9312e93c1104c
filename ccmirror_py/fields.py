"""The record of a variant as it lies on the disk: a JSON object, and the checks that make it one.

Looking at many variants needs no more than this; `variant.from_json` makes a Variant of it. It
imports little on purpose: `ccm list` and `ccm which` are to answer at once (docs/performance.md).
"""

from __future__ import annotations

import re
from functools import cache

from ccmirror_py.errors import UsageError
from ccmirror_py.name import VARIABLE, account_owner, check_name, is_account
from ccmirror_py.rule import check_rule, check_version

TYPE_CHECKING = False  # typing itself takes 3 ms to import
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Fields = dict[str, Any]

SCHEMA = 1

FORMS = ("dark", "light", "dark-daltonized", "light-daltonized", "dark-ansi", "light-ansi")
"""The bases Claude Code knows (2.1.118 to 2.1.330), and the forms ccm derives of every palette."""
LONGEST_GUIDANCE = 8000
"""Characters. It goes along with every request of the variant."""
_USUAL_LOOKS = {
    "theme": None,
    "form": "dark",
    "status_line": True,
    "verbs": True,
    "title": True,
    "splash": False,
    "guidance": None,
}


def is_newer(schema: object) -> bool:
    return isinstance(schema, int) and schema > SCHEMA


def checked(document: object) -> Fields:
    """Every field of the record in `document`, None where it may be missing, in the order they are
    written; ValueError says what is wrong with it."""
    values = _object(document)
    if _take(values, "schema", int) != SCHEMA:
        raise ValueError("has a schema this ccm does not know")
    auth_style = _take_or_none(values, "auth_style", str)
    if auth_style not in (None, "bearer", "x-api-key"):
        raise ValueError("has an unknown auth_style")
    key_variable = _take_or_none(values, "key_variable", str)
    try:
        fields = {
            "schema": SCHEMA,
            "name": check_name(_take(values, "name", str)),
            "provider": _take(values, "provider", str),
            "spec": check_rule(_take(values, "spec", str)),
            "version": _version(_take(values, "version", str)),
            "region": _take_or_none(values, "region", str),
            "base_url": _take_or_none(values, "base_url", str),
            "auth_style": auth_style,
            "models": _texts_by_name(values, "models"),
            "context_window": _tokens(values, "context_window"),
            "env": _variables(values, "env"),
            "args": _texts(values, "args"),
            "inherit": list(map(_variable, _texts(values, "inherit"))),
            "yolo": _take(values, "yolo", bool),
            "share_claude_md": _take(values, "share_claude_md", bool),
            "looks": checked_looks(_take_or_none(values, "looks", dict) or {}),
            "deny": _texts(values, "deny") if "deny" in values else [],
            "model_overrides": _texts_by_name(values, "model_overrides")
            if "model_overrides" in values
            else {},
            "mcp": _texts(values, "mcp") if "mcp" in values else [],
            "credential": checked_credential(_take(values, "credential", dict)),
            "key_variable": None if key_variable is None else _variable(key_variable),
            "environment": _variables(values, "environment"),
            "mcp_servers": _objects(values, "mcp_servers"),
            "created": _take(values, "created", str),
            "updated": _take(values, "updated", str),
            "tweaked": _tweaked(_take_or_none(values, "tweaked", dict)),
        }
    except UsageError as error:
        raise ValueError(f"is damaged: {error.sentence}") from None
    credential = fields["credential"]
    if credential["from"] == "keyring" and not is_account(credential["account"], fields["name"]):
        raise ValueError("has the keyring's entry of another variant")
    if credential["from"] == "file" and "host" not in credential:
        # written before hosts were: the key was given for this one
        return {**fields, "credential": _with_host(credential, host_asked(fields["environment"]))}
    return fields


def host_asked(environment: Mapping[str, str]) -> str | None:
    """Where the requests of a launcher go, and its key with them; None: Claude Code knows it."""
    url = environment.get("ANTHROPIC_BASE_URL")
    if not url:
        return None
    from ccmirror_py.address import host_of

    try:
        return host_of(url)
    except ValueError:
        return url  # of a record somebody spoiled: like no other host


def checked_credential(document: object) -> Fields:
    """How the key comes; ValueError as above."""
    values = _object(document)
    kind = _take(values, "from", str)
    match kind:
        case "variable":
            return {"from": kind, "name": _variable(_take(values, "name", str))}
        case "command":
            argv = _texts(values, "argv")
            if not argv:
                raise ValueError("has an empty command for the key")
            return {"from": kind, "argv": argv}
        case "file":
            return _with_host({"from": kind}, _take_or_none(values, "host", str))
        case "keyring":
            account = _take(values, "account", str)
            if account_owner(account) is None:
                raise ValueError(f"has '{account}' for an entry of the keyring")
            found = {"from": kind, "account": account}
            return _with_host(found, _take_or_none(values, "host", str))
        case "none":
            return {"from": kind}
    raise ValueError(f"has an unknown credential '{kind}'")


def checked_looks(document: Mapping[str, object]) -> Fields:
    """Strict in what is there; what is missing is as it was before there were looks to choose."""
    values: Fields = {key: document.get(key, usual) for key, usual in _USUAL_LOOKS.items()}
    for key in ("theme", "guidance"):
        if not isinstance(values[key], str | None):
            raise ValueError(f"has a '{key}' in 'looks' that is not a text")
    if values["theme"] and not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", values["theme"]):
        raise ValueError("has a 'theme' in 'looks' that can be no provider's")
    for key in ("status_line", "verbs", "title", "splash"):
        if not isinstance(values[key], bool):
            raise ValueError(f"has a '{key}' in 'looks' that is not true or false")
    if values["form"] not in FORMS:
        raise ValueError("has a 'form' in 'looks' this ccm does not know")
    check_guidance(values["guidance"] or "")
    return values


def check_guidance(text: str) -> str:
    """`text` when it can be told to a model; ValueError says why not."""
    if len(text) > LONGEST_GUIDANCE:
        raise ValueError(f"has a guidance of more than {LONGEST_GUIDANCE} characters")
    if not all(letter.isprintable() or letter in "\n\t" for letter in text):
        raise ValueError("has control characters in its guidance")
    return text


def _tweaked(document: object) -> Fields | None:
    if document is None:
        return None
    values = _object(document)
    return {"by": _take(values, "by", str), "patches": _texts(values, "patches")}


def key_text(credential: Fields) -> str:
    """How the key comes, for people; never the key."""
    match credential["from"]:
        case "variable":
            return f"${credential['name']}"
        case "command":
            return f"command: {' '.join(credential['argv'])}"
        case "file":
            return "stored (0600)"
        case "keyring":
            return "stored in the keyring"
    return "none"


def _with_host(credential: Fields, host: str | None) -> Fields:
    return credential if host is None else {**credential, "host": host}


@cache
def _variable(name: str) -> str:
    """Names of variables stand unquoted in the launcher."""
    if not VARIABLE.fullmatch(name):
        raise ValueError(f"has '{name}' for the name of a variable")
    return name


@cache
def _version(text: str) -> str:
    check_version(text)
    return text


def _object(document: object) -> Fields:
    if not isinstance(document, dict):
        raise ValueError("is not a JSON object")
    return document


def _take(values: Fields, name: str, kind: type) -> Any:
    value = _take_or_none(values, name, kind)
    if value is None:
        raise ValueError(f"lacks '{name}'")
    return value


def _take_or_none(values: Fields, name: str, kind: type) -> Any:
    value: Any = values.get(name)
    if value is None:
        return None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"has a '{name}' that is not a {kind.__name__}")
    if isinstance(value, str):
        _check_text(name, value)
    return value


def _tokens(values: Fields, name: str) -> int | None:
    number: int | None = _take_or_none(values, name, int)
    if number is not None and number < 1:
        raise ValueError(f"has a '{name}' that is not a number of tokens")
    return number


def _texts(values: Fields, name: str) -> list[str]:
    texts: list[str] = _take(values, name, list)
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"has a '{name}' that is not a list of texts")
    _check_text(name, "\n".join(texts))
    return texts


def _texts_by_name(values: Fields, name: str) -> dict[str, str]:
    texts: dict[Any, Any] = _take(values, name, dict)
    if not all(isinstance(k, str) and isinstance(v, str) for k, v in texts.items()):
        raise ValueError(f"has a '{name}' that does not map texts to texts")
    _check_text(name, "\n".join(texts.values()))
    return texts


def _objects(values: Fields, name: str) -> Fields:
    """{} for none."""
    found: Fields = _take(values, name, dict) if name in values else {}
    if not all(isinstance(each, dict) for each in found.values()):
        raise ValueError(f"has a '{name}' that does not map texts to objects")
    return found


def _variables(values: Fields, name: str) -> dict[str, str]:
    texts = _texts_by_name(values, name)
    for variable in texts:
        _variable(variable)
    return texts


def _check_text(name: str, value: str) -> None:
    usable = "\0" not in value
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            usable = False
    if not usable:
        raise ValueError(f"has a '{name}' that no program could be given")
