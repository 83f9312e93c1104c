"""How Claude Code reads an answer of the Messages API: server-sent events put together.

What is out of order is remembered by name; probe_talk.STREAM_FAULTS says what each means.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ccmirror_py.heard import Heard
from ccmirror_py.messages import Json


@dataclass(frozen=True)
class Message:
    """A streamed answer put together. `faults` are names of what is wrong with the stream;
    `error` is what an event `error` in the midst of it said."""

    content: Sequence[Json] = ()
    model: str = ""
    stop_reason: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    error: str = ""

    def blocks(self, kind: str) -> list[Json]:
        return [block for block in self.content if block.get("type") == kind]

    @property
    def text(self) -> str:
        return "".join(str(block.get("text", "")) for block in self.blocks("text"))

    @property
    def turn(self) -> Json:
        """To be passed back: every block, thinking with its signature, just as it came."""
        return {"role": "assistant", "content": list(self.content)}


def read_answer(heard: Heard) -> Message:
    """A stream, or a message that came whole though a stream was asked for."""
    match heard.json:
        case {"type": "message", "content": list(content), **more}:
            usage = more.get("usage")
            return Message(
                content=[block for block in content if isinstance(block, dict)],
                model=str(more.get("model") or ""),
                stop_reason=str(more.get("stop_reason") or ""),
                usage=usage if isinstance(usage, dict) else {},
                faults=("not streamed",),
            )
    return read_stream(heard.body) if heard.status == 200 else Message()


def read_stream(body: bytes) -> Message:
    """What Claude Code would make of these server-sent events."""
    reader = _Reader()
    for name, data in events(body):
        reader.take(name, data)
    return reader.result()


def events(body: bytes) -> Iterator[tuple[str, Json]]:
    """Each event's name and data; data that is not a JSON object is {"?": text}."""
    text = body.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    for paragraph in text.split("\n\n"):
        fields = [line.partition(":") for line in paragraph.split("\n")]
        data = "\n".join(v.removeprefix(" ") for name, _, v in fields if name == "data")
        named = [v.strip() for name, _, v in fields if name == "event"]
        if data:
            yield named[-1] if named else "", _object(data)


def _object(text: str) -> Json:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {"?": text}
    return value if isinstance(value, dict) else {"?": text}


_DELTAS = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}


class _Reader:
    """Takes events one by one and remembers what is out of order."""

    def __init__(self) -> None:
        self._message: Json = {}
        self._blocks: dict[int, Json] = {}
        self._inputs: dict[int, str] = {}
        self._open: set[int] = set()
        self._stop: Json = {}
        self._ended = False
        self._faults: dict[str, None] = {}
        self._error = ""

    def take(self, name: str, data: Json) -> None:
        kind = str(data.get("type", name))
        if "choices" in data or data.get("?") == "[DONE]":
            return self._fault("openai stream")
        if kind == "ping":
            return None
        if kind == "error" or (not data.get("type") and "error" in data):
            self._error = self._error or json.dumps(data.get("error", data))
            return None
        if not name:
            self._fault("no event names")
        if not self._message and kind != "message_start":
            self._fault("no message_start")
        return self._taken(kind, data)

    def _taken(self, kind: str, data: Json) -> None:
        index = data.get("index")
        match kind, data:
            case "message_start", {"message": dict(message)}:
                self._message = message
                if not isinstance(message.get("content"), list):
                    self._fault("message_start without content")
            case "content_block_start", {"content_block": dict(block)} if isinstance(index, int):
                self._blocks[index] = dict(block)
                self._open.add(index)
            case "content_block_delta", {"delta": dict(delta)} if index in self._open:
                self._grow(int(str(index)), delta)
            case "content_block_delta", _:
                self._fault("delta without a block")
            case "content_block_stop", _:
                self._open.discard(index if isinstance(index, int) else -1)
            case "message_delta", {"delta": dict(delta)}:
                self._stop = {**delta, "usage": data.get("usage")}
            case "message_stop", _:
                self._ended = True

    def _grow(self, index: int, delta: Json) -> None:
        block, kind = self._blocks[index], str(delta.get("type"))
        if kind == "input_json_delta":
            self._inputs[index] = self._inputs.get(index, "") + str(delta.get("partial_json", ""))
        elif kind in _DELTAS:
            part = _DELTAS[kind]
            block[part] = str(block.get(part) or "") + str(delta.get(part) or "")

    def result(self) -> Message:
        for index, block in self._blocks.items():
            if block.get("type") == "tool_use":
                self._take_input(block, self._inputs.get(index, ""))
        if not self._message:
            self._fault("no message_start")
        if self._open:
            self._fault("block without an end")
        if not self._stop.get("stop_reason"):
            self._fault("no stop_reason")
        if not self._ended:
            self._fault("no message_stop")
        start, end = self._message.get("usage"), self._stop.get("usage")
        return Message(
            content=[block for _, block in sorted(self._blocks.items())],
            model=str(self._message.get("model") or ""),
            stop_reason=str(self._stop.get("stop_reason") or ""),
            usage={
                **(start if isinstance(start, dict) else {}),
                **(end if isinstance(end, dict) else {}),
            },
            faults=tuple(self._faults),
            error=self._error,
        )

    def _take_input(self, block: Json, streamed: str) -> None:
        """Claude Code reads the pieces only, not what the start of the block holds."""
        if not streamed and block.get("input"):
            self._fault("input not streamed")
        try:
            block["input"] = json.loads(streamed or "{}")
        except (ValueError, RecursionError):
            self._fault("input is not JSON")
            block["input"] = {}

    def _fault(self, name: str) -> None:
        self._faults[name] = None
