"""A loopback npm registry for tests: Claude Code's packages, with faults on demand.

    with NpmRegistry() as registry:
        registry.publish("2.1.330")
        registry.fail(TARBALL, cut(1000), times=1)

Three parts, in this order: archives (tar headers written byte by byte, because tarfile does not
write hostile ones), faults (functions from an honest reply to a bad one), the server.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import re
import socket
import socketserver
import ssl
import struct
import threading
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import Any, Literal, Self
from urllib.parse import unquote, urlsplit

ROOT = "@anthropic-ai/claude-code"
PLATFORMS = (
    *("linux-x64", "linux-arm64", "linux-x64-musl", "linux-arm64-musl"),
    *("darwin-x64", "darwin-arm64", "win32-x64", "win32-arm64"),
)

# --- what is inside: stand-ins that show what a launcher passed --------------------------------


_PROGRAM = r"""#!/bin/sh
if [ "${1-}" = --version ]; then echo '@VERSION@ (Claude Code)'; exit 0; fi
exec /usr/bin/awk '
function string(text,  out, i, c) {
  for (i = 1; i <= length(text); i++) {
    c = substr(text, i, 1)
    out = out (c in escape ? escape[c] : c)
  }
  return "\"" out "\""
}
BEGIN {
  for (i = 1; i < 32; i++) escape[sprintf("%c", i)] = sprintf("\\u%04x", i)
  escape["\""] = "\\\""; escape["\\"] = "\\\\"
  printf "{\"version\":\"@VERSION@\",\"program\":%s,\"argv\":[", string(ARGV[1])
  for (i = 2; i < ARGC; i++) { printf "%s%s", comma, string(ARGV[i]); comma = "," }
  printf "],\"env\":{"; comma = ""
  for (k in ENVIRON) { printf "%s%s:%s", comma, string(k), string(ENVIRON[k]); comma = "," }
  print "}}"
}' "$0" "$@"
"""
_SCRIPT = """#!/usr/bin/env node
const [, program, ...argv] = process.argv;
console.log(argv[0] === "--version" ? "@VERSION@ (Claude Code)"
  : JSON.stringify({version: "@VERSION@", program, argv, env: process.env}));
