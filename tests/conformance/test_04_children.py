"""Scenarios 47 to 55 of the conformance list."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator
from typing import Any

from dapr_workflow_sdk import (
    Task,
    TaskFailedError,
    WorkflowActivityContext,
    WorkflowContext,
    WorkflowStatus,
    when_all,
)
from tests.conformance.hubs import Hub, kind_of

Steps = Generator[Task[Any], Any, Any]


def test_047_a_parent_gets_the_output_of_its_child(hub: Hub) -> None:
    @hub.activity
    def shout(ctx: WorkflowActivityContext, text: str) -> str:
        return text.upper()

    @hub.workflow
    def child(ctx: WorkflowContext, text: str) -> Steps:
        result = yield from ctx.call_activity(shout, input=text)
        return result

    child_id = hub.fresh("child")

    @hub.workflow
    def parent(ctx: WorkflowContext, text: str) -> Steps:
        result = yield ctx.call_child_workflow(child, input=text, instance_id=child_id)
        return ["from child", result]

    parent_id = hub.start(parent, "é")
    state = hub.finish(parent_id)
    assert state.runtime_status is WorkflowStatus.COMPLETED
    assert json.loads(state.serialized_output or "") == ["from child", "É"]
    assert state.parent_instance_id is None
    of_child = hub.finish(child_id)
    assert of_child.runtime_status is WorkflowStatus.COMPLETED
    assert json.loads(of_child.serialized_input or "") == "é"
    assert json.loads(of_child.serialized_output or "") == "É"
    if not hub.is_daprd:  # From 1.18 on.
        assert of_child.parent_instance_id == parent_id
    if hub.has_history:
        history = hub.history(parent_id)
        assert [kind_of(event) for event in history] == [
            "workflowStarted",
            "executionStarted",
            "childWorkflowInstanceCreated",
            "workflowStarted",
            "childWorkflowInstanceCompleted",
            "executionCompleted",
        ]
        assert history[2].eventId == history[4].childWorkflowInstanceCompleted.taskScheduledId == 1
        assert history[2].childWorkflowInstanceCreated.instanceId == child_id
        assert json.loads(history[4].childWorkflowInstanceCompleted.result.value) == "É"
        started = hub.history(child_id)[1].executionStarted
        assert started.parentInstance.workflowInstance.instanceId == parent_id
        assert started.parentInstance.taskScheduledId == 1


def test_048_the_failure_of_a_child_reaches_its_parent(hub: Hub) -> None:
    @hub.workflow
    def child(ctx: WorkflowContext, number: int) -> Steps:
        raise LookupError(f"no order {number}")
        yield

    @hub.workflow
    def catching(ctx: WorkflowContext) -> Steps:
        try:
            yield ctx.call_child_workflow(child, input=7)
        except TaskFailedError as error:
            return [error.details.error_type, error.details.message, error.details.stack_trace, str(error)]

    @hub.workflow
    def failing(ctx: WorkflowContext) -> Steps:
        yield ctx.call_child_workflow(child, input=8)

    ids = [hub.start(catching), hub.start(failing)]
    caught = hub.finish(ids[0])
    assert caught.runtime_status is WorkflowStatus.COMPLETED
    kind, message, stack, text = json.loads(caught.serialized_output or "")
    assert (kind, message) == ("LookupError", "no order 7")
    assert "in child" in stack
    assert text == "Child workflow task #1 failed: no order 7"

    state = hub.finish(ids[1])
    assert state.runtime_status is WorkflowStatus.FAILED
    assert state.serialized_output is None
    details = state.failure_details
    assert details is not None
    assert details.error_type == "TaskFailedError"
    assert "no order 8" in details.message
    assert details.cause is not None
    assert (details.cause.error_type, details.cause.message) == ("LookupError", "no order 8")
    of_child = hub.finish(f"{ids[1]}:0001")
    assert of_child.runtime_status is WorkflowStatus.FAILED
    assert of_child.failure_details is not None
    assert of_child.failure_details.message == "no order 8"


def test_049_children_fan_out_and_their_activities_do_too(hub: Hub) -> None:
    lock = threading.Lock()
    ran: list[tuple[int, int]] = []

    @hub.activity
    def work(ctx: WorkflowActivityContext, place: list[int]) -> int:
        with lock:
            ran.append((place[0], place[1]))
        return 10 * place[0] + place[1]

    @hub.workflow
    def child(ctx: WorkflowContext, number: int) -> Steps:
        results = yield when_all([ctx.call_activity(work, input=[number, part]) for part in range(5)])
        return results

    @hub.workflow
    def parent(ctx: WorkflowContext) -> Steps:
        results = yield when_all([ctx.call_child_workflow(child, input=number) for number in range(3)])
        return results

    parent_id = hub.start(parent)
    state = hub.finish(parent_id)
    assert state.runtime_status is WorkflowStatus.COMPLETED
    expected = [[10 * number + part for part in range(5)] for number in range(3)]
    assert json.loads(state.serialized_output or "") == expected
    assert sorted(ran) == [(number, part) for number in range(3) for part in range(5)]
    for number in range(3):
        of_child = hub.finish(f"{parent_id}:{number + 1:04x}")
        assert of_child.runtime_status is WorkflowStatus.COMPLETED
        assert json.loads(of_child.serialized_output or "") == expected[number]


def test_050_a_child_without_an_id_gets_one_from_its_parent(hub: Hub) -> None:
    @hub.activity
    def nothing(ctx: WorkflowActivityContext) -> None:
        return None

    @hub.workflow
    def child(ctx: WorkflowContext) -> str:
        return ctx.instance_id

    @hub.workflow
    def parent(ctx: WorkflowContext) -> Steps:
        yield ctx.call_activity(nothing)
        ids = yield when_all([ctx.call_child_workflow(child) for _ in range(16)])
        return ids

    parent_id = hub.start(parent)
    expected = [f"{parent_id}:{number:04x}" for number in range(2, 18)]
    assert expected[-1].endswith(":0011")
    assert json.loads(hub.finish(parent_id).serialized_output or "") == expected
    if hub.has_history:
        created = [e for e in hub.history(parent_id) if kind_of(e) == "childWorkflowInstanceCreated"]
        assert [event.eventId for event in created] == list(range(2, 18))
        assert [event.childWorkflowInstanceCreated.instanceId for event in created] == expected
