"""Tools for tests of workflows and activities.

The environment runs whole workflows in memory and in virtual time, in milliseconds and without threads or ports. Each
name brings its own part when it is first used, so neither pytest nor hypothesis is needed unless it is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dapr_workflow_sdk.testing.activity_environment import ActivityEnvironment as ActivityEnvironment
    from dapr_workflow_sdk.testing.activity_environment import Heartbeat as Heartbeat
    from dapr_workflow_sdk.testing.async_environment import AsyncWorkflowEnvironment as AsyncWorkflowEnvironment
    from dapr_workflow_sdk.testing.determinism import DeterminismError as DeterminismError
    from dapr_workflow_sdk.testing.determinism import assert_deterministic as assert_deterministic
    from dapr_workflow_sdk.testing.determinism import check_determinism as check_determinism
    from dapr_workflow_sdk.testing.determinism_report import DeterminismReport as DeterminismReport
    from dapr_workflow_sdk.testing.determinism_report import Finding as Finding
    from dapr_workflow_sdk.testing.environment import WorkflowEnvironment as WorkflowEnvironment
    from dapr_workflow_sdk.testing.executions import AnsweredCall as AnsweredCall
    from dapr_workflow_sdk.testing.executions import Execution as Execution
    from dapr_workflow_sdk.testing.history_files import HistoryFileError as HistoryFileError
    from dapr_workflow_sdk.testing.history_files import WorkflowHistory as WorkflowHistory
    from dapr_workflow_sdk.testing.history_files import load_histories as load_histories
    from dapr_workflow_sdk.testing.history_files import load_history as load_history
    from dapr_workflow_sdk.testing.linter import lint as lint
    from dapr_workflow_sdk.testing.properties import at_most_in_flight as at_most_in_flight
    from dapr_workflow_sdk.testing.properties import compensations_balance as compensations_balance
    from dapr_workflow_sdk.testing.properties import completes as completes
    from dapr_workflow_sdk.testing.properties import leaves_when_dropped as leaves_when_dropped
    from dapr_workflow_sdk.testing.properties import prefixes_equal as prefixes_equal
    from dapr_workflow_sdk.testing.properties import replays_equal as replays_equal
    from dapr_workflow_sdk.testing.replayer import InputDrift as InputDrift
    from dapr_workflow_sdk.testing.replayer import Mismatch as Mismatch
    from dapr_workflow_sdk.testing.replayer import MismatchCause as MismatchCause
    from dapr_workflow_sdk.testing.replayer import ReplayAction as ReplayAction
    from dapr_workflow_sdk.testing.replayer import Replayer as Replayer
    from dapr_workflow_sdk.testing.replayer import ReplayReport as ReplayReport
    from dapr_workflow_sdk.testing.replayer import ReplayResult as ReplayResult
    from dapr_workflow_sdk.testing.runs import RunCall as RunCall
    from dapr_workflow_sdk.testing.runs import WorkflowRun as WorkflowRun
    from dapr_workflow_sdk.testing.stand_ins import ActivityCall as ActivityCall
    from dapr_workflow_sdk.testing.stand_ins import ActivityStandIn as ActivityStandIn
    from dapr_workflow_sdk.testing.waits import Wait as Wait
    from dapr_workflow_sdk.testing.waits import WorkflowStuckError as WorkflowStuckError

# The module each name lives in.
_HOMES = {
    "ActivityCall": "stand_ins",
    "ActivityEnvironment": "activity_environment",
    "ActivityStandIn": "stand_ins",
    "AnsweredCall": "executions",
    "AsyncWorkflowEnvironment": "async_environment",
    "DeterminismError": "determinism",
    "DeterminismReport": "determinism_report",
    "Execution": "executions",
    "Finding": "determinism_report",
    "Heartbeat": "activity_environment",
    "HistoryFileError": "history_files",
    "InputDrift": "replayer",
    "Mismatch": "replayer",
    "MismatchCause": "replayer",
    "ReplayAction": "replayer",
    "ReplayReport": "replayer",
    "ReplayResult": "replayer",
    "Replayer": "replayer",
    "RunCall": "runs",
    "Wait": "waits",
    "WorkflowEnvironment": "environment",
    "WorkflowHistory": "history_files",
    "WorkflowRun": "runs",
    "WorkflowStuckError": "waits",
    "assert_deterministic": "determinism",
    "at_most_in_flight": "properties",
    "check_determinism": "determinism",
    "compensations_balance": "properties",
    "completes": "properties",
    "leaves_when_dropped": "properties",
    "lint": "linter",
    "load_histories": "history_files",
    "load_history": "history_files",
    "prefixes_equal": "properties",
    "replays_equal": "properties",
}
__all__ = [
    "ActivityCall",
    "ActivityEnvironment",
    "ActivityStandIn",
    "AnsweredCall",
    "AsyncWorkflowEnvironment",
    "DeterminismError",
    "DeterminismReport",
    "Execution",
    "Finding",
    "Heartbeat",
    "HistoryFileError",
    "InputDrift",
    "Mismatch",
    "MismatchCause",
    "ReplayAction",
    "ReplayReport",
    "ReplayResult",
    "Replayer",
    "RunCall",
    "Wait",
    "WorkflowEnvironment",
    "WorkflowHistory",
    "WorkflowRun",
    "WorkflowStuckError",
    "assert_deterministic",
    "at_most_in_flight",
    "check_determinism",
    "compensations_balance",
    "completes",
    "leaves_when_dropped",
    "lint",
    "load_histories",
    "load_history",
    "prefixes_equal",
    "replays_equal",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
