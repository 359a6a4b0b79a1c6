"""The runs of the scenarios: which worker, which client, and what the client is to tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.interop.expected import (
    NOT_FOR_JAVASCRIPT_WORKERS,
    NOT_IN_JAVASCRIPT,
    NOT_IN_OLD_JAVASCRIPT,
    NOT_IN_PYTHON,
    scenarios,
)
from tests.interop.programs import Sdk, javascript, official, ours, site


@dataclass(frozen=True)
class Run:
    """A worker, a client, and what the client is to tell."""

    worker: Callable[[], Sdk]
    client: Callable[[], Sdk]
    expected: Mapping[str, Any]


_NOT_REGISTERED = [["FAILED", None], "WorkflowNotRegisteredError"]
RUNS = {
    "python": Run(official, official, scenarios(NOT_IN_PYTHON)),
    "python, asynchronous client": Run(official, lambda: official("async"), scenarios(NOT_IN_PYTHON)),
    "python, whole histories": Run(
        lambda: official(deltas=False), official, scenarios(NOT_IN_PYTHON, deltas=["COMPLETED", False])
    ),
    "javascript": Run(javascript, javascript, scenarios(NOT_IN_JAVASCRIPT)),
    "javascript 3.6": Run(
        lambda: javascript("dapr-3-6"),
        lambda: javascript("dapr-3-6"),
        scenarios(NOT_IN_JAVASCRIPT, NOT_IN_OLD_JAVASCRIPT),
    ),
    "python client, javascript worker": Run(
        javascript, lambda: official("async"), scenarios(NOT_IN_PYTHON, NOT_FOR_JAVASCRIPT_WORKERS)
    ),
    "javascript client, python worker": Run(official, javascript, scenarios(NOT_IN_JAVASCRIPT)),
    "python client, our worker": Run(
        ours, official, scenarios(NOT_IN_PYTHON, {"deltas"}, unknown_workflow=_NOT_REGISTERED)
    ),
    "javascript client, our worker": Run(
        ours, javascript, scenarios(NOT_IN_JAVASCRIPT, unknown_workflow=_NOT_REGISTERED)
    ),
}


@dataclass(frozen=True)
class Outcome:
    """What the client of a run has told, and what engine and worker have logged."""

    told: Mapping[str, Any]
    logs: str


Outcomes = Callable[[str], Outcome]


@contextmanager
def running(names: Iterable[str], make_folder: Callable[[str], Path]) -> Iterator[Outcomes]:
    """Makes runs in the background, two at a time, as they wait as much as they work; gives what each comes to.

    Args:
        names: Which ones, each once.
        make_folder: Makes the folder of a run.
    """
    threads = ThreadPoolExecutor(2)
    try:
        runs = {name: threads.submit(_run, RUNS[name], make_folder("run")) for name in names}
        yield lambda name: runs[name].result()
    finally:
        threads.shutdown(cancel_futures=True)


def _run(run: Run, folder: Path) -> Outcome:
    with site(folder) as place:
        place.start_worker(run.worker())
        told = place.run_client(run.client(), *run.expected)
        return Outcome(told, place.logs(1000))
