"""Trace contexts: which trace an instance belongs to, and the span that each of its calls is.

Ids are derived from what they name, so that a turn that is taken again, after a crash or on another worker, gives the
same ones, and nothing has to be stored for them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from dapr_workflow_sdk.engine.state import InstanceRow
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb


def call_span(past: Sequence[pb.HistoryEvent], row: InstanceRow, action_id: int) -> pb.TraceContext | None:
    """The trace context that a call of an instance carries; None if nobody traces the instance.

    Args:
        past: History of the instance, which begins with the start that carries the trace context it was given.
        row: The instance.
        action_id: Number of the call.
    """
    given = _given(past)
    if given is None:
        return None
    # version "-" trace id "-" span id "-" flags (W3C Trace Context, section 3.2)
    parts = given.traceParent.split("-")
    if len(parts) < 4:
        return None
    span = hashlib.blake2b(f"{row.execution_id}/{action_id}".encode(), digest_size=8).hexdigest()
    return pb.TraceContext(
        traceParent=f"{parts[0]}-{parts[1]}-{span}-{parts[3]}",
        spanID=span,
        traceState=given.traceState if given.HasField("traceState") else None,
    )


def _given(past: Sequence[pb.HistoryEvent]) -> pb.TraceContext | None:
    # The first event marks the first turn, the second is the start.
    for event in past[:2]:
        if event.WhichOneof("eventType") == "executionStarted":
            started = event.executionStarted
            return started.parentTraceContext if started.HasField("parentTraceContext") else None
    return None
