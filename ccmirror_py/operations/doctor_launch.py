"""`ccm doctor --launch`: a throw-away twin of a variant is started, and what it sends is read.

The twin has the same program, launcher, arguments and pinned settings; only its config directory,
its endpoint (ccm's echo server on this machine) and its key (an invented one) are its own.
"""

import json
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ccmirror_py import fs
from ccmirror_py.check import Check
from ccmirror_py.context import Context
from ccmirror_py.echo import EchoServer, Received
from ccmirror_py.environment import KEY_DESCRIPTOR
from ccmirror_py.launcher import Launch, render
from ccmirror_py.operations.publish import launch_of
from ccmirror_py.settings import settings_text
from ccmirror_py.variant import FromFile, Variant

LAUNCH_TIMEOUT = 120.0
_WORD = "ccm-doctor-was-here"


def launch_checks(context: Context, variant: Variant) -> Iterator[Check]:
    """What the real Claude Code did with one prompt and one tool call."""
    name = variant.name
    key = f"ccm-doctor-{secrets.token_hex(12)}"
    with context.home.lock(name, context.say):
        twin = context.home.stage(name)
        try:
            with EchoServer() as server:
                launch = _twin(context, variant, twin, server.url)
                fs.write_file(twin / "credential", key.encode() + b"\n", 0o600)
                answer = _answer(context, launch, twin)
                received = server.received
        finally:
            fs.remove_tree(twin)
    hint = f"look at it yourself: ccm echo, then ccm create … --provider echo; see ccm env {name}"
    if _WORD not in answer:
        yield Check(name, "launch", "failed", f"no tool call came through: {answer[:300]}", hint)
        return
    told = "one prompt, one tool call, one answer, against ccm's echo server"
    yield Check(name, "launch", "ok", told)
    problems = list(_broken_promises(launch, key, received))
    if problems:
        yield Check(name, "isolation", "failed", "; ".join(problems), hint)
    else:
        yield Check(name, "isolation", "ok", f"{len(received)} requests, all as promised")


def _twin(context: Context, variant: Variant, twin: Path, url: str) -> Launch:
    generation = context.home.generation(variant.name, context.variants.number(variant.name))
    own = {
        "CLAUDE_CONFIG_DIR": str(twin / "config"),
        "ANTHROPIC_CONFIG_DIR": str(twin / "config" / "anthropic"),
        "ANTHROPIC_BASE_URL": url,
    }
    settings = json.loads(fs.read_file(generation / "settings.json"))
    settings["env"] = {**settings["env"], **own}
    if variant.key_variable is None:
        del settings["env"]["ANTHROPIC_AUTH_TOKEN"]  # held empty for a login; the twin has a key
    fs.write_file(twin / "settings.json", settings_text(settings).encode(), 0o600)
    fs.make_directory(twin / "config")
    fs.make_directory(twin / "project")
    launch = launch_of(context, variant, generation, settings)
    return replace(
        launch,
        settings=str(twin / "settings.json"),
        pinned=settings_text(settings),
        network={},  # the twin never hands over to ccm, which would start the real variant
        environment={**variant.environment, **own},
        key_variable=launch.key_variable or "ANTHROPIC_AUTH_TOKEN",
        credential=FromFile(),
        credential_file=str(twin / "credential"),
    )


def _answer(context: Context, launch: Launch, twin: Path) -> str:
    """What the twin printed, or why it did not."""
    fs.write_file(twin / "launch", render(launch).encode(), 0o700)
    words = ("-p", f"run: echo {_WORD}", "--allowedTools", "Bash(echo:*)")
    try:
        done = subprocess.run(
            [twin / "launch", *words],
            cwd=twin / "project",
            env=dict(context.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LAUNCH_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    # the prompt itself names the word: only the tool's own answer counts
    told = [line for line in done.stdout.splitlines() if line.startswith("The tool answered:")]
    return "\n".join(told) or (done.stdout + done.stderr).replace(_WORD, "…").strip()


def _broken_promises(launch: Launch, key: str, received: tuple[Received, ...]) -> Iterator[str]:
    expected = {
        "ANTHROPIC_AUTH_TOKEN": {"authorization": f"Bearer {key}", "x-api-key": None},
        KEY_DESCRIPTOR: {"authorization": None, "x-api-key": key},
    }[launch.key_variable or ""]
    models = {value for name, value in launch.environment.items() if name.endswith("_MODEL")}
    models = {model.removesuffix("[1m]") for model in models}
    for request in received:
        if request.method != "POST":
            continue
        if models and request.model not in models:
            yield f"asked for the model {request.model}"
        for header, value in expected.items():
            if request.header(header) != value:
                yield f"sent another {header} than the variant's"
