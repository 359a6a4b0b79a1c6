"""Spans: what the engine tells OpenTelemetry of workflows, activities and timers.

Names, kinds, parents and attributes are those of Dapr's engine. A span is told of when it is over and that is durable,
with the id that `tracing` derives for it, because by then others have been made below it, in other processes too. The
SDK gives a span its id when it starts, from the id generator of its tracer, so the tracer here has a generator of its
own, which answers with what is to be told next. Nothing is kept between the begin and the end of a span: a crash loses
none of those that had not ended.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timezone

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Tracer
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler, SamplingResult
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TracerProvider,
)
from opentelemetry.trace.span import TraceState
from opentelemetry.util.types import Attributes

from dapr_workflow_sdk.engine.activity_run import ActivityRun
from dapr_workflow_sdk.engine.clock import Clock
from dapr_workflow_sdk.engine.state import Change, InstanceRow
from dapr_workflow_sdk.engine.tracing import call_span_id, given, own_span_id
from dapr_workflow_sdk.taskhub.trace_context import otel_context, to_wire
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import nanoseconds, status_name
from dapr_workflow_sdk.version import __version__

logger = logging.getLogger("dapr_workflow_sdk.engine")

# What Dapr's engine calls its tracer, so that what people have set up for it goes on working.
_TRACER = "durabletask"

_Happening = tuple[str, int, dict[str, str | int]]


def spans_of(provider: TracerProvider | None, clock: Clock) -> EngineSpans | None:
    """What tells a provider of spans, the one of this process by default; None if it does not want to be told."""
    tracer = (provider or trace.get_tracer_provider()).get_tracer(_TRACER, __version__)
    if isinstance(tracer, Tracer):
        return EngineSpans(tracer, clock)
    if not isinstance(tracer, trace.NoOpTracer | trace.ProxyTracer):
        _warn_of(type(tracer))
    return None


@functools.cache
def _warn_of(kind: type[trace.Tracer]) -> None:
    """Once, and not at each start of a workflow."""
    logger.warning(
        "The engine tells of no spans: it chooses their ids, which only a provider of OpenTelemetry's SDK lets it do, "
        "and the one here makes a %s.%s. Give the engine another with tracer_provider=.",
        kind.__module__,
        kind.__qualname__,
    )


class _Ids(IdGenerator):
    """Gives the ids that were set."""

    trace = 0
    span = 0

    def generate_span_id(self) -> int:
        return self.span

    def generate_trace_id(self) -> int:
        return self.trace


class _Continued(Sampler):
    """Asks the application's sampler, except for the first span of a trace that goes on from one that is sampled."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        has_parent = trace.get_current_span(parent_context).get_span_context().is_valid
        sampler = self._sampler if has_parent else ALWAYS_ON
        return sampler.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        return self._sampler.get_description()


