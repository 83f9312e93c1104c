"""A right endpoint to make wrong ones of: it streams, thinks, calls tools and remembers nothing.

A behaviour is a function from a request to a reply; broken ones change the reply of `Model`.
"""

import json
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from threading import Thread
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: Json

    @property
    def key(self) -> tuple[str, str]:
        """The header it came in, and the key."""
        bearer = self.headers.get("authorization", "")
        if bearer:
            return "bearer", bearer.removeprefix("Bearer ")
        return "x-api-key", self.headers.get("x-api-key", "")

    @property
    def is_message(self) -> bool:
        return self.method == "POST" and self.path.split("?")[0].endswith("/v1/messages")


@dataclass(frozen=True)
class Reply:
    """`stalls`: seconds for which the connection stays open afterwards, saying nothing; `pace`:
    seconds before each event."""

    status: int = 200
    body: bytes = b"{}"
    kind: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    stalls: float = 0.0
    pace: float = 0.0


Behaviour = Callable[[Request], Reply]


def as_json(document: object, status: int = 200) -> Reply:
    return Reply(status, json.dumps(document).encode())


def error(status: int, message: str, kind: str = "invalid_request_error") -> Reply:
    """In Anthropic's form."""
    return as_json({"type": "error", "error": {"type": kind, "message": message}}, status)


def not_found(request: Request) -> Reply:
    return as_json({"error": {"message": "Not Found", "code": 404}}, 404)


def stream(events: Sequence[Json]) -> Reply:
    text = "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events)
    return Reply(200, text.encode(), "text/event-stream")


def message(content: Sequence[Json], model: str, stop: str = "end_turn") -> Json:
    return {
        "id": f"msg_{secrets.token_hex(8)}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": list(content),
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": 100, "output_tokens": 20},
    }


def events_of(whole: Json) -> list[Json]:
    start = {**whole, "content": [], "stop_reason": None}
    events: list[Json] = [{"type": "message_start", "message": start}]
    for index, block in enumerate(whole["content"]):
        events += _block(index, block)
    end = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    events.append({"type": "message_delta", "delta": end, "usage": whole["usage"]})
    return [*events, {"type": "message_stop"}]


