"""`ccm trash`: what was removed, and how it comes back."""

from typing import Annotated

import typer

from ccmirror_py.cli import params, wiring
from ccmirror_py.cli.completing import complete_trashed
from ccmirror_py.cli.options import AsJson, Yes
from ccmirror_py.cli.render import note, out, out_json, table
from ccmirror_py.context import Context
from ccmirror_py.errors import CcmError
from ccmirror_py.trash import Trashed

_WHICH = "A removed variant: its name (the newest of it) or its id."


def trash(call: typer.Context, as_json: AsJson = False) -> None:
    """Show and restore what was removed in the last 30 days."""
    if call.invoked_subcommand is None:
        list_(as_json)


def list_(as_json: AsJson = False) -> None:
    """Show what was removed and until when it is kept."""
    context = wiring.context()
    entries = context.trash.entries()
    if as_json:
        out_json({"schema": 1, "entries": [_json(context, entry) for entry in entries]})
        return
    if not entries:
        note("The trash is empty.")
        return
    rows = [
        (entry.name, _content(context, entry), f"{entry.expires:%Y-%m-%d}", entry.id)
        for entry in entries
    ]
    out(table(("NAME", "WAS", "KEPT UNTIL", "ID"), rows))


def restore(
    which: Annotated[
        str, typer.Argument(metavar="NAME", help=_WHICH, autocompletion=complete_trashed)
    ],
) -> None:
    """Bring a removed variant back as it was.

    With its config, sessions, key, version and command.
    """
    from ccmirror_py.operations import trash as operation

    context = wiring.context()
    entry = operation.restore(context, which)
    name, others = entry.name, sum(e.name == entry.name for e in context.trash.entries())
    out(f"{name} is back, as removed on {entry.removed:%Y-%m-%d %H:%M} UTC. See: ccm show {name}")
    if not context.home.config(name).exists():
        note("Its config was kept apart (--keep-config) and is not in it, nor its sessions.")
    if others:
        note(f"The trash holds {others} more of that name; see: ccm trash list")


def empty(
    which: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME…", help=_WHICH, autocompletion=complete_trashed),
    ] = None,
    yes: Yes = False,
) -> None:
    """Delete for good what was removed: all of it, or what is named."""
    from ccmirror_py.operations import trash as operation

    context = wiring.context()
    entries = [context.trash.find(text) for text in which] if which else context.trash.entries()
    if not entries:
        note("The trash is empty.")
        return
    note(
        "Deletes for good:\n  " + "\n  ".join(f"{e.path} ({_content(context, e)})" for e in entries)
    )
    params.check_agreed(yes)
    operation.empty(context, entries)


def _content(context: Context, entry: Trashed) -> str:
    """What came of it, for people to tell one from another."""
    sessions = sum(1 for _ in entry.path.glob("config/projects/*/*.jsonl"))
    counted = f"{sessions} session{'' if sessions == 1 else 's'}"
    try:
        variant = context.variants.read(entry.name, entry.path / "current")
    except CcmError:
        return f"unreadable record, {counted}"
    return f"{variant.choices.provider} {variant.version}, {counted}"


def _json(context: Context, entry: Trashed) -> dict[str, object]:
    return {
        "id": entry.id,
        "name": entry.name,
        "was": _content(context, entry),
        "removed": f"{entry.removed:%Y-%m-%dT%H:%M:%SZ}",
        "expires": f"{entry.expires:%Y-%m-%dT%H:%M:%SZ}",
        "directory": str(entry.path),
    }
