"""Provider files: those that come with ccm, the user's own, and what is wrong with bad ones."""

import re
from contextlib import suppress
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccmirror_py.address import check_base_url
from ccmirror_py.environment import is_loopback
from ccmirror_py.errors import DamagedError, NotFoundError, UsageError
from ccmirror_py.look import Look
from ccmirror_py.provider import (
    TIERS,
    Auth,
    Facts,
    McpServer,
    Model,
    Price,
    Provider,
    Region,
    Retired,
    in_region,
    parse_provider,
    plain,
)
from ccmirror_py.providers import ELSEWHERE, Providers
from ccmirror_py.toml_table import check_text

BUNDLED_FILES = sorted((Path(__file__).parents[1] / "variants").glob("*.toml"))
BUNDLED = {path.stem: parse_provider(path.read_text()) for path in BUNDLED_FILES}

WHOLE = """\
schema = 1
id = "acme"
name = "Acme"
description = "models of Acme"
docs_url = "https://docs.acme.example/claude"
group = "api"

[endpoint]
base_url = "https://api.acme.example/anthropic/"
models_url = "https://api.acme.example/models"
asks_base_url = false

[regions.cn]
base_url = 'https://cn.acme.example/anthropic/'
description = "China"

[auth]
style = "x-api-key"
key = "required"
variables = ["ACME_API_KEY"]
key_url = "https://acme.example/keys"

[models]
main = "m[1m]"
opus = "m[1m]"
sonnet = "m[1m]"
haiku = "s"
fable = "m[1m]"
subagent = "s"
asks_models = false

[prices]
checked = 2026-11-01
source = "their list"

[model.m]
context = 100000
max_output = 8000
auto_compact = 90000
vision = true
thinking = "required"
note = "big"
price = { input = 1.5, output = 3, cache_read = 0.1, cache_write = 2 }

[model."s"]
context = "unknown"
price = { input = 0, output = 1, checked = 2026-10-01, source = "a friend" }

[retired.old]
since = 2026-07-24
use = "m"
works = false

[mcp.search]
description = "searches"
url = "https://mcp.acme.example/mcp"
headers = { Authorization = "Bearer ${ACME_API_KEY}" }

[mcp.eyes]
description = "sees"
command = ["npx", "-y", "acme-eyes"]
environment = { ACME_KEY = "${ACME_API_KEY}" }

[environment]
API_TIMEOUT_MS = "600000"

[settings]
deny = ["WebSearch"]

[look]
name = "Acme colours"
accent = "#aa5500"
second = "#00aaff"
tint = "#808080"
verbs = ["Working"]
guidance = ["Be kind."]

[facts]
checked = 2026-11-22
live = false
sources = ["docs"]
notes = ["a note"]

[facts.confidence]
models = "weak"
"""
LEAST = """\
schema = 1
id = "acme"
name = "Acme"
description = ""
[endpoint]
base_url = "http://127.0.0.1:1"
[auth]
style = "bearer"
key = "optional"
[facts]
checked = 2026-11-22
live = true
"""


def complaint(text: str) -> str:
    with pytest.raises(ValueError, match=r".") as refused:
        parse_provider(text)
    assert type(refused.value) is ValueError
    return str(refused.value)


def changed(old: str, new: str) -> str:
    assert WHOLE.count(old) == 1
    return WHOLE.replace(old, new)


