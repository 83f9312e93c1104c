"""What a variant's Claude Code sees of the environment: what is cleared and what is set.

Names and their effects were measured on 2.1.330, 2.1.200, 2.1.118, 2.1.113, 2.1.112 and 2.1.1
(2026-11-22); docs/isolation.md tells which version honours which.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ccmirror_py.rule import FIRST_DEFENDED, is_before
from ccmirror_py.variant import Choices, Credential, NoKey
from ccmirror_py.version import Version

if TYPE_CHECKING:
    from ccmirror_py.provider import AuthStyle, Cloud, Model, Provider

CLEARED_PREFIXES = ("ANTHROPIC_", "CLAUDE", "_CLAUDE", "DISABLE_PROMPT_CACHING")
CLEARED_NAMES = (
    "AI_AGENT",
    "API_TIMEOUT_MS",
    "AWS_BEARER_TOKEN_BEDROCK",
    "BUN_OPTIONS",
    "CCM_AGAIN",
    "CCM_GENERATION",
    "CCM_MCP_KEY",
    "CCM_PROGRAM",
    "CCM_VARIANT",
    "CCR_AGENT_PROXY_TOKEN_FILE_DESCRIPTOR",
    "CLOUD_ML_REGION",
    "DISABLE_INTERLEAVED_THINKING",
    "ENABLE_TOOL_SEARCH",
    "FALLBACK_FOR_ALL_PRIMARY_MODELS",
    "MAX_THINKING_TOKENS",
    "NODE_OPTIONS",
    "NODE_TLS_REJECT_UNAUTHORIZED",
    "USE_LOCAL_OAUTH",
    "USE_STAGING_OAUTH",
)
"""Everything that could move the endpoint, the key, the model or the session of Claude Code."""

KEY_DESCRIPTOR = "CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR"
MCP_KEY = "CCM_MCP_KEY"
"""The key once more, for servers of the same vendor: 2.1.330 leaves `${ANTHROPIC_AUTH_TOKEN}` empty
in the configuration of an MCP server (measured; 2.1.200 and 2.1.113 filled it in)."""
KEY_VARIABLES: Mapping[AuthStyle, str] = {
    "bearer": "ANTHROPIC_AUTH_TOKEN",
    # ANTHROPIC_API_KEY would open a dialog at the first start and show in the environment of tools
    "x-api-key": KEY_DESCRIPTOR,
}
NETWORK_NAMES = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "NODE_EXTRA_CA_CERTS",
)
"""How this machine reaches others: the shell's values count, a project's must not."""

THIS_MACHINE = "127.0.0.1,localhost,::1"
"""Stands before the shell's NO_PROXY where the endpoint is here: Claude Code would ask a proxy."""

HOST_BLOCKS_NETWORK = Version(2, 1, 330)
"""From here on CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST keeps a project from setting NETWORK_NAMES;
2.1.200 still let the certificates through, 2.1.118 the proxies too (nothing between was run)."""
ANTHROPIC_URL = "https://api.anthropic.com"
KEYLESS_TOKEN = "no-key-needed"  # noqa: S105 (Claude Code sends nothing at all without a token)

