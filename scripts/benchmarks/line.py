"""A loopback npm registry with one release of Claude Code, on several kinds of line.

    python line.py VERSION PACKAGE ARCHIVE      prints its port

The first part of the path is the line: /plain/, /100/ and /25/ (MB/s), /far/ (50 ms for each
connection and each answer), /cut/ (the connection closes after every 60 MB).
"""

import base64
import hashlib
import json
import os
import re
import socketserver
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

ROOT = "@anthropic-ai/claude-code"
FAR = 0.05
CUT = 60_000_000
PIECE = 64 * 1024


class Registry(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, version: str, package: str, archive: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.version, self.package, self.archive = version, package, archive
        digest = hashlib.sha512(archive.read_bytes()).digest()
        self.integrity = "sha512-" + base64.b64encode(digest).decode()

    def document(self, line: str, name: str, rest: str) -> object:
        """A version's, or the whole package's; None when there is none."""
        manifest: dict[str, object] = {"name": name, "version": self.version}
        if name == ROOT:
            manifest["optionalDependencies"] = {self.package: self.version}
        elif name != self.package:
            return None
        tarball = f"http://127.0.0.1:{self.server_address[1]}/{line}/archive.tgz"
        manifest["dist"] = {"tarball": tarball, "integrity": self.integrity}
        if rest in (self.version, "latest"):
            return manifest
        tags = {"latest": self.version}
        return {"name": name, "dist-tags": tags, "versions": {self.version: manifest}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Registry

    def setup(self) -> None:
        super().setup()
        self.is_new = True

    def do_GET(self) -> None:
        _, line, *rest = self.path.replace("%2f", "/").replace("%2F", "/").split("/")
        if line == "far":
            time.sleep(2 * FAR if self.is_new else FAR)
        self.is_new = False
        if rest == ["archive.tgz"]:
            self.archive(line)
            return
        document = self.server.document(line, "/".join(rest[:2]), "/".join(rest[2:]))
        body = json.dumps(document or {"error": "not found"}).encode()
        etag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
        known = self.headers.get("If-None-Match") == etag
        self.send_response(304 if known else 200 if document else 404)
        self.send_header("ETag", etag)
        self.send_header("Content-Type", "application/json")
        if not known:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if known else body)

    def archive(self, line: str) -> None:
        size = self.server.archive.stat().st_size
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(size - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.end_headers()
        end = min(size, start + CUT) if line == "cut" else size
        rate = int(line) * 1_000_000 if line.isdigit() else 0
        begun, at = time.monotonic(), start
        with self.server.archive.open("rb") as file:
            while at < end:
                count = min(PIECE if rate else end - at, end - at)
                at += os.sendfile(self.connection.fileno(), file.fileno(), at, count)
                if rate:
                    time.sleep(max(0.0, begun + (at - start) / rate - time.monotonic()))
        self.close_connection |= end < size

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    with Registry(sys.argv[1], sys.argv[2], Path(sys.argv[3])) as registry:
        print(registry.server_address[1], flush=True)
        registry.serve_forever()
