"""Keys: where they come from, what is taken for one, and that they never show."""

import copy
import logging
import traceback
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccmirror_py.credential import NewKey, check_variable, described, fetch, found_credential
from ccmirror_py.errors import UsageError
from ccmirror_py.provider import Provider
from ccmirror_py.providers import Providers
from ccmirror_py.secret import LONGEST_KEY, Secret, parse_secret
from ccmirror_py.variant import Credential, FromCommand, FromFile, FromVariable, NoKey

PROVIDERS = {p.id: p for p in Providers(Path("/nowhere")).all()}
ALL_VARIABLES = [name for p in PROVIDERS.values() for name in p.auth.variables]
KEY = "sk-very-secret-0123456789"

each_provider = pytest.mark.parametrize("provider", PROVIDERS.values(), ids=list(PROVIDERS))


# --- a secret ---


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=8))
def test_a_secret_never_shows(text: str) -> None:
    secret = Secret(text)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r}", "%s %r" % (secret, secret)]  # noqa: UP031
    shown += [format(secret), repr([secret]), repr({"k": secret}), repr(NewKey(FromFile(), secret))]
    assert not [line for line in shown if text in line]
    assert secret.reveal() == text


def test_a_secret_shows_neither_in_a_log_nor_in_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    secret = Secret(KEY)
    logging.getLogger("x").warning("%s %r", secret, secret)
    try:
        raise RuntimeError(secret)
    except RuntimeError as error:
        told = traceback.TracebackException.from_exception(error, capture_locals=True)
    assert "***" in caplog.text
    assert KEY not in caplog.text + "".join(told.format())


def test_a_copy_of_a_secret_is_the_same_key() -> None:
    assert copy.deepcopy(Secret(KEY)).reveal() == KEY


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (KEY, KEY),
        (f"{KEY}\n", KEY),
        (f"{KEY}\r\n", KEY),
        (f"  {KEY}\t\n", KEY),
        (f"{KEY}\nuser: me\nurl: https://x", KEY),
        (f"{KEY}\n\n", KEY),
        ("!", "!"),
        ("~'\"\\$`*;|&", "~'\"\\$`*;|&"),
        ("k" * LONGEST_KEY, "k" * LONGEST_KEY),
    ],
)
def test_the_first_line_is_the_key(text: str, key: str) -> None:
    assert parse_secret(text).reveal() == key


