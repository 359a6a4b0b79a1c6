"""User code runs inside the spans of the task hub: activities, turns, on threads, loops and the caller's loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.trace import get_current_span

from dapr_workflow_sdk import WorkflowActivityContext, WorkflowContext, WorkflowRuntime
from dapr_workflow_sdk.taskhub.port import TurnItem
from dapr_workflow_sdk.taskhub.trace_context import to_wire
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.worker.traces import TurnTraces, leave
from tests.builders import started, turn_marker
from tests.engine.traces import Traces, id_of, parent_of, trace_of
from tests.worker.support import Place, place_of, run_python

_TRACE, _CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
_PARENT = f"00-{_TRACE}-{_CALLER}-01"


@pytest.fixture
def traces() -> Traces:
    """Who is told."""
    return Traces()


@pytest.fixture(params=["in-process", "grpc"])
def place(request: pytest.FixtureRequest, traces: Traces) -> Iterator[Place]:
    """An engine that tells of spans, reached in both ways."""
    with place_of(request.param, tracer_provider=traces.provider) as place:
        yield place


def _current() -> str | None:
    """The id of the current span."""
    context = get_current_span().get_span_context()
    return f"{context.span_id:016x}" if context.is_valid else None


def _finish(place: Place, workflow: Any, traces: Traces) -> str | None:
    client = place.client()
    with traces.tracer.start_as_current_span("request"):
        instance_id = client.schedule_new_workflow(workflow)
    state = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=10)
    assert state is not None
    assert state.runtime_status.name == "COMPLETED", state.failure_details
    return state.serialized_output


def test_spans_of_activities_are_below_those_of_the_engine(place: Place, traces: Traces) -> None:
    runtime = place.runtime()

    def plain(ctx: WorkflowActivityContext) -> None:
        with traces.tracer.start_as_current_span("inside plain"):
            pass

    async def waiting(ctx: WorkflowActivityContext) -> None:
        with traces.tracer.start_as_current_span("inside waiting"):
            await asyncio.sleep(0)

    def flow(ctx: WorkflowContext) -> Any:
        yield ctx.call_activity(plain)
        yield ctx.call_activity(waiting)

    for function in (plain, waiting):
        runtime.register_activity(function)
    runtime.register_workflow(flow)
    with runtime:
        _finish(place, flow, traces)
    for name in ("plain", "waiting"):
        inside, of_engine = traces.one(f"inside {name}"), traces.one(f"activity||{name}")
        assert parent_of(inside) == id_of(of_engine)
    run, creation = traces.one("orchestration||flow"), traces.one("create_orchestration||flow")
    assert parent_of(traces.one("activity||plain")) == id_of(run)
    assert parent_of(run) == id_of(creation)
    assert parent_of(creation) == id_of(traces.one("request"))
    assert len({trace_of(span) for span in traces.all()}) == 1


def test_activities_at_the_same_time_have_each_their_own(place: Place, traces: Traces) -> None:
    runtime = place.runtime()
    together = threading.Barrier(4)
    seen: dict[int, str | None] = {}

    def plain(ctx: WorkflowActivityContext, number: int) -> None:
        together.wait(5)
        seen[number] = _current()

    async def waiting(ctx: WorkflowActivityContext, number: int) -> None:
        await asyncio.sleep(0.01)
        seen[number] = _current()

    def flow(ctx: WorkflowContext) -> Any:
        calls = [ctx.call_activity(plain, input=number) for number in range(1, 5)]
        calls += [ctx.call_activity(waiting, input=number) for number in range(5, 9)]
        for call in calls:
            yield call

    for function in (plain, waiting):
        runtime.register_activity(function)
    runtime.register_workflow(flow)
    with runtime:
        _finish(place, flow, traces)
    spans = [*traces.named("activity||plain"), *traces.named("activity||waiting")]
    assert seen == {(span.attributes or {})["durabletask.task.task_id"]: id_of(span) for span in spans}
    assert len(set(seen.values())) == 8


@pytest.mark.parametrize("parked", [1000, 0], ids=["parked", "replayed"])
def test_turns_run_in_the_span_of_their_instance(place: Place, traces: Traces, parked: int) -> None:
    runtime = place.runtime(max_parked_instances=parked)
    seen: dict[str, set[str | None]] = {"flow": set(), "kid": set()}

    def work(ctx: WorkflowActivityContext) -> None:
        return None

    async def kid(ctx: WorkflowContext) -> None:
        seen["kid"].add(_current())
        await ctx.call_activity(work)
        seen["kid"].add(_current())

    def flow(ctx: WorkflowContext) -> Any:
        seen["flow"].add(_current())
        for _ in range(3):
            yield ctx.call_activity(work)
            seen["flow"].add(_current())
        yield ctx.call_child_workflow(kid)
        seen["flow"].add(_current())

    runtime.register_activity(work)
    for function in (flow, kid):
        runtime.register_workflow(function)
    with runtime:
        _finish(place, flow, traces)
        assert seen == {name: {id_of(traces.one(f"orchestration||{name}"))} for name in ("flow", "kid")}


def test_who_is_not_traced_has_no_span() -> None:
    with place_of("in-process") as place:
        runtime, seen = place.runtime(), list[str | None]()

        def work(ctx: WorkflowActivityContext) -> None:
            seen.append(_current())

        def flow(ctx: WorkflowContext) -> Any:
            seen.append(_current())
            yield ctx.call_activity(work)
            seen.append(_current())

        runtime.register_activity(work)
        runtime.register_workflow(flow)
        client = place.client()
        with runtime:
            client.wait_for_workflow_completion(client.schedule_new_workflow(flow), timeout_in_seconds=10)
    assert seen == [None] * 3


def test_activities_on_the_loop_of_the_caller_are_below_the_engines(traces: Traces) -> None:
    seen: list[str | None] = []

    async def work(ctx: WorkflowActivityContext) -> None:
        seen.append(_current())

    def flow(ctx: WorkflowContext) -> Any:
        yield ctx.call_activity(work)

    async def main(place: Place) -> None:
        runtime = WorkflowRuntime(engine=place.engine)
        runtime.register_activity(work)
        runtime.register_workflow(flow)
        async with runtime:
            await asyncio.to_thread(_finish, place, flow, traces)

    with place_of("in-process", tracer_provider=traces.provider) as place:
        asyncio.run(main(place))
    assert seen == [id_of(traces.one("activity||work"))]


def _turn(past: list[pb.HistoryEvent], new: list[pb.HistoryEvent], cached: int = 0) -> TurnItem:
    return TurnItem("one", past, new, "token", cached)


def _start(parent: str = _PARENT, own: str = "") -> list[pb.HistoryEvent]:
    event = started()
    if parent:
        event.executionStarted.parentTraceContext.traceParent = parent
    if own:
        event.executionStarted.workflowSpanID.value = own
    return [turn_marker(), event]


def _seen(traces: TurnTraces, item: TurnItem) -> str | None:
    token = traces.enter(item)
    if token is None:
        return None
    try:
        return to_wire(get_current_span().get_span_context()).traceParent
    finally:
        leave(token)


class TestTurns:
    def test_the_span_is_the_one_in_the_start(self) -> None:
        own = f"00-{_TRACE}-{'1' * 16}-01"
        assert _seen(TurnTraces(), _turn([], _start(own="1" * 16))) == own
        assert _seen(TurnTraces(), _turn(_start(own="1" * 16), [turn_marker()])) == own
        assert _current() is None

    def test_a_start_without_one_is_of_a_task_hub_that_makes_none(self) -> None:
        assert _seen(TurnTraces(), _turn([], _start())) == _PARENT

    def test_a_first_turn_that_stalled_has_its_start_among_the_new_events(self) -> None:
        stalled = pb.HistoryEvent(executionStalled=pb.ExecutionStalledEvent())
        assert _seen(TurnTraces(), _turn([stalled], _start())) == _PARENT

    @pytest.mark.parametrize("parent", ["", "garbage", "a-b-c-d"])
    def test_who_is_not_traced_has_none(self, parent: str) -> None:
        assert _seen(TurnTraces(), _turn([], _start(parent))) is None

    def test_a_turn_that_comes_without_its_history_is_of_the_same_trace(self) -> None:
        traces = TurnTraces()
        assert _seen(traces, _turn([], _start())) == _PARENT
        assert _seen(traces, _turn([], [turn_marker()], cached=2)) == _PARENT
        assert _seen(TurnTraces(), _turn([], [turn_marker()], cached=2)) is None

    def test_a_new_instance_of_the_same_id_has_another_trace_or_none(self) -> None:
        traces = TurnTraces()
        _seen(traces, _turn([], _start()))
        assert _seen(traces, _turn([], _start(""))) is None
        assert _seen(traces, _turn([], [turn_marker()], cached=2)) is None

    def test_those_used_last_are_known(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("dapr_workflow_sdk.worker.traces._MOST_KNOWN", 2)
        traces = TurnTraces()
        for instance_id in ("one", "two", "one", "three"):
            _seen(traces, TurnItem(instance_id, [], _start(), "token"))
        later = [_seen(traces, TurnItem(i, [], [turn_marker()], "token", 2)) for i in ("one", "two", "three")]
        assert later == [_PARENT, None, _PARENT]


def test_without_opentelemetry_traced_workflows_run_as_others_do() -> None:
    program = """
import sys
sys.modules["opentelemetry"] = None  # As if it were not installed.
from dapr_workflow_sdk import EmbeddedEngine, WorkflowClient, WorkflowRuntime
from dapr_workflow_sdk.portal import PORTAL
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
def flow(ctx):
    return (yield ctx.call_activity(work))
def work(ctx):
    return 1
with EmbeddedEngine() as engine, WorkflowClient(engine=engine) as client:
    runtime = WorkflowRuntime(engine=engine)
    runtime.register_workflow(flow)
    runtime.register_activity(work)
    with runtime:
        trace = pb.TraceContext(traceParent=sys.argv[1])
        request = pb.CreateInstanceRequest(instanceId="one", name="flow", parentTraceContext=trace)
        PORTAL.call(engine.hub.start, request)
        print(client.wait_for_workflow_completion("one", timeout_in_seconds=10).serialized_output)
"""
    done = run_python(program, _PARENT)
    assert (done.stdout, done.stderr) == ("1\n", "")
