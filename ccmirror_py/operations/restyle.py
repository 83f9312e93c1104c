"""`ccm theme set` and `ccm guidance edit`: other looks for a variant that stays what it is."""

from collections.abc import Collection
from dataclasses import replace

from ccmirror_py.context import Context
from ccmirror_py.look import NO_THEME
from ccmirror_py.operations.choose import choose
from ccmirror_py.variant import Choices, Variant


def restyle(context: Context, name: str, changed: dict[str, object]) -> Variant:
    """`changed` are fields of Looks. What the user now chooses stands, whatever was chosen in
    Claude Code before; the rest there stays."""

    def change(choices: Choices) -> Choices:
        return replace(choices, looks=replace(choices.looks, **changed))  # type: ignore[arg-type]

    return choose(context, name, change, _forced(changed))


def _forced(changed: dict[str, object]) -> Collection[str]:
    """Keys of the user's settings; taking something away never takes what the user put there."""
    forced = set()
    if {"theme", "form"} & set(changed) and changed.get("theme") != NO_THEME:
        forced.add("theme")
    forced |= {"statusLine"} if changed.get("status_line") else set()
    forced |= {"spinnerVerbs"} if changed.get("verbs") else set()
    return forced
