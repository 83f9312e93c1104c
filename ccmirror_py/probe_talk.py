"""Whether an endpoint streams, calls tools and takes back thinking as Claude Code needs it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ccmirror_py.diagnosis import NO_EFFORT, NO_SYSTEM_MESSAGES, NO_THINKING, known
from ccmirror_py.heard import Heard
from ccmirror_py.messages import Feature, Manner
from ccmirror_py.probe import SLOW, Row, Target, by_rule, mended, refused
from ccmirror_py.streams import Message

# --- stream ---

STREAM_FAULTS: Mapping[str, str] = {
    "not streamed": "it answers whole though a stream was asked for",
    "no event names": "its events have no `event:` line, so Claude Code reads none of them",
    "no message_start": "the stream does not begin with message_start",
    "message_start without content": "message_start lacks `content: []`, which Claude Code fills",
    "delta without a block": "pieces come for a content block that was never begun",
    "block without an end": "a content block is never ended",
    "no stop_reason": "no message_delta tells why the answer ended",
    "no message_stop": "the stream ends without message_stop",
}
"""new-api issue 4697 (no ends), better-ccflare PR 307 (stalls before message_stop), cc-switch-cli
PR 320 (no content), CLIProxyAPI issue 3720 (no block)."""


HARMLESS = {"message_start without content", "no message_stop", "no stop_reason"}
"""With these 2.1.330 and 2.1.200 went on as if nothing were (run 2026-11-22), if the connection
ended."""


def asks_again_whole(heard: Heard, message: Message) -> bool:
    """Whether Claude Code then asks once more without a stream (2.1.330 and 2.1.200, run)."""
    unread = {"not streamed", "no event names", "no message_start", "delta without a block"}
    no_ends = {"block without an end", "no message_stop"} <= set(message.faults)
    if heard.fault or message.error:
        return False
    return bool(unread & set(message.faults)) or no_ends


def stream_row(heard: Heard, message: Message, target: Target) -> Row:
    fix = "update the server or the converter in between; Claude Code can't be told to accept it"
    if message.error:
        error = replace(heard, status=500, body=message.error.encode())
        return refused("stream", error, target, "an error came in the midst of the answer")
    if heard.is_slow:
        detail = f"the answer was still coming after {heard.seconds:.0f} s"
        return Row("stream", "failed", detail, SLOW.replace("NAME", target.name))
    faults = [STREAM_FAULTS[name] for name in message.faults if name in STREAM_FAULTS]
    if heard.fault == "timeout":
        faults.append(f"it stalls (nothing came for {heard.idle:.0f} s)")
    elif heard.fault:
        faults.append(f"the connection breaks off ({heard.detail})")
    if faults:
        harmless = set(message.faults) <= HARMLESS and not heard.fault
        return Row("stream", "limited" if harmless else "failed", "; ".join(faults), fix)
    if not any(v for k, v in message.usage.items() if k.endswith("_tokens") and isinstance(v, int)):
        detail = (
            "complete, but no tokens are counted: Claude Code can't tell how full the context is"
        )
        return Row("stream", "limited", detail, f"ccm show {target.name}; type /compact in time")
    return Row("stream", "ok", "every event, in order")


# --- tools ---

_CALL_AS_TEXT = re.compile(
    r"</?tool_call|<function[=_ ]|<function_calls?>|<invoke |\[TOOL_CALLS?\]|\[Tool call:|"
    r"<[|\uff5c](tool|python_tag)|```(json|tool_code)?\s*\{\s*\"(name|tool|function|command)\"|"
    r"\A\s*\{\s*\"(name|tool|function|tool_calls|command)\"|\"tool_calls\"\s*:|functions\.Bash",
    re.IGNORECASE,
)
"""llama.cpp --skip-chat-parsing, vLLM with the wrong parser, claude-code-router issue 1340,
github-copilot-api-vscode issue 79."""


def call_problem(message: Message, word: str, earlier: str = "") -> str:
    """What is wrong with this call of Bash, whose command has to hold `word`; "" when nothing is.

    `earlier` is the id of the call before it.
    """
    calls = message.blocks("tool_use")
    if not calls:
        return _no_call(message)
    call = calls[0]
    given = call.get("input")
    command = given.get("command") if isinstance(given, dict) else None
    problems = (
        ("input is not JSON" in message.faults, "the input of the tool call is no whole JSON"),
        (
            "input not streamed" in message.faults,
            "the input of the tool call is not streamed (no input_json_delta): it arrives empty",
        ),
        (
            call.get("name") != "Bash",
            f"it calls the tool '{call.get('name')}', which was offered as 'Bash'",
        ),
        (not isinstance(given, dict), "the input of the tool call is a text, not an object"),
        (not isinstance(command, str), "the tool call arrives without its input"),
        (not call.get("id"), "the tool call has no id"),
        (call.get("id") == earlier, f"two tool calls have the same id ({earlier})"),
        (
            word not in str(command),
            f"it calls the tool with another command than asked for: {str(command)[:80]}",
        ),
    )
    return next((text for is_so, text in problems if is_so), "")


def _no_call(message: Message) -> str:
    text = message.text
    thought = "".join(str(block.get("thinking", "")) for block in message.blocks("thinking"))
    if _CALL_AS_TEXT.search(text):
        return f"the tool call comes back as text: {' '.join(text.split())[:80]}"
    if _CALL_AS_TEXT.search(thought):
        return "the tool call is lost inside the thinking"
    if message.stop_reason == "max_tokens":
        return "all tokens went into thinking, none into an answer"
    if message.stop_reason == "tool_use":
        return "it says that it calls a tool, but no call comes"
    if not text:
        return "the answer is empty"
    return f"it answers in words instead of calling the tool: {' '.join(text.split())[:80]}"


def answer_problem(message: Message, output: str) -> str:
    """What is wrong with the answer to a tool's result, which has to tell `output`."""
    if output in message.text:
        return ""
    if message.blocks("tool_use"):
        return "it calls the tool again and again: the result does not reach the model"
    if not message.text:
        return _no_call(message) + " after the result of a tool"
    return f"the result of a tool does not reach the model: {' '.join(message.text.split())[:80]}"


