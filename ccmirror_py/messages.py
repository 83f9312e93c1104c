"""How Claude Code words a request to the Messages API.

What it sends was read off 2.1.330, 2.1.200, 2.1.118 and 2.1.113, asked for models of other vendors
(2026-11-22); a test compares this module with the real program.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ccmirror_py.version import Version

Json = dict[str, Any]
Feature = Literal[
    "tools", "thinking", "effort", "system message", "cache_control", "metadata", "betas"
]
FEATURES: tuple[Feature, ...] = (
    *("tools", "thinking", "effort", "system message", "cache_control", "metadata", "betas"),
)
"""What a request of Claude Code has beside the bare conversation; strict endpoints refuse some."""

ADAPTIVE = Version(2, 1, 112)
SYSTEM_MESSAGES = Version(2, 1, 200)
NO_BETA_FOR_THEM = Version(2, 1, 330)
CAPABILITIES = Version(2, 1, 290)
"""The first of the versions that were run to ask for adaptive thinking and an effort, to put
messages of the role system among the others, to do that without announcing it, and to be told which
of these to leave out."""

LEAST_THINKING = 1024
ANSWER_TOKENS = 2048

BASH: Json = {
    "name": "Bash",
    "description": "Executes a bash command and returns its output.",
    "input_schema": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "command": {"description": "The command to execute", "type": "string"},
            "description": {"description": "What this command does", "type": "string"},
        },
        "required": ["command"],
        "additionalProperties": False,
    },
}


@dataclass(frozen=True)
class Manner:
    """How the Claude Code of a variant words its requests. `without` leaves features out."""

    version: Version
    thinking: Json | None
    effort: str | None
    system_message: bool
    cache_control: bool
    betas: tuple[str, ...]
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # may hold anything
    left_out: frozenset[Feature] = frozenset()

    def without(self, *features: Feature) -> "Manner":
        return replace(self, left_out=self.left_out | set(features))

    def has(self, feature: Feature) -> bool:
        own = {
            "thinking": self.thinking is not None,
            "effort": self.effort is not None,
            "system message": self.system_message,
            "cache_control": self.cache_control,
            "betas": bool(self.betas),
        }
        return feature not in self.left_out and own.get(feature, True)


PLAIN_CLAUDES = (
    *("claude-opus-4-1-20250805", "claude-haiku-4-5-20251001", "claude-sonnet-4-5-20250929"),
    *("claude-opus-4-20250514", "claude-sonnet-4-20250514"),
)
"""Asked in the plainest way: thinking with a budget, no effort, no system message among the others.
A model of another vendor that `modelOverrides` maps to one of them is asked so, too, and counts as
PLAIN_WINDOW tokens unless it is marked [1m], whatever CLAUDE_CODE_MAX_CONTEXT_TOKENS says (run on
2.1.330, 2.1.200 and 2.1.113, 2026-11-22). The first two are used without a word of retirement."""
PLAIN_WINDOW = 200_000
OVERRIDES = Version(2, 1, 112)
"""The first version that was seen to know modelOverrides."""


def manner_of(environment: Mapping[str, str], version: Version, is_plain: bool = False) -> Manner:
    """What these variables make of a request (the effect of each was measured). `is_plain`: for a
    model that counts as one of PLAIN_CLAUDES."""
    told = version >= CAPABILITIES
    capabilities = environment.get("CLAUDE_CODE_MODEL_CAPABILITIES", "") if told else ""
    thinks = not (
        environment.get("CLAUDE_CODE_DISABLE_THINKING")
        or environment.get("MAX_THINKING_TOKENS") == "0"
    )
    is_plain = is_plain and version >= OVERRIDES
    is_new = version >= ADAPTIVE and not is_plain
    adaptive = is_new and "-adaptive_thinking" not in capabilities
    effort = environment.get("CLAUDE_CODE_EFFORT_LEVEL", "high")
    if effort in ("unset", "auto", "") and SYSTEM_MESSAGES <= version < CAPABILITIES:
        effort = "high"  # 2.1.200 takes no notice; 2.1.113 and 2.1.330 do
    can_effort = is_new and "-effort" not in capabilities
    has_effort = can_effort and effort not in ("unset", "auto", "")
    betas = ["claude-code-20250219"]
    if not environment.get("DISABLE_INTERLEAVED_THINKING"):
        betas.append("interleaved-thinking-2025-05-14")
    can_system = version >= SYSTEM_MESSAGES and not is_plain
    system_message = can_system and "-mid_conv_system" not in capabilities
    if system_message and version < NO_BETA_FOR_THEM:
        betas.append("mid-conversation-system-2026-04-07")
    if can_effort:
        betas.append("effort-2025-11-24")
    enabled: Json = {"type": "enabled", "budget_tokens": LEAST_THINKING}
    return Manner(
        version=version,
        thinking=({"type": "adaptive"} if adaptive else enabled) if thinks else None,
        effort=effort if has_effort else None,
        system_message=system_message,
        cache_control=not environment.get("DISABLE_PROMPT_CACHING"),
        betas=tuple(betas),
        headers=_custom_headers(environment.get("ANTHROPIC_CUSTOM_HEADERS", "")),
    )


def _custom_headers(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, colon, value in pairs if colon and name.strip()}


@dataclass(frozen=True)
class Ask:
    """One request, without the key. `path` is joined to the endpoint's address."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Json | None = None


