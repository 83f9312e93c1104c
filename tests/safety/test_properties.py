"""What holds for every name, rule, record, file and text, and for every sequence of commands.

One case is one example hypothesis makes up, or one command of a sequence.
"""

import atexit
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ccmirror_py import (
    credential,
    fields,
    journal,
    launcher,
    npmrc,
    provider,
    receipt,
    secret,
    signature,
    store,
    toml_table,
    transport,
    variant,
    variants,
    version,
)
from ccmirror_py import name as name_module
from ccmirror_py.address import check_base_url
from ccmirror_py.cli import render
from ccmirror_py.environment import KEYLESS_TOKEN
from ccmirror_py.errors import CcmError, DamagedError, UsageError, VerificationError
from ccmirror_py.home import Home
from ccmirror_py.host import this_platform
from ccmirror_py.name import check_name
from ccmirror_py.operations import looks
from ccmirror_py.receipt import RECEIPT, Receipt
from ccmirror_py.settings import merged_settings
from tests.npm_registry import NpmRegistry
from tests.safety.table import FULL, Tally
from tests.safety.told import Said, tell
from tests.test_launcher import STAND_IN
from tests.test_provider import WHOLE
from tests.test_variant import RECORD
from tests.test_variant import variants as records

EXAMPLES = 2_000 if FULL else 60
SETTINGS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=not FULL,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)

# --- values ------------------------------------------------------------------------------------

any_text = st.text(max_size=40) | st.text(
    alphabet="\x00\x1b\x7f\x9b\u202e\u2066\n\r\t a.\\'\"$`", max_size=12
)
encodable = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=8,
)
json_objects = st.dictionaries(any_text, json_values, max_size=5)
numbers = st.integers(0, 999_999_999) | st.integers(0, 3)
versions = st.builds(
    version.Version,
    *(numbers,) * 3,
    st.just("") | st.from_regex(r"[0-9A-Za-z][0-9A-Za-z.-]{0,8}", fullmatch=True),
)
small = st.builds(version.Version, *(st.integers(0, 3),) * 3)

# --- properties: each takes what hypothesis makes up and asserts --------------------------------


def told(error: ValueError | CcmError, hidden: str | None = None) -> None:
    """A complaint says something, and not what is to be hidden."""
    text = f"{error} {error.hint}" if isinstance(error, CcmError) else str(error)
    assert text.strip()
    assert type(error) is ValueError or isinstance(error, CcmError)
    assert hidden is None or hidden not in text


def a_name_is_one_plain_word_or_refused(text: str) -> None:
    try:
        name = check_name(text)
    except UsageError as error:
        told(error)
        return
    assert name == text == text.lower()
    assert Path("/x", name).parent == Path("/x")
    assert len(Path("/x", name).parts) == 3
    assert name.isascii()
    assert name[0].isalnum()
    assert not name.endswith(".")
    assert len(name) <= 40


def a_version_survives_and_versions_are_ordered(
    one: version.Version, two: version.Version, three: version.Version
) -> None:
    assert version.parse_version(str(one)) == one
    assert version.parse_spec(str(one)) == one
    assert version.allows(one, two) is (one == two)
    assert (one < two) + (two < one) + (one == two) == 1
    if one < two and two < three:
        assert one < three
    plain = [(each.major, each.minor, each.patch) for each in (one, two)]
    if plain[0] != plain[1]:
        assert (one < two) is (plain[0] < plain[1])


def a_rule_survives_and_holds_what_its_bounds_say(
    bounds: list[tuple[str, version.Version]], asked: version.Version, text: str
) -> None:
    rule_text = ",".join(f"{sign}{bound}" for sign, bound in bounds)
    parsed = version.parse_spec(rule_text)
    assert str(parsed) == rule_text
    holds: Mapping[str, Callable[[version.Version], bool]] = {
        ">=": lambda bound: asked >= bound,
        "<=": lambda bound: asked <= bound,
        ">": lambda bound: asked > bound,
        "<": lambda bound: asked < bound,
        "==": lambda bound: asked == bound,
        "!=": lambda bound: asked != bound,
    }
    expected = all(holds[sign](bound) for sign, bound in bounds)
    assert version.allows(parsed, asked) is expected
    assert version.allows(parsed, replace(asked, prerelease="rc.1")) is False
    try:
        assert str(version.parse_spec(text)) == text
    except UsageError as error:
        told(error)


