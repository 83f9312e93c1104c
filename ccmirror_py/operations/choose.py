"""Other choices for a variant that is there: what `probe --apply` and `ccm mcp` write."""

from collections.abc import Callable
from dataclasses import replace

from ccmirror_py.context import Context
from ccmirror_py.operations.publish import Next, publish, resolve, settings_for
from ccmirror_py.times import now
from ccmirror_py.variant import Choices, Variant


def choose(context: Context, name: str, change: Callable[[Choices], Choices]) -> Variant:
    """One rename changes it, as a new key would; `ccm rollback` takes it back."""
    context.begin_change()
    context.variants.get(name)
    with context.changing(name):
        before = context.variants.get(name)
        provider = context.providers.get(before.choices.provider)
        choices = change(before.choices)
        if choices == before.choices:
            return before
        after = resolve(context, replace(before, choices=choices, updated=now()), provider)
        native = context.home.current(name).resolve() / "native"
        settings = settings_for(context, after, provider)
        publish(context, Next(after, settings, native, context.variants.stored_key(name)))
    return after
