"""Scenarios 47 to 55 of the conformance list."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from dapr_workflow_sdk import (
    Task,
    TaskFailedError,
    WorkflowActivityContext,
    WorkflowContext,
    WorkflowStatus,
    when_all,
)
from dapr_workflow_sdk.authoring.definitions import name_of
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import text_of, timestamp_of
from tests.conformance.hubs import Hub, kind_of
from tests.conformance.own_hubs import HandWorker, OwnHub, own_hub

Steps = Generator[Task[Any], Any, Any]


@pytest.fixture(scope="module")
def own(hub: Hub, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[OwnHub]:
    """A hub of the same kind, without a worker unless a test connects one."""
    with own_hub(hub.kind, tmp_path_factory.mktemp("own"), request) as own:
        yield own


def _make_waiting() -> Callable[[WorkflowContext], Steps]:
    def waiting(ctx: WorkflowContext) -> Steps:
        return (yield ctx.wait_for_external_event("go"))

    return waiting


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


# ---- 51 to 53: children that are not made twice, nor mixed up ----------------------------------------------


def _counted_family(own: OwnHub, ran: list[str]) -> Callable[..., Any]:
    @own.activity
    def count(ctx: WorkflowActivityContext) -> str:
        ran.append(ctx.workflow_id)
        return ctx.workflow_id

    @own.workflow
    def child(ctx: WorkflowContext) -> Steps:
        return (yield ctx.call_activity(count))

    @own.workflow
    def parent(ctx: WorkflowContext) -> Steps:
        return (yield ctx.call_child_workflow(child))

    return parent


def test_051_a_parent_whose_turn_is_lost_has_one_child(own: OwnHub) -> None:
    ran: list[str] = []
    parent = _counted_family(own, ran)
    with HandWorker(own) as worker:
        instance_id = own.start_soon(parent)
        worker.turn(instance_id)
        # It dies with the turn that calls the child.
    with own.runtime:
        assert own.finish(instance_id).serialized_output == f'"{instance_id}:0001"'
    assert ran == [f"{instance_id}:0001"]
    created = [e for e in own.recorded(instance_id) if kind_of(e) == "childWorkflowInstanceCreated"]
    assert len(created) == 1


@pytest.mark.not_on("memory", reason="it keeps nothing")
def test_051_a_child_just_called_is_there_after_a_crash_of_the_hub(own: OwnHub) -> None:
    ran: list[str] = []
    parent = _counted_family(own, ran)
    with HandWorker(own) as worker:
        instance_id = own.start_soon(parent)
        worker.play(worker.turn(instance_id))
        worker.turn(f"{instance_id}:0001")
    own.kill()
    own.revive()
    with own.runtime:
        assert own.finish(instance_id, timeout=40).serialized_output == f'"{instance_id}:0001"'
    assert ran == [f"{instance_id}:0001"]
    assert len([e for e in own.recorded(instance_id) if kind_of(e) == "childWorkflowInstanceCreated"]) == 1


@pytest.mark.not_on("daprd", reason="1.16 gives its answer to the call of the same number in the next generation")
def test_052_the_child_of_an_older_generation_answers_nobody(hub: Hub) -> None:
    waiting = hub.workflow(_make_waiting())

    @hub.workflow
    def parent(ctx: WorkflowContext, generation: int) -> Steps:
        # Both have the number 1.
        call = ctx.call_child_workflow(waiting, instance_id=f"{ctx.instance_id}-of-{generation}")
        if generation == 1:
            yield ctx.wait_for_external_event("renew")
            ctx.continue_as_new(2)
        return (yield call)

    instance_id = hub.start(parent, 1)
    older, newer = (f"{instance_id}-of-{generation}" for generation in (1, 2))
    _begin(hub, older)
    hub.client.raise_workflow_event(instance_id, "renew")
    _begin(hub, newer)
    hub.client.raise_workflow_event(older, "go", data="older")
    assert hub.finish(older).serialized_output == '"older"'
    hub.run(hub.workflow(lambda ctx: "goes all the way through the hub after that answer"))
    assert hub.state(instance_id).runtime_status is WorkflowStatus.RUNNING
    hub.client.raise_workflow_event(newer, "go", data="newer")
    assert hub.finish(instance_id).serialized_output == '"newer"'


def _begin(hub: Hub, instance_id: str) -> None:
    hub.eventually(lambda: hub.client.get_workflow_state(instance_id), f"{instance_id} is there")
    hub.client.wait_for_workflow_start(instance_id, timeout_in_seconds=10)


@pytest.mark.not_on("daprd", reason="1.16 tries the turn of the caller again for ever")
def test_053_a_child_whose_id_is_taken_fails_its_call(hub: Hub) -> None:
    waiting = hub.workflow(_make_waiting())
    taken = hub.start(waiting)
    free = hub.run(hub.workflow(lambda ctx: "ended")).instance_id

    @hub.workflow
    def parent(ctx: WorkflowContext) -> Steps:
        again = ctx.call_child_workflow(waiting, instance_id=free)  # Its first instance has ended.
        try:
            yield ctx.call_child_workflow(waiting, instance_id=taken)
        except TaskFailedError as error:
            return [error.details.error_type, error.details.message, (yield again)]

    parent_id = hub.start(parent)
    hub.eventually(lambda: hub.state(free).runtime_status is WorkflowStatus.RUNNING, "the other child runs")
    hub.client.raise_workflow_event(free, "go", data="again")
    kind, message, again = json.loads(hub.finish(parent_id).serialized_output or "")
    assert (kind, again) == ("WorkflowInstanceAlreadyExists", "again")
    assert message == f"an active workflow with ID '{taken}' already exists"
    # The instance that has the id is not the caller's child, and goes on.
    assert hub.state(taken).parent_instance_id is None
    hub.client.raise_workflow_event(taken, "go", data="intact")
    assert hub.finish(taken).serialized_output == '"intact"'


# ---- 54, 55: detached workflows ----------------------------------------------------------------------------

_NOT_DETACHED = "detached workflows came with 1.18"


def _detach(call: int, instance_id: str, workflow: Callable[..., Any], text: str | None = None) -> pb.WorkflowAction:
    asked = pb.CreateDetachedWorkflowAction(instanceId=instance_id, name=name_of(workflow), input=text_of(text))
    return pb.WorkflowAction(id=call, createDetachedWorkflow=asked)


def _complete(call: int) -> pb.WorkflowAction:
    ending = pb.CompleteWorkflowAction(workflowStatus=pb.WORKFLOW_STATUS_COMPLETED)
    return pb.WorkflowAction(id=call, completeWorkflow=ending)


@pytest.mark.not_on("daprd", reason=_NOT_DETACHED)
def test_054_nobody_waits_for_a_detached_workflow(own: OwnHub) -> None:
    caller = own.workflow(_make_waiting())

    @own.workflow
    def echo(ctx: WorkflowContext, value: Any) -> Steps:
        return [value, (yield ctx.wait_for_external_event("go"))]

    with HandWorker(own) as worker:
        caller_id = own.start_soon(caller)
        detached = own.fresh("detached")
        worker.answer(worker.turn(caller_id), [_detach(1, detached, echo, '{"a": 1}'), _complete(2)])
        assert own.finish(caller_id).runtime_status is WorkflowStatus.COMPLETED
        worker.play(worker.turn(detached))
        own.client.raise_workflow_event(detached, "go", data="done")
        worker.play(worker.turn(detached))
        state = own.finish(detached)
    assert json.loads(state.serialized_output or "") == [{"a": 1}, "done"]
    assert state.parent_instance_id is None
    assert [(kind_of(event), event.eventId) for event in own.history(caller_id)] == [
        ("workflowStarted", -1),
        ("executionStarted", -1),
        ("detachedWorkflowInstanceCreated", 1),
        ("executionCompleted", 2),
    ]
    assert own.history(caller_id)[2].detachedWorkflowInstanceCreated.instanceId == detached
    assert not own.history(detached)[1].executionStarted.HasField("parentInstance")


@pytest.mark.not_on("daprd", reason=_NOT_DETACHED)
@pytest.mark.parametrize("what", ["failure", "termination", "purge"])
def test_054_what_happens_to_one_does_not_happen_to_the_other(own: OwnHub, what: str) -> None:
    caller = own.workflow(_make_waiting())

    @own.workflow
    def failing(ctx: WorkflowContext) -> Steps:
        yield ctx.wait_for_external_event("go")
        raise ValueError("on purpose")

    with HandWorker(own) as worker:
        caller_id = own.start_soon(caller)
        detached = own.fresh("detached")
        worker.answer(worker.turn(caller_id), [_detach(1, detached, failing)])
        worker.play(worker.turn(detached))
        if what == "failure":
            own.client.raise_workflow_event(detached, "go")
            worker.play(worker.turn(detached))
            assert own.finish(detached).runtime_status is WorkflowStatus.FAILED
            assert own.state(caller_id).runtime_status is WorkflowStatus.RUNNING
            assert "childWorkflowInstanceFailed" not in map(kind_of, own.history(caller_id))
    if what != "failure":
        # Without a worker the engine itself ends what is to end.
        own.client.terminate_workflow(caller_id)
        assert own.finish(caller_id).runtime_status is WorkflowStatus.TERMINATED
        assert own.state(detached).runtime_status is WorkflowStatus.RUNNING
    if what == "purge":
        own.client.terminate_workflow(detached)
        assert own.client.purge_workflow(caller_id) == 1
        assert own.state(detached).runtime_status is WorkflowStatus.TERMINATED


@pytest.mark.not_on("daprd", reason=_NOT_DETACHED)
def test_054_a_detached_workflow_can_be_started_later(own: OwnHub) -> None:
    caller = own.workflow(_make_waiting())
    with HandWorker(own) as worker:
        caller_id = own.start_soon(caller)
        ids = [own.fresh("detached") for _ in range(2)]
        actions = [_detach(number, detached, caller) for number, detached in enumerate(ids, start=1)]
        for action, delay in zip(actions, (timedelta(hours=1), timedelta(milliseconds=200)), strict=True):
            moment = datetime.now(timezone.utc) + delay
            action.createDetachedWorkflow.scheduledStartTimestamp.CopyFrom(timestamp_of(moment))
        worker.answer(worker.turn(caller_id), [*actions, _complete(3)])
        turn = worker.turn(ids[1])
        assert turn.new[0].timestamp.ToNanoseconds() >= 1000 * int(moment.timestamp() * 1_000_000)
        worker.play(turn)
        assert own.finish(caller_id).runtime_status is WorkflowStatus.COMPLETED
    assert own.state(ids[0]).runtime_status is WorkflowStatus.PENDING


@pytest.mark.not_on("daprd", reason=_NOT_DETACHED)
def test_054_a_detached_workflow_whose_id_is_taken_is_not_started(own: OwnHub) -> None:
    caller = own.workflow(_make_waiting())
    with HandWorker(own) as worker:
        caller_id, taken = own.start_soon(caller), own.start_soon(caller)
        worker.play(worker.turn(taken))
        before = own.history(taken)
        worker.answer(worker.turn(caller_id), [_detach(1, taken, caller, '"other"')])
        own.client.raise_workflow_event(caller_id, "go", data="not disturbed")
        worker.play(worker.turn(caller_id))
        assert own.finish(caller_id).serialized_output == '"not disturbed"'
        assert own.history(taken) == before


@pytest.mark.not_on("daprd", reason=_NOT_DETACHED)
def test_055_a_turn_that_is_taken_again_detaches_once(own: OwnHub) -> None:
    runs: list[str] = []
    caller = own.workflow(_make_waiting())

    @own.activity
    def count(ctx: WorkflowActivityContext) -> None:
        runs.append(ctx.workflow_id)

    @own.workflow
    def counting(ctx: WorkflowContext) -> Steps:
        yield ctx.call_activity(count)

    with HandWorker(own) as worker:
        caller_id = own.start_soon(caller)
        worker.turn(caller_id)
        # It dies with the turn.
    ids = [f"{caller_id}-{number}" for number in range(2)]
    with HandWorker(own) as worker:
        turn = worker.turn(caller_id)
        actions = [_detach(number, detached, counting) for number, detached in enumerate(ids, start=1)]
        worker.answer(turn, actions)
        worker.answer(turn, actions)
        # Its second turn is a replay, whose code does not ask for anything again.
        own.client.raise_workflow_event(caller_id, "go")
        worker.answer(worker.turn(caller_id), [_complete(3)])
    with own.runtime:
        for detached in ids:
            assert own.finish(detached).runtime_status is WorkflowStatus.COMPLETED
        assert own.finish(caller_id).runtime_status is WorkflowStatus.COMPLETED
    assert sorted(runs) == ids
    created = [e for e in own.history(caller_id) if kind_of(e) == "detachedWorkflowInstanceCreated"]
    assert [event.detachedWorkflowInstanceCreated.instanceId for event in created] == ids


@pytest.mark.not_on("daprd", reason=_NOT_DETACHED)
def test_055_a_detached_workflow_without_an_id_fails_its_caller_and_starts_nothing(own: OwnHub) -> None:
    caller = own.workflow(_make_waiting())
    with HandWorker(own) as worker:
        caller_id, other = own.start_soon(caller), own.fresh("detached")
        worker.answer(worker.turn(caller_id), [_detach(1, other, caller), _detach(2, "", caller)])
        state = own.finish(caller_id)
    assert state.runtime_status is WorkflowStatus.FAILED
    assert state.failure_details is not None
    assert state.failure_details.error_type == "InvalidWorkerResponse"
    assert "action 2, a detached workflow without an instance id" in state.failure_details.message
    assert own.client.get_workflow_state(other) is None
