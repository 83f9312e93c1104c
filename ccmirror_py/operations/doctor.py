"""`ccm doctor`: look at everything that can be wrong."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ccmirror_py import fs
from ccmirror_py.check import Check
from ccmirror_py.context import Context
from ccmirror_py.credential import fetch, missing
from ccmirror_py.environment import weakness
from ccmirror_py.errors import CcmError, DamagedError
from ccmirror_py.launcher import render
from ccmirror_py.operations.looks import look_files, seeded_before
from ccmirror_py.operations.prune import native_problems
from ccmirror_py.operations.publish import (
    launch_of,
    resolve,
    settings_for,
)
from ccmirror_py.settings import (
    merged_settings,
    network_settings,
    pinned_network,
    settings_text,
)
from ccmirror_py.variant import FromFile, FromKeyring, FromVariable, Variant, strays
from ccmirror_py.variants import Broken
from ccmirror_py.version import FIRST_NATIVE

_LOOKS = 5


def examine(context: Context, names: list[str]) -> Iterator[Check]:
    """Every check of the machine and of each named variant."""
    yield from _machine(context)
    for name in names:
        yield from _steady(context, name)


def _steady(context: Context, name: str) -> list[Check]:
    """Looked at again when another ccm changed the variant meanwhile: its files are of two then."""
    checks: list[Check] = []
    for _ in range(_LOOKS):
        before = _current(context, name)
        checks = list(_variant(context, name))
        if _current(context, name) == before:
            break
    return checks


def _current(context: Context, name: str) -> str:
    try:
        return os.readlink(context.home.current(name))
    except OSError:
        return ""


def _variant(context: Context, name: str) -> Iterator[Check]:
    if name in context.variants.lost():
        detail = f"{context.home.current(name)} is gone; the rest is there"
        yield Check(name, "record", "failed", detail, f"ccm doctor --fix {name}")
        return
    entry = context.variants.get_or_broken(name)
    if isinstance(entry, Broken):
        yield Check(name, "record", "failed", entry.error.sentence, entry.error.hint)
        return
    try:
        context.variants.number(name)
    except DamagedError as error:
        yield Check(name, "record", "failed", error.sentence, error.hint)
        return
    yield Check(name, "record", "ok", f"{entry.choices.provider}, {entry.version}")
    if weakness(entry.version):
        newer = f"ccm unpin {name} && ccm update {name}"
        yield Check(name, "version", "warning", weakness(entry.version), newer)
    if entry.choices.yolo and context.is_refused_yolo:
        detail = "Claude Code refuses --yolo as root, except with IS_SANDBOX=1 in a sandbox"
        yield Check(name, "yolo", "warning", detail)
    yield from _files(context, entry)
    yield from _command(context, name)
    yield _key(context, entry)
    yield from _host(context, entry)
    yield from _users_files(context, name)


def _machine(context: Context) -> Iterator[Check]:
    path = context.environ.get("PATH", "")
    if context.bin_dir_is_on_path:
        yield Check("ccm", "PATH", "ok", str(context.home.bin_dir))
    else:
        yield Check(
            "ccm",
            "PATH",
            "failed",
            f"{context.home.bin_dir} is not on PATH",
            f'add to your shell\'s start file: export PATH="{context.home.bin_dir}:$PATH"',
        )
    first = shutil.which("ccm", path=path)
    own = Path(context.ccm[0]).parent / "ccm"
    if first and own.exists() and Path(first).resolve() != own.resolve():
        yield Check(
            "ccm",
            "command",
            "warning",
            f"the first `ccm` on PATH is {first}, another program",
            f"put {own.parent} before it",
        )


def _files(context: Context, variant: Variant) -> Iterator[Check]:
    name = variant.name
    fix = f"ccm doctor --fix {name}"
    generation = context.home.generation(name, context.variants.number(name))
    problems = native_problems(generation / "native")
    if problems:
        yield Check(name, "program", "failed", "; ".join(problems), fix)
    else:
        signed_by = context.variants.signed_by(name)
        detail = f"signed by npm ({signed_by})" if signed_by else "integrity only, no signature"
        done = (
            f"every byte as {variant.tweaked.by} left it, of a release"
            if variant.tweaked
            else ("every byte as installed")
        )
        yield Check(name, "program", "ok", f"{done}, {detail}")
    if variant.version < FIRST_NATIVE and not shutil.which(
        "node", path=context.environ.get("PATH", "")
    ):
        detail = f"{variant.version} needs Node.js 18 or newer"
        yield Check(name, "node", "failed", detail, f"install it, or: ccm update {name}")
    pinned = _json_check(name, "pinned settings", generation / "settings.json", fix)
    if pinned.result == "ok":
        pinned = _pinned_check(context, variant, generation)
        yield _launcher_check(context, variant, generation)
        yield from _looks_check(context, variant, generation)
    yield pinned
    yield _modes(context, name, generation, fix)


def _pinned_check(context: Context, variant: Variant, generation: Path) -> Check:
    """Whether they pin what they should; how the network is reached may differ between shells."""
    fix = f"ccm doctor --fix {variant.name}"
    text = fs.read_file(generation / "settings.json")
    written = json.loads(text)
    try:
        provider = context.providers.get(variant.choices.provider)
    except CcmError as error:
        return Check(variant.name, "pinned settings", "warning", error.sentence, error.hint)
    wanted = settings_for(context, variant, provider)
    network = network_settings(variant, pinned_network(written))
    wanted = merged_settings({"env": network}, wanted)
    if written != wanted or text != settings_text(wanted).encode():
        return Check(variant.name, "pinned settings", "failed", "are not what ccm would pin", fix)
    return Check(variant.name, "pinned settings", "ok")


def _launcher_check(context: Context, variant: Variant, generation: Path) -> Check:
    fix = f"ccm doctor --fix {variant.name}"
    settings = json.loads(fs.read_file(generation / "settings.json"))
    try:
        written = fs.read_file(generation / "launch")
    except OSError as error:
        return Check(variant.name, "launcher", "failed", f"{error.filename}: {error.strerror}", fix)
    if written != render(launch_of(context, variant, generation, settings)).encode():
        return Check(variant.name, "launcher", "failed", "is not what this ccm would write", fix)
    if not os.access(generation / "launch", os.X_OK):
        return Check(variant.name, "launcher", "failed", "can't be executed", fix)
    return Check(variant.name, "launcher", "ok")


def _looks_check(context: Context, variant: Variant, generation: Path) -> Iterator[Check]:
    """Theme, status line, guidance and splash; nothing is said without the provider's file."""
    with suppress(CcmError):
        wrong = []
        for file, (content, mode) in look_files(context, variant).items():
            try:
                right = fs.read_file(generation / file) == content
                right = right and os.access(generation / file, os.X_OK if mode & 0o100 else os.R_OK)
            except OSError:
                right = False
            wrong += [] if right else [file]
        fix = f"ccm doctor --fix {variant.name}"
        detail = f"{', '.join(wrong)}: not what this ccm would write" if wrong else ""
        if seeded_before(context, variant.name) is None:
            memory = context.home.config(variant.name) / "ccm" / "seeded.json"
            damaged = f"{memory} is damaged: ccm leaves your settings.json alone"
            yield Check(variant.name, "looks", "warning", damaged, f"to begin anew: rm {memory}")
        yield Check(
            variant.name, "looks", "failed" if wrong else "ok", detail, fix if wrong else ""
        )


