"""Variants: which names they can have, and the record that is written and read."""

import copy
import json
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccmirror_py.errors import UsageError
from ccmirror_py.look import FORMS, Looks
from ccmirror_py.name import check_name
from ccmirror_py.variant import (
    Choices,
    Credential,
    FromCommand,
    FromFile,
    FromKeyring,
    FromVariable,
    NoKey,
    Tweaked,
    Variant,
    credential_from_json,
    credential_to_json,
    from_json,
    to_json,
)
from ccmirror_py.version import LATEST, Channel, Range, Version

# --- names ---

GOOD_NAMES = [
    "zai",
    "z",
    "0",
    "my-zai",
    "zai2",
    "a_b",
    "a.b",
    "glm-5.3",
    "z" * 40,
    "console",
    "com",
]


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_a_plain_name_is_kept(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "x/y",
        "/x",
        "x/",
        "./x",
        "x\\y",
        ".x",
        "-x",
        "_x",
        "--help",
        "x.",
        "x..",
        " ",
        " x",
        "x ",
        "x y",
        "x\n",
        "x\ny",
        "x\x00",
        "x\x1b",
        "z" * 41,
        "z" * 10_000,
        "Zai",
        "ZAI",
        "zaI",
        "zäi",
        "za\u0308i",
        "\uff5a\uff41\uff49",
        "\u200bzai",
        "zai\u202e",
        "\u017fai",
        "ﬁ",
        "1²",
        "٣",
        "$(x)",
        "`x`",
        "x;y",
        "x'y",
        "x*",
        "~",
        "~x",
        "x:y",
        "x@1",
        "+x",
        "%s",
    ],
)
def test_a_name_with_anything_else_in_it_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_name(name)
    assert refused.value.sentence == f"'{name}' can't be the name of a variant."
    assert refused.value.hint == (
        "Use 1 to 40 of a-z 0-9 . _ - and begin with a letter or digit: ccm create zai …"
    )


@pytest.mark.parametrize(
    "name",
    "con prn aux nul com0 com1 com9 lpt0 lpt1 lpt9 con.txt nul.x.y aux. com1.zai CON Nul.x".split(),
)
def test_a_device_of_windows_is_refused_with_any_ending(name: str) -> None:
    with pytest.raises(UsageError):
        check_name(name)


@pytest.mark.parametrize("name", ["claude", "ccm", "rg", "ugrep", "bfs", "node"])
def test_a_program_that_is_needed_itself_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_name(name)
    assert refused.value.sentence == f"'{name}' would hide a program that is needed itself."


@pytest.mark.parametrize("name", "if then case while cd exit alias echo test time type".split())
def test_a_word_of_the_shell_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_name(name)
    assert "is a word of the shell" in refused.value.sentence


def accepted(name: str) -> bool:
    try:
        return check_name(name) == name
    except UsageError:
        return False


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
def test_what_bash_answers_itself_is_refused() -> None:
    done = subprocess.run(
        ["bash", "-c", "compgen -b -k"], capture_output=True, text=True, check=True
    )
    words = set(done.stdout.split())
    assert len(words) > 60
    assert sorted(filter(accepted, words)) == []


@given(st.text(max_size=45))
def test_any_accepted_name_is_one_plain_word(name: str) -> None:
    if accepted(name):
        assert name.isascii()
        assert name == name.lower()
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-")
        assert name[0].isalnum()
        assert 1 <= len(name) <= 40


# --- the record ---

