"""`ccm key`: how a variant comes to its key."""

from dataclasses import replace

from ccmirror_py.context import Context
from ccmirror_py.credential import NewKey, fetch
from ccmirror_py.errors import UsageError
from ccmirror_py.operations.publish import Next, publish, resolve, settings_for
from ccmirror_py.times import now
from ccmirror_py.variant import FromVariable, NoKey, Variant


def set_key(context: Context, name: str, new: NewKey) -> Variant:
    """One rename changes it; sessions that run keep the key they have."""
    context.begin_change()
    context.variants.get(name)
    fetch(new.credential, new.secret, context.environ)  # does it work at all?
    with context.changing(name):
        before = context.variants.get(name)
        provider = context.providers.get(before.choices.provider)
        after = replace(before, credential=new.credential, updated=now())
        after = resolve(context, after, provider)
        native = context.home.current(name).resolve() / "native"
        settings = settings_for(context, after, provider)
        context.journal.announce(name, "forget keys")
        publish(context, Next(after, settings, native, new.secret))
        context.variants.forget_keys(name)
        context.journal.finished(name)
    return after


def remove_key(context: Context, name: str) -> Variant:
    """The stored key leaves the disk; afterwards the provider's usual variable is looked at."""
    context.begin_change()
    variant = context.variants.get(name)
    provider = context.providers.get(variant.choices.provider)
    if isinstance(variant.credential, NoKey):
        raise UsageError(f"'{name}' has no key.", f"Give it one: ccm key set {name}")
    if provider.auth.key == "required" and not provider.auth.variables:
        raise UsageError(
            f"'{name}' can't be used without a key.",
            f"Name a variable instead: ccm key set {name} --api-key-env VARIABLE",
        )
    if provider.auth.key != "required":
        return set_key(context, name, NewKey(NoKey()))
    return set_key(context, name, NewKey(FromVariable(provider.auth.variables[0])))