def a_provider_file_says_what_was_written(
    id_: str, texts: dict[str, str], url: str, windows: dict[str, int]
) -> None:
    models = {tier: f"m-{tier}" for tier in provider.TIERS}
    lines = [
        "schema = 1",
        f"id = {json.dumps(id_)}",
        *(f"{name} = {_toml(texts[name])}" for name in ("name", "description")),
        f"[endpoint]\nbase_url = {_toml(url)}",
        '[auth]\nstyle = "bearer"\nkey = "optional"',
        "[models]",
        *(f"{tier} = {_toml(model)}" for tier, model in models.items()),
        *(f"[model.{_toml(id_)}]\ncontext = {tokens}" for id_, tokens in windows.items()),
        "[environment]",
        f"X_NOTE = {_toml(texts['value'])}",
        "[facts]\nchecked = 2026-11-22\nlive = false",
    ]
    read = provider.parse_provider("\n".join(lines))
    assert (read.id, read.name, read.description) == (id_, texts["name"], texts["description"])
    assert read.base_url == url.rstrip("/")
    assert read.models == models
    assert {id_: model.context for id_, model in read.catalog.items()} == windows
    assert read.environment == {"X_NOTE": texts["value"]}


def a_provider_file_is_read_or_complained_about(line: int, column: int, text: str) -> None:
    lines = WHOLE.splitlines()
    at = line % len(lines)
    old = lines[at]
    cut = column % (len(old) + 1)
    key_, separator, _ = old.partition("=")
    for new in (old[:cut] + text + old[cut:], old[:cut], f"{key_}{separator} {text}", text):
        lines[at] = new
        try:
            read = provider.parse_provider("\n".join(lines))
        except ValueError as error:
            told(error)
        else:
            for value in (read.name, *read.environment.values(), *read.models.values()):
                assert value.isprintable()


def a_record_survives_being_written(made: variant.Variant) -> None:
    text = json.dumps(variant.to_json(made), indent=2, ensure_ascii=False).encode()
    assert variant.from_json(json.loads(text)) == made


def a_changed_record_is_read_or_complained_about(key: str, value: object, drop: bool) -> None:
    document = dict(RECORD)
    if drop:
        document.pop(key, None)
    else:
        document[key] = value
    try:
        read = variant.from_json(document)
    except ValueError as error:
        told(error)
        return
    again = json.loads(json.dumps(variant.to_json(read)))
    assert variant.from_json(again) == read
    check_name(read.name)
    for name in (*read.environment, *read.choices.env, *read.choices.inherit):
        assert name.isidentifier()


def pinned_settings_win_and_the_rest_stays(pinned: dict[str, Any], users: dict[str, Any]) -> None:
    before = json.dumps([pinned, users])
    merged = merged_settings(pinned, users)
    assert json.dumps([pinned, users]) == before
    assert merged_settings(pinned, merged) == merged
    _wins(pinned, merged)
    _stays(users, pinned, merged)


def _wins(pinned: object, merged: object) -> None:
    if isinstance(pinned, dict):
        assert isinstance(merged, dict)
        for name, value in pinned.items():
            _wins(value, merged[name])
    elif isinstance(pinned, list):
        assert isinstance(merged, list)
        assert all(item in merged for item in pinned)
    else:
        assert merged == pinned


def _stays(users: dict[str, Any], pinned: dict[str, Any], merged: dict[str, Any]) -> None:
    assert set(merged) == {*users, *pinned}
    for name, value in users.items():
        if name not in pinned:
            assert merged[name] == value
        elif isinstance(value, dict) and isinstance(pinned[name], dict):
            _stays(value, pinned[name], merged[name])
        elif isinstance(value, list) and isinstance(pinned[name], list):
            assert merged[name][: len(value)] == value


def npmrc_is_read_as_written(values: dict[str, str], odd: str, key: str) -> None:
    text = "\n".join(f"{name} = {value}" for name, value in values.items())
    assert npmrc.parse_npmrc(f"# a note\n{text}\n; another\n[x]\ny = 1\n", {}) == values
    environ = {"ANTHROPIC_AUTH_TOKEN": key, "ZAI_API_KEY": key, "CLAUDE_X": key}
    names = "".join(f"//x/:_authToken=${{{name}}}{odd}\n{odd}\n" for name in environ)
    read = npmrc.parse_npmrc(names, environ, project=True)
    assert not any(key in name + value for name, value in read.items())
    config = npmrc.NpmConfig(read)
    assert key not in repr(config)
    try:
        config.authorization(f"https://x/{odd}")
    except UsageError as error:
        told(error)


