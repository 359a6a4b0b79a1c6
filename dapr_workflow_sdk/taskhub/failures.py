"""Errors of task hub operations: one place for their texts, and for telling them from what a gRPC call answers.

The quoted texts are Dapr's; clients in every language match on them.
"""

from __future__ import annotations

import grpc
import grpc.aio

from dapr_workflow_sdk.errors import (
    InvalidOperationError,
    TaskHubError,
    TaskHubUnavailableError,
    WorkflowAlreadyExistsError,
    WorkflowNotFinishedError,
    WorkflowNotFoundError,
    WorkflowStalledError,
)

NO_SUCH_INSTANCE = "no such instance exists"
NOT_COMPLETED = "orchestration has not yet completed"
_EXISTS = "already exists"


def not_found(instance_id: str) -> WorkflowNotFoundError:
    """No instance has the id."""
    return WorkflowNotFoundError(
        f"There is no workflow instance {instance_id!r}: {NO_SUCH_INSTANCE}. It was never started here, or has been "
        "purged.",
        code=grpc.StatusCode.NOT_FOUND,
        details=NO_SUCH_INSTANCE,
    )


def already_exists(instance_id: str) -> WorkflowAlreadyExistsError:
    """An unfinished instance has the id."""
    details = f"an active workflow with ID '{instance_id}' already exists"
    return WorkflowAlreadyExistsError(
        f"Cannot start workflow instance {instance_id!r}: {details}. Wait for it, terminate it, or choose another id.",
        code=grpc.StatusCode.ALREADY_EXISTS,
        details=f"failed to create workflow instance: {details}",
    )


def not_finished(instance_id: str) -> WorkflowNotFinishedError:
    """The instance still runs."""
    return WorkflowNotFinishedError(
        f"Cannot purge workflow instance {instance_id!r}: {NOT_COMPLETED}. Terminate it first, or wait for it.",
        code=grpc.StatusCode.FAILED_PRECONDITION,
        details=f"failed to purge orchestration state: {NOT_COMPLETED}",
    )


def stalled(instance_id: str, because: str) -> WorkflowStalledError:
    """The instance stands still."""
    details = f"workflow instance '{instance_id}' is stalled: {because}".rstrip(" :")
    return WorkflowStalledError(
        f"{details} It goes on by itself once a worker has the code that is missing.",
        code=grpc.StatusCode.FAILED_PRECONDITION,
        details=details,
    )


def exists_for_ever(instance_id: str) -> WorkflowAlreadyExistsError:
    """An instance has the id, and the request wants one that was never used."""
    return _exists_already(
        instance_id, f"workflow with ID '{instance_id}' already exists and the request enforces instance ID uniqueness"
    )


def child_still_runs(instance_id: str, child_id: str) -> WorkflowAlreadyExistsError:
    """A child of the finished instance that has the id runs still."""
    return _exists_already(
        instance_id, f"cannot recreate workflow with ID '{instance_id}': child workflow '{child_id}': already exists"
    )


def rerun_target_exists(instance_id: str) -> WorkflowAlreadyExistsError:
    """An instance has the id that a rerun is to get."""
    return _exists_already(instance_id, f"workflow '{instance_id}' has already been created")


def _exists_already(instance_id: str, details: str) -> WorkflowAlreadyExistsError:
    return WorkflowAlreadyExistsError(
        f"Cannot start workflow instance {instance_id!r}: {details}. Choose another id.",
        code=grpc.StatusCode.ALREADY_EXISTS,
        details=details,
    )


def nothing_there(details: str) -> WorkflowNotFoundError:
    """What the request names is not there; the text says what."""
    return WorkflowNotFoundError(details, code=grpc.StatusCode.NOT_FOUND, details=details)


def invalid(message: str) -> InvalidOperationError:
    """The request cannot be carried out as it stands."""
    return InvalidOperationError(message, code=grpc.StatusCode.INVALID_ARGUMENT, details=message)


def unavailable(message: str) -> TaskHubUnavailableError:
    """Nothing answers."""
    return TaskHubUnavailableError(message, code=grpc.StatusCode.UNAVAILABLE, details=message)


def of_call(error: grpc.RpcError, operation: str, instance_id: str, where: str) -> TaskHubError:
    """The error of this package for what a gRPC call answered."""
    code = error.code() if isinstance(error, grpc.Call | grpc.aio.AioRpcError) else grpc.StatusCode.UNKNOWN
    details = (error.details() or "") if isinstance(error, grpc.Call | grpc.aio.AioRpcError) else str(error)
    return _typed(code, details, operation, instance_id, where)


def of_code(code: int, details: str, operation: str, instance_id: str, where: str) -> TaskHubError:
    """The same for a status that came as a number inside a message."""
    known = next((status for status in grpc.StatusCode if status.value[0] == code), grpc.StatusCode.UNKNOWN)
    return _typed(known, details, operation, instance_id, where)


def _typed(code: grpc.StatusCode, details: str, operation: str, instance_id: str, where: str) -> TaskHubError:
    # Sidecars of different ages answer the same situation with different codes, often UNKNOWN, so the text decides
    # where the code does not.
    of = f" (workflow instance {instance_id!r})" if instance_id else ""
    message = f"Cannot {operation}{of} at {where}: {details or code.name}"
    if code is grpc.StatusCode.NOT_FOUND or NO_SUCH_INSTANCE in details:
        return WorkflowNotFoundError(message, code=code, details=details)
    if code is grpc.StatusCode.ALREADY_EXISTS or _EXISTS in details:
        return WorkflowAlreadyExistsError(message, code=code, details=details)
    if NOT_COMPLETED in details or "has not yet completed" in details:
        return WorkflowNotFinishedError(message, code=code, details=details)
    if "is stalled" in details:
        return WorkflowStalledError(message, code=code, details=details)
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        return InvalidOperationError(message, code=code, details=details)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        message += ". A sidecar answers this only while a worker of the app is connected: is one running?"
        return TaskHubUnavailableError(message, code=code, details=details)
    if code is grpc.StatusCode.UNAVAILABLE:
        message += ". Is the sidecar running?"
        return TaskHubUnavailableError(message, code=code, details=details)
    return TaskHubError(message, code=code, details=details)
