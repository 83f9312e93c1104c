"""A throw-away twin of a variant as it is, or as it would be, to be started and looked at.

The twin has the same program, launcher, arguments and pinned settings; its config directory is its
own. So are its endpoint (ccm's echo server on this machine) and its key (an invented one), unless
it is to talk to the variant's endpoint. It has none of the variant's MCP servers.
"""

import json
import os
import secrets
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ccmirror_py import fs
from ccmirror_py.context import Context
from ccmirror_py.echo import Received
from ccmirror_py.environment import CLOUD_SWITCHES, KEY_DESCRIPTOR
from ccmirror_py.launcher import Launch, render
from ccmirror_py.operations.publish import Coming, launch_of, pinned_of
from ccmirror_py.settings import seeded_claude_json, settings_text
from ccmirror_py.variant import FromFile, Variant

LAUNCH_TIMEOUT = 120.0

Settings = dict[str, Any]
Changed = Callable[[Settings, Path], Settings]


@dataclass(frozen=True)
class Twin:
    """`directory` holds all of it: `launch`, `settings.json`, `config/` and what a caller adds."""

    directory: Path
    launch: Launch
    key: str

    def start(
        self,
        words: Sequence[str],
        project: Path,
        environ: Mapping[str, str],
        wrapper: Sequence[str] = (),
    ) -> str:
        """What it printed, or why it did not. `wrapper` is a command it is started by."""
        try:
            process = subprocess.Popen(
                [*wrapper, self.directory / "launch", *words],
                cwd=project,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            return str(error)
        with ended_by_a_signal(), process:
            try:
                return process.communicate(timeout=LAUNCH_TIMEOUT)[0]
            except subprocess.TimeoutExpired as error:
                return str(error)
            finally:
                # also what it started, and whatever ended the waiting
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def broken_promises(self, received: Sequence[Received]) -> Iterator[str]:
        """What it sent that a variant never should."""
        expected = {
            "ANTHROPIC_AUTH_TOKEN": {"authorization": f"Bearer {self.key}", "x-api-key": None},
            KEY_DESCRIPTOR: {"authorization": None, "x-api-key": self.key},
        }[self.launch.key_variable or ""]
        environment = self.launch.environment
        models = {value for name, value in environment.items() if name.endswith("_MODEL")}
        models = {model.removesuffix("[1m]") for model in models}
        for request in received:
            if request.method != "POST":
                continue
            if models and request.model not in models:
                yield f"asked for the model {request.model}"
            for header, value in expected.items():
                if request.header(header) != value:
                    yield f"sent another {header} than the variant's"


@contextmanager
def ended_by_a_signal() -> Iterator[None]:
    """SIGTERM and a closed terminal end ccm as Ctrl-C does: nothing it started goes on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(each, signal.default_int_handler) for each in signals]
    try:
        yield
    finally:
        for each, handler in zip(signals, before, strict=True):
            signal.signal(each, handler)


@contextmanager
def twin(
    context: Context,
    variant: Variant,
    url: str | None,
    changed: Changed = lambda settings, _: settings,
    instead: Path | Coming | None = None,
) -> Iterator[Twin]:
    """`changed` may change the pinned settings, given the directory. Nothing is left behind.

    Without `url` it talks to the variant's endpoint, and gets the key as the variant does.
    `instead` of the variant as it is: another program for it, or all of what is coming, of which
    `variant` is the record then.
    """
    name = variant.name
    with context.home.lock(name, context.say):
        directory = context.home.stage(name)
        try:
            pinned = _pinned(context, variant, directory, instead)
            yield _made(context, variant, directory, url, changed(pinned, directory))
        finally:
            # what the Claude Code of this directory keeps elsewhere bears its name
            for left in Path("/tmp").glob(f"claude-*/*{directory.name.rpartition('~')[2]}*"):  # noqa: S108
                fs.remove_tree(left)
            fs.remove_tree(directory)


def _pinned(
    context: Context, variant: Variant, directory: Path, instead: Path | Coming | None
) -> Settings:
    """What it pins. A program the variant has not yet is put into `directory`."""
    if isinstance(instead, Coming):
        if instead.release:
            with context.held(instead.release) as release:
                fs.clone_tree(release, directory / "native")
        return dict(instead.settings)
    if instead:
        fs.clone_tree(instead, directory / "native")
    generation = context.home.generation(variant.name, context.variants.number(variant.name))
    return dict(pinned_of(variant.name, generation))


def _made(
    context: Context, variant: Variant, directory: Path, url: str | None, settings: Settings
) -> Twin:
    generation = context.home.generation(variant.name, context.variants.number(variant.name))
    if url is None:
        context.variants.stored_key_of(variant)  # BusyError when it is another endpoint's by now
    own = {
        "CLAUDE_CONFIG_DIR": str(directory / "config"),
        "ANTHROPIC_CONFIG_DIR": str(directory / "config" / "anthropic"),
    }
    if url:
        # no cloud is asked: what stands here then speaks to `url` as any other variant
        switches = {name: "" for name in CLOUD_SWITCHES.values() if name in variant.environment}
        own |= {"ANTHROPIC_BASE_URL": url, **switches}
    key = f"ccm-twin-{secrets.token_hex(12)}"
    settings["env"] = {**settings["env"], **own}  # a new one: `instead` stays as it is
    if url and variant.key_variable is None:
        settings["env"]["ANTHROPIC_AUTH_TOKEN"] = key  # held empty for a login, which it has not
    has_own = (directory / "native").is_dir()
    launch = launch_of(context, variant, directory if has_own else generation, settings)
    launch = replace(
        launch,
        settings=str(directory / "settings.json"),
        pinned=settings_text(settings),
        again="",
        network={},  # the twin never hands over to ccm, which would start the real variant
        environment={**variant.environment, **own},
        credential_file=str(generation / "credential"),
        mcp="",
    )
    if url:
        launch = replace(
            launch,
            key_variable=launch.key_variable or "ANTHROPIC_AUTH_TOKEN",
            credential=FromFile(),
            credential_file=str(directory / "credential"),
        )
    fs.make_directory(directory / "config")
    seeded = json.dumps(seeded_claude_json({}, variant)).encode()
    fs.write_file(directory / "config" / ".claude.json", seeded, 0o600)
    fs.write_file(directory / "settings.json", settings_text(settings).encode(), 0o600)
    fs.write_file(directory / "credential", key.encode() + b"\n", 0o600)
    fs.write_file(directory / "launch", render(launch).encode(), 0o700)
    return Twin(directory, launch, key)
