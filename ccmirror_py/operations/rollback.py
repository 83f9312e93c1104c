"""`ccm rollback`: the generation before, as a new one. It needs no network."""

from dataclasses import replace

from ccmirror_py.context import Context
from ccmirror_py.errors import CcmError, NotFoundError
from ccmirror_py.operations.publish import Next, publish, resolve, settings_for
from ccmirror_py.outcome import Current, Outcome, Updated
from ccmirror_py.times import now
from ccmirror_py.variant import NoKey, Variant


def rollback(context: Context, name: str) -> Outcome:
    """What the variant was before its last change. A key for the same host stays the present one.

    Rolling back twice comes back to where it began: the generation left is the one before then.
    """
    context.begin_change()
    context.variants.get(name)
    with context.home.lock(name, context.say):
        now_current = context.variants.get(name)
        number, earlier = _before(context, now_current)
        provider = context.providers.get(earlier.choices.provider)
        after, key = replace(earlier, updated=now()), context.variants.stored_key(name, number)
        if earlier.base_url == now_current.base_url:
            # the key may have changed since; it goes to the same host
            after = replace(after, credential=now_current.credential)
            key = context.variants.stored_key(name)
        after = resolve(context, after, provider)
        native = context.home.generation(name, number) / "native"
        settings = settings_for(context, after, provider)
        publish(context, Next(after, settings, native, key))
    if after.version == now_current.version:
        return Current(name, after.version)
    return Updated(name, now_current.version, after.version)


def _before(context: Context, current: Variant) -> tuple[int, Variant]:
    """The newest earlier generation that is different in more than its key."""
    for number in context.variants.earlier(current.name):
        try:
            earlier = context.variants.read(
                current.name, context.home.generation(current.name, number)
            )
        except CcmError:
            continue
        if _without_key(earlier) != _without_key(current):
            return number, earlier
    raise NotFoundError(
        "earlier generation of",
        current.name,
        hint=f"Choose a version instead: ccm pin {current.name} VERSION",
    )


def _without_key(variant: Variant) -> Variant:
    return replace(variant, credential=NoKey(), key_variable=None, environment={}, updated="")
