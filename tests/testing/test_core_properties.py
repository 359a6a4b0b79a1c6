"""What must hold for our own replay and engine, in every execution that the strategies draw."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dapr_workflow_sdk import RetryPolicy, TaskFailedError, WorkflowStatus, when_all, when_any
from dapr_workflow_sdk.testing.executions import Execution
from dapr_workflow_sdk.testing.properties import completes, leaves_when_dropped, prefixes_equal, replays_equal
from dapr_workflow_sdk.testing.strategies import executions
from tests.strategies import QUICK

PATIENTLY = RetryPolicy(first_retry_interval=timedelta(seconds=1), max_number_of_attempts=3)


def double(ctx: Any, number: int) -> int:
    return number * 2


def note(ctx: Any, text: Any) -> None: ...


def squares(ctx: Any, width: int) -> Any:
    """Children in parallel, in the order in which they were called."""
    return (yield when_all([ctx.call_child_workflow(square, input=number) for number in range(width)]))


def square(ctx: Any, number: int) -> Any:
    doubled = yield ctx.call_activity(double, input=number)
    return [ctx.instance_id, number * doubled // 2]


def collects(ctx: Any, seen: list[int]) -> Any:
    """Takes three events, one in each generation, and keeps those that came too many."""
    number = yield ctx.wait_for_external_event("number")
    seen = [*seen, number]
    if len(seen) == 3:
        return seen
    ctx.continue_as_new(seen, save_events=True)


def tries(ctx: Any, number: int) -> Any:
    """Tries three times at most; undoes nothing, tells what came of it."""
    began = ctx.current_utc_datetime
    try:
        result = yield ctx.call_activity(double, input=number, retry_policy=PATIENTLY)
    except TaskFailedError as error:
        return ["failed", error.details.error_type, (ctx.current_utc_datetime - began).total_seconds() >= 2]
    return ["returned", result, True]


def races(ctx: Any, _: Any) -> Any:
    """Waits twice for one event: the first waits gives up in time, the second gets what comes after."""
    first = ctx.wait_for_external_event("go", timeout=timedelta(hours=1))
    second = ctx.wait_for_external_event("go")
    winner = yield when_any([first, second])
    if winner is first and winner.is_failed:
        return ["late", (yield second)]
    return ["first" if winner is first else "second", winner.get_result()]


def ids(ctx: Any, _: Any) -> Any:
    made = [str(ctx.new_guid()), str(ctx.new_guid())]
    yield ctx.call_activity(note, input=made)
    unused = ctx.create_timer(timedelta(days=1))
    made.append(str(ctx.new_guid()))
    yield ctx.call_activity(note, input=len(made))
    return [made, unused.is_complete]


def check(execution: Execution) -> None:
    completes(execution, [WorkflowStatus.COMPLETED])
    replays_equal(execution)
    prefixes_equal(execution)
    leaves_when_dropped(execution)
    for turn in execution.turns:
        numbers = [action.id for action in turn.output.actions]
        assert numbers == sorted(set(numbers)), execution
        if numbers and not turn.past and turn.output.outcome is None:
            assert numbers[0] == 1, execution
        # While it is suspended, an instance asks for nothing.
        paused = False
        for event in (*turn.past, *turn.new):
            kind = event.WhichOneof("eventType")
            paused = (paused or kind == "executionSuspended") and kind != "executionResumed"
        if paused and turn.output.outcome is None:
            assert not numbers, execution


@QUICK
@given(executions(squares, st.integers(1, 3), activities={double: None}, failures=(), workflows=[square]))
def test_children_come_back_each_to_its_call(execution: Execution) -> None:
    check(execution)
    width = execution.input
    assert execution.result == [[f"simulated:{n + 1:04x}", n * n] for n in range(width)], execution


@QUICK
@given(executions(collects, st.just([]), events={"number": st.integers(0, 99)}))
def test_each_event_is_taken_once_and_in_its_order(execution: Execution) -> None:
    check(execution)
    raised = execution.raised["number"]
    assert execution.result == raised[:3], execution


@QUICK
@given(executions(tries, st.integers(0, 9), activities={double: None}, failures=[ValueError("no")]))
def test_calls_are_tried_as_often_as_the_policy_says(execution: Execution) -> None:
    check(execution)
    outcomes = [call.succeeded for call in execution.calls]
    assert outcomes in ([True], [False, True], [False, False, True], [False] * 3), execution
    expected = ["returned", execution.input * 2, True] if outcomes[-1] else ["failed", "ValueError", True]
    assert execution.result == expected, execution


@QUICK
@given(executions(races, events={"go": st.integers(0, 99)}))
def test_events_go_to_the_waiter_whose_turn_it_is(execution: Execution) -> None:
    check(execution)
    assert execution.result[0] in ("first", "late"), execution
    assert execution.result[1] == execution.raised["go"][0], execution


@QUICK
@given(executions(ids, activities=[note], failures=()))
def test_ids_do_not_repeat(execution: Execution) -> None:
    check(execution)
    made, fired = execution.result
    assert len(set(made)) == 3, execution
    assert [call.input for call in execution.calls] == [made[:2], 3], execution
    # A timer that nobody waits for is set once.
    timers = [event for event in execution.events if event.WhichOneof("eventType") == "timerCreated"]
    assert len(timers) == 1, execution
