"""Building the next generation of a variant and making it the current one.

Create, update, pin, rollback and key changes all end here. The caller holds the variant's lock.
"""

import json
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from ccmirror_py import fs
from ccmirror_py.context import Context
from ccmirror_py.environment import (
    KEY_VARIABLES,
    NETWORK_NAMES,
    auth_style,
    environment_of,
    let_through,
    takes_key,
)
from ccmirror_py.errors import DamagedError, UsageError, VerificationError
from ccmirror_py.launcher import Launch, render
from ccmirror_py.mcp import as_argument, servers_of
from ccmirror_py.operations.looks import look_files, seed_config, title
from ccmirror_py.platforms import program_of
from ccmirror_py.provider import Provider
from ccmirror_py.secret import Secret
from ccmirror_py.settings import (
    Surroundings,
    pinned_network,
    pinned_settings,
    settings_text,
)
from ccmirror_py.variant import Credential, FromKeyring, NoKey, Variant, given_for, strays, to_json
from ccmirror_py.variants import Broken
from ccmirror_py.version import FIRST_NATIVE

if TYPE_CHECKING:
    from ccmirror_py.release import Release

START_TIMEOUT = 30.0


@dataclass(frozen=True)
class Next:
    """The next generation: its record, the settings it pins, its release and its stored key."""

    variant: Variant
    settings: dict[str, object]
    release: Path
    key: Secret | None
    forced: Collection[str] = ()
    """Keys of the user's settings that the user has just chosen through ccm."""


@dataclass(frozen=True)
class Coming:
    """What a variant would become, before anything of it is built. `release` None: the program it
    has stays."""

    variant: Variant
    settings: Mapping[str, object]
    release: "Release | None"


def publish(context: Context, coming: Next) -> None:
    """Nothing is visible before the last step; a failure leaves the variant as it was."""
    variant = coming.variant
    _check_host(variant)
    before = context.variants.get_or_broken(variant.name)
    number, staged = context.variants.stage(variant.name)
    generation = context.home.generation(variant.name, number)
    try:
        fs.clone_tree(coming.release, staged / "native")
        write_generation(context, coming, staged, generation)
        if not coming.release.is_relative_to(context.home.generations(variant.name)):
            # else it started here when that generation was made
            check_start(staged / "native" / program_of(variant.version, context.platform), variant)
        seed_config(context, variant, coming.forced)
        context.variants.commit(variant.name, number, staged)
    except BaseException:
        fs.remove_tree(staged)
        raise
    if not isinstance(before, Broken):
        _tell_of_host(context, before, variant)
    context.variants.prune(variant.name)


def republish(context: Context, variant: Variant, forced: Collection[str] = ()) -> None:
    """A generation with the program and the key of the current one."""
    name = variant.name
    provider = context.providers.get(variant.choices.provider)
    settings = settings_for(context, variant, provider)
    key = context.variants.stored_key(name)
    publish(context, Next(variant, settings, native_of(context, name), key, forced))


def native_of(context: Context, name: str) -> Path:
    """The directory with the program the variant has."""
    return context.home.current(name).resolve() / "native"


def _check_host(variant: Variant) -> None:
    """UsageError before a stored key would be sent to another host than it was given for."""
    if strays(variant):
        raise UsageError(
            f"{variant.name} would send its stored key to {variant.host}; "
            f"it was given for {given_for(variant)}.",
            f"If it may go there, give it again: ccm key set {variant.name}",
        )


def _tell_of_host(context: Context, before: Variant, after: Variant) -> None:
    """Also for keys that aren't stored, and that nothing holds back."""
    if after.host and before.host and after.host != before.host:
        key = "" if isinstance(after.credential, NoKey) else ", and so does its key"
        context.say(f"{after.name} now talks to {after.host} instead of {before.host}{key}.")


def resolved(context: Context, variant: Variant, provider: Provider) -> Variant:
    """As `resolve`; but where its provider's file has moved to another host since, a variant with a
    stored key stays with the endpoint it has."""
    coming = resolve(context, variant, provider)
    return variant if strays(coming) else coming


def resolve(context: Context, variant: Variant, provider: Provider) -> Variant:
    """The variant with what its launcher sets worked out from its choices and its provider."""
    choices, credential = variant.choices, variant.credential
    directory = str(context.home.directory(variant.name))
    style = KEY_VARIABLES[auth_style(provider, choices)]
    key_variable = style if takes_key(provider, credential) else None
    return replace(
        variant,
        environment=environment_of(variant.name, provider, choices, credential, directory),
        key_variable=key_variable,
        mcp_servers=servers_of(provider, choices, credential, key_variable),
    )


