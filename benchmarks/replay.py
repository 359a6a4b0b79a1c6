"""Measures replay and whole runs of this package beside the official Dapr SDK and durabletask.

    python benchmarks/replay.py [--quick] [--json FILE] [--only SECTION]

What the figures mean is in README.md beside this file.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import perf_counter
from types import TracebackType
from typing import Any

from cases import CONTESTANTS, OURS, PEERS, Case, Contestant, Section, full, quick
from histories import save
from recording import build
from report import Row, tables
from typing_extensions import Self

_CHILD = Path(__file__).with_name("measuring.py")
_SECTIONS: tuple[Section, ...] = ("replay", "turns", "end-to-end")


class Child:
    """A process that measures one flavour."""

    def __init__(self, flavour: str) -> None:
        """Starts it."""
        self._flavour = flavour
        self._process = subprocess.Popen(
            [sys.executable, str(_CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "GRPC_VERBOSITY": "NONE"},
        )

    def measure(self, case: Case, contestant: Contestant, history: Path | None) -> dict[str, float]:
        """One sample: seconds by measurement.

        Raises:
            RuntimeError: The measurement failed.
        """
        asked = {
            "case": case.to_json(),
            "flavour": self._flavour,
            "mode": contestant.mode,
            "history": str(history),
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline() or '{"error": "The process died."}')
        if "error" in answer:
            raise RuntimeError(f"Measuring {case.title} of {contestant.title} failed:\n{answer['error']}")
        seconds: dict[str, float] = answer["seconds"]
        return seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def missing_peers() -> list[str]:
    """Requirements of the peers that are not installed in the release that is measured."""
    missing = []
    for package, version in PEERS.items():
        try:
            installed = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            installed = None
        if installed != version:
            missing.append(f"{package}=={version}")
    return missing


def run(cases: Sequence[Case], syncs: list[float]) -> list[Row]:
    """Measures all cases; within one, the contestants take turns.

    Args:
        cases: The cases.
        syncs: Takes what the disk costs meanwhile, in seconds, as that changes from minute to minute.
    """
    rows: list[Row] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        children = {flavour: stack.enter_context(Child(flavour)) for flavour in (OURS, *PEERS)}
        for case in cases:
            print(f"measuring {case.section}: {case.title}", file=sys.stderr, flush=True)
            rows += _run_case(case, children, folder, syncs)
    return rows


def _run_case(case: Case, children: dict[str, Child], folder: Path, syncs: list[float]) -> list[Row]:
    history: Path | None = None
    if case.section != "end-to-end":
        history = folder / f"{case.shape}-{case.activities}"
        save(build(case.shape, case.activities), history)
    rows: dict[str, Row] = {}
    for _ in range(case.repeats):
        syncs.append(_sync_seconds())
        for contestant in CONTESTANTS[case.section]:
            seconds = children[contestant.flavour].measure(case, contestant, history)
            for what, value in seconds.items():
                rows.setdefault(what, Row(case, what)).samples.setdefault(contestant.title, []).append(value)
    return list(rows.values())


def surroundings() -> dict[str, Any]:
    """What the absolute figures depend on."""
    return {
        "python": platform.python_version(),
        "protobuf": importlib.metadata.version("protobuf"),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "peers": PEERS,
    }


def _sync_seconds() -> float:
    """Median seconds of writing a page and waiting for the disk, as a commit to SQLite's log does once."""
    sync = getattr(os, "fdatasync", os.fsync)
    samples = []
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(bytes(20 * 4096))
        sync(file.fileno())
        file.seek(0)
        for _ in range(20):
            began = perf_counter()
            file.write(b"x" * 4096)
            sync(file.fileno())
            samples.append(perf_counter() - began)
    return median(samples)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(description="Measures this package beside the official Dapr SDK and durabletask.")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it works, not how fast it is")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything that was measured to FILE")
    parser.add_argument("--only", choices=_SECTIONS, help="measure one section only")
    options = parser.parse_args(arguments)
    missing = missing_peers()
    if missing:
        command = f"{sys.executable} -m pip install {' '.join(missing)}"
        print(
            f"The benchmark compares with packages that are not installed. Install them:\n\n    {command}",
            file=sys.stderr,
        )
        return 2
    cases = [case for case in (quick() if options.quick else full()) if options.only in (None, case.section)]
    around = surroundings()
    syncs: list[float] = []
    rows = run(cases, syncs)
    for name, choose in (("least", min), ("median", median), ("most", max)):
        around[f"sync_ms_{name}"] = round(choose(syncs) * 1000, 3)
    print(", ".join(f"{name}: {value}" for name, value in around.items() if name != "peers"), end="\n\n")
    print(tables(rows))
    if options.json is not None:
        document = {"surroundings": around, "quick": options.quick, "rows": [row.to_json() for row in rows]}
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
