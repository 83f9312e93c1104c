"""Commands that change something. Each parses, calls one operation and shows what came of it."""

from typing import Annotated

import typer

from ccmirror_py.cli import params, wiring
from ccmirror_py.cli.options import (
    AsJson,
    DryRun,
    Name,
    Names,
    Yes,
)
from ccmirror_py.cli.render import NONE_YET, note, out, out_json


def run(
    context: typer.Context,
    name: Name,
) -> None:
    """Start a variant, as its own command does.

    With another version, once: ccm run NAME +VERSION -- ARGUMENTS.
    """
    from ccmirror_py.operations import run as operation

    arguments = list(context.args)
    if arguments[:1] == ["--"]:
        arguments = arguments[1:]
    elif arguments[1:2] == ["--"] and arguments[0].startswith("+"):
        arguments = [arguments[0], *arguments[2:]]
    operation.run(operation.command_for(wiring.context(), name, arguments))


def remove(
    names: Names = None,
    all_: Annotated[bool, typer.Option("--all", "-a", help="Every variant.")] = False,
    keep_config: Annotated[
        bool, typer.Option("--keep-config", help="Keep sessions and settings for a new variant.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Even while it is running.")] = False,
    purge: Annotated[
        bool, typer.Option("--purge", help="For good, instead of into the trash.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Take variants away, into the trash for 30 days.

    Program, config, sessions, key and command. They come back with: ccm trash restore NAME.
    """
    from ccmirror_py.operations import remove as operation

    context = wiring.context()
    chosen = params.chosen(context, names, all_, "remove")
    if not chosen:
        note(NONE_YET)
        return
    operation.check_ended(context, chosen, force)
    going = {name: operation.what_goes(context, name, keep_config) for name in chosen}
    for name, paths in going.items():
        how = "deletes for good" if purge else "moves to the trash"
        note(f"Removing {name} {how}:\n  " + "\n  ".join(paths))
    params.check_agreed(yes)
    for name in chosen:
        operation.remove(context, name, keep_config, force, purge)
        left = context.home.directory(name)
        out(f"{name} is gone.")
        if keep_config:
            out(f"  kept for a new one: {context.home.config(name)}")
        elif left.exists():
            out(f"  not ccm's, so it stays: {left}")
        if not purge:
            out(f"  within 30 days it comes back, key included, with: ccm trash restore {name}")
            out(f"  take it off the disk now: ccm trash empty {name}")


def prune(dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Free what no variant uses any more."""
    from ccmirror_py.operations.prune import prune as operation

    freed = operation(wiring.context(), dry_run)
    if as_json:
        releases = [{"package": p, "version": v} for p, v in freed.releases]
        sizes = {"bytes": freed.bytes, "trashed": freed.trashed}
        out_json({"schema": 1, "dry_run": dry_run, "releases": releases, **sizes})
        return
    for package, version in freed.releases:
        out(f"{package} {version}")
    verb = "would be freed" if dry_run else "freed"
    out(f"{freed.bytes / 1e6:,.0f} MB {verb}.")
    if freed.trashed:
        note(f"The trash still holds {freed.trashed / 1e6:,.0f} MB; to free them: ccm trash empty")
