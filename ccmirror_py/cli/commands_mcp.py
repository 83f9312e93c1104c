"""`ccm mcp`: MCP servers a variant's provider offers."""

from collections.abc import Callable
from typing import Annotated

import typer

from ccmirror_py.cli import wiring
from ccmirror_py.cli.completing import complete_server
from ccmirror_py.cli.options import AsJson, Name
from ccmirror_py.cli.render import note, out, out_json, table
from ccmirror_py.context import Context
from ccmirror_py.errors import UsageError
from ccmirror_py.mcp import needed_variables
from ccmirror_py.provider import Provider
from ccmirror_py.variant import Variant

Servers = Annotated[
    list[str],
    typer.Argument(
        metavar="SERVER…", help="See: ccm mcp list NAME.", autocompletion=complete_server
    ),
]


def list_(name: Name, as_json: AsJson = False) -> None:
    """Show what the provider offers and what the variant has."""
    context = wiring.context()
    variant = context.variants.get(name)
    provider = context.providers.get(variant.choices.provider)
    if as_json:
        servers = [
            {"name": id_, "description": server.description, "used": id_ in variant.mcp_servers}
            for id_, server in provider.mcp.items()
        ]
        out_json({"schema": 1, "name": name, "servers": servers})
    elif provider.mcp:
        rows = [
            ("yes" if id_ in variant.mcp_servers else "-", id_, server.description)
            for id_, server in provider.mcp.items()
        ]
        out(table(("USED", "SERVER", "WHAT"), rows))
    else:
        note(f"{provider.name} offers none that ccm knows of. Your own: {name} mcp add …")


def add(name: Name, servers: Servers) -> None:
    """Give a variant servers of its provider.

    Their key is the variant's own, by reference, or a variable of the shell.
    """
    from ccmirror_py.operations.create import check_servers

    context = wiring.context()
    choices = context.variants.get(name).choices
    provider = context.providers.get(choices.provider)
    check_servers(provider, servers)
    _chosen(context, name, provider, lambda had: (*had, *servers))


def remove(name: Name, servers: Servers) -> None:
    """Take servers of its provider from a variant."""
    context = wiring.context()
    choices = context.variants.get(name).choices
    for server in servers:
        if server not in choices.mcp:
            used = ", ".join(choices.mcp) or "none"
            raise UsageError(
                f"{name} does not use '{server}'.", f"It uses: {used}; see: ccm mcp list {name}"
            )
    provider = context.providers.get(choices.provider)
    _chosen(context, name, provider, lambda had: tuple(s for s in had if s not in servers))


def _chosen(
    context: Context,
    name: str,
    provider: Provider,
    change: Callable[[tuple[str, ...]], tuple[str, ...]],
) -> None:
    from dataclasses import replace

    from ccmirror_py.operations.choose import choose

    variant = choose(context, name, lambda c: replace(c, mcp=tuple(dict.fromkeys(change(c.mcp)))))
    used = ", ".join(variant.mcp_servers)
    have = f"{used}. New sessions have them (/mcp)." if used else "none, from the next session on."
    out(f"{name}: MCP servers of its provider: {have}")
    needs_note(context, variant, provider)


def needs_note(context: Context, variant: Variant, provider: Provider) -> None:
    """What its MCP servers need and this shell has not."""
    for variable in needed_variables(provider, variant.mcp_servers):
        if not context.environ.get(variable):
            note(f"Set {variable} before you start it: its MCP servers read their key from there.")
