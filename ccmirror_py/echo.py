"""ccm's own model: a small server on this machine that speaks the Anthropic Messages API.

It lets a newcomer, the tests and `ccm doctor --launch` run the real Claude Code without a key and
without a network. It repeats what it is told; a line `run: COMMAND` makes it ask for the Bash
tool, so that a whole turn can be seen. What Claude Code sends was read off 2.1.1, 2.1.200 and
2.1.330.

To be read downwards: the server, what it answers, how that goes over the wire.
"""

import json
import re
import secrets
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any

LARGEST_BODY = 64 * 1024 * 1024
LONGEST_ECHO = 2000
REQUESTS_KEPT = 1000
MODELS = ("echo-large", "echo-small")

# Claude Code's own words around a prompt, among them CLAUDE.md: no one said them now
NOTES = re.compile(
    r"<system-reminder>.*?(?:</system-reminder>|\Z)|\[Request interrupted by user[^]\n]*\]",
    re.DOTALL,
)
RUN = re.compile(r"^[ \t]*run:[ \t]*(\S.*)", re.MULTILINE)

Json = dict[str, Any]


@dataclass(frozen=True)
class Received:
    """One request as it arrived. Header names are lower-cased; `body` is {} unless it was JSON."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)  # any of them can be a key
    body: Mapping[str, object] = field(repr=False)

    def header(self, name: str) -> str | None:
        return next((value for known, value in self.headers if known == name.lower()), None)

    @property
    def model(self) -> str | None:
        model = self.body.get("model")
        return model if isinstance(model, str) else None


class EchoServer:
    """Has its port from construction on (OSError when it is taken), answers inside a `with` or
    during `serve_forever`. `on_request` is called in another thread, for one request at a time,
    before that request is answered.
    """

    def __init__(self, port: int = 0, on_request: Callable[[Received], None] | None = None) -> None:
        self._on_request = on_request
        self._received: deque[Received] = deque(maxlen=REQUESTS_KEPT)
        self._lock = threading.RLock()  # `on_request` may ask for `received`
        self._listener = _Listener(port, self._arrived)
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.server_address[1]}"

    @property
    def received(self) -> tuple[Received, ...]:
        with self._lock:
            return tuple(self._received)

    def __enter__(self) -> "EchoServer":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()

    def serve_forever(self) -> None:
        """Until Ctrl-C. That can be days, so no request is kept, and no key with it."""
        self._received = deque(maxlen=0)
        with self._listener, suppress(KeyboardInterrupt):
            self._listener.serve_forever()

    def _arrived(self, request: Received) -> None:
        with self._lock:
            self._received.append(request)
            if self._on_request is not None:
                self._on_request(request)


@dataclass(frozen=True)
class _Answer:
    status: int
    body: Json
    streamed: bool = False  # the body is a message, to be told as events


def _answer(request: Received) -> _Answer:
    path = request.path.partition("?")[0]
    body: Json = {}
    match (request.method, *path.strip("/").split("/")):
        case ("HEAD", *_) | ("GET", "api", "hello"):
            pass
        case ("GET", "v1", "models"):
            ends = {"first_id": MODELS[0], "last_id": MODELS[-1]}
            body = {"data": [_model(name) for name in MODELS], "has_more": False, **ends}
        case ("GET", "v1", "models", name) if name in MODELS:
            body = _model(name)
        case ("POST", "v1", "messages") | ("POST", "v1", "messages", "count_tokens") if (
            not isinstance(request.body.get("messages"), list)
        ):
            return _error(400, "the body must be a JSON object with a list of messages")
        case ("POST", "v1", "messages", "count_tokens"):
            body = {"input_tokens": _tokens(request.body)}
        case ("POST", "v1", "messages"):
            return _Answer(200, _message(request), request.body.get("stream") is True)
        case _:
            return _error(404, f"the echo server has no {request.method} {path}")
    return _Answer(200, body)


def _error(status: int, sentence: str) -> _Answer:
    types = {404: "not_found_error", 413: "request_too_large"}
    error = {"type": types.get(status, "invalid_request_error"), "message": sentence}
    return _Answer(status, {"type": "error", "error": error})


def _model(name: str) -> Json:
    date = "2026-01-01T00:00:00Z"
    return {"type": "model", "id": name, "display_name": name, "created_at": date}


def _tokens(value: object) -> int:
    return max(1, len(json.dumps(value)) // 4)


def _message(request: Received) -> Json:
    model = request.model or MODELS[0]
    content = _content(request.body, model)
    return {
        "id": f"msg_echo_{secrets.token_hex(12)}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [content],
        "stop_reason": "tool_use" if content["type"] == "tool_use" else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": _tokens(request.body), "output_tokens": _tokens(content)},
    }


def _content(body: Mapping[str, object], model: str) -> Json:
    """The one block the message is made of."""
    match body:
        case {"output_config": {"format": {"type": "json_schema", "schema": schema}}}:
            return {"type": "text", "text": json.dumps(_example(schema))}
    prompt, result = _last_said(body["messages"])
    if result is not None:
        verb = "failed" if result.get("is_error") is True else "answered"
        return {"type": "text", "text": f"The tool {verb}: {_text(result.get('content'))}"}
    command = RUN.search(prompt)
    if command and _offers_bash(body.get("tools")):
        tool_input = {"command": command[1].strip(), "description": "Asked for by the prompt"}
        tool_id = f"toolu_echo_{secrets.token_hex(12)}"
        return {"type": "tool_use", "id": tool_id, "name": "Bash", "input": tool_input}
    return {"type": "text", "text": f"echo from {model}: {prompt[:LONGEST_ECHO]}"}


def _last_said(messages: Any) -> tuple[str, Json | None]:
    """The last prompt, or else the result of the tool that was run for it.

    One message can hold both: Claude Code puts what is typed after a refused tool behind its
    result. Messages of the role system may follow it.
    """
    messages = [message for message in messages if isinstance(message, dict)]
    contents = [message.get("content") for message in messages if message.get("role") == "user"]
    last = contents[-1] if contents else None
    prompt, result = "", None
    for block in last if isinstance(last, list) else [last]:
        if isinstance(block, dict) and block.get("type") == "tool_result":
            prompt, result = "", block
        else:
            prompt = f"{prompt}\n{NOTES.sub('', _text(block)).strip()}".strip()
    return prompt, None if prompt else result


def _text(content: object) -> str:
    """A content is a string, a block, or a list of blocks; pictures have no text."""
    match content:
        case str(text) | {"type": "text", "text": str(text)}:
            return text
        case list(blocks):
            return "\n".join(filter(None, map(_text, blocks)))
    return ""


def _offers_bash(tools: object) -> bool:
    return isinstance(tools, list) and any(
        isinstance(tool, dict) and tool.get("name") == "Bash" for tool in tools
    )


def _example(schema: object) -> object:
    """The least a plain JSON schema accepts: required properties only, each with a least value."""
    least = {"array": [], "boolean": False, "integer": 0, "number": 0, "object": {}}
    match schema:
        case {"enum": [first, *_]}:
            return first
        case {"properties": dict(properties), "required": list(required)}:
            return {name: _example(properties.get(name)) for name in map(str, required)}
        case {"type": str(kind)}:
            return least.get(kind, "Echo")
    return "Echo"


def _events(message: Json) -> Iterator[Json]:
    """The message as it is streamed, its content in two pieces."""
    (content,) = message["content"]
    if content["type"] == "tool_use":
        kind, part, whole = "input_json_delta", "partial_json", json.dumps(content["input"])
        start = {**content, "input": {}}
    else:
        kind, part, whole = "text_delta", "text", content["text"]
        start = {**content, "text": ""}
    middle = len(whole) // 2
    end = {"stop_reason": message["stop_reason"], "stop_sequence": None}

    yield {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}}
    yield {"type": "content_block_start", "index": 0, "content_block": start}
    yield {"type": "ping"}
    for piece in (whole[:middle], whole[middle:]):
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": kind, part: piece}}
    yield {"type": "content_block_stop", "index": 0}
    yield {"type": "message_delta", "delta": end, "usage": message["usage"]}
    yield {"type": "message_stop"}


class _Listener(ThreadingTCPServer):
    """Not an HTTPServer: that one looks up the name of the host, which may wait for a network, and
    in early releases of Python 3.14 lets two programs share a port."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, port: int, arrived: Callable[[Received], None]) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.arrived = arrived


