"""What an endpoint lists as its models: where to ask, and what an answer means."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ccmirror_py.address import origin

# What stands before /v1/messages where a vendor's other formats have it not.
_SUFFIXES = (
    *("/api/claudecode", "/api/anthropic", "/apps/anthropic", "/api/coding", "/claudecode"),
    *("/anthropic", "/step_plan", "/coding", "/claude"),
)
_WINDOW_NAMES = (
    *("max_model_len", "context_length", "context_window", "max_context_length"),
    *("max_input_tokens", "context_size", "n_ctx"),
)


@dataclass(frozen=True)
class Listed:
    """A model as an endpoint lists it. `input` and `output` are USD per million tokens."""

    id: str
    context: int | None = None
    input: float | None = None
    output: float | None = None


def addresses(base_url: str, models_url: str) -> list[str]:
    """Where to ask, in this order, and never at another host than `base_url`'s."""
    found = [models_url] if models_url and origin(models_url) == origin(base_url) else []
    roots = [base_url]
    suffix = next((s for s in _SUFFIXES if base_url.endswith(s)), "")
    if suffix:
        roots.append(base_url.removesuffix(suffix))
    for root in roots:
        if not re.search(r"/v\d+$", root):
            found.append(f"{root}/v1/models")
        found.append(f"{root}/models")
    return list(dict.fromkeys(found))


def parse_listed(text: str) -> list[Listed] | None:
    """None when this is no list of models."""
    try:
        return listed_in(json.loads(text))
    except (ValueError, RecursionError):
        return None


def listed_in(document: object) -> list[Listed] | None:
    """The same of what was parsed: a list in the form of Anthropic, OpenAI, Ollama or LM Studio."""
    match document:
        case {"data": list(entries)} | {"models": list(entries)}:
            return list(_listed(entries))
    return None


def _listed(entries: list[object]) -> Iterator[Listed]:
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        id_ = entry.get("id") or entry.get("name") or entry.get("key")
        if not isinstance(id_, str):
            continue
        meta = entry.get("meta")  # where llama-server has it
        told = {**(meta if isinstance(meta, dict) else {}), **entry}
        windows = [told[name] for name in _WINDOW_NAMES if isinstance(told.get(name), int)]
        price = entry.get("pricing")
        prices: Mapping[object, object] = price if isinstance(price, dict) else {}
        yield Listed(
            id_,
            next((window for window in windows if window > 0), None),
            _per_million(prices.get("prompt")),
            _per_million(prices.get("completion")),
        )


def _per_million(amount: object) -> float | None:
    """From USD per token, as OpenRouter has it; "-1" means that it depends."""
    if not isinstance(amount, str | int | float) or isinstance(amount, bool):
        return None
    try:
        value = float(amount) * 1e6
    except ValueError:
        return None
    return round(value, 4) if 0 <= value < 1e6 else None
