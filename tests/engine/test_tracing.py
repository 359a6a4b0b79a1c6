"""Trace contexts: each call of a traced workflow is a span of its trace, the same one whenever it is made again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from dapr_workflow_sdk.engine.stores.base import Store
from dapr_workflow_sdk.engine.tracing import call_span
from dapr_workflow_sdk.engine.transitions import create
from dapr_workflow_sdk.taskhub.port import TurnItem, WorkItem
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import text_of
from tests.builders import started, turn_marker
from tests.engine.support import Worker, engine, start, status, terminate, version_not_available
from tests.worker.support import activity_call, again, child_call, complete, on_loop

_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
_PARENT = f"00-{_TRACE}-00f067aa0ba902b7-01"


def _history(trace: str = _PARENT, state: str | None = None) -> list[pb.HistoryEvent]:
    start = started()
    start.executionStarted.parentTraceContext.CopyFrom(
        pb.TraceContext(traceParent=trace, spanID="00f067aa0ba902b7", traceState=text_of(state))
    )
    return [turn_marker(), start]


def _of_instance(item: WorkItem) -> str:
    return item.instance_id if isinstance(item, TurnItem) else item.request.workflowInstance.instanceId


def _span(past: list[pb.HistoryEvent], number: int = 1, execution: str = "execution-1") -> pb.TraceContext | None:
    instance, _ = create("app", 1, started(execution_id=execution), 0, 1)
    return call_span(past, instance.row, number)


class TestSpanOfACall:
    def test_is_in_the_trace_of_the_instance_and_has_an_id_of_its_own(self) -> None:
        span = _span(_history())
        assert span is not None
        version, trace, own, flags = span.traceParent.split("-")
        assert (version, trace, flags) == ("00", _TRACE, "01")
        assert own == span.spanID != "00f067aa0ba902b7"
        assert len(own) == 16
        assert int(own, 16)
        assert not span.HasField("traceState")

    def test_is_the_same_each_time_the_call_is_made_and_no_other_ones(self) -> None:
        assert _span(_history()) == _span(_history())
        spans = [_span(_history(), number, run) for number in (0, 1, 2, 11) for run in ("run", "run 1", "run/1")]
        assert len({span.spanID for span in spans if span is not None}) == 12

    def test_keeps_the_state_and_the_flags(self) -> None:
        span = _span(_history(f"00-{_TRACE}-00f067aa0ba902b7-00", "vendor=1"))
        assert span is not None
        assert span.traceParent.endswith("-00"), "what is not sampled stays so"
        assert span.traceState.value == "vendor=1"

    @pytest.mark.parametrize(
        "past",
        [
            [],
            [turn_marker()],
            [turn_marker(), started()],
            _history(""),
            _history("garbage"),
            _history("00-ab-cd"),
        ],
        ids=["no history", "no start", "not traced", "empty", "garbage", "too short"],
    )
    def test_is_none_where_nobody_traces(self, past: list[pb.HistoryEvent]) -> None:
        assert _span(past) is None


@on_loop
async def test_calls_of_a_traced_instance_carry_the_trace() -> None:
    async with engine() as hub, Worker(hub) as worker:
        await start(hub, trace=_PARENT)
        first = await worker.play(activity_call(1), child_call(2, "kid"), activity_call(3))
        assert first.new[1].executionStarted.parentTraceContext.traceParent == _PARENT
        runs = [item for item in [await worker.item(), await worker.item(), await worker.item()]]
        kid = next(item for item in runs if hasattr(item, "new"))
        spans = [item.request.parentTraceContext for item in runs if hasattr(item, "request")]
        handed = kid.new[1].executionStarted.parentTraceContext
        recorded = [event for event in await hub.history("one") if event.eventId > 0]
        assert [recorded[0].taskScheduled.parentTraceContext, recorded[2].taskScheduled.parentTraceContext] == spans
        assert recorded[1].childWorkflowInstanceCreated.parentTraceContext == handed
        assert all(span.traceParent.startswith(f"00-{_TRACE}-") for span in [*spans, handed])
        assert len({span.spanID for span in [*spans, handed]}) == 3
        # The child's own calls are in the same trace.
        await worker.answer(kid, activity_call(1))
        below = (await worker.activity()).request.parentTraceContext
        assert below.traceParent.startswith(f"00-{_TRACE}-")
        assert below.spanID not in {span.spanID for span in [*spans, handed]}


@on_loop
async def test_a_later_turn_and_a_new_engine_know_the_trace(reopen: Callable[[], Store]) -> None:
    async with engine(reopen()) as hub, Worker(hub) as worker:
        await start(hub, trace=_PARENT)
        await worker.play(activity_call(1))
        run = await worker.activity()
        before = run.request.parentTraceContext
    async with engine(reopen()) as hub, Worker(hub) as worker:
        run = await worker.activity()
        assert run.request.parentTraceContext == before
        done = asyncio.ensure_future(worker.finish(run))
        await worker.play(activity_call(2))
        await done
        later = (await worker.activity()).request.parentTraceContext
        assert later.traceParent.startswith(f"00-{_TRACE}-")
        assert later.spanID != before.spanID


@on_loop
async def test_instances_that_nobody_traces_have_no_spans() -> None:
    async with engine() as hub, Worker(hub) as worker:
        await start(hub)
        await worker.play(activity_call(1))
        assert not (await worker.activity()).request.HasField("parentTraceContext")


@on_loop
async def test_a_next_generation_begins_a_trace_of_its_own() -> None:
    """A workflow that goes on for ever would otherwise be one trace without an end."""
    async with engine() as hub, Worker(hub) as worker:
        await start(hub, trace=_PARENT)
        await worker.play(again(1))
        second = await worker.play(activity_call(1))
        begun = second.new[1].executionStarted
        version, trace, span, flags = begun.parentTraceContext.traceParent.split("-")
        assert (version, flags) == ("00", "01")
        assert trace not in ("0" * 32, _TRACE)
        assert span == begun.workflowSpanID.value, "it has no parent but itself"
        run = await worker.activity()
        assert run.request.parentTraceContext.traceParent.startswith(f"00-{trace}-")
        assert span not in run.request.parentTraceContext.traceParent
        await start(hub, "other", trace=_PARENT)
        turn = await worker.play(complete(1))
        assert turn.new[1].executionStarted.parentTraceContext.traceParent == _PARENT


@on_loop
async def test_the_next_generation_of_an_instance_that_nobody_traces_is_not_traced() -> None:
    async with engine() as hub, Worker(hub) as worker:
        await start(hub)
        first = await worker.play(again(1))
        second = await worker.play(activity_call(1))
        assert not first.new[1].executionStarted.HasField("workflowSpanID")
        assert not second.new[1].executionStarted.HasField("parentTraceContext")
        assert not second.new[1].executionStarted.HasField("workflowSpanID")


@on_loop
async def test_an_instance_has_a_span_of_its_own_which_its_children_are_given() -> None:
    async with engine() as hub, Worker(hub) as worker:
        await start(hub, trace=_PARENT)
        turn = await worker.play(child_call(1, "kid"), child_call(2, "other kid"))
        own = turn.new[1].executionStarted.workflowSpanID.value
        assert len(own) == 16
        assert own not in _PARENT
        for _ in range(2):
            kid = (await worker.turn()).new[1].executionStarted
            assert kid.parentTraceContext.traceParent == f"00-{_TRACE}-{own}-01"
            assert kid.workflowSpanID.value not in ("", own)


@on_loop
async def test_an_instance_whose_first_turn_stalled_is_traced() -> None:
    async with engine() as hub:
        await start(hub, trace=_PARENT)
        async with Worker(hub) as worker:
            await worker.play(version_not_available())
        assert await status(hub) == "STALLED"
        async with Worker(hub) as worker:
            await worker.play(activity_call(1))
            run = await worker.activity()
        assert run.request.parentTraceContext.traceParent.startswith(f"00-{_TRACE}-")


@on_loop
async def test_what_runs_again_has_spans_of_its_own() -> None:
    async with engine() as hub:
        await start(hub, trace=_PARENT)
        async with Worker(hub) as worker:
            await worker.play(activity_call(1), child_call(2, "kid"))
            items = [await worker.item(), await worker.item()]
        before = next(item for item in items if hasattr(item, "request")).request.parentTraceContext
        await terminate(hub, recursive=False)
        await hub.rerun(pb.RerunWorkflowFromEventRequest(sourceInstanceID="one", eventID=2, newInstanceID="two"))
        async with Worker(hub) as other:
            items = [await other.item() for _ in range(4)]
        run = next(item for item in items if _of_instance(item) == "two" and hasattr(item, "request")).request
        kid = next(item for item in items if _of_instance(item).startswith("two:")).new[1].executionStarted
        begun = (await hub.history("two"))[1].executionStarted
        assert run.parentTraceContext.traceParent.startswith(f"00-{_TRACE}-")
        assert run.parentTraceContext.spanID != before.spanID
        assert kid.parentTraceContext.spanID == begun.workflowSpanID.value


@on_loop
async def test_a_detached_workflow_has_the_trace_it_is_given() -> None:
    async with engine() as hub, Worker(hub) as worker:
        await start(hub)
        asked = pb.CreateDetachedWorkflowAction(
            instanceId="free", name="free", parentTraceContext=pb.TraceContext(traceParent=_PARENT)
        )
        await worker.play(pb.WorkflowAction(id=1, createDetachedWorkflow=asked))
        await worker.play(activity_call(1))
        run = await worker.activity()
        assert run.request.parentTraceContext.traceParent.startswith(f"00-{_TRACE}-")
