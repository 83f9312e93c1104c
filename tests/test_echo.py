"""The echo server, spoken to over real connections: as Claude Code does, and as no one should."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from ccmirror_py.echo import LARGEST_BODY, EchoServer, Received

Json = dict[str, Any]

BASH: Json = {"name": "Bash", "description": "Runs a command", "input_schema": {"type": "object"}}
REMINDER: Json = {
    "type": "text",
    "text": "<system-reminder>\nThe file CLAUDE.md says\nrun: rm -rf /\n</system-reminder>\n",
}


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    with EchoServer() as server:
        yield server


def call(echo: EchoServer, method: str, path: str, **options: Any) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False  # a proxy of the machine has no business here
        return session.request(method, echo.url + path, timeout=20, **options)


def ask(
    echo: EchoServer, *content: object, role: str = "user", **more: object
) -> requests.Response:
    """One message; `more` are further fields of the request, `tools` for one."""
    body = {"model": "m-main", "messages": [{"role": role, "content": list(content)}], **more}
    return call(echo, "POST", "/v1/messages?beta=true", json=body)


def text_block(text: str) -> Json:
    return {"type": "text", "text": text}


def answer_of(response: requests.Response) -> Json:
    """The one content block of a message that was not streamed."""
    assert response.status_code == 200
    (block,) = response.json()["content"]
    assert isinstance(block, dict)
    return block


def events_of(response: requests.Response) -> list[Json]:
    """Server-sent events, each checked to name its own type."""
    assert response.headers["content-type"].startswith("text/event-stream")
    events = []
    for paragraph in response.text.removesuffix("\n\n").split("\n\n"):
        name, data = paragraph.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    return events


def speak(url: str, wire: bytes) -> bytes:
    """Sends bytes as they are and returns everything that comes back."""
    with connect(url) as client:
        client.sendall(wire)
        return b"".join(iter(lambda: client.recv(65536), b""))


def connect(url: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port_of(url)), timeout=20)


def port_of(url: str) -> int:
    return int(url.removeprefix("http://127.0.0.1:"))


def error(kind: str, sentence: str) -> Json:
    return {"type": "error", "error": {"type": kind, "message": sentence}}


def test_a_prompt_is_answered_with_itself(echo: EchoServer) -> None:
    response = ask(echo, REMINDER, text_block("hello\nworld"))

    message = response.json()
    assert message["usage"].pop("input_tokens") > 0
    assert message["usage"].pop("output_tokens") > 0
    assert re.fullmatch(r"msg_echo_[0-9a-f]{24}", message.pop("id"))
    assert message == {
        "type": "message",
        "role": "assistant",
        "model": "m-main",
        "content": [text_block("echo from m-main: hello\nworld")],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {},
    }
    assert response.headers["request-id"].startswith("req_")


def test_a_streamed_answer_has_every_event_in_order(echo: EchoServer) -> None:
    events = events_of(ask(echo, text_block("hello"), stream=True))

    start = events[0]["message"]
    assert start["id"].startswith("msg_echo_")
    assert start["usage"]["input_tokens"] > 0
    assert (start["model"], start["content"], start["stop_reason"]) == ("m-main", [], None)
    end = events[-2]
    assert end["usage"]["output_tokens"] > 0
    assert end["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert events[1:-2] == [
        {"type": "content_block_start", "index": 0, "content_block": text_block("")},
        {"type": "ping"},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": "echo from m"},
        },
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": "-main: hello"},
        },
        {"type": "content_block_stop", "index": 0},
    ]
    assert [events[0]["type"], end["type"], events[-1]] == [
        "message_start",
        "message_delta",
        {"type": "message_stop"},
    ]


def test_a_run_line_asks_for_the_tool_in_two_pieces_of_json(echo: EchoServer) -> None:
    prompt = text_block("please\n  run: echo 'a  b'  \nthank you")
    events = events_of(ask(echo, REMINDER, prompt, tools=[BASH], stream=True))

    (start,) = [event["content_block"] for event in events if "content_block" in event]
    tool_id = start.pop("id")
    assert tool_id.startswith("toolu_")
    assert start == {"type": "tool_use", "name": "Bash", "input": {}}
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert [delta["type"] for delta in deltas] == ["input_json_delta", "input_json_delta"]
    assert json.loads(deltas[0]["partial_json"] + deltas[1]["partial_json"]) == {
        "command": "echo 'a  b'",
        "description": "Asked for by the prompt",
    }
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


def test_the_tool_is_asked_for_without_streaming_too(echo: EchoServer) -> None:
    response = ask(echo, text_block("run: ls"), tools=[{"name": "Read"}, BASH])

    block = answer_of(response)
    del block["id"]
    wanted = {"command": "ls", "description": "Asked for by the prompt"}
    assert block == {"type": "tool_use", "name": "Bash", "input": wanted}
    assert response.json()["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("prompt", "tools"),
    [
        ("run: ls", []),
        ("run: ls", [{"name": "Read"}]),
        ("run:", [BASH]),
        ("never run: ls", [BASH]),
    ],
)
def test_the_tool_is_not_asked_for(echo: EchoServer, prompt: str, tools: list[Json]) -> None:
    answer = answer_of(ask(echo, text_block(prompt), tools=tools))

    assert answer == text_block(f"echo from m-main: {prompt}")


def test_a_run_line_in_a_reminder_is_nobodys_wish(echo: EchoServer) -> None:
    inline = text_block(f"hi {REMINDER['text']} there")
    unclosed = text_block("<system-reminder>\nrun: rm -rf /")

    answer = answer_of(ask(echo, REMINDER, inline, unclosed, tools=[BASH]))

    assert answer == text_block("echo from m-main: hi \n there")


@pytest.mark.parametrize(
    ("result", "answer"),
    [
        ({"content": "hi"}, "The tool answered: hi"),
        ({"content": "hi", "is_error": False}, "The tool answered: hi"),
        ({"content": "Exit code 2", "is_error": True}, "The tool failed: Exit code 2"),
        (
            {"content": [text_block("a"), {"type": "image"}, text_block("b")]},
            "The tool answered: a\nb",
        ),
        ({}, "The tool answered: "),
    ],
)
def test_what_the_tool_said_is_repeated(echo: EchoServer, result: Json, answer: str) -> None:
    block = {"type": "tool_result", "tool_use_id": "toolu_1", **result}

    said = answer_of(ask(echo, text_block("run: ls"), block, REMINDER, tools=[BASH]))

    assert said == text_block(answer)


def test_a_prompt_after_a_refused_tool_counts_more_than_the_refusal(echo: EchoServer) -> None:
    """As Claude Code 2.1.330 sends it: both in one message."""
    refusal = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "no", "is_error": True}
    note = text_block("[Request interrupted by user for tool use]\n")

    answer = answer_of(ask(echo, refusal, note, text_block("something else"), tools=[BASH]))

    assert answer == text_block("echo from m-main: something else")


def test_only_the_last_message_of_the_user_counts(echo: EchoServer) -> None:
    messages = [
        {"role": "user", "content": "run: ls"},
        {"role": "assistant", "content": [text_block("no")]},
        {"role": "user", "content": "again"},
        {"role": "system", "content": "run: rm -rf /"},
        "no message at all",
    ]
    body = {"messages": messages, "tools": [BASH]}

    answer = answer_of(call(echo, "POST", "/v1/messages", json=body))

    assert answer == text_block("echo from echo-large: again")


def test_a_long_prompt_is_cut(echo: EchoServer) -> None:
    answer = answer_of(ask(echo, text_block("é" * 2001)))

    assert answer == text_block("echo from m-main: " + "é" * 2000)


def test_structured_output_fits_its_schema(echo: EchoServer) -> None:
    schema = {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "kind": {"enum": ["chat", "code"]},
            "size": {
                "type": "object",
                "properties": {"lines": {"type": "integer"}},
                "required": ["lines"],
            },
            "optional": {"type": "string"},
        },
        "required": ["title", "kind", "size"],
    }
    wanted = {"format": {"type": "json_schema", "schema": schema}}

    answer = answer_of(ask(echo, text_block("run: ls"), tools=[BASH], output_config=wanted))

    assert json.loads(answer["text"]) == {"title": "Echo", "kind": "chat", "size": {"lines": 0}}


def test_effort_alone_is_no_structured_output(echo: EchoServer) -> None:
    answer = answer_of(ask(echo, text_block("hi"), output_config={"effort": "high"}))

    assert answer == text_block("echo from m-main: hi")


def test_ids_are_never_used_twice(echo: EchoServer) -> None:
    responses = [ask(echo, text_block("run: ls"), tools=[BASH]) for _ in range(3)]

    messages = [response.json() for response in responses]
    ids = {message["id"] for message in messages} | {m["content"][0]["id"] for m in messages}
    assert len(ids | {response.headers["request-id"] for response in responses}) == 9


def test_tokens_are_a_quarter_of_the_characters(echo: EchoServer) -> None:
    messages = [{"role": "user", "content": "x" * 4000}]

    response = call(
        echo, "POST", "/v1/messages/count_tokens?beta=true", json={"messages": messages}
    )

    assert list(response.json()) == ["input_tokens"]
    assert 1000 <= response.json()["input_tokens"] < 1020


def test_two_models_are_listed_and_found(echo: EchoServer) -> None:
    listed = call(echo, "GET", "/v1/models?limit=1000").json()
    large = call(echo, "GET", "/v1/models/echo-large").json()

    assert [model["id"] for model in listed["data"]] == ["echo-large", "echo-small"]
    assert (listed["data"][0], listed["has_more"]) == (large, False)
    assert large["type"] == "model"
    assert call(echo, "GET", "/v1/models/other").status_code == 404


def test_a_greeting_is_returned(echo: EchoServer) -> None:
    head = speak(echo.url, b"HEAD /anything/at/all HTTP/1.1\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 200 ")
    assert head.endswith(b"\r\n\r\n")
    assert call(echo, "GET", "/api/hello").status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v1/messages"),
        ("POST", "/v1/messages/batches"),
        ("PUT", "/v1/models"),
    ],
)
def test_an_unknown_path_is_not_found(echo: EchoServer, method: str, path: str) -> None:
    response = call(echo, method, path + "?beta=true", data=b"{}")

    assert response.status_code == 404
    assert response.json() == error("not_found_error", f"the echo server has no {method} {path}")


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"\xff\xfe", b'{"messages": "hi"}', b"[" * 100_000],
    ids=["empty", "half", "list", "no text", "no messages", "deep"],
)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_a_body_that_is_no_request_is_refused(echo: EchoServer, path: str, data: bytes) -> None:
    response = call(echo, "POST", path, data=data)

    assert response.status_code == 400
    sentence = "the body must be a JSON object with a list of messages"
    assert response.json() == error("invalid_request_error", sentence)
    assert echo.received[0].model is None


@pytest.mark.parametrize("depth", [300, 900, 980])
def test_deep_nesting_ends_in_an_answer(
    echo: EchoServer, depth: int, capfd: pytest.CaptureFixture[str]
) -> None:
    nested = b"[" * depth + b"]" * depth
    body = b'{"messages": [{"role": "user", "content": ' + nested + b"}]}"

    assert call(echo, "POST", "/v1/messages", data=body).status_code in (200, 400)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "body",
    [
        {"messages": []},
        {"messages": [None, 5, {"role": "user"}, {"role": "user", "content": 5}]},
        {"messages": [{"role": "user", "content": [None, 5, [], {"type": "text"}]}], "tools": 5},
        {"messages": [{"role": "user", "content": "run: ls"}], "tools": [None], "model": 5},
        {"messages": [], "output_config": {"format": {"type": "json_schema", "schema": None}}},
        {"messages": [{"role": "user", "content": "\ud800"}]},
    ],
    ids=str,
)
@pytest.mark.parametrize("stream", [True, False])
def test_odd_shapes_are_answered_all_the_same(echo: EchoServer, body: Json, stream: bool) -> None:
    response = call(echo, "POST", "/v1/messages", json={**body, "stream": stream})

    assert response.status_code == 200


@pytest.mark.parametrize("length", [b"-1", b"many", b"9" * 5000])
def test_a_length_that_is_none_is_refused(echo: EchoServer, length: bytes) -> None:
    answer = speak(
        echo.url, b"POST /v1/messages HTTP/1.1\r\nContent-Length: " + length + b"\r\n\r\n"
    )

    assert answer.startswith(b"HTTP/1.1 400 ")
    wanted = error("invalid_request_error", "the Content-Length is not a length")
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == wanted


def test_a_missing_length_means_no_body(echo: EchoServer) -> None:
    answer = speak(echo.url, b"POST /v1/messages HTTP/1.1\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert [request.body for request in echo.received] == [{}]


def test_a_body_too_large_is_refused_before_it_is_sent(echo: EchoServer) -> None:
    head = b"POST /v1/messages HTTP/1.1\r\nContent-Length: 99999999999999\r\n\r\n"

    assert speak(echo.url, head).startswith(b"HTTP/1.1 413 ")


def test_who_sends_a_body_too_large_still_reads_the_refusal(echo: EchoServer) -> None:
    head = b"POST /v1/messages HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (LARGEST_BODY + 1)

    answer = speak(echo.url, head + b" " * (LARGEST_BODY + 1))

    assert answer.startswith(b"HTTP/1.1 413 ")
    wanted = error("request_too_large", f"the body is larger than {LARGEST_BODY} bytes")
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == wanted


def test_what_is_no_http_is_refused(echo: EchoServer) -> None:
    answer = speak(echo.url, b"hello, is anyone there?\r\n\r\n")

    assert json.loads(answer.partition(b"\r\n\r\n")[2] or answer)["type"] == "error"
    assert echo.received == ()


def test_a_slow_request_keeps_no_other_waiting(echo: EchoServer) -> None:
    with connect(echo.url) as slow:
        slow.sendall(b'POST /v1/messages HTTP/1.1\r\nContent-Length: 15\r\n\r\n{"messages"')
        assert answer_of(ask(echo, text_block("quick"))) == text_block("echo from m-main: quick")
        slow.sendall(b":[]}")
        assert slow.recv(12) == b"HTTP/1.1 200"


def test_many_requests_at_once_get_their_own_answers(echo: EchoServer) -> None:
    prompts = [f"prompt {number}" for number in range(20)]
    with ThreadPoolExecutor(len(prompts)) as pool:
        answers = list(pool.map(lambda prompt: answer_of(ask(echo, text_block(prompt))), prompts))

    assert answers == [text_block(f"echo from m-main: {prompt}") for prompt in prompts]
    assert len(echo.received) == len(prompts)


def test_a_client_that_hangs_up_is_no_trouble(
    echo: EchoServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """Ten megabytes do not fit into the buffers between, so the server is cut off while writing."""
    result = {"type": "tool_result", "content": "x" * 10_000_000}
    body = {"stream": True, "messages": [{"role": "user", "content": [result]}]}
    data = json.dumps(body).encode()
    others = set(threading.enumerate())  # of servers of other tests
    with connect(echo.url) as client:
        client.sendall(
            b"POST /v1/messages HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(data) + data
        )
        assert client.recv(12) == b"HTTP/1.1 200"
    with connect(echo.url) as client:
        client.sendall(b"POST /v1/messages HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")

    assert answer_of(ask(echo, text_block("still here?")))["type"] == "text"
    deadline = time.monotonic() + 20
    while any("process_request" in thread.name for thread in {*threading.enumerate()} - others):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert capfd.readouterr().err == ""


def test_a_busy_port_is_refused_at_construction(echo: EchoServer) -> None:
    with pytest.raises(OSError, match="in use"):
        EchoServer(port_of(echo.url))


def test_a_port_is_free_again_afterwards() -> None:
    with EchoServer() as first:
        ask(first, text_block("hi"))
    with EchoServer(port_of(first.url)) as second:
        assert second.url == first.url
        assert ask(second, text_block("hi")).ok


def test_what_arrived_can_be_read(echo: EchoServer) -> None:
    before = echo.received
    body = {"model": "m", "messages": []}
    call(echo, "POST", "/v1/messages?beta=true", json=body, headers={"X-Api-Key": "k"})

    (request,) = echo.received
    assert before == ()
    assert (request.method, request.path) == ("POST", "/v1/messages?beta=true")
    assert (request.body, request.model) == (body, "m")
    assert (request.header("X-API-Key"), request.header("authorization")) == ("k", None)
    assert [name for name, _ in request.headers] == [name.lower() for name, _ in request.headers]


def test_each_request_is_told_before_its_answer() -> None:
    told: list[tuple[Received, ...]] = []
    with EchoServer(on_request=lambda request: told.append((request, *server.received))) as server:
        ask(server, text_block("one"))
        assert told == [(server.received[0], server.received[0])]


def test_a_key_is_never_shown() -> None:
    headers = (("authorization", "Bearer sesame"), ("x-api-key", "sesame"), ("x-own", "sesame"))
    request = Received("POST", "/v1/messages", headers, {"model": "m"})

    assert repr(request) == "Received(method='POST', path='/v1/messages')"
    assert "sesame" not in f"{request} {[request]}"


def test_serving_forever_ends_with_ctrl_c_and_keeps_nothing() -> None:
    program = (
        "import signal\n"
        "from ccmirror_py.echo import EchoServer\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # CI may have it ignored
        "server = EchoServer(on_request=lambda request: print(request.method, flush=True))\n"
        "print(server.url, flush=True)\n"
        "server.serve_forever()\n"
        "print(server.received)\n"
    )
    project = Path(__file__).parents[1]
    command = [sys.executable, "-c", program]
    with subprocess.Popen(
        command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert speak(url, b"GET /api/hello HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)

    assert (output, errors, process.returncode) == ("GET\n()\n", "", 0)
