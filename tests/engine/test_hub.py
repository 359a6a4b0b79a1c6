"""The engine's hub, used through the port by workers played by hand."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from dapr_workflow_sdk import EmbeddedEngine, VirtualClock, WorkflowClient, WorkflowRuntime
from dapr_workflow_sdk.engine.clock import SECOND
from dapr_workflow_sdk.engine.hub import EngineHub
from dapr_workflow_sdk.engine.stores.base import Store
from dapr_workflow_sdk.engine.stores.memory import MemoryStore
from dapr_workflow_sdk.engine.stores.sqlite import SqliteStore
from dapr_workflow_sdk.errors import (
    InvalidOperationError,
    RuntimeStateError,
    TaskHubError,
    TaskHubUnavailableError,
    WorkflowAlreadyExistsError,
    WorkflowNotFinishedError,
    WorkflowNotFoundError,
)
from dapr_workflow_sdk.portal import PORTAL
from dapr_workflow_sdk.taskhub.port import ActivityItem, Capabilities, Milestone, TurnItem
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import text_of, timestamp_from_ns
from tests.engine.support import (
    DAY,
    Worker,
    engine,
    output,
    purge,
    raise_event,
    start,
    start_activity,
    status,
    terminate,
    told,
    wakes,
)
from tests.worker.support import (
    FlakyStore,
    Hand,
    SlowStore,
    activity_call,
    again,
    answer_to,
    child_call,
    complete,
    kinds,
    on_loop,
    python_child,
    result_of,
    run_python,
    soon,
    timer,
    within,
)

# ---- who gets what ---------------------------------------------------------------------------------------------


@on_loop
async def test_a_turn_goes_to_another_worker_when_the_first_one_leaves() -> None:
    async with engine() as hub, Hand(hub) as stays:
        async with Hand(hub) as leaves:
            await start(hub, "a")
            await start(hub, "b")
            lost, kept = await leaves.turn(), await stays.turn()
        again_ = await stays.turn()
        assert again_.instance_id == lost.instance_id != kept.instance_id
        assert again_.token != lost.token
        assert kinds(again_.new) == kinds(lost.new) == ["workflowStarted", "executionStarted"]
        await stays.answer(lost, complete(1, '"late"'))
        assert await status(hub, lost.instance_id) == "PENDING"
        await stays.answer(again_, complete(1, '"in time"'))
        state = await hub.state(lost.instance_id, payloads=True)
        assert state is not None
        assert state.output.value == '"in time"'


@on_loop
async def test_an_activity_goes_to_another_worker_when_the_first_one_leaves() -> None:
    async with engine() as hub:
        await start(hub)
        async with Hand(hub) as leaves:
            await leaves.play(activity_call(1))
            lost = await leaves.activity()
        async with Hand(hub) as stays:
            found = await stays.activity()
            assert found.request == lost.request
            assert found.token != lost.token
            await stays.finish(lost, '"stale"')
            assert await status(hub) == "RUNNING"
            acknowledged = asyncio.ensure_future(stays.finish(found, '"fresh"'))
            turn = await stays.play(complete(2))
            await acknowledged
            assert turn.new[-1].taskCompleted.result.value == '"fresh"'


@on_loop
async def test_a_result_that_comes_after_its_worker_left_counts_while_nobody_else_has_the_activity() -> None:
    async with engine() as hub:
        await start(hub)
        async with Hand(hub) as leaves:
            await leaves.play(activity_call(1))
            lost = await leaves.activity()
        # With no worker at all the result is stored by itself, so this returns.
        await asyncio.wait_for(hub.complete_activity(result_of(lost, "7")), 5)
        async with Hand(hub) as later:
            turn = await later.play(complete(2))
            assert turn.new[-1].taskCompleted.result.value == "7"
            await later.nothing()


@on_loop
async def test_workers_get_no_more_than_they_offer() -> None:
    async with engine() as hub:
        for number in range(5):
            await start(hub, f"i{number}")
        async with Hand(hub, turns=1, activities=2) as worker:
            calls = [activity_call(n) for n in range(1, 5)]
            first = await worker.turn()
            await worker.nothing()
            await worker.answer(first, *calls)
            # Its turn and its first activities come in any order, and then nothing more.
            items = [await worker.item() for _ in range(3)]
            assert sum(isinstance(item, TurnItem) for item in items) == 1
            await worker.nothing()
            runs = [item for item in items if not isinstance(item, TurnItem)]
            done = asyncio.ensure_future(worker.finish(runs[0]))
            third = await worker.activity()
            assert third.request.taskId == 3
            await worker.nothing()
            turn = next(item for item in items if isinstance(item, TurnItem))
            await worker.answer(turn, complete(1))
            assert (await worker.turn()).instance_id not in (turn.instance_id,)
            done.cancel()


@on_loop
async def test_two_workers_take_turns() -> None:
    async with engine() as hub, Hand(hub) as left, Hand(hub) as right:
        for number in range(10):
            await start(hub, f"i{number}")
        got = {"left": [await left.turn() for _ in range(5)], "right": [await right.turn() for _ in range(5)]}
        await left.nothing()
        await right.nothing()
        assert len({item.instance_id for items in got.values() for item in items}) == 10


@on_loop
async def test_a_full_worker_leaves_the_rest_to_the_others() -> None:
    async with engine() as hub, Hand(hub, turns=1) as small, Hand(hub) as large:
        for number in range(10):
            await start(hub, f"i{number}")
        await small.turn()
        for _ in range(9):
            await large.turn()
        await small.nothing()


@on_loop
async def test_completions_without_a_token_are_taken_and_doubled_ones_ignored() -> None:
    async with engine() as hub, Hand(hub) as worker:
        await start(hub)
        turn = await worker.turn()
        await worker.answer(turn, activity_call(1), token="")
        await worker.answer(turn, complete(9, '"twice"'), token="")
        await worker.answer(turn, complete(9, '"twice"'))
        run = await worker.activity()
        acknowledged = asyncio.ensure_future(worker.finish(run, "1", token=""))
        second = await worker.turn()
        await worker.finish(run, "2")
        await worker.finish(run, "2", token="")
        await worker.nothing()
        assert second.new[-1].taskCompleted.result.value == "1"
        await worker.answer(second, complete(2, '"once"'))
        await acknowledged
        await worker.finish(run, "3")
        await worker.answer(second, complete(2, '"thrice"'))
        state = await hub.state("one", payloads=True)
        assert state is not None
        assert state.output.value == '"once"'


@on_loop
async def test_completions_that_fit_nothing_are_ignored() -> None:
    async with engine() as hub, Hand(hub) as worker:
        await start(hub)
        turn = await worker.turn()
        await worker.answer(turn, complete(1), token="no such token")
        await hub.complete_turn(pb.WorkflowResponse(instanceId="nobody", actions=[complete(1)]))
        await hub.complete_activity(pb.ActivityResponse(instanceId="nobody", taskId=1))
        await hub.complete_activity(pb.ActivityResponse(instanceId="one", taskId=1, completionToken="no such token"))
        await worker.answer(turn, activity_call(1))
        await worker.activity()
        assert await status(hub) == "RUNNING"


@on_loop
async def test_a_result_with_the_token_of_another_activity_does_not_lose_that_activity() -> None:
    async with engine() as hub:
        await start(hub)
        async with Hand(hub) as confused:
            await confused.play(activity_call(1), activity_call(2))
            first, second = await confused.activity(), await confused.activity()
            await hub.complete_activity(result_of(first, "1", token=second.token))
            await hub.complete_activity(pb.ActivityResponse(instanceId="other", taskId=1, completionToken=first.token))
        async with Hand(hub) as worker:
            left = {(await worker.activity()).request.taskId, (await worker.activity()).request.taskId}
            assert left == {1, 2}


@on_loop
async def test_results_are_stored_when_the_last_worker_leaves() -> None:
    store = FlakyStore()
    async with engine(store) as hub:
        await start(hub)
        async with Hand(hub) as worker:
            await worker.play(activity_call(1), activity_call(2))
            first, second = await worker.activity(), await worker.activity()
            acknowledged = asyncio.ensure_future(worker.finish(first, "1"))
            out = await worker.turn()
            also = asyncio.ensure_future(worker.finish(second, "2"))
            await worker.nothing()
            assert not acknowledged.done()
            assert not also.done()
        await asyncio.wait_for(asyncio.gather(acknowledged, also), 5)
        assert out.instance_id == "one"
    async with engine(store) as hub, Hand(hub) as worker:
        turn = await worker.turn()
        assert kinds(turn.new) == ["workflowStarted", "taskCompleted", "taskCompleted"]
        await worker.answer(turn, complete(3))
        await worker.nothing()


@on_loop
async def test_results_are_durable_when_the_engine_closes_right_after_the_last_worker_left() -> None:
    store = FlakyStore()
    hub = EngineHub(store)
    await hub.open()
    await start(hub)
    async with Hand(hub) as worker:
        await worker.play(activity_call(1))
        run = await worker.activity()
        sent = asyncio.ensure_future(worker.finish(run, "1"))
        await worker.turn()
    await hub.aclose()
    answers = await asyncio.gather(sent, return_exceptions=True)
    async with engine(store) as hub, Hand(hub) as worker:
        item = await worker.item()
        # Either the result was stored and acknowledged, or it was refused and the activity runs again.
        assert (answers[0] is None) == isinstance(item, TurnItem), f"{answers}, then {item}"


@on_loop
async def test_an_answer_whose_caller_goes_away_is_carried_out_all_the_same() -> None:
    """A gRPC call that breaks, or a worker's deadline, cancels the call while the commit is on its way."""
    store = SlowStore()
    async with engine(store) as hub:
        async with Hand(hub) as worker:
            await start(hub)
            turn = await worker.turn()
            store.entered.clear()
            store.gate.clear()
            call = asyncio.ensure_future(worker.answer(turn, activity_call(1), timer(2, time.time_ns())))
            await soon(store.entered.is_set, "the commit")
            call.cancel()
            await asyncio.wait([call])
        store.gate.set()
        async with Hand(hub) as other:
            items = [await other.item(2), await other.item(2)]
            assert {type(item).__name__ for item in items} == {"TurnItem", "ActivityItem"}
            turn = next(item for item in items if isinstance(item, TurnItem))
            assert kinds(turn.past) == ["workflowStarted", "executionStarted", "taskScheduled", "timerCreated"]


