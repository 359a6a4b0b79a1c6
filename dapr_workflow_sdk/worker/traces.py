"""The current OpenTelemetry context of activities and turns: spans made in them are below those of the task hub."""

from __future__ import annotations

import importlib.util
from collections import OrderedDict
from collections.abc import Sequence
from contextvars import Token
from typing import TYPE_CHECKING

from dapr_workflow_sdk.taskhub.port import TurnItem
from dapr_workflow_sdk.taskhub.trace_context import otel_context
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

if TYPE_CHECKING:
    from opentelemetry.context import Context

# So many traced instances are known by their trace. Their histories are not sent in full every time.
_MOST_KNOWN = 10_000


def enter(context: pb.TraceContext) -> Token[Context] | None:
    """Makes a span the current one; None if that means nothing here, else what `leave` needs."""
    found = otel_context(context)
    if found is None:
        return None
    from opentelemetry.context import attach

    return attach(found)


def leave(token: Token[Context]) -> None:
    """Makes current what was before."""
    from opentelemetry.context import detach

    detach(token)


def turn_traces() -> TurnTraces | None:
    """What makes spans of instances the current ones for their turns; None without OpenTelemetry."""
    return None if importlib.util.find_spec("opentelemetry") is None else TurnTraces()


class TurnTraces:
    """The spans of the instances that one worker has turns of."""

    def __init__(self) -> None:
        """Knows none yet."""
        self._known: OrderedDict[str, pb.TraceContext] = OrderedDict()

    def enter(self, item: TurnItem) -> Token[Context] | None:
        """Makes the span of an instance the current one; None if it has none, else what `leave` needs."""
        if item.cached:
            context = self._known.get(item.instance_id)
        else:
            # A single event of the past is that of an instance that stalled in its first turn.
            context = _own_span(item.past if len(item.past) > 1 else item.new)
            if context is None:
                self._known.pop(item.instance_id, None)
            else:
                self._known[item.instance_id] = context
                self._known.move_to_end(item.instance_id)
                if len(self._known) > _MOST_KNOWN:
                    self._known.popitem(last=False)
        return None if context is None else enter(context)


def _own_span(events: Sequence[pb.HistoryEvent]) -> pb.TraceContext | None:
    """The span of an instance, as the task hub has written it into the start; that of its caller if it has not."""
    for event in events[:2]:
        if event.HasField("executionStarted"):
            started = event.executionStarted
            if not started.HasField("parentTraceContext"):
                return None
            context = pb.TraceContext()
            context.CopyFrom(started.parentTraceContext)
            parts = context.traceParent.split("-")
            if started.workflowSpanID.value and len(parts) == 4:
                parts[2] = started.workflowSpanID.value
                context.traceParent = "-".join(parts)
            return context
    return None
