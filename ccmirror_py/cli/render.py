"""From outcomes to lines, tables and JSON. Data goes to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys

NONE_YET = "There are no variants yet. Make one: ccm create zai --provider zai"

TYPE_CHECKING = False  # `ccm list` prints with this module: it imports nothing slow
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ccmirror_py.check import Check
    from ccmirror_py.context import Context
    from ccmirror_py.errors import CcmError
    from ccmirror_py.listing import Place
    from ccmirror_py.outcome import Outcome, RolledBack
    from ccmirror_py.variant import Variant


def out(text: str) -> None:
    raw(safe(text))


def note(text: str) -> None:
    print(safe(text), file=sys.stderr)  # noqa: T201


def out_json(document: object) -> None:
    raw(json.dumps(document, indent=2))  # ASCII: nothing can move a cursor


def raw(text: str) -> None:
    """Flushed: a reader may wait for it, as scripts/try does."""
    try:
        print(text, flush=True)  # noqa: T201
    except BrokenPipeError:
        # typer would end with 1; main ends with 0: a reader that has seen enough is no fault
        raise SystemExit from None


def safe(text: str) -> str:
    """Without what could move the cursor or recolour the terminal: records and servers say much."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(c if c == "\n" or c.isprintable() else "?" for c in text)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def checks_table(checks: Sequence[Check]) -> str:
    """Each subject's checks in one line, and those that are more than ok in one of their own."""
    rows = []
    for subject in dict.fromkeys(check.subject for check in checks):
        own = [check for check in checks if check.subject == subject]
        fine = [check.name for check in own if check.result == "ok"]
        rows.append(("ok", subject, ", ".join(fine), "")) if fine else None
        rows += [(c.result, subject, c.name, c.detail) for c in own if c.result != "ok"]
    return table(("RESULT", "OF", "CHECK", ""), rows)


def error_lines(error: CcmError) -> str:
    return f"ccm: {error.sentence}" + (f"\n     {error.hint}" if error.hint else "")


def tell_variants(place: Place, names: Iterable[str], as_json: bool, nothing: str) -> None:
    """`ccm list`, by either door; `nothing` is said when there are none."""
    from ccmirror_py import listing

    if as_json:
        out_json({"schema": 1, "variants": listing.elements(place, names)})
    elif rows := listing.rows(place, names):
        out(table(listing.HEAD, rows))
    elif nothing:
        note(nothing)


def shown_variant(context: Context, variant: Variant) -> str:
    from ccmirror_py.credential import described
    from ccmirror_py.environment import tiers_of
    from ccmirror_py.listing import state
    from ccmirror_py.variant import to_json

    choices = variant.choices
    models = tiers_of(variant.environment)
    facts = [
        ("name", variant.name),
        ("provider", choices.provider),
        ("region", choices.region or ""),
        ("endpoint", variant.base_url or _own_endpoint(variant)),
        ("version", f"{variant.version} (rule: {variant.spec})"),
        ("checked", authenticity(context, variant.name)),
        ("tweaked", f"since then, by {variant.tweaked}" if variant.tweaked else ""),
        ("key", described(variant.credential)),
        *((f"  {tier}", model) for tier, model in models.items()),
        ("arguments", " ".join(choices.args)),
        ("yolo", "permission questions are off" if choices.yolo else ""),
        ("inherits", " ".join(choices.inherit)),
        ("denies", " ".join(choices.deny)),
        *(("asked as", f"{id_}: {model}") for id_, model in choices.model_overrides.items()),
        ("MCP", " ".join(variant.mcp_servers)),
        ("config", str(context.home.config(variant.name))),
        ("launcher", str(context.home.launcher(variant.name))),
        ("made", variant.created),
        ("changed", variant.updated),
        ("state", state(context.place, to_json(variant))),
    ]
    return "\n".join(f"{name:<11} {value}" for name, value in facts if value)


def _own_endpoint(variant: Variant) -> str:
    from ccmirror_py.environment import let_through

    cloud = let_through(variant.environment)
    return "the cloud's own" if cloud else "Anthropic, by Claude Code's own login"


