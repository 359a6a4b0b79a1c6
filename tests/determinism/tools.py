"""What each tool of the testing kit finds in the gallery. A tool runs in a process of its own, so none sees what
another has left in memory.

usage: python -m tests.determinism.tools TOOL FOLDER

Prints the findings by case, as JSON. FOLDER has the histories that `record` wrote, for the tool that replays them.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and sys.argv[1] == "replay":
    # Recorded here, replayed there, as a check before a deployment does it.
    from tests.determinism import elsewhere

    elsewhere.pretend()

import contextlib
import itertools
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict

from dapr_workflow_sdk import NonDeterminismError, WorkflowStatus
from dapr_workflow_sdk.linting import lint
from dapr_workflow_sdk.testing import Replayer, WorkflowEnvironment, WorkflowRun, WorkflowStuckError, check_determinism
from tests.determinism.case import Case, World
from tests.determinism.gallery import cases
from tests.determinism.world import service

# Executions that the strategies draw of a case.
EXAMPLES = 6


@contextlib.contextmanager
def world(url: str) -> Iterator[World]:
    """A world with a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        yield World(Path(folder), url)


# ---- the tools -----------------------------------------------------------------------------------------------


def linter(case: Case, url: str) -> list[str]:
    """Reads the source."""
    return sorted({finding.rule_id for finding in lint(case.workflow)})


def _run(env: WorkflowEnvironment, case: Case, given: Any) -> WorkflowRun[Any]:
    run = env.start(case.workflow, given)
    for name, payload in case.events:
        if run.status is WorkflowStatus.RUNNING:
            env.raise_event(run, name, payload)
    return env.wait(run)


def environment(case: Case, url: str) -> list[str]:
    """Runs it once in a test environment that replays each turn beside."""
    with world(url) as around, _environment(case, shadow=True) as env:
        try:
            run = _run(env, case, case.given(around))
        except (NonDeterminismError, WorkflowStuckError) as error:
            return [type(error).__name__]
        return [] if run.failure is None else [run.failure.error_type]


def _environment(case: Case, *, shadow: bool) -> WorkflowEnvironment:
    workflows = [case.workflow, *case.children]
    return WorkflowEnvironment(workflows=workflows, activities=case.activities, shadow=shadow, timeout=10)


# A loop that waits for the clock never ends while the clock stands still.
ENDLESS = {"waits_busily"}


def check(case: Case, url: str) -> list[str]:
    """Runs it while everything around it changes."""
    if case.name in ENDLESS:
        return []
    with world(url) as around:
        report = check_determinism(
            case.workflow,
            input=case.given(around),
            activities=list(case.activities),
            workflows=list(case.children),
            events=list(case.events),
        )
    return sorted({finding.rule_id for finding in report.findings})


def strategies(case: Case, url: str) -> list[str]:
    """Draws executions and asserts the properties that come with the kit."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st

    from dapr_workflow_sdk.testing.properties import completes, prefixes_equal, replays_equal
    from dapr_workflow_sdk.testing.strategies import executions

    with world(url) as around:
        numbers = itertools.count()

        def value() -> Any:
            folder = around.folder / str(next(numbers))
            folder.mkdir()
            return case.given(World(folder, url))

        def drawn(**how: Any) -> Any:
            return executions(
                case.workflow,
                st.builds(value),
                activities=dict.fromkeys(case.activities),
                events={name: st.just(payload) for name, payload in case.events},
                workflows=case.children,
                **how,
            )

        quickly = settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate,),
        )

        @quickly
        @given(drawn())
        def hold(execution: Any) -> None:
            replays_equal(execution)
            prefixes_equal(execution)
            completes(execution)

        @quickly
        @given(drawn(failures=()))
        def succeed(execution: Any) -> None:
            completes(execution, (WorkflowStatus.COMPLETED,))

        try:
            hold()
            succeed()
        except BaseException as error:
            return [type(error).__name__]
    return []


def replay(case: Case, url: str) -> list[str]:
    """Replays a history that was recorded in another process."""
    file = Path(sys.argv[2]) / f"{case.name}.json"
    replayer = Replayer(workflows=[case.workflow, *case.children], check_inputs=True)
    result = replayer.replay(file)
    return [] if result.ok else ["mismatch" if result.mismatch is not None else "drift"]


def record(folder: Path, url: str) -> None:
    """Writes a history of each case."""
    for case in cases():
        with world(url) as around, _environment(case, shadow=False) as env:
            given = case.given(around)
            run = env.start(case.workflow, given)
            with contextlib.suppress(WorkflowStuckError):
                for name, payload in case.events:
                    if run.status is WorkflowStatus.RUNNING:
                        env.raise_event(run, name, payload)
                env.wait(run)
            document = {
                "format": "dapr-workflow-history",
                "version": 1,
                "instance_id": run.instance_id,
                "name": case.name,
                "status": run.status.name,
                "events": [MessageToDict(event) for event in run._events()],
            }
            (folder / f"{case.name}.json").write_text(json.dumps(document))


TOOLS: dict[str, Callable[[Case, str], list[str]]] = {
    "linter": linter,
    "environment": environment,
    "check": check,
    "strategies": strategies,
    "replay": replay,
}


def _main() -> None:
    # What the cases leave behind, such as coroutines that nobody awaits, is what the tools are to find.
    warnings.simplefilter("ignore")
    logging.disable()
    name = sys.argv[1]
    chosen = sys.argv[3:]
    with service() as url:
        if name == "record":
            record(Path(sys.argv[2]), url)
            return
        found = {case.name: TOOLS[name](case, url) for case in cases() if not chosen or case.name in chosen}
    sys.stdout.write(json.dumps({case: findings for case, findings in found.items() if findings}))
    sys.stdout.flush()
    # Runs that do not let go would hold up the end of the process.
    os._exit(0)


if __name__ == "__main__":
    _main()
