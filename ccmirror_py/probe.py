"""What an endpoint's answers mean for Claude Code: rows of a table, each with cause and fix.

Pure: answers come in as values, so every judgement can be made from a recording.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import urlsplit

from ccmirror_py.diagnosis import CAPABILITIES, Rule, known
from ccmirror_py.environment import is_loopback
from ccmirror_py.heard import Heard
from ccmirror_py.messages import CAPABILITIES as FIRST_TOLD
from ccmirror_py.messages import (
    OVERRIDES,
    PLAIN_CLAUDES,
    PLAIN_WINDOW,
    Manner,
    manner_of,
)
from ccmirror_py.model_list import listed_in
from ccmirror_py.provider import AuthStyle

Result = Literal["ok", "failed", "limited", "skipped"]

STEPS = (
    *("reach", "path", "key", "models", "server", "stream", "tools", "thinking", "system"),
    *("fields", "parallel", "forced", "unthinking", "websearch", "images", "count", "window"),
    *("1m", "launch"),
)
"""In the order they are shown; docs/probe.md says what each means."""
ALWAYS = STEPS[: STEPS.index("parallel")]
COSTLY = ("parallel", "forced", "unthinking", "websearch", "images")

DEEP_ONLY = "only with --deep"

LEAST_WINDOW = 25_000
"""Tokens that Claude Code's own prompt and tools take, before anything is said."""


@dataclass(frozen=True)
class Row:
    """`failed` breaks use, `limited` is a fault Claude Code works with. `env` and `window` are
    settings that mend it, as are tools to `deny` and `overrides` of models: what `--apply` writes.
    """

    step: str
    result: Result
    detail: str = ""
    fix: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    window: int | None = None
    deny: tuple[str, ...] = ()
    overrides: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """What the Claude Code of a variant talks to, and how. `tiers` maps tiers to model ids.

    `plain` are the models that are asked as an older Claude is; `manner` is for the main one.
    """

    name: str
    provider: str
    url: str
    style: AuthStyle
    tiers: Mapping[str, str]
    window: int | None
    manner: Manner
    environment: Mapping[str, str] = field(default_factory=dict)
    denies_search: bool = False
    models_url: str = ""
    plain: frozenset[str] = frozenset()

    @property
    def main(self) -> str:
        return self.tiers.get("main") or next(iter(self.tiers.values()))

    @property
    def local(self) -> bool:
        """On this machine or in this house: it may be a server people start themselves."""
        host = urlsplit(self.url).hostname or ""
        private = r"10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\."
        return is_loopback(self.url) or "." not in host or bool(re.match(private, host))

    def overrides(self) -> dict[str, str]:
        """What makes Claude Code ask all models in its plainest way; {} where that would not help,
        or have it believe in a window that is larger than it is."""
        models = list(dict.fromkeys(self.tiers.values()))
        small = self.window is not None and self.window < PLAIN_WINDOW
        roomy = not small or all(model.endswith("[1m]") for model in models)
        knows = self.manner.version >= OVERRIDES and len(models) <= len(PLAIN_CLAUDES)
        if not knows or not roomy or self.plain.issuperset(models):
            return {}
        return dict(zip(PLAIN_CLAUDES, models, strict=False))

    def manner_for(self, model: str, like: Manner) -> Manner:
        """As `like`, which is for the main model."""
        is_plain = model in self.plain
        if is_plain == (self.main in self.plain):
            return like
        own = manner_of(self.environment, self.manner.version, is_plain)
        return own.without(*like.left_out)

    def remade(self, options: str) -> str:
        return f"ccm create {self.name} --force --provider {self.provider} … {options}"


# --- from rules to rows ---


def by_rule(rule: Rule, heard: Heard, target: Target) -> Row:
    said = f" ({heard.quote})" if heard.quote else ""
    row = Row(rule.step, "failed" if rule.stops else "limited", rule.cause + said)
    return mended(row, rule.env, rule.fix, target)


def without_search(row: Row, target: Target) -> Row:
    """Nothing but WebSearch is in the way: not to offer it mends that."""
    fix = f"denying WebSearch mends it: ccm probe {target.name} --deep --apply"
    return replace(row, result="limited", fix=fix, env={}, deny=("WebSearch",))


