"""Bad downloads, refused with the cause named, or exactly what was promised.

Of a refused one nothing reaches the store, nothing is left in staging, and the variant that was
there still runs.
"""

import json
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ccmirror_py import archive as reader
from ccmirror_py import fs, host, registry
from ccmirror_py.npmrc import PUBLIC_REGISTRY
from ccmirror_py.registry import Registry
from ccmirror_py.store import Store
from ccmirror_py.transport import CHUNK
from tests.conftest import Sandbox
from tests.npm_registry import (
    BAD_INTEGRITIES,
    METADATA,
    ROOT,
    TARBALL,
    Fault,
    Member,
    NpmRegistry,
    Reply,
    Wire,
    answer,
    archive,
    body,
    broken_json,
    captive_portal,
    encoding_bomb,
    flipped,
    gzip,
    integrity,
    manifests,
    other_version,
    program,
    redirect,
    sri,
    tarball_url,
    trailing,
)
from tests.safety.certificates import self_signed
from tests.safety.child import NEW, OLD, Ended, Shop, ccm, excess
from tests.safety.table import Tally, sample

PLATFORM = host.this_platform()
PACKAGE = PLATFORM.package.rpartition("claude-code-")[2]
RIGHT = program(NEW) + b"exit\n" + random.Random(1).randbytes(200_000)
OF_PLATFORM = rf"{PACKAGE}/2\.1\.330$"
MIB = 1 << 20

REFUSED, GONE, UNREACHABLE = 5, 3, 4
BYTES = r"sha512|gzip archive|ends (too early|within)|damaged header|goes on|lacks package|"
BYTES += "one plain file|impossible size|renames"


def nothing(_: Shop) -> None:
    """The shop is as it should be; the faults are the registry's."""


@dataclass(frozen=True)
class Case:
    """`code` is how `ccm create` ends (0: with exactly the right program), `says` a pattern of the
    cause it has to name. `other` is a second host with the same releases.
    """

    code: int
    says: str = ""
    faults: tuple[tuple[str, Fault], ...] = ()
    rule: str = "latest"
    env: Mapping[str, str] = field(default_factory=dict)
    before: Callable[[Shop], object] = nothing
    read_timeout: float = 30


def tarball(code: int, says: str, fault: Fault, **more: float) -> Case:
    return Case(code, says, ((TARBALL, fault),), read_timeout=more.get("read_timeout", 30))


def document(code: int, says: str, fault: Fault, rule: str = "latest") -> Case:
    return Case(code, says, ((METADATA, fault),), rule)


def platforms(code: int, says: str, fault: Fault) -> Case:
    """Only the document of the platform's package, which promises the archive."""
    return Case(code, says, ((OF_PLATFORM, fault),))


def shortened(size: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:size]


def set_to(**values: object) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.update(values)


