"""The steps of `ccm probe --deep`: what costs more, and is needed less often."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from ccmirror_py import probe
from ccmirror_py.heard import Heard
from ccmirror_py.messages import BASH, Json, Manner, Wish, said, told
from ccmirror_py.probe import Row, Target
from ccmirror_py.streams import Message

Say = Callable[[Wish, Manner], tuple[Heard, Message]]

PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAIAAAD8GO2jAAAAKklEQVR42mO4oKBAU8QwasGoBaMW"
    "jFowasGoBaMWjFowasGoBaMWDBULAE7YQD2B7wk2AAAAAElFTkSuQmCC"
)
"""A red square of 32 by 32."""
SEARCH: Json = {"type": "web_search_20250305", "name": "web_search", "max_uses": 1}
TWICE = """Call the tool Bash twice at once, in one answer, with these commands.
run: echo ccm-left
run: echo ccm-right"""


def rows(say: Say, target: Target, manner: Manner) -> Iterator[Row]:
    if manner.has("tools"):
        yield _parallel(say, target, manner)
        yield _forced(say, target, manner)
    yield _unthinking(say, target, manner)
    yield _searching(say, target, manner)
    yield _seeing(say, target, manner)


def _parallel(say: Say, target: Target, manner: Manner) -> Row:
    turns = [said(TWICE)]
    heard, message = say(Wish(target.main, turns, [BASH]), manner)
    calls = message.blocks("tool_use")
    ids = {call.get("id") for call in calls}
    if heard.status != 200:
        return probe.refused("parallel", heard, target, "two calls at once are refused")
    if "input is not JSON" in message.faults or len(ids) < len(calls):
        detail = "two calls at once get mixed up"
        return Row("parallel", "failed", detail, "update the server or the converter in between")
    if len(calls) < 2:
        return Row("parallel", "skipped", "it makes one call at a time, which works")
    results = [told(call, f"output {number}") for number, call in enumerate(calls)]
    turns += [message.turn, said(*results)]
    heard, message = say(Wish(target.main, turns, [BASH]), manner)
    if heard.status != 200:
        return probe.refused("parallel", heard, target, "two results at once are refused")
    return Row("parallel", "ok", f"{len(calls)} calls at once, all results taken")


def _forced(say: Say, target: Target, manner: Manner) -> Row:
    """As WebSearch is called: the tool is named, and thinking left out."""
    if target.denies_search:
        return Row("forced", "skipped", "for WebSearch only, which is denied in this variant")
    choice: Json = {"type": "tool", "name": "Bash"}
    turns = [said("Say hello with the tool.\nrun: echo hello")]
    wish = Wish(target.main, turns, [BASH], choice)
    heard, message = say(wish, manner.without("thinking"))
    if heard.status != 200:
        row = probe.refused("forced", heard, target, "a tool can't be forced")
        return probe.without_search(row, target)
    if not message.blocks("tool_use"):
        detail = "tool_choice is ignored: a tool that is forced is not called"
        return probe.without_search(Row("forced", "limited", detail), target)
    return Row("forced", "ok", "a tool that is forced is called")


def _unthinking(say: Say, target: Target, manner: Manner) -> Row:
    """Some requests of Claude Code switch thinking off, with the effort left in."""
    off = replace(manner, thinking={"type": "disabled"})
    model = target.tiers.get("haiku", target.main)
    heard, _ = say(Wish(model, [said("Say ok.")], most=64), off)
    if heard.status == 200:
        return Row("unthinking", "ok", "thinking can be switched off")
    row = probe.refused("unthinking", heard, target, "thinking can't be switched off")
    if row.step == "thinking":
        fix = row.fix.replace("--apply", "--deep --apply")
        return replace(row, step="unthinking", fix=fix)
    fix = "leave CLAUDE_CODE_DISABLE_THINKING and MAX_THINKING_TOKENS alone in this variant"
    return replace(row, step="unthinking", result="limited", fix=fix, env={})


def _searching(say: Say, target: Target, manner: Manner) -> Row:
    if target.denies_search:
        return Row("websearch", "skipped", "denied in this variant")
    wish = Wish(target.main, [said("Search the web for: ok")], [SEARCH], most=256)
    heard, message = say(wish, manner.without("thinking"))
    kinds = {str(block.get("type")) for block in message.content}
    if heard.status == 200 and "server_tool_use" in kinds:
        return Row("websearch", "ok", "the endpoint searches the web")
    if heard.status == 200:
        detail = "WebSearch is taken, but no search comes of it"
        return probe.without_search(Row("websearch", "limited", detail), target)
    row = probe.refused("websearch", heard, target, "WebSearch is refused")
    return probe.without_search(replace(row, step="websearch"), target)


def _seeing(say: Say, target: Target, manner: Manner) -> Row:
    source = {"type": "base64", "media_type": "image/png", "data": PICTURE}
    turn = said({"type": "image", "source": source}, "Which colour is this? One word.")
    heard, message = say(Wish(target.main, [turn], most=512), manner)
    if heard.status == 200:
        words = " ".join(message.text.split())[:60]
        return Row("images", "ok", f"a picture is taken ({words or 'no words to it'})")
    row = probe.refused("images", heard, target, "this model sees no images")
    return replace(row, step="images", result="limited", env={})
