"""`ccm rollback`: the generation before, as a new one. It needs no network."""

from dataclasses import replace

from ccmirror_py.context import Context
from ccmirror_py.errors import CcmError, DamagedError
from ccmirror_py.operations.prune import is_there
from ccmirror_py.operations.publish import Next, publish, resolved, settings_for
from ccmirror_py.outcome import RolledBack
from ccmirror_py.times import now


class NothingEarlierError(CcmError):
    """What differs before is the rule, the key or the looks, which are set and not gone back to."""

    exit_code = 3

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} has nothing to roll back to: no other program, endpoint or models are kept.",
            f"Choose a version instead: ccm versions, then: ccm pin {name} VERSION",
        )


def rollback(context: Context, name: str) -> RolledBack:
    """What the variant was before its last change. A key for the same host stays the present one.

    Rolling back twice comes back to where it began: the generation left is the one before then.
    """
    context.begin_change()
    context.variants.get(name)
    with context.changing(name):
        now_current = context.variants.get(name)
        number = context.variants.way_back(name)
        if number is None:
            raise NothingEarlierError(name)
        earlier = context.variants.read(name, context.home.generation(name, number))
        provider = context.providers.get(earlier.choices.provider)
        # how it looks is the user's, and no reason to go back
        choices = replace(earlier.choices, looks=now_current.choices.looks)
        after = replace(earlier, choices=choices, updated=now())
        key = context.variants.stored_key(name, number)
        if earlier.host == now_current.host:
            # the key may have changed since; it goes to the same host
            after = replace(after, credential=now_current.credential)
            key = context.variants.stored_key(name)
        after = resolved(context, after, provider)
        native = context.home.generation(name, number) / "native"
        if not is_there(native):
            raise DamagedError(
                native, "is damaged", f"Choose a version instead: ccm pin {name} {earlier.version}"
            )
        settings = settings_for(context, after, provider)
        publish(context, Next(after, settings, native, key))
    return RolledBack(now_current, after)
