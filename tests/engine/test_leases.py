"""Activities that must give signs of life, and workers that are told when an activity is in vain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from dapr_workflow_sdk import VirtualClock
from dapr_workflow_sdk.engine.clock import SECOND
from dapr_workflow_sdk.engine.conclusion import conclude
from dapr_workflow_sdk.engine.hub import EngineHub
from dapr_workflow_sdk.engine.stores.base import Store
from dapr_workflow_sdk.engine.stores.memory import MemoryStore
from dapr_workflow_sdk.engine.transitions import beat, create, event_at
from dapr_workflow_sdk.taskhub.port import ActivityItem, Milestone, TurnItem
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import text_of
from tests.builders import started
from tests.engine.support import (
    Worker,
    engine,
    output,
    purge,
    raise_event,
    standing,
    start,
    start_activity,
    status,
    terminate,
    to_app,
)
from tests.worker.support import activity_call, again, answer_to, complete, kinds, on_loop, result_of, soon

LEASE = timedelta(seconds=30)


def sign(
    item: ActivityItem, details: str | None = None, *, seconds: float = 0, token: str | None = None
) -> pb.HeartbeatRequest:
    """A sign of life."""
    return pb.HeartbeatRequest(
        instanceId=item.request.workflowInstance.instanceId,
        taskId=item.request.taskId,
        completionToken=item.token if token is None else token,
        details=text_of(details),
        timeoutSeconds=seconds,
    )


class TestBeat:
    def test_keeps_what_was_said_with_the_request(self) -> None:
        state, _ = create("app", 1, started(), 0, 1)
        marker = event_at(0)
        marker.workflowStarted.SetInParent()
        taken = list(state.inbox)
        conclude(
            state, taken, [marker, taken[0].event], pb.WorkflowResponse(actions=[activity_call(1)]), 0, lambda: "next"
        )
        before = state.tasks[1, 1]
        for details in ("half", "", None):
            kept = beat(state, (1, 1), details)
            assert kept is not None
            request, change = kept
            assert request.HasField("heartbeatDetails") is (details is not None)
            assert request.heartbeatDetails.value == (details or "")
            assert state.tasks[1, 1] is request
            assert change.tasks_added == [((1, 1), request)]
            assert change.row is None
        assert not before.HasField("heartbeatDetails"), "another thread may be storing the one there was"
        assert beat(state, (1, 2), "x") is None
        assert beat(state, (2, 1), "x") is None


@asynccontextmanager
async def two_workers(hub: EngineHub) -> AsyncIterator[tuple[Worker, Worker, ActivityItem]]:
    """Two workers, the first of which has an activity."""
    async with Worker(hub) as first:
        await start(hub)
        await first.play(activity_call(1))
        run = await first.activity()
        async with Worker(hub) as second:
            yield first, second, run


@on_loop
async def test_an_activity_without_a_sign_of_life_goes_to_another_worker(caplog: pytest.LogCaptureFixture) -> None:
    clock = standing()
    async with engine(clock=clock, activity_lease=LEASE) as hub, two_workers(hub) as (first, second, run):
        clock.advance(29 * SECOND)
        await second.nothing()
        clock.advance(SECOND)
        # Whichever worker's turn it is; the first may be alive after all.
        again_ = await next_activity(first, second)
        assert again_.request == run.request
        assert again_.token != run.token
        assert "no sign of life for 30 s" in caplog.text
        # What the first one says now is too late.
        assert (await hub.heartbeat(sign(run))).lost
        await hub.complete_activity(result_of(run, '"late"'))
        done = asyncio.ensure_future(hub.complete_activity(result_of(again_, '"fresh"')))
        turn = await next_turn(first, second)
        await hub.complete_turn(answer_to(turn, complete(2, '"end"')))
        await done
        assert turn.new[1].taskCompleted.result.value == '"fresh"'


async def next_item(*workers: Worker) -> ActivityItem | TurnItem:
    waiting = [asyncio.ensure_future(worker.item()) for worker in workers]
    done, left = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=10)
    for task in left:
        task.cancel()
    await asyncio.wait(waiting)
    assert done, "no worker got anything"
    return done.pop().result()


async def next_activity(*workers: Worker) -> ActivityItem:
    """The activity that one of the workers gets."""
    item = await next_item(*workers)
    assert isinstance(item, ActivityItem)
    return item


async def next_turn(*workers: Worker) -> TurnItem:
    """The turn that one of the workers gets."""
    item = await next_item(*workers)
    assert isinstance(item, TurnItem)
    return item


@on_loop
async def test_signs_of_life_keep_an_activity_at_its_worker() -> None:
    clock = standing()
    async with engine(clock=clock, activity_lease=LEASE) as hub, two_workers(hub) as (first, second, run):
        for _ in range(10):
            clock.advance(25 * SECOND)
            assert await hub.heartbeat(sign(run)) == pb.HeartbeatResponse()
        await second.nothing()
        await first.nothing()
        done = asyncio.ensure_future(first.finish(run))
        await hub.complete_turn(answer_to(await next_turn(first, second), complete(2)))
        await done
        clock.advance(3600 * SECOND)
        await first.nothing()
        assert (await hub.heartbeat(sign(run))).lost


@on_loop
async def test_workers_without_tokens_can_give_signs_of_life() -> None:
    clock = standing()
    async with engine(clock=clock, activity_lease=LEASE) as hub, two_workers(hub) as (_, second, run):
        clock.advance(25 * SECOND)
        assert await hub.heartbeat(sign(run, token="")) == pb.HeartbeatResponse()
        clock.advance(25 * SECOND)
        await second.nothing()


@on_loop
async def test_an_activity_may_ask_for_a_lease_of_its_own() -> None:
    clock = standing()
    async with engine(clock=clock, activity_lease=LEASE) as hub, two_workers(hub) as (first, second, run):
        await hub.heartbeat(sign(run, seconds=300))
        clock.advance(299 * SECOND)
        await second.nothing()
        # It stays for signs that say nothing about it.
        await hub.heartbeat(sign(run))
        clock.advance(299 * SECOND)
        await second.nothing()
        await hub.heartbeat(sign(run, seconds=0.5))
        clock.advance(SECOND)
        assert (await next_activity(first, second)).request == run.request


@on_loop
async def test_without_leases_an_activity_may_take_as_long_as_it_likes_until_it_asks_for_one() -> None:
    clock = standing()
    async with engine(clock=clock) as hub, two_workers(hub) as (first, second, run):
        clock.advance(86_400 * SECOND)
        assert await hub.heartbeat(sign(run)) == pb.HeartbeatResponse()
        clock.advance(86_400 * SECOND)
        await second.nothing()
        await hub.heartbeat(sign(run, seconds=10))
        clock.advance(11 * SECOND)
        await next_activity(first, second)


@on_loop
async def test_a_worker_that_never_gives_a_sign_counts_as_lost_each_time() -> None:
    clock = standing()
    async with engine(clock=clock, activity_lease=LEASE) as hub, Worker(hub) as worker:
        await start(hub)
        await worker.play(activity_call(1, "deaf"))
        for _ in range(10):
            await worker.activity()
            # The pauses and the lease.
            clock.advance(31 * SECOND)
            clock.advance(31 * SECOND)
        await worker.nothing()
        assert await status(hub) == "STALLED"
        assert "activity 'deaf'" in (await hub.history("one"))[-1].executionStalled.description


@on_loop
async def test_details_are_given_to_the_next_try() -> None:
    clock = standing()
    async with engine(clock=clock, activity_lease=LEASE) as hub, two_workers(hub) as (first, second, run):
        assert not run.request.HasField("heartbeatDetails")
        for details in ('{"done": 1}', '{"done": 2}'):
            await hub.heartbeat(sign(run, details))
        await hub.heartbeat(sign(run))
        clock.advance(31 * SECOND)
        next_ = await next_activity(first, second)
        assert next_.request.heartbeatDetails.value == '{"done": 2}'
        # The item that the first worker holds has not changed under its hands.
        assert not run.request.HasField("heartbeatDetails")


@on_loop
async def test_details_are_durable(reopen: Callable[[], Store]) -> None:
    async with engine(reopen()) as hub, Worker(hub) as worker:
        await start(hub)
        await worker.play(activity_call(1), activity_call(2))
        first, second = await worker.activity(), await worker.activity()
        await hub.heartbeat(sign(first, '"a"'))
        await hub.heartbeat(sign(second, ""))
    async with engine(reopen()) as hub, Worker(hub) as worker:
        runs = {run.request.taskId: run for run in [await worker.activity(), await worker.activity()]}
        assert runs[1].request.heartbeatDetails.value == '"a"'
        assert runs[2].request.HasField("heartbeatDetails")
        assert runs[2].request.heartbeatDetails.value == ""
        done = asyncio.ensure_future(worker.finish(runs[1], '"result"'))
        turn = await worker.play()
        await done
        assert turn.new[1].taskCompleted.result.value == '"result"'
    async with engine(reopen()) as hub, Worker(hub) as worker:
        assert (await worker.activity()).request.taskId == 2
        await worker.nothing()


@on_loop
async def test_details_are_not_given_to_another_call() -> None:
    async with engine() as hub, Worker(hub) as worker:
        run = await start_activity(hub, worker)
        await hub.heartbeat(sign(run, '"first"'))
        done = asyncio.ensure_future(worker.finish(run))
        await worker.play(activity_call(2))
        await done
        assert not (await worker.activity()).request.HasField("heartbeatDetails")


@on_loop
async def test_a_sign_of_life_that_belongs_to_nothing_is_lost() -> None:
    async with engine() as hub, Worker(hub) as worker:
        await start(hub)
        assert (await hub.heartbeat(pb.HeartbeatRequest(instanceId="one", taskId=1))).lost
        await worker.play(activity_call(1))
        run = await worker.activity()
        assert (await hub.heartbeat(sign(run, token="another"))).lost
        other = sign(run)
        other.instanceId = "another"
        assert (await hub.heartbeat(other)).lost
        assert not (await hub.heartbeat(sign(run))).lost
        await worker.leave()
        assert (await hub.heartbeat(sign(run))).lost


@on_loop
async def test_a_sign_of_life_of_an_activity_that_is_in_vain_is_answered_with_a_cancellation() -> None:
    async with engine() as hub, Worker(hub) as worker:
        runs: dict[str, ActivityItem] = {}
        for name in ("terminated", "purged", "renewed", "completed"):
            await start(hub, name)
            await worker.play(activity_call(1))
            runs[name] = await worker.activity()
        for run in runs.values():
            assert await hub.heartbeat(sign(run)) == pb.HeartbeatResponse()
        ending = asyncio.ensure_future(terminate(hub, "terminated"))
        await worker.play()
        await ending
        await purge(hub, "purged", force=True)
        for name, action in (("renewed", again(2)), ("completed", complete(2))):
            await raise_event(hub, name)
            await worker.play(action)
        answers = {name: await hub.heartbeat(sign(run, '"x"')) for name, run in runs.items()}
        assert {name for name, answer in answers.items() if answer.cancelled} == {"terminated", "renewed"}
        assert {name for name, answer in answers.items() if answer.lost} == {"purged"}


@on_loop
async def test_virtual_time_does_not_run_out_the_lease_of_an_activity_that_runs() -> None:
    async with engine(clock=VirtualClock(), activity_lease=LEASE) as hub, Worker(hub) as worker:
        run = await start_activity(hub, worker)
        waiting = asyncio.ensure_future(hub.wait("one", Milestone.COMPLETED, payloads=False))
        await worker.nothing()
        done = asyncio.ensure_future(worker.finish(run))
        await worker.play(complete(2))
        await done
        await waiting


# ---- notices ---------------------------------------------------------------------------------------------------


class Ear:
    """What a worker is told."""

    def __init__(self, hub: EngineHub, worker_id: str) -> None:
        self.heard: list[pb.Notice] = []
        self._task = asyncio.ensure_future(self._listen(hub, worker_id))
        self.open = asyncio.Event()

    async def _listen(self, hub: EngineHub, worker_id: str) -> None:
        async with hub.notices(worker_id) as notices:
            self.open.set()
            async for notice in notices:
                self.heard.append(notice)

    async def __aenter__(self) -> Ear:
        await asyncio.wait_for(self.open.wait(), 5)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def end(self) -> None:
        """Waits until the engine ends the notices."""
        await asyncio.wait_for(self._task, 5)


@on_loop
async def test_a_worker_is_told_of_its_activities_when_their_instance_is_terminated() -> None:
    async with engine() as hub, Worker(hub, worker_id="w") as worker, Ear(hub, "w") as ear, Ear(hub, "other") as other:
        await start(hub)
        await start(hub, "another")
        await worker.play(activity_call(1), activity_call(2))
        await worker.play(activity_call(1))
        runs = [await worker.activity() for _ in range(3)]
        ending = asyncio.ensure_future(terminate(hub, recursive=False))
        turn = await worker.turn()
        assert ear.heard == []
        await worker.answer(turn)
        await ending
        await soon(lambda: len(ear.heard) >= 2, "the notices")
        own = [run.token for run in runs if run.request.workflowInstance.instanceId == "one"]
        assert sorted(notice.completionToken for notice in ear.heard) == sorted(own)
        assert {notice.reason for notice in ear.heard} == {"the instance was terminated"}
        assert other.heard == []


@on_loop
async def test_a_worker_is_told_of_its_activities_when_their_instance_is_purged() -> None:
    async with engine() as hub, Worker(hub, worker_id="w") as worker, Ear(hub, "w") as ear:
        run = await start_activity(hub, worker, complete(2))
        assert ear.heard == [], "an end lets activities run that nobody waits for"
        await purge(hub, "one")
        await soon(lambda: ear.heard, "the notice")
        assert ear.heard == [pb.Notice(completionToken=run.token, reason="the instance was purged")]


@on_loop
async def test_workers_of_another_app_are_told_too() -> None:
    async with engine() as hub, Worker(hub) as worker:
        warehouse = hub.for_app("warehouse")
        async with Worker(warehouse, worker_id="w") as other, Ear(warehouse, "w") as ear:
            await start(hub)
            await worker.play(to_app(activity_call(1), "warehouse"))
            run = await other.activity()
            await purge(hub, "one", force=True)
            await soon(lambda: ear.heard, "the notice")
            assert ear.heard[0].completionToken == run.token


@on_loop
async def test_nobody_is_told_of_activities_that_are_over_or_at_nobody() -> None:
    async with engine() as hub, Worker(hub, worker_id="w", activities=1) as worker, Ear(hub, "w") as ear:
        first = await start_activity(hub, worker, activity_call(2))
        done = asyncio.ensure_future(worker.finish(first))
        items = [await worker.item(), await worker.item()]
        (turn,) = [item for item in items if isinstance(item, TurnItem)]
        (second,) = [item for item in items if isinstance(item, ActivityItem)]
        await worker.answer(turn)
        await done
        await purge(hub, "one", force=True)
        await soon(lambda: ear.heard, "the notice")
        assert [notice.completionToken for notice in ear.heard] == [second.token]


@on_loop
async def test_closing_the_engine_ends_the_notices() -> None:
    hub = EngineHub(MemoryStore())
    await hub.open()
    ear = Ear(hub, "w")
    await asyncio.wait_for(ear.open.wait(), 5)
    await hub.aclose()
    await ear.end()


@on_loop
async def test_the_result_of_an_activity_of_a_purged_instance_is_not_that_of_a_new_one() -> None:
    """The new instance has the same id, the same generation and a call of the same number."""
    async with engine() as hub, Worker(hub) as worker:
        old = await start_activity(hub, worker)
        await purge(hub, "one", force=True)
        new = await start_activity(hub, worker)
        await asyncio.wait_for(worker.finish(old, '"old"'), 2)
        await worker.nothing()
        done = asyncio.ensure_future(worker.finish(new, '"new"'))
        turn = await worker.play(complete(2, '"end"'))
        await done
        assert kinds(turn.new) == ["workflowStarted", "taskCompleted"]
        assert turn.new[1].taskCompleted.result.value == '"new"'
        assert await output(hub) == '"end"'
