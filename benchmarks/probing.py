"""The child's side of `engine.py`: opens one stack and measures what it is asked for, one line of JSON each.

Its one argument says which stack: ``{"flavour": ..., ...}``.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from stacks import STEPS, OurStack, Stack, dapr_stack, dbos_stack, durabletask_stack, our_stack

if TYPE_CHECKING:
    from collections.abc import Iterator

Answer = dict[str, Any]
# Clients that start very many workflows wait for so many of them at a time.
_BATCH = 200


def throughput(stack: Stack, asked: Answer) -> Answer:
    """Seconds from the first workflow that is started until the last has completed."""
    gc.collect()
    callers = asked.get("callers", 1)

    def start(_: int) -> Any:
        return stack.start(asked["shape"], asked["activities"])

    with ThreadPoolExecutor(callers) as pool:
        began = time.perf_counter()
        # One caller starts them itself, as most programs do; many are the requests of a web server.
        numbers = range(asked["workflows"])
        for started in [start(number) for number in numbers] if callers == 1 else pool.map(start, numbers):
            stack.wait(started)
        return {"seconds": time.perf_counter() - began}


def latency(stack: Stack, asked: Answer) -> Answer:
    """Seconds of one activity of a chain, nothing else running."""
    activities = asked["activities"]
    samples = []
    for _ in range(asked["times"]):
        began = time.perf_counter()
        stack.wait(stack.start("chain", activities))
        samples.append(time.perf_counter() - began)
    return {"seconds": median(samples) / activities}


def growth(stack: Stack, asked: Answer) -> Answer:
    """Seconds for each of the next finished instances, one activity each."""
    count = asked["workflows"]
    began = time.perf_counter()
    for at in range(0, count, _BATCH):
        for started in [stack.start("chain", 1) for _ in range(min(_BATCH, count - at))]:
            stack.wait(started)
    return {"seconds": (time.perf_counter() - began) / count}


def wait_for_events(stack: OurStack, asked: Answer) -> Answer:
    """Starts instances that wait for an event; how much memory the process then has, in bytes, and how long it took."""
    began = time.perf_counter()
    last = ""
    for number in range(asked["from"], asked["to"]):
        last = f"waiting-{number}"
        stack.client.schedule_new_workflow("waiting", instance_id=last)
    # They take their first turns in order.
    stack.client.wait_for_workflow_start(last, timeout_in_seconds=600)
    seconds = time.perf_counter() - began
    gc.collect()
    return {"memory": memory(), "seconds": seconds}


def event(stack: OurStack, asked: Answer) -> Answer:
    """Seconds from raising an event until the instance that waited for it has completed."""
    samples = []
    for number in asked["instances"]:
        began = time.perf_counter()
        stack.client.raise_workflow_event(f"waiting-{number}", "go", data=number)
        stack.wait(f"waiting-{number}")
        samples.append(time.perf_counter() - began)
    return {"seconds": median(samples), "memory": memory()}


def long_history(stack: Stack, asked: Answer) -> Answer:
    """Seconds of a step when the history is short, and when it is long."""
    begin, end, window = asked["short"], asked["long"], asked["window"]
    short: list[float] = []
    for _ in range(asked["times"]):
        STEPS.clear()
        stack.wait(stack.start("timed_chain", begin + 2))
        short.append(STEPS[begin + 1] - STEPS[begin])
    STEPS.clear()
    stack.wait(stack.start("timed_chain", end + window))
    long = [after - before for before, after in zip(STEPS[end - 1 :], STEPS[end:], strict=False)]
    return {"short": median(short), "long": median(long)}


def memory() -> int:
    """Bytes of this process that are in memory."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


MEASUREMENTS: dict[str, Any] = {
    function.__name__: function for function in (throughput, latency, growth, wait_for_events, event, long_history)
}


@contextmanager
def served(database: Path) -> Iterator[int]:
    """An engine on a file for other processes; its port."""
    from dapr_workflow_sdk import EmbeddedEngine

    with EmbeddedEngine(database) as engine, engine.serve() as served_at:
        yield served_at.grpc_port


def open_stack(asked: Answer) -> AbstractContextManager[Any]:
    """The stack that the argument names."""
    flavour = asked["flavour"]
    if flavour == "durabletask":
        return durabletask_stack()
    if flavour == "dapr":
        return dapr_stack(asked["port"])
    if flavour == "dbos":
        return dbos_stack(Path(asked["database"]))
    if flavour == "server":
        return served(Path(asked["database"]))
    database = asked.get("database")
    return our_stack(
        database=None if database is None else Path(database),
        port=asked.get("port", 0),
        asynchronous=asked.get("asynchronous", False),
    )


def main() -> None:
    """Opens the stack, says how long that took, and answers until the input ends."""
    # Whatever a library prints must not get between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(answer: Answer) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    asked = json.loads(sys.argv[1])
    began = time.perf_counter()
    try:
        with open_stack(asked) as stack:
            ready: Answer = {"seconds": time.perf_counter() - began, "memory": memory()}
            if isinstance(stack, int):
                ready["port"] = stack
            elif asked.get("warm", True):
                stack.wait(stack.start("chain", 3))
            say(ready)
            for line in sys.stdin:
                question = json.loads(line)
                try:
                    say(MEASUREMENTS[question["what"]](stack, question))
                except Exception:
                    say({"error": traceback.format_exc()})
    except Exception:
        say({"error": traceback.format_exc()})


if __name__ == "__main__":
    main()
