"""`ccm key test`: one line that is never green for a key that is not taken."""

import json

import pytest

from tests.conftest import Sandbox
from tests.npm_registry import NpmRegistry
from tests.providers.server import Behaviour, Endpoint, Model, Reply, Request, error

KEY = "sk-test-4f1c9e07d2"


@pytest.fixture
def user(sandbox: Sandbox, npm: NpmRegistry) -> Sandbox:
    npm.publish("2.1.330")
    return sandbox


def make(user: Sandbox, url: str, *options: str) -> None:
    words = ("create", "lab", "--provider", "custom", "--base-url", url, "--model", "m")
    user.must(*words, "--api-key-stdin", *options, stdin=f"{KEY}\n")


def after_the_key(reply: Reply) -> Behaviour:
    """Refuses every other key first."""
    whole = Model(key=KEY)
    return lambda r: reply if r.is_message and r.key[1] == KEY else whole(r)


def quoting(request: Request) -> Reply:
    return error(401, f"the key {request.key[1]} is unknown", "authentication_error")


TAKEN: dict[str, tuple[Behaviour, tuple[str, ...], str]] = {
    "bearer": (Model(key=KEY), (), "takes the key"),
    "x-api-key": (Model(key=KEY, keys=("x-api-key",)), ("--auth", "x-api-key"), "takes the key"),
    "no such model": (
        after_the_key(error(404, "model: m not found", "not_found_error")),
        (),
        "takes the key, and refuses another",
    ),
    "a field it does not know": (after_the_key(error(400, "bad field")), (), "refuses another"),
}


@pytest.mark.parametrize("name", TAKEN)
def test_a_key_that_is_taken_is_one_line_and_0(user: Sandbox, name: str) -> None:
    behaviour, options, told = TAKEN[name]
    with Endpoint(behaviour) as endpoint:
        make(user, endpoint.url, *options)
        done = user.ccm("key", "test", "lab")
        assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
        assert done.stdout.startswith(f"✓ lab: {endpoint.url} {told}"[:30])
        assert told in done.stdout
        document = json.loads(user.must("key", "test", "lab", "--json"))
    assert (document["accepted"], document["host"]) == (True, endpoint.url)
    assert document["key"] == {"from": "file", "host": endpoint.url}


REFUSED: dict[str, tuple[Behaviour, tuple[str, ...], str, str]] = {
    "another key": (Model(key="sk-another"), (), "401", "ccm key set lab"),
    "the other header": (
        Model(key=KEY, keys=("x-api-key",)),
        (),
        "belongs into the header x-api-key",
        "--auth x-api-key",
    ),
    "no money": (lambda r: error(402, "Insufficient Balance"), (), "no money", "recharge"),
    "quoted": (quoting, (), "401", "ccm key set lab"),
    "everything is refused alike": (
        lambda r: error(400, "no"),
        (),
        "nothing proves the key",
        "ccm probe lab",
    ),
    "down": (lambda r: error(503, "overloaded"), (), "nothing proves the key", "ccm probe lab"),
    "hangs up": (lambda r: Reply(0), (), "broke the connection", "check the address"),
    "a wrong path": (Model(key=KEY, prefix="/anthropic"), (), "no Messages API", "--base-url"),
    "answers with something else": (
        lambda r: Reply(200, b"{}"),
        (),
        "nothing proves the key",
        "ccm probe lab",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_key_that_is_not_taken_is_one_line_with_cause_and_fix(user: Sandbox, name: str) -> None:
    behaviour, options, cause, fix = REFUSED[name]
    with Endpoint(behaviour) as endpoint:
        make(user, endpoint.url, *options)
        done = user.ccm("key", "test", "lab")
        assert (done.returncode, done.stderr, done.stdout.count("\n")) == (1, "", 1)
        assert done.stdout.startswith("✗ lab: ")
        assert cause in done.stdout
        assert fix in done.stdout
        as_json = user.ccm("key", "test", "lab", "--json")
    assert as_json.returncode == 1
    document = json.loads(as_json.stdout)
    assert (document["accepted"], fix in document["fix"]) == (False, True)
    assert KEY not in done.stdout + as_json.stdout


def test_the_key_goes_to_no_other_host(user: Sandbox) -> None:
    with Endpoint(Model()) as other:
        away = Reply(307, headers={"location": f"{other.url}/v1/messages"})
        with Endpoint(lambda r: away) as endpoint:
            make(user, endpoint.url)
            done = user.ccm("key", "test", "lab")
            assert endpoint.requests
    assert (done.returncode, "redirects" in done.stdout) == (1, True)
    assert not other.requests


def test_it_asks_with_the_key_the_launcher_would_get(user: Sandbox) -> None:
    """Changed where it comes from, nothing has to be made anew."""
    with Endpoint(Model(key=KEY)) as endpoint:
        make(user, endpoint.url)
        user.must("key", "set", "lab", "--api-key-env", "LAB_KEY", env={"LAB_KEY": "x"})
        assert user.ccm("key", "test", "lab", env={"LAB_KEY": "sk-old"}).returncode == 1
        assert user.ccm("key", "test", "lab", env={"LAB_KEY": KEY}).returncode == 0
        done = user.ccm("key", "test", "lab")
        assert (done.returncode, "$LAB_KEY is not set" in done.stdout) == (1, True)
        kept = user.home / "kept"
        kept.write_text("sk-old\n")
        user.must("key", "set", "lab", "--api-key-command", f"cat {kept}")
        assert user.ccm("key", "test", "lab").returncode == 1
        kept.write_text(f"{KEY}\n")
        assert user.ccm("key", "test", "lab").returncode == 0
        kept.unlink()
        done = user.ccm("key", "test", "lab")
        assert (done.returncode, "failed (1)" in done.stdout) == (1, True)


def test_in_another_session_its_key_is_not_taken_for_ours(user: Sandbox) -> None:
    with Endpoint(Model()) as endpoint:
        make(user, endpoint.url)
        name = "ANTHROPIC_AUTH_TOKEN"
        env = {name: "sk-of-the-session-around", "CLAUDECODE": "1"}
        user.must("key", "set", "lab", "--api-key-env", name, env=env)
        before = len(endpoint.requests)
        done = user.ccm("key", "test", "lab", env=env)
        assert (done.returncode, len(endpoint.requests)) == (1, before)


@pytest.mark.parametrize("provider", ["mirror", "echo", "bedrock"])
def test_what_has_no_key_of_ccms_is_a_usage_error(user: Sandbox, provider: str) -> None:
    user.must("create", "e", "--provider", provider)
    done = user.ccm("key", "test", "e")
    assert (done.returncode, done.stdout) == (2, "")
    assert "e has no key that ccm hands over" in done.stderr
