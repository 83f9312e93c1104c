"""`ccm create`: from options to what is asked for, and what came of it."""

from typing import Annotated

import typer

from ccmirror_py.cli import params, render, wiring
from ccmirror_py.cli.commands_mcp import needs_note
from ccmirror_py.cli.completing import (
    complete_provider,
    complete_region,
    complete_server,
    one_of,
)
from ccmirror_py.cli.options import (
    KeyCommand,
    KeyKeyring,
    KeyStdin,
    KeyVariable,
)
from ccmirror_py.cli.render import note, out
from ccmirror_py.context import Context
from ccmirror_py.credential import described
from ccmirror_py.environment import needed_names, weakness
from ccmirror_py.errors import UsageError
from ccmirror_py.look import too_old
from ccmirror_py.name import check_name
from ccmirror_py.provider import Provider
from ccmirror_py.providers import ELSEWHERE
from ccmirror_py.variant import Choices, NoKey, Variant
from ccmirror_py.version import parse_spec


def create(
    name: Annotated[str, typer.Argument(help="The new variant, and the command that starts it.")],
    provider: Annotated[
        str | None,
        typer.Option(
            "--provider", "-p", help="See: ccm providers.", autocompletion=complete_provider
        ),
    ] = None,
    claude_version: Annotated[
        str,
        typer.Option(metavar="RULE", help="latest, stable, 2.1.330, 2.1.x, '>=2.1.200,<2.1.300'."),
    ] = "latest",
    model: Annotated[str | None, typer.Option(help="The model for every tier.")] = None,
    model_opus: Annotated[str | None, typer.Option(help="The model for opus.")] = None,
    model_sonnet: Annotated[str | None, typer.Option(help="The model for sonnet.")] = None,
    model_haiku: Annotated[
        str | None, typer.Option(help="The model for haiku and small tasks.")
    ] = None,
    model_fable: Annotated[str | None, typer.Option(help="The model for fable.")] = None,
    model_subagent: Annotated[str | None, typer.Option(help="The model for subagents.")] = None,
    context_window: Annotated[
        int | None, typer.Option(min=1000, metavar="TOKENS", help="What the model can take in.")
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(
            help="A region or plan of the provider; see: ccm providers show ID.",
            autocompletion=complete_region,
        ),
    ] = None,
    base_url: Annotated[str | None, typer.Option(metavar="URL", help="Another endpoint.")] = None,
    auth: Annotated[
        str | None,
        typer.Option(
            help="How the key is sent: bearer or x-api-key.",
            autocompletion=one_of("bearer", "x-api-key"),
        ),
    ] = None,
    api_key_env: KeyVariable = None,
    api_key_stdin: KeyStdin = False,
    api_key_command: KeyCommand = None,
    api_key_keyring: KeyKeyring = False,
    env: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Set a variable at each start.")
    ] = None,
    arg: Annotated[
        list[str] | None,
        typer.Option(metavar="ARGUMENT", help="Give Claude Code this argument at each start."),
    ] = None,
    inherit: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Let this variable of the shell through."),
    ] = None,
    yolo: Annotated[
        bool, typer.Option("--yolo", help="Never ask for permission (bypassPermissions).")
    ] = False,
    share_claude_md: Annotated[
        bool, typer.Option("--share-claude-md", help="Let ~/.claude/CLAUDE.md reach this variant.")
    ] = False,
    theme: Annotated[
        str | None,
        typer.Option(help="Another provider's theme, or none.", autocompletion=complete_provider),
    ] = None,
    status_line: Annotated[
        bool, typer.Option("--status-line/--no-status-line", help="A line with model and cost.")
    ] = True,
    guidance: Annotated[
        bool, typer.Option("--guidance/--no-guidance", help="Tell the model where it runs.")
    ] = True,
    deny: Annotated[
        list[str] | None,
        typer.Option(metavar="TOOL", help="Keep this tool from the model, such as WebSearch."),
    ] = None,
    model_override: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLAUDE=MODEL", help="Send MODEL what this Claude model would be sent."
        ),
    ] = None,
    mcp: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SERVER",
            help="Add an MCP server the provider offers.",
            autocompletion=complete_server,
        ),
    ] = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Try its endpoint right away: ccm probe NAME.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Make an existing variant anew; its config stays.")
    ] = False,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Allow a name that hides another command.")
    ] = False,
) -> None:
    """Make a variant: an isolated Claude Code for one provider."""
    from ccmirror_py.operations import create as operation

    check_name(name)
    spec = parse_spec(claude_version)
    context = wiring.context()
    data = context.providers.get(provider or _asked_provider(context, name))
    there = params.in_region(context, data, region)
    tiers = {
        "main": None,
        "opus": model_opus,
        "sonnet": model_sonnet,
        "haiku": model_haiku,
        "fable": model_fable,
        "subagent": model_subagent,
    }
    if params.is_interactive():  # else `check_choices` says what is missing
        if there.asks_models and not model and not any(tiers.values()):
            model = params.ask("Model for every tier") or None
        if data.asks_base_url and not base_url and not there.base_url:
            base_url = params.ask("Address of the endpoint") or None
    choices = Choices(
        provider=data.id,
        region=region,
        base_url=params.base_url(base_url),
        auth_style=params.auth_style(auth),
        models=params.models(model, tiers),
        context_window=context_window,
        env=params.pairs(env or []),
        args=params.arguments(arg or []),
        inherit=params.variable_names(inherit or []),
        yolo=yolo,
        share_claude_md=share_claude_md,
        looks=params.looks(context, theme, status_line, guidance),
        deny=params.tools(deny or []),
        model_overrides=params.overrides(model_override or []),
        mcp=tuple(dict.fromkeys(mcp or ())),
    )
    operation.check_choices(data, choices)
    operation.check_free(context, name, force, shadow)
    options = params.KeyOptions(api_key_env, api_key_stdin, api_key_command, api_key_keyring)
    key = params.decide_key(context, name, there, choices, options)
    request = operation.CreateRequest(name, choices, spec, key, force, shadow)
    had_config = context.variants.has_kept_config(name)
    variant = operation.create(context, request)
    _report_created(context, variant, data, had_config)
    if variant.key_variable and not probe:
        out(f"  check provider ccm probe {name}")
    for doubt in operation.doubts(data, choices):
        note(doubt)
    needs_note(context, variant, data)
    if probe:
        from ccmirror_py.cli.commands_probe import show_probe

        if not show_probe(context, name):
            raise typer.Exit(1)


