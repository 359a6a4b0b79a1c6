"""Trace contexts on the wire and OpenTelemetry's contexts, which they become and are made of.

Nothing here imports OpenTelemetry before there is something to do with it, and without it there is nothing to do.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING

from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import text_of

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanContext
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator


def active_context() -> pb.TraceContext | None:
    """The trace context of the span that is current where this is called; None if there is none."""
    # Whoever has begun a span has imported this, so nobody else pays for it.
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry.trace import get_current_span

    context = get_current_span().get_span_context()
    return to_wire(context) if context.is_valid else None


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
    propagator = _propagator()
    if propagator is None:
        return None
    from opentelemetry.context import Context
    from opentelemetry.trace import get_current_span

    carrier = {"traceparent": given.traceParent}
    if given.HasField("traceState"):
        carrier["tracestate"] = given.traceState.value
    context = propagator.extract(carrier, Context())
    return context if get_current_span(context).get_span_context().is_valid else None


@functools.cache
def _propagator() -> TraceContextTextMapPropagator | None:
    try:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    except ImportError:
        return None
    return TraceContextTextMapPropagator()
