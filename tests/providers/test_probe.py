"""No false green: each broken endpoint is diagnosed by name. No false red: the right ones pass."""

import ipaddress
import json
import socket
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from ccmirror_py.diagnosis import RULES
from ccmirror_py.echo import EchoServer
from ccmirror_py.line import Line
from ccmirror_py.messages import manner_of
from ccmirror_py.operations.probe import Talk, table
from ccmirror_py.probe import Row, Target, is_usable
from ccmirror_py.transport import Network
from ccmirror_py.version import Version, parse_version
from tests.providers.broken import BROKEN, RIGHT, Broken
from tests.providers.server import Endpoint, Model, Reply, Request, as_json

KEY = "sk-probe-4f1c9e07d2"
NEWEST = Version(2, 1, 330)


def target_at(url: str, environment: Mapping[str, str] | None = None, **own: Any) -> Target:
    usual = {
        "name": "t",
        "provider": "custom",
        "url": url,
        "style": "bearer",
        "tiers": {"main": "m"},
        "window": 200_000,
        "manner": manner_of(environment or {}, NEWEST),
    }
    return Target(**{**usual, **own})


def probed(target: Target, deep: bool = False, seconds: float = 20.0, **network: Any) -> list[Row]:
    return table(Talk(target, KEY, Line(Network(**network), seconds)), deep)


def shown(rows: list[Row]) -> str:
    return "\n".join(f"{r.result:8} {r.step:10} {r.detail} | {r.fix}" for r in rows)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_a_broken_endpoint_is_diagnosed_by_name(broken: Broken) -> None:
    with Endpoint(broken.behaviour) as endpoint:
        target = target_at(endpoint.url + broken.path, broken.environment, **broken.target)
        rows = probed(target, broken.deep, broken.seconds)
    told = [row for row in rows if row.step == broken.step and row.result == broken.result]
    right = [row for row in told if broken.cause in row.detail and broken.fix in row.fix]
    assert right, shown(rows)
    assert (right[0].deny, right[0].overrides) == (broken.deny, broken.overrides)
    assert is_usable(rows) is (broken.result == "limited"), shown(rows)
    assert KEY not in shown(rows)


def test_nothing_is_said_of_what_a_slow_answer_did_not_come_to() -> None:
    (slow,) = [broken for broken in BROKEN if broken.name == "a model that is only slow"]
    with Endpoint(slow.behaviour) as endpoint:
        rows = probed(target_at(endpoint.url), seconds=slow.seconds)
    assert [row.step for row in rows if row.result == "failed"] == ["stream"], shown(rows)
    assert told(rows, "tools").detail == "not come to"
    assert "stalls" not in shown(rows)


def test_the_corpus_is_large_and_every_fault_has_a_source() -> None:
    assert len(BROKEN) >= 30
    assert len({broken.name for broken in BROKEN}) == len(BROKEN)
    assert all(broken.source for broken in BROKEN)
    assert all(rule.source for rule in RULES)


@pytest.mark.parametrize("deep", [False, True], ids=["short", "deep"])
@pytest.mark.parametrize("name", RIGHT)
def test_a_right_endpoint_is_green(name: str, deep: bool) -> None:
    with Endpoint(RIGHT[name]) as endpoint:
        rows = probed(target_at(endpoint.url), deep)
    assert is_usable(rows), shown(rows)
    assert [row for row in rows if row.result == "failed"] == []
    assert [row.step for row in rows if row.result == "limited"] in ([], ["websearch"])


@pytest.mark.parametrize("version", ["2.1.330", "2.1.200", "2.1.113", "2.1.1"])
@pytest.mark.parametrize("style", ["bearer", "x-api-key"])
def test_the_echo_server_is_green_for_every_version(version: str, style: str) -> None:
    manner = manner_of({}, parse_version(version))
    with EchoServer() as echo:
        tiers = {"main": "echo-large[1m]", "haiku": "echo-small"}
        rows = probed(target_at(echo.url, style=style, tiers=tiers, manner=manner))
        models = {request.model for request in echo.received if request.path.startswith("/v1/m")}
    assert is_usable(rows), shown(rows)
    assert models <= {"echo-large", "echo-small", None}, "the mark [1m] is never sent"


def test_thinking_goes_back_just_as_it_came() -> None:
    with Endpoint(Model(thinks=True)) as endpoint:
        rows = probed(target_at(endpoint.url))
    assert ("thinking", "ok") in [(row.step, row.result) for row in rows], shown(rows)


# --- what is in the way before any server ---