@dataclass(frozen=True)
class Wish:
    """What a request is to bring about: a model, a conversation, and what may be called."""

    model: str
    turns: Sequence[Json]
    tools: Sequence[Json] = ()
    tool_choice: Json | None = None
    most: int = ANSWER_TOKENS
    stream: bool = True


def asked(manner: Manner, wish: Wish) -> Ask:
    """POST /v1/messages in this manner. A model's `[1m]` is Claude Code's own mark: it never sends
    it, but asks for the long context with a beta."""
    cache: Json = {"cache_control": {"type": "ephemeral"}} if manner.has("cache_control") else {}
    betas = _betas(manner, wish.model)
    body: Json = {
        "model": wish.model.removesuffix("[1m]"),
        "messages": [*_marked(wish.turns, cache)],
        "system": [{"type": "text", "text": "You are a Claude agent.", **cache}],
        "max_tokens": wish.most,
        **_extras(manner),
    }
    if "budget_tokens" in body.get("thinking", {}):
        body["max_tokens"] += body["thinking"]["budget_tokens"]
    if manner.has("system message"):
        note = "# Environment\nA throw-away project; answer as briefly as you can."
        body["messages"].insert(1, {"role": "system", "content": note})
    if wish.tools and manner.has("tools"):
        body["tools"] = list(wish.tools)
        if wish.tool_choice:
            body["tool_choice"] = wish.tool_choice
    if wish.stream:
        body["stream"] = True
    return Ask("POST", "/v1/messages?beta=true", _headers(manner, betas), body)


def _extras(manner: Manner) -> Json:
    user = json.dumps({"device_id": "0" * 64, "account_uuid": "", "session_id": "probe"})
    warm = manner.version < SYSTEM_MESSAGES and manner.thinking is None
    return {
        **({"metadata": {"user_id": user}} if manner.has("metadata") else {}),
        **({"thinking": manner.thinking} if manner.has("thinking") else {}),
        **({"temperature": 1} if warm else {}),
        **({"output_config": {"effort": manner.effort}} if manner.has("effort") else {}),
    }


def _betas(manner: Manner, model: str) -> tuple[str, ...]:
    if not manner.has("betas"):
        return ()
    first, *rest = manner.betas
    long = ["context-1m-2025-08-07"] if model.endswith("[1m]") else []
    if "effort" in manner.left_out:
        rest = [beta for beta in rest if not beta.startswith("effort-")]
    return (first, *long, *rest)


def bare(manner: Manner, model: str) -> Ask:
    """The least that is a request at all, for telling what is refused from who is refused."""
    plain = manner.without(*FEATURES)
    return asked(plain, Wish(model, [said("Say ok.")], most=16, stream=False))


def counted(manner: Manner, model: str) -> Ask:
    """POST /v1/messages/count_tokens, which costs nothing."""
    body: Json = {"model": model.removesuffix("[1m]"), "messages": [said("Say ok.")]}
    headers = _headers(manner, manner.betas)
    return Ask("POST", "/v1/messages/count_tokens?beta=true", headers, body)


def said(*content: Json | str) -> Json:
    """A turn of the user."""
    blocks = [{"type": "text", "text": c} if isinstance(c, str) else c for c in content]
    return {"role": "user", "content": blocks}


def told(tool_use: Json, output: str) -> Json:
    """The result of a tool that was called."""
    return {"type": "tool_result", "tool_use_id": tool_use.get("id"), "content": output}


def _marked(turns: Sequence[Json], cache: Json) -> Iterator[Json]:
    """The last block of the last turn of the user is where the cache ends."""
    yield from turns[:-1]
    *rest, last = turns[-1]["content"]
    yield {**turns[-1], "content": [*rest, {**last, **cache}]}


def _headers(manner: Manner, betas: Sequence[str]) -> dict[str, str]:
    return {
        "accept": "application/json",
        "content-type": "application/json",
        # some endpoints admit known programs only
        "user-agent": f"claude-cli/{manner.version} (external, cli)",
        "x-app": "cli",
        "anthropic-dangerous-direct-browser-access": "true",
        "anthropic-version": "2023-06-01",
        **({"anthropic-beta": ",".join(betas)} if betas else {}),
        **manner.headers,
    }
