"""The benchmark of test environments runs and measures both; how fast they are is not for tests to say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "environment.py"


def test_a_quick_run_measures_both(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    ran = subprocess.run(
        [sys.executable, str(SCRIPT), "--quick", "--json", str(file)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    rows = {row["row"]: row for row in json.loads(file.read_text())["rows"]}
    assert set(rows) == {"test", "run", "sleep", "years"}
    for row in rows.values():
        assert row["title"] in ran.stdout
        assert all(seconds > 0 for seconds in row["median_s"].values())
        assert (row["ratio"] is not None) == (len(row["median_s"]) == 2) == (row["row"] in ("test", "run"))
