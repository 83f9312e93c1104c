"""`ccm tweak`: tweakcc patches a copy of the program; only one that works takes its place.

What can be known to fail is said before anything is downloaded. The copy is made in staging, so a
killed command leaves the variant as it was.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ccmirror_py import fs, tweakcc
from ccmirror_py.context import Context
from ccmirror_py.errors import BusyError, CcmError, UsageError
from ccmirror_py.home import tweak_lock
from ccmirror_py.operations.doctor_launch import launch_checks
from ccmirror_py.operations.publish import START_TIMEOUT, Next, publish, settings_for
from ccmirror_py.operations.twin import ended_by_a_signal
from ccmirror_py.patches import DEFAULT, TOOL, Patch, check_version, chosen, not_applied
from ccmirror_py.patches import settings_for as tweakcc_settings
from ccmirror_py.platforms import program_of
from ccmirror_py.receipt import RECEIPT, write_receipt
from ccmirror_py.store import file_problems, file_sha256
from ccmirror_py.times import now
from ccmirror_py.variant import Tweaked, Variant
from ccmirror_py.version import FIRST_NATIVE


@dataclass(frozen=True)
class TweakRequest:
    """`patches` are ids, empty for the usual ones. `config` is the user's file for tweakcc."""

    name: str
    patches: Sequence[str] = ()
    config: Path | None = None


def tweak(context: Context, request: TweakRequest) -> Variant:
    """The variant with a patched program, which was made to call a tool before it got there."""
    seen = context.variants.get(request.name)
    check_version(seen, context.platform)
    own = _own_settings(request)
    patches = chosen(request.patches or DEFAULT, seen.version, own is not None)
    node = tweakcc.find_node(context.environ)
    context.begin_change()
    with ended_by_a_signal(), _workplace(context, request.name) as directory:
        context.say(f"Installing {TOOL} for this once …")
        tweakcc.install(node, directory / "tools", context.home.cache / "npm", context.environ)
        release = _pristine(context, seen)
        native = directory / "native"
        _copy(release, native)
        context.say(f"Patching a copy of Claude Code {seen.version} …")
        _patch(directory, node, native / program_of(seen.version, context.platform), patches, own)
        _seal(context, seen, release, native)
        context.say("Trying it: it has to start, and to call a tool …")
        _check_version_told(node, native, context, seen)
        _check_turn(context, seen, native)
        return _flip(context, seen, native, Tweaked(TOOL, tuple(patch.id for patch in patches)))


@contextmanager
def _workplace(context: Context, name: str) -> Iterator[Path]:
    lock_name = tweak_lock(name)
    with context.home.lock(lock_name, context.say):
        directory = context.home.stage(lock_name)
        try:
            yield directory
        finally:
            fs.remove_tree(directory)


def _own_settings(request: TweakRequest) -> Mapping[str, object] | None:
    """Only `settings` of the file: it also names a program to patch."""
    if request.config is None:
        return None
    if not request.patches:
        raise UsageError(
            "--config says how to patch, and not what.",
            "Add --patches ID,ID; see: ccm tweak --list",
        )
    hint = f"It is tweakcc's own config.json of version {TOOL.partition(' ')[2]}."
    try:
        document = json.loads(fs.read_file(request.config))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not valid JSON"
        raise UsageError(f"{request.config}: {reason}.", hint) from None
    settings = document.get("settings") if isinstance(document, dict) else None
    if not isinstance(settings, dict):
        raise UsageError(f"{request.config} holds no 'settings'.", hint)
    return settings


def _pristine(context: Context, variant: Variant) -> Path:
    """The release as it was published: patches are not put upon patches."""
    key = context.store.find(variant.version)
    if key is None or context.store.problems(key):
        release = context.registry.find(variant.version, context.platform)
        return context.installed(release)
    context.check_signed(variant.version, context.store.receipt(key).signed_by)
    return context.store.directory(key)


