"""`ccm probe --launch`: the real Claude Code, a throw-away project, the real endpoint."""

from ccmirror_py import fs
from ccmirror_py.context import Context
from ccmirror_py.credential import fetch
from ccmirror_py.errors import CcmError
from ccmirror_py.heard import redacted
from ccmirror_py.operations.twin import twin
from ccmirror_py.probe import Row
from ccmirror_py.variant import Variant

PROOF = "ccm-probe-was-here"
PROMPT = f"""Call the tool Bash once, with exactly the command of the next line, then say done.
run: touch {PROOF}"""


def launch_row(context: Context, variant: Variant) -> Row:
    """Whether it ran one command: not what the model says counts, but the file that is there."""
    if variant.key_variable is None:
        return Row("launch", "skipped", "the login of this variant is its own; start it instead")
    words = ("-p", PROMPT, "--allowedTools", "Bash(touch:*)")
    with twin(context, variant, None) as started:
        project = started.directory / "project"
        fs.make_directory(project)
        printed = started.start(words, project, context.environ)
        if (project / PROOF).exists():
            return Row("launch", "ok", f"Claude Code {variant.version} ran a command through it")
    try:
        stored = context.variants.stored_key(variant.name)
        key = fetch(variant.credential, stored, context.environ)
    except CcmError:
        key = None
    said = " ".join(redacted(printed, key.reveal() if key else "").split())[:300]
    return Row("launch", "failed", f"it ran no command: {said}", "mend what is above first")