@on_loop
async def test_an_end_whose_caller_goes_away_is_told_to_waiting_clients() -> None:
    store = SlowStore()
    async with engine(store) as hub, Hand(hub) as worker:
        await start(hub)
        turn = await worker.turn()
        waiting = asyncio.ensure_future(hub.wait("one", Milestone.COMPLETED, payloads=False))
        await asyncio.sleep(0)
        store.entered.clear()
        store.gate.clear()
        call = asyncio.ensure_future(worker.answer(turn, complete(1)))
        await soon(store.entered.is_set, "the commit")
        call.cancel()
        await asyncio.wait([call])
        store.gate.set()
        assert await told(waiting) == "COMPLETED"


@on_loop
async def test_a_result_whose_caller_goes_away_still_counts() -> None:
    async with engine() as hub, Hand(hub) as worker:
        run = await start_activity(hub, worker)
        call = asyncio.ensure_future(worker.finish(run, "1"))
        turn = await worker.turn()
        call.cancel()
        await asyncio.wait([call])
        await worker.answer(turn, complete(2))
        assert await status(hub) == "COMPLETED"


@on_loop
async def test_a_start_whose_caller_goes_away_leaves_a_whole_instance_or_none() -> None:
    store = SlowStore()
    async with engine(store) as hub, Hand(hub) as worker:
        store.entered.clear()
        store.gate.clear()
        call = asyncio.ensure_future(start(hub))
        await soon(store.entered.is_set, "the commit")
        call.cancel()
        await asyncio.wait([call])
        store.gate.set()
        await worker.play(complete(1))
        assert await status(hub) == "COMPLETED"


# ---- the life of an instance -----------------------------------------------------------------------------------


@on_loop
async def test_terminating_without_a_worker_ends_the_instance() -> None:
    async with engine() as hub:
        await start(hub)
        await asyncio.wait_for(terminate(hub, output="0"), 2)
        state = await hub.state("one", payloads=True)
        assert state is not None
        assert state.workflowStatus == pb.WORKFLOW_STATUS_TERMINATED
        assert state.output.value == "0"
        await terminate(hub)
        with pytest.raises(WorkflowNotFoundError):
            await terminate(hub, "nobody")
        async with Hand(hub) as worker:
            await worker.nothing()


@on_loop
async def test_terminating_without_a_worker_ends_the_children_too() -> None:
    async with engine() as hub:
        await start(hub, "parent")
        async with Hand(hub) as worker:
            await worker.play(child_call(1, "kid"), child_call(2, "other"))
            for _ in range(2):
                await worker.play(activity_call(1))
        await asyncio.wait_for(terminate(hub, "parent"), 2)
        for name in ("kid", "other"):
            await asyncio.wait_for(hub.wait(name, Milestone.COMPLETED, payloads=False), 2)
            assert await status(hub, name) == "TERMINATED"


@on_loop
async def test_terminating_only_the_parent_leaves_the_children() -> None:
    async with engine() as hub, Hand(hub) as worker:
        await start(hub, "parent")
        await worker.play(child_call(1, "kid"))
        kid = await worker.turn()
        ending = asyncio.ensure_future(terminate(hub, "parent", recursive=False))
        await worker.play(complete(2))
        await ending
        assert await status(hub, "kid") == "PENDING"
        await worker.answer(kid, complete(1))
        assert await status(hub, "kid") == "COMPLETED"


@on_loop
async def test_an_instance_terminated_before_its_worker_vanished_ends_when_it_is_gone() -> None:
    async with engine() as hub:
        async with Hand(hub) as worker:
            await start(hub)
            await worker.turn()
            ending = asyncio.ensure_future(terminate(hub))
            await worker.nothing()
        await asyncio.wait_for(ending, 2)
        assert await status(hub) == "TERMINATED"


@on_loop
async def test_a_worker_that_ignores_a_termination_cannot_stop_it() -> None:
    async with engine() as hub, Hand(hub) as worker:
        await start(hub)
        await worker.play(activity_call(1))
        await worker.activity()
        ending = asyncio.ensure_future(terminate(hub, output='"end"'))
        turn = await worker.turn()
        assert kinds(turn.new) == ["workflowStarted", "executionTerminated"]
        await worker.answer(turn)
        await asyncio.wait_for(ending, 2)
        state = await hub.state("one", payloads=True)
        assert state is not None
        assert state.output.value == '"end"'


@on_loop
async def test_an_instance_waits_for_its_scheduled_start() -> None:
    clock = VirtualClock(auto_advance=False)
    async with engine(clock=clock) as hub, Hand(hub) as worker:
        await start(hub, at=clock.now() + DAY)
        await start(hub, "past", at=clock.now() - DAY)
        assert (await worker.play(complete(1))).instance_id == "past"
        await worker.nothing()
        assert await status(hub) == "PENDING"
        await raise_event(hub)
        await worker.nothing()
        with pytest.raises(WorkflowAlreadyExistsError):
            await start(hub)
        clock.advance(DAY)
        turn = await worker.turn()
        assert kinds(turn.new) == ["workflowStarted", "executionStarted", "eventRaised"]


@on_loop
async def test_a_scheduled_instance_can_be_terminated_before_it_begins() -> None:
    clock = VirtualClock(auto_advance=False)
    async with engine(clock=clock) as hub:
        await start(hub, at=clock.now() + DAY)
        await asyncio.wait_for(terminate(hub), 2)
        assert await status(hub) == "TERMINATED"
        assert await purge(hub, "one") == 1
        clock.advance(2 * DAY)
        async with Hand(hub) as worker:
            await worker.nothing()


@on_loop
async def test_the_id_of_a_finished_instance_can_be_used_again() -> None:
    async with engine() as hub, Hand(hub) as worker:
        await start(hub, data="1")
        with pytest.raises(WorkflowAlreadyExistsError) as refused:
            await start(hub)
        assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS
        assert refused.value.details() == (
            "failed to create workflow instance: an active workflow with ID 'one' already exists"
        )
        await worker.play(activity_call(1), complete(2, '"old"'))
        old = await worker.activity()
        await start(hub, data="2")
        turn = await worker.turn()
        assert turn.past == []
        assert turn.new[1].executionStarted.input.value == "2"
        await worker.answer(turn, activity_call(1))
        new = await worker.activity()
        # The activity of the old instance has the same number; its result is not for the new one.
        await asyncio.wait_for(worker.finish(old, '"old"'), 2)
        await worker.nothing()
        done = asyncio.ensure_future(worker.finish(new, '"new"'))
        second = await worker.turn()
        assert second.new[-1].taskCompleted.result.value == '"new"'
        await worker.answer(second, complete(2))
        await done


@on_loop
async def test_an_old_activity_does_not_spoil_the_result_of_a_worker_without_tokens() -> None:
    """Workers in other languages answer by instance and number; here both generations have a number one."""
    async with engine() as hub, Hand(hub) as worker:
        old = await start_activity(hub, worker, complete(2))
        new = await start_activity(hub, worker)
        await worker.finish(old, '"old"')
        done = asyncio.ensure_future(worker.finish(new, '"new"', token=""))
        turn = await worker.turn(2)
        assert turn.new[-1].taskCompleted.result.value == '"new"'
        await worker.answer(turn, complete(2))
        await done


async def grow_family(hub: EngineHub, worker: Hand) -> None:
    """A parent, two children and a grandchild, all finished."""
    await start(hub, "parent")
    await worker.play(child_call(1, "kid"), child_call(2, "sister"))
    kid = await worker.turn()
    assert kid.instance_id == "kid"
    await worker.play(complete(1))
    await worker.answer(kid, child_call(1, "grandkid"))
    for _ in range(4):
        turn = await worker.turn()
        if turn.instance_id == "parent" and sum("Completed" in kind for kind in kinds([*turn.past, *turn.new])) < 2:
            await worker.answer(turn)
        else:
            await worker.answer(turn, complete(3))
    assert [await status(hub, name) for name in ("parent", "kid", "sister", "grandkid")] == ["COMPLETED"] * 4


@on_loop
async def test_purging_removes_and_counts_the_children() -> None:
    async with engine() as hub, Hand(hub) as worker:
        await grow_family(hub, worker)
        assert await purge(hub, "parent") == 4
        assert [await status(hub, name) for name in ("parent", "kid", "sister", "grandkid")] == ["MISSING"] * 4
        with pytest.raises(WorkflowNotFoundError) as missing:
            await purge(hub, "parent")
        assert missing.value.details() == "no such instance exists"


@on_loop
async def test_purging_can_leave_the_children_and_skips_those_that_are_gone() -> None:
    async with engine() as hub, Hand(hub) as worker:
        await grow_family(hub, worker)
        assert await purge(hub, "kid", recursive=False) == 1
        assert await status(hub, "grandkid") == "COMPLETED"
        assert await purge(hub, "parent") == 2
        assert await purge(hub, "grandkid") == 1


@on_loop
async def test_what_still_runs_cannot_be_purged_except_by_force() -> None:
    async with engine() as hub:
        async with Hand(hub) as worker:
            await start(hub, "parent")
            await worker.play(child_call(1, "kid"), complete(2))
            with pytest.raises(WorkflowNotFinishedError) as refused:
                await purge(hub, "parent")
            assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert "orchestration has not yet completed" in refused.value.details()
            assert await status(hub, "parent") == "COMPLETED"
            kid = await worker.turn()
            waiting = asyncio.ensure_future(hub.wait("kid", Milestone.COMPLETED, payloads=False))
            await asyncio.sleep(0)
            assert await purge(hub, "parent", force=True) == 2
            assert await asyncio.wait_for(waiting, 2) is None
            await worker.answer(kid, complete(1))
            assert await status(hub, "kid") == "MISSING"
        with pytest.raises(InvalidOperationError, match="needs an instance ID or a filter"):
            await hub.purge(pb.PurgeInstancesRequest())