names = st.sampled_from(GOOD_NAMES)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
variables = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True)
credentials: st.SearchStrategy[Credential] = st.one_of(
    st.builds(FromVariable, variables),
    st.builds(FromFile, st.none() | texts),
    st.builds(FromKeyring, st.just("zai~0123456789abcdef"), st.none() | texts),
    st.builds(FromCommand, st.lists(texts, min_size=1, max_size=4).map(tuple)),
    st.just(NoKey()),
)
choices = st.builds(
    Choices,
    provider=st.sampled_from(["zai", "custom", "acme-1"]),
    region=st.none() | st.sampled_from(["cn", "x y"]),
    base_url=st.none() | st.sampled_from(["https://x.example", "http://127.0.0.1:1/a b'"]),
    auth_style=st.sampled_from([None, "bearer", "x-api-key"]),
    models=st.dictionaries(st.sampled_from(["main", "opus", "haiku"]), texts),
    context_window=st.none() | st.integers(1, 10**7),
    env=st.dictionaries(variables, texts),
    args=st.lists(texts, max_size=4).map(tuple),
    inherit=st.lists(variables, max_size=3).map(tuple),
    yolo=st.booleans(),
    share_claude_md=st.booleans(),
    looks=st.builds(
        Looks,
        theme=st.sampled_from([None, "none", "zai", "acme-1"]),
        form=st.sampled_from(FORMS),
        status_line=st.booleans(),
        verbs=st.booleans(),
        title=st.booleans(),
        splash=st.booleans(),
        guidance=st.none() | st.sampled_from(["", "Be kind.\n\t- ä"]),
    ),
    deny=st.lists(texts, max_size=3).map(tuple),
    model_overrides=st.dictionaries(texts, texts),
    mcp=st.lists(texts, max_size=3).map(tuple),
)


def with_its_own_entry(variant: Variant) -> Variant:
    if not isinstance(variant.credential, FromKeyring):
        return variant
    account = f"{variant.name}~0123456789abcdef"
    return replace(variant, credential=replace(variant.credential, account=account))


variants = st.builds(
    Variant,
    name=names,
    choices=choices,
    spec=st.sampled_from(
        [LATEST, Channel("stable"), Version(2, 1, 330), Version(3, 0, 0, "rc.1"), Range("2.1.x")]
    ),
    version=st.builds(Version, *(st.integers(0, 999),) * 3),
    credential=credentials,
    environment=st.dictionaries(variables, texts),
    key_variable=st.none() | variables,
    created=st.just("2026-11-22T17:11:00Z"),
    updated=st.just("2026-11-23T17:11:00Z"),
    tweaked=st.none() | st.builds(Tweaked, by=texts, patches=st.lists(texts).map(tuple)),
    mcp_servers=st.dictionaries(texts, st.dictionaries(texts, texts)),
).map(with_its_own_entry)

VARIANT = Variant(
    name="zai",
    choices=Choices(
        provider="zai",
        region="cn",
        base_url="https://api.example/anthropic",
        auth_style="bearer",
        models={"main": "glm-5.3[1m]"},
        context_window=200_000,
        env={"API_TIMEOUT_MS": "1"},
        args=("--x", "a b"),
        inherit=("AWS_PROFILE",),
        yolo=True,
        looks=Looks(theme="kimi-code", form="light", status_line=False, guidance="Be kind."),
        deny=("WebSearch",),
        model_overrides={"claude-opus-4-1-20250805": "glm-5.3[1m]"},
        mcp=("zread",),
    ),
    spec=Range("2.1.x"),
    version=Version(2, 1, 330),
    credential=FromCommand(("pass", "show", "zai")),
    environment={"CCM_VARIANT": "zai", "ANTHROPIC_BASE_URL": "https://api.example/anthropic"},
    key_variable="ANTHROPIC_AUTH_TOKEN",
    created="2026-11-22T17:11:00Z",
    updated="2026-11-23T17:11:00Z",
    tweaked=Tweaked("tweakcc 4.0.11", ("themes",)),
    mcp_servers={"zread": {"type": "http", "url": "https://api.example/mcp", "headers": {}}},
)
RECORD: dict[str, Any] = {
    "schema": 1,
    "name": "zai",
    "provider": "zai",
    "spec": "2.1.x",
    "version": "2.1.330",
    "region": "cn",
    "base_url": "https://api.example/anthropic",
    "auth_style": "bearer",
    "models": {"main": "glm-5.3[1m]"},
    "context_window": 200_000,
    "env": {"API_TIMEOUT_MS": "1"},
    "args": ["--x", "a b"],
    "inherit": ["AWS_PROFILE"],
    "yolo": True,
    "share_claude_md": False,
    "looks": {
        "theme": "kimi-code",
        "form": "light",
        "status_line": False,
        "verbs": True,
        "title": True,
        "splash": False,
        "guidance": "Be kind.",
    },
    "deny": ["WebSearch"],
    "model_overrides": {"claude-opus-4-1-20250805": "glm-5.3[1m]"},
    "mcp": ["zread"],
    "credential": {"from": "command", "argv": ["pass", "show", "zai"]},
    "key_variable": "ANTHROPIC_AUTH_TOKEN",
    "environment": {"CCM_VARIANT": "zai", "ANTHROPIC_BASE_URL": "https://api.example/anthropic"},
    "mcp_servers": {"zread": {"type": "http", "url": "https://api.example/mcp", "headers": {}}},
    "created": "2026-11-22T17:11:00Z",
    "updated": "2026-11-23T17:11:00Z",
    "tweaked": {"by": "tweakcc 4.0.11", "patches": ["themes"]},
}
MAY_BE_NULL = {
    *("region", "base_url", "auth_style", "context_window", "key_variable", "looks"),
    "tweaked",
}
ADDED_LATER: dict[str, Any] = {"deny": [], "model_overrides": {}, "mcp": [], "mcp_servers": {}}
"""What records of earlier days lack, and what that means."""


