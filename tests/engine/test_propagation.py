"""Histories that workflows hand down to their calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from dapr_workflow_sdk.engine.propagation import handed_down
from dapr_workflow_sdk.engine.stores.base import Store
from dapr_workflow_sdk.engine.transitions import create
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.builders import INSTANCE, raised, started, turn_marker
from tests.engine.support import Worker, engine, start
from tests.worker.support import activity_call, again, child_call, complete, kinds, on_loop

OWN = pb.HISTORY_PROPAGATION_SCOPE_OWN_HISTORY
LINEAGE = pb.HISTORY_PROPAGATION_SCOPE_LINEAGE
NONE = pb.HISTORY_PROPAGATION_SCOPE_NONE


def _events(chunk: pb.PropagatedHistoryChunk) -> list[str]:
    return kinds([pb.HistoryEvent.FromString(event) for event in chunk.rawEvents])


def _owners(history: pb.PropagatedHistory | None) -> list[str]:
    return [] if history is None else [chunk.instanceId for chunk in history.chunks]


def scoped(action: pb.WorkflowAction, scope: pb.HistoryPropagationScope | None) -> pb.WorkflowAction:
    """The same call, with a scope."""
    if scope is not None:
        call = action.scheduleTask if action.HasField("scheduleTask") else action.createChildWorkflow
        call.historyPropagationScope = scope
    return action


class TestHandedDown:
    _PAST: Sequence[pb.HistoryEvent] = (turn_marker(), started(), raised("go", "1"))

    def test_is_the_callers_history_and_who_the_caller_is(self) -> None:
        row = create("shop", 1, started("order"), 0, 1)[0].row
        history = handed_down(OWN, row, self._PAST)
        (chunk,) = history.chunks
        assert history.scope == OWN
        assert (chunk.appId, chunk.instanceId, chunk.workflowName) == ("shop", INSTANCE, "order")
        assert [pb.HistoryEvent.FromString(event) for event in chunk.rawEvents] == list(self._PAST)

    @pytest.mark.parametrize(("scope", "owners"), [(OWN, [INSTANCE]), (LINEAGE, ["eldest", "elder", INSTANCE])])
    def test_has_what_the_caller_was_given_only_if_the_lineage_is_asked_for(
        self, scope: pb.HistoryPropagationScope, owners: list[str]
    ) -> None:
        given = pb.PropagatedHistory(
            chunks=[pb.PropagatedHistoryChunk(instanceId=name) for name in ("eldest", "elder")]
        )
        row = replace(create("shop", 1, started("order"), 0, 1)[0].row, propagated=given)
        assert _owners(handed_down(scope, row, self._PAST)) == owners
        assert _owners(given) == ["eldest", "elder"], "what was given stays as it was"

    def test_of_a_caller_that_was_given_nothing_is_its_own(self) -> None:
        row = create("shop", 1, started("order"), 0, 1)[0].row
        assert _owners(handed_down(LINEAGE, row, [])) == [INSTANCE]


@pytest.mark.parametrize("scope", [None, NONE, OWN, LINEAGE])
@on_loop
async def test_an_activity_is_given_the_history_before_its_call(scope: pb.HistoryPropagationScope | None) -> None:
    async with engine(app_id="shop") as hub, Worker(hub) as worker:
        await start(hub)
        await worker.play(activity_call(1), scoped(activity_call(2), scope))
        plain, asked = await worker.activity(), await worker.activity()
        assert not plain.request.HasField("propagatedHistory")
        if not scope:
            assert not asked.request.HasField("propagatedHistory")
        else:
            (chunk,) = asked.request.propagatedHistory.chunks
            assert asked.request.propagatedHistory.scope == scope
            assert (chunk.appId, chunk.instanceId, chunk.workflowName) == ("shop", "one", "flow")
            assert _events(chunk) == ["workflowStarted", "executionStarted", "taskScheduled"]
        event = (await hub.history("one"))[-1].taskScheduled
        assert event.HasField("historyPropagationScope") is (scope is not None)
        assert event.historyPropagationScope == (scope or NONE)


@on_loop
async def test_a_child_is_given_it_with_each_turn_and_hands_it_on(reopen: Callable[[], Store]) -> None:
    async with engine(reopen()) as hub, Worker(hub) as worker:
        await start(hub, "eldest")
        await worker.play(scoped(child_call(1, "elder"), OWN))
        elder = await worker.turn()
        assert elder.propagated is not None
        assert _owners(elder.propagated) == ["eldest"]
        assert _events(elder.propagated.chunks[0]) == ["workflowStarted", "executionStarted"]
        await worker.answer(elder, scoped(activity_call(1), OWN), scoped(activity_call(2), LINEAGE))
        own, lineage = await worker.activity(), await worker.activity()
        assert _owners(own.request.propagatedHistory) == ["elder"]
        assert _owners(lineage.request.propagatedHistory) == ["eldest", "elder"]
    async with engine(reopen()) as hub, Worker(hub) as worker:
        # Another engine has it from the store.
        runs = {run.request.taskId: run for run in [await worker.activity(), await worker.activity()]}
        assert _owners(runs[2].request.propagatedHistory) == ["eldest", "elder"]
        done = asyncio.ensure_future(worker.finish(runs[1]))
        turn = await worker.play(
            scoped(child_call(3, "youngest"), LINEAGE), scoped(child_call(4, "own"), OWN), child_call(5, "none")
        )
        await done
        assert turn.instance_id == "elder"
        assert _owners(turn.propagated) == ["eldest"]
        given = {turn.instance_id: _owners(turn.propagated) for turn in [await worker.turn() for _ in range(3)]}
        assert given == {"youngest": ["eldest", "elder"], "own": ["elder"], "none": []}


@on_loop
async def test_a_next_generation_keeps_what_was_given(reopen: Callable[[], Store]) -> None:
    async with engine(reopen()) as hub, Worker(hub) as worker:
        await start(hub, "parent")
        await worker.play(scoped(child_call(1, "kid"), OWN))
        first = await worker.play(again(1))
        assert _owners(first.propagated) == ["parent"]
    async with engine(reopen()) as hub, Worker(hub) as worker:
        assert _owners((await worker.turn()).propagated) == ["parent"]


@on_loop
async def test_an_id_used_again_is_given_nothing_of_the_old_instance(reopen: Callable[[], Store]) -> None:
    async with engine(reopen()) as hub, Worker(hub) as worker:
        await start(hub, "parent")
        await worker.play(scoped(child_call(1, "kid"), OWN), complete(2))
        await worker.play(complete(1))
        await start(hub, "kid")
        assert (await worker.turn()).propagated is None
    async with engine(reopen()) as hub, Worker(hub) as worker:
        assert (await worker.turn()).propagated is None


@on_loop
async def test_a_call_made_anew_is_given_what_it_was_given_the_first_time() -> None:
    async with engine() as hub, Worker(hub) as worker:
        await start(hub)
        await worker.play(scoped(activity_call(1), OWN), scoped(child_call(2, "kid"), OWN), complete(3))
        items = [await worker.item(), await worker.item()]
        (first,) = [item for item in items if hasattr(item, "request")]
        await worker.finish(first)
        await hub.rerun(pb.RerunWorkflowFromEventRequest(sourceInstanceID="one", eventID=1, newInstanceID="two"))
        run = await worker.activity()
        assert run.request.workflowInstance.instanceId == "two"
        assert _owners(run.request.propagatedHistory) == ["two"]
        await hub.rerun(pb.RerunWorkflowFromEventRequest(sourceInstanceID="one", eventID=2, newInstanceID="three"))
        turn = next(item for item in [await worker.item(), await worker.item()] if hasattr(item, "new"))
        assert _owners(turn.propagated) == ["three"]
