"""What a variant's Claude Code sees: what is cleared, what is set, for each provider."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccmirror_py.cli import params
from ccmirror_py.environment import (
    CLEARED_NAMES,
    CLEARED_PREFIXES,
    CLOUD_NAMES,
    CLOUD_SWITCHES,
    OWN_NAMES,
    auth_style,
    context_window,
    environment_of,
    is_loopback,
    let_through,
    models_of,
    needed_names,
    takes_key,
    uses_login,
    weakness,
)
from ccmirror_py.errors import UsageError
from ccmirror_py.provider import TIERS, UNKNOWN_MODEL_WINDOW, Model, Provider
from ccmirror_py.providers import Providers
from ccmirror_py.variant import Choices, FromFile, NoKey
from ccmirror_py.version import Version

PROVIDERS = {p.id: p for p in Providers(Path("/nowhere")).all()}

# Every name of Claude Code 2.1.330 that changes authentication, endpoint, model or session.
AUTH = """
ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN ANTHROPIC_AWS_API_KEY ANTHROPIC_AWS_WORKSPACE_ID
ANTHROPIC_CONFIG_DIR ANTHROPIC_FEDERATION_RULE_ID ANTHROPIC_FOUNDRY_API_KEY
ANTHROPIC_FOUNDRY_AUTH_TOKEN ANTHROPIC_IDENTITY_TOKEN ANTHROPIC_IDENTITY_TOKEN_FILE
ANTHROPIC_ORGANIZATION_ID ANTHROPIC_PROFILE ANTHROPIC_SCOPE ANTHROPIC_SERVICE_ACCOUNT_ID
ANTHROPIC_WORKSPACE_ID AWS_BEARER_TOKEN_BEDROCK CCR_AGENT_PROXY_TOKEN_FILE_DESCRIPTOR
CLAUDE_CODE_ACCOUNT_TAGGED_ID CLAUDE_CODE_ACCOUNT_UUID CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR
CLAUDE_CODE_API_KEY_HELPER_TTL_MS CLAUDE_CODE_CLIENT_CERT CLAUDE_CODE_CLIENT_KEY
CLAUDE_CODE_CLIENT_KEY_PASSPHRASE CLAUDE_CODE_GATEWAY_TOKEN_FILE_DESCRIPTOR
CLAUDE_CODE_HFI_BEARER_TOKEN CLAUDE_CODE_HOST_AUTH_ASK_AT_START CLAUDE_CODE_HOST_AUTH_ENV_VAR
CLAUDE_CODE_HOST_CREDS_FILE CLAUDE_CODE_OAUTH_CLIENT_ID CLAUDE_CODE_OAUTH_REFRESH_TOKEN
CLAUDE_CODE_OAUTH_SCOPES CLAUDE_CODE_OAUTH_TOKEN CLAUDE_CODE_OAUTH_TOKEN_FILE_DESCRIPTOR
CLAUDE_CODE_ORGANIZATION_UUID CLAUDE_CODE_RATE_LIMIT_TIER CLAUDE_CODE_SDK_HAS_HOST_AUTH_REFRESH
CLAUDE_CODE_SESSIONS_OAUTH_TOKEN CLAUDE_CODE_SESSION_ACCESS_TOKEN
CLAUDE_CODE_SKIP_ANTHROPIC_AWS_AUTH CLAUDE_CODE_SKIP_ANTHROPIC_GOOGLE_CLOUD_AUTH
CLAUDE_CODE_SKIP_BEDROCK_AUTH CLAUDE_CODE_SKIP_FOUNDRY_AUTH CLAUDE_CODE_SKIP_MANTLE_AUTH
CLAUDE_CODE_SKIP_VERTEX_AUTH CLAUDE_CODE_SUBSCRIPTION_TYPE CLAUDE_CODE_USER_EMAIL
CLAUDE_CODE_WEBSOCKET_AUTH_FILE_DESCRIPTOR CLAUDE_SECURESTORAGE_CONFIG_DIR
CLAUDE_SESSION_INGRESS_TOKEN_FILE CLAUDE_TRUSTED_DEVICE_TOKEN
"""
ENDPOINT = """
ALL_PROXY ANTHROPIC_AWS_BASE_URL ANTHROPIC_BASE_URL ANTHROPIC_BEDROCK_BASE_URL
ANTHROPIC_BEDROCK_MANTLE_BASE_URL ANTHROPIC_BEDROCK_REGION_PREFIX ANTHROPIC_BEDROCK_SERVICE_TIER
ANTHROPIC_BETAS ANTHROPIC_CUSTOM_HEADERS ANTHROPIC_FOUNDRY_BASE_URL ANTHROPIC_FOUNDRY_RESOURCE
ANTHROPIC_GOOGLE_CLOUD_BASE_URL ANTHROPIC_GOOGLE_CLOUD_LOCATION ANTHROPIC_GOOGLE_CLOUD_PROJECT
ANTHROPIC_GOOGLE_CLOUD_WORKSPACE_ID ANTHROPIC_UNIX_SOCKET ANTHROPIC_VERTEX_BASE_URL
ANTHROPIC_VERTEX_PROJECT_ID CLAUDE_BRIDGE_BASE_URL CLAUDE_CODE_API_BASE_URL
CLAUDE_CODE_ARTIFACTS_API_BASE_URL CLAUDE_CODE_ATTRIBUTION_HEADER CLAUDE_CODE_CLIENT_DATA_URL
CLAUDE_CODE_CUSTOM_OAUTH_URL CLAUDE_CODE_EXTRA_BODY CLAUDE_CODE_EXTRA_METADATA
CLAUDE_CODE_GB_BASE_URL CLAUDE_CODE_MEMORY_API_BASE_URL CLAUDE_CODE_MEMORY_API_TOKEN
CLAUDE_CODE_MODEL_CATALOG_URL CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST CLAUDE_CODE_REMOTE
CLAUDE_CODE_RUNNER_MODEL_SOCKET CLAUDE_CODE_USE_ANTHROPIC_AWS
CLAUDE_CODE_USE_ANTHROPIC_GOOGLE_CLOUD CLAUDE_CODE_USE_BEDROCK CLAUDE_CODE_USE_FOUNDRY
CLAUDE_CODE_USE_GATEWAY CLAUDE_CODE_USE_MANTLE CLAUDE_CODE_USE_VERTEX CLAUDE_LOCAL_OAUTH_API_BASE
CLOUD_ML_REGION HTTPS_PROXY HTTP_PROXY NODE_EXTRA_CA_CERTS NODE_OPTIONS
NODE_TLS_REJECT_UNAUTHORIZED NO_PROXY USE_LOCAL_OAUTH USE_STAGING_OAUTH
_CLAUDE_CODE_ASSUME_FIRST_PARTY_BASE_URL
"""
MODEL = """
ANTHROPIC_CUSTOM_MODEL_OPTION ANTHROPIC_CUSTOM_MODEL_OPTION_DESCRIPTION
ANTHROPIC_CUSTOM_MODEL_OPTION_NAME ANTHROPIC_CUSTOM_MODEL_OPTION_SUPPORTED_CAPABILITIES
ANTHROPIC_DEFAULT_FABLE_MODEL ANTHROPIC_DEFAULT_FABLE_MODEL_DESCRIPTION
ANTHROPIC_DEFAULT_FABLE_MODEL_NAME ANTHROPIC_DEFAULT_FABLE_MODEL_SUPPORTED_CAPABILITIES
ANTHROPIC_DEFAULT_HAIKU_MODEL ANTHROPIC_DEFAULT_HAIKU_MODEL_DESCRIPTION
ANTHROPIC_DEFAULT_HAIKU_MODEL_NAME ANTHROPIC_DEFAULT_HAIKU_MODEL_SUPPORTED_CAPABILITIES
ANTHROPIC_DEFAULT_MODEL ANTHROPIC_DEFAULT_OPUS_MODEL ANTHROPIC_DEFAULT_OPUS_MODEL_DESCRIPTION
ANTHROPIC_DEFAULT_OPUS_MODEL_NAME ANTHROPIC_DEFAULT_OPUS_MODEL_SUPPORTED_CAPABILITIES
ANTHROPIC_DEFAULT_SONNET_MODEL ANTHROPIC_DEFAULT_SONNET_MODEL_DESCRIPTION
ANTHROPIC_DEFAULT_SONNET_MODEL_NAME ANTHROPIC_DEFAULT_SONNET_MODEL_SUPPORTED_CAPABILITIES
ANTHROPIC_MODEL ANTHROPIC_SMALL_FAST_MODEL ANTHROPIC_SMALL_FAST_MODEL_AWS_REGION
CLAUDE_AUTOCOMPACT_PCT_OVERRIDE CLAUDE_CODE_ALLOW_OTHER_MODELS CLAUDE_CODE_ALWAYS_ENABLE_EFFORT
CLAUDE_CODE_AUTO_COMPACT_WINDOW CLAUDE_CODE_AUTO_MODE_MODEL CLAUDE_CODE_BG_CLASSIFIER_MODEL
CLAUDE_CODE_DISABLE_1M_CONTEXT CLAUDE_CODE_DISABLE_ADAPTIVE_THINKING
CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS CLAUDE_CODE_DISABLE_LEGACY_MODEL_REMAP
CLAUDE_CODE_DISABLE_THINKING CLAUDE_CODE_DISABLE_UNKNOWN_MODEL_WINDOW_ENFORCEMENT
CLAUDE_CODE_EFFORT_LEVEL CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY CLAUDE_CODE_MAX_CONTEXT_TOKENS
CLAUDE_CODE_MAX_OUTPUT_TOKENS CLAUDE_CODE_MODEL_CAPABILITIES CLAUDE_CODE_MODEL_CATALOG
CLAUDE_CODE_NO_MODEL_FALLBACK CLAUDE_CODE_SUBAGENT_EFFORT CLAUDE_CODE_SUBAGENT_MODEL
CLAUDE_CODE_SUBAGENT_MODEL_FORCE CLAUDE_CODE_WORKFLOW_SUBAGENT_MODEL DISABLE_INTERLEAVED_THINKING
DISABLE_PROMPT_CACHING ENABLE_TOOL_SEARCH FALLBACK_FOR_ALL_PRIMARY_MODELS MAX_THINKING_TOKENS
"""
SESSION = """
AI_AGENT CLAUDECODE CLAUDE_CODE_BUBBLEWRAP CLAUDE_CODE_CHILD_NOTES_DIR CLAUDE_CODE_CHILD_SESSION
CLAUDE_CODE_DEBUG_LOGS_DIR CLAUDE_CODE_ENTRYPOINT CLAUDE_CODE_EXECPATH
CLAUDE_CODE_HOST_OWNED_CONFIG_DIR CLAUDE_CODE_LAUNCHED_BY_SESSION_IDS
CLAUDE_CODE_MANAGED_SETTINGS_PATH CLAUDE_CODE_MESSAGING_SOCKET CLAUDE_CODE_MESSAGING_TOKEN
CLAUDE_CODE_PLUGIN_CACHE_DIR CLAUDE_CODE_PLUGIN_DIRS CLAUDE_CODE_PLUGIN_SEED_DIR
CLAUDE_CODE_PROJECT_DIR_NAME CLAUDE_CODE_REMOTE_SETTINGS_PATH CLAUDE_CODE_RESTRICTED
CLAUDE_CODE_SAFE_MODE CLAUDE_CODE_SANDBOXED CLAUDE_CODE_SESSION_ATTENDED CLAUDE_CODE_SESSION_ID
CLAUDE_CODE_SIMPLE CLAUDE_CODE_SKIP_PROMPT_HISTORY CLAUDE_CODE_SSE_PORT CLAUDE_CODE_TMPDIR
CLAUDE_EFFORT CLAUDE_ENV_FILE CLAUDE_JOB_DIR CLAUDE_PID CLAUDE_PROJECT_DIR IS_SANDBOX
"""

STAYS = {
    "ALL_PROXY": "how this machine reaches others; pinned against a project instead",
    "HTTP_PROXY": "as ALL_PROXY",
    "HTTPS_PROXY": "as ALL_PROXY",
    "NO_PROXY": "as ALL_PROXY; only ever keeps a request from a proxy",
    "NODE_EXTRA_CA_CERTS": "certificates of this machine's network; pinned as ALL_PROXY",
    "IS_SANDBOX": "says that this machine is a container, which is as true for the variant",
}


def is_cleared(name: str) -> bool:
    """What the `case` of a launcher does with it; tests/test_launcher.py runs that."""
    return name in CLEARED_NAMES or name.startswith(CLEARED_PREFIXES)


@pytest.mark.parametrize("names", [AUTH, ENDPOINT, MODEL, SESSION])
def test_every_name_that_moves_claude_code_is_cleared_or_stays_for_a_reason(names: str) -> None:
    staying = {name for name in names.split() if not is_cleared(name)}
    assert staying <= set(STAYS)


def test_what_stays_for_a_reason_really_stays() -> None:
    everything = (AUTH + ENDPOINT + MODEL + SESSION).split()
    assert {name for name in everything if not is_cleared(name)} == set(STAYS)
    assert len(everything) == len(set(everything)) == 187


def test_what_a_session_gives_to_the_programs_it_starts_is_cleared() -> None:
    """Of a Bash tool and an MCP server of 2.1.330; the last three change nothing of Claude Code."""
    inherited = (
        "AI_AGENT ANTHROPIC_BASE_URL ANTHROPIC_AUTH_TOKEN CLAUDECODE CLAUDE_CODE_CHILD_NOTES_DIR "
        "CLAUDE_CODE_CHILD_SESSION CLAUDE_CODE_ENTRYPOINT CLAUDE_CODE_EXECPATH CCM_VARIANT "
        "CLAUDE_CODE_MESSAGING_SOCKET CLAUDE_CODE_MESSAGING_TOKEN CLAUDE_CODE_SESSION_ATTENDED "
        "CLAUDE_CODE_SESSION_ID CLAUDE_CONFIG_DIR CLAUDE_EFFORT CLAUDE_PID CLAUDE_PROJECT_DIR "
        "CLAUDE_CODE_LAUNCHED_BY_SESSION_IDS COREPACK_ENABLE_AUTO_PIN GIT_EDITOR "
        "NoDefaultCurrentDirectoryInExePath"
    ).split()
    assert [name for name in inherited if not is_cleared(name)] == inherited[-3:]


@pytest.mark.parametrize(
    "name",
    "PATH HOME USER SHELL LANG TERM PWD EDITOR PAGER TMPDIR SSH_AUTH_SOCK GH_TOKEN GITHUB_TOKEN "
    "AWS_PROFILE AWS_REGION OPENAI_API_KEY ZAI_API_KEY CCM_HOME CCM_BIN_DIR anthropic_model "
    "MY_CLAUDE XANTHROPIC_X http_proxy no_proxy NODE_ENV AI_AGENTS".split(),
)
def test_the_rest_of_the_shell_stays(name: str) -> None:
    assert not is_cleared(name)


def test_the_patterns_can_stand_unquoted_in_a_case_of_the_shell() -> None:
    for name in (*CLEARED_NAMES, *CLEARED_PREFIXES, *OWN_NAMES):
        assert name.isidentifier()
        assert name.isascii()


def test_what_ccm_sets_itself_is_cleared_before() -> None:
    for provider in PROVIDERS.values():
        names = environment_of("v", provider, Choices(provider.id), FromFile(), "/h/v")
        leaking = {name for name in names if not is_cleared(name)}
        assert {name for name in leaking if not name.startswith("DISABLE_")} == set()


# --- what is set ---

ALWAYS = {
    "CCM_VARIANT": "v",
    "CLAUDE_CONFIG_DIR": "/h/v/config",
    "ANTHROPIC_CONFIG_DIR": "/h/v/config/anthropic",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_UPDATES": "1",
    "DISABLE_INSTALLATION_CHECKS": "1",
    "CLAUDE_CODE_DISABLE_TERMINAL_TITLE": "1",
}
THIRD_PARTY = {
    "CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1",
    "CLAUDE_CODE_ATTRIBUTION_HEADER": "0",
}


def models(main: str, haiku: str, subagent: str) -> dict[str, str]:
    """All names under which Claude Code asks for a model, `main` but for these two."""
    return {
        "ANTHROPIC_MODEL": main,
        "ANTHROPIC_DEFAULT_OPUS_MODEL": main,
        "ANTHROPIC_DEFAULT_SONNET_MODEL": main,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": haiku,
        "ANTHROPIC_SMALL_FAST_MODEL": haiku,
        "ANTHROPIC_DEFAULT_FABLE_MODEL": main,
        "CLAUDE_CODE_SUBAGENT_MODEL": subagent,
    }


def environment(choices: Choices, login: bool = False) -> dict[str, str]:
    credential = NoKey() if login else FromFile()
    return environment_of("v", PROVIDERS[choices.provider], choices, credential, "/h/v")


def test_a_login_is_left_as_claude_code_has_it() -> None:
    assert environment(Choices("mirror"), login=True) == ALWAYS


def test_a_claude_key_goes_to_anthropic() -> None:
    assert environment(Choices("mirror")) == {
        **ALWAYS,
        "ANTHROPIC_BASE_URL": "https://api.anthropic.com",
        "CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST": "1",
    }


def test_zai_gets_its_endpoint_models_and_window() -> None:
    assert environment(Choices("zai")) == {
        **ALWAYS,
        **THIRD_PARTY,
        **models("glm-5.3[1m]", "glm-5.3-flash[1m]", "glm-5.3[1m]"),
        "ANTHROPIC_BASE_URL": "https://api.z.ai/api/anthropic",
        "CLAUDE_CODE_MAX_CONTEXT_TOKENS": "1000000",
        "CLAUDE_CODE_AUTO_COMPACT_WINDOW": "1000000",
        "API_TIMEOUT_MS": "3000000",
    }


def test_deepseek_compacts_before_its_window_is_full() -> None:
    assert environment(Choices("deepseek")) == {
        **ALWAYS,
        **THIRD_PARTY,
        **models("deepseek-flash[1m]", "deepseek-flash", "deepseek-flash"),
        "ANTHROPIC_BASE_URL": "https://api.deepseek.com/anthropic",
        "CLAUDE_CODE_MAX_CONTEXT_TOKENS": "1000000",
        "CLAUDE_CODE_AUTO_COMPACT_WINDOW": "786432",
        "CLAUDE_CODE_EFFORT_LEVEL": "max",
        "API_TIMEOUT_MS": "600000",
    }


def test_a_region_moves_the_endpoint_and_a_plan_the_models_too() -> None:
    seen = environment(Choices("stepfun", region="cn"))
    assert seen["ANTHROPIC_BASE_URL"] == "https://api.stepfun.com/step_plan"
    assert environment(Choices("stepfun")) == {
        **seen,
        "ANTHROPIC_BASE_URL": "https://api.stepfun.ai/step_plan",
    }
    seen = environment(Choices("minimax", region="token-plan"))
    assert seen["ANTHROPIC_MODEL"] == "MiniMax-M3.1-Flash-Preview[1m]"
    assert seen["CLAUDE_CODE_AUTO_COMPACT_WINDOW"] == "524288"
    with pytest.raises(UsageError):
        environment(Choices("minimax", region="mars"))


def test_an_anthropic_key_is_as_a_key_of_the_subscriptions_provider() -> None:
    assert environment(Choices("anthropic")) == environment(Choices("mirror"))


@pytest.mark.parametrize(("cloud", "switch"), CLOUD_SWITCHES.items())
def test_a_cloud_gets_its_switch_and_is_left_its_own_credentials(cloud: str, switch: str) -> None:
    provider = next(p for p in PROVIDERS.values() if p.cloud == cloud)
    seen = environment(Choices(provider.id), login=True)
    assert seen == {**ALWAYS, switch: "1", "CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST": "1"}
    assert not takes_key(provider, NoKey())
    assert set(let_through(seen)) == set(CLOUD_NAMES[provider.cloud or "bedrock"])
    chosen = needed_names(seen)
    assert chosen
    given = environment(Choices(provider.id, env=dict.fromkeys(chosen, "x")), login=True)
    assert needed_names(given) == ()
    assert set(let_through(given)) & set(chosen) == set()


def test_only_a_cloud_lets_names_through() -> None:
    for provider in PROVIDERS.values():
        seen = environment_of("v", provider, Choices(provider.id), NoKey(), "/h/v")
        assert bool(let_through(seen)) == bool(provider.cloud)


def test_a_clouds_models_are_claude_codes_own_until_some_are_chosen() -> None:
    seen = environment(Choices("foundry", models={"opus": "my-deployment"}), login=True)
    chosen = {name: value for name, value in seen.items() if name not in ALWAYS}
    assert chosen == {
        "CLAUDE_CODE_USE_FOUNDRY": "1",
        "CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST": "1",
        "ANTHROPIC_DEFAULT_OPUS_MODEL": "my-deployment",
    }


def test_a_model_that_refuses_thinking_is_asked_without() -> None:
    custom = replace(PROVIDERS["custom"], catalog={"m": Model(1000, thinking="off")})
    for model, expected in (("m", "1"), ("n", None)):
        choices = Choices("custom", base_url="http://x", models=params.models(model, {}))
        seen = environment_of("v", custom, choices, FromFile(), "/h/v")
        assert seen.get("CLAUDE_CODE_DISABLE_THINKING") == expected


def test_a_custom_endpoint_gets_what_was_chosen() -> None:
    choices = Choices(
        "custom",
        base_url="http://127.0.0.1:1",
        models=params.models("m", {"haiku": "s", "opus": None}),
        env={"API_TIMEOUT_MS": "1", "DISABLE_TELEMETRY": "0"},
    )
    assert environment(choices) == {
        **ALWAYS,
        **THIRD_PARTY,
        **models("m", "s", "m"),
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:1",
        "CLAUDE_CODE_MAX_CONTEXT_TOKENS": "200000",
        "API_TIMEOUT_MS": "1",
        "DISABLE_TELEMETRY": "0",
    }


@pytest.mark.parametrize(
    "provider", [p for p in PROVIDERS.values() if not p.first_party], ids=lambda p: p.id
)
def test_all_tiers_are_set_for_every_third_party(provider: Provider) -> None:
    chosen = params.models("x", {}) if provider.asks_models else {}
    choices = Choices(provider.id, base_url="https://x.example", models=chosen)
    assert set(models_of(provider, choices)) == set(TIERS)
    seen = environment(choices)
    assert all(seen[name] for name in models("a", "b", "c"))
    assert int(seen["CLAUDE_CODE_MAX_CONTEXT_TOKENS"]) > 0


def test_a_tier_that_was_chosen_wins_over_the_providers() -> None:
    choices = Choices("zai", models={"opus": "mine"})
    assert models_of(PROVIDERS["zai"], choices) == {**PROVIDERS["zai"].models, "opus": "mine"}


def test_only_a_login_without_a_key_is_a_login() -> None:
    found = [uses_login(PROVIDERS[id_], NoKey()) for id_ in ("mirror", "zai", "echo")]
    assert (found, uses_login(PROVIDERS["mirror"], FromFile())) == ([True, False, False], False)


def test_the_way_a_key_is_sent_can_be_chosen() -> None:
    custom = PROVIDERS["custom"]
    chosen = [auth_style(custom, Choices("custom", auth_style=s)) for s in (None, "x-api-key")]
    assert chosen == ["bearer", "x-api-key"]


# --- the window ---


def with_windows(**windows: int) -> Provider:
    models = {id_: Model(context) for id_, context in windows.items()}
    return replace(PROVIDERS["custom"], catalog=models)


@pytest.mark.parametrize(
    ("chosen", "window"),
    [
        ({"main": "big"}, 1_000_000),
        ({"main": "big[1m]"}, 1_000_000),
        ({"main": "big", "haiku": "small"}, 50_000),
        ({"main": "small[1m]", "haiku": "big"}, 50_000),
        ({"main": "unknown"}, UNKNOWN_MODEL_WINDOW),
        ({"main": "big", "haiku": "unknown[1m]"}, UNKNOWN_MODEL_WINDOW),
        ({"main": "small", "haiku": "unknown"}, 50_000),
        ({}, 0),
    ],
)
def test_the_window_is_that_of_the_smallest_model(chosen: dict[str, str], window: int) -> None:
    provider = with_windows(big=1_000_000, small=50_000)
    assert context_window(provider, Choices("custom", models=chosen)) == window


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 2_000_000)),
    st.dictionaries(st.sampled_from(TIERS), st.sampled_from("abcdef"), min_size=1),
)
def test_no_model_in_use_has_a_smaller_window(
    windows: dict[str, int], chosen: dict[str, str]
) -> None:
    window = context_window(with_windows(**windows), Choices("custom", models=chosen))
    assert window == min(windows.get(model, UNKNOWN_MODEL_WINDOW) for model in chosen.values())


def test_a_chosen_window_wins_and_compacting_comes_before_it() -> None:
    choices = Choices("deepseek", context_window=64_000)
    assert context_window(PROVIDERS["deepseek"], choices) == 64_000
    seen = environment(choices)
    names = ("CLAUDE_CODE_MAX_CONTEXT_TOKENS", "CLAUDE_CODE_AUTO_COMPACT_WINDOW")
    assert [seen[name] for name in names] == ["64000", "64000"]


# --- small rules ---


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:43117", True),
        ("http://localhost/x", True),
        ("http://LocalHost:1", True),
        ("http://[::1]:8080", True),
        ("", False),
        ("https://api.z.ai/api/anthropic", False),
        ("http://127.0.0.1.evil.example", False),
        ("http://localhost.evil.example", False),
        ("http://evil.example/127.0.0.1", False),
        ("http://evil.example?localhost", False),
    ],
)
def test_this_machine_is_told_from_others(url: str, loopback: bool) -> None:
    assert is_loopback(url) is loopback


def test_versions_that_can_not_be_isolated_in_full_say_so() -> None:
    told = [weakness(Version(2, 1, patch)) for patch in (111, 112, 330)]
    assert told[1:] == ["", ""]
    assert told[0].startswith("Claude Code 2.1.111 is too old to be isolated in full")


# --- what users may set ---


def test_pairs_are_taken_apart_at_the_first_equals_sign() -> None:
    texts = ["A=1", "B=", "C=a=b", "_d=$(x) 'y'", "A=2"]
    assert params.pairs(texts) == {"A": "2", "B": "", "C": "a=b", "_d": "$(x) 'y'"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A",
        "=1",
        "1A=x",
        "A B=x",
        "A-B=x",
        "A;touch canary=x",
        "é=x",
        "A\n=x",
        "A=a\nb",
        "A=\x1b",
    ],
)
def test_a_pair_that_could_not_be_set_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        params.pairs([text])


@pytest.mark.parametrize("text", ["A=\udcff", "A=x\x9by"])
def test_a_value_that_could_not_be_stored_or_shown_is_a_usage_error(text: str) -> None:
    """A byte of no encoding on the command line arrives as a lone surrogate."""
    with pytest.raises(UsageError):
        params.pairs([text])


@pytest.mark.parametrize("text", ["", "1A", "A B", "A=1", "A|B", "*", "é", "A\n"])
def test_an_inherited_name_that_is_none_is_a_usage_error(text: str) -> None:
    assert params.variable_names(["AWS_PROFILE"]) == ("AWS_PROFILE",)
    with pytest.raises(UsageError):
        params.variable_names(["AWS_PROFILE", text])


def test_the_options_for_models_address_and_style_are_checked() -> None:
    assert params.models("m", {"opus": "o", "haiku": None}) == {
        **dict.fromkeys(TIERS, "m"),
        "opus": "o",
    }
    assert params.models(None, {"opus": None}) == {}
    assert [params.base_url(None), params.base_url("http://x/")] == [None, "http://x"]
    assert [params.auth_style(None), params.auth_style("bearer")] == [None, "bearer"]
    for mistake in (
        lambda: params.models("a\nb", {}),
        lambda: params.base_url("file:///x"),
        lambda: params.base_url(""),
        lambda: params.auth_style("basic"),
    ):
        with pytest.raises(UsageError):
            mistake()
