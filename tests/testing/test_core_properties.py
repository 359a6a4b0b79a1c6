"""What must hold for our own replay and engine, in every execution that the strategies draw."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dapr_workflow_sdk import RetryPolicy, TaskFailedError, WorkflowStatus, when_all, when_any
from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.replay.parked import ParkedInstances
from dapr_workflow_sdk.replay.turn import run_turn
from dapr_workflow_sdk.testing.executions import Execution
from dapr_workflow_sdk.testing.properties import completes, leaves_when_dropped, prefixes_equal, replays_equal
from dapr_workflow_sdk.testing.simulation import INSTANCE, Simulation
from dapr_workflow_sdk.testing.strategies import executions
from dapr_workflow_sdk.testing.world import Calm, Raises, World
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
    ctx.create_timer(timedelta(days=2))
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
        if turn.output.outcome is not None:
            # Nobody waits for timers any more.
            assert not any(action.HasField("createTimer") for action in turn.output.actions), execution
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


def listens(ctx: Any, seen: list[int]) -> Any:
    """Takes three events without continuing as new, and not at once."""
    yield ctx.call_activity(double, input=1)
    for _ in range(3):
        seen = [*seen, (yield ctx.wait_for_external_event("number"))]
    return seen


def hears_of_failure(ctx: Any, _: Any) -> Any:
    yield ctx.wait_for_external_event("go")
    try:
        yield ctx.call_activity(double, input=1)
    except TaskFailedError as error:
        return str(error)


def chain(ctx: Any, length: int) -> Any:
    done = []
    for number in range(length):
        done.append((yield ctx.call_activity(double, input=number)))
    return done


def waits_between(ctx: Any, waits: int) -> Any:
    heard = []
    for number in range(waits):
        heard.append((yield ctx.wait_for_external_event(f"e{number}")))
        yield ctx.call_activity(note, input=number)
    return heard


@QUICK
@given(st.lists(st.integers(0, 99), min_size=3, max_size=6, unique=True), st.sampled_from([collects, listens]))
def test_events_that_come_early_are_taken_in_their_order(numbers: list[int], workflow: Any) -> None:
    registry = Registry(module_level=False)
    registry.add("workflow", workflow)
    registry.add("activity", double)
    with Simulation(registry) as simulation:
        simulation.start(workflow.__name__, [])
        for number in numbers:
            simulation.raise_event("number", number)
        while simulation.turns or simulation.activities:
            if simulation.turns:
                simulation.take_turn(simulation.turns[0])
            else:
                simulation.run(simulation.activities[0])
        assert simulation.state().output.value == str(numbers[:3])


@QUICK
@given(executions(chain, st.integers(2, 4), activities={double: None}, failures=(), faults=()), st.data())
def test_results_that_come_before_their_call_are_kept(execution: Execution, data: st.DataObject) -> None:
    """A turn may be lost after its calls were sent on their way; their results then come before the turn is repeated."""
    turns = execution.turns
    first = data.draw(st.integers(1, len(turns) - 2))
    early, late = turns[first + 1].new[1:], turns[first].new[1:]
    output = run_turn(
        INSTANCE,
        turns[first].past,
        [turns[first].new[0], *early, *late],
        execution.registry,
        execution.converter,
        ParkedInstances(0),
    )
    assert output.outcome is None or output.outcome.failure is None
    assert (turns[first + 1].output.outcome is None) == (output.outcome is None)
    assert output.actions[-1].id == turns[first + 1].output.actions[-1].id


def without_timers(events: Sequence[Any]) -> list[Any]:
    """A history as an SDK writes it that gives waits no timers, and no numbers."""
    dropped: list[int] = []
    older = []
    for event in events:
        if event.WhichOneof("eventType") == "timerCreated":
            dropped.append(event.eventId)
            continue
        copy = type(event)()
        copy.CopyFrom(event)
        if copy.eventId > 0:
            copy.eventId -= sum(number < copy.eventId for number in dropped)
        if copy.HasField("taskCompleted"):
            number = copy.taskCompleted.taskScheduledId
            copy.taskCompleted.taskScheduledId -= sum(known < number for known in dropped)
        if copy.HasField("taskFailed"):
            number = copy.taskFailed.taskScheduledId
            copy.taskFailed.taskScheduledId -= sum(known < number for known in dropped)
        older.append(copy)
    return older


@QUICK
@given(
    executions(
        waits_between,
        st.integers(1, 3),
        activities=[note],
        failures=(),
        faults=(),
        events={f"e{n}": st.just(n) for n in range(3)},
    )
)
def test_histories_without_the_timers_of_endless_waits_replay(execution: Execution) -> None:
    """Older SDKs give such waits no timer, and no number."""
    older = without_timers(execution.events[:-1])
    output = run_turn(INSTANCE, older, [older[0]], execution.registry, execution.converter, ParkedInstances(0))
    assert output.outcome is not None
    assert output.outcome.result == str(list(range(execution.input))), output.outcome


def test_a_call_whose_number_has_moved_is_told_by_its_new_one() -> None:
    registry = Registry(module_level=False)
    registry.add("workflow", hears_of_failure)
    with Simulation(registry) as simulation:
        answer = Raises(ValueError("no"))
        world = World(simulation, Calm(), answer=lambda _: answer, events={"go": lambda: None})
        execution = world.play("hears_of_failure")
    assert execution.result == "simulated: Activity task #2 failed: no"
    older = without_timers(execution.events[:-1])
    output = run_turn(INSTANCE, older, [older[0]], registry, execution.converter, ParkedInstances(0))
    assert output.outcome is not None
    assert output.outcome.result == '"simulated: Activity task #1 failed: no"'
