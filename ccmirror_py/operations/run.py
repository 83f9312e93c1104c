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

from ccmirror_py import fs
from ccmirror_py.context import Context
from ccmirror_py.errors import NotFoundError, UsageError
from ccmirror_py.launcher import Launch, render
from ccmirror_py.operations.publish import check_start, launch_of
from ccmirror_py.release import program_of
from ccmirror_py.settings import merged_settings
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
    settings, rest = _split_settings(rest)
    if version is None and settings is None:
        return Command((str(generation / "launch"), *arguments))
    launch = launch_of(context, variant, generation)
    if version is not None and version != variant.version:
        launch = replace(launch, program=_program(context, replace(variant, version=version)))
    if settings is not None:
        launch = replace(launch, settings=_merged_file(context, launch, settings))
    return Command(("/bin/sh", "-c", render(launch), name, *rest))


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


def _merged_file(context: Context, launch: Launch, value: str) -> str:
    """A file with the user's settings and the pinned ones over them, the same for the same text."""
    inline = value.lstrip().startswith("{")
    try:
        text = value if inline else Path(value).read_text()
        users = json.loads(text)
        pinned = json.loads(Path(launch.settings).read_text())
    except FileNotFoundError as error:
        raise NotFoundError("settings file", str(error.filename)) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"The settings given with --settings can't be read: {error}",
            "They are JSON, in a file or as the argument itself.",
        ) from None
    if not isinstance(users, Mapping) or not isinstance(pinned, Mapping):
        raise UsageError("The settings given with --settings are not a JSON object.")
    merged = json.dumps(merged_settings(pinned, users)).encode()
    path = context.home.cache / "settings" / f"{hashlib.sha256(merged).hexdigest()}.json"
    if not path.exists():
        context.home.prepare()
        fs.ensure_directory(path.parent)
        fs.replace_file(path, merged, 0o600)
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
