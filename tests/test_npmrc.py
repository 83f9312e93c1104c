"""The registry as npm users have it configured, compared with the real npm where it can tell."""

import json
import os
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccmirror_py import npmrc
from ccmirror_py.errors import UsageError
from ccmirror_py.npmrc import NpmConfig, merge, parse_npmrc, variables_config
from ccmirror_py.providers import Providers

PUBLIC = npmrc.PUBLIC_REGISTRY
ENVIRON = {"SET": "value", "EMPTY": "", "NPM_TOKEN": "t0ken", "Q": "a=b;c#d"}

LINES = [
    ("plain=x", "plain", "x"),
    ("  indented = spaced out  ", "indented", "spaced out"),
    ("equals=a=b=c", "equals", "a=b=c"),
    ("empty=", "empty", ""),
    ('quoted="with space"', "quoted", "with space"),
    ("single='with space'", "single", "with space"),
    ('half="half', "half", '"half'),
    ('quoted-comment="a;b#c"', "quoted-comment", "a;b#c"),
    ("variable=${SET}/x", "variable", "value/x"),
    ("two=${SET}${SET}", "two", "valuevalue"),
    ("set-but-empty=a${EMPTY}b", "set-but-empty", "ab"),
    ("missing=${MISSING}", "missing", "${MISSING}"),
    ("dollar=$SET", "dollar", "$SET"),
    ("expanded-once=${Q}", "expanded-once", "a=b;c#d"),
    ("${SET}-key=k", "value-key", "k"),
    ("comment=x ; more", "comment", "x"),
    ("hash=x # more", "hash", "x"),
    ("glued=x#more", "glued", "x"),
    ("escaped=a\\#b\\;c", "escaped", "a#b;c"),
    ("optional=${MISSING?}", "optional", ""),
    ("optional-set=${SET?}", "optional-set", "value"),
    ("no-reference=\\${SET}", "no-reference", "${SET}"),
    ('"quoted-key"=x', "quoted-key", "x"),
]


@pytest.mark.parametrize(("line", "key", "value"), LINES, ids=[line for line, _, _ in LINES])
def test_a_line_means_what_it_means_to_npm(line: str, key: str, value: str) -> None:
    assert parse_npmrc(line, ENVIRON) == {key: value}


@pytest.fixture(scope="module")
def npm_sees(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, object]:
    """What the real npm makes of LINES and some variables, all at once."""
    npm = shutil.which("npm")
    if not npm:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("npm")
    user, project = folder / "user", folder / "project"
    project.mkdir()
    (project / "package.json").write_text("{}")
    user.write_text("\n".join([line for line, _, _ in LINES]) + "\nwins=user\nboth=user\n")
    (project / ".npmrc").write_text("wins=project\nboth=project\n[section]\nregistry=http://evil\n")
    environ = {
        **{k: v for k, v in os.environ.items() if not k.lower().startswith("npm_config_")},
        **ENVIRON,
        **VARIABLES,
        "npm_config_userconfig": str(user),
        "npm_config_update_notifier": "false",
        "HOME": str(folder),
    }
    done = subprocess.run(
        [npm, "config", "list", "--json"],
        env=environ,
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
    )
    seen = json.loads(done.stdout)
    assert isinstance(seen, dict)
    return seen


VARIABLES = {
    "npm_config_low_er": "a",
    "NPM_CONFIG_UP_PER": "b",
    "Npm_Config_Mixed": "c",
    "npm_config_wins": "environment",
    "npm_config_no_value": "",
    "npm_config__under_score": "d",
}


def test_the_real_npm_agrees_about_every_line(npm_sees: Mapping[str, object]) -> None:
    assert {key: npm_sees.get(key) for _, key, _ in LINES} == {
        key: value for _, key, value in LINES
    }


