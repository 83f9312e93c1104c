"""`ccm doctor --launch`: a throw-away twin of a variant is started, and what it sends is read."""

from collections.abc import Iterator
from pathlib import Path

from ccmirror_py import fs
from ccmirror_py.check import Check
from ccmirror_py.context import Context
from ccmirror_py.echo import EchoServer
from ccmirror_py.operations.publish import Coming
from ccmirror_py.operations.twin import twin
from ccmirror_py.variant import Variant

_WORD = "ccm-doctor-was-here"


def launch_checks(
    context: Context, variant: Variant, instead: Path | Coming | None = None
) -> Iterator[Check]:
    """What the real Claude Code did with one prompt and one tool call; `instead` as of a twin."""
    name = variant.name
    words = ("-p", f"run: echo {_WORD}", "--allowedTools", "Bash(echo:*)")
    with (
        EchoServer() as server,
        twin(context, variant, server.url, instead=instead) as started,
    ):
        project = started.directory / "project"
        fs.make_directory(project)
        printed = started.start(words, project, context.environ)
        received = server.received
        problems = list(started.broken_promises(received))
    # the prompt itself names the word: only the tool's own answer counts
    told = [line for line in printed.splitlines() if line.startswith("The tool answered:")]
    answer = "\n".join(told) or printed.replace(_WORD, "…").strip()
    hint = f"look at it yourself: ccm echo, then ccm create … --provider echo; see ccm env {name}"
    if _WORD not in answer:
        yield Check(name, "launch", "failed", f"no tool call came through: {answer[:300]}", hint)
        return
    yield Check(
        name, "launch", "ok", "one prompt, one tool call, one answer, against ccm's echo server"
    )
    if problems:
        yield Check(name, "isolation", "failed", "; ".join(problems), hint)
    else:
        yield Check(name, "isolation", "ok", f"{len(received)} requests, all as promised")
