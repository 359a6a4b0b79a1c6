"""Scenarios 1 to 20 of the conformance list."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator
from datetime import datetime, timezone
from typing import Any
from uuid import UUID

from dapr_workflow_sdk import (
    Task,
    TaskFailedError,
    WorkflowActivityContext,
    WorkflowContext,
    WorkflowStatus,
    when_all,
    when_any,
)
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import naive_utc
from tests.conformance import literal
from tests.conformance.hubs import Hub, kind_of

Steps = Generator[Task[Any], Any, Any]


def utc_now() -> datetime:
    """The time in the form that workflows see."""
    return datetime.now(timezone.utc).replace(tzinfo=None)


def test_001_a_workflow_that_returns_at_once_completes(hub: Hub) -> None:
    @hub.workflow
    def empty(ctx: WorkflowContext) -> None:
        return None

    @hub.workflow
    def stepless(ctx: WorkflowContext) -> Steps:
        return None
        yield

    @hub.workflow
    async def awaiting(ctx: WorkflowContext) -> None:
        return None

    before = utc_now()
    ids = [hub.start(workflow) for workflow in (empty, stepless, awaiting)]
    for instance_id in ids:
        state = hub.finish(instance_id)
        assert state.runtime_status is WorkflowStatus.COMPLETED
        assert state.serialized_output is None
        assert state.failure_details is None
        assert before <= state.created_at <= state.last_updated_at <= utc_now()
        if hub.has_history:
            kinds = [kind_of(event) for event in hub.history(instance_id)]
            assert kinds == ["workflowStarted", "executionStarted", "executionCompleted"]


def test_002_the_input_arrives_as_it_was_sent(hub: Hub) -> None:
    received: dict[str, Any] = {}

    @hub.workflow
    def echo(ctx: WorkflowContext, value: Any) -> Any:
        received[ctx.instance_id] = value
        return value

    values = [{"a": [1, None, "é"], "b": {"c": 1.5}}, 0, "", [], False, "\u2028\\\x22\n\x00", "x" * 100_000]
    started = {hub.start(echo, value): value for value in values}
    for instance_id, value in started.items():
        state = hub.finish(instance_id)
        assert state.serialized_input is not None
        assert json.loads(state.serialized_input) == value
        assert state.serialized_output == state.serialized_input
        assert received[instance_id] == value
        assert type(received[instance_id]) is type(value)
    nothing = hub.run(echo)
    assert nothing.serialized_input is None
    assert nothing.serialized_output is None


def test_003_an_activity_gets_its_input_and_gives_the_output(hub: Hub) -> None:
    seen: list[WorkflowActivityContext] = []

    @hub.activity
    def double(ctx: WorkflowActivityContext, value: dict[str, int]) -> dict[str, int]:
        seen.append(ctx)
        return {key: 2 * number for key, number in value.items()}

    @hub.workflow
    def single(ctx: WorkflowContext, value: dict[str, int]) -> Steps:
        result = yield from ctx.call_activity(double, input=value)
        return result

    instance_id = hub.start(single, {"é": 21})
    state = hub.finish(instance_id)
    assert state.runtime_status is WorkflowStatus.COMPLETED
    assert json.loads(state.serialized_output or "") == {"é": 42}
    (call,) = seen
    assert call.workflow_id == instance_id
    assert call.name.startswith("double-")
    assert UUID(call.task_execution_id)
    if hub.has_history:
        history = hub.history(instance_id)
        assert [kind_of(event) for event in history] == [
            "workflowStarted",
            "executionStarted",
            "taskScheduled",
            "workflowStarted",
            "taskCompleted",
            "executionCompleted",
        ]
        scheduled, completed = history[2], history[4]
        assert scheduled.eventId == call.task_id == completed.taskCompleted.taskScheduledId
        assert scheduled.taskScheduled.name == call.name
        assert json.loads(scheduled.taskScheduled.input.value) == {"é": 21}
        assert scheduled.taskScheduled.taskExecutionId == call.task_execution_id


def test_004_ten_activities_in_a_chain_run_in_order(hub: Hub) -> None:
    ran: list[int] = []

    @hub.activity
    def add_one(ctx: WorkflowActivityContext, value: int) -> int:
        ran.append(value)
        return value + 1

    @hub.workflow
    def chain(ctx: WorkflowContext, value: int) -> Steps:
        for _ in range(10):
            value = yield ctx.call_activity(add_one, input=value)
        return value

    instance_id = hub.start(chain, 0)
    assert hub.finish(instance_id).serialized_output == "10"
    assert ran == list(range(10))
    if hub.has_history:
        history = hub.history(instance_id)
        scheduled = [event.eventId for event in history if kind_of(event) == "taskScheduled"]
        completed = [e.taskCompleted.taskScheduledId for e in history if kind_of(e) == "taskCompleted"]
        assert scheduled == completed == list(range(1, 11))


def test_005_a_fan_out_runs_concurrently(hub: Hub) -> None:
    together = threading.Barrier(10)

    @hub.activity
    def meet(ctx: WorkflowActivityContext, number: int) -> int:
        together.wait(timeout=15)  # Nobody gets past it unless ten run at the same time.
        return number

    @hub.workflow
    def fan_out(ctx: WorkflowContext) -> Steps:
        results = yield when_all([ctx.call_activity(meet, input=number) for number in range(10)])
        return results

    instance_id = hub.start(fan_out)
    state = hub.finish(instance_id)
    assert state.runtime_status is WorkflowStatus.COMPLETED, state
    assert json.loads(state.serialized_output or "") == list(range(10))
    if hub.has_history:
        kinds = [kind_of(event) for event in hub.history(instance_id)]
        assert kinds[2:13] == ["taskScheduled"] * 10 + ["workflowStarted"]


def test_006_a_fan_in_fails_with_the_failure_that_came_first(hub: Hub) -> None:
    may_go_on = threading.Event()
    ran: list[str] = []

    @hub.activity
    def part(ctx: WorkflowActivityContext, name: str) -> str:
        if name != "first":
            assert may_go_on.wait(15)
        ran.append(name)
        if name == "well":
            return name
        raise ValueError(f"{name} went wrong")

    @hub.activity
    def release(ctx: WorkflowActivityContext) -> None:
        may_go_on.set()

    @hub.workflow
    def fan_in(ctx: WorkflowContext) -> Steps:
        parts = [ctx.call_activity(part, input=name) for name in ("second", "first", "well")]
        everything = when_all(parts)
        yield when_any([parts[1]])
        yield ctx.call_activity(release)
        try:
            yield everything
        except TaskFailedError as error:
            done = [task.is_complete for task in parts]
            return [error.details.error_type, error.details.message, done, parts[2].get_result()]
        return "no failure"

    @hub.workflow
    def uncaught(ctx: WorkflowContext) -> Steps:
        calls = [ctx.call_activity(part, input=name) for name in ("first", "well")]
        yield when_all(calls)
        return "no failure"

    caught = hub.finish(hub.start(fan_in))
    assert json.loads(caught.serialized_output or "") == [
        "ValueError",
        "first went wrong",
        [True] * 3,
        "well",
    ]
    assert ran[0] == "first"
    assert sorted(ran) == ["first", "second", "well"]
    state = hub.run(uncaught)
    assert state.runtime_status is WorkflowStatus.FAILED
    assert state.failure_details is not None
    assert "first went wrong" in state.failure_details.message


def test_007_activities_that_nobody_waits_for_still_run_exactly_once(hub: Hub) -> None:
    lock = threading.Lock()
    ran: list[tuple[int, int]] = []

    @hub.activity
    def note(ctx: WorkflowActivityContext, number: int) -> None:
        with lock:
            ran.append((number, ctx.task_id))

    @hub.workflow
    def leave(ctx: WorkflowContext) -> str:
        for number in range(30):
            ctx.call_activity(note, input=number)
        return "gone"

    @hub.workflow
    def later(ctx: WorkflowContext) -> Steps:
        yield ctx.call_activity(note, input=-1)

    instance_id = hub.start(leave)
    state = hub.finish(instance_id)
    assert state.runtime_status is WorkflowStatus.COMPLETED
    assert state.serialized_output == '"gone"'
    hub.eventually(lambda: len(ran) >= 30, "30 activities ran")
    # Whatever the hub still had to hand out comes before what it is asked now.
    assert hub.run(later).runtime_status is WorkflowStatus.COMPLETED
    assert sorted(ran) == [(-1, 1), *((number, number + 1) for number in range(30))]
    after = hub.client.get_workflow_state(instance_id)
    assert after is not None
    assert after.runtime_status is WorkflowStatus.COMPLETED
    if hub.has_history:
        kinds = [kind_of(event) for event in hub.history(instance_id)]
        assert kinds == ["workflowStarted", "executionStarted", *["taskScheduled"] * 30, "executionCompleted"]


def test_008_the_failure_of_an_activity_reaches_the_workflow_and_the_client(hub: Hub) -> None:
    @hub.activity
    def refuse_the_order(ctx: WorkflowActivityContext, number: int) -> None:
        raise LookupError(f"no order {number}")

    @hub.workflow
    def catching(ctx: WorkflowContext) -> Steps:
        try:
            yield ctx.call_activity(refuse_the_order, input=7)
        except TaskFailedError as error:
            return [error.details.error_type, error.details.message, error.details.stack_trace, str(error)]

    @hub.workflow
    def failing(ctx: WorkflowContext) -> Steps:
        yield ctx.call_activity(refuse_the_order, input=8)

    ids = [hub.start(catching), hub.start(failing)]
    caught = hub.finish(ids[0])
    assert caught.runtime_status is WorkflowStatus.COMPLETED
    kind, message, stack, text = json.loads(caught.serialized_output or "")
    assert (kind, message) == ("LookupError", "no order 7")
    assert "refuse_the_order" in stack
    assert text == f"{ids[0]}: Activity task #1 failed: no order 7"

    state = hub.finish(ids[1])
    assert state.runtime_status is WorkflowStatus.FAILED
    details = state.failure_details
    assert details is not None
    assert details.error_type == "TaskFailedError"
    assert details.message == f"{ids[1]}: Activity task #1 failed: no order 8"
    assert "failing" in (details.stack_trace or "")
    assert details.cause is not None
    assert (details.cause.error_type, details.cause.message) == ("LookupError", "no order 8")
    assert "refuse_the_order" in (details.cause.stack_trace or "")
    assert state.serialized_output is None
    if hub.has_history:
        failed = [event.taskFailed for event in hub.history(ids[1]) if kind_of(event) == "taskFailed"]
        assert [(event.taskScheduledId, event.failureDetails.errorType) for event in failed] == [(1, "LookupError")]


def test_010_an_activity_that_is_not_registered_fails_its_call(hub: Hub) -> None:
    missing = hub.fresh("missing")

    @hub.workflow
    def hopeful(ctx: WorkflowContext) -> Steps:
        try:
            yield ctx.call_activity(missing, input=1)
        except TaskFailedError as error:
            return [error.details.error_type, error.details.message]

    kind, message = json.loads(hub.run(hopeful).serialized_output or "")
    assert kind == "ActivityNotRegisteredError"
    assert missing in message


# A function that returns the generator of another one is never kept between turns, so its history is replayed
# from the start in every turn, on every hub.


def test_015_replaying_is_told_only_while_the_past_repeats(hub: Hub) -> None:
    seen: list[tuple[int, bool]] = []

    @hub.activity
    def step(ctx: WorkflowActivityContext) -> None:
        return None

    def body(ctx: WorkflowContext) -> Steps:
        for number in range(4):
            seen.append((number, ctx.is_replaying))
            if number < 3:
                yield ctx.call_activity(step)

    @hub.workflow
    def replayed(ctx: WorkflowContext) -> Any:
        return body(ctx)

    kept_seen: list[bool] = []

    @hub.workflow
    def kept(ctx: WorkflowContext) -> Steps:
        for _ in range(3):
            kept_seen.append(ctx.is_replaying)
            yield ctx.call_activity(step)

    ids = [hub.start(replayed), hub.start(kept)]
    for instance_id in ids:
        assert hub.finish(instance_id).runtime_status is WorkflowStatus.COMPLETED
    turns = [[(number, number < turn) for number in range(turn + 1)] for turn in range(4)]
    assert seen == [entry for turn in turns for entry in turn]
    # Whether or not a run is kept between turns, each step is new exactly once.
    assert kept_seen.count(False) == 3


def test_015_replaying_ends_with_the_last_past_event() -> None:
    seen: list[bool] = []

    def steps(ctx: WorkflowContext) -> Steps:
        for _ in range(3):
            seen.append(ctx.is_replaying)
            yield ctx.call_activity("work")
        seen.append(ctx.is_replaying)

    history = [literal.begun(), literal.started()]
    reached = [1]  # A step is reached with the start, or with the result of the step before it.
    for call in (1, 2, 3):
        history += [literal.scheduled(call), literal.begun(call), literal.completed(call)]
        reached.append(len(history) - 1)
    for past in range(len(history) + 1):
        seen.clear()
        output = literal.turn(steps, history[:past], history[past:])
        assert literal.ending(output).workflowStatus == pb.WORKFLOW_STATUS_COMPLETED
        assert seen == [place < past for place in reached]


def test_016_the_time_is_that_of_the_turn_and_the_same_on_every_replay(hub: Hub) -> None:
    seen: dict[int, set[datetime]] = {number: set() for number in range(4)}
    replays: list[int] = []

    @hub.activity
    def step(ctx: WorkflowActivityContext) -> None:
        return None

    def body(ctx: WorkflowContext) -> Steps:
        for number in range(4):
            seen[number].add(ctx.current_utc_datetime)
            seen[number].add(ctx.current_utc_datetime)
            if ctx.is_replaying:
                replays.append(number)
            if number < 3:
                yield ctx.call_activity(step)

    @hub.workflow
    def timed(ctx: WorkflowContext) -> Any:
        return body(ctx)

    before = utc_now()
    instance_id = hub.start(timed)
    assert hub.finish(instance_id).runtime_status is WorkflowStatus.COMPLETED
    assert sorted(replays) == [0, 0, 0, 1, 1, 2]
    times = []
    for number in range(4):
        (only,) = seen[number]
        times.append(only)
    assert all(time.tzinfo is None for time in times)
    assert before <= times[0] < times[1] < times[2] < times[3] <= utc_now()
    if hub.has_history:
        turns = [event.timestamp for event in hub.history(instance_id) if kind_of(event) == "workflowStarted"]
        assert times == [naive_utc(time.seconds, time.nanos) for time in turns]


def test_017_new_ids_are_the_same_on_every_replay_and_never_twice(hub: Hub) -> None:
    seen: dict[str, dict[int, set[UUID]]] = {}
    replays: list[str] = []

    @hub.activity
    def step(ctx: WorkflowActivityContext) -> None:
        return None

    def body(ctx: WorkflowContext) -> Steps:
        mine = seen.setdefault(ctx.instance_id, {})
        if ctx.is_replaying:
            replays.append(ctx.instance_id)
        for number in range(3):
            mine.setdefault(2 * number, set()).add(ctx.new_guid())
            mine.setdefault(2 * number + 1, set()).add(ctx.new_guid())
            yield ctx.call_activity(step)

    @hub.workflow
    def naming(ctx: WorkflowContext) -> Any:
        return body(ctx)

    ids = [hub.start(naming), hub.start(naming)]
    for instance_id in ids:
        assert hub.finish(instance_id).runtime_status is WorkflowStatus.COMPLETED
    assert sorted(replays) == sorted(ids * 3)
    everything = [guid for instance_id in ids for guids in seen[instance_id].values() for guid in guids]
    assert len(everything) == len(set(everything)) == 12
    assert all(guid.version == 5 for guid in everything)
