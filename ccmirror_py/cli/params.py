"""From the text of options to the values operations take; mistakes are usage errors (exit 2)."""

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ccmirror_py.address import check_base_url, host_of
from ccmirror_py.context import Context
from ccmirror_py.credential import NewKey, check_variable, found_credential
from ccmirror_py.environment import ANTHROPIC_URL
from ccmirror_py.errors import UsageError
from ccmirror_py.look import NO_THEME, Looks
from ccmirror_py.secret import parse_secret
from ccmirror_py.toml_table import check_text
from ccmirror_py.variant import (
    Choices,
    Credential,
    FromCommand,
    FromFile,
    FromKeyring,
    FromVariable,
    given_for,
)
from ccmirror_py.variants import Broken

if TYPE_CHECKING:
    from ccmirror_py.provider import AuthStyle, Provider  # many commands need none


@dataclass(frozen=True)
class KeyOptions:
    """The options that say how the key comes: `variable`, `command`, or one that is stored, which
    is read from `stdin` or asked for, and kept in the `keyring` or a file."""

    variable: str | None = None
    stdin: bool = False
    command: str | None = None
    keyring: bool = False

    @property
    def any(self) -> bool:
        return bool(self.variable or self.stdin or self.command or self.keyring)


def decide_key(
    context: Context, name: str, provider: "Provider", choices: Choices, options: KeyOptions
) -> NewKey:
    """How the key comes: as the options say, else found, else asked for on a terminal."""
    found = None if options.any else _found(context, provider, choices.base_url)
    return found or given_key(context, name, provider, choices, options)


def given_key(
    context: Context, name: str, provider: "Provider", choices: Choices, options: KeyOptions
) -> NewKey:
    """The same without what is found. UsageError when several options say something."""
    stored = options.stdin or options.keyring
    if sum((bool(options.variable), stored, bool(options.command))) > 1:
        raise UsageError(
            "The key can come one way only.",
            "Choose one of --api-key-env, --api-key-stdin, --api-key-command, --api-key-keyring "
            "(the last also with --api-key-stdin).",
        )
    if provider.auth.key == "cloud" and options.any:
        raise _cloud_has_its_own(provider)
    if options.variable:
        others = context.providers.mentioning(options.variable)
        variable = check_variable(options.variable, provider, others)
        if not context.environ.get(variable.name):
            context.say(f"{variable.name} is not set here; set it before you start the variant.")
        return NewKey(variable)
    if options.command:
        return NewKey(FromCommand(_words(options.command)))
    credential: Credential = FromFile()
    if options.keyring:
        from ccmirror_py import os_keyring

        os_keyring.check(context.platform.os, context.environ)  # before anything is typed
        credential = FromKeyring(os_keyring.new_account(name))
    if options.stdin:
        return NewKey(credential, parse_secret(sys.stdin.readline(8192)))
    there = choices.base_url or provider.base_url or ANTHROPIC_URL
    return NewKey(credential, parse_secret(asked_key(context, name, provider, there)))


def _cloud_has_its_own(provider: "Provider") -> UsageError:
    return UsageError(
        f"{provider.name} takes the cloud's own credentials, not a key of ccm's.",
        f"Export what its tools use; see: ccm providers show {provider.id}",
    )


def _found(context: Context, provider: "Provider", base_url: str | None) -> NewKey | None:
    credential = found_credential(provider, context.environ)
    if isinstance(credential, FromVariable):
        goes = f" and goes to {base_url}" if base_url and base_url != provider.base_url else ""
        context.say(
            f"The key of {provider.name} is read from ${credential.name} at each start{goes}."
        )
    return NewKey(credential) if credential else None


def asked_key(context: Context, name: str, provider: "Provider", there: str) -> str:
    """Typed on a terminal, to be sent to `there`."""
    if provider.auth.key == "cloud":
        raise _cloud_has_its_own(provider)
    other = _other_host(context, name, there)
    if not is_interactive():
        if other:
            raise UsageError(
                f"The stored key of {name} is for {other}; {host_of(there)} would get it.",
                "If it may go there, or another key shall, give it: --api-key-stdin",
            )
        usual = next(iter(provider.auth.variables), "")
        is_set = bool(usual) and bool(context.environ.get(usual))
        where = f" Get one: {provider.auth.key_url}" if provider.auth.key_url else ""
        raise UsageError(
            "Nobody is there to type the key."
            if is_set
            else f"{provider.name} needs a key" + (f", and {usual} is not set." if usual else "."),
            (f"Set {usual}, or add" if usual and not is_set else "Add")
            + f" one of: --api-key-env {usual if is_set else 'VARIABLE'}, --api-key-stdin, "
            f"--api-key-keyring, --api-key-command 'pass show {name}'.{where}",
        )
    from getpass import getpass

    if other:
        context.say(f"The stored key of {name} is for {other}; now it will be {host_of(there)}.")
    if provider.auth.key_url:
        print(f"Get a key: {provider.auth.key_url}", file=sys.stderr)  # noqa: T201
    try:
        return getpass(f"Key of {provider.name} (not shown, stored for you alone): ")
    except KeyboardInterrupt:
        print(file=sys.stderr)  # noqa: T201 (the shell's prompt begins on a line of its own)
        raise