@on_loop
async def test_a_purged_instance_does_not_come_back_while_its_removal_is_on_its_way_to_the_disk() -> None:
    store = SlowStore()
    async with engine(store) as hub:
        await start(hub)
        store.entered.clear()
        store.gate.clear()
        purging = asyncio.ensure_future(purge(hub, "one", force=True))
        await soon(store.entered.is_set, "the commit")
        raising = asyncio.ensure_future(raise_event(hub))
        await asyncio.sleep(0.01)
        store.gate.set()
        assert await purging == 1
        await asyncio.gather(raising, return_exceptions=True)
        assert await status(hub) == "MISSING"
    async with engine(store) as hub, Hand(hub) as worker:
        await worker.nothing()


@on_loop
async def test_a_child_whose_id_is_taken_fails_in_the_parent() -> None:
    async with engine() as hub, Hand(hub) as worker:
        await start(hub, "taken")
        busy = await worker.turn()
        await start(hub, "parent")
        await worker.play(child_call(1, "taken"))
        turn = await worker.turn()
        assert kinds(turn.new) == ["workflowStarted", "childWorkflowInstanceFailed"]
        failure = turn.new[1].childWorkflowInstanceFailed
        assert failure.taskScheduledId == 1
        assert failure.failureDetails.errorType == "WorkflowInstanceAlreadyExists"
        assert failure.failureDetails.errorMessage == "an active workflow with ID 'taken' already exists"
        await worker.answer(turn, complete(2))
        await worker.answer(busy, complete(1))
        assert await status(hub, "taken") == "COMPLETED"


@on_loop
async def test_a_child_may_take_the_id_of_a_finished_instance() -> None:
    async with engine() as hub, Hand(hub) as worker:
        await start(hub, "used")
        await worker.play(complete(1))
        await start(hub, "parent")
        await worker.play(child_call(1, "used"))
        kid = await worker.play(complete(1, "5"))
        assert kid.instance_id == "used"
        assert kid.new[1].executionStarted.parentInstance.workflowInstance.instanceId == "parent"
        turn = await worker.play(complete(2))
        assert turn.new[1].childWorkflowInstanceCompleted.result.value == "5"


@on_loop
async def test_a_workflow_can_start_detached_workflows() -> None:
    clock = VirtualClock(auto_advance=False)
    async with engine(clock=clock) as hub, Hand(hub) as worker:
        later = timestamp_from_ns(clock.now() + DAY)

        def detached(number: int, instance_id: str, at: Timestamp | None = None) -> pb.WorkflowAction:
            asked = pb.CreateDetachedWorkflowAction(
                instanceId=instance_id, name="free", input=text_of("0"), scheduledStartTimestamp=at
            )
            return pb.WorkflowAction(id=number, createDetachedWorkflow=asked)

        await start(hub)
        await worker.play(detached(1, "free-1"), detached(2, "free-2", later), detached(3, "one"))
        free = await worker.play(complete(1))
        assert free.instance_id == "free-1"
        assert free.new[1].executionStarted.input.value == "0"
        assert not free.new[1].executionStarted.HasField("parentInstance")
        await worker.nothing()
        history = await hub.history("one")
        assert kinds(history)[2:5] == ["detachedWorkflowInstanceCreated"] * 3
        clock.advance(DAY)
        assert (await worker.play(complete(1))).instance_id == "free-2"
        await raise_event(hub)
        await worker.play(complete(4))
        assert await purge(hub, "one") == 1
        assert await status(hub, "free-1") == "COMPLETED"


@on_loop
async def test_a_detached_workflow_without_an_id_is_no_instance_without_an_id() -> None:
    async with engine() as hub, Hand(hub) as worker:
        await start(hub)
        asked = pb.CreateDetachedWorkflowAction(name="free")
        await worker.play(pb.WorkflowAction(id=1, createDetachedWorkflow=asked), complete(2))
        assert await status(hub, "") == "MISSING"
        state = await hub.state("one", payloads=True)
        assert state is not None
        assert state.failureDetails.errorMessage


def send(number: int, target: str, name: str = "ping", data: str | None = "0") -> pb.WorkflowAction:
    """Raises an event for another instance."""
    asked = pb.SendEventAction(instance=pb.WorkflowInstance(instanceId=target), name=name, data=text_of(data))
    return pb.WorkflowAction(id=number, sendEvent=asked)


@on_loop
async def test_a_workflow_can_send_events_to_others_and_to_itself() -> None:
    async with engine() as hub, Hand(hub) as worker:
        await start(hub, "target")
        await worker.play(activity_call(1))
        await worker.activity()
        await start(hub, "sender")
        await worker.play(send(1, "target"), send(2, "sender", "self"), send(3, "nobody"))
        turns = {turn.instance_id: turn for turn in [await worker.turn(), await worker.turn()]}
        (raised,) = [e.eventRaised for e in turns["target"].new if e.HasField("eventRaised")]
        assert (raised.name, raised.input.value) == ("ping", "0")
        (own,) = [e.eventRaised for e in turns["sender"].new if e.HasField("eventRaised")]
        assert own.name == "self"
        assert kinds(turns["sender"].past)[-3:] == ["eventSent"] * 3
        await worker.answer(turns["sender"], send(4, "sender"), complete(5))
        assert await status(hub, "sender") == "COMPLETED"
        await worker.nothing()


@on_loop
async def test_a_workflow_can_terminate_another() -> None:
    async with engine() as hub, Hand(hub) as worker:
        await start(hub, "victim")
        await worker.play(activity_call(1))
        await worker.activity()
        await start(hub, "killer")
        asked = pb.TerminateWorkflowAction(instanceId="victim", reason=text_of('"because"'))
        missing = pb.TerminateWorkflowAction(instanceId="nobody")
        await worker.play(
            pb.WorkflowAction(id=1, terminateWorkflow=asked),
            pb.WorkflowAction(id=2, terminateWorkflow=missing),
            complete(3),
        )
        turn = await worker.turn()
        assert kinds(turn.new) == ["workflowStarted", "executionTerminated"]
        await worker.answer(turn)
        state = await hub.state("victim", payloads=True)
        assert state is not None
        assert state.workflowStatus == pb.WORKFLOW_STATUS_TERMINATED
        assert state.output.value == '"because"'
        assert await status(hub, "killer") == "COMPLETED"


@on_loop
async def test_an_action_the_engine_does_not_know_fails_the_instance() -> None:
    async with engine() as hub, Hand(hub) as worker:
        await start(hub)
        await worker.play(activity_call(1), pb.WorkflowAction(id=7))
        await worker.nothing()
        state = await hub.state("one", payloads=True)
        assert state is not None
        assert state.workflowStatus == pb.WORKFLOW_STATUS_FAILED
        assert "action 7" in state.failureDetails.errorMessage
        assert "unknown" in state.failureDetails.errorMessage


@on_loop
async def test_an_empty_answer_leaves_the_instance_waiting() -> None:
    async with engine() as hub, Hand(hub) as worker:
        await start(hub)
        await worker.play()
        await worker.nothing()
        assert await status(hub) == "RUNNING"
        await raise_event(hub)
        await worker.play(complete(1))


@on_loop
async def test_events_that_come_during_a_turn_make_the_next_one() -> None:
    async with engine() as hub, Hand(hub) as worker:
        await start(hub)
        turn = await worker.turn()
        for number in range(3):
            await raise_event(hub, name=f"e{number}")
        await worker.nothing()
        await worker.answer(turn)
        second = await worker.turn()
        assert [e.eventRaised.name for e in second.new[1:]] == ["e0", "e1", "e2"]
        await worker.answer(second, again(1, '"next"', second.new[2]))
        third = await worker.turn()
        assert third.past == []
        assert kinds(third.new) == ["workflowStarted", "executionStarted", "eventRaised"]


@on_loop
async def test_a_hub_refuses_a_workflow_without_a_name_and_makes_ids() -> None:
    async with engine() as hub:
        with pytest.raises(InvalidOperationError):
            await hub.start(pb.CreateInstanceRequest(instanceId="x"))
        made = await hub.start(pb.CreateInstanceRequest(name="flow"))
        assert len(made) == 36
        assert await status(hub, made) == "PENDING"


# ---- affinity and deltas ---------------------------------------------------------------------------------------


@on_loop
async def test_turns_of_an_instance_go_to_the_worker_that_had_the_last_one() -> None:
    async with engine() as hub, Hand(hub) as left, Hand(hub) as right:
        names = [f"i{number}" for number in range(6)]
        for name in names:
            await start(hub, name)
        own = {"left": [await left.play() for _ in range(3)], "right": [await right.play() for _ in range(3)]}
        for _ in range(3):
            # In another order than before, so that taking turns would mix them up.
            for name in reversed(names):
                await raise_event(hub, name)
            for side, worker in (("left", left), ("right", right)):
                found = {(await worker.play()).instance_id for _ in range(3)}
                assert found == {item.instance_id for item in own[side]}
                await worker.nothing()


@on_loop
async def test_turns_go_elsewhere_when_the_worker_that_had_the_last_one_is_full_or_gone() -> None:
    async with engine() as hub:
        await start(hub, "one")
        async with Hand(hub, turns=1) as small:
            await small.play()
            await start(hub, "two")
            busy = await small.turn()
            async with Hand(hub) as other:
                await raise_event(hub, "one")
                assert (await other.play()).instance_id == "one"
                await small.answer(busy)
                # It is the other's now.
                await raise_event(hub, "one")
                assert (await other.turn()).instance_id == "one"
            turn = await small.play()
            assert turn.instance_id == "one"
            await small.nothing()


