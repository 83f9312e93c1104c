"""llama.cpp, Ollama, LM Studio and vLLM: what each tells about itself, and what that means."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ccmirror_py.heard import Heard
from ccmirror_py.messages import Ask
from ccmirror_py.probe import Row, Target, window_row

_JSON = {"accept": "application/json"}
OLLAMA_FIRST = (0, 14)
"""Ollama's first version with the Messages API (commit of 2026-01-09)."""


def questions(model: str) -> list[Ask]:
    """All four are asked; only one will know the answer to its own."""
    name = model.removesuffix("[1m]")
    return [
        Ask("GET", "/props", _JSON),
        Ask("GET", "/api/version", _JSON),
        Ask("POST", "/api/show", _JSON, {"model": name}),
        Ask("GET", "/api/ps", _JSON),
        Ask("GET", "/api/v1/models", _JSON),
        Ask("GET", "/version", _JSON),
        Ask("GET", "/v1/models", _JSON),
    ]


def rows(answers: Mapping[str, Heard], target: Target) -> Iterator[Row]:
    """Nothing when no server is recognised: it may be a router, or anything else."""
    told = {path: heard.json for path, heard in answers.items() if heard.ok}
    if isinstance(told.get("/props"), dict) and "default_generation_settings" in told["/props"]:
        yield from _llamacpp(told["/props"], target)
    elif isinstance(told.get("/api/version"), dict) and "version" in told["/api/version"]:
        yield from _ollama(told, answers, target)
    elif _lmstudio_models(told.get("/api/v1/models")):
        yield from _lmstudio(_lmstudio_models(told["/api/v1/models"]), target)
    elif isinstance(told.get("/version"), dict) and "vllm" in str(told.get("/v1/models")).lower():
        yield from _vllm(told["/version"], target)


def _llamacpp(props: dict[str, Any], target: Target) -> Iterator[Row]:
    """GET /props has no field for --jinja; a capability that is false is decisive, one that is true
    a hint."""
    name = f"llama.cpp {props.get('build_info', '')}".strip()
    caps = props.get("chat_template_caps")
    caps = caps if isinstance(caps, dict) else {}
    lacking = [cap for cap in ("supports_tools", "supports_tool_calls") if caps.get(cap) is False]
    if lacking:
        detail = f"{name}: the model's chat template has no tools ({', '.join(lacking)} is false)"
        fix = "another GGUF, or --chat-template-file with a template for tools; and --jinja"
        yield Row("server", "failed", detail, fix)
    else:
        yield Row("server", "ok", f"{name}: nothing in its template speaks against tools")
    settings = props["default_generation_settings"]
    # a llama-server that routes to others tells 0
    yield from _window(settings.get("n_ctx") if isinstance(settings, dict) else None, target)


def _ollama(told: Mapping[str, Any], answers: Mapping[str, Heard], target: Target) -> Iterator[Row]:
    version = str(told["/api/version"]["version"])
    numbers = tuple(int(n) for n in re.findall(r"\d+", version)[:2])
    model = target.main.removesuffix("[1m]")
    show = told.get("/api/show")
    if numbers and numbers < OLLAMA_FIRST:
        detail = f"Ollama {version} has no Messages API; it came with 0.14.0"
        yield Row("server", "failed", detail, "update Ollama")
    elif answers["/api/show"].status == 404:
        detail = f"Ollama {version} has no model {model}"
        yield Row("server", "failed", detail, f"ollama pull {model}, or choose one of: ollama list")
    elif isinstance(show, dict) and "tools" not in show.get("capabilities", ["tools"]):
        detail = f"Ollama {version}: {model} lacks the capability `tools`"
        yield Row(
            "server", "failed", detail, "choose a model that has it: ollama.com/search?c=tools"
        )
    else:
        yield Row("server", "ok", f"Ollama {version}: {model} has the capability `tools`")
    running = told.get("/api/ps")
    loaded = running.get("models", []) if isinstance(running, dict) else []
    for entry in loaded:
        if model in (entry.get("name"), entry.get("model")):
            yield from _window(entry.get("context_length"), target)


def _lmstudio_models(document: object) -> list[dict[str, Any]]:
    models = document.get("models") if isinstance(document, dict) else None
    return (
        [m for m in models if isinstance(m, dict) and "key" in m]
        if isinstance(models, list)
        else []
    )


def _lmstudio(models: list[dict[str, Any]], target: Target) -> Iterator[Row]:
    own = target.main.removesuffix("[1m]")
    entry = next((model for model in models if model["key"] == own), None)
    if entry is None:
        names = ", ".join(str(model["key"]) for model in models[:5])
        yield Row("server", "failed", f"LM Studio has no model {own}", f"it has: {names}")
        return
    capabilities = entry.get("capabilities")
    if isinstance(capabilities, dict) and capabilities.get("trained_for_tool_use") is False:
        detail = f"LM Studio: {own} is not trained for tools and gets a makeshift prompt"
        yield Row("server", "limited", detail, "choose a model marked for tool use")
    else:
        yield Row("server", "ok", f"LM Studio: {own} is trained for tools")
    for instance in entry.get("loaded_instances") or []:
        config = instance.get("config")
        yield from _window(config.get("context_length") if isinstance(config, dict) else 0, target)


def _window(told: object, target: Target) -> Iterator[Row]:
    """Nothing where the server does not tell its size."""
    if isinstance(told, int) and told > 0:
        yield window_row(told, target)


def _vllm(version: dict[str, Any], target: Target) -> Iterator[Row]:
    """It has no field for tool calling: only a request with a tool tells."""
    name = f"vLLM {version.get('version', '')}".strip()
    if "/" in target.main:
        detail = f"{name}: the name of the model has a slash, which Claude Code's menus mistake"
        yield Row("server", "limited", detail, "start it with --served-model-name NAME")
    else:
        yield Row("server", "ok", name)
