"""What should hold for every execution of a workflow, ready to be asserted in a property test."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from dapr_workflow_sdk.client.state import WorkflowStatus
from dapr_workflow_sdk.errors import FailureDetails
from dapr_workflow_sdk.replay.explanation import at
from dapr_workflow_sdk.replay.parked import ParkedInstances
from dapr_workflow_sdk.replay.turn import TurnOutput, run_turn
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import status_name
from dapr_workflow_sdk.testing.executions import Execution
from dapr_workflow_sdk.testing.simulation import PlayedTurn, told

# Errors by which this package says that workflow code broke a rule.
RULE_ERRORS = frozenset({"NonDeterminismError", "AuthoringError"})
# Errors that nobody raises on purpose.
_MISTAKES = frozenset({"PayloadError", "TypeError", "AttributeError", "NameError", "UnboundLocalError"})
_TOO_EARLY = "The task has not completed yet"


def replays_equal(execution: Execution) -> None:
    """Asserts that each turn, replayed from the start, asks for what it asked for when it was played.

    A worker may lose an instance at any moment; what another one makes of the history must be the same.

    Raises:
        AssertionError: A replay asks for something else; the message shows both and the timeline.
    """
    for number, turn in enumerate(execution.turns, 1):
        again = _replayed(execution, turn)
        if told(again) != told(turn.output):
            raise AssertionError(
                f"Turn {number} of workflow {execution.workflow!r}, replayed, asks for something else.\n"
                f"  played:   {_asked(turn.output)}\n  replayed: {_asked(again)}\n{execution.timeline()}"
            )


def prefixes_equal(execution: Execution) -> None:
    """Asserts that the history, cut after any turn, makes the code ask for what the history records next.

    Raises:
        AssertionError: After some turn it asks for something else.
    """
    for number, turn in enumerate(execution.turns, 1):
        following = next(
            (
                later
                for later in execution.turns[number:]
                if (later.instance_id, later.execution) == (turn.instance_id, turn.execution)
            ),
            None,
        )
        if following is None or not turn.answered:
            continue
        recorded = [essence(event) for event in following.past[len(turn.past) + len(turn.new) :]]
        asked = [essence(event) for event in map(recorded_event, _replayed(execution, turn).actions) if event]
        # A task hub may add events of its own, such as the refusal of a child.
        if asked != recorded[: len(asked)]:
            raise AssertionError(
                f"After turn {number} the history of workflow {execution.workflow!r} records {len(recorded)} calls "
                f"that the code does not make when it is replayed to there: it makes {len(asked)}, others or in "
                f"another order.\n{execution.timeline()}"
            )


def completes(
    execution: Execution, statuses: Collection[WorkflowStatus] = (WorkflowStatus.COMPLETED, WorkflowStatus.FAILED)
) -> None:
    """Asserts that the instance ends, and does not end because its code breaks a rule.

    Args:
        execution: The execution.
        statuses: How it may end. Where activities may fail, a workflow may fail with them; say
            ``(WorkflowStatus.COMPLETED,)`` for one that must not.

    Raises:
        AssertionError: It goes on for ever, waits for what nobody brings, or ends otherwise.
    """
    if execution.unfinished:
        raise AssertionError(
            f"Workflow {execution.workflow!r} does not end: {execution.unfinished}.\n{execution.timeline()}"
        )
    failure = execution.failure
    if failure is not None and breaks_a_rule(failure):
        raise AssertionError(f"Workflow {execution.workflow!r} breaks a rule: {failure}.\n{execution.timeline()}")
    if failure is not None and is_mistake(failure):
        raise AssertionError(f"Workflow {execution.workflow!r} fails by mistake: {failure}.\n{execution.timeline()}")
    if execution.status not in statuses:
        wanted = " or ".join(status.name for status in statuses)
        raise AssertionError(
            f"Workflow {execution.workflow!r} ends {execution.status.name}, not {wanted}.\n{execution.timeline()}"
        )


def leaves_when_dropped(execution: Execution) -> None:
    """Asserts that the code lets itself be dropped wherever it waits.

    A worker drops an instance from memory by closing its code; code that catches GeneratorExit and goes on, or calls
    activities in a ``finally`` block, does work that the history knows nothing of.

    Raises:
        AssertionError: It goes on when it is dropped after some turn.
    """
    for number, turn in enumerate(execution.turns, 1):
        parked = ParkedInstances(1)
        run_turn(turn.instance_id, turn.past, turn.new, execution.registry, execution.converter, parked)
        found = parked.take(turn.instance_id, [*turn.past, *turn.new], execution.registry)
        if found is None:
            continue  # It has ended.
        instance, _ = found
        place = instance._code.place
        instance.close()
        if instance._refusals or instance._code.stubborn:
            raise AssertionError(
                f"Workflow {execution.workflow!r} goes on when it is dropped after turn {number}, where it waits at "
                f"{at(place)}.\n{execution.timeline()}"
            )


def is_mistake(failure: FailureDetails) -> bool:
    """Whether a workflow failed with an error that nobody raises on purpose."""
    return failure.error_type in _MISTAKES or _TOO_EARLY in failure.message


def breaks_a_rule(failure: FailureDetails) -> bool:
    """Whether a workflow failed because its code did what workflow code must not do."""
    return failure.error_type in RULE_ERRORS or (failure.cause is not None and breaks_a_rule(failure.cause))


Activity = Callable[..., Any] | str


def compensations_balance(
    execution: Execution,
    pairs: Mapping[Activity, Activity] | Sequence[tuple[Activity, Activity]],
    *,
    rolled_back: Callable[[Execution], bool] | None = None,
) -> None:
    """Asserts that all is done, or that all that was done is undone, each exactly once.

    Args:
        execution: The execution.
        pairs: Activities, and the activities that undo them. Calls count that returned.
        rolled_back: Tells whether the execution should have undone what it did. By default it should if it did not
            complete, or has undone anything.

    Raises:
        AssertionError: Something stays done, or is undone that was not done.
    """
    counted: list[tuple[str, int, str, int]] = []
    for do, undo in pairs.items() if isinstance(pairs, Mapping) else pairs:
        done = sum(call.succeeded for call in execution.calls_of(do))
        undone = sum(call.succeeded for call in execution.calls_of(undo))
        counted.append((_name(execution, do), done, _name(execution, undo), undone))
    if rolled_back is None:
        back = execution.status is not WorkflowStatus.COMPLETED or any(undone for *_, undone in counted)
    else:
        back = rolled_back(execution)
    for do_name, done, undo_name, undone in counted:
        if undone != (done if back else 0):
            kept = "was rolled back" if back else "went through"
            raise AssertionError(
                f"Workflow {execution.workflow!r} {kept}, but {do_name!r} was done {_times(done)} and {undo_name!r} "
                f"{_times(undone)}.\n{execution.timeline()}"
            )


def at_most_in_flight(execution: Execution, most: int, activity: Activity | None = None) -> None:
    """Asserts that never more than so many activities were called and not answered.

    Args:
        execution: The execution; its children are not counted.
        most: How many may be.
        activity: Count calls of this activity alone.

    Raises:
        AssertionError: There were more.
    """
    wanted = None if activity is None else _name(execution, activity)
    open_calls: dict[int, str] = {}
    for event in execution.events:
        kind = event.WhichOneof("eventType")
        if kind == "taskScheduled" and wanted in (None, event.taskScheduled.name):
            open_calls[event.eventId] = event.taskScheduled.name
            if len(open_calls) > most:
                raise AssertionError(
                    f"Workflow {execution.workflow!r} has {len(open_calls)} activities in flight, where {most} are "
                    f"allowed: {', '.join(open_calls.values())}.\n{execution.timeline()}"
                )
        elif kind == "taskCompleted":
            open_calls.pop(event.taskCompleted.taskScheduledId, None)
        elif kind == "taskFailed":
            open_calls.pop(event.taskFailed.taskScheduledId, None)


# ---- parts -----------------------------------------------------------------------------------------------------


def _replayed(execution: Execution, turn: PlayedTurn) -> TurnOutput:
    return run_turn(turn.instance_id, turn.past, turn.new, execution.registry, execution.converter, ParkedInstances(0))


def _name(execution: Execution, activity: Activity) -> str:
    return activity if isinstance(activity, str) else execution.registry.name_for("activity", activity)


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def _asked(output: TurnOutput) -> str:
    parts = [action_text(action) for action in output.actions]
    if output.custom_status is not None:
        parts.append(f"custom status {output.custom_status!r}")
    return "; ".join(parts) or "nothing"


def action_text(action: pb.WorkflowAction) -> str:
    """An action in the words of workflow code."""
    kind = action.WhichOneof("workflowActionType")
    if kind == "scheduleTask":
        return f"call {action.id}: activity {action.scheduleTask.name}({action.scheduleTask.input.value})"
    if kind == "createChildWorkflow":
        child = action.createChildWorkflow
        return f"call {action.id}: child workflow {child.name}({child.input.value}) as {child.instanceId}"
    if kind == "createTimer":
        timer = action.createTimer
        if timer.WhichOneof("origin") == "externalEvent":
            return f"call {action.id}: a wait for event {timer.externalEvent.name!r}"
        return f"call {action.id}: a timer for {timer.fireAt.ToJsonString()}"
    if kind == "completeWorkflow":
        complete = action.completeWorkflow
        if complete.HasField("failureDetails"):
            failure = complete.failureDetails
            return f"to fail with {failure.errorType}: {failure.errorMessage}"
        status = status_name(complete.workflowStatus)
        return f"to end {status} with {complete.result.value or 'nothing'}"
    return f"call {action.id}: {kind}"


def recorded_event(action: pb.WorkflowAction) -> pb.HistoryEvent | None:
    """The history event that a task hub writes when it carries out a call; None if the action is no call."""
    kind = action.WhichOneof("workflowActionType")
    event = pb.HistoryEvent(eventId=action.id)
    if kind == "scheduleTask":
        asked = action.scheduleTask
        event.taskScheduled.name = asked.name
        event.taskScheduled.taskExecutionId = asked.taskExecutionId
        if asked.HasField("input"):
            event.taskScheduled.input.CopyFrom(asked.input)
    elif kind == "createTimer":
        event.timerCreated.fireAt.CopyFrom(action.createTimer.fireAt)
    elif kind == "createChildWorkflow":
        child = action.createChildWorkflow
        event.childWorkflowInstanceCreated.name = child.name
        event.childWorkflowInstanceCreated.instanceId = child.instanceId
        if child.HasField("input"):
            event.childWorkflowInstanceCreated.input.CopyFrom(child.input)
    else:
        return None
    return event


def essence(event: pb.HistoryEvent) -> tuple[Any, ...]:
    """What a history event records of a call, without what only the task hub knows."""
    kind = event.WhichOneof("eventType")
    if kind == "taskScheduled":
        called = event.taskScheduled
        return kind, event.eventId, called.name, called.input.value, called.taskExecutionId
    if kind == "childWorkflowInstanceCreated":
        child = event.childWorkflowInstanceCreated
        return kind, event.eventId, child.name, child.input.value, child.instanceId
    if kind == "timerCreated":
        return kind, event.eventId, event.timerCreated.fireAt.seconds, event.timerCreated.fireAt.nanos
    return kind, event.eventId
