"""Several SDKs have a hand in one instance."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from dapr_workflow_sdk import WorkflowClient, WorkflowState, WorkflowStatus
from tests.interop.environments import HERE
from tests.interop.programs import Sdk, Site, javascript, official, ours, wait_printed

_PATIENCE = 30


def _finished(client: WorkflowClient, instance_id: str) -> WorkflowState:
    state = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=_PATIENCE)
    assert state is not None
    return state


def _until_waiting(client: WorkflowClient, instance_id: str) -> WorkflowState:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        state = client.get_workflow_state(instance_id)
        if state is not None and state.serialized_custom_status == "waiting":
            return state
        time.sleep(0.02)
    pytest.fail(f"{instance_id} does not wait")


def test_started_by_python_run_by_javascript_watched_by_us(own_site: Site) -> None:
    own_site.start_worker(javascript())
    python = official()
    own_site.run(python, python.worker[0], str(HERE / "python" / "start.py"), "waiting", "mixed", "{}")

    client = own_site.client()
    waiting = _until_waiting(client, "mixed")
    assert (waiting.name, waiting.runtime_status, waiting.serialized_input) == ("waiting", WorkflowStatus.RUNNING, "{}")
    client.raise_workflow_event("mixed", "GO", data={"by": "us"})

    state = _finished(client, "mixed")
    assert state.runtime_status is WorkflowStatus.COMPLETED
    assert state.serialized_output is not None
    assert json.loads(state.serialized_output) == {"by": "us"}
    assert state.serialized_custom_status == "going"


@pytest.mark.parametrize(
    ("first", "second", "guids"),
    [
        (official, ours, [True, False]),
        (ours, official, [True, False]),
        # A JavaScript workflow has no guids: what the history has is not what our workflow gets.
        (javascript, ours, [False, False]),
        (javascript, official, [False, False]),
    ],
)
def test_begun_by_one_worker_finished_by_another(
    own_site: Site, first: Callable[[], Sdk], second: Callable[[], Sdk], guids: list[bool]
) -> None:
    beginner, finisher = first(), second()
    worker = own_site.start_worker(beginner, INTEROP_HOLD="yes")
    client = own_site.client()
    client.schedule_new_workflow("relay", instance_id="relay")
    client.raise_workflow_event("relay", "Early", data="bird")
    wait_printed(worker, "holding")
    worker.kill()

    own_site.start_worker(finisher)
    client.raise_workflow_event("relay", "late", data="train")
    state = _finished(client, "relay")
    assert state.runtime_status is WorkflowStatus.COMPLETED, state.failure_details
    assert state.serialized_output is not None
    output = json.loads(state.serialized_output)
    # The first activity ran once, in the first worker; the one that it was killed in ran again, in the second.
    assert output["workers"] == [beginner.name, finisher.name, finisher.name]
    assert output["child"]["value"] == 16
    assert output["events"] == ["bird", "train"]
    assert output["guids"] == guids


@pytest.mark.parametrize("sdk", [official, lambda: javascript("dapr-3-6")], ids=["official", "javascript 3.6"])
def test_workers_come_back_to_an_engine_that_was_killed(own_site: Site, sdk: Callable[[], Sdk]) -> None:
    own_site.start_worker(sdk())
    client = own_site.client()
    client.schedule_new_workflow("waiting", instance_id="waiting")
    _until_waiting(client, "waiting")

    own_site.restart_engine()
    client.raise_workflow_event("waiting", "go", data="on")
    client.schedule_new_workflow("chain", instance_id="chain", input=1)
    assert _finished(client, "waiting").serialized_output == '"on"'
    assert _finished(client, "chain").serialized_output == "4"