def test_a_whole_file_is_read_as_what_it_says() -> None:
    assert parse_provider(WHOLE) == Provider(
        id="acme",
        name="Acme",
        description="models of Acme",
        group="api",
        base_url="https://api.acme.example/anthropic",
        asks_base_url=False,
        cloud=None,
        first_party=False,
        models_url="https://api.acme.example/models",
        regions={"cn": Region("https://cn.acme.example/anthropic", "China")},
        auth=Auth("x-api-key", "required", ("ACME_API_KEY",), "https://acme.example/keys"),
        models={
            "main": "m[1m]",
            "opus": "m[1m]",
            "sonnet": "m[1m]",
            "haiku": "s",
            "fable": "m[1m]",
            "subagent": "s",
        },
        asks_models=False,
        catalog={
            "m": Model(
                100_000,
                8000,
                90_000,
                True,
                "required",
                Price(1.5, 3, 0.1, 2, date(2026, 11, 1), "their list"),
                "big",
            ),
            "s": Model(None, price=Price(0, 1, None, None, date(2026, 10, 1), "a friend")),
        },
        retired={"old": Retired(date(2026, 7, 24), "m", False)},
        mcp={
            "search": McpServer(
                "searches",
                "https://mcp.acme.example/mcp",
                headers={"Authorization": "Bearer ${ACME_API_KEY}"},
            ),
            "eyes": McpServer(
                "sees",
                command=("npx", "-y", "acme-eyes"),
                environment={"ACME_KEY": "${ACME_API_KEY}"},
            ),
        },
        environment={"API_TIMEOUT_MS": "600000"},
        deny=("WebSearch",),
        docs_url="https://docs.acme.example/claude",
        look=Look("Acme colours", "#aa5500", "#00aaff", "#808080", ("Working",), ("Be kind.",)),
        facts=Facts(date(2026, 11, 22), False, {"models": "weak"}, ("docs",), ("a note",)),
    )


def test_what_may_be_left_out_is_empty() -> None:
    assert parse_provider(LEAST) == Provider(
        id="acme",
        name="Acme",
        description="",
        group="own",
        base_url="http://127.0.0.1:1",
        asks_base_url=False,
        cloud=None,
        first_party=False,
        models_url="",
        regions={},
        auth=Auth("bearer", "optional"),
        models={},
        asks_models=False,
        catalog={},
        retired={},
        mcp={},
        environment={},
        deny=(),
        docs_url="",
        look=parse_provider(LEAST).look,  # invented; test_look has it
        facts=Facts(date(2026, 11, 22), True, {}, ()),
    )


# --- the files that come with ccm ---


FORMER = ["custom", "deepseek", "echo", "mirror", "openrouter", "zai"]
each_bundled = pytest.mark.parametrize("provider", BUNDLED.values(), ids=list(BUNDLED))


def test_providers_of_earlier_releases_are_still_there() -> None:
    assert set(FORMER) < set(BUNDLED)
    assert len(BUNDLED) >= 48


def test_a_bundled_provider_has_the_name_of_its_file() -> None:
    assert {name: provider.id for name, provider in BUNDLED.items()} == {n: n for n in BUNDLED}


@each_bundled
def test_a_bundled_provider_says_when_and_where_its_facts_were_read(provider: Provider) -> None:
    facts = provider.facts
    assert date(2026, 11, 1) <= facts.checked <= date(2100, 1, 1)
    assert provider.description
    assert facts.sources
    assert [source for source in facts.sources if not re.search(r"20[2-9]\d", source)] == []


@each_bundled
def test_a_bundled_provider_says_how_sure_each_part_is(provider: Provider) -> None:
    assert provider.facts.confidence
    sure = re.compile(r"verified|weak|from memory|unknown|\bours\b|optional|last the default")
    assert [t for t in provider.facts.confidence.values() if not sure.search(t)] == []


@each_bundled
def test_a_bundled_provider_names_all_tiers_or_asks_for_them(provider: Provider) -> None:
    if provider.first_party:
        assert (provider.models, provider.asks_models) == ({}, False)
    elif provider.asks_models:
        assert provider.models == {}
    else:
        assert set(provider.models) == set(TIERS)


@each_bundled
def test_every_bundled_model_in_use_has_a_window_or_says_that_it_is_unknown(
    provider: Provider,
) -> None:
    everywhere = [provider.models, *(region.models for region in provider.regions.values())]
    ids = {model.removesuffix("[1m]") for models in everywhere for model in models.values()}
    assert ids <= set(provider.catalog)
    unknown = {id_ for id_ in ids if provider.catalog[id_].context is None}
    assert not unknown or {"windows", "all", "models"} & set(provider.facts.confidence)


