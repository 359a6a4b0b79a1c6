"""Trace contexts on the wire and OpenTelemetry's contexts, which they become and are made of.

Nothing here imports OpenTelemetry before there is something to do with it, and without it there is nothing to do.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import text_of

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanContext


# The first version of the format, without the ids that mean nothing.
_PARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_LONGEST_STATE = 512


def active_context() -> pb.TraceContext | None:
    """The trace context of the span that is current where this is called; None if there is none."""
    # Whoever has begun a span has imported this, so nobody else pays for it.
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry.trace import get_current_span

    context = get_current_span().get_span_context()
    return to_wire(context) if context.is_valid else None


def from_headers(headers: Iterable[tuple[str, str]]) -> pb.TraceContext | None:
    """The trace context in the headers of a request (W3C Trace Context); None if there is none, or it is garbage."""
    found = {name.lower(): value for name, value in headers if name.lower() in ("traceparent", "tracestate")}
    parent, state = found.get("traceparent", "").strip(), found.get("tracestate", "")
    if not _PARENT.fullmatch(parent):
        return None
    kept = state if 0 < len(state) <= _LONGEST_STATE else None
    return pb.TraceContext(traceParent=parent, spanID=parent.split("-")[2], traceState=text_of(kept))


def to_headers(context: pb.TraceContext) -> tuple[tuple[str, str], ...]:
    """The headers that carry a trace context; none if it is garbage."""
    if not _PARENT.fullmatch(context.traceParent):
        return ()
    state = context.traceState.value
    kept = (("tracestate", state),) if state and state.isascii() and state.isprintable() else ()
    return (("traceparent", context.traceParent), *kept)


def to_wire(context: SpanContext) -> pb.TraceContext:
    """The wire form of a span's identity."""
    span = f"{context.span_id:016x}"
    return pb.TraceContext(
        traceParent=f"00-{context.trace_id:032x}-{span}-{context.trace_flags:02x}",
        spanID=span,
        traceState=text_of(context.trace_state.to_header() or None),
    )


def otel_context(given: pb.TraceContext) -> Context | None:
    """An OpenTelemetry context in which the given span is current; None without OpenTelemetry, or if it is garbage."""
    return context_of(given.traceParent, given.traceState.value)


@functools.lru_cache(maxsize=1024)
def context_of(parent: str, state: str) -> Context | None:
    """The same for what the headers say; kept for a while, because all turns of an instance are in the same span."""
    try:
        from opentelemetry.context import Context
        from opentelemetry.trace import get_current_span
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    except ImportError:
        return None
    headers = {"traceparent": parent, "tracestate": state} if state else {"traceparent": parent}
    context = TraceContextTextMapPropagator().extract(headers, Context())
    return context if get_current_span(context).get_span_context().is_valid else None
