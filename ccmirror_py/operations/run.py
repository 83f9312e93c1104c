"""`ccm run`: what the launcher does, and what it can't: another version, the user's `--settings`.

The process becomes Claude Code. The launcher's text is given to `sh` with another program or
another settings file in it, so there is one place that clears and sets the environment.
"""

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from ccmirror_py import fs
from ccmirror_py.context import Context
from ccmirror_py.environment import HOST_BLOCKS_NETWORK, NETWORK_NAMES, weakness
from ccmirror_py.errors import NotFoundError, UsageError
from ccmirror_py.home import SETTINGS_LOCK
from ccmirror_py.launcher import render
from ccmirror_py.operations.publish import check_start, launch_of, network, pinned_of
from ccmirror_py.platforms import program_of
from ccmirror_py.settings import merged_settings, network_settings, settings_text
from ccmirror_py.variant import Variant
from ccmirror_py.version import Version, parse_version


def command_for(context: Context, name: str, arguments: list[str]) -> tuple[str, ...]:
    """What starts the variant `name` with `arguments`, of which `+VERSION` may be the first. The
    first word is a path."""
    variant, generation = context.variants.current(name)
    version, rest = _split_version(arguments)
    users, rest = _split_settings(rest)
    pinned = pinned_of(name, generation)
    launch = launch_of(context, variant, generation, pinned)
    needed: Collection[str] = launch.network
    if version is not None and version < HOST_BLOCKS_NETWORK:
        # the variant's own version may need no such pins, and this one does
        needed = [name for name in NETWORK_NAMES if name not in variant.environment]
    here = {key: value for key, value in network(context).items() if key in needed}
    if version is None and users is None and here == launch.network:
        return (str(generation / "launch"), *arguments)
    if version is not None and version != variant.version:
        launch = replace(launch, program=_program(context, replace(variant, version=version)))
        if weakness(version):
            context.say(weakness(version))
    if users is not None or here != launch.network:
        pinned = merged_settings({"env": network_settings(variant, here)}, pinned)
        merged = merged_settings(pinned, _json_object(users) if users else {})
        text = settings_text(merged)
        path = _kept_file(context, text.encode(), "json")
        launch = replace(launch, settings=path, pinned=text, network=here)
    launch = replace(launch, again="")  # it would start without what was asked for here
    # a file, and not `sh -c`: the text may hold a proxy's password, and everybody sees arguments
    script = _kept_file(context, render(launch).encode(), "sh")
    return ("/bin/sh", script, *rest)


def run(command: tuple[str, ...]) -> None:
    """Become it. Returns never; OSError when it can't be started."""
    os.execv(command[0], command)  # noqa: S606 (a shell is not wanted)


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
    with context.home.lock(SETTINGS_LOCK, context.say):
        if not _holds(path, content):
            fs.ensure_directory(path.parent)
            fs.replace_file(path, content, 0o600)
    return str(path)


def _program(context: Context, variant: Variant) -> str:
    """The program of another version, installed when it is not."""
    key = context.store.find(variant.version)
    if key and context.store.is_sound(key):
        context.check_signed(variant.version, context.store.receipt(key).signed_by)
    else:
        context.begin_change()
        release = context.registry.find(variant.version, context.platform)
        context.installed(release)
        key = release.key
    program = context.store.directory(key) / program_of(variant.version, context.platform)
    check_start(program, variant)
    return str(program)