@each_bundled
def test_a_model_said_to_take_a_million_tokens_takes_them(provider: Provider) -> None:
    for model in provider.models.values():
        if model.endswith("[1m]"):
            assert (provider.model(model).context or 0) >= 1_000_000


@each_bundled
def test_addresses_of_a_bundled_provider_are_https_or_of_this_machine(provider: Provider) -> None:
    urls = [provider.base_url, provider.models_url, provider.docs_url, provider.auth.key_url]
    urls += [url for r in provider.regions.values() for url in (r.base_url, r.key_url)]
    urls += [server.url for server in provider.mcp.values()]
    assert [u for u in urls if u and not u.startswith("https://") and not is_loopback(u)] == []
    if provider.group == "local":
        assert is_loopback(provider.base_url or "")


@each_bundled
def test_a_key_goes_nowhere_but_to_the_host_of_its_provider(provider: Provider) -> None:
    """Where the models are listed, and the MCP servers that are offered."""
    host = urlsplit(provider.base_url or "").hostname
    if provider.models_url and host:
        assert urlsplit(provider.models_url).hostname == host
    for server in provider.mcp.values():
        assert not server.url or urlsplit(server.url).hostname == host


@each_bundled
def test_prices_are_dated_and_in_order(provider: Provider) -> None:
    for model in provider.catalog.values():
        price = model.price
        if price:
            assert date(2026, 11, 1) <= price.checked <= date(2100, 1, 1)
            assert price.source
            assert 0 < price.input <= price.output
            assert price.cache_read is None or price.cache_read <= price.input


@each_bundled
def test_a_retired_model_is_in_no_use_and_its_successor_is_known(provider: Provider) -> None:
    for old, retired in provider.retired.items():
        assert old not in map(plain, provider.models.values())
        assert not retired.use or retired.use in provider.catalog
        assert retired.use or not retired.works


@each_bundled
def test_a_key_of_an_mcp_server_is_a_reference_to_a_variable_of_its_provider(
    provider: Provider,
) -> None:
    for server in provider.mcp.values():
        texts = " ".join((*server.headers.values(), *server.environment.values()))
        named = re.findall(r"\$\{(\w+)\}", texts)
        assert named
        assert set(named) <= set(provider.auth.variables)


SAME_VENDOR = [{"anthropic", "mirror"}, {"moonshot", "moonshot-cn"}]


def test_no_two_bundled_providers_share_a_key_variable() -> None:
    """But for two entries of one vendor: the key of another is never found in the environment."""
    owners: dict[str, set[str]] = {}
    for provider in BUNDLED.values():
        for name in provider.auth.variables:
            owners.setdefault(name, set()).add(provider.id)
    assert [ids for ids in owners.values() if len(ids) > 1 and ids not in SAME_VENDOR] == []


def test_endpoints_and_key_styles_are_those_of_the_facts() -> None:
    found = {n: (p.base_url, p.auth.style, p.auth.key) for n, p in BUNDLED.items() if n in FORMER}
    assert found == {
        "custom": (None, "bearer", "required"),
        "deepseek": ("https://api.deepseek.com/anthropic", "bearer", "required"),
        "echo": ("http://127.0.0.1:43117", "bearer", "optional"),
        "mirror": (None, "x-api-key", "login"),
        "openrouter": ("https://openrouter.ai/api", "bearer", "required"),
        "zai": ("https://api.z.ai/api/anthropic", "bearer", "required"),
    }
    styled = {p.id for p in BUNDLED.values() if p.auth.style == "x-api-key" and not p.first_party}
    assert styled == {"opencode-go", "aihubmix"}


def test_what_nobody_could_verify_says_so() -> None:
    doubtful = {p.id for p in BUNDLED.values() if p.facts.unverified}
    assert doubtful == {"gatewayz", "requesty"}
    assert {p.id for p in BUNDLED.values() if p.facts.live} == {"echo"}


# --- regions ---


