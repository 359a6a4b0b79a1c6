"""Measures the engine beside the peers, in one run, and whether it keeps what it promises.

    python benchmarks/engine.py [--quick] [--only ROW] [--without PEER] [--json FILE] [--folder FOLDER]

What the rows mean is in README.md beside this file.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sqlite3
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import scaling
from field import Field
from peers import RELEASES, TITLES, missing
from races import races, run
from table import aligned

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def floor(folder: Path | None) -> dict[str, list[float]]:
    """Seconds of what no durable engine gets below: a sync of the disk, and a commit of SQLite."""
    sync = getattr(os, "fdatasync", os.fsync)
    with tempfile.TemporaryDirectory(dir=folder) as where:
        with (Path(where) / "file").open("wb", buffering=0) as file:

            def append() -> None:
                file.write(bytes(8192))
                sync(file.fileno())

            syncs = _times(append)
        connection = sqlite3.connect(Path(where) / "floor.db", isolation_level=None)
        try:
            for statement in ("journal_mode=WAL", "synchronous=FULL"):
                connection.execute(f"PRAGMA {statement}")
            connection.execute("CREATE TABLE counts (number INTEGER)")
            connection.execute("INSERT INTO counts VALUES (0)")

            def commit() -> None:
                connection.execute("UPDATE counts SET number = number + 1")

            commits = _times(commit)
        finally:
            connection.close()
    return {"append 8 KiB and sync": syncs, "commit of one small row in SQLite": commits}


def _times(what: Callable[[], None]) -> list[float]:
    samples = []
    for _ in range(300):
        began = perf_counter()
        what()
        samples.append(perf_counter() - began)
    return sorted(samples)


def _floor_table(measured: dict[str, list[float]]) -> str:
    lines = [["floor of this disk, ms", "median", "least", "9 in 10", "most"]]
    for what, samples in measured.items():
        ninth = samples[len(samples) * 9 // 10]
        figures = (median(samples), samples[0], ninth, samples[-1])
        lines.append([what, *(f"{value * 1000:.3f}" for value in figures)])
    return aligned(lines)


def _surroundings() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "protobuf": importlib.metadata.version("protobuf"),
        "sqlite": sqlite3.sqlite_version,
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "peers": RELEASES,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit code."""
    names = [*(race.name for race in races(quick=True)), *scaling.ROWS]
    parser = argparse.ArgumentParser(description="Measures the engine beside the peers.")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it works, not how fast it is")
    parser.add_argument("--only", choices=names, action="append", help="measure this row only; may be given again")
    parser.add_argument("--without", choices=sorted(RELEASES), action="append", default=[], help="leave a peer out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything that was measured to FILE")
    parser.add_argument("--folder", type=Path, help="where databases are made; the disk that counts")
    options = parser.parse_args(arguments)
    wanted = [name for name in names if options.only is None or name in options.only]
    without = set(options.without)
    absent = missing({peer for race in races(quick=True) if race.name in wanted for peer in race.peers} - without)
    if absent:
        print(f"Install what it is compared with, or leave it out with --without:\n\n    "
              f"{sys.executable} -m pip install {' '.join(absent)}", file=sys.stderr)  # fmt: skip
        return 2
    around = _surroundings()
    print(", ".join(f"{name}: {value}" for name, value in around.items() if name != "peers"), end="\n\n", flush=True)
    floors = floor(options.folder)
    print(_floor_table(floors), end="\n\n", flush=True)
    rows: list[dict[str, Any]] = []
    with Field(options.folder, without) as contestants:
        for race in races(quick=options.quick):
            if race.name in wanted:
                result = run(race, contestants)
                rows.append(result.to_json())
                print(result.table(), end="\n\n", flush=True)
    # A field of its own: nothing of the races runs, or is in the way, while these are measured.
    with Field(options.folder, without) as contestants:
        for name, measure in scaling.ROWS.items():
            if name in wanted:
                scaled = measure(contestants, quick=options.quick)
                rows.append(scaled.to_json())
                print(scaled.table(), end="\n\n", flush=True)
    again = floor(options.folder)
    print(f"At the end of the run:\n\n{_floor_table(again)}")
    if options.json is not None:
        document = {
            "surroundings": around,
            "quick": options.quick,
            "floor_s": {what: {"median": median(samples)} for what, samples in floors.items()},
            "rows": rows,
            "left_out": sorted(TITLES[name] for name in without),
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
