"""``python -m tests.chaos --kills 500 --seed 1 --workers 2``: kills, breaks disks, and reports what was lost."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.site import Report, Site


def run(folder: Path, *, kills: int, seed: int, workers: int = 2, instances: int = 200, every: int = 12) -> Report:
    """Runs until the engine has been killed so often; between, the disk breaks in every way.

    Args:
        folder: Where all files go.
        kills: How often the engine is killed.
        seed: Decides who is killed when, and what is run.
        workers: How many worker processes there are.
        instances: How many workflows run at any time.
        every: After so many kills the disk breaks.
    """
    site = Site(folder, seed=seed, workers=workers, instances=instances)
    faults = list(site.FAULTS)
    dice = random.Random(seed)
    try:
        site.start()
        rounds = 0
        while site.report.kills["engine"] < kills or faults:
            site.kill_somebody()
            rounds += 1
            if rounds % every == 0:
                site.break_disk(faults.pop(0) if faults else dice.choice(site.FAULTS))
            if rounds % 25 == 0:
                print(f"{time.strftime('%X')} {dict(site.report.kills)} {dict(site.report.faults)}", flush=True)
        site.finish()
    finally:
        site.close()
    return site.report


def main() -> int:
    """Reads the command line and runs."""
    parser = argparse.ArgumentParser("python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=500, help="kills of the engine")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--workers", type=int, default=2, help="worker processes")
    parser.add_argument("--instances", type=int, default=200, help="workflows that run at any time")
    parser.add_argument("--folder", type=Path, help="where the files go and stay; a temporary folder by default")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        report = run(
            folder.resolve(),
            kills=options.kills,
            seed=options.seed,
            workers=options.workers,
            instances=options.instances,
        )
    print(report)
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
