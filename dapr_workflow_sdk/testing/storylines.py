"""A history as lines of text that two histories can be compared by: no times, no ids that a task hub makes."""

from __future__ import annotations

from dapr_workflow_sdk.replay.steps import is_optional, recorded_step
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import status_name
from dapr_workflow_sdk.testing.history_files import WorkflowHistory


def storyline(history: WorkflowHistory) -> list[str]:
    """What a history records, one line for each event that says something about the code or its input."""
    return [line for event in history._wire if (line := _line(event)) is not None]


def _line(event: pb.HistoryEvent) -> str | None:
    kind = event.WhichOneof("eventType")
    step = None if is_optional(event) else recorded_step(event)
    if step is not None:
        return f"call {step.number}: {step}{_with(step.input)}"
    if kind == "executionStarted":
        return f"start of {event.executionStarted.name!r}{_with(event.executionStarted.input.value)}"
    if kind == "taskCompleted":
        return f"call {event.taskCompleted.taskScheduledId} gave {event.taskCompleted.result.value or 'nothing'}"
    if kind == "taskFailed":
        return f"call {event.taskFailed.taskScheduledId} failed: {event.taskFailed.failureDetails.errorMessage}"
    if kind == "childWorkflowInstanceCompleted":
        completed = event.childWorkflowInstanceCompleted
        return f"call {completed.taskScheduledId} gave {completed.result.value or 'nothing'}"
    if kind == "childWorkflowInstanceFailed":
        failed = event.childWorkflowInstanceFailed
        return f"call {failed.taskScheduledId} failed: {failed.failureDetails.errorMessage}"
    if kind == "timerFired":
        return f"call {event.timerFired.timerId}: the timer fired"
    if kind == "eventRaised":
        return f"event {event.eventRaised.name!r}{_with(event.eventRaised.input.value)}"
    if kind == "executionCompleted":
        completed_as = event.executionCompleted
        status = status_name(completed_as.workflowStatus)
        return f"end: {status}{_with(completed_as.result.value)}"
    return None


def _with(text: str | None) -> str:
    return f" with {text}" if text else ""
