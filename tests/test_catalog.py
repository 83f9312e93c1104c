"""The catalog in use: what update makes of a newer file, what an endpoint lists, what it costs."""

import json
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccmirror_py.changes import changes, denied, migrated
from ccmirror_py.model_list import Listed, addresses, parse_listed
from ccmirror_py.prices import REFERENCE, mixed, offers, relative
from ccmirror_py.provider import Price
from ccmirror_py.providers import Providers
from ccmirror_py.variant import Choices
from tests.conftest import Sandbox
from tests.npm_registry import NpmRegistry

PROVIDERS = {p.id: p for p in Providers(Path("/nowhere")).all()}
KEY = "sk-catalog-0123456789"

# --- models that are gone ---


def test_a_dead_id_the_user_chose_is_replaced_and_nothing_else() -> None:
    chosen = Choices(
        "deepseek",
        models={"main": "deepseek-chat[1m]", "opus": "mine", "haiku": "deepseek-reasoner"},
        env={"ANTHROPIC_MODEL_X": "deepseek-chat"},
        yolo=True,
    )
    moved = migrated(PROVIDERS["deepseek"], chosen)
    assert moved.choices == Choices(
        "deepseek",
        models={"main": "deepseek-flash[1m]", "opus": "mine", "haiku": "deepseek-flash"},
        env={"ANTHROPIC_MODEL_X": "deepseek-chat"},
        yolo=True,
    )
    assert moved.notices == (
        "deepseek-chat[1m] no longer works at DeepSeek (since 2026-07-24): "
        "deepseek-flash[1m] takes its place",
        "deepseek-reasoner no longer works at DeepSeek (since 2026-07-24): "
        "deepseek-flash takes its place",
    )


def test_an_id_that_still_works_is_left_alone() -> None:
    chosen = Choices("zai", models={"main": "glm-5.2[1m]"})
    moved = migrated(PROVIDERS["zai"], chosen)
    assert (moved.choices, moved.notices, moved.gone) == (chosen, (), ())


def test_a_dead_id_without_a_successor_is_told_and_left() -> None:
    chosen = Choices("alibaba", models={"main": "qwen3-max"})
    moved = migrated(PROVIDERS["alibaba"], chosen)
    assert (moved.choices, moved.notices) == (chosen, ())
    assert len(moved.gone) == 1


# --- changes in words ---


def test_changes_are_told_once_for_tiers_that_change_alike() -> None:
    before = {
        "ANTHROPIC_BASE_URL": "https://a.example",
        "ANTHROPIC_MODEL": "m1",
        "ANTHROPIC_DEFAULT_OPUS_MODEL": "m1",
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": "s1",
        "ANTHROPIC_SMALL_FAST_MODEL": "s1",
        "CLAUDE_CODE_MAX_CONTEXT_TOKENS": "200000",
        "OLD": "1",
    }
    after = {
        "ANTHROPIC_BASE_URL": "https://b.example",
        "ANTHROPIC_MODEL": "m2",
        "ANTHROPIC_DEFAULT_OPUS_MODEL": "m2",
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": "s2",
        "ANTHROPIC_SMALL_FAST_MODEL": "s2",
        "CLAUDE_CODE_MAX_CONTEXT_TOKENS": "1000000",
        "NEW": "2",
    }
    assert changes(before, after) == (
        "main, opus: m1 -> m2",
        "haiku: s1 -> s2",
        "endpoint: https://a.example -> https://b.example",
        "window: 200000 -> 1000000",
        "OLD: 1 is no longer set",
        "NEW: 2",
    )
    assert changes(after, after) == ()
    assert denied(["A", "B"], ["B", "C"]) == ("C is denied", "A is no longer denied")


NAMES = st.sampled_from(
    ["ANTHROPIC_MODEL", "ANTHROPIC_BASE_URL", "X", "CLAUDE_CODE_SUBAGENT_MODEL"]
)
ENVIRONMENTS = st.dictionaries(NAMES, st.sampled_from("abc"))


@given(ENVIRONMENTS, ENVIRONMENTS)
def test_something_is_told_exactly_when_something_differs(
    before: dict[str, str], after: dict[str, str]
) -> None:
    assert bool(changes(before, after)) == (before != after)


# --- update ---

