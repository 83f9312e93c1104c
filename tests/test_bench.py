"""The bench works, in its quick form; how fast things are is for `scripts/bench` to tell."""

import json
import subprocess
import sys

from tests.conftest import CHECKOUT

FIELDS = {"path", "seconds", "reference", "reference_seconds", "ratio", "goal", "met"}
PATHS = (
    *("ccm --version", "ccm which", "ccm list", "completing", "ccm show", "ccm pin", "launcher"),
    *("ccm rollback", "ccm remove", "second variant", "ccm update --all, nothing new"),
    *("ccm update --all, new release", "ccm prune, each", "ccm verify, each"),
)


def test_the_bench_prints_one_table_of_everything_it_measures() -> None:
    words = [sys.executable, "scripts/benchmarks/main.py", "--quick", "--json"]
    done = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["schema"], document["load"] >= 0) == (1, True)
    rows = document["rows"]
    for row in rows:
        assert set(row) == FIELDS
        assert row["ratio"] == row["seconds"] / row["reference_seconds"]
        assert row["met"] is (None if row["goal"] is None else row["ratio"] <= row["goal"])
    missing = [path for path in PATHS if not any(row["path"].startswith(path) for row in rows)]
    assert missing == []
    assert "1 download" in done.stderr