"""


def program(version: str) -> bytes:
    """A POSIX sh `claude`: its version, or one JSON line {version, program, argv, env}.

    awk's ENVIRON and not `env`: a value with a newline in it stays one value. The sh itself may
    add PWD, OLDPWD, SHLVL and `_` (gawk: AWKPATH, AWKLIBPATH), and drops names like `a.b`.
    """
    return _PROGRAM.replace("@VERSION@", version).encode()


def script(version: str) -> bytes:
    """The same, as the cli.js of the versions before 2.1.113."""
    return _SCRIPT.replace("@VERSION@", version).encode()


# --- archives ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Member:
    """One tar header and its data; `size` and `checksum` are for fields that lie."""

    name: str
    data: bytes = b""
    typeflag: str = "0"
    mode: int = 0o644
    linkname: str = ""
    prefix: str = ""
    size: int | bytes | None = None
    checksum: bytes | None = None

    def encode(self) -> bytes:
        size = len(self.data) if self.size is None else self.size
        head = struct.pack(
            "100s8s8s8s12s12s8s1s100s6s2s32s32s8s8s155s12x",
            *(self.name.encode(), b"%07o" % self.mode, b"%07o" % 0, b"%07o" % 0),
            *(size if isinstance(size, bytes) else b"%011o" % size, b"%011o" % 499162500, b" " * 8),
            *(self.typeflag.encode("latin-1"), self.linkname.encode(), b"ustar", b"00", b"", b""),
            *(b"%07o" % 0, b"%07o" % 0, self.prefix.encode()),
        )
        checksum = b"%06o\0 " % sum(head) if self.checksum is None else self.checksum
        return head[:148] + checksum + head[156:] + self.data + bytes(-len(self.data) % 512)


def pax(typeflag: str = "x", **records: str) -> Member:
    """A pax header for the next member (x) or all that follow (g); `GNU_sparse_x` has dots."""
    data = b""
    for key, value in records.items():
        record = b" %s=%s\n" % (key.replace("GNU_sparse_", "GNU.sparse.").encode(), value.encode())
        length = len(record) + 1
        while len(b"%d" % length) + len(record) != length:
            length += 1
        data += b"%d" % length + record
    return Member("PaxHeader/next", data, typeflag)


def longname(name: str, typeflag: str = "L") -> Member:
    return Member("././@LongLink", name.encode() + b"\0", typeflag)


def tar(parts: Iterable[Member | bytes], end: bytes = bytes(1024)) -> bytes:
    return b"".join(p if isinstance(p, bytes) else p.encode() for p in parts) + end


def gzip(before: bytes, zeros: int = 0, after: bytes = b"") -> bytes:
    """One gzip member of before + that many MiB of zeros + after, compressing one MiB only."""
    deflate, mib = zlib.compressobj(6, zlib.DEFLATED, -15), bytes(1 << 20)
    start = deflate.compress(before) + deflate.flush(zlib.Z_FULL_FLUSH)
    # a full flush forgets what came before, so the same compressed bytes can be repeated
    block = deflate.compress(mib) + deflate.flush(zlib.Z_FULL_FLUSH) if zeros else b""
    stream = start + block * zeros + deflate.compress(after) + deflate.flush()
    crc = zlib.crc32(before)
    for _ in range(zeros):
        crc = zlib.crc32(mib, crc)
    size = len(before) + (zeros << 20) + len(after)
    trailer = struct.pack("<LL", zlib.crc32(after, crc), size & 0xFFFFFFFF)
    return b"\x1f\x8b\x08\0\0\0\0\0\x02\xff" + stream + trailer


def archive(members: Iterable[Member | bytes]) -> bytes:
    """A .tgz; raw bytes between the members go in as they are."""
    return gzip(tar(members))


@dataclass(frozen=True)
class Hostile:
    """An archive around the member `package/claude` (NAME), whose right bytes are WANTED.

    must_refuse: by the rules of gzip, ustar, pax and GNU tar it does not hold exactly one intact
    regular file of that name with those bytes, or damage hides what it holds.
    Otherwise it does: a reader refuses, or gives exactly WANTED and writes nothing else.
    """

    build: Callable[[], bytes]
    must_refuse: bool


NAME, WANTED, EVIL = "package/claude", program("2.1.330"), b"#!/bin/sh\necho evil\n"
_GOOD, _DECOY = Member(NAME, WANTED, mode=0o755), Member("package/decoy", EVIL)
_REST = (Member("package/package.json", b"{}"), Member("package/README.md", b"# Claude Code\n"))
_PLAIN = tar([_GOOD, *_REST])
_bad, _odd = partial(Hostile, must_refuse=True), partial(Hostile, must_refuse=False)
BOMB_MIB = 1025


def _must(*parts: Member | bytes) -> Hostile:
    return _bad(lambda: archive([*parts, *_REST]))


def _may(*parts: Member | bytes) -> Hostile:
    """The parts on both sides of the right member: neither "first wins" nor "last wins" is safe."""
    return _odd(lambda: archive([*parts, _GOOD, *parts, *_REST]))


def _right(**fields: Any) -> Hostile:
    return _odd(lambda: archive([replace(_GOOD, **fields), *_REST]))


def _link(name: str, to: str, typeflag: str = "2") -> Member:
    return Member(name, typeflag=typeflag, linkname=to)


def _bomb(name: str, typeflag: str, *after: Member) -> bytes:
    head = Member(name, typeflag=typeflag, size=BOMB_MIB << 20).encode()
    return gzip(head, BOMB_MIB, tar([*after, *_REST]))


HOSTILE_ARCHIVES: Mapping[str, Hostile] = {
    # names
    "traversal": _may(Member("../evil", EVIL)),
    "traversal inside": _may(_DECOY, Member("package/../../evil", EVIL)),
    "traversal back to the wanted": _may(Member("package/../package/claude", EVIL)),
    "absolute": _may(Member("/tmp/ccm-evil", EVIL)),
    "absolute wanted only": _must(Member("/package/claude", EVIL)),
    "drive letter": _may(Member("C:\\evil", EVIL)),
    "backslashes": _may(Member("package\\claude", EVIL), Member("..\\evil", EVIL)),
    "empty name": _may(Member("", EVIL)),
    "dot": _may(Member(".", EVIL)),
    "dot slash": _may(Member("./package/claude", EVIL)),
    "double slash": _may(Member("package//claude", EVIL)),
    "case variant": _may(Member("package/CLAUDE", EVIL)),
    "case variant only": _must(Member("package/CLAUDE", WANTED)),
    "other first directory": _must(Member("other/claude", WANTED)),
    "NUL in the name": _must(_GOOD, Member("package/claude\0x", EVIL)),
    "NUL in a pax path": _may(pax(path="package/claude\0x"), _DECOY),
    "terminal escapes in a name": _may(Member("package/\x1b]0;evil\x07\r\nx", EVIL)),
    "trailing slash on a regular file": _must(Member("package/claude/", WANTED)),
    "prefix field": _right(name="claude", prefix="package"),
    "prefix field makes a duplicate": _must(_GOOD, Member("claude", EVIL, prefix="package")),
    # how often it is there
    "missing": _must(),
    "no members": _bad(lambda: archive([])),
    "wanted is empty": _must(Member(NAME)),
    "duplicate, second differs": _must(_GOOD, Member(NAME, EVIL)),
    "duplicate, first differs": _must(Member(NAME, EVIL), _GOOD),
    "100,000 empty members": _odd(
        lambda: archive([*(Member(f"package/{n}") for n in range(100_000)), _GOOD])
    ),
    # types and modes
    "symlink": _must(_link(NAME, "/bin/sh")),
    "symlink to a sibling": _must(_DECOY, _link(NAME, "decoy")),
    "symlink, then a file through it": _must(_link(NAME, "../../evil"), _GOOD),
    "symlink, then a file below it": _may(_link("package/x", "../.."), Member("package/x/e", EVIL)),
    "symlink as the parent": _may(_link("package", "..")),
    "symlink loop": _may(_link("package/a", "b"), _link("package/b", "a")),
    "hard link": _must(_link(NAME, "/etc/passwd", "1")),
    "hard link to a sibling": _must(_DECOY, _link(NAME, "package/decoy", "1")),
    "hard link over the file": _must(_GOOD, _link(NAME, "package/README.md", "1")),
    "hard link with data": _must(Member(NAME, WANTED, "1", linkname="package/README.md")),
    "character device": _must(Member(NAME, typeflag="3")),
    "block device": _must(Member(NAME, typeflag="4")),
    "directory": _must(Member(NAME, typeflag="5")),
    "directory, then the file": _must(Member(NAME, typeflag="5"), _GOOD),
    "fifo": _must(Member(NAME, typeflag="6")),
    "fifo beside": _may(Member("package/fifo", typeflag="6")),
    "contiguous": _right(typeflag="7"),
    "old regular type": _right(typeflag="\0"),
    "unknown type": _must(Member(NAME, EVIL, "Z")),
    "GNU sparse": _must(Member(NAME, WANTED, "S")),
    "pax sparse of 10 GB": _must(
        pax(GNU_sparse_major="1", GNU_sparse_minor="0", GNU_sparse_realsize="10000000000"),
        Member(NAME, b"0\n".ljust(512, b"\0")),
    ),
    "pax sparse name": _must(_GOOD, pax(GNU_sparse_name=NAME), _DECOY),
    "setuid": _right(mode=0o7777),
    "mode 000": _right(mode=0),
    # extension headers
    "pax path onto the wanted": _must(_GOOD, pax(path=NAME), _DECOY),
    "pax path away from the wanted": _must(pax(path="package/decoy"), _GOOD),
    "pax linkpath": _must(pax(linkpath="/bin/sh"), _link(NAME, "x")),
    "pax size hides a member": _may(  # without pax there is a second package/claude
        pax(size="1536"), Member("decoy", bytes(512), size=512), Member(NAME, EVIL)
    ),
    "pax size shorter": _must(pax(size="512"), _GOOD),
    "pax size negative": _must(pax(size="-1"), _GOOD),
    "pax size no number": _must(pax(size="many"), _GOOD),
    "pax record too long": _must(_GOOD, Member("x", b"99 path=package/claude\n", "x"), _DECOY),
    "pax record of length 0": _must(_GOOD, Member("x", b"0 path=package/claude\n", "x"), _DECOY),
    "pax global comment": _may(pax("g", comment="0" * 40)),
    "pax global path": _must(pax("g", path=NAME), _GOOD),
    "pax global size": _must(pax("g", size="1"), _GOOD),
    "GNU longname onto the wanted": _must(_GOOD, longname(NAME), _DECOY),
    "GNU longname away from the wanted": _must(longname("package/decoy"), _GOOD),
    "GNU longlink": _must(longname("/bin/sh", "K"), _link(NAME, "x")),
    # numbers
    # -512: the next header is this one again, for ever (CVE-2025-8194)
    "size negative": _must(Member("package/x", size=b"-0000001000\0"), _GOOD),
    "size negative in base 256": _must(Member("package/x", size=b"\xff" * 10 + b"\xfe\0"), _GOOD),
    "size of 8 GiB": _must(Member(NAME, WANTED, size=0o77777777777)),
    "size huge in base 256": _must(Member(NAME, WANTED, size=b"\x80\0\0\0\x7f" + b"\xff" * 7)),
    "size right in base 256": _right(size=b"\x80" + len(WANTED).to_bytes(11, "big")),
    "size no number": _must(Member(NAME, WANTED, size=b"9zzzzzzzzzz\0")),
    "checksum wrong": _must(replace(_GOOD, checksum=b"000001\0 ")),
    "checksum no number": _must(replace(_GOOD, checksum=b"zzzzzz\0 ")),
    "checksum wrong beside": _must(_GOOD, replace(_DECOY, checksum=b"000001\0 ")),
    # where it ends
    "header truncated": _bad(lambda: gzip(_PLAIN[:300])),
    "data truncated": _bad(lambda: gzip(_PLAIN[:600])),
    "padding truncated": _odd(lambda: gzip(_PLAIN[: 512 + len(WANTED)])),
    "next header truncated": _bad(lambda: gzip(_GOOD.encode() + _PLAIN[:100])),
    "no end marker": _odd(lambda: gzip(tar([_GOOD, *_REST], end=b""))),
    "member after one zero block": _bad(lambda: archive([_GOOD, bytes(512), Member(NAME, EVIL)])),
    "member after the end marker": _odd(lambda: archive([_GOOD, bytes(1024), Member(NAME, EVIL)])),
    "garbage after the end marker": _odd(lambda: gzip(_PLAIN + b"garbage" * 99)),
    # gzip
    "gzip in two members": _odd(lambda: gzip(_PLAIN[:700]) + gzip(_PLAIN[700:])),
    "gzip with a second archive": _odd(lambda: gzip(_PLAIN) + archive([Member(NAME, EVIL)])),
    "gzip truncated": _bad(lambda: gzip(_PLAIN)[:200]),
    "gzip without its trailer": _bad(lambda: gzip(_PLAIN)[:-8]),
    "gzip with a wrong CRC": _bad(lambda: gzip(_PLAIN)[:-8] + bytes(4) + gzip(_PLAIN)[-4:]),
    "gzip with garbage after it": _odd(lambda: gzip(_PLAIN) + b"garbage"),
    "gzip with zeros after it": _odd(lambda: gzip(_PLAIN) + bytes(512)),
    "gzip in gzip": _bad(lambda: gzip(gzip(_PLAIN))),
    "not gzip, a plain tar": _odd(lambda: _PLAIN),
    "not gzip, HTML": _bad(lambda: b"<!doctype html><title>Sign in</title>"),
    "no bytes": _bad(lambda: b""),
    # bombs: about 1 MB here, 1025 MiB inflated
    "bomb in the wanted": _bad(lambda: _bomb(NAME, "0")),
    "bomb beside": _odd(lambda: _bomb("package/x", "0", _GOOD)),
    "bomb in a pax header": _bad(lambda: _bomb("x", "x", _GOOD)),
    "bomb in a GNU longname": _odd(lambda: _bomb("x", "L", Member("package/x"), _GOOD)),
    "bomb after the end marker": _odd(lambda: gzip(_PLAIN, BOMB_MIB)),
}


# --- faults: each makes a bad reply of an honest one -------------------------------------------


@dataclass(frozen=True)
class Wire:
    """How the bytes go out; as a fault it replaces an earlier Wire."""

    length: int | str | None = 0  # added to the true Content-Length; or its text; or no header
    chunked: Literal["no", "well", "broken"] = "no"
    delay: float = 0  # seconds before the status line
    stall: float = 0  # seconds after `stall_at` bytes of the body
    stall_at: int = 0
    rate: float = 0  # bytes a second
    cut: int | None = None  # close the connection after so many bytes of the body ...
    reset: bool = False  # ... with a RST

    def __call__(self, reply: Reply) -> Reply:
        return replace(reply, wire=self)


@dataclass(frozen=True)
class Reply:
    """The whole file: If-None-Match and ranges are looked at after the faults."""

    path: str
    status: int
    body: bytes
    headers: Mapping[str, str]
    etag: str = ""
    wire: Wire = Wire()


Fault = Callable[[Reply], Reply]
TARBALL, METADATA = r"\.tgz$", r"(?<!\.tgz)$"


def answer(status: int, body: bytes = b"{}", **headers: str) -> Fault:
    """Instead of what was asked; `retry_after="5"` is sent as Retry-After."""
    head = _headers(content_type="application/json") | _headers(**headers)
    return lambda reply: replace(reply, status=status, body=body, headers=head, etag="")


def captive_portal() -> Fault:
    return answer(200, b"<!doctype html><title>Sign in</title>\n", content_type="text/html")


def redirect(to: str, status: int = 302) -> Fault:
    """`{path}` is the path asked for: "/other{path}" is served as well, "{path}" is a loop."""
    return lambda reply: answer(status, location=to.replace("{path}", reply.path))(reply)


def encoding_bomb(mib: int = BOMB_MIB) -> Fault:
    return answer(200, gzip(b"", mib), content_encoding="gzip")


def body(change: Callable[[bytes], bytes]) -> Fault:
    """Other bytes with the old ETag, and their true length: `body(lambda data: data[:-1])`."""
    return lambda reply: replace(reply, body=change(reply.body))


def trailing(extra: bytes = b"\0") -> Fault:
    return body(lambda data: data + extra)


def flipped(offset: int) -> Fault:
    """One bit, of the byte at the offset in the whole file, whatever range is asked for."""
    return body(lambda data: bytes(b ^ (i == offset % len(data)) for i, b in enumerate(data)))


def broken_json() -> Fault:
    return body(lambda data: data[: len(data) // 2])


def manifests(change: Callable[[dict[str, Any]], object]) -> Fault:
    """Every manifest in a packument or manifest reply is changed in place; the ETag follows."""

    def fault(reply: Reply) -> Reply:
        if reply.path.endswith(".tgz") or reply.status != 200:
            return reply
        document = json.loads(reply.body)
        for manifest in document.get("versions", {"": document}).values():
            if "dist" in manifest:
                change(manifest)
        data = json.dumps(document).encode()
        return replace(reply, body=data, etag=_etag(data))

    return fault


def integrity(value: str | None, shasum: bool = True) -> Fault:
    """None: no integrity, only the shasum; shasum=False: not that either."""

    def change(manifest: dict[str, Any]) -> None:
        sums = {"integrity": value} | ({} if shasum else {"shasum": None})
        dist = {**manifest["dist"], **sums}
        manifest["dist"] = {key: text for key, text in dist.items() if text is not None}

    return manifests(change)


def tarball_url(to: str) -> Fault:
    """`{path}` is the true path: "http://user:pass@127.0.0.1:1{path}", "file:///etc/passwd"."""

    def change(manifest: dict[str, Any]) -> None:
        dist = manifest["dist"]
        dist["tarball"] = to.replace("{path}", urlsplit(dist["tarball"]).path)

    return manifests(change)


def other_version(version: str) -> Fault:
    return manifests(lambda manifest: manifest.update(version=version))


def sri(data: bytes, algorithm: str = "sha512") -> str:
    digest = hashlib.new(algorithm, data).digest()
    return f"{algorithm}-{base64.b64encode(digest).decode()}"


BAD_INTEGRITIES: Mapping[str, str | None] = {
    "wrong": sri(b"something else"),
    "wrong, sha1": sri(b"something else", "sha1"),
    "missing": None,
    "empty": "",
    "malformed": "sha512-!!!",
    "too short": "sha512-AAAA",
    "hexadecimal": "sha512-" + "0" * 128,
    "unknown algorithm": "blake3-" + "A" * 43 + "=",
}


# --- the server --------------------------------------------------------------------------------

ABBREVIATED = "application/vnd.npm.install-v1+json"
_SHORT = "name version deprecated bin dist engines os cpu libc dependencies optionalDependencies"
_ROUTE = re.compile(r"(?P<prefix>.*?)/(?:-/package/)?(?P<name>@[^/]+/[^/]+)(?:/(?P<rest>.+))?")


@dataclass(frozen=True)
class Request:
    method: str
    path: str  # as it was sent, so %2f stays
    headers: Mapping[str, str]  # names in lower case

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


@dataclass(frozen=True)
class _Release:
    manifest: dict[str, Any]
    tarball: bytes
    published: str


@dataclass
class _Plan:
    pattern: str
    faults: tuple[Fault, ...]
    left: float


def _etag(data: bytes) -> str:
    return f'"{hashlib.sha256(data).hexdigest()[:32]}"'


def _headers(**headers: str) -> dict[str, str]:
    return {name.replace("_", "-").title(): value for name, value in headers.items()}


def _json(document: object, status: int = 200, **headers: str) -> Reply:
    data = json.dumps(document).encode()
    head = _headers(content_type="application/json") | _headers(**headers)
    return Reply("", status, data, head, _etag(data))


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _is_native(version: str) -> bool:
    return _number(version) >= (2, 1, 113)


def _root(version: str, code: bytes | None) -> tuple[dict[str, Any], list[Member]]:
    fields: dict[str, Any] = {"type": "module", "engines": {"node": ">=18.0.0"}}
    if _is_native(version):
        fields |= {"bin": {"claude": "bin/claude.exe"}, "scripts": {"postinstall": "exit 1"}}
        fields["optionalDependencies"] = {f"{ROOT}-{each}": version for each in PLATFORMS}
        return fields, [Member("package/bin/claude.exe", b"exit 1\n", mode=0o755)]
    cli = Member("package/cli.js", script(version) if code is None else code, mode=0o755)
    pairs = ("arm64-darwin", "arm64-linux", "x64-darwin", "x64-linux")
    files = [*(f"{pair}/rg" for pair in pairs), "arm64-win32/rg.exe", "x64-win32/rg.exe"]
    rg = b"#!/bin/sh\necho ripgrep 14.1.1\n"
    vendor = [Member(f"package/vendor/ripgrep/{file}", rg, mode=0o755) for file in files]
    return {**fields, "bin": {"claude": "cli.js"}}, [cli, *vendor]


def _native(version: str, platform: str, code: bytes | None) -> tuple[dict[str, Any], list[Member]]:
    system, cpu, *libc = platform.split("-")
    fields = {"os": [system], "cpu": [cpu]}
    fields |= {"libc": libc or ["glibc"]} if system == "linux" else {}
    file = "package/claude.exe" if system == "win32" else NAME
    return fields, [Member(file, program(version) if code is None else code, mode=0o755)]


class NpmRegistry:
    """A context manager, reachable at `url`, also below any path: `url + "api/npm/"`.

    With `tls` it speaks https.

    `latest` of a package follows what was published last, until it is tagged.
    """

    token: str | None = None  # a Bearer token ...
    login: tuple[str, str] | None = None  # ... or user and password: one is required when set
    ranges = True  # False: always the whole tarball, like Verdaccio
    keys: dict[str, Any] | None = None  # what `-/npm/v1/keys` answers

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.closing = threading.Event()
        self._lock = threading.RLock()
        self._packages: dict[str, dict[str, _Release]] = {}
        self._tags: dict[str, str] = {}
        self._plans: list[_Plan] = []
        self._requests: list[Request] = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.registry = self
        if tls:
            # the handshake is the handler's: a client that breaks it off stops nobody else
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}/"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def requests(self) -> tuple[Request, ...]:
        with self._lock:
            return tuple(self._requests)

    def fail(self, pattern: str, *faults: Fault, times: float = math.inf) -> None:
        """The faults, in order, for the first so many requests with the pattern in their path."""
        with self._lock:
            self._plans.append(_Plan(pattern, faults, times))

    def heal(self) -> None:
        with self._lock:
            self._plans.clear()

    def publish(
        self,
        version: str,
        *,
        platforms: Iterable[str] = PLATFORMS,
        program: bytes | None = None,
        tarball: bytes | None = None,
        published: str = "2026-01-01T00:00:00.000Z",
        **overrides: Any,
    ) -> None:
        """The root package and those platforms; the overrides go into every manifest.

        `program` is claude (or cli.js), `tarball` the whole package it is in. As upstream, the root
        is JavaScript before 2.1.113, and there are platform packages from 2.1.110 on.
        """
        packages = {ROOT: _root(version, program)}
        if _number(version) >= (2, 1, 110):
            packages |= {f"{ROOT}-{each}": _native(version, each, program) for each in platforms}
        for name, (fields, members) in packages.items():
            manifest = {"name": name, "version": version, "license": "SEE LICENSE", **fields}
            texts = {"package.json": json.dumps(manifest), "LICENSE.md": "(c)", "README.md": "# C"}
            members += [Member(f"package/{file}", text.encode()) for file, text in texts.items()]
            here = _is_native(version) == (name != ROOT)
            data = tarball if here and tarball is not None else archive(members)
            dist = {"integrity": sri(data), "shasum": hashlib.sha1(data).hexdigest()}
            dist |= overrides.get("dist", {})
            manifest |= {"_id": f"{name}@{version}", **overrides, "dist": dist}
            with self._lock:
                releases = self._packages.setdefault(name, {})
                releases.pop(version, None)
                releases[version] = _Release(manifest, data, published)

    def unpublish(self, version: str) -> None:
        with self._lock:
            for releases in self._packages.values():
                releases.pop(version, None)

    def tag(self, name: str, version: str) -> None:
        """A dist-tag of every package; the version may be a missing one."""
        with self._lock:
            self._tags[name] = version

    def tarball(self, version: str, platform: str = "") -> bytes:
        """As it was published; "" is the root package."""
        return self._packages[f"{ROOT}-{platform}" if platform else ROOT][version].tarball

    def reply(self, request: Request) -> Reply:
        with self._lock:
            self._requests.append(request)
            path = unquote(urlsplit(request.path).path)
            reply = replace(self._honest(path, request.headers), path=path)
            for plan in self._plans:
                if plan.left > 0 and re.search(plan.pattern, path):
                    plan.left -= 1
                    for fault in plan.faults:
                        reply = fault(reply)
        return _narrowed(reply, request.headers, self.ranges and path.endswith(".tgz"))

    def _honest(self, path: str, headers: Mapping[str, str]) -> Reply:
        basic = base64.b64encode(":".join(self.login or ()).encode()).decode()
        keys = {f"Bearer {self.token}"} if self.token else set()
        keys |= {f"Basic {basic}"} if self.login else set()
        if keys and headers.get("authorization") not in keys:
            return _json({"error": "unauthorized"}, 401, www_authenticate="Basic, Bearer")
        route = _ROUTE.fullmatch(path)
        releases = self._packages.get(route["name"]) if route else None
        if path.endswith("/-/ping"):
            return _json({})
        if path.endswith("/-/npm/v1/keys") and self.keys is not None:
            return _json(self.keys)
        if not route or not releases:
            return _json({"error": "Not found"}, 404)
        name, rest = route["name"], route["rest"] or ""
        file = f"-/{name.split('/')[1]}-%s.tgz"
        for version, release in releases.items():
            if rest == file % version:
                kind = {"Content-Type": "application/octet-stream"}
                return Reply("", 200, release.tarball, kind, _etag(release.tarball))
        url = f"{self.url.rstrip('/')}{route['prefix']}/{name}/{file}"
        shown = {version: release.manifest.copy() for version, release in releases.items()}
        for version, manifest in shown.items():
            manifest["dist"] = {"tarball": url % version, **manifest["dist"]}
        tags = {"latest": list(releases)[-1], **self._tags}
        if rest == "dist-tags":
            return _json(tags)
        if rest:
            found = shown.get(tags.get(rest, rest))
            return _json(found) if found else _json({"error": f"version not found: {rest}"}, 404)
        time = {version: release.published for version, release in releases.items()}
        top = {"name": name, "dist-tags": tags, "modified": max(time.values())}
        if ABBREVIATED not in headers.get("accept", ""):
            return _json({"_id": name, **top, "versions": shown, "time": time})
        short = {v: {k: m[k] for k in _SHORT.split() if k in m} for v, m in shown.items()}
        return _json({**top, "versions": short}, content_type=ABBREVIATED)


def _narrowed(reply: Reply, headers: Mapping[str, str], ranges: bool) -> Reply:
    """What If-None-Match, Range and If-Range make of the whole file."""
    if reply.status != 200 or not reply.etag:
        return reply
    head = {**reply.headers, "ETag": reply.etag} | ({"Accept-Ranges": "bytes"} if ranges else {})
    known = {tag.strip() for tag in headers.get("if-none-match", "").split(",")}
    if known & {reply.etag, "*"}:
        return replace(reply, status=304, body=b"", headers=head)
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", headers.get("range", ""))
    if not asked or not ranges or headers.get("if-range", reply.etag) != reply.etag:
        return replace(reply, headers=head)
    first, last, size = asked[1], asked[2], len(reply.body)
    start = int(first) if first else size - min(int(last or 0), size)
    end = min(int(last), size - 1) if first and last else size - 1
    if start > end:
        return replace(reply, status=416, body=b"", headers={"Content-Range": f"bytes */{size}"})
    head["Content-Range"] = f"bytes {start}-{end}/{size}"
    return replace(reply, status=206, body=reply.body[start : end + 1], headers=head)


class _Server(socketserver.ThreadingTCPServer):  # HTTPServer would ask the DNS for its own name
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128
    registry: NpmRegistry

    def handle_error(self, *_: object) -> None:
        pass  # clients go away, and are killed


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        if self.server.registry.closing.is_set():  # a connection kept alive
            self.close_connection = True
            return
        try:
            self._send(self.server.registry.reply(Request(self.command, self.path, headers)))
        except OSError:  # the client went away
            self.close_connection = True

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass

    def _send(self, reply: Reply) -> None:
        wire = reply.wire
        self._pause(wire.delay)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if wire.chunked != "no":
            self.send_header("Transfer-Encoding", "chunked")
        elif isinstance(wire.length, str):
            self.send_header("Content-Length", wire.length)
        elif wire.length is not None and reply.status != 304:
            self.send_header("Content-Length", str(len(reply.body) + wire.length))
        if wire.length != 0:  # said, or a client could send its next request into the closing
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD" or reply.status == 304:
            return
        self.close_connection |= wire.cut is not None or wire.chunked == "broken"
        data = reply.body[: wire.cut]
        self._write(data[: wire.stall_at], wire)
        self._pause(wire.stall)
        self._write(data[wire.stall_at :], wire)
        if wire.chunked != "no" and wire.cut is None:
            self.wfile.write(b"0\r\n\r\n" if wire.chunked == "well" else b"zz\r\n")
        if wire.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())

    def _write(self, data: bytes, wire: Wire) -> None:
        step = max(1, int(wire.rate / 20)) if wire.rate else max(1, len(data))
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            frame = b"%b" if wire.chunked == "no" else b"%x\r\n%%b\r\n" % len(piece)
            self.wfile.write(frame % piece)
            self._pause(len(piece) / wire.rate if wire.rate else 0)

    def _pause(self, seconds: float) -> None:
        if seconds:
            self.server.registry.closing.wait(seconds)  # the end of the test ends it
