"""`ccm create`: from what was asked to a command on PATH."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ccmirror_py.context import Context
from ccmirror_py.credential import NewKey
from ccmirror_py.environment import (
    OWN_NAMES,
    models_of,
)
from ccmirror_py.errors import NewerError, UsageError
from ccmirror_py.name import check_name
from ccmirror_py.operations.key import check_new, put_away
from ccmirror_py.operations.publish import Next, publish, resolve, settings_for
from ccmirror_py.provider import TIERS, Provider, in_region, plain
from ccmirror_py.times import now
from ccmirror_py.variant import Choices, Variant, bound
from ccmirror_py.variants import Broken
from ccmirror_py.version import Spec


@dataclass(frozen=True)
class CreateRequest:
    """`force` makes an existing variant anew; its config stays. `shadow` may hide a command."""

    name: str
    choices: Choices
    spec: Spec
    key: NewKey
    force: bool = False
    shadow: bool = False


def create(context: Context, request: CreateRequest) -> Variant:
    """The new variant. Before the download is paid for, everything that can be wrong is checked."""
    provider = context.providers.get(request.choices.provider)
    check_choices(provider, request.choices)
    check_free(context, request.name, request.force, request.shadow)
    check_new(context, request.key)
    context.begin_change()
    release = context.registry.find(request.spec, context.platform)
    context.installed(release)  # the long part, without holding the variant
    variant = resolve(
        context,
        Variant(
            name=request.name,
            choices=request.choices,
            spec=request.spec,
            version=release.version,
            credential=request.key.credential,
            environment={},
            key_variable=None,
            created=now(),
            updated=now(),
        ),
        provider,
    )
    variant = bound(variant)
    with context.changing(request.name):
        _check_free(context, request.name, request.force, request.shadow)
        settings = settings_for(context, variant, provider)
        with context.held(release) as directory:
            key = put_away(context, request.key)
            _make(context, Next(variant, settings, directory, key))
    return variant


def _make(context: Context, coming: Next) -> None:
    variants, name = context.variants, coming.variant.name
    had_config = context.home.config(name).is_dir()
    context.journal.announce(name, "create, keep config" if had_config else "create")
    try:
        publish(context, coming)
        variants.link(name)
        context.journal.finished(name)
    except BaseException:
        context.journal.give_up(name)
        raise


def check_choices(provider: Provider, choices: Choices) -> None:
    """UsageError for choices that miss something or would be overruled."""
    there = in_region(provider, choices.region)
    if provider.asks_base_url and not choices.base_url and not there.base_url:
        raise UsageError(
            f"{provider.name} needs the address of its endpoint.", "Add: --base-url https://…"
        )
    if there.asks_models and set(models_of(provider, choices)) != set(TIERS):
        raise UsageError(
            f"{provider.name} needs to be told which model to use.",
            "Add --model MODEL (for all tiers), or --model-opus, --model-sonnet, …",
        )
    if choices.base_url and provider.cloud:
        raise UsageError(
            f"{provider.name} is not reached by --base-url.",
            "Give the cloud's own variable, such as: --env ANTHROPIC_BEDROCK_BASE_URL=https://…",
        )
    check_servers(provider, choices.mcp)
    if choices.base_url and choices.region:
        raise UsageError("--region and --base-url both name an endpoint.", "Leave one out.")
    if any(each.partition("=")[0] == "--settings" for each in choices.args):
        raise UsageError(
            "--settings as an argument would take the place of what ccm pins.",
            "Write such settings into config/settings.json of the variant instead.",
        )
    for name in (*choices.env, *choices.inherit):
        if name in OWN_NAMES:
            raise UsageError(
                f"{name} is set by ccm itself.",
                "Use --base-url, --model… or `ccm key set` instead.",
            )


def check_servers(provider: Provider, names: Iterable[str]) -> None:
    """UsageError for an MCP server the provider does not offer."""
    for name in names:
        if name not in provider.mcp:
            there = ", ".join(provider.mcp)
            raise UsageError(
                f"{provider.name} offers no MCP server '{name}'.",
                f"Known: {there}; see: ccm providers show {provider.id}"
                if there
                else f"It offers none that ccm knows of; see: ccm providers show {provider.id}",
            )


def doubts(provider: Provider, choices: Choices) -> list[str]:
    """What is allowed and may still not work."""
    found = []
    if provider.facts.unverified:
        found.append(f"Nobody could verify {provider.name}; see: ccm providers show {provider.id}")
    if choices.base_url and re.search(r"/v\d+(/messages)?$", choices.base_url):
        found.append(
            "Claude Code adds /v1/messages to the address, which ends with a version already; "
            "if it does not work: ccm probe"
        )
    off = choices.env.get("MAX_THINKING_TOKENS") == "0" or choices.env.get(
        "CLAUDE_CODE_DISABLE_THINKING"
    )
    needing = sorted(
        {plain(m) for m in models_of(provider, choices).values()}
        & {id_ for id_, model in provider.catalog.items() if model.thinking == "required"}
    )
    if off and needing:
        found.append(f"{', '.join(needing)} refuses requests without thinking; you turned it off.")
    return found


def check_free(context: Context, name: str, force: bool, shadow: bool) -> None:
    """UsageError unless the name can be had. What a killed command left there does not count.

    While another command changes it nobody can say; `create` asks again when it is its turn.
    """
    check_name(name)
    if not context.home.journal.is_dir():
        _check_free(context, name, force, shadow)  # nothing was ever changed here
        return
    context.journal.recover(context.say)
    with context.home.lock_if_free(name) as free:
        if free:
            _check_free(context, name, force, shadow)


def _check_free(context: Context, name: str, force: bool, shadow: bool) -> None:
    if force and context.variants.exists(name):
        entry = context.variants.get_or_broken(name)
        if isinstance(entry, Broken) and isinstance(entry.error, NewerError):
            raise entry.error
    else:
        context.variants.check_free(name, "" if shadow else context.environ.get("PATH", ""))
