"""Scenarios 105 to 116 of the conformance list: workers and hubs that die, and answers nobody waits for."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

import pytest

from dapr_workflow_sdk import (
    Task,
    TaskHubUnavailableError,
    WorkflowActivityContext,
    WorkflowContext,
    WorkflowStatus,
    when_all,
)
from dapr_workflow_sdk.taskhub.port import TaskHub
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import text_of
from tests.conformance.hubs import Hub, kind_of
from tests.conformance.own_hubs import HandWorker, OwnHub, in_background, own_hub

T = TypeVar("T")
Run = Generator[Task[Any], Any, Any]


@pytest.fixture(scope="module")
def own(hub: Hub, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[OwnHub]:
    """A hub of the same kind, without a worker unless a test connects one."""
    with own_hub(hub.kind, tmp_path_factory.mktemp("own"), request) as own:
        yield own


# ---- 105, 106: a worker dies -------------------------------------------------------------------------------


def test_105_a_turn_whose_worker_died_goes_to_the_next_one(own: OwnHub) -> None:
    runs: list[str] = []

    @own.activity
    def first(ctx: WorkflowActivityContext) -> str:
        runs.append(f"first of {ctx.workflow_id}")
        return "first"

    @own.activity
    def second(ctx: WorkflowActivityContext, before: str) -> list[str]:
        runs.append(f"second of {ctx.workflow_id}")
        return [before, "second"]

    @own.workflow
    def steps(ctx: WorkflowContext) -> Run:
        before = yield ctx.call_activity(first)
        return (yield ctx.call_activity(second, input=before))

    with HandWorker(own) as worker:
        early, late = own.start_soon(steps), own.start_soon(steps)
        worker.turn(early)
        worker.play(worker.turn(late))
        done = worker.activity(late)
        acknowledged = in_background(lambda: worker.finish(done, '"by hand"'))
        taken = worker.turn(late)
        assert [kind_of(event) for event in taken.new] == ["workflowStarted", "taskCompleted"]
        # It dies with both turns.
    acknowledged.exception(10)

    with own.runtime:
        states = [own.finish(early), own.finish(late)]
    assert [state.serialized_output for state in states] == ['["first", "second"]', '["by hand", "second"]']
    assert sorted(runs) == sorted([f"first of {early}", f"second of {early}", f"second of {late}"])
    if own.has_history:
        kinds = [kind_of(event) for event in own.history(late)]
        assert (kinds.count("taskScheduled"), kinds.count("taskCompleted")) == (2, 2)


def test_106_activities_whose_worker_died_run_on_the_next_one(own: OwnHub) -> None:
    runs: list[tuple[int, int, str]] = []

    @own.activity
    def work(ctx: WorkflowActivityContext, number: int) -> int:
        runs.append((number, ctx.task_id, ctx.task_execution_id))
        return number

    @own.workflow
    def fan(ctx: WorkflowContext) -> Run:
        return (yield when_all([ctx.call_activity(work, input=number) for number in range(4)]))

    with HandWorker(own) as worker:
        instance_id = own.start_soon(fan)
        worker.play(worker.turn(instance_id))
        items = {int(item.request.input.value): item for item in (worker.activity(instance_id) for _ in range(4))}
        acknowledged = in_background(lambda: worker.finish(items.pop(1), "10"))
        worker.play(worker.turn(instance_id))
        acknowledged.result(10)
        # It dies with three of four.

    with own.runtime:
        state = own.finish(instance_id)
    assert (state.runtime_status, state.serialized_output) == (WorkflowStatus.COMPLETED, "[0, 10, 2, 3]")
    lost = [(number, item.request.taskId, item.request.taskExecutionId) for number, item in items.items()]
    assert sorted(runs) == sorted(lost)
    if own.has_history:
        kinds = [kind_of(event) for event in own.history(instance_id)]
        assert (kinds.count("taskScheduled"), kinds.count("taskCompleted")) == (4, 4)


# ---- 108: the hub dies -------------------------------------------------------------------------------------


@pytest.mark.not_on("memory", reason="it keeps nothing")
def test_108_unfinished_instances_go_on_after_a_restart(own: OwnHub) -> None:
    release = threading.Event()
    attempts: list[int] = []
    notes: list[int] = []

    @own.activity
    def note(ctx: WorkflowActivityContext, value: int) -> int:
        notes.append(value)
        return value + 1

    @own.activity
    def hang_once(ctx: WorkflowActivityContext) -> int:
        attempts.append(ctx.task_id)
        if len(attempts) == 1:
            release.wait(60)
        return len(attempts)

    @own.workflow
    def wait(ctx: WorkflowContext, value: int) -> Run:
        noted = yield ctx.call_activity(note, input=value)
        ctx.set_custom_status("noted")
        return [noted, (yield ctx.wait_for_external_event("go"))]

    @own.workflow
    def sleep(ctx: WorkflowContext, delay: float) -> Run:
        ctx.set_custom_status("noted")
        yield ctx.create_timer(timedelta(seconds=delay))
        return "awake"

    @own.workflow
    def work(ctx: WorkflowContext) -> Run:
        return (yield ctx.call_activity(hang_once))

    @own.workflow
    def parent(ctx: WorkflowContext) -> Run:
        return (yield ctx.call_child_workflow(wait, input=10, instance_id=f"{ctx.instance_id}-child"))

    own.runtime.start()
    try:
        delay = own.short(0.3)
        over = own.run(sleep, 0)
        waiting, paused, family = own.start(wait, 1), own.start(wait, 5), own.start(parent)
        working, sleeping = own.start(work), own.start(sleep, delay.total_seconds())
        later = own.client.schedule_new_workflow(
            sleep, input=0, instance_id=own.fresh("i"), start_at=datetime.now(timezone.utc) + delay
        )
        for instance_id in (waiting, paused, f"{family}-child", sleeping):
            own.eventually(lambda of=instance_id: _custom_status(own, of) == "noted", f"{instance_id} waits")  # type: ignore[misc]
        own.eventually(lambda: attempts, "the activity runs")
        own.client.pause_workflow(paused)
        # A client of another process waits on while the hub is away.
        patient = in_background(lambda: own.finish(waiting)) if own.engine is None else None
        time.sleep(0.1)  # Nothing tells when its request has arrived.

        own.kill()
        own.revive()

        assert _insist(lambda: own.client.get_workflow_state(over.instance_id)) == over
        for instance_id in (waiting, f"{family}-child", paused):
            _insist(lambda of=instance_id: own.client.raise_workflow_event(of, "go", data="on"))  # type: ignore[misc]
        assert own.finish(waiting).serialized_output == '[2, "on"]'
        assert patient is None or patient.result(20).serialized_output == '[2, "on"]'
        assert own.finish(family).serialized_output == '[11, "on"]'
        assert own.finish(sleeping).serialized_output == '"awake"'
        assert own.finish(later).serialized_output == '"awake"'
        assert own.finish(working).serialized_output == "2"
        assert own.state(paused).runtime_status is WorkflowStatus.SUSPENDED
        own.client.resume_workflow(paused)
        assert own.finish(paused).serialized_output == '[6, "on"]'
        assert sorted(notes) == [1, 5, 10]
    finally:
        release.set()
        own.runtime.shutdown()


@pytest.mark.not_on("memory", reason="it keeps nothing")
@pytest.mark.not_on("daprd", reason="it acknowledges nothing while no worker is connected")
def test_108_what_was_acknowledged_without_a_worker_is_there_after_a_restart(own: OwnHub) -> None:
    @own.workflow
    def wait(ctx: WorkflowContext, value: int) -> Run:
        return [value, (yield ctx.wait_for_external_event("go"))]

    ids = [own.start(wait, number) for number in range(10)]
    for number, instance_id in enumerate(ids):
        own.client.raise_workflow_event(instance_id, "go", data=number)
    own.kill()
    own.revive()
    with own.runtime:
        outputs = [_insist(lambda of=of: own.finish(of)).serialized_output for of in ids]  # type: ignore[misc]
    assert outputs == [f"[{number}, {number}]" for number in range(10)]


def _custom_status(hub: Hub, instance_id: str) -> str | None:
    state = hub.client.get_workflow_state(instance_id)
    return None if state is None else state.serialized_custom_status


def _insist(operation: Callable[[], T]) -> T:
    """Carries an operation out as soon as the hub, which has just started again, takes it."""
    deadline = time.monotonic() + 15
    while True:
        try:
            return operation()
        except TaskHubUnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


# ---- 110: answers nobody waits for -------------------------------------------------------------------------


async def _within(seconds: float, answer: Coroutine[Any, Any, None]) -> bool:
    try:
        await asyncio.wait_for(answer, seconds)
    except asyncio.TimeoutError:
        return False
    return True


def test_110_answers_to_what_was_never_asked_are_ignored(hub: Hub) -> None:
    missing = hub.fresh("missing")
    running = hub.start(hub.workflow(_make_waiting()))
    hub.client.wait_for_workflow_start(running, timeout_in_seconds=10)

    async def answer(port: TaskHub) -> list[bool]:
        # A sidecar before 1.16.4 does not answer for a quarter of an hour.
        patience = 0.3 if hub.is_daprd else 10.0
        complete = pb.CompleteWorkflowAction(workflowStatus=pb.WORKFLOW_STATUS_FAILED)
        actions = [pb.WorkflowAction(id=1, completeWorkflow=complete)]
        return [
            await _within(patience, port.complete_turn(pb.WorkflowResponse(instanceId=missing, actions=actions))),
            await _within(patience, port.complete_turn(pb.WorkflowResponse(instanceId=running, actions=actions))),
            await _within(patience, port.complete_activity(pb.ActivityResponse(instanceId=running, taskId=7))),
            await _within(patience, port.complete_activity(pb.ActivityResponse(instanceId=missing, taskId=1))),
        ]

    assert hub.ask(answer) == [not hub.is_daprd] * 4
    assert hub.client.get_workflow_state(missing) is None
    hub.client.raise_workflow_event(running, "go", data="unharmed")
    assert hub.finish(running).serialized_output == '"unharmed"'


@pytest.mark.not_on("daprd", reason="1.16.0 holds the second answer back for a quarter of an hour")
def test_110_the_second_of_two_answers_is_ignored(hub: Hub) -> None:
    answered: list[bool] = []

    @hub.activity
    def answer_first(ctx: WorkflowActivityContext, value: str) -> str:
        response = pb.ActivityResponse(instanceId=ctx.workflow_id, taskId=ctx.task_id, result=text_of('"the first"'))
        answered.append(hub.ask(lambda port: _within(10, port.complete_activity(response))))
        return "the second"

    @hub.workflow
    def call(ctx: WorkflowContext) -> Run:
        first = yield ctx.call_activity(answer_first, input="a")
        second = yield ctx.call_activity(answer_first, input="b")
        return [first, second]

    state = hub.run(call)
    assert state.serialized_output == '["the first", "the first"]'
    hub.eventually(lambda: answered == [True, True], "both early answers are acknowledged")
    results = [event for event in hub.history(state.instance_id) if kind_of(event) == "taskCompleted"]
    assert [event.taskCompleted.taskScheduledId for event in results] == [1, 2]


@pytest.mark.not_on("daprd", reason="1.16.0 holds the second answer back for a quarter of an hour")
def test_110_a_turn_answered_twice_counts_once(own: OwnHub) -> None:
    @own.workflow
    def call(ctx: WorkflowContext) -> Run:
        return (yield ctx.call_activity("work"))

    with HandWorker(own) as worker:
        instance_id = own.start_soon(call)
        item = worker.turn(instance_id)
        worker.play(item)
        worker.play(item)
        activity = worker.activity(instance_id)
        acknowledged = in_background(lambda: worker.finish(activity, '"done"'))
        last = worker.turn(instance_id)
        worker.play(last)
        worker.play(last)
        acknowledged.result(10)
        worker.finish(activity, '"again"')
        assert own.finish(instance_id).serialized_output == '"done"'
        worker.finish(activity, '"and again"')
    kinds = [kind_of(event) for event in own.history(instance_id)]
    assert (
        kinds.count("taskScheduled"),
        kinds.count("taskCompleted"),
        kinds.count("executionCompleted"),
    ) == (1, 1, 1)


def _make_waiting() -> Callable[[WorkflowContext], Run]:
    def waiting(ctx: WorkflowContext) -> Run:
        return (yield ctx.wait_for_external_event("go"))

    return waiting