def tell_outcome(outcome: Outcome) -> None:
    from ccmirror_py.outcome import Current, Failed, Refreshed, Refused, Updated

    (note if isinstance(outcome, Failed | Refused) else out)(outcome_line(outcome))
    if isinstance(outcome, Current | Refreshed | Updated):
        for notice in outcome.notices:
            note(notice)


def outcome_line(outcome: Outcome) -> str:
    from ccmirror_py.outcome import Current, Failed, Kept, Refreshed, Refused, Updated

    match outcome:
        case Current(name, version):
            return f"{name}: {version}, nothing to do"
        case Updated(name, before, after, dry_run, changes):
            older = " (older)" if after < before else ""
            arrow = "would become" if dry_run else "->"
            return _with_changes(f"{name}: {before} {arrow} {after}{older}", changes)
        case Kept(name, version, rule, offered):
            return (
                f"{name}: {version} stays: {rule} means {offered} now, which is older\n"
                f"     Take it all the same: ccm update {name} --allow-older"
            )
        case Refused(name, version, offered, step, cause, fix):
            what = f"{offered}" if offered != version else "what has changed"
            line = f"{name}: {version} stays: {what} was tried and fails in '{step}': {cause}"
            return line + (f"\n     {fix}" if fix else "")
        case Refreshed(name, version, dry_run, changes):
            done = "would be refreshed" if dry_run else "refreshed"
            return _with_changes(f"{name}: {version}, {done}", changes)
        case Failed(name, error):
            return f"{name}: failed: {error.sentence}" + (
                f"\n     {error.hint}" if error.hint else ""
            )


def _with_changes(line: str, changes: Iterable[str]) -> str:
    return "\n".join((line, *(f"     {change}" for change in changes)))


def authenticity(context: Context, name: str) -> str:
    """How sure it is that the program is what was published."""
    signed_by = context.variants.signed_by(name)
    return f"signed by npm ({signed_by})" if signed_by else "integrity only, no signature"


def rolled_back_lines(done: RolledBack) -> str:
    before, after = done.before, done.after
    lines = [f"{after.name}: {before.version} -> {after.version}"]
    if before.version == after.version:
        lines = [f"{after.name}: {after.version} stays, what was changed since is undone"]
    if before.spec != after.spec:
        lines.append(f"  rule {before.spec} -> {after.spec}")
    if before.choices.provider != after.choices.provider:
        lines.append(f"  provider {before.choices.provider} -> {after.choices.provider}")
    if before.tweaked != after.tweaked:
        lines.append(f"  program {_program(before)} -> {_program(after)}")
    return "\n".join(lines)


def _program(variant: Variant) -> str:
    return f"tweaked ({variant.tweaked})" if variant.tweaked else "as released"


def outcome_json(outcome: Outcome) -> dict[str, object]:
    from ccmirror_py.outcome import Current, Failed, Kept, Refreshed, Refused, Updated

    match outcome:
        case Current(name, version, notices):
            told = {"version": str(version), "notices": list(notices)}
            return {"name": name, "outcome": "current", **told}
        case Updated(name, before, after, dry_run, changes, notices):
            return {
                "name": name,
                "outcome": "would update" if dry_run else "updated",
                "before": str(before),
                "version": str(after),
                "changes": list(changes),
                "notices": list(notices),
            }
        case Kept(name, version, rule, offered):
            return {
                "name": name,
                "outcome": "kept",
                "version": str(version),
                "rule": str(rule),
                "offered": str(offered),
            }
        case Refused(name, version, offered, step, cause, fix):
            return {
                "name": name,
                "outcome": "kept",
                "version": str(version),
                "offered": str(offered),
                "step": step,
                "cause": cause,
                "fix": fix,
            }
        case Refreshed(name, version, dry_run, changes, notices):
            return {
                "name": name,
                "outcome": "would refresh" if dry_run else "refreshed",
                "version": str(version),
                "changes": list(changes),
                "notices": list(notices),
            }
        case Failed(name, error):
            return {"name": name, "outcome": "failed", "error": error.sentence, "hint": error.hint}
