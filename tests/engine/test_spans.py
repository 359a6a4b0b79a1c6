"""The spans that the engine tells OpenTelemetry of: which, when, whose children, and what they say."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, TraceIdRatioBased
from opentelemetry.trace import INVALID_SPAN, NoOpTracerProvider, Span, SpanKind, StatusCode, Tracer

from dapr_workflow_sdk.engine.clock import SECOND
from dapr_workflow_sdk.engine.hub import EngineHub
from dapr_workflow_sdk.engine.stores.base import Store
from dapr_workflow_sdk.errors import WorkflowAlreadyExistsError
from dapr_workflow_sdk.taskhub.port import ActivityItem
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import text_of
from tests.engine.support import (
    DAY,
    Worker,
    engine,
    raise_event,
    resume,
    standing,
    start,
    terminate,
    to_app,
    version_not_available,
)
from tests.engine.traces import Traces, attributes_of, id_of, parent_of, trace_of
from tests.worker.support import FlakyStore, activity_call, again, child_call, complete, on_loop, result_of, timer

_TRACE, _CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
_PARENT = f"00-{_TRACE}-{_CALLER}-01"


def _seconds(span: ReadableSpan, since: int) -> tuple[float, float]:
    """When a span began and ended; a clock that stands still goes on by a microsecond each time it is looked at."""
    assert span.start_time is not None
    assert span.end_time is not None
    return round((span.start_time - since) / SECOND, 3), round((span.end_time - since) / SECOND, 3)


async def _finish(worker: Worker, item: ActivityItem, text: str | None = None) -> asyncio.Future[None]:
    """Answers an activity; the future is done when that is durable."""
    done = asyncio.ensure_future(worker.finish(item, text))
    await asyncio.sleep(0)
    return done


async def _fail(hub: EngineHub, item: ActivityItem, message: str) -> None:
    answer = result_of(item)
    answer.failureDetails.CopyFrom(pb.TaskFailureDetails(errorType="ValueError", errorMessage=message))
    await hub.complete_activity(answer)


# ---- what there is ---------------------------------------------------------------------------------------------


@on_loop
async def test_a_workflow_is_a_span_below_the_one_that_created_it() -> None:
    traces, clock = Traces(), standing()
    async with engine(clock=clock, tracer_provider=traces.provider) as hub:
        begun = clock.now()
        await start(hub, trace=_PARENT)
        clock.advance(SECOND)
        async with Worker(hub) as worker:
            turn = await worker.play(timer(1, clock.now() + DAY))
            clock.advance(SECOND)
            await raise_event(hub)
            await worker.play(complete(2, '"done"'))
    creation, run = traces.all()
    assert (creation.name, creation.kind) == ("create_orchestration||flow", SpanKind.CLIENT)
    assert (trace_of(creation), parent_of(creation)) == (_TRACE, _CALLER)
    assert attributes_of(creation) == {"type": "orchestration", "task.name": "flow", "task.instance_id": "one"}
    assert (run.name, run.kind) == ("orchestration||flow", SpanKind.SERVER)
    assert (trace_of(run), parent_of(run)) == (_TRACE, id_of(creation))
    assert attributes_of(run) == {
        "type": "orchestration",
        "task.name": "flow",
        "task.instance_id": "one",
        "runtime_status": "COMPLETED",
    }
    assert _seconds(run, begun) == (1, 2)
    assert run.status.status_code is StatusCode.UNSET
    assert run.instrumentation_scope is not None
    assert run.instrumentation_scope.name == "durabletask"
    told = turn.new[1].executionStarted
    assert told.parentTraceContext.traceParent == f"00-{_TRACE}-{id_of(creation)}-01"
    assert told.workflowSpanID.value == id_of(run)


@on_loop
async def test_an_activity_is_a_span_with_the_id_that_its_worker_was_given() -> None:
    traces, clock = Traces(), standing()
    async with engine(clock=clock, tracer_provider=traces.provider) as hub, Worker(hub) as worker:
        await start(hub, trace=_PARENT)
        await worker.play(activity_call(7))
        item = await worker.activity()
        sent = clock.now()
        clock.advance(3 * SECOND)
        done = await _finish(worker, item)
        assert traces.named("activity||work") == [], "its result is not durable"
        await worker.play(complete(8))
        await done
    span, run = traces.one("activity||work"), traces.one("orchestration||flow")
    assert item.request.parentTraceContext.traceParent == f"00-{trace_of(span)}-{id_of(span)}-01"
    assert (span.kind, parent_of(span)) == (SpanKind.SERVER, id_of(run))
    assert attributes_of(span) == {
        "type": "activity",
        "task.name": "work",
        "task.instance_id": "one",
        "task.task_id": 7,
    }
    assert _seconds(span, sent) == (0, 3)
    assert span.status.status_code is StatusCode.UNSET


@on_loop
async def test_a_version_is_in_the_name_and_an_attribute() -> None:
    traces = Traces()
    async with engine(tracer_provider=traces.provider) as hub, Worker(hub) as worker:
        await start(hub, version=text_of("v2"))
        call = pb.ScheduleTaskAction(name="work", version=text_of("v3"))
        await worker.play(pb.WorkflowAction(id=1, scheduleTask=call))
        done = await _finish(worker, await worker.activity())
        await worker.play(complete(2))
        await done
    assert traces.names() == ["activity||work||v3", "create_orchestration||flow||v2", "orchestration||flow||v2"]
    versions = [attributes_of(traces.one(name))["task.version"] for name in traces.names()]
    assert versions == ["v3", "v2", "v2"]


@on_loop
async def test_a_timer_is_a_span_from_its_call_to_its_end_if_it_fires() -> None:
    traces, clock = Traces(), standing()
    async with engine(clock=clock, tracer_provider=traces.provider) as hub, Worker(hub) as worker:
        await start(hub, trace=_PARENT)
        begun = clock.now()
        await worker.play(timer(1, begun + 5 * SECOND), timer(2, begun + DAY))
        clock.advance(5 * SECOND)
        await worker.play(complete(3))
    span, run = traces.one("timer"), traces.one("orchestration||flow")
    assert (trace_of(span), parent_of(span), span.kind) == (_TRACE, id_of(run), SpanKind.INTERNAL)
    assert _seconds(span, begun) == (0, 5)
    assert attributes_of(span) == {
        "type": "timer",
        "fire_at": "2026-01-01T00:00:05Z",
        "task.task_id": 1,
        "task.instance_id": "one",
    }


@on_loop
async def test_a_child_is_a_span_below_its_parent() -> None:
    traces = Traces()
    async with engine(tracer_provider=traces.provider) as hub, Worker(hub) as worker:
        await start(hub, trace=_PARENT)
        await worker.play(child_call(1, "kid"))
        await worker.play(activity_call(1))
        done = await _finish(worker, await worker.activity())
        await worker.play(complete(2))
        await done
        await worker.play(complete(2))
    run, kid, work = (traces.one(name) for name in ("orchestration||flow", "orchestration||child", "activity||work"))
    assert {trace_of(span) for span in traces.all()} == {_TRACE}
    assert parent_of(kid) == id_of(run)
    assert parent_of(work) == id_of(kid)
    assert attributes_of(kid)["task.instance_id"] == "kid"
    assert len(traces.all()) == 4, "a child has no span of its creation"


@on_loop
async def test_a_child_and_an_activity_in_another_app_are_in_the_same_trace() -> None:
    traces = Traces()
    async with engine(tracer_provider=traces.provider) as hub:
        other = hub.for_app("other")
        async with Worker(hub) as worker, Worker(other) as colleague:
            await start(hub, trace=_PARENT)
            await worker.play(to_app(child_call(1, "kid"), "other"), to_app(activity_call(2), "other"))
            items = [await colleague.item(), await colleague.item()]
            item = next(item for item in items if isinstance(item, ActivityItem))
            turn = next(item for item in items if not isinstance(item, ActivityItem))
            await colleague.answer(turn, complete(1))
            done = await _finish(colleague, item)
            await worker.play(complete(3))
            await done
    run = traces.one("orchestration||flow")
    assert parent_of(traces.one("orchestration||child")) == id_of(run)
    assert parent_of(traces.one("activity||work")) == id_of(run)


@on_loop
async def test_each_generation_is_a_span_and_the_next_one_begins_a_trace() -> None:
    traces = Traces()
    async with engine(tracer_provider=traces.provider) as hub, Worker(hub) as worker:
        await start(hub, trace=_PARENT)
        await worker.play(again(1))
        await worker.play(activity_call(1))
        done = await _finish(worker, await worker.activity())
        await worker.play(again(2))
        await done
        await worker.play(complete(1))
    first, second, third = traces.named("orchestration||flow")
    assert [attributes_of(run)["runtime_status"] for run in (first, second, third)] == [
        "CONTINUED_AS_NEW",
        "CONTINUED_AS_NEW",
        "COMPLETED",
    ]
    assert len({trace_of(run) for run in (first, second, third)}) == 3
    assert (parent_of(first), parent_of(second), parent_of(third)) == (
        id_of(traces.one("create_orchestration||flow")),
        None,
        None,
    )
    for run, following in ((first, second), (second, third)):
        assert [(f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}") for link in run.links] == [
            (trace_of(following), id_of(following))
        ]
    assert not third.links
    work = traces.one("activity||work")
    assert (trace_of(work), parent_of(work)) == (trace_of(second), id_of(second))


@on_loop
async def test_what_happened_on_the_way_is_in_the_span() -> None:
    traces = Traces()
    async with engine(tracer_provider=traces.provider) as hub:
        await start(hub, trace=_PARENT)
        async with Worker(hub) as worker:
            await worker.play(version_not_available())
        async with Worker(hub) as worker:
            await worker.play()
            await raise_event(hub, name="go", data='"ü"')
            await worker.play()
            await hub.suspend(pb.SuspendRequest(instanceId="one", reason=text_of("lunch")))
            await worker.play()
            await resume(hub)
            await worker.play(complete(1))
    events = traces.one("orchestration||flow").events
    assert [(event.name, dict(event.attributes or {})) for event in events] == [
        ("Execution stalled", {"reason": "Version not available: "}),
        ("Received external event", {"name": "go", "size": 4}),
        ("Execution suspended", {"reason": "lunch"}),
        ("Execution resumed", {"reason": ""}),
    ]
    assert [event.timestamp for event in events] == sorted(event.timestamp for event in events)


# ---- how it ends -----------------------------------------------------------------------------------------------


@on_loop
async def test_what_fails_has_the_status_of_an_error() -> None:
    traces = Traces()
    async with engine(tracer_provider=traces.provider) as hub, Worker(hub) as worker:
        await start(hub, trace=_PARENT)
        await worker.play(activity_call(1))
        done = asyncio.ensure_future(_fail(hub, await worker.activity(), "no such order"))
        await worker.play(complete(2, failed="the order failed"))
        await done
    work, run = traces.one("activity||work"), traces.one("orchestration||flow")
    assert (work.status.status_code, work.status.description) == (StatusCode.ERROR, "no such order")
    assert (run.status.status_code, run.status.description) == (StatusCode.ERROR, "the order failed")
    assert attributes_of(run)["runtime_status"] == "FAILED"


@pytest.mark.parametrize("worked", [True, False], ids=["by its worker", "by the engine"])
@on_loop
async def test_a_terminated_workflow_is_a_span(worked: bool) -> None:
    traces = Traces()
    async with engine(tracer_provider=traces.provider) as hub:
        await start(hub, trace=_PARENT)
        if worked:
            async with Worker(hub) as worker:
                await worker.play()
                ending = asyncio.ensure_future(terminate(hub))
                await worker.play()
                await ending
        else:
            await terminate(hub)
    run = traces.one("orchestration||flow")
    assert attributes_of(run)["runtime_status"] == "TERMINATED"
    assert run.status.status_code is StatusCode.UNSET


@on_loop
async def test_an_activity_that_nobody_waits_for_any_more_is_a_span_when_it_ends() -> None:
    traces = Traces()
    async with engine(tracer_provider=traces.provider) as hub, Worker(hub) as worker:
        await start(hub, trace=_PARENT)
        await worker.play(activity_call(1))
        item = await worker.activity()
        await raise_event(hub)
        await worker.play(complete(2))
        assert traces.named("activity||work") == []
        await worker.finish(item)
        await asyncio.sleep(0)
    assert parent_of(traces.one("activity||work")) == id_of(traces.one("orchestration||flow"))


@on_loop
async def test_a_start_that_fails_is_a_span_that_says_so() -> None:
    traces = Traces()
    async with engine(tracer_provider=traces.provider) as hub:
        await start(hub)
        traces.forget()
        with pytest.raises(WorkflowAlreadyExistsError):
            await start(hub)
    (creation,) = traces.all()
    assert creation.status.status_code is StatusCode.ERROR
    assert "already exists" in (creation.status.description or "")


@on_loop
async def test_the_id_that_the_engine_makes_is_in_the_span() -> None:
    traces = Traces()
    async with engine(tracer_provider=traces.provider) as hub:
        instance_id = await hub.start(pb.CreateInstanceRequest(name="flow"))
    assert attributes_of(traces.one("create_orchestration||flow"))["task.instance_id"] == instance_id


# ---- crashes and redelivery ------------------------------------------------------------------------------------


@on_loop
async def test_a_span_that_began_before_a_crash_is_told_of_after_it(reopen: Callable[[], Store]) -> None:
    before, after = Traces(), Traces()
    async with engine(reopen(), tracer_provider=before.provider) as hub, Worker(hub) as worker:
        await start(hub, trace=_PARENT)
        await worker.play(activity_call(1), child_call(2, "kid"))
        given = await worker.item(), await worker.item()
        item = next(item for item in given if isinstance(item, ActivityItem))
    assert before.names() == ["create_orchestration||flow"]
    async with engine(reopen(), tracer_provider=after.provider) as hub, Worker(hub) as worker:
        for _ in range(2):
            found = await worker.item()
            if isinstance(found, ActivityItem):
                done = await _finish(worker, found)
            else:
                await worker.answer(found, complete(1))
        while not after.named("orchestration||flow"):
            turn = await worker.turn()
            both = {"taskCompleted", "childWorkflowInstanceCompleted"}
            seen = {event.WhichOneof("eventType") for event in (*turn.past, *turn.new)}
            await worker.answer(turn, *([complete(3)] if both <= seen else []))
        await done
    assert after.names() == ["activity||work", "orchestration||child", "orchestration||flow"]
    run = after.one("orchestration||flow")
    assert parent_of(run) == id_of(before.one("create_orchestration||flow"))
    assert id_of(after.one("activity||work")) == item.request.parentTraceContext.spanID
    assert {parent_of(after.one(name)) for name in ("activity||work", "orchestration||child")} == {id_of(run)}


@on_loop
async def test_an_activity_whose_worker_is_lost_is_one_span_of_the_worker_that_finished_it() -> None:
    traces, clock = Traces(), standing()
    async with engine(clock=clock, tracer_provider=traces.provider) as hub:
        await start(hub, trace=_PARENT)
        async with Worker(hub) as worker:
            await worker.play(activity_call(1))
            first = await worker.activity()
        clock.advance(SECOND)
        async with Worker(hub) as worker:
            second = await worker.activity()
            sent = clock.now()
            clock.advance(SECOND)
            done = await _finish(worker, second)
            await worker.play(complete(2))
            await done
    assert first.request == second.request
    span = traces.one("activity||work")
    assert _seconds(span, sent) == (0, 1)


@on_loop
async def test_a_result_that_could_not_be_stored_is_no_span() -> None:
    traces, store = Traces(), FlakyStore()
    async with engine(store, tracer_provider=traces.provider) as hub, Worker(hub) as worker:
        await start(hub, trace=_PARENT)
        await worker.play(activity_call(1))
        lost = await _finish(worker, await worker.activity(), "1")
        turn = await worker.turn()
        store.failures = 1
        with pytest.raises(Exception, match="No space left"):
            await worker.answer(turn, complete(2))
        with pytest.raises(Exception, match="No space left"):
            await lost
        assert traces.names() == ["create_orchestration||flow"]
        done = await _finish(worker, await worker.activity(), "2")
        await worker.play(complete(2))
        await done
    assert traces.names() == ["activity||work", "create_orchestration||flow", "orchestration||flow"]


@on_loop
async def test_what_runs_again_is_told_of_with_ids_of_its_own() -> None:
    traces = Traces()
    async with engine(tracer_provider=traces.provider) as hub, Worker(hub) as worker:
        await start(hub, trace=_PARENT)
        await worker.play(activity_call(1))
        done = await _finish(worker, await worker.activity())
        await worker.play(complete(2))
        await done
        await hub.rerun(pb.RerunWorkflowFromEventRequest(sourceInstanceID="one", eventID=1, newInstanceID="two"))
        done = await _finish(worker, await worker.activity())
        await worker.play(complete(2))
        await done
    runs, works = traces.named("orchestration||flow"), traces.named("activity||work")
    assert [attributes_of(run)["task.instance_id"] for run in runs] == ["one", "two"]
    assert [parent_of(work) for work in works] == [id_of(run) for run in runs]
    assert len({id_of(span) for span in traces.all()}) == 5
    assert runs[1].start_time is not None
    assert runs[0].end_time is not None
    assert runs[1].start_time > runs[0].end_time


# ---- who is told, and who is not -------------------------------------------------------------------------------


@on_loop
async def test_without_a_span_around_the_start_it_begins_a_trace() -> None:
    traces = Traces()
    async with engine(tracer_provider=traces.provider) as hub, Worker(hub) as worker:
        with traces.tracer.start_as_current_span("of the loop"):
            await start(hub)
        await worker.play(complete(1))
    creation, run = traces.one("create_orchestration||flow"), traces.one("orchestration||flow")
    assert parent_of(creation) is None, "the request carries the context, not the loop it is answered on"
    assert (trace_of(run), parent_of(run)) == (trace_of(creation), id_of(creation))


@on_loop
async def test_a_trace_that_is_not_sampled_stays_so() -> None:
    traces = Traces()
    async with engine(tracer_provider=traces.provider) as hub, Worker(hub) as worker:
        await start(hub, trace=f"00-{_TRACE}-{_CALLER}-00")
        await worker.play(activity_call(1))
        item = await worker.activity()
        done = await _finish(worker, item)
        await worker.play(again(2))
        await done
        await worker.play(complete(1))
    assert item.request.parentTraceContext.traceParent.startswith(f"00-{_TRACE}-")
    assert item.request.parentTraceContext.traceParent.endswith("-00")
    assert traces.names() == []


@on_loop
async def test_the_sampler_of_the_application_decides_when_a_trace_begins() -> None:
    traces = Traces(ParentBased(ALWAYS_OFF))
    async with engine(tracer_provider=traces.provider) as hub, Worker(hub) as worker:
        await start(hub, "unsampled")
        await worker.play(complete(1))
        assert traces.names() == []
        await start(hub, "sampled", trace=_PARENT)
        await worker.play(again(1))
        await worker.play(complete(1))
    assert traces.names() == ["create_orchestration||flow", "orchestration||flow", "orchestration||flow"]


@on_loop
async def test_a_generation_is_sampled_as_the_one_before() -> None:
    """Half of all new traces are not sampled here; a workflow whose first generation is, is so to its end."""
    traces = Traces(ParentBased(TraceIdRatioBased(0.5), remote_parent_sampled=ALWAYS_ON))
    async with engine(tracer_provider=traces.provider) as hub, Worker(hub) as worker:
        await start(hub, trace=_PARENT)
        for _ in range(20):
            await worker.play(again(1))
        await worker.play(complete(1))
    assert len(traces.named("orchestration||flow")) == 21


@on_loop
async def test_a_state_of_the_trace_is_handed_on() -> None:
    traces = Traces()
    async with engine(tracer_provider=traces.provider) as hub, Worker(hub) as worker:
        context = pb.TraceContext(traceParent=_PARENT, traceState=text_of("vendor=1"))
        await hub.start(pb.CreateInstanceRequest(instanceId="one", name="flow", parentTraceContext=context))
        await worker.play(activity_call(1))
        item = await worker.activity()
        done = await _finish(worker, item)
        await worker.play(complete(2))
        await done
    assert item.request.parentTraceContext.traceState.value == "vendor=1"
    assert {span.context.trace_state.to_header() for span in traces.all()} == {"vendor=1"}


@pytest.mark.parametrize("trace", ["garbage", "00-xyz-00f067aa0ba902b7-01", f"00-{'0' * 32}-{_CALLER}-01"])
@on_loop
async def test_a_context_that_is_garbage_begins_a_trace(trace: str) -> None:
    traces = Traces()
    async with engine(tracer_provider=traces.provider) as hub, Worker(hub) as worker:
        await start(hub, trace=trace)
        await worker.play(complete(1))
    assert traces.names() == ["create_orchestration||flow", "orchestration||flow"]
    assert parent_of(traces.one("create_orchestration||flow")) is None


@on_loop
async def test_instances_of_before_are_not_traced(reopen: Callable[[], Store]) -> None:
    traces = Traces()
    async with engine(reopen()) as hub:
        await start(hub)
        assert hub._runner.spans is None
    async with engine(reopen(), tracer_provider=traces.provider) as hub, Worker(hub) as worker:
        await worker.play(activity_call(1))
        item = await worker.activity()
        done = await _finish(worker, item)
        await worker.play(complete(2))
        await done
    assert not item.request.HasField("parentTraceContext")
    assert traces.names() == []


@on_loop
async def test_a_provider_that_is_none_is_told_of_nothing() -> None:
    async with engine(tracer_provider=NoOpTracerProvider()) as hub, Worker(hub) as worker:
        await start(hub, trace=_PARENT)
        turn = await worker.play(complete(1))
        assert hub._runner.spans is None
    assert turn.new[1].executionStarted.parentTraceContext.traceParent == _PARENT


@on_loop
async def test_a_provider_whose_spans_get_no_ids_is_told_of_nothing_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class OtherTracer(Tracer):
        def start_span(self, *_: Any, **__: Any) -> Span:
            return INVALID_SPAN

        start_as_current_span = None  # type: ignore[assignment]

    class OtherProvider(NoOpTracerProvider):
        def get_tracer(self, *_: Any, **__: Any) -> Tracer:
            return OtherTracer()

    async with engine(tracer_provider=OtherProvider()) as hub:
        await start(hub, "one")
        await start(hub, "two")
        assert hub._runner.spans is None
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "OtherTracer" in record.message


@on_loop
async def test_a_processor_with_a_defect_stops_no_workflow(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            if span.name != "create_orchestration||flow":
                raise ValueError("a defect of the application")

    traces = Traces()
    traces.provider.add_span_processor(Broken())
    with caplog.at_level(logging.ERROR):
        async with engine(tracer_provider=traces.provider) as hub, Worker(hub) as worker:
            await start(hub, trace=_PARENT)
            await worker.play(activity_call(1))
            done = await _finish(worker, await worker.activity())
            await worker.play(complete(2))
            await done
            state = await hub.state("one", payloads=False)
    assert state is not None
    assert state.workflowStatus == pb.WORKFLOW_STATUS_COMPLETED
    assert [record.message for record in caplog.records] == ["A span could not be told of"] * 2


@on_loop
async def test_the_tracer_of_the_application_is_left_as_it_is() -> None:
    traces = Traces()
    async with engine(tracer_provider=traces.provider) as hub, Worker(hub) as worker:
        await start(hub, trace=_PARENT)
        await worker.play(complete(1))
        from dapr_workflow_sdk.version import __version__

        tracer = traces.provider.get_tracer("durabletask", __version__)
        ids = {tracer.start_span("theirs").get_span_context().span_id for _ in range(3)}
    assert len(ids) == 3
