"""`ccm update`, `ccm pin`, `ccm unpin`: which version, by which rule."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ccmirror_py import fs
from ccmirror_py.changes import changes, denied, migrated
from ccmirror_py.context import Context
from ccmirror_py.errors import BusyError, CcmError, DiskError
from ccmirror_py.operations.publish import (
    Coming,
    Next,
    is_stale,
    native_of,
    publish,
    republish,
    resolve,
    settings_for,
)
from ccmirror_py.outcome import Current, Failed, Kept, Outcome, Refreshed, Refused, Updated
from ccmirror_py.settings import denied_tools
from ccmirror_py.times import now
from ccmirror_py.variant import Variant, strays
from ccmirror_py.version import LATEST, Spec, Version, allows

if TYPE_CHECKING:
    from ccmirror_py.probe import Row  # of no use without --probe
    from ccmirror_py.release import Release

Trial = Callable[[Coming], "Row | None"]


@dataclass(frozen=True)
class UpdateRequest:
    """`spec` None keeps each variant's own rule; `allow_older` even where it means a step back.

    `keep_provider` leaves the endpoint, the models and all else of the provider as they are.
    `trial` says what would break of what is coming; then the variant stays as it is.
    """

    names: Sequence[str]
    spec: Spec | None = None
    dry_run: bool = False
    allow_older: bool = False
    keep_provider: bool = False
    trial: Trial | None = None


@dataclass(frozen=True)
class _Coming:
    """What a variant becomes, the settings it will pin, and how that differs, in words. `notices`
    are for the user in any case."""

    variant: Variant
    settings: dict[str, object]
    changes: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()

    def is_as(self, other: "_Coming") -> bool:
        """But for the time."""
        dated = replace(self.variant, updated=other.variant.updated)
        return (dated, self.settings) == (other.variant, other.settings)


def update(context: Context, request: UpdateRequest) -> list[Outcome]:
    """One outcome for each name; a variant that fails does not stop the others."""
    if not request.dry_run:
        context.begin_change()
    outcomes: list[Outcome] = []
    for name in request.names:
        try:
            outcomes.append(_update_one(context, name, request))
        except CcmError as error:
            outcomes.append(Failed(name, error))
        except OSError as error:
            outcomes.append(Failed(name, DiskError(error)))
    return outcomes


def _update_one(context: Context, name: str, request: UpdateRequest) -> Outcome:
    variant = context.variants.get(name)
    spec = request.spec or variant.spec
    if spec == variant.spec == variant.version:
        return _refresh(context, variant, request)  # held there: nothing to ask
    version = context.registry.version(spec, context.platform)
    if version == variant.version and spec == variant.spec:
        return _refresh(context, variant, request)
    if spec == variant.spec and version < variant.version and not request.allow_older:
        # withdrawn, or a mirror that lags, or somebody who wants an old hole back
        return Kept(name, variant.version, spec, version)
    if request.dry_run:
        after = replace(variant, spec=spec, version=version)
        coming = _coming(context, variant, after, request.keep_provider)
        return _outcome(variant, spec, version, coming, dry_run=True)
    release = context.registry.find(spec, context.platform)
    return _move(context, variant, spec, release, request)


def _refresh(context: Context, seen: Variant, request: UpdateRequest) -> Outcome:
    """Nothing newer; but the provider's file, ccm or the shell's proxies may have changed."""
    name = seen.name
    coming = _coming(context, seen, seen, request.keep_provider)
    if not _differs(context, seen, coming, request):
        return Current(name, seen.version, coming.notices)
    if not request.dry_run:
        tried = coming
        row = _tried(request.trial, tried, None)
        if row is not None:
            return _refused(seen, tried, row)
        with context.changing(name):
            variant = context.variants.get(name)
            after = replace(variant, updated=now())
            coming = _coming(context, variant, after, request.keep_provider)
            if not _differs(context, variant, coming, request):
                return Current(name, variant.version, coming.notices)
            if request.trial:
                _check_same(seen, variant, tried, coming)
            native = native_of(context, name)
            key = context.variants.stored_key(name)
            publish(context, Next(coming.variant, coming.settings, native, key))
    return Refreshed(name, seen.version, request.dry_run, coming.changes, coming.notices)


def _differs(context: Context, variant: Variant, coming: _Coming, request: UpdateRequest) -> bool:
    """What the provider's file says of its looks is no reason to change what shall stay."""
    with_looks = not request.keep_provider
    return coming.variant.choices != variant.choices or (
        is_stale(context, variant, coming.variant, coming.settings, with_looks)
    )


