"""Scenarios 21 to 35 of the conformance list."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Generator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from dapr_workflow_sdk import (
    RetryPolicy,
    Task,
    TaskFailedError,
    WorkflowActivityContext,
    WorkflowContext,
    WorkflowStatus,
    when_all,
    when_any,
)
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import naive_utc, timestamp_of
from tests.conformance import literal
from tests.conformance.hubs import Hub, kind_of

Steps = Generator[Task[Any], Any, Any]


def earliest(hub: Hub, delay: timedelta) -> timedelta:
    """After what time a timer may fire: a sidecar of 1.16 cuts the moment it is due to whole seconds."""
    return delay - timedelta(seconds=1) if hub.is_daprd else delay


def test_021_a_timer_fires_and_not_before_its_time(hub: Hub) -> None:
    delay = hub.short()

    @hub.workflow
    def waiting(ctx: WorkflowContext) -> Steps:
        began = ctx.current_utc_datetime
        yield ctx.create_timer(delay)
        return (ctx.current_utc_datetime - began).total_seconds()

    @hub.workflow
    def waiting_until(ctx: WorkflowContext) -> Steps:
        began = ctx.current_utc_datetime
        yield ctx.create_timer(began + delay)
        return (ctx.current_utc_datetime - began).total_seconds()

    began = time.monotonic()
    for instance_id in [hub.start(waiting), hub.start(waiting_until)]:
        state = hub.finish(instance_id)
        assert time.monotonic() - began >= earliest(hub, delay).total_seconds()
        assert state.runtime_status is WorkflowStatus.COMPLETED
        assert float(state.serialized_output or "") >= earliest(hub, delay).total_seconds()
        if hub.has_history:
            history = hub.history(instance_id)
            assert [kind_of(event) for event in history] == [
                "workflowStarted",
                "executionStarted",
                "timerCreated",
                "workflowStarted",
                "timerFired",
                "executionCompleted",
            ]
            first_turn, created, fired = history[0], history[2], history[4]
            due = naive_utc(first_turn.timestamp.seconds, first_turn.timestamp.nanos) + delay
            assert created.timerCreated.fireAt == fired.timerFired.fireAt == timestamp_of(due)
            assert created.timerCreated.WhichOneof("origin") == "createTimer"
            assert fired.timerFired.timerId == created.eventId == 1
            assert fired.timestamp.ToNanoseconds() >= created.timerCreated.fireAt.ToNanoseconds()


def test_022_concurrent_timers_start_in_one_turn_and_all_fire(hub: Hub) -> None:
    delay = hub.short(0.3)

    @hub.workflow
    def waiting(ctx: WorkflowContext) -> Steps:
        began = ctx.current_utc_datetime
        timers = [ctx.create_timer(delay) for _ in range(3)]
        yield when_all(timers)
        return [
            all(timer.is_complete for timer in timers),
            (ctx.current_utc_datetime - began).total_seconds(),
        ]

    instance_id = hub.start(waiting)
    all_fired, seconds = json.loads(hub.finish(instance_id).serialized_output or "")
    assert all_fired is True
    assert seconds >= earliest(hub, delay).total_seconds()
    if hub.has_history:
        history = hub.history(instance_id)
        kinds = [kind_of(event) for event in history]
        assert kinds[2:6] == ["timerCreated"] * 3 + ["workflowStarted"]
        assert sorted(e.timerFired.timerId for e in history if kind_of(e) == "timerFired") == [1, 2, 3]
    else:
        # One after the other they take five seconds at least: the first more than one, the others two.
        assert seconds < 2 * delay.total_seconds()


@pytest.mark.not_on("daprd", reason="1.16 cuts the time a timer is due to whole seconds, so it fires up to 1 s early")
def test_023_a_timer_is_never_early_by_a_fraction_of_a_second(hub: Hub) -> None:
    delays = [timedelta(milliseconds=milliseconds) for milliseconds in (5, 250, 499, 501, 750, 999, 1001, 2000)]

    @hub.workflow
    def waiting(ctx: WorkflowContext, seconds: float) -> Steps:
        yield ctx.create_timer(timedelta(seconds=seconds))

    began = time.monotonic()
    started = {hub.start(waiting, delay.total_seconds()): delay for delay in delays}
    for instance_id, delay in started.items():
        hub.finish(instance_id)
        assert time.monotonic() - began >= delay.total_seconds()
        created, fired = (
            next(event for event in hub.history(instance_id) if kind_of(event) == kind)
            for kind in ("timerCreated", "timerFired")
        )
        assert fired.timestamp.ToNanoseconds() >= created.timerCreated.fireAt.ToNanoseconds()


def test_024_a_timer_that_is_due_fires_at_once(hub: Hub) -> None:
    @hub.workflow
    def hurried(ctx: WorkflowContext) -> Steps:
        now = ctx.current_utc_datetime
        yield ctx.create_timer(timedelta(0))
        yield ctx.create_timer(timedelta(seconds=-5))
        yield ctx.create_timer(now)
        yield ctx.create_timer(now - timedelta(days=400))
        yield ctx.create_timer(datetime(1970, 1, 1))
        return (ctx.current_utc_datetime - now).total_seconds()

    instance_id = hub.start(hurried)
    state = hub.finish(instance_id)
    assert state.runtime_status is WorkflowStatus.COMPLETED, state
    assert float(state.serialized_output or "") < 5
    if hub.has_history:
        fired = [e.timerFired.timerId for e in hub.history(instance_id) if kind_of(e) == "timerFired"]
        assert fired == [1, 2, 3, 4, 5]


def test_025_a_pause_that_ends_before_the_timer_is_due_changes_nothing(hub: Hub) -> None:
    delay = hub.short(0.8)

    @hub.workflow
    def waiting(ctx: WorkflowContext) -> Steps:
        began = ctx.current_utc_datetime
        yield ctx.create_timer(delay)
        return (ctx.current_utc_datetime - began).total_seconds()

    began = time.monotonic()
    instance_id = hub.start(waiting)
    hub.client.wait_for_workflow_start(instance_id, timeout_in_seconds=10)
    hub.client.pause_workflow(instance_id)
    paused = hub.client.get_workflow_state(instance_id)
    assert paused is not None
    assert paused.runtime_status is WorkflowStatus.SUSPENDED
    time.sleep(0.2)
    hub.client.resume_workflow(instance_id)
    resumed = hub.client.get_workflow_state(instance_id)
    assert resumed is not None
    assert resumed.runtime_status in (WorkflowStatus.RUNNING, WorkflowStatus.COMPLETED)
    state = hub.finish(instance_id)
    assert time.monotonic() - began >= earliest(hub, delay).total_seconds()
    assert state.runtime_status is WorkflowStatus.COMPLETED
    assert float(state.serialized_output or "") >= earliest(hub, delay).total_seconds()


def test_026_a_timer_that_is_due_during_a_pause_fires_after_it(hub: Hub) -> None:
    delay = hub.short(0.4)
    went_on = threading.Event()

    @hub.workflow
    def waiting(ctx: WorkflowContext) -> Steps:
        yield ctx.create_timer(delay)
        went_on.set()
        return "went on"

    instance_id = hub.start(waiting)
    hub.client.wait_for_workflow_start(instance_id, timeout_in_seconds=10)
    hub.client.pause_workflow(instance_id)
    assert not went_on.wait(delay.total_seconds() + 0.3)
    paused = hub.client.get_workflow_state(instance_id)
    assert paused is not None
    assert paused.runtime_status is WorkflowStatus.SUSPENDED
    began = time.monotonic()
    hub.client.resume_workflow(instance_id)
    state = hub.finish(instance_id)
    assert state.runtime_status is WorkflowStatus.COMPLETED
    assert state.serialized_output == '"went on"'
    assert time.monotonic() - began < 5
    if hub.has_history:
        history = hub.history(instance_id)
        kinds = [kind_of(event) for event in history]
        assert kinds.index("executionSuspended") < kinds.index("timerFired") < kinds.index("executionResumed")
        fired = history[kinds.index("timerFired")]
        assert fired.timestamp.ToNanoseconds() >= fired.timerFired.fireAt.ToNanoseconds()


def test_027_a_failing_activity_is_tried_as_often_as_its_policy_says(hub: Hub) -> None:
    delay = hub.short()
    policy = RetryPolicy(first_retry_interval=delay, max_number_of_attempts=3)
    tries: dict[str, list[tuple[WorkflowActivityContext, float]]] = {}

    @hub.activity
    def flaky(ctx: WorkflowActivityContext, good_try: int) -> int:
        mine = tries.setdefault(ctx.workflow_id, [])
        mine.append((ctx, time.monotonic()))
        if len(mine) < good_try:
            raise ConnectionError(f"try {len(mine)}")
        return len(mine)

    @hub.workflow
    def retrying(ctx: WorkflowContext, good_try: int) -> Steps:
        try:
            result = yield ctx.call_activity(flaky, input=good_try, retry_policy=policy)
        except TaskFailedError as error:
            return error.details.message
        return result

    third, never = hub.start(retrying, 3), hub.start(retrying, 4)
    assert hub.finish(third).serialized_output == "3"
    assert hub.finish(never).serialized_output == '"try 3"'
    for instance_id in (third, never):
        mine = tries[instance_id]
        assert len(mine) == 3
        (execution_id,) = {call.task_execution_id for call, _ in mine}
        assert str(UUID(execution_id)) == execution_id
        assert [call.attempt for call, _ in mine] == ([None] * 3 if hub.is_daprd else [1, 2, 3])
        assert [call.task_id for call, _ in mine] == [1, 3, 5]
        for (_, before), (_, after) in zip(mine, mine[1:], strict=False):
            assert after - before >= earliest(hub, delay).total_seconds()
        if hub.has_history:
            history = hub.history(instance_id)
            asked = [
                (kind_of(event), event.eventId)
                for event in history
                if kind_of(event) in ("taskScheduled", "timerCreated", "executionCompleted")
            ]
            assert asked == [
                ("taskScheduled", 1),
                ("timerCreated", 2),
                ("taskScheduled", 3),
                ("timerCreated", 4),
                ("taskScheduled", 5),
                ("executionCompleted", 6),
            ]
            assert [e.timerFired.timerId for e in history if kind_of(e) == "timerFired"] == [2, 4]
            scheduled = [event.taskScheduled for event in history if kind_of(event) == "taskScheduled"]
            assert [event.taskExecutionId for event in scheduled] == [execution_id] * 3
            timers = [event.timerCreated for event in history if kind_of(event) == "timerCreated"]
            assert [timer.activityRetry.taskExecutionId for timer in timers] == [execution_id] * 2
    assert tries[third][0][0].task_execution_id != tries[never][0][0].task_execution_id


def test_028_parallel_calls_keep_their_own_execution_ids_over_retries(hub: Hub) -> None:
    policy = RetryPolicy(first_retry_interval=hub.short(0.05), max_number_of_attempts=3)
    tries: dict[int, list[str]] = {number: [] for number in range(4)}

    @hub.activity
    def flaky(ctx: WorkflowActivityContext, number: int) -> int:
        tries[number].append(ctx.task_execution_id)
        if len(tries[number]) < 3:
            raise ConnectionError(f"try {len(tries[number])}")
        return number

    @hub.workflow
    def parallel(ctx: WorkflowContext) -> Steps:
        calls = [ctx.call_activity(flaky, input=number, retry_policy=policy) for number in range(4)]
        return (yield when_all(calls))

    instance_id = hub.start(parallel)
    assert hub.finish(instance_id).serialized_output == "[0, 1, 2, 3]"
    for ids in tries.values():
        assert len(ids) == 3
        assert len(set(ids)) == 1
        assert UUID(ids[0])
    assert len({ids[0] for ids in tries.values()}) == 4
    scheduled = [event.taskScheduled for event in hub.recorded(instance_id) if kind_of(event) == "taskScheduled"]
    of_calls: dict[int, list[str]] = {number: [] for number in range(4)}
    for event in scheduled:
        of_calls[int(event.input.value)].append(event.taskExecutionId)
    assert of_calls == tries


def test_032_a_failing_child_is_tried_again(hub: Hub) -> None:
    policy = RetryPolicy(first_retry_interval=hub.short(0.05), max_number_of_attempts=3)
    tries: dict[str, list[str | None]] = {}

    @hub.workflow
    def flaky(ctx: WorkflowContext, good_try: int) -> int:
        mine = tries.setdefault(ctx.instance_id, [])
        mine.append("good" if len(mine) + 1 == good_try else "bad")
        if mine[-1] == "bad":
            raise ConnectionError(f"try {len(mine)}")
        return len(mine)

    @hub.workflow
    def parent(ctx: WorkflowContext, good_try: int) -> Steps:
        try:
            return (yield ctx.call_child_workflow(flaky, input=good_try, retry_policy=policy))
        except TaskFailedError as error:
            return error.details.message

    third, never = hub.start(parent, 3), hub.start(parent, 4)
    assert hub.finish(third).serialized_output == "3"
    assert hub.finish(never).serialized_output == '"try 3"'
    # Every try has the id of the first.
    assert tries == {f"{third}:0001": ["bad", "bad", "good"], f"{never}:0001": ["bad"] * 3}
    assert hub.state(f"{third}:0001").runtime_status is WorkflowStatus.COMPLETED
    assert hub.state(f"{never}:0001").runtime_status is WorkflowStatus.FAILED
    history = hub.recorded(third)
    created = [e.childWorkflowInstanceCreated for e in history if kind_of(e) == "childWorkflowInstanceCreated"]
    assert [event.instanceId for event in created] == [f"{third}:0001"] * 3
    if hub.has_history:
        timers = [event.timerCreated for event in history if kind_of(event) == "timerCreated"]
        assert [timer.childWorkflowRetry.instanceId for timer in timers] == [f"{third}:0001"] * 2


def test_032_retries_of_parallel_children_are_not_mixed(hub: Hub) -> None:
    policy = RetryPolicy(first_retry_interval=hub.short(0.05), max_number_of_attempts=4)
    tries: dict[int, list[str]] = {number: [] for number in range(4)}

    @hub.workflow
    def flaky(ctx: WorkflowContext, number: int) -> int:
        tries[number].append(ctx.instance_id)
        if len(tries[number]) <= number:
            raise ConnectionError(f"{number} on try {len(tries[number])}")
        return number

    @hub.workflow
    def parent(ctx: WorkflowContext) -> Steps:
        calls = [ctx.call_child_workflow(flaky, input=number, retry_policy=policy) for number in range(4)]
        return (yield when_all(calls))

    instance_id = hub.start(parent)
    assert hub.finish(instance_id, timeout=30).serialized_output == "[0, 1, 2, 3]"
    assert tries == {number: [f"{instance_id}:{number + 1:04x}"] * (number + 1) for number in range(4)}


POLICY = RetryPolicy(
    first_retry_interval=timedelta(milliseconds=40),
    max_number_of_attempts=6,
    backoff_coefficient=2.0,
    max_retry_interval=timedelta(milliseconds=200),
)
DELAYS = [timedelta(milliseconds=milliseconds) for milliseconds in (40, 80, 160, 200, 200)]


def test_034_delays_grow_by_the_coefficient_up_to_the_bound() -> None:
    def retrying(ctx: WorkflowContext) -> Steps:
        yield ctx.call_activity("work", retry_policy=POLICY)

    past: list[pb.HistoryEvent] = []
    new = [literal.begun(), literal.started()]
    delays = []
    while (output := literal.turn(retrying, past, new)).outcome is None:
        (action,) = output.actions
        past += new
        marker = literal.begun(7 * len(past))  # How long a try or a delay really takes has no part in it.
        if action.HasField("scheduleTask"):
            past.append(literal.scheduled(action.id))
            new = [marker, literal.failed(action.id, "no")]
        else:
            waited = action.createTimer.fireAt.ToNanoseconds() - new[0].timestamp.ToNanoseconds()
            delays.append(timedelta(microseconds=waited / 1000))
            past.append(literal.timer_set(action.id))
            new = [marker, literal.timer_fired(action.id)]
    assert delays == DELAYS
    assert literal.ending(output).workflowStatus == pb.WORKFLOW_STATUS_FAILED


@pytest.mark.not_on("daprd", reason="1.16 cuts timers to whole seconds and tells no history")
def test_034_retries_wait_as_long_as_the_policy_says(hub: Hub) -> None:
    tries: list[float] = []

    @hub.activity
    def fails(ctx: WorkflowActivityContext) -> None:
        tries.append(time.monotonic())
        raise ValueError("failed")

    @hub.workflow
    def retrying(ctx: WorkflowContext) -> Steps:
        yield ctx.call_activity(fails, retry_policy=POLICY)

    instance_id = hub.start(retrying)
    assert hub.finish(instance_id).runtime_status is WorkflowStatus.FAILED
    assert len(tries) == 6
    waited = [after - before for before, after in zip(tries, tries[1:], strict=False)]
    assert all(seconds >= delay.total_seconds() for seconds, delay in zip(waited, DELAYS, strict=True))
    delays = []
    now = timedelta(0)
    for event in hub.history(instance_id):
        if kind_of(event) == "workflowStarted":
            now = timedelta(microseconds=event.timestamp.ToNanoseconds() // 1000)
        elif kind_of(event) == "timerCreated":
            due = timedelta(microseconds=event.timerCreated.fireAt.ToNanoseconds() // 1000)
            delays.append(due - now)
    assert delays == DELAYS


# ---- 35: timers that are left ------------------------------------------------------------------------------


def test_035_timers_left_at_the_end_do_nothing(hub: Hub) -> None:
    delay = hub.short(0.4)

    @hub.workflow
    def hurried(ctx: WorkflowContext) -> Steps:
        timer = ctx.create_timer(delay)
        event = ctx.wait_for_external_event("go")
        winner = yield when_any([timer, event])
        return "the timer" if winner is timer else "the event"

    @hub.workflow
    def patient(ctx: WorkflowContext) -> Steps:
        yield ctx.create_timer(delay + timedelta(seconds=1))

    instance_id = hub.start(hurried)
    hub.client.wait_for_workflow_start(instance_id, timeout_in_seconds=10)
    hub.client.raise_workflow_event(instance_id, "go")
    ended, history = hub.finish(instance_id), hub.recorded(instance_id)
    assert ended.serialized_output == '"the event"'

    hub.run(patient)  # It ends well after the timer would have fired.
    assert hub.state(instance_id) == ended
    assert hub.recorded(instance_id) == history


def test_035_timers_left_at_the_end_are_not_those_of_the_next_instance_with_the_id(hub: Hub) -> None:
    delay = hub.short(0.4)

    @hub.workflow
    def hurried(ctx: WorkflowContext, seconds: float) -> Steps:
        timer = ctx.create_timer(timedelta(seconds=seconds))
        event = ctx.wait_for_external_event("go")
        winner = yield when_any([timer, event])
        return "the timer" if winner is timer else "the event"

    @hub.workflow
    def patient(ctx: WorkflowContext) -> Steps:
        yield ctx.create_timer(delay + timedelta(seconds=1))

    instance_id = hub.fresh("i")
    for seconds in (delay.total_seconds(), 3600.0):
        hub.start(hurried, seconds, instance_id=instance_id)
        hub.client.wait_for_workflow_start(instance_id, timeout_in_seconds=10)
        if seconds == 3600:
            hub.run(patient)  # It ends well after the timer of the first instance would have fired.
            assert hub.state(instance_id).runtime_status is WorkflowStatus.RUNNING
        hub.client.raise_workflow_event(instance_id, "go")
        assert hub.finish(instance_id).serialized_output == '"the event"'
