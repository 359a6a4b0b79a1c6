"""Every error this package raises, as one tree.

::

    WorkflowError                        the root: catch it to catch everything below
    |-- RegistrationError                a definition cannot be registered (also a ValueError)
    |-- NotRegisteredError               a name that no registered function has
    |   |-- WorkflowNotRegisteredError
    |   `-- ActivityNotRegisteredError
    |-- AuthoringError                   workflow code did what a workflow cannot do
    |-- NonDeterminismError              workflow code no longer matches its recorded history
    |-- NotSupportedError                the task hub is too old for this (also a NotImplementedError)
    |-- PayloadError                     a value does not fit its payload text (also a ValueError)
    |-- TaskFailedError                  an activity or child workflow failed; raised where the workflow waits for it
    |-- NonRetryableError                raise it in an activity: the failure is final, no retry policy applies
    |-- RuntimeStateError                a worker was used out of order (also a RuntimeError)
    |-- WorkflowFailedError              a finished instance failed; raised by ``WorkflowState.raise_if_failed``
    `-- TaskHubError                     an operation of the task hub failed; is also a ``grpc.RpcError``
        |-- WorkflowNotFoundError        no instance has this id
        |-- WorkflowAlreadyExistsError   an unfinished instance has this id
        |-- WorkflowNotFinishedError     the operation needs a finished instance
        |-- WorkflowStalledError         the instance stands still for want of code or of room
        |-- InvalidOperationError        the request was refused as it stands
        `-- TaskHubUnavailableError      nothing answered at the address, or not in time

The ``TaskHubError`` branch needs grpc, which is only imported when one of its names is used.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dapr_workflow_sdk.errors._calls import InvalidOperationError as InvalidOperationError
    from dapr_workflow_sdk.errors._calls import TaskHubError as TaskHubError
    from dapr_workflow_sdk.errors._calls import TaskHubUnavailableError as TaskHubUnavailableError
    from dapr_workflow_sdk.errors._calls import WorkflowAlreadyExistsError as WorkflowAlreadyExistsError
    from dapr_workflow_sdk.errors._calls import WorkflowNotFinishedError as WorkflowNotFinishedError
    from dapr_workflow_sdk.errors._calls import WorkflowNotFoundError as WorkflowNotFoundError
    from dapr_workflow_sdk.errors._calls import WorkflowStalledError as WorkflowStalledError

_CALL_ERRORS = frozenset(
    {
        "InvalidOperationError",
        "TaskHubError",
        "TaskHubUnavailableError",
        "WorkflowAlreadyExistsError",
        "WorkflowNotFinishedError",
        "WorkflowNotFoundError",
        "WorkflowStalledError",
    }
)


def __getattr__(name: str) -> Any:
    if name in _CALL_ERRORS:
        from dapr_workflow_sdk.errors import _calls

        return getattr(_calls, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@dataclass(frozen=True)
class FailureDetails:
    """What a task hub keeps of a failure.

    Attributes:
        message: The failed code's own message.
        error_type: Class name of the exception, without its module.
        stack_trace: Formatted traceback of the failed code, or None when the other side sent none.
        cause: Details of the failure that led to this one, or None.
        is_final: Whether the failed code said that trying again is useless, by a `NonRetryableError`.
    """

    message: str
    error_type: str
    stack_trace: str | None = None
    cause: FailureDetails | None = None
    is_final: bool = False

    def __str__(self) -> str:
        shown = f"{self.error_type}: {self.message}"
        return shown if self.cause is None else f"{shown} (caused by {self.cause.error_type})"


class WorkflowError(Exception):
    """Root of every error of this package."""


class RegistrationError(WorkflowError, ValueError):
    """A workflow or activity cannot be registered as it stands."""


class NotRegisteredError(WorkflowError):
    """A work item names a function that this worker does not have."""


class WorkflowNotRegisteredError(NotRegisteredError):
    """A work item names a workflow that this worker does not have."""


class ActivityNotRegisteredError(NotRegisteredError):
    """A work item names an activity that this worker does not have."""


class AuthoringError(WorkflowError):
    """Workflow code did something that a workflow cannot do, such as yielding what is not a task."""


class NotSupportedError(WorkflowError, NotImplementedError):
    """The task hub cannot do this; the message says which version can."""


class NonDeterminismError(WorkflowError):
    """Workflow code asks for something else than the history of the instance records."""


class PayloadError(WorkflowError, ValueError):
    """A value has no payload text, or a payload text does not fit the annotated type."""


class NonRetryableError(WorkflowError):
    """Raise it in an activity or child workflow to fail at once, whatever the retry policy says."""


class RuntimeStateError(WorkflowError, RuntimeError):
    """A worker or client was used in a state that does not allow it."""


class TaskFailedError(WorkflowError):
    """An activity or a child workflow failed; raised in the workflow that waits for it."""

    def __init__(self, message: str, details: FailureDetails) -> None:
        """Keeps the message and the details that the task hub delivered."""
        super().__init__(message)
        self._details = details

    @property
    def details(self) -> FailureDetails:
        """The failure as the activity or child workflow reported it."""
        return self._details


class WorkflowFailedError(WorkflowError):
    """A finished instance did not complete."""

    def __init__(self, message: str, details: FailureDetails) -> None:
        """Keeps the message and the details that the instance ended with."""
        super().__init__(message)
        self.details = details


def describe_failure(error: BaseException) -> FailureDetails:
    """Turns an exception into the details that travel to the task hub.

    The cause of a ``TaskFailedError`` is kept, so that a workflow that fails because an activity failed still
    names the activity's own error.
    """
    try:
        message = str(error)
    except Exception as unspeakable:  # noqa: BLE001 - a class of the application may raise anything here
        message = f"(its message cannot be shown: {type(unspeakable).__name__})"
    stack = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    cause = error.details if isinstance(error, TaskFailedError) else None
    # A payload that cannot be read or written stays so however often it is tried.
    final = isinstance(error, NonRetryableError | PayloadError)
    return FailureDetails(_sendable(message), type(error).__name__, _sendable(stack), cause, final)


def _sendable(text: str) -> str:
    """The text in a form that UTF-8 has: names of odd files come with lone surrogates, which it lacks."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
