"""`ccm audit`: the promise of isolation, shown on the variant's real Claude Code.

A twin of the variant is started in a home directory and an environment full of bait: what reaches
the model's endpoint, what reaches a tool, what is written and who is asked is compared with what
may be. Nothing leaves this machine.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from glob import escape
from pathlib import Path

from ccmirror_py import fs
from ccmirror_py.check import Check
from ccmirror_py.context import Context
from ccmirror_py.echo import EchoServer, Received
from ccmirror_py.environment import CLEARED_NAMES, NETWORK_NAMES, weakness
from ccmirror_py.operations.twin import Settings, Twin, twin
from ccmirror_py.variant import Variant
from ccmirror_py.watch import Listener, Traced, traced, tracer

BAIT = "ccm-bait-"
_TOOL = "env"
_EXCLUDES = "claudeMdExcludes"
_STRAY = (
    *CLEARED_NAMES,
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_BETAS",
    "ANTHROPIC_CUSTOM_HEADERS",
    "ANTHROPIC_MODEL",
    "ANTHROPIC_SMALL_FAST_MODEL",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CONFIG_DIR",
    "DISABLE_PROMPT_CACHING",
)
_ANTHROPIC = re.compile(r"^CONNECT [a-z.-]*\b(anthropic\.com|claude\.(ai|com)):443 ")
_TEMPORARY = ("/tmp/", "/var/tmp/")  # noqa: S108 (looked at, not used)
_SHARED = ("/dev/", "/proc/", "/sys/")


@dataclass(frozen=True)
class _Seen:
    """What one run showed. `traced` is None where calls could not be watched."""

    printed: str
    received: tuple[Received, ...]
    asked: tuple[str, ...]
    hosts: tuple[str, ...]
    traced: Traced | None
    at_home: tuple[str, ...]
    allowed_ports: tuple[int, ...]


def audit(context: Context, variant: Variant) -> Iterator[Check]:
    """One check for each promise; `failed` where it does not hold."""
    name = variant.name
    with EchoServer() as server, Listener() as outside, Listener() as astray:

        def settings_here(settings: Settings, directory: Path) -> Settings:
            return _settings_here(settings, directory / "home", outside)

        with twin(context, variant, server.url, settings_here) as started:
            home = started.directory / "home"
            project = _lay_bait(home, astray)
            log = started.directory / "calls"
            fs.write_file(log, b"", 0o600)  # strace would make it for others to read, too
            wrapper = tracer(log)
            words = ("-p", f"run: {_TOOL}", "--allowedTools", f"Bash({_TOOL}:*)")
            environ = _environ(context, home, outside, astray)
            before = _files(home)
            printed = started.start(words, project, environ, wrapper or ())
            port = int(server.url.rpartition(":")[2])
            seen = _Seen(
                printed,
                server.received,
                tuple(astray.asked),
                tuple(outside.hosts),
                traced(log, project) if wrapper else None,
                tuple(sorted(_files(home) - before)),
                (port, outside.port, astray.port),
            )
            check = _started(name, seen)
            yield check
            if check.result == "failed":
                return  # what did not run proves nothing
            yield _files_check(context, name, started, home, seen)
            yield _variables(variant, seen)
            yield _requests(name, started, seen)
            yield _hosts(name, seen, login=variant.key_variable is None)
    if weakness(variant.version):
        yield Check(name, "version", "warning", weakness(variant.version))


def _settings_here(settings: Settings, home: Path, outside: Listener) -> Settings:
    """What is pinned for a home and for proxies, for this home and this proxy."""
    address = f"http://127.0.0.1:{outside.port}"
    here = {name: value for name, value in _network(address).items() if name in settings["env"]}
    changed = {**settings, "env": {**settings["env"], **here}}
    if _EXCLUDES in settings:
        changed[_EXCLUDES] = [*settings[_EXCLUDES], f"{escape(str(home))}/.claude/**"]
    return changed


def _network(proxy: str) -> dict[str, str]:
    """NETWORK_NAMES for this run: everything but this machine is asked of `proxy`."""
    values = dict.fromkeys(NETWORK_NAMES, proxy)
    return {**values, "NODE_EXTRA_CA_CERTS": "", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


def _environ(context: Context, home: Path, outside: Listener, astray: Listener) -> dict[str, str]:
    network = _network(f"http://127.0.0.1:{outside.port}")
    stray = {name: f"{BAIT}{name}" for name in _STRAY}
    stray["ANTHROPIC_BASE_URL"] = f"http://127.0.0.1:{astray.port}/{BAIT}url"
    stray["ANTHROPIC_CUSTOM_HEADERS"] = f"x-bait: {BAIT}header"
    places = {
        "HOME": str(home),
        **{f"XDG_{each}_HOME": str(home / f".{each.lower()}") for each in ("CONFIG", "DATA")},
    }
    return {**context.environ, **network, **stray, **places}


def _lay_bait(home: Path, astray: Listener) -> Path:
    """A home with somebody's own Claude Code in it, and a project that tries to lead away."""
    url = f"http://127.0.0.1:{astray.port}"
    hostile = {
        "env": {
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": f"{BAIT}project",
            "ANTHROPIC_AUTH_TOKEN": f"{BAIT}project",
            "ANTHROPIC_CUSTOM_HEADERS": f"x-bait: {BAIT}project-header",
        },
        "apiKeyHelper": f"echo {BAIT}helper",
        "model": f"{BAIT}model",
    }
    login = {"claudeAiOauth": {"accessToken": f"{BAIT}login", "expiresAt": 4_102_444_800_000}}
    files = {
        home / ".claude" / "settings.json": json.dumps(hostile),
        home / ".claude" / ".credentials.json": json.dumps(login),
        home / ".claude" / "CLAUDE.md": f"{BAIT}memory\n",
        home / ".claude.json": json.dumps({"primaryApiKey": f"{BAIT}primary"}),
        home / "project" / ".claude" / "settings.json": json.dumps(hostile),
        home / "project" / ".claude" / "settings.local.json": json.dumps(hostile),
    }
    for path, text in files.items():
        fs.ensure_directory(path.parent)
        fs.write_file(path, text.encode(), 0o600)
    return home / "project"


