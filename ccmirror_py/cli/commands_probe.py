"""`ccm probe`: try variants against their own endpoints."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from ccmirror_py.cli import params, render, wiring
from ccmirror_py.cli.options import AsJson, Names, Yes
from ccmirror_py.cli.render import note, out, out_json
from ccmirror_py.context import Context
from ccmirror_py.errors import CcmError
from ccmirror_py.probe import DEEP_ONLY, Row, is_usable

_MARKS = {"ok": "✓", "failed": "✗", "limited": "✗", "skipped": "\u2013"}


def probe(
    names: Names = None,
    all_: Annotated[bool, typer.Option("--all", "-a", help="Every variant.")] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also what costs more, and for two minutes at most.")
    ] = False,
    launch: Annotated[
        bool,
        typer.Option("--launch", help="Also start the real Claude Code on a throw-away project."),
    ] = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="Write the settings found necessary; probe again.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Ask a variant's endpoint as its Claude Code would.

    For each fault it says the cause and what mends it. The exit code is 1 when it can't work.
    """
    context = wiring.context()
    chosen = params.chosen(context, names, all_, "probe")
    for name in names or []:
        context.variants.get(name)  # a name that is wrong shall cost no requests
    found = {name: _rows(context, name, deep, launch) for name in chosen}
    refused: CcmError | None = None  # told after what was found out, which cost something
    for name in chosen if apply else []:
        try:
            if _applied(context, name, found[name], yes):
                found[name] = _rows(context, name, deep, launch)
        except CcmError as error:
            refused = error
    if not chosen:
        note(render.NONE_YET)
    if as_json:
        out_json({"schema": 1, "probes": [_json(name, rows) for name, rows in found.items()]})
    elif found:
        _show(found)
    if refused:
        raise refused
    if not all(map(_is_well, found.values())):
        raise typer.Exit(1)


def show_probe(context: Context, name: str) -> bool:
    """What `ccm probe NAME` shows; whether it is well."""
    rows = _rows(context, name, deep=False, launch=False)
    _show({name: rows})
    return _is_well(rows)


def _show(found: Mapping[str, Sequence[Row]]) -> None:
    out("\n\n".join(_table(name, rows) for name, rows in found.items()))
    for name, rows in found.items():
        _verdict(name, rows)


def _is_well(rows: Sequence[Row]) -> bool:
    return is_usable(rows) or _is_login(rows)


def _rows(context: Context, name: str, deep: bool, launch: bool) -> list[Row]:
    from ccmirror_py.operations.probe import examine
    from ccmirror_py.operations.probed import remember

    rows: list[Row] = []
    try:
        variant = context.variants.get(name)
        network = wiring.endpoint_network(context.environ, variant.base_url or "")
        rows = examine(context, variant, network, deep)
        remember(context, variant)
        if launch:
            from ccmirror_py.operations.probe_launch import launch_row

            rows.append(launch_row(context, variant))
    except CcmError as error:
        rows.append(Row("launch" if rows else "reach", "failed", error.sentence, error.hint))
    return rows


def _applied(context: Context, name: str, rows: Sequence[Row], yes: bool) -> bool:
    """Whether something was written. It is shown first, and asked about without `--yes`."""
    from ccmirror_py.operations.probe_apply import apply, changes

    wanted = changes(context, name, rows)
    lines = list(wanted.lines())
    if not lines:
        note(f"{name}: no setting would mend anything")
        return False
    note("\n  ".join((f"{name}: the probe would write as your own choices:", *lines)))
    if not yes and not (params.is_interactive() and params.agreed("Write them?")):
        note("Nothing was written; --yes writes without asking.")
        return False
    apply(context, name, wanted)
    return True


def _table(name: str, rows: Sequence[Row]) -> str:
    """Steps that only --deep takes share a line."""
    costly = [row.step for row in rows if row.detail == DEEP_ONLY]
    lines = [
        (_MARKS[row.result], row.step, row.detail) for row in rows if row.step not in costly[1:]
    ]
    if costly:
        rest = ("\u2013", "--deep", f"not tried: {', '.join(costly)}")
        lines = [rest if step == costly[0] else (mark, step, said) for mark, step, said in lines]
    return render.table(("", name, ""), lines)


def _verdict(name: str, rows: Sequence[Row]) -> None:
    for row in rows:
        if row.fix and row.result in ("failed", "limited"):
            works = " (works without)" if row.result == "limited" else ""
            note(f"to mend {row.step}{works}: {row.fix}")
    if is_usable(rows):
        note(f"{name} works: it streams, and it calls tools")
    elif not _is_login(rows):
        note(f"{name} can't be worked with like this")


def _is_login(rows: Sequence[Row]) -> bool:
    """Nothing was asked, because there is no key ccm could ask with."""
    return all(row.result != "failed" for row in rows) and rows[0].step == "key"


def _json(name: str, rows: Sequence[Row]) -> dict[str, object]:
    steps = [
        {
            "step": row.step,
            "result": row.result,
            "detail": row.detail,
            "fix": row.fix,
            "env": dict(row.env),
            "window": row.window,
            "deny": list(row.deny),
            "overrides": dict(row.overrides),
        }
        for row in rows
    ]
    return {"name": name, "usable": is_usable(rows), "steps": steps}
