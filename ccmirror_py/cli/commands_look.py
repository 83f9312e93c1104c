"""Commands that show something. Each has `--json`; docs/reference.md describes what it holds."""

from collections.abc import Iterable
from typing import Annotated

import typer

from ccmirror_py.cli import render, wiring
from ccmirror_py.cli.options import AsJson, Name
from ccmirror_py.cli.render import note, out, out_json
from ccmirror_py.context import Context
from ccmirror_py.credential import described
from ccmirror_py.errors import UsageError
from ccmirror_py.variant import Variant
from ccmirror_py.variants import Broken


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
    ccm = wiring.context()
    entries = ccm.variants.all()
    if not entries:
        out("There are no variants yet. Each is a Claude Code of its own for one provider:")
        out("")
        out("  ccm create zai --provider zai      then run: zai")
        out("  ccm providers                      what there is to choose from")
        out("  ccm --help                         everything else")
        return
    out(render.variants_table(ccm, entries))
    out("")
    out(_next_step(ccm, entries))


def _next_step(context: Context, entries: list[Variant | Broken]) -> str:
    for entry in entries:
        state = render.state_of(context, entry)
        if state.startswith(("no key", "$")):
            return f"Next: ccm key set {entry.name}"
        if state != "ok":
            return f"Next: ccm doctor --fix {entry.name}"
    return f"Next: {entries[0].name}, or: ccm update --all"


def list_(
    outdated: Annotated[
        bool, typer.Option("--outdated", help="Only those an update would change.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show all variants."""
    context = wiring.context()
    entries = context.variants.all()
    failed = False
    if outdated:
        entries, failed = _outdated(context, entries)
    if as_json:
        variants = [render.variant_json(context, entry) for entry in entries]
        out_json({"schema": 1, "variants": variants})
    elif entries:
        out(render.variants_table(context, entries))
    else:
        note("Everything is current." if outdated else "There are no variants yet.")
    if failed:
        raise typer.Exit(1)


def _outdated(
    context: Context, entries: Iterable[Variant | Broken]
) -> tuple[list[Variant | Broken], bool]:
    from ccmirror_py.operations.update import UpdateRequest, update
    from ccmirror_py.outcome import Failed, Updated

    by_name = {entry.name: entry for entry in entries}
    outcomes = update(context, UpdateRequest(list(by_name), dry_run=True))
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    for failure in failures:
        note(render.outcome_line(failure))
    return [by_name[o.name] for o in outcomes if isinstance(o, Updated)], bool(failures)


def show(name: Name, as_json: AsJson = False) -> None:
    """Show one variant."""
    context = wiring.context()
    variant = context.variants.get(name)
    if as_json:
        out_json({"schema": 1, "variant": render.variant_json(context, variant)})
    else:
        out(render.shown_variant(context, variant))


def env(
    name: Name,
    format_: Annotated[str, typer.Option("--format", help="text, shell or json.")] = "text",
    as_json: AsJson = False,
) -> None:
    """Show what the launcher sets, without the key."""
    import shlex

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
            print(f"export {key}={shlex.quote(value)}")  # noqa: T201
        if variant.key_variable:
            print(f"# {variant.key_variable}: {described(variant.credential)}")  # noqa: T201
    else:
        for key, value in values.items():
            out(f"{key}={value}")


def which(name: Name, as_json: AsJson = False) -> None:
    """Show the program a variant starts."""
    from ccmirror_py.release import program_of

    context = wiring.context()
    variant = context.variants.get(name)
    generation = context.home.generation(name, context.variants.number(name))
    program = str(generation / "native" / program_of(variant.version, context.platform))
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
    for entry in context.variants.all():
        if not isinstance(entry, Broken):
            users.setdefault(str(entry.version), []).append(entry.name)
    installed = [
        {"version": version, "package": package, "variants": users.get(version, [])}
        for package, version in context.store.installed()
    ]
    if as_json:
        out_json({"schema": 1, "installed": installed})
    elif installed:
        rows = [
            (version, package, ", ".join(users.get(version, [])) or "-")
            for package, version in context.store.installed()
        ]
        out(render.table(("VERSION", "PACKAGE", "USED BY"), rows))
    else:
        note("Nothing is installed yet.")
