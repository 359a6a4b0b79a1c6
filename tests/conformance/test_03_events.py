"""Scenarios 36 to 46 of the conformance list."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from dapr_workflow_sdk import Task, WorkflowContext, WorkflowNotFoundError, WorkflowStatus
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import text_of
from tests.conformance.hubs import Hub, kind_of
from tests.conformance.own_hubs import HandWorker, OwnHub, own_hub

Steps = Generator[Task[Any], Any, Any]


@pytest.fixture(scope="module")
def own(hub: Hub, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[OwnHub]:
    """A hub of the same kind, without a worker unless a test connects one."""
    with own_hub(hub.kind, tmp_path_factory.mktemp("own"), request) as own:
        yield own


def test_036_an_event_arrives_with_its_payload(hub: Hub) -> None:
    received: dict[str, Any] = {}

    @hub.workflow
    def waiting(ctx: WorkflowContext) -> Steps:
        ctx.set_custom_status("waiting")
        payload = yield ctx.wait_for_external_event("payload")
        received[ctx.instance_id] = payload
        return payload

    values = [{"a": [1, None, "é"], "b": {"c": 1.5}}, 0, "", [], False, "\u2028\\\x22\n\x00", "x" * 100_000]
    started = {hub.start(waiting): value for value in [*values, None]}

    def waits(instance_id: str) -> bool:
        state = hub.client.get_workflow_state(instance_id)
        return state is not None and state.serialized_custom_status == "waiting"

    for instance_id, value in started.items():
        hub.eventually(lambda waiter=instance_id: waits(waiter), "it waits")  # type: ignore[misc]
        hub.client.raise_workflow_event(instance_id, "payload", data=value)
    for instance_id, value in started.items():
        state = hub.finish(instance_id)
        assert state.runtime_status is WorkflowStatus.COMPLETED
        assert received[instance_id] == value
        assert type(received[instance_id]) is type(value)
        assert json.loads(state.serialized_output or "null") == value
        if hub.has_history:
            (raised,) = [e.eventRaised for e in hub.history(instance_id) if kind_of(e) == "eventRaised"]
            assert raised.name == "payload"
            assert json.loads(raised.input.value or "null") == value


def test_037_events_that_come_before_the_wait_are_kept_in_order(hub: Hub) -> None:
    @hub.workflow
    def busy(ctx: WorkflowContext) -> Steps:
        yield ctx.wait_for_external_event("go")
        taken = []
        for _ in range(3):
            payload = yield ctx.wait_for_external_event("data")
            taken.append(payload)
        return taken

    instance_id = hub.start(busy)
    for number in range(3):
        hub.client.raise_workflow_event(instance_id, "data", data=number)
    state = hub.client.get_workflow_state(instance_id)
    assert state is not None
    assert state.runtime_status in (WorkflowStatus.RUNNING, WorkflowStatus.PENDING)
    hub.client.raise_workflow_event(instance_id, "go")
    assert json.loads(hub.finish(instance_id).serialized_output or "") == [0, 1, 2]
    if hub.has_history:
        raised = [e.eventRaised.name for e in hub.history(instance_id) if kind_of(e) == "eventRaised"]
        assert raised == ["data", "data", "data", "go"]


def test_038_a_hundred_concurrent_events_are_each_taken_once(hub: Hub) -> None:
    @hub.workflow
    def collect(ctx: WorkflowContext) -> Steps:
        taken = []
        for _ in range(100):
            payload = yield ctx.wait_for_external_event("number")
            taken.append(payload)
        yield ctx.wait_for_external_event("stop")
        try:
            # All are raised before "stop" is, so one delivered twice would be here.
            extra = yield ctx.wait_for_external_event("number", timeout=timedelta(0))
        except TimeoutError:
            return taken
        return ["too many", extra]

    instance_id = hub.start(collect)
    with ThreadPoolExecutor(25) as threads:
        for raised in [
            threads.submit(hub.client.raise_workflow_event, instance_id, "number", data=number) for number in range(100)
        ]:
            raised.result()
    hub.client.raise_workflow_event(instance_id, "stop")
    taken = json.loads(hub.finish(instance_id, timeout=60).serialized_output or "")
    assert sorted(taken) == list(range(100)), taken


def test_039_upper_and_lower_case_of_event_names_do_not_matter(hub: Hub) -> None:
    @hub.workflow
    def waiting(ctx: WorkflowContext, busy: bool) -> Steps:
        if busy:
            yield ctx.wait_for_external_event("go")
        first = yield ctx.wait_for_external_event("Approval")
        second = yield ctx.wait_for_external_event("approval")
        third = yield ctx.wait_for_external_event("APPROVAL")
        return [first, second, third]

    waited, kept = hub.start(waiting, False), hub.start(waiting, True)
    names = ["aPPROVAL", "APPROVAL", "approval"]
    for instance_id in (waited, kept):
        for number, name in enumerate(names):
            hub.client.raise_workflow_event(instance_id, name, data=number)
    hub.client.raise_workflow_event(kept, "GO")
    for instance_id in (waited, kept):
        assert json.loads(hub.finish(instance_id).serialized_output or "") == [0, 1, 2]
        if hub.has_history:
            raised = [e.eventRaised.name for e in hub.history(instance_id) if kind_of(e) == "eventRaised"]
            assert raised[:3] == names


def test_040_a_wait_that_is_too_long_times_out(hub: Hub) -> None:
    delay = hub.short(0.3)

    @hub.workflow
    def impatient(ctx: WorkflowContext) -> Steps:
        began = ctx.current_utc_datetime
        try:
            yield ctx.wait_for_external_event("Go", timeout=delay)
        except TimeoutError as error:
            waited = (ctx.current_utc_datetime - began).total_seconds()
            ctx.set_custom_status("late")
            # What comes too late is for the next wait.
            return [waited, str(error), (yield ctx.wait_for_external_event("go"))]

    instance_id = hub.start(impatient)
    hub.eventually(lambda: hub.state(instance_id).serialized_custom_status == "late", "it gave up")
    hub.client.raise_workflow_event(instance_id, "go", data="too late")
    waited, message, late = json.loads(hub.finish(instance_id).serialized_output or "")
    assert waited >= delay.total_seconds() - (1 if hub.is_daprd else 0)
    assert "Go" in message
    assert late == "too late"
    timer = next(event for event in hub.recorded(instance_id) if kind_of(event) == "timerCreated")
    if hub.has_history:
        assert timer.timerCreated.WhichOneof("origin") == "externalEvent"
        assert timer.timerCreated.externalEvent.name == "Go"


def test_042_waits_for_one_name_are_each_satisfied_once(hub: Hub) -> None:
    @hub.workflow
    def patient(ctx: WorkflowContext) -> Steps:
        taken = []
        for number in range(3):
            ctx.set_custom_status(f"{number}")
            taken.append((yield ctx.wait_for_external_event("go", timeout=timedelta(hours=1 + number))))
        return taken

    instance_id = hub.start(patient)
    for number in range(3):
        hub.eventually(
            lambda of=number: hub.state(instance_id).serialized_custom_status == str(of),  # type: ignore[misc]
            "it waits",
        )
        hub.client.raise_workflow_event(instance_id, "go", data=number)
    assert hub.finish(instance_id).serialized_output == "[0, 1, 2]"
    assert [e.eventId for e in hub.recorded(instance_id) if kind_of(e) == "timerCreated"] == [1, 2, 3]


@pytest.mark.parametrize("operation", ["raise_workflow_event", "pause_workflow", "resume_workflow"])
def test_044_nothing_can_be_told_to_an_instance_that_is_not_there(hub: Hub, operation: str) -> None:
    missing = hub.fresh("missing")
    arguments = ["go"] if operation == "raise_workflow_event" else []
    with pytest.raises(WorkflowNotFoundError) as caught:
        getattr(hub.client, operation)(missing, *arguments)
    assert "no such instance exists" in caught.value.details()
    assert missing in str(caught.value)
    assert hub.client.get_workflow_state(missing) is None


def _make_collecting(count: int) -> Callable[[WorkflowContext], Steps]:
    def collecting(ctx: WorkflowContext) -> Steps:
        taken = []
        for _ in range(count):
            taken.append((yield ctx.wait_for_external_event("item")))
        yield ctx.wait_for_external_event("stop")
        try:
            # All are raised before "stop" is, so one that is delivered twice would be here.
            extra = yield ctx.wait_for_external_event("item", timeout=timedelta(0))
        except TimeoutError:
            return taken
        return ["too many", *taken, extra]

    return collecting


def test_045_equal_events_are_all_delivered(hub: Hub) -> None:
    instance_id = hub.start(hub.workflow(_make_collecting(5)))
    for _ in range(5):
        hub.client.raise_workflow_event(instance_id, "item", data="same")
    hub.client.raise_workflow_event(instance_id, "stop")
    assert json.loads(hub.finish(instance_id).serialized_output or "") == ["same"] * 5


def test_045_an_event_lost_with_its_worker_comes_again_and_counts_once(own: OwnHub) -> None:
    with HandWorker(own) as worker:
        instance_id = own.start_soon(own.workflow(_make_collecting(2)))
        worker.play(worker.turn(instance_id))
        own.client.raise_workflow_event(instance_id, "item", data="same")
        lost = worker.turn(instance_id)
        assert [kind_of(event) for event in lost.new] == ["workflowStarted", "eventRaised"]
        # It dies with the turn.
    with own.runtime:
        own.client.raise_workflow_event(instance_id, "item", data="same")
        own.eventually(lambda: len(_raised(own, instance_id)) == 2, "the events are taken", 40)
        own.client.raise_workflow_event(instance_id, "stop")
        assert json.loads(own.finish(instance_id).serialized_output or "") == ["same", "same"]
    assert [event.eventRaised.name for event in _raised(own, instance_id)] == ["item", "item", "stop"]


def _raised(hub: Hub, instance_id: str) -> list[pb.HistoryEvent]:
    return [event for event in hub.recorded(instance_id) if kind_of(event) == "eventRaised"]


@pytest.mark.not_on("daprd", reason="it refuses turns that send events, so the instance would try for ever")
def test_045_an_event_that_a_workflow_sends_arrives_once(own: OwnHub) -> None:
    collecting = own.workflow(_make_collecting(2))

    @own.workflow
    def sending(ctx: WorkflowContext) -> Steps:
        yield ctx.wait_for_external_event("never")

    with HandWorker(own) as worker:
        receiver, sender = own.start_soon(collecting), own.start_soon(sending)
        worker.play(worker.turn(receiver))
        lost = worker.turn(sender)
    with HandWorker(own) as worker:
        again = worker.turn(sender)
        assert [kind_of(event) for event in again.new] == [kind_of(event) for event in lost.new]
        actions = [_send(number, receiver, "ITEM", f'"{number}"') for number in (1, 2)]
        nobody = _send(3, own.fresh("missing"), "item", None)
        complete = pb.CompleteWorkflowAction(workflowStatus=pb.WORKFLOW_STATUS_COMPLETED)
        answer = [*actions, nobody, pb.WorkflowAction(id=4, completeWorkflow=complete)]
        worker.answer(again, answer)
        worker.answer(again, answer)
        assert own.finish(sender).runtime_status is WorkflowStatus.COMPLETED
        both = worker.turn(receiver)
        assert [kind_of(event) for event in both.new] == ["workflowStarted", "eventRaised", "eventRaised"]
        worker.play(both)
        own.client.raise_workflow_event(receiver, "stop")
        worker.play(worker.turn(receiver))
        assert json.loads(own.finish(receiver).serialized_output or "") == ["1", "2"]
    sent = [event for event in own.history(sender) if kind_of(event) == "eventSent"]
    assert [(event.eventId, event.eventSent.instanceId) for event in sent[:2]] == [(1, receiver), (2, receiver)]
    assert len(sent) == 3


def _send(call: int, instance_id: str, name: str, text: str | None) -> pb.WorkflowAction:
    target = pb.WorkflowInstance(instanceId=instance_id)
    return pb.WorkflowAction(id=call, sendEvent=pb.SendEventAction(instance=target, name=name, data=text_of(text)))


def test_046_events_of_several_names_are_taken_in_the_order_of_the_waits(hub: Hub) -> None:
    @hub.workflow
    def in_order(ctx: WorkflowContext) -> Steps:
        taken = []
        for name in ("a", "b", "c"):
            payload = yield ctx.wait_for_external_event(name)
            taken.append(payload)
        return taken

    orders = ["abc", "acb", "bac", "bca", "cab", "cba"]
    started = {hub.start(in_order): order for order in orders}
    for instance_id, order in started.items():
        for name in order:
            hub.client.raise_workflow_event(instance_id, name, data=name.upper())
    for instance_id in started:
        assert json.loads(hub.finish(instance_id).serialized_output or "") == ["A", "B", "C"]
