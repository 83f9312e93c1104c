"""The launcher's text, run for real in every shell there is.

A small script stands in for Claude Code and writes down what reached it. Values that want to break
out of the text go through `ccm create` as well: tests/safety/test_injection.py.
"""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pexpect
import pytest

from ccmirror_py.environment import CLEARED_NAMES, KEY_DESCRIPTOR, KEYLESS_TOKEN, NETWORK_NAMES
from ccmirror_py.launcher import Launch, render
from ccmirror_py.os_keyring import lookup
from ccmirror_py.variant import FromCommand, FromFile, FromKeyring, FromVariable, NoKey
from tests.safety.shells import HOSTILE, INSTALLED, SHELLS, SHELLS_OWN

ENTRY = FromKeyring("zai~0123456789abcdef")
in_every_shell = pytest.mark.parametrize("shell", INSTALLED)

STAND_IN = """\
#!/bin/sh
printf '%s\\0' "$0" "$@" >"$RECORD/words"
env -0 >"$RECORD/environment"
[ ! -e /dev/fd/3 ] || cat <&3 >"$RECORD/descriptor"
echo ran
"""
CCM = """\
#!/bin/sh
printf '%s\\0' "$@" >"$RECORD/ccm"
"""
PRINT = """\
#!/bin/sh
printf '%s\\n' "$@"
"""


@dataclass(frozen=True)
class Arrived:
    """What reached the program: its own path and arguments, the environment, descriptor 3."""

    words: list[str]
    environment: dict[str, str]
    descriptor: str | None


