"""Refusals that are known, each with its cause, its cure and where it was seen.

The rules are looked through in order; the first whose words (and status, where one is named) are in
the answer says what is wrong. Words are what servers really sent, from the sources named.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ccmirror_py.heard import Heard

NO_THINKING = {"CLAUDE_CODE_DISABLE_THINKING": "1"}
CAPABILITIES = "CLAUDE_CODE_MODEL_CAPABILITIES"
NO_SYSTEM_MESSAGES = {CAPABILITIES: "-mid_conv_system"}
NO_EFFORT = {CAPABILITIES: "-effort"}


@dataclass(frozen=True)
class Rule:
    """`words` is a regular expression; `env` holds variables that would mend it. `stops` is False
    for what Claude Code can work without."""

    step: str
    words: str
    cause: str
    fix: str
    source: str
    statuses: tuple[int, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    stops: bool = True


def known(heard: Heard) -> Rule | None:
    """The rule for this refusal."""
    text = heard.text
    for rule in RULES:
        if rule.statuses and heard.status not in rule.statuses:
            continue
        if re.search(rule.words, text, re.IGNORECASE):
            return rule
    return None


RULES = (
    # --- local servers ---
    Rule(
        "tools",
        "tools param requires --jinja|requires --jinja flag",
        "llama-server runs without its template engine and so refuses every request with tools",
        "restart llama-server with --jinja, and without --no-jinja",
        "llama.cpp PR 11016 and 17524; LLMKube issue 126",
    ),
    Rule(
        "system",
        "system message must be at the beginning",
        "the model's chat template takes a system message at the beginning only; "
        "Claude Code sends one among the others",
        "use a newer chat template or server",
        "ollama issue 17774, llama.cpp issue 20733, vllm issue 41114",
        env=NO_SYSTEM_MESSAGES,
    ),
    Rule(
        "tools",
        "unable to generate parser for this template",
        "the model's chat template has no place for tools",
        "another GGUF, or llama-server --chat-template-file with a template that has tools",
        "llama.cpp issue 20733; docs of chat_template_caps, 2026",
    ),
    Rule(
        "tools",
        "does not support tools",
        "Ollama says that this model does not support tools",
        "choose a model with the capability `tools` (ollama show MODEL)",
        "Ollama's docs, 2026-08-21",
        (400,),
    ),
    Rule(
        "tools",
        "requires --enable-auto-tool-choice",
        "vLLM was started without tool calling",
        "restart vLLM with --enable-auto-tool-choice --tool-call-parser PARSER (the model's)",
        "vLLM's docs of Claude Code, 2026",
    ),
    Rule(
        "window",
        "exceed(s|ed)? the available context size|exceed_context_size",
        "the server was started with a context too small for Claude Code",
        "start it with 65536 tokens or more (llama-server -c 65536)",
        "llama.cpp tools/server, exceed_context_size_error",
    ),
    Rule(
        "fields",
        "input should be a valid string",
        "it takes plain texts only where Claude Code sends lists of blocks",
        "update the server, or choose another model",
        "ollama issue 18059, 2026-08-27",
        (400, 422),
    ),
    # --- what may be called, and how ---
    Rule(
        "tools",
        "no endpoints found that support tool use",
        "OpenRouter has nobody who serves this model with tools",
        "choose a model with tools: openrouter.ai/models?supported_parameters=tools",
        "claude-code-router issue 583",
    ),
    Rule(
        "fields",
        "no endpoints found that support cache control|cache_control[^.]{0,60}(not|unknown|extra)",
        "it refuses cache_control",
        "",
        "claude-code-router issue 251",
        env={"DISABLE_PROMPT_CACHING": "1"},
    ),
    Rule(
        "forced",
        r"does not support (this |the provided )?'?tool_choice|support the provided 'tool_choice'",
        "a tool can't be forced, which WebSearch needs",
        "deny WebSearch, which is all that needs it",
        "zed issue 36094, awesome-deepseek-integration issue 606",
        stops=False,
    ),
    # --- thinking ---
    Rule(
        "thinking",
        "(thinking|reasoning_content)[^.]{0,60}must be passed back|missing reasoning_content",
        "it wants thinking to be passed back, but did not hand it out as Claude Code could pass "
        "it back",
        "use the vendor's own Anthropic endpoint instead of the converter in between",
        "9router issue 2397, new-api issue 4806, DeepSeek's docs",
        env=NO_THINKING,
    ),
    Rule(
        "thinking",
        "invalid `?signature`? in `?thinking`?",
        "it refuses its own thinking when it is passed back",
        "",
        "claude-code issue 21726",
        env=NO_THINKING,
    ),
    Rule(
        "thinking",
        "cannot be disabled when reasoning_effort is set",
        "thinking that is switched off can't go together with an effort, as subagents send it",
        "",
        "claude-code-hub issue 1257, claude-code issue 65863",
        env=NO_EFFORT,
    ),
    Rule(
        "thinking",
        "invalid thinking",
        "this model answers only with thinking switched on",
        "take CLAUDE_CODE_DISABLE_THINKING and MAX_THINKING_TOKENS out of the variant",
        "copies of Moonshot's guide, 2026-07-18",
    ),
    # --- key, quota, plan: before models, because their words name models, too ---
    Rule(
        "key",
        'current plan supports only|accessdenied.unpurchased|"1311"|plan does not include',
        "the plan this key belongs to does not cover what was asked for",
        "choose a model and a context window of your plan, or another plan",
        "Codeep 2026-09: Kimi Code 401, Alibaba Token Plan 403, Z.ai 1311",
    ),
    Rule(
        "key",
        "only available for coding agents",
        "the endpoint admits only the coding programs it knows",
        "try again later, or use the vendor's Anthropic address; it knows Claude Code",
        "kimi-code issue 414",
        (403,),
    ),
    Rule(
        "key",
        "can only be used from within opencode",
        "the free tier answers only OpenCode itself",
        "use a paid key",
        "OpenCode Zen, FreeTierError",
    ),
    Rule(
        "key",
        "insufficient.{0,3}(balance|credit|quota)|no resource package|credit balance is too low|"
        'requires more credits|arrear|exceeded.{0,12}quota|"1113"|\\(1008\\)',
        "the key is right, but there is no money or quota left on it",
        "recharge it, or check that plan and address belong together",
        "claude-code issue 9201 (Z.ai 1113), MiniMax-M2 issue 62 (1008), openclaude issue 1528",
    ),
    Rule(
        "key",
        "no connected db",
        "LiteLLM does not know this key",
        "use its master_key, or a key made by it: ccm key set NAME",
        "LiteLLM 1.106.2, run 2026-11-22",
    ),
    Rule(
        "key",
        "no (cookie )?auth credentials found|carry the api secret key|x-api-key header is required|"
        "no api key passed in",
        "the endpoint finds no key in the header it looks at",
        "",
        "openclaude issue 967 (OpenRouter), cc-switch issue 820 (MiniMax)",
    ),
    # --- model ---
    Rule(
        "models",
        r"conflicts with target provider",
        "the router takes the name of the model for that of another provider",
        "name the model as PROVIDER/MODEL or PROVIDER,MODEL, as the router's config has it",
        "claude-code-router 3.1.1, run 2026-11-22",
    ),
    Rule(
        "models",
        r"model[_ ]?not[_ ]?(exist|found)|unknown[_ ]model|\"1211\"|not a valid model|"
        r"model.{0,80}(does not exist|not found|is not supported|not available)|no such model|"
        r"provider .{0,60}not found|invalid model|no available channel for model",
        "the endpoint has no model of this name",
        "",
        "Z.ai 1211, Alibaba 400 'Model not exist.', Ollama 404, DeepSeek's docs (400)",
        (400, 403, 404, 422, 500, 503),
    ),
    Rule(
        "1m",
        "long context beta is not (yet )?available|context-1m",
        "the long context is not part of this plan",
        "take the [1m] off the models",
        "Anthropic's API, 400 for context-1m without access",
        env={"CLAUDE_CODE_DISABLE_1M_CONTEXT": "1"},
    ),
    # --- fields only Anthropic knows ---
    Rule(
        "system",
        "unexpected role|role: input should be 'user' or 'assistant'|(unknown|invalid) role|"
        "role .{0,20}system.{0,30}not (supported|allowed)",
        "it takes no system message among the others; Claude Code sends one",
        "",
        "Rapid-MLX issue 975",
        env=NO_SYSTEM_MESSAGES,
    ),
    Rule(
        "fields",
        "output_config|effort",
        "it refuses the field output_config (effort)",
        "",
        "clove issue 40",
        (400, 422),
        env=NO_EFFORT,
    ),
    Rule(
        "fields",
        "anthropic-beta|context_management|defer_loading|invalid beta",
        "it refuses beta fields of Claude Code",
        "choose an older Claude Code (ccm pin), or ask the operator to ignore unknown betas",
        "9router issue 1468, claude-code issue 21612",
        (400, 422),
        env={"CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1"},
    ),
    # --- images ---
    Rule(
        "images",
        "image input is not supported|mmproj|not? support(s|ed)? (for )?(image|vision|multimodal)|"
        "does not (support|accept) image|image.{0,60}not supported|unknown variant .?image",
        "this model sees no images",
        "paste no images, or let another model see them (an MCP server for vision)",
        "llama.cpp tools/server, cc-switch issue 3663, claude-code issue 91112",
        stops=False,
    ),
    # --- somebody behind the endpoint ---
    Rule(
        "reach",
        "loading model",
        "the server still loads the model",
        "wait a moment, then probe again",
        "llama.cpp tools/server README: 503 while loading",
        (503,),
    ),
    Rule(
        "reach",
        "overloaded|temporarily unavailable|no healthy upstream",
        "the endpoint has too much to do right now",
        "wait a moment, then probe again",
        "Anthropic's API: 529 overloaded_error",
        (429, 500, 503, 529),
    ),
    Rule(
        "reach",
        "fetch failed|ECONNREFUSED|cannot connect to host|upstream connect error|connection error|"
        "bad gateway",
        "the endpoint answers, but can't reach the model behind it",
        "look at its upstream address and at its log",
        "claude-code-router 2.0.0 and LiteLLM 1.106.2, run 2026-11-22",
        (500, 502, 503),
    ),
    Rule(
        "stream",
        "the responses stream before any terminal event",
        "LiteLLM asks the model behind it in the format of OpenAI's Responses, which it has not",
        "in LiteLLM's config name the model hosted_vllm/MODEL, with its api_base",
        "LiteLLM 1.106.2, run 2026-11-22",
    ),
)