def test_the_real_npm_agrees_about_variables_and_precedence(
    npm_sees: Mapping[str, object],
) -> None:
    config = merge(
        {"wins": "user", "both": "user"},
        {"wins": "project", "both": "project"},
        variables_config(VARIABLES),
    )
    names = ("low-er", "up-per", "mixed", "wins", "both", "no-value", "_under-score")
    ours = {name: config.values.get(name) for name in names}
    # npm shows no key that begins with _
    assert ours | {"_under-score": None} == {name: npm_sees.get(name) for name in names}
    assert ours == {
        "low-er": "a",
        "up-per": "b",
        "mixed": "c",
        "wins": "environment",
        "both": "project",
        "no-value": None,
        "_under-score": "d",
    }


def test_keys_below_a_section_are_not_settings(npm_sees: Mapping[str, object]) -> None:
    assert npm_sees["registry"] == PUBLIC
    assert parse_npmrc("a=1\n[section]\nregistry=http://evil.example\n", {}) == {"a": "1"}


def test_comments_and_empty_lines_are_skipped_and_the_last_value_counts() -> None:
    text = "; a=1\n# b=2\n\n   \n;\nc=3\nc=4\n  # d=5\r\ne=6\r\n"
    assert parse_npmrc(text, {}) == {"c": "4", "e": "6"}


@given(st.text(max_size=60))
def test_any_text_is_read_without_an_error(text: str) -> None:
    parse_npmrc(text, ENVIRON)


# --- a project's file may not send keys away ---


