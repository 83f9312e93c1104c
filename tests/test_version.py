"""Versions and the rules that choose among them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccmirror_py.errors import UsageError
from ccmirror_py.version import (
    LATEST,
    Channel,
    Range,
    Version,
    allows,
    parse_spec,
    parse_version,
)

numbers = st.integers(min_value=0, max_value=999_999_999)
prereleases = st.sampled_from(["", "beta", "beta.1", "rc-2", "0", "dev.20261122.t123"])
versions = st.builds(Version, numbers, numbers, numbers, prereleases)

NOT_A_RULE = [
    "",
    " ",
    "2",
    "2.1",
    "v2.1.1",
    "^2.1.0",
    "~2.1.0",
    "2.1.x,",
    ",2.1.x",
    ",",
    "x.1.2",
    "2.x.1",
    "2.1.X",
    "*",
    "2.1.1.1",
    "2.1.1-",
    "2.1.1+build",
    "-2.1.1",
    "2.1.-1",
    "2..1",
    " 2.1.1",
    "2.1.1 ",
    "2.1.1\n",
    "latest\n",
    "Latest",
    "la test",
    "../latest",
    "@latest",
    "1latest",
    ">=2.1",
    ">=2.1.1,",
    ">=2.1.1,,<3.0.0",
    ">=2.1.1 <3.0.0",
    "=>2.1.1",
    "=2.1.1",
    "~=2.1.1",
    "===2.1.1",
    ">=2.1.1-beta",
    ">=2.1.x",
    "2.1.1 || 2.1.2",
    "2.1.1 - 2.1.9",
    "2.1.9999999999",
    "9" * 5000 + ".1.1",
    "a" * 41,
    "https://example.com/x.tgz",
]
UNICODE_DIGITS = [
    "\u0662.\u0661.\u0661",
    "\uff12.1.1",
    "2.1.\uff11",
    "\uff12.x",
    "2.\uff11.*",
    ">=\u0662.1.1",
]


@given(versions)
def test_a_version_survives_being_written_and_read(version: Version) -> None:
    assert parse_version(str(version)) == version


@given(versions)
def test_an_exact_version_is_a_spec_of_itself(version: Version) -> None:
    assert parse_spec(str(version)) == version


@given(st.lists(versions, max_size=8))
def test_versions_are_ordered_by_their_numbers(some: list[Version]) -> None:
    triples = [(v.major, v.minor, v.patch) for v in sorted(some)]
    assert triples == sorted(triples)


@given(versions, versions)
def test_of_two_versions_one_is_less_or_they_are_equal(one: Version, other: Version) -> None:
    assert [one < other, one == other, one > other].count(True) == 1


def test_a_prerelease_comes_before_its_version_and_after_the_one_before() -> None:
    in_order = ["2.1.199", "2.1.200-alpha", "2.1.200-beta", "2.1.200", "2.1.201-alpha", "2.1.201"]
    assert [str(v) for v in sorted(map(parse_version, reversed(in_order)))] == in_order


def test_numbers_in_prereleases_are_compared_as_numbers() -> None:
    in_order = ["2.1.1-1", "2.1.1-beta", "2.1.1-beta.2", "2.1.1-beta.10", "2.1.1-beta.a", "2.1.1"]
    assert [str(v) for v in sorted(map(parse_version, reversed(in_order)))] == in_order


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("latest", LATEST),
        ("stable", Channel("stable")),
        ("next", Channel("next")),
        ("2.1.330", Version(2, 1, 330)),
        ("2.1.330-beta.1", Version(2, 1, 330, "beta.1")),
        ("2.1.x", Range("2.1.x")),
        ("2.1.*", Range("2.1.*")),
        ("2.x", Range("2.x")),
        (">=2.1.200,<2.1.300", Range(">=2.1.200,<2.1.300")),
        (" >= 2.1.200 , < 2.1.300 ", Range(" >= 2.1.200 , < 2.1.300 ")),
    ],
)
def test_a_rule_is_read_as_what_it_is_and_written_as_it_was(text: str, spec: object) -> None:
    parsed = parse_spec(text)
    assert parsed == spec
    assert str(parsed) == text


@pytest.mark.parametrize("text", NOT_A_RULE)
def test_what_is_no_rule_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_spec(text)
    assert refused.value.exit_code == 2
    assert refused.value.hint == (
        "Rules are: latest, stable, 2.1.330, 2.1.x, '>=2.1.200,<2.1.300'."
    )
    assert f"'{text}'" in refused.value.sentence


@pytest.mark.parametrize("text", [*NOT_A_RULE, "latest", "2.1.x", ">=2.1.1"])
def test_what_is_no_version_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_version(text)
    assert refused.value.hint == "A version looks like 2.1.330."


@pytest.mark.parametrize("text", UNICODE_DIGITS)
def test_digits_of_other_scripts_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_spec(text)


@pytest.mark.parametrize("text", ["02.1.1", "2.01.1", "2.1.01"])
def test_a_version_npm_could_not_have_published_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_version(text)


@given(st.text(max_size=30))
def test_any_text_is_a_rule_written_the_same_or_a_usage_error(text: str) -> None:
    with suppress(UsageError):
        assert str(parse_spec(text)) == text


INSIDE = Version(2, 1, 250)


@pytest.mark.parametrize(
    ("rule", "inside", "outside"),
    [
        ("2.1.x", ["2.1.0", "2.1.250"], ["2.0.9", "2.2.0", "2.10.1", "3.1.0", "1.1.1"]),
        ("2.1.*", ["2.1.0", "2.1.250"], ["2.0.9", "2.2.0", "2.10.1", "3.1.0", "1.1.1"]),
        ("2.x", ["2.0.0", "2.99.1"], ["1.9.9", "3.0.0", "20.0.0"]),
        (">=2.1.200,<2.1.300", ["2.1.200", "2.1.299"], ["2.1.199", "2.1.300", "3.0.0"]),
        (" >= 2.1.200 , < 2.1.300 ", ["2.1.200", "2.1.299"], ["2.1.199", "2.1.300"]),
        (">2.1.200,<=2.1.300,!=2.1.250", ["2.1.201", "2.1.300"], ["2.1.200", "2.1.250"]),
        ("==2.1.250", ["2.1.250"], ["2.1.249", "2.1.251"]),
        (">3.0.0,<2.0.0", [], ["2.5.0", "3.0.0"]),
    ],
)
def test_a_range_holds_exactly_these(rule: str, inside: list[str], outside: list[str]) -> None:
    spec = parse_spec(rule)
    allowed = [v for v in [*inside, *outside] if allows(spec, parse_version(v))]
    assert allowed == inside


@given(versions, st.sampled_from(["2.1.x", "2.x", "2.1.*", ">=0.0.0", "!=1.0.0", "<=999.0.0"]))
def test_a_range_never_holds_a_prerelease(version: Version, rule: str) -> None:
    if version.prerelease:
        assert allows(parse_spec(rule), version) is False


@given(versions)
def test_a_range_from_a_version_to_itself_holds_that_version_alone(version: Version) -> None:
    plain = Version(version.major, version.minor, version.patch)
    rule = parse_spec(f">={plain},<={plain}")
    after = Version(version.major, version.minor, version.patch + 1)
    assert (allows(rule, plain), allows(rule, after)) == (True, False)


def test_an_exact_version_allows_itself_only_and_a_channel_does_not_know() -> None:
    answers = [allows(spec, INSIDE) for spec in (INSIDE, Version(2, 1, 251), LATEST)]
    assert answers == [True, False, None]


def test_an_exact_prerelease_can_be_asked_for() -> None:
    beta = Version(2, 1, 250, "beta.1")
    assert [allows(parse_spec("2.1.250-beta.1"), v) for v in (beta, INSIDE)] == [True, False]
