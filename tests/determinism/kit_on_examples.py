"""Tests the workflows of the examples with the kit: linter, check_determinism, strategies and properties.

usage: python -m tests.determinism.kit_on_examples

Prints a line for each finding, and a last line with what was looked at. It is a program of its own because the examples
define workflows and activities at module level, as programs do.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dapr_workflow_sdk.authoring.definitions import _ATTRIBUTE
from dapr_workflow_sdk.testing import check_determinism, lint
from dapr_workflow_sdk.testing.properties import (
    completes,
    prefixes_equal,
    replays_equal,
)
from dapr_workflow_sdk.testing.strategies import executions

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

EXAMPLES = 10


@dataclass(frozen=True)
class Example:
    """A workflow of the examples and inputs that lead through its branches."""

    module: str
    name: str
    inputs: tuple[Any, ...]
    events: Mapping[str, Any] = field(default_factory=dict)
    more: tuple[str, ...] = ()


_LINE = {"sku": "LAMP-1", "quantity": 2, "unit_price": "19.90"}
_ORDER = {"id": "A-1", "customer": "Ada", "lines": [_LINE]}
_LARGE = {**_ORDER, "id": "A-2", "lines": [{**_LINE, "quantity": 100}]}

ALL = (
    Example("hello_world", "hello_world", ("Hello",), {"answer": "hello, you"}),
    Example("task_chaining", "celsius_report", ("98.6 F", "nonsense")),
    Example("fan_out_fan_in", "shrink_photos", ({"photos": 4}, {"photos": 5, "cap": 2})),
    Example("async_http_api", "make_report", ({"title": "May", "pages": 2},)),
    Example("monitor", "watch_site", ({"site": "example.org"},)),
    Example(
        "external_event",
        "purchase",
        ({"product": "pen", "cost": 3}, {"product": "press", "cost": 2500}),
        {"approval": {"approver": "Ms Okafor"}},
    ),
    Example("saga_compensation", "book_trip", ({"city": "Ghent", "travellers": 2}, {"city": "Ghent", "travellers": 9})),
    Example("child_workflows", "count_company", (["ghent", "atlantis"],)),
    Example("async_workflow", "weather_map", (["north", "south"],)),
    Example(
        "order_processing",
        "process_order",
        (_ORDER, _LARGE),
        {"approval": "yes"},
        ("orders.activities", "orders.shipment"),
    ),
)


def _defined(modules: list[ModuleType], kind: str) -> dict[str, Callable[..., Any]]:
    found = {}
    for module in modules:
        for value in vars(module).values():
            definition = getattr(value, _ATTRIBUTE, None)
            if definition is not None and definition.kind == kind:
                found[definition.name] = value
    return found


def _problems(example: Example) -> list[str]:
    modules = [importlib.import_module(name) for name in (example.module, *example.more)]
    workflows, activities = _defined(modules, "workflow"), _defined(modules, "activity")
    function = workflows[example.name]
    children = [workflow for name, workflow in workflows.items() if name != example.name]
    problems = [finding.headline for workflow in workflows.values() for finding in lint(workflow)]
    for value in example.inputs:
        report = check_determinism(
            function,
            input=value,
            activities=list(activities.values()),
            workflows=children,
            events=dict(example.events),
        )
        problems += [str(finding) for finding in report.findings]
    drawn = executions(
        function,
        st.sampled_from(example.inputs),
        activities=dict.fromkeys(activities.values()),
        events={name: st.just(payload) for name, payload in example.events.items()},
        workflows=children,
    )

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(drawn)
    def hold(execution: Any) -> None:
        replays_equal(execution)
        prefixes_equal(execution)
        completes(execution)

    try:
        hold()
    except BaseException as error:
        problems.append(f"{example.name}: {error}")
    return problems


def _main() -> None:
    looked_at = 0
    for example in ALL:
        # Activities of examples print what they do.
        with contextlib.redirect_stdout(io.StringIO()):
            problems = _problems(example)
        for problem in problems:
            print(problem)
        looked_at += 1
    print(f"{looked_at} examples")


if __name__ == "__main__":
    _main()
