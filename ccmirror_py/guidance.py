"""What a variant's model is told about where it runs: true by the provider's file, short.

It lies in the config directory's `rules/`, which Claude Code sends to the main agent and to
subagents (measured, 2.1.118 to 2.1.330); appended system prompts and output styles reach the main
agent only.
"""

from collections.abc import Iterator

from ccmirror_py.environment import models_of
from ccmirror_py.provider import Provider, plain
from ccmirror_py.settings import denied_tools
from ccmirror_py.variant import Choices


def guidance(name: str, provider: Provider, choices: Choices) -> str:
    """The user's own text where there is one; "" when nothing is told."""
    own = choices.looks.guidance
    return provided(name, provider, choices) if own is None else _ended(own)


def provided(name: str, provider: Provider, choices: Choices) -> str:
    """The provider's. It is sent along with every request, so only what changes what is done."""
    lines = [*_lines(provider, choices), *provider.look.guidance]
    if not lines:
        return ""
    title = f"# Where you run: the variant `{name}`, with {provider.name}"
    return _ended("\n".join([title, "", *(f"- {line}" for line in lines)]))


def _lines(provider: Provider, choices: Choices) -> Iterator[str]:
    models = {tier: plain(model) for tier, model in models_of(provider, choices).items()}
    if models.get("main") and not provider.first_party:
        yield (
            f"Requests go to {provider.name}, not to Anthropic; the main model is "
            f"`{models['main']}`. Say so if you are asked which model you are."
        )
    denied = denied_tools(provider, choices)
    if denied:
        instead = " To read a page whose address you know, use WebFetch."
        yield (
            f"Not available here, so don't plan with it: {', '.join(denied)}."
            + (instead if "WebSearch" in denied and "WebFetch" not in denied else "")
        )
    blind = sorted({m for m in models.values() if provider.model(m).vision is False})
    if blind:
        some = ", ".join(f"`{model}`" for model in blind)
        yield (
            f"{some} can't see images: don't open them with Read, and don't describe what you "
            "have not seen."
        )
    for server, offered in provider.mcp.items():
        yield (
            f"If tools whose names begin with `mcp__{server}__` are among yours, use them for: "
            f"{offered.description}."
        )


def _ended(text: str) -> str:
    return text.rstrip() + "\n" if text.strip() else ""