def _asked_provider(context: Context, name: str) -> str:
    """A variant named like a provider is for that provider."""
    ids = context.providers.ids()
    if name in ids or name in ELSEWHERE:
        return name
    asked = params.ask("Provider (see: ccm providers)") if params.is_interactive() else ""
    if not asked:
        raise UsageError("No provider was named.", "Add --provider ID; see: ccm providers")
    return asked


def _report_created(
    context: Context, variant: Variant, provider: Provider, had_config: bool
) -> None:
    name = variant.name
    key = "" if isinstance(variant.credential, NoKey) else f", key: {described(variant.credential)}"
    out(f"{name} is ready: Claude Code {variant.version} for {provider.name}{key}.")
    out(f"  run it         {name}")
    if provider.id == "echo":
        out("  its server     ccm echo, in another terminal")
    out(f"  checked        {render.authenticity(context, name)}")
    needed = needed_names(variant.environment)
    if needed:
        missing = [n for n in needed if not context.environ.get(n)]
        out(f"  cloud          its own credentials are used; see: ccm providers show {provider.id}")
        if missing:
            note(f"Set {', '.join(missing)} before you start it (or give it with --env).")
    elif variant.key_variable is None:
        out("  log in         type /login in it; the login is this variant's own")
    out(f"  look at it     ccm show {name}, ccm doctor {name}")
    if variant.choices.yolo and context.is_refused_yolo:
        note("Claude Code refuses --yolo as root, except with IS_SANDBOX=1 in a sandbox.")
    if had_config:
        out(f"  kept config    {context.home.config(name)} (its sessions are there again)")
    if weakness(variant.version):
        note(weakness(variant.version))
    if too_old(variant.version):
        note(too_old(variant.version))
    folder = str(context.home.bin_dir)
    if not context.bin_dir_is_on_path:
        note(f"{folder} is not on your PATH yet. Add this to your shell's start file:")
        note(f'  export PATH="{folder}:$PATH"')
