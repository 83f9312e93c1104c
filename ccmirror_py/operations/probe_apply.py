"""`ccm probe --apply`: what a probe found necessary becomes the variant's own choice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ccmirror_py.context import Context
from ccmirror_py.diagnosis import CAPABILITIES
from ccmirror_py.operations.publish import Next, publish, resolve, settings_for
from ccmirror_py.probe import Row
from ccmirror_py.times import now
from ccmirror_py.variant import Variant


@dataclass(frozen=True)
class Changes:
    """Variables to set, and a context window or None."""

    env: Mapping[str, str]
    window: int | None


def changes(context: Context, name: str, rows: Sequence[Row]) -> Changes:
    """What these rows ask for and the variant has not yet."""
    choices = context.variants.get(name).choices
    env: dict[str, str] = {}
    for row in rows:
        for variable, value in row.env.items():
            before = env.get(variable, choices.env.get(variable, ""))
            env[variable] = value
            if variable == CAPABILITIES and before:
                env[variable] = ",".join(dict.fromkeys((*before.split(","), value)))
    windows = [row.window for row in rows if row.window]
    return Changes(env, min(windows) if windows else None)


def apply(context: Context, name: str, wanted: Changes) -> Variant:
    """One rename changes it, as a new key would; `ccm rollback` takes it back."""
    context.begin_change()
    with context.home.lock(name, context.say):
        before = context.variants.get(name)
        provider = context.providers.get(before.choices.provider)
        choices = replace(
            before.choices,
            env={**before.choices.env, **wanted.env},
            context_window=wanted.window or before.choices.context_window,
        )
        after = resolve(context, replace(before, choices=choices, updated=now()), provider)
        native = context.home.current(name).resolve() / "native"
        settings = settings_for(context, after, provider)
        key = context.variants.stored_key(name)
        publish(context, Next(after, settings, native, key))
    return after
