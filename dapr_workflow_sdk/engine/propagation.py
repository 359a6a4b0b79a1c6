"""Histories handed down: what a workflow shows of its own past to the activities and children that it calls."""

from __future__ import annotations

from collections.abc import Sequence

from dapr_workflow_sdk.engine.state import InstanceRow
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb


def handed_down(
    scope: pb.HistoryPropagationScope, row: InstanceRow, events: Sequence[pb.HistoryEvent]
) -> pb.PropagatedHistory:
    """What a call with this scope is given.

    Args:
        scope: OWN_HISTORY for the caller's history, LINEAGE also for what the caller was given itself.
        row: The caller.
        events: Its history up to the call.
    """
    own = pb.PropagatedHistoryChunk(
        rawEvents=[event.SerializeToString() for event in events],
        appId=row.app_id,
        instanceId=row.instance_id,
        workflowName=row.name,
    )
    handed = pb.PropagatedHistory(scope=scope)
    if scope == pb.HISTORY_PROPAGATION_SCOPE_LINEAGE and row.propagated is not None:
        handed.chunks.extend(row.propagated.chunks)
    handed.chunks.append(own)
    return handed
