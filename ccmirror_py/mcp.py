"""MCP servers of a vendor as Claude Code is given them, with references in place of keys."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ccmirror_py.environment import KEY_VARIABLES, MCP_KEY
from ccmirror_py.variant import Choices, Credential, NoKey

if TYPE_CHECKING:
    from ccmirror_py.provider import Provider

Servers = dict[str, dict[str, Any]]


def servers_of(
    provider: "Provider", choices: Choices, credential: Credential, key_variable: str | None
) -> Servers:
    """The chosen servers that the provider's file still has.

    The variant's own key goes along when it is the vendor's (no other endpoint was chosen) and in
    the environment anyway (a bearer); else the variable the file names is read from the shell.
    """
    in_environment = key_variable == KEY_VARIABLES["bearer"] and not isinstance(credential, NoKey)
    lends = in_environment and choices.base_url is None

    def filled(values: Mapping[str, str]) -> dict[str, str]:
        return {name: _lent(text, provider) if lends else text for name, text in values.items()}

    found: Servers = {}
    for name in choices.mcp:
        server = provider.mcp.get(name)
        if server is None:
            continue
        if server.url:
            found[name] = {"type": "http", "url": server.url, "headers": filled(server.headers)}
        else:
            program, *arguments = server.command
            environment = filled(server.environment)
            found[name] = {
                "type": "stdio",
                "command": program,
                "args": arguments,
                "env": environment,
            }
    return found


def _lent(text: str, provider: "Provider") -> str:
    for variable in provider.auth.variables:
        text = text.replace(f"${{{variable}}}", f"${{{MCP_KEY}}}")
    return text


def needed_variables(provider: "Provider", servers: Mapping[str, object]) -> list[str]:
    """Of the shell: those these servers read their key from."""
    text = json.dumps(servers)
    return [variable for variable in provider.auth.variables if f"${{{variable}}}" in text]


def as_argument(servers: Mapping[str, object]) -> str:
    """What `--mcp-config` takes beside a file; "" for none. ASCII, so that no locale matters."""
    return json.dumps({"mcpServers": servers}, sort_keys=True) if servers else ""
