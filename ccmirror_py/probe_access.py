"""Whether the endpoint can be reached at all, at the right address, with a good key and model."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from urllib.parse import urlsplit

from ccmirror_py.diagnosis import known
from ccmirror_py.environment import is_loopback
from ccmirror_py.heard import Heard
from ccmirror_py.model_list import listed_in
from ccmirror_py.probe import SLOW, Row, Target, by_rule, refused
from ccmirror_py.streams import Message, read_stream

# --- reach ---


def reached(heard: Heard, target: Target) -> Row:
    host = urlsplit(target.url).netloc
    if is_barrier(heard):
        detail = f"{host} answers with an error page ({heard.status}): a gateway before it"
        return Row("reach", "failed", detail, "try again later, or from another network")
    if heard.status or heard.body:
        return Row("reach", "ok", f"{host} answers")
    detail, fix = _UNREACHED.get(heard.fault or "broken", _UNREACHED["broken"])
    if heard.fault == "refused" and is_loopback(target.url):
        fix = (
            "start the server, or mend the port (llama-server: 8080 before August 2026, 9931 since)"
        )
    if "wrong version number" in heard.detail.lower():
        fix = "this port speaks http, not https: mend the address"
    detail = detail.format(host=host, seconds=round(heard.seconds))
    said = f" ({heard.detail})" if heard.fault in ("certificate", "proxy", "broken") else ""
    return Row("reach", "failed", detail + said, fix.replace("NAME", target.name))


_UNREACHED = {
    "name": ("the name {host} is unknown", "check the address (ccm show NAME) and the network"),
    "refused": ("nothing listens at {host}", "check the address (ccm show NAME)"),
    "certificate": (
        "the certificate of {host} is not trusted",
        "name your company's certificate in NODE_EXTRA_CA_CERTS; Claude Code reads it, too",
    ),
    "proxy": (
        "the proxy does not lead to {host}",
        "check HTTPS_PROXY and HTTP_PROXY, or name the host in NO_PROXY",
    ),
    "timeout": ("{host} did not answer within {seconds} s", SLOW),
    "address": (
        "the address or the key has characters no request can have",
        "ccm show NAME; ccm key set NAME",
    ),
    "broken": ("{host} broke the connection", "check the address (ccm show NAME): http or https?"),
}


def is_barrier(heard: Heard) -> bool:
    return heard.is_html and (heard.status >= 500 or heard.status in (403, 407, 429))


# --- path ---


def is_wrong_path(heard: Heard) -> str:
    """What shows that this is not where the Messages API is, "" when nothing does."""
    if 300 <= heard.status < 400:
        return (
            f"the endpoint redirects to {heard.location.partition('?')[0]}; a key must not follow"
        )
    if heard.is_html and not is_barrier(heard):
        return "a web page answers: this is a portal, not an API"
    body = heard.json
    if isinstance(body, dict) and ("choices" in body or body.get("object") == "chat.completion"):
        return "this address speaks OpenAI's format, not Anthropic's"
    if heard.ok and "openai stream" in read_stream(heard.body).faults:
        return "this address streams in OpenAI's format, not Anthropic's"
    if heard.status == 405 or (heard.status in (404, 403, 400, 501) and _names_no_path(heard)):
        return f"there is no Messages API at this address ({heard.status})"
    return ""


def _names_no_path(heard: Heard) -> bool:
    """A 404 can mean a model, too: then it names one, in an error with a type."""
    words = r"not found|no such (path|route)|invalid url|unknown (url|path|request)|cannot post"
    if known(heard) is not None:
        return False
    return heard.status == 404 or bool(re.search(words, heard.text, re.IGNORECASE))


_SWAPS = (
    (r"/v1/messages$|/messages$|/v1/chat/completions$|/chat/completions$", ""),
    (r"/api/(coding/)?paas/v4$", "/api/anthropic"),  # Z.ai, Zhipu
    (r"/compatible-mode/v1$", "/apps/anthropic"),  # Alibaba
    (r"/v\d+$", ""),  # doubled: OpenRouter, MiniMax, Kimi Code, most
    (r"/v\d+$", "/anthropic"),
    (r"$", "/anthropic"),  # DeepSeek, Moonshot, MiniMax
    (r"/[^/]+$", ""),
    (r"$", "/api/anthropic"),
    (r"$", "/api"),  # OpenRouter
    (r"$", "/apps/anthropic"),
)
"""From mistakes people make to the addresses vendors document; providers' guides, 2026."""