CLOUD_SWITCHES: Mapping[Cloud, str] = {
    "bedrock": "CLAUDE_CODE_USE_BEDROCK",
    "vertex": "CLAUDE_CODE_USE_VERTEX",
    "foundry": "CLAUDE_CODE_USE_FOUNDRY",
    "anthropic-aws": "CLAUDE_CODE_USE_ANTHROPIC_AWS",
}
CLOUD_NAMES: Mapping[Cloud, tuple[str, ...]] = {
    "bedrock": ("AWS_BEARER_TOKEN_BEDROCK",),
    "vertex": ("ANTHROPIC_VERTEX_PROJECT_ID", "CLOUD_ML_REGION"),
    "foundry": (
        "ANTHROPIC_FOUNDRY_RESOURCE",
        "ANTHROPIC_FOUNDRY_API_KEY",
        "ANTHROPIC_FOUNDRY_AUTH_TOKEN",
    ),
    "anthropic-aws": ("ANTHROPIC_AWS_WORKSPACE_ID", "ANTHROPIC_AWS_API_KEY"),
}
"""What a cloud's user keeps in the shell and launchers would clear. Addresses are not among them:
they have to be said with `--env`."""
CLOUD_NEEDS: Mapping[Cloud, tuple[str, ...]] = {
    "bedrock": ("AWS_REGION",),
    "vertex": ("ANTHROPIC_VERTEX_PROJECT_ID", "CLOUD_ML_REGION"),
    "foundry": ("ANTHROPIC_FOUNDRY_RESOURCE",),
    "anthropic-aws": ("ANTHROPIC_AWS_WORKSPACE_ID",),
}
"""What has to be set, in the shell or with `--env`."""
_INSTEAD = {"ANTHROPIC_FOUNDRY_RESOURCE": "ANTHROPIC_FOUNDRY_BASE_URL"}

_TIER_VARIABLES = {
    "main": ("ANTHROPIC_MODEL",),
    "opus": ("ANTHROPIC_DEFAULT_OPUS_MODEL",),
    "sonnet": ("ANTHROPIC_DEFAULT_SONNET_MODEL",),
    # The last is the name Claude Code used for this tier before 2.1; still read by all versions.
    "haiku": ("ANTHROPIC_DEFAULT_HAIKU_MODEL", "ANTHROPIC_SMALL_FAST_MODEL"),
    "fable": ("ANTHROPIC_DEFAULT_FABLE_MODEL",),
    "subagent": ("CLAUDE_CODE_SUBAGENT_MODEL",),
}
MODEL_NAMES = frozenset(name for names in _TIER_VARIABLES.values() for name in names)
OWN_NAMES = frozenset(
    {
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_BASE_URL",
        "ANTHROPIC_CONFIG_DIR",
        "CCM_GENERATION",
        MCP_KEY,
        "CCM_PROGRAM",
        "CCM_VARIANT",
        "CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST",
        "CLAUDE_CONFIG_DIR",
        *MODEL_NAMES,
    }
)
"""Names `--env` and `--inherit` can't have: they have options of their own, or are ccm's."""


def weakness(version: Version) -> str:
    """What ccm can't keep out of this version, for people; "" when there is nothing to say."""
    if not is_before(str(version), FIRST_DEFENDED):
        return ""
    return (
        f"Claude Code {version} is too old to be isolated in full: a project's settings can swap "
        "the key, tools can't be denied, and ~/.claude/CLAUDE.md is read below your home directory."
    )


def auth_style(provider: Provider, choices: Choices) -> AuthStyle:
    return choices.auth_style or provider.auth.style


def uses_login(provider: Provider, credential: Credential) -> bool:
    """Whether Claude Code's own login is the credential."""
    return provider.auth.key == "login" and isinstance(credential, NoKey)


def takes_key(provider: Provider, credential: Credential) -> bool:
    """Whether the launcher hands a key over; else Claude Code comes to its credential itself."""
    return provider.cloud is None and not uses_login(provider, credential)