OWN = """\
schema = 1
id = "lab"
name = "Our lab"
description = "the gateway in the cellar"
[endpoint]
base_url = "{url}"
[regions.attic]
base_url = "http://127.0.0.1:2/attic"
description = "upstairs"
[auth]
style = "bearer"
key = "optional"
variables = ["LAB_KEY"]
[models]
main = "{model}"
opus = "{model}"
sonnet = "{model}"
haiku = "small"
fable = "{model}"
subagent = "{model}"
[prices]
checked = 2026-11-22
source = "our own list"
[model.big]
context = 300000
price = {{ input = 1, output = 3 }}
[model.bigger]
context = 500000
[model.small]
context = {small}
[retired.dead]
since = 2026-01-02
use = "small"
[settings]
deny = [{deny}]
[facts]
checked = 2026-11-22
live = true
sources = ["us, 2026"]
"""


def lab(sandbox: Sandbox, **changed: str) -> None:
    """The user's own provider `lab`, as `changed` says."""
    facts = {"url": "http://127.0.0.1:1", "model": "big", "small": "300000", "deny": '"WebSearch"'}
    own = sandbox.ccm_home / ".providers"
    own.mkdir(parents=True, exist_ok=True, mode=0o700)
    sandbox.ccm_home.chmod(0o700)
    (own / "lab.toml").write_text(OWN.format(**{**facts, **changed}))


def record(sandbox: Sandbox, name: str) -> dict[str, object]:
    found = json.loads(sandbox.must("show", name, "--json"))["variant"]
    assert isinstance(found, dict)
    return found


def tiers(sandbox: Sandbox, name: str) -> Mapping[str, str]:
    found = record(sandbox, name)["environment"]
    assert isinstance(found, dict)
    return found