@dataclass(frozen=True)
class World:
    """A variant in `home`, a working directory in which no file may appear."""

    root: Path
    home: Path

    @property
    def launch(self) -> Launch:
        return Launch(
            name="zai",
            generation=str(self.home),
            program=str(self.home / "claude"),
            settings=str(self.home / "settings.json"),
            pinned="{}\n",
            again="",
            network={},
            environment={},
            key_variable=None,
            credential=NoKey(),
            credential_file=str(self.home / "credential"),
            args=(),
            inherit=(),
            ccm=(str(self.root / "ccm"),),
        )

    def make(self, **changes: Any) -> Launch:
        return replace(self.launch, **changes)

    @property
    def environ(self) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "PATH": f"{self.root}/bin:{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "RECORD": str(self.root / "record"),
        }

    def run(
        self, shell: str, launch: Launch, *words: str, env: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        record = self.root / "record"
        shutil.rmtree(record, ignore_errors=True)
        record.mkdir()
        script = self.root / "launch"
        script.write_text(render(launch))
        done = subprocess.run(
            [*SHELLS[shell], str(script), *words],
            env={**self.environ, **(env or {})},
            cwd=self.root / "work",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
            check=False,
        )
        assert os.listdir(self.root / "work") == []
        return done

    def arrives(
        self, shell: str, launch: Launch, *words: str, env: Mapping[str, str] | None = None
    ) -> Arrived:
        """What reaches the program, which has to be started."""
        done = self.run(shell, launch, *words, env=env)
        assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n", "")
        record = self.root / "record"
        descriptor = record / "descriptor"
        pairs = [text.partition("=") for text in _texts(record / "environment")]
        environment = {name: value for name, _, value in pairs if name not in SHELLS_OWN}
        # asking for the version goes past everything else
        assert environment.pop("CCM_GENERATION", launch.generation) == launch.generation
        assert environment.pop("CCM_PROGRAM", launch.program) == launch.program
        return Arrived(
            _texts(record / "words"),
            environment,
            os.fsdecode(descriptor.read_bytes()) if descriptor.exists() else None,
        )

    def asked_of_ccm(
        self, shell: str, launch: Launch, *words: str, env: Mapping[str, str] | None = None
    ) -> list[str] | None:
        """What the ccm command is given; None when the program is started instead."""
        done = self.run(shell, launch, *words, env=env)
        assert (done.returncode, done.stderr) == (0, "")
        given = self.root / "record" / "ccm"
        return _texts(given) if given.exists() else None

    def refuses(
        self, shell: str, launch: Launch, *words: str, env: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Exit code and complaint of a launcher that starts nothing."""
        done = self.run(shell, launch, *words, env=env)
        assert (done.stdout, os.listdir(self.root / "record")) == ("", [])
        return done.returncode, done.stderr

    def at(self, home: Path) -> "World":
        """The same with everything of the variant in `home`."""
        home.mkdir(exist_ok=True)
        (home / "settings.json").write_text("{}\n")
        for name in ("claude", "print"):
            (home / name).symlink_to(self.root / "bin" / name)
        return World(self.root, home)


def _texts(path: Path) -> list[str]:
    return os.fsdecode(path.read_bytes()).split("\0")[:-1]


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    for name in ("work", "bin"):
        (tmp_path / name).mkdir()
    _script(tmp_path / "bin" / "claude", STAND_IN)
    _script(tmp_path / "bin" / "print", PRINT)
    _script(tmp_path / "ccm", CCM)
    yield World(tmp_path, tmp_path).at(tmp_path / "home")
    assert not list(tmp_path.rglob("canary"))


@pytest.mark.parametrize("shell", SHELLS)
def test_the_tests_below_are_run_in_this_shell(shell: str) -> None:
    if shell not in INSTALLED and SHELLS[shell][0] not in ("dash", "bash"):
        pytest.skip(f"{shell} is not installed")
    assert shell in INSTALLED


# --- values ---


@in_every_shell
@pytest.mark.parametrize("key_variable", ["ANTHROPIC_AUTH_TOKEN", KEY_DESCRIPTOR])
def test_a_key_file_without_an_end_of_line_is_read_too(
    world: World, shell: str, key_variable: str
) -> None:
    launch = world.make(key_variable=key_variable, credential=FromFile())
    Path(launch.credential_file).write_text("sk-1")
    arrived = world.arrives(shell, launch)
    assert arrived.descriptor == ("sk-1\n" if key_variable == KEY_DESCRIPTOR else None)
    assert arrived.environment.get("ANTHROPIC_AUTH_TOKEN", "sk-1") == "sk-1"


@in_every_shell
def test_pinned_proxies_equal_the_shells_whatever_they_contain(world: World, shell: str) -> None:
    size = len(NETWORK_NAMES)
    values = [value for value in HOSTILE if value != "\u2028"]
    for start in range(0, len(values) - size, size):
        network = dict(zip(NETWORK_NAMES, values[start:], strict=False))
        launch = world.make(network=network)
        assert world.arrives(shell, launch, env=network).environment == world.environ | network
    given = world.asked_of_ccm(
        shell, world.make(network=network), "a b", env={**network, NETWORK_NAMES[0]: "x"}
    )
    assert given == ["run", "zai", "--", "a b"]


@in_every_shell
def test_how_ccm_is_started_may_contain_anything(world: World, shell: str) -> None:
    for value in HOSTILE[:70]:
        ccm = world.root / "bin" / value
        shutil.copy(world.root / "ccm", ccm)
        given = world.asked_of_ccm(shell, world.make(ccm=(str(ccm), value)), "+2.1.1", value)
        assert given == [value, "run", "zai", "--", "+2.1.1", value]


# --- clearing ---

LOOK_ALIKES = {
    "NOTES": "a\nexport ANTHROPIC_X=1\nANTHROPIC_$(touch canary)\ndeclare -x CLAUDE_Y='2",
    "MORE": "\n'\n"
    "export ANTHROPIC_`touch canary`=1\n\"; touch canary\nexport PATH='x'\nHOME=\nPATH",
    "LAST": "x\nunset PATH\nexport -p\nANTHROPIC_MODEL\n*\n$(touch canary)\n",
}
OTHERS = {
    **LOOK_ALIKES,
    "PAGER": "less -R",
    "EDITOR": "vi",
    "anthropic_model": "lower case is another name",
    "MY_ANTHROPIC_KEY": "k",
    "XCLAUDE": "x",
    "CCM_HOME": "/x",
    "CCM_BIN_DIR": "/y",
    "DISABLE_PROMPT": "1",
    "AI_AGENTS": "not the cleared name",
    "NODE_OPTIONS_X": "x",
    "HTTPS_PROXY": "http://proxy.example:1",
    "NO_PROXY": "a.example",
    "NODE_EXTRA_CA_CERTS": "/ca.pem",
    "IS_SANDBOX": "1",
    "AWS_PROFILE": "p",
    "OPENAI_API_KEY": "o",
    "EMPTY": "",
    "GLOB": "*",
}
LEAKS = {
    **dict.fromkeys(CLEARED_NAMES, "leak"),
    "ANTHROPIC_": "leak",
    "ANTHROPIC_API_KEY": "leak",
    "ANTHROPIC_AUTH_TOKEN": "leak\nexport ANTHROPIC_AUTH_TOKEN=leak",
    "ANTHROPIC_BASE_URL": "'; touch canary; '",
    "ANTHROPIC_CUSTOM_HEADERS": "X-A: 1\nX-B: $(touch canary)\nANTHROPIC_$(touch canary): 2",
    "ANTHROPIC_x9": "leak",
    "CLAUDE": "leak",
    "CLAUDECODE": "1",
    "CLAUDE_CODE_USE_BEDROCK": "1",
    "CLAUDE_CODE_CHILD_SESSION": "1",
    "CLAUDE_CONFIG_DIR": "/x y/*",
    "CLAUDES": "",
    "_CLAUDE_CODE_ASSUME_FIRST_PARTY_BASE_URL": "1",
    "DISABLE_PROMPT_CACHING": "1",
    "DISABLE_PROMPT_CACHING_OPUS": "1",
    "CCM_VARIANT": "outer",
    "CCM_GENERATION": "outer",
    "CCM_PROGRAM": "outer",
}


@in_every_shell
def test_what_would_leak_in_is_cleared_and_the_rest_stays(world: World, shell: str) -> None:
    environment = {"CCM_VARIANT": "zai", "ANTHROPIC_BASE_URL": "https://api.example"}
    launch = world.make(environment=environment)
    arrived = world.arrives(shell, launch, env={**OTHERS, **LEAKS})
    assert arrived.environment == {**world.environ, **OTHERS, **environment}


@in_every_shell
def test_inherited_names_stay_and_what_the_variant_sets_wins(world: World, shell: str) -> None:
    launch = world.make(
        inherit=("ANTHROPIC_CUSTOM_HEADERS", "CLAUDE", "NODE_OPTIONS", "NOT_SET_AT_ALL"),
        environment={"CLAUDE": "mine"},
    )
    arrived = world.arrives(shell, launch, env={**OTHERS, **LEAKS})
    assert arrived.environment == {
        **world.environ,
        **OTHERS,
        "ANTHROPIC_CUSTOM_HEADERS": LEAKS["ANTHROPIC_CUSTOM_HEADERS"],
        "NODE_OPTIONS": "leak",
        "CLAUDE": "mine",
    }


@in_every_shell
def test_nothing_of_the_launcher_itself_reaches_the_program(world: World, shell: str) -> None:
    used = set(re.findall(r"\bccm_[a-z]+\b", render(world.launch)))
    assert {"ccm_line", "ccm_ifs", "ccm_argument", "ccm_missing"} <= used
    outer = dict.fromkeys({*used, "ccm_key"}, "outer")
    launch = world.make(
        key_variable="ANTHROPIC_AUTH_TOKEN", credential=FromVariable("MY_KEY"), args=("x",)
    )
    seen = world.arrives(shell, launch, env={**outer, "MY_KEY": "sk-1"}).environment
    functions = {
        "ccm_fail",
        "ccm_again",
        "ccm_hand_over",
    }  # the launcher has no variable of these names
    assert {k: v for k, v in seen.items() if k not in functions} == {
        **world.environ,
        "MY_KEY": "sk-1",
        "ANTHROPIC_AUTH_TOKEN": "sk-1",
    }


@pytest.mark.parametrize("shell", ["bash", "bash --posix"])
def test_a_strict_bash_of_the_user_makes_no_difference(world: World, shell: str) -> None:
    strict = {"SHELLOPTS": "errexit:nounset:pipefail"}
    launch = world.make(
        key_variable="ANTHROPIC_AUTH_TOKEN",
        credential=FromVariable("MY_KEY"),
        network={"HTTPS_PROXY": ""},
        environment={"ANTHROPIC_BASE_URL": "https://x.example"},
    )
    seen = world.arrives(shell, launch, env={**strict, "MY_KEY": "k", "CLAUDE_X": "1"})
    assert seen.environment.pop("SHELLOPTS")
    assert seen.environment == {
        **world.environ,
        "MY_KEY": "k",
        "ANTHROPIC_AUTH_TOKEN": "k",
        "ANTHROPIC_BASE_URL": "https://x.example",
    }


# --- keys ---

BEARER = "ANTHROPIC_AUTH_TOKEN"


@in_every_shell
@pytest.mark.parametrize("value", [None, ""])
def test_an_unset_key_variable_is_one_line_and_exit_1(
    world: World, shell: str, value: str | None
) -> None:
    launch = world.make(key_variable=BEARER, credential=FromVariable("ZAI_API_KEY"))
    env = {} if value is None else {"ZAI_API_KEY": value}
    cure = "zai: ZAI_API_KEY is not set; export it, or run: ccm key set zai\n"
    assert world.refuses(shell, launch, "-p", "hi", env=env) == (1, cure)


@in_every_shell
@pytest.mark.parametrize("key_variable", [BEARER, KEY_DESCRIPTOR])
def test_help_and_version_need_no_key(world: World, shell: str, key_variable: str) -> None:
    launch = world.make(key_variable=key_variable, credential=FromVariable("ZAI_API_KEY"))
    words = {
        word: world.arrives(shell, launch, word).words
        for word in ("-h", "--help", "-v", "--version")
    }
    pinned = [launch.program, "--settings", launch.settings]
    assert words == {
        "-h": [*pinned, "-h"],
        "--help": [*pinned, "--help"],
        "-v": [launch.program, "-v"],
        "--version": [launch.program, "--version"],
    }
    code, complaint = world.refuses(shell, launch, "--version", "x")
    assert (code, complaint.count("\n")) == (1, 1)


@in_every_shell
def test_a_session_of_claude_code_does_not_lend_its_key(world: World, shell: str) -> None:
    own = world.make(key_variable=BEARER, credential=FromVariable("ANTHROPIC_API_KEY"))
    key = {"ANTHROPIC_API_KEY": "sk-ant"}
    assert world.arrives(shell, own, env=key).environment == {**world.environ, BEARER: "sk-ant"}
    cure = "zai: ANTHROPIC_API_KEY is not set; export it, or run: ccm key set zai\n"
    for outer in ({"CLAUDECODE": "1"}, {"CCM_VARIANT": "other"}):
        assert world.refuses(shell, own, env=key | outer) == (1, cure)
    vendors = world.make(key_variable=BEARER, credential=FromVariable("ZAI_API_KEY"))
    env = {"ZAI_API_KEY": "z", "CLAUDECODE": "1", "CCM_VARIANT": "other"}
    arrived = world.arrives(shell, vendors, env=env).environment
    assert arrived == {**world.environ, "ZAI_API_KEY": "z", BEARER: "z"}


@in_every_shell
@pytest.mark.parametrize("value", ["sk-ant-1", "$(touch canary)", "CCM_KEY", "a\\b\\$HOME`x`"])
def test_an_x_api_key_is_handed_over_on_descriptor_3_only(
    world: World, shell: str, value: str
) -> None:
    Path(world.launch.credential_file).write_text(f"{value}\n")
    printing = (f"{world.home}/print", value)
    for credential in (FromFile(), FromCommand(printing), ENTRY):
        launch = world.make(key_variable=KEY_DESCRIPTOR, credential=credential, keyring=printing)
        arrived = world.arrives(shell, launch)
        assert arrived.descriptor == f"{value}\n"
        assert arrived.environment == {**world.environ, KEY_DESCRIPTOR: "3"}


@in_every_shell
def test_without_a_key_a_server_that_wants_none_gets_a_placeholder(
    world: World, shell: str
) -> None:
    launch = world.make(key_variable=BEARER)
    assert world.arrives(shell, launch).environment == {**world.environ, BEARER: KEYLESS_TOKEN}


@in_every_shell
def test_a_missing_key_file_is_one_line_and_exit_1(world: World, shell: str) -> None:
    launch = world.make(key_variable=BEARER, credential=FromFile())
    cure = "zai: its stored key is missing; run: ccm key set zai\n"
    assert world.refuses(shell, launch) == (1, cure)
    Path(launch.credential_file).write_text("")
    assert world.refuses(shell, launch) == (1, cure)


@in_every_shell
@pytest.mark.parametrize(
    "text", ["exit 1", "echo sk-1; exit 3", "exit 0", "printf '\\n\\n'", "echo; echo sk-2"]
)
def test_a_failing_key_command_is_one_line_and_exit_1(world: World, shell: str, text: str) -> None:
    _script(world.home / "fail", f"#!/bin/sh\n{text}\n")
    launch = world.make(
        key_variable=BEARER, credential=FromCommand((f"{world.home}/fail", "a key's name"))
    )
    cure = "zai: the command that prints its key failed; see: ccm key show zai\n"
    assert world.refuses(shell, launch) == (1, cure)


@in_every_shell
def test_of_what_a_key_command_prints_the_first_line_counts(world: World, shell: str) -> None:
    argv = (f"{world.home}/print", "sk-1", "user: me", "", "sk-2")
    for key_variable in (BEARER, KEY_DESCRIPTOR):
        launch = world.make(key_variable=key_variable, credential=FromCommand(argv))
        arrived = world.arrives(shell, launch)
        assert arrived.environment.get(BEARER) == ("sk-1" if key_variable == BEARER else None)
        assert arrived.descriptor == (None if key_variable == BEARER else "sk-1\n")


@in_every_shell
def test_a_key_command_sees_the_users_environment(world: World, shell: str) -> None:
    _script(world.home / "show", '#!/bin/sh\necho "$ANTHROPIC_X-$PASSWORD_STORE_DIR"\n')
    launch = world.make(key_variable=BEARER, credential=FromCommand((f"{world.home}/show",)))
    env = {"ANTHROPIC_X": "x", "PASSWORD_STORE_DIR": "/p"}
    assert world.arrives(shell, launch, env=env).environment[BEARER] == "x-/p"


@in_every_shell
def test_the_keyring_is_asked_as_the_user_and_not_for_what_is_piped_in(
    world: World, shell: str
) -> None:
    """A stand-in for secret-tool; tests/test_keyring.py has the real one."""
    text = "#!/bin/sh\nread -r line\nprintf '%s' \"sk-$line$DBUS_SESSION_BUS_ADDRESS $*\"\n"
    _script(world.root / "bin" / "secret-tool", text)
    launch = world.make(
        key_variable=BEARER, credential=ENTRY, keyring=lookup(ENTRY.account, "linux")
    )
    env = {"DBUS_SESSION_BUS_ADDRESS": "unix:x"}
    arrived = world.arrives(shell, launch, env=env)
    told = f"sk-unix:x lookup service ccmirror-py username {ENTRY.account}"
    assert arrived.environment[BEARER] == told


@in_every_shell
@pytest.mark.parametrize("text", ["exit 1", "echo sk-1; exit 3", "exit 0", "echo; echo sk-2", ""])
def test_a_keyring_without_the_key_is_one_line_and_exit_1(
    world: World, shell: str, text: str
) -> None:
    """Locked, unreachable, gone; at last without the command that reads it."""
    if text:
        _script(world.home / "secret-tool", f"#!/bin/sh\n{text}\n")
    keyring = (f"{world.home}/secret-tool", "lookup")
    launch = world.make(key_variable=BEARER, credential=ENTRY, keyring=keyring)
    why = f"it is locked, the entry is gone, or {keyring[0]} is not installed"
    cure = f"zai: the keyring gave no key ({why}); see: ccm key test zai\n"
    assert world.refuses(shell, launch) == (1, cure)


def test_on_macos_security_reads_it() -> None:
    words = ("find-generic-password", "-s", "ccmirror-py", "-a", ENTRY.account, "-w")
    assert lookup(ENTRY.account, "darwin") == ("/usr/bin/security", *words)


@in_every_shell
def test_a_key_may_begin_with_a_comma(world: World, shell: str) -> None:
    launch = world.make(key_variable=BEARER, credential=FromVariable("MY_KEY"))
    assert world.arrives(shell, launch, env={"MY_KEY": ",k"}).environment[BEARER] == ",k"


@in_every_shell
@pytest.mark.parametrize("name", ["if", "{", "A=b", "time", "!", "case", "~x"])
def test_a_key_command_is_the_program_of_that_name(world: World, shell: str, name: str) -> None:
    """As in `ccm create`, where no shell is in between."""
    _script(world.root / "bin" / name, "#!/bin/sh\necho sk-of-the-program\n")
    launch = world.make(key_variable=BEARER, credential=FromCommand((name, "sk-of-the-shell")))
    assert world.arrives(shell, launch).environment[BEARER] == "sk-of-the-program"


# --- arguments that are ccm's to answer ---


@in_every_shell
@pytest.mark.parametrize("word", ["install", "update", "upgrade"])
def test_claude_codes_own_installers_are_refused(world: World, shell: str, word: str) -> None:
    launch = world.make(key_variable=BEARER, credential=FromVariable("NOT_SET"))
    cure = "zai: ccm keeps the version of this variant; run: ccm update zai\n"
    assert world.refuses(shell, launch, word, "latest") == (2, cure)


@in_every_shell
@pytest.mark.parametrize(
    "words", [("-p", "update"), ("--", "install"), ("updates",), ("",), ("*",)]
)
def test_these_words_elsewhere_are_claude_codes(
    world: World, shell: str, words: tuple[str, ...]
) -> None:
    assert world.arrives(shell, world.launch, *words).words[3:] == list(words)


@in_every_shell
@pytest.mark.parametrize(
    "words",
    [
        ("+2.1.200",),
        ("+", "x"),
        ("+2.1.x", "-p", "$(touch canary)", "a b", ""),
        ("--settings", "my own.json"),
        ("-p", "x", "--settings={}"),
        ("-p", "--settings", "'; touch canary; '", "*"),
        ("--settings=", "--", "--settings", "x"),
    ],
)
def test_another_version_and_the_users_settings_are_handed_to_ccm(
    world: World, shell: str, words: tuple[str, ...]
) -> None:
    launch = world.make(
        ccm=(str(world.root / "ccm"), "-P", "-m", "x y"),
        key_variable=BEARER,
        credential=FromVariable("NOT_SET"),
    )
    given = world.asked_of_ccm(shell, launch, *words)
    assert given == ["-P", "-m", "x y", "run", "zai", "--", *words]


@in_every_shell
@pytest.mark.parametrize(
    "words", [("--", "--settings", "x"), ("-p", "+2.1.200"), ("--settingsx",), ("a --settings",)]
)
def test_what_only_looks_like_it_is_claude_codes(
    world: World, shell: str, words: tuple[str, ...]
) -> None:
    assert world.arrives(shell, world.launch, *words).words[3:] == list(words)


@in_every_shell
def test_ccm_gets_the_whole_environment(world: World, shell: str) -> None:
    _script(world.root / "ccm", '#!/bin/sh\nenv -0 >"$RECORD/ccm"\n')
    given = world.asked_of_ccm(shell, world.launch, "+2.1.1", env={**OTHERS, **LEAKS})
    assert given is not None
    seen = dict(text.split("=", 1) for text in given)
    assert {k: v for k, v in seen.items() if k not in SHELLS_OWN} == {
        **world.environ,
        **OTHERS,
        **LEAKS,
    }


@in_every_shell
def test_without_ccm_the_launcher_says_what_to_do(world: World, shell: str) -> None:
    launch = world.make(ccm=("/nowhere/it's gone", "-m"))
    cure = (
        "zai: this needs ccm, which is no longer where it was; install it and run: "
        "ccm doctor --fix zai\n"
    )
    assert world.refuses(shell, launch, "+2.1.1") == (127, cure)
    assert world.refuses(shell, launch, "--settings", "x") == (127, cure)
    assert world.arrives(shell, launch, "x").words[3:] == ["x"]


@in_every_shell
def test_other_proxies_than_the_pinned_ones_are_a_case_for_ccm(world: World, shell: str) -> None:
    pinned = dict.fromkeys(NETWORK_NAMES, "") | {"HTTPS_PROXY": "http://p.example:1"}
    launch = world.make(network=pinned)
    same = {"HTTPS_PROXY": "http://p.example:1"}
    assert world.asked_of_ccm(shell, launch, "x", env=same) is None
    for other in ({}, {**same, "http_proxy": "http://q"}, {"HTTPS_PROXY": "http://p.example:12"}):
        given = world.asked_of_ccm(shell, launch, "x", env=other)
        assert given == ["run", "zai", "--", "x"]


# --- a damaged variant ---


@in_every_shell
@pytest.mark.parametrize("missing", ["program", "settings"])
def test_a_damaged_variant_is_one_line_and_exit_127(world: World, shell: str, missing: str) -> None:
    path = f'{world.home}/it\'s $(touch canary) "gone" `touch canary` %s \\n'
    launch = world.make(**{missing: path}, key_variable=BEARER, credential=FromVariable("NOT_SET"))
    cure = f"zai: is damaged ({path} is missing); run: ccm doctor --fix zai\n"
    assert world.refuses(shell, launch, "x") == (127, cure)


# --- loopback ---


@in_every_shell
@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:43117", "http://localhost:1/x", "http://LOCALHOST", "http://[::1]:1"]
)
@pytest.mark.parametrize("shells", [{}, {"NO_PROXY": "a.example,*.b", "no_proxy": "c'd"}])
def test_no_proxy_stands_before_this_machine(
    world: World, shell: str, url: str, shells: dict[str, str]
) -> None:
    launch = world.make(environment={"ANTHROPIC_BASE_URL": url})
    env = {"HTTP_PROXY": "http://proxy.example", **shells}
    seen = world.arrives(shell, launch, env=env).environment
    for name in ("NO_PROXY", "no_proxy"):
        hosts = seen[name].split(",")
        assert set(shells.get(name, "localhost").split(",")) <= set(hosts)
        assert urlsplit(url).hostname in hosts


@in_every_shell
def test_proxies_for_others_are_left_alone(world: World, shell: str) -> None:
    launch = world.make(environment={"ANTHROPIC_BASE_URL": "https://127.0.0.1.example"})
    env = {"NO_PROXY": "a"}
    seen = world.arrives(shell, launch, env=env).environment
    assert seen == {**world.environ, "NO_PROXY": "a", **launch.environment}


# --- the JavaScript package ---

NODE = """\
#!/bin/sh
[ "$1" != --version ] || { echo "$NODE_SAYS"; exit; }
exec "$(dirname "$0")/claude" "$@"
"""


@in_every_shell
@pytest.mark.parametrize("says", ["v18.0.0", "v20.20.2", "v22.1.0", "v100.0.0"])
def test_the_old_package_is_started_with_node(world: World, shell: str, says: str) -> None:
    _script(world.root / "bin" / "node", NODE)
    program = world.home / "it's cli.js"
    program.write_text("")
    launch = world.make(program=str(program), args=("a b",))
    arrived = world.arrives(shell, launch, "x", env={"NODE_SAYS": says, "NODE_OPTIONS": "--bad"})
    words = [str(program), "--settings", launch.settings, "a b", "x"]
    assert arrived.words[1:] == words
    assert arrived.environment == {**world.environ, "NODE_SAYS": says}


@in_every_shell
@pytest.mark.parametrize("says", ["v17.9.1", "v16.20.2", "v10.0.0", "v9.9.9", "v4.0.0", ""])
def test_an_older_node_or_none_is_one_line(world: World, shell: str, says: str) -> None:
    _script(world.root / "bin" / "node", NODE)
    (world.home / "cli.js").write_text("")
    launch = world.make(program=f"{world.home}/cli.js")
    where = " on PATH" if not says else ""
    cure = f"zai: this version of Claude Code needs Node.js 18 or newer{where}\n"
    assert world.refuses(shell, launch, env={"NODE_SAYS": says}) == (127, cure)


@in_every_shell
def test_without_node_the_launcher_says_so(world: World, shell: str) -> None:
    (world.home / "cli.js").write_text("")
    tools = world.root / "tools"
    tools.mkdir()
    for tool in ("printf", "["):  # not every sh has them built in
        (tools / tool).symlink_to(str(shutil.which(tool)))
    argv0 = str(shutil.which(SHELLS[shell][0]))
    (tools / SHELLS[shell][0]).symlink_to(argv0)
    launch = world.make(program=f"{world.home}/cli.js")
    cure = "zai: this version of Claude Code needs Node.js 18 or newer on PATH\n"
    assert world.refuses(shell, launch, env={"PATH": str(tools)}) == (127, cure)


# --- the text itself ---


def every_kind(world: World) -> list[Launch]:
    asked = (FromCommand(("a", "b")), ENTRY)
    credentials = (NoKey(), FromVariable("ANTHROPIC_API_KEY"), FromFile(), *asked)
    return [
        world.make(
            credential=credential,
            keyring=("c", "d'e"),
            key_variable=key_variable,
            program=program,
            network=network,
            environment={"ANTHROPIC_BASE_URL": "http://127.0.0.1:1", "X": "it's"},
            inherit=inherit,
            args=("a b", "c'd"),
        )
        for credential in credentials
        for key_variable in (None, BEARER, KEY_DESCRIPTOR)
        if not (key_variable is None and credential != NoKey())
        for program, network, inherit in (
            ("/x y/claude", {}, ()),
            ("/x'y/cli.js", dict.fromkeys(NETWORK_NAMES, ""), ("ANTHROPIC_X", "CLAUDE_Y")),
        )
    ]


@in_every_shell
def test_every_kind_of_launcher_is_a_script_for_the_shell(world: World, shell: str) -> None:
    for launch in every_kind(world):
        script = world.root / "launch"
        script.write_text(render(launch))
        done = subprocess.run(
            [*SHELLS[shell], "-n", str(script)], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_shellcheck_has_nothing_to_say(world: World) -> None:
    for number, launch in enumerate(every_kind(world)):
        (world.root / f"launch{number}").write_text(render(launch))
    scripts = sorted(world.root.glob("launch*"))
    done = subprocess.run(
        ["shellcheck", "--shell=sh", *scripts], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_a_launcher_says_in_its_first_lines_whose_it_is(world: World) -> None:
    lines = render(world.launch).splitlines()
    assert lines[0] == "#!/bin/sh"
    assert "Made by ccm for the variant zai" in lines[1]


def test_no_value_stands_in_the_text_unquoted(world: World) -> None:
    for value in HOSTILE:
        launch = world.make(
            environment={"X": value},
            args=(value,),
            program=f"/{value}/claude",
            settings=f"/{value}/settings.json",
            credential=FromCommand(("x", value)),
            title=value,
            splash=f"/{value}/splash",
        )
        ringed = replace(launch, credential=ENTRY, keyring=("x", value))
        assert f"$(exec x {shlex.quote(value)} </dev/null)" in render(ringed)
        text = render(launch)
        assert f"export X={shlex.quote(value)}\n" in text
        assert text.endswith(f'{shlex.quote(value)} "$@"\n}}\n')


@in_every_shell
@pytest.mark.parametrize(
    "gone", ["program", "settings.json", "credential", "entry", "other settings"]
)
def test_what_was_replaced_meanwhile_is_asked_of_the_present_launcher_once(
    world: World, shell: str, gone: str
) -> None:
    Path(world.launch.credential_file).write_text("sk-1\n")
    present = world.root / "present"
    present.write_text(f'printf "%s|" "$@" >{world.root}/asked\n')
    launch = world.make(credential=FromFile(), key_variable=BEARER, again=str(present))
    if gone == "entry":
        launch = replace(launch, credential=ENTRY, keyring=("false",))
    elif gone == "other settings":
        (world.home / "settings.json").write_text('{"of": "a new one"}\n')
    else:
        (world.home / gone.replace("program", "claude")).unlink()
    done = world.run(shell, launch, "-p", "a  b")
    assert (done.returncode, done.stderr) == (0, "")
    assert (world.root / "asked").read_text() == "-p|a  b|"
    # that one is no better: it says so, and does not start a third
    told = world.run(shell, launch, env={"CCM_AGAIN": "1"})
    assert told.returncode in (1, 127)
    assert told.stderr.count("\n") == 1
    present.unlink()
    assert world.run(shell, launch).returncode in (1, 127)


@in_every_shell
def test_pinned_settings_are_compared_unless_they_are_older_than_the_launcher(
    world: World, shell: str
) -> None:
    settings, launch = world.home / "settings.json", world.home / "launch"
    launch.touch()
    damaged = "its pinned settings are not what ccm wrote); run: ccm doctor --fix zai"

    def starts(content: str, age: int) -> bool:
        settings.unlink(missing_ok=True)
        settings.write_text(content)
        moment = launch.stat().st_mtime_ns - age * 1_000_000_000
        os.utime(settings, ns=(moment, moment))
        done = world.run(shell, world.launch)
        assert (done.returncode == 0) == (damaged not in done.stderr)
        return done.returncode == 0

    assert starts("{}\n", age=1)
    assert starts("{}\n", age=0)
    assert starts("{}\n", age=-1)
    assert not starts("{", age=0)
    assert not starts("{", age=-1)
    assert not starts("", age=-1)
    older = world.home / "older"
    older.write_text("{")
    os.utime(older, ns=(0, 0))
    settings.unlink()
    settings.symlink_to(older)
    assert damaged in world.run(shell, world.launch).stderr


def on_a_terminal(world: World, shell: str, launch: Launch, *words: str) -> str:
    """All that is written there."""
    shutil.rmtree(world.root / "record", ignore_errors=True)
    (world.root / "record").mkdir()
    script = world.root / "launch"
    script.write_text(render(launch))
    argv = [*SHELLS[shell], str(script), *words]
    child: pexpect.spawn[bytes] = pexpect.spawn(
        argv[0],
        argv[1:],
        cwd=str(world.root / "work"),
        env={**world.environ, "TERM": "xterm"},
        timeout=20,
    )
    child.ptyproc.delayafterclose = 0  # type: ignore[attr-defined] # it has ended by then
    drawn = child.read()
    child.close()
    assert os.listdir(world.root / "work") == []
    return os.fsdecode(drawn)


@in_every_shell
def test_a_title_and_a_splash_are_for_people_only(world: World, shell: str) -> None:
    (world.root / "splash").write_text("\x1b[7m zai \x1b[0m $(touch canary)\n")
    splash = "\x1b[7m zai \x1b[0m $(touch canary)\r\n"
    launch = world.make(title="zai", splash=str(world.root / "splash"))
    title = "\x1b]0;zai\x07"
    for words in ((), ("-c",), ("fix it please",), ("--", "-p")):
        assert on_a_terminal(world, shell, launch, *words) == f"{title}{splash}ran\r\n", words
    assert on_a_terminal(world, shell, launch, "mcp", "list") == f"{title}ran\r\n"
    for words in (("-p", "hi"), ("-cp", "hi"), ("--print",), ("--output-format", "json"), ("-h",)):
        assert on_a_terminal(world, shell, launch, *words) == "ran\r\n", words
    assert world.arrives(shell, launch).words == [launch.program, "--settings", launch.settings]
    gone = world.make(title="zai", splash="/nowhere")
    assert on_a_terminal(world, shell, gone) == f"{title}ran\r\n"


@in_every_shell
def test_no_title_runs_anything(world: World, shell: str) -> None:
    for value in (value for value in HOSTILE if value.isprintable() and value.isascii()):
        drawn = on_a_terminal(world, shell, world.make(title=value))
        assert drawn == f"\x1b]0;{value}\x07ran\r\n"
