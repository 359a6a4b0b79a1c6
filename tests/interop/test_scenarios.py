"""Clients and workers of other SDKs do all they can against the engine, each pair in a run of its own."""

from __future__ import annotations

import json

import pytest

from tests.interop.expected import scenarios
from tests.interop.runs import RUNS, Outcomes


@pytest.mark.parametrize(
    ("name", "scenario"), [(name, scenario) for name, run in RUNS.items() for scenario in run.expected]
)
def test_scenario(outcomes: Outcomes, name: str, scenario: str) -> None:
    outcome = outcomes(name)
    told = outcome.told.get(scenario)
    # Instances are named after their scenarios.
    log = "\n".join(line for line in outcome.logs.splitlines() if scenario in line)
    assert told == RUNS[name].expected[scenario], f"{json.dumps(told)}\n{log}"


def test_every_scenario_is_run() -> None:
    expected = set(scenarios())
    assert set().union(*(run.expected for run in RUNS.values())) == expected
