"""`ccm tweak`: patch a variant's program with tweakcc."""

from pathlib import Path
from typing import Annotated

import typer

from ccmirror_py import listing
from ccmirror_py.cli import render, wiring
from ccmirror_py.cli.completing import complete_variant
from ccmirror_py.cli.options import AsJson
from ccmirror_py.cli.render import note, out, out_json
from ccmirror_py.errors import UsageError
from ccmirror_py.variant import to_json


def tweak(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="A variant.", autocompletion=complete_variant),
    ] = None,
    patches: Annotated[str, typer.Option(metavar="ID,ID", help="Which patches; see --list.")] = "",
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="tweakcc's config.json, for their settings.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Show the patches there are.")] = False,
    as_json: AsJson = False,
) -> None:
    """Patch a variant's program with tweakcc.

    Up to version 2.1.112. Only a program that still works takes the place of the old one. ccm
    rollback NAME undoes it.
    """
    from ccmirror_py.operations import tweak as operation

    if list_:
        if as_json:
            out_json({"schema": 1, "patches": _patches_json()})
        else:
            out(_patches())
        return
    if name is None:
        raise UsageError("No variant was named.", "Such as: ccm tweak zai, ccm tweak --list")
    ids = tuple(part.strip() for part in patches.split(",") if part.strip())
    request = operation.TweakRequest(name, ids, config)
    context = wiring.context()
    variant = operation.tweak(context, request)
    if as_json:
        out_json({"schema": 1, "variant": listing.element(context.place, to_json(variant))})
        return
    out(f"{name}: Claude Code {variant.version}, tweaked by {variant.tweaked}")
    note(f"It started and called a tool. To undo it: ccm rollback {name}")
    note("An update to another version brings a program that is not tweaked.")


def _patches_json() -> list[dict[str, object]]:
    from ccmirror_py.patches import DEFAULT, PATCHES

    return [
        {
            "id": p.id,
            "usual": p.id in DEFAULT,
            "needs_config": p.configured,
            "not_from": str(p.lost) if p.lost else None,
        }
        for p in PATCHES.values()
    ]


def _patches() -> str:
    from ccmirror_py.patches import DEFAULT, PATCHES

    rows = [
        (
            patch.id,
            "usual" if patch.id in DEFAULT else "",
            "--config" if patch.configured else "",
            f"not from {patch.lost} on" if patch.lost else "",
        )
        for patch in PATCHES.values()
    ]
    return render.table(("PATCH", "", "NEEDS", "WORKS"), rows)
