"""Lists, histories and reruns through the client, on both kinds of task hub."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from dapr_workflow_sdk import (
    UNSET,
    InvalidOperationError,
    WorkflowAlreadyExistsError,
    WorkflowClient,
    WorkflowContext,
    WorkflowHistoryEvent,
    WorkflowHistoryEventType,
    WorkflowNotFoundError,
    WorkflowStatus,
)
from dapr_workflow_sdk.client.history import read_event
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.worker.support import Place

Type = WorkflowHistoryEventType


def charge(ctx: Any, amount: int) -> str:
    if amount < 0:
        raise ValueError("a negative amount")
    return f"charged {amount}"


def note(ctx: WorkflowContext, value: Any) -> Any:
    return value


def order(ctx: WorkflowContext, amount: int) -> Any:
    yield ctx.create_timer(timedelta(milliseconds=1))
    said = yield ctx.call_child_workflow("note", input="hello")
    paid = yield ctx.call_activity("charge", input=amount)
    return [said, paid]


def working(place: Place) -> WorkflowClient:
    runtime = place.runtime()
    runtime.register_workflow(order)
    runtime.register_workflow(note)
    runtime.register_activity(charge)
    runtime.start()
    return place.client()


def finished(client: WorkflowClient, amount: int, instance_id: str | None = None) -> str:
    started = client.schedule_new_workflow(order, input=amount, instance_id=instance_id)
    assert client.wait_for_workflow_completion(started, timeout_in_seconds=10) is not None
    return started


def test_a_history_tells_what_happened(place: Place) -> None:
    client = working(place)
    history = client.get_workflow_history(finished(client, 5, "order-1"))
    assert [event.event_type for event in history] == [
        Type.WORKFLOW_STARTED,
        Type.EXECUTION_STARTED,
        Type.TIMER_CREATED,
        Type.WORKFLOW_STARTED,
        Type.TIMER_FIRED,
        Type.CHILD_WORKFLOW_INSTANCE_CREATED,
        Type.WORKFLOW_STARTED,
        Type.CHILD_WORKFLOW_INSTANCE_COMPLETED,
        Type.TASK_SCHEDULED,
        Type.WORKFLOW_STARTED,
        Type.TASK_COMPLETED,
        Type.EXECUTION_COMPLETED,
    ]
    by_type = {event.event_type: event for event in history}
    started = by_type[Type.EXECUTION_STARTED]
    assert (started.name, started.input, started.event_id) == ("order", "5", -1)
    timer, fired = by_type[Type.TIMER_CREATED], by_type[Type.TIMER_FIRED]
    assert timer.fire_at == fired.fire_at
    assert timer.fire_at is not None
    assert fired.timestamp >= timer.fire_at > started.timestamp
    assert (fired.timer_id, fired.task_scheduled_id) == (timer.event_id, None)
    child, answered = by_type[Type.CHILD_WORKFLOW_INSTANCE_CREATED], by_type[Type.CHILD_WORKFLOW_INSTANCE_COMPLETED]
    assert (child.name, child.input, child.child_instance_id) == ("note", '"hello"', f"order-1:{child.event_id:04x}")
    assert (answered.task_scheduled_id, answered.output) == (child.event_id, '"hello"')
    call, result = by_type[Type.TASK_SCHEDULED], by_type[Type.TASK_COMPLETED]
    assert (call.name, call.input, result.output) == ("charge", "5", '"charged 5"')
    assert result.task_scheduled_id == call.event_id
    assert json.loads(by_type[Type.EXECUTION_COMPLETED].output or "") == ["hello", "charged 5"]
    assert [event.event_type for event in history if event.is_rerunnable] == [
        Type.TIMER_CREATED,
        Type.CHILD_WORKFLOW_INSTANCE_CREATED,
        Type.TASK_SCHEDULED,
    ]


def test_a_history_tells_what_failed(place: Place) -> None:
    client = working(place)
    history = client.get_workflow_history(finished(client, -1))
    failures = {event.event_type: event.failure_details for event in history if event.failure_details is not None}
    assert list(failures) == [Type.TASK_FAILED, Type.EXECUTION_COMPLETED]
    assert (failures[Type.TASK_FAILED].error_type, failures[Type.TASK_FAILED].message) == (
        "ValueError",
        "a negative amount",
    )


def test_a_kind_of_event_that_is_not_known_yet_is_no_error() -> None:
    assert Type("invented later") is Type.UNKNOWN
    event = read_event(pb.HistoryEvent(eventId=7))
    assert (event.event_type, event.event_id, event.name, event.is_rerunnable) == (Type.UNKNOWN, 7, None, False)


def test_every_kind_of_the_wire_has_a_name() -> None:
    kinds = [field.name for field in pb.HistoryEvent.DESCRIPTOR.oneofs_by_name["eventType"].fields]
    for kind in kinds:
        event = pb.HistoryEvent()
        getattr(event, kind).SetInParent()
        read = read_event(event)
        assert isinstance(read, WorkflowHistoryEvent)
        assert read.event_type is Type(kind)
    assert {kind for kind in kinds if Type(kind) is Type.UNKNOWN} <= {"historyState"}


def test_an_unknown_instance_has_no_history(place: Place) -> None:
    with pytest.raises(WorkflowNotFoundError, match="nobody"):
        working(place).get_workflow_history("nobody")


def test_lists_come_page_by_page(place: Place) -> None:
    client = working(place)
    ids = [finished(client, 1, f"order-{number}") for number in range(5)]
    children = [event.child_instance_id for event in client.get_workflow_history("order-0") if event.child_instance_id]
    page = client.list_workflow_instance_ids(page_size=3)
    assert len(page.instance_ids) == 3
    assert page.continuation_token is not None
    rest = client.list_workflow_instance_ids(page_size=100, continuation_token=page.continuation_token)
    assert rest.continuation_token is None
    everything = [*page.instance_ids, *rest.instance_ids]
    assert {*ids, *children} <= set(everything)
    assert len(everything) == len(set(everything)) == 10
    assert list(client.iter_workflow_instance_ids(page_size=2)) == everything
    assert client.list_workflow_instance_ids().instance_ids == everything


@pytest.mark.parametrize("size", [0, -1, 2**32])
def test_a_page_has_a_size(here: Place, size: int) -> None:
    with pytest.raises(ValueError, match="A page has from 1 to"):
        here.client().list_workflow_instance_ids(page_size=size)


def test_a_finished_instance_runs_again_from_a_call(place: Place) -> None:
    client = working(place)
    finished(client, -1, "order-1")
    (call,) = [e for e in client.get_workflow_history("order-1") if e.event_type is Type.TASK_SCHEDULED]
    again = client.rerun_workflow_from_event("order-1", call.event_id, new_instance_id="order-2", input=7)
    assert again == "order-2"
    state = client.wait_for_workflow_completion("order-2", timeout_in_seconds=10)
    assert state is not None
    assert state.serialized_output == '["hello", "charged 7"]'
    other = client.rerun_workflow_from_event("order-1", call.event_id)
    state = client.wait_for_workflow_completion(other, timeout_in_seconds=10)
    assert state is not None
    assert state.runtime_status is WorkflowStatus.FAILED, "called with what it was called with"
    with pytest.raises(WorkflowAlreadyExistsError):
        client.rerun_workflow_from_event("order-1", call.event_id, new_instance_id="order-2")
    with pytest.raises(WorkflowNotFoundError):
        client.rerun_workflow_from_event("order-1", 77)
    timer = next(e for e in client.get_workflow_history("order-1") if e.event_type is Type.TIMER_CREATED)
    with pytest.raises(InvalidOperationError):
        client.rerun_workflow_from_event("order-1", timer.event_id, input=None)


def test_numbers_and_ids_that_none_can_have_are_refused_here(here: Place) -> None:
    client = here.client()
    for number in (-1, 2**32):
        with pytest.raises(ValueError, match="number is from 0 to"):
            client.rerun_workflow_from_event("order", number)
    with pytest.raises(InvalidOperationError):
        client.rerun_workflow_from_event("order", 1, new_instance_id="")
    with pytest.raises(InvalidOperationError):
        client.rerun_workflow_from_event("order", 1, new_child_workflow_instance_id="")


def test_what_is_not_given_shows_itself_so() -> None:
    assert repr(UNSET) == "<unset>"