async def whole(hub: EngineHub, item: TurnItem, kept: list[pb.HistoryEvent]) -> list[pb.HistoryEvent]:
    """What a stateful worker has after a turn arrived: what it kept, and what it was sent."""
    assert item.cached <= len(kept)
    past = [*kept[: item.cached], *item.past]
    assert past == list(await hub.history(item.instance_id))
    return [*past, *item.new]


@on_loop
async def test_a_stateful_worker_is_sent_what_it_has_not_seen() -> None:
    async with engine() as hub, Worker(hub, stateful=True) as worker:
        await start(hub)
        sizes: list[tuple[int, int]] = []
        kept: list[pb.HistoryEvent] = []
        for number in range(1, 5):
            turn = await worker.turn()
            sizes.append((turn.cached, len(turn.past)))
            kept = await whole(hub, turn, kept)
            await worker.answer(turn, timer(number, time.time_ns() + DAY))
            await raise_event(hub)
        # Each turn adds its marker, one event and one timer; what was sent before is not sent again.
        assert sizes == [(0, 0), (0, 3), (3, 3), (6, 3)]


@on_loop
async def test_another_worker_or_generation_is_sent_the_whole_history() -> None:
    async with engine() as hub:
        await start(hub)
        async with Worker(hub, stateful=True) as first:
            await first.play()
            await raise_event(hub)
            assert (await first.play()).cached == 0
            await raise_event(hub)
            assert (await first.turn()).cached == 2
        async with Worker(hub, stateful=True) as second:
            turn = await second.turn()
            assert (turn.cached, len(turn.past)) == (0, 4)
            await second.answer(turn, again(1))
            turn = await second.turn()
            assert (turn.cached, turn.past) == (0, [])
            await second.answer(turn, activity_call(1))
            run = await second.activity()
            done = asyncio.ensure_future(second.finish(run))
            turn = await second.play(complete(2))
            await done
            assert (turn.cached, len(turn.past)) == (0, 3)
        async with Worker(hub, stateful=True) as third:
            # A new instance of the id has nothing to do with the old one.
            await start(hub)
            assert (await third.play()).cached == 0
            await raise_event(hub)
            turn = await third.turn()
            assert (turn.cached, len(turn.past)) == (0, 2)


@on_loop
async def test_a_worker_that_keeps_nothing_is_sent_everything_each_time() -> None:
    async with engine() as hub, Worker(hub) as worker:
        await start(hub)
        for number in range(4):
            turn = await worker.play()
            assert (turn.cached, len(turn.past)) == (0, 2 * number)
            await raise_event(hub)


@on_loop
async def test_a_stateful_worker_has_the_whole_history_after_a_failed_commit() -> None:
    store = FlakyStore()
    async with engine(store) as hub, Worker(hub, stateful=True) as worker:
        await start(hub)
        kept = await whole(hub, turn := await worker.turn(), [])
        await worker.answer(turn, timer(1, time.time_ns() + DAY))
        await raise_event(hub)
        kept = await whole(hub, turn := await worker.turn(), kept)
        store.failures = 1
        with pytest.raises(TaskHubError, match="No space left"):
            await worker.answer(turn, timer(2, time.time_ns() + DAY))
        kept = await whole(hub, turn := await worker.turn(), kept)
        await worker.answer(turn, timer(2, time.time_ns() + DAY))
        await raise_event(hub)
        await whole(hub, await worker.turn(), kept)


@on_loop
async def test_a_turn_that_a_worker_does_not_want_goes_to_another_one() -> None:
    async with engine() as hub, Hand(hub) as first:
        await start(hub)
        turn = await first.turn()
        async with Hand(hub) as second:
            await hub.abandon(turn.token, turn=True)
            found = await second.turn(1)
            assert found.instance_id == "one"
            assert found.token != turn.token
            await first.answer(turn, complete(1, '"late"'))
            await second.answer(found, complete(1, '"in time"'))
            await hub.abandon(found.token, turn=True)
        assert await output(hub) == '"in time"'
        await first.nothing()


@on_loop
async def test_an_activity_that_a_worker_does_not_want_goes_to_another_one() -> None:
    async with engine() as hub, Hand(hub) as first:
        await start(hub)
        await first.play(activity_call(1))
        run = await first.activity()
        async with Hand(hub) as second:
            await hub.abandon(run.token, turn=False)
            await hub.abandon("no such token", turn=False)
            items = [asyncio.ensure_future(hand.activity(1)) for hand in (first, second)]
            done, left = await asyncio.wait(items, return_when=asyncio.FIRST_COMPLETED)
            for task in left:
                task.cancel()
            await asyncio.wait(items)
            found = done.pop().result()
            assert found.request == run.request
            # Giving back is no loss: it may happen any number of times.
            for _ in range(20):
                await hub.abandon(found.token, turn=False)
                waiting = [asyncio.ensure_future(hand.activity(1)) for hand in (first, second)]
                done, left = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in left:
                    task.cancel()
                await asyncio.wait(waiting)
                found = done.pop().result()
        assert await status(hub) == "RUNNING"


# ---- ids -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", [False, True])
@on_loop
async def test_an_id_can_be_used_once_for_ever(ends: bool) -> None:
    async with engine() as hub, Hand(hub) as worker:
        await start(hub, enforceUniqueInstanceId=True)
        await worker.play(*([complete(1)] if ends else []))
        with pytest.raises(WorkflowAlreadyExistsError) as refused:
            await start(hub, enforceUniqueInstanceId=True)
        assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS
        assert refused.value.details() == (
            "workflow with ID 'one' already exists and the request enforces instance ID uniqueness"
        )
        if ends:
            await purge(hub, "one")
            await start(hub, enforceUniqueInstanceId=True)
            await worker.play(complete(1))
            # It is the request that says so, not the instance.
            await start(hub)


def policy(action: int, *statuses: int) -> pb.WorkflowIdReusePolicy:
    return pb.WorkflowIdReusePolicy(workflowStatus=statuses, action=action)  # type: ignore[arg-type]


_OPEN = (pb.WORKFLOW_STATUS_PENDING, pb.WORKFLOW_STATUS_RUNNING, pb.WORKFLOW_STATUS_SUSPENDED)


@on_loop
async def test_a_policy_of_ignoring_leaves_the_instance_that_is_there() -> None:
    async with engine() as hub, Hand(hub) as worker:
        ignore = policy(pb.CREATE_WORKFLOW_ACTION_IGNORE, *_OPEN, pb.WORKFLOW_STATUS_COMPLETED)
        await start(hub, data="1", workflowIdReusePolicy=ignore)
        assert await start(hub, data="2", workflowIdReusePolicy=ignore) == "one"
        turn = await worker.play(complete(1))
        assert turn.new[1].executionStarted.input.value == "1"
        assert await start(hub, data="3", workflowIdReusePolicy=ignore) == "one"
        await worker.nothing()
        # The policy speaks of other statuses only.
        await start(hub, workflowIdReusePolicy=policy(pb.CREATE_WORKFLOW_ACTION_IGNORE, pb.WORKFLOW_STATUS_FAILED))
        await worker.turn()


@on_loop
async def test_a_policy_of_terminating_ends_the_instance_that_is_there() -> None:
    async with engine() as hub, Hand(hub) as worker:
        stop = policy(pb.CREATE_WORKFLOW_ACTION_TERMINATE, *_OPEN)
        await start(hub, data="1")
        await worker.play(child_call(1, "kid"))
        await worker.play()
        starting = asyncio.ensure_future(start(hub, data="2", workflowIdReusePolicy=stop))
        for _ in range(2):
            turn = await worker.play()
            assert kinds(turn.new) == ["workflowStarted", "executionTerminated"]
        assert await asyncio.wait_for(starting, 2) == "one"
        assert await status(hub, "kid") == "TERMINATED"
        fresh = await worker.play(complete(1))
        assert fresh.new[1].executionStarted.input.value == "2"


@pytest.mark.parametrize("action", [pb.CREATE_WORKFLOW_ACTION_ERROR, pb.CREATE_WORKFLOW_ACTION_TERMINATE])
@on_loop
async def test_a_policy_for_other_statuses_or_of_errors_refuses(action: int) -> None:
    async with engine() as hub:
        await start(hub)
        statuses = _OPEN if action == pb.CREATE_WORKFLOW_ACTION_ERROR else (pb.WORKFLOW_STATUS_COMPLETED,)
        with pytest.raises(WorkflowAlreadyExistsError, match="an active workflow with ID 'one' already exists"):
            await start(hub, workflowIdReusePolicy=policy(action, *statuses))


@on_loop
async def test_an_id_cannot_be_used_again_while_a_child_of_the_old_instance_runs() -> None:
    async with engine() as hub, Hand(hub) as worker:
        await start(hub, "parent")
        await worker.play(child_call(1, "kid"), complete(2))
        kid = await worker.turn()
        with pytest.raises(WorkflowAlreadyExistsError) as refused:
            await start(hub, "parent")
        assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS
        assert refused.value.details() == (
            "cannot recreate workflow with ID 'parent': child workflow 'kid': already exists"
        )
        await worker.answer(kid, complete(1))
        await start(hub, "parent")
        await worker.play(complete(1))


@on_loop
async def test_of_two_starts_of_one_id_at_once_one_succeeds() -> None:
    store = SlowStore()
    async with engine(store) as hub, Hand(hub) as worker:
        store.gate.clear()
        starts = [asyncio.ensure_future(start(hub, data=str(number))) for number in range(5)]
        await asyncio.sleep(0.01)
        store.gate.set()
        answers = await asyncio.gather(*starts, return_exceptions=True)
        assert answers[0] == "one"
        assert all(isinstance(answer, WorkflowAlreadyExistsError) for answer in answers[1:])
        await worker.play(complete(1))
        await worker.nothing()


