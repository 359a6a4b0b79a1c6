"""Errors of task hub operations; apart from the others because they need grpc."""

from __future__ import annotations

import grpc

from dapr_workflow_sdk.errors import WorkflowError


class TaskHubError(WorkflowError, grpc.RpcError):
    """An operation of the task hub failed.

    It is also a ``grpc.RpcError``, so code written for a gRPC client keeps working: ``code()`` and
    ``details()`` answer what the task hub sent.
    """

    def __init__(self, message: str, *, code: grpc.StatusCode, details: str) -> None:
        """Keeps a message for people beside the code and the text that came from the task hub."""
        super().__init__(message)
        self._code = code
        self._details = details

    def code(self) -> grpc.StatusCode:
        """The gRPC status of the answer."""
        return self._code

    def details(self) -> str:
        """The text of the answer, as the task hub sent it."""
        return self._details


class WorkflowNotFoundError(TaskHubError):
    """No instance has this id."""


class WorkflowAlreadyExistsError(TaskHubError):
    """An unfinished instance has this id already."""


class WorkflowNotFinishedError(TaskHubError):
    """The operation needs a finished instance, and this one still runs."""


class WorkflowStalledError(TaskHubError):
    """The instance stands still until a worker has the code, or the limits allow the payload, that it waits for."""


class InvalidOperationError(TaskHubError):
    """The task hub refused the request as it stands."""


class TaskHubUnavailableError(TaskHubError):
    """Nothing answered at the address of the task hub, or not in time."""
