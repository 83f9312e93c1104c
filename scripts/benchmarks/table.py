"""What every benchmark gives."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A path and what it is compared with, in seconds; `goal` is the highest ratio wanted."""

    path: str
    seconds: float
    reference: str
    reference_seconds: float
    goal: float | None
