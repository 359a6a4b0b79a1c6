"""Instances that stand still until somebody repairs what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

from dapr_workflow_sdk.engine.conclusion import conclude, reason_to_stall
from dapr_workflow_sdk.engine.hub import EngineHub
from dapr_workflow_sdk.engine.state import InstanceState
from dapr_workflow_sdk.engine.stores.base import Store
from dapr_workflow_sdk.engine.transitions import create, event_at, stall, unstall
from dapr_workflow_sdk.errors import WorkflowNotFinishedError, WorkflowStalledError
from dapr_workflow_sdk.taskhub.port import Milestone, TurnItem
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.builders import EPOCH_SECONDS, started
from tests.engine.support import (
    DAY,
    Worker,
    engine,
    purge,
    raise_event,
    resume,
    standing,
    start,
    start_activity,
    status,
    suspend,
    terminate,
    told,
    version_not_available,
)
from tests.worker.support import activity_call, answer_to, complete, kinds, on_loop, result_of, timer

_NOW = EPOCH_SECONDS * 1_000_000_000
_MISMATCH = pb.STALLED_REASON_PATCH_MISMATCH
_NO_VERSION = pb.STALLED_REASON_VERSION_NOT_AVAILABLE


def instance(*turns: pb.WorkflowVersion) -> InstanceState:
    """An instance that took turns with code of these versions."""
    state, _ = create("app", 1, started(), _NOW, 1)
    for version in turns:
        marker = event_at(_NOW)
        marker.workflowStarted.SetInParent()
        taken = list(state.inbox)
        answer = pb.WorkflowResponse(version=version)
        conclude(state, taken, [marker, *(item.event for item in taken)], answer, _NOW, lambda: "next")
    return state


def patched(*patches: str, name: str = "") -> pb.WorkflowVersion:
    version = pb.WorkflowVersion(patches=patches)
    if name:
        version.name = name
    return version


class TestReasons:
    @pytest.mark.parametrize(
        ("then", "now", "text"),
        [
            (["a"], [], "Patch mismatch. History patches: [a], current patches: []. "),
            (["a", "b"], ["a"], "Patch mismatch. History patches: [a, b], current patches: [a]. "),
            (["a", "b"], ["b", "a"], "Patch mismatch. History patches: [a, b], current patches: [b, a]. "),
            (["a"], ["b", "a"], "Patch mismatch. History patches: [a], current patches: [b, a]. "),
        ],
    )
    def test_patches_of_the_history_must_be_met_again_in_order(
        self, then: list[str], now: list[str], text: str
    ) -> None:
        answer = pb.WorkflowResponse(version=patched(*now))
        assert reason_to_stall(instance(patched(*then)), answer) == (_MISMATCH, text)

    @pytest.mark.parametrize(("then", "now"), [([], []), ([], ["a"]), (["a"], ["a"]), (["a"], ["a", "b"])])
    def test_the_same_patches_and_new_ones_after_them_are_right(self, then: list[str], now: list[str]) -> None:
        assert reason_to_stall(instance(patched(*then)), pb.WorkflowResponse(version=patched(*now))) is None

    def test_a_worker_that_knows_no_patches_answers_an_instance_without_any(self) -> None:
        assert reason_to_stall(instance(patched()), pb.WorkflowResponse()) is None
        assert reason_to_stall(instance(patched("a")), pb.WorkflowResponse()) is not None

    def test_patches_add_up_over_the_turns(self) -> None:
        state = instance(patched("a"), patched("a", "b"))
        assert state.patches == ("a", "b")
        assert reason_to_stall(state, pb.WorkflowResponse(version=patched("a", "b", "c"))) is None
        assert reason_to_stall(state, pb.WorkflowResponse(version=patched("a"))) is not None

    @pytest.mark.parametrize(
        ("state", "answered", "named"),
        [
            (instance(patched(name="v1")), "", "v1"),
            (instance(patched(name="v1"), patched(name="v2")), "v9", "v2"),
            (instance(), "v3", "v3"),
            (instance(), "", ""),
        ],
    )
    def test_a_version_that_is_missing_is_named_as_the_history_does(
        self, state: InstanceState, answered: str, named: str
    ) -> None:
        answer = pb.WorkflowResponse(actions=[version_not_available()], version=patched(name=answered))
        assert reason_to_stall(state, answer) == (_NO_VERSION, f"Version not available: {named}")

    def test_a_worker_whose_code_does_not_match_the_history_says_so_and_nothing_of_its_answer_happens(self) -> None:
        failing = pb.CompleteWorkflowAction(workflowStatus=pb.WORKFLOW_STATUS_FAILED)
        answer = pb.WorkflowResponse(
            actions=[pb.WorkflowAction(id=1, completeWorkflow=failing)], historyMismatch="call 1 is another one"
        )
        told = (pb.STALLED_REASON_HISTORY_MISMATCH, "call 1 is another one")
        assert reason_to_stall(instance(patched()), answer) == told


class TestStall:
    def test_is_an_event_of_the_history_and_shows(self) -> None:
        state = instance(patched("a"))
        change = stall(state, _MISMATCH, "why", _NOW + 5)
        assert change is not None
        (event,) = change.history
        assert (event.executionStalled.reason, event.executionStalled.description) == (_MISMATCH, "why")
        assert (change.history_start, len(state.history)) == (2, 3)
        assert (state.row.stalled, state.row.stalled_because, state.row.updated) == (_MISMATCH, "why", _NOW + 5)
        assert state.row.status == pb.WORKFLOW_STATUS_STALLED
        assert change.row == state.row

    def test_for_the_same_reason_is_no_second_event(self) -> None:
        state = instance(patched("a"))
        stall(state, _MISMATCH, "why", _NOW)
        assert stall(state, _MISMATCH, "why", _NOW + 1) is None
        assert len(state.history) == 3
        assert stall(state, _MISMATCH, "another text", _NOW + 2) is None
        assert stall(state, _NO_VERSION, "another text", _NOW + 3) is not None

    def test_for_another_mismatch_with_the_history_is_told_once_more(self) -> None:
        state = instance(patched())
        mismatch = pb.STALLED_REASON_HISTORY_MISMATCH
        assert stall(state, mismatch, "call 1 is another one", _NOW) is not None
        assert stall(state, mismatch, "call 1 is another one", _NOW + 1) is None
        assert stall(state, mismatch, "call 2 is missing", _NOW + 2) is not None
        assert state.row.stalled_because == "call 2 is missing"

    def test_is_shown_before_a_suspension_and_not_after_the_end(self) -> None:
        state = instance(patched())
        state.row.suspended = True
        stall(state, _MISMATCH, "why", _NOW)
        assert state.row.status == pb.WORKFLOW_STATUS_STALLED
        state.row.ended = pb.WORKFLOW_STATUS_COMPLETED
        assert state.row.status == pb.WORKFLOW_STATUS_COMPLETED

    def test_keeps_what_is_in_the_inbox_and_ends_with_the_next_turn(self) -> None:
        state = instance()
        stall(state, _NO_VERSION, "why", _NOW)
        assert kinds([item.event for item in state.inbox]) == ["executionStarted"]
        marker = event_at(_NOW)
        marker.workflowStarted.SetInParent()
        taken = list(state.inbox)
        conclude(state, taken, [marker, taken[0].event], pb.WorkflowResponse(), _NOW, lambda: "next")
        assert (state.row.stalled, state.row.stalled_because) == (None, None)
        assert kinds(state.history) == ["executionStalled", "workflowStarted", "executionStarted"]

    def test_can_be_taken_back(self) -> None:
        state = instance(patched())
        stall(state, _MISMATCH, "why", _NOW)
        change = unstall(state)
        assert state.row.status == pb.WORKFLOW_STATUS_RUNNING
        assert change.row == state.row


# ---- on the hub ------------------------------------------------------------------------------------------------


async def stalled_by_a_patch(hub: EngineHub, worker: Worker, instance_id: str = "one") -> None:
    """An instance whose patch has gone from the code."""
    await start(hub, instance_id)
    await worker.reply(await worker.turn(), patches=["fix"])
    await raise_event(hub, instance_id, data="1")
    await worker.reply(await worker.turn())


def stalls(history: Any) -> list[str]:
    """Texts of the stalls in a history."""
    return [event.executionStalled.description for event in history if event.HasField("executionStalled")]


_PATCH_TEXT = "Patch mismatch. History patches: [fix], current patches: []. "


@on_loop
async def test_a_patch_that_is_missing_stalls_the_instance(caplog: pytest.LogCaptureFixture) -> None:
    async with engine() as hub, Worker(hub) as worker:
        await stalled_by_a_patch(hub, worker)
        assert await status(hub) == "STALLED"
        history = await hub.history("one")
        assert kinds(history) == ["workflowStarted", "executionStarted", "executionStalled"]
        assert stalls(history) == [_PATCH_TEXT]
        assert history[-1].executionStalled.reason == _MISMATCH
        assert history[-1].eventId == -1
        await worker.nothing()
    (record,) = [record for record in caplog.records if "stalled" in record.getMessage()]
    assert _PATCH_TEXT in record.getMessage()
    assert "flow one" in record.getMessage()


@on_loop
async def test_a_version_that_is_missing_stalls_the_instance() -> None:
    async with engine() as hub, Worker(hub) as worker:
        await start(hub)
        await worker.reply(await worker.turn(), version="v1")
        await raise_event(hub)
        await worker.reply(await worker.turn(), activity_call(1), version_not_available(2))
        assert await status(hub) == "STALLED"
        assert stalls(await hub.history("one")) == ["Version not available: v1"]
        # Nothing of the answer happens.
        await worker.nothing()


@on_loop
async def test_a_worker_that_comes_later_gets_the_turn_again() -> None:
    async with engine() as hub, Worker(hub) as worker:
        await stalled_by_a_patch(hub, worker)
        # The second has the old code, too; the first one's reason stays the only one.
        async with Worker(hub) as second:
            turn = await next_turn(worker, second)
            assert kinds(turn.new) == ["workflowStarted", "eventRaised"]
            await worker.reply(turn)
            assert stalls(await hub.history("one")) == [_PATCH_TEXT]
            assert await status(hub) == "STALLED"
        async with Worker(hub) as repaired:
            turn = await next_turn(worker, repaired)
            assert turn.new[1].eventRaised.input.value == "1"
            assert kinds(turn.past)[-1] == "executionStalled"
            assert await status(hub) == "STALLED"
            await repaired.reply(turn, activity_call(1), patches=["fix", "more"])
            assert await status(hub) == "RUNNING"
            assert kinds(await hub.history("one")) == [
                "workflowStarted",
                "executionStarted",
                "executionStalled",
                "workflowStarted",
                "eventRaised",
                "taskScheduled",
            ]


async def next_turn(*workers: Worker) -> TurnItem:
    """The turn that one of the workers gets."""
    waiting = [asyncio.ensure_future(worker.turn()) for worker in workers]
    done, left = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=10)
    for task in left:
        task.cancel()
    await asyncio.wait(waiting)
    return done.pop().result()


@on_loop
async def test_another_reason_is_another_event() -> None:
    async with engine() as hub:
        async with Worker(hub) as worker:
            await stalled_by_a_patch(hub, worker)
        async with Worker(hub) as other:
            await other.reply(await other.turn(), patches=["other"])
        assert stalls(await hub.history("one")) == [_PATCH_TEXT]
        async with Worker(hub) as third:
            await third.reply(await third.turn(), version_not_available(), version="v7")
        assert stalls(await hub.history("one"))[1:] == ["Version not available: v7"]


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(raise_event, id="raise"),
        pytest.param(suspend, id="suspend"),
        pytest.param(resume, id="resume"),
        pytest.param(terminate, id="terminate"),
        pytest.param(lambda hub: purge(hub, "one"), id="purge"),
    ],
)
@on_loop
async def test_what_is_asked_of_a_stalled_instance_is_refused(operation: Callable[[EngineHub], Awaitable[Any]]) -> None:
    async with engine() as hub, Worker(hub) as worker:
        await stalled_by_a_patch(hub, worker)
        before = list(await hub.history("one"))
        with pytest.raises(WorkflowStalledError) as refused:
            await asyncio.wait_for(operation(hub), 2)
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert refused.value.details().startswith("workflow instance 'one' is stalled: Patch mismatch.")
        assert await status(hub) == "STALLED"
        # Nothing was put into its inbox.
        async with Worker(hub) as repaired:
            turn = await next_turn(worker, repaired)
            assert kinds(turn.new) == ["workflowStarted", "eventRaised"]
            assert list(turn.past) == before


@on_loop
async def test_a_stalled_instance_can_be_purged_by_force_and_its_id_used_again() -> None:
    async with engine() as hub, Worker(hub) as worker:
        await stalled_by_a_patch(hub, worker)
        assert await purge(hub, "one", force=True) == 1
        assert await status(hub) == "MISSING"
        async with Worker(hub) as second:
            await second.nothing()
        await start(hub)
        await worker.reply(await worker.turn(), complete(1))
        assert await status(hub) == "COMPLETED"


@on_loop
async def test_a_parent_of_a_stalled_child_cannot_be_purged() -> None:
    async with engine() as hub, Worker(hub) as worker:
        await start(hub, "parent")
        call = pb.CreateChildWorkflowAction(instanceId="kid", name="kid")
        await worker.play(pb.WorkflowAction(id=1, createChildWorkflow=call), complete(2))
        await worker.reply(await worker.turn(), version_not_available(), version="v1")
        with pytest.raises(WorkflowStalledError, match="'kid' is stalled"):
            await purge(hub, "parent")
        with pytest.raises(WorkflowNotFinishedError):
            await start(hub, "running")
            await purge(hub, "running")
        assert await purge(hub, "parent", force=True) == 2


@on_loop
async def test_a_stalled_instance_survives_the_engine(reopen: Callable[[], Store]) -> None:
    async with engine(reopen()) as hub, Worker(hub) as worker:
        await stalled_by_a_patch(hub, worker)
        before = await hub.state("one", payloads=True)
    async with engine(reopen()) as hub:
        assert await status(hub) == "STALLED"
        assert await hub.state("one", payloads=True) == before
        with pytest.raises(WorkflowStalledError, match="Patch mismatch"):
            await raise_event(hub)
        async with Worker(hub) as worker:
            turn = await worker.turn()
            assert kinds(turn.new) == ["workflowStarted", "eventRaised"]
            await worker.reply(turn)
        assert stalls(await hub.history("one")) == [_PATCH_TEXT]
    async with engine(reopen()) as hub, Worker(hub) as worker:
        await worker.reply(await worker.turn(), complete(1, '"repaired"'), patches=["fix"])
        assert await status(hub) == "COMPLETED"
    async with engine(reopen()) as hub, Worker(hub) as worker:
        assert await status(hub) == "COMPLETED"
        await worker.nothing()


@on_loop
async def test_results_and_timers_wait_while_an_instance_stalls(reopen: Callable[[], Store]) -> None:
    clock = standing()
    async with engine(reopen(), clock=clock) as hub, Worker(hub) as worker:
        await start(hub)
        await worker.reply(await worker.turn(), activity_call(1), timer(2, clock.now() + DAY), patches=["fix"])
        run = await worker.activity()
        await raise_event(hub)
        await worker.reply(await worker.turn())
        # Nobody takes the result soon, so it is stored by itself and acknowledged.
        await asyncio.wait_for(hub.complete_activity(result_of(run, "7")), 5)
        clock.advance(DAY)
        await worker.nothing()
        assert await status(hub) == "STALLED"
    async with engine(reopen(), clock=clock) as hub, Worker(hub) as worker:
        found: list[str] = []
        while len(found) < 3:
            turn = await worker.turn()
            found += kinds(turn.new[1:])
            await worker.reply(turn, patches=["fix"])
        assert sorted(found) == ["eventRaised", "taskCompleted", "timerFired"]
        await worker.nothing()


@on_loop
async def test_clients_see_that_an_instance_they_wait_for_has_begun_when_it_stalls_at_once() -> None:
    async with engine() as hub, Worker(hub) as worker:
        await start(hub)
        waiting = asyncio.ensure_future(hub.wait("one", Milestone.STARTED, payloads=False))
        await worker.reply(await worker.turn(), version_not_available(), version="v1")
        assert await told(waiting) == "STALLED"


@on_loop
async def test_a_late_answer_to_the_turn_that_stalled_changes_nothing() -> None:
    async with engine() as hub, Worker(hub) as worker:
        await start(hub)
        turn = await worker.turn()
        await worker.reply(turn, version_not_available(), version="v1")
        await hub.complete_turn(answer_to(turn, complete(1)))
        await hub.complete_turn(answer_to(turn, complete(1), token=""))
        assert await status(hub) == "STALLED"


@on_loop
async def test_a_turn_that_is_too_large_for_its_worker_stalls_the_instance() -> None:
    async with engine() as hub, Worker(hub) as worker:
        await start(hub, data='"large"')
        turn = await worker.turn()
        await hub.refuse(turn, "The turn is too large.")
        assert await status(hub) == "STALLED"
        (event,) = [event for event in await hub.history("one") if event.HasField("executionStalled")]
        assert event.executionStalled.reason == pb.STALLED_REASON_PAYLOAD_SIZE_EXCEEDED
        await hub.refuse(turn, "Once more.")
        await worker.answer(turn, complete(1))
        assert stalls(await hub.history("one")) == ["The turn is too large."]
        async with Worker(hub) as larger:
            again = await next_turn(worker, larger)
            assert kinds(again.new) == ["workflowStarted", "executionStarted"]
            await larger.answer(again, complete(1))
        assert await status(hub) == "COMPLETED"


@on_loop
async def test_an_activity_that_is_too_large_for_its_worker_stalls_the_instance(reopen: Callable[[], Store]) -> None:
    async with engine(reopen()) as hub, Worker(hub) as worker:
        await start(hub)
        await worker.play(activity_call(1), activity_call(2))
        large, small = await worker.activity(), await worker.activity()
        await hub.refuse(large, "The input of activity 'work' is too large.")
        assert await status(hub) == "STALLED"
        await asyncio.wait_for(worker.finish(small, '"small"'), 5)
        await worker.nothing()
        assert stalls(await hub.history("one")) == ["The input of activity 'work' is too large."]
    # The limit was raised, and the engine started again.
    async with engine(reopen()) as hub, Worker(hub) as worker:
        items = [await worker.item(), await worker.item()]
        (turn,) = [item for item in items if isinstance(item, TurnItem)]
        (run,) = [item for item in items if not isinstance(item, TurnItem)]
        assert run.request.taskId == 1
        await hub.complete_turn(answer_to(turn))
        done = asyncio.ensure_future(worker.finish(run, '"large"'))
        await worker.play(complete(3))
        await done
        assert await status(hub) == "COMPLETED"


@on_loop
async def test_an_activity_that_is_refused_during_a_turn_is_not_lost() -> None:
    """The turn that was out must not take the stall back and leave the activity to nobody."""
    async with engine() as hub, Worker(hub) as worker:
        run = await start_activity(hub, worker)
        await raise_event(hub)
        turn = await worker.turn()
        await hub.refuse(run, "too large")
        await worker.answer(turn)
        if await status(hub) == "STALLED":
            return
        await worker.activity(1)


@on_loop
async def test_a_stateful_worker_is_not_taken_to_have_what_could_not_be_sent() -> None:
    async with engine() as hub, Worker(hub, stateful=True) as worker:
        run = await start_activity(hub, worker)
        done = asyncio.ensure_future(worker.finish(run, '"large"'))
        refused = await worker.item()
        assert isinstance(refused, TurnItem)
        await hub.refuse(refused, "too large")
        await asyncio.wait_for(done, 5)
        async with Worker(hub) as second:
            turn = await next_turn(worker, second)
        # The refused turn never reached the worker: it has no event at all, or those of its first turn.
        assert turn.cached == 0
        assert turn.cached + len(turn.past) == len(await hub.history("one"))


@on_loop
async def test_a_termination_that_came_before_the_stall_does_not_wait_for_the_repair() -> None:
    """It was accepted; its client must learn that the instance ended, or that it stands still."""
    async with engine() as hub, Worker(hub) as worker:
        await start(hub)
        await worker.reply(await worker.turn(), patches=["fix"])
        ending = asyncio.ensure_future(terminate(hub))
        turn = await worker.turn()
        assert kinds(turn.new) == ["workflowStarted", "executionTerminated"]
        await worker.reply(turn)
        done, _ = await asyncio.wait([ending], timeout=2)
        ended = await status(hub)
        if not done:
            ending.cancel()
            await asyncio.wait([ending])
        assert done, f"the client waits, and the instance is {ended}"
        if ending.exception() is None:
            assert ended == "TERMINATED"
        else:
            assert isinstance(ending.exception(), WorkflowStalledError)
