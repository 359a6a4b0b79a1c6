"""Inputs of calls that history records are not written again; all others are written when the call is made."""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import timedelta
from typing import Any

from dapr_workflow_sdk.authoring.context import DaprWorkflowContext as Context
from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.authoring.retry import RetryPolicy
from dapr_workflow_sdk.converter import JsonConverter
from dapr_workflow_sdk.replay.parked import ParkedInstances
from dapr_workflow_sdk.replay.turn import TurnOutput, run_turn
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.builders import (
    INSTANCE,
    activity_done,
    activity_failed,
    activity_scheduled,
    raised,
    started,
    timer_created,
    timer_fired,
    turn_marker,
)


class Counting(JsonConverter):
    """A converter that remembers what it wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[Any] = []

    def encode(self, value: Any) -> str:
        self.written.append(value)
        return super().encode(value)


def turn(flow: Callable[..., Any], past: list[pb.HistoryEvent], *new: pb.HistoryEvent) -> tuple[TurnOutput, list[Any]]:
    registry, converter = Registry(module_level=False), Counting()
    registry.add("workflow", flow, "flow")
    output = run_turn(INSTANCE, past, [turn_marker(), *new], registry, converter, ParkedInstances(0))
    return output, converter.written


def test_only_what_is_new_is_written() -> None:
    def flow(ctx: Context) -> Generator[Any, Any, Any]:
        for step in range(4):
            yield ctx.call_activity("work", input=step)

    past = [turn_marker(), started(), activity_scheduled(1, "work")]
    past += [turn_marker(), activity_done(1), activity_scheduled(2, "work")]
    output, written = turn(flow, past, activity_done(2))
    assert written == [2]
    assert [action.scheduleTask.input.value for action in output.actions] == ["2"]


def test_what_is_changed_after_the_call_was_sent_as_it_was() -> None:
    def flow(ctx: Context) -> Generator[Any, Any, Any]:
        order = {"state": "new"}
        calls = []
        for state in ("paid", "sent"):
            calls.append(ctx.call_activity("work", input=order))
            order["state"] = state
        yield calls[0]
        yield ctx.call_activity("work", input=order)

    first, _ = turn(flow, [], started())
    assert [a.scheduleTask.input.value for a in first.actions] == ['{"state": "new"}', '{"state": "paid"}']
    # Only the first of them is recorded: a task hub lost the other.
    past = [turn_marker(), started(), activity_scheduled(1, "work")]
    output, written = turn(flow, past, activity_done(1))
    assert [a.scheduleTask.input.value for a in output.actions] == ['{"state": "paid"}', '{"state": "sent"}']
    assert len(written) == 2


def test_another_try_sends_what_the_first_sent() -> None:
    policy = RetryPolicy(first_retry_interval=timedelta(seconds=1), max_number_of_attempts=3)

    def flow(ctx: Context) -> Generator[Any, Any, Any]:
        order = {"state": "new"}
        call = ctx.call_activity("work", input=order, retry_policy=policy)
        order["state"] = "changed"
        return (yield call)

    past = [
        turn_marker(),
        started(),
        activity_scheduled(1, "work"),
        turn_marker(),
        activity_failed(1),
        timer_created(2),
    ]
    output, _ = turn(flow, past, timer_fired(2))
    (again,) = output.actions
    assert (again.id, again.scheduleTask.input.value) == (3, '{"state": "new"}')


def test_a_call_that_moves_to_another_number_keeps_its_input() -> None:
    """The history is of an older SDK, which had no timer for the wait: its number is taken by the call after it."""

    def flow(ctx: Context) -> Generator[Any, Any, Any]:
        order = {"state": "new"}
        wait = ctx.wait_for_external_event("go")
        ctx.call_activity("first", input=order)
        ctx.call_activity("second", input=order)
        order["state"] = "changed"
        yield wait

    # The second call has number 3 at first, which the history has for something else, and ends as 2, which it lacks.
    other = pb.HistoryEvent(eventId=3, eventSent=pb.EventSentEvent(instanceId="x", name="y"))
    past = [turn_marker(), started(), activity_scheduled(1, "first"), other]
    output, _ = turn(flow, past, raised("stop"))
    assert [(a.id, a.scheduleTask.name, a.scheduleTask.input.value) for a in output.actions] == [
        (2, "second", '{"state": "new"}')
    ]


def test_an_input_that_cannot_be_written_any_more_harms_no_call_that_is_recorded() -> None:
    def flow(ctx: Context) -> Generator[Any, Any, Any]:
        yield ctx.call_activity("work", input=object())
        return "done"

    past = [turn_marker(), started(), activity_scheduled(1, "work")]
    output, _ = turn(flow, past, activity_done(1))
    assert output.outcome is not None
    assert output.outcome.result == '"done"'
    first, _ = turn(flow, [], started())
    assert first.outcome is not None
    assert first.outcome.failure is not None
    assert first.outcome.failure.error_type == "PayloadError"
