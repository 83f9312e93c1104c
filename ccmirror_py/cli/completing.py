"""Completion of names: reads two directories and nothing else."""

import typer

from ccmirror_py import records
from ccmirror_py.cli import wiring
from ccmirror_py.cli.wiring import this_home
from ccmirror_py.errors import CcmError


def complete_variant(incomplete: str) -> list[str]:
    root, _ = wiring.places(wiring.environment())
    return records.names_beginning(root, incomplete)


def complete_provider(incomplete: str) -> list[str]:
    from ccmirror_py.providers import Providers

    ids = Providers(this_home().own_providers).ids()
    return [id_ for id_ in ids if id_.startswith(incomplete)]


def complete_region(context: typer.Context, incomplete: str) -> list[str]:
    """Of the provider that stands on the line before it."""
    from ccmirror_py.providers import Providers

    id_ = str(context.params.get("provider"))
    try:
        regions = Providers(this_home().own_providers).get(id_).regions
    except CcmError:
        return []
    return [name for name in regions if name.startswith(incomplete)]


def complete_trashed(incomplete: str) -> list[str]:
    from ccmirror_py.trash import Trash

    names = sorted({entry.name for entry in Trash(this_home()).entries()})
    return [name for name in names if name.startswith(incomplete)]
