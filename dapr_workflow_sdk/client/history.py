"""Histories and lists of instances, as the public API shows them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Final

from dapr_workflow_sdk.errors import FailureDetails
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import failure_from_wire, naive_utc


class _Unset:
    def __repr__(self) -> str:
        return "<unset>"


# What an argument is that was not given, where None is a value.
UNSET: Final = _Unset()


@dataclass(frozen=True)
class WorkflowInstanceIdPage:
    """A page of the list of instances.

    Attributes:
        instance_ids: Ids, in the order of the task hub.
        continuation_token: What brings the next page; None on the last one. It means nothing to anybody else.
    """

    instance_ids: list[str]
    continuation_token: str | None


class WorkflowHistoryEventType(Enum):
    """What a history event records. The values are names of the wire; show people the names."""

    UNKNOWN = "unknown"
    EXECUTION_STARTED = "executionStarted"
    EXECUTION_COMPLETED = "executionCompleted"
    EXECUTION_TERMINATED = "executionTerminated"
    EXECUTION_SUSPENDED = "executionSuspended"
    EXECUTION_RESUMED = "executionResumed"
    EXECUTION_STALLED = "executionStalled"
    TASK_SCHEDULED = "taskScheduled"
    TASK_COMPLETED = "taskCompleted"
    TASK_FAILED = "taskFailed"
    CHILD_WORKFLOW_INSTANCE_CREATED = "childWorkflowInstanceCreated"
    CHILD_WORKFLOW_INSTANCE_COMPLETED = "childWorkflowInstanceCompleted"
    CHILD_WORKFLOW_INSTANCE_FAILED = "childWorkflowInstanceFailed"
    DETACHED_WORKFLOW_INSTANCE_CREATED = "detachedWorkflowInstanceCreated"
    TIMER_CREATED = "timerCreated"
    TIMER_FIRED = "timerFired"
    EVENT_SENT = "eventSent"
    EVENT_RAISED = "eventRaised"
    CONTINUE_AS_NEW = "continueAsNew"
    WORKFLOW_STARTED = "workflowStarted"
    WORKFLOW_COMPLETED = "workflowCompleted"

    @classmethod
    def _missing_(cls, value: object) -> WorkflowHistoryEventType:
        # A newer task hub may record more than this version knows.
        del value
        return cls.UNKNOWN


_RERUNNABLE = frozenset(
    {
        WorkflowHistoryEventType.TASK_SCHEDULED,
        WorkflowHistoryEventType.TIMER_CREATED,
        WorkflowHistoryEventType.CHILD_WORKFLOW_INSTANCE_CREATED,
    }
)


@dataclass(frozen=True)
class WorkflowHistoryEvent:
    """One event of an instance's history. What does not apply to its type is None.

    Attributes:
        event_id: Number of the call that it records, -1 if it records none.
        timestamp: When it was recorded, naive UTC.
        event_type: What it records.
        name: Name of the workflow, activity, child workflow or event.
        task_scheduled_id: Number of the call of an activity or a child workflow whose result it is.
        timer_id: Number of the call of a timer that has fired.
        failure_details: What went wrong.
        input: Payload text that something was called, started or raised with.
        output: Payload text of a result.
        fire_at: When a timer fires, naive UTC.
        child_instance_id: Id of the child or detached workflow that it starts.
    """

    event_id: int
    timestamp: datetime
    event_type: WorkflowHistoryEventType
    name: str | None = None
    task_scheduled_id: int | None = None
    failure_details: FailureDetails | None = None
    timer_id: int | None = None
    input: str | None = None
    output: str | None = None
    fire_at: datetime | None = None
    child_instance_id: str | None = None
    # The event with all it has, for replays.
    _wire: pb.HistoryEvent | None = field(default=None, repr=False, compare=False)

    @property
    def is_rerunnable(self) -> bool:
        """Whether `rerun_workflow_from_event` can begin at it."""
        return self.event_type in _RERUNNABLE


def read_event(wire: pb.HistoryEvent) -> WorkflowHistoryEvent:
    """The public form of a history event from the wire."""
    kind = wire.WhichOneof("eventType")
    content: Any = pb.HistoryEvent() if kind is None else getattr(wire, kind)
    fields: frozenset[str] = frozenset(content.DESCRIPTOR.fields_by_name)

    def text(*names: str) -> str | None:
        return next((getattr(content, name).value for name in names if name in fields and content.HasField(name)), None)

    failed = "failureDetails" in fields and content.HasField("failureDetails")
    timer = "fireAt" in fields and content.HasField("fireAt")
    starts = kind in ("childWorkflowInstanceCreated", "detachedWorkflowInstanceCreated")
    return WorkflowHistoryEvent(
        event_id=wire.eventId,
        timestamp=naive_utc(wire.timestamp.seconds, wire.timestamp.nanos),
        event_type=WorkflowHistoryEventType(kind),
        name=(content.name or None) if "name" in fields else None,
        task_scheduled_id=content.taskScheduledId if "taskScheduledId" in fields else None,
        timer_id=content.timerId if kind == "timerFired" else None,
        failure_details=failure_from_wire(content.failureDetails) if failed else None,
        input=text("input"),
        output=text("result"),
        fire_at=naive_utc(content.fireAt.seconds, content.fireAt.nanos) if timer else None,
        child_instance_id=content.instanceId if starts else None,
        _wire=wire,
    )