def let_through(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the shell that the cloud of a launcher with this environment needs."""
    return tuple(
        name
        for cloud, switch in CLOUD_SWITCHES.items()
        if environment.get(switch)
        for name in CLOUD_NAMES[cloud]
        if name not in environment
    )


def needed_names(environment: Mapping[str, str]) -> tuple[str, ...]:
    """What the cloud of a launcher with this environment wants set beside it."""
    return tuple(
        name
        for cloud, switch in CLOUD_SWITCHES.items()
        if environment.get(switch)
        for name in CLOUD_NEEDS[cloud]
        if name not in environment and _INSTEAD.get(name) not in environment
    )


def models_of(provider: Provider, choices: Choices) -> dict[str, str]:
    """Tier to model id: the user's choice, else the provider's. Empty: Claude Code's own."""
    from ccmirror_py.provider import in_region  # most commands need no provider

    return {**in_region(provider, choices.region).models, **choices.models}


def known_models(provider: Provider, choices: Choices) -> list[Model]:
    """What is known of each model in use."""
    from ccmirror_py.provider import plain

    ids = dict.fromkeys(map(plain, models_of(provider, choices).values()))
    return [provider.model(id_) for id_ in ids]


def tiers_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Tier to model id, as a launcher sets them."""
    first = {tier: variables[0] for tier, variables in _TIER_VARIABLES.items()}
    return {tier: environment[name] for tier, name in first.items() if name in environment}


def context_window(provider: Provider, choices: Choices) -> int:
    """Tokens that fit into the smallest of the models in use."""
    from ccmirror_py.provider import UNKNOWN_MODEL_WINDOW

    if choices.context_window:
        return choices.context_window
    windows = [m.context or UNKNOWN_MODEL_WINDOW for m in known_models(provider, choices)]
    return min(windows, default=0)


def environment_of(
    name: str, provider: Provider, choices: Choices, credential: Credential, directory: str
) -> dict[str, str]:
    """What the launcher of the variant `name` in `directory` sets, the key excepted."""
    environment = {
        "CCM_VARIANT": name,
        "CLAUDE_CONFIG_DIR": f"{directory}/config",
        "ANTHROPIC_CONFIG_DIR": f"{directory}/config/anthropic",
        # ccm owns the version: Claude Code neither updates itself nor complains where it lives
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_UPDATES": "1",
        "DISABLE_INSTALLATION_CHECKS": "1",
    }
    if provider.cloud:
        environment |= {
            CLOUD_SWITCHES[provider.cloud]: "1",
            # a project can neither move the cloud's address nor swap its key; the credentials stay
            # the cloud's own (run on 2.1.330, 2.1.200 and 2.1.118 against loopback servers)
            "CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST": "1",
        }
    elif not uses_login(provider, credential):
        environment |= _endpoint(provider, choices)
    environment |= _models(provider, choices)
    if choices.looks.title:
        environment["CLAUDE_CODE_DISABLE_TERMINAL_TITLE"] = "1"  # the launcher writes its own
    if not provider.first_party:
        environment |= _third_party()
    return {**environment, **provider.environment, **choices.env}


def _endpoint(provider: Provider, choices: Choices) -> dict[str, str]:
    from ccmirror_py.provider import in_region

    url = choices.base_url or in_region(provider, choices.region).base_url or ANTHROPIC_URL
    return {
        "ANTHROPIC_BASE_URL": url,
        # settings files, a project's above all, can no longer move URL, key or model
        "CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST": "1",
    }


def _models(provider: Provider, choices: Choices) -> dict[str, str]:
    """The model of each tier, and their window unless Claude Code knows it."""
    models = models_of(provider, choices)
    known = known_models(provider, choices)
    own = provider.first_party and choices.context_window is None
    window = 0 if own else context_window(provider, choices)
    compact = [m.auto_compact for m in known if m.auto_compact and window]
    thinking = {m.thinking for m in known}
    return {
        **{
            variable: models[tier]
            for tier, variables in _TIER_VARIABLES.items()
            if tier in models
            for variable in variables
        },
        **({"CLAUDE_CODE_MAX_CONTEXT_TOKENS": str(window)} if window else {}),
        **({"CLAUDE_CODE_AUTO_COMPACT_WINDOW": str(min(window, *compact))} if compact else {}),
        # measured, 2.1.330: no `thinking` in any request
        **({"CLAUDE_CODE_DISABLE_THINKING": "1"} if "off" in thinking else {}),
    }


def _third_party() -> dict[str, str]:
    return {
        # nothing but the provider is asked: no telemetry, marketplace or title requests elsewhere
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
        # fields only Anthropic understands; strict endpoints refuse the request because of them
        "CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1",
        "CLAUDE_CODE_ATTRIBUTION_HEADER": "0",
    }


def is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