# ---- lists -----------------------------------------------------------------------------------------------------


@on_loop
async def test_ids_come_in_pages_of_1024(reopen: Callable[[], Store]) -> None:
    async with engine(reopen()) as hub:
        names = [f"i{number}" for number in range(1030)]
        await asyncio.gather(*(start(hub, name) for name in names))
        first = await hub.list_ids(pb.ListInstanceIDsRequest())
        assert list(first.instanceIds) == names[:1024]
        assert first.HasField("continuationToken")
        second = await hub.list_ids(pb.ListInstanceIDsRequest(continuationToken=first.continuationToken))
        assert list(second.instanceIds) == names[1024:]
        assert not second.HasField("continuationToken")
        # One page holds them exactly.
        for size, pages in ((1030, 1), (515, 2), (400, 3)):
            found: list[str] = []
            token: str | None = None
            for page in range(1, pages + 1):
                answer = await hub.list_ids(pb.ListInstanceIDsRequest(pageSize=size, continuationToken=token))
                found += answer.instanceIds
                token = answer.continuationToken
                assert answer.HasField("continuationToken") is (page < pages)
            assert found == names


@on_loop
async def test_lists_know_purged_and_special_ids_and_what_is_new_between_pages() -> None:
    async with engine() as hub, Hand(hub) as worker:
        names = ["with space", "a||b", "dots.and:colons", "Üpper", "%_"]
        for name in names:
            await start(hub, name)
            await worker.play(complete(1))
        assert list((await hub.list_ids(pb.ListInstanceIDsRequest())).instanceIds) == names
        page = await hub.list_ids(pb.ListInstanceIDsRequest(pageSize=2))
        await purge(hub, "a||b")
        await purge(hub, "dots.and:colons")
        await start(hub, "new")
        rest = await hub.list_ids(pb.ListInstanceIDsRequest(continuationToken=page.continuationToken))
        assert list(rest.instanceIds) == ["Üpper", "%_", "new"]
        # A purged id used again is a new instance.
        await start(hub, "a||b")
        assert (await hub.list_ids(pb.ListInstanceIDsRequest())).instanceIds[-1] == "a||b"


@pytest.mark.parametrize("token", ["x", "-1", "1.5", "٣", "9" * 19, " 1"])
@on_loop
async def test_a_token_of_nothing_is_refused(token: str) -> None:
    async with engine() as hub:
        with pytest.raises(InvalidOperationError, match="is no continuation token of this engine") as refused:
            await hub.list_ids(pb.ListInstanceIDsRequest(continuationToken=token))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(InvalidOperationError, match="is no continuation token"):
            await hub.instances(pb.ListInstancesRequest(continuationToken=token))


@on_loop
async def test_states_are_listed_newest_first_filtered_and_page_by_page(reopen: Callable[[], Store]) -> None:
    clock = VirtualClock(auto_advance=False)
    async with engine(reopen(), clock=clock) as hub, Hand(hub) as worker:
        for number in range(6):
            await start(hub, f"order-{number}", name="order" if number % 2 else "invoice", data=str(number))
            await worker.play(*([complete(1, '"out"')] if number < 3 else []))
            clock.advance(DAY)

        async def ids(**wanted: Any) -> list[str]:
            found = await hub.instances(pb.ListInstancesRequest(**wanted))
            assert not found.continuationToken
            return [state.instanceId.removeprefix("order-") for state in found.workflowStates]

        assert await ids() == ["5", "4", "3", "2", "1", "0"]
        assert await ids(runtimeStatus=[pb.WORKFLOW_STATUS_COMPLETED]) == ["2", "1", "0"]
        assert await ids(name="order") == ["5", "3", "1"]
        assert await ids(idPrefix="order-4") == ["4"]
        assert await ids(idPrefix="rder") == []
        begin = (await hub.state("order-2", payloads=False)) or pytest.fail("gone")
        assert await ids(createdTimeFrom=begin.createdTimestamp) == ["5", "4", "3", "2"]
        assert await ids(createdTimeTo=begin.createdTimestamp) == ["2", "1", "0"]
        assert await ids(createdTimeTo=begin.createdTimestamp, name="order", runtimeStatus=[1]) == ["1"]
        pages: list[list[str]] = []
        token = ""
        while not pages or token:
            page = await hub.instances(pb.ListInstancesRequest(pageSize=4, continuationToken=token))
            pages.append([state.instanceId for state in page.workflowStates])
            token = page.continuationToken
            assert all(not state.HasField("input") for state in page.workflowStates)
        assert pages == [[f"order-{n}" for n in (5, 4, 3, 2)], ["order-1", "order-0"]]
        full = await hub.instances(pb.ListInstancesRequest(pageSize=1, idPrefix="order-2", getInputsAndOutputs=True))
        (state,) = full.workflowStates
        assert (state.input.value, state.output.value) == ("2", '"out"')


@on_loop
async def test_lists_take_times_of_any_century(reopen: Callable[[], Store]) -> None:
    """Nanoseconds of years after 2262 do not fit into 64 bits."""
    async with engine(reopen()) as hub, Hand(hub) as worker:
        await start(hub)
        await worker.play(complete(1))
        far, past = Timestamp(seconds=253402300799), Timestamp(seconds=-62135596800)
        found = await hub.instances(pb.ListInstancesRequest(createdTimeFrom=past, createdTimeTo=far))
        assert len(found.workflowStates) == 1
        found = await hub.instances(pb.ListInstancesRequest(createdTimeFrom=far))
        assert len(found.workflowStates) == 0
        everything = pb.PurgeInstanceFilter(createdTimeFrom=past, createdTimeTo=far)
        assert await hub.purge(pb.PurgeInstancesRequest(purgeInstanceFilter=everything)) == 1


_YEAR_3000 = 32_503_680_000 * SECOND


@on_loop
async def test_starts_of_any_century_are_kept(reopen: Callable[[], Store]) -> None:
    async with engine(reopen()) as hub:
        await asyncio.wait_for(start(hub, at=_YEAR_3000), 2)
        assert await status(hub) == "PENDING"
    async with engine(reopen()) as hub, Hand(hub) as worker:
        await worker.nothing()
        state = await hub.state("one", payloads=False)
        assert state is not None
        # Stores keep nanoseconds in 64 bits, which end in the year 2262.
        assert state.scheduledStartTimestamp == timestamp_from_ns(2**63 - 1)


@on_loop
async def test_timers_of_any_century_are_kept(reopen: Callable[[], Store]) -> None:
    async with engine(reopen()) as hub, Hand(hub) as worker:
        await start(hub)
        await asyncio.wait_for(worker.play(timer(1, _YEAR_3000)), 2)
        assert await status(hub) == "RUNNING"
    async with engine(reopen()) as hub, Hand(hub) as worker:
        await worker.nothing()
        await raise_event(hub)
        turn = await worker.play(complete(2))
        assert turn.past[-1].timerCreated.fireAt == timestamp_from_ns(_YEAR_3000)
        assert await status(hub) == "COMPLETED"


def matching(**wanted: Any) -> pb.PurgeInstancesRequest:
    """Purges what a filter lets through."""
    force = wanted.pop("force", False)
    recursive = wanted.pop("recursive", False)
    return pb.PurgeInstancesRequest(
        purgeInstanceFilter=pb.PurgeInstanceFilter(**wanted), force=force, recursive=recursive
    )


