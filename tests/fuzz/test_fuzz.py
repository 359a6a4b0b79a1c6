"""A short campaign of each kind; `python -m tests.fuzz --cases 1000000` runs a long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.campaign import fuzz


@pytest.mark.parametrize(("seed", "file"), [(1, False), (2, True)])
def test_requests_that_make_no_sense_harm_nobody(tmp_path: Path, seed: int, file: bool) -> None:
    report = fuzz(tmp_path, cases=1500, batch=500, seed=seed, file=file)
    assert report.cases == 1500
    # They did not all bounce off the door.
    assert report.answers["StartInstance OK"] > 0
    assert report.answers["HTTP 202"] > 0
    assert report.answers["turns and activities answered with nonsense"] > 0
    # What was left is forgotten after each batch, so memory does not grow with the cases.
    assert report.megabytes[-1] < report.megabytes[0] + 50
    assert any(name.endswith("INVALID_ARGUMENT") for name in report.answers)
