"""How a run ended."""

from __future__ import annotations

from dataclasses import dataclass

from dapr_workflow_sdk.errors import FailureDetails
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb


@dataclass(frozen=True)
class Outcome:
    """The end of a run.

    Attributes:
        status: COMPLETED, FAILED, TERMINATED or CONTINUED_AS_NEW.
        result: Payload text of the result, or of the next input when the run continues as new.
        failure: Details if it failed.
        save_events: Whether events that nobody waited for go to the next run.
    """

    status: pb.WorkflowStatus
    result: str | None = None
    failure: FailureDetails | None = None
    save_events: bool = False


def ending_of(outcome: Outcome | None) -> str | None:
    """How a run ended, as in "the code now ends"; None if it goes on."""
    if outcome is None:
        return None
    return "ends" if outcome.failure is None else f"fails with {outcome.failure}"
