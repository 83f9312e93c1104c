"""The real Claude Code among stray variables, hostile projects and the user's own settings: a key
arrives at its own host only, and no other credential arrives there.

Where the system allows it, in a network namespace in which every address is this machine, so that
whoever else is asked shows, DNS included.
"""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CHECKOUT, Sandbox, provide
from tests.npm_registry import NpmRegistry
from tests.safety.certificates import self_signed
from tests.safety.child import ccm
from tests.safety.routes import WORLD
from tests.safety.table import Tally, sample
from tests.safety.traps import FOREIGN, folder, hostile_projects, poison_home

VERSIONS = ("latest", "2.1.200", "2.1.118", "2.1.113", "2.1.112")
KEYS = {"bearer": "sk-bearer-0123456789", "x-api-key": "sk-x-api-key-0123456789"}
MODEL = "m-main"


def own_world() -> bool:
    """Whether a network namespace can be had here, and made the whole world."""
    if not sys.platform.startswith("linux") or not shutil.which("unshare"):
        return False
    argv = ["unshare", "-rn", "/bin/sh", "-c", WORLD]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def stray_variables(trap: str, certificate: Path) -> dict[str, dict[str, str]]:
    """Shells that would lead elsewhere, one way each."""
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
    ways = {
        "keys": {
            "ANTHROPIC_API_KEY": FOREIGN,
            "ANTHROPIC_AUTH_TOKEN": FOREIGN,
            "CLAUDE_CODE_OAUTH_TOKEN": FOREIGN,
        },
        "address": {"ANTHROPIC_BASE_URL": trap, "ANTHROPIC_UNIX_SOCKET": f"/tmp/{FOREIGN}"},
        "headers": {
            "ANTHROPIC_BETAS": FOREIGN,
            "ANTHROPIC_CUSTOM_HEADERS": f"x-{FOREIGN}: {FOREIGN}\nAuthorization: Bearer {FOREIGN}",
            "CLAUDE_CODE_EXTRA_BODY": json.dumps({FOREIGN: FOREIGN}),
        },
        "bedrock": {
            "ANTHROPIC_BEDROCK_BASE_URL": trap,
            "AWS_BEARER_TOKEN_BEDROCK": FOREIGN,
            "AWS_REGION": "us-east-1",
            "CLAUDE_CODE_SKIP_BEDROCK_AUTH": "1",
            "CLAUDE_CODE_USE_BEDROCK": "1",
        },
        "vertex": {
            "ANTHROPIC_VERTEX_BASE_URL": trap,
            "ANTHROPIC_VERTEX_PROJECT_ID": FOREIGN,
            "CLAUDE_CODE_SKIP_VERTEX_AUTH": "1",
            "CLAUDE_CODE_USE_VERTEX": "1",
            "CLOUD_ML_REGION": "us-east5",
        },
        "foundry": {
            "ANTHROPIC_FOUNDRY_API_KEY": FOREIGN,
            "ANTHROPIC_FOUNDRY_BASE_URL": trap,
            "CLAUDE_CODE_USE_FOUNDRY": "1",
        },
        "proxies": dict.fromkeys(proxies, trap),
        "node": {
            "NODE_EXTRA_CA_CERTS": str(certificate),
            "NODE_OPTIONS": f"--title={FOREIGN}",
            "NODE_TLS_REJECT_UNAUTHORIZED": "0",
        },
        "models": {"ANTHROPIC_MODEL": FOREIGN, "ANTHROPIC_DEFAULT_OPUS_MODEL": FOREIGN},
        "session": {
            "AI_AGENT": FOREIGN,
            "CLAUDECODE": "1",
            "CLAUDE_CODE_CHILD_SESSION": "1",
            "CLAUDE_CODE_ENTRYPOINT": FOREIGN,
            "CLAUDE_CODE_SESSION_ID": FOREIGN,
        },
    }
    return {**ways, "all": {k: v for way in ways.values() for k, v in way.items()}}


@dataclass(frozen=True)
class Trip:
    """A version and a way of sending keys, led astray in these ways at once."""

    version: str
    auth: str
    shell: str = ""
    project: str = ""
    settings: bool = False
    at_home: bool = False

    def __str__(self) -> str:
        ways = [f"shell: {self.shell}", f"project: {self.project}"]
        ways += ["--settings"] * self.settings + ["at home"] * self.at_home
        return f"{self.version}, {self.auth}, {', '.join(ways)}"


