"""`ccm theme set` and `ccm guidance edit`: other looks for a variant that stays what it is."""

from collections.abc import Collection
from dataclasses import replace

from ccmirror_py.context import Context
from ccmirror_py.look import NO_THEME, Looks
from ccmirror_py.operations.publish import Next, publish, resolve, settings_for
from ccmirror_py.times import now
from ccmirror_py.variant import Variant


def restyle(context: Context, name: str, changed: dict[str, object]) -> Variant:
    """`changed` are fields of Looks. What the user now chooses stands, whatever was chosen in
    Claude Code before; the rest there stays."""
    context.begin_change()
    context.variants.get(name)
    with context.changing(name):
        before = context.variants.get(name)
        looks: Looks = replace(before.choices.looks, **changed)  # type: ignore[arg-type]
        after = replace(before, choices=replace(before.choices, looks=looks), updated=now())
        provider = context.providers.get(after.choices.provider)
        after = resolve(context, after, provider)
        settings = settings_for(context, after, provider)
        native = context.home.current(name).resolve() / "native"
        key = context.variants.stored_key(name)
        publish(context, Next(after, settings, native, key, _forced(changed)))
    return after


def _forced(changed: dict[str, object]) -> Collection[str]:
    """Keys of the user's settings; taking something away never takes what the user put there."""
    forced = set()
    if {"theme", "form"} & set(changed) and changed.get("theme") != NO_THEME:
        forced.add("theme")
    forced |= {"statusLine"} if changed.get("status_line") else set()
    forced |= {"spinnerVerbs"} if changed.get("verbs") else set()
    return forced