def an_address_is_plain_and_shown_without_secrets(text: str, user: str, word: str) -> None:
    for url in (text, f"https://{text}", f"https://x.example/{text}"):
        try:
            good = check_base_url(url)
        except ValueError as error:
            told(error)
            continue
        assert check_base_url(good) == good
        assert good.isprintable()
        assert not set(good) & set(" ?#")
        assert "@" not in transport.host(good)
        assert transport.shown(good).startswith(good.partition(":")[0])
    hidden = f"s3cr3t{word}"
    url = f"https://{user}:{hidden}@registry.example:8/a/b?token={hidden}#{hidden}"
    assert hidden not in transport.shown(url)
    assert transport.host(url) == "registry.example:8"


def a_text_moves_no_cursor(text: str) -> None:
    said = render.safe(text)
    assert len(said) == len(text)
    assert all(c == "\n" or c.isprintable() for c in said)
    assert said == text or not text.replace("\n", "").isprintable()
    error = UsageError(text, text)
    assert "\x1b" not in render.safe(render.error_lines(error))
    table = render.table(("A", "B"), [(text.replace("\n", ""), "x")])
    assert render.safe(table).isprintable() or "\n" in table


def a_secret_shows_nowhere(text: str) -> None:
    hidden = f"k3y{text}"
    try:
        key = secret.check_secret(hidden)
    except UsageError as error:
        told(error, hidden)
        return
    new = credential.NewKey(variant.FromFile(), key)
    shown = [
        repr(key),
        str(key),
        f"{key}",
        f"{key!r:>9}",
        f"{new}",
        repr([{"a": key}]),
        f"{key}",
    ]
    record = logging.LogRecord("x", logging.ERROR, "x", 1, "%s %r", (key, new), None)
    shown.append(record.getMessage())
    try:
        _fails_with(key)
    except ValueError as error:
        below = error.__traceback__ and error.__traceback__.tb_next  # this one holds the text
        trace = traceback.TracebackException(ValueError, error, below, capture_locals=True)
        shown.append("".join(trace.format()))
    shown.append(json.dumps({"key": key}, default=str))
    assert not any(hidden in one for one in shown)
    assert secret.parse_secret(f"  {hidden}\nmore").reveal() == hidden


def _fails_with(key: secret.Secret) -> None:
    raise ValueError(f"with {key}")