@pytest.mark.parametrize("text", ["", " ", "\n", "\r\n", "\t", f"\n{KEY}", f"  \n{KEY}"])
def test_nothing_is_no_key(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_secret(text)
    assert refused.value.sentence == "The key is empty."


@pytest.mark.parametrize(
    "text",
    [
        f"{KEY} {KEY}",
        f"a\t{KEY}",
        f"{KEY}é",
        f"{KEY}\u200b",
        f"\ufeff{KEY}",
        f"{KEY}\x00",
        f"{KEY}\x1b[31m",
        f"{KEY}\x7f",
        f"{KEY}\r{KEY}",
        f"{KEY}\udcff",
        KEY * 200,
        "k" * (LONGEST_KEY + 1),
    ],
)
def test_what_can_be_no_key_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_secret(text)
    said = refused.value.sentence + refused.value.hint + repr(refused.value)
    assert (KEY in said, "kkkk" in said, bool(refused.value.hint)) == (False, False, True)


@given(st.text())
def test_any_text_is_one_printable_word_or_a_usage_error(text: str) -> None:
    with suppress(UsageError):
        key = parse_secret(text).reveal()
        assert key
        assert all(33 <= ord(character) <= 126 for character in key)


# --- what is found ---


@each_provider
def test_no_provider_takes_another_vendors_variable(provider: Provider) -> None:
    others = {name: KEY for name in ALL_VARIABLES if name not in provider.auth.variables}
    everything = others | dict.fromkeys(
        ("ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "OPENAI_API_KEY", "API_KEY"), KEY
    )
    without = {"required": None, "optional": NoKey(), "login": NoKey(), "cloud": NoKey()}[
        provider.auth.key
    ]
    assert found_credential(provider, everything) == without


@each_provider
def test_the_providers_own_variable_is_found_unless_it_logs_in(provider: Provider) -> None:
    found = [found_credential(provider, {name: KEY}) for name in provider.auth.variables]
    if provider.auth.key == "login":
        assert set(found) == {NoKey()}
    else:
        assert found == [FromVariable(name) for name in provider.auth.variables]


def test_the_first_of_several_variables_wins_and_an_empty_one_is_not_there() -> None:
    zai = PROVIDERS["zai"]
    both = {"Z_AI_API_KEY": "b", "ZAI_API_KEY": "a"}
    assert found_credential(zai, both) == FromVariable("ZAI_API_KEY")
    assert found_credential(zai, both | {"ZAI_API_KEY": ""}) == FromVariable("Z_AI_API_KEY")
    assert found_credential(zai, {"ZAI_API_KEY": ""}) is None


@each_provider
def test_a_variable_of_another_vendor_is_refused(provider: Provider) -> None:
    for name in ALL_VARIABLES:
        if name in provider.auth.variables or provider.asks_base_url:
            assert check_variable(name, provider, PROVIDERS.values()) == FromVariable(name)
            continue
        with pytest.raises(UsageError) as refused:
            check_variable(name, provider, PROVIDERS.values())
        assert name in refused.value.sentence
        assert provider.name in refused.value.sentence
        assert refused.value.hint


def test_the_refusal_says_whose_key_it_is_and_what_to_do() -> None:
    with pytest.raises(UsageError) as refused:
        check_variable("DEEPSEEK_API_KEY", PROVIDERS["zai"], PROVIDERS.values())
    assert (refused.value.sentence, refused.value.hint) == (
        "DEEPSEEK_API_KEY is the key of DeepSeek; it would be sent to Z.ai.",
        "Keep the key of Z.ai in a variable of its own, such as ZAI_API_KEY.",
    )


@pytest.mark.parametrize("name", ["MY_KEY", "_x", "zai", "X9"])
def test_a_variable_nobody_owns_is_fine(name: str) -> None:
    assert check_variable(name, PROVIDERS["zai"], PROVIDERS.values()) == FromVariable(name)


@pytest.mark.parametrize(
    "name", ["", "9x", "a-b", "a b", "A=B", "$X", "X;touch canary", "é", "X\n", "x.y", KEY]
)
def test_what_is_no_name_of_a_variable_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_variable(name, PROVIDERS["zai"], PROVIDERS.values())
    assert refused.value.hint == "Such as: ZAI_API_KEY."


# --- what the launcher would get ---


def fetched(
    credential: Credential, environ: dict[str, str] | None = None, stored: Secret | None = None
) -> str | None:
    secret = fetch(credential, stored, environ or {})
    return secret.reveal() if secret else None


def test_a_key_is_fetched_from_where_it_is_kept() -> None:
    environ = {"X": "from-x", "Y": ""}
    assert [
        fetched(NoKey(), environ, Secret("stored")),
        fetched(FromFile(), environ, Secret("stored")),
        fetched(FromFile(), environ),
        fetched(FromVariable("X"), environ, Secret("stored")),
        fetched(FromVariable("Y"), environ, Secret("stored")),
        fetched(FromVariable("Z"), environ, Secret("stored")),
        fetched(FromCommand(("echo", "printed")), environ, Secret("stored")),
    ] == [None, "stored", None, "from-x", None, None, "printed"]


def test_a_command_is_started_without_a_shell_and_its_first_line_is_the_key() -> None:
    assert fetched(FromCommand(("printf", "%s\\n", "$(id)", "second"))) == "$(id)"


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (("sh", "-c", f"echo {KEY}; exit 3"), "The command 'sh' failed (3)."),
        (("sh", "-c", "kill -9 $$"), "The command 'sh' failed (-9)."),
        (("/nowhere/at-all", "x"), "There is no command '/nowhere/at-all' to print the key."),
        (("no-such-command-of-ccm",), "There is no command 'no-such-command-of-ccm' to"),
        (("/", "x"), "The command '/' did not print a key."),
        (("printf", "\\377\\376"), "The command 'printf' did not print a key."),
        (("true",), "The key is empty."),
        (("printf", f"\\n{KEY}"), "The key is empty."),
        (("printf", f"{KEY} and more"), "That is not a key"),
    ],
)
def test_a_command_that_prints_no_key_is_a_usage_error(
    argv: tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(UsageError) as refused:
        fetch(FromCommand(argv), None, {})
    assert refused.value.sentence.startswith(sentence)
    assert refused.value.hint
    assert KEY not in refused.value.sentence + refused.value.hint


@pytest.mark.parametrize("argv", [(), ("",), ("a\0b",), ("echo", "a\0b")])
def test_a_command_that_can_not_be_started_is_a_usage_error(argv: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        fetch(FromCommand(argv), None, {})


def test_a_variable_that_holds_no_key_is_a_usage_error() -> None:
    with pytest.raises(UsageError) as refused:
        fetch(FromVariable("X"), None, {"X": f"{KEY} {KEY}"})
    assert KEY not in refused.value.sentence


def test_a_credential_is_described_without_the_key() -> None:
    kinds: list[Credential] = [
        NoKey(),
        FromFile(),
        FromVariable("ZAI_API_KEY"),
        FromCommand(("pass", "show", "zai")),
    ]
    assert [described(kind) for kind in kinds] == [
        "none",
        "stored (0600)",
        "$ZAI_API_KEY",
        "command: pass show zai",
    ]