class _Handler(BaseHTTPRequestHandler):
    """One request a connection, so a body left unread is never taken for the next request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # small events must not wait for each other
    server: _Listener

    def handle(self) -> None:
        with suppress(ConnectionError):  # the client may hang up at any time
            super().handle()

    def finish(self) -> None:
        """Reads on until the client has closed: one that is still sending (a body too large) would
        find its connection reset, and never see the answer."""
        super().finish()
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(1)
            while self.connection.recv(65536):
                pass

    def _respond(self) -> None:
        try:
            length = int(self.headers.get("content-length", "0"))
        except ValueError:
            length = -1
        if length < 0:
            self._send(_error(400, "the Content-Length is not a length"))
        elif length > LARGEST_BODY:
            self._send(_error(413, f"the body is larger than {LARGEST_BODY} bytes"))
        else:
            headers = tuple((name.lower(), value) for name, value in self.headers.items())
            request = Received(self.command, self.path, headers, self._body(length))
            self.server.arrived(request)
            try:
                self._send(_answer(request))
            except RecursionError:
                self._send(_error(400, "the body is nested too deeply"))

    do_DELETE = do_GET = do_HEAD = do_OPTIONS = do_PATCH = do_POST = do_PUT = _respond  # noqa: N815

    def _body(self, length: int) -> Json:
        try:
            body = json.loads(self.rfile.read(length))
        except (ValueError, RecursionError):
            return {}
        return body if isinstance(body, dict) else {}

    def _send(self, answer: _Answer) -> None:
        self.send_response(answer.status)
        self.send_header("request-id", f"req_echo_{secrets.token_hex(12)}")
        self.send_header("connection", "close")
        if answer.streamed:
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            for event in _events(answer.body):
                self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
            return
        body = json.dumps(answer.body).encode()
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server refuses by itself, such as a request line that is none."""
        self._send(_error(code, explain or message or "not a request"))

    def log_message(self, *args: object) -> None:
        """Says nothing: `on_request` is the only log."""
