"""`ccm probe --launch`: the real Claude Code, a throw-away project, the real endpoint."""

import secrets

from ccmirror_py import fs
from ccmirror_py.context import Context
from ccmirror_py.credential import fetch
from ccmirror_py.errors import CcmError
from ccmirror_py.heard import redacted
from ccmirror_py.operations.publish import Coming
from ccmirror_py.operations.twin import twin
from ccmirror_py.probe import Row
from ccmirror_py.variant import Variant

WORD = "CCM_PROBE_WORD"
PROMPT = f"""Call the tool Bash once, with exactly the command of the next line.
run: printenv {WORD}
Then answer with its output and nothing else."""


def launch_row(context: Context, variant: Variant, coming: Coming | None = None) -> Row:
    """Whether it ran one command, whose output nobody can know who did not run it."""
    if variant.key_variable is None:
        return Row("launch", "skipped", "the login of this variant is its own; start it instead")
    word = f"ccm-{secrets.token_hex(6)}"
    words = ("-p", PROMPT, "--allowedTools", f"Bash(printenv {WORD})")
    with twin(context, variant, None, instead=coming) as started:
        project = started.directory / "project"
        fs.make_directory(project)
        printed = started.start(words, project, {**context.environ, WORD: word})
    if word in printed:
        return Row("launch", "ok", f"Claude Code {variant.version} ran a command through it")
    try:
        stored = context.variants.stored_key_of(variant)
        key = fetch(variant.credential, stored, context.environ)
    except CcmError:
        key = None
    said = " ".join(redacted(printed, key.reveal() if key else "").split())[:300]
    return Row(
        "launch",
        "failed",
        f"it ran no command: {said}",
        f"mend what is above first, or see: ccm doctor {variant.name}",
    )
