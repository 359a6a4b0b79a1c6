"""Trace contexts: which trace an instance belongs to, its own span in it, and the span that each of its calls is.

Ids are derived from what they name, so that a turn that is taken again, after a crash or on another worker, gives the
same ones, and a span can be told of long after others were made below it. `spans` tells of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from dapr_workflow_sdk.engine.state import InstanceRow
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb


def call_span(
    past: Sequence[pb.HistoryEvent], row: InstanceRow, action_id: int, new: Sequence[pb.HistoryEvent] = ()
) -> pb.TraceContext | None:
    """The trace context that an activity of an instance carries: the activity's own span; None if nobody traces it.

    Args:
        past: History of the instance, which begins with the start that carries the trace context it was given.
        row: The instance.
        action_id: Number of the call.
        new: The events of its turn, where the start is if the turn is its first.
    """
    context = given(past, new)
    return None if context is None else _with_span(context, call_span_id(row.execution_id, action_id))


def own_span(
    past: Sequence[pb.HistoryEvent], row: InstanceRow, new: Sequence[pb.HistoryEvent] = ()
) -> pb.TraceContext | None:
    """The trace context that children of an instance are given: the instance's own span; None if nobody traces it."""
    context = given(past, new)
    return None if context is None else _with_span(context, own_span_id(row.execution_id))


def next_trace(
    past: Sequence[pb.HistoryEvent], new: Sequence[pb.HistoryEvent], execution_id: str
) -> pb.TraceContext | None:
    """The trace of the next generation of a traced instance.

    A workflow that goes on for ever would otherwise be one trace without an end. The context names the span of the
    generation itself, which has no parent.
    """
    parts = _parts(given(past, new))
    if parts is None:
        return None
    trace, span = _digest(f"{execution_id}/trace", 16), own_span_id(execution_id)
    return pb.TraceContext(traceParent=f"{parts[0]}-{trace}-{span}-{parts[3]}", spanID=span)


def note_own_span(started: pb.ExecutionStartedEvent) -> None:
    """Writes the id of an instance's own span into its start, where workers find it."""
    if started.HasField("parentTraceContext"):
        started.workflowSpanID.value = own_span_id(started.workflowInstance.executionId.value)


def own_span_id(execution_id: str) -> str:
    """The id of the span that an execution is."""
    return _digest(f"{execution_id}/workflow", 8)


def call_span_id(execution_id: str, action_id: int) -> str:
    """The id of the span that a call is."""
    return _digest(f"{execution_id}/{action_id}", 8)


def given(past: Sequence[pb.HistoryEvent], new: Sequence[pb.HistoryEvent] = ()) -> pb.TraceContext | None:
    """The trace context that an instance was started with."""
    for events in (past, new):
        for event in events:
            kind = event.WhichOneof("eventType")
            if kind == "executionStarted":
                started = event.executionStarted
                return started.parentTraceContext if started.HasField("parentTraceContext") else None
            # The first turn is marked before the start, and may have stalled before that.
            if kind not in ("workflowStarted", "executionStalled"):
                return None
    return None


def _parts(context: pb.TraceContext | None) -> list[str] | None:
    """Version, trace id, span id and flags (W3C Trace Context, section 3.2)."""
    parts = [] if context is None else context.traceParent.split("-")
    return parts if len(parts) >= 4 else None


def _with_span(context: pb.TraceContext, span: str) -> pb.TraceContext | None:
    parts = _parts(context)
    if parts is None:
        return None
    return pb.TraceContext(
        traceParent=f"{parts[0]}-{parts[1]}-{span}-{parts[3]}",
        spanID=span,
        traceState=context.traceState if context.HasField("traceState") else None,
    )


def _digest(text: str, size: int) -> str:
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()
