"""What an activity is told about the call it serves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WorkflowActivityContext:
    """The call that an activity serves; the first argument of every activity.

    A test makes one by hand: ``charge(WorkflowActivityContext("order-7", 1), order)``.

    Attributes:
        workflow_id: Id of the workflow instance that made the call.
        task_id: Number of the call within its instance; a retry has a number of its own.
        task_execution_id: Id of the call that stays the same over its retries: use it as an idempotency key.
        attempt: 1 for the first run of the call, 2 for its first retry and so on; None where the task hub does not
            tell (a Dapr sidecar does not).
        name: Name of the activity.
    """

    workflow_id: str = ""
    task_id: int = 0
    task_execution_id: str = ""
    attempt: int | None = None
    name: str = ""

    def get_inner_context(self) -> WorkflowActivityContext:
        """The context itself, which has every attribute that the official SDK keeps in an inner one."""
        return self