def _started(name: str, seen: _Seen) -> Check:
    if "The tool answered:" not in seen.printed:
        # not a line of what the tool `env` may have told
        said = [line for line in seen.printed.splitlines() if line and "=" not in line]
        return Check(name, "started", "failed", f"no tool call: {' '.join(said)[:300]}")
    return Check(name, "started", "ok", "one prompt, one tool call, one answer")


def _files_check(context: Context, name: str, started: Twin, home: Path, seen: _Seen) -> Check:
    """The twin's directory stands for the variant's; the home in it for the user's."""
    documented = _documented(home)
    own = (f"{context.home.directory(name)}/", *_SHARED)
    if seen.traced is None:
        outside = {str(home / path) for path in seen.at_home}
        how = "compared before and after; install strace to see every call"
    else:
        inside = f"{started.directory}/"
        outside = {
            path
            for path in seen.traced.changed
            if not path.startswith((*own, inside)) or path.startswith(f"{home}/")
        }
        real = f"{context.user_home}/.claude"
        outside |= {path for path in seen.traced.read if path.startswith(real)}
        how = f"{len(seen.traced.changed)} paths written, every call watched"
    # a temporary file that is gone again left nothing
    outside -= {p for p in outside if p.startswith(_TEMPORARY) and not os.path.lexists(p)}
    outside -= {str(parent) for path in documented for parent in Path(path).parents}
    stray = sorted(path for path in outside if not path.startswith(documented))
    known = sorted({_first(path, documented) for path in outside if path.startswith(documented)})
    shown = [path.replace(str(home), "~") + "*" * path.endswith("-") for path in known]
    also = f"; outside, as documented: {', '.join(shown)}" if shown else ""
    if stray:
        listed = ", ".join(path.replace(str(home), "~") for path in stray[:10])
        return Check(name, "files", "failed", f"outside the variant: {listed}{also}")
    return Check(name, "files", "ok", f"{how}{also}")


def _documented(home: Path) -> tuple[str, ...]:
    """docs/isolation.md, "Outside the variant"."""
    return (
        "/tmp/claude-",  # noqa: S108 (paths of Claude Code's)
        "/tmp/cc-socks",  # noqa: S108
        f"{home}/.cache/claude-cli-nodejs",
        f"{home}/.npm/_logs",
    )


def _first(path: str, documented: Iterable[str]) -> str:
    return next(known for known in documented if path.startswith(known))


def _variables(variant: Variant, seen: _Seen) -> Check:
    """In what the tool `env` printed, and in what was sent."""
    told = json.dumps([request.body for request in seen.received])
    arrived = {name for name in _STRAY if f"{BAIT}{name}" in told}
    chosen = sorted(arrived & set(variant.choices.inherit))
    leaked = sorted(arrived - set(chosen))
    if leaked:
        return Check(variant.name, "variables", "failed", f"arrived: {', '.join(leaked)}")
    by_choice = f"; let in by --inherit: {', '.join(chosen)}" if chosen else ""
    detail = f"{len(_STRAY)} laid in the shell, none arrived{by_choice}"
    return Check(variant.name, "variables", "ok", detail)


def _requests(name: str, started: Twin, seen: _Seen) -> Check:
    problems = list(dict.fromkeys(started.broken_promises(seen.received)))
    if seen.asked:
        problems.append(f"{len(seen.asked)} requests went where a project or the shell pointed")
    sent = json.dumps([[dict(r.headers), r.body] for r in seen.received])
    for bait, what in (
        ("header", "a header of the shell"),
        ("project", "a key or header of the project"),
        ("helper", "a key helper's output"),
        ("login", "the login of ~/.claude"),
        ("primary", "the key of ~/.claude.json"),
        ("memory", "~/.claude/CLAUDE.md"),
    ):
        if f"{BAIT}{bait}" in sent and not (bait == "memory" and _shares(started)):
            problems.append(f"sent along: {what}")
    if problems:
        return Check(name, "requests", "failed", "; ".join(problems))
    return Check(name, "requests", "ok", f"{len(seen.received)}, all to its endpoint with its key")


def _shares(started: Twin) -> bool:
    """Whether ~/.claude/CLAUDE.md is let in by choice."""
    settings = json.loads(fs.read_file(Path(started.launch.settings)))
    return _EXCLUDES not in settings


def _hosts(name: str, seen: _Seen, login: bool) -> Check:
    hosts = [host for host in seen.hosts if not (login and _ANTHROPIC.search(host))]
    if seen.traced is not None:
        ours = {
            f"{address}:{port}" for port in seen.allowed_ports for address in ("127.0.0.1", "::1")
        }
        # a port of 0 is how libraries ask which way a packet would take; nothing is sent
        hosts += [peer for peer in seen.traced.peers - ours if not peer.endswith(":0")]
    if hosts:
        return Check(name, "hosts", "failed", f"also asked for: {', '.join(sorted(hosts))}")
    how = "no other connection was tried" if seen.traced else "its proxy was asked for no other"
    also = " and, as a login does, Anthropic's own hosts" if len(hosts) < len(seen.hosts) else ""
    return Check(name, "hosts", "ok", f"its endpoint alone{also}; {how}")


def _files(directory: Path) -> set[str]:
    return {
        os.path.relpath(Path(folder) / name, directory)
        for folder, _, names in os.walk(directory)
        for name in names
    }
