"""What a program does to the world: whom it asks a proxy for, and its calls as strace sees them."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

from ccmirror_py import fs

_CALLS = (
    "open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,"
    "unlink,unlinkat,rmdir,truncate,chmod,fchmodat,connect,chdir,fchdir,clone,clone3,fork,vfork"
)
_CALL = re.compile(r"^(?P<pid>\d+)\s+(?P<name>\w+)\((?P<args>.*)\)\s+=\s+(?P<result>-?\d+)")
_PATH = re.compile(r'(?:AT_FDCWD<(?P<folder>[^>]*)>|\d+<(?P<other>[^>]*)>)?,?\s*"(?P<path>[^"]*)"')
_PEER = re.compile(r'inet_(?:addr|pton)\((?:AF_INET6, )?"(?P<address>[^"]+)"')
_PORT = re.compile(r"sin6?_port=htons\((?P<port>\d+)\)")
_FOLDER = re.compile(r"\d+<(?P<folder>[^>]*)>")
_WRITES = re.compile(r"O_(WRONLY|RDWR|CREAT|TRUNC)")


class Listener:
    """A port nothing should be sent to: it refuses, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(BaseRequestHandler):
            def handle(self) -> None:
                self.request.settimeout(5)
                try:
                    said = self.request.recv(65536)
                except OSError:
                    said = b""
                asked.append(said.decode(errors="replace"))
                with suppress(OSError):  # who asked may be gone
                    self.request.sendall(b"HTTP/1.1 403 No\r\nConnection: close\r\n\r\n")

        class Server(ThreadingTCPServer):
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def hosts(self) -> list[str]:
        """Whom it was asked for, by the first line of each request."""
        return sorted({said.partition("\n")[0].strip() or "a connection" for said in self.asked})

    def __enter__(self) -> "Listener":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@dataclass(frozen=True)
class Traced:
    """Absolute paths that were changed and that were read, and `address:port` connected to."""

    changed: frozenset[str]
    read: frozenset[str]
    peers: frozenset[str]


def tracer(log: Path) -> list[str] | None:
    """The command that traces another into `log`; None where that is not possible."""
    strace = shutil.which("strace")
    if not strace:
        return None
    words = [strace, "-f", "-qq", "-y", "-s", "4096", "-o", str(log), "-e", f"trace={_CALLS}"]
    try:
        works = subprocess.run([*words, "/bin/true"], capture_output=True, check=False)
    except OSError:
        return None
    return words if works.returncode == 0 else None  # ptrace is forbidden in many containers


def traced(log: Path, folder: Path) -> Traced:
    """What the log of `tracer` tells of a program that was started in `folder`.

    Calls that failed changed and read nothing.
    """
    changed: set[str] = set()
    read: set[str] = set()
    peers: set[str] = set()
    folders: dict[str, str] = {}
    for pid, name, args, result in _calls(fs.read_file(log).decode(errors="replace")):
        here = folders.get(pid, str(folder))
        if name in ("clone", "clone3", "fork", "vfork"):
            folders.setdefault(str(result), here)
        elif name in ("chdir", "fchdir") and result == 0:
            named = _FOLDER.match(args)
            folders[pid] = named["folder"] if named else next(_paths(args, here))
        elif name == "connect":
            address, port = _PEER.search(args), _PORT.search(args)
            if address and port:
                peers.add(f"{address['address']}:{port['port']}")
        elif result >= 0:
            opens = name in ("open", "openat")
            target = read if opens and not _WRITES.search(args) else changed
            target.update(_paths(args, here))
    return Traced(frozenset(changed), frozenset(read), frozenset(peers))


def _calls(text: str) -> Iterator[tuple[str, str, str, int]]:
    """Calls that another thread's line cut in two are joined first."""
    begun: dict[str, str] = {}
    for line in text.splitlines():
        pid = line.partition(" ")[0]
        if line.endswith(" <unfinished ...>"):
            begun[pid] = line.removesuffix(" <unfinished ...>")
            continue
        resumed = re.match(r"^\d+\s+<\.\.\. \w+ resumed>", line)
        whole = begun.pop(pid, "") + line[resumed.end() :] if resumed else line
        call = _CALL.match(whole)
        if call:
            yield call["pid"], call["name"], call["args"], int(call["result"])


def _paths(args: str, here: str) -> Iterator[str]:
    """Absolute; `here` is where the calling process is."""
    for found in _PATH.finditer(args):
        folder = found["folder"] or found["other"] or here
        path = found["path"].encode().decode("unicode_escape").encode("latin-1")
        yield os.path.normpath(Path(folder) / os.fsdecode(path))