def test_a_region_replaces_the_endpoint_and_what_it_names() -> None:
    provider = parse_provider(WHOLE)
    assert in_region(provider, None) is provider
    there = in_region(provider, "cn")
    assert there.base_url == "https://cn.acme.example/anthropic"
    assert (there.models, there.auth) == (provider.models, provider.auth)
    plan = in_region(BUNDLED["minimax"], "token-plan")
    assert plan.models["main"] == "MiniMax-M3.1-Flash-Preview[1m]"
    assert plan.auth.key_url.endswith("/payment/token-plan")


@pytest.mark.parametrize(("id_", "hint"), [("stepfun", "Known: cn;"), ("echo", "one endpoint")])
def test_a_region_that_is_not_there_is_answered_with_those_that_are(id_: str, hint: str) -> None:
    with pytest.raises(UsageError) as refused:
        in_region(BUNDLED[id_], "mars")
    assert hint in refused.value.hint


# --- strictness ---


@pytest.mark.parametrize(
    ("header", "where"),
    [
        ("[endpoint]", "[endpoint]"),
        ("[auth]", "[auth]"),
        ("[models]", "[models]"),
        ("[prices]", "[prices]"),
        ("[regions.cn]", "[regions.cn]"),
        ("[model.m]", "[model.m]"),
        ("[retired.old]", "[retired.old]"),
        ("[mcp.search]", "[mcp.search]"),
        ("[settings]", "[settings]"),
        ("[facts]", "[facts]"),
    ],
)
def test_an_unknown_key_in_a_table_is_named(header: str, where: str) -> None:
    said = complaint(changed(f"{header}\n", f"{header}\nbase_ulr = 'x'\n"))
    assert said == f"has the unknown key 'base_ulr' in {where}"


@pytest.mark.parametrize("line", ["modles = 1", "[modles]", "[[modles]]", "[modles.main]"])
def test_an_unknown_key_or_table_at_the_top_is_named(line: str) -> None:
    text = f"{line}\n{WHOLE}" if "=" in line else f"{WHOLE}\n{line}\n"
    assert complaint(text) == "has the unknown key 'modles' in the top level"


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("schema = 1", "the top level"),
        ('id = "acme"', "the top level"),
        ('name = "Acme"', "the top level"),
        ('description = "models of Acme"', "the top level"),
        ('style = "x-api-key"', "[auth]"),
        ('key = "required"', "[auth]"),
        ("checked = 2026-11-22", "[facts]"),
        ("live = false", "[facts]"),
    ],
)
def test_a_missing_key_is_named(line: str, where: str) -> None:
    key = line.partition(" ")[0]
    assert complaint(changed(f"{line}\n", "")) == f"lacks '{key}' in {where}"


@pytest.mark.parametrize(
    ("line", "value", "where", "kind"),
    [
        ("schema = 1", "true", "the top level", "int"),
        ("schema = 1", "'1'", "the top level", "int"),
        ('id = "acme"', "1", "the top level", "str"),
        ('name = "Acme"', "['Acme']", "the top level", "str"),
        ('docs_url = "https://docs.acme.example/claude"', "3", "the top level", "str"),
        ('base_url = "https://api.acme.example/anthropic/"', "true", "[endpoint]", "str"),
        ("asks_base_url = false", "0", "[endpoint]", "bool"),
        ('style = "x-api-key"', "1", "[auth]", "str"),
        ('variables = ["ACME_API_KEY"]', "'ACME_API_KEY'", "[auth]", "list"),
        ('main = "m[1m]"', "3", "[models]", "str"),
        ("asks_models = false", "'no'", "[models]", "bool"),
        ("auto_compact = 90000", "9.5", "[model.m]", "int"),
        ("auto_compact = 90000", "true", "[model.m]", "int"),
        ("context = 100000", "'100000'", "[model.m]", "int"),
        ("context = 100000", "true", "[model.m]", "int"),
        ("vision = true", "1", "[model.m]", "bool"),
        ("since = 2026-07-24", "'2026-07-24'", "[retired.old]", "date"),
        ('command = ["npx", "-y", "acme-eyes"]', "'npx'", "[mcp.eyes]", "list"),
        ('API_TIMEOUT_MS = "600000"', "600000", "[environment]", "str"),
        ('deny = ["WebSearch"]', "'WebSearch'", "[settings]", "list"),
        ("checked = 2026-11-22", "'2026-11-22'", "[facts]", "date"),
        ("live = false", "'no'", "[facts]", "bool"),
        ('models = "weak"', "1", "[facts.confidence]", "str"),
    ],
)
def test_a_value_of_a_wrong_type_is_named(line: str, value: str, where: str, kind: str) -> None:
    key = line.partition(" ")[0]
    said = complaint(changed(f"\n{line}\n" if line != "schema = 1" else line, f"\n{key}={value}\n"))
    assert said == f"has a '{key}' in {where} that is not a {kind}"


