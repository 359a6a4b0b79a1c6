"""Scenarios 1 to 20 of the conformance list."""

from __future__ import annotations

from typing import Any

from dapr_workflow_sdk import WorkflowContext, WorkflowStatus
from tests.conformance.hubs import Hub


def test_001_a_workflow_that_returns_at_once_completes(hub: Hub) -> None:
    @hub.workflow
    def empty(ctx: WorkflowContext) -> None:
        return None

    state = hub.run(empty)
    assert state.runtime_status is WorkflowStatus.COMPLETED
    assert state.serialized_output is None
    assert state.created_at <= state.last_updated_at


def test_002_the_input_arrives_as_it_was_sent(hub: Hub) -> None:
    @hub.workflow
    def echo(ctx: WorkflowContext, value: Any) -> Any:
        return value

    for value in ({"a": [1, None, "é"]}, 0, "", [], False):
        assert hub.run(echo, value).serialized_output == hub.client.get_workflow_state(hub.start(echo, value)).serialized_input  # type: ignore[union-attr]
