"""Runs a long campaign and prints its report."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from tests.fuzz.campaign import Report, fuzz

parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
parser.add_argument("--cases", type=int, default=100_000, help="how many requests")
parser.add_argument("--batch", type=int, default=5_000, help="how many before the engine is looked at")
parser.add_argument("--seed", type=int, default=int(time.time()), help="the same seed makes the same requests")
parser.add_argument("--file", action="store_true", help="an engine with a file instead of one in memory")
arguments = parser.parse_args()


def tell(report: Report) -> None:
    """One line for each batch."""
    print(f"{report.cases} cases, {report.seconds:.0f} s, {report.megabytes[-1]:.0f} MiB", flush=True)


print(f"seed {arguments.seed}", flush=True)
with tempfile.TemporaryDirectory() as folder:
    made = fuzz(
        Path(folder),
        cases=arguments.cases,
        batch=arguments.batch,
        seed=arguments.seed,
        file=arguments.file,
        tell=tell,
    )
print(made)
