"""Completion of names: reads two directories and nothing else."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from ccmirror_py import records
from ccmirror_py.cli import wiring
from ccmirror_py.cli.wiring import this_home
from ccmirror_py.errors import CcmError

if TYPE_CHECKING:
    from ccmirror_py.provider import Provider


def complete_variant(incomplete: str) -> list[str]:
    root, _ = wiring.places(wiring.environment())
    return records.names_beginning(root, incomplete)


def complete_provider(incomplete: str) -> list[str]:
    from ccmirror_py.providers import Providers

    ids = Providers(this_home().own_providers).ids()
    return [id_ for id_ in ids if id_.startswith(incomplete)]


def complete_theme(incomplete: str) -> list[str]:
    from ccmirror_py.look import FORMS, NO_THEME

    words = ("own", NO_THEME, *FORMS)
    return [*complete_provider(incomplete), *(w for w in words if w.startswith(incomplete))]


def complete_look(incomplete: str) -> list[str]:
    return sorted({*complete_provider(incomplete), *complete_variant(incomplete)})


def one_of(*words: str) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


def complete_region(context: typer.Context, incomplete: str) -> list[str]:
    provider = _provider_before(context)
    return [name for name in provider.regions if name.startswith(incomplete)] if provider else []


def complete_server(context: typer.Context, incomplete: str) -> list[str]:
    provider = _provider_before(context)
    return [name for name in provider.mcp if name.startswith(incomplete)] if provider else []


def _provider_before(context: typer.Context) -> "Provider | None":
    """That stands on the line before, as such or by the name of a variant."""
    from ccmirror_py.providers import Providers

    root, _ = wiring.places(wiring.environment())
    given, name = context.params.get("provider"), str(context.params.get("name"))
    try:
        id_ = given or records.get(root, name)["provider"]
        return Providers(this_home().own_providers).get(str(id_))
    except CcmError:
        return None


def complete_trashed(incomplete: str) -> list[str]:
    from ccmirror_py.trash import Trash

    names = sorted({entry.name for entry in Trash(this_home()).entries()})
    return [name for name in names if name.startswith(incomplete)]
