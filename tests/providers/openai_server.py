"""A backend in OpenAI's format for routers to stand before: it streams and calls tools."""

import json
import re
import secrets
from collections.abc import Iterator

from tests.providers.server import Json, Reply, Request, as_json


def chat(request: Request) -> Reply:
    """POST …/chat/completions. Usage comes with the last piece, as DeepSeek sends it."""
    if not request.path.endswith("/chat/completions"):
        return as_json({"object": "list", "data": [{"id": "mock", "object": "model"}]})
    message, finish = _answer(request.body)
    if not request.body.get("stream"):
        choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
        return as_json(
            {**_head(request), "object": "chat.completion", "choices": [choice], **USAGE}
        )
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in _chunks(request, message, finish)]
    body = "".join([*lines, "data: [DONE]\n\n"])
    return Reply(200, body.encode(), "text/event-stream")


USAGE: Json = {"usage": {"prompt_tokens": 50, "completion_tokens": 9, "total_tokens": 59}}


def _head(request: Request) -> Json:
    return {"id": f"chatcmpl-{secrets.token_hex(6)}", "created": 1, "model": request.body["model"]}


def _answer(body: Json) -> tuple[Json, str]:
    since: list[Json] = []
    for turn in body["messages"]:
        since = [] if turn["role"] == "assistant" else [*since, turn]
    said = "\n".join(_text(turn["content"]) for turn in since if turn["role"] == "user")
    results = [_text(turn["content"]) for turn in since if turn["role"] == "tool"]
    commands = re.findall(r"(?m)^run: (.*)$", said) if body.get("tools") else []
    if not commands:
        return {"content": f"It printed {' '.join(results)}" if results else "ok"}, "stop"
    calls = [
        {
            "index": number,
            "id": f"call_{secrets.token_hex(6)}",
            "type": "function",
            "function": {"name": "Bash", "arguments": json.dumps({"command": command})},
        }
        for number, command in enumerate(commands)
    ]
    return {"content": "", "tool_calls": calls}, "tool_calls"


def _text(content: object) -> str:
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content)
    return str(content)


def _chunks(request: Request, message: Json, finish: str) -> Iterator[Json]:
    head = {**_head(request), "object": "chat.completion.chunk"}

    def chunk(delta: Json, reason: str | None = None) -> Json:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    yield chunk({"role": "assistant", "content": ""})
    if message["content"]:
        yield chunk({"content": message["content"]})
    for call in message.get("tool_calls", []):
        whole = call["function"]
        yield chunk({"tool_calls": [{**call, "function": {**whole, "arguments": ""}}]})
        pieces = {"index": call["index"], "function": {"arguments": whole["arguments"]}}
        yield chunk({"tool_calls": [pieces]})
    yield {**chunk({"content": ""}, finish), **USAGE}