@pytest.mark.parametrize(
    "table", ["endpoint", "auth", "models", "prices", "settings", "facts", "regions", "mcp"]
)
def test_a_table_that_is_no_table_is_named(table: str) -> None:
    block = re.compile(rf"^\[{table}(\.\w+)?\]\n([^\[\n].*\n)*", re.MULTILINE)
    text = f"{table} = 3\n" + block.sub("", WHOLE)
    assert complaint(text) == f"has a '{table}' in the top level that is not a dict"


@pytest.mark.parametrize("value", ["[1]", "['']", "[['WebSearch']]", "['a', 2]"])
def test_a_list_of_something_else_than_texts_is_named(value: str) -> None:
    said = complaint(changed('deny = ["WebSearch"]', f"deny = {value}"))
    assert said == "has a 'deny' in [settings] that is not a list of texts"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("schema = 1", "schema = 2", "has a 'schema' this ccm does not know (1 is known)"),
        (
            'style = "x-api-key"',
            'style = "basic"',
            "has style = 'basic' in [auth]; it is bearer or x-api-key",
        ),
        (
            'key = "required"',
            'key = "maybe"',
            "has key = 'maybe' in [auth]; it is required or optional or login or cloud",
        ),
        ('id = "acme"', 'id = "Acme"', "has 'Acme' in id, which is not allowed there"),
        ('id = "acme"', 'id = "../x"', "has '../x' in id, which is not allowed there"),
        (
            'variables = ["ACME_API_KEY"]',
            'variables = ["A; touch canary"]',
            "has 'A; touch canary' in variables, which is not allowed there",
        ),
        (
            "API_TIMEOUT_MS =",
            '"X; touch canary" =',
            "has 'X; touch canary' in [environment], which is not allowed there",
        ),
        (
            'haiku = "s"\n',
            "",
            "names some models but not all tiers in [models]: haiku missing",
        ),
        (
            'base_url = "https://api.acme.example/anthropic/"\n',
            "",
            "has neither 'base_url' nor 'asks_base_url = true' in [endpoint]",
        ),
    ],
)
def test_a_wrong_value_is_named(old: str, new: str, said: str) -> None:
    assert complaint(changed(old, new)) == said


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "Acme"', 'name = ""'),
        ('haiku = "s"', 'haiku = ""'),
        ("context = 100000", "context = 0"),
        ("context = 100000", "context = -1"),
        ('context = "unknown"\n', ""),
        ("auto_compact = 90000", "auto_compact = -1"),
        ('[model."s"]', '[model."s[1m]"]'),
        ("input = 1.5", "input = -1"),
        ("input = 1.5", "input = '1.5'"),
        ("input = 1.5", "input = true"),
        ("input = 1.5", "input = nan"),
        ("output = 3,", ""),
        ('source = "their list"', ""),
        ("checked = 2026-11-01", ""),
        ("base_url = 'https://cn.acme.example/anthropic/'", "base_url = ''"),
        ("[regions.cn]", "[regions.'c n']"),
        ("[mcp.search]", "[mcp.'a b']"),
        ('url = "https://mcp.acme.example/mcp"', ""),
        ('url = "https://mcp.acme.example/mcp"', "url = 'https://x.example'\ncommand = ['x']"),
        ('thinking = "required"', 'thinking = "always"'),
        ('group = "api"', 'group = "best"'),
        ("asks_base_url = false", 'cloud = "bedrock"'),
        ('key = "required"', 'key = "cloud"'),
    ],
)
def test_a_value_that_can_mean_nothing_is_refused(old: str, new: str) -> None:
    assert complaint(changed(old, new))


