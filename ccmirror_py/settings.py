"""Settings of a variant: what is pinned with `--settings`, what `.claude.json` starts with.

`config/` belongs to Claude Code and the user. ccm writes `.claude.json` there once, and only the
named keys; the pinned settings live in the generation, where no project and no session can change
them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from glob import escape

from ccmirror_py.environment import (
    HOST_BLOCKS_NETWORK,
    NETWORK_NAMES,
    THIS_MACHINE,
    is_loopback,
    takes_key,
    uses_login,
)
from ccmirror_py.provider import Provider
from ccmirror_py.variant import Choices, Variant

# What in a project's settings would move requests, or send something along with them. Each was
# seen to on some version without this pin; switches for clouds have to be named one by one.
_NEUTRAL = {
    "NODE_TLS_REJECT_UNAUTHORIZED": "1",
    **dict.fromkeys(
        (
            "ANTHROPIC_API_KEY",
            "ANTHROPIC_BETAS",
            "ANTHROPIC_CUSTOM_HEADERS",
            "ANTHROPIC_UNIX_SOCKET",
            "CLAUDE_CODE_CUSTOM_OAUTH_URL",
            "CLAUDE_CODE_ENABLE_TELEMETRY",
            "CLAUDE_CODE_EXTRA_BODY",
            "CLAUDE_CODE_OAUTH_TOKEN",
            "CLAUDE_CODE_USE_ANTHROPIC_AWS",
            "CLAUDE_CODE_USE_ANTHROPIC_GOOGLE_CLOUD",
            "CLAUDE_CODE_USE_BEDROCK",
            "CLAUDE_CODE_USE_FOUNDRY",
            "CLAUDE_CODE_USE_GATEWAY",
            "CLAUDE_CODE_USE_MANTLE",
            "CLAUDE_CODE_USE_VERTEX",
        ),
        "",
    ),
}
# A login is defended by settings alone: CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST would end it. A cloud
# is asked without these.
_KEYLESS = {"ANTHROPIC_AUTH_TOKEN": "", "ANTHROPIC_BASE_URL": ""}


_NO_PROXY = ("NO_PROXY", "no_proxy")

# 2.1.112 to 2.1.118 ask Anthropic's own host whether to send metrics, whatever is switched off, and
# send an x-api-key along. They don't while they remember an answer younger than this (2100-01-01).
_NO_METRICS = {"enabled": False, "timestamp": 4_102_444_800_000}


@dataclass(frozen=True)
class Surroundings:
    """The user's home directory under each of its names, and the shell's NETWORK_NAMES."""

    homes: tuple[str, ...]
    network: Mapping[str, str]


def pinned_settings(
    variant: Variant, provider: Provider, surroundings: Surroundings
) -> dict[str, object]:
    """What `--settings` carries."""
    login = uses_login(provider, variant.credential)
    keyless = _KEYLESS if not takes_key(provider, variant.credential) else {}
    pins_network = login or variant.version < HOST_BLOCKS_NETWORK
    network = network_settings(variant, surroundings.network) if pins_network else {}
    inherited = variant.choices.inherit
    neutral = {name: value for name, value in _NEUTRAL.items() if name not in inherited}
    settings: dict[str, object] = {
        "env": {**neutral, **network, **keyless, **variant.environment},
        # "": a project's own helper would be run, and what it prints sent beside or instead
        "apiKeyHelper": "",
        # a claude-cli:// link would open the variant that was started last
        "disableDeepLinkRegistration": "disable",
    }
    permissions: dict[str, object] = {}
    deny = denied_tools(provider, variant.choices)
    if deny:
        permissions["deny"] = list(deny)
    if variant.choices.model_overrides:
        # measured on 2.1.330, 2.1.200 and 2.1.113; what it makes of requests is in messages.py
        settings["modelOverrides"] = dict(variant.choices.model_overrides)
    if not variant.choices.share_claude_md:
        # below the home directory Claude Code takes ~/.claude for a project's folder
        settings["claudeMdExcludes"] = [f"{escape(home)}/.claude/**" for home in surroundings.homes]
    if not provider.first_party:
        settings["skipWebFetchPreflight"] = True
    if not provider.first_party or variant.choices.yolo:
        # auto mode sends a classifier's requests no other vendor answers, and opens a dialog
        settings["disableAutoMode"] = "disable"
        permissions["disableAutoMode"] = "disable"
    if variant.choices.yolo:
        settings["skipDangerousModePermissionPrompt"] = True
        permissions["defaultMode"] = "bypassPermissions"
    if permissions:
        settings["permissions"] = permissions
    return settings


def denied_tools(provider: Provider, choices: Choices) -> tuple[str, ...]:
    """What Claude Code does not even offer to the model: the provider's, then the user's own."""
    return tuple(dict.fromkeys((*provider.deny, *choices.deny)))


def network_settings(variant: Variant, network: Mapping[str, str]) -> dict[str, str]:
    """`network` as it is pinned: no proxy stands before an endpoint on this machine."""
    if not is_loopback(variant.base_url or ""):
        return dict(network)
    here = {name: _joined(THIS_MACHINE, network[name]) for name in _NO_PROXY if name in network}
    return {**network, **here}


def settings_text(settings: Mapping[str, object]) -> str:
    """The file, and what the launcher compares it with: ASCII, so that no locale matters."""
    return json.dumps(settings, indent=2, sort_keys=True) + "\n"


def pinned_network(settings: Mapping[str, object]) -> dict[str, str]:
    """NETWORK_NAMES of the shell these settings were pinned for; empty when they pin none."""
    env = settings.get("env")
    values = env if isinstance(env, Mapping) else {}
    network = {name: str(values[name]) for name in NETWORK_NAMES if name in values}
    if is_loopback(str(values.get("ANTHROPIC_BASE_URL", ""))):
        for name in filter(network.__contains__, _NO_PROXY):
            network[name] = network[name].removeprefix(THIS_MACHINE).removeprefix(",")
    return network


def _joined(*hosts: str) -> str:
    return ",".join(filter(None, hosts))


def merged_settings(pinned: Mapping[str, object], users: Mapping[str, object]) -> dict[str, object]:
    """The user's `--settings` with the pinned part over it; lists are joined."""
    merged = dict(users)
    for key, value in pinned.items():
        other = merged.get(key)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            merged[key] = merged_settings(value, other)
        elif isinstance(value, list) and isinstance(other, list):
            merged[key] = [*other, *(item for item in value if item not in other)]
        else:
            merged[key] = value
    return merged


def seeded_claude_json(existing: Mapping[str, object], variant: Variant) -> dict[str, object]:
    """`.claude.json` that asks nothing at the first start; everything already in it is kept.

    Whether a folder is trusted stays the user's decision.
    """
    seeded: dict[str, object] = {"hasCompletedOnboarding": True}
    if variant.choices.yolo:
        # read by 2.1.1 and older only; newer versions move it to their settings
        seeded["bypassPermissionsModeAccepted"] = True
    if variant.key_variable is not None:
        seeded["metricsStatusCache"] = _NO_METRICS
    return {**seeded, **existing}
