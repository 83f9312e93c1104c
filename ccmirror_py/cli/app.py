"""The tree of commands."""

from collections.abc import Callable, Sequence
from importlib import import_module

import typer
from typer._completion_classes import completion_init

from ccmirror_py.cli import commands_look, wiring

_HELP = """One isolated Claude Code for each model provider.

  ccm create zai --provider zai      then run: zai
"""

_PASS_ON = {
    "ignore_unknown_options": True,
    "allow_extra_args": True,
    "allow_interspersed_args": False,  # what follows NAME is Claude Code's, --help too
}

_COMMANDS = {
    "create": "create create",
    "list": "look list_",
    "ls": "look list_",
    "show": "look show",
    "run": "change run",
    "update": "versions update",
    "pin": "versions pin",
    "unpin": "versions unpin",
    "rollback": "versions rollback",
    "tweak": "tweak tweak",
    "remove": "change remove",
    "rm": "change remove",
    "trash": "trash trash",
    "trash list": "trash list_",
    "trash restore": "trash restore",
    "trash empty": "trash empty",
    "key set": "key set_",
    "key show": "key show",
    "key test": "key try_",
    "key remove": "key remove",
    "theme list": "theme theme_list",
    "theme show": "theme theme_show",
    "theme set": "theme theme_set",
    "theme preview": "theme theme_preview",
    "guidance show": "theme guidance_show",
    "guidance edit": "theme guidance_edit",
    "mcp list": "mcp list_",
    "mcp add": "mcp add",
    "mcp remove": "mcp remove",
    "env": "look env",
    "which": "look which",
    "versions": "look versions",
    "providers": "providers providers",
    "providers show": "providers provider_show",
    "providers compare": "providers provider_compare",
    "models": "providers models",
    "doctor": "check doctor",
    "probe": "probe probe",
    "audit": "check audit",
    "verify": "check verify",
    "prune": "change prune",
    "echo": "check echo",
    "completion": "check completion",
}
"""What is typed, and where it is: the module `commands_…`, and the function in it."""
_GROUPS = {
    "trash": "Show and restore what was removed in the last 30 days.",
    "key": "How the key of a variant comes.",
    "theme": "How a variant looks.",
    "guidance": "What the model of a variant is told.",
    "mcp": "MCP servers a variant's provider offers.",
    "providers": "Show the providers there are.",
}
_NOT_ALONE = ("guidance", "key", "mcp", "theme")
"""Groups that show their help when they are asked for without more."""
_HIDDEN = ("ls", "rm")


def app_for(words: Sequence[str]) -> typer.Typer:
    """What answers `ccm WORDS`: of all commands only the one that is asked for, since importing the
    others takes longer than most of them run. All of them when it is not plain which one that is.
    """
    # `add_completion` would also add two options that edit shell start files; this makes only
    # `ccm completion SHELL` and what it prints work
    completion_init()
    app = typer.Typer(
        name="ccm",
        help=_HELP,
        no_args_is_help=False,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback(invoke_without_command=True)(commands_look.overview)
    groups: dict[str, typer.Typer] = {}
    for typed in _wanted(words):
        first, _, second = typed.partition(" ")
        if first not in _GROUPS:
            passes_on = _PASS_ON if first == "run" else None
            app.command(first, hidden=first in _HIDDEN, context_settings=passes_on)(
                _function(typed)
            )
            continue
        if first not in groups:
            groups[first] = typer.Typer(
                help=_GROUPS[first], rich_markup_mode=None, no_args_is_help=first in _NOT_ALONE
            )
            app.add_typer(groups[first], name=first)
        if second:
            groups[first].command(second)(_function(typed))
        else:
            groups[first].callback(invoke_without_command=True)(_function(typed))
    return app


def _wanted(words: Sequence[str]) -> Sequence[str]:
    if wiring.environment().get("_CCM_COMPLETE"):
        return list(_COMMANDS)
    if not words:
        return []  # what there is, told by the callback
    return [typed for typed in _COMMANDS if typed.split()[0] == words[0]] or list(_COMMANDS)


def _function(typed: str) -> Callable[..., None]:
    module, function = _COMMANDS[typed].split()
    found: Callable[..., None] = getattr(
        import_module(f"ccmirror_py.cli.commands_{module}"), function
    )
    return found
