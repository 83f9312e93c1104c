"""A stored key belongs to its host: what moves the endpoint elsewhere does not take it along."""

import json
from typing import Any

import pexpect
import pytest

from ccmirror_py.address import host_of
from ccmirror_py.variant import Choices, FromFile, FromKeyring, Variant, bound, strays
from ccmirror_py.version import LATEST, Version
from tests.conftest import CCM, Sandbox
from tests.npm_registry import NpmRegistry
from tests.providers.broken import LOCAL
from tests.providers.server import Endpoint

HERE, THERE = "http://127.0.0.1:1", "http://127.0.0.1:3"
KEY, NEW = "sk-for-one-host-only", "sk-for-the-other"
LAB = """schema = 1
id = "lab"
name = "Our lab"
description = "a gateway"
docs_url = ""
[endpoint]
base_url = "{url}"
[auth]
style = "bearer"
key = "required"
variables = ["LAB_KEY"]
[models]
main = "m"
opus = "m"
sonnet = "m"
haiku = "m"
fable = "m"
subagent = "m"
{more}
[facts]
checked = 2026-11-22
live = true
sources = ["our wiki"]
[facts.confidence]
endpoint = "high"
"""


def lab(user: Sandbox, url: str, more: str = "") -> None:
    own = user.ccm_home / ".providers"
    own.mkdir(parents=True, exist_ok=True)
    user.ccm_home.chmod(0o700)
    (own / "lab.toml").write_text(LAB.format(url=url, more=more))


@pytest.fixture
def user(sandbox: Sandbox, npm: NpmRegistry) -> Sandbox:
    """With the variant `lab`, whose stored key is for HERE; its provider has moved to THERE."""
    npm.publish("2.1.329")
    lab(sandbox, HERE)
    sandbox.must("create", "lab", "--provider", "lab", "--api-key-stdin", stdin=f"{KEY}\n")
    lab(sandbox, THERE)
    return sandbox


def sends(user: Sandbox, env: dict[str, str] | None = None) -> tuple[str, str]:
    """Where to and with which key the variant starts."""
    done = user.run(user.launcher("lab"), env=env)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)["env"]
    return seen["ANTHROPIC_BASE_URL"], seen["ANTHROPIC_AUTH_TOKEN"]


def record(user: Sandbox) -> Any:
    return json.loads((user.ccm_home / "lab" / "variant.json").read_text())


STAYS = (
    f"lab stays with {HERE}: its stored key was given for it, and Our lab is at {THERE} now. "
    "To move it: ccm key set lab\n"
)


def test_update_stays_with_the_endpoint_and_says_so(user: Sandbox, npm: NpmRegistry) -> None:
    assert record(user)["credential"] == {"from": "file", "host": HERE}
    for words in (("update", "--all", "--dry-run"), ("update", "--all")):
        done = user.ccm(*words)
        assert (done.returncode, done.stderr) == (0, STAYS)
    assert sends(user) == (HERE, KEY)
    (outcome,) = json.loads(user.must("update", "lab", "--json"))["outcomes"]
    assert (outcome["outcome"], outcome["notices"]) == ("current", [STAYS.strip()])
    npm.publish("2.1.330")  # a newer version comes all the same
    done = user.ccm("update", "lab")
    assert (done.returncode, done.stderr) == (0, STAYS)
    assert record(user)["version"] == "2.1.330"
    assert sends(user) == (HERE, KEY)
    user.must("pin", "lab", "2.1.329")
    assert sends(user) == (HERE, KEY)


def test_on_the_same_host_it_goes_along(user: Sandbox) -> None:
    lab(user, f"{HERE}/v2")
    done = user.ccm("update", "lab")
    assert (done.returncode, done.stderr) == (0, "")
    assert sends(user) == (f"{HERE}/v2", KEY)


def test_a_key_that_is_not_stored_goes_along_and_that_is_told(user: Sandbox) -> None:
    env = {"LAB_KEY": "sk-mine"}
    lab(user, HERE)
    user.must("key", "set", "lab", "--api-key-env", "LAB_KEY", env=env)
    lab(user, THERE)
    done = user.ccm("update", "lab", env=env)
    told = f"lab now talks to {THERE} instead of {HERE}, and so does its key.\n"
    assert (done.returncode, done.stderr) == (0, told)
    assert sends(user, env) == (THERE, "sk-mine")


def test_giving_the_key_again_moves_it_and_the_old_key_goes(user: Sandbox) -> None:
    done = user.ccm("key", "set", "lab", "--api-key-stdin", stdin=f"{NEW}\n")
    assert done.returncode == 0
    assert f"lab now talks to {THERE} instead of {HERE}" in done.stderr
    assert sends(user) == (THERE, NEW)
    assert record(user)["credential"]["host"] == THERE
    kept = user.ccm_home.glob("lab/generations/*/credential")
    assert [path.read_text() for path in kept] == [f"{NEW}\n"]


def asked(user: Sandbox, *words: str) -> str:
    """What is on the terminal before the key is typed."""
    child = pexpect.spawn(
        str(CCM), list(words), env=dict(user.environ), cwd=str(user.home), encoding="utf-8"
    )
    child.expect("Key of Our lab")
    before = str(child.before)
    child.waitnoecho(5)
    child.sendline(NEW)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    return " ".join(before.split())


