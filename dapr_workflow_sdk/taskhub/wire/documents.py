"""History events as JSON documents, also with the older names that other tools write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from google.protobuf.json_format import ParseDict

from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

_OLDER_STATUS = "ORCHESTRATION_STATUS_"
_OLDER_KEYS = {
    "orchestratorStarted": "workflowStarted",
    "orchestratorCompleted": "workflowCompleted",
    "orchestrationInstance": "workflowInstance",
    "orchestrationStatus": "workflowStatus",
    "subOrchestrationInstanceCreated": "childWorkflowInstanceCreated",
    "subOrchestrationInstanceCompleted": "childWorkflowInstanceCompleted",
    "subOrchestrationInstanceFailed": "childWorkflowInstanceFailed",
}


def read_event_document(document: Mapping[str, Any]) -> pb.HistoryEvent:
    """The event of a JSON document; what a newer task hub may have recorded is left out.

    Raises:
        ParseError: It is none.
    """
    return ParseDict(_renamed(document), pb.HistoryEvent(), ignore_unknown_fields=True)


def _renamed(value: Any, key: str = "") -> Any:
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, Any]", value)
        names = {name: _OLDER_KEYS.get(name, name) for name in fields}
        return {names[name]: _renamed(item, names[name]) for name, item in fields.items()}
    if key == "workflowStatus" and isinstance(value, str):
        return value.replace(_OLDER_STATUS, "WORKFLOW_STATUS_", 1)
    return value