def test_the_record_is_written_as_it_is_documented() -> None:
    assert to_json(VARIANT) == RECORD
    assert VARIANT.base_url == "https://api.example/anthropic"


def test_the_record_is_read_as_it_was_written() -> None:
    assert from_json(RECORD) == VARIANT


@given(variants)
def test_every_record_survives_being_written_and_read(variant: Variant) -> None:
    written = json.dumps(to_json(variant), ensure_ascii=False).encode()
    assert from_json(json.loads(written)) == variant


@given(credentials)
def test_every_credential_survives_being_written_and_read(credential: Credential) -> None:
    assert credential_from_json(credential_to_json(credential)) == credential


@given(variants)
def test_the_record_never_holds_more_than_it_says(variant: Variant) -> None:
    assert set(to_json(variant)) == set(RECORD)


WRONG: list[object] = [
    *(None, True, False, 0, 1, -1, 2.5, "", "x", "\n", [], {}, [None], [1], [["x"]], {"": 1}),
    *({"a": None}, {"a": ["x"]}, {"from": "x"}, {"from": None}, {"from": []}, [{"from": "file"}]),
]


def is_wrong(field: str, value: object) -> bool:
    """Whether the type alone says that `value` can't be the value of `field`."""
    right = RECORD[field]
    if value is None:
        return field not in MAY_BE_NULL
    if field == "looks":  # what it lacks is as usual, what a newer ccm puts there is passed over
        return not isinstance(value, Mapping)
    if field == "mcp_servers":
        return not (isinstance(value, Mapping) and all(isinstance(v, dict) for v in value.values()))
    if isinstance(right, dict) and field != "credential":
        return not (isinstance(value, Mapping) and all(isinstance(v, str) for v in value.values()))
    if isinstance(right, list):
        return not (isinstance(value, list) and all(isinstance(v, str) for v in value))
    return field == "credential" or type(value) is not type(right)


