"""Other choices for a variant: what `probe --apply`, `ccm mcp` and `ccm theme` write."""

from collections.abc import Callable, Collection
from dataclasses import replace

from ccmirror_py.context import Context
from ccmirror_py.operations.publish import republish, resolve
from ccmirror_py.times import now
from ccmirror_py.variant import Choices, Variant


def choose(
    context: Context,
    name: str,
    change: Callable[[Choices], Choices],
    forced: Collection[str] = (),
) -> Variant:
    """One rename changes it, as a new key would; `ccm rollback` takes it back, but for its looks.

    `forced` are keys of the user's settings to be written whatever Claude Code wrote there.
    """
    context.begin_change()
    context.variants.get(name)
    with context.changing(name):
        before = context.variants.get(name)
        choices = change(before.choices)
        if choices == before.choices and not forced:
            return before
        provider = context.providers.get(choices.provider)
        after = resolve(context, replace(before, choices=choices, updated=now()), provider)
        republish(context, after, forced)
    return after
