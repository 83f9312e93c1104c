"""`ccm run`: what the launcher does, and what it can't: another version, the user's `--settings`.

The process becomes Claude Code. The launcher's text is given to `sh` with another program or
another settings file in it, so there is one place that clears and sets the environment.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote

from ccmirror_py import fs
from ccmirror_py.context import Context
from ccmirror_py.errors import DamagedError, NotFoundError, UsageError
from ccmirror_py.launcher import render
from ccmirror_py.operations.publish import check_start, launch_of, network
from ccmirror_py.platforms import program_of
from ccmirror_py.settings import merged_settings, network_settings, settings_text
from ccmirror_py.variant import Variant
from ccmirror_py.version import Version, parse_version


@dataclass(frozen=True)
class Command:
    """What to execute: `argv` with `argv[0]` as the program's path."""

    argv: tuple[str, ...]


def command_for(context: Context, name: str, arguments: list[str]) -> Command:
    """What starts the variant `name` with `arguments`, of which `+VERSION` may be the first."""
    variant = context.variants.get(name)
    generation = context.home.current(name).resolve()
    version, rest = _split_version(arguments)
    users, rest = _split_settings(rest)
    pinned = _pinned(name, generation)
    launch = launch_of(context, variant, generation, pinned)
    here = {key: value for key, value in network(context).items() if key in launch.network}
    if version is None and users is None and here == launch.network:
        return Command((str(generation / "launch"), *arguments))
    if version is not None and version != variant.version:
        launch = replace(launch, program=_program(context, replace(variant, version=version)))
    if users is not None or here != launch.network:
        pinned = merged_settings({"env": network_settings(variant, here)}, pinned)
        merged = merged_settings(pinned, _json_object(users) if users else {})
        text = settings_text(merged)
        path = _kept_file(context, text.encode(), "json")
        launch = replace(launch, settings=path, pinned=text, network=here)
    launch = replace(launch, again="")  # it would start without what was asked for here
    # a file, and not `sh -c`: the text may hold a proxy's password, and everybody sees arguments
    script = _kept_file(context, render(launch).encode(), "sh")
    return Command(("/bin/sh", script, *rest))


def run(command: Command) -> None:
    """Become it. Returns never; OSError when it can't be started."""
    os.execv(command.argv[0], command.argv)  # noqa: S606 (a shell is not wanted)


def _split_version(arguments: list[str]) -> tuple[Version | None, list[str]]:
    if arguments and arguments[0].startswith("+"):
        return parse_version(arguments[0][1:]), arguments[1:]
    return None, arguments


def _split_settings(arguments: list[str]) -> tuple[str | None, list[str]]:
    """The value of the last `--settings`, as Claude Code takes it, and the other arguments."""
    value, rest = None, []
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--":
            rest += [argument, *remaining]
        elif argument == "--settings":
            value = next(remaining, None)
            if value is None:
                raise UsageError("--settings needs a file or JSON.", "Such as: --settings my.json")
        elif argument.startswith("--settings="):
            value = argument.partition("=")[2]
        else:
            rest.append(argument)
    return value, rest


def _pinned(name: str, generation: Path) -> Mapping[str, object]:
    """DamagedError unless they are what the launcher was written with."""
    path, hint = generation / "settings.json", f"Run: ccm doctor --fix {name}"
    try:
        text = fs.read_file(path).decode()
        launch = fs.read_file(generation / "launch").decode()
        document = json.loads(text)
    except (OSError, ValueError, RecursionError):
        raise DamagedError(path, "or the launcher beside it can't be read", hint) from None
    if not isinstance(document, dict) or quote(text) not in launch:
        raise DamagedError(path, "is not what the launcher was written with", hint)
    return document


def _holds(path: Path, content: bytes) -> bool:
    try:
        return not path.is_symlink() and fs.read_file(path) == content
    except OSError:
        return False


def _json_object(value: str) -> Mapping[str, object]:
    """Settings as Claude Code takes them: a file's path, or the JSON itself."""
    typed = value.lstrip().startswith("{")
    place = "given with --settings" if typed else f"in {value}"  # a key may have been typed
    try:
        text = value if typed else Path(value).read_text()
        document = json.loads(text)
    except FileNotFoundError as error:
        raise NotFoundError("settings file", str(error.filename)) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"The settings {place} can't be read: {error}",
            "Settings are JSON, in a file or as the argument itself.",
        ) from None
    if not isinstance(document, dict):
        raise UsageError(f"The settings {place} are not a JSON object.")
    return document


def _kept_file(context: Context, content: bytes, ending: str) -> str:
    """A file with this content, until the next `ccm prune`; the same content is the same file."""
    path = context.home.cache / "settings" / f"{hashlib.sha256(content).hexdigest()}.{ending}"
    context.home.prepare()
    with context.home.lock(".settings", context.say):
        if not _holds(path, content):
            fs.ensure_directory(path.parent)
            fs.replace_file(path, content, 0o600)
    return str(path)


def _program(context: Context, variant: Variant) -> str:
    """The program of another version, installed when it is not."""
    key = context.store.find(variant.version)
    if key is None:
        context.begin_change()
        release = context.registry.find(variant.version, context.platform)
        context.installed(release)
        key = release.key
    program = context.store.directory(key) / program_of(variant.version, context.platform)
    check_start(program, variant)
    return str(program)
