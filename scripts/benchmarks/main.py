"""The bench: every module beside this one that has rows, in one table."""

import os
import sys
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from table import Row, as_json, as_text  # noqa: E402


def main() -> None:
    options = sys.argv[1:]
    if set(options) - {"--quick", "--json"}:
        raise SystemExit("usage: scripts/bench [--quick] [--json]")
    load = os.getloadavg()[0]
    found: list[Row] = []
    for path in sorted(HERE.glob("*.py")):
        if path.stem != "main":
            rows = getattr(import_module(path.stem), "rows", None)
            found += rows("--quick" in options) if rows else []
    print(as_json(found, load) if "--json" in options else as_text(found))
    print(f"load before it began: {load:.2f}", file=sys.stderr)


main()
