"""History events as task hubs write them, and one instance played turn by turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import StringValue

from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.converter import Converter, JsonConverter
from dapr_workflow_sdk.errors import FailureDetails
from dapr_workflow_sdk.replay.parked import ParkedInstances
from dapr_workflow_sdk.replay.turn import TurnOutput, run_turn
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import NEVER

# The first of January 2026, where every history of these tests starts.
EPOCH_SECONDS = 1_767_225_600
INSTANCE = "order-7"


def at(seconds: float) -> Timestamp:
    """A moment so many seconds after the start of all test histories."""
    nanos = round(seconds * 1_000_000_000)
    return Timestamp(seconds=EPOCH_SECONDS + nanos // 1_000_000_000, nanos=nanos % 1_000_000_000)


def text(value: str | None) -> StringValue | None:
    """A wire string that can be absent."""
    return None if value is None else StringValue(value=value)


def turn_marker(moment: float = 0) -> pb.HistoryEvent:
    """The event every turn begins with; its time is the time of the turn."""
    return pb.HistoryEvent(eventId=-1, timestamp=at(moment), workflowStarted=pb.WorkflowStartedEvent())


def started(
    name: str = "flow",
    data: str | None = None,
    *,
    instance_id: str = INSTANCE,
    execution_id: str = "execution-1",
    app_id: str = "",
    moment: float = 0,
) -> pb.HistoryEvent:
    """The start of an instance."""
    event = pb.HistoryEvent(eventId=-1, timestamp=at(moment))
    if app_id:
        event.router.sourceAppID = app_id
    event.executionStarted.CopyFrom(
        pb.ExecutionStartedEvent(
            name=name,
            input=text(data),
            workflowInstance=pb.WorkflowInstance(instanceId=instance_id, executionId=text(execution_id)),
        )
    )
    return event


def activity_scheduled(call_id: int, name: str) -> pb.HistoryEvent:
    """History records the call of an activity."""
    return pb.HistoryEvent(eventId=call_id, timestamp=at(0), taskScheduled=pb.TaskScheduledEvent(name=name))


def activity_done(call_id: int, result: str | None = None) -> pb.HistoryEvent:
    """An activity has returned."""
    done = pb.TaskCompletedEvent(taskScheduledId=call_id, result=text(result))
    return pb.HistoryEvent(eventId=-1, timestamp=at(0), taskCompleted=done)


def activity_failed(
    call_id: int, message: str = "boom", error_type: str = "ValueError", *, non_retriable: bool = False
) -> pb.HistoryEvent:
    """An activity has raised."""
    details = pb.TaskFailureDetails(errorType=error_type, errorMessage=message, isNonRetriable=non_retriable)
    failed = pb.TaskFailedEvent(taskScheduledId=call_id, failureDetails=details)
    return pb.HistoryEvent(eventId=-1, timestamp=at(0), taskFailed=failed)


def child_created(call_id: int, name: str, child_id: str = "") -> pb.HistoryEvent:
    """History records the start of a child workflow."""
    created = pb.ChildWorkflowInstanceCreatedEvent(name=name, instanceId=child_id or f"{INSTANCE}:{call_id:04x}")
    return pb.HistoryEvent(eventId=call_id, timestamp=at(0), childWorkflowInstanceCreated=created)


def child_done(call_id: int, result: str | None = None) -> pb.HistoryEvent:
    """A child workflow has completed."""
    done = pb.ChildWorkflowInstanceCompletedEvent(taskScheduledId=call_id, result=text(result))
    return pb.HistoryEvent(eventId=-1, timestamp=at(0), childWorkflowInstanceCompleted=done)


def child_failed(call_id: int, message: str = "boom", error_type: str = "ValueError") -> pb.HistoryEvent:
    """A child workflow has failed."""
    details = pb.TaskFailureDetails(errorType=error_type, errorMessage=message)
    failed = pb.ChildWorkflowInstanceFailedEvent(taskScheduledId=call_id, failureDetails=details)
    return pb.HistoryEvent(eventId=-1, timestamp=at(0), childWorkflowInstanceFailed=failed)


def child_terminated(call_id: int) -> pb.HistoryEvent:
    """A child workflow has been terminated: task hubs report a failure without details."""
    failed = pb.ChildWorkflowInstanceFailedEvent(taskScheduledId=call_id)
    return pb.HistoryEvent(eventId=-1, timestamp=at(0), childWorkflowInstanceFailed=failed)


def timer_created(call_id: int, fire_at: float = 60, *, waits_for: str | None = None) -> pb.HistoryEvent:
    """History records a timer, or the timer of a wait for an event."""
    created = pb.TimerCreatedEvent(fireAt=at(fire_at))
    if waits_for is None:
        created.createTimer.SetInParent()
    else:
        created.externalEvent.name = waits_for
    return pb.HistoryEvent(eventId=call_id, timestamp=at(0), timerCreated=created)


def sentinel_created(call_id: int, event_name: str | None) -> pb.HistoryEvent:
    """History records the timer of a wait without a timeout; without a name, as a sidecar without origins does."""
    created = pb.TimerCreatedEvent(fireAt=NEVER)
    if event_name is not None:
        created.externalEvent.name = event_name
    return pb.HistoryEvent(eventId=call_id, timestamp=at(0), timerCreated=created)


def timer_fired(call_id: int) -> pb.HistoryEvent:
    """A timer has fired."""
    return pb.HistoryEvent(eventId=-1, timestamp=at(0), timerFired=pb.TimerFiredEvent(timerId=call_id))


def raised(name: str, data: str | None = None) -> pb.HistoryEvent:
    """An event was raised from outside."""
    return pb.HistoryEvent(eventId=-1, timestamp=at(0), eventRaised=pb.EventRaisedEvent(name=name, input=text(data)))


def suspended() -> pb.HistoryEvent:
    """The instance was suspended."""
    return pb.HistoryEvent(eventId=-1, timestamp=at(0), executionSuspended=pb.ExecutionSuspendedEvent())


def resumed() -> pb.HistoryEvent:
    """The instance was resumed."""
    return pb.HistoryEvent(eventId=-1, timestamp=at(0), executionResumed=pb.ExecutionResumedEvent())


def terminated(output: str | None = None, *, recurse: bool = False) -> pb.HistoryEvent:
    """Somebody asked for the end of the instance."""
    request = pb.ExecutionTerminatedEvent(input=text(output), recurse=recurse)
    return pb.HistoryEvent(eventId=-1, timestamp=at(0), executionTerminated=request)


def recorded(action: pb.WorkflowAction) -> pb.HistoryEvent | None:
    """The event a task hub writes for an action; None for the end of a generation."""
    event = pb.HistoryEvent(eventId=action.id, timestamp=at(0))
    kind = action.WhichOneof("workflowActionType")
    if kind == "scheduleTask":
        asked = action.scheduleTask
        event.taskScheduled.CopyFrom(
            pb.TaskScheduledEvent(
                name=asked.name,
                input=asked.input if asked.HasField("input") else None,
                taskExecutionId=asked.taskExecutionId,
            )
        )
    elif kind == "createTimer":
        event.timerCreated.fireAt.CopyFrom(action.createTimer.fireAt)
        origin = action.createTimer.WhichOneof("origin")
        if origin is not None:
            getattr(event.timerCreated, origin).CopyFrom(getattr(action.createTimer, origin))
    elif kind == "createChildWorkflow":
        child = action.createChildWorkflow
        event.childWorkflowInstanceCreated.CopyFrom(
            pb.ChildWorkflowInstanceCreatedEvent(
                instanceId=child.instanceId, name=child.name, input=child.input if child.HasField("input") else None
            )
        )
    elif kind == "completeWorkflow":
        end = action.completeWorkflow
        if end.workflowStatus == pb.WORKFLOW_STATUS_CONTINUED_AS_NEW:
            return None
        event.executionCompleted.workflowStatus = end.workflowStatus
    else:
        raise AssertionError(f"No test hub records {kind}")
    return event


def summary(actions: Sequence[pb.WorkflowAction]) -> list[tuple[int, str]]:
    """Ids and kinds of actions in short: ``(1, "activity charge")``."""
    return [(action.id, _label(action)) for action in actions]


def _label(action: pb.WorkflowAction) -> str:
    kind = action.WhichOneof("workflowActionType")
    if kind == "scheduleTask":
        return f"activity {action.scheduleTask.name}"
    if kind == "createChildWorkflow":
        return f"child {action.createChildWorkflow.name}"
    if kind == "createTimer":
        timer = action.createTimer
        origin = timer.WhichOneof("origin")
        forever = " forever" if timer.fireAt == NEVER else ""
        return f"wait {timer.externalEvent.name}{forever}" if origin == "externalEvent" else f"timer {origin}"
    if kind == "completeWorkflow":
        return pb.WorkflowStatus.Name(action.completeWorkflow.workflowStatus).removeprefix("WORKFLOW_STATUS_")
    return str(kind)


class Play:
    """One instance: each turn is run, and its events and what it asked for are committed to the history."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        data: str | None = None,
        instance_id: str = INSTANCE,
        parked: ParkedInstances | None = None,
        converter: Converter | None = None,
        app_id: str = "",
        registry: Registry | None = None,
    ) -> None:
        """Registers `function` as the workflow ``flow``; the first turn brings the start with `data`."""
        self.instance_id = instance_id
        self.registry = registry if registry is not None else Registry(module_level=False)
        self.registry.add("workflow", function, "flow")
        self.converter = converter if converter is not None else JsonConverter()
        self.parked = parked if parked is not None else ParkedInstances(0)
        self.history: list[pb.HistoryEvent] = []
        self.outputs: list[TurnOutput] = []
        self._start = started("flow", data, instance_id=instance_id, app_id=app_id)
        self._moment = 0.0

    def turn(self, *events: pb.HistoryEvent, moment: float | None = None, commit: bool = True) -> TurnOutput:
        """Runs the next turn with these events, a second after the one before."""
        now = self._moment if moment is None else moment
        new = [turn_marker(now), *events] if self.history else [turn_marker(now), self._start, *events]
        output = run_turn(self.instance_id, list(self.history), new, self.registry, self.converter, self.parked)
        if commit:
            self._moment = now + 1
            self.history += new
            self.history += [event for action in output.actions if (event := recorded(action)) is not None]
            self.outputs.append(output)
        return output


