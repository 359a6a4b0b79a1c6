"""Retries as a workflow sees them: numbers, timers, ids and when they stop."""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from typing import Any

import pytest

from dapr_workflow_sdk.authoring.context import DaprWorkflowContext as Context
from dapr_workflow_sdk.authoring.retry import RetryPolicy
from dapr_workflow_sdk.authoring.tasks import when_all, when_any
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.builders import (
    INSTANCE,
    Play,
    activity_done,
    activity_failed,
    at,
    child_done,
    child_failed,
    child_terminated,
    failure_of,
    play,
    result_of,
    summary,
    timer_fired,
)

_POLICY = RetryPolicy(
    first_retry_interval=timedelta(seconds=2),
    max_number_of_attempts=3,
    backoff_coefficient=2,
    non_retryable_error_types=["CardDeclined"],
)


def retrying(ctx: Context) -> Generator[Any, Any, Any]:
    return (yield ctx.call_activity("charge", input=5, retry_policy=_POLICY))


def retrying_child(ctx: Context) -> Generator[Any, Any, Any]:
    return (yield ctx.call_child_workflow("invoice", input=5, retry_policy=_POLICY))


def test_each_try_and_each_delay_takes_a_number() -> None:
    instance = Play(retrying)
    assert summary(instance.turn().actions) == [(1, "activity charge")]
    assert summary(instance.turn(activity_failed(1)).actions) == [(2, "timer activityRetry")]
    assert summary(instance.turn(timer_fired(2)).actions) == [(3, "activity charge")]
    assert summary(instance.turn(activity_failed(3)).actions) == [(4, "timer activityRetry")]
    assert summary(instance.turn(timer_fired(4)).actions) == [(5, "activity charge")]
    assert result_of(instance.turn(activity_done(5, "7"))) == "7"


def test_every_try_has_the_same_input_and_execution_id_and_the_timers_name_it() -> None:
    instance = Play(retrying)
    events: list[pb.HistoryEvent | None] = [None, activity_failed(1), timer_fired(2), activity_failed(3)]
    actions = [a for event in events for a in instance.turn(*([event] if event else [])).actions]
    ids = {a.scheduleTask.taskExecutionId for a in actions if a.HasField("scheduleTask")}
    ids |= {a.createTimer.activityRetry.taskExecutionId for a in actions if a.HasField("createTimer")}
    assert len(ids) == 1
    assert {a.scheduleTask.input.value for a in actions if a.HasField("scheduleTask")} == {"5"}


def test_the_delay_counts_from_the_turn_that_brought_the_failure() -> None:
    instance = Play(retrying)
    instance.turn(moment=0)
    first = instance.turn(activity_failed(1), moment=10)
    instance.turn(timer_fired(2), moment=12)
    second = instance.turn(activity_failed(3), moment=20)
    assert first.actions[0].createTimer.fireAt == at(12)
    assert second.actions[0].createTimer.fireAt == at(24)


def test_the_last_failure_is_raised_with_its_number() -> None:
    events = [activity_failed(1), timer_fired(2), activity_failed(3), timer_fired(4)]
    failure = failure_of(play(retrying, *events, activity_failed(5, "still no")))
    assert failure.message == f"{INSTANCE}: Activity task #5 failed: still no"


@pytest.mark.parametrize(
    "event",
    [
        activity_failed(1, error_type="NonRetryableError"),
        activity_failed(1, error_type="CardDeclined"),
        activity_failed(1, non_retriable=True),
    ],
    ids=["the error of this package", "named by the policy", "flagged by the other side"],
)
def test_a_final_failure_is_not_retried(event: pb.HistoryEvent) -> None:
    assert "#1 failed" in failure_of(play(retrying, event)).message


def test_a_child_keeps_its_instance_id_over_its_tries() -> None:
    instance = Play(retrying_child)
    first = instance.turn().actions[0]
    timer = instance.turn(child_failed(1)).actions[0]
    second = instance.turn(timer_fired(2)).actions[0]
    assert timer.createTimer.childWorkflowRetry.instanceId == f"{INSTANCE}:0001"
    assert first.createChildWorkflow.instanceId == second.createChildWorkflow.instanceId == f"{INSTANCE}:0001"
    assert second.id == 3
    assert result_of(instance.turn(child_done(3, "7"))) == "7"


def test_a_terminated_child_is_tried_again_as_in_the_official_sdk() -> None:
    assert summary(play(retrying_child, child_terminated(1)).actions) == [(2, "timer childWorkflowRetry")]


def test_a_failure_that_will_be_retried_ends_no_combination() -> None:
    def flow(ctx: Context) -> Generator[Any, Any, Any]:
        tasks = [ctx.call_activity("charge", retry_policy=_POLICY), ctx.call_activity("ship")]
        winner = yield when_any(tasks)
        results = yield when_all(tasks)
        return [winner is tasks[1], results]

    instance = Play(flow)
    instance.turn()
    assert instance.turn(activity_failed(1)).outcome is None
    assert instance.turn(activity_done(2, "2")).outcome is None
    instance.turn(timer_fired(3))
    assert result_of(instance.turn(activity_done(4, "1"))) == "[true, [1, 2]]"


def test_retries_side_by_side_do_not_mix() -> None:
    def flow(ctx: Context) -> Generator[Any, Any, Any]:
        return (yield when_all([ctx.call_activity(name, retry_policy=_POLICY) for name in ("a", "b")]))

    instance = Play(flow)
    first = instance.turn().actions
    assert len({a.scheduleTask.taskExecutionId for a in first}) == 2
    assert summary(instance.turn(activity_failed(2), activity_failed(1)).actions) == [
        (3, "timer activityRetry"),
        (4, "timer activityRetry"),
    ]
    again = instance.turn(timer_fired(4), timer_fired(3))
    assert summary(again.actions) == [(5, "activity a"), (6, "activity b")]
    assert again.actions[0].scheduleTask.taskExecutionId == first[0].scheduleTask.taskExecutionId
    assert result_of(instance.turn(activity_done(6, '"b"'), activity_done(5, '"a"'))) == '["a", "b"]'


def test_a_doubled_failure_counts_once() -> None:
    instance = Play(retrying)
    instance.turn()
    assert len(instance.turn(activity_failed(1), activity_failed(1)).actions) == 1
    assert instance.turn(activity_failed(1)).actions == []