SHELLS = (
    *("keys", "address", "headers", "bedrock", "vertex", "foundry", "proxies", "node", "models"),
    *("session", "all"),
)
PROJECTS = ("endpoint", "helper", "proxies", "bedrock", "telemetry", "hooks off", "local")
_WAYS: tuple[dict[str, Any], ...] = (
    *({"shell": shell} for shell in SHELLS),
    *({"project": project} for project in PROJECTS),
    *({"shell": "all", "project": project} for project in PROJECTS),
    {"settings": True},
    {"settings": True, "project": "endpoint"},
    {"settings": True, "shell": "all", "project": "local"},
    {"at_home": True},
    {"at_home": True, "shell": "all"},
    {"at_home": True, "settings": True, "shell": "keys"},
)
TRIPS = tuple(
    Trip(version, auth, **way)
    for version_number, version in enumerate(VERSIONS)
    for number, way in enumerate(_WAYS)
    for auth in KEYS
    # the newest in both ways; of the others each second one
    if version == "latest" or (number + version_number + (auth == "bearer")) % 2
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@dataclass(frozen=True)
class Country:
    """A home directory with the variants of one version, and where things lie in it."""

    sandbox: Sandbox
    endpoint: int
    trap: int

    @property
    def ran(self) -> Path:
        """A project's helper makes this file."""
        return self.sandbox.home / "projects" / "ran"

    def make(self, version: str) -> None:
        number, url = provide(self.sandbox, version), f"http://127.0.0.1:{self.endpoint}"
        for auth, key in KEYS.items():
            self.sandbox.must(
                *("create", auth, "--provider", "custom", "--base-url", url, "--auth", auth),
                *("--claude-version", number, "--model", MODEL, "--api-key-stdin"),
                stdin=f"{key}\n",
            )

    def take(self, trips: list[Trip], alone: bool) -> list[str]:
        """The violations of these trips, which are made one after the other."""
        trap, home = f"http://127.0.0.1:{self.trap}", self.sandbox.home
        poison_home(home, trap)
        projects = {"": folder(home / "empty"), **hostile_projects(home / "projects", trap)}
        certificate = self_signed(home / "certificate.pem").file
        shells = {"": {}, **stray_variables(trap, certificate)}
        hostile = {"ANTHROPIC_BASE_URL": trap, "ANTHROPIC_AUTH_TOKEN": FOREIGN}
        users = {"env": hostile, "apiKeyHelper": f"touch {self.ran}; echo {FOREIGN}"}
        asked = []
        for trip in trips:
            settings = ["--settings", json.dumps(users)] if trip.settings else []
            argv = [str(self.sandbox.launcher(trip.auth)), "-p", "hi", *settings]
            cwd = home if trip.at_home else projects[trip.project]
            env = {**self.sandbox.environ, **shells[trip.shell]}
            asked.append({"argv": argv, "cwd": str(cwd), "env": env})
        program = [sys.executable, "-m", "tests.safety.routes", *(["--alone"] * alone)]
        done = subprocess.run(
            [*(["unshare", "-rn"] if alone else []), *program],
            input=json.dumps({"endpoint": self.endpoint, "trap": self.trap, "trips": asked}),
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        results = json.loads(done.stdout)
        ran = [f"{trips[0].version}: a project's or settings' helper ran"] * self.ran.exists()
        return ran + [
            f"{trip}: {problem}"
            for trip, result in zip(trips, results, strict=True)
            for problem in astray(trip, result)
        ]


def astray(trip: Trip, result: Mapping[str, Any]) -> list[str]:
    """What went elsewhere, or came from elsewhere."""
    key = KEYS[trip.auth]
    right = [f"Bearer {key}", ""] if trip.auth == "bearer" else ["", key]
    expected = {
        "code": 0,
        "said": f"echo from {MODEL}: hi",
        "keys": [right],
        "models": [MODEL],
        "foreign": False,
        "trapped": [],
        "elsewhere": [],
    }
    return [f"{k}: {result[k]!r}, not {v!r}" for k, v in expected.items() if result[k] != v]


@pytest.fixture
def country(real: Sandbox) -> Country:
    return Country(real, free_port(), free_port())


@pytest.mark.parametrize("version", VERSIONS)
def test_a_key_goes_to_its_own_host_and_no_other_comes_there(
    country: Country, tally: Tally, version: str
) -> None:
    trips = [trip for trip in sample(TRIPS, 15) if trip.version == version]
    country.make(version)
    tally(len(trips), country.take(trips, own_world()))


OLD = {"2.1.111": True, "2.1.1": True, "1.0.128": True, "2.1.112": False, "2.1.330": False}
"""Whether `create` and `pin` have to say that a version can't be isolated in full."""


def test_what_can_not_be_defended_is_said(sandbox: Sandbox, npm: NpmRegistry, tally: Tally) -> None:
    found = []
    for version, weak in OLD.items():
        npm.publish(version)
        words = ("create", "demo", "--provider", "echo", "--claude-version", version, "--force")
        for done in (ccm(sandbox, *words), ccm(sandbox, "pin", "demo", version)):
            said = "too old to be isolated in full" in done.said
            found += [] if (done.code, said) == (0, weak) else [f"{version}: {done}"]
    tally(2 * len(OLD), found)


# --- does the campaign see anything? -----------------------------------------------------------

SEEDS = {
    "a key that is left in the shell": (
        "launch",
        "ANTHROPIC_* | ",
        "",
        Trip("latest", "bearer", "keys"),
    ),
    "settings that are not pinned": (
        "settings.json",
        '"ANTHROPIC_CUSTOM_HEADERS": ""',
        '"x": ""',
        Trip("2.1.113", "bearer", project="endpoint"),
    ),
}


@pytest.mark.parametrize("name", SEEDS)
def test_the_campaign_finds_a_mistake(country: Country, tally: Tally, name: str) -> None:
    """In what was made, since it is another program that reads it."""
    file, right, wrong, trip = SEEDS[name]
    country.make(trip.version)
    path = country.sandbox.ccm_home / trip.auth / "current" / file
    text = path.read_text()
    assert right in text
    path.write_text(text.replace(right, wrong))
    assert country.take([trip], own_world())
    tally(1, [], suite="seeds")
