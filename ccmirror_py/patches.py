"""What tweakcc can patch, where that was seen to work, and how what it prints is read.

Names, ids and settings were read off tweakcc 4.0.11; each patch was tried on fourteen JavaScript
releases from 1.0.128 to 2.1.112 and on native ones for Linux (2026-11-23).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ccmirror_py.errors import UsageError, did_you_mean
from ccmirror_py.platforms import Platform
from ccmirror_py.variant import Variant
from ccmirror_py.version import FIRST_NATIVE, Version, parse_version

VERSION = "4.0.11"
TOOL = f"tweakcc {VERSION}"

LAST_JAVASCRIPT = Version(2, 1, 112)
FIRST_SPLIT = Version(2, 1, 242)
"""From here on the program's JavaScript lies in many modules; tweakcc patches one (2.1.330)."""


@dataclass(frozen=True)
class Patch:
    """`name` is how tweakcc calls it in what it prints. `switch` is the setting in tweakcc's `misc`
    that turns it on; `configured` patches do nothing without values from the user's own file.
    `lost` is the first version tried where it no longer works though it did before.
    """

    id: str
    name: str
    switch: str = ""
    configured: bool = False
    lost: Version | None = None


def _patch(line: str) -> Patch:
    """`id | name | switch, or * for configured | lost`"""
    id_, name, switch, lost = (part.strip() for part in line.split("|"))
    gone = parse_version(lost) if lost else None
    return Patch(id_, name, "" if switch == "*" else switch, switch == "*", gone)


PATCHES = {
    patch.id: patch
    for patch in map(
        _patch,
        """\
verbose-property | Verbose property | | 2.1.105
opusplan1m | Opusplan[1m] support | | 2.1.112
thinking-block-styling | Thinking block styling | | 2.1.26
fix-lsp-support | Fix LSP support | |
statusline-update-throttle | Statusline update throttling correction | * | 2.1.78
model-customizations | Model customizations | |
show-more-items-in-select-menus | Show more items in select menus | |
context-limit | Context limit | enableContextLimitOverride |
patches-applied-indication | Patches applied indication | | 2.1.69
table-format | Table format | * |
themes | Themes | * | 2.1.69
thinking-verbs | Thinking verbs | |
thinker-format | Thinker format | | 2.1.105
thinker-symbol-chars | Thinker symbol chars | * |
thinker-symbol-speed | Thinker symbol speed | * | 2.1.27
thinker-symbol-width | Thinker symbol width | * |
thinker-symbol-mirror | Thinker symbol mirror | * |
input-box-border | Input box border | * |
subagent-models | Subagent models | * |
thinking-visibility | Thinking block visibility | |
hide-startup-banner | Hide startup banner | hideStartupBanner | 2.1.78
hide-ctrl-g-to-edit | Hide Ctrl+G to edit | hideCtrlGToEdit |
hide-startup-clawd | Hide startup Clawd | hideStartupClawd | 2.1.78
increase-file-read-limit | Increase file read limit | increaseFileReadLimit | 2.1.78
suppress-line-numbers | Suppress line numbers | suppressLineNumbers | 2.1.109
suppress-rate-limit-options | Suppress rate limit options | suppressRateLimitOptions |
token-count-rounding | Token count rounding | * |
remember-skill | Remember skill | enableRememberSkill | 2.1.42
agents-md | AGENTS.md (and others) | | 2.1.69
auto-accept-plan-mode | Auto-accept plan mode | autoAcceptPlanMode | 2.1.90
allow-sudo-bypass-permissions | Allow bypassing permissions with \
--dangerously-skip-permissions in sudo | allowBypassPermissionsInSudo |
suppress-native-installer-warning | Suppress native installer warning | \
suppressNativeInstallerWarning |
filter-scroll-escape-sequences | Filter scroll escape sequences | filterScrollEscapeSequences |
worktree-mode | Worktree mode | enableWorktreeMode | 2.1.51
session-memory | Session memory | enableSessionMemory | 2.1.78
toolsets | Toolsets | * | 2.1.90
mcp-non-blocking | MCP non-blocking | mcpConnectionNonBlocking | 2.1.90
mcp-batch-size | MCP batch size | * | 2.1.100
user-message-display | User message display | | 2.1.78
input-pattern-highlighters | Input pattern highlighters | * | 2.1.90
conversation-title | Conversation title | enableConversationTitle | 2.0.64
""".splitlines(),
    )
}