@pytest.mark.parametrize(
    "text", ["", "schema", "= 1", "schema = 1\nschema = 1", "[a", 'x = "\ud800"', "\x00"]
)
def test_what_is_no_toml_or_no_provider_is_a_complaint(text: str) -> None:
    assert complaint(text)


def test_toml_that_nests_too_deep_is_a_complaint() -> None:
    try:
        parse_provider("x = " + "[" * 5000)
    except ValueError:
        return
    except RecursionError:
        pass
    pytest.fail("RecursionError")


@given(st.text(max_size=60))
def test_any_text_before_a_provider_is_read_or_complained_about(text: str) -> None:
    with suppress(ValueError):
        assert parse_provider(f"{text}\n{WHOLE}") == parse_provider(WHOLE)


BAD_URLS = [
    "",
    "x",
    "api.example.com",
    "//api.example.com",
    "file:///etc/passwd",
    "ftp://example.com",
    "javascript:alert(1)",
    "http://",
    "https:///path",
    "http://:80",
    "http://user@example.com",
    "http://user:secret@example.com",
    "http://:secret@example.com",
    "http://example.com?key=1",
    "http://example.com/#x",
    "http://example.com/a b",
    " http://example.com",
    "http://example.com ",
    "http://example.com\n",
    "http://exa\tmple.com",
    "http://example.com\x00",
    "http://[::1",
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_what_is_no_plain_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        check_base_url(url)


@pytest.mark.parametrize("url", [url for url in BAD_URLS if url.isprintable() and url])
@pytest.mark.parametrize("key", ["base_url", "key_url", "docs_url"])
def test_a_bad_address_is_refused_wherever_it_stands(url: str, key: str) -> None:
    text, count = re.subn(rf'^{key} = ".*"$', f'{key} = "{url}"', WHOLE, flags=re.MULTILINE)
    assert count == 1
    assert complaint(text)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com:notaport",
        "http://example.com:99999",
        "http://example.com?",
        "http://example.com#",
        "http://@example.com",
        "http://example.com\\@evil.example",
        "http://exa\u00a0mple.com",
        "http://example.com/\u2028",
        "http://example.com/\x9b31m",
        "http://example.com/\udcff",
    ],
)
def test_an_address_nothing_could_be_sent_to_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        check_base_url(url)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://api.example.com", "https://api.example.com"),
        ("https://api.example.com/", "https://api.example.com"),
        ("https://api.example.com/a/b//", "https://api.example.com/a/b"),
        ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080/x"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://localhost", "http://localhost"),
        ("https://example.com/$(touch canary)".replace(" ", "%20"),) * 2,
        ("https://example.com/'quote'",) * 2,
    ],
)
def test_an_address_is_kept_without_its_last_slash(url: str, kept: str) -> None:
    assert check_base_url(url) == kept


@pytest.mark.parametrize("text", ["", "a\nb", "\x00", "a\tb", "\x7f", "\x1b[31m", "\r"])
def test_a_text_of_several_lines_or_control_characters_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is empty or contains control characters"):
        check_text(text)


@pytest.mark.parametrize("text", ["\udcff", "a\ud800", "\x9b31m", "\x85"])
def test_a_text_that_can_not_be_stored_or_shown_is_refused(text: str) -> None:
    """A byte of no encoding, as the shell passes it on, and the second set of control codes."""
    with pytest.raises(ValueError, match="is empty or contains control characters"):
        check_text(text)


@pytest.mark.parametrize("text", ["glm-5.3[1m]", "a b", "é", "日本語", "$(x)", "a/b:c@d"])
def test_a_printable_line_is_kept(text: str) -> None:
    assert check_text(text) == text


