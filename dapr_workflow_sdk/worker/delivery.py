"""Getting completions to the task hub."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import grpc

from dapr_workflow_sdk.errors import FailureDetails, TaskHubError
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import failure_to_wire

logger = logging.getLogger("dapr_workflow_sdk.worker")

R = TypeVar("R", pb.WorkflowResponse, pb.ActivityResponse)

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 5.0
# The same answer will come again to the same request.
_FINAL = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED)


@dataclass
class Session:
    """One subscription to work items; what it brought must be answered while it lasts."""

    over: bool = False


async def deliver(
    send: Callable[[R], Awaitable[None]],
    response: R,
    session: Session,
    too_large: Callable[[R, str], R],
    sent: Awaitable[None] | None = None,
) -> None:
    """Sends a completion until it is acknowledged, or the session it belongs to is over.

    When the session is over the task hub hands the item out again, so nothing is lost by giving up then.

    Args:
        send: The task hub's operation.
        response: The completion.
        session: Where the item came from.
        too_large: Makes a small failure of a completion that the task hub refuses for its size.
        sent: The first answer to `send`, if it was called already.
    """
    pause = _FIRST_PAUSE
    while sent is not None or not session.over:
        try:
            waiting, sent = sent if sent is not None else send(response), None
            await waiting
        except TaskHubError as error:
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                logger.error("%s: the result is too large to send: %s", response.instanceId, error.details())
                response = too_large(response, error.details())
            elif error.code() in _FINAL or "unknown instance ID" in error.details():
                logger.debug("%s: the task hub no longer waits for this: %s", response.instanceId, error.details())
                return
            else:
                logger.warning("%s: could not answer yet, trying again: %s", response.instanceId, error)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, _LONGEST_PAUSE)
        else:
            return


def oversize_activity(response: pb.ActivityResponse, why: str) -> pb.ActivityResponse:
    """A failure in place of an activity's result that is too large."""
    return pb.ActivityResponse(
        instanceId=response.instanceId,
        taskId=response.taskId,
        completionToken=response.completionToken,
        failureDetails=_oversize(f"The activity's result is too large for the task hub: {why}."),
    )


def oversize_turn(response: pb.WorkflowResponse, why: str) -> pb.WorkflowResponse:
    """A failed end in place of a turn's actions that are too large."""
    complete = pb.CompleteWorkflowAction(
        workflowStatus=pb.WORKFLOW_STATUS_FAILED,
        failureDetails=_oversize(f"What the workflow asked for in one turn is too large for the task hub: {why}."),
    )
    last = response.actions[-1] if response.actions else pb.WorkflowAction(id=1)
    action = pb.WorkflowAction(id=last.id + 1, completeWorkflow=complete)
    return pb.WorkflowResponse(
        instanceId=response.instanceId, completionToken=response.completionToken, actions=[action]
    )


def _oversize(message: str) -> pb.TaskFailureDetails:
    hint = " Keep large data elsewhere and pass a reference to it, or raise the sidecar's --max-body-size."
    return failure_to_wire(FailureDetails(message + hint, "PayloadTooLargeError"))
