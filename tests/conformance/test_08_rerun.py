"""Scenarios 97 to 104 of the conformance list: running a finished workflow again from one of its calls.

Workers of this package number the calls of a workflow from 1, in the order in which the code makes them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

import grpc
import pytest

from dapr_workflow_sdk import Task, WorkflowActivityContext, WorkflowContext, WorkflowStatus, when_all
from dapr_workflow_sdk.errors import TaskHubError
from tests.conformance.hubs import Hub, kind_of

Run = Generator[Task[Any], Any, Any]
Flow = Callable[..., Run]


def _chain(hub: Hub, steps: int = 5) -> tuple[Flow, list[tuple[str, Any]]]:
    """A workflow of so many activities, each with its number as input, and a list of who ran which."""
    runs: list[tuple[str, Any]] = []

    @hub.activity
    def step(ctx: WorkflowActivityContext, number: int | None) -> Any:
        runs.append((ctx.workflow_id, number))
        return number

    @hub.workflow
    def chain(ctx: WorkflowContext) -> Run:
        results = []
        for number in range(1, steps + 1):
            results.append((yield ctx.call_activity(step, input=number)))
        return results

    return chain, runs


def _runs_of(runs: list[tuple[str, Any]], instance_id: str) -> list[Any]:
    return [number for of, number in runs if of == instance_id]


def _refusal(hub: Hub, source: str, event_id: int, **options: Any) -> tuple[grpc.StatusCode, str]:
    """Code and text with which a rerun is refused."""
    with pytest.raises(TaskHubError) as refused:
        hub.rerun(source, event_id, **options)
    return refused.value.code(), refused.value.details()


# ---- 97 to 100: from an activity ---------------------------------------------------------------------------


@pytest.mark.parametrize("event_id", [1, 3, 5], ids=["the first", "one in the middle", "the last"])
def test_097_a_chain_runs_again_from_one_of_its_activities(hub: Hub, event_id: int) -> None:
    chain, runs = _chain(hub)
    source = hub.run(chain)
    again = hub.finish(hub.rerun(source.instance_id, event_id))
    assert again.instance_id != source.instance_id
    assert (again.runtime_status, again.name) == (WorkflowStatus.COMPLETED, source.name)
    assert again.serialized_output == source.serialized_output == "[1, 2, 3, 4, 5]"
    assert _runs_of(runs, again.instance_id) == [1, 2, 3, 4, 5][event_id - 1 :]
    assert _runs_of(runs, source.instance_id) == [1, 2, 3, 4, 5]
    assert hub.state(source.instance_id) == source
    if hub.has_history:  # A sidecar of 1.16 marks nothing.
        then, now = hub.history(source.instance_id), hub.history(again.instance_id)
        assert [kind_of(event) for event in then] == [kind_of(event) for event in now]
        marked = [event for event in now if event.taskScheduled.HasField("rerunParentInstanceInfo")]
        assert [event.eventId for event in marked] == [event_id]
        assert marked[0].taskScheduled.rerunParentInstanceInfo.instanceID == source.instance_id
        started = next(event.executionStarted for event in now if kind_of(event) == "executionStarted")
        assert started.workflowInstance.instanceId == again.instance_id


def test_097_a_rerun_has_the_id_it_is_given_and_can_be_run_again_itself(hub: Hub) -> None:
    chain, runs = _chain(hub, 3)
    source, first, second = hub.run(chain).instance_id, hub.fresh("again"), hub.fresh("again")
    assert hub.rerun(source, 2, newInstanceID=first) == first
    hub.finish(first)
    assert hub.rerun(first, 3, newInstanceID=second) == second
    assert hub.finish(second).serialized_output == "[1, 2, 3]"
    assert [_runs_of(runs, of) for of in (source, first, second)] == [[1, 2, 3], [2, 3], [3]]


def test_098_a_failed_workflow_runs_again_from_the_activity_that_failed(hub: Hub) -> None:
    runs: list[str] = []
    broken = [True]

    @hub.activity
    def work(ctx: WorkflowActivityContext, name: str) -> str:
        runs.append(name)
        if name == "second" and broken:
            raise ValueError("not yet")
        return name

    @hub.workflow
    def steps(ctx: WorkflowContext) -> Run:
        results = []
        for name in ("first", "second", "third"):
            results.append((yield ctx.call_activity(work, input=name)))
        return results

    source = hub.run(steps)
    assert source.runtime_status is WorkflowStatus.FAILED
    broken.clear()
    again = hub.finish(hub.rerun(source.instance_id, 2))
    assert (again.runtime_status, again.failure_details) == (WorkflowStatus.COMPLETED, None)
    assert again.serialized_output == '["first", "second", "third"]'
    assert runs == ["first", "second", "second", "third"]


@pytest.mark.parametrize("event_id", [4, 5], ids=["its first activity", "its second activity"])
def test_099_the_second_of_two_fan_outs_runs_again(hub: Hub, event_id: int) -> None:
    runs: list[tuple[str, int]] = []

    @hub.activity
    def work(ctx: WorkflowActivityContext, number: int) -> int:
        runs.append((ctx.workflow_id, number))
        return number

    @hub.workflow
    def fans(ctx: WorkflowContext) -> Run:
        first = yield when_all([ctx.call_activity(work, input=number) for number in (1, 2, 3)])
        second = yield when_all([ctx.call_activity(work, input=number) for number in (4, 5, 6, 7, 8)])
        return [first, second]

    again = hub.finish(hub.rerun(hub.run(fans).instance_id, event_id))
    assert again.serialized_output == "[[1, 2, 3], [4, 5, 6, 7, 8]]"
    # Call 4 had no result yet when call 5 was made, so it runs again in both cases.
    assert sorted(_runs_of(runs, again.instance_id)) == [4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("text", "overwrite", "result"),
    [("22", True, "22"), (None, True, "null"), (None, False, "2")],
    ids=["a new input", "no input", "the same input"],
)
def test_100_a_rerun_may_have_another_input(hub: Hub, text: str | None, overwrite: bool, result: str) -> None:
    chain, runs = _chain(hub, 3)
    source = hub.run(chain).instance_id
    again = hub.finish(hub.rerun(source, 2, text, overwriteInput=overwrite))
    assert again.serialized_output == f"[1, {result}, 3]"
    assert _runs_of(runs, again.instance_id) == [None if result == "null" else int(result), 3]


def test_100_an_input_is_left_alone_unless_it_is_to_be_overwritten(hub: Hub) -> None:
    chain, _ = _chain(hub, 2)
    again = hub.finish(hub.rerun(hub.run(chain).instance_id, 1, "11", overwriteInput=False))
    assert again.serialized_output == "[1, 2]"


# ---- 101, 102: what is refused -----------------------------------------------------------------------------


def test_101_a_running_or_suspended_workflow_cannot_run_again(hub: Hub) -> None:
    @hub.activity
    def note(ctx: WorkflowActivityContext) -> None: ...

    @hub.workflow
    def wait(ctx: WorkflowContext) -> Run:
        yield ctx.call_activity(note)
        ctx.set_custom_status("waiting")
        yield ctx.wait_for_external_event("go")

    source = hub.start(wait)
    hub.eventually(lambda: hub.state(source).serialized_custom_status, "it waits")
    text = f"'{source}' is not in a terminal state"
    assert _refusal(hub, source, 1) == (grpc.StatusCode.INVALID_ARGUMENT, text)
    hub.client.pause_workflow(source)
    assert _refusal(hub, source, 1) == (grpc.StatusCode.INVALID_ARGUMENT, text)
    hub.client.resume_workflow(source)
    hub.client.raise_workflow_event(source, "go")
    hub.finish(source)


def test_102_what_does_not_fit_is_refused(hub: Hub) -> None:
    chain, runs = _chain(hub, 2)
    source, other = hub.run(chain).instance_id, hub.run(chain).instance_id
    missing = hub.fresh("missing")
    before = len(runs)

    assert _refusal(hub, "", 1) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "rerun workflow source instance ID is required",
    )
    assert _refusal(hub, source, 1, newInstanceID=source) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "rerun workflow instance ID must be different from the original instance ID",
    )
    assert _refusal(hub, missing, 1) == (
        grpc.StatusCode.NOT_FOUND,
        f"workflow instance does not exist with ID '{missing}'",
    )
    assert _refusal(hub, source, 7) == (grpc.StatusCode.NOT_FOUND, "does not have history event with ID '7'")
    assert _refusal(hub, source, 1, newInstanceID=other) == (
        grpc.StatusCode.ALREADY_EXISTS,
        f"workflow '{other}' has already been created",
    )
    # The end of the workflow has the number after its last call.
    assert _refusal(hub, source, 3) == (
        grpc.StatusCode.NOT_FOUND,
        "target event '*protos.HistoryEvent_ExecutionCompleted' with ID '3' is not an event that can be rerun",
    )
    assert hub.client.get_workflow_state(missing) is None
    assert len(runs) == before


# ---- 103: from a timer -------------------------------------------------------------------------------------


def test_103_a_timer_that_runs_again_waits_again(hub: Hub) -> None:
    delay = hub.short(0.3)
    runs: list[str] = []

    @hub.activity
    def note(ctx: WorkflowActivityContext, text: str) -> str:
        runs.append(text)
        return text

    @hub.workflow
    def sleep(ctx: WorkflowContext) -> Run:
        before = yield ctx.call_activity(note, input="before")
        yield ctx.create_timer(delay)
        return [before, (yield ctx.call_activity(note, input="after"))]

    source = hub.run(sleep)
    began = time.monotonic()
    again = hub.finish(hub.rerun(source.instance_id, 2))
    waited = time.monotonic() - began
    assert again.serialized_output == '["before", "after"]'
    assert runs == ["before", "after", "after"]
    # A sidecar of 1.16 keeps the moment at which the timer was to fire, which is past.
    assert waited >= delay.total_seconds() or hub.is_daprd
    assert _refusal(hub, source.instance_id, 2, text="1", overwriteInput=True) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "cannot write input to timer event '2'",
    )


# ---- 104: children -----------------------------------------------------------------------------------------


def _family(hub: Hub) -> tuple[Flow, list[tuple[str, Any]]]:
    runs: list[tuple[str, Any]] = []

    @hub.workflow
    def kid(ctx: WorkflowContext, value: Any) -> Any:
        runs.append((ctx.instance_id, value))
        return value

    @hub.activity
    def note(ctx: WorkflowActivityContext) -> None: ...

    @hub.workflow
    def family(ctx: WorkflowContext) -> Run:
        yield ctx.call_activity(note)
        return [(yield ctx.call_child_workflow(kid, input="first")), (yield ctx.call_child_workflow(kid, input=2))]

    return family, runs


def _of_1_17() -> pytest.MarkDecorator:
    return pytest.mark.not_on("daprd", reason="1.17 was the first to run calls of child workflows again")


@_of_1_17()
def test_104_a_child_cannot_run_again_by_itself(hub: Hub) -> None:
    family, _ = _family(hub)
    child = f"{hub.run(family).instance_id}:0002"
    assert hub.state(child).runtime_status is WorkflowStatus.COMPLETED
    assert _refusal(hub, child, 1) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        f"'{child}': cannot rerun from child-workflows",
    )


@_of_1_17()
def test_104_a_workflow_runs_again_from_one_of_its_children(hub: Hub) -> None:
    family, runs = _family(hub)
    source = hub.run(family).instance_id
    again = hub.rerun(source, 2)
    assert hub.finish(again).serialized_output == '["first", 2]'
    assert [of for of, _ in runs] == [f"{source}:0002", f"{source}:0003", f"{again}:0002", f"{again}:0003"]

    named, child = hub.fresh("again"), hub.fresh("child")
    assert hub.rerun(source, 3, '"new"', newInstanceID=named, newChildWorkflowInstanceID=child, overwriteInput=True)
    assert hub.finish(named).serialized_output == '["first", "new"]'
    assert runs[4:] == [(child, "new")]
    assert hub.finish(child).serialized_output == '"new"'
    assert hub.state(source).serialized_output == '["first", 2]'


@_of_1_17()
def test_104_only_a_child_gets_the_id_for_a_child(hub: Hub) -> None:
    @hub.activity
    def note(ctx: WorkflowActivityContext) -> None: ...

    @hub.workflow
    def subject(ctx: WorkflowContext) -> Run:
        yield ctx.call_activity(note)
        yield ctx.create_timer(hub.short(0.01))

    source = hub.run(subject).instance_id
    for event_id, what in ((1, "activity"), (2, "timer")):
        assert _refusal(hub, source, event_id, newChildWorkflowInstanceID="kid") == (
            grpc.StatusCode.INVALID_ARGUMENT,
            f"cannot set new child workflow instance ID on {what} event '{event_id}'",
        )