# --- where providers are found ---


def test_without_files_of_the_users_own_the_bundled_ones_are_there(tmp_path: Path) -> None:
    providers = Providers(tmp_path / "nowhere")
    assert providers.ids() == sorted(BUNDLED)
    assert providers.all() == [BUNDLED[id_] for id_ in sorted(BUNDLED)]
    assert not any(map(providers.is_own, BUNDLED))


def test_a_file_of_the_users_own_is_a_provider_and_wins(tmp_path: Path) -> None:
    (tmp_path / "acme.toml").write_text(WHOLE)
    (tmp_path / "zai.toml").write_text(WHOLE.replace('id = "acme"', 'id = "zai"'))
    (tmp_path / "notes.txt").write_text("nothing")
    providers = Providers(tmp_path)
    assert providers.ids() == sorted([*BUNDLED, "acme"])
    assert providers.get("acme") == parse_provider(WHOLE)
    assert (providers.get("zai").name, providers.is_own("zai")) == ("Acme", True)
    assert (providers.get("echo"), providers.is_own("echo")) == (BUNDLED["echo"], False)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"schema = 2", "has a 'schema' this ccm does not know (1 is known)"),
        (b"x", "is not valid TOML"),
        (b"", "lacks 'schema' in the top level"),
        (b"\xff\xfe", "codec can't decode"),
        (WHOLE.encode() + b"[x]", "has the unknown key 'x' in the top level"),
    ],
)
def test_a_broken_file_of_the_users_own_is_named_with_what_is_wrong(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "zai.toml"
    path.write_bytes(content)
    with pytest.raises(DamagedError) as refused:
        Providers(tmp_path).get("zai")
    assert refused.value.sentence.startswith(f"{path} ")
    assert reason in refused.value.sentence
    assert refused.value.hint == "The format: docs/providers.md"


def test_a_file_that_says_it_is_another_provider_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    path.write_text(WHOLE)
    with pytest.raises(DamagedError) as refused:
        Providers(tmp_path).get("other")
    assert refused.value.sentence == f"{path} says it is 'acme'."


def test_a_folder_with_the_name_of_a_provider_file_is_no_provider(tmp_path: Path) -> None:
    (tmp_path / "acme.toml").mkdir()
    (tmp_path / "zai.toml").mkdir()
    with pytest.raises((DamagedError, NotFoundError)):
        Providers(tmp_path).get("acme")
    assert Providers(tmp_path).get("zai") == BUNDLED["zai"]


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("zia", "Did you mean 'zai'?"),
        ("deepsek", "Did you mean 'deepseek'?"),
        ("open-router", "Did you mean 'openrouter'?"),
        ("q", "See: ccm providers"),
        ("../variants/zai", "See: ccm providers"),
    ],
)
def test_an_unknown_provider_is_answered_with_what_could_be_meant(
    tmp_path: Path, asked: str, hint: str
) -> None:
    with pytest.raises(NotFoundError) as refused:
        Providers(tmp_path).get(asked)
    assert refused.value.sentence == f"There is no provider '{asked}'."
    assert refused.value.hint == hint or "/" in asked
    assert refused.value.exit_code == 3


@pytest.mark.parametrize("asked", ELSEWHERE)
def test_a_vendor_that_can_not_be_used_directly_is_answered_with_what_can(
    tmp_path: Path, asked: str
) -> None:
    with pytest.raises(UsageError) as refused:
        Providers(tmp_path).get(asked)
    assert "Claude Code can't talk to" in refused.value.sentence
    assert "openrouter" in refused.value.hint
    assert "ccrouter" in refused.value.hint
    (tmp_path / f"{asked}.toml").write_text(WHOLE.replace('"acme"', f'"{asked}"'))
    assert Providers(tmp_path).get(asked).name == "Acme"


def test_those_that_mention_a_word_are_found_without_reading_the_rest(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("ZAI_API_KEY")
    found = Providers(tmp_path).mentioning("ZAI_API_KEY")
    assert [provider.id for provider in found] == ["zai"]
