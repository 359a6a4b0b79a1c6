"""The state of an instance, as the public API shows it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from dapr_workflow_sdk.errors import FailureDetails, WorkflowFailedError
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import failure_from_wire, naive_utc


class WorkflowStatus(Enum):
    """Where an instance stands. The numbers are those of the official SDK, not those of the wire."""

    UNKNOWN = 0
    RUNNING = 1
    COMPLETED = 2
    FAILED = 3
    TERMINATED = 4
    PENDING = 5
    SUSPENDED = 6
    STALLED = 7

    @property
    def is_final(self) -> bool:
        """Whether the instance has ended."""
        return self in (WorkflowStatus.COMPLETED, WorkflowStatus.FAILED, WorkflowStatus.TERMINATED)


_STATUS = {
    pb.WORKFLOW_STATUS_RUNNING: WorkflowStatus.RUNNING,
    pb.WORKFLOW_STATUS_CONTINUED_AS_NEW: WorkflowStatus.RUNNING,
    pb.WORKFLOW_STATUS_COMPLETED: WorkflowStatus.COMPLETED,
    pb.WORKFLOW_STATUS_FAILED: WorkflowStatus.FAILED,
    pb.WORKFLOW_STATUS_CANCELED: WorkflowStatus.TERMINATED,
    pb.WORKFLOW_STATUS_TERMINATED: WorkflowStatus.TERMINATED,
    pb.WORKFLOW_STATUS_PENDING: WorkflowStatus.PENDING,
    pb.WORKFLOW_STATUS_SUSPENDED: WorkflowStatus.SUSPENDED,
    pb.WORKFLOW_STATUS_STALLED: WorkflowStatus.STALLED,
}


@dataclass(frozen=True)
class WorkflowState:
    """What a task hub tells about an instance at one moment. Times are naive UTC.

    Attributes:
        instance_id: Id of the instance.
        name: Name of the workflow; a Dapr sidecar leaves it empty until the first turn.
        runtime_status: Where it stands.
        created_at: When it was created.
        last_updated_at: When anything last happened to it.
        serialized_input: Payload text of the input, or None.
        serialized_output: Payload text of the result, or None.
        serialized_custom_status: The custom status, or None.
        failure_details: Why it failed, or None.
        execution_id: Id of the current execution; a new one for each continue-as-new. None where it is not told.
        parent_instance_id: Id of the workflow that started it as a child, or None.
        completed_at: When it ended, or None.
    """

    instance_id: str
    name: str
    runtime_status: WorkflowStatus
    created_at: datetime
    last_updated_at: datetime
    serialized_input: str | None = None
    serialized_output: str | None = None
    serialized_custom_status: str | None = None
    failure_details: FailureDetails | None = None
    execution_id: str | None = None
    parent_instance_id: str | None = None
    completed_at: datetime | None = None

    def raise_if_failed(self) -> None:
        """Raises `WorkflowFailedError` if the instance failed.

        Raises:
            WorkflowFailedError: It did; the error has the details.
        """
        if self.runtime_status is WorkflowStatus.FAILED:
            details = self.failure_details or FailureDetails("The task hub kept no details.", "Unknown")
            raise WorkflowFailedError(f"Workflow instance {self.instance_id!r} failed: {details}", details)

    def to_json(self) -> dict[str, Any]:
        """The state as a dictionary of plain values."""
        shown: dict[str, Any] = {
            "id": self.instance_id,
            "name": self.name,
            "status": self.runtime_status.name,
            "created_at": self.created_at.isoformat(),
            "last_updated_at": self.last_updated_at.isoformat(),
            "input": self.serialized_input,
            "output": self.serialized_output,
            "custom_status": self.serialized_custom_status,
        }
        if self.failure_details is not None:
            shown["failure"] = {
                "type": self.failure_details.error_type,
                "message": self.failure_details.message,
                "stack_trace": self.failure_details.stack_trace,
            }
        return shown

    def __str__(self) -> str:
        return json.dumps(self.to_json(), indent=2)


def read_state(wire: pb.WorkflowState) -> WorkflowState:
    """The public form of a state from the wire."""
    return WorkflowState(
        instance_id=wire.instanceId,
        name=wire.name,
        runtime_status=_STATUS.get(wire.workflowStatus, WorkflowStatus.UNKNOWN),
        created_at=naive_utc(wire.createdTimestamp.seconds, wire.createdTimestamp.nanos),
        last_updated_at=naive_utc(wire.lastUpdatedTimestamp.seconds, wire.lastUpdatedTimestamp.nanos),
        serialized_input=wire.input.value if wire.HasField("input") else None,
        serialized_output=wire.output.value if wire.HasField("output") else None,
        serialized_custom_status=wire.customStatus.value if wire.HasField("customStatus") else None,
        failure_details=failure_from_wire(wire.failureDetails) if wire.HasField("failureDetails") else None,
        execution_id=wire.executionId.value or None,
        parent_instance_id=wire.parentInstanceId.value or None,
        completed_at=naive_utc(wire.completedTimestamp.seconds, wire.completedTimestamp.nanos)
        if wire.HasField("completedTimestamp")
        else None,
    )
