"""Commands that check, serve and help."""

from typing import Annotated

import typer

from ccmirror_py.check import Check
from ccmirror_py.cli import render, wiring
from ccmirror_py.cli.completing import one_of
from ccmirror_py.cli.options import AsJson, Name, Names
from ccmirror_py.cli.render import note, out, out_json
from ccmirror_py.context import Context
from ccmirror_py.errors import CcmError, DiskError, NotFoundError, UsageError
from ccmirror_py.variant import Variant


def doctor(
    names: Names = None,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what needs no decision.")] = False,
    launch: Annotated[
        bool, typer.Option("--launch", help="Start a throw-away twin and read what it sends.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check variants, and mend them with --fix.

    The exit code is 1 when something is wrong.
    """
    from ccmirror_py.operations import doctor as operation

    context = wiring.context()
    lost = context.variants.lost()
    chosen = list(dict.fromkeys(names or sorted([*context.variants.names(), *lost])))
    for name in chosen:
        if name not in lost and not context.variants.exists(name):
            raise NotFoundError("variant", name, context.variants.names(), "See: ccm list")
    checks, refused = _fixed(context, chosen if fix else [])
    checks += operation.examine(context, chosen)
    for name in chosen if launch else []:
        if any(check.subject == name and check.result == "failed" for check in checks):
            checks.append(Check(name, "launch", "failed", "not started: mend what is above first"))
        else:
            checks += _launched(context, name)
    if as_json:
        out_json({"schema": 1, "checks": [vars(check) for check in checks]})
    else:
        _show(checks)
        _offer_probe(context, [] if fix else chosen, checks)
    if refused:
        raise refused
    if any(check.result == "failed" for check in checks):
        raise typer.Exit(1)


def _show(checks: list[Check]) -> None:
    out(render.checks_table(checks))
    for check in checks:
        if check.result != "ok" and check.hint:
            note(f"to mend {check.subject}, {check.name}: {check.hint}")


def _offer_probe(context: Context, names: list[str], checks: list[Check]) -> None:
    """One line, for what is well as far as can be seen from here and was never tried."""
    from ccmirror_py.operations.probed import is_remembered

    failed = {check.subject for check in checks if check.result == "failed"}
    entries = [context.variants.get_or_broken(name) for name in names if name not in failed]
    well = [entry for entry in entries if isinstance(entry, Variant) and entry.key_variable]
    never = [variant.name for variant in well if not is_remembered(context, variant)]
    if never:
        note(f"Never tried on its provider: {', '.join(never)}. Try: ccm probe {never[0]}")


def _fixed(context: Context, names: list[str]) -> tuple[list[Check], OSError | None]:
    """What could not be mended, and what the disk refused: that is told after all the checks."""
    checks, refused = [], None
    for name in names:
        from ccmirror_py.operations.doctor_fix import fix

        try:
            fix(context, name)
        except CcmError as error:
            checks.append(Check(name, "fix", "failed", error.sentence, error.hint))
        except OSError as error:
            refused = error
    return checks, refused


def _launched(context: Context, name: str) -> list[Check]:
    from ccmirror_py.operations.doctor_launch import launch_checks

    try:
        return list(launch_checks(context, context.variants.get(name)))
    except (CcmError, OSError) as caught:
        error = DiskError(caught) if isinstance(caught, OSError) else caught
        return [Check(name, "launch", "failed", error.sentence, error.hint)]


def audit(name: Name, as_json: AsJson = False) -> None:
    """Start a throw-away twin and show what leaks.

    It runs among bait; shown are the files, variables, requests and hosts it touched. The exit code
    is 1 for any leak.
    """
    from ccmirror_py.operations.audit import audit as operation

    context = wiring.context()
    context.begin_change()
    checks = list(operation(context, context.variants.get(name)))
    if as_json:
        out_json({"schema": 1, "checks": [vars(check) for check in checks]})
    else:
        rows = [(check.result, check.name, check.detail) for check in checks]
        out(render.table(("RESULT", "PROMISE", "PROOF"), rows))
    if any(check.result == "failed" for check in checks):
        raise typer.Exit(1)


def verify(
    releases: Annotated[
        bool,
        typer.Option("--releases", help="Compare with Anthropic's signed list of releases, too."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Read every installed program again.

    Each is compared with its receipt.
    """
    from ccmirror_py.operations.prune import tweaked_by
    from ccmirror_py.operations.prune import verify as operation

    context = wiring.context()
    found = operation(context)
    compared = []
    if releases:
        from ccmirror_py.operations.compare import compare

        compared = compare(context, wiring.releases(context.environ))
    if as_json:
        entries = [
            {"path": str(path), "problems": problems, "tweaked": tweaked_by(path)}
            for path, problems in found.items()
        ]
        told = {"compared": [vars(each) for each in compared]} if releases else {}
        out_json({"schema": 1, "checked": entries, **told})
    else:
        for path, problems in found.items():
            tweaked = f", as {tweaked_by(path)} left it" if tweaked_by(path) else ""
            out(f"{'; '.join(problems) or f'ok{tweaked}'}: {path}")
        for each in compared:
            out(f"{each.result}: {each.package} {each.version} {each.detail}".rstrip())
    if any(found.values()) or any(each.result == "different" for each in compared):
        raise typer.Exit(1)
    if any(each.result == "not compared" for each in compared):
        raise typer.Exit(4)


def echo(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any.")] = 43117,
) -> None:
    """Answer as a model would, for trying without a key.

    It listens on this machine only.
    """
    from ccmirror_py.echo import EchoServer, Received

    def tell(request: Received) -> None:
        note(f"{request.method} {request.path} {request.model or ''}".rstrip())

    try:
        server = EchoServer(port, tell)
    except OSError as error:
        raise UsageError(
            f"Port {port} can't be used: {error.strerror}.", "Choose another: ccm echo --port 0"
        ) from None
    out(server.url)
    note("Answering; a prompt 'run: COMMAND' asks for that command. Ctrl-C ends it.")
    note(f"A variant for it: ccm create demo --provider echo --base-url {server.url}")
    server.serve_forever()


def completion(
    shell: Annotated[
        str,
        typer.Argument(help="bash, zsh or fish.", autocompletion=one_of("bash", "zsh", "fish")),
    ],
) -> None:
    """Print a completion script for bash, zsh or fish.

    Such as: ccm completion zsh > ~/.zfunc/_ccm
    """
    from typer._completion_shared import get_completion_script

    if shell not in ("bash", "zsh", "fish"):
        raise UsageError(f"There is no completion for '{shell}'.", "It is bash, zsh or fish.")
    script = get_completion_script(prog_name="ccm", complete_var="_CCM_COMPLETE", shell=shell)
    render.raw(script)
