"""End to end with the real Claude Code: what it sends, to whom, and what it writes.

Each test is a story in one home directory. Models are echo servers on this machine; a `Trap` is
where a shell, a project or a home directory tries to lead Claude Code, and has to stay silent;
tests/safety/test_routing.py combines them.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from ccmirror_py.echo import EchoServer, Received
from tests.conftest import Sandbox, provide
from tests.safety.traps import FOREIGN, Trap, folder, hostile_projects, poison_home

OLDER = "2.1.200"
JAVASCRIPT = "2.1.112"
AUTHS = ("bearer", "x-api-key")
VERSIONS = ("latest", OLDER, "2.1.118", "2.1.113", JAVASCRIPT)
RANGE = ">=2.1.200,<2.1.300"

KEY = "sk-own-0123456789abcdef"
HOSTILE_KEY = "sk-$HOME'\"`id`;\\n$(id)#~!%{}*&|<>,=\\"
MODELS = {
    "main": "m-main",
    "opus": "m-opus",
    "sonnet": "m-sonnet",
    "haiku": "m-haiku",
    "fable": "m-fable",
    "subagent": "m-subagent",
}
HEADERS = {
    "accept",
    "accept-encoding",
    "accept-language",
    "anthropic-beta",
    "anthropic-dangerous-direct-browser-access",
    "anthropic-version",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "host",
    "sec-fetch-mode",
    "user-agent",
    "x-api-key",
    "x-app",
}


@pytest.fixture
def trap() -> Iterator[Trap]:
    with Trap() as listening:
        yield listening


@pytest.fixture
def other() -> Iterator[EchoServer]:
    """The endpoint of a second variant."""
    with EchoServer() as server:
        yield server


@pytest.fixture
def project(real: Sandbox) -> Path:
    """An empty folder of the user, where sessions are started."""
    return folder(real.home / "project")


# --- words the stories are told with ---


@dataclass(frozen=True)
class Making:
    """How a variant is made for an echo server: its version, its way of sending KEY, options."""

    version: str
    auth: str = "bearer"
    options: tuple[str, ...] = ()
    key: str = KEY


def make(sandbox: Sandbox, name: str, server: EchoServer, making: Making) -> None:
    """A variant of a custom endpoint with its key stored."""
    sandbox.must(
        *("create", name, "--provider", "custom", "--base-url", server.url, "--auth", making.auth),
        *("--claude-version", making.version, "--model", "m-main", "--api-key-stdin"),
        *making.options,
        stdin=f"{making.key}\n",
    )


def answer(
    sandbox: Sandbox,
    name: str,
    *words: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """What `NAME -p WORDS` prints; it has to end well. Bash is allowed, `words` begin with the
    prompt."""
    prompt, *rest = words
    done = sandbox.run(
        sandbox.launcher(name), "-p", prompt, "--allowedTools", "Bash", *rest, cwd=cwd, env=env
    )
    assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def version_of(sandbox: Sandbox, name: str, *words: str) -> str:
    """What `NAME WORDS --version` prints, the version alone."""
    done = sandbox.run(sandbox.launcher(name), *words, "--version")
    assert done.returncode == 0, done.stderr
    return done.stdout.partition(" ")[0]


def messages(server: EchoServer) -> list[Received]:
    return [request for request in server.received if request.method == "POST"]


def models(server: EchoServer) -> set[str | None]:
    return {request.model for request in messages(server)}


def keys(server: EchoServer) -> set[tuple[str | None, str | None]]:
    """Authorization and x-api-key of every message."""
    return {(r.header("authorization"), r.header("x-api-key")) for r in messages(server)}


def sent_as(auth: str, key: str = KEY) -> set[tuple[str | None, str | None]]:
    return {(f"Bearer {key}", None)} if auth == "bearer" else {(None, key)}


def everything(server: EchoServer) -> str:
    """All that arrived, to look for what should not have."""
    return "\n".join(f"{r.path} {r.headers} {json.dumps(r.body)}" for r in server.received)


def foreign_headers(server: EchoServer) -> set[str]:
    names = {name for request in server.received for name, _ in request.headers}
    known = ("x-stainless-", "x-claude-code-")
    return {name for name in names - HEADERS if not name.startswith(known)}


def contents(root: Path, *without: Path) -> dict[str, tuple[object, ...]]:
    """Every file below `root` as it is; of large ones not the bytes, but size and time."""
    found: dict[str, tuple[object, ...]] = {}
    for directory, folders, files in os.walk(root):
        here = Path(directory)
        folders[:] = [name for name in folders if here / name not in without]
        for name in (*folders, *files):
            path = here / name
            state = path.lstat()
            if path.is_symlink():
                value: object = path.readlink()
            elif path.is_dir():
                value = "directory"
            elif state.st_size < 1_000_000:
                value = path.read_bytes()
            else:
                value = (state.st_size, state.st_mtime_ns)
            found[str(path.relative_to(root))] = (oct(state.st_mode), value)
    return found


def wait_for(what: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@dataclass(frozen=True)
class Session:
    """A session whose Bash tool waits until it is told to go on with `command`."""

    process: "subprocess.Popen[str]"
    cwd: Path

    def end(self) -> tuple[int, str]:
        """Its exit code and what it printed."""
        (self.cwd / "go").touch()
        stdout, _ = self.process.communicate(timeout=60)
        return self.process.returncode, stdout.strip()


def waiting_session(sandbox: Sandbox, name: str, command: str, cwd: Path) -> Session:
    prompt = f"run: touch started; until test -e go; do sleep 0.05; done; {command}"
    process = subprocess.Popen(
        [sandbox.launcher(name), "-p", prompt, "--allowedTools", "Bash"],
        cwd=cwd,
        env=dict(sandbox.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: (cwd / "started").exists() or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    return Session(process, cwd)


def home_of_claude(home: Path) -> dict[str, tuple[object, ...]]:
    return {
        name: value
        for name, value in contents(home, home / ".ccm").items()
        if name.startswith(".claude")
    }


# --- the stories ---


def test_a_variant_lives_from_create_to_remove_and_leaves_nothing(
    real: Sandbox, echo: EchoServer, trap: Trap, project: Path
) -> None:
    newest, older = provide(real, "latest"), provide(real, OLDER)
    newest_in_range = provide(real, RANGE)
    poison_home(real.home, trap.url)
    poisoned = home_of_claude(real.home)
    tiers = [f"--model-{tier}={model}" for tier, model in MODELS.items() if tier != "main"]
    make(real, "demo", echo, Making(older, options=tuple(tiers)))
    variant, launcher = real.ccm_home / "demo", real.launcher("demo")
    outside = contents(real.home, variant, project)

    assert version_of(real, "demo") == older
    words = ("-p", "run: echo the $((40 + 2))", "--allowedTools", "Bash(echo:*)")
    done = real.run(launcher, *words, cwd=project)
    assert (done.returncode, done.stdout, done.stderr) == (0, "The tool answered: the 42\n", "")
    assert {r.path.partition("?")[0] for r in messages(echo)} == {"/v1/messages"}
    assert keys(echo) == sent_as("bearer")
    assert models(echo) == {"m-main"}
    assert foreign_headers(echo) == set()
    for tier in ("opus", "sonnet", "haiku", "fable"):
        asked = len(messages(echo))
        assert answer(real, "demo", "hi", "--model", tier, cwd=project) == f"echo from m-{tier}: hi"
        assert {r.model for r in messages(echo)[asked:]} == {f"m-{tier}"}
    assert contents(real.home, variant, project) == outside
    assert len(list((variant / "config" / "projects").glob("*/*.jsonl"))) == 5

    real.must("update", "demo", "--claude-version", "latest")
    assert version_of(real, "demo") == newest
    assert answer(real, "demo", "run: echo new", cwd=project) == "The tool answered: new"
    real.must("rollback", "demo")
    assert version_of(real, "demo") == older
    assert answer(real, "demo", "run: echo old", cwd=project) == "The tool answered: old"

    real.must("pin", "demo", RANGE)
    assert version_of(real, "demo") == older
    real.must("update", "demo")
    assert version_of(real, "demo") == newest_in_range
    real.must("pin", "demo", older)
    assert version_of(real, "demo") == older
    real.must("update", "--all")
    assert version_of(real, "demo") == older
    real.must("unpin", "demo")
    assert version_of(real, "demo") == older
    real.must("update", "--all")
    assert version_of(real, "demo") == newest
    assert answer(real, "demo", "hi", cwd=project) == "echo from m-main: hi"

    real.must("remove", "demo", "--yes")
    real.must("trash", "restore", "demo")
    assert answer(real, "demo", "hi", cwd=project) == "echo from m-main: hi"
    real.must("remove", "demo", "--purge", "--yes")
    assert sorted(os.listdir(real.ccm_home)) == [
        ".cache",
        ".journal",
        ".locks",
        ".numbers",
        ".staging",
        ".store",
        ".trash",
    ]
    assert os.listdir(real.ccm_home / ".trash") == []
    assert contents(real.ccm_home / ".journal") == contents(real.ccm_home / ".staging") == {}
    assert contents(real.bin_dir) == {}
    real.must("prune")
    assert json.loads(real.must("versions", "--json"))["installed"] == []
    assert [path for path in (real.ccm_home / ".store").rglob("*") if not path.is_dir()] == []
    assert home_of_claude(real.home) == poisoned
    assert FOREIGN not in everything(echo)
    assert trap.heard == []


@pytest.mark.parametrize("rule", ["latest", OLDER])
def test_a_subagent_uses_the_model_of_its_tier(
    real: Sandbox, echo: EchoServer, project: Path, rule: str
) -> None:
    skill = "---\nname: forked\ndescription: asks a subagent\ncontext: fork\n---\nsay hi\n"
    folder(project / ".claude" / "skills" / "forked", {"SKILL.md": skill})
    make(real, "demo", echo, Making(provide(real, rule), options=("--model-subagent=m-subagent",)))
    answer(real, "demo", "/forked", cwd=project)
    assert "m-subagent" in models(echo)
    assert models(echo) <= {"m-main", "m-subagent"}
    assert keys(echo) == sent_as("bearer")


@pytest.mark.parametrize("rule", VERSIONS)
def test_nobody_but_the_endpoint_is_asked(
    real: Sandbox, echo: EchoServer, trap: Trap, project: Path, rule: str
) -> None:
    """Whoever else is asked would be asked through the proxy of the shell."""
    version = provide(real, rule)
    shell = {"HTTPS_PROXY": trap.url}
    heard = {}
    for auth in AUTHS:
        make(real, auth, echo, Making(version, auth))
        told = answer(real, auth, "run: echo here", cwd=project, env=shell)
        assert told == "The tool answered: here"
        heard[auth] = [said.partition("\r\n")[0] for said in trap.heard]
        trap.heard.clear()
    assert heard == {"bearer": [], "x-api-key": []}


@pytest.mark.parametrize("rule", ["latest", JAVASCRIPT])
def test_the_shell_around_a_variant_moves_nothing(
    real: Sandbox, echo: EchoServer, trap: Trap, project: Path, rule: str
) -> None:
    version = provide(real, rule)
    elsewhere = folder(real.home / "elsewhere")
    poison = {
        "AI_AGENT": FOREIGN,
        "ALL_PROXY": trap.url,
        "ANTHROPIC_API_KEY": FOREIGN,
        "ANTHROPIC_AUTH_TOKEN": FOREIGN,
        "ANTHROPIC_BASE_URL": trap.url,
        "ANTHROPIC_BEDROCK_BASE_URL": trap.url,
        "ANTHROPIC_BETAS": FOREIGN,
        "ANTHROPIC_CUSTOM_HEADERS": f"x-{FOREIGN}: {FOREIGN}",
        "ANTHROPIC_DEFAULT_OPUS_MODEL": FOREIGN,
        "ANTHROPIC_MODEL": FOREIGN,
        "ANTHROPIC_UNIX_SOCKET": str(elsewhere / "socket"),
        "AWS_BEARER_TOKEN_BEDROCK": FOREIGN,
        "CLAUDECODE": "1",
        "CLAUDE_CODE_CHILD_SESSION": "1",
        "CLAUDE_CODE_ENTRYPOINT": FOREIGN,
        "CLAUDE_CODE_EXTRA_BODY": json.dumps({FOREIGN: FOREIGN}),
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "1234",
        "CLAUDE_CODE_OAUTH_TOKEN": FOREIGN,
        "CLAUDE_CODE_SESSION_ID": FOREIGN,
        "CLAUDE_CODE_SUBAGENT_MODEL": FOREIGN,
        "CLAUDE_CODE_USE_BEDROCK": "1",
        "CLAUDE_CODE_USE_VERTEX": "1",
        "CLAUDE_CONFIG_DIR": str(elsewhere / "config"),
        "HTTPS_PROXY": trap.url,
        "HTTP_PROXY": trap.url,
        "NODE_OPTIONS": f"--title={FOREIGN}",
        "http_proxy": trap.url,
        "https_proxy": trap.url,
    }
    for auth in AUTHS:
        name = f"with-{auth}"
        make(real, name, echo, Making(version, auth))
        asked = len(messages(echo))
        prompt = "run: env"
        told = answer(real, name, prompt, cwd=project, env=poison)
        assert told.startswith("The tool answered: ")
        sent = messages(echo)[asked:]
        assert {(r.header("authorization"), r.header("x-api-key")) for r in sent} == sent_as(auth)
        assert {r.body["max_tokens"] for r in sent} != {1234}
        recorded = (real.ccm_home / name / "config" / "projects").glob("*/*.jsonl")
        assert [path.read_text().count(prompt) > 0 for path in recorded] == [True]
    assert models(echo) == {"m-main"}
    assert foreign_headers(echo) == set()
    assert FOREIGN not in everything(echo)
    assert trap.heard == []
    assert contents(elsewhere) == {}


@pytest.mark.parametrize("rule", ["latest", "2.1.113"])
def test_inherited_variables_reach_their_variant(
    real: Sandbox, echo: EchoServer, project: Path, rule: str
) -> None:
    names = ("CLAUDE_CODE_MAX_OUTPUT_TOKENS", "ANTHROPIC_CUSTOM_HEADERS", "MAX_THINKING_TOKENS")
    shell = dict(zip(names, ("1234", "x-wanted: yes", "1100"), strict=True))
    version = provide(real, rule)
    make(real, "closed", echo, Making(version))
    make(real, "open", echo, Making(version, options=tuple(f"--inherit={n}" for n in names)))
    for name, tokens, header in (("closed", False, None), ("open", True, "yes")):
        asked = len(messages(echo))
        shown = answer(real, name, "run: printenv MAX_THINKING_TOKENS", cwd=project, env=shell)
        assert ("1100" in shown) == tokens
        sent = messages(echo)[asked:]
        assert {r.body["max_tokens"] == 1234 for r in sent} == {tokens}
        assert {r.header("x-wanted") for r in sent} == {header}


def test_two_variants_at_once_and_one_inside_the_other_keep_apart(
    real: Sandbox, echo: EchoServer, other: EchoServer, project: Path
) -> None:
    provide(real, "latest")
    shell = {"ZAI_API_KEY": "sk-outer", "IS_SANDBOX": "1"}
    base = ("--base-url", echo.url)
    real.must("create", "outer", "--provider", "zai", *base, env=shell)
    real.must("create", "outer-yolo", "--provider", "zai", "--yolo", *base, env=shell)
    make(real, "inner", other, Making("latest"))
    make(real, "inner-key", other, Making("latest", "x-api-key", key="sk-inner-key"))
    endpoint = ("--base-url", other.url, "--model", "m-main")
    variable = ("--api-key-env", "ANTHROPIC_AUTH_TOKEN")
    real.must("create", "inner-var", "--provider", "custom", *endpoint, *variable)

    session = waiting_session(
        Sandbox(real.home, {**real.environ, **shell}), "outer", "echo ended", project
    )
    assert answer(real, "inner", "hi") == "echo from m-main: hi"
    assert session.end() == (0, "The tool answered: ended")
    assert (keys(echo), models(echo)) == (sent_as("bearer", "sk-outer"), {"glm-5.3"})
    assert (keys(other), models(other)) == (sent_as("bearer"), {"m-main"})

    skip = "--dangerously-skip-permissions"
    told = answer(real, "outer", "run: inner -p hello 2>/dev/null", skip, cwd=project, env=shell)
    assert told == "The tool answered: echo from m-main: hello"
    assert keys(other) == sent_as("bearer")
    prompt = "run: inner-key -p hello 2>/dev/null"
    done = real.run(real.launcher("outer-yolo"), "-p", prompt, cwd=project, env=shell)
    assert done.stdout == "The tool answered: echo from m-main: hello\n", done.stderr
    assert keys(other) == sent_as("bearer") | sent_as("x-api-key", "sk-inner-key")

    # the variable holds the outer session's key there, which is nobody else's
    own = {**shell, "ANTHROPIC_AUTH_TOKEN": "sk-inner-var"}
    assert answer(real, "inner-var", "hi", env=own) == "echo from m-main: hi"
    told = answer(real, "outer", "run: inner-var -p hello", skip, cwd=project, env=own)
    assert told.startswith("The tool failed: ")
    assert "ANTHROPIC_AUTH_TOKEN is not set" in told

    assert (keys(echo), models(echo)) == (sent_as("bearer", "sk-outer"), {"glm-5.3"})
    inner = {("Bearer sk-inner-var", None), *sent_as("x-api-key", "sk-inner-key")}
    assert (keys(other), models(other)) == (sent_as("bearer") | inner, {"m-main"})
    assert {key in everything(other) for key in ("sk-outer", "glm-5.3")} == {False}
    for name, count in (("outer", 3), ("outer-yolo", 1), ("inner", 2), ("inner-key", 1)):
        recorded = list((real.ccm_home / name / "config" / "projects").glob("*/*.jsonl"))
        assert (name, len(recorded)) == (name, count)


@pytest.mark.parametrize("rule", ["latest", JAVASCRIPT])
def test_what_lies_in_the_home_directory_of_claude_stays_out(
    real: Sandbox, echo: EchoServer, trap: Trap, rule: str
) -> None:
    poison_home(real.home, trap.url)
    poisoned = home_of_claude(real.home)
    version = provide(real, rule)
    make(real, "closed", echo, Making(version))
    make(real, "shared", echo, Making(version, options=("--share-claude-md",)))
    places = (real.home, folder(real.home / "work" / "project"))
    for cwd in places:
        assert answer(real, "closed", "hi", cwd=cwd) == "echo from m-main: hi"
        assert (cwd, FOREIGN in everything(echo)) == (cwd, False)
    asked = len(messages(echo))
    for cwd in places:
        assert answer(real, "shared", "hi", cwd=cwd) == "echo from m-main: hi"
    for request in messages(echo)[asked:]:
        assert f"{FOREIGN} of CLAUDE.md" in json.dumps(request.body)
    assert (keys(echo), models(echo)) == (sent_as("bearer"), {"m-main"})
    assert trap.heard == []
    assert home_of_claude(real.home) == poisoned


def test_a_javascript_release_is_a_variant_like_any_other(
    real: Sandbox, echo: EchoServer, project: Path
) -> None:
    provide(real, JAVASCRIPT)
    newest = provide(real, "latest")
    make(real, "old", echo, Making(JAVASCRIPT))
    assert version_of(real, "old") == JAVASCRIPT
    assert answer(real, "old", "run: echo js", cwd=project) == "The tool answered: js"
    assert (keys(echo), models(echo)) == (sent_as("bearer"), {"m-main"})

    no_node = {"PATH": str(folder(real.home / "empty"))}
    done = real.run(real.launcher("old"), "-p", "hi", env=no_node)
    sentence = "old: this version of Claude Code needs Node.js 18 or newer on PATH\n"
    assert (done.returncode, done.stdout, done.stderr) == (127, "", sentence)

    real.must("update", "old", "--claude-version", "latest")
    assert version_of(real, "old") == newest
    done = real.run(real.launcher("old"), "--version", env=no_node)
    assert done.stdout.startswith(newest)
    real.must("rollback", "old")
    assert version_of(real, "old") == JAVASCRIPT
    assert answer(real, "old", "run: echo again", cwd=project) == "The tool answered: again"
    real.must("rollback", "old")
    assert version_of(real, "old") == newest
    assert answer(real, "old", "run: echo back", cwd=project) == "The tool answered: back"
    assert (keys(echo), models(echo)) == (sent_as("bearer"), {"m-main"})


@pytest.mark.parametrize("rule", ["latest", OLDER])
def test_users_own_settings_are_added_and_another_version_runs_once(
    real: Sandbox, echo: EchoServer, trap: Trap, project: Path, rule: str
) -> None:
    version, older = provide(real, rule), provide(real, "2.1.118")
    make(real, "demo", echo, Making(version))
    assert version_of(real, "demo", f"+{older}") == older
    assert version_of(real, "demo") == version
    proxies = hostile_projects(real.home / "hostile", trap.url)["proxies"]
    once = (f"+{older}", "-p", "run: echo once", "--allowedTools=Bash")
    done = real.run(real.launcher("demo"), *once, cwd=proxies)
    assert done.stdout == "The tool answered: once\n", done.stderr
    assert f"claude-cli/{older}" in (messages(echo)[-1].header("user-agent") or "")

    hostile = {"ANTHROPIC_BASE_URL": trap.url, "ANTHROPIC_AUTH_TOKEN": FOREIGN}
    users = {
        "env": {"GREETING": "wel come", **hostile},
        "language": "Klingon",
        "apiKeyHelper": f"echo {FOREIGN}",
        "permissions": {"deny": ["NotebookEdit"]},
    }
    text = json.dumps(users)
    file = project / "my settings.json"
    file.write_text(text)
    for words in (("--settings", str(file)), ("--settings", text), (f"--settings={text}",)):
        asked = len(messages(echo))
        told = answer(real, "demo", "run: echo $GREETING", *words, cwd=project)
        assert told == "The tool answered: wel come"
        sent = json.dumps([request.body for request in messages(echo)[asked:]])
        assert "Klingon" in sent
        tools = {str(tool) for r in messages(echo)[asked:] for tool in names_of_tools(r)}
        assert {"Bash", "WebSearch", "NotebookEdit"} & tools == {"Bash"}
    assert answer(real, "demo", "run: echo [$GREETING]", cwd=project) == "The tool answered: []"
    assert (keys(echo), models(echo)) == (sent_as("bearer"), {"m-main"})
    assert FOREIGN not in everything(echo)
    assert trap.heard == []

    for words in (("--settings", "nowhere.json"), ("--settings", "{broken"), ("--settings",)):
        done = real.run(real.launcher("demo"), "-p", "hi", *words, cwd=project)
        assert (words, done.returncode in (2, 3), done.stdout) == (words, True, "")


def names_of_tools(request: Received) -> list[object]:
    tools = request.body.get("tools")
    assert isinstance(tools, list)
    return [tool.get("name") for tool in tools]


def test_keys_arrive_byte_for_byte_and_show_nowhere(
    real: Sandbox, echo: EchoServer, project: Path
) -> None:
    newest = provide(real, "latest")
    key_file = folder(real.home / "my keys", {"the key": f"{HOSTILE_KEY}\nuser: me\n"}) / "the key"
    shell = {"MY_KEY": HOSTILE_KEY}
    ways = {
        "stdin-bearer": ("bearer", "--api-key-stdin"),
        "stdin-x-api-key": ("x-api-key", "--api-key-stdin"),
        "by-variable": ("bearer", "--api-key-env", "MY_KEY"),
        "by-command": ("x-api-key", "--api-key-command", f"cat '{key_file}'"),
    }
    endpoint = ("--provider", "custom", "--base-url", echo.url, "--model", "m-main")
    sent, expected = {}, {}
    for name, (auth, *options) in ways.items():
        stdin = f"{HOSTILE_KEY}\n" if "--api-key-stdin" in options else None
        real.must("create", name, *endpoint, "--auth", auth, *options, env=shell, stdin=stdin)
        assert answer(real, name, "hi", cwd=project, env=shell) == "echo from m-main: hi"
        last = messages(echo)[-1]
        sent[name] = {(last.header("authorization"), last.header("x-api-key"))}
        expected[name] = sent_as(auth, HOSTILE_KEY)
    assert sent == expected

    holding = [p for p in real.ccm_home.rglob("*") if p.is_file() and holds(p, HOSTILE_KEY)]
    stored = [real.ccm_home / f"stdin-{auth}/generations/1/credential" for auth in AUTHS]
    assert sorted(holding) == stored
    assert [oct(path.stat().st_mode) for path in stored] == ["0o100600"] * 2

    commands: list[tuple[str, ...]] = [("doctor", "--json"), ("list", "--json"), ()]
    for name in ways:
        commands += [(verb, name) for verb in ("show", "env")]
        commands += [(verb, name, "--json") for verb in ("show", "env")]
        commands += [("key", "show", name), ("env", name, "--format", "shell")]
    shown = {words: real.ccm(*words, env=shell) for words in commands}
    assert {
        words: (done.returncode, HOSTILE_KEY in done.stdout + done.stderr)
        for words, done in shown.items()
    } == dict.fromkeys(shown, (0, False))

    session = waiting_session(real, "stdin-x-api-key", "env", project)
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert [line for line in lines if HOSTILE_KEY.encode() in line] == []
    code, told = session.end()
    assert (code, told.startswith("The tool answered: "), HOSTILE_KEY in told) == (0, True, False)

    done = real.run(real.launcher("by-variable"), "-p", "hi")
    sentence = "by-variable: MY_KEY is not set; export it, or run: ccm key set by-variable"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{sentence}\n")
    key_file.unlink()
    done = real.run(real.launcher("by-command"), "-p", "hi")
    sentence = "by-command: the command that prints its key failed; see: ccm key show by-command"
    assert (done.returncode, done.stdout, done.stderr.splitlines()[-1]) == (1, "", sentence)
    stored[0].unlink()
    done = real.run(real.launcher("stdin-bearer"), "-p", "hi")
    sentence = "stdin-bearer: its stored key is missing; run: ccm key set stdin-bearer"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{sentence}\n")
    assert {version_of(real, name) for name in ways} == {newest}


def holds(path: Path, text: str) -> bool:
    return path.stat().st_size < 10_000_000 and text in path.read_text(errors="replace")


@pytest.mark.parametrize("rule", [OLDER, JAVASCRIPT])
def test_a_running_session_survives_everything_but_a_forced_removal(
    real: Sandbox, echo: EchoServer, project: Path, rule: str
) -> None:
    newest, version = provide(real, "latest"), provide(real, rule)
    provide(real, "2.1.118")
    provide(real, "2.1.113")
    make(real, "demo", echo, Making(version))
    session = waiting_session(real, "demo", "rg --version", project)

    real.must("update", "demo", "--claude-version", "latest")
    real.must("pin", "demo", "2.1.118")
    real.must("pin", "demo", "2.1.113")
    real.must("rollback", "demo")
    real.must("update", "demo", "--claude-version", "latest")
    real.must("prune")
    assert version_of(real, "demo") == newest
    assert answer(real, "demo", "run: rg --version").startswith("The tool answered: ripgrep ")

    refused = real.ccm("remove", "demo", "--yes")
    pid = session.process.pid
    assert (refused.returncode, f"process {pid}" in refused.stderr) == (6, True)
    code, told = session.end()
    assert (code, told.startswith("The tool answered: ripgrep ")) == (0, True), told
    assert (keys(echo), models(echo)) == (sent_as("bearer"), {"m-main"})
    real.must("remove", "demo", "--yes")
    assert list(real.ccm_home.glob("demo*")) == []


def test_doctor_sees_damage_and_mends_it(real: Sandbox, echo: EchoServer) -> None:
    provide(real, "latest")
    make(real, "bearer", echo, Making("latest"))
    make(real, "xapikey", echo, Making("latest", "x-api-key"))
    real.must("create", "mirror", "--provider", "mirror")
    names = ("bearer", "xapikey", "mirror")
    good = (0, {name: {"ok"} for name in names})
    bad = (1, {name: {"ok", "failed"} for name in names})
    assert verdicts(real) == good
    found = []
    for damages in (
        (truncated_program, settings_without_a_byte, another_launcher),
        (settings_that_pin_nothing, truncated_program, settings_that_allow_a_helper),
    ):
        for name, damage in zip(names, damages, strict=True):
            damage((real.ccm_home / name / "current").resolve())
        seen, fixed = verdicts(real), real.ccm("doctor", "--fix", *names).returncode
        found.append((seen, fixed, verdicts(real)))
    assert found == [(bad, 0, good)] * 2
    # none of them asked the endpoint of the variant itself
    assert echo.received == ()
    assert answer(real, "bearer", "hi") == "echo from m-main: hi"


def verdicts(sandbox: Sandbox) -> tuple[int, dict[str, set[str]]]:
    """How `ccm doctor --launch` ends, and the results of each variant; none without a report."""
    done = sandbox.ccm("doctor", "--launch", "--json")
    results: dict[str, set[str]] = {}
    for check in json.loads(done.stdout)["checks"] if done.stdout else []:
        if check["subject"] != "ccm":
            results.setdefault(check["subject"], set()).add(check["result"])
    return done.returncode, results


def truncated_program(generation: Path) -> None:
    program = generation / "native" / "claude"
    half = program.read_bytes()[: program.stat().st_size // 2]
    program.unlink()  # its bytes are the store's, too
    program.write_bytes(half)
    program.chmod(0o755)


def settings_without_a_byte(generation: Path) -> None:
    (generation / "settings.json").write_text("")


def settings_that_pin_nothing(generation: Path) -> None:
    (generation / "settings.json").write_text("{}\n")


def settings_that_allow_a_helper(generation: Path) -> None:
    settings = json.loads((generation / "settings.json").read_bytes())
    del settings["apiKeyHelper"], settings["env"]["ANTHROPIC_CUSTOM_HEADERS"]
    (generation / "settings.json").write_text(json.dumps(settings))


def another_launcher(generation: Path) -> None:
    text = (generation / "launch").read_text()
    (generation / "launch").write_text(text.replace("\nunset ccm_key", "\nunset ccm_key x", 1))


@pytest.mark.parametrize("rule", ["latest", JAVASCRIPT])
def test_a_launcher_leaves_its_version_to_ccm(real: Sandbox, echo: EchoServer, rule: str) -> None:
    version = provide(real, rule)
    make(real, "demo", echo, Making(version))
    before = contents(real.ccm_home / "demo")
    for word in ("update", "upgrade", "install"):
        done = real.run(real.launcher("demo"), word)
        sentence = "demo: ccm keeps the version of this variant; run: ccm update demo\n"
        assert (done.returncode, done.stdout, done.stderr) == (2, "", sentence)
    assert contents(real.ccm_home / "demo") == before
    # the command it names is one that works
    assert real.must("update", "demo") == f"demo: {version}, nothing to do\n"


@pytest.mark.parametrize("rule", ["latest", OLDER, "2.1.113", JAVASCRIPT])
def test_a_login_goes_to_anthropic_alone(real: Sandbox, trap: Trap, rule: str) -> None:
    token = "sk-ant-oat01-fake"
    login = {
        "accessToken": token,
        "refreshToken": "sk-ant-ort01-fake",
        "expiresAt": int(time.time() * 1000) + 10**9,
        "scopes": ["user:inference", "user:profile"],
        "subscriptionType": "max",
    }
    version = provide(real, rule)
    quick = ("--env", "CLAUDE_CODE_MAX_RETRIES=0", "--env", "API_TIMEOUT_MS=5000")
    real.must("create", "claude-max", "--provider", "mirror", "--claude-version", version, *quick)
    credentials = real.ccm_home / "claude-max" / "config" / ".credentials.json"
    credentials.write_text(json.dumps({"claudeAiOauth": login}))
    credentials.chmod(0o600)
    poison_home(real.home, trap.url)
    root = real.home / "projects"
    places = {"home": real.home, **hostile_projects(root, trap.url)}
    with Trap() as proxy:
        shell = {"HTTPS_PROXY": proxy.url, "https_proxy": proxy.url, "ANTHROPIC_API_KEY": FOREIGN}
        for name, cwd in places.items():
            asked = len(proxy.heard)
            real.run(real.launcher("claude-max"), "-p", "hi", cwd=cwd, env=shell, timeout=60)
            hosts = {said.split("\r\n", 1)[0].split(" ")[1] for said in proxy.heard[asked:]}
            assert (name, "api.anthropic.com:443" in hosts) == (name, True)
            assert (name, {host.endswith(".anthropic.com:443") for host in hosts}) == (name, {True})
            assert (name, trap.heard) == (name, [])
            assert (name, (root / "ran").exists()) == (name, False)
        assert token not in "".join(proxy.heard)