def test_update_brings_what_the_file_says_now_and_tells_it(
    sandbox: Sandbox, npm: NpmRegistry
) -> None:
    npm.publish("2.1.329")
    lab(sandbox)
    sandbox.must(
        "create", "l", "--provider", "lab", "--model-opus", "mine", "--context-window", "9000"
    )
    assert sandbox.must("update", "l") == "l: 2.1.329, nothing to do\n"

    lab(sandbox, url="http://127.0.0.1:3", model="bigger", deny='"WebFetch"')
    told = (
        "     main, sonnet, fable, subagent: big -> bigger\n"
        "     endpoint: http://127.0.0.1:1 -> http://127.0.0.1:3\n"
        "     WebFetch is denied\n"
        "     WebSearch is no longer denied\n"
    )
    kept = tiers(sandbox, "l")
    assert sandbox.must("update", "l", "--keep-provider") == "l: 2.1.329, nothing to do\n"
    assert tiers(sandbox, "l") == kept
    assert sandbox.must("update", "l", "-n") == f"l: 2.1.329, would be refreshed\n{told}"
    assert tiers(sandbox, "l") == kept
    assert sandbox.must("update", "l") == f"l: 2.1.329, refreshed\n{told}"
    now = tiers(sandbox, "l")
    assert now["ANTHROPIC_DEFAULT_OPUS_MODEL"] == "mine"
    assert now["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "9000"
    assert now["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:3"
    assert sandbox.must("update", "l") == "l: 2.1.329, nothing to do\n"


def test_a_new_version_brings_the_provider_along_unless_it_is_kept(
    sandbox: Sandbox, npm: NpmRegistry
) -> None:
    npm.publish("2.1.329")
    lab(sandbox)
    for name in ("l", "k"):
        sandbox.must("create", name, "--provider", "lab")
    npm.publish("2.1.330")
    lab(sandbox, small="100000", deny="")
    told = sandbox.must("update", "l", "--dry-run")
    assert told == (
        "l: 2.1.329 would become 2.1.330\n     window: 300000 -> 100000\n"
        "     WebSearch is no longer denied\n"
    )
    assert sandbox.must("update", "l") == told.replace("would become", "->")
    assert sandbox.must("update", "k", "--keep-provider") == "k: 2.1.329 -> 2.1.330\n"
    assert tiers(sandbox, "k")["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "300000"
    settings = json.loads((sandbox.ccm_home / "k/current/settings.json").read_text())
    assert settings["permissions"]["deny"] == ["WebSearch"]
    document = json.loads(sandbox.must("update", "k", "--json"))
    assert document["outcomes"] == [
        {
            "name": "k",
            "outcome": "refreshed",
            "version": "2.1.330",
            "changes": ["window: 300000 -> 100000", "WebSearch is no longer denied"],
            "notices": [],
        }
    ]


def test_update_replaces_a_dead_model_of_the_users_own_choice(
    sandbox: Sandbox, npm: NpmRegistry
) -> None:
    npm.publish("2.1.330")
    lab(sandbox)
    sandbox.must("create", "l", "--provider", "lab", "--model-haiku", "dead", "--yolo")
    assert sandbox.must("update", "l").splitlines() == [
        "l: 2.1.330, refreshed",
        "     dead no longer works at Our lab (since 2026-01-02): small takes its place",
        "     haiku: dead -> small",
        "     window: 200000 -> 300000",
    ]
    found = record(sandbox, "l")
    assert (found["models"], found["yolo"]) == ({"haiku": "small"}, True)


# --- regions on the command line ---


def test_a_region_is_remembered_and_survives_an_update(sandbox: Sandbox, npm: NpmRegistry) -> None:
    npm.publish("2.1.330")
    lab(sandbox)
    sandbox.must("create", "l", "--provider", "lab", "--region", "attic")
    assert record(sandbox, "l")["region"] == "attic"
    assert tiers(sandbox, "l")["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:2/attic"
    lab(sandbox, url="http://127.0.0.1:9")
    assert sandbox.must("update", "l") == "l: 2.1.330, nothing to do\n"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("lab --region cellar", "Known: attic; or none of them."),
        ("zai --region cn", "Use: --provider zai-cn"),
        ("lab --region attic --base-url http://127.0.0.1:5", "Leave one out."),
        ("bedrock --base-url http://127.0.0.1:5", "--env ANTHROPIC_BEDROCK_BASE_URL"),
        ("bedrock --api-key-env X", "ccm providers show bedrock"),
        ("openai", "--provider openrouter"),
        ("minimax-cn --region cn", "Known: token-plan, cn-host"),
    ],
)
def test_a_region_or_endpoint_that_makes_no_sense_is_a_usage_error(
    sandbox: Sandbox, words: str, hint: str
) -> None:
    lab(sandbox)
    done = sandbox.ccm("create", "x", "--provider", *words.split(), env={"ZAI_API_KEY": KEY})
    assert (done.returncode, done.stdout) == (2, "")
    assert hint in done.stderr


def test_a_variant_named_after_a_vendor_without_an_endpoint_explains_it(sandbox: Sandbox) -> None:
    done = sandbox.ccm("create", "groq")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Claude Code can't talk to Groq directly" in done.stderr


OPENED = """
import sys
opened = []
sys.addaudithook(lambda name, args: opened.append(str(args[0])) if name == "open" else None)
from ccmirror_py.cli.main import main
sys.argv = ["ccm", *sys.argv[1:]]
try:
    main()
except SystemExit:
    pass
print(*(path for path in opened if path.endswith(".toml")), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("words", "read"),
    [("list", []), ("", []), ("show l", []), ("env l", []), ("update l -n", ["lab.toml"])],
)
def test_a_command_reads_the_files_of_the_providers_it_needs(
    sandbox: Sandbox, npm: NpmRegistry, words: str, read: list[str]
) -> None:
    npm.publish("2.1.330")
    lab(sandbox)
    sandbox.must("create", "l", "--provider", "lab")
    done = sandbox.run(sys.executable, "-c", OPENED, *words.split())
    assert [Path(path).name for path in done.stderr.split()] == read


# --- clouds ---


def test_a_variant_of_a_cloud_gets_the_clouds_names_and_no_key_of_others(
    sandbox: Sandbox, npm: NpmRegistry
) -> None:
    npm.publish("2.1.330")
    done = sandbox.ccm("create", "b", "--provider", "bedrock")
    assert done.returncode == 0
    assert "Set AWS_REGION before you start it" in done.stderr
    assert "cloud" in done.stdout
    shell = {
        "AWS_REGION": "eu-west-1",
        "AWS_BEARER_TOKEN_BEDROCK": "bedrock-key",
        "ANTHROPIC_API_KEY": "sk-ant",
        "ANTHROPIC_BEDROCK_BASE_URL": "http://evil.example",
        "CLAUDE_CODE_USE_VERTEX": "1",
    }
    seen = json.loads(sandbox.run(sandbox.launcher("b"), env=shell).stdout)["env"]
    assert seen["CLAUDE_CODE_USE_BEDROCK"] == "1"
    assert (seen["AWS_BEARER_TOKEN_BEDROCK"], seen["AWS_REGION"]) == ("bedrock-key", "eu-west-1")
    assert not {"ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "CLAUDE_CODE_USE_VERTEX"} & set(seen)
    assert "ANTHROPIC_BEDROCK_BASE_URL" not in seen
    settings = json.loads((sandbox.ccm_home / "b/current/settings.json").read_text())["env"]
    assert settings["CLAUDE_CODE_USE_BEDROCK"] == "1"
    assert settings["CLAUDE_CODE_USE_VERTEX"] == settings["ANTHROPIC_BASE_URL"] == ""
    assert sandbox.ccm("key", "set", "b").returncode == 2
    assert sandbox.ccm("models", "b").returncode == 2


def test_the_key_of_another_variants_cloud_is_not_let_through(
    sandbox: Sandbox, npm: NpmRegistry
) -> None:
    npm.publish("2.1.330")
    sandbox.must("create", "e", "--provider", "echo")
    seen = json.loads(
        sandbox.run(sandbox.launcher("e"), env={"AWS_BEARER_TOKEN_BEDROCK": "k"}).stdout
    )["env"]
    assert "AWS_BEARER_TOKEN_BEDROCK" not in seen


# --- what an endpoint lists: pure ---


@pytest.mark.parametrize(
    ("base_url", "models_url", "expected"),
    [
        ("https://x.example", "", ["https://x.example/v1/models", "https://x.example/models"]),
        ("https://x.example/api/v1", "", ["https://x.example/api/v1/models"]),
        (
            "https://x.example/api/anthropic",
            "",
            [
                "https://x.example/api/anthropic/v1/models",
                "https://x.example/api/anthropic/models",
                "https://x.example/v1/models",
                "https://x.example/models",
            ],
        ),
        (
            "https://x.example/apps/anthropic",
            "https://x.example/compatible/v1/models",
            [
                "https://x.example/compatible/v1/models",
                "https://x.example/apps/anthropic/v1/models",
                "https://x.example/apps/anthropic/models",
                "https://x.example/v1/models",
                "https://x.example/models",
            ],
        ),
        (
            "https://x.example",
            "https://other.example/models",
            ["https://x.example/v1/models", "https://x.example/models"],
        ),
        (
            "https://x.example",
            "http://x.example/models",
            ["https://x.example/v1/models", "https://x.example/models"],
        ),
    ],
)
def test_a_list_is_asked_for_at_known_places_of_the_same_host(
    base_url: str, models_url: str, expected: list[str]
) -> None:
    assert addresses(base_url, models_url) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<html>", None),
        ("{}", None),
        ("[]", None),
        ("[" * 100_000, None),
        ('{"data": {}}', None),
        ('{"data": []}', []),
        ('{"models": [{"id": "a"}]}', [Listed("a")]),
        ('{"data": [1, {"id": 2}, {}, {"id": "a", "max_model_len": 9}]}', [Listed("a", 9)]),
        (
            '{"data": [{"id": "a", "context_length": 8, "pricing": '
            '{"prompt": "0.000003", "completion": "-1"}}]}',
            [Listed("a", 8, 3.0, None)],
        ),
        (
            '{"data": [{"id": "a", "pricing": {"prompt": "0", "completion": "x"}}]}',
            [Listed("a", None, 0.0)],
        ),
    ],
)
def test_a_list_of_models_is_read_and_anything_else_is_none(
    text: str, expected: list[Listed] | None
) -> None:
    assert parse_listed(text) == expected


# --- what an endpoint lists: over the wire ---

LIST = {"data": [{"id": "big", "context_length": 250_000}, {"id": "other"}]}


@dataclass
class Lister:
    """A server on this machine; `answers` maps paths to a status and a body or a location."""

    answers: dict[str, tuple[int, object]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def lister() -> Iterator[Lister]:
    yield from serving()


@pytest.fixture
def other() -> Iterator[Lister]:
    yield from serving()


def serving() -> Iterator[Lister]:
    lister = Lister()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            lister.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
            status, content = lister.answers.get(self.path, (404, "no"))
            self.send_response(status)
            if status in (301, 302, 307, 308):
                self.send_header("Location", str(content))
                content = ""
            body = content if isinstance(content, str) else json.dumps(content)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    lister.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield lister
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def listed(sandbox: Sandbox, npm: NpmRegistry, lister: Lister) -> Sandbox:
    """A user with the variant `l`, whose endpoint is `lister`, with a stored key."""
    npm.publish("2.1.330")
    lab(sandbox, url=f"{lister.url}/anthropic")
    sandbox.must("create", "l", "--provider", "lab", "--api-key-stdin", stdin=f"{KEY}\n")
    return sandbox


def test_the_list_is_found_and_merged_with_the_catalog(listed: Sandbox, lister: Lister) -> None:
    lister.answers["/v1/models"] = (200, LIST)
    lister.answers["/anthropic/models"] = (200, "<html>")
    lines = listed.must("models", "l").splitlines()
    assert [line.split() for line in lines[:4]] == [
        "MODEL WINDOW $ IN $ OUT IN USE BY".split(),
        "big 250K 1 3 main, opus, sonnet, fable, subagent".split(),
        "small 300K - - haiku (not listed)".split(),
        "other ? - -".split(),
    ]
    assert f"Listed by {lister.url}/v1/models." in lines[-1]
    paths = [path for path, _ in lister.asked]
    assert paths == ["/anthropic/v1/models", "/anthropic/models", "/v1/models"]
    assert {headers["authorization"] for _, headers in lister.asked} == {f"Bearer {KEY}"}

    document = json.loads(listed.must("models", "l", "--json"))
    assert (document["schema"], document["name"]) == (1, "l")
    assert document["url"] == f"{lister.url}/v1/models"
    big = document["models"][0]
    assert big["listed"] == {"context": 250_000, "input": None, "output": None}
    assert big["catalog"]["price"]["source"] == "our own list"
    assert document["models"][1]["listed"] is None


def test_the_key_goes_to_no_other_host_by_redirect(
    listed: Sandbox, lister: Lister, other: Lister
) -> None:
    other.answers["/v1/models"] = (200, LIST)
    lister.answers["/anthropic/v1/models"] = (307, f"{other.url}/v1/models")
    done = listed.ccm("models", "l")
    assert (done.returncode, done.stdout) == (4, "")
    assert "lists no models anywhere" in done.stderr
    assert other.asked == []


def test_a_redirect_at_the_same_host_is_followed_and_a_circle_is_not(
    listed: Sandbox, lister: Lister
) -> None:
    lister.answers["/anthropic/v1/models"] = (301, "/listed")
    lister.answers["/listed"] = (200, LIST)
    assert "big" in listed.must("models", "l")
    lister.answers["/listed"] = (301, "/anthropic/v1/models")
    done = listed.ccm("models", "l")
    assert (done.returncode, done.stdout) == (4, "")
    assert "redirects in circles" in done.stderr


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "refused the key of l (401)"),
        (403, "refused the key"),
        (500, "status 500"),
        (429, "429"),
    ],
)
def test_a_refusal_ends_the_search_and_is_told(
    listed: Sandbox, lister: Lister, status: int, said: str
) -> None:
    lister.answers["/anthropic/v1/models"] = (status, {})
    done = listed.ccm("models", "l")
    assert (done.returncode, done.stdout) == (4, "")
    assert said in done.stderr
    assert KEY not in done.stderr
    assert len(lister.asked) == 1


def test_the_key_is_sent_the_way_the_variant_sends_it(
    sandbox: Sandbox, npm: NpmRegistry, lister: Lister
) -> None:
    npm.publish("2.1.330")
    lister.answers["/v1/models"] = (200, LIST)
    lab(sandbox, url=lister.url)
    words = ("create", "l", "--provider", "lab", "--auth", "x-api-key", "--api-key-env", "LAB_KEY")
    sandbox.must(*words, env={"LAB_KEY": KEY})
    sandbox.must("models", "l", env={"LAB_KEY": KEY})
    headers = lister.asked[0][1]
    assert headers["x-api-key"] == KEY
    assert "authorization" not in headers
    done = sandbox.ccm("models", "l")
    assert done.returncode == 2
    assert "has no key here" in done.stderr
    assert len(lister.asked) == 1


def test_proxies_for_others_are_not_asked_about_this_machine(
    listed: Sandbox, lister: Lister, other: Lister
) -> None:
    lister.answers["/v1/models"] = (200, LIST)
    proxied = dict.fromkeys(("http_proxy", "HTTP_PROXY", "ALL_PROXY"), other.url)
    assert "big" in json.dumps(
        json.loads(listed.run("ccm", "models", "l", "--json", env=proxied).stdout)
    )
    assert other.asked == []


def test_nobody_answering_is_one_sentence(sandbox: Sandbox, npm: NpmRegistry) -> None:
    npm.publish("2.1.330")
    lab(sandbox)
    sandbox.must("create", "l", "--provider", "lab")
    done = sandbox.ccm("models", "l")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (4, "", 2)
    sandbox.must("create", "cc", "--provider", "mirror", "--shadow")
    done = sandbox.ccm("models", "cc")
    assert (done.returncode, "Claude Code knows them itself" in done.stderr) == (2, True)


# --- what they cost ---

PRICES = st.builds(
    Price,
    st.floats(0.01, 100),
    st.floats(0.01, 100),
    st.none(),
    st.none(),
    st.just(date(2026, 11, 22)),
    st.just("x"),
)


@given(PRICES, PRICES)
def test_relative_prices_agree_with_each_other(one: Price, two: Price) -> None:
    assert relative(one, one) == 1
    assert relative(one, two) * relative(two, one) == pytest.approx(1)
    assert min(one.input, one.output) <= mixed(one) * 1.001
    assert mixed(one) <= max(one.input, one.output) * 1.001


def test_the_reference_is_there_and_offers_come_cheapest_first() -> None:
    home, model = REFERENCE
    assert PROVIDERS[home].model(model).price
    found = offers(PROVIDERS.values(), whole=True)
    assert len(found) > 80
    costs = [mixed(offer.price) for offer in found]
    assert costs == sorted(costs)
    fewer = offers(PROVIDERS.values(), whole=False)
    assert {(o.provider, o.id) for o in fewer} < {(o.provider, o.id) for o in found}


def test_compare_shows_the_table_with_ages_and_a_json_of_it(sandbox: Sandbox) -> None:
    lines = sandbox.must("providers", "compare").splitlines()
    assert lines[0].split()[:2] == ["MODEL", "PROVIDER"]
    sonnet = next(line for line in lines if line.startswith("claude-sonnet-5-5 "))
    assert sonnet.split()[1:8] == ["anthropic", "2", "10", "0.1", "1M", "100", "%"]
    assert not any("bedrock" in line for line in lines)
    document = json.loads(sandbox.must("providers", "compare", "zai", "deepseek", "--json"))
    assert {offer["provider"] for offer in document["offers"]} == {"zai", "deepseek"}
    flash = next(o for o in document["offers"] if o["model"] == "deepseek-flash")
    assert flash["price"]["cache_read"] == 0.006
    assert flash["of_sonnet"] == pytest.approx(0.13125)
    assert flash["tiers"] == ["main", "opus", "sonnet", "haiku", "fable", "subagent"]
    assert flash["age_days"] >= 0
    assert sandbox.ccm("providers", "compare", "nope").returncode == 3
    assert not list(sandbox.home.iterdir())


def test_show_tells_regions_prices_mcp_servers_and_retired_models(sandbox: Sandbox) -> None:
    told = sandbox.must("providers", "show", "minimax")
    for text in ("--region token-plan", "0.3 ", "uvx minimax-coding-plan-mcp", "not live"):
        assert text in told
    assert "ccm mcp add NAME zread" in sandbox.must("providers", "show", "zai")
    assert "deepseek-chat (no longer works" in sandbox.must("providers", "show", "deepseek")
    assert "NOT VERIFIED" in sandbox.must("providers", "show", "requesty")
    document = json.loads(sandbox.must("providers", "show", "xiaomi", "--json"))["provider"]
    assert set(document["regions"]) == {"plan-cn", "plan-sgp", "plan-ams"}
    assert document["catalog"]["mimo-v2.6-pro"]["price"]["checked"] == "2026-11-22"


def test_create_warns_of_what_may_not_work(sandbox: Sandbox, npm: NpmRegistry) -> None:
    npm.publish("2.1.330")
    env = {"ZAI_API_KEY": KEY, "REQUESTY_API_KEY": KEY}
    words = ("create", "z", "--provider", "zai", "--env", "MAX_THINKING_TOKENS=0")
    assert "refuses requests without thinking" in sandbox.ccm(*words, env=env).stderr
    words = ("create", "r", "--provider", "requesty", "--model", "m")
    assert "Nobody could verify Requesty" in sandbox.ccm(*words, env=env).stderr