DEFAULT = (
    "show-more-items-in-select-menus",
    "thinking-visibility",
    "suppress-native-installer-warning",
)
"""When none are named: they take nothing away, and work up to the last JavaScript release."""


def check_version(variant: Variant, platform: Platform) -> None:
    """UsageError for a version that is known not to work, before anything is downloaded for it.

    Native programs of other systems than Linux were not tried: there the run itself decides.
    """
    name, version = variant.name, variant.version
    hint = (
        f"The newest it can patch is {LAST_JAVASCRIPT}: "
        f"ccm pin {name} {LAST_JAVASCRIPT} && ccm tweak {name}"
    )
    if version >= FIRST_SPLIT:
        raise UsageError(
            f"No tweakcc can patch Claude Code {version}: from {FIRST_SPLIT} on its JavaScript is "
            "split into many modules.",
            hint,
        )
    if version >= FIRST_NATIVE and platform.os == "linux":
        raise UsageError(
            f"{TOOL} can't patch Claude Code {version}: it does not find the JavaScript in the "
            f"native programs for Linux, which there are from {FIRST_NATIVE} on.",
            hint,
        )


def chosen(ids: Sequence[str], version: Version, has_settings: bool) -> tuple[Patch, ...]:
    """The patches of these ids. UsageError for one that can't work, before anything is downloaded.

    `has_settings` says that the user gives tweakcc settings of their own.
    """
    patches = []
    for id_ in dict.fromkeys(ids):
        if id_ not in PATCHES:
            hint = did_you_mean(id_, list(PATCHES)) or "See: ccm tweak --list"
            raise UsageError(f"{TOOL} has no patch '{id_}'.", hint)
        patch = PATCHES[id_]
        if patch.lost and version >= patch.lost:
            raise UsageError(
                f"The patch {id_} of {TOOL} was seen not to work from Claude Code {patch.lost} on; "
                f"this is {version}.",
                "See: ccm tweak --list",
            )
        if patch.configured and not has_settings:
            raise UsageError(
                f"The patch {id_} does nothing without settings.",
                "Give it tweakcc's own file: --config ~/.tweakcc/config.json",
            )
        patches.append(patch)
    return tuple(patches)


def settings_for(patches: Sequence[Patch], own: Mapping[str, object]) -> dict[str, object]:
    """tweakcc's settings: the user's, with a switch turned on for each patch that has one."""
    misc = own.get("misc")
    switches = {patch.switch: True for patch in patches if patch.switch}
    return {**own, "misc": {**(misc if isinstance(misc, dict) else {}), **switches}}


_LINE = re.compile(r"^ {4}([✓✗○]) (.+?)(?: — .*)?$", re.MULTILINE)


def not_applied(printed: str, wanted: Sequence[Patch]) -> list[str]:
    """What of the wanted patches tweakcc does not say it applied, and what it says failed.

    It ends with 0 and "applied successfully" even where a patch failed or found nothing to do.
    """
    marks: dict[str, str] = {name: mark for mark, name in _LINE.findall(printed)}
    problems = []
    for patch in wanted:
        match marks.pop(patch.name, ""):
            case "✓":
                continue
            case "✗":
                problems.append(f"{patch.id} failed")
            case "○":
                problems.append(f"{patch.id} did nothing")
            case _:
                problems.append(f"{patch.id} is not spoken of")
    return problems + [f"{name} failed" for name, mark in marks.items() if mark == "✗"]
