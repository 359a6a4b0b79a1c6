"""The benchmark runs and measures everybody; how fast they are is not for tests to say."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "replay.py"
PEERS = {"dapr": "1.19.0", "durabletask": "1.12.0"}
# Section, shape, measurement; and the ratios that each row of a section has.
KINDS = {
    ("replay", "chain", "executor"),
    ("replay", "chain", "with decoding"),
    ("replay", "fan-out", "executor"),
    ("replay", "fan-out", "with decoding"),
    ("turns", "chain", "executor"),
    ("turns", "chain", "with decoding"),
    ("end-to-end", "chain", "total"),
}
RATIOS = {"replay": 2, "turns": 4, "end-to-end": 2}


def run(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **(environment or {})},
    )


def peers_are_there() -> bool:
    try:
        return all(importlib.metadata.version(name) == version for name, version in PEERS.items())
    except importlib.metadata.PackageNotFoundError:
        return False


@pytest.mark.skipif(not peers_are_there(), reason="the packages to compare with are not installed")
def test_a_quick_run_measures_everybody(tmp_path: Path) -> None:
    """Every kind of row is there, in the file and on the terminal, with medians and ratios."""
    file = tmp_path / "figures.json"
    ran = run("--quick", "--json", str(file))
    assert ran.returncode == 0, ran.stderr
    document: dict[str, Any] = json.loads(file.read_text())
    rows: list[dict[str, Any]] = document["rows"]
    assert document["quick"]
    assert {(row["section"], row["shape"], row["what"]) for row in rows} == KINDS
    assert any(row["workflows"] > 1 for row in rows)
    for row in rows:
        assert len(row["ratios"]) == RATIOS[row["section"]], row
        assert all(ratio > 0 for ratio in row["ratios"].values()), row
        assert all(value > 0 for value in row["median_ms"].values()), row
        assert all(len(samples) == row["repeats"] for samples in row["samples_s"].values()), row
        assert row["title"] in ran.stdout


def test_missing_peers_are_named_with_the_command_that_installs_them(tmp_path: Path) -> None:
    """Another release than the one that is measured counts as missing."""
    for name in PEERS:
        folder = tmp_path / f"{name}-0.0.1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.0.1\n")
    ran = run("--quick", environment={"PYTHONPATH": str(tmp_path)})
    assert ran.returncode == 2
    assert "pip install dapr==1.19.0 durabletask==1.12.0" in ran.stderr
