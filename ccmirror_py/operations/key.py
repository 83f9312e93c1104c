"""`ccm key`: how a variant comes to its key."""

from dataclasses import replace

from ccmirror_py.context import Context
from ccmirror_py.credential import NewKey, fetch
from ccmirror_py.errors import UsageError
from ccmirror_py.operations.publish import Next, native_of, publish, resolve, settings_for
from ccmirror_py.secret import Secret
from ccmirror_py.times import now
from ccmirror_py.variant import FromKeyring, FromVariable, NoKey, Variant, bound


def set_key(context: Context, name: str, new: NewKey) -> Variant:
    """One rename changes it; sessions that run keep the key they have."""
    context.begin_change()
    context.variants.get(name)
    check_new(context, new)
    with context.changing(name):
        before = context.variants.get(name)
        provider = context.providers.get(before.choices.provider)
        after = replace(before, credential=new.credential, updated=now())
        after = bound(resolve(context, after, provider))  # a key that is given is given for it
        native = native_of(context, name)
        settings = settings_for(context, after, provider)
        context.journal.announce(name, "forget keys")
        try:
            publish(context, Next(after, settings, native, put_away(context, new)))
        except BaseException:
            context.journal.give_up(name)
            raise
        context.journal.forget_keys(name)
    return after


def check_new(context: Context, new: NewKey) -> None:
    """UsageError, before anything is paid for, when it can't work at all."""
    if isinstance(new.credential, FromKeyring):
        from ccmirror_py import os_keyring

        os_keyring.check(context.platform.os, context.environ)
    else:
        fetch(new.credential, new.secret, context.environ)


def put_away(context: Context, new: NewKey) -> Secret | None:
    """Into the keyring where it belongs there, else returned for the variant's own file. The lock
    is held; what the next generation does not speak of when it is freed is deleted."""
    if isinstance(new.credential, FromKeyring) and new.secret:
        context.keyring.add(new.credential.account, new.secret)
        return None
    return new.secret


def remove_key(context: Context, name: str) -> Variant:
    """The stored key is deleted; afterwards the provider's usual variable is looked at."""
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