TOOL_FIXES = (
    ("as text|lost inside",
     "start the server so that it reads tool calls: llama-server with --jinja and "
     "without --skip-chat-parsing, vLLM with the model's own --tool-call-parser; else choose "
     "another model"),
    ("in words", "choose a model made for tools; small and old ones ignore them"),
    ("tokens went", "think less: CLAUDE_CODE_EFFORT_LEVEL=low, or another model"),
    ("result", "update the server or the converter in between: it drops the results of tools"),
)  # fmt: skip


def tools_row(problem: str, target: Target) -> Row:
    if not problem:
        return Row("tools", "ok", "two calls, two results, one after the other")
    fixes = (fix for words, fix in TOOL_FIXES if re.search(words, problem))
    usual = "update the server or the converter in between, or choose another model"
    return Row("tools", "failed", problem, next(fixes, usual).replace("NAME", target.name))


# --- the rest of a request ---

FEATURE_STEPS: Mapping[Feature, tuple[str, str, Mapping[str, str], str]] = {
    "tools": (
        *("tools", "a request with tools is refused", {}),
        "choose a model with tools, or update the server",
    ),
    "thinking": (
        *("thinking", "a request that asks for thinking is refused"),
        *(NO_THINKING, ""),
    ),
    "effort": (
        *("fields", "a request with an effort is refused"),
        *(NO_EFFORT, ""),
    ),
    "system message": (
        *("system", "a system message among the others is refused"),
        *(NO_SYSTEM_MESSAGES, ""),
    ),
    "cache_control": (
        *("fields", "cache_control is refused", {"DISABLE_PROMPT_CACHING": "1"}, ""),
    ),
    "metadata": (
        *("fields", "the field metadata is refused", {}),
        "ask the operator to ignore it, or put a router between",
    ),
    "betas": (
        *("fields", "the header anthropic-beta is refused"),
        {"CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1"},
        "ask the operator to let unknown betas pass; Claude Code always sends some",
    ),
}
"""The step, what is refused, the variables that leave it out (measured), another way out."""


def feature_row(feature: Feature, heard: Heard, target: Target) -> Row:
    """A refusal that is none without this feature. `heard` is the refusal."""
    step, what, env, other = FEATURE_STEPS[feature]
    rule = known(heard)
    row = mended(Row(step, "failed", f"{what}: {heard.status} {heard.quote}"), env, other, target)
    if feature == "system message" and is_recovered(heard):
        detail = f"{what}, and Claude Code then leaves it out by itself ({heard.quote})"
        return replace(row, result="limited", detail=detail)
    if rule is None or (rule.step != step and (feature, rule.step) != ("betas", "1m")):
        return row
    if rule.step == step and rule.env and not set(rule.env) & set(env):
        return row  # its words are of another field, which is quoted beside
    return by_rule(rule, heard, target)


def is_recovered(heard: Heard) -> bool:
    """Claude Code asks again without system messages after just these words (2.1.330)."""
    words = r"messages: Unexpected role .system|role: Input should be 'user' or 'assistant'"
    return heard.status in (400, 422) and bool(re.search(words, heard.text))


def system_and_fields(manner: Manner) -> Iterator[Row]:
    """Of a request that went through: what was in it is tolerated."""
    if manner.has("system message"):
        yield Row("system", "ok", "a system message among the others is taken")
    elif "system message" not in manner.left_out:
        yield Row("system", "skipped", "this Claude Code sends none among the others")
    names: tuple[Feature, ...] = ("betas", "effort", "cache_control", "metadata")
    taken = [name for name in names if manner.has(name)]
    yield Row("fields", "ok", f"{', '.join(taken)}: taken") if taken else Row("fields", "skipped")


def thinking_row(messages: Sequence[Message], manner: Manner) -> Row:
    """After a conversation that went through, with all thinking passed back as it came."""
    blocks = [
        b for m in messages for b in m.content if b.get("type") in ("thinking", "redacted_thinking")
    ]
    if not manner.has("thinking"):
        asked = "thinking" in manner.left_out
        return Row("thinking", "skipped", "" if asked else "switched off in this variant")
    if not blocks:
        return Row("thinking", "skipped", "it did not think, so nothing had to be passed back")
    return Row("thinking", "ok", f"{len(blocks)} blocks came, were passed back and taken")