def _block(index: int, block: Json) -> Iterator[Json]:
    def delta(**parts: str) -> Json:
        return {"type": "content_block_delta", "index": index, "delta": parts}

    match block["type"]:
        case "text":
            begin, deltas = {**block, "text": ""}, [delta(type="text_delta", text=block["text"])]
        case "thinking":
            begin = {**block, "thinking": "", "signature": ""}
            deltas = [
                delta(type="thinking_delta", thinking=block["thinking"]),
                delta(type="signature_delta", signature=block["signature"]),
            ]
        case _:
            begin, text = {**block, "input": {}}, json.dumps(block["input"])
            halves = (text[: len(text) // 2], text[len(text) // 2 :])
            deltas = [delta(type="input_json_delta", partial_json=half) for half in halves]
    yield {"type": "content_block_start", "index": index, "content_block": begin}
    yield from deltas
    yield {"type": "content_block_stop", "index": index}


@dataclass(frozen=True)
class Model:
    """Right in every respect. `thinks`: it does, and refuses to go on without its own thinking.

    `models` are the ids there are (empty: any), `window` is told in the list of them.
    """

    thinks: bool = False
    counts: bool = True
    models: tuple[str, ...] = ()
    window: int | None = None
    prefix: str = ""
    keys: tuple[str, ...] = ("bearer", "x-api-key")
    key: str = ""

    def __call__(self, request: Request) -> Reply:
        path = request.path.split("?")[0]
        if not path.startswith(self.prefix):
            return not_found(request)
        path = path.removeprefix(self.prefix)
        header, key = request.key
        if header not in self.keys or (self.key and key != self.key):
            return error(401, "invalid key", "authentication_error")
        match request.method, path:
            case "GET", "/v1/models":
                size = {"max_input_tokens": self.window} if self.window else {}
                return as_json({"data": [{"id": id_, **size} for id_ in self.models or ("m",)]})
            case "POST", "/v1/messages/count_tokens" if self.counts:
                return as_json({"input_tokens": 42})
            case "POST", "/v1/messages":
                return self.answer(request.body)
        return not_found(request)

    def answer(self, body: Json) -> Reply:
        problem = self._problem(body)
        if problem:
            return problem
        whole = message(*self.said(body))
        return stream(events_of(whole)) if body.get("stream") else as_json(whole)

    def _problem(self, body: Json) -> Reply | None:
        if self.models and body["model"] not in self.models:
            return error(404, f"model: {body['model']} not found", "not_found_error")
        for turn in body["messages"]:
            kinds = [b["type"] for b in turn["content"]] if turn["role"] == "assistant" else []
            if self.thinks and "tool_use" in kinds and "thinking" not in kinds:
                return error(
                    400,
                    "The `content[].thinking` in the thinking mode must be passed back to the API.",
                )
            for block in turn["content"] if kinds else []:
                if block["type"] == "thinking" and block["signature"] != signed(block["thinking"]):
                    return error(400, "Invalid `signature` in `thinking` block")
        return None

    def said(self, body: Json) -> tuple[list[Json], str, str]:
        content: list[Json] = []
        if self.thinks and body.get("thinking", {}).get("type") in ("adaptive", "enabled"):
            thought = f"The user wants … ({secrets.token_hex(4)})"
            content.append({"type": "thinking", "thinking": thought, "signature": signed(thought)})
        prompt, results = last_said(body)
        commands = re.findall(r"(?m)^run: (.*)$", prompt) if body.get("tools") else []
        if commands:
            content += [tool_use({"command": command}) for command in commands]
            return content, body["model"], "tool_use"
        text = f"It printed {' '.join(results)}" if results and not prompt else "ok"
        return [*content, {"type": "text", "text": text}], body["model"], "end_turn"


def signed(thought: str) -> str:
    return f"signature of {len(thought)}:{thought[-9:]}"


def tool_use(given: object, name: str = "Bash") -> Json:
    return {
        "type": "tool_use",
        "id": f"toolu_{secrets.token_hex(8)}",
        "name": name,
        "input": given,
    }


def last_said(body: Json) -> tuple[str, list[str]]:
    """The last prompt, and the results of tools beside it."""
    turn = [t for t in body["messages"] if t["role"] == "user"][-1]
    texts = [b["text"] for b in turn["content"] if b["type"] == "text"]
    results = [str(b["content"]) for b in turn["content"] if b["type"] == "tool_result"]
    return "\n".join(texts), results


def changed_events(behaviour: Behaviour, change: Callable[[list[Json]], list[Json]]) -> Behaviour:
    """The same, with the events of its streams changed."""

    def changed(request: Request) -> Reply:
        reply = behaviour(request)
        if reply.kind != "text/event-stream":
            return reply
        data = re.findall(r"(?m)^data: (.*)$", reply.body.decode())
        return stream(change([json.loads(line) for line in data]))

    return changed


def changed_message(behaviour: Behaviour, change: Callable[[Json], Json]) -> Behaviour:
    """The same, with what it says to a POST changed; it is streamed as it ought to be."""

    def changed(request: Request) -> Reply:
        plain = replace(request, body={**request.body, "stream": False})
        reply = behaviour(plain)
        if not request.is_message or reply.status != 200:
            return reply
        whole = change(json.loads(reply.body))
        return stream(events_of(whole)) if request.body.get("stream") else as_json(whole)

    return changed


class Endpoint:
    """Serves a behaviour on this machine, inside a `with`. `requests` is what it was asked."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.requests: list[Request] = []
        self._listener = _Listener(behaviour, self.requests)
        self._thread = Thread(target=self._listener.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.server_address[1]}"

    def __enter__(self) -> "Endpoint":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()


class _Listener(ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, behaviour: Behaviour, requests: list[Request]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behaviour = behaviour
        self.requests = requests


class _Handler(BaseHTTPRequestHandler):
    server: _Listener

    def handle(self) -> None:
        with suppress(OSError):
            super().handle()

    def _respond(self) -> None:
        length = int(self.headers.get("content-length", "0"))
        body = json.loads(self.rfile.read(length) or b"{}")
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, body)
        self.server.requests.append(request)
        reply = self.server.behaviour(request)
        if reply.status == 0:
            return  # hangs up without a word
        self.send_response(reply.status)
        self.send_header("content-type", reply.kind)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        for event in reply.body.split(b"\n\n") if reply.pace else ():
            self.wfile.write(event + b"\n\n")
            time.sleep(reply.pace)
        if not reply.pace:
            self.wfile.write(reply.body)
        self.wfile.flush()
        time.sleep(reply.stalls)

    do_GET = do_POST = do_HEAD = _respond  # noqa: N815

    def log_message(self, *args: object) -> None:
        """Says nothing."""
