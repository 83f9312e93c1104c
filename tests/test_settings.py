"""Settings: what is pinned for each kind of variant, and how it meets the user's own."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccmirror_py.environment import HOST_BLOCKS_NETWORK, NETWORK_NAMES
from ccmirror_py.providers import Providers
from ccmirror_py.settings import (
    Surroundings,
    merged_settings,
    pinned_network,
    pinned_settings,
    seeded_claude_json,
)
from ccmirror_py.variant import Choices, Credential, FromFile, NoKey, Variant
from ccmirror_py.version import LATEST, Version

PROVIDERS = {p.id: p for p in Providers(Path("/nowhere")).all()}
NETWORK = dict.fromkeys(NETWORK_NAMES, "") | {"HTTPS_PROXY": "http://proxy.example:1"}
SURROUNDINGS = Surroundings(("/home/me",), NETWORK)

NEUTRAL = {
    "NODE_TLS_REJECT_UNAUTHORIZED": "1",
    "ANTHROPIC_API_KEY": "",
    "ANTHROPIC_BETAS": "",
    "ANTHROPIC_CUSTOM_HEADERS": "",
    "ANTHROPIC_UNIX_SOCKET": "",
    "CLAUDE_CODE_CUSTOM_OAUTH_URL": "",
    "CLAUDE_CODE_ENABLE_TELEMETRY": "",
    "CLAUDE_CODE_EXTRA_BODY": "",
    "CLAUDE_CODE_OAUTH_TOKEN": "",
    "CLAUDE_CODE_USE_ANTHROPIC_AWS": "",
    "CLAUDE_CODE_USE_ANTHROPIC_GOOGLE_CLOUD": "",
    "CLAUDE_CODE_USE_BEDROCK": "",
    "CLAUDE_CODE_USE_FOUNDRY": "",
    "CLAUDE_CODE_USE_GATEWAY": "",
    "CLAUDE_CODE_USE_MANTLE": "",
    "CLAUDE_CODE_USE_VERTEX": "",
}


def variant(provider: str, credential: Credential, **changes: Any) -> Variant:
    whole = Variant(
        name="v",
        choices=Choices(provider=provider),
        spec=LATEST,
        version=Version(2, 1, 330),
        credential=credential,
        environment={"CCM_VARIANT": "v"},
        key_variable=None,
        created="2026-11-22T17:11:00Z",
        updated="2026-11-22T17:11:00Z",
    )
    return replace(whole, **changes)


def pinned(one: Variant, surroundings: Surroundings = SURROUNDINGS) -> dict[str, object]:
    return pinned_settings(one, PROVIDERS[one.choices.provider], surroundings)


ALWAYS: dict[str, object] = {
    "apiKeyHelper": "",
    "disableDeepLinkRegistration": "disable",
    "claudeMdExcludes": ["/home/me/.claude/**"],
}


def test_a_login_is_defended_by_settings_alone() -> None:
    login = {"ANTHROPIC_AUTH_TOKEN": "", "ANTHROPIC_BASE_URL": ""}
    assert pinned(variant("mirror", NoKey())) == {
        **ALWAYS,
        "env": {**NEUTRAL, **NETWORK, **login, "CCM_VARIANT": "v"},
    }


def test_a_claude_key_leaves_the_network_to_claude_code_itself() -> None:
    assert pinned(variant("mirror", FromFile())) == {
        **ALWAYS,
        "env": {**NEUTRAL, "CCM_VARIANT": "v"},
    }


def test_another_vendor_has_no_auto_mode_no_preflight_and_its_denied_tools() -> None:
    assert pinned(variant("zai", FromFile())) == {
        **ALWAYS,
        "env": {**NEUTRAL, "CCM_VARIANT": "v"},
        "skipWebFetchPreflight": True,
        "disableAutoMode": "disable",
        "permissions": {"deny": ["WebSearch"], "disableAutoMode": "disable"},
    }


def test_an_x_api_key_changes_nothing_that_is_pinned() -> None:
    choices = Choices(provider="custom", base_url="https://x.example", auth_style="x-api-key")
    bearer = variant("custom", FromFile(), choices=replace(choices, auth_style="bearer"))
    assert pinned(replace(bearer, choices=choices)) == pinned(bearer)


def test_yolo_skips_the_questions_and_nothing_else() -> None:
    plain = pinned(variant("mirror", NoKey()))
    yolo = pinned(variant("mirror", NoKey(), choices=Choices(provider="mirror", yolo=True)))
    assert yolo == {
        **plain,
        "skipDangerousModePermissionPrompt": True,
        "disableAutoMode": "disable",
        "permissions": {"disableAutoMode": "disable", "defaultMode": "bypassPermissions"},
    }


@pytest.mark.parametrize(
    "version", [Version(2, 1, 1), Version(2, 1, 112), Version(2, 1, 200), Version(2, 1, 329)]
)
def test_old_versions_have_the_network_pinned_too(version: Version) -> None:
    old = pinned(variant("zai", FromFile(), version=version))
    new = pinned(variant("zai", FromFile(), version=HOST_BLOCKS_NETWORK))
    assert old == {**new, "env": {**NEUTRAL, **NETWORK, "CCM_VARIANT": "v"}}
    assert (pinned_network(old), pinned_network(new)) == (NETWORK, {})


def test_what_the_launcher_sets_wins_over_what_is_neutral() -> None:
    environment = {"CLAUDE_CODE_USE_BEDROCK": "1", "HTTPS_PROXY": "http://mine"}
    env = pinned(variant("mirror", NoKey(), environment=environment))["env"]
    assert isinstance(env, dict)
    assert {name: env[name] for name in environment} == environment


def test_every_name_the_launcher_sets_is_pinned() -> None:
    environment = {"CCM_VARIANT": "v", "ANTHROPIC_BASE_URL": "https://x", "A": "$(x)\n'"}
    for provider in PROVIDERS:
        env = pinned(variant(provider, FromFile(), environment=environment))["env"]
        assert isinstance(env, dict)
        assert environment.items() <= env.items()


@pytest.mark.parametrize(
    ("home", "pattern"),
    [
        ("/home/me", "/home/me/.claude/**"),
        ("/home/a b'c", "/home/a b'c/.claude/**"),
        ("/home/w*ld", "/home/w[*]ld/.claude/**"),
        ("/home/wh?t", "/home/wh[?]t/.claude/**"),
        ("/home/[x]", "/home/[[]x]/.claude/**"),
    ],
)
def test_a_home_with_glob_characters_is_excluded_as_it_is(home: str, pattern: str) -> None:
    settings = pinned(variant("zai", FromFile()), Surroundings((home, "/real"), {}))
    assert settings["claudeMdExcludes"] == [pattern, "/real/.claude/**"]


def test_a_shared_claude_md_is_not_excluded() -> None:
    shared = variant("zai", FromFile(), choices=Choices(provider="zai", share_claude_md=True))
    without = pinned(variant("zai", FromFile()))
    del without["claudeMdExcludes"]
    assert pinned(shared) == without


@pytest.mark.parametrize("env", [None, [], "x", 1, {}, {"HTTP": "x"}])
def test_settings_without_network_names_pin_no_network(env: object) -> None:
    assert pinned_network({"env": env}) == {}
    assert pinned_network({}) == {}


# --- the user's own --settings ---

leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=6)
keys = st.sampled_from(["env", "permissions", "deny", "hooks", "a", "b", ""])
json_values: st.SearchStrategy[Any] = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
json_objects = st.dictionaries(keys, json_values, max_size=5)
pins: st.SearchStrategy[Any] = st.recursive(
    st.text(max_size=4) | st.just(True) | st.lists(st.text(max_size=3), max_size=3),
    lambda inner: st.dictionaries(keys, inner, min_size=1, max_size=4),
    max_leaves=12,
)


def survives(pin: object, value: object) -> bool:
    """Everything of `pin` is in `value`."""
    if isinstance(pin, Mapping):
        return isinstance(value, Mapping) and all(
            key in value and survives(inner, value[key]) for key, inner in pin.items()
        )
    if isinstance(pin, list):
        return isinstance(value, list) and all(item in value for item in pin)
    return type(pin) is type(value) and pin == value


@given(st.dictionaries(keys, pins, max_size=5), json_objects)
def test_every_pinned_leaf_survives_any_settings_of_the_user(
    pin: dict[str, Any], users: dict[str, Any]
) -> None:
    merged = merged_settings(pin, users)
    assert survives(pin, merged)
    assert set(merged) == {*pin, *users}
    assert all(merged[key] == value for key, value in users.items() if key not in pin)


@given(json_objects)
def test_the_pinned_settings_of_every_provider_survive(users: dict[str, Any]) -> None:
    for provider in PROVIDERS:
        whole = pinned(variant(provider, NoKey()))
        assert survives(whole, merged_settings(whole, users))
        assert survives(whole, merged_settings(whole, {**whole, **users}))


@given(st.dictionaries(keys, pins, max_size=5), json_objects)
def test_merging_changes_neither_side_and_twice_is_once(
    pin: dict[str, Any], users: dict[str, Any]
) -> None:
    before = repr((pin, users))
    once = merged_settings(pin, users)
    assert merged_settings(pin, once) == once
    assert repr((pin, users)) == before


def test_the_users_settings_are_kept_beside_the_pinned_ones() -> None:
    pin: dict[str, object] = {
        "env": {"ANTHROPIC_BASE_URL": "https://pinned", "B": ""},
        "apiKeyHelper": "",
        "permissions": {"deny": ["WebSearch"], "disableAutoMode": "disable"},
    }
    users: dict[str, object] = {
        "env": {"ANTHROPIC_BASE_URL": "https://evil", "MINE": "1"},
        "apiKeyHelper": "/evil",
        "permissions": {"deny": ["Bash(rm *)", "WebSearch"], "allow": ["Read"]},
        "model": "opus",
    }
    assert merged_settings(pin, users) == {
        "env": {"ANTHROPIC_BASE_URL": "https://pinned", "B": "", "MINE": "1"},
        "apiKeyHelper": "",
        "permissions": {
            "deny": ["Bash(rm *)", "WebSearch"],
            "disableAutoMode": "disable",
            "allow": ["Read"],
        },
        "model": "opus",
    }
    assert merged_settings({"env": {"A": "1"}}, {"env": None}) == {"env": {"A": "1"}}


# --- .claude.json ---


@given(json_objects, st.booleans())
def test_what_is_in_claude_json_stays(existing: dict[str, Any], yolo: bool) -> None:
    one = variant("zai", FromFile(), choices=Choices("zai", yolo=yolo))
    seeded = seeded_claude_json(existing, one)
    assert all(seeded[key] == existing[key] for key in existing)
    assert seeded_claude_json(seeded, one) == seeded


def test_the_first_start_asks_nothing_but_trust() -> None:
    login = variant("mirror", NoKey())
    yolo = replace(login, choices=Choices("mirror", yolo=True))
    assert [seeded_claude_json({}, one) for one in (login, yolo)] == [
        {"hasCompletedOnboarding": True},
        {"hasCompletedOnboarding": True, "bypassPermissionsModeAccepted": True},
    ]
    refused: dict[str, object] = {"hasCompletedOnboarding": False, "projects": {"/x": {}}}
    assert seeded_claude_json(refused, login) == refused


def test_old_versions_of_a_variant_with_a_key_remember_not_to_ask_anthropic() -> None:
    keyed = variant("zai", FromFile(), key_variable="ANTHROPIC_AUTH_TOKEN")
    cache = seeded_claude_json({}, keyed)["metricsStatusCache"]
    assert cache == {"enabled": False, "timestamp": 4_102_444_800_000}
