"""The current OpenTelemetry context of activities and turns: spans made in them are below those of the task hub."""

from __future__ import annotations

import functools
import importlib.util
from collections import OrderedDict
from collections.abc import Sequence
from contextvars import Token
from typing import TYPE_CHECKING

from dapr_workflow_sdk.taskhub.port import TurnItem
from dapr_workflow_sdk.taskhub.trace_context import context_of
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

if TYPE_CHECKING:
    from opentelemetry.context import Context

# So many traced instances are known by their trace. Their histories are not sent in full every time.
_MOST_KNOWN = 10_000


# What the headers `traceparent` and `tracestate` would be.
_Headers = tuple[str, str]


def enter(given: pb.TraceContext) -> Token[Context] | None:
    """Makes a span the current one; None if that means nothing here, else what `leave` needs."""
    return _enter((given.traceParent, given.traceState.value))


def _enter(headers: _Headers) -> Token[Context] | None:
    found = context_of(*headers)
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
    return TurnTraces() if _is_installed() else None


@functools.cache
def _is_installed() -> bool:
    # Looking for a package that is not there takes longer than a test of a workflow.
    return importlib.util.find_spec("opentelemetry") is not None


class TurnTraces:
    """The spans of the instances that one worker has turns of."""

    def __init__(self) -> None:
        """Knows none yet."""
        self._known: OrderedDict[str, _Headers] = OrderedDict()

    def enter(self, item: TurnItem) -> Token[Context] | None:
        """Makes the span of an instance the current one; None if it has none, else what `leave` needs."""
        if item.cached:
            headers = self._known.get(item.instance_id)
        else:
            # A single event of the past is that of an instance that stalled in its first turn.
            headers = _own_span(item.past if len(item.past) > 1 else item.new)
            if headers is None:
                self._known.pop(item.instance_id, None)
            else:
                self._known[item.instance_id] = headers
                self._known.move_to_end(item.instance_id)
                if len(self._known) > _MOST_KNOWN:
                    self._known.popitem(last=False)
        return None if headers is None else _enter(headers)


def _own_span(events: Sequence[pb.HistoryEvent]) -> _Headers | None:
    """The span of an instance, as the task hub has written it into the start; that of its caller if it has not."""
    for event in events[:2]:
        if event.HasField("executionStarted"):
            started = event.executionStarted
            if not started.HasField("parentTraceContext"):
                return None
            given = started.parentTraceContext
            parent, own = given.traceParent, started.workflowSpanID.value
            parts = parent.split("-")
            if own and len(parts) == 4:
                parent = f"{parts[0]}-{parts[1]}-{own}-{parts[3]}"
            return parent, given.traceState.value
    return None
