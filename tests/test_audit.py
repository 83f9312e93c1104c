"""`ccm audit` shows the real Claude Code keeping what is promised, and sees when it does not."""

import json
import shutil
from pathlib import Path
from shlex import quote

import pytest

from ccmirror_py import launcher
from ccmirror_py.cli import wiring
from ccmirror_py.operations.audit import audit
from ccmirror_py.watch import Listener, traced, tracer
from tests.conftest import Sandbox, provide


def audited(real: Sandbox, name: str = "demo") -> dict[str, tuple[str, str]]:
    """Result and detail by promise."""
    done = real.ccm("audit", name, "--json")
    checks = json.loads(done.stdout)["checks"]
    failed = any(check["result"] == "failed" for check in checks)
    assert done.returncode == failed, done.stderr
    return {check["name"]: (check["result"], check["detail"]) for check in checks}


@pytest.mark.parametrize(
    ("version", "auth"),
    [
        ("latest", "bearer"),
        ("latest", "x-api-key"),
        ("2.1.200", "bearer"),
        ("2.1.118", "x-api-key"),
        ("2.1.112", "x-api-key"),
    ],
)
def test_the_promise_holds(real: Sandbox, version: str, auth: str) -> None:
    wanted = provide(real, version)
    real.must("create", "demo", "--provider", "echo", "--claude-version", wanted, "--auth", auth)
    found = audited(real)
    assert {name: result for name, (result, _) in found.items()} == dict.fromkeys(
        ("started", "files", "variables", "requests", "hosts"), "ok"
    ), found
    assert list((real.ccm_home / ".staging").iterdir()) == []


def test_the_promise_holds_for_a_login(real: Sandbox) -> None:
    provide(real, "latest")
    real.must("create", "demo", "--provider", "mirror")
    found = audited(real)
    assert {result for result, _ in found.values()} == {"ok"}, found


def test_what_was_let_in_by_choice_is_told_and_no_leak(real: Sandbox) -> None:
    provide(real, "latest")
    real.must("create", "demo", "--provider", "echo", "--inherit", "MAX_THINKING_TOKENS")
    assert audited(real)["variables"][1].endswith("let in by --inherit: MAX_THINKING_TOKENS")


def test_an_old_version_is_not_called_isolated(real: Sandbox) -> None:
    wanted = provide(real, "2.1.1")
    real.must("create", "demo", "--provider", "echo", "--claude-version", wanted)
    assert audited(real)["version"][0] == "warning"


def test_a_launcher_that_clears_nothing_is_found(
    real: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    provide(real, "latest")
    real.must("create", "demo", "--provider", "echo")
    monkeypatch.setattr(launcher, "_clear", lambda _: "")
    found = leaks(real)
    assert "variables" in found or "requests" in found, found


def test_settings_that_pin_nothing_are_found(real: Sandbox) -> None:
    wanted = provide(real, "2.1.112")
    real.must("create", "demo", "--provider", "echo", "--claude-version", wanted)
    pinned = real.ccm_home / "demo/current/settings.json"
    document = json.loads(pinned.read_text())
    nothing = json.dumps({"env": {}})
    launch = pinned.with_name("launch")
    launch.write_text(launch.read_text().replace(quote(pinned.read_text()), quote(nothing)))
    pinned.write_text(nothing)
    assert document["env"]
    # on this version a project's key helper and CLAUDE.md of the home directory get in
    assert "requests" in leaks(real)


def leaks(real: Sandbox) -> dict[str, str]:
    context = wiring.context(dict(real.environ))
    checks = list(audit(context, context.variants.get("demo")))
    return {check.name: check.detail for check in checks if check.result == "failed"}


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_every_call_that_changes_or_connects_is_seen(tmp_path: Path, real: Sandbox) -> None:
    log = tmp_path / "log"
    wrapper = tracer(log)
    if wrapper is None:
        pytest.skip("ptrace is not allowed here")
    script = (
        "mkdir -p a/b; : > a/b/file; mv a/b/file a/b/gone; ln -s x a/link; rm a/link; chmod 700 a;"
        " cat /etc/hostname > /dev/null; python3 -c 'import socket;"
        ' s=socket.socket(); s.settimeout(1); s.connect_ex(("127.0.0.1", 9))\''
    )
    real.run(*wrapper, "sh", "-c", script, cwd=tmp_path)
    seen = traced(log, tmp_path)
    changed = {Path(p).relative_to(tmp_path).as_posix() for p in seen.changed if str(tmp_path) in p}
    assert {"a", "a/b", "a/b/file", "a/b/gone", "a/link"} <= changed
    assert "/etc/hostname" in seen.read
    assert "127.0.0.1:9" in seen.peers


def test_the_listener_keeps_whom_it_was_asked_for(real: Sandbox) -> None:
    with Listener() as listening:
        proxy = f"http://127.0.0.1:{listening.port}"
        fetch = "import urllib.request as u; u.urlopen('http://example.com/x')"
        done = real.run("python3", "-c", fetch, env={"http_proxy": proxy, "no_proxy": ""})
    assert done.returncode != 0
    assert listening.hosts == ["GET http://example.com/x HTTP/1.1"]
