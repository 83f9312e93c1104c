"""The tree of commands."""

import typer
from typer._completion_classes import completion_init

from ccmirror_py.cli import (
    commands_change,
    commands_check,
    commands_key,
    commands_look,
    commands_mcp,
    commands_probe,
    commands_providers,
    commands_theme,
    commands_trash,
    commands_tweak,
    commands_versions,
)

# `add_completion` would also add two options that edit shell start files; this makes only
# `ccm completion SHELL` and what it prints work
completion_init()

_HELP = """One isolated Claude Code for each model provider.

  ccm create zai --provider zai      then run: zai
"""

app = typer.Typer(
    name="ccm",
    help=_HELP,
    no_args_is_help=False,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
_PASS_ON = {
    "ignore_unknown_options": True,
    "allow_extra_args": True,
    "allow_interspersed_args": False,  # what follows NAME is Claude Code's, --help too
}

key = typer.Typer(
    help="How the key of a variant comes.", rich_markup_mode=None, no_args_is_help=True
)
key.command("set")(commands_key.set_)
key.command("show")(commands_key.show)
key.command("test")(commands_key.try_)
key.command("remove")(commands_key.remove)

providers = typer.Typer(help="Show the providers there are.", rich_markup_mode=None)
providers.callback(invoke_without_command=True)(commands_providers.providers)
providers.command("show")(commands_providers.provider_show)
providers.command("compare")(commands_providers.provider_compare)

mcp = typer.Typer(
    help="MCP servers a variant's provider offers.", rich_markup_mode=None, no_args_is_help=True
)
mcp.command("list")(commands_mcp.list_)
mcp.command("add")(commands_mcp.add)
mcp.command("remove")(commands_mcp.remove)

trash = typer.Typer(rich_markup_mode=None)
trash.callback(invoke_without_command=True)(commands_trash.trash)
trash.command("list")(commands_trash.list_)
trash.command("restore")(commands_trash.restore)
trash.command("empty")(commands_trash.empty)

theme = typer.Typer(help="How a variant looks.", rich_markup_mode=None)
theme.command("list")(commands_theme.theme_list)
theme.command("show")(commands_theme.theme_show)
theme.command("set")(commands_theme.theme_set)
theme.command("preview")(commands_theme.theme_preview)

guidance = typer.Typer(help="What the model of a variant is told.", rich_markup_mode=None)
guidance.command("show")(commands_theme.guidance_show)
guidance.command("edit")(commands_theme.guidance_edit)

app.callback(invoke_without_command=True)(commands_look.overview)
app.command("create")(commands_change.create)
app.command("list")(commands_look.list_)
app.command("ls", hidden=True)(commands_look.list_)
app.command("show")(commands_look.show)
app.command("run", context_settings=_PASS_ON)(commands_change.run)
app.command("update")(commands_versions.update)
app.command("pin")(commands_versions.pin)
app.command("unpin")(commands_versions.unpin)
app.command("rollback")(commands_versions.rollback)
app.command("tweak")(commands_tweak.tweak)
app.command("remove")(commands_change.remove)
app.command("rm", hidden=True)(commands_change.remove)
app.add_typer(trash, name="trash")
app.add_typer(key, name="key")
app.add_typer(theme, name="theme")
app.add_typer(guidance, name="guidance")
app.add_typer(mcp, name="mcp")
app.command("env")(commands_look.env)
app.command("which")(commands_look.which)
app.command("versions")(commands_look.versions)
app.add_typer(providers, name="providers")
app.command("models")(commands_providers.models)
app.command("doctor")(commands_check.doctor)
app.command("probe")(commands_probe.probe)
app.command("audit")(commands_check.audit)
app.command("verify")(commands_check.verify)
app.command("prune")(commands_change.prune)
app.command("echo")(commands_check.echo)
app.command("completion")(commands_check.completion)
