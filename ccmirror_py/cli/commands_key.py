"""`ccm key`: how the key of a variant comes, and whether its endpoint takes it."""

import typer

from ccmirror_py.cli import params, wiring
from ccmirror_py.cli.options import AsJson, KeyCommand, KeyKeyring, KeyStdin, KeyVariable, Name
from ccmirror_py.cli.render import note, out, out_json
from ccmirror_py.credential import described
from ccmirror_py.variant import FromFile, FromKeyring, credential_to_json


def set_(
    name: Name,
    api_key_env: KeyVariable = None,
    api_key_stdin: KeyStdin = False,
    api_key_command: KeyCommand = None,
    api_key_keyring: KeyKeyring = False,
) -> None:
    """Say how the key comes.

    Without an option it is asked for and stored in a file.
    """
    from ccmirror_py.operations import key as operation

    context = wiring.context()
    before = context.variants.get(name)
    choices = before.choices
    provider = params.in_region(context, context.providers.get(choices.provider), choices.region)
    options = params.KeyOptions(api_key_env, api_key_stdin, api_key_command, api_key_keyring)
    new = params.given_key(context, name, provider, choices, options)
    variant = operation.set_key(context, name, new)
    out(f"{name}: key: {described(variant.credential)}. New sessions use it.")
    if described(before.credential) != described(variant.credential):
        note(f"It was {described(before.credential)} before; that is not looked at any more.")


def show(name: Name, as_json: AsJson = False) -> None:
    """Show how the key comes, never the key."""
    variant = wiring.context().variants.get(name)
    if as_json:
        credential = credential_to_json(variant.credential)
        out_json({"schema": 1, "name": name, "credential": credential})
    else:
        out(described(variant.credential))


def remove(name: Name) -> None:
    """Take a stored key off the disk, or out of the keyring."""
    from ccmirror_py.operations import key as operation

    context = wiring.context()
    before = context.variants.get(name).credential
    after = operation.remove_key(context, name)
    gone = "no key was stored"
    if isinstance(before, FromFile | FromKeyring):
        gone = "its stored key is gone"
    if isinstance(before, FromKeyring) and context.keyring.is_left(before.account):
        gone = "its key will go from the keyring when that can be reached"
    now = described(after.credential)
    out(f"{name}: {gone}" + ("." if now == "none" else f"; from now on the key comes from {now}."))


def try_(name: Name, as_json: AsJson = False) -> None:
    """Ask the endpoint whether it takes the key.

    With one small request, as the variant would send it; exit code 1 when not.
    """
    from ccmirror_py.operations.key_test import try_key

    context = wiring.context()
    variant = context.variants.get(name)
    network = wiring.endpoint_network(context.environ, variant.base_url or "")
    row = try_key(context, variant, network)
    accepted = row.result == "ok"
    if as_json:
        credential = credential_to_json(variant.credential)
        told = {"accepted": accepted, "detail": row.detail, "fix": row.fix}
        out_json({"schema": 1, "name": name, "host": variant.host, "key": credential, **told})
    else:
        mark, fix = ("✓", "") if accepted else ("✗", f"; to mend it: {row.fix}")
        out(f"{mark} {name}: {row.detail}{fix}")
    if not accepted:
        raise typer.Exit(1)