def test_a_providers_key_is_never_expanded_from_a_projects_file() -> None:
    keys = [name for p in Providers(Path("/nowhere")).all() for name in p.auth.variables]
    keys += ["ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "AWS_SECRET_ACCESS_KEY"]
    environ = dict.fromkeys(keys, "secret") | {"NPM_TOKEN": "t"}
    for name in keys:
        line = f"registry=https://evil.example/${{{name}}}/\n${{{name}}}=x"
        kept = {"registry": f"https://evil.example/${{{name}}}/", f"${{{name}}}": "x"}
        assert parse_npmrc(line, environ, project=True) == kept
        optional = parse_npmrc(f"registry=https://evil.example/${{{name}?}}", environ, project=True)
        assert "secret" not in str(optional)
    token = parse_npmrc("//r.example/:_authToken=${NPM_TOKEN}", environ, project=True)
    assert token == {"//r.example/:_authToken": "t"}


def test_the_users_own_file_may_use_any_variable() -> None:
    line = "//r.example/:_authToken=${MY_API_KEY}"
    assert parse_npmrc(line, {"MY_API_KEY": "k"}) == {"//r.example/:_authToken": "k"}


def test_a_project_that_names_the_registry_is_remembered() -> None:
    evil = {"registry": "https://evil.example/"}
    scoped = {"@anthropic-ai:registry": "https://evil.example/"}
    assert [
        merge({}, {}, {}).project,
        merge(evil, {}, {}).project,
        merge({}, evil, {}).project,
        merge({}, scoped, {}).project,
        merge({}, evil, {"registry": "https://mine.example/"}).project,
        merge({}, {"proxy": "http://p"}, {}).project,
    ] == [False, False, True, True, False, False]


# --- which registry ---


def config(*lines: str, **variables: str) -> NpmConfig:
    return merge(parse_npmrc("\n".join(lines), ENVIRON), {}, variables_config(variables))


@pytest.mark.parametrize(
    ("lines", "registry"),
    [
        ((), PUBLIC),
        (("registry=",), PUBLIC),
        (("registry=https://r.example",), "https://r.example/"),
        (("registry=https://r.example/npm//",), "https://r.example/npm/"),
        (("registry=http://127.0.0.1:4873/",), "http://127.0.0.1:4873/"),
        (("@anthropic-ai:registry=https://s.example/a",), "https://s.example/a/"),
        (
            ("registry=https://r.example", "@anthropic-ai:registry=https://s.example"),
            "https://s.example/",
        ),
        (("registry=https://r.example", "@other:registry=https://o.example"), "https://r.example/"),
    ],
)
def test_the_registry_for_claude_code_is_found(lines: tuple[str, ...], registry: str) -> None:
    assert config(*lines).registry == registry


def test_the_environment_names_the_registry_in_any_case() -> None:
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY", "Npm_Config_Registry"):
        found = config("registry=https://user.example", **{name: "https://env.example"})
        assert found.registry == "https://env.example/"
    scoped = {"npm_config_@anthropic-ai:registry": "https://scope.example"}
    assert config("registry=https://user.example", **scoped).registry == "https://scope.example/"


@pytest.mark.parametrize(
    "url", ["x", "r.example", "file:///etc", "ftp://r.example", "https://", "http://[::1", "//r"]
)
def test_a_registry_that_is_no_address_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        config(f"registry={url}").registry  # noqa: B018
    assert refused.value.hint == "Look at: npm config get registry"


# --- credentials ---


def basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


SECRET = b64encode(b"p\xc3\xa4ss:word").decode()


@pytest.mark.parametrize(
    ("lines", "header"),
    [
        (["//r.example/npm/:_authToken=${NPM_TOKEN}"], "Bearer t0ken"),
        (["//r.example/npm:_authToken=t"], "Bearer t"),
        (["//r.example/:_authToken=t"], "Bearer t"),
        (["//r.example/npm/:_auth=dTpw"], "Basic dTpw"),
        (
            ["//r.example/npm/:username=me", f"//r.example/npm/:_password={SECRET}"],
            basic("me", "päss:word"),
        ),
        (["//r.example/npm/:username=me"], None),
        ([f"//r.example/npm/:_password={SECRET}"], None),
        (["//r.example/npm/:_auth=dTpw", "//r.example/npm/:_authToken=t"], "Bearer t"),
        (["//r.example/:_authToken=far", "//r.example/npm/:_authToken=near"], "Bearer near"),
        (["//r.example/npm/:_auth=bmVhcg==", "//r.example/:_authToken=far"], "Basic bmVhcg=="),
        (["_authToken=t", "_auth=dTpw", "username=me", f"_password={SECRET}"], None),
        (["//r.example/npm/x/:_authToken=below"], None),
        (["//other.example/npm/:_authToken=t"], None),
        (["//r.example:8080/npm/:_authToken=t"], None),
        (["//r.example.evil/npm/:_authToken=t"], None),
        (["//example/npm/:_authToken=t"], None),
        (["//sub.r.example/npm/:_authToken=t"], None),
        (["//r.example/np/:_authToken=t"], None),
        (["//r.example/npm2/:_authToken=t"], None),
        (["//r.example/other/:_authToken=t"], None),
        (["//r.example/npm/:_authToken="], None),
        (["https://r.example/npm/:_authToken=t"], None),
    ],
)
def test_a_credential_is_for_what_is_below_its_address(
    lines: list[str], header: str | None
) -> None:
    found = config(*lines)
    urls = ("https://r.example/npm/@scope%2fpackage", "https://r.example/npm/-/x.tgz?q=/a/b")
    assert [found.authorization(url) for url in urls] == [header, header]
    assert found.authorization("https://r.example/npm/") == header


def test_a_credential_of_one_registry_goes_to_no_other() -> None:
    found = config("//r.example:4873/npm/:_authToken=t")
    elsewhere = [
        "https://r.example/npm/x",
        "https://r.example:4874/npm/x",
        "https://r.example:48730/npm/x",
        "https://evil.example/npm/x",
        "https://evil.example/r.example:4873/npm/x",
        "https://r.example:4873.evil.example/npm/x",
        "https://r.example:4873@evil.example/npm/x",
        "https://r.example:4873/",
        "https://r.example:4873/npmx/",
        "https://r.example:4873/other/npm/x",
        "https://evil.example/?https://r.example:4873/npm/",
        "https://evil.example/#//r.example:4873/npm/",
        PUBLIC,
    ]
    assert {url: found.authorization(url) for url in elsewhere} == dict.fromkeys(elsewhere)
    assert found.authorization("https://r.example:4873/npm/x") == "Bearer t"


@pytest.mark.parametrize(
    "url", ["https://R.Example/npm/x", "https://r.example:443/npm/x", "HTTPS://r.example/npm/x"]
)
def test_the_same_registry_written_otherwise_is_the_same(url: str) -> None:
    assert config("//r.example/npm/:_authToken=t").authorization(url) == "Bearer t"


def test_the_path_of_another_registry_can_not_be_reached_with_dots() -> None:
    found = config("//r.example/npm/:_authToken=t")
    assert found.authorization("https://r.example/npm/../other/x") is None


@pytest.mark.parametrize("password", ["abc", "not base64!", "=", "é"])
def test_a_password_that_is_no_base64_is_no_crash(password: str) -> None:
    found = config("//r.example/:username=me", f"//r.example/:_password={password}")
    try:
        header = found.authorization("https://r.example/x")
    except UsageError as refused:
        header = refused.hint
    assert header is None or header


def test_credentials_do_not_show_when_the_settings_are_printed() -> None:
    assert "t0ken" not in repr(config("//r.example/:_authToken=t0ken"))


def test_a_credential_in_the_environment_is_bound_too() -> None:
    name = "npm_config_//r.example/npm/:_authToken"
    found = config(**{name: "t"})
    urls = ("https://r.example/npm/x", "https://r.example/x")
    assert [found.authorization(url) for url in urls] == ["Bearer t", None]


# --- downloads and proxies ---

TARBALL = f"{PUBLIC}@anthropic-ai/claude-code/-/claude-code-2.1.330.tgz"
PATH = "@anthropic-ai/claude-code/-/claude-code-2.1.330.tgz"


@pytest.mark.parametrize(
    ("lines", "url", "asked"),
    [
        ((), TARBALL, TARBALL),
        (("registry=http://r.example:1/npm/",), TARBALL, f"http://r.example:1/{PATH}"),
        (("@anthropic-ai:registry=https://s.example",), TARBALL, f"https://s.example/{PATH}"),
        (
            ("registry=https://r.example",),
            "https://cdn.example/x.tgz?a=1",
            "https://cdn.example/x.tgz?a=1",
        ),
        (
            ("registry=https://r.example",),
            PUBLIC.rstrip("/") + ".evil.example/x.tgz",
            PUBLIC.rstrip("/") + ".evil.example/x.tgz",
        ),
        (("registry=https://r.example", "replace-registry-host=npmjs"), TARBALL, None),
    ],
)
def test_a_mirror_is_asked_for_what_it_says_the_public_registry_has(
    lines: tuple[str, ...], url: str, asked: str | None
) -> None:
    assert config(*lines).download_url(url) == (asked or f"https://r.example/{PATH}")


@pytest.mark.parametrize(
    ("setting", "url", "asked"),
    [
        ("never", TARBALL, TARBALL),
        ("always", "https://cdn.example/x.tgz", "https://r.example/x.tgz"),
        ("cdn.example", "https://cdn.example/x.tgz", "https://r.example/x.tgz"),
        ("cdn.example", TARBALL, TARBALL),
    ],
)
def test_replace_registry_host_is_obeyed(setting: str, url: str, asked: str) -> None:
    found = config("registry=https://r.example", f"replace-registry-host={setting}")
    assert found.download_url(url) == asked


def test_npms_proxies_are_found_for_each_scheme() -> None:
    both = config("proxy=http://p:1", "https-proxy=http://s:2")
    assert [both.proxy("http"), both.proxy("https")] == ["http://p:1", "http://s:2"]
    one = config("proxy=http://p:1", npm_config_proxy="http://env:3")
    assert [one.proxy("http"), one.proxy("https")] == ["http://env:3", "http://env:3"]
    assert [config().proxy("http"), config("proxy=").proxy("https")] == [None, None]


@pytest.mark.parametrize("word", ["null", "false"])
def test_a_proxy_that_was_switched_off_is_none(word: str) -> None:
    """`npm config set proxy null` is how people take one away."""
    found = config(f"proxy={word}", f"https-proxy={word}")
    assert [found.proxy("http"), found.proxy("https")] == [None, None]
