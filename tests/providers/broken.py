"""Endpoints that break Claude Code, each as it was seen somewhere, and what the probe has to say.

`source` names the report or the document. `cause` and `fix` are words that have to be in the row of
`step`; `deny` and `overrides` are what it has to write with `--apply`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ccmirror_py.messages import PLAIN_CLAUDES, manner_of
from ccmirror_py.version import Version
from tests.providers.server import (
    Behaviour,
    Json,
    Model,
    Reply,
    Request,
    as_json,
    changed_events,
    changed_message,
    error,
    events_of,
    last_said,
    message,
    not_found,
    stream,
    tool_use,
)

GOOD = Model()
OLDER = Version(2, 1, 200)
THINKING = Model(thinks=True)


@dataclass(frozen=True)
class Broken:
    name: str
    source: str
    behaviour: Behaviour
    step: str
    cause: str
    fix: str
    result: str = "failed"
    path: str = ""
    deep: bool = False
    target: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 20.0
    deny: tuple[str, ...] = ()
    overrides: Mapping[str, str] = field(default_factory=dict)


def refuses(when: Callable[[Request], bool], reply: Reply, rest: Behaviour = GOOD) -> Behaviour:
    """`reply` to messages of this kind, else as `rest`."""
    return lambda request: reply if request.is_message and when(request) else rest(request)


def always(reply: Reply, rest: Behaviour = GOOD) -> Behaviour:
    return refuses(lambda request: True, reply, rest)


def has_tools(request: Request) -> bool:
    return bool(request.body.get("tools"))


def has_system_message(request: Request) -> bool:
    return any(turn["role"] == "system" for turn in request.body["messages"])


def has_cache_control(request: Request) -> bool:
    return "cache_control" in json.dumps(request.body)


def has_effort(request: Request) -> bool:
    return "output_config" in request.body


def has_picture(request: Request) -> bool:
    return '"image"' in json.dumps(request.body)


def passes_results(request: Request) -> bool:
    return bool(last_said(request.body)[1])


def is_off(request: Request) -> bool:
    return request.body.get("thinking") == {"type": "disabled"}


def llamacpp(message: str, status: int = 500, kind: str = "server_error") -> Reply:
    return as_json({"error": {"code": status, "message": message, "type": kind}}, status)


def says(text: str) -> Behaviour:
    """Answers every request with tools with these words."""

    def speak(whole: Json) -> Json:
        if whole["stop_reason"] != "tool_use":
            return whole
        call = whole["content"][-1]
        words = text.replace("COMMAND", call["input"]["command"])
        content = [{"type": "text", "text": words}]
        return {**whole, "content": content, "stop_reason": "end_turn"}

    return changed_message(GOOD, speak)


def calls(change: Callable[[Json], Json]) -> Behaviour:
    """Its tool calls are changed."""

    def spoil(whole: Json) -> Json:
        blocks = [change(b) if b["type"] == "tool_use" else b for b in whole["content"]]
        return {**whole, "content": blocks}

    return changed_message(GOOD, spoil)


def tells(answers: Mapping[str, object], rest: Behaviour) -> Behaviour:
    """These documents at these paths, as local servers have them."""

    def told(request: Request) -> Reply:
        path = request.path.split("?")[0]
        return as_json(answers[path]) if path in answers else rest(request)

    return told


def only_at(prefix: str, elsewhere: Behaviour = not_found, **model: Any) -> Behaviour:
    """Right below `prefix`."""
    inner = Model(prefix=prefix, **model)
    return lambda r: inner(r) if r.path.startswith(f"{prefix}/v1/m") else elsewhere(r)


def openai_root(request: Request) -> Reply:
    if request.path.startswith("/api/paas/v4/chat") or request.path == "/v1/chat/completions":
        return as_json({"object": "chat.completion", "choices": []})
    return not_found(request)


def web_page(status: int = 200) -> Reply:
    page = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>Sign in</body></html>"
    return Reply(status, page, "text/html; charset=utf-8")


def without(*kinds: str) -> Callable[[list[Json]], list[Json]]:
    return lambda events: [event for event in events if event["type"] not in kinds]


def slow(reply: Reply) -> Reply:
    return replace(reply, pace=0.7 if reply.kind == "text/event-stream" else 0.0)


def stalls(reply: Reply) -> Reply:
    return replace(reply, stalls=3.0 if reply.kind == "text/event-stream" else 0.0)


def unnamed(request: Request) -> Reply:
    reply = GOOD(request)
    lines = [line for line in reply.body.split(b"\n") if not line.startswith(b"event:")]
    return replace(reply, body=b"\n".join(lines))


def headless(events: list[Json]) -> list[Json]:
    start = {k: v for k, v in events[0]["message"].items() if k not in ("content", "stop_reason")}
    return [{"type": "message_start", "message": start}, *events[1:]]


def whole_input(events: list[Json]) -> list[Json]:
    """The input stands in the start of the block; no pieces follow."""
    inputs = "".join(e.get("delta", {}).get("partial_json", "") for e in events)
    changed = []
    for event in events:
        block = event.get("content_block", {})
        if block.get("type") == "tool_use":
            block = {**block, "input": json.loads(inputs)}
        if event.get("delta", {}).get("type") != "input_json_delta":
            changed.append({**event, "content_block": block} if block else event)
    return changed


def cut_input(events: list[Json]) -> list[Json]:
    """The second half of the input never comes."""
    pieces = [e for e in events if e.get("delta", {}).get("type") == "input_json_delta"]
    return [event for event in events if event not in pieces[1:]]


def mixed_calls(events: list[Json]) -> list[Json]:
    """All calls share one index, as with a converter that does not count them."""
    tools = {e["index"] for e in events if e.get("content_block", {}).get("type") == "tool_use"}
    if len(tools) < 2:
        return events
    first, dropped = min(tools), tools - {min(tools)}
    kept: list[Json] = []
    for event in events:
        if event.get("index") in dropped:
            if event["type"] == "content_block_delta":
                stop = next(i for i, e in enumerate(kept) if e["type"] == "content_block_stop")
                kept.insert(stop, {**event, "index": first})
        else:
            kept.append(event)
    return kept


def breaks_in(events: list[Json]) -> list[Json]:
    trouble = {"type": "api_error", "message": "emptyTurn: upstream sent nothing"}
    return [*events[:2], {"type": "error", "error": trouble}]


def ignores_choice(request: Request) -> Reply:
    """A tool that is named is not called, one that is offered is."""
    if "tool_choice" not in request.body:
        return GOOD(request)
    return GOOD(replace(request, body={**request.body, "tools": []}))


def openai_stream(request: Request) -> Reply:
    chunk = {"object": "chat.completion.chunk", "choices": [{"delta": {"content": "ok"}}]}
    body = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode()
    return Reply(200, body, "text/event-stream") if request.is_message else GOOD(request)


def forgets_thinking(request: Request) -> Reply:
    """A converter that drops the thinking of the model behind it, which wants it back."""
    if request.is_message and passes_results(request):
        text = (
            "Error from provider: The `reasoning_content` in the thinking mode must be passed back"
        )
        return error(400, text)
    return GOOD(request)


def forgets_results(whole: Json) -> Json:
    text = "I can't see any output yet."
    parts = [b for b in whole["content"] if "printed" not in b.get("text", "")]
    return {**whole, "content": parts or [{"type": "text", "text": text}]}


def uncounted(whole: Json) -> Json:
    return {**whole, "usage": {"input_tokens": 0, "output_tokens": 0}}


def one_id(call: Json) -> Json:
    return {**call, "id": "call_0"}


def eaten(request: Request) -> Reply:
    if not request.is_message:
        return GOOD(request)
    thought = {"type": "thinking", "thinking": "Let me think about it …", "signature": "s"}
    return stream(events_of(message([thought], "m", "max_tokens")))


def in_turn(request: Request) -> Reply:
    """The answer to a result is empty."""
    if request.is_message and passes_results(request) and not last_said(request.body)[0]:
        return stream(events_of(message([], "m")))
    return GOOD(request)


PROPS = {
    "build_info": "b7203-0a1b2c3",
    "default_generation_settings": {"n_ctx": 65536},
    "chat_template_caps": {"supports_tools": False, "supports_tool_calls": False},
}
ROOMY = {"default_generation_settings": {"n_ctx": 262144}}
OLLAMA = {"/api/version": {"version": "0.14.2"}, "/api/show": {"capabilities": ["completion"]}}
LMSTUDIO = {
    "/api/v1/models": {
        "models": [
            {
                "key": "m",
                "capabilities": {"trained_for_tool_use": False},
                "loaded_instances": [{"config": {"context_length": 8192}}],
            }
        ]
    }
}
WORDS = "Sure! You could run that command in your terminal."
XML = '<tool_call>\n{"name": "Bash", "arguments": {"command": "COMMAND"}}\n</tool_call>'
VLLM_AUTO = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'

LOCAL = (
    Broken(
        "llama-server without --jinja",
        "llama.cpp PR 11016 and 17524; LLMKube issue 126",
        refuses(has_tools, llamacpp("tools param requires --jinja flag")),
        *("tools", "without its template engine", "restart llama-server with --jinja"),
    ),
    Broken(
        "a template without tools",
        "llama.cpp issue 20733",
        refuses(has_tools, llamacpp("Unable to generate parser for this template.", 400)),
        *("tools", "chat template has no place for tools", "--chat-template-file"),
    ),
    Broken(
        "a template that says it has no tools, and drops them",
        "llama.cpp docs of chat_template_caps, 2026",
        tells({"/props": PROPS}, says(WORDS)),
        *("server", "llama.cpp b7203-0a1b2c3: the model's chat template has no tools", "GGUF"),
    ),
    Broken(
        "llama-server with --skip-chat-parsing",
        "llama.cpp tools/server README, 2026-09",
        says(XML),
        *("tools", "comes back as text: <tool_call>", "without --skip-chat-parsing"),
    ),
    Broken(
        "llama-server that still loads",
        "llama.cpp tools/server README: 503 while loading",
        always(llamacpp("Loading model", 503, "unavailable_error")),
        *("reach", "still loads the model", "wait"),
    ),
    Broken(
        "llama-server with a small context",
        "llama.cpp tools/server: exceed_context_size_error",
        always(
            llamacpp(
                "the request exceeds the available context size, try increasing it",
                *(400, "exceed_context_size_error"),
            )
        ),
        *("window", "context too small for Claude Code", "-c 65536"),
    ),
    Broken(
        "qwen: system messages at the beginning only (Ollama)",
        "ollama issue 17774, 2026-08-15",
        refuses(has_system_message, error(500, "system message must be at the beginning")),
        *("system", "at the beginning only", "CLAUDE_CODE_MODEL_CAPABILITIES=-mid_conv_system"),
    ),
    Broken(
        "qwen: the same from llama.cpp, in a refusal about tools",
        "llama.cpp issue 20733, ollama issue 16988",
        refuses(
            has_system_message,
            llamacpp(
                "Unable to generate parser for this template. Automatic parser generation failed: "
                "Error: Jinja Exception: System message must be at the beginning.",
                400,
            ),
        ),
        *("system", "at the beginning only", "CLAUDE_CODE_MODEL_CAPABILITIES=-mid_conv_system"),
    ),
    Broken(
        "Ollama: a model without tools",
        "Ollama's docs, 2026-08-21",
        tells(
            OLLAMA,
            refuses(has_tools, error(400, "registry.ollama.ai/library/m does not support tools")),
        ),
        *("tools", "this model does not support tools", "capability `tools`"),
    ),
    Broken(
        "Ollama: a model that was never pulled",
        "Ollama's API docs, 2026-08-21",
        always(error(404, "model 'm' not found, try pulling it first", "not_found_error")),
        *("models", "there is no m", "--model MODEL"),
    ),
    Broken(
        "Ollama: loaded with its default context",
        "Ollama's docs: 4K below 24 GiB, 2026-08-21",
        tells(
            {
                "/api/version": {"version": "0.14.2"},
                "/api/show": {"capabilities": ["completion", "tools"]},
                "/api/ps": {"models": [{"name": "m", "context_length": 4096}]},
            },
            GOOD,
        ),
        *("window", "4096 tokens are too few", "OLLAMA_CONTEXT_LENGTH"),
    ),
    Broken(
        "Ollama before it had the Messages API",
        "Ollama 0.14.0, commit of 2026-01-09",
        tells(
            {"/api/version": {"version": "0.13.5"}},
            lambda request: Reply(404, b"404 page not found"),
        ),
        *("server", "Ollama 0.13.5 has no Messages API", "update Ollama"),
    ),
    Broken(
        "Ollama: texts only",
        "ollama issue 18059, 2026-08-27",
        always(error(400, "Input should be a valid string")),
        *("fields", "takes plain texts only", "update the server"),
    ),
    Broken(
        "LM Studio: a model not made for tools, in a small context",
        "LM Studio's docs, 2026-04-29",
        tells(LMSTUDIO, says(WORDS)),
        *("window", "8192 tokens are too few", "65536"),
    ),
    Broken(
        "LM Studio: all tokens go into thinking",
        "a public test of LM Studio, 2026-08-28",
        eaten,
        *("tools", "all tokens went into thinking", "CLAUDE_CODE_EFFORT_LEVEL=low"),
    ),
    Broken(
        "vLLM without its two flags",
        "vLLM's docs of Claude Code, 2026",
        refuses(has_tools, error(400, VLLM_AUTO, "BadRequestError")),
        *("tools", "vLLM was started without tool calling", "--tool-call-parser"),
    ),
    Broken(
        "vLLM with another model's parser",
        "vLLM's docs of tool calling: Mistral's format left in the text",
        says('[TOOL_CALLS][{"name": "Bash", "arguments": {"command": "COMMAND"}}]'),
        *("tools", "comes back as text: [TOOL_CALLS]", "--tool-call-parser"),
    ),
    Broken(
        "vLLM with a small context",
        "vLLM's GET /v1/models: max_model_len",
        tells({"/v1/models": {"data": [{"id": "m", "max_model_len": 32768}]}}, GOOD),
        *("window", "takes 32768 tokens, the variant counts on 200000", "--context-window 32768"),
    ),
)

ADDRESSES = (
    Broken(
        "Z.ai: the address of the OpenAI format",
        "Z.ai's docs, summer 2026",
        only_at("/api/anthropic", openai_root),
        *("path", "the Messages API is at http://127.0.0.1", "/api/anthropic"),
        path="/api/paas/v4",
    ),
    Broken(
        "Z.ai: the address of the coding plan's OpenAI format",
        "Z.ai's docs, summer 2026",
        only_at("/api/anthropic", openai_root),
        *("path", "the Messages API is at http://127.0.0.1", "/api/anthropic"),
        path="/api/coding/paas/v4",
    ),
    Broken(
        "a doubled /v1",
        "cc-switch-cli issue 50; MiniMax in models.dev, 2026-07-02",
        only_at("/anthropic"),
        *("path", "no Messages API at this address (404)", "/anthropic"),
        path="/anthropic/v1",
    ),
    Broken(
        "the whole address of the API, as one finds it in docs",
        "cc-switch issue 7470",
        only_at(""),
        *("path", "the Messages API is at http://127.0.0.1", "--base-url http://127.0.0.1"),
        path="/v1/messages",
    ),
    Broken(
        "DeepSeek: the root of the OpenAI format",
        "DeepSeek's docs, autumn 2026",
        only_at("/anthropic", openai_root),
        *("path", "/anthropic", "--base-url"),
    ),
    Broken(
        "OpenRouter: /api/v1, where a web page answers",
        "OpenRouter's docs; ccs 7.79.1",
        only_at("/api", lambda request: web_page(404)),
        *("path", "a web page answers", "/api"),
        path="/api/v1",
    ),
    Broken(
        "Alibaba: the OpenAI-compatible address",
        "Alibaba's docs, 2026-02; dsclaude 2026-07-18",
        only_at("/apps/anthropic"),
        *("path", "the Messages API is at", "/apps/anthropic"),
        path="/compatible-mode/v1",
    ),
    Broken(
        "a portal",
        "cc-switch issue 3642",
        lambda request: web_page(),
        *("path", "a web page answers: this is a portal", "ccm providers show"),
        target={"provider": "zai"},
    ),
    Broken(
        "a portal that redirects to its login",
        "new-api and other gateways behind a single sign-on",
        always(Reply(302, b"", headers={"Location": "https://login.example.com/?next=1"})),
        *("path", "redirects to https://login.example.com/", "/v1/messages"),
    ),
    Broken(
        "an OpenAI format for an answer",
        "routers.md: LiteLLM and others without their Anthropic endpoint",
        always(as_json({"object": "chat.completion", "choices": [{"message": {}}]})),
        *("path", "speaks OpenAI's format", "use a router"),
    ),
    Broken(
        "an OpenAI format for a stream",
        "claude-code-router issue 1107",
        openai_stream,
        *("path", "streams in OpenAI's format", "use a router"),
    ),
    Broken(
        "a server of files",
        "any web server: POST is not allowed",
        always(Reply(405, b"Method Not Allowed", "text/plain")),
        *("path", "no Messages API at this address (405)", "/v1/messages"),
    ),
    Broken(
        "a gateway that fails",
        "Cloudflare's page for 502",
        always(web_page(502)),
        *("reach", "error page (502)", "try again later"),
    ),
    Broken(
        "a router whose model can't be reached",
        "claude-code-router 2.0.0, run 2026-11-22: 500 with a stack trace",
        always(as_json({"error": {"message": "fetch failedError: fetch failed\n at x (/a)"}}, 500)),
        *("reach", "can't reach the model behind it", "upstream"),
    ),
)

KEYS = (
    Broken(
        "a wrong key",
        "Anthropic's API",
        always(error(401, "invalid x-api-key", "authentication_error")),
        *("key", "the key is refused (401)", "ccm key set t"),
    ),
    Broken(
        "OpenCode Go: a bearer is ignored",
        "cc-switch 3.20.0, 2026-08-21",
        Model(keys=("x-api-key",)),
        *("key", "belongs into the header x-api-key", "--auth x-api-key"),
    ),
    Broken(
        "OpenRouter: the key in the wrong header",
        "openclaude issue 967, y-router issue 7",
        refuses(
            lambda request: request.key[0] != "bearer",
            as_json({"error": {"message": "No cookie auth credentials found", "code": 401}}, 401),
        ),
        *("key", "belongs into the header Authorization: Bearer", "--auth bearer"),
        target={"style": "x-api-key"},
    ),
    Broken(
        "Z.ai: no plan and no balance",
        "claude-code issue 9201",
        always(error(429, "Insufficient balance or no resource package. Please recharge.", "1113")),
        *("key", "no money or quota left", "recharge"),
    ),
    Broken(
        "MiniMax: no balance, told as a fault of the server",
        "MiniMax-M2 issue 62",
        always(error(500, "insufficient balance (1008)", "api_error")),
        *("key", "no money or quota left", "recharge"),
    ),
    Broken(
        "credits are used up",
        "openclaude issue 1528",
        always(as_json({"error": {"message": "Insufficient credits — top up", "code": 402}}, 402)),
        *("key", "no money or quota left", "recharge"),
    ),
    Broken(
        "Anthropic: the balance is too low",
        "claude-code issue 54566",
        always(error(400, "Your credit balance is too low to access the Anthropic API.")),
        *("key", "no money or quota left", "recharge"),
    ),
    Broken(
        "Kimi Code: more context than the plan has",
        "Codeep, 2026-09-23",
        always(error(401, "Your current plan supports only kimi-k3 up to 256K context")),
        *("key", "the plan this key belongs to does not cover", "context window"),
    ),
    Broken(
        "Kimi Code: coding programs only",
        "kimi-code issue 414",
        always(
            as_json(
                {
                    "error": {
                        "message": "Kimi For Coding is currently only available for Coding Agents "
                        "such as Kimi CLI, Claude Code, Roo Code, Kilo Code, etc.",
                        "type": "access_terminated_error",
                    }
                },
                403,
            )
        ),
        *("key", "admits only the coding programs it knows", "Anthropic address"),
    ),
    Broken(
        "Alibaba Token Plan: a model of another edition",
        "Codeep, 2026-09-23",
        always(error(403, "AccessDenied.Unpurchased: the model is not in your plan")),
        *("key", "the plan this key belongs to", "your plan"),
    ),
    Broken(
        "OpenCode Zen: the free tier is for OpenCode",
        "tabrunner, 2026-09",
        always(error(403, "FreeTierError: can only be used from within OpenCode")),
        *("key", "the free tier answers only OpenCode", "paid key"),
    ),
    Broken(
        "too many requests",
        "Anthropic's API, and all",
        always(error(429, "Number of requests has exceeded your rate limit", "rate_limit_error")),
        *("key", "limit of requests is reached", "wait"),
    ),
    Broken(
        "LiteLLM: a wrong key",
        "LiteLLM 1.106.2, run 2026-11-22",
        always(as_json({"error": {"message": "No connected db.", "code": "400"}}, 400)),
        *("key", "LiteLLM does not know this key", "master_key"),
    ),
)

MODELS = (
    Broken(
        "Alibaba: no such model",
        "a public test of the Token Plan, 2026-08-23",
        always(as_json({"code": "InvalidParameter", "message": "Model not exist."}, 400)),
        *("models", "there is no m", "--model MODEL"),
    ),
    Broken(
        "Z.ai: no such model",
        "a public test of Z.ai, 2026-08-23",
        always(error(400, "Unknown Model, please check the model code.", "1211")),
        *("models", "there is no m", "--model MODEL"),
    ),
    Broken(
        "the small model is missing",
        "claude-code issue 92715: subagents and titles fail with 404",
        Model(models=("m", "m-flash")),
        *("models", "there is no m-flush (haiku)", "choose one it has: m-flash"),
        target={"tiers": {"main": "m", "haiku": "m-flush"}},
    ),
    Broken(
        "a router that takes the model's name for a provider's",
        "claude-code-router 3.1.1, run 2026-11-22",
        always(error(400, "model anthropic/x conflicts with target provider openrouter")),
        *("models", "takes the name of the model for that of another provider", "PROVIDER/MODEL"),
    ),
    Broken(
        "OpenRouter: nobody serves this model with tools",
        "claude-code-router issue 583",
        refuses(
            has_tools,
            as_json(
                {"error": {"message": "No endpoints found that support tool use.", "code": 404}},
                404,
            ),
        ),
        *("tools", "nobody who serves this model with tools", "supported_parameters=tools"),
    ),
    Broken(
        "the long context is not in the plan",
        "Anthropic's API: context-1m",
        refuses(
            lambda request: "context-1m" in request.headers.get("anthropic-beta", ""),
            error(400, "The long context beta is not yet available for this subscription."),
        ),
        *("1m", "long context is not part of this plan", "CLAUDE_CODE_DISABLE_1M_CONTEXT=1"),
        target={"tiers": {"main": "m[1m]"}},
    ),
    Broken(
        "a mark that is doubled",
        "Claude Code's changes: 2.1.172 fixed a doubled [1m]",
        GOOD,
        *("1m", "would be sent with a [1m] in its name", "[1m] once"),
        target={"tiers": {"main": "m[1m][1m]"}},
    ),
)

STREAMS = (
    Broken(
        "no ends",
        "new-api issue 4697",
        changed_events(GOOD, without("content_block_stop", "message_delta", "message_stop")),
        *("stream", "a content block is never ended", "converter"),
        result="limited",
    ),
    Broken(
        "a stall before the end",
        "better-ccflare PR 307",
        lambda request: stalls(changed_events(GOOD, without("message_stop"))(request)),
        *("stream", "without message_stop", "converter"),
        seconds=2.0,
    ),
    Broken(
        "a model that is only slow",
        "llama.cpp b1-0c1e570 with 5 tokens a second, run 2026-11-23",
        lambda request: slow(GOOD(request)),
        *("stream", "the answer was still coming after 2 s", "--deep waits two minutes"),
        seconds=2.0,
    ),
    Broken(
        "message_start without content",
        "cc-switch-cli PR 320",
        changed_events(GOOD, headless),
        *("stream", "message_start lacks `content: []`", "converter"),
        result="limited",
    ),
    Broken(
        "pieces of a block that was not begun",
        "CLIProxyAPI issue 3720: Content block not found",
        changed_events(GOOD, without("content_block_start")),
        *("stream", "never begun", "converter"),
        result="limited",
    ),
    Broken(
        "a block without an end",
        "Claude Code 2.1.330, run 2026-11-22: the tool call could not be parsed",
        changed_events(GOOD, without("content_block_stop")),
        *("stream", "a content block is never ended", "converter"),
    ),
    Broken(
        "a message that comes whole",
        "Claude Code 2.1.330, run 2026-11-22: each request is sent twice",
        lambda r: GOOD(replace(r, body={**r.body, "stream": False})),
        *("stream", "answers whole though a stream was asked for", "converter"),
        result="limited",
    ),
    Broken(
        "an error in the midst",
        "cursor-sdk2api issue 25",
        changed_events(GOOD, breaks_in),
        *("stream", "an error came in the midst of the answer", "operator"),
    ),
    Broken(
        "events without names",
        "Anthropic's docs of streaming: each event is named",
        unnamed,
        *("stream", "no `event:` line", "converter"),
        result="limited",
    ),
    Broken(
        "a break in the midst",
        "claude-code issue 19143: the connection ends before the answer",
        lambda r: replace(GOOD(r), body=GOOD(r).body[:700]) if r.is_message else GOOD(r),
        *("stream", "without message_stop", "converter"),
        result="limited",
    ),
    Broken(
        "no tokens are counted",
        "claude-code-router 2.0.0, run 2026-11-22: usage in a chunk of its own",
        changed_message(GOOD, uncounted),
        *("stream", "no tokens are counted", "/compact"),
        result="limited",
    ),
)

TOOLS = (
    Broken(
        "a call as XML",
        "claude-code-router issue 1340",
        says('I\'ll run it.\n<function_calls><invoke name="Bash">COMMAND</invoke>'),
        *("tools", "comes back as text", "reads tool calls"),
    ),
    Broken(
        "a call in brackets",
        "github-copilot-api-vscode issue 79",
        says('\n[Tool call: Bash({"command":"COMMAND"})]'),
        *("tools", "comes back as text: [Tool call: Bash(", "reads tool calls"),
    ),
    Broken(
        "a call as JSON in prose",
        "LM Studio's docs: models without tools fall back to a prompt",
        says('Here you are:\n```json\n{"name": "Bash", "arguments": {"command": "COMMAND"}}\n```'),
        *("tools", "comes back as text", "another model"),
    ),
    Broken(
        "words instead of a call",
        "cc-switch issue 3424",
        says(WORDS),
        *("tools", "it answers in words instead of calling the tool", "made for tools"),
    ),
    Broken(
        "an input that is not streamed",
        "ccrelay PR 119",
        changed_events(GOOD, whole_input),
        *("tools", "is not streamed (no input_json_delta)", "converter"),
    ),
    Broken(
        "an input cut short",
        "claude-code issue 19143",
        changed_events(GOOD, cut_input),
        *("tools", "no whole JSON", "converter"),
    ),
    Broken(
        "an empty input",
        "claude-code issue 83823",
        calls(lambda call: {**call, "input": {}}),
        *("tools", "arrives without its input", "converter"),
    ),
    Broken(
        "arguments as a text within JSON",
        "OpenAI's format of arguments, left as it is by converters",
        calls(lambda call: {**call, "input": json.dumps(call["input"])}),
        *("tools", "a text, not an object", "converter"),
    ),
    Broken(
        "the same id for every call",
        "litellm issue 23510, claude-code issue 28515",
        calls(one_id),
        *("tools", "two tool calls have the same id (call_0)", "converter"),
    ),
    Broken(
        "a call that is announced only",
        "claude-code issue 16785",
        changed_message(
            GOOD,
            lambda w: {**w, "content": []} if w["stop_reason"] == "tool_use" else w,
        ),
        *("tools", "says that it calls a tool, but no call comes", "converter"),
    ),
    Broken(
        "results that get lost",
        "routers that leave out tool_result beside text",
        changed_message(GOOD, forgets_results),
        *("tools", "the result of a tool does not reach the model", "drops the results"),
    ),
    Broken(
        "an empty answer after a result",
        "cursor-sdk2api issue 25: emptyTurn",
        in_turn,
        *("tools", "the answer is empty after the result", "results"),
    ),
    Broken(
        "results that are refused",
        "claude-code-router issue 409",
        refuses(passes_results, error(400, "messages.2.content.0: tool_result is not allowed")),
        *("tools", "the result of a tool is refused", "operator"),
    ),
    Broken(
        "calls at once that get mixed up",
        "vllm and converters: one index for all calls",
        changed_events(GOOD, mixed_calls),
        *("parallel", "get mixed up", "converter"),
        deep=True,
    ),
    Broken(
        "a tool that can't be forced",
        "awesome-deepseek-integration issue 606, zed issue 36094",
        refuses(
            lambda request: "tool_choice" in request.body,
            error(400, "deepseek-reasoner does not support this tool_choice"),
        ),
        *(
            "forced",
            "a tool can't be forced",
            "denying WebSearch mends it: ccm probe t --deep --apply",
        ),
        result="limited",
        deep=True,
        deny=("WebSearch",),
    ),
)

FIELDS = (
    Broken(
        "thinking that is wanted back but was never handed out",
        "new-api issue 4806, 9router issue 2397",
        forgets_thinking,
        *("thinking", "wants thinking to be passed back", "CLAUDE_CODE_DISABLE_THINKING=1"),
    ),
    Broken(
        "thinking that is refused when it comes back",
        "claude-code issue 21726",
        refuses(
            passes_results,
            error(400, "messages.1.content.0: Invalid `signature` in `thinking` block"),
            THINKING,
        ),
        *("thinking", "refuses its own thinking", "CLAUDE_CODE_DISABLE_THINKING=1"),
    ),
    Broken(
        "thinking that must be on",
        "copies of Moonshot's guide, 2026-07-18",
        refuses(lambda r: "thinking" not in r.body, error(400, "invalid thinking")),
        *("thinking", "only with thinking switched on", "take CLAUDE_CODE_DISABLE_THINKING"),
        environment={"CLAUDE_CODE_DISABLE_THINKING": "1"},
    ),
    Broken(
        "thinking that is not known",
        "strict gateways, run 2026-11-22",
        refuses(
            lambda r: "thinking" in r.body, error(400, "thinking: Extra inputs are not permitted")
        ),
        *(
            "thinking",
            "a request that asks for thinking is refused",
            "CLAUDE_CODE_DISABLE_THINKING",
        ),
    ),
    Broken(
        "Z.ai: thinking that can't be switched off",
        "Z.ai on GLM-5.3, 2026-08-19",
        refuses(is_off, error(400, "thinking.type disabled is not supported by this model")),
        *("unthinking", "thinking can't be switched off", "leave CLAUDE_CODE_DISABLE_THINKING"),
        result="limited",
        deep=True,
    ),
    Broken(
        "DeepSeek: thinking switched off beside an effort",
        "claude-code-hub issue 1257, claude-code issue 65863",
        refuses(
            lambda r: is_off(r) and has_effort(r),
            error(400, "thinking options type cannot be disabled when reasoning_effort is set"),
        ),
        *(
            "unthinking",
            "can't go together with an effort",
            "CLAUDE_CODE_MODEL_CAPABILITIES=-effort",
        ),
        deep=True,
    ),
    Broken(
        "no system messages, in words of its own",
        "Rapid-MLX issue 975",
        refuses(has_system_message, error(400, "unknown role: system")),
        *("system", "takes no system message", "CLAUDE_CODE_MODEL_CAPABILITIES=-mid_conv_system"),
    ),
    Broken(
        "no system messages, in words that Claude Code understands",
        "Claude Code 2.1.330, run 2026-11-22",
        refuses(has_system_message, error(400, 'messages: Unexpected role "system". Use the top')),
        *("system", "leaves it out by itself", "CLAUDE_CODE_MODEL_CAPABILITIES"),
        result="limited",
    ),
    Broken(
        "no effort",
        "clove issue 40",
        refuses(has_effort, error(400, "output_config: Extra inputs are not permitted")),
        *("fields", "output_config (effort)", "CLAUDE_CODE_MODEL_CAPABILITIES=-effort"),
    ),
    Broken(
        "no cache_control",
        "claude-code-router issue 251",
        refuses(
            has_cache_control,
            as_json({"error": {"message": "No endpoints found that support cache control"}}, 404),
        ),
        *("fields", "it refuses cache_control", "DISABLE_PROMPT_CACHING=1"),
    ),
    Broken(
        "no betas",
        "claude-code issue 21612, Envoy AI Gateway",
        refuses(
            lambda request: "anthropic-beta" in request.headers,
            error(400, "Unexpected value(s) `effort-2025-11-24` for the `anthropic-beta` header"),
        ),
        *("fields", "the header anthropic-beta is refused", "let unknown betas pass"),
    ),
    Broken(
        "two fields at once are refused",
        "strict gateways, run 2026-11-22",
        refuses(
            lambda r: has_effort(r) or "thinking" in r.body,
            error(422, "Extra inputs are not permitted"),
        ),
        *("thinking", "asks for thinking is refused", "CLAUDE_CODE_DISABLE_THINKING=1"),
    ),
    Broken(
        "no pictures",
        "cc-switch issue 3663, claude-code issue 91112",
        refuses(has_picture, error(400, "this model does not support image input")),
        *("images", "this model sees no images", "paste no images"),
        result="limited",
        deep=True,
    ),
    Broken(
        "no search",
        "Claude Code sends web_search_20250305 to whoever serves the model",
        refuses(
            lambda request: "web_search_20250305" in json.dumps(request.body),
            error(400, "tools.0.type: Input should be 'custom'"),
        ),
        *("websearch", "WebSearch is refused", "denying WebSearch mends it"),
        result="limited",
        deep=True,
        deny=("WebSearch",),
    ),
    Broken(
        "a search that is taken and never made",
        "openclaude issue 1071, DeepSeek: server tools are ignored",
        GOOD,
        *("websearch", "no search comes of it", "denying WebSearch mends it"),
        result="limited",
        deep=True,
        deny=("WebSearch",),
    ),
    Broken(
        "a forced tool that is ignored",
        "llama.cpp and others: tool_choice of a named tool is not read",
        ignores_choice,
        *("forced", "tool_choice is ignored", "denying WebSearch mends it"),
        result="limited",
        deep=True,
        deny=("WebSearch",),
    ),
    Broken(
        "no system messages, for a Claude Code that can't be told to leave them out",
        "Claude Code 2.1.200, run 2026-11-22; ollama issue 17774",
        refuses(has_system_message, error(500, "system message must be at the beginning")),
        *("system", "at the beginning only", f"asking as {PLAIN_CLAUDES[0]} is asked mends it"),
        target={"manner": manner_of({}, OLDER), "tiers": {"main": "m[1m]", "haiku": "m-flash"}},
        overrides={PLAIN_CLAUDES[0]: "m[1m]", PLAIN_CLAUDES[1]: "m-flash"},
    ),
    Broken(
        "no effort, for a Claude Code that can't be told to leave it out",
        "Claude Code 2.1.200, run 2026-11-22; clove issue 40",
        refuses(has_effort, error(400, "output_config: Extra inputs are not permitted")),
        *("fields", "output_config (effort)", f"asking as {PLAIN_CLAUDES[0]} is asked mends it"),
        target={"manner": manner_of({}, OLDER)},
        overrides={PLAIN_CLAUDES[0]: "m"},
    ),
    Broken(
        "the same, with a window that would then count as larger than it is",
        "Claude Code 2.1.200, run 2026-11-22: an overridden model counts as 200,000 tokens",
        refuses(has_effort, error(400, "output_config: Extra inputs are not permitted")),
        *("fields", "output_config (effort)", "ccm update t: Claude Code 2.1.290 and newer"),
        target={"manner": manner_of({}, OLDER), "window": 131_072},
    ),
)

BROKEN = (*LOCAL, *ADDRESSES, *KEYS, *MODELS, *STREAMS, *TOOLS, *FIELDS)

RIGHT: Mapping[str, Behaviour] = {
    "plain": GOOD,
    "thinks, and wants its thinking back": THINKING,
    "counts no tokens for count_tokens": Model(counts=False),
    "wants bearer only": Model(keys=("bearer",)),
    "knows its models": Model(models=("m",), window=200_000),
    "has more room than is used": Model(window=1_000_000),
    "holds the line open afterwards": lambda request: stalls(GOOD(request)),
    "llama.cpp": tells({"/props": {**PROPS, "chat_template_caps": {}, **ROOMY}}, GOOD),
    "llama.cpp that routes to others": tells(
        {"/props": {"build_info": "b9", "default_generation_settings": {"n_ctx": 0}}}, GOOD
    ),
    "Ollama": tells({**OLLAMA, "/api/show": {"capabilities": ["tools"]}}, Model(counts=False)),
    "LM Studio": tells(
        {
            "/api/v1/models": {
                "models": [{"key": "m", "capabilities": {"trained_for_tool_use": True}}]
            }
        },
        GOOD,
    ),
    "vLLM": tells(
        {
            "/version": {"version": "0.13.0"},
            "/v1/models": {"data": [{"id": "m", "owned_by": "vllm", "max_model_len": 262144}]},
        },
        GOOD,
    ),
    "says another name for its model": changed_message(GOOD, lambda w: {**w, "model": "m-2026"}),
    "stops with end_turn at a call": changed_message(
        GOOD, lambda w: {**w, "stop_reason": "end_turn"}
    ),
    "pings": changed_events(GOOD, lambda e: [e[0], {"type": "ping"}, *e[1:]]),
    "calls with a word before": changed_message(
        GOOD, lambda w: {**w, "content": [{"type": "text", "text": "Running it."}, *w["content"]]}
    ),
    "calls with an id of another make": calls(
        lambda c: {**tool_use(c["input"]), "id": f"call_{c['id']}"}
    ),
}
"""All of these work: nothing may be called broken."""
