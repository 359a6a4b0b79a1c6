"""Clients and workers of other SDKs do all they can against the engine, each pair in a run of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

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


Results = Callable[[str], Outcome]


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    """What the client of a run tells. Each run is made once, and two at a time: they wait as much as they work."""
    wanted = [item.callspec.params["name"] for item in request.session.items if "results" in item.fixturenames]
    threads = ThreadPoolExecutor(2)
    try:
        folders = {name: tmp_path_factory.mktemp("run") for name in dict.fromkeys(wanted)}
        runs = {name: threads.submit(_run, RUNS[name], folder) for name, folder in folders.items()}
        yield lambda name: runs[name].result()
    finally:
        threads.shutdown(cancel_futures=True)


def _run(run: Run, folder: Path) -> Outcome:
    with site(folder) as place:
        place.start_worker(run.worker())
        told = place.run_client(run.client(), *run.expected)
        return Outcome(told, place.logs(1000))


@pytest.mark.parametrize(
    ("name", "scenario"), [(name, scenario) for name, run in RUNS.items() for scenario in run.expected]
)
def test_scenario(results: Results, name: str, scenario: str) -> None:
    outcome = results(name)
    told = outcome.told.get(scenario)
    # Instances are named after their scenarios.
    log = "\n".join(line for line in outcome.logs.splitlines() if scenario in line)
    assert told == RUNS[name].expected[scenario], f"{json.dumps(told)}\n{log}"


def test_every_scenario_is_run() -> None:
    expected = set(scenarios())
    assert set().union(*(run.expected for run in RUNS.values())) == expected