def _copy(release: Path, native: Path) -> None:
    """Real copies, the receipt left out: nothing that is written there reaches another program."""
    fs.make_directory(native)
    for folder, _, names in os.walk(release):
        place = native / Path(folder).relative_to(release)
        fs.ensure_directory(place)
        for name in names:
            if name != RECEIPT:
                source = Path(folder) / name
                fs.copy_file(source, place / name, source.stat().st_mode & 0o777)


def _patch(
    directory: Path,
    node: tweakcc.Node,
    program: Path,
    patches: Sequence[Patch],
    own: Mapping[str, object] | None,
) -> None:
    """CcmError unless tweakcc says of every patch that it applied it."""
    config = directory / "config"
    fs.make_directory(config)
    document = {"settings": tweakcc_settings(patches, own or {})}
    fs.write_file(config / "config.json", json.dumps(document).encode(), 0o600)
    ids = [patch.id for patch in patches]
    printed = tweakcc.run(node, directory / "tools", program, config, ids)
    problems = not_applied(printed, patches)
    if not problems:
        return
    failed = {problem.partition(" ")[0] for problem in problems}
    fine = [id_ for id_ in ids if id_ not in failed]
    hint = f"These can be applied: --patches {','.join(fine)}" if fine else "Nothing was changed."
    raise CcmError(f"{TOOL} could not apply every patch: {', '.join(problems)}.", hint)


def _seal(context: Context, variant: Variant, release: Path, native: Path) -> None:
    """A receipt of what the copy is now. CcmError when more than the program was changed."""
    receipt = context.store.receipt((release.parent.name, release.name))
    program = program_of(variant.version, context.platform)
    others = {name: digest for name, digest in receipt.files.items() if name != program}
    found = {
        str((Path(folder) / name).relative_to(native))
        for folder, _, names in os.walk(native)
        for name in names
    }
    path = native / program
    if found != {*receipt.files} or file_problems(native, others) or path.is_symlink():
        raise CcmError(f"{TOOL} changed other files than the program.", "Nothing was changed.")
    digest = file_sha256(path)
    if digest == receipt.files[program]:
        raise CcmError(f"{TOOL} says it patched the program, and did not.", "Nothing was changed.")
    fs.make_private(path, 0o555)
    files = {**others, program: digest}
    write_receipt(native, replace(receipt, files=files, states={}, tweaked=TOOL))


def _check_version_told(
    node: tweakcc.Node, native: Path, context: Context, variant: Variant
) -> None:
    """CcmError unless the patched program starts and tells its version."""
    program = native / program_of(variant.version, context.platform)
    argv = [str(program)] if variant.version >= FIRST_NATIVE else [node.node, str(program)]
    home = native.parent / "config"
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "CLAUDE_CONFIG_DIR": str(home)}
    try:
        done = subprocess.run(
            [*argv, "--version"],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=START_TIMEOUT,
            check=False,
        )
        said = done.stdout
    except (OSError, subprocess.TimeoutExpired):
        said = ""
    if not said.startswith(f"{variant.version} "):
        raise CcmError("The patched program does not start.", "Nothing was changed.")


def _check_turn(context: Context, variant: Variant, native: Path) -> None:
    """CcmError unless it called a tool and kept the variant's promises, against the echo server."""
    for check in launch_checks(context, variant, native):
        if check.result != "ok":
            raise CcmError(
                f"The patched program starts and does not work: {check.detail}",
                "Nothing was changed.",
            )


def _flip(context: Context, seen: Variant, native: Path, tweaked: Tweaked) -> Variant:
    name = seen.name
    with context.changing(name):
        before = context.variants.get(name)
        if before.version != seen.version:
            raise BusyError(f"Another ccm changed {name} meanwhile.", "Run the same command again.")
        after = replace(before, tweaked=tweaked, updated=now())
        provider = context.providers.get(after.choices.provider)
        settings = settings_for(context, after, provider)
        publish(context, Next(after, settings, native, context.variants.stored_key(name)))
    return after
