"""How versions and the rules that choose among them are written. `version.py` is what they mean.

Apart from it so that looking at records needs no more than this.
"""

import re
from functools import cache

from ccmirror_py.errors import UsageError

FIRST_NATIVE = "2.1.113"
"""From here on each platform has a package with one program; before, all share a cli.js."""
FIRST_DEFENDED = "2.1.112"
"""Older versions can't be isolated in full."""

_NUMBER = r"(0|[1-9][0-9]{0,8})"
_VERSION = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-([0-9A-Za-z][0-9A-Za-z.-]{{0,63}}))?")
# These are compiled when the first one is asked for: most rules are `latest`.
CHANNEL = r"[a-z][a-z0-9-]{0,39}"
SERIES = rf"{_NUMBER}(?:\.{_NUMBER})?\.[x*]"
_BOUND = rf"(>=|<=|==|!=|>|<) *{_NUMBER}\.{_NUMBER}\.{_NUMBER}"


@cache
def version_parts(text: str) -> tuple[int, int, int, str] | None:
    """Major, minor, patch and prerelease ("" without one); None when it is no version."""
    match = _VERSION.fullmatch(text)
    return match and (int(match[1]), int(match[2]), int(match[3]), match[4] or "")


def check_version(text: str) -> tuple[int, int, int, str]:
    """`2.1.330` or `2.1.330-beta.1`; UsageError for anything else."""
    parts = version_parts(text)
    if parts is None:
        raise UsageError(
            f"'{text}' is not a version of Claude Code.", "A version looks like 2.1.330."
        )
    return parts


@cache
def check_rule(text: str) -> str:
    """What a user or a record says about the version; UsageError when it says nothing known."""
    if version_parts(text) or re.fullmatch(CHANNEL, text) or re.fullmatch(SERIES, text):
        return text
    if all(re.fullmatch(_BOUND, bound.strip()) for bound in text.split(",")):
        return text
    raise UsageError(
        f"'{text}' is not a version rule.",
        "Rules are: latest, stable, 2.1.330, 2.1.x, '>=2.1.200,<2.1.300'.",
    )


def is_before(version: str, release: str) -> bool:
    """Whether `version` is older than `release`, which has no prerelease."""
    *numbers, prerelease = check_version(version)
    return (*numbers, not prerelease) < (*check_version(release)[:3], True)


def program_name(version: str, os_name: str) -> str:
    """Path of what is executed, relative to the release; `os_name` is linux, darwin or win32."""
    if is_before(version, FIRST_NATIVE):
        return "cli.js"
    return "claude.exe" if os_name == "win32" else "claude"