def bytes_cases(npm: NpmRegistry) -> dict[str, Case]:
    size = len(npm.tarball(NEW, PACKAGE))
    wrong = partial(tarball, REFUSED, BYTES)
    cut = {"nothing": 0, "1 byte": 1, "25 %": size // 4, "half": size // 2}
    cut |= {"99 %": size * 99 // 100, "all but a byte": size - 1}
    short = {f"only {what}": body(shortened(n)) for what, n in cut.items()}
    return {
        **{f"block {n}": wrong(flipped(n * size // 64)) for n in range(64)},
        "last byte": wrong(flipped(-1)),
        **{what: wrong(fault) for what, fault in short.items()},
        **{
            # what comes in whole chunks is kept, and the rest asked for
            f"closed after {what}": tarball(
                0 if n >= CHUNK else UNREACHABLE, "connection", Wire(cut=n)
            )
            for what, n in cut.items()
        },
        "a zero more": wrong(trailing()),
        "a newline more": wrong(trailing(b"\n")),
        "a block more": wrong(trailing(bytes(512))),
        "a megabyte more": wrong(trailing(bytes(MIB))),
        "a second archive": wrong(trailing(archive([Member("package/claude", b"evil")]))),
        "zeros": wrong(body(lambda data: bytes(len(data)))),
        "noise": wrong(body(lambda data: random.Random(3).randbytes(len(data)))),
        "reversed": wrong(body(lambda data: data[::-1])),
        "two halves swapped": wrong(body(lambda data: data[size // 2 :] + data[: size // 2])),
        "a block twice": wrong(body(lambda data: data[:512] + data)),
        "another version": wrong(body(lambda _: npm.tarball(OLD, PACKAGE))),
        "the root package": wrong(body(lambda _: npm.tarball(NEW))),
        "inflated": wrong(body(lambda _: b"not compressed" * 99)),
        "portal": wrong(captive_portal()),
        "JSON": wrong(answer(200, b'{"error": "not here"}')),
    }


def with_dist(change: Callable[[dict[str, Any]], object]) -> Fault:
    return manifests(lambda manifest: change(manifest["dist"]))


def promises(npm: NpmRegistry) -> dict[str, Case]:
    """The archive is right, what is promised of it is not."""
    data = npm.tarball(NEW, PACKAGE)
    none = partial(platforms, REFUSED, "gives no sha512")
    differs = partial(platforms, REFUSED, "sha512 the registry promised")
    another = partial(platforms, REFUSED, "answered with")
    others: dict[str, bytes] = {
        "another version": npm.tarball(OLD, PACKAGE),
        "the root package": npm.tarball(NEW),
        "darwin": npm.tarball(NEW, "darwin-arm64"),
        "musl": npm.tarball(NEW, "linux-x64-musl"),
        "another processor": npm.tarball(NEW, "linux-arm64"),
    }
    others.pop({"linux-arm64": "another processor"}.get(PACKAGE, ""), None)
    listed: list[object] = [5, [sri(data)], {"sha512": sri(data)}, True]
    return {
        **{
            f"integrity {name}": none(integrity(value))
            for name, value in BAD_INTEGRITIES.items()
            if name != "wrong"
        },
        "integrity wrong": differs(integrity(BAD_INTEGRITIES["wrong"])),
        "neither integrity nor shasum": none(integrity(None, shasum=False)),
        "sha256 only": none(integrity(sri(data, "sha256"))),
        "sha384 only": none(integrity(sri(data, "sha384"))),
        "sha512 in capitals": none(integrity(sri(data).replace("sha512", "SHA512"))),
        "wrong sha512 beside a right sha1": differs(
            integrity(f"{sri(data, 'sha1')} {sri(b'something else')}")
        ),
        "wrong sha512 before a right one": differs(
            integrity(f"{sri(b'something else')} {sri(data)}")
        ),
        "right sha512 among others": platforms(
            0, "", integrity(f"md5-AAAA {sri(data, 'sha1')} {sri(data)}?opaque")
        ),
        **{
            f"integrity {type(value).__name__}": none(with_dist(set_to(integrity=value)))
            for value in listed
        },
        **{f"hash of {what}": differs(integrity(sri(other))) for what, other in others.items()},
        "document of another version": another(other_version(OLD)),
        "root document of another version": Case(
            REFUSED, "answered with", ((r"claude-code/2\.1\.330$", other_version(OLD)),), NEW
        ),
        **{
            f"document of {name}": another(manifests(set_to(name=name)))
            for name in (f"{ROOT}-other", ROOT, "")
        },
        "no version": document(REFUSED, "names no version", manifests(lambda m: m.pop("version"))),
        "a version that is none": document(
            REFUSED, "names no version", manifests(set_to(version="../../2.1.330"))
        ),
        **{
            f"no address: {text}": platforms(
                UNREACHABLE, "no download address", manifests(set_to(dist=json.loads(text)))
            )
            for text in ("null", "[]", '{"tarball": 5}')
        },
        "signatures in another form": platforms(
            REFUSED, "signatures", with_dist(set_to(signatures={"keyid": "x"}))
        ),
        "signatures without a key": platforms(
            REFUSED, "signatures", with_dist(set_to(signatures=[{"sig": "x"}]))
        ),
        "no signature, none wanted": platforms(0, "", with_dist(set_to(signatures=[]))),
        "no signature, one wanted": Case(
            REFUSED, "no signature", env={"CCM_REQUIRE_SIGNATURE": "1"}
        ),
    }


def addresses(npm: NpmRegistry, other: NpmRegistry) -> dict[str, Case]:
    """Where the archive is said to be. A name that has to be looked up meets the proxy."""
    port = urlsplit(npm.url).port
    of_old = f"claude-code-{PACKAGE}-{OLD}.tgz"
    followed, url = r"an address ccm does not follow", npm.url.rstrip("/")
    bad = partial(Case, REFUSED, followed)
    proxied = {"http_proxy": f"{url}/proxy", "NO_PROXY": "127.0.0.1"}

    def at(code: int, says: str, address: str, **more: Mapping[str, str]) -> Case:
        return Case(code, says, ((METADATA, tarball_url(address)),), env=more.get("env", {}))

    refused = (
        *("file:///etc/passwd", "ftp://127.0.0.1{path}", "//127.0.0.1{path}", "{path}", ""),
        *("http://user:pass@127.0.0.1:1{path}", "https://user@127.0.0.1:1{path}"),
        *("javascript:alert(1)", "data:application/gzip;base64,AAAA", "http://[x{path}"),
    )
    return {
        **{
            f"at {address or 'nowhere'}": replace(bad(), faults=((METADATA, tarball_url(address)),))
            for address in refused
        },
        "at a port that is none": at(UNREACHABLE, "can't be asked", "http://127.0.0.1:99999{path}"),
        "at no host": at(UNREACHABLE, "can't be asked", "http://{path}"),
        "at another host": at(0, "", other.url.rstrip("/") + "{path}"),
        "at the public registry, which the mirror is": at(
            0, "", PUBLIC_REGISTRY.rstrip("/") + "{path}"
        ),
        "at an address of this machine": at(
            UNREACHABLE, "can't be used", f"http://127.0.0.2:{port}{{path}}"
        ),
        "at a number": at(0, "", f"http://2130706433:{port}{{path}}", env=proxied),
        # the first o is Cyrillic
        "at a look-alike": at(GONE, "no document", "http://l\u043ecalhost{path}x", env=proxied),
        "above the root": at(GONE, "no document", f"{url}/../../etc/passwd"),
        "of another version": Case(
            REFUSED,
            BYTES,
            (
                (
                    METADATA,
                    tarball_url(f"{url}/{PLATFORM.package}/-/{of_old}"),
                ),
            ),
        ),
        "of the root package": Case(
            REFUSED, BYTES, ((METADATA, tarball_url(f"{url}/{ROOT}/-/claude-code-{NEW}.tgz")),)
        ),
    }


def redirects(npm: NpmRegistry, other: NpmRegistry) -> dict[str, Case]:
    def hops(number: int) -> Fault:
        left = [number]

        def fault(reply: Reply) -> Reply:
            left[0] -= 1
            return redirect("/again{path}")(reply) if left[0] >= 0 else reply

        return fault

    to = partial(tarball, UNREACHABLE)
    address = npm.url.replace("http://", "http://u:p@")
    elsewhere = redirect(f"{address}{ROOT}/-/claude-code-{NEW}.tgz", 307)
    return {
        "redirect within the host": tarball(0, "", hops(1)),
        "five redirects": tarball(0, "", hops(5)),
        "six redirects": to("in circles", hops(6)),
        "21 redirects": to("in circles", hops(21)),
        "redirect to itself": to("in circles", redirect("{path}")),
        "redirect to another host": tarball(0, "", redirect(other.url.rstrip("/") + "{path}")),
        "redirect to a file": to("not https", redirect("file:///etc/passwd")),
        "redirect to ftp": to("not https", redirect("ftp://127.0.0.1/x")),
        "redirect to a script": to("not https", redirect("javascript:alert(1)")),
        "redirect to nobody": to("refuses the connection", redirect("http://127.0.0.1:9/x")),
        "redirect to no address": to("can't be asked|can't be used", redirect("http://[x/")),
        "redirect without an address": to("status 302", answer(302)),
        "redirect with a password to a wrong archive": Case(
            REFUSED, BYTES, before=lambda shop: shop.npm.fail(TARBALL, elsewhere, times=1)
        ),
        "document redirects to itself": document(UNREACHABLE, "in circles", redirect("{path}")),
        "document redirects to a file": document(UNREACHABLE, "not https", redirect("file:///x")),
    }


def wires(npm: NpmRegistry, other: NpmRegistry) -> dict[str, Case]:
    broken = partial(tarball, UNREACHABLE)
    size = len(npm.tarball(NEW, PACKAGE))
    deep = 200_000
    return {
        "length too small": tarball(REFUSED, BYTES, Wire(length=-10)),
        "length too large": broken("connection", Wire(length=1000)),
        "length huge": broken("connection", Wire(length=str(10**18))),
        "length negative": tarball(REFUSED, BYTES, Wire(length="-5", cut=100)),
        "length a word": tarball(REFUSED, BYTES, Wire(length="banana", cut=0)),
        "no length": tarball(0, "", Wire(length=None)),
        "no length, and cut": tarball(REFUSED, BYTES, Wire(length=None, cut=size // 2)),
        "chunks": tarball(0, "", Wire(chunked="well")),
        "broken chunks": broken("connection", Wire(chunked="broken")),
        "chunks that end": broken("connection", Wire(chunked="well", cut=size // 2)),
        "reset": broken("connection", Wire(cut=100, reset=True)),
        "reset at once": broken("connection", Wire(cut=0, reset=True)),
        "reset once": Case(
            0, "", before=lambda shop: shop.npm.fail(TARBALL, Wire(cut=100, reset=True), times=1)
        ),
        "stalls": broken("in time", Wire(stall=9, stall_at=100), read_timeout=0.2),
        "answers late": broken("in time", Wire(delay=9), read_timeout=0.2),
        "documents stall": replace(
            document(UNREACHABLE, "in time", Wire(stall=9, stall_at=10)), read_timeout=0.2
        ),
        "slow but steady": tarball(0, "", Wire(rate=2 * size)),
        "wrong bytes in chunks": tarball(REFUSED, BYTES, both(Wire(chunked="well"), flipped(7))),
        # bombs: little comes over the line
        "a bomb for an archive": tarball(REFUSED, BYTES, body(lambda _: gzip(b"", 1025))),
        "two bombs": tarball(REFUSED, BYTES, body(lambda _: gzip(b"", 600) * 2)),
        "encoding bomb": tarball(REFUSED, BYTES, encoding_bomb()),
        "encoding bomb for a document": document(UNREACHABLE, "without end", encoding_bomb()),
        "said to be deflated": broken(
            "connection",
            lambda reply: answer(200, reply.body, content_encoding="deflate")(reply),
        ),
        "said to be encoded": tarball(REFUSED, BYTES, answer(200, b"", content_encoding="gzip")),
        # documents
        "portal for a document": document(UNREACHABLE, "npm registry does", captive_portal()),
        "half of a document": document(UNREACHABLE, "npm registry does", broken_json()),
        **{
            f"document is {name}": document(UNREACHABLE, "npm registry does", answer(200, data))
            for name, data in {
                "nothing": b"",
                "a list": b"[]",
                "null": b"null",
                "a number of 10,000 digits": b'{"version": ' + b"9" * 10_000 + b"}",
                "deep lists": b"[" * deep,
                "deep objects": b'{"a":' * deep,
                "not UTF-8": b"\xff\xfe\0\0",
            }.items()
        },
        "204": document(UNREACHABLE, "npm registry does|status 204", answer(204, b"")),
        "304 without a question": document(UNREACHABLE, "npm registry does", answer(304, b"")),
        "418": document(UNREACHABLE, "status 418", answer(418)),
        "50 MB of document": document(
            UNREACHABLE, "without end", answer(200, b'{"versions": {"x": "' + b"x" * 50 * MIB)
        ),
        "50 MB of empty objects": document(
            UNREACHABLE, "without end", answer(200, b'{"versions":[' + b"{}," * (16 * MIB) + b"0]}")
        ),
        "4 MB of empty objects": document(
            REFUSED,
            "names no version",
            answer(200, b'{"versions":[' + b"{}," * (4 * MIB // 3 - 9) + b"0]}"),
        ),
        "versions are a list": document(
            UNREACHABLE,
            "not npm's format",
            answer(200, b'{"dist-tags": {}, "versions": []}'),
            "2.x",
        ),
        "no version within the rule": document(
            GONE, "within", answer(200, b'{"dist-tags": {}, "versions": {"9.9.9": {}}}'), "2.x"
        ),
        "a tag of no version": Case(
            GONE,
            "no version|no document",
            rule="stable",
            before=lambda s: s.npm.tag("stable", "2.1.400"),
        ),
        "no such tag": Case(GONE, "no tag", rule="nightly"),
        "a version unpublished meanwhile": Case(
            GONE, "no document", ((rf"{PACKAGE}/2\.1\.330$", answer(404)),)
        ),
        "no build for this machine": document(
            GONE, "no build", manifests(set_to(optionalDependencies={}))
        ),
        "published in the future": Case(
            0, before=lambda s: s.npm.publish(NEW, program=RIGHT, published="2999-01-01T00:00:00Z")
        ),
    }


def both(*faults: Fault) -> Fault:
    def fault(reply: Reply) -> Reply:
        for each in faults:
            reply = each(reply)
        return reply

    return fault


def statuses(npm: NpmRegistry, other: NpmRegistry) -> dict[str, Case]:
    how = {
        **dict.fromkeys((401, 403), (UNREACHABLE, "refused access")),
        **dict.fromkeys((404, 405, 410), (GONE, "no document")),
        300: (UNREACHABLE, "status 300"),
        400: (UNREACHABLE, "status 400"),
        **{s: (UNREACHABLE, f"keeps answering with status {s}") for s in (429, 500, 502, 503, 504)},
    }
    lies = ("86400", "1e400", "inf", "nan", "-5", "soon", "", "Sun, 22 Nov 2999 18:00:00 GMT")
    return {
        **{f"archive {s}": tarball(code, says, answer(s)) for s, (code, says) in how.items()},
        **{f"document {s}": document(code, says, answer(s)) for s, (code, says) in how.items()},
        **{
            f"retry after '{text}'": tarball(
                UNREACHABLE, "keeps answering with status 503", answer(503, retry_after=text)
            )
            for text in lies
        },
    }


def evil(path: Path) -> None:
    """Another program in the place of a stored one, with its time and size."""
    state, data = path.stat(), path.read_bytes()
    path.unlink()
    path.write_bytes(data.replace(b"Claude", b"Klaude"))
    path.chmod(0o555)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def stored(shop: Shop) -> Path:
    """NEW is in the store already, and the variant that brought it there is gone."""
    for words in (("create", "omega", "--provider", "echo"), ("remove", "omega", "--yes")):
        assert ccm(shop.sandbox, *words).code == 0
    return shop.sandbox.ccm_home / ".store" / f"claude-code-{PACKAGE}" / NEW


def moved_away(path: Path) -> None:
    elsewhere = path.parents[3] / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def linked(path: Path, content: bytes) -> None:
    elsewhere = path.parents[4] / "elsewhere"
    elsewhere.write_bytes(content)
    elsewhere.chmod(0o755)
    path.unlink()
    path.symlink_to(elsewhere)


def poisoned(npm: NpmRegistry, other: NpmRegistry) -> dict[str, Case]:
    """The store itself was changed after its bytes were verified; the registry is right."""

    def truncated(shop: Shop) -> None:
        path = stored(shop) / "claude"
        path.chmod(0o755)
        os.truncate(path, 100)

    def no_receipt(shop: Shop) -> None:
        (stored(shop) / "receipt.json").unlink()

    def dangling(shop: Shop) -> None:
        directory = stored(shop)
        moved_away(directory)
        (directory.readlink() / "claude").unlink()

    return {
        "store: another program": Case(0, before=lambda shop: evil(stored(shop) / "claude")),
        "store: a shorter program": Case(0, before=truncated),
        "store: no program": Case(0, before=lambda shop: (stored(shop) / "claude").unlink()),
        "store: a link to another program": Case(
            0, before=lambda shop: linked(stored(shop) / "claude", program(NEW) + b"# evil\n")
        ),
        "store: a link to the same program": Case(
            0, before=lambda shop: linked(stored(shop) / "claude", RIGHT)
        ),
        "store: no receipt": Case(0, before=no_receipt),
        "store: a release that is a broken link": Case(0, before=dangling),
    }


GROUPS: Mapping[str, Callable[[NpmRegistry, NpmRegistry], dict[str, Case]]] = {
    "bytes": lambda npm, _: bytes_cases(npm),
    "promises": lambda npm, _: promises(npm),
    "addresses": addresses,
    "redirects": redirects,
    "wires": wires,
    "statuses": statuses,
    "poisoned": poisoned,
}


@pytest.fixture
def other() -> Iterator[NpmRegistry]:
    with NpmRegistry() as registry:
        registry.publish(NEW, program=RIGHT)
        yield registry


@pytest.fixture
def shop(sandbox: Sandbox, npm: NpmRegistry) -> Shop:
    shop = Shop(sandbox, npm)
    npm.publish(NEW, program=RIGHT)
    return shop


def problems(shop: Shop, case: Case) -> list[str]:
    """What `ccm create` does wrong in this case; the shop is restored afterwards."""
    for pattern, fault in case.faults:
        shop.npm.fail(pattern, fault)
    case.before(shop)
    words = ("create", "beta", "--provider", "echo", "--claude-version", case.rule)
    ended = ccm(shop.sandbox, *words, env=case.env, read_timeout=case.read_timeout)
    found = [] if ended.code == case.code else [f"exit code {ended.code}: {ended.said}"]
    if case.code == 0:
        found += unlike_promised(shop, ended)
    else:
        found += shop.unlike_before(ended)
        first = ended.said.partition("\n")[0]
        named = re.search(case.says, first)
        found += [] if named and case.says else [f"'{case.says}' is not in: {ended.said}"]
        found += [] if ended.said.count("\n") <= 2 else [f"not a sentence and a hint: {ended.said}"]
    shop.npm.heal()
    # a remembered honest answer would be asked for by its ETag, which some faults keep
    shutil.rmtree(shop.sandbox.ccm_home / ".cache" / "registry", ignore_errors=True)
    # each case is a download from its beginning (going on with one: test_resume.py)
    shutil.rmtree(shop.sandbox.ccm_home / ".cache" / "downloads", ignore_errors=True)
    if case.code == 0 or case.before is not nothing or found:
        shop.restore()
    return found


def unlike_promised(shop: Shop, ended: Ended) -> list[str]:
    """Whether the variant has the program that was published, and the store too."""
    root = shop.sandbox.ccm_home
    programs = [root / "beta" / "current" / "native" / PLATFORM.program]
    programs += [root / ".store" / f"claude-code-{PACKAGE}" / NEW / PLATFORM.program]
    wrong = [p for p in programs if p.is_symlink() or not p.exists() or p.read_bytes() != RIGHT]
    return [*(f"wrong: {path.relative_to(root)}" for path in wrong), *excess(ended)]


def campaign(shop: Shop, cases: Mapping[str, Case]) -> list[str]:
    return [
        f"{name}: {problem}" for name, case in cases.items() for problem in problems(shop, case)
    ]


@pytest.mark.parametrize("group", GROUPS)
def test_a_bad_download_is_refused_or_right(
    shop: Shop, other: NpmRegistry, tally: Tally, group: str
) -> None:
    every = GROUPS[group](shop.npm, other)
    cases = {name: every[name] for name in sample(list(every), 10)}
    tally(len(cases), campaign(shop, cases))


def test_a_bad_certificate_is_refused(shop: Shop, tally: Tally, tmp_path: Path) -> None:
    """Of the registry, and of the archive's host alone."""
    good = self_signed(tmp_path / "good.pem")
    servers = {
        "self-signed": (self_signed(tmp_path / "self.pem"), good),
        "expired": (expired := self_signed(tmp_path / "old.pem", expired=True), expired),
        "address": (another := self_signed(tmp_path / "other.pem", "127.0.0.9"), another),
        "trusted": (good, good),
    }
    found, cases = [], 0
    for what, (certificate, trusted) in servers.items():
        with NpmRegistry(certificate.server) as there:
            there.publish(NEW, program=RIGHT)
            ca = {"NODE_EXTRA_CA_CERTS": str(trusted.file)}
            code = 0 if what == "trusted" else UNREACHABLE
            says = {"address": "IP address mismatch"}.get(what, what)
            archives = ((METADATA, tarball_url(there.url.rstrip("/") + "{path}")),)
            for case in (
                Case(code, says, env={**ca, "NPM_CONFIG_REGISTRY": there.url}),
                Case(code, says, archives, env=ca),
            ):
                found += [f"{says}: {problem}" for problem in problems(shop, case)]
                cases += 1
    plain = NpmRegistry().url  # nobody answers there
    with NpmRegistry(good.server) as there:
        there.publish(NEW, program=RIGHT)
        ca = {"NODE_EXTRA_CA_CERTS": str(good.file), "NPM_CONFIG_REGISTRY": there.url}
        there.fail(TARBALL, redirect(plain.rstrip("/") + "{path}"), times=1)
        found += problems(shop, Case(UNREACHABLE, "not https", env=ca))
        there.fail(METADATA, tarball_url(plain.rstrip("/") + "{path}"))
        found += problems(shop, Case(REFUSED, "does not follow", env=ca))
    no_tls = {"NPM_CONFIG_REGISTRY": shop.npm.url.replace("http://", "https://")}
    found += problems(shop, Case(UNREACHABLE, "no secure connection", env=no_tls))
    tally(cases + 3, found)


# --- does the campaign see anything? -----------------------------------------------------------


class Anything(bytes):
    """A hash that is always the right one."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = bytes.__hash__


@dataclass(frozen=True)
class Seed:
    """A mistake in the place of what is right, and the violation it has to come out as."""

    place: object
    name: str
    wrong: object
    group: str
    case: str
    violation: str


SEEDS = {
    "a hash that is not compared": Seed(
        reader.GzipStream, "digest", lambda _: Anything(), "bytes", "another version", "changed"
    ),
    "a document without a cap": Seed(
        registry, "DOCUMENT_LIMIT", 1 << 40, "wires", "50 MB of empty objects", "MB of memory"
    ),
    "any address is followed": Seed(
        Registry,
        "_download_url",
        lambda _, url: url,
        "addresses",
        "at file:///etc/passwd",
        "follow",
    ),
    "an archive kept before it is verified": Seed(
        fs, "remove_tree", lambda _: None, "bytes", "last byte", "changed .ccm/.staging"
    ),
    "a store that is trusted for ever": Seed(
        Store, "_is_sound", Store.has, "poisoned", "store: another program", "wrong: beta"
    ),
}


@pytest.mark.parametrize("name", SEEDS)
def test_the_campaign_finds_a_mistake(
    shop: Shop, other: NpmRegistry, monkeypatch: pytest.MonkeyPatch, tally: Tally, name: str
) -> None:
    seed = SEEDS[name]
    case = GROUPS[seed.group](shop.npm, other)[seed.case]
    monkeypatch.setattr(seed.place, seed.name, seed.wrong)
    found = problems(shop, case)
    assert [problem for problem in found if seed.violation in problem], found
    tally(1, [], suite="seeds")
