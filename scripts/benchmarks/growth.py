"""How commands grow with the number of variants: nothing worse than linear, memory flat.

A row compares what one variant takes among many with what it takes among a tenth of them, the cost
of an interpreter that does nothing left out; 1 is linear, less is better. Memory goes to stderr.
"""

import sys
from collections.abc import Callable

from homes import PYTHON, User, user
from table import Row, medians, ready

_COUNTED = """
import atexit, sys
from ccmirror_py.cli.main import main
def tell():
    try:
        status = open("/proc/self/status").read()
    except OSError:
        status = "VmHWM: 0 kB"
    print(status.partition("VmHWM:")[2].split()[0])
atexit.register(tell)
main()
"""
"""ccm, and then VmHWM of proc(5), kB: what a child's rusage tells may be its parent's."""
COMMANDS = ("list", "update --all", "prune", "verify")


def rows(quick: bool) -> list[Row]:
    sizes, times = ((2, 4), 1) if quick else ((10, 100, 1000), 3)
    taken: dict[str, list[float]] = {command: [] for command in COMMANDS}
    for size in sizes:
        with user(size) as at:
            runs: list[Callable[[], object]] = [at.ccm(*command.split()) for command in COMMANDS]
            found = medians([(ready, at.python), *((ready, run) for run in runs)], times)
            for command, seconds in zip(COMMANDS, found[1:], strict=True):
                taken[command].append((seconds - found[0]) / size)
                print(
                    f"ccm {command}, {size:,} variants: {1000 * seconds:.0f} ms, "
                    f"{_megabytes(at, command)} MB",
                    file=sys.stderr,
                )
    return [
        Row(
            f"ccm {command}, each of {sizes[at + 1]:,}",
            each[at + 1],
            f"each of {sizes[at]:,}",
            each[at],
            1.1,
        )
        for command, each in taken.items()
        for at in range(len(sizes) - 1)
    ]


def _megabytes(at: User, command: str) -> int:
    """The most memory it had at once; 0 where the system does not tell."""
    told = at.run(PYTHON, "-P", "-c", _COUNTED, *command.split()).splitlines()[-1]
    return int(told) // 1024
