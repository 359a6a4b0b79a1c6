"""The benchmark of the engine runs and measures everybody; how fast they are is not for tests to say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "benchmarks" / "engine.py"
RACES = {"sqlite", "sqlite-one", "grpc", "memory", "latency", "fan-out"}
SCALING = {"growth", "waiting", "history"}


def run(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), "--quick", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **(environment or {})},
    )


def measured(folder: Path, *arguments: str) -> tuple[dict[str, Any], str]:
    """What a run wrote to its file and to the terminal."""
    file = folder / "figures.json"
    ran = run("--json", str(file), *arguments)
    assert ran.returncode == 0, ran.stderr
    return json.loads(file.read_text()), ran.stdout


def test_every_row_is_measured_also_without_peers_that_are_far_away(tmp_path: Path) -> None:
    """DBOS wants an environment of its own and daprd a build: both can be left out, and are left out of the ratios."""
    document, shown = measured(tmp_path, "--without", "dbos", "--without", "dapr")
    rows = {row["row"]: row for row in document["rows"]}
    assert set(rows) == RACES | SCALING
    assert all(floor["median"] > 0 for floor in document["floor_s"].values())
    for name in RACES:
        row = rows[name]
        assert row["title"] in shown
        assert all(sample > 0 for samples in row["samples_s"].values() for sample in samples), row
        # Of these peers only durabletask is left, which has no part in two of the races.
        assert bool(row["ratios"]) == (name not in {"grpc", "latency"}), row
        assert set(row["reached"]) == set(row["ratios"])
        assert all(row["reached"][title] == (ratio >= row["must"]) for title, ratio in row["ratios"].items())
    for name in SCALING:
        row = rows[name]
        assert row["title"] in shown
        assert all(figure["value"] > 0 for figure in row["figures"]), row
        assert any(figure["limit"] is not None for figure in row["figures"]), row


def test_a_real_sidecar_takes_part(tmp_path: Path) -> None:
    """One row over gRPC, beside daprd with its state in SQLite."""
    document, shown = measured(tmp_path, "--only", "grpc")
    (row,) = document["rows"]
    assert len(row["samples_s"]) == 3, row
    assert all(ratio > 0 for ratio in row["ratios"].values())
    assert "daprd 1.16" in shown


def test_missing_peers_are_named_with_the_command_that_installs_them(tmp_path: Path) -> None:
    """Another release than the one that is measured counts as missing, and only where a row needs it."""
    folder = tmp_path / "durabletask-0.0.1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: durabletask\nVersion: 0.0.1\n")
    elsewhere = {"PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])}
    ran = run("--only", "memory", environment=elsewhere)
    assert ran.returncode == 2
    assert "pip install durabletask==1.12.0" in ran.stderr


@pytest.mark.parametrize("argument", ["--only", "--without"])
def test_unknown_rows_and_peers_are_refused(argument: str) -> None:
    ran = run(argument, "nobody")
    assert ran.returncode == 2
    assert "invalid choice: 'nobody'" in ran.stderr