@pytest.mark.parametrize(
    "words", [("key", "set", "lab"), ("create", "lab", "--provider", "lab", "--force")]
)
def test_a_terminal_names_both_hosts_and_asks_for_the_key(
    user: Sandbox, words: tuple[str, ...]
) -> None:
    told = asked(user, *words)
    assert f"The stored key of lab is for {HERE}; now it will be {THERE}." in told
    assert sends(user) == (THERE, NEW)
    again = asked(user, *words)
    assert "The stored key" not in again


@pytest.mark.parametrize("option", ["file", "--base-url", "--region"])
def test_create_force_without_a_terminal_refuses_and_changes_nothing(
    user: Sandbox, option: str
) -> None:
    words = ["create", "lab", "--provider", "lab", "--force"]
    if option != "file":
        lab(user, HERE, f'[regions.other]\nbase_url = "{THERE}"\ndescription = ""')
        words += [option, THERE if option == "--base-url" else "other"]
    before = record(user)
    done = user.ccm(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"The stored key of lab is for {HERE}; {THERE} would get it." in done.stderr
    assert "--api-key-stdin" in done.stderr
    assert (record(user), sends(user)) == (before, (HERE, KEY))
    user.must(*words, "--api-key-stdin", stdin=f"{NEW}\n")
    assert sends(user) == (THERE, NEW)
    user.must("rollback", "lab")
    assert sends(user) == (HERE, KEY)


def test_what_comes_back_from_the_trash_stays_with_its_host(user: Sandbox) -> None:
    user.must("remove", "lab", "--yes")
    user.must("trash", "restore", "lab")
    assert sends(user) == (HERE, KEY)
    assert user.ccm("update", "lab").stderr == STAYS
    assert sends(user) == (HERE, KEY)


def test_mending_does_not_move_it_and_doctor_says_what_will(user: Sandbox) -> None:
    (user.ccm_home / "lab" / "current" / "launch").write_text("damaged")
    user.must("doctor", "--fix", "lab")
    assert sends(user) == (HERE, KEY)
    told = user.must("doctor", "lab", "--json")
    (check,) = [c for c in json.loads(told)["checks"] if c["name"] == "host"]
    assert (check["result"], check["hint"]) == ("warning", "ccm key set lab")
    assert THERE in check["detail"]


def test_rolling_back_does_not_move_it(user: Sandbox, npm: NpmRegistry) -> None:
    npm.publish("2.1.330")
    user.must("update", "lab")
    user.must("rollback", "lab")
    assert record(user)["version"] == "2.1.329"
    assert sends(user) == (HERE, KEY)


def test_records_from_before_hosts_were_written_down_are_held_to_theirs(user: Sandbox) -> None:
    path = (user.ccm_home / "lab" / "current").resolve() / "variant.json"
    document = json.loads(path.read_text())
    document["credential"] = {"from": "file"}
    path.write_text(json.dumps(document))
    assert user.ccm("update", "lab").stderr == STAYS
    assert sends(user) == (HERE, KEY)


def test_what_a_probe_would_write_is_refused(user: Sandbox) -> None:
    (broken,) = [b for b in LOCAL if b.name == "vLLM with a small context"]
    with Endpoint(broken.behaviour) as endpoint:
        lab(user, endpoint.url)
        user.must("key", "set", "lab", "--api-key-stdin", stdin=f"{KEY}\n")
        lab(user, THERE)
        before = record(user)
        done = user.ccm("probe", "lab", "--apply", "--yes")
    assert done.returncode == 2
    assert f"lab would send its stored key to {THERE}; it was given for {endpoint.url}" in (
        done.stderr
    )
    assert record(user) == before


# --- pure ---


def variant(url: str, credential: FromFile | FromKeyring) -> Variant:
    return Variant(
        name="v",
        choices=Choices("lab"),
        spec=LATEST,
        version=Version(2, 1, 330),
        credential=credential,
        environment={"ANTHROPIC_BASE_URL": url},
        key_variable="ANTHROPIC_AUTH_TOKEN",
        created="",
        updated="",
    )


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://a.example", "https://a.example/v1", True),
        ("https://a.example", "https://A.example:443/", True),
        ("http://a.example:80", "http://a.example", True),
        ("https://a.example", "http://a.example", False),
        ("https://a.example", "https://a.example:8443", False),
        ("https://a.example", "https://b.a.example", False),
        ("https://a.example", "https://a.example.evil", False),
        ("http://[::1]:8080", "http://[::1]:8080/x", True),
        ("http://[::1]:8080", "http://[::1]:8081", False),
        ("https://a.example", "https://a.example:no-port", False),
    ],
)
@pytest.mark.parametrize("credential", [FromFile(), FromKeyring("v~0123456789abcdef")])
def test_a_host_is_scheme_name_and_port(
    one: str, other: str, same: bool, credential: FromFile | FromKeyring
) -> None:
    tied = bound(variant(one, credential)).credential
    assert isinstance(tied, FromFile | FromKeyring)
    assert tied.host == host_of(one)
    assert strays(variant(other, tied)) is not same
    assert not strays(variant(other, credential))