def write_generation(context: Context, coming: Next, staged: Path, final: Path) -> None:
    """The files beside `native/`, written to `staged` for their place in `final`."""
    if coming.key:
        fs.write_file(staged / "credential", coming.key.reveal().encode() + b"\n", 0o600)
    fs.write_file(staged / "variant.json", _json(to_json(coming.variant)), 0o600)
    fs.write_file(staged / "settings.json", settings_text(coming.settings).encode(), 0o600)
    for name, (content, mode) in look_files(context, coming.variant).items():
        fs.write_file(staged / name, content, mode)
    launch = render(launch_of(context, coming.variant, final, coming.settings))
    fs.write_file(staged / "launch", launch.encode(), 0o700)
    fs.make_older(staged / "settings.json", staged / "launch")  # launchers read younger ones


def launch_of(
    context: Context, variant: Variant, generation: Path, settings: Mapping[str, object]
) -> Launch:
    """What starts `variant` from `generation`, which pins `settings`."""
    return Launch(
        name=variant.name,
        generation=str(generation),
        program=str(generation / "native" / program_of(variant.version, context.platform)),
        settings=str(generation / "settings.json"),
        pinned=settings_text(settings),
        again=context.home.launcher_target(variant.name),
        # what the user set with --env is no matter of the shell's
        network={n: v for n, v in pinned_network(settings).items() if n not in variant.environment},
        environment=variant.environment,
        key_variable=variant.key_variable,
        credential=variant.credential,
        credential_file=str(generation / "credential"),
        args=variant.choices.args,
        inherit=(*variant.choices.inherit, *let_through(variant.environment)),
        ccm=context.ccm,
        keyring=_reader(context, variant.credential),
        title=title(variant),
        splash=str(generation / "splash") if variant.choices.looks.splash else "",
        mcp=as_argument(variant.mcp_servers),
    )


def _reader(context: Context, credential: Credential) -> tuple[str, ...]:
    if not isinstance(credential, FromKeyring):
        return ()
    from ccmirror_py.os_keyring import lookup

    return lookup(credential.account, context.platform.os)


def settings_for(context: Context, variant: Variant, provider: Provider) -> dict[str, object]:
    """The pinned settings; the home directory counts under each name it has."""
    homes = dict.fromkeys((str(context.user_home), str(context.user_home.resolve())))
    return pinned_settings(variant, provider, Surroundings(tuple(homes), network(context)))


def is_outdated(context: Context, variant: Variant) -> bool:
    """Whether the current generation is not what would be made of the same choices now."""
    provider = context.providers.get(variant.choices.provider)
    settings = settings_for(context, variant, provider)
    return is_stale(context, variant, resolved(context, variant, provider), settings)


def is_stale(
    context: Context,
    variant: Variant,
    coming: Variant,
    settings: Mapping[str, object],
    with_looks: bool = True,
) -> bool:
    """Whether the current generation differs from what would be made of `coming`."""
    generation = context.home.generation(variant.name, context.variants.number(variant.name))
    launch = launch_of(context, coming, generation, settings)
    files_of_looks = look_files(context, coming) if with_looks else {}
    looks = {name: content for name, (content, _) in files_of_looks.items()}
    files = [generation / name for name in ("variant.json", "settings.json", "launch", *looks)]
    if any(file.is_symlink() for file in files):
        return True
    try:
        written = [fs.read_file(file) for file in files[1:]]
    except OSError:
        return True
    same = written == [launch.pinned.encode(), render(launch).encode(), *looks.values()]
    return not same or replace(coming, updated=variant.updated) != variant


def network(context: Context) -> dict[str, str]:
    """How this shell says the network is reached. UsageError for what can't be written down."""
    found = {name: context.environ.get(name, "") for name in NETWORK_NAMES}
    for name, value in found.items():
        if not value.isascii() and value.encode(errors="replace").decode() != value:
            raise UsageError(f"${name} is not UTF-8.", f"Set it again, or: unset {name}")
    return found


def pinned_of(name: str, generation: Path) -> Mapping[str, Any]:
    """What a generation pins. DamagedError unless it is what the launcher was written with."""
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


_STARTED: set[tuple[int, int]] = set()
"""Device and inode of programs that started in this process: their hard links start as well."""


def check_start(program: Path, variant: Variant) -> None:
    """VerificationError unless `program` starts here and is the version it should be.

    JavaScript releases are not started: they need the user's Node, which the launcher looks for.
    """
    version, state = variant.version, program.stat()
    if version < FIRST_NATIVE or (state.st_dev, state.st_ino) in _STARTED:
        return
    scratch = program.parent.parent
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(scratch), "CLAUDE_CONFIG_DIR": str(scratch)}
    hint = "Choose another version with --claude-version."
    try:
        done = subprocess.run(
            [program, "--version"],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it does not answer"
        raise VerificationError(
            f"Claude Code {version} does not start on this machine: {reason}.", hint
        ) from None
    if not done.stdout.startswith(f"{version} "):
        said = (done.stdout + done.stderr).strip().partition("\n")[0] or f"status {done.returncode}"
        raise VerificationError(
            f"Claude Code {version} does not start on this machine: {said[:200]}", hint
        )
    _STARTED.add((state.st_dev, state.st_ino))


def _json(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"
