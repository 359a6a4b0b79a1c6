"""Scenarios 66 to 85 of the conformance list: pausing, ending and removing instances, and using ids again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from dapr_workflow_sdk import (
    Task,
    TaskHubError,
    WorkflowActivityContext,
    WorkflowAlreadyExistsError,
    WorkflowContext,
    WorkflowNotFinishedError,
    WorkflowNotFoundError,
    WorkflowState,
    WorkflowStatus,
    when_all,
)
from dapr_workflow_sdk.authoring.definitions import name_of
from dapr_workflow_sdk.engine.clock import VirtualClock
from dapr_workflow_sdk.engine.retention import RetentionPolicy
from dapr_workflow_sdk.taskhub.wire import methods
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import text_of
from tests.conformance import literal as h
from tests.conformance.hubs import Hub, kind_of
from tests.conformance.own_hubs import HandWorker, OwnHub, engine_hub, in_background, own_hub

Run = Generator[Task[Any], Any, Any]


@pytest.fixture
def own(hub: Hub, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[OwnHub]:
    """A hub of the same kind, without a worker."""
    with own_hub(hub.kind, tmp_path, request) as own:
        yield own


def _status(hub: Hub, instance_id: str) -> WorkflowStatus:
    return hub.state(instance_id).runtime_status


def _make_waiting() -> Callable[[WorkflowContext], Run]:
    def waiting(ctx: WorkflowContext) -> Run:
        return (yield ctx.wait_for_external_event("go"))

    return waiting


# ---- 66, 67: pausing ---------------------------------------------------------------------------------------


def test_066_a_paused_instance_keeps_events_for_later(hub: Hub) -> None:
    seen = threading.Event()

    @hub.activity
    def tell(ctx: WorkflowActivityContext, text: str) -> str:
        seen.set()
        return text

    @hub.workflow
    def relay(ctx: WorkflowContext) -> Run:
        text = yield ctx.wait_for_external_event("go")
        return (yield ctx.call_activity(tell, input=text))

    instance_id = hub.start(relay)
    hub.client.wait_for_workflow_start(instance_id, timeout_in_seconds=10)
    hub.client.pause_workflow(instance_id)
    assert _status(hub, instance_id) is WorkflowStatus.SUSPENDED
    hub.client.raise_workflow_event(instance_id, "go", data="kept")
    assert not seen.wait(0.2)
    assert _status(hub, instance_id) is WorkflowStatus.SUSPENDED

    hub.client.resume_workflow(instance_id)
    state = hub.finish(instance_id)
    assert (state.runtime_status, state.serialized_output) == (WorkflowStatus.COMPLETED, '"kept"')


def test_066_pausing_twice_is_undone_by_resuming_once(hub: Hub) -> None:
    instance_id = hub.start(hub.workflow(_make_waiting()))
    hub.client.wait_for_workflow_start(instance_id, timeout_in_seconds=10)
    hub.client.resume_workflow(instance_id)
    for _ in range(2):
        hub.client.pause_workflow(instance_id)
        assert _status(hub, instance_id) is WorkflowStatus.SUSPENDED
    hub.client.resume_workflow(instance_id)
    assert _status(hub, instance_id) is WorkflowStatus.RUNNING
    hub.client.raise_workflow_event(instance_id, "go", data=1)
    assert hub.finish(instance_id, 5).serialized_output == "1"


def _two_steps(ctx: WorkflowContext) -> Run:
    yield ctx.call_activity("work")
    yield ctx.call_activity("work")
    return "done"


def test_067_a_paused_turn_asks_for_nothing() -> None:
    past = [h.begun(), h.started(), h.scheduled(1)]
    paused = h.turn(_two_steps, past, [h.begun(1), h.suspended(), h.completed(1)])
    assert h.asked(paused) == []
    assert paused.outcome is None

    past += [h.begun(1), h.suspended(), h.completed(1)]
    assert h.asked(h.turn(_two_steps, past, [h.begun(2), h.resumed()])) == [(2, "scheduleTask")]


def test_067_a_turn_that_is_paused_at_its_end_asks_for_nothing_yet() -> None:
    past = [h.begun(), h.started(), h.scheduled(1)]
    assert h.asked(h.turn(_two_steps, past, [h.begun(1), h.completed(1), h.suspended()])) == []

    past += [h.begun(1), h.completed(1), h.suspended()]
    assert h.asked(h.turn(_two_steps, past, [h.begun(2), h.resumed()])) == [(2, "scheduleTask")]


def test_067_a_pause_and_its_end_in_one_batch_change_nothing() -> None:
    past = [h.begun(), h.started(), h.scheduled(1)]
    arrivals = [h.suspended(), h.completed(1), h.resumed()]
    assert h.asked(h.turn(_two_steps, past, [h.begun(1), *arrivals])) == [(2, "scheduleTask")]


def test_067_a_turn_that_is_paused_twice_needs_to_be_resumed_once() -> None:
    past = [h.begun(), h.started(), h.scheduled(1)]
    arrivals = [h.suspended(), h.completed(1), h.suspended(), h.resumed()]
    assert h.asked(h.turn(_two_steps, past, [h.begun(1), *arrivals])) == [(2, "scheduleTask")]


def test_067_a_paused_instance_calls_no_further_activity(hub: Hub) -> None:
    called: list[int] = []
    release = threading.Event()

    @hub.activity
    def step(ctx: WorkflowActivityContext, number: int) -> int:
        called.append(number)
        release.wait(20)
        return number

    @hub.workflow
    def steps(ctx: WorkflowContext) -> Run:
        first = yield ctx.call_activity(step, input=1)
        second = yield ctx.call_activity(step, input=2)
        return first + second

    instance_id = hub.start(steps)
    hub.eventually(lambda: called, "the first activity runs")
    hub.client.pause_workflow(instance_id)
    release.set()
    time.sleep(0.2)
    assert (called, _status(hub, instance_id)) == ([1], WorkflowStatus.SUSPENDED)

    hub.client.resume_workflow(instance_id)
    assert hub.finish(instance_id).serialized_output == "3"
    assert called == [1, 2]


# ---- 68 to 71: ending --------------------------------------------------------------------------------------


def test_068_a_waiting_instance_is_ended_with_the_given_output(hub: Hub) -> None:
    instance_id = hub.start(hub.workflow(_make_waiting()))
    hub.client.terminate_workflow(instance_id, output={"why": "enough"})
    state = hub.finish(instance_id)
    assert (state.runtime_status, state.serialized_output) == (WorkflowStatus.TERMINATED, '{"why": "enough"}')
    assert state.failure_details is None

    # An event that comes now is for nobody, and no error.
    hub.client.raise_workflow_event(instance_id, "go")
    assert hub.state(instance_id).last_updated_at == state.last_updated_at


def test_068_an_instance_ended_without_an_output_has_none(hub: Hub) -> None:
    instance_id = hub.start(hub.workflow(_make_waiting()))
    hub.client.terminate_workflow(instance_id)
    state = hub.finish(instance_id)
    assert (state.runtime_status, state.serialized_output) == (WorkflowStatus.TERMINATED, None)


@pytest.mark.not_on("daprd", reason="it takes no request while no worker is connected")
def test_068_an_instance_can_be_ended_without_a_worker(own: OwnHub) -> None:
    waiting = own.workflow(_make_waiting())
    with HandWorker(own) as worker:
        begun = own.start(waiting)
        worker.play(worker.turn(begun))
    for instance_id in (begun, own.start(waiting)):
        in_background(lambda of=instance_id: own.client.terminate_workflow(of, output="early")).result(5)  # type: ignore[misc]
        state = own.finish(instance_id)
        assert (state.runtime_status, state.serialized_output) == (WorkflowStatus.TERMINATED, '"early"')


def test_068_timers_of_an_ended_instance_do_nothing(hub: Hub) -> None:
    went_on: list[str] = []

    @hub.activity
    def go_on(ctx: WorkflowActivityContext) -> None:
        went_on.append(ctx.workflow_id)

    @hub.workflow
    def sleep(ctx: WorkflowContext) -> Run:
        yield ctx.create_timer(hub.short())
        yield ctx.call_activity(go_on)

    instance_id = hub.start(sleep)
    hub.client.terminate_workflow(instance_id)
    ended = hub.finish(instance_id)
    time.sleep(hub.short().total_seconds() + 0.1)
    assert hub.state(instance_id) == ended
    assert went_on == []


def test_069_an_activity_that_runs_does_not_keep_an_instance_from_ending(hub: Hub) -> None:
    begun, release, ended = threading.Event(), threading.Event(), threading.Event()

    @hub.activity
    def slow(ctx: WorkflowActivityContext) -> str:
        begun.set()
        release.wait(20)
        ended.set()
        return "too late"

    @hub.workflow
    def call(ctx: WorkflowContext) -> Run:
        return (yield ctx.call_activity(slow))

    instance_id = hub.start(call)
    assert begun.wait(10)
    hub.client.terminate_workflow(instance_id, output="early")
    state = hub.finish(instance_id)
    assert (state.runtime_status, state.serialized_output) == (WorkflowStatus.TERMINATED, '"early"')
    assert not ended.is_set()

    release.set()
    assert ended.wait(10)
    # A second instance goes all the way through the hub after the late result.
    hub.run(hub.workflow(lambda ctx: "next"))
    assert hub.state(instance_id) == state


@pytest.mark.not_on("daprd", reason="1.16 calls it suspended for ever, and the client waits for ever")
def test_070_a_paused_instance_can_be_ended(hub: Hub) -> None:
    instance_id = hub.start(hub.workflow(_make_waiting()))
    hub.client.wait_for_workflow_start(instance_id, timeout_in_seconds=10)
    hub.client.pause_workflow(instance_id)
    hub.client.raise_workflow_event(instance_id, "go", data="never seen")
    hub.client.terminate_workflow(instance_id, output="ended")
    state = hub.finish(instance_id)
    assert (state.runtime_status, state.serialized_output) == (WorkflowStatus.TERMINATED, '"ended"')


def test_070_a_paused_turn_ends_when_told_to() -> None:
    waiting = _make_waiting()
    past = [h.begun(), h.started(), h.begun(1), h.suspended(), h.raised("go", "1")]
    end = h.ending(h.turn(waiting, past, [h.begun(2), h.terminated('"ended"')]))
    assert (end.workflowStatus, end.result.value) == (pb.WORKFLOW_STATUS_TERMINATED, '"ended"')


def test_071_a_completion_before_the_termination_in_one_batch_counts() -> None:
    arrivals = [h.raised("go", '"done"'), h.terminated('"ended"')]
    end = h.ending(h.turn(_make_waiting(), [h.begun(), h.started()], [h.begun(1), *arrivals]))
    assert (end.workflowStatus, end.result.value) == (pb.WORKFLOW_STATUS_COMPLETED, '"done"')

    arrivals.reverse()
    end = h.ending(h.turn(_make_waiting(), [h.begun(), h.started()], [h.begun(1), *arrivals]))
    assert (end.workflowStatus, end.result.value) == (pb.WORKFLOW_STATUS_TERMINATED, '"ended"')


def test_071_an_instance_that_completes_in_the_same_batch_stays_completed(own: OwnHub) -> None:
    waiting = own.workflow(_make_waiting())
    with HandWorker(own) as worker:
        instance_id = own.start_soon(waiting)
        worker.play(worker.turn(instance_id))
        both, operations = worker.turn_with_all_of(
            instance_id,
            lambda: own.client.raise_workflow_event(instance_id, "go", data="done"),
            lambda: own.client.terminate_workflow(instance_id, output="ended"),
        )
        assert [kind_of(event) for event in both.new] == [
            "workflowStarted",
            "eventRaised",
            "executionTerminated",
        ]
        worker.play(both)
        for operation in operations:
            operation.result(10)
        state = own.finish(instance_id)
    assert (state.runtime_status, state.serialized_output) == (WorkflowStatus.COMPLETED, '"done"')


@pytest.mark.not_on(
    "daprd", reason="before HEAD a sidecar waits until a worker ends the instance, for ever if none does"
)
def test_072_a_worker_that_does_not_end_an_instance_is_overruled(own: OwnHub) -> None:
    called: list[str] = []

    @own.activity
    def work(ctx: WorkflowActivityContext) -> None:
        called.append(ctx.workflow_id)

    waiting = own.workflow(_make_waiting())
    with HandWorker(own) as worker:
        instance_id = own.start_soon(waiting)
        worker.play(worker.turn(instance_id))
        ended = in_background(lambda: own.client.terminate_workflow(instance_id, output="enough"))
        told = worker.turn(instance_id)
        assert kind_of(told.new[-1]) == "executionTerminated"
        asked = pb.WorkflowAction(id=2, scheduleTask=pb.ScheduleTaskAction(name=name_of(work)))
        worker.answer(told, [asked])
        ended.result(10)
        state = own.finish(instance_id)
    assert (state.runtime_status, state.serialized_output) == (WorkflowStatus.TERMINATED, '"enough"')
    assert [kind_of(event) for event in own.history(instance_id)][-2:] == ["executionTerminated", "executionCompleted"]
    with own.runtime:
        own.run(own.workflow(lambda ctx: "comes after whatever else there is to do"))
    assert called == []


# ---- 73 to 76: ending families, and what has ended ---------------------------------------------------------


def _family(hub: Hub) -> tuple[Callable[..., Any], list[str]]:
    """A workflow with two children, one of them with a child, all waiting; and their ids, parent first."""
    ids = [hub.fresh(name) for name in ("parent", "child", "other", "grandchild")]
    waiting = hub.workflow(_make_waiting())

    @hub.workflow
    def child(ctx: WorkflowContext) -> Run:
        return (yield ctx.call_child_workflow(waiting, instance_id=ids[3]))

    @hub.workflow
    def parent(ctx: WorkflowContext) -> Run:
        first = ctx.call_child_workflow(child, instance_id=ids[1])
        second = ctx.call_child_workflow(waiting, instance_id=ids[2])
        return (yield when_all([first, second]))

    return parent, ids


def _start_family(hub: Hub) -> list[str]:
    parent, ids = _family(hub)
    hub.start(parent, instance_id=ids[0])
    for instance_id in ids:
        hub.eventually(lambda of=instance_id: hub.client.get_workflow_state(of), f"{instance_id} is there")  # type: ignore[misc]
        hub.client.wait_for_workflow_start(instance_id, timeout_in_seconds=10)
    return ids


def test_073_ending_a_family_ends_everyone(hub: Hub) -> None:
    ids = _start_family(hub)
    hub.client.terminate_workflow(ids[0], output="all of you")
    for instance_id in ids:
        state = hub.finish(instance_id)
        assert (state.runtime_status, state.serialized_output) == (WorkflowStatus.TERMINATED, '"all of you"')


def test_073_ending_the_parent_alone_leaves_the_children(hub: Hub) -> None:
    ids = _start_family(hub)
    hub.client.terminate_workflow(ids[0], recursive=False)
    assert hub.finish(ids[0]).runtime_status is WorkflowStatus.TERMINATED
    for instance_id in ids[1:]:
        assert _status(hub, instance_id) is WorkflowStatus.RUNNING

    for instance_id in ids[2:]:
        hub.client.raise_workflow_event(instance_id, "go", data="alone")
    for instance_id in ids[1:]:
        state = hub.finish(instance_id)
        assert (state.runtime_status, state.serialized_output) == (WorkflowStatus.COMPLETED, '"alone"')
    # Their answers to the parent, which has ended, change nothing.
    assert _status(hub, ids[0]) is WorkflowStatus.TERMINATED


def test_074_a_child_that_has_completed_is_no_obstacle(hub: Hub) -> None:
    ids = _start_family(hub)
    hub.client.raise_workflow_event(ids[3], "go", data="in time")
    for instance_id in (ids[3], ids[1]):
        assert hub.finish(instance_id).serialized_output == '"in time"'

    hub.client.terminate_workflow(ids[0])
    for instance_id in (ids[0], ids[2]):
        assert hub.finish(instance_id).runtime_status is WorkflowStatus.TERMINATED
    for instance_id in (ids[1], ids[3]):
        state = hub.state(instance_id)
        assert (state.runtime_status, state.serialized_output) == (WorkflowStatus.COMPLETED, '"in time"')


def test_075_ending_what_has_completed_changes_nothing(hub: Hub) -> None:
    state = hub.run(hub.workflow(lambda ctx: "done"))
    hub.client.terminate_workflow(state.instance_id, output="too late")
    hub.client.terminate_workflow(state.instance_id, recursive=False)
    assert hub.state(state.instance_id) == state


@pytest.mark.not_on("memory", "sqlite", reason="no HTTP API is served")
def test_075_ending_what_has_completed_over_http_is_accepted(hub: Hub) -> None:
    state = hub.run(hub.workflow(lambda ctx: "done"))
    answer = hub.http("POST", f"{state.instance_id}/terminate")
    assert (answer.status_code, answer.content) == (202, b"{}")
    assert hub.state(state.instance_id) == state


def test_075_ending_what_never_was_is_an_error(hub: Hub) -> None:
    with pytest.raises(WorkflowNotFoundError) as caught:
        hub.client.terminate_workflow(hub.fresh("missing"))
    assert "no such instance exists" in caught.value.details()


@pytest.mark.not_on("daprd", reason="it refuses turns that end other instances, so the instance would try for ever")
@pytest.mark.parametrize("recursive", [True, False])
def test_073_a_workflow_may_end_another_one(own: OwnHub, recursive: bool) -> None:
    waiting = own.workflow(_make_waiting())

    @own.workflow
    def parent(ctx: WorkflowContext) -> Run:
        return (yield ctx.call_child_workflow(waiting, instance_id=f"{ctx.instance_id}-child"))

    with HandWorker(own) as worker:
        parent_id, ender = own.start_soon(parent), own.start_soon(waiting)
        child_id = f"{parent_id}-child"
        worker.play(worker.turn(parent_id))
        worker.play(worker.turn(child_id))
        reason = text_of('"enough"')
        asked = [
            pb.TerminateWorkflowAction(instanceId=instance_id, reason=reason, recurse=recursive)
            for instance_id in (parent_id, own.fresh("missing"))
        ]
        actions = [pb.WorkflowAction(id=number, terminateWorkflow=one) for number, one in enumerate(asked, start=1)]
        worker.answer(worker.turn(ender), actions)
        worker.play(worker.turn(parent_id))
        if recursive:
            worker.play(worker.turn(child_id))
        state = own.finish(parent_id)
    assert (state.runtime_status, state.serialized_output) == (WorkflowStatus.TERMINATED, '"enough"')
    if recursive:
        assert own.finish(child_id).runtime_status is WorkflowStatus.TERMINATED
    else:
        assert _status(own, child_id) is WorkflowStatus.RUNNING
    assert _status(own, ender) is WorkflowStatus.RUNNING


@pytest.mark.not_on("daprd", reason="1.16 tries to reach the child's app for ever and does not end the parent")
def test_076_a_child_whose_app_is_away_does_not_keep_its_parent_from_ending(hub: Hub, tmp_path: Path) -> None:
    with engine_hub(hub.kind, tmp_path) as own:
        waiting = own.workflow(_make_waiting())
        child_id = own.fresh("child")

        @own.workflow
        def parent(ctx: WorkflowContext) -> Run:
            return (yield ctx.call_child_workflow(waiting, instance_id=child_id, app_id="other"))

        with own.runtime, own.client_of("other") as others:
            with own.runtime_of("other"):
                parent_id = own.start(parent)
                own.eventually(lambda: others.get_workflow_state(child_id), "the child is there")
                others.wait_for_workflow_start(child_id, timeout_in_seconds=10)
            assert own.client.get_workflow_state(child_id) is None
            own.client.terminate_workflow(parent_id, output="enough")
            assert own.finish(parent_id).runtime_status is WorkflowStatus.TERMINATED
            child = others.wait_for_workflow_completion(child_id, timeout_in_seconds=10)
            assert child is not None
            assert (child.runtime_status, child.serialized_output) == (WorkflowStatus.TERMINATED, '"enough"')


# ---- 77 to 81: removing ------------------------------------------------------------------------------------


def test_077_a_completed_instance_can_be_removed(hub: Hub) -> None:
    state = hub.run(hub.workflow(lambda ctx: "done"))
    assert hub.client.purge_workflow(state.instance_id) == 1
    assert hub.client.get_workflow_state(state.instance_id) is None
    with pytest.raises(WorkflowNotFoundError):
        hub.client.raise_workflow_event(state.instance_id, "go")
    if hub.has_history:
        with pytest.raises(WorkflowNotFoundError):
            hub.history(state.instance_id)


@pytest.mark.parametrize("how", ["failed", "terminated"])
def test_077_an_instance_that_ended_otherwise_can_be_removed(hub: Hub, how: str) -> None:
    @hub.workflow
    def end(ctx: WorkflowContext) -> Run:
        if how == "failed":
            raise ValueError("on purpose")
        yield ctx.wait_for_external_event("never")

    instance_id = hub.start(end)
    if how == "terminated":
        hub.client.terminate_workflow(instance_id)
    assert hub.finish(instance_id).runtime_status.name == how.upper()
    assert hub.client.purge_workflow(instance_id) == 1
    assert hub.client.get_workflow_state(instance_id) is None


@pytest.mark.not_on("memory", "sqlite", reason="no HTTP API is served")
def test_077_removing_over_http_is_accepted(hub: Hub) -> None:
    state = hub.run(hub.workflow(lambda ctx: "done"))
    answer = hub.http("POST", f"{state.instance_id}/purge")
    assert (answer.status_code, answer.content) == (202, b"{}")
    assert hub.client.get_workflow_state(state.instance_id) is None


def test_078_an_instance_that_runs_is_not_removed(hub: Hub) -> None:
    instance_id = hub.start(hub.workflow(_make_waiting()), "input")
    with pytest.raises(WorkflowNotFinishedError) as caught:
        hub.client.purge_workflow(instance_id)
    assert "failed to purge orchestration state: orchestration has not yet completed" in caught.value.details()

    assert hub.state(instance_id).serialized_input == '"input"'
    hub.client.raise_workflow_event(instance_id, "go", data="intact")
    assert hub.finish(instance_id).serialized_output == '"intact"'


def test_078_removing_what_is_not_there_is_an_error(hub: Hub) -> None:
    state = hub.run(hub.workflow(lambda ctx: "done"))
    hub.client.purge_workflow(state.instance_id)
    for missing in (state.instance_id, hub.fresh("missing")):
        with pytest.raises(WorkflowNotFoundError) as caught:
            hub.client.purge_workflow(missing)
        assert "no such instance exists" in caught.value.details()


@pytest.mark.not_on("memory", "sqlite", reason="no HTTP API is served")
def test_078_http_answers_to_removing_tell_the_same(hub: Hub) -> None:
    instance_id = hub.start(hub.workflow(_make_waiting()))
    answer = hub.http("POST", f"{instance_id}/purge")
    assert (answer.status_code, answer.json()["errorCode"]) == (500, "ERR_PURGE_WORKFLOW")
    assert "orchestration has not yet completed" in answer.json()["message"]

    missing = hub.fresh("missing")
    answer = hub.http("POST", f"{missing}/purge")
    assert (answer.status_code, answer.json()["errorCode"]) == (404, "ERR_INSTANCE_ID_NOT_FOUND")
    message = f"unable to find workflow with the provided instance ID: {missing}"
    assert answer.json()["message"].startswith(message)
    hub.client.terminate_workflow(instance_id)


def _end_family(hub: Hub) -> list[str]:
    ids = _start_family(hub)
    hub.client.terminate_workflow(ids[0])
    for instance_id in ids:
        hub.finish(instance_id)
    return ids


def test_079_removing_a_family_removes_everyone(hub: Hub) -> None:
    ids = _end_family(hub)
    assert hub.client.purge_workflow(ids[0]) == len(ids)
    assert [hub.client.get_workflow_state(instance_id) for instance_id in ids] == [None] * len(ids)


def test_079_removing_the_parent_alone_leaves_the_children(hub: Hub) -> None:
    ids = _end_family(hub)
    assert hub.client.purge_workflow(ids[0], recursive=False) == 1
    assert [hub.client.get_workflow_state(of) is None for of in ids] == [True, False, False, False]


@pytest.mark.not_on("daprd", reason="before HEAD a missing child is an error")
def test_079_a_child_that_is_gone_already_is_skipped(hub: Hub) -> None:
    ids = _end_family(hub)
    assert hub.client.purge_workflow(ids[2]) == 1
    assert hub.client.purge_workflow(ids[0]) == len(ids) - 1
    assert [hub.client.get_workflow_state(instance_id) for instance_id in ids] == [None] * len(ids)


def test_080_an_ended_instance_is_removed_without_a_worker(own: OwnHub) -> None:
    with own.runtime:
        instance_id = own.run(own.workflow(lambda ctx: "done")).instance_id
    if own.is_daprd:
        # Its client would wait a minute; nothing is removed however long it waits.
        with grpc.insecure_channel(f"127.0.0.1:{own.grpc_port}") as channel:
            purge = channel.unary_unary(
                methods.PURGE.path,
                request_serializer=pb.PurgeInstancesRequest.SerializeToString,
                response_deserializer=pb.PurgeInstancesResponse.FromString,
            )
            with pytest.raises(grpc.RpcError):
                purge(pb.PurgeInstancesRequest(instanceId=instance_id), timeout=3)
        assert own.state(instance_id).serialized_output == '"done"'
    else:
        assert own.client.purge_workflow(instance_id) == 1
        assert own.client.get_workflow_state(instance_id) is None


def _purge(hub: Hub, instance_id: str, *, recursive: bool = False) -> int:
    request = pb.PurgeInstancesRequest(instanceId=instance_id, recursive=recursive, force=True)
    return hub.ask(lambda port: port.purge(request))


_NOT_FORCED = "removing by force came with 1.17"


@pytest.mark.not_on("daprd", reason=_NOT_FORCED)
@pytest.mark.parametrize("how", ["pending", "waiting", "paused", "with a timer"])
def test_080_an_instance_that_has_not_ended_is_removed_by_force(own: OwnHub, how: str) -> None:
    fired: list[str] = []

    @own.activity
    def note(ctx: WorkflowActivityContext) -> None:
        fired.append(ctx.workflow_id)

    @own.workflow
    def sleep(ctx: WorkflowContext) -> Run:
        if how == "with a timer":
            yield ctx.create_timer(timedelta(seconds=0.2))
            yield ctx.call_activity(note)
        yield ctx.wait_for_external_event("go")

    with HandWorker(own) as worker:
        instance_id = own.start_soon(sleep)
        turn = worker.turn(instance_id)
        if how != "pending":
            worker.play(turn)
        if how == "paused":
            own.client.pause_workflow(instance_id)
            worker.play(worker.turn(instance_id))
    with pytest.raises(WorkflowNotFinishedError):
        own.client.purge_workflow(instance_id)
    assert _purge(own, instance_id) == 1
    assert own.client.get_workflow_state(instance_id) is None
    with pytest.raises(WorkflowNotFoundError):
        _purge(own, instance_id)

    @own.workflow
    def later(ctx: WorkflowContext) -> Run:
        yield ctx.create_timer(timedelta(seconds=0.4))
        return "later"

    with own.runtime:
        assert own.run(later).serialized_output == '"later"'
        assert fired == []
        # The id is free.
        own.start(later, instance_id=instance_id)
        assert own.finish(instance_id).serialized_output == '"later"'


@pytest.mark.not_on("daprd", reason=_NOT_FORCED)
def test_080_answers_for_an_instance_removed_by_force_are_ignored(own: OwnHub) -> None:
    @own.workflow
    def call(ctx: WorkflowContext) -> Run:
        return (yield ctx.call_activity("work"))

    with HandWorker(own) as worker:
        in_turn, in_activity = own.start_soon(call), own.start_soon(call)
        turn = worker.turn(in_turn)
        worker.play(worker.turn(in_activity))
        activity = worker.activity(in_activity)
        waiting = in_background(lambda: own.finish(in_activity))
        for instance_id in (in_turn, in_activity):
            assert _purge(own, instance_id) == 1
        worker.play(turn)
        worker.finish(activity, '"too late"')
        assert isinstance(waiting.exception(10), AssertionError)  # It does not exist any more.
        for instance_id in (in_turn, in_activity):
            assert own.client.get_workflow_state(instance_id) is None
        # Under the same id and the same numbers, a new instance does not get the old answers.
        own.client.schedule_new_workflow(call, instance_id=in_activity)
        worker.play(worker.turn(in_activity))
        again = worker.activity(in_activity)
        worker.finish(activity, '"too late"')
        acknowledged = in_background(lambda: worker.finish(again, '"in time"'))
        worker.play(worker.turn(in_activity))
        acknowledged.result(10)
        assert own.finish(in_activity).serialized_output == '"in time"'


@pytest.mark.not_on("daprd", reason=_NOT_FORCED)
@pytest.mark.parametrize("recursive", [True, False])
def test_080_a_family_is_removed_by_force(hub: Hub, recursive: bool) -> None:
    ids = _start_family(hub)
    assert _purge(hub, ids[0], recursive=recursive) == (len(ids) if recursive else 1)
    gone = [hub.client.get_workflow_state(instance_id) is None for instance_id in ids]
    assert gone == [True, *[recursive] * 3]
    if not recursive:
        # The answers of its children are for nobody.
        for instance_id in ids[2:]:
            hub.client.raise_workflow_event(instance_id, "go", data="alone")
        assert hub.finish(ids[1]).serialized_output == '"alone"'
        assert hub.client.get_workflow_state(ids[0]) is None


_NO_RETENTION = "retention came with 1.17"
_ENDINGS = ("completed", "failed", "terminated")


def _end_as(own: OwnHub, how: str) -> str:
    @own.workflow
    def end(ctx: WorkflowContext) -> Run:
        if how == "failed":
            raise ValueError("on purpose")
        if how == "terminated":
            yield ctx.wait_for_external_event("never")
        return "done"

    instance_id = own.start(end)
    if how == "terminated":
        own.client.terminate_workflow(instance_id)
    return instance_id


@pytest.mark.not_on("daprd", reason=_NO_RETENTION)
def test_081_instances_of_no_retention_are_gone_at_once_and_their_clients_hear_of_the_end(
    hub: Hub, tmp_path: Path
) -> None:
    with engine_hub(hub.kind, tmp_path, retention=RetentionPolicy(any_terminal=timedelta(0))) as own, own.runtime:
        started, go_on = threading.Event(), threading.Event()

        @own.activity
        def hold(ctx: WorkflowActivityContext) -> str:
            started.set()
            assert go_on.wait(20)
            return "done"

        @own.workflow
        def call(ctx: WorkflowContext) -> Run:
            return (yield ctx.call_activity(hold))

        waited = own.start(call)
        assert started.wait(10)
        patient = in_background(lambda: own.client.wait_for_workflow_completion(waited, timeout_in_seconds=20))
        time.sleep(0.1)  # Nothing tells when its request has arrived.
        go_on.set()
        state = patient.result(20)
        assert state is not None
        assert state.serialized_output == '"done"'
        for instance_id in (waited, *(_end_as(own, how) for how in _ENDINGS)):
            own.eventually(lambda of=instance_id: own.client.get_workflow_state(of) is None, "it is gone")  # type: ignore[misc]


@pytest.mark.not_on("daprd", reason=_NO_RETENTION)
@pytest.mark.parametrize("removed", _ENDINGS)
def test_081_each_final_status_has_its_own_retention(hub: Hub, tmp_path: Path, removed: str) -> None:
    policy = RetentionPolicy(any_terminal=timedelta(days=1), **{removed: timedelta(0)})
    with engine_hub(hub.kind, tmp_path, retention=policy) as own, own.runtime:
        ids = {how: _end_as(own, how) for how in _ENDINGS}
        running = own.start(own.workflow(_make_waiting()))
        own.eventually(lambda: own.client.get_workflow_state(ids[removed]) is None, "it is gone")
        for how in _ENDINGS:
            if how != removed:
                assert own.finish(ids[how]).runtime_status.name == how.upper()
        assert own.state(running).runtime_status is not None


@pytest.mark.not_on("daprd", reason=_NO_RETENTION)
def test_081_retention_counts_from_the_end(hub: Hub, tmp_path: Path) -> None:
    clock = VirtualClock(auto_advance=False)
    policy = RetentionPolicy(completed=timedelta(hours=2))
    with engine_hub(hub.kind, tmp_path, retention=policy, clock=clock) as own, own.runtime:
        ended = own.run(own.workflow(lambda ctx: "done")).instance_id
        other = own.start(own.workflow(_make_waiting()))
        minutes = 0

        async def pass_a_minute() -> None:
            clock.advance(60_000_000_000)

        def gone() -> bool:
            nonlocal minutes
            own.call(pass_a_minute)
            minutes += 1
            return own.client.get_workflow_state(ended) is None

        own.eventually(gone, "it is gone", 30)
        assert minutes >= 120
        # What has not ended yet is kept, however old it is.
        own.client.raise_workflow_event(other, "go", data="done")
        assert own.finish(other).serialized_output == '"done"'


@pytest.mark.not_on("memory", reason="it keeps nothing")
@pytest.mark.not_on("daprd", reason=_NO_RETENTION)
def test_081_what_grew_too_old_while_the_engine_was_away_goes_when_it_comes_back(hub: Hub, tmp_path: Path) -> None:
    with engine_hub(hub.kind, tmp_path) as own, own.runtime:
        ids = {how: _end_as(own, how) for how in _ENDINGS}
        for instance_id in ids.values():
            own.finish(instance_id)
    policy = RetentionPolicy(failed=timedelta(milliseconds=1), completed=timedelta(hours=1))
    with engine_hub(hub.kind, tmp_path, retention=policy) as own:
        own.eventually(lambda: own.client.get_workflow_state(ids["failed"]) is None, "it is gone")
        assert [_status(own, ids[how]).name.lower() for how in ("completed", "terminated")] == [
            "completed",
            "terminated",
        ]


# ---- 82 to 85: using ids again -------------------------------------------------------------------------------


def test_082_of_two_starts_of_one_id_one_succeeds(hub: Hub) -> None:
    waiting = hub.workflow(_make_waiting())
    instance_id = hub.fresh("i")
    starts = [in_background(lambda: hub.start(waiting, instance_id=instance_id)) for _ in range(2)]
    errors = [start.exception(20) for start in starts]
    refused = [error for error in errors if error is not None]
    assert len(refused) == 1
    assert isinstance(refused[0], WorkflowAlreadyExistsError)
    assert f"an active workflow with ID '{instance_id}' already exists" in refused[0].details()

    hub.client.raise_workflow_event(instance_id, "go", data="once")
    assert hub.finish(instance_id).serialized_output == '"once"'


def test_082_an_id_in_use_is_refused_while_its_instance_is_paused(hub: Hub) -> None:
    waiting = hub.workflow(_make_waiting())
    instance_id = hub.start(waiting)
    hub.client.wait_for_workflow_start(instance_id, timeout_in_seconds=10)
    hub.client.pause_workflow(instance_id)
    with pytest.raises(TaskHubError) as caught:
        hub.start(waiting, instance_id=instance_id)
    assert f"an active workflow with ID '{instance_id}' already exists" in caught.value.details()
    hub.client.resume_workflow(instance_id)
    hub.client.terminate_workflow(instance_id)


@pytest.mark.not_on("memory", "sqlite", reason="no HTTP API is served")
def test_082_http_refuses_an_id_in_use(hub: Hub) -> None:
    waiting = hub.workflow(_make_waiting())
    instance_id = hub.start(waiting)
    name = hub.state(instance_id).name
    answer = hub.http("POST", f"{name}/start?instanceID={instance_id}")
    assert (answer.status_code, answer.json()["errorCode"]) == (500, "ERR_START_WORKFLOW")
    assert f"an active workflow with ID '{instance_id}' already exists" in answer.json()["message"]
    hub.client.terminate_workflow(instance_id)


def _start_again(
    hub: Hub, workflow: Callable[..., Any], value: Any, ended: Callable[[], WorkflowState]
) -> WorkflowState:
    """Starts an instance under the id of one that `ended` brought to its end, and returns the state of that.

    A sidecar of 1.16 keeps the actors of instances for others and forgets to reset that one waits for an
    activity. So it refuses some ids for what another instance did; then another instance is tried.
    """
    for _ in range(10):
        before = ended()
        try:
            hub.start(workflow, value, instance_id=before.instance_id)
        except TaskHubError as error:
            if not hub.is_daprd or "is already awaiting an activity result" not in error.details():
                raise
        else:
            return before
    raise AssertionError("no id can be used again")


def test_083_the_id_of_a_completed_instance_can_be_used_again(hub: Hub) -> None:
    @hub.activity
    def same(ctx: WorkflowActivityContext, value: int) -> int:
        return value

    @hub.workflow
    def steps(ctx: WorkflowContext, count: int) -> Run:
        ctx.set_custom_status(f"{count} steps")
        for number in range(count):
            yield ctx.call_activity(same, input=number)
        return count

    first = _start_again(hub, steps, 1, lambda: hub.run(steps, 3))
    second = hub.finish(first.instance_id)
    assert (first.serialized_output, second.serialized_output) == ("3", "1")
    assert (second.serialized_input, second.serialized_custom_status) == ("1", "1 steps")
    assert second.created_at > first.created_at
    if hub.has_history:
        kinds = [kind_of(event) for event in hub.history(first.instance_id)]
        assert (kinds.count("executionStarted"), kinds.count("taskScheduled")) == (1, 1)


@pytest.mark.parametrize("how", ["failed", "terminated"])
def test_083_so_can_the_id_of_one_that_ended_otherwise(hub: Hub, how: str) -> None:
    @hub.workflow
    def end(ctx: WorkflowContext, how: str) -> Run:
        if how == "failed":
            raise ValueError("on purpose")
        if how == "terminated":
            yield ctx.wait_for_external_event("never")
        return "well"

    def ended() -> WorkflowState:
        instance_id = hub.start(end, how)
        if how == "terminated":
            hub.client.terminate_workflow(instance_id, output="early")
        return hub.finish(instance_id)

    before = _start_again(hub, end, "again", ended)
    assert before.runtime_status.name == how.upper()
    state = hub.finish(before.instance_id)
    assert (state.runtime_status, state.serialized_output) == (WorkflowStatus.COMPLETED, '"well"')
    assert state.failure_details is None


def _request(instance_id: str, workflow: Callable[..., Any], text: str | None = None) -> pb.CreateInstanceRequest:
    return pb.CreateInstanceRequest(instanceId=instance_id, name=name_of(workflow), input=text_of(text))


def _reuse(
    hub: Hub, instance_id: str, workflow: Callable[..., Any], action: pb.CreateWorkflowAction, *of: pb.WorkflowStatus
) -> str:
    request = _request(instance_id, workflow, '"second"')
    request.workflowIdReusePolicy.workflowStatus.extend(of)
    request.workflowIdReusePolicy.action = action
    return hub.ask(lambda port: port.start(request))


def _make_telling() -> Callable[[WorkflowContext, str], Run]:
    def telling(ctx: WorkflowContext, value: str) -> Run:
        return [value, (yield ctx.wait_for_external_event("go"))]

    return telling


def test_083_a_request_may_leave_the_instance_that_has_the_id_alone(hub: Hub) -> None:
    telling = hub.workflow(_make_telling())
    instance_id = hub.start(telling, "first")
    running = pb.WORKFLOW_STATUS_RUNNING
    hub.client.wait_for_workflow_start(instance_id, timeout_in_seconds=10)
    assert _reuse(hub, instance_id, telling, pb.CREATE_WORKFLOW_ACTION_IGNORE, running) == instance_id
    # What the policy does not name is refused.
    with pytest.raises(WorkflowAlreadyExistsError):
        _reuse(hub, instance_id, telling, pb.CREATE_WORKFLOW_ACTION_IGNORE, pb.WORKFLOW_STATUS_SUSPENDED)
    with pytest.raises(WorkflowAlreadyExistsError):
        _reuse(hub, instance_id, telling, pb.CREATE_WORKFLOW_ACTION_ERROR, running)
    hub.client.raise_workflow_event(instance_id, "go", data=1)
    assert hub.finish(instance_id).serialized_output == '["first", 1]'
    completed = pb.WORKFLOW_STATUS_COMPLETED
    assert _reuse(hub, instance_id, telling, pb.CREATE_WORKFLOW_ACTION_IGNORE, completed) == instance_id
    assert hub.state(instance_id).serialized_output == '["first", 1]'


def test_083_a_request_may_end_the_instance_that_has_the_id(hub: Hub) -> None:
    telling = hub.workflow(_make_telling())
    instance_id = hub.start(telling, "first")
    hub.client.wait_for_workflow_start(instance_id, timeout_in_seconds=10)
    terminate = pb.CREATE_WORKFLOW_ACTION_TERMINATE
    assert _reuse(hub, instance_id, telling, terminate, pb.WORKFLOW_STATUS_RUNNING) == instance_id
    hub.client.raise_workflow_event(instance_id, "go", data=2)
    state = hub.finish(instance_id)
    assert (state.runtime_status, state.serialized_output) == (WorkflowStatus.COMPLETED, '["second", 2]')


@pytest.mark.not_on("daprd", reason="before HEAD nothing in a request forbids to use an id again")
def test_084_an_id_that_is_to_be_used_once_is_refused_for_ever(hub: Hub) -> None:
    telling = hub.workflow(_make_telling())
    instance_id = hub.fresh("i")
    request = _request(instance_id, telling, '"first"')
    request.enforceUniqueInstanceId = True
    assert hub.ask(lambda port: port.start(request)) == instance_id
    hub.client.wait_for_workflow_start(instance_id, timeout_in_seconds=10)
    for ended in (False, True):
        if ended:
            hub.client.terminate_workflow(instance_id)
        before = hub.state(instance_id)
        with pytest.raises(WorkflowAlreadyExistsError) as caught:
            hub.ask(lambda port: port.start(request))
        assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS
        assert f"'{instance_id}' already exists" in caught.value.details()
        assert "enforces instance ID uniqueness" in caught.value.details()
        assert hub.state(instance_id) == before
    hub.client.purge_workflow(instance_id)
    assert hub.ask(lambda port: port.start(request)) == instance_id
    hub.client.terminate_workflow(instance_id)


@pytest.mark.not_on("daprd", reason="before HEAD the children of the instance that had the id are not looked at")
def test_085_an_id_is_not_used_again_while_a_child_of_its_instance_runs(hub: Hub) -> None:
    ids = _start_family(hub)
    parent = hub.state(ids[0]).name
    hub.client.terminate_workflow(ids[0], recursive=False)
    before = hub.finish(ids[0])
    for child in (ids[1], ids[2]):
        with pytest.raises(WorkflowAlreadyExistsError) as caught:
            hub.start(parent, instance_id=ids[0])
        assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS
        assert f"cannot recreate workflow with ID '{ids[0]}': child workflow '{child}'" in caught.value.details()
        assert hub.state(ids[0]) == before
        hub.client.terminate_workflow(child)
    hub.start(parent, instance_id=ids[0])
    hub.client.wait_for_workflow_start(ids[1], timeout_in_seconds=10)
    hub.client.terminate_workflow(ids[0])