@on_loop
async def test_purging_by_filter_removes_finished_instances(
    reopen: Callable[[], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dapr_workflow_sdk.engine.hub._PURGED_AT_ONCE", 3)
    clock = VirtualClock(auto_advance=False)
    async with engine(reopen(), clock=clock) as hub, Hand(hub) as worker:
        for number in range(10):
            await start(hub, f"i{number}")
            await worker.play(*([complete(1, failed="x" if number == 5 else "")] if number != 7 else []))
            clock.advance(DAY)

        async def left() -> str:
            ids = (await hub.list_ids(pb.ListInstanceIDsRequest())).instanceIds
            return "".join(name.removeprefix("i") for name in ids)

        async def created(name: str) -> Timestamp:
            state = await hub.state(name, payloads=False)
            assert state is not None
            return state.createdTimestamp

        assert await hub.purge(matching(runtimeStatus=[pb.WORKFLOW_STATUS_FAILED])) == 1
        assert await left() == "012346789"
        assert await hub.purge(matching(createdTimeTo=await created("i1"))) == 2
        assert await hub.purge(matching(createdTimeFrom=await created("i9"))) == 1
        assert await left() == "234678"
        assert await hub.purge(matching(createdTimeFrom=await created("i3"), createdTimeTo=await created("i4"))) == 2
        assert await hub.purge(matching()) == 3
        assert await left() == "7"
        assert await hub.purge(matching()) == 0
        with pytest.raises(InvalidOperationError, match="RUNNING is not a final status"):
            await hub.purge(matching(runtimeStatus=[pb.WORKFLOW_STATUS_RUNNING]))
        assert await left() == "7"
        assert await hub.purge(matching(runtimeStatus=[pb.WORKFLOW_STATUS_RUNNING], force=True)) == 1
        assert await left() == ""
    async with engine(reopen(), clock=clock) as hub:
        assert not (await hub.list_ids(pb.ListInstanceIDsRequest())).instanceIds


@on_loop
async def test_purging_by_filter_counts_children_once() -> None:
    async with engine() as hub, Hand(hub) as worker:
        await grow_family(hub, worker)
        assert await hub.purge(matching(recursive=True)) == 4
        await grow_family(hub, worker)
        assert await hub.purge(matching()) == 4


@on_loop
async def test_purging_by_filter_is_not_held_up_by_an_instance_that_begins_again() -> None:
    """Lists answer from what is durable; a start that is on its way is not there yet."""
    store = SlowStore()
    async with engine(store) as hub, Hand(hub) as worker:
        for name in ("one", "two"):
            await start(hub, name)
            await worker.play(complete(1))
        store.entered.clear()
        store.gate.clear()
        starting = asyncio.ensure_future(start(hub, "one"))
        await soon(store.entered.is_set, "the commit")
        purging = asyncio.ensure_future(hub.purge(matching()))
        await asyncio.sleep(0.01)
        store.gate.set()
        assert await starting == "one"
        assert await asyncio.wait_for(purging, 5) == 1
        assert (await status(hub, "one"), await status(hub, "two")) == ("PENDING", "MISSING")


@on_loop
async def test_an_engine_tells_about_itself_and_its_workers(tmp_path: Path) -> None:
    clock = VirtualClock(auto_advance=False)
    store = SqliteStore(tmp_path / "e.db")
    async with engine(store, clock=clock, app_id="shop", name="e.db") as hub:
        assert await hub.capabilities() == Capabilities(lists=True, stalls=True, detaches=True, extensions=True)
        described = await hub.describe()
        assert (described.appId, list(described.appIds), described.store) == ("shop", ["shop"], "e.db")
        assert described.version
        assert described.storeBytes > 0
        assert list(await hub.workers()) == []
        async with Worker(hub, 3, 4, worker_id="w1", identity="host:1") as first:
            since = clock.now()
            clock.advance(DAY)
            async with Worker(hub, identity="host:2"):
                await start(hub)
                workers = list(await hub.workers())
                assert [worker.identity for worker in workers] == ["host:1", "host:2"]
                assert (workers[0].workerId, workers[0].maxTurns, workers[0].maxActivities) == ("w1", 3, 4)
                assert abs(workers[0].connectedAt.ToNanoseconds() - since) < SECOND
                assert sum(worker.turns for worker in workers) == 1
            assert [worker.identity for worker in await hub.workers()] == ["host:1"]
            await first.play(activity_call(1), activity_call(2))
            (worker,) = await hub.workers()
            assert (worker.turns, worker.activities) == (0, 2)
        assert list(await hub.workers()) == []


@on_loop
async def test_the_version_of_a_request_is_that_of_the_instance(reopen: Callable[[], Store]) -> None:
    async with engine(reopen()) as hub:
        await start(hub, version=text_of("v2"))
        await start(hub, "none")
    async with engine(reopen()) as hub:
        state, none = await hub.state("one", payloads=False), await hub.state("none", payloads=False)
        assert state is not None
        assert none is not None
        assert state.version.value == "v2"
        assert not none.HasField("version")


# ---- closing ---------------------------------------------------------------------------------------------------


@on_loop
async def test_closing_answers_everybody_who_waits() -> None:
    hub = EngineHub(MemoryStore())
    await hub.open()
    await start(hub)
    worker = Hand(hub)
    await worker.__aenter__()
    await worker.play(activity_call(1))
    run = await worker.activity()
    result = asyncio.ensure_future(worker.finish(run))
    await worker.turn()
    waits = [
        asyncio.ensure_future(hub.wait("one", Milestone.COMPLETED, payloads=False)),
        asyncio.ensure_future(terminate(hub)),
        result,
    ]
    await asyncio.sleep(0.01)
    await hub.aclose()
    await hub.aclose()
    for error in await asyncio.wait_for(asyncio.gather(*waits, return_exceptions=True), 2):
        assert isinstance(error, TaskHubUnavailableError)
        assert "closed" in str(error)
        assert error.code() is grpc.StatusCode.UNAVAILABLE
    with pytest.raises(StopAsyncIteration):
        await worker.item()
    await worker.leave()
    operations: list[Callable[[], Any]] = [
        lambda: start(hub, "two"),
        lambda: hub.state("one", payloads=False),
        lambda: hub.wait("one", Milestone.COMPLETED, payloads=False),
        lambda: raise_event(hub),
        lambda: terminate(hub),
        lambda: purge(hub, "one"),
        lambda: hub.history("one"),
        lambda: hub.connect(1),
        lambda: hub.suspend(pb.SuspendRequest(instanceId="one")),
        lambda: hub.resume(pb.ResumeRequest(instanceId="one")),
        lambda: hub.complete_turn(pb.WorkflowResponse(instanceId="one")),
        lambda: hub.complete_activity(result_of(run)),
        lambda: hub.list_ids(pb.ListInstanceIDsRequest()),
        lambda: hub.instances(pb.ListInstancesRequest()),
        lambda: hub.rerun(pb.RerunWorkflowFromEventRequest(sourceInstanceID="one")),
        lambda: hub.describe(),
        lambda: hub.workers(),
        lambda: hub.heartbeat(pb.HeartbeatRequest(instanceId="one")),
        lambda: hub.abandon(run.token, turn=False),
        lambda: start(hub.for_app("another")),
    ]
    for operation in operations:
        with pytest.raises(TaskHubUnavailableError, match="closed"):
            await operation()
    with pytest.raises(TaskHubUnavailableError, match="closed"):
        async with hub.work_items(worker._offer):
            pass


@on_loop
async def test_closing_waits_for_what_is_on_its_way_to_the_disk() -> None:
    store = SlowStore()
    hub = EngineHub(store)
    await hub.open()
    store.entered.clear()
    store.gate.clear()
    starting = asyncio.ensure_future(start(hub))
    await soon(store.entered.is_set, "the commit")
    closing = asyncio.ensure_future(hub.aclose())
    await asyncio.sleep(0.01)
    assert not closing.done()
    store.gate.set()
    await closing
    assert await starting == "one"
    assert store.row(("app", "one")) is not None


# ---- a store that fails ----------------------------------------------------------------------------------------


@on_loop
async def test_a_start_that_cannot_be_stored_did_not_happen() -> None:
    store = FlakyStore()
    async with engine(store) as hub, Hand(hub) as worker:
        store.failures = 1
        with pytest.raises(Exception, match="No space left"):
            await start(hub)
        assert await status(hub) == "MISSING"
        await start(hub)
        # The worker may have been given a turn of the instance that never was.
        turn = await worker.turn()
        if (
            turn.new[1].executionStarted.workflowInstance.executionId.value
            != (store.row(("app", "one")) or pytest.fail("not stored")).execution_id
        ):
            await worker.answer(turn, complete(1, '"of the lost one"'))
            turn = await worker.turn()
        await worker.answer(turn, complete(1, '"of the new one"'))
        state = await hub.state("one", payloads=True)
        assert state is not None
        assert state.output.value == '"of the new one"'


@pytest.mark.parametrize("operation", ["start", "raise_event", "terminate", "purge", "suspend", "complete_turn"])
@on_loop
async def test_operations_that_cannot_be_stored_raise_errors_of_this_package(operation: str) -> None:
    """The port promises a `TaskHubError`; a bare OSError or sqlite3 error is what nobody catches."""
    store = FlakyStore()
    async with engine(store) as hub, Hand(hub) as worker:
        await start(hub)
        turn = await worker.turn()
        if operation == "purge":
            await worker.answer(turn, complete(1))
        calls: dict[str, Callable[[], Any]] = {
            "start": lambda: start(hub, "two"),
            "raise_event": lambda: raise_event(hub),
            "terminate": lambda: terminate(hub),
            "purge": lambda: purge(hub, "one"),
            "suspend": lambda: hub.suspend(pb.SuspendRequest(instanceId="one")),
            "complete_turn": lambda: worker.answer(turn, complete(1)),
        }
        store.failures = 1
        with pytest.raises(TaskHubError, match="No space left"):
            await asyncio.wait_for(calls[operation](), 2)


@on_loop
async def test_a_defect_in_applying_a_turn_leaves_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a turn in memory would be stored with the next one."""
    from dapr_workflow_sdk.engine import runner

    whole = runner.conclude

    def half(state: Any, *arguments: Any, **more: Any) -> Any:
        whole(state, *arguments, **more)
        raise ValueError("a defect")

    async with engine() as hub, Hand(hub) as worker:
        run = await start_activity(hub, worker)
        await raise_event(hub, "one")
        turn = await worker.turn()
        monkeypatch.setattr(runner, "conclude", half)
        with pytest.raises(ValueError, match="a defect"):
            await worker.answer(turn, activity_call(2))
        monkeypatch.undo()
        again = await worker.item()
        other = await worker.item()
        turn_again, run_again = (again, other) if isinstance(again, TurnItem) else (other, again)
        assert isinstance(turn_again, TurnItem)
        assert isinstance(run_again, ActivityItem)
        assert kinds(turn_again.new) == kinds(turn.new)
        assert run_again.request == run.request
        await worker.answer(turn_again, complete(2))
        assert await status(hub) == "COMPLETED"


@on_loop
async def test_a_turn_that_cannot_be_stored_is_not_acknowledged_and_comes_again() -> None:
    store = FlakyStore()
    async with engine(store) as hub, Hand(hub) as worker:
        await start(hub)
        turn = await worker.turn()
        store.failures = 2
        with pytest.raises(Exception, match="No space left"):
            await worker.answer(turn, activity_call(1), child_call(2, "kid"))
        assert await status(hub) == "PENDING"
        assert await status(hub, "kid") == "MISSING"
        second = await worker.turn()
        assert second.past == []
        assert second.token != turn.token
        with pytest.raises(Exception, match="No space left"):
            await worker.answer(second, activity_call(1), child_call(2, "kid"))
        third = await worker.turn()
        await worker.answer(second, complete(9))
        await worker.answer(third, activity_call(1), child_call(2, "kid"))
        items = [await worker.item(), await worker.item()]
        assert {type(item).__name__ for item in items} == {"TurnItem", "ActivityItem"}
        await worker.nothing()
        assert kinds(await hub.history("one")) == [
            "workflowStarted",
            "executionStarted",
            "taskScheduled",
            "childWorkflowInstanceCreated",
        ]


@on_loop
async def test_a_result_that_cannot_be_stored_is_not_acknowledged_and_the_activity_runs_again() -> None:
    store = FlakyStore()
    async with engine(store) as hub, Hand(hub) as worker:
        run = await start_activity(hub, worker)
        result = asyncio.ensure_future(worker.finish(run, "1"))
        turn = await worker.turn()
        store.failures = 1
        with pytest.raises(Exception, match="No space left"):
            await worker.answer(turn, complete(2))
        with pytest.raises(TaskHubUnavailableError):
            await asyncio.wait_for(result, 2)
        rerun = await worker.activity()
        assert rerun.request == run.request
        done = asyncio.ensure_future(worker.finish(rerun, "2"))
        last = await worker.play(complete(2, last_result := '"end"'))
        await done
        assert kinds(last.new) == ["workflowStarted", "taskCompleted"]
        state = await hub.state("one", payloads=True)
        assert state is not None
        assert state.output.value == last_result


@on_loop
async def test_clients_that_wait_go_on_waiting_over_a_failed_commit() -> None:
    store = FlakyStore()
    async with engine(store) as hub, Hand(hub) as worker:
        await start(hub)
        waiting = asyncio.ensure_future(hub.wait("one", Milestone.COMPLETED, payloads=False))
        turn = await worker.turn()
        store.failures = 1
        with pytest.raises(Exception, match="No space left"):
            await worker.answer(turn, complete(1))
        await worker.play(complete(1))
        assert await told(waiting) == "COMPLETED"


@on_loop
async def test_a_termination_that_waits_goes_on_waiting_over_a_failed_commit() -> None:
    store = FlakyStore()
    async with engine(store) as hub, Hand(hub) as worker:
        await start(hub)
        await worker.play(activity_call(1))
        await worker.activity()
        ending = asyncio.ensure_future(terminate(hub))
        turn = await worker.turn()
        store.failures = 1
        with pytest.raises(Exception, match="No space left"):
            await worker.answer(turn)
        items = [await worker.item(), await worker.item()]
        again_ = next(item for item in items if isinstance(item, TurnItem))
        await worker.answer(again_)
        await asyncio.wait_for(ending, 2)


@on_loop
async def test_timers_and_activities_survive_a_failed_commit_that_is_followed_by_an_event() -> None:
    """Between the failure and the recovery, half a second later, clients go on using the engine."""
    store = FlakyStore()
    async with engine(store) as hub, Hand(hub) as worker:
        await start(hub)
        await worker.play(activity_call(1), timer(2, time.time_ns() + SECOND))
        await worker.activity()
        await start(hub, "two")
        store.failures = 1
        other = await worker.turn()
        with pytest.raises(Exception, match="No space left"):
            await worker.answer(other, complete(1))
        await raise_event(hub)
        turn = await worker.turn()
        assert turn.instance_id == "one"
        # The turn is still out when the engine recovers.
        rest = [await worker.item(3), await worker.item(3)]
        assert {type(item).__name__ for item in rest} == {"TurnItem", "ActivityItem"}, rest
        await worker.answer(turn)
        fired = await worker.turn(3)
        assert kinds(fired.new) == ["workflowStarted", "timerFired"]


@on_loop
async def test_a_scheduled_start_survives_a_failed_commit() -> None:
    store = FlakyStore()
    async with engine(store) as hub, Hand(hub) as worker:
        await start(hub, at=time.time_ns() + SECOND // 2)
        store.failures = 1
        with pytest.raises(Exception, match="No space left"):
            await start(hub, "two")
        while (await worker.turn(3)).instance_id != "one":
            pass  # A turn of the instance that never was.


@on_loop
async def test_a_full_disk_is_survived(tmp_path: Path) -> None:
    path = tmp_path / "full.db"
    store = SqliteStore(path)
    async with engine(store) as hub, Hand(hub) as worker:
        await start(hub, data='"x"')
        await worker.play(activity_call(1))
        (pages,) = store._writer.execute("PRAGMA page_count").fetchone()
        store._writer.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(Exception, match="full"):
            await start(hub, "big", data="x" * 1_000_000)
        assert await status(hub, "big") == "MISSING"
        store._writer.execute("PRAGMA max_page_count=1000000")
        await start(hub, "big", data="x" * 1_000_000)
        assert await status(hub, "big") == "PENDING"
        assert await status(hub) == "RUNNING"


@on_loop
async def test_a_commit_that_fails_at_its_very_end_is_survived(tmp_path: Path) -> None:
    """Disks also fill up, and fail, while a transaction is being committed."""

    class Failing:
        def __init__(self, connection: sqlite3.Connection) -> None:
            self.connection = connection
            self.failures = 1

        def execute(self, statement: str, *values: Any) -> Any:
            if statement == "COMMIT" and self.failures:
                self.failures -= 1
                raise sqlite3.OperationalError("disk I/O error")
            return self.connection.execute(statement, *values)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.connection, name)

    store = SqliteStore(tmp_path / "io.db")
    async with engine(store) as hub:
        await start(hub)
        store._writer = Failing(store._writer)  # type: ignore[assignment]
        with pytest.raises(Exception, match="disk I/O error"):
            await start(hub, "two")
        await start(hub, "two")
        assert await status(hub, "two") == "PENDING"


# ---- virtual time ----------------------------------------------------------------------------------------------


def test_a_year_of_timers_passes_at_once() -> None:
    with EmbeddedEngine(clock=VirtualClock()) as embedded:
        runtime = WorkflowRuntime(engine=embedded)

        @runtime.workflow
        def year(ctx: Any) -> Any:
            began = ctx.current_utc_datetime
            for _ in range(365):
                yield ctx.create_timer(timedelta(days=1))
            return (ctx.current_utc_datetime - began).days

        with runtime, WorkflowClient(engine=embedded) as client:
            instance_id = client.schedule_new_workflow(year)
            state = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=10)
            assert state is not None
            assert state.serialized_output == "365"


@on_loop
async def test_virtual_time_waits_for_what_still_runs_and_only_jumps_when_somebody_waits() -> None:
    clock = VirtualClock()
    async with engine(clock=clock) as hub, Hand(hub) as worker:
        begin = clock.now()
        run = await start_activity(hub, worker, timer(2, begin + DAY))
        await worker.nothing()
        waiting = asyncio.ensure_future(hub.wait("one", Milestone.COMPLETED, payloads=False))
        await worker.nothing()
        assert clock.now() < begin + SECOND
        done = asyncio.ensure_future(worker.finish(run))
        await worker.play()
        await done
        fired = await worker.play(complete(3))
        assert kinds(fired.new) == ["workflowStarted", "timerFired"]
        await waiting
        assert begin + DAY <= clock.now() < begin + DAY + SECOND


@on_loop
async def test_virtual_time_goes_on_after_an_activity_nobody_waits_for() -> None:
    """The last thing that happens is the commit that forgets the activity."""
    clock = VirtualClock()
    async with engine(clock=clock) as hub, Hand(hub) as worker:
        run = await start_activity(hub, worker, complete(2), instance_id="hasty")
        await start(hub, "sleeper")
        await worker.play(timer(1, clock.now() + DAY))
        waiting = asyncio.ensure_future(hub.wait("sleeper", Milestone.COMPLETED, payloads=False))
        await worker.nothing()
        await worker.finish(run)
        fired = await worker.turn(2)
        assert kinds(fired.new) == ["workflowStarted", "timerFired"]
        waiting.cancel()


@on_loop
async def test_virtual_time_goes_on_past_the_start_of_an_instance_that_was_terminated() -> None:
    clock = VirtualClock()
    async with engine(clock=clock) as hub, Hand(hub) as worker:
        await start(hub, "never", at=clock.now() + DAY)
        ending = asyncio.ensure_future(terminate(hub, "never"))
        await worker.play()
        await ending
        await start(hub, "sleeper")
        await worker.play(timer(1, clock.now() + 2 * DAY))
        await wakes(hub, worker, "sleeper")


@on_loop
async def test_virtual_time_goes_on_past_timers_of_purged_instances() -> None:
    clock = VirtualClock()
    async with engine(clock=clock) as hub, Hand(hub) as worker:
        for name, days in (("gone", 1), ("scheduled", 0), ("sleeper", 3)):
            await start(hub, name, at=clock.now() + 2 * DAY if name == "scheduled" else None)
            if name != "scheduled":
                await worker.play(timer(1, clock.now() + days * DAY))
        for name in ("gone", "scheduled"):
            assert await purge(hub, name, force=True) == 1
        await wakes(hub, worker, "sleeper")


@on_loop
async def test_virtual_time_goes_on_when_a_purge_is_on_its_way_to_the_disk() -> None:
    clock, store = VirtualClock(), SlowStore()
    async with engine(store, clock=clock) as hub, Hand(hub) as worker:
        await start(hub, "done")
        await worker.play(complete(1))
        await start(hub, "sleeper")
        await worker.play(timer(1, clock.now() + DAY))
        store.entered.clear()
        store.gate.clear()
        purging = asyncio.ensure_future(purge(hub, "done"))
        await soon(store.entered.is_set, "the commit")
        waiting = asyncio.ensure_future(hub.wait("sleeper", Milestone.COMPLETED, payloads=False))
        await asyncio.sleep(0.01)
        store.gate.set()
        await purging
        assert (await worker.turn(2)).instance_id == "sleeper"
        waiting.cancel()


@on_loop
async def test_a_clock_that_is_not_to_jump_is_moved_by_hand() -> None:
    clock = VirtualClock(auto_advance=False)
    async with engine(clock=clock) as hub, Hand(hub) as worker:
        await start(hub)
        await worker.play(timer(1, clock.now() + DAY), timer(2, clock.now() + 2 * DAY))
        waiting = asyncio.ensure_future(hub.wait("one", Milestone.COMPLETED, payloads=False))
        await worker.nothing()
        clock.advance(DAY)
        assert (await worker.play()).new[1].timerFired.timerId == 1
        await worker.nothing()
        clock.advance(DAY)
        assert (await worker.play(complete(3))).new[1].timerFired.timerId == 2
        await waiting


@on_loop
async def test_timers_of_the_machine_fire_in_order_and_never_early() -> None:
    async with engine() as hub, Hand(hub) as worker:
        await start(hub)
        now = time.time_ns()
        due = {1: now + SECOND // 10, 2: now + SECOND // 20, 3: now - DAY}
        await worker.play(*(timer(number, moment) for number, moment in due.items()))
        fired: list[int] = []
        while len(fired) < 3:
            turn = await worker.turn()
            for event in turn.new[1:]:
                number = event.timerFired.timerId
                assert time.time_ns() >= due[number]
                assert event.timerFired.fireAt == timestamp_from_ns(due[number])
                fired.append(number)
            await worker.answer(turn)
        assert fired == [3, 2, 1]


# ---- files -----------------------------------------------------------------------------------------------------


def test_a_file_has_one_engine(tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    with EmbeddedEngine(path):
        with pytest.raises(RuntimeStateError, match=r"one\.db is in use by another engine \(process \d+\)"):
            EmbeddedEngine(path)
        other = run_python(
            "import sys; from dapr_workflow_sdk import EmbeddedEngine; EmbeddedEngine(sys.argv[1])", str(path)
        )
        assert "is in use by another engine" in other.stderr
        assert other.returncode == 1
    with EmbeddedEngine(path):
        pass


def test_a_file_is_free_when_its_process_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "killed.db"
    code = """
import sys, threading
from dapr_workflow_sdk import EmbeddedEngine
engine = EmbeddedEngine(sys.argv[1]); print("open"); threading.Event().wait()
"""
    with python_child(code, str(path)) as holder:
        holder.says("open")
        with pytest.raises(RuntimeStateError, match=f"process {holder.pid}"):
            EmbeddedEngine(path)
        holder.kill()
        with EmbeddedEngine(path):
            pass


def test_a_file_of_something_else_is_refused_and_stays_free(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("This is not a database. " * 100)
    for _ in range(2):
        with pytest.raises(RuntimeStateError, match=r"notes\.txt"):
            EmbeddedEngine(path)
    newer = tmp_path / "newer.db"
    with sqlite3.connect(newer) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(RuntimeStateError, match="layout is 99"):
        EmbeddedEngine(newer)
    with pytest.raises(RuntimeStateError, match="Cannot open"):
        EmbeddedEngine(path / "below.db")
    with pytest.raises(ValueError, match="synchronous"):
        EmbeddedEngine(tmp_path / "x.db", synchronous="MAYBE")


@on_loop
async def test_everything_goes_on_in_a_new_engine(reopen: Callable[[], Store]) -> None:
    clock = VirtualClock(auto_advance=False)
    async with engine(reopen(), clock=clock) as hub:
        async with Hand(hub) as worker:
            await start(hub, "timer")
            await worker.play(timer(1, clock.now() + DAY))
            await start(hub, "activity")
            await worker.play(activity_call(1))
            await worker.activity()
            await start(hub, "parent")
            await worker.play(child_call(1, "kid"))
            await worker.play(timer(1, clock.now() + 2 * DAY))
            await start(hub, "renewed", data="1")
            await worker.play(again(1, "2"))
            await worker.turn()
            await start(hub, "suspended")
            await worker.play()
        await hub.suspend(pb.SuspendRequest(instanceId="suspended", reason=text_of("later")))
        await raise_event(hub, "timer", data="0")
        await start(hub, "pending", data="3")
        before = {name: await hub.state(name, payloads=True) for name in ("timer", "parent", "kid", "renewed")}
    async with engine(reopen(), clock=clock) as hub, Hand(hub) as worker:
        for name, state in before.items():
            assert await hub.state(name, payloads=True) == state
        assert await status(hub, "suspended") == "SUSPENDED"
        turns: dict[str, TurnItem] = {}
        activities = []
        for _ in range(5):
            item = await worker.item()
            if isinstance(item, TurnItem):
                turns[item.instance_id] = item
            else:
                activities.append(item)
        await worker.nothing()
        assert set(turns) == {"timer", "renewed", "pending", "suspended"}
        assert [item.request.workflowInstance.instanceId for item in activities] == ["activity"]
        assert turns["timer"].new[1].eventRaised.input.value == "0"
        assert kinds(turns["timer"].past) == ["workflowStarted", "executionStarted", "timerCreated"]
        assert turns["renewed"].past == []
        assert turns["renewed"].new[1].executionStarted.input.value == "2"
        assert kinds(turns["suspended"].new) == ["workflowStarted", "executionSuspended"]
        await hub.complete_turn(answer_to(turns["timer"]))
        clock.advance(DAY)
        fired = await worker.turn()
        assert (fired.instance_id, fired.new[1].timerFired.timerId) == ("timer", 1)
        result = asyncio.ensure_future(worker.finish(activities[0], "5"))
        done = await worker.play(complete(2))
        await result
        assert done.new[1].taskCompleted.result.value == "5"
        clock.advance(DAY)
        assert (await worker.play(complete(2, '"kid"'))).instance_id == "kid"
        parent = await worker.play(complete(2))
        assert parent.instance_id == "parent"
        assert parent.new[1].childWorkflowInstanceCompleted.result.value == '"kid"'


@on_loop
async def test_a_scheduled_start_goes_on_in_a_new_engine(reopen: Callable[[], Store]) -> None:
    clock = VirtualClock(auto_advance=False)
    async with engine(reopen(), clock=clock) as hub:
        await start(hub, at=clock.now() + DAY)
    async with engine(reopen(), clock=clock) as hub, Hand(hub) as worker:
        await worker.nothing()
        assert await status(hub) == "PENDING"
        clock.advance(DAY + SECOND)
        assert (await worker.turn(1)).instance_id == "one"


@on_loop
async def test_what_was_due_while_no_engine_ran_happens_at_once(reopen: Callable[[], Store]) -> None:
    clock = VirtualClock(auto_advance=False)
    async with engine(reopen(), clock=clock) as hub, Hand(hub) as worker:
        await start(hub)
        await worker.play(timer(1, clock.now() + DAY))
    clock.advance(5 * DAY)
    async with engine(reopen(), clock=clock) as hub, Hand(hub) as worker:
        assert kinds((await worker.turn()).new) == ["workflowStarted", "timerFired"]


@on_loop
async def test_the_number_of_a_try_survives_a_new_engine(reopen: Callable[[], Store]) -> None:
    def attempt(number: int) -> pb.WorkflowAction:
        return pb.WorkflowAction(id=number, scheduleTask=pb.ScheduleTaskAction(name="work", taskExecutionId="same"))

    async with engine(reopen()) as hub, Hand(hub) as worker:
        await start(hub)
        await worker.play(attempt(1))
        run = await worker.activity()
        assert run.request.attempt == 1
        done = asyncio.ensure_future(worker.finish(run))
        await worker.play(attempt(2))
        await done
        assert (await worker.activity()).request.attempt == 2
    async with engine(reopen()) as hub, Hand(hub) as worker:
        rerun = await worker.activity()
        assert rerun.request.attempt == 2
        done = asyncio.ensure_future(worker.finish(rerun))
        await worker.play(attempt(3))
        await done
        assert (await worker.activity()).request.attempt == 3


_CRASHES = """
import asyncio, os, signal, sys
from dapr_workflow_sdk.engine.hub import EngineHub
from dapr_workflow_sdk.engine.stores.sqlite import SqliteStore
from tests.engine.test_hub import *

async def main():
    hub = EngineHub(SqliteStore(sys.argv[1]))
    await hub.open()
    async with Hand(hub) as worker:
        await start(hub, "one", data="1")
        await worker.play(activity_call(1), activity_call(2), timer(3, time.time_ns() + SECOND // 10))
        first, second = await worker.activity(), await worker.activity()
        done = asyncio.ensure_future(worker.finish(first, '"stored"'))
        await worker.play()
        await done
        done = asyncio.ensure_future(worker.finish(second, '"unstored"'))
        await worker.turn()
        await raise_event(hub, data="0")
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@on_loop
async def test_a_killed_engine_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "crash.db"
    crashed = await asyncio.to_thread(run_python, _CRASHES, str(path))
    assert crashed.returncode == -9, crashed.stderr
    async with engine(SqliteStore(path)) as hub, Hand(hub) as worker:
        turns: list[TurnItem] = []
        activities: list[ActivityItem] = []
        while len(activities) < 1 or sum("timerFired" in kinds(turn.new) for turn in turns) < 1:
            item = await worker.item()
            if isinstance(item, TurnItem):
                turns.append(item)
                await hub.complete_turn(answer_to(item))
            else:
                activities.append(item)
        assert [item.request.taskId for item in activities] == [2]
        history = await hub.history("one")
        assert [e.taskCompleted.result.value for e in history if e.HasField("taskCompleted")] == ['"stored"']
        assert [e.eventRaised.input.value for e in history if e.HasField("eventRaised")] == ["0"]


def test_closing_an_engine_leaves_no_thread_and_frees_the_file(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    for _ in range(3):
        with EmbeddedEngine(tmp_path / "e.db") as embedded, WorkflowClient(engine=embedded) as client:
            client.schedule_new_workflow("nobody", instance_id=f"i-{_}")
    left = {t.name for t in set(threading.enumerate()) - before} - {"dapr-workflow-sdk"}
    assert left == set()


def test_a_commit_that_never_returns_does_not_hang_other_engines(tmp_path: Path) -> None:
    """Each engine has a thread of its own for its disk."""
    store = SlowStore()
    with EmbeddedEngine() as embedded, WorkflowClient(engine=embedded) as client:
        stuck = EngineHub(store)
        PORTAL.call(stuck.open)
        store.gate.clear()
        starting = asyncio.run_coroutine_threadsafe(start(stuck), PORTAL.loop)
        assert store.entered.wait(5)
        assert within(lambda: client.schedule_new_workflow("x", instance_id="free"), 2, "another engine") == "free"
        store.gate.set()
        starting.result(5)
        PORTAL.call(stuck.aclose)