def play(function: Callable[..., Any], *events: pb.HistoryEvent, data: str | None = None) -> TurnOutput:
    """Plays a workflow, an event per turn, and returns the output of the last turn."""
    instance = Play(function, data=data)
    output = instance.turn()
    for event in events:
        output = instance.turn(event)
    return output


def replay(
    function: Callable[..., Any], past: Sequence[pb.HistoryEvent], *new: pb.HistoryEvent, data: str | None = None
) -> TurnOutput:
    """Runs one turn over a history written by hand; marker and start of the instance come by themselves."""
    registry = Registry(module_level=False)
    registry.add("workflow", function, "flow")
    whole = [turn_marker(0), started("flow", data), *past]
    return run_turn(INSTANCE, whole, [turn_marker(9), *new], registry, JsonConverter(), ParkedInstances(0))


def failure_of(output: TurnOutput) -> FailureDetails:
    """The failure the turn ended the instance with."""
    assert output.outcome is not None, "the instance goes on"
    assert output.outcome.failure is not None, f"the instance ended as {output.outcome}"
    assert output.outcome.status == pb.WORKFLOW_STATUS_FAILED
    return output.outcome.failure


def result_of(output: TurnOutput) -> str | None:
    """The payload text the turn completed the instance with."""
    assert output.outcome is not None, f"the instance goes on with {summary(output.actions)}"
    assert output.outcome.status == pb.WORKFLOW_STATUS_COMPLETED, f"the instance ended as {output.outcome}"
    return output.outcome.result
