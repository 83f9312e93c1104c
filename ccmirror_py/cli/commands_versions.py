"""Commands that choose versions. Each parses, calls one operation and shows what came of it."""

from typing import TYPE_CHECKING, Annotated

import typer

from ccmirror_py.cli import params, render, wiring
from ccmirror_py.cli.options import AsJson, DryRun, Name, Names, Probe
from ccmirror_py.cli.render import note, out, out_json
from ccmirror_py.context import Context
from ccmirror_py.environment import weakness
from ccmirror_py.version import parse_spec

if TYPE_CHECKING:
    from ccmirror_py.operations.update import Trial
    from ccmirror_py.outcome import Outcome


def update(
    names: Names = None,
    all_: Annotated[bool, typer.Option("--all", "-a", help="Every variant.")] = False,
    claude_version: Annotated[
        str | None, typer.Option(metavar="RULE", help="Change the rule to this.")
    ] = None,
    allow_older: Annotated[
        bool, typer.Option("--allow-older", help="Also when the rule means an older version now.")
    ] = False,
    keep_provider: Annotated[
        bool,
        typer.Option("--keep-provider", help="Leave the provider's endpoint and models alone."),
    ] = False,
    probe: Probe = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Bring variants to the newest version their rules allow."""
    context = wiring.context()
    chosen = params.chosen(context, names, all_, "update")
    from ccmirror_py.operations import update as operation
    from ccmirror_py.outcome import Failed, Refused

    spec = parse_spec(claude_version) if claude_version else None
    trial = _trial(context) if probe else None
    request = operation.UpdateRequest(chosen, spec, dry_run, allow_older, keep_provider, trial)
    outcomes = operation.update(context, request)
    _report_outcomes(outcomes, as_json)
    failures = [outcome.error for outcome in outcomes if isinstance(outcome, Failed)]
    if failures:
        raise typer.Exit(failures[0].exit_code if len(outcomes) == 1 else 1)
    if any(isinstance(outcome, Refused) for outcome in outcomes):
        raise typer.Exit(1)


def _trial(context: Context) -> "Trial":
    from ccmirror_py.operations.trial import refusal

    return lambda coming: refusal(
        context, coming, lambda url: wiring.endpoint_network(context.environ, url)
    )


def _report_outcomes(outcomes: "list[Outcome]", as_json: bool) -> None:
    if as_json:
        out_json({"schema": 1, "outcomes": [render.outcome_json(o) for o in outcomes]})
        return
    for outcome in outcomes:
        render.tell_outcome(outcome)
    if not outcomes:
        note(render.NONE_YET)


def pin(
    name: Name,
    rule: Annotated[
        str | None,
        typer.Argument(help="2.1.330, 2.1.x, '>=2.1.200,<2.1.300'; else the present version."),
    ] = None,
    probe: Probe = False,
) -> None:
    """Keep a variant within a rule, or at the version it has."""
    from ccmirror_py.operations import update as operation
    from ccmirror_py.outcome import Current, Refused

    context = wiring.context()
    trial = _trial(context) if probe else None
    outcome = operation.pin(context, name, parse_spec(rule) if rule else None, trial)
    if not isinstance(outcome, Current):
        render.tell_outcome(outcome)
    if isinstance(outcome, Refused):
        raise typer.Exit(1)
    variant = context.variants.get(name)
    if variant.spec == variant.version:
        out(f"{name} stays at {variant.version}.")
    else:
        out(f"{name} stays within {variant.spec} (now {variant.version}); see: ccm update {name}")
    if weakness(variant.version):
        note(weakness(variant.version))


def unpin(name: Name) -> None:
    """Let a variant follow the newest version again.

    It moves with its next update.
    """
    from ccmirror_py.operations import update as operation

    variant = operation.unpin(wiring.context(), name)
    out(f"{name} follows {variant.spec} (now {variant.version}); see: ccm update {name}")


def rollback(name: Name) -> None:
    """Go back to what a variant was before its last change.

    Once more goes forward again. It needs no network.
    """
    from ccmirror_py.operations.rollback import rollback as operation

    context = wiring.context()
    done = operation(context, name)
    out(render.rolled_back_lines(done))
    if done.after.version < done.before.version and done.after.spec != done.after.version:
        note(f"The next update moves it on again; to keep it where it is: ccm pin {name}")
