"""`ccm probe --apply`: what a probe found necessary becomes the variant's own choice."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ccmirror_py.context import Context
from ccmirror_py.diagnosis import CAPABILITIES
from ccmirror_py.operations.choose import choose
from ccmirror_py.probe import Row
from ccmirror_py.variant import Choices, Variant


@dataclass(frozen=True)
class Changes:
    """Variables to set, a context window or None, tools to deny, models to ask as a Claude."""

    env: Mapping[str, str]
    window: int | None
    deny: tuple[str, ...]
    overrides: Mapping[str, str]

    def lines(self) -> Iterator[str]:
        """For people; none when there is nothing to change."""
        yield from (f"{variable}={value}" for variable, value in self.env.items())
        if self.window:
            yield f"context window: {self.window}"
        yield from (f"deny: {tool}" for tool in self.deny)
        yield from (f"asked as {id_}: {model}" for id_, model in self.overrides.items())

    def of(self, choices: Choices) -> Choices:
        return replace(
            choices,
            env={**choices.env, **self.env},
            context_window=self.window or choices.context_window,
            deny=tuple(dict.fromkeys((*choices.deny, *self.deny))),
            model_overrides={**choices.model_overrides, **self.overrides},
        )


def changes(context: Context, name: str, rows: Sequence[Row]) -> Changes:
    """What these rows ask for and the variant has not yet."""
    choices = context.variants.get(name).choices
    env: dict[str, str] = {}
    for row in rows:
        for variable, value in row.env.items():
            before = env.get(variable, choices.env.get(variable, ""))
            env[variable] = value
            if variable == CAPABILITIES and before:
                env[variable] = ",".join(dict.fromkeys((*before.split(","), value)))
    windows = [row.window for row in rows if row.window]
    deny = dict.fromkeys(tool for row in rows for tool in row.deny)
    overrides = {id_: model for row in rows for id_, model in row.overrides.items()}
    return Changes(env, min(windows) if windows else None, tuple(deny), overrides)


def apply(context: Context, name: str, wanted: Changes) -> Variant:
    return choose(context, name, wanted.of)
