"""Durable workflows as ordinary typed Python functions: in your process, beside it, or on Dapr.

Every public name is here. Importing the package loads neither gRPC nor SQLite nor the engine: each name brings its
own part when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dapr_workflow_sdk.version import __version__ as __version__

if TYPE_CHECKING:
    from dapr_workflow_sdk.authoring.activity_context import WorkflowActivityContext
    from dapr_workflow_sdk.authoring.context import DaprWorkflowContext
    from dapr_workflow_sdk.authoring.context import DaprWorkflowContext as WorkflowContext
    from dapr_workflow_sdk.authoring.definitions import activity, workflow
    from dapr_workflow_sdk.authoring.retry import RetryPolicy
    from dapr_workflow_sdk.authoring.tasks import Task, WhenAllTask, WhenAnyTask, when_all, when_any
    from dapr_workflow_sdk.client.history import (
        UNSET,
        WorkflowHistoryEvent,
        WorkflowHistoryEventType,
        WorkflowInstanceIdPage,
    )
    from dapr_workflow_sdk.client.state import WorkflowState, WorkflowStatus
    from dapr_workflow_sdk.client.workflow_client import WorkflowClient
    from dapr_workflow_sdk.client.workflow_client import WorkflowClient as DaprWorkflowClient
    from dapr_workflow_sdk.converter import Converter, JsonConverter
    from dapr_workflow_sdk.engine.clock import VirtualClock
    from dapr_workflow_sdk.engine.embedded import EmbeddedEngine
    from dapr_workflow_sdk.engine.retention import RetentionPolicy
    from dapr_workflow_sdk.errors import (
        ActivityNotRegisteredError,
        AuthoringError,
        FailureDetails,
        InvalidOperationError,
        NonDeterminismError,
        NonRetryableError,
        NotRegisteredError,
        NotSupportedError,
        PayloadError,
        RegistrationError,
        RuntimeStateError,
        TaskFailedError,
        TaskHubError,
        TaskHubUnavailableError,
        WorkflowAlreadyExistsError,
        WorkflowError,
        WorkflowFailedError,
        WorkflowNotFinishedError,
        WorkflowNotFoundError,
        WorkflowNotRegisteredError,
        WorkflowStalledError,
    )
    from dapr_workflow_sdk.linting.findings import WorkflowLintWarning
    from dapr_workflow_sdk.worker.runtime import WorkflowRuntime

# Where each public name lives: module, and its name there if that differs.
_HOMES: dict[str, tuple[str, str]] = {
    "ActivityNotRegisteredError": ("errors", ""),
    "AuthoringError": ("errors", ""),
    "Converter": ("converter", ""),
    "DaprWorkflowClient": ("client.workflow_client", "WorkflowClient"),
    "DaprWorkflowContext": ("authoring.context", ""),
    "EmbeddedEngine": ("engine.embedded", ""),
    "FailureDetails": ("errors", ""),
    "InvalidOperationError": ("errors", ""),
    "JsonConverter": ("converter", ""),
    "NonDeterminismError": ("errors", ""),
    "NonRetryableError": ("errors", ""),
    "NotRegisteredError": ("errors", ""),
    "NotSupportedError": ("errors", ""),
    "PayloadError": ("errors", ""),
    "RegistrationError": ("errors", ""),
    "RetentionPolicy": ("engine.retention", ""),
    "RetryPolicy": ("authoring.retry", ""),
    "RuntimeStateError": ("errors", ""),
    "Task": ("authoring.tasks", ""),
    "TaskFailedError": ("errors", ""),
    "TaskHubError": ("errors", ""),
    "TaskHubUnavailableError": ("errors", ""),
    "UNSET": ("client.history", ""),
    "VirtualClock": ("engine.clock", ""),
    "WhenAllTask": ("authoring.tasks", ""),
    "WhenAnyTask": ("authoring.tasks", ""),
    "WorkflowActivityContext": ("authoring.activity_context", ""),
    "WorkflowAlreadyExistsError": ("errors", ""),
    "WorkflowClient": ("client.workflow_client", ""),
    "WorkflowContext": ("authoring.context", "DaprWorkflowContext"),
    "WorkflowError": ("errors", ""),
    "WorkflowFailedError": ("errors", ""),
    "WorkflowHistoryEvent": ("client.history", ""),
    "WorkflowHistoryEventType": ("client.history", ""),
    "WorkflowInstanceIdPage": ("client.history", ""),
    "WorkflowLintWarning": ("linting.findings", ""),
    "WorkflowNotFinishedError": ("errors", ""),
    "WorkflowNotFoundError": ("errors", ""),
    "WorkflowNotRegisteredError": ("errors", ""),
    "WorkflowRuntime": ("worker.runtime", ""),
    "WorkflowStalledError": ("errors", ""),
    "WorkflowState": ("client.state", ""),
    "WorkflowStatus": ("client.state", ""),
    "activity": ("authoring.definitions", ""),
    "when_all": ("authoring.tasks", ""),
    "when_any": ("authoring.tasks", ""),
    "workflow": ("authoring.definitions", ""),
}

__all__ = [
    "UNSET",
    "ActivityNotRegisteredError",
    "AuthoringError",
    "Converter",
    "DaprWorkflowClient",
    "DaprWorkflowContext",
    "EmbeddedEngine",
    "FailureDetails",
    "InvalidOperationError",
    "JsonConverter",
    "NonDeterminismError",
    "NonRetryableError",
    "NotRegisteredError",
    "NotSupportedError",
    "PayloadError",
    "RegistrationError",
    "RetentionPolicy",
    "RetryPolicy",
    "RuntimeStateError",
    "Task",
    "TaskFailedError",
    "TaskHubError",
    "TaskHubUnavailableError",
    "VirtualClock",
    "WhenAllTask",
    "WhenAnyTask",
    "WorkflowActivityContext",
    "WorkflowAlreadyExistsError",
    "WorkflowClient",
    "WorkflowContext",
    "WorkflowError",
    "WorkflowFailedError",
    "WorkflowHistoryEvent",
    "WorkflowHistoryEventType",
    "WorkflowInstanceIdPage",
    "WorkflowLintWarning",
    "WorkflowNotFinishedError",
    "WorkflowNotFoundError",
    "WorkflowNotRegisteredError",
    "WorkflowRuntime",
    "WorkflowStalledError",
    "WorkflowState",
    "WorkflowStatus",
    "activity",
    "when_all",
    "when_any",
    "workflow",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, inner = home
    value = getattr(importlib.import_module(f"{__name__}.{module}"), inner or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
