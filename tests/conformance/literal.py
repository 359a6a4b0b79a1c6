"""Histories written out event by event, for scenarios that no task hub can be made to produce."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.converter import JsonConverter
from dapr_workflow_sdk.replay.parked import ParkedInstances
from dapr_workflow_sdk.replay.turn import TurnOutput, run_turn
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import text_of

INSTANCE = "literal-1"
_SECONDS = 1_800_000_000


def event(event_id: int = -1, **content: Any) -> pb.HistoryEvent:
    """An event; events that mirror an action carry its id."""
    return pb.HistoryEvent(eventId=event_id, timestamp=Timestamp(seconds=_SECONDS), **content)


def begun(after: int = 0) -> pb.HistoryEvent:
    """The marker of a turn, so many seconds after the first."""
    moment = Timestamp(seconds=_SECONDS + after)
    return pb.HistoryEvent(eventId=-1, timestamp=moment, workflowStarted=pb.WorkflowStartedEvent())


def started(name: str = "subject", text: str | None = None) -> pb.HistoryEvent:
    """The start of the instance."""
    instance = pb.WorkflowInstance(instanceId=INSTANCE, executionId=text_of("execution-1"))
    content = pb.ExecutionStartedEvent(name=name, input=text_of(text), workflowInstance=instance)
    return event(executionStarted=content)


def scheduled(call: int, name: str = "work") -> pb.HistoryEvent:
    """The record of an activity call."""
    return event(call, taskScheduled=pb.TaskScheduledEvent(name=name))


def completed(call: int, text: str | None = None) -> pb.HistoryEvent:
    """The result of an activity."""
    return event(taskCompleted=pb.TaskCompletedEvent(taskScheduledId=call, result=text_of(text)))


def failed(call: int, message: str) -> pb.HistoryEvent:
    """The failure of an activity."""
    details = pb.TaskFailureDetails(errorType="ValueError", errorMessage=message)
    return event(taskFailed=pb.TaskFailedEvent(taskScheduledId=call, failureDetails=details))


def timer_set(call: int, after: int = 10) -> pb.HistoryEvent:
    """The record of a timer."""
    return event(call, timerCreated=pb.TimerCreatedEvent(fireAt=Timestamp(seconds=_SECONDS + after)))


def timer_fired(call: int) -> pb.HistoryEvent:
    """The end of a timer."""
    return event(timerFired=pb.TimerFiredEvent(timerId=call))


def child_set(call: int, name: str = "child") -> pb.HistoryEvent:
    """The record of a child workflow."""
    content = pb.ChildWorkflowInstanceCreatedEvent(instanceId=f"{INSTANCE}:{call:04x}", name=name)
    return event(call, childWorkflowInstanceCreated=content)


def child_done(call: int, text: str | None = None) -> pb.HistoryEvent:
    """The result of a child workflow."""
    content = pb.ChildWorkflowInstanceCompletedEvent(taskScheduledId=call, result=text_of(text))
    return event(childWorkflowInstanceCompleted=content)


def raised(name: str, text: str | None = None) -> pb.HistoryEvent:
    """An event from outside."""
    return event(eventRaised=pb.EventRaisedEvent(name=name, input=text_of(text)))


def suspended() -> pb.HistoryEvent:
    """A request to pause."""
    return event(executionSuspended=pb.ExecutionSuspendedEvent())


def resumed() -> pb.HistoryEvent:
    """A request to go on."""
    return event(executionResumed=pb.ExecutionResumedEvent())


def terminated(text: str | None = None) -> pb.HistoryEvent:
    """A request to end."""
    return event(executionTerminated=pb.ExecutionTerminatedEvent(input=text_of(text)))


def turn(subject: Callable[..., Any], past: Sequence[pb.HistoryEvent], new: Sequence[pb.HistoryEvent]) -> TurnOutput:
    """A turn of the workflow `subject`; its other calls go by the names "work" and "child"."""
    registry = Registry(module_level=False)
    registry.add("workflow", subject, "subject")
    return run_turn(INSTANCE, past, new, registry, JsonConverter(), ParkedInstances(0))


def asked(output: TurnOutput) -> list[tuple[int, str]]:
    """Id and kind of what a turn asks for."""
    return [(action.id, action.WhichOneof("workflowActionType") or "") for action in output.actions]


def ending(output: TurnOutput) -> pb.CompleteWorkflowAction:
    """How a turn ended the run, if that is all it asks for."""
    assert [kind for _, kind in asked(output)] == ["completeWorkflow"], output.actions
    return output.actions[0].completeWorkflow
