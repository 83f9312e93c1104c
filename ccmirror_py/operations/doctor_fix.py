"""`ccm doctor --fix`: mend what needs no decision."""

import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ccmirror_py import fs
from ccmirror_py.context import Context
from ccmirror_py.errors import CcmError, DamagedError, NewerError, NotFoundError
from ccmirror_py.operations.prune import native_problems
from ccmirror_py.operations.publish import (
    Next,
    is_outdated,
    publish,
    republish,
    resolved,
    settings_for,
)
from ccmirror_py.release import Release
from ccmirror_py.secret import Secret
from ccmirror_py.variant import FromFile, Variant
from ccmirror_py.variants import Broken


def fix(context: Context, name: str) -> None:
    """Mend what has one right answer: links, permissions, launcher, program, an unreadable record.

    DamagedError when no generation can be read any more.
    """
    context.begin_change()
    _have_program_at_hand(context, name)
    with context.changing(name):
        _make_private(context, name)
        _straighten(context, name)
        entry = context.variants.get_or_broken(name)
        if isinstance(entry, Broken):
            if isinstance(entry.error, NewerError):
                raise entry.error
            _restore_record(context, name)
        variant = context.variants.get(name)
        generation = context.home.generation(name, context.variants.number(name))
        try:
            if native_problems(generation / "native"):
                _replace_program(context, variant)
            elif is_outdated(context, variant):
                provider = context.providers.get(variant.choices.provider)
                republish(context, resolved(context, variant, provider))
        finally:
            context.variants.link(name)  # which needs neither a registry nor a provider's file


def _have_program_at_hand(context: Context, name: str) -> None:
    """The long part, without holding the variant. What is wrong otherwise is seen later."""
    with suppress(DamagedError, NotFoundError):
        variant, generation = context.variants.current(name)
        if native_problems(generation / "native"):
            _good_release(context, variant)


def _good_release(context: Context, variant: Variant) -> Release:
    """In the store, where nobody but a reader of all of it sees a flipped bit."""
    release = context.registry.find(variant.version, context.platform)
    if context.store.has(release) and context.store.problems(release.key):
        context.store.remove(release.key, lambda: True)
    context.installed(release)
    return release


def _straighten(context: Context, name: str) -> None:
    """A `current` that leads to the right place in another way, as a backup may restore it."""
    link = context.home.current(name)
    with suppress(OSError, RuntimeError):
        end = link.resolve()
        wanted = f"generations/{end.name}"
        if end.parent == context.home.generations(name) and os.readlink(link) != wanted:
            fs.replace_link(wanted, link)


def _make_private(context: Context, name: str) -> None:
    home = context.home
    inner = (home.directory(name), home.config(name), home.generations(name))
    _set_modes({home.root: 0o700, **dict.fromkeys(inner, 0o700)})
    _set_modes({home.config(name) / ".credentials.json": 0o600})
    with suppress(DamagedError):
        generation = home.generation(name, context.variants.number(name))
        _set_modes({generation / file: 0o700 for file in ("", "launch", "statusline")})
        _set_modes({generation / "credential": 0o600})


def _set_modes(modes: Mapping[Path, int]) -> None:
    """What a link points to is not ccm's to change."""
    for path, mode in modes.items():
        if path.is_symlink() or not path.exists():
            continue
        if stat.S_IMODE(path.stat().st_mode) != mode:
            fs.make_private(path, mode)


def _restore_record(context: Context, name: str) -> None:
    """`current` goes back to the newest generation that can be read, with the newest key for it."""
    for number in context.variants.all_numbers(name):
        generation = context.home.generation(name, number)
        try:
            variant = context.variants.read(name, generation)
        except CcmError:
            continue
        stored = _key_in(context, name, number)
        if stored is None and isinstance(variant.credential, FromFile):
            # the newest generation stays until the key beside it is in the next one
            newest = context.variants.all_numbers(name)[0]
            fs.replace_link(f"generations/{newest}", context.home.current(name))
            provider = context.providers.get(variant.choices.provider)
            settings = settings_for(context, variant, provider)
            key = _newest_key(context, variant)
            publish(context, Next(variant, settings, generation / "native", key))
        else:
            fs.replace_link(f"generations/{number}", context.home.current(name))
        return
    raise DamagedError(
        context.home.directory(name),
        "has no readable record left",
        f"Make it anew, its config stays: ccm create {name} --provider … --force",
    )


def _newest_key(context: Context, variant: Variant) -> Secret | None:
    """The stored key of the newest generation that talks to the same endpoint."""
    for number in context.variants.all_numbers(variant.name):
        generation = context.home.generation(variant.name, number)
        with suppress(OSError, ValueError, KeyError, TypeError):
            settings = json.loads(fs.read_file(generation / "settings.json"))
            key = _key_in(context, variant.name, number)
            if key and settings["env"]["ANTHROPIC_BASE_URL"] == variant.base_url:
                return key
    return None


def _key_in(context: Context, name: str, number: int) -> Secret | None:
    try:
        return context.variants.stored_key(name, number)
    except DamagedError:
        return None


def _replace_program(context: Context, variant: Variant) -> None:
    """From the store when the store is right, else downloaded again: as it was released."""
    if variant.tweaked:
        again = f"ccm tweak {variant.name} --patches {','.join(variant.tweaked.patches)}"
        context.say(f"{variant.name}: its program is as released again; to tweak it: {again}")
        variant = replace(variant, tweaked=None)
    release = _good_release(context, variant)
    provider = context.providers.get(variant.choices.provider)
    settings = settings_for(context, variant, provider)
    key = context.variants.stored_key(variant.name)
    with context.held(release) as directory:
        publish(context, Next(variant, settings, directory, key))