@pytest.mark.parametrize("value", WRONG, ids=repr)
@pytest.mark.parametrize("field", RECORD)
def test_a_field_of_a_wrong_type_is_a_value_error(field: str, value: object) -> None:
    record = RECORD | {field: value}
    if is_wrong(field, value):
        with pytest.raises(ValueError, match=r".") as refused:
            from_json(record)
        assert type(refused.value) is ValueError
    else:
        read_or_refused(record)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("schema", value) for value in (0, 2, "1", 1.0)),
        *(("name", value) for value in ("", "../x", "Zai", "con", "if", "claude", "x\n")),
        *(("spec", value) for value in ("", "2.1", "v2.1.1", "^2.1.0", "2.1.x,", ">=x")),
        *(("version", value) for value in ("", "latest", "2.1", "2.1.x", "2.1.1 ")),
        *(("auth_style", value) for value in ("", "basic", "Bearer")),
        *(("credential", value) for value in ({}, {"from": "keyring"}, {"from": "variable"})),
        *(
            ("credential", {"from": "keyring", "account": account})
            for account in (None, 1, "", "zai", "zai~", "ZAI~0123456789abcdef", "x; y")
        ),
        ("credential", {"from": "keyring", "account": "other~0123456789abcdef"}),
        ("credential", {"from": "keyring", "account": "zai~0123456789abcdef\n"}),
        ("credential", {"from": "file", "host": 1}),
        ("credential", {"from": "variable", "name": None}),
        ("credential", {"from": "variable", "name": ["X"]}),
        ("credential", {"from": "command"}),
        ("credential", {"from": "command", "argv": "pass show zai"}),
        ("credential", {"from": "command", "argv": [1]}),
        ("tweaked", {"by": "tweakcc"}),
        ("tweaked", {"by": 1, "patches": []}),
        ("tweaked", {"by": "tweakcc", "patches": [1]}),
    ],
)
def test_a_wrong_value_is_a_value_error(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        from_json(RECORD | {field: value})
    assert type(refused.value) is ValueError


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("environment", {"X; touch canary": "1"}),
        ("environment", {"": "1"}),
        ("environment", {"A\nB": "1"}),
        ("environment", {"X": "a\0b"}),
        ("env", {"X$(touch canary)": "1"}),
        ("inherit", ["X) touch canary;; Y"]),
        ("inherit", [""]),
        ("args", ["a\0b"]),
        ("key_variable", "X; touch canary; Y"),
        ("key_variable", ""),
        ("credential", {"from": "variable", "name": "X; touch canary"}),
        ("credential", {"from": "variable", "name": ""}),
        ("credential", {"from": "command", "argv": []}),
        ("credential", {"from": "command", "argv": ["a\0b"]}),
        ("context_window", -1),
        ("looks", {"theme": "../x"}),
        ("looks", {"theme": "a\nb"}),
        ("looks", {"theme": 1}),
        ("looks", {"form": "purple"}),
        ("looks", {"status_line": "no"}),
        ("looks", {"guidance": "a\x1b[2Jb"}),
        ("looks", {"guidance": "\ud800"}),
        ("looks", {"guidance": "x" * 8001}),
    ],
)
def test_what_no_launcher_could_be_made_of_is_a_value_error(field: str, value: object) -> None:
    """Names of variables stand unquoted in the launcher."""
    with pytest.raises(ValueError, match=r"."):
        from_json(RECORD | {field: value})


@pytest.mark.parametrize("field", RECORD)
def test_a_missing_field_is_a_value_error_unless_it_may_be_null(field: str) -> None:
    record = {key: value for key, value in RECORD.items() if key != field}
    if field in MAY_BE_NULL:
        assert from_json(record) == from_json(RECORD | {field: None})
    elif field in ADDED_LATER:
        assert from_json(record) == from_json(RECORD | {field: ADDED_LATER[field]})
    else:
        with pytest.raises(ValueError, match=rf"^lacks '{field}'$"):
            from_json(record)


@pytest.mark.parametrize("document", [None, [], "x", 1, 2.5, True, [RECORD], "{}"])
def test_a_record_that_is_no_object_is_a_value_error(document: object) -> None:
    with pytest.raises(ValueError, match=r"^is not a JSON object$"):
        from_json(document)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


def refusal(record: object) -> str:
    """What a ValueError says about it; "" when it is read, and then written as it was."""
    try:
        variant = from_json(record)
    except ValueError as error:
        return str(error) if type(error) is ValueError else ""
    written = to_json(variant)
    if isinstance(record, dict) and not (record.get("looks") or {}).keys() >= {"theme", "form"}:
        written = written | {"looks": record.get("looks")}  # filled up, see is_wrong
        record = {"looks": None} | record
    return "" if written == record else "is read as something else"


def read_or_refused(record: object) -> None:
    assert refusal(record) != "is read as something else"


@given(st.sampled_from(sorted(RECORD)), json_values)
def test_no_value_of_any_field_is_another_error(field: str, value: object) -> None:
    read_or_refused(RECORD | {field: value})


@given(json_values)
def test_no_document_is_another_error(document: object) -> None:
    read_or_refused(document)


@given(json_values, st.sampled_from(["from", "name", "argv"]))
def test_no_credential_is_another_error(value: object, key: str) -> None:
    credential = copy.deepcopy(RECORD["credential"]) | {"name": "X", key: value}
    with suppress(ValueError):
        assert credential_to_json(credential_from_json(credential)).items() <= credential.items()
