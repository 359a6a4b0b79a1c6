"""Measures tests of workflows: from making the environment to its end, beside durabletask's task hub in memory.

usage: environment.py [--quick] [--json FILE]

Both contestants are processes of their own, which take turns within a row. `durabletask` has real time only, so it
takes no part where a workflow sleeps for a day.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from peers import DURABLETASK, RELEASES, missing
from stacks import durabletask_stack
from table import aligned

if TYPE_CHECKING:
    from collections.abc import Callable

OURS, PEER = "ours", f"durabletask {RELEASES[DURABLETASK]}, memory"
# Row, title, who takes part, workflows or tests for each sample, and samples; and both in a quick run.
ROWS = [
    ("test", "a test of its own: environment, workflow with 1 activity, end", (OURS, PEER), (10, 7), (2, 2)),
    ("run", "one more workflow with 1 activity in an open environment", (OURS, PEER), (100, 15), (5, 2)),
    ("sleep", "a test of its own with a sleep of a day", (OURS,), (20, 15), (2, 2)),
    ("years", "one workflow with 10,000 timers over 30 years", (OURS,), (1, 3), (1, 1)),
]


def measure_ours(row: str, count: int) -> float:
    """Seconds for each of so many tests or workflows."""
    from dapr_workflow_sdk.testing import WorkflowEnvironment

    def work(ctx: Any, value: Any) -> Any:
        return value

    def once(ctx: Any, value: Any) -> Any:
        return (yield ctx.call_activity(work, input=value))

    def sleep(ctx: Any, value: Any) -> Any:
        yield ctx.create_timer(timedelta(days=1))
        return (yield ctx.call_activity(work, input=value))

    def years(ctx: Any, value: Any) -> Any:
        for _ in range(10_000):
            yield ctx.create_timer(timedelta(hours=26, minutes=18))
        return value

    workflow = {"sleep": sleep, "years": years}.get(row, once)

    def test(runs: int) -> float:
        with WorkflowEnvironment(activities=[work]) as env:
            began = time.perf_counter()
            for number in range(runs):
                if env.run(workflow, number).result != number:
                    raise RuntimeError("a workflow came to another end")
            return (time.perf_counter() - began) / runs

    if row in ("run", "years"):
        return test(count)
    began = time.perf_counter()
    for _ in range(count):
        test(1)
    return (time.perf_counter() - began) / count


def measure_peer(row: str, count: int) -> float:
    """The same for the peer: its task hub, worker and client."""
    if row == "run":
        with durabletask_stack() as stack:
            stack.wait(stack.start("chain", 1))
            began = time.perf_counter()
            for _ in range(count):
                stack.wait(stack.start("chain", 1))
            return (time.perf_counter() - began) / count
    began = time.perf_counter()
    for _ in range(count):
        with durabletask_stack() as stack:
            stack.wait(stack.start("chain", 1))
    return (time.perf_counter() - began) / count


def serve(measure: Callable[[str, int], float]) -> None:
    """Measures what each line of the input asks for; once before that, so that everything is loaded."""
    for line in sys.stdin:
        row, count = json.loads(line)
        gc.collect()
        print(json.dumps(measure(row, count)), flush=True)


class Contestant:
    """A process that measures."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--contestant", title],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # gRPC tells of every connection that a task hub closes as it ends.
            env={**os.environ, "GRPC_VERBOSITY": "ERROR"},
        )

    def measure(self, row: str, count: int) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([row, count]), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.title} failed; its message is above.")
        seconds: float = json.loads(answer)
        return seconds

    def close(self) -> None:
        self._process.communicate()


def compete(*, quick: bool) -> list[dict[str, Any]]:
    """Measures all rows."""
    contestants = {title: Contestant(title) for title in (OURS, PEER)}
    rows: list[dict[str, Any]] = []
    try:
        for row, title, who, usual, short in ROWS:
            count, samples = short if quick else usual
            measured: dict[str, list[float]] = {name: [] for name in who}
            for name in who:
                contestants[name].measure(row, 1)
            for _ in range(samples):
                for name in who:
                    measured[name].append(contestants[name].measure(row, count))
            medians = {name: median(seconds) for name, seconds in measured.items()}
            ratio = medians[PEER] / medians[OURS] if PEER in medians else None
            rows.append({"row": row, "title": title, "samples_s": measured, "median_s": medians, "ratio": ratio})
    finally:
        for contestant in contestants.values():
            contestant.close()
    return rows


def shown(rows: list[dict[str, Any]]) -> str:
    """The table."""
    lines = [["median ms", OURS, PEER, "peer / ours"]]
    for row in rows:
        medians = row["median_s"]
        lines.append(
            [
                row["title"],
                f"{medians[OURS] * 1000:,.2f}",
                f"{medians[PEER] * 1000:,.2f}" if PEER in medians else "-",
                f"{row['ratio']:,.1f}" if row["ratio"] is not None else "-",
            ]
        )
    return aligned(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures tests of workflows beside durabletask's.")
    parser.add_argument("--quick", action="store_true", help="show that it works, and say nothing about speed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contestant:
        serve(measure_ours if given.contestant == OURS else measure_peer)
        return
    absent = missing({DURABLETASK})
    if absent:
        print(f"The peer is missing: pip install {' '.join(absent)}", file=sys.stderr)
        sys.exit(2)
    print(f"python: {platform.python_version()}, machine: {platform.machine()}\n")
    rows = compete(quick=given.quick)
    print(shown(rows))
    if given.json is not None:
        given.json.write_text(json.dumps({"quick": given.quick, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
