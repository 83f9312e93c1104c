"""What a provider's newer file means for a variant, in words; and models that are gone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ccmirror_py.environment import MODEL_NAMES, tiers_of
from ccmirror_py.provider import Provider, Retired, plain
from ccmirror_py.variant import Choices

_WORDS = {
    "ANTHROPIC_BASE_URL": "endpoint",
    "CLAUDE_CODE_MAX_CONTEXT_TOKENS": "window",
    "CLAUDE_CODE_AUTO_COMPACT_WINDOW": "compacts at",
}


@dataclass(frozen=True)
class Migrated:
    """The user's choices without ids that no longer work; `gone` are those nobody replaced."""

    choices: Choices
    notices: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


def migrated(provider: Provider, choices: Choices) -> Migrated:
    """Only models the user chose, and only when the provider's table says the id is dead."""
    dead = {
        tier: (model, retired)
        for tier, model in choices.models.items()
        if (retired := provider.retired.get(plain(model))) and not retired.works
    }
    models = dict(choices.models)
    notices: dict[str, str] = {}
    gone: dict[str, str] = {}
    for tier, (model, retired) in dead.items():
        if retired.use:
            models[tier] = _successor(model, retired)
            notices[model] = (
                f"{model} no longer works at {provider.name} (since {retired.since}): "
                f"{models[tier]} takes its place"
            )
        else:
            gone[model] = f"{model} no longer works at {provider.name} (since {retired.since})"
    return Migrated(replace(choices, models=models), tuple(notices.values()), tuple(gone.values()))


def _successor(model: str, retired: Retired) -> str:
    return retired.use + ("[1m]" if model.endswith("[1m]") else "")


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """From what a launcher sets to what it will set."""
    return (*_models(tiers_of(before), tiers_of(after)), *_variables(before, after))


def denied(before: Sequence[str], after: Sequence[str]) -> tuple[str, ...]:
    """Tools that were denied, and tools that will be."""
    return (
        *(f"{tool} is denied" for tool in after if tool not in before),
        *(f"{tool} is no longer denied" for tool in before if tool not in after),
    )


def _models(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    """One line for all tiers that change alike."""
    moved: dict[tuple[str, str], list[str]] = {}
    for tier in {**before, **after}:
        pair = (before.get(tier, "Claude Code's own"), after.get(tier, "Claude Code's own"))
        if pair[0] != pair[1]:
            moved.setdefault(pair, []).append(tier)
    for (old, new), tiers in moved.items():
        yield f"{', '.join(tiers)}: {old} -> {new}"


def _variables(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    for name in {**before, **after}:
        old, new = before.get(name), after.get(name)
        if old == new or name in MODEL_NAMES:
            continue
        word = _WORDS.get(name, name)
        if old is None:
            yield f"{word}: {new}"
        elif new is None:
            yield f"{word}: {old} is no longer set"
        else:
            yield f"{word}: {old} -> {new}"