def _modes(context: Context, name: str, generation: Path, fix: str) -> Check:
    """Nobody else may read what can hold a key, or change what will be executed."""
    private = [
        context.home.root,
        context.home.directory(name),
        generation,
        generation / "credential",
    ]
    private += [context.home.config(name), context.home.config(name) / ".credentials.json"]
    open_ = [str(path) for path in private if path.exists() and path.stat().st_mode & 0o077]
    if open_:
        return Check(name, "permissions", "failed", f"others can use {', '.join(open_)}", fix)
    return Check(name, "permissions", "ok", "only you")


def _command(context: Context, name: str) -> Iterator[Check]:
    launcher = context.home.launcher(name)
    if not context.variants.owns_launcher(name):
        conflict = context.variants.has_launcher_conflict(name)
        detail = "is not ccm's" if conflict else "is missing"
        hint = "move that file away, then: " if conflict else ""
        yield Check(
            name, "command", "failed", f"{launcher} {detail}", f"{hint}ccm doctor --fix {name}"
        )
        return
    first = shutil.which(name, path=context.environ.get("PATH", ""))
    if first and Path(first).resolve() != launcher.resolve():
        yield Check(name, "command", "failed", f"{first} comes first on PATH", f"remove {first}")
    else:
        yield Check(name, "command", "ok", str(launcher))


def _key(context: Context, variant: Variant) -> Check:
    name = variant.name
    match variant.credential:
        case FromVariable(variable) if not context.environ.get(variable):
            return Check(name, "key", "failed", *missing(variant.credential, name))
        case FromFile():
            try:
                if context.variants.stored_key(name) is None:
                    return Check(name, "key", "failed", *missing(variant.credential, name))
            except CcmError as error:
                return Check(name, "key", "failed", error.sentence, error.hint)
        case FromKeyring() as credential:
            try:
                fetch(credential, None, context.environ)
            except CcmError as error:
                return Check(name, "key", "failed", error.sentence, f"ccm key test {name}")
    return Check(name, "key", "ok")


def _host(context: Context, variant: Variant) -> Iterator[Check]:
    """Whether its provider's file has moved to where its stored key may not go."""
    with suppress(CcmError):
        coming = resolve(context, variant, context.providers.get(variant.choices.provider))
        if strays(coming):
            detail = (
                f"{variant.choices.provider} is at {coming.host} now, its key for {variant.host}"
            )
            yield Check(variant.name, "host", "warning", detail, f"ccm key set {variant.name}")


def _users_files(context: Context, name: str) -> Iterator[Check]:
    """Claude Code ignores the whole of a settings file it can't read."""
    for file in ("settings.json", ".claude.json"):
        path = context.home.config(name) / file
        if path.exists():
            yield _json_check(name, f"your {file}", path, f"mend {path}")


def _json_check(name: str, what: str, path: Path, hint: str) -> Check:
    try:
        if not isinstance(json.loads(fs.read_file(path)), dict):
            return Check(name, what, "failed", f"{path} is not a JSON object", hint)
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not valid JSON"
        return Check(name, what, "failed", f"{path}: {reason}", hint)
    return Check(name, what, "ok")
