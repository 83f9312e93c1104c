"""Starts variants next to their endpoint and to traps, and tells where requests went.

    python -m tests.safety.routes [--alone] <trips.json

With `--alone` in a network namespace of its own, where every address is this machine: whoever is
looked up or asked anywhere in the world is noted down.
"""

import json
import socket
import subprocess
import sys
from contextlib import ExitStack
from threading import Thread
from typing import Any

from ccmirror_py.echo import EchoServer
from tests.safety.traps import FOREIGN, Trap

# after these every address there is answers here
WORLD = "ip link set lo up && ip route add local 0.0.0.0/0 dev lo"
PATIENCE = 120


class Names:
    """A name server that knows nobody, and the names it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("0.0.0.0", 53))
        Thread(target=self._answer, daemon=True).start()

    def _answer(self) -> None:
        while True:
            question, client = self._socket.recvfrom(4096)
            labels, at = [], 12
            while question[at]:
                labels.append(question[at + 1 : at + 1 + question[at]].decode(errors="replace"))
                at += 1 + question[at]
            self.asked.append(".".join(labels))
            header = question[:2] + b"\x81\x83" + b"\0\1\0\0\0\0\0\0"
            self._socket.sendto(header + question[12 : at + 5], client)


def trip(asked: dict[str, Any], server: EchoServer) -> dict[str, Any]:
    """One start of a variant: how it ended, and what its endpoint got."""
    before = len(server.received)
    try:
        done = subprocess.run(
            asked["argv"],
            cwd=asked["cwd"],
            env=asked["env"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        said, code = done.stdout.strip() or done.stderr.strip(), done.returncode
    except subprocess.TimeoutExpired:
        said, code = "no answer", -1
    requests = server.received[before:]
    posted = [request for request in requests if request.method == "POST"]
    whole = "\n".join(f"{r.path} {r.headers} {json.dumps(r.body)}" for r in requests)
    keys = {(r.header("authorization") or "", r.header("x-api-key") or "") for r in posted}
    return {
        "code": code,
        "said": said,
        "keys": sorted(keys),
        "models": sorted({str(r.model) for r in posted}),
        "foreign": FOREIGN in whole,
    }


def emptied(heard: list[str]) -> list[str]:
    """What was heard so far."""
    said = [text[:200] for text in heard]
    del heard[: len(said)]
    return said


def main() -> None:
    alone = "--alone" in sys.argv
    work = json.load(sys.stdin)
    with ExitStack() as stack:
        world: list[list[str]] = []
        if alone:
            subprocess.run(["/bin/sh", "-c", WORLD], check=True)
            everybody = [stack.enter_context(Trap("0.0.0.0", port)) for port in (80, 443)]
            world = [Names().asked, *(each.heard for each in everybody)]
        trap = stack.enter_context(Trap(port=work["trap"]))
        server = stack.enter_context(EchoServer(work["endpoint"]))
        results = []
        for asked in work["trips"]:
            result = trip(asked, server)
            result["trapped"] = emptied(trap.heard)
            result["elsewhere"] = [said for heard in world for said in emptied(heard)]
            results.append(result)
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