def other_addresses(url: str) -> list[str]:
    """Where the Messages API may be instead, on the same host, likeliest first."""
    parts = urlsplit(url)
    root, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    swapped = [re.sub(old, new, path, count=1) for old, new in _SWAPS if re.search(old, path)]
    return [root + other for other in dict.fromkeys(swapped) if other != path]


def speaks_messages(heard: Heard) -> bool:
    """An answer, or a refusal, in Anthropic's own form."""
    match heard.json:
        case {"type": "message"} | {"type": "error", "error": dict()}:
            return heard.status != 404
    return False


def wrong_path(why: str, right: str | None, target: Target) -> Row:
    if right:
        fix = target.remade(f"--base-url {right}")
        return Row("path", "failed", f"{why}; the Messages API is at {right}", fix)
    fix = f"look up the address for Claude Code: ccm providers show {target.provider}"
    if target.provider == "custom":
        fix = "name the address up to /v1/messages, without it; if there is none, use a router"
    return Row("path", "failed", why, fix)


# --- key ---


def is_key_refused(heard: Heard) -> bool:
    rule = known(heard)
    if rule is not None:
        return rule.step == "key"
    return heard.status in (401, 402, 403, 407) or (heard.status == 429 and not heard.is_html)


def key_row(heard: Heard, other_works: bool, target: Target) -> Row:
    if other_works:
        other = "x-api-key" if target.style == "bearer" else "bearer"
        header = {"bearer": "Authorization: Bearer", "x-api-key": "x-api-key"}[other]
        return Row(
            "key",
            "failed",
            f"the key is right, but belongs into the header {header}",
            target.remade(f"--auth {other}"),
        )
    rule, quote = known(heard), heard.quote
    if rule is not None and rule.fix:
        return by_rule(rule, heard, target)
    if heard.status == 429:
        wait = f"wait, or look at your plan's limits ({target.provider})"
        return Row("key", "failed", f"the limit of requests is reached ({quote})", wait)
    if heard.status == 402:
        return Row("key", "failed", f"there is no money left on the key ({quote})", "recharge it")
    cause = rule.cause if rule is not None else f"the key is refused ({heard.status})"
    fix = f"ccm key set {target.name}; check that key, region and plan belong to this address"
    return Row("key", "failed", f"{cause} ({quote})", fix)


# --- models ---


def model_row(
    model: str, heard: Heard, message: Message, listed: Sequence[str], target: Target
) -> Row:
    """Whether one model answers."""
    tiers = ", ".join(tier for tier, id_ in target.tiers.items() if id_ == model)
    id_ = model.removesuffix("[1m]")
    if heard.status == 200 and (message.model or message.content):
        other = message.model not in ("", id_)
        return Row("models", "ok", f"{id_} ({tiers})" + (f" as {message.model}" if other else ""))
    rule = known(heard)
    if rule is not None and rule.step == "models":
        what = f"there is no {id_} ({tiers})" if not rule.fix else f"{id_} ({tiers}): {rule.cause}"
        near = get_close_matches(id_, listed, n=3, cutoff=0.5) or list(listed[:5])
        has = f"choose one it has: {', '.join(near)}" if near else "choose one it has"
        option = "--model" if len(set(target.tiers.values())) == 1 else "--model-TIER"
        fix = f"{rule.fix or has}; {target.remade(f'{option} MODEL')}"
        return Row("models", "failed", f"{what}: {heard.quote}", fix)
    return refused("models", heard, target, f"{id_} ({tiers}) does not answer")


def ids_listed(heard: Heard) -> list[str]:
    """Of the list of models."""
    return [entry.id for entry in listed_in(heard.json) or ()]