def _other_host(context: Context, name: str, there: str) -> str | None:
    """The host that the stored key of `name` is for, unless that is where `there` is."""
    entry = context.variants.get_or_broken(name)
    host = None if isinstance(entry, Broken) else given_for(entry)
    return host if host != host_of(there) else None


def is_interactive() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def chosen(context: Context, names: list[str] | None, all_: bool, command: str) -> list[str]:
    """The names given, or all of them; UsageError for neither and for both."""
    if all_ and names:
        raise UsageError("--all and names are one too many.", f"Such as: ccm {command} --all")
    if not all_ and not names:
        raise UsageError("Which variants?", f"Name them, or say: ccm {command} --all")
    return context.variants.names() if all_ else list(dict.fromkeys(names or ()))


def ask(question: str) -> str:
    """An answer typed on a terminal, which may be empty; UsageError when it is closed instead."""
    print(f"{question}: ", end="", file=sys.stderr, flush=True)  # noqa: T201
    typed = sys.stdin.readline()
    if not typed:
        print(file=sys.stderr)  # noqa: T201 (the sentence begins on a line of its own)
        raise UsageError("Nobody answered.", "Nothing was changed.")
    return typed.strip()


def agreed(question: str) -> bool:
    """On a terminal."""
    return ask(f"{question} [y/N]").lower() in ("y", "yes")


def check_agreed(yes: bool) -> None:
    """UsageError when nobody is there to ask; exit code 1 for a no."""
    if yes:
        return
    if not is_interactive():
        raise UsageError("Nobody is there to agree.", "Add --yes.")
    if not agreed("Go on?"):
        import typer

        print("Nothing was changed.", file=sys.stderr)  # noqa: T201
        raise typer.Exit(1)


def models(model: str | None, tiers: Mapping[str, str | None]) -> dict[str, str]:
    """`--model` for every tier, then what single tiers say."""
    from ccmirror_py.provider import TIERS

    chosen = {tier: model for tier in TIERS if model is not None}
    chosen |= {tier: text for tier, text in tiers.items() if text is not None}
    for text in chosen.values():
        _checked("model", text)
    return chosen


def pairs(texts: list[str]) -> dict[str, str]:
    """`NAME=VALUE` texts."""
    values = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name.isidentifier() or not name.isascii():
            raise UsageError(
                f"--env '{text}' is not NAME=VALUE.", "Such as: --env API_TIMEOUT_MS=600000"
            )
        values[name] = _checked("--env", value) if value else ""
    return values


def tools(texts: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_checked("tool", text) for text in texts))


def overrides(texts: list[str]) -> dict[str, str]:
    """`CLAUDE=MODEL` texts."""
    values = {}
    for text in texts:
        claude, _, model = text.partition("=")
        if not claude.startswith("claude-") or not model:
            raise UsageError(
                f"--model-override '{text}' is not CLAUDE=MODEL.",
                "Such as: --model-override claude-opus-4-1-20250805=glm-4.7",
            )
        values[_checked("model", claude)] = _checked("model", model)
    return values


def arguments(texts: list[str]) -> tuple[str, ...]:
    for text in texts:
        _encodable("--arg", text)
    return tuple(texts)


def _encodable(what: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"The {what} {text!r} is not UTF-8.", "Type it again.") from None


def variable_names(texts: list[str]) -> tuple[str, ...]:
    for text in texts:
        if not text.isidentifier() or not text.isascii():
            raise UsageError(
                f"'{text}' is not the name of a variable.", "Such as: --inherit AWS_PROFILE"
            )
    return tuple(texts)


def looks(context: Context, theme: str | None, status_line: bool, guidance: bool) -> Looks:
    if theme not in (None, NO_THEME):
        context.providers.get(str(theme))
    return Looks(theme=theme, status_line=status_line, guidance=None if guidance else "")


def base_url(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return check_base_url(text)
    except ValueError as error:
        raise UsageError(
            f"The address '{text}' {error}.", "Such as: --base-url https://example.com/anthropic"
        ) from None


def auth_style(text: str | None) -> "AuthStyle | None":
    if text not in (None, "bearer", "x-api-key"):
        raise UsageError(f"'{text}' is not a way to send a key.", "It is bearer or x-api-key.")
    return cast("AuthStyle | None", text)


def in_region(context: Context, provider: "Provider", region: str | None) -> "Provider":
    """The provider there; a region that is a provider of its own is named."""
    from ccmirror_py.provider import in_region as region_of

    other = f"{provider.id}-{region}"
    if region and region not in provider.regions and other in context.providers.ids():
        raise UsageError(
            f"{provider.name} has no region '{region}': that is a provider of its own.",
            f"Use: --provider {other}",
        )
    return region_of(provider, region)


def _words(command: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise UsageError(f"The command for the key can't be read: {error}.") from None
    if not words or any("\0" in word or "\n" in word for word in words):
        raise UsageError("The command for the key is empty.", "Such as: 'pass show zai'")
    for word in words:
        _encodable("command for the key", word)
    # it will be run from other folders than this one
    program = str(Path(words[0]).absolute()) if "/" in words[0] else words[0]
    return (program, *words[1:])


def _checked(what: str, text: str) -> str:
    try:
        return check_text(text)
    except ValueError as error:
        raise UsageError(f"The {what} '{text}' {error}.") from None
