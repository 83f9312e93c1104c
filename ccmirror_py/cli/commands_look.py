"""Commands that show something. Each has `--json`; docs/reference.md describes what it holds."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ccmirror_py import listing, records
from ccmirror_py.cli import render, wiring
from ccmirror_py.cli.completing import one_of
from ccmirror_py.cli.options import AsJson, Name
from ccmirror_py.cli.render import note, out, out_json
from ccmirror_py.errors import UsageError

if TYPE_CHECKING:
    from ccmirror_py.context import Context


def overview(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", "-V", help="Show ccm's version.")] = False,
    debug: Annotated[  # noqa: ARG001 (read in main, before typer is imported)
        bool, typer.Option("--debug", help="Show where an error comes from; the first option.")
    ] = False,
) -> None:
    if version:
        from ccmirror_py import __version__

        out(f"ccm {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is not None:
        return
    place = wiring.place()
    rows = listing.rows(place, records.names(place.root))
    if not rows:
        out("There are no variants yet. Each is a Claude Code of its own for one provider:")
        out("")
        out("  ccm create zai --provider zai      then run: zai")
        out("  ccm providers                      what there is to choose from")
        out("  ccm --help                         everything else")
        return
    out(render.table(listing.HEAD, rows))
    out("")
    out(_next_step(rows))


def _next_step(rows: list[tuple[str, ...]]) -> str:
    for name, *_, state in rows:
        if state.startswith("$"):
            return f"Next: export {state[1:].partition(' ')[0]}, or: ccm key set {name}"
        if state.startswith("no key"):
            return f"Next: ccm key set {name}"
        if not state.startswith("ok"):
            return f"Next: ccm doctor --fix {name}"
    return f"Next: {rows[0][0]}, or: ccm update --all"


def list_(
    outdated: Annotated[
        bool, typer.Option("--outdated", help="Only those with a newer version in their rule.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show all variants."""
    place = wiring.place()
    names, failed, nothing = records.names(place.root), False, "There are no variants yet."
    if outdated:
        names, failed = _outdated(wiring.context(), names)
        nothing = "" if failed else "Everything is current."
    render.tell_variants(place, names, as_json, nothing)
    if failed:
        raise typer.Exit(1)


def _outdated(context: "Context", names: list[str]) -> tuple[list[str], bool]:
    from ccmirror_py.operations.update import UpdateRequest, update
    from ccmirror_py.outcome import Failed, Updated

    outcomes = update(context, UpdateRequest(names, dry_run=True))
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    for failure in failures:
        note(render.outcome_line(failure))
    return [o.name for o in outcomes if isinstance(o, Updated)], bool(failures)


def show(name: Name, as_json: AsJson = False) -> None:
    """Show one variant."""
    from ccmirror_py.variant import to_json

    context = wiring.context()
    variant = context.variants.get(name)
    if as_json:
        out_json({"schema": 1, "variant": listing.element(context.place, to_json(variant))})
    else:
        out(render.shown_variant(context, variant))


def env(
    name: Name,
    format_: Annotated[
        str,
        typer.Option(
            "--format", help="text, shell or json.", autocompletion=one_of("text", "shell", "json")
        ),
    ] = "text",
    as_json: AsJson = False,
) -> None:
    """Show what the launcher sets, without the key."""
    import shlex

    from ccmirror_py.credential import described

    if format_ not in ("text", "shell", "json"):
        raise UsageError(f"'{format_}' is not a format.", "It is text, shell or json.")
    variant = wiring.context().variants.get(name)
    values = dict(variant.environment)
    if variant.key_variable:
        values[variant.key_variable] = f"*** ({described(variant.credential)})"
    if as_json or format_ == "json":
        out_json({"schema": 1, "name": name, "environment": values})
    elif format_ == "shell":
        for key, value in variant.environment.items():
            render.raw(f"export {key}={shlex.quote(value)}")
        if variant.key_variable:
            render.raw(f"# {variant.key_variable}: {described(variant.credential)}")
    else:
        for key, value in values.items():
            out(f"{key}={value}")


def which(name: Name, as_json: AsJson = False) -> None:
    """Show the program a variant starts."""
    program = listing.program(wiring.place(), name)
    if as_json:
        out_json({"schema": 1, "name": name, "program": program})
    else:
        out(program)


def versions(
    available: Annotated[
        bool, typer.Option("--available", help="Ask the registry what there is.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show which versions are installed, and for whom."""
    from ccmirror_py.variants import Broken

    context = wiring.context()
    if available:
        tags, published = context.registry.tags_and_versions()
        if as_json:
            out_json({"schema": 1, "tags": tags, "versions": [str(v) for v in published]})
            return
        out("\n".join(str(version) for version in published))
        out("  ".join(f"{tag}: {version}" for tag, version in sorted(tags.items())))
        return
    users: dict[str, list[str]] = {}
    ways_back: dict[str, list[str]] = {}
    for entry in context.variants.all():
        if not isinstance(entry, Broken):
            users.setdefault(str(entry.version), []).append(entry.name)
            for version in context.variants.earlier_versions(entry.name) - {entry.version}:
                ways_back.setdefault(str(version), []).append(entry.name)
    installed: list[dict[str, Any]] = [
        {
            "version": version,
            "package": package,
            "variants": users.get(version, []),
            "kept_for_rollback": ways_back.get(version, []),
        }
        for package, version in context.store.installed()
    ]
    if as_json:
        out_json({"schema": 1, "installed": installed})
    elif installed:
        rows = [(each["version"], each["package"], _used_by(each)) for each in installed]
        out(render.table(("VERSION", "PACKAGE", "USED BY"), rows))
    else:
        note("Nothing is installed yet.")


def _used_by(release: Mapping[str, Any]) -> str:
    back = [f"{name} (to roll back)" for name in release["kept_for_rollback"]]
    return ", ".join([*release["variants"], *back]) or "-"
