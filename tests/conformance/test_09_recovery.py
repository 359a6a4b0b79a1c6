"""Scenarios 105 to 116 of the conformance list: workers and hubs that die, and answers nobody waits for."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar

import pytest

from dapr_workflow_sdk import (
    EmbeddedEngine,
    Task,
    TaskHubUnavailableError,
    WorkflowActivityContext,
    WorkflowClient,
    WorkflowContext,
    WorkflowRuntime,
    WorkflowStatus,
    when_all,
)
from dapr_workflow_sdk.engine.server.limits import Limits
from dapr_workflow_sdk.errors import TaskHubError, WorkflowStalledError
from dapr_workflow_sdk.taskhub.port import TaskHub, WorkerOffer
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import text_of
from tests.conformance.hubs import Hub, kind_of
from tests.conformance.own_hubs import HandWorker, OwnHub, engine_hub, in_background, own_hub

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


# ---- 107: who waits does not notice that workers come and go -----------------------------------------------


def test_107_a_client_that_waits_outlives_the_workers(own: OwnHub) -> None:
    @own.workflow
    def wait(ctx: WorkflowContext) -> Run:
        ctx.set_custom_status("waiting")
        return (yield ctx.wait_for_external_event("go"))

    with HandWorker(own) as worker:
        instance_id = own.start_soon(wait)
        worker.play(worker.turn(instance_id))
        own.eventually(lambda: _custom_status(own, instance_id) == "waiting", "it waits")
        patient = in_background(lambda: own.finish(instance_id, 40))
        starting = in_background(lambda: own.client.wait_for_workflow_start(instance_id, timeout_in_seconds=20))
        assert starting.result(20) is not None
        # It dies, with nothing in its hands.
    with own.runtime:
        assert own.state(instance_id).runtime_status is WorkflowStatus.RUNNING
        assert not patient.done()
    with own.runtime:
        # A sidecar takes a moment to know what its workers serve.
        _insist(lambda: own.client.raise_workflow_event(instance_id, "go", data="on"), "not registered")
        assert patient.result(40).serialized_output == '"on"'


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


def _insist(operation: Callable[[], T], passing: str = "") -> T:
    """Carries an operation out as soon as the hub takes it, which has just started again or tells a passing error."""
    deadline = time.monotonic() + 15
    while True:
        try:
            return operation()
        except TaskHubError as error:
            expected = isinstance(error, TaskHubUnavailableError) or (passing and passing in error.details())
            if not expected or time.monotonic() > deadline:
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


# ---- 111: answers that come too late -----------------------------------------------------------------------

_without_tokens = pytest.mark.not_on("daprd", reason="1.16 sends no tokens, so it cannot tell late answers from others")


@_without_tokens
def test_111_the_answer_of_a_worker_that_lost_its_turn_is_dropped(own: OwnHub) -> None:
    @own.workflow
    def subject(ctx: WorkflowContext) -> str:
        return "genuine"

    with HandWorker(own) as first:
        instance_id = own.start_soon(subject)
        stale = first.turn(instance_id)
    with HandWorker(own) as second:
        genuine = second.turn(instance_id)
        assert stale.token
        assert genuine.token != stale.token
        end = pb.CompleteWorkflowAction(workflowStatus=pb.WORKFLOW_STATUS_FAILED)
        second.answer(stale, [pb.WorkflowAction(id=1, completeWorkflow=end)])
        assert own.state(instance_id).runtime_status is WorkflowStatus.PENDING
        second.play(genuine)
        state = own.finish(instance_id)
        assert (state.runtime_status, state.serialized_output) == (WorkflowStatus.COMPLETED, '"genuine"')
        second.answer(stale, [pb.WorkflowAction(id=1, completeWorkflow=end)])
    assert own.state(instance_id) == state


@_without_tokens
def test_111_the_result_of_a_worker_that_lost_its_activity_is_dropped(own: OwnHub) -> None:
    @own.workflow
    def call(ctx: WorkflowContext) -> Run:
        return (yield ctx.call_activity("work"))

    with HandWorker(own) as first:
        instance_id = own.start_soon(call)
        first.play(first.turn(instance_id))
        stale = first.activity(instance_id)
    with HandWorker(own) as second:
        genuine = second.activity(instance_id)
        assert genuine.request == stale.request
        assert genuine.token != stale.token
        second.finish(stale, '"stale"')
        acknowledged = in_background(lambda: second.finish(genuine, '"genuine"'))
        second.play(second.turn(instance_id))
        acknowledged.result(10)
        assert own.finish(instance_id).serialized_output == '"genuine"'


# ---- 112: a worker that does not read -----------------------------------------------------------------------


def test_112_a_worker_that_does_not_read_keeps_nobody_from_the_others(own: OwnHub) -> None:
    runs: list[tuple[str, int]] = []

    @own.activity
    def work(ctx: WorkflowActivityContext, number: int) -> int:
        runs.append((ctx.workflow_id, number))
        return number

    @own.workflow
    def steps(ctx: WorkflowContext) -> Run:
        results = []
        for number in range(3):
            results.append((yield ctx.call_activity(work, input=number)))
        return results

    @own.workflow
    def at_once(ctx: WorkflowContext) -> str:
        return "done"

    with own.runtime:
        with HandWorker(own):
            quick = [own.start_soon(at_once) for _ in range(20)]
            ids = [own.start_soon(steps) for _ in range(20)]
            own.eventually(lambda: any(_ended(own, of) for of in quick), "some instances end")
        # Its connection is gone, and what it had goes to the other worker.
        outputs = [own.finish(of, 40).serialized_output for of in ids]
        assert {own.finish(of, 40).serialized_output for of in quick} == {'"done"'}
    assert outputs == ["[0, 1, 2]"] * 20
    assert sorted(runs) == sorted((of, number) for of in ids for number in range(3))
    for of in ids:
        assert [number for instance_id, number in runs if instance_id == of] == [0, 1, 2]


@pytest.mark.not_on("daprd", "grpc", reason="what a stream itself holds is not the engine's to count")
def test_112_no_more_is_kept_for_a_worker_that_does_not_read_than_it_can_read_soon(own: OwnHub) -> None:
    @own.workflow
    def subject(ctx: WorkflowContext) -> str:
        return "done"

    with HandWorker(own), own.runtime:
        ids = [own.start_soon(subject) for _ in range(700)]
        own.eventually(lambda: sum(not _ended(own, of) for of in ids) <= 256, "all but the unread ones end", 30)
        (unread,) = [worker for worker in _workers(own) if not worker.identity]
        assert 0 < unread.turns <= 256
    with own.runtime:
        assert {own.finish(of).serialized_output for of in ids} == {'"done"'}


def _ended(hub: Hub, instance_id: str) -> bool:
    return hub.state(instance_id).runtime_status is WorkflowStatus.COMPLETED


def _workers(hub: Hub) -> list[pb.WorkerInfo]:
    async def read(port: TaskHub) -> list[pb.WorkerInfo]:
        return list(await port.workers())

    return hub.ask(read)


# ---- 113, 114: how much a worker takes, and several workers -------------------------------------------------


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_113_a_worker_never_runs_more_activities_than_it_is_told_to(own: OwnHub, kind: str) -> None:
    limit, lock, release = 3, threading.Lock(), threading.Event()
    running, most = [0], [0]

    def enter() -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
            if running[0] == limit:
                release.set()

    def leave() -> None:
        with lock:
            running[0] -= 1

    if kind == "def":

        @own.activity
        def work(ctx: WorkflowActivityContext, number: int) -> int:
            enter()
            # As many as may run do so together, before one of them ends.
            assert release.wait(20)
            leave()
            return number
    else:

        @own.activity
        async def work(ctx: WorkflowActivityContext, number: int) -> int:
            enter()
            while not release.is_set():
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.001)
            leave()
            return number

    @own.workflow
    def fan(ctx: WorkflowContext) -> Run:
        return (yield when_all([ctx.call_activity(work, input=number) for number in range(12)]))

    with own.new_runtime(maximum_concurrent_activity_work_items=limit):
        ids = [own.start(fan) for _ in range(3)]
        for of in ids:
            assert own.finish(of).serialized_output == str(list(range(12)))
    assert most == [limit]


@pytest.mark.not_on("daprd", reason="it ignores what workers offer and sends all it has")
def test_113_the_engine_gives_a_worker_no_more_than_it_offers(own: OwnHub) -> None:
    @own.workflow
    def fan(ctx: WorkflowContext) -> Run:
        return (yield when_all([ctx.call_activity("work") for _ in range(5)]))

    @own.workflow
    def nothing(ctx: WorkflowContext) -> None: ...

    def load() -> tuple[int, int]:
        (worker,) = _workers(own)
        return worker.turns, worker.activities

    with HandWorker(own, WorkerOffer(turns=2, activities=3)) as worker:
        ids = [own.start_soon(nothing) for _ in range(4)]
        fanned = own.start_soon(fan)
        (info,) = _workers(own)
        assert (info.maxTurns, info.maxActivities) == (2, 3)
        assert load() == (2, 0)
        for of in ids[:3]:
            worker.play(worker.turn(of))
            assert load() == (2, 0)
        worker.play(worker.turn(ids[3]))
        assert load() == (1, 0)
        worker.play(worker.turn(fanned))
        assert load() == (0, 3)
        pending = [worker.activity(fanned) for _ in range(3)]
        acknowledged = [in_background(lambda item=pending.pop(): worker.finish(item, "0"))]  # type: ignore[misc]
        pending.append(worker.activity(fanned))
        assert load()[1] == 3
        acknowledged += [in_background(lambda item=item: worker.finish(item, "0")) for item in pending]  # type: ignore[misc]
        acknowledged.append(in_background(lambda: worker.finish(worker.activity(fanned), "0")))
        while not any(action.HasField("completeWorkflow") for action in worker.play(worker.turn(fanned))):
            pass  # A result or several, but not yet all.
        for future in acknowledged:
            future.result(10)
        assert own.finish(fanned).serialized_output == "[0, 0, 0, 0, 0]"
        assert load() == (0, 0)


def test_114_two_workers_share_the_work_and_every_instance_stays_right(own: OwnHub) -> None:
    names = ["first", "second"]
    both = threading.Barrier(2)
    met: set[str] = set()
    activity_name, workflow_name = own.fresh("work"), own.fresh("steps")

    def work_of(worker: str) -> Callable[..., list[Any]]:
        def work(ctx: WorkflowActivityContext, number: int) -> list[Any]:
            if worker not in met:
                met.add(worker)
                both.wait(20)
            return [worker, number]

        return work

    def steps(ctx: WorkflowContext, start: int) -> Run:
        results = []
        for number in range(start, start + 4):
            results.append((yield ctx.call_activity(activity_name, input=number)))
        events = []
        for _ in range(3):
            events.append((yield ctx.wait_for_external_event("next")))
        return [results, events]

    runtimes = []
    for name in names:
        runtime = own.new_runtime()
        runtime.register_activity(work_of(name), name=activity_name)
        runtime.register_workflow(steps, name=workflow_name)
        runtimes.append(runtime)
    with runtimes[0], runtimes[1]:
        ids = [own.start_soon(workflow_name, number * 10) for number in range(12)]
        for of in ids:
            for number in range(3):
                own.client.raise_workflow_event(of, "next", data=number)
        outputs = [json.loads(own.finish(of, 30).serialized_output or "") for of in ids]
    for number, (results, events) in enumerate(outputs):
        assert [value for _, value in results] == [number * 10 + step for step in range(4)]
        assert events == [0, 1, 2]
    assert {worker for results, _ in outputs for worker, _ in results} == set(names)
    for of in ids if own.has_history else ():
        kinds = [kind_of(event) for event in own.history(of)]
        assert (kinds.count("taskScheduled"), kinds.count("taskCompleted"), kinds.count("eventRaised")) == (4, 4, 3)


# ---- 115: turns that bring only what is new -----------------------------------------------------------------

_without_deltas = pytest.mark.not_on("daprd", reason="STATEFUL_HISTORY came after 1.18; 1.16 always sends everything")


@_without_deltas
def test_115_a_worker_that_keeps_histories_is_sent_only_their_ends(own: OwnHub) -> None:
    @own.workflow
    def chain(ctx: WorkflowContext, left: int) -> Run:
        for _ in range(3):
            yield ctx.call_activity("work")
        if left:
            ctx.continue_as_new(left - 1)
        return "done"

    seen: list[list[pb.HistoryEvent]] = []

    def turn(worker: HandWorker, instance_id: str) -> int:
        """Takes a turn, and the activity it asks for, and returns how many events were left out."""
        item = worker.turn(instance_id)
        past = list(item.past)
        assert item.cached <= (len(seen[-1]) if seen else 0)
        whole = [*seen[-1][: item.cached], *past] if seen else past
        assert whole == own.history(instance_id)
        seen.append(whole)
        actions = worker.play(dataclasses.replace(item, past=whole, cached=0))
        if any(action.HasField("scheduleTask") for action in actions):
            activity = worker.activity(instance_id)
            finished.append(in_background(lambda: worker.finish(activity, "1")))
        return item.cached

    finished: list[Future[None]] = []
    stateful = WorkerOffer(0, 0, stateful=True)
    with HandWorker(own, stateful) as worker:
        instance_id = own.start_soon(chain, 1)
        left_out = [turn(worker, instance_id) for _ in range(5)]
        # Each turn but the first two is told what came since the one before. A new execution begins anew.
        assert left_out[:2] == [0, 0]
        assert left_out[2:4] == [len(past) for past in seen[1:3]]
        assert left_out[4] == 0
        left_out = [turn(worker, instance_id) for _ in range(2)]
        assert left_out == [0, len(seen[5])]
        # It dies with a turn, of which it was sent only the end.
        assert worker.turn(instance_id).cached == len(seen[6])
    with HandWorker(own, stateful) as other:
        # A worker that has just connected has seen nothing.
        assert turn(other, instance_id) == 0
    for future in finished:
        future.exception(10)
    assert own.finish(instance_id).serialized_output == '"done"'


@_without_deltas
def test_115_a_worker_that_keeps_nothing_is_sent_everything(own: OwnHub) -> None:
    @own.workflow
    def wait(ctx: WorkflowContext) -> Run:
        for _ in range(3):
            yield ctx.wait_for_external_event("next")

    with HandWorker(own) as worker:
        instance_id = own.start_soon(wait)
        lengths = []
        for _ in range(4):
            item = worker.turn(instance_id)
            assert item.cached == 0
            lengths.append(len(item.past))
            worker.play(item)
            if len(lengths) < 4:
                own.client.raise_workflow_event(instance_id, "next")
        assert lengths == sorted(set(lengths))
    assert own.state(instance_id).runtime_status is WorkflowStatus.COMPLETED


@_without_deltas
@pytest.mark.parametrize("parked", [None, 0, 1], ids=["all runs kept", "none kept", "one kept"])
@pytest.mark.parametrize("reconnects", [False, True], ids=["one connection", "two connections"])
def test_115_results_and_histories_do_not_depend_on_what_is_sent(
    own: OwnHub, parked: int | None, reconnects: bool
) -> None:
    @own.activity
    def add(ctx: WorkflowActivityContext, value: int) -> int:
        return value + 1

    @own.workflow
    def sum_up(ctx: WorkflowContext, generations: int) -> Run:
        total = 0
        for _ in range(3):
            total = yield ctx.call_activity(add, input=total)
        both = yield when_all([ctx.call_activity(add, input=10), ctx.create_timer(timedelta(milliseconds=1))])
        ctx.set_custom_status([generations, total, both[0]])
        raised = yield ctx.wait_for_external_event("next")
        if generations:
            ctx.continue_as_new(generations - 1)
        return [total, both[0], raised, str(ctx.new_guid()) == str(ctx.new_guid())]

    options = {} if parked is None else {"max_parked_instances": parked}
    with ExitStack() as connection:
        connection.enter_context(own.new_runtime(**options))
        ids = [own.start(sum_up, 1) for _ in range(8)]
        for generation in (1, 0):
            for of in ids:
                expected = f"[{generation}, 3, 11]"
                own.eventually(lambda of=of, at=expected: _raw_status(own, of) == at, f"{of} waits")  # type: ignore[misc]
            if reconnects:
                connection.close()
                connection.enter_context(own.new_runtime(**options))
            for of in ids:
                own.client.raise_workflow_event(of, "next", data=generation)
        states = [own.finish(of) for of in ids]
    for state in states:
        assert state.runtime_status is WorkflowStatus.COMPLETED, state.failure_details
        assert state.serialized_output == "[3, 11, 0, false]"
        shape = sorted((kind_of(event), event.eventId) for event in own.history(state.instance_id))
        assert [event for event in shape if event[0] != "workflowStarted"] == _SHAPE


_SHAPE = sorted(
    [
        ("executionStarted", -1),
        *[("taskScheduled", number) for number in (1, 2, 3, 4)],
        *[("taskCompleted", -1)] * 4,
        ("timerCreated", 5),
        ("timerFired", -1),
        ("timerCreated", 6),
        ("eventRaised", -1),
        ("executionCompleted", 7),
    ]
)


def _raw_status(hub: Hub, instance_id: str) -> str | None:
    return hub.state(instance_id).serialized_custom_status


# ---- 116: items that are too large ---------------------------------------------------------------------------

_of_streams = [
    pytest.mark.not_on("memory", "sqlite", reason="in process there are no messages that could be too large"),
    pytest.mark.not_on("daprd", reason="1.18 was the first to keep the stream; 1.16 ends it, again and again"),
]


def _stalled_because(hub: Hub, instance_id: str) -> list[tuple[int, str]]:
    return [
        (event.executionStalled.reason, event.executionStalled.description)
        for event in hub.history(instance_id)
        if kind_of(event) == "executionStalled"
    ]


@_of_streams[0]
@_of_streams[1]
def test_116_a_turn_that_is_too_large_stalls_its_instance_and_harms_nobody_else(hub: Hub, tmp_path: Path) -> None:
    small, large = Limits(message_bytes=200_000, payload_bytes=100_000), Limits()

    def grow(ctx: WorkflowActivityContext, number: int) -> str:
        return str(number) * 60_000

    def collect(ctx: WorkflowContext, pieces: int) -> Run:
        total = 0
        for number in range(pieces):
            total += len((yield ctx.call_activity("grow", input=number)))
        yield ctx.wait_for_external_event("go")
        return total

    def registered(own: OwnHub, **options: Any) -> WorkflowRuntime:
        runtime = own.new_runtime(**options)
        runtime.register_activity(grow, name="grow")
        runtime.register_workflow(collect, name="collect")
        return runtime

    # A worker that keeps no runs is sent whole histories.
    with engine_hub(hub.kind, tmp_path, limits=small) as own, registered(own, max_parked_instances=0):
        fat = own.start("collect", 5)
        own.eventually(lambda: own.state(fat).runtime_status is WorkflowStatus.STALLED, "it stalls")
        ((reason, text),) = _stalled_because(own, fat)
        assert reason == pb.STALLED_REASON_PAYLOAD_SIZE_EXCEEDED
        assert "may have 200000" in text
        assert "higher limit" in text
        # The stream lives.
        thin = own.start("collect", 1)
        own.client.raise_workflow_event(thin, "go")
        assert own.finish(thin).serialized_output == "60000"
        assert len(_workers(own)) == 1
        with pytest.raises(WorkflowStalledError, match="stalled"):
            own.client.raise_workflow_event(fat, "go")
    with engine_hub(hub.kind, tmp_path, limits=small) as own, registered(own, max_parked_instances=0):
        # The same limit again changes nothing, and says nothing twice.
        thin = own.start("collect", 1)
        own.client.raise_workflow_event(thin, "go")
        own.finish(thin)
        assert own.state(fat).runtime_status is WorkflowStatus.STALLED
        assert len(_stalled_because(own, fat)) == 1
    with engine_hub(hub.kind, tmp_path, limits=large) as own, registered(own, max_parked_instances=0):
        own.eventually(lambda: own.state(fat).runtime_status is WorkflowStatus.RUNNING, "it goes on")
        own.client.raise_workflow_event(fat, "go")
        assert own.finish(fat).serialized_output == "300000"
        assert len(_stalled_because(own, fat)) == 1


@_of_streams[0]
@_of_streams[1]
def test_116_an_activity_that_is_too_large_stalls_its_instance_and_is_named(hub: Hub, tmp_path: Path) -> None:
    def call(ctx: WorkflowContext) -> Run:
        return (yield ctx.call_activity("measure", input="x" * 300_000))

    def measure(ctx: WorkflowActivityContext, text: str) -> int:
        return len(text)

    def quick(ctx: WorkflowContext) -> str:
        return "done"

    def register(own: OwnHub, runtime: WorkflowRuntime) -> WorkflowRuntime:
        runtime.register_activity(measure, name="measure")
        runtime.register_workflow(quick, name="quick")
        runtime.register_workflow(call, name="call")
        return runtime

    # A worker in the process of the engine may ask for more than a message holds.
    with EmbeddedEngine(tmp_path / "hub.db") as engine, WorkflowClient(engine=engine) as client:
        inside = OwnHub("sqlite", engine=engine)
        register(inside, inside.runtime)
        inside._registered.append(("workflow", call, "call"))
        with HandWorker(inside) as worker:
            fat = client.schedule_new_workflow("call", instance_id=hub.fresh("i"))
            worker.play(worker.turn(fat))
    small = Limits(message_bytes=200_000, payload_bytes=100_000)
    with engine_hub(hub.kind, tmp_path, limits=small) as own, register(own, own.runtime):
        own.eventually(lambda: own.state(fat).runtime_status is WorkflowStatus.STALLED, "it stalls")
        ((reason, text),) = _stalled_because(own, fat)
        assert reason == pb.STALLED_REASON_PAYLOAD_SIZE_EXCEEDED
        assert "'measure'" in text
        assert own.run("quick").serialized_output == '"done"'
    with engine_hub(hub.kind, tmp_path) as own, register(own, own.runtime):
        assert own.finish(fat).serialized_output == "300000"


def _make_waiting() -> Callable[[WorkflowContext], Run]:
    def waiting(ctx: WorkflowContext) -> Run:
        return (yield ctx.wait_for_external_event("go"))

    return waiting
