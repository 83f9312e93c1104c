"""What every benchmark gives: rows, from runs that take turns; and how they are shown."""

import json
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

HEAD = ("path", "ours", "reference", "ms", "ratio", "goal", "")


@dataclass(frozen=True)
class Row:
    """A path and what it is compared with, in seconds; `goal` is the highest ratio wanted."""

    path: str
    seconds: float
    reference: str
    reference_seconds: float
    goal: float | None

    @property
    def ratio(self) -> float:
        return self.seconds / self.reference_seconds

    @property
    def met(self) -> bool | None:
        return None if self.goal is None else self.ratio <= self.goal


Run = tuple[Callable[[], object], Callable[[], object]]
"""What gets ready, and what is measured."""


def ready() -> None:
    """Nothing has to be got ready."""


def medians(runs: Sequence[Run], times: int) -> list[float]:
    """Seconds of each, taken in turns, so that a machine that slows down slows all of them.

    The first turn only warms up, unless there is no other.
    """
    taken: list[list[float]] = [[] for _ in runs]
    for turn in range(times + 1 if times > 1 else 1):
        for (prepare, measured), kept in zip(runs, taken, strict=True):
            prepare()
            begun = time.perf_counter()
            measured()
            if turn or times == 1:
                kept.append(time.perf_counter() - begun)
    return [statistics.median(kept) for kept in taken]


def as_text(rows: Iterable[Row]) -> str:
    lines = [HEAD, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at in (0, 2, 6) else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def as_json(rows: Iterable[Row], load: float) -> str:
    """`load` is the machine's, over the last minute before the first run."""
    found = [
        {
            "path": row.path,
            "seconds": row.seconds,
            "reference": row.reference,
            "reference_seconds": row.reference_seconds,
            "ratio": row.ratio,
            "goal": row.goal,
            "met": row.met,
        }
        for row in rows
    ]
    return json.dumps({"schema": 1, "load": load, "rows": found}, indent=2)


def _cells(row: Row) -> tuple[str, ...]:
    goal = "" if row.goal is None else f"{row.goal:g}"
    met = {None: "", True: "met", False: "missed"}[row.met]
    ours, other = f"{1000 * row.seconds:.1f}", f"{1000 * row.reference_seconds:.1f}"
    return (row.path, ours, row.reference, other, f"{row.ratio:.2f}", goal, met)