def mended(row: Row, env: Mapping[str, str], other: str, target: Target) -> Row:
    """With settings that mend it, unless the variant has them already, and another way out."""
    own = target.environment
    overrides: Mapping[str, str] = {}
    env = {n: value for n, value in env.items() if value not in own.get(n, "").split(",")}
    ways = [other.replace("NAME", target.name)] if other else []
    if CAPABILITIES in env and target.manner.version < FIRST_TOLD:
        env, overrides = {}, target.overrides()
        newer = f"ccm update {target.name}: Claude Code {FIRST_TOLD} and newer can leave it out"
        ways = [newer, *ways]
        if overrides:
            id_ = next(iter(overrides))
            ways = [f"asking as {id_} is asked mends it: ccm probe {target.name} --apply", *ways]
    elif env:
        names = ", ".join(f"{name}={value}" for name, value in env.items())
        ways = [f"{names} mends it: ccm probe {target.name} --apply", *ways]
    return replace(row, env=env, overrides=overrides, fix="; or ".join(ways) or ASK)


ASK = "ask the operator of the endpoint"


def refused(step: str, heard: Heard, target: Target, what: str) -> Row:
    """A refusal, by its rule or in its own words."""
    rule = known(heard)
    if rule is not None:
        return by_rule(rule, heard, target)
    if heard.fault:
        return Row(step, "failed", f"{what}: {unheard(heard)}", SLOW.replace("NAME", target.name))
    return Row(step, "failed", f"{what}: {heard.status} {heard.quote}", ASK)


SLOW = "if the server is only slow: ccm probe NAME --deep waits two minutes"


def unheard(heard: Heard) -> str:
    if heard.fault == "timeout":
        return f"no whole answer within {heard.seconds:.0f} s"
    return f"the connection broke ({heard.detail})" if heard.detail else "the connection broke"


# --- sizes ---


def window_told(heard: Heard, model: str) -> int | None:
    """Tokens, as the list of models tells for this one."""
    id_ = model.removesuffix("[1m]")
    listed = listed_in(heard.json) or []
    return next((entry.context for entry in listed if entry.id == id_), None)


def window_row(told: int | None, target: Target) -> Row:
    configured = target.window
    if told is None:
        return Row(
            "window", "skipped", f"the endpoint does not tell ({configured or '?'} configured)"
        )
    if told < LEAST_WINDOW:
        detail = f"{told} tokens are too few: Claude Code's own prompt takes about {LEAST_WINDOW}"
        fix = (
            "start the server with 65536 tokens or more (OLLAMA_CONTEXT_LENGTH, llama-server -c, …)"
        )
        return Row("window", "failed", detail, fix)
    if configured and told < configured:
        detail = f"the endpoint takes {told} tokens, the variant counts on {configured}"
        fix = f"ccm probe {target.name} --apply, or give --context-window {told}"
        return Row("window", "failed", detail, fix, window=told)
    return Row("window", "ok", f"{told} tokens told, {configured or 'none'} configured")


def long_context_row(target: Target) -> Row:
    models = {model for model in target.tiers.values() if "[1m]" in model}
    wrong = [model for model in models if "[1m]" in model.removesuffix("[1m]")]
    if wrong:
        fix = target.remade("--model MODEL, with [1m] once and at the end")
        return Row("1m", "failed", f"'{wrong[0]}' would be sent with a [1m] in its name", fix)
    if not models:
        return Row("1m", "skipped", "no model is marked [1m]")
    return Row("1m", "ok", f"{', '.join(sorted(models))}: sent without the mark, with its beta")


def count_row(heard: Heard) -> Row:
    match heard.json:
        case {"input_tokens": int(tokens)} if heard.ok:
            return Row("count", "ok", f"count_tokens says {tokens}")
    if heard.fault:
        return Row("count", "skipped", f"count_tokens: {unheard(heard)}")
    return Row("count", "skipped", "count_tokens is not offered; Claude Code estimates instead")


# --- the table as a whole ---


def in_order(rows: Sequence[Row], deep: bool) -> Iterator[Row]:
    """Each step's rows; a step that was not come to is said to be."""
    known_steps = {row.step for row in rows if row.result != "skipped"}
    came_far = "tools" in known_steps
    for step in STEPS:
        # a local server may tell the same in two ways
        own = [row for at, row in enumerate(rows) if row.step == step and row not in rows[:at]]
        yield from (row for row in own if row.result != "skipped" or step not in known_steps)
        if not own and step in ALWAYS and step != "server":
            yield Row(step, "skipped", "not come to")
        elif not own and step in COSTLY and came_far and not deep:
            yield Row(step, "skipped", DEEP_ONLY)


def is_usable(rows: Sequence[Row]) -> bool:
    """Whether nothing breaks use, and a tool was really called: no green without proof."""
    proven = any(row.step == "tools" and row.result == "ok" for row in rows)
    return proven and not any(row.result == "failed" for row in rows)
