"""What ccm writes into the user's own settings, and how it keeps off what the user chose there.

Pinned settings would outrank the user's choice, so theme, status line and spinner verbs stand where
Claude Code's own commands write them. `config/ccm/seeded.json` holds what ccm wrote last: only what
is still the same may be changed, what the user changed or took away stays so.
"""

from collections.abc import Collection, Mapping
from shlex import quote

from ccmirror_py.look import FIRST_WITH_THEMES, NO_THEME, THEME_KEY, Look, Looks
from ccmirror_py.version import Version

Json = Mapping[str, object]


def wanted_settings(
    looks: Looks, look: Look, version: Version, status_line: str
) -> dict[str, object]:
    """For config/settings.json; `status_line` is the path of the script."""
    wanted: dict[str, object] = {**wanted_claude_json(looks, version)}
    if looks.status_line:
        wanted["statusLine"] = {"type": "command", "command": quote(status_line)}
    if looks.verbs and look.verbs:
        wanted["spinnerVerbs"] = {"mode": "replace", "verbs": list(look.verbs)}
    return wanted


def wanted_claude_json(looks: Looks, version: Version) -> dict[str, object]:
    """For .claude.json, where versions before 2.1.200 at least look for the theme."""
    themed = looks.theme != NO_THEME and version >= FIRST_WITH_THEMES
    return {"theme": THEME_KEY} if themed else {}


def seeded(
    present: Json, before: Json, wanted: Json, forced: Collection[str] = ()
) -> tuple[dict[str, object], dict[str, object]]:
    """The settings to be, and what of them is ccm's. `before` was ccm's; `forced` is what the user
    chose through ccm just now, whatever stood there."""
    after, ours = dict(present), dict(before)
    for key in dict.fromkeys((*before, *wanted)):
        untouched = present.get(key) == before.get(key) or key in forced
        if present.get(key) == wanted.get(key) or untouched:
            for place in (after, ours):
                place.pop(key, None)
                if key in wanted:
                    place[key] = wanted[key]
    # a settings file keeps the order its user gave it
    return {key: after[key] for key in (*(k for k in present if k in after), *after)}, ours
