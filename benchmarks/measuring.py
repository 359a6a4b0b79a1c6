"""The child's side: measures what it is asked for, in a process that knows one flavour only."""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from pathlib import Path
from time import perf_counter
from typing import Any, TextIO

from flavours import replay_of, stack_of
from histories import History, load

Samples = dict[str, float]


def replay(flavour: str, mode: str, shape: str, activities: int, history: History) -> Samples:
    """Seconds of one turn over a whole history, without and with the decoding of its request."""
    runner = replay_of(flavour, mode, shape, activities)
    wire = history.whole()
    gc.collect()
    began = perf_counter()
    request = runner.decode(wire)
    decoded = perf_counter()
    actions = runner.turn(request)
    ended = perf_counter()
    if not runner.result(actions):
        raise RuntimeError(f"{flavour}: the replay did not complete: {actions}")
    return {"executor": ended - decoded, "with decoding": ended - began}


def turns(flavour: str, mode: str, shape: str, activities: int, history: History) -> Samples:
    """Seconds of all turns of a workflow, each given the whole history, without and with decoding."""
    runner = replay_of(flavour, mode, shape, activities)
    actions: list[Any] = []
    executing = decoding = 0.0
    gc.collect()
    for wire in history.requests():
        began = perf_counter()
        request = runner.decode(wire)
        decoded = perf_counter()
        actions = runner.turn(request)
        executing += perf_counter() - decoded
        decoding += decoded - began
    if not runner.result(actions):
        raise RuntimeError(f"{flavour}: the last turn did not complete: {actions}")
    return {"executor": executing, "with decoding": executing + decoding}


def end_to_end(flavour: str, mode: str, activities: int, workflows: int) -> Samples:
    """Seconds from the first request to start until the last workflow has completed."""
    with stack_of(flavour, mode) as stack:
        gc.collect()
        began = perf_counter()
        for instance_id in [stack.start(activities) for _ in range(workflows)]:
            stack.wait(instance_id)
        return {"total": perf_counter() - began}


def measure(asked: dict[str, Any]) -> Samples:
    """One sample of a case."""
    case, mode, flavour = asked["case"], asked["mode"], asked["flavour"]
    if case["section"] == "end-to-end":
        return end_to_end(flavour, mode, case["activities"], case["workflows"])
    measurement = replay if case["section"] == "replay" else turns
    return measurement(flavour, mode, case["shape"], case["activities"], load(Path(asked["history"])))


def serve() -> None:
    """Answers requests, one line of JSON each, until the input ends."""
    answers = _take_stdout()
    for line in sys.stdin:
        try:
            answer: dict[str, Any] = {"seconds": measure(json.loads(line))}
        except Exception:
            answer = {"error": traceback.format_exc()}
        gc.collect()
        print(json.dumps(answer), file=answers, flush=True)


def _take_stdout() -> TextIO:
    # Whatever a library prints must not get between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


if __name__ == "__main__":
    serve()
