"""What every scenario of the client programs must tell, and what is different with some SDKs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

_CHAIN_HISTORY = [
    "workflowStarted", "executionStarted", "taskScheduled",
    "workflowStarted", "taskCompleted", "taskScheduled",
    "workflowStarted", "taskCompleted", "taskScheduled",
    "workflowStarted", "taskCompleted", "executionCompleted",
]  # fmt: skip

_NAMED = {"id": "children-named", "value": 9}

SCENARIOS: dict[str, Any] = {
    "chain": [["COMPLETED", 4], "chain", "1", True],
    "fan_out": ["COMPLETED", [number * number for number in range(1, 21)]],
    "children": [["COMPLETED", [{"id": "children:0001", "value": 4}, _NAMED]], ["COMPLETED", _NAMED]],
    "failures": ["COMPLETED", ["TaskFailedError", "ActivityNotRegisteredError"]],
    "uncaught": [["FAILED", None], "TaskFailedError", "uncaught: Activity task #1 failed: attempt 1"],
    "unknown_workflow": [["FAILED", None], "OrchestratorNotRegisteredError"],
    "events": ["COMPLETED", ["go", "a", {"b": [1, None]}]],
    "event_or_timer": [["COMPLETED", "yes"], ["COMPLETED", "timed out"]],
    "event_with_timeout": [["COMPLETED", "yes"], ["COMPLETED", "timed out"]],
    "timers": [["COMPLETED", {"early": False}], True],
    "continue_as_new": ["COMPLETED", 5],
    "carry_over": ["COMPLETED", ["a", "b", "c"]],
    "suspend": [["SUSPENDED", None], ["SUSPENDED", None], ["COMPLETED", 7]],
    "terminate": [["TERMINATED", "stopped"], ["TERMINATED", "stopped"]],
    "terminate_alone": [["TERMINATED", "stopped"], ["COMPLETED", "on"]],
    "purge": [[False, False, False], [None, None, None]],
    "purge_alone": [True, None, "COMPLETED"],
    "purge_refused": [True, ["RUNNING", None]],
    "custom_status": ["RUNNING", ["COMPLETED", "now"], "going"],
    "retries": [["COMPLETED", 3], ["FAILED", None]],
    "large": True,
    "payloads": True,
    "falsy_payloads": True,
    "id_in_use": [True, ["COMPLETED", 1], ["COMPLETED", 4]],
    "missing": [None, False],
    "missing_event": True,
    "impatient": "timed out",
    "scheduled_start": ["PENDING", True, ["COMPLETED", 4]],
    "list_ids": [True, True, True],
    "history": [_CHAIN_HISTORY, [1, 2, 3], "NOT_FOUND"],
    "rerun": [["COMPLETED", 102], True, ["COMPLETED", 4], ["COMPLETED", 4]],
    "rerun_refused": ["INVALID_ARGUMENT", "NOT_FOUND", "NOT_FOUND", "ALREADY_EXISTS"],
    "deltas": ["COMPLETED", True],
}

# What a client of the JavaScript SDKs has no call for, and the other way round.
NOT_IN_PYTHON = {"purge_alone"}
NOT_IN_JAVASCRIPT = {
    "event_with_timeout", "falsy_payloads", "terminate", "purge", "list_ids", "history", "rerun", "rerun_refused", "deltas",
}  # fmt: skip
# A JavaScript worker has no timeouts of events, drops inputs that count as false, and takes no deltas.
NOT_FOR_JAVASCRIPT_WORKERS = {"event_with_timeout", "falsy_payloads", "deltas"}
# What @dapr/durabletask-js 0.1.0-alpha.2 cannot do on any engine: the answer of an activity that failed does not say of
# which instance it is, events that come together are lost but for the first, and raising an event is not waited for.
NOT_IN_OLD_JAVASCRIPT = {"failures", "uncaught", "retries", "carry_over", "missing_event"}


def scenarios(*without: Collection[str], **differences: Any) -> dict[str, Any]:
    """What is expected of a run.

    Args:
        without: Names of scenarios that it leaves out.
        differences: What is different.
    """
    left_out = {name for names in without for name in names}
    return {name: value for name, value in {**SCENARIOS, **differences}.items() if name not in left_out}
