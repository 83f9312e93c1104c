"""`ccm key test`: whether a variant's endpoint takes its key. One small request, if all is well.

A refusal for another reason, such as a model that is not there, says nothing about the key: then a
key that can't be right is tried beside it.
"""

from ccmirror_py import probe_access as access
from ccmirror_py.context import Context
from ccmirror_py.credential import missing
from ccmirror_py.errors import CcmError, UsageError
from ccmirror_py.line import Line
from ccmirror_py.messages import bare
from ccmirror_py.operations.probe import (
    SECONDS,
    Talk,
    is_other_header_right,
    key_of,
    right_address,
    target_of,
)
from ccmirror_py.probe import Row, refused
from ccmirror_py.transport import Network
from ccmirror_py.variant import NoKey, Variant


def try_key(context: Context, variant: Variant, network: Network) -> Row:
    """The first thing that is in the key's way, or that it was taken; without the key in it.

    UsageError for a variant to which ccm gives no key. No other host than the variant's is asked.
    """
    name = variant.name
    if isinstance(variant.credential, NoKey) or variant.host is None:
        raise UsageError(
            f"{name} has no key that ccm hands over: a login or a cloud's credentials are used, "
            "or none is needed.",
            f"To see how it comes: ccm key show {name}. To give it one: ccm key set {name}",
        )
    try:
        key = key_of(context, variant)
    except CcmError as error:
        return Row("key", "failed", error.sentence, error.hint or f"ccm key set {name}")
    if not key:
        return Row("key", "failed", *missing(variant.credential, name))
    provider = context.providers.get(variant.choices.provider)
    talk = Talk(target_of(context, variant, provider), key, Line(network, SECONDS))
    return talk.clean(_judged(talk, variant.host))


def _judged(talk: Talk, host: str) -> Row:
    target = talk.target
    ask = bare(target.manner, target.main)
    heard = talk.ask(ask)
    reach = access.reached(heard, target)
    if reach.result == "failed":
        return reach
    why = access.is_wrong_path(heard)
    if why:
        return access.wrong_path(why, right_address(talk), target)
    if access.is_key_refused(heard):
        return access.key_row(heard, is_other_header_right(talk, heard), target)
    if heard.ok and access.speaks_messages(heard):
        return Row("key", "ok", f"{host} takes the key")
    stranger = Talk(target, "ccm-no-such-key", talk.line).ask(ask)
    if heard.status and access.is_key_refused(stranger):
        return Row("key", "ok", f"{host} takes the key, and refuses another")
    why = refused("key", heard, target, f"{host} refuses the request, but not for its key").detail
    fix = f"see what is in the way: ccm probe {target.name}"
    return Row("key", "failed", f"nothing proves the key: {why}", fix)
