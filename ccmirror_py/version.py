"""Versions of Claude Code, and the rules that choose among them."""

import re
from dataclasses import dataclass
from functools import total_ordering

from ccmirror_py import rule
from ccmirror_py.rule import CHANNEL, SERIES, check_rule, check_version, version_parts


@total_ordering
@dataclass(frozen=True)
class Version:
    """One published version, as npm writes it."""

    major: int
    minor: int
    patch: int
    prerelease: str = ""

    def __str__(self) -> str:
        text = f"{self.major}.{self.minor}.{self.patch}"
        return f"{text}-{self.prerelease}" if self.prerelease else text

    def __lt__(self, other: "Version") -> bool:
        return self._order() < other._order()

    def _order(self) -> tuple[object, ...]:
        """npm's order (semver.org, 11): numbers as numbers, below words; a release is above all."""
        parts = tuple(
            (0, int(part), "") if part.isdigit() else (1, 0, part)
            for part in self.prerelease.split(".")
        )
        return (self.major, self.minor, self.patch, not self.prerelease, parts)


@dataclass(frozen=True)
class Channel:
    """A dist-tag of the registry: `latest`, `stable`. It moves."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Range:
    """A set of versions: `2.1.x`, `2.1.*`, `>=2.1.200,<2.1.300`. Prereleases are never in it."""

    text: str

    def __str__(self) -> str:
        return self.text

    def __contains__(self, version: Version) -> bool:
        from packaging.specifiers import SpecifierSet  # not needed to list or launch

        if version.prerelease:
            return False
        series = re.fullmatch(SERIES, self.text)
        rule = f"=={self.text[:-1]}*" if series else self.text
        return SpecifierSet(rule).contains(str(version))


Spec = Channel | Version | Range
LATEST = Channel("latest")


def parse_version(text: str) -> Version:
    """`2.1.330` or `2.1.330-beta.1`; UsageError for anything else."""
    return Version(*check_version(text))


FIRST_NATIVE = parse_version(rule.FIRST_NATIVE)


def version_or_none(text: object) -> Version | None:
    """For what a registry or a directory says."""
    parts = version_parts(text) if isinstance(text, str) else None
    return Version(*parts) if parts else None


def parse_spec(text: str) -> Spec:
    """What a user or a record says about the version; UsageError when it says nothing known."""
    check_rule(text)
    if parts := version_parts(text):
        return Version(*parts)
    return Channel(text) if re.fullmatch(CHANNEL, text) else Range(text)


def allows(spec: Spec, version: Version) -> bool | None:
    """Whether `version` obeys `spec`; None for a channel, which only the registry can answer."""
    match spec:
        case Version():
            return spec == version
        case Range():
            return version in spec
        case Channel():
            return None