def _coming(context: Context, before: Variant, after: Variant, keep_provider: bool) -> _Coming:
    """`after` with what its provider's file says now, or with what it said at the last change."""
    provider = context.providers.get(after.choices.provider)
    denied_before = _denied(context, before)
    kept = _Coming(after, settings_for(context, after, replace(provider, deny=denied_before)))
    if keep_provider:
        return kept
    moved = migrated(provider, after.choices)
    coming = resolve(context, replace(after, choices=moved.choices), provider)
    if strays(coming):
        stays = (
            f"{after.name} stays with {after.host}: its stored key was given for it, and "
            f"{provider.name} is at {coming.host} now. To move it: ccm key set {after.name}"
        )
        return replace(kept, notices=(stays,))
    told = (
        *moved.notices,
        *changes(before.environment, coming.environment),
        *denied(denied_before, denied_tools(provider, coming.choices)),
    )
    gone = tuple(
        f"{after.name}: {sentence}; choose another with `ccm create --force`."
        for sentence in moved.gone
    )
    return _Coming(coming, settings_for(context, coming, provider), told, gone)


def _denied(context: Context, variant: Variant) -> tuple[str, ...]:
    """The tools the current generation pins as denied; none when it can't be read."""
    path = context.home.current(variant.name) / "settings.json"
    try:
        return tuple(json.loads(fs.read_file(path))["permissions"]["deny"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ()


def pin(context: Context, name: str, spec: Spec | None, trial: Trial | None = None) -> Outcome:
    """Change the rule; the version changes only when the rule does not allow the present one."""
    context.begin_change()
    variant = context.variants.get(name)
    if spec is None or allows(spec, variant.version):
        changed = _change_rule(context, name, spec)
        if spec is None or allows(spec, changed.version):
            return Current(name, changed.version)
        variant = changed  # another ccm moved it since
    release = context.registry.find(spec, context.platform)
    return _move(context, variant, spec, release, UpdateRequest([name], spec, trial=trial))


def unpin(context: Context, name: str) -> Variant:
    """Back to the rule `latest`; the version stays until the next update."""
    context.begin_change()
    context.variants.get(name)
    return _change_rule(context, name, LATEST)


def _move(
    context: Context, seen: Variant, spec: Spec, release: "Release", request: UpdateRequest
) -> Outcome:
    """`seen` is the variant for which `spec` was resolved; what another ccm did since counts."""
    name = seen.name
    context.installed(release)  # the long part, without holding the variant
    moved = _moved(seen, spec, release)
    tried = _coming(context, seen, moved, request.keep_provider) if request.trial else None
    row = _tried(request.trial, tried, release) if tried else None
    if tried and row:
        return _refused(seen, tried, row)
    with context.changing(name):
        before = context.variants.get(name)
        changed = (before.spec, before.version) != (seen.spec, seen.version)
        if changed and spec in (seen.spec, before.spec):
            return Current(name, before.version)
        after = replace(_moved(before, spec, release), updated=now())
        coming = _coming(context, before, after, request.keep_provider)
        if tried:
            _check_same(seen, before, tried, coming)
        key = context.variants.stored_key(name)
        with context.held(release) as directory:
            native = native_of(context, name) if after.tweaked else directory
            publish(context, Next(coming.variant, coming.settings, native, key))
    return _outcome(before, spec, release.version, coming)


def _moved(before: Variant, spec: Spec, release: "Release") -> Variant:
    """Another version is not tweaked: nobody knows whether the same patches work there."""
    tweaked = before.tweaked if before.version == release.version else None
    return replace(before, spec=spec, version=release.version, tweaked=tweaked)


def _tried(trial: Trial | None, coming: _Coming, release: "Release | None") -> "Row | None":
    """What breaks use of it, when that is to be tried. The variant is not held meanwhile for longer
    than its twin is there."""
    return trial(Coming(coming.variant, coming.settings, release)) if trial else None


def _refused(seen: Variant, tried: _Coming, row: "Row") -> Outcome:
    offered = tried.variant.version
    return Refused(seen.name, seen.version, offered, row.step, row.detail, row.fix)


def _check_same(seen: Variant, before: Variant, tried: _Coming, coming: _Coming) -> None:
    """Only what was tried may take the place of what was there when it was."""
    if before != seen or not coming.is_as(tried):
        raise BusyError(
            f"Another ccm changed {seen.name} while its next version was tried.", "Try again."
        )


def _change_rule(context: Context, name: str, spec: Spec | None) -> Variant:
    """None: the version it has. A rule that does not allow that version changes nothing."""
    with context.changing(name):
        before = context.variants.get(name)
        rule = spec or before.version
        if before.spec == rule or allows(rule, before.version) is False:
            return before
        after = replace(before, spec=rule, updated=now())
        republish(context, after)
    return after


def _outcome(
    before: Variant, rule: Spec, after: Version, coming: _Coming, dry_run: bool = False
) -> Outcome:
    changes, notices = coming.changes, coming.notices
    if before.version == after:
        changes = (*([f"rule {before.spec} -> {rule}"] if before.spec != rule else []), *changes)
        refreshed = Refreshed(before.name, after, dry_run, changes, notices)
        return refreshed if changes else Current(before.name, after, notices)
    if before.tweaked:
        again = f"ccm tweak {before.name} --patches {','.join(before.tweaked.patches)}"
        changes = (*changes, f"its program is no longer tweaked; to try again: {again}")
    return Updated(before.name, before.version, after, dry_run, changes, notices)
