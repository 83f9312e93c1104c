"""`--probe` of update and pin: what a variant would become is tried before it becomes it."""

from collections.abc import Callable

from ccmirror_py.context import Context
from ccmirror_py.operations.doctor_launch import launch_checks
from ccmirror_py.operations.probe import examine
from ccmirror_py.operations.probe_launch import launch_row
from ccmirror_py.operations.publish import Coming
from ccmirror_py.probe import Row, is_usable
from ccmirror_py.transport import Network


def refusal(context: Context, coming: Coming, network_to: Callable[[str], Network]) -> Row | None:
    """What breaks use of it; None when it works.

    First it is started against the echo server, which costs nothing; then its endpoint is asked as
    it would ask; then it is started on its endpoint, which alone shows what a new version sends.
    A login and a cloud's credentials can't be lent, so those are only started.
    """
    variant = coming.variant
    context.say(f"{variant.name}: trying Claude Code {variant.version} …")
    for check in launch_checks(context, variant, coming):
        if check.result == "failed":
            return Row(check.name, "failed", check.detail, check.hint)
    if variant.key_variable is None:
        return None
    rows = examine(context, variant, network_to(variant.base_url or ""), deep=False)
    if is_usable(rows):
        launched = launch_row(context, variant, coming)
        return launched if launched.result == "failed" else None
    unproven = Row("tools", "failed", "no tool call could be seen to work", "")
    return next((row for row in rows if row.result == "failed"), unproven)