def a_launcher_passes_values_byte_for_byte(values: list[str], argument: str, key: str) -> None:
    place = _place()
    (place / "settings.json").write_text("{}\n")
    launch = launcher.Launch(
        name="zai",
        generation=str(place),
        program=str(place / "claude"),
        settings=str(place / "settings.json"),
        pinned="{}\n",
        again="",
        network={},
        environment={f"X_{n}": value for n, value in enumerate(values)},
        key_variable="ANTHROPIC_AUTH_TOKEN",
        credential=variant.FromFile(),
        credential_file=str(place / "credential"),
        args=(argument,),
        inherit=(),
        ccm=("/usr/bin/false",),
    )
    (place / "credential").write_bytes(key.encode() + b"\n")
    script = place / "launch"
    script.write_bytes(launcher.render(launch).encode())
    done = subprocess.run(
        ["/bin/sh", script, argument],
        env={"PATH": "/usr/bin:/bin", "RECORD": str(place / "record"), "LANG": "C.UTF-8"},
        cwd=place / "work",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert os.listdir(place / "work") == []
    words = (place / "record" / "words").read_bytes().split(b"\0")[1:-1]
    settings_file = str(place / "settings.json").encode()
    assert words == [b"--settings", settings_file, argument.encode(), argument.encode()]
    environment = (place / "record" / "environment").read_bytes().split(b"\0")
    for name, value in {**launch.environment, "ANTHROPIC_AUTH_TOKEN": key}.items():
        assert f"{name}={value}".encode() in environment


@cache
def _place() -> Path:
    """A variant's files, and a working directory in which nothing may appear."""
    place = Path(tempfile.mkdtemp(prefix="ccm-properties-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    for name in ("work", "record"):
        (place / name).mkdir()
    (place / "claude").write_text(STAND_IN)
    (place / "claude").chmod(0o755)
    return place


def a_receipt_is_read_or_damaged(document: object, files: dict[str, str]) -> None:
    home = Home(_place() / "home", _place() / "bin")
    kept = store.Store(home, this_platform())
    key = ("claude-code-x", "2.1.330")
    path = kept.directory(key) / RECEIPT
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {"package": "p", "version": "v", "integrity": "i", "signed_by": None, "files": files}
    path.write_text(json.dumps(whole))
    assert kept.receipt(key) == Receipt("p", "v", "i", None, files, {})
    for each in (document, {**whole, "files": document}, {**whole, "package": document}):
        path.write_text(json.dumps(each))
        try:
            kept.receipt(key)
        except DamagedError as error:
            told(error)
        assert all(isinstance(problem, str) for problem in kept.problems(key))


def a_signature_is_of_one_message_alone(message: str, other: str, listed: object) -> None:
    private, keys = _signing()
    signed = b64encode(private.sign(message.encode(), ec.ECDSA(SHA256()))).decode()
    right = (signature.Signature("mine", signed),)
    assert signature.signer(message, right, keys, lambda: None) == "mine"
    assert (
        signature.signer(message, (signature.Signature("unknown", signed),), keys, lambda: None)
        is None
    )
    for wrong in (other, f"{message} ", message[:-1]):
        if wrong != message:
            with pytest.raises(VerificationError):
                signature.signer(wrong, right, keys, lambda: None)
    with pytest.raises(VerificationError):
        signature.signer(message, (signature.Signature("mine", other),), keys, lambda: None)
    try:
        read = signature.parse_signatures(listed)
    except VerificationError as error:
        told(error)
    else:
        assert read == () if listed is None else len(read) == len(listed)  # type: ignore[arg-type]


@cache
def _signing() -> tuple[ec.EllipticCurvePrivateKey, Mapping[str, signature.RegistryKey]]:
    private = ec.generate_private_key(ec.SECP256R1())
    public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return private, {"mine": signature.RegistryKey(b64encode(public).decode())}


def claude_json_is_seeded_without_loss_or_left_alone(document: dict[str, Any], raw: str) -> None:
    path = _place() / ".claude.json"
    path.write_text(json.dumps(document))
    read = looks._read_object(path)
    if read is None:
        assert any(word in path.read_text() for word in ("NaN", "Infinity"))
    else:
        assert json.dumps(read, allow_nan=False) == json.dumps(document)
    path.write_text(raw)
    again = looks._read_object(path)
    assert again is None or json.loads(raw) == again


def _toml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


@dataclass(frozen=True)
class Property:
    holds: Callable[..., None]
    values: Mapping[str, st.SearchStrategy[Any]]


urls = st.from_regex(
    r"https?://[a-z0-9.-]{1,12}[a-z](:[1-9][0-9]{0,3})?(/[a-z]{1,5}){0,2}/?", fullmatch=True
)
printable = st.text(
    st.characters(categories=["L", "N", "P", "S"], exclude_characters='\\"'),
    min_size=1,
    max_size=12,
)
words = st.text(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/@:", min_size=1, max_size=12
)
named = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=9)
pins = st.dictionaries(
    st.sampled_from("abc"),
    st.sampled_from(["", "1"])
    | st.lists(st.sampled_from("xyz"), max_size=3)
    | st.dictionaries(st.sampled_from("de"), st.sampled_from("xy"), max_size=2),
    max_size=3,
)
users_settings = st.dictionaries(
    st.sampled_from("abcd"),
    st.sampled_from(["", "1", 2, None])
    | st.lists(st.sampled_from("xyz"), max_size=3)
    | st.dictionaries(st.sampled_from("def"), st.sampled_from("xyz"), max_size=3),
    max_size=4,
)
near_names = (
    st.text("abcCON.-_019\n ", max_size=6)
    | any_text
    | st.sampled_from(["con", "nul.x", "if", "claude", "..", "a."])
)
signs = st.sampled_from([">=", "<=", ">", "<", "==", "!="])
near_rules = any_text | st.text("0123.x*<>=!, -abc", max_size=14)

PROPERTIES = {
    "names": Property(a_name_is_one_plain_word_or_refused, {"text": near_names}),
    "versions": Property(
        a_version_survives_and_versions_are_ordered,
        {"one": versions | small, "two": versions | small, "three": versions | small},
    ),
    "rules": Property(
        a_rule_survives_and_holds_what_its_bounds_say,
        {
            "bounds": st.lists(st.tuples(signs, small), min_size=1, max_size=3),
            "asked": small,
            "text": near_rules,
        },
    ),
    "provider files": Property(
        a_provider_file_says_what_was_written,
        {
            "id_": st.from_regex(r"[a-z0-9][a-z0-9-]{0,39}", fullmatch=True),
            "texts": st.fixed_dictionaries(
                dict.fromkeys(("name", "description", "value"), printable)
            ),
            "url": urls,
            "windows": st.dictionaries(printable, st.integers(1, 10**9), max_size=3),
        },
    ),
    "odd provider files": Property(
        a_provider_file_is_read_or_complained_about,
        {
            "line": st.integers(0, 200),
            "column": st.integers(0, 80),
            "text": any_text | st.text("[]{}\"'=.,\n0123e+-naif", max_size=8),
        },
    ),
    "records": Property(a_record_survives_being_written, {"made": records}),
    "odd records": Property(
        a_changed_record_is_read_or_complained_about,
        {
            "key": st.sampled_from(sorted(RECORD)),
            "value": json_values | st.dictionaries(any_text, encodable, min_size=1, max_size=2),
            "drop": st.booleans(),
        },
    ),
    "settings": Property(
        pinned_settings_win_and_the_rest_stays, {"pinned": pins, "users": users_settings}
    ),
    "npmrc": Property(
        npmrc_is_read_as_written,
        {
            "values": st.dictionaries(named, words, max_size=4),
            "odd": st.text("${}?;#=\\\"'[]ax\n ", max_size=10),
            "key": named.map("k3y{}".format),
        },
    ),
    "addresses": Property(
        an_address_is_plain_and_shown_without_secrets,
        {"text": any_text | words, "user": named, "word": named},
    ),
    "what is shown": Property(a_text_moves_no_cursor, {"text": any_text}),
    "secrets": Property(
        a_secret_shows_nowhere,
        {
            "text": st.text(
                st.characters(min_codepoint=33, max_codepoint=127), min_size=6, max_size=40
            )
            | any_text
        },
    ),
    "launchers": Property(
        a_launcher_passes_values_byte_for_byte,
        {
            "values": st.lists(encodable, max_size=4),
            "argument": encodable.filter(lambda a: not a.startswith(("+", "--settings"))),
            "key": st.text(
                st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40
            ),
        },
    ),
    "receipts": Property(
        a_receipt_is_read_or_damaged,
        {"document": json_values, "files": st.dictionaries(any_text, any_text, max_size=3)},
    ),
    "signatures": Property(
        a_signature_is_of_one_message_alone,
        {
            "message": encodable.filter(bool),
            "other": encodable,
            "listed": json_values
            | st.lists(st.fixed_dictionaries({"keyid": any_text, "sig": any_text}), max_size=2),
        },
    ),
    ".claude.json": Property(
        claude_json_is_seeded_without_loss_or_left_alone,
        {"document": json_objects, "raw": any_text | st.text('{}[]",:ax01e9\\u', max_size=20)},
    ),
}


def examples(prop: Property, most: int = EXAMPLES, phases: tuple[Phase, ...] = tuple(Phase)) -> int:
    """How many were made up; the first that is wrong is raised, as small as it can be."""
    count = 0

    @settings(SETTINGS, max_examples=most, phases=phases)
    @given(**prop.values)
    def each(**values: Any) -> None:
        nonlocal count
        count += 1
        prop.holds(**values)

    each()
    return count


@pytest.mark.parametrize("name", PROPERTIES)
def test_a_property_holds_for_everything_made_up(tally: Tally, name: str) -> None:
    tally(examples(PROPERTIES[name]), [])


# --- every sequence of commands ----------------------------------------------------------------

NAMES = ("alpha", "beta")
RULES = ("latest", "2.1.x", "2.1.400", "2.1.401")
URLS = ("https://one.example", "https://two.example")
MODELS = ("m1", "m2")
KEYS = ("key-1-0123456789", "key-2-0123456789")


@dataclass(frozen=True)
class Generation:
    """What one generation should be. `key` None: it was stored, and taken away since."""

    number: int
    version: str
    rule: str
    model: str
    url: str
    key: str | None
    made: str

    @property
    def program(self) -> tuple[str, ...]:
        return (self.version, self.model, self.url)


@dataclass
class Model:
    """One variant: its generations on the disk (the last is current) and its sessions."""

    generations: list[Generation] = field(default_factory=list)
    sessions: set[str] = field(default_factory=set)

    @property
    def current(self) -> Generation:
        return self.generations[-1]

    @property
    def way_back(self) -> Generation | None:
        return next(
            (g for g in self.generations[-2::-1] if g.program != self.current.program), None
        )

    def change(self, **to: Any) -> None:
        """The next generation. What lies too far back goes."""
        coming = replace(self.current, **{**to, "number": self.current.number + 1})
        self.generations.append(coming)
        self.prune()

    def prune(self) -> None:
        kept = {self.current, *self.generations[-2:-1], self.way_back}
        self.generations = [one for one in self.generations if one in kept]

    def forget_keys(self) -> None:
        self.generations[:-1] = [
            replace(one, key=None) if one.key else one for one in self.generations[:-1]
        ]


class Commands(RuleBasedStateMachine):
    """Two variants, and what every command should make of them."""

    tmp: Path
    steps = 0
    runs = 0

    @initialize()
    def begin(self) -> None:
        Commands.runs += 1
        self.npm = NpmRegistry().__enter__()
        self.home = Home(self.user / ".ccm", self.user / ".local" / "bin")
        self.user.mkdir(parents=True)
        self.variants: dict[str, Model] = {}
        self.kept: dict[str, set[str]] = {}
        self.numbers: dict[str, int] = {}
        self.published: list[str] = []
        for _ in range(2):
            self.publish()

    @property
    def user(self) -> Path:
        return self.tmp / str(Commands.runs)

    def teardown(self) -> None:
        if hasattr(self, "npm"):
            self.npm.__exit__()
            shutil.rmtree(self.user)

    def ccm(self, *words: str, stdin: str = "") -> Said:
        """What it answers. Crashing and hanging are never right."""
        environ = {
            "HOME": str(self.user),
            "PATH": f"{self.home.bin_dir}:/usr/bin:/bin",
            "NPM_CONFIG_REGISTRY": self.npm.url,
        }
        (said,) = tell(environ, [words], stdin)
        assert isinstance(said.code, int), said
        return said

    def expect(self, code: int, *words: str, stdin: str = "") -> None:
        said = self.ccm(*words, stdin=stdin)
        assert said.code == code, f"{said}: {said.code}: {said.out}{said.err}"

    def newest(self, rule: str) -> str:
        return rule if rule in self.published else self.published[-1]

    # --- what is done ---

    def publish(self) -> None:
        self.published.append(f"2.1.{400 + len(self.published)}")
        self.npm.publish(self.published[-1])

    @precondition(lambda self: len(self.published) < 7)
    @rule()
    def another_release(self) -> None:
        self.publish()

    @rule(
        name=st.sampled_from(NAMES),
        chosen=st.tuples(*map(st.sampled_from, (RULES, URLS, MODELS, KEYS))),
        force=st.booleans(),
    )
    def create(self, name: str, chosen: tuple[str, ...], force: bool) -> None:
        to, url, model, key = chosen
        words = ("create", name, "--provider", "echo", "--base-url", url, "--model", model)
        words += ("--claude-version", to, "--api-key-stdin", *(("--force",) if force else ()))
        there = self.variants.get(name)
        self.expect(2 if there and not force else 0, *words, stdin=key)
        if there and not force:
            return
        made = str(self.listed()[name]["created"])
        new = Generation(1, self.newest(to), to, model, url, key, made)
        if there:
            there.change(**vars(new))
        else:
            first = replace(new, number=self.numbers.get(name, 0) + 1)
            self.variants[name] = Model([first], self.kept.pop(name, set()))

    @rule(name=st.sampled_from(NAMES), to=st.none() | st.sampled_from(RULES))
    def update(self, name: str, to: str | None) -> None:
        words = ("update", name, *(("--claude-version", to) if to else ()))
        there = self.variants.get(name)
        self.expect(0 if there else 3, *words)
        if there:
            follows = to or there.current.rule
            now = self.newest(follows)
            if (follows, now) != (there.current.rule, there.current.version):
                there.change(rule=follows, version=now)

    @rule(name=st.sampled_from(NAMES), to=st.none() | st.sampled_from(RULES))
    def pin(self, name: str, to: str | None) -> None:
        there = self.variants.get(name)
        self.expect(0 if there else 3, "pin", name, *((to,) if to else ()))
        if there:
            follows = to or there.current.version
            if follows in (there.current.version, "2.1.x"):
                if follows != there.current.rule:
                    there.change(rule=follows)
            else:
                there.change(rule=follows, version=self.newest(follows))

    @rule(name=st.sampled_from(NAMES))
    def unpin(self, name: str) -> None:
        there = self.variants.get(name)
        self.expect(0 if there else 3, "unpin", name)
        if there and there.current.rule != "latest":
            there.change(rule="latest")

    @rule(name=st.sampled_from(NAMES))
    def rollback(self, name: str) -> None:
        there = self.variants.get(name)
        back = there.way_back if there else None
        self.expect(0 if back else 3, "rollback", name)
        if there and back:
            key = there.current.key if back.url == there.current.url else back.key
            there.change(**{**vars(back), "key": key})

    @rule(name=st.sampled_from(NAMES), key=st.sampled_from(KEYS))
    def key_set(self, name: str, key: str) -> None:
        there = self.variants.get(name)
        self.expect(0 if there else 3, "key", "set", name, "--api-key-stdin", stdin=key)
        if there:
            there.change(key=key)
            there.forget_keys()

    @rule(name=st.sampled_from(NAMES))
    def key_remove(self, name: str) -> None:
        there = self.variants.get(name)
        code = 3 if there is None else 2 if there.current.key == "" else 0
        self.expect(code, "key", "remove", name)
        if there and not code:
            there.change(key="")
            there.forget_keys()

    @rule(name=st.sampled_from(NAMES), keep=st.booleans())
    def remove(self, name: str, keep: bool) -> None:
        there = self.variants.pop(name, None)
        words = ("remove", name, "--yes", *(("--keep-config",) if keep else ()))
        self.expect(0 if there else 3, *words)
        if there:
            self.numbers[name] = there.current.number  # none is given twice
        if there and keep:
            self.kept[name] = there.sessions

    @rule()
    def prune(self) -> None:
        self.expect(0, "prune")
        for there in self.variants.values():
            there.prune()

    @rule(name=st.sampled_from(NAMES), number=st.integers(0, 3))
    def session(self, name: str, number: int) -> None:
        if name in self.variants:
            path = self.home.config(name) / "projects" / "x" / f"{number}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("it matters")
            self.variants[name].sessions.add(path.name)

    # --- what must be seen ---

    def listed(self) -> dict[str, dict[str, Any]]:
        said = self.ccm("list", "--json")
        return {each["name"]: each for each in json.loads(said.out)["variants"]}

    @invariant()
    def the_disk_is_what_was_done(self) -> None:
        if not hasattr(self, "npm"):
            return
        Commands.steps += 1
        listed = self.listed()
        assert set(listed) == set(self.variants)
        for name, there in self.variants.items():
            now = there.current
            says = listed[name]
            come = {None: "file", "": "none"}.get(now.key, "file")
            assert (says["version"], says["spec"]) == (now.version, now.rule)
            assert (says["models"]["main"], says["base_url"]) == (now.model, now.url)
            assert says["credential"]["from"] == come
            assert says["created"] == now.made
            on_disk = sorted(map(int, os.listdir(self.home.generations(name))))
            assert on_disk == [one.number for one in there.generations]
            for one in there.generations:
                kept = self.home.generation(name, one.number) / "credential"
                assert kept.exists() == bool(one.key)
            assert self.launched(name) == self.should_launch(now)
        for name, sessions in {
            **self.kept,
            **{name: there.sessions for name, there in self.variants.items()},
        }.items():
            found = {path.name for path in self.home.config(name).glob("projects/x/*.jsonl")}
            assert found == sessions

    def launched(self, name: str) -> tuple[str, ...]:
        done = subprocess.run(
            [self.home.launcher(name)],
            env={"HOME": str(self.user), "PATH": "/usr/bin:/bin"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            return (str(done.returncode), done.stderr.decode())
        ran = json.loads(done.stdout)
        env = ran["env"]
        names = ("ANTHROPIC_BASE_URL", "ANTHROPIC_MODEL", "ANTHROPIC_AUTH_TOKEN")
        return (ran["version"], *(env[each] for each in names))

    def should_launch(self, now: Generation) -> tuple[str, ...]:
        if now.key is None:
            name = next(n for n, there in self.variants.items() if there.current is now)
            return ("1", f"{name}: its stored key is missing; run: ccm key set {name}\n")
        return (now.version, now.url, now.model, now.key or KEYLESS_TOKEN)


def walk(tmp_path: Path, walks: int, length: int, phases: tuple[Phase, ...] = tuple(Phase)) -> int:
    """How many commands were given; the first sequence that goes wrong is raised."""
    machine = type("Machine", (Commands,), {"tmp": tmp_path})
    Commands.steps = 0
    run_state_machine_as_test(
        machine,
        settings=settings(SETTINGS, max_examples=walks, stateful_step_count=length, phases=phases),
    )
    return Commands.steps


@pytest.mark.parametrize("number", range(2))
def test_every_sequence_of_commands_does_what_a_model_of_it_says(
    tmp_path: Path, tally: Tally, number: int
) -> None:
    walks, length = (40, 40) if FULL else (2 + number, 14)
    tally(walk(tmp_path, walks, length), [])


# --- do they see anything? ---------------------------------------------------------------------


def always(value: object) -> Callable[..., object]:
    return lambda *_, **__: value


def _all_of_it(home: journal.Journal, name: str, keep_config: bool, trashed: str) -> None:
    KEEP(home, name, False, trashed)


KEEP = journal.Journal._finish_removal
TO_JSON = variant.to_json


@dataclass(frozen=True)
class Seed:
    """A mistake, put in place of what is right; `holds` names the property that must not hold.
    Without it the commands of SEQUENCES must end otherwise than the model says."""

    place: object
    name: str
    wrong: object
    holds: str = ""


SEEDS = {
    "a name with a slash": Seed(name_module, "is_name", always(True), "names"),
    "versions ordered as texts": Seed(
        version.Version, "__lt__", lambda one, two: str(one) < str(two), "versions"
    ),
    "a range with everything in it": Seed(version.Range, "__contains__", always(True), "rules"),
    "an address with its last slash": Seed(provider, "check_base_url", str, "provider files"),
    "control characters in a provider": Seed(toml_table, "check_text", str, "odd provider files"),
    "a record without what is inherited": Seed(
        variant, "to_json", lambda made: {**TO_JSON(made), "inherit": []}, "records"
    ),
    "any name of a variable": Seed(fields, "_variable", str, "odd records"),
    "the user's settings win": Seed(
        sys.modules[__name__],
        "merged_settings",
        lambda pinned, users: {**pinned, **users},
        "settings",
    ),
    "a provider's key expanded": Seed(npmrc, "_PROVIDER_KEY", re.compile("x"), "npmrc"),
    "an address with its password": Seed(
        transport, "host", lambda url: url.partition("//")[2].partition("/")[0], "addresses"
    ),
    "texts shown as they are": Seed(render, "safe", str, "what is shown"),
    "a key that shows": Seed(secret.Secret, "__repr__", lambda self: self.reveal(), "secrets"),
    "double quotes in a launcher": Seed(launcher, "quote", '"{}"'.format, "launchers"),
    "a receipt of any shape": Seed(receipt, "AttributeError", KeyError, "receipts"),
    "any signature": Seed(signature, "_is_signed", always(True), "signatures"),
    "a number JSON can't hold": Seed(looks, "_finite", float, ".claude.json"),
    "one generation kept": Seed(variants, "KEPT_GENERATIONS", 1),
    "sessions that go": Seed(journal.Journal, "_finish_removal", _all_of_it),
    "keys that stay": Seed(variants.Variants, "forget_keys", always(None)),
    "the way back is the generation before": Seed(
        variants.Variants, "way_back", lambda self, name: next(iter(self.earlier(name)), None)
    ),
}

FIRST = ("create", {"chosen": ("2.1.400", URLS[0], MODELS[0], KEYS[0]), "force": False})
SEQUENCES: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "one generation kept": [FIRST, ("pin", {"to": "2.1.x"})],
    "sessions that go": [FIRST, ("session", {"number": 1}), ("remove", {"keep": True})],
    "keys that stay": [FIRST, ("key_set", {"key": KEYS[1]})],
    "the way back is the generation before": [
        FIRST,
        ("update", {"to": "latest"}),
        ("key_set", {"key": KEYS[1]}),
        ("rollback", {}),
    ],
}


def follow(tmp_path: Path, commands: list[tuple[str, dict[str, Any]]]) -> None:
    """Of one variant; after each the disk is looked at."""
    machine = type("Machine", (Commands,), {"tmp": tmp_path})()
    machine.begin()
    try:
        for command, values in commands:
            getattr(machine, command)(name=NAMES[0], **values)
            machine.the_disk_is_what_was_done()
    finally:
        machine.teardown()


@pytest.mark.parametrize("name", SEQUENCES)
def test_without_a_mistake_its_sequence_goes_well(tmp_path: Path, name: str) -> None:
    follow(tmp_path, SEQUENCES[name])


@pytest.mark.parametrize("name", SEEDS)
def test_a_property_or_a_sequence_finds_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally, name: str
) -> None:
    seed = SEEDS[name]
    monkeypatch.setattr(seed.place, seed.name, seed.wrong, raising=False)
    if seed.holds:
        seen = (AssertionError, CcmError, KeyError, TypeError, ValueError, ExceptionGroup)
        with pytest.raises((*seen, AttributeError, pytest.fail.Exception)):
            examples(PROPERTIES[seed.holds], 300, (Phase.generate,))
    else:
        with pytest.raises(AssertionError):
            follow(tmp_path, SEQUENCES[name])
    tally(1, [], suite="seeds")