def told(rows: list[Row], step: str) -> Row:
    (row,) = [row for row in rows if row.step == step]
    return row


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_a_port_nobody_listens_at() -> None:
    row = told(probed(target_at(f"http://127.0.0.1:{free_port()}")), "reach")
    assert "nothing listens at 127.0.0.1" in row.detail
    assert "start the server" in row.fix


def test_a_name_nobody_knows() -> None:
    row = told(probed(target_at("http://no-such-host.invalid")), "reach")
    assert row.detail.startswith("the name no-such-host.invalid is unknown")


def test_a_proxy_that_is_not_there() -> None:
    proxies = {"https": f"http://127.0.0.1:{free_port()}"}
    row = told(probed(target_at("https://api.example.com"), proxies=proxies), "reach")
    assert row.detail.startswith("the proxy does not lead to api.example.com")
    assert "HTTPS_PROXY" in row.fix


def test_a_server_that_never_answers_takes_no_longer_than_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        row = told(probed(target_at(url), seconds=1.0), "reach")
    assert "did not answer within 1 s" in row.detail
    assert "--deep waits" in row.fix


def test_headers_that_trickle_in_do_not_hold_it_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as slow:

        def trickle() -> None:
            client, _ = slow.accept()
            with client:
                for _ in range(100):
                    client.sendall(b"H")
                    enough.wait(0.1)

        enough = Event()
        Thread(target=trickle, daemon=True).start()
        url = f"http://127.0.0.1:{slow.getsockname()[1]}"
        row = told(probed(target_at(url), seconds=1.0), "reach")
        enough.set()
    assert "did not answer within 1 s" in row.detail


def test_https_to_a_port_that_speaks_http() -> None:
    with Endpoint(Model()) as endpoint:
        row = told(probed(target_at(endpoint.url.replace("http", "https"))), "reach")
    assert row.result == "failed"
    assert "http, not https" in row.fix, row


def test_a_certificate_nobody_trusts(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as plain:
        Thread(target=refuse_handshakes, args=(plain, context), daemon=True).start()
        url = f"https://127.0.0.1:{plain.getsockname()[1]}"
        row = told(probed(target_at(url)), "reach")
    assert "is not trusted" in row.detail
    assert "NODE_EXTRA_CA_CERTS" in row.fix


def refuse_handshakes(plain: socket.socket, context: ssl.SSLContext) -> None:
    try:
        while True:
            client, _ = plain.accept()
            with client:
                context.wrap_socket(client, server_side=True)
    except OSError:
        return


def self_signed(directory: Path) -> tuple[Path, Path]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lab")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = directory / "certificate.pem", directory / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    files[1].write_bytes(private)
    return files


# --- the key ---


def test_a_redirect_is_never_followed_with_the_key() -> None:
    with Endpoint(Model()) as other:
        there = {"Location": f"{other.url}/v1/messages"}
        with Endpoint(lambda request: Reply(307, b"", headers=there)) as endpoint:
            rows = probed(target_at(endpoint.url))
    assert other.requests == []
    assert "redirects to" in told(rows, "path").detail


@pytest.mark.parametrize("quoted", [KEY, KEY[3:], f"{KEY[:12]}…", f"…{KEY[-9:]}", f"a{KEY}b{KEY}c"])
def test_a_key_that_a_server_quotes_is_not_shown(quoted: str) -> None:
    refusal = as_json({"error": {"message": f"Incorrect API key provided: {quoted}"}}, 401)
    with Endpoint(lambda request: refusal) as endpoint:
        rows = probed(target_at(endpoint.url))
    assert "***" in shown(rows)
    assert not any(KEY[i : i + 8] in shown(rows) for i in range(len(KEY) - 7)), shown(rows)


def test_only_the_endpoints_own_host_is_asked_and_always_with_the_key_in_one_header() -> None:
    with Endpoint(Model()) as endpoint:
        probed(target_at(endpoint.url), deep=True)
        requests: list[Request] = list(endpoint.requests)
    assert {request.headers["host"] for request in requests} == {endpoint.url.partition("//")[2]}
    assert {request.key for request in requests} == {("bearer", KEY)}
    assert not any("x-api-key" in request.headers for request in requests)


def test_a_good_probe_is_short() -> None:
    with Endpoint(Model(models=("m",), window=200_000)) as endpoint:
        probed(target_at(endpoint.url))
        costly = [r for r in endpoint.requests if r.is_message]
    assert len(costly) == 3, "two calls and an answer"
    assert sum(len(json.dumps(request.body)) for request in costly) < 6000