class EngineSpans:
    """Tells of the spans of one engine, on the engine's loop."""

    def __init__(self, tracer: Tracer, clock: Clock) -> None:
        """Tells the provider that `tracer` is of; times come from `clock`."""
        self._fresh = tracer
        self._clock = clock
        self._ids = _Ids()
        # Providers hand out one tracer for all who ask for the same name, so the changed one is a copy.
        self._derived = copy.copy(tracer)
        self._derived.id_generator = self._ids
        self._derived.sampler = _Continued(tracer.sampler)

    async def creation(
        self, request: pb.CreateInstanceRequest, create: Callable[[pb.CreateInstanceRequest], Awaitable[str]]
    ) -> str:
        """Creates an instance inside a span, in whose trace the instance is then."""
        context = otel_context(request.parentTraceContext) if request.HasField("parentTraceContext") else None
        version = request.version.value
        span = self._fresh.start_span(
            _name("create_orchestration", request.name, version),
            context=context if context is not None else Context(),
            kind=SpanKind.CLIENT,
            attributes=_attributes("orchestration", request.instanceId, request.name, version),
            start_time=self._clock.now(),
        )
        traced = pb.CreateInstanceRequest()
        traced.CopyFrom(request)
        traced.parentTraceContext.CopyFrom(to_wire(span.get_span_context()))
        try:
            instance_id = await create(traced)
            span.set_attribute("durabletask.task.instance_id", instance_id)
            return instance_id
        except BaseException as error:
            span.set_status(Status(StatusCode.ERROR, str(error)))
            raise
        finally:
            span.end(self._clock.now())

    def activity_over(self, run: ActivityRun, event: pb.HistoryEvent, durable: asyncio.Future[None]) -> None:
        """Tells of an activity as soon as its result is durable.

        Args:
            run: The activity.
            event: Its result.
            durable: Done when that is durable; has an error if that is in vain.
        """
        if not run.request.HasField("parentTraceContext") or not _is_sampled(run.request.parentTraceContext):
            return

        def told(outcome: asyncio.Future[None]) -> None:
            if outcome.cancelled() or outcome.exception() is None:
                self._guarded(self._tell_activity, run, event)

        if durable.done():
            told(durable)
        else:
            durable.add_done_callback(told)

    def turn_over(
        self, row: InstanceRow, past: Sequence[pb.HistoryEvent], new: Sequence[pb.HistoryEvent], change: Change
    ) -> None:
        """Tells of the timers that fired for a durable turn, and of the instance if its execution ended with it.

        Args:
            row: The instance before the turn.
            past: Its history, with or without the turn.
            new: The new events of the turn.
            change: What the turn changed.
        """
        ended = change.renewed or (change.row is not None and change.row.ended is not None)
        if ended or any(event.HasField("timerFired") for event in new):
            self._guarded(self._tell_turn, row, past, new, change)

    @staticmethod
    def _guarded(tell: Callable[..., None], *arguments: object) -> None:
        try:
            tell(*arguments)
        except Exception:
            # A span processor of the application is no reason to stop its workflows.
            logger.exception("A span could not be told of")

    def _tell_activity(self, run: ActivityRun, event: pb.HistoryEvent) -> None:
        request = run.request
        span = _span_context(request.parentTraceContext)
        if span is None:
            return
        end = nanoseconds(event.timestamp)
        own = _sibling(span, own_span_id(request.workflowInstance.executionId.value))
        attributes = _attributes(
            "activity", request.workflowInstance.instanceId, request.name, request.version.value, request.taskId
        )
        failure = event.taskFailed.failureDetails if event.WhichOneof("eventType") == "taskFailed" else None
        self._tell(
            span,
            own,
            _name("activity", request.name, request.version.value),
            SpanKind.SERVER,
            attributes,
            (run.sent or end, end),
            failure=failure,
        )

    def _tell_turn(
        self, row: InstanceRow, past: Sequence[pb.HistoryEvent], new: Sequence[pb.HistoryEvent], change: Change
    ) -> None:
        context = given(past, new)
        parent = _span_context(context) if context is not None and _is_sampled(context) else None
        if parent is None:
            return
        own = _sibling(parent, own_span_id(row.execution_id))
        for event in new:
            if event.WhichOneof("eventType") == "timerFired":
                self._tell_timer(row, past, event, own)
        after = change.row
        if change.renewed or (after is not None and after.ended is not None):
            history = [*past, *new] if change.renewed else past
            self._tell_execution(row, history, change, None if parent.span_id == own.span_id else parent, own)

    def _tell_timer(
        self, row: InstanceRow, past: Sequence[pb.HistoryEvent], event: pb.HistoryEvent, own: SpanContext
    ) -> None:
        timer, fire_at = event.timerFired.timerId, event.timerFired.fireAt
        created = next(
            (
                call
                for call in reversed(past)
                if call.eventId == timer and call.WhichOneof("eventType") == "timerCreated"
            ),
            event,
        )
        attributes: dict[str, str | int] = {
            "durabletask.type": "timer",
            "durabletask.fire_at": datetime.fromtimestamp(fire_at.seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "durabletask.task.task_id": timer,
            "durabletask.task.instance_id": row.instance_id,
        }
        span = _sibling(own, call_span_id(row.execution_id, timer))
        times = nanoseconds(created.timestamp), nanoseconds(event.timestamp)
        self._tell(span, own, "timer", SpanKind.INTERNAL, attributes, times)

    def _tell_execution(
        self,
        row: InstanceRow,
        history: Sequence[pb.HistoryEvent],
        change: Change,
        parent: SpanContext | None,
        own: SpanContext,
    ) -> None:
        after = change.row
        assert after is not None
        status, links, failure = "CONTINUED_AS_NEW", list[Link](), None
        if change.renewed:
            following = _span_context(change.inbox_added[0][1].executionStarted.parentTraceContext)
            if following is not None:
                links.append(Link(following))
        else:
            status = status_name(after.status)
            failure = after.failure
        started = next(event for event in history if event.WhichOneof("eventType") == "executionStarted")
        version = started.executionStarted.version.value
        attributes = _attributes("orchestration", row.instance_id, row.name, version)
        attributes["durabletask.runtime_status"] = status
        # The history of an instance that is run again begins before the instance does.
        begun = max(nanoseconds(history[0].timestamp), row.created)
        happenings = [happening for event in history if (happening := _happening(event)) is not None]
        name = _name("orchestration", row.name, version)
        times = begun, after.updated
        self._tell(own, parent, name, SpanKind.SERVER, attributes, times, failure=failure, links=links, told=happenings)

    def _tell(
        self,
        own: SpanContext,
        parent: SpanContext | None,
        name: str,
        kind: SpanKind,
        attributes: dict[str, str | int],
        times: tuple[int, int],
        *,
        failure: pb.TaskFailureDetails | None = None,
        links: Sequence[Link] = (),
        told: Sequence[_Happening] = (),
    ) -> None:
        self._ids.trace, self._ids.span = own.trace_id, own.span_id
        context = Context()
        if parent is not None:
            context = trace.set_span_in_context(NonRecordingSpan(parent), context)
        span = self._derived.start_span(name, context, kind, attributes, links, start_time=times[0])
        for what, when, details in told:
            span.add_event(what, details, when)
        if failure is not None:
            span.set_status(Status(StatusCode.ERROR, failure.errorMessage))
        span.end(times[1])


def _is_sampled(context: pb.TraceContext) -> bool:
    """Whether somebody wants to hear of the trace, as far as that can be seen without taking the context apart."""
    return context.traceParent.endswith(("1", "3", "5", "7", "9", "b", "d", "f"))


def _span_context(context: pb.TraceContext) -> SpanContext | None:
    found = otel_context(context)
    return None if found is None else trace.get_current_span(found).get_span_context()


def _sibling(context: SpanContext, span: str) -> SpanContext:
    """Another span of the same trace, one of this engine's."""
    flags = TraceFlags(context.trace_flags)
    return SpanContext(
        context.trace_id, int(span, 16), is_remote=False, trace_flags=flags, trace_state=context.trace_state
    )


def _name(kind: str, name: str, version: str) -> str:
    return f"{kind}||{name}||{version}" if version else f"{kind}||{name}"


def _attributes(
    kind: str, instance_id: str, name: str, version: str, task_id: int | None = None
) -> dict[str, str | int]:
    attributes: dict[str, str | int] = {
        "durabletask.type": kind,
        "durabletask.task.name": name,
        "durabletask.task.instance_id": instance_id,
    }
    if task_id is not None:
        attributes["durabletask.task.task_id"] = task_id
    if version:
        attributes["durabletask.task.version"] = version
    return attributes


def _happening(event: pb.HistoryEvent) -> _Happening | None:
    """What of a history is worth an event of the span."""
    kind = event.WhichOneof("eventType")
    moment = nanoseconds(event.timestamp)
    if kind == "eventRaised":
        raised = event.eventRaised
        return "Received external event", moment, {"name": raised.name, "size": len(raised.input.value.encode())}
    if kind == "executionSuspended":
        return "Execution suspended", moment, {"reason": event.executionSuspended.input.value}
    if kind == "executionResumed":
        return "Execution resumed", moment, {"reason": event.executionResumed.input.value}
    if kind == "executionStalled":
        return "Execution stalled", moment, {"reason": event.executionStalled.description}
    return None
