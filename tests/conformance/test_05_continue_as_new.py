"""Scenarios 56 to 65 of the conformance list: continuing as new."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dapr_workflow_sdk import Task, WorkflowActivityContext, WorkflowContext, WorkflowStatus, when_any
from dapr_workflow_sdk.authoring.definitions import name_of
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.conformance import literal as h
from tests.conformance.hubs import Hub, kind_of
from tests.conformance.own_hubs import HandWorker, OwnHub, in_background, own_hub

Run = Generator[Task[Any], Any, Any]


@pytest.fixture
def own(hub: Hub, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[OwnHub]:
    """A hub of the same kind, without a worker."""
    with own_hub(hub.kind, tmp_path, request) as own:
        yield own


def test_056_ten_generations_count_to_ten(hub: Hub) -> None:
    @hub.workflow
    def count(ctx: WorkflowContext, number: int) -> Run:
        yield ctx.create_timer(timedelta(0))
        if number < 10:
            ctx.continue_as_new(number + 1)
        return number

    state = hub.run(count, 1)
    assert state.runtime_status is WorkflowStatus.COMPLETED
    assert (state.serialized_input, state.serialized_output) == ("10", "10")
    if hub.has_history:
        history = hub.history(state.instance_id)
        kinds = [kind_of(event) for event in history]
        assert kinds == [
            "workflowStarted",
            "executionStarted",
            "timerCreated",
            "workflowStarted",
            "timerFired",
            "executionCompleted",
        ]
        assert history[1].executionStarted.input.value == "10"


def test_056_a_generation_that_continues_at_once_is_no_different(hub: Hub) -> None:
    @hub.workflow
    def count(ctx: WorkflowContext, number: int) -> int:
        if number < 10:
            ctx.continue_as_new(number + 1)
        return number

    assert hub.run(count, 1).serialized_output == "10"


def test_057_activities_of_every_generation_run_and_ids_start_over(hub: Hub) -> None:
    runs: list[tuple[int, int]] = []

    @hub.activity
    def note(ctx: WorkflowActivityContext, generation: int) -> int:
        runs.append((generation, ctx.task_id))
        return generation

    @hub.workflow
    def steps(ctx: WorkflowContext, generation: int) -> Run:
        first = yield ctx.call_activity(note, input=generation)
        second = yield ctx.call_activity(note, input=generation)
        assert first == second == generation
        if generation < 3:
            ctx.continue_as_new(generation + 1)
        return generation

    assert hub.run(steps, 1).serialized_output == "3"
    assert runs == [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)]


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "dropped"])
def test_058_events_that_nobody_took_are_carried_over_only_if_asked(hub: Hub, kept: bool) -> None:
    @hub.workflow
    def collect(ctx: WorkflowContext, generation: int) -> Run:
        ctx.set_custom_status(f"generation {generation}")
        if generation == 1:
            yield ctx.wait_for_external_event("renew")
            ctx.continue_as_new(2, save_events=kept)
            return None
        end = ctx.wait_for_external_event("end")
        found: list[int] = []
        while True:
            item = ctx.wait_for_external_event("item")
            if (yield when_any([end, item])) is end:
                return found
            found.append(item.get_result())

    instance_id = hub.start(collect, 1)
    for number in range(3):
        hub.client.raise_workflow_event(instance_id, "item", data=number)
    hub.client.raise_workflow_event(instance_id, "renew")
    hub.eventually(
        lambda: hub.state(instance_id).serialized_custom_status == "generation 2",
        "the second generation runs",
    )
    hub.client.raise_workflow_event(instance_id, "end")
    assert hub.finish(instance_id).serialized_output == ("[0, 1, 2]" if kept else "[]")


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "dropped"])
def test_058_a_turn_names_the_events_to_carry_over_in_order(kept: bool) -> None:
    def collect(ctx: WorkflowContext) -> Run:
        yield ctx.wait_for_external_event("b")
        ctx.continue_as_new("next", save_events=kept)

    arrivals = [
        h.raised("a", "1"),
        h.raised("c", "2"),
        h.raised("B", "3"),
        h.raised("a", "4"),
        h.raised("b", "5"),
    ]
    end = h.ending(h.turn(collect, [], [h.begun(), h.started(), *arrivals]))
    assert (end.workflowStatus, end.result.value) == (pb.WORKFLOW_STATUS_CONTINUED_AS_NEW, '"next"')
    carried = [(event.eventRaised.name, event.eventRaised.input.value) for event in end.carryoverEvents]
    assert carried == ([("a", "1"), ("c", "2"), ("a", "4"), ("b", "5")] if kept else [])


def test_059_more_generations_than_a_turn_may_have_lose_nothing(hub: Hub) -> None:
    generations: list[int] = []

    @hub.workflow
    def collect(ctx: WorkflowContext, taken: list[int]) -> Run:
        generations.append(len(taken))
        if not taken:
            yield ctx.wait_for_external_event("begin")
        taken.append((yield ctx.wait_for_external_event("item")))
        if len(taken) < 25:
            ctx.continue_as_new(taken, save_events=True)
            return None
        yield ctx.wait_for_external_event("end")
        try:
            taken.append((yield ctx.wait_for_external_event("item", timeout=timedelta(0))))
        except TimeoutError:
            return taken
        return ["too many", *taken]

    instance_id = hub.start(collect, [])
    for number in range(25):
        hub.client.raise_workflow_event(instance_id, "item", data=number)
    hub.client.raise_workflow_event(instance_id, "end")
    hub.client.raise_workflow_event(instance_id, "begin")
    assert json.loads(hub.finish(instance_id).serialized_output or "") == list(range(25))
    assert set(generations) == set(range(25))


def test_059_a_hundred_generations_in_a_row_come_to_their_end(hub: Hub) -> None:
    @hub.workflow
    def count(ctx: WorkflowContext, number: int) -> int:
        if number < 100:
            ctx.continue_as_new(number + 1)
        return number

    assert hub.run(count, 1, timeout=30).serialized_output == "100"


def test_060_events_that_come_during_the_last_turn_are_for_the_next_generation(own: OwnHub) -> None:
    @own.workflow
    def collect(ctx: WorkflowContext, generation: int | None) -> Run:
        if generation is None:
            ctx.continue_as_new(2, save_events=True)
            return None
        return [(yield ctx.wait_for_external_event("item")), (yield ctx.wait_for_external_event("item"))]

    with HandWorker(own) as worker:
        instance_id = own.start_soon(collect)
        first = worker.turn(instance_id)
        raised = [
            in_background(lambda of=number: own.client.raise_workflow_event(instance_id, "item", data=of))  # type: ignore[misc]
            for number in range(2)
        ]
        wait(raised, timeout=0.3)  # A sidecar answers when the turn has ended.
        actions = worker.play(first)
        while all(a.completeWorkflow.workflowStatus != pb.WORKFLOW_STATUS_COMPLETED for a in actions):
            actions = worker.play(worker.turn(instance_id))
        for operation in raised:
            operation.result(10)
        assert sorted(json.loads(own.finish(instance_id).serialized_output or "")) == [0, 1]


def test_060_events_that_come_while_generations_change_are_each_taken_once(hub: Hub) -> None:
    @hub.workflow
    def collect(ctx: WorkflowContext, taken: list[int]) -> Run:
        taken.append((yield ctx.wait_for_external_event("item")))
        if len(taken) < 40:
            ctx.continue_as_new(taken, save_events=True)
        return taken

    instance_id = hub.start(collect, [])
    with ThreadPoolExecutor(8) as threads:
        for raised in [
            threads.submit(hub.client.raise_workflow_event, instance_id, "item", data=number) for number in range(40)
        ]:
            raised.result()
    assert sorted(json.loads(hub.finish(instance_id).serialized_output or "")) == list(range(40))


def test_061_timers_of_an_older_generation_fire_for_nobody(hub: Hub) -> None:
    margin = timedelta(seconds=1 if hub.is_daprd else 0.1)

    @hub.activity
    def settle(ctx: WorkflowActivityContext) -> None:
        """Makes sure that the timer is recorded before its generation ends."""

    @hub.workflow
    def renew(ctx: WorkflowContext, due: str | None) -> Run:
        if due is None:
            moment = ctx.current_utc_datetime + hub.short()
            ctx.create_timer(moment)
            yield ctx.call_activity(settle)
            ctx.continue_as_new(moment.isoformat())
            return None
        same_id = ctx.create_timer(timedelta(hours=1))
        after = ctx.create_timer(datetime.fromisoformat(due) + margin)
        winner = yield when_any([same_id, after])
        return "the new timer" if winner is after else "the old timer"

    assert hub.run(renew).serialized_output == '"the new timer"'


@pytest.mark.not_on("daprd", reason="1.16 gives it to the call of the same number in the next generation")
def test_062_a_late_result_of_an_older_generation_is_for_nobody(hub: Hub) -> None:
    release_older, older_ended = threading.Event(), threading.Event()
    release_newer, newer_began = threading.Event(), threading.Event()

    @hub.activity
    def work(ctx: WorkflowActivityContext, generation: int) -> str:
        if generation == 1:
            assert release_older.wait(20)
            older_ended.set()
            return "older"
        newer_began.set()
        assert release_newer.wait(20)
        return "newer"

    @hub.workflow
    def renew(ctx: WorkflowContext, generation: int) -> Run:
        call = ctx.call_activity(work, input=generation)  # Both have the number 1.
        if generation == 1:
            yield ctx.wait_for_external_event("renew")
            ctx.continue_as_new(2)
        return (yield call)

    instance_id = hub.start(renew, 1)
    hub.client.raise_workflow_event(instance_id, "renew")
    assert newer_began.wait(10)
    release_older.set()
    assert older_ended.wait(10)
    hub.run(hub.workflow(lambda ctx: "goes all the way through the hub after that result"))
    assert hub.state(instance_id).runtime_status is WorkflowStatus.RUNNING
    release_newer.set()
    assert hub.finish(instance_id).serialized_output == '"newer"'


def test_063_a_child_that_continues_as_new_still_answers_its_parent(hub: Hub) -> None:
    @hub.workflow
    def child(ctx: WorkflowContext, number: int) -> Run:
        yield ctx.create_timer(timedelta(0))
        if number < 3:
            ctx.continue_as_new(number + 1)
        return f"generation {number}"

    @hub.workflow
    def parent(ctx: WorkflowContext) -> Run:
        return (yield ctx.call_child_workflow(child, input=1))

    assert hub.run(parent).serialized_output == '"generation 3"'


def _make_renewing() -> Callable[[WorkflowContext], Run]:
    def renewing(ctx: WorkflowContext) -> Run:
        yield ctx.wait_for_external_event("renew")
        ctx.continue_as_new(None)

    return renewing


@pytest.mark.parametrize("terminate_first", [False, True])
def test_064_a_termination_beats_continuing_as_new_in_one_batch(terminate_first: bool) -> None:
    arrivals = [h.raised("renew"), h.terminated('"enough"')]
    if terminate_first:
        arrivals.reverse()
    end = h.ending(h.turn(_make_renewing(), [h.begun(), h.started()], [h.begun(1), *arrivals]))
    assert (end.workflowStatus, end.result.value) == (pb.WORKFLOW_STATUS_TERMINATED, '"enough"')


def test_064_an_instance_told_to_end_while_it_continues_as_new_ends(own: OwnHub) -> None:
    renewing = own.workflow(_make_renewing())
    with HandWorker(own) as worker:
        instance_id = own.start_soon(renewing)
        worker.play(worker.turn(instance_id))
        both, operations = worker.turn_with_all_of(
            instance_id,
            lambda: own.client.raise_workflow_event(instance_id, "renew"),
            lambda: own.client.terminate_workflow(instance_id, output="enough"),
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
    assert (state.runtime_status, state.serialized_output) == (WorkflowStatus.TERMINATED, '"enough"')


@pytest.mark.not_on("daprd", reason="before HEAD a sidecar does what the worker says")
def test_064_a_worker_that_continues_as_new_all_the_same_is_overruled(own: OwnHub) -> None:
    renewing = own.workflow(_make_renewing())
    with HandWorker(own) as worker:
        instance_id = own.start_soon(renewing)
        worker.play(worker.turn(instance_id))
        both, operations = worker.turn_with_all_of(
            instance_id,
            lambda: own.client.raise_workflow_event(instance_id, "renew"),
            lambda: own.client.terminate_workflow(instance_id, output="enough"),
        )
        renewal = pb.CompleteWorkflowAction(workflowStatus=pb.WORKFLOW_STATUS_CONTINUED_AS_NEW)
        worker.answer(both, [pb.WorkflowAction(id=2, completeWorkflow=renewal)])
        for operation in operations:
            operation.result(10)
        state = own.finish(instance_id)
    assert (state.runtime_status, state.serialized_output) == (WorkflowStatus.TERMINATED, '"enough"')


@pytest.mark.not_on("daprd", reason="1.16 looks at the span of the call alone, and keeps it for all generations")
def test_065_a_generation_does_not_belong_to_the_trace_of_the_one_before(hub: Hub) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    given = pb.TraceContext(traceParent=f"00-{trace}-00f067aa0ba902b7-01")

    @hub.activity
    def work(ctx: WorkflowActivityContext) -> None:
        return None

    @hub.workflow
    def renew(ctx: WorkflowContext, generation: int | None) -> Run:
        yield ctx.call_activity(work)
        yield ctx.wait_for_external_event("go")
        if generation is None:
            ctx.continue_as_new(2)

    instance_id = hub.fresh("i")
    request = pb.CreateInstanceRequest(instanceId=instance_id, name=name_of(renew), parentTraceContext=given)
    hub.ask(lambda port: port.start(request))

    def traces(past: int) -> list[str]:
        history = hub.history(instance_id)
        if len(history) < past:
            return []
        return [
            history[1].executionStarted.parentTraceContext.traceParent,
            next(e.taskScheduled.parentTraceContext.traceParent for e in history if kind_of(e) == "taskScheduled"),
        ]

    started, called = hub.eventually(lambda: traces(3), "the activity is called")
    assert started == given.traceParent
    assert trace in called
    assert called != given.traceParent
    first_execution = hub.history(instance_id)[1].executionStarted.workflowInstance.executionId.value
    hub.client.raise_workflow_event(instance_id, "go")

    def renewed() -> bool:
        history = hub.history(instance_id)
        return len(history) > 2 and history[1].executionStarted.workflowInstance.executionId.value != first_execution

    hub.eventually(renewed, "the next generation runs")
    hub.client.raise_workflow_event(instance_id, "go")
    hub.finish(instance_id)
    assert all(trace not in found for found in traces(3))
