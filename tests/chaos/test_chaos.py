"""The short form of the proof: some kills, and the disk broken in each way once. See docs/durability.md."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.__main__ import run
from tests.chaos.site import Site


def test_kills_and_broken_disks(tmp_path: Path, seed: int) -> None:
    """Nothing that was acknowledged is lost, nothing happens twice, and every run ends as the model says."""
    report = run(tmp_path, kills=15, seed=seed, instances=60, every=2)
    print(report)
    assert not report.violations, str(report)
    assert report.kills["engine"] >= 15
    assert set(Site.FAULTS) <= set(report.faults)
    assert report.counts["failed disk calls"]
    assert report.counts["runs ended as predicted"] >= 100
    assert report.counts["events acknowledged"]
    assert report.counts["activities run"]
