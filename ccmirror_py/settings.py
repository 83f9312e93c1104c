"""Settings of a variant: what is pinned with `--settings`, what `.claude.json` starts with.

`config/` belongs to Claude Code and the user. ccm writes `.claude.json` there once, and only the
named keys; the pinned settings live in the generation, where no project and no session can change
them.
"""

from collections.abc import Mapping
from glob import escape
from typing import cast

from ccmirror_py.environment import uses_login
from ccmirror_py.provider import Provider
from ccmirror_py.variant import Variant

APPROVED_KEY_LENGTH = 20
"""Claude Code remembers the end of an API key the user agreed to (measured, 2.1.1 to 2.1.330)."""

# Of a project's settings these would reroute requests or send something along with them.
_NEUTRAL = {
    "ANTHROPIC_CUSTOM_HEADERS": "",
    "ANTHROPIC_UNIX_SOCKET": "",
    "CLAUDE_CODE_USE_BEDROCK": "",
    "CLAUDE_CODE_USE_FOUNDRY": "",
    "CLAUDE_CODE_USE_VERTEX": "",
    "NODE_TLS_REJECT_UNAUTHORIZED": "1",
}


def pinned_settings(
    variant: Variant, provider: Provider, home_directories: tuple[str, ...]
) -> dict[str, object]:
    """What `--settings` carries. `home_directories`: the user's home under each of its names."""
    settings: dict[str, object] = {
        "env": {**_NEUTRAL, **_foreign_key(variant), **variant.environment},
        # a claude-cli:// link would open the variant that was started last
        "disableDeepLinkRegistration": "disable",
    }
    permissions: dict[str, object] = {}
    if provider.deny:
        permissions["deny"] = list(provider.deny)
    if not variant.choices.share_claude_md:
        # below the home directory Claude Code takes ~/.claude for a project's folder
        settings["claudeMdExcludes"] = [f"{escape(home)}/.claude/**" for home in home_directories]
    if not uses_login(provider, variant.credential):
        settings["apiKeyHelper"] = ""
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


def _foreign_key(variant: Variant) -> dict[str, str]:
    """The key variable that is not ours, held empty."""
    others = {"ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"} - {variant.key_variable}
    return dict.fromkeys(sorted(others), "")


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


def seeded_claude_json(
    existing: Mapping[str, object], approved_key: str | None, yolo: bool
) -> dict[str, object]:
    """`.claude.json` that asks nothing at the first start; everything already in it is kept.

    Whether a folder is trusted stays the user's decision. `approved_key` is the key Claude Code
    would otherwise ask about.
    """
    seeded: dict[str, object] = {"hasCompletedOnboarding": True, **existing}
    if yolo:
        # read by 2.1.1 and older; newer versions turn it into skipDangerousModePermissionPrompt
        seeded.setdefault("bypassPermissionsModeAccepted", True)
    if approved_key:
        answers = seeded.get("customApiKeyResponses")
        known = dict(cast(Mapping[str, object], answers)) if isinstance(answers, dict) else {}
        approved, rejected = known.get("approved"), known.get("rejected")
        ending = approved_key[-APPROVED_KEY_LENGTH:]
        seeded["customApiKeyResponses"] = {
            **known,
            "approved": sorted({*(approved if isinstance(approved, list) else ()), ending}),
            "rejected": [
                end for end in (rejected if isinstance(rejected, list) else ()) if end != ending
            ],
        }
    return seeded
