"""Turns and activities that workers are lost with: tried again after pauses, one at a time, and in the end not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from dapr_workflow_sdk import VirtualClock
from dapr_workflow_sdk.engine.activity_run import ActivityRun
from dapr_workflow_sdk.engine.app_queue import AppQueue
from dapr_workflow_sdk.engine.clock import SECOND
from dapr_workflow_sdk.engine.hub import EngineHub
from dapr_workflow_sdk.engine.live import Live
from dapr_workflow_sdk.engine.stores.base import Store
from dapr_workflow_sdk.engine.subscription import Subscription
from dapr_workflow_sdk.engine.suspicion import Losses
from dapr_workflow_sdk.engine.transitions import create
from dapr_workflow_sdk.errors import WorkflowStalledError
from dapr_workflow_sdk.taskhub.port import ActivityItem, Milestone, TurnItem, WorkerOffer, WorkItem
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.builders import started
from tests.engine.support import Worker, engine, purge, raise_event, resume, standing, start, status, to_app
from tests.worker.support import activity_call, answer_to, complete, kinds, on_loop, result_of, soon

_MOST = 10


class TestLosses:
    def test_two_in_a_row_are_no_sign_of_anything(self) -> None:
        assert [Losses(count).suspicious for count in range(4)] == [False, False, False, True]
        assert [Losses(count).pause for count in range(3)] == [0, 0, 0]

    def test_ten_are_enough(self) -> None:
        assert [Losses(count).too_many for count in (8, 9, 10, 11)] == [False, False, True, True]

    def test_pauses_double_from_a_tenth_of_a_second_up_to_half_a_minute(self) -> None:
        pauses = [Losses(count).pause / SECOND for count in range(3, 15)]
        assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30, 30]


def _worker(turns: int = 0, activities: int = 0) -> Subscription:
    return Subscription("app", WorkerOffer(turns, activities))


def _live(instance_id: str = "one", losses: int = 0) -> Live:
    state, _ = create("app", 1, started(instance_id=instance_id), 0, 1)
    return Live(state, losses=Losses(losses))


def _run(losses: int = 0) -> ActivityRun:
    return ActivityRun(("app", "one"), (1, 1), pb.ActivityRequest(), "app", losses=Losses(losses))


class TestQueue:
    def test_keeps_suspects_apart(self) -> None:
        queue = AppQueue("app")
        innocent, suspect, run, suspected_run = _live(), _live(losses=3), _run(), _run(3)
        for live in (innocent, suspect):
            queue.put_turn(live)
        for each in (run, suspected_run):
            queue.put_activity(each)
        assert (list(queue.turns), list(queue.activities), list(queue.suspects)) == (
            [innocent],
            [run],
            [suspect, suspected_run],
        )
        assert not queue.empty
        queue.clear()
        assert queue.empty

    def test_gives_a_worker_one_suspect_at_a_time(self) -> None:
        queue = AppQueue("app")
        busy, free = _worker(), _worker()
        queue.workers.extend([busy, free])
        busy.suspect = object()
        assert queue.worker_for_suspect(_live(losses=3)) is free
        assert queue.worker_for_suspect(_run(3)) is free
        free.suspect = object()
        assert queue.worker_for_suspect(_live(losses=3)) is None
        # It still gets what is innocent.
        assert queue.worker_for_turn(_live()) in (busy, free)
        assert queue.worker_for_activity() in (busy, free)

    def test_gives_a_worker_no_more_than_it_has_room_for(self) -> None:
        queue = AppQueue("app")
        worker = _worker(turns=1, activities=1)
        queue.workers.append(worker)
        worker.turns.add(("app", "other"))
        assert queue.worker_for_turn(_live()) is None
        assert queue.worker_for_suspect(_live(losses=3)) is None
        assert queue.worker_for_suspect(_run(3)) is worker
        worker.activities.add("token")
        assert queue.worker_for_activity() is None
        assert queue.worker_for_suspect(_run(3)) is None

    def test_gives_a_turn_to_the_worker_that_had_the_last_one_while_it_has_room(self) -> None:
        queue = AppQueue("app")
        workers = [_worker(turns=1) for _ in range(3)]
        queue.workers.extend(workers)
        live = _live()
        live.worker = workers[2]
        assert [queue.worker_for_turn(live) for _ in range(3)] == [workers[2]] * 3
        workers[2].turns.add(("app", "other"))
        assert queue.worker_for_turn(live) is not workers[2]
        workers[2].turns.clear()
        workers[2].gone = True
        queue.workers.remove(workers[2])
        assert queue.worker_for_turn(live) in workers[:2]

    def test_lets_workers_take_turns(self) -> None:
        queue = AppQueue("app")
        workers = [_worker() for _ in range(3)]
        queue.workers.extend(workers)
        assert [queue.worker_for_turn(_live()) for _ in range(6)] == workers * 2
        assert [queue.worker_for_activity() for _ in range(3)] == workers


# ---- on the hub ------------------------------------------------------------------------------------------------


async def die(hub: EngineHub, clock: VirtualClock, times: int = 1) -> list[WorkItem]:
    """Workers that each take one item and are lost with it."""
    taken: list[WorkItem] = []
    for _ in range(times):
        async with Worker(hub) as worker:
            # Past any pause.
            clock.advance(60 * SECOND)
            taken.append(await worker.item())
    return taken


def reasons(history: list[pb.HistoryEvent]) -> list[str]:
    return [event.executionStalled.description for event in history if event.HasField("executionStalled")]


@on_loop
async def test_a_turn_that_workers_are_lost_with_is_tried_ten_times_and_stalls(reopen: Callable[[], Store]) -> None:
    clock = standing()
    async with engine(reopen(), clock=clock) as hub:
        await start(hub)
        taken = await die(hub, clock, _MOST)
        assert [type(item) for item in taken] == [TurnItem] * _MOST
        await soon(lambda: hub.worker_count == 0, "the last worker's end")
        await wait_for_status(hub, "STALLED")
        (event,) = await hub.history("one")
        assert event.executionStalled.reason == pb.STALLED_REASON_WORKER_LOST
        assert event.executionStalled.description == (
            "A worker was lost 10 times in a row while it had a turn of this instance. Look into its log, repair the "
            "cause, and resume the instance."
        )
        with pytest.raises(WorkflowStalledError, match="A worker was lost 10 times"):
            await raise_event(hub)
        await nobody_gets_anything(hub, clock)
    async with engine(reopen(), clock=clock) as hub, Worker(hub) as worker:
        # Nor does another engine try it by itself.
        await resume_what_rests(hub, worker)
        assert await status(hub) == "PENDING" or await status(hub) == "RUNNING"
        turn = await worker.turn()
        assert kinds(turn.new) == ["workflowStarted", "executionStarted"]
        await worker.answer(turn, complete(1))
        assert await status(hub) == "COMPLETED"


async def nobody_gets_anything(hub: EngineHub, clock: VirtualClock) -> None:
    """Checks that not even a new worker gets something, however much later."""
    async with Worker(hub) as worker:
        clock.advance(3600 * SECOND)
        await worker.nothing()


async def resume_what_rests(hub: EngineHub, worker: Worker) -> None:
    """Resumes an instance that no worker gets until then."""
    await worker.nothing()
    assert await status(hub) == "STALLED"
    await resume(hub)


async def wait_for_status(hub: EngineHub, wanted: str, instance_id: str = "one") -> None:
    """Waits until an instance has a status."""
    for _ in range(1000):
        if await status(hub, instance_id) == wanted:
            return
        await asyncio.sleep(0.002)
    raise AssertionError(f"{instance_id} is {await status(hub, instance_id)} and does not become {wanted}")


@on_loop
async def test_an_activity_that_workers_are_lost_with_is_tried_ten_times_and_stalls(
    reopen: Callable[[], Store],
) -> None:
    clock = standing()
    async with engine(reopen(), clock=clock) as hub:
        await start(hub)
        async with Worker(hub) as worker:
            await worker.play(activity_call(3, "poison"))
        # The first worker was sent it as well.
        taken = await die(hub, clock, _MOST - 1)
        assert {type(item) for item in taken} == {ActivityItem}
        await wait_for_status(hub, "STALLED")
        history = list(await hub.history("one"))
        (reason,) = reasons(history)
        assert reason == (
            "A worker was lost 10 times in a row while it ran activity 'poison' (call 3) of this instance. Look into its "
            "log, repair the cause, and resume the instance."
        )
        await nobody_gets_anything(hub, clock)
    async with engine(reopen(), clock=clock) as hub, Worker(hub) as worker:
        await resume_what_rests(hub, worker)
        assert await status(hub) == "RUNNING"
        run = await worker.activity()
        done = asyncio.ensure_future(worker.finish(run, '"repaired"'))
        turn = await worker.play(complete(4))
        await done
        assert turn.new[1].taskCompleted.result.value == '"repaired"'
        assert await status(hub) == "COMPLETED"


@pytest.mark.parametrize("kind", ["turn", "activity"])
@on_loop
async def test_resuming_on_the_same_engine_tries_again_from_the_beginning(kind: str) -> None:
    clock = standing()
    async with engine(clock=clock) as hub:
        await start(hub)
        if kind == "activity":
            async with Worker(hub) as worker:
                await worker.play(activity_call(1))
        for round_ in range(2):
            # The worker that made the call was lost with the activity, too.
            await die(hub, clock, _MOST - (kind == "activity" and not round_))
            await wait_for_status(hub, "STALLED")
            assert len(reasons(list(await hub.history("one")))) == round_ + 1
            await resume(hub)
            assert await status(hub) in ("PENDING", "RUNNING")
        async with Worker(hub) as worker:
            item = await worker.item()
            await worker.nothing()
            if isinstance(item, TurnItem):
                await worker.answer(item, complete(2))
            else:
                done = asyncio.ensure_future(worker.finish(item))
                await worker.play(complete(2))
                await done
        assert await status(hub) == "COMPLETED"


@on_loop
async def test_one_answer_clears_a_turn_of_all_suspicion() -> None:
    clock = standing()
    async with engine(clock=clock) as hub:
        await start(hub)
        for _ in range(3):
            await die(hub, clock, _MOST - 1)
            async with Worker(hub) as worker:
                clock.advance(60 * SECOND)
                await worker.play()
            await raise_event(hub)
        assert await status(hub) == "RUNNING"
        async with Worker(hub) as worker:
            # At once, without a pause.
            await worker.play(complete(1))


@pytest.mark.parametrize("kind", ["turn", "activity"])
@on_loop
async def test_pauses_grow_between_the_tries(kind: str) -> None:
    clock = standing()
    async with engine(clock=clock) as hub:
        await start(hub)
        if kind == "activity":
            async with Worker(hub) as worker:
                turn = await worker.turn()
                # It leaves with nothing: the activity waits for the next worker.
                await hub.complete_turn(answer_to(turn, activity_call(1)))
                item = await worker.item()
                assert isinstance(item, ActivityItem)
            lost = 1
        else:
            lost = 0
        while lost < 2:
            async with Worker(hub) as worker:
                await worker.item()
            lost += 1
        async with Worker(hub) as worker:
            # Two losses are no sign of anything: it comes at once.
            await worker.item()
        for pause in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4):
            async with Worker(hub) as worker:
                clock.advance(int(pause * SECOND) - 5_000_000)
                await worker.nothing(0.005)
                clock.advance(5_000_000)
                await worker.item()
        await wait_for_status(hub, "STALLED")


class Mortal:
    """A worker process that ends as soon as it is given something poisonous, with everything it has."""

    def __init__(self, hub: EngineHub, clock: VirtualClock, poison: Callable[[WorkItem], bool]) -> None:
        self.hub = hub
        self.clock = clock
        self.poison = poison
        self.deaths = 0
        self.finished: set[str] = set()

    async def live(self) -> None:
        """Works until it dies, and begins anew."""
        async with self.hub.work_items(WorkerOffer(0, 0)) as items:
            batch: list[WorkItem] = []
            next_item = asyncio.ensure_future(anext(items))
            while True:
                # It takes what there is before it begins with any of it, as a pool of threads does.
                await asyncio.wait([next_item], timeout=0.005)
                if next_item.done():
                    batch.append(next_item.result())
                    next_item = asyncio.ensure_future(anext(items))
                    continue
                if any(self.poison(item) for item in batch):
                    self.deaths += 1
                    next_item.cancel()
                    return
                for item in batch:
                    await self.work(item)
                if not batch:
                    self.clock.advance(SECOND // 20)
                batch = []
                if len(self.finished) == 5 and self.deaths >= _MOST:
                    next_item.cancel()
                    return

    async def work(self, item: WorkItem) -> None:
        if isinstance(item, ActivityItem):
            asyncio.ensure_future(self.hub.complete_activity(result_of(item)))
            return
        if "taskCompleted" in kinds([*item.past, *item.new]):
            await self.hub.complete_turn(answer_to(item, complete(2)))
            self.finished.add(item.instance_id)
        else:
            name = "poison" if item.instance_id == "poison" else "work"
            await self.hub.complete_turn(answer_to(item, activity_call(1, name)))


@pytest.mark.parametrize("kind", ["turn", "activity"])
@on_loop
async def test_other_instances_of_the_same_workers_finish(kind: str) -> None:
    clock = standing()

    def poison(item: WorkItem) -> bool:
        if isinstance(item, TurnItem):
            return kind == "turn" and item.instance_id == "poison"
        return kind == "activity" and item.request.name == "poison"

    async with engine(clock=clock) as hub:
        for name in ("a", "b", "poison", "c", "d", "e"):
            await start(hub, name)
        worker = Mortal(hub, clock, poison)
        while await status(hub, "poison") != "STALLED" or len(worker.finished) < 5:
            assert worker.deaths <= 3 * _MOST
            await worker.live()
        assert worker.finished == {"a", "b", "c", "d", "e"}
        statuses = [await status(hub, name) for name in ("a", "b", "c", "d", "e", "poison")]
        assert statuses == ["COMPLETED"] * 5 + ["STALLED"]
        assert worker.deaths == _MOST


@on_loop
async def test_virtual_time_goes_on_during_the_pause_of_a_turn() -> None:
    async with engine(clock=VirtualClock()) as hub:
        await start(hub)
        waiting = asyncio.ensure_future(hub.wait("one", Milestone.COMPLETED, payloads=False))
        for _ in range(5):
            async with Worker(hub) as worker:
                await worker.turn(2)
        async with Worker(hub) as worker:
            await worker.answer(await worker.turn(2), complete(1))
        await asyncio.wait_for(waiting, 2)


@on_loop
async def test_virtual_time_goes_on_during_the_pause_of_an_activity() -> None:
    async with engine(clock=VirtualClock()) as hub:
        await start(hub)
        waiting = asyncio.ensure_future(hub.wait("one", Milestone.COMPLETED, payloads=False))
        async with Worker(hub) as worker:
            await worker.play(activity_call(1))
            await worker.activity()
        for _ in range(4):
            async with Worker(hub) as worker:
                await worker.activity(2)
        async with Worker(hub) as worker:
            run = await worker.activity(2)
            done = asyncio.ensure_future(worker.finish(run))
            await worker.play(complete(2))
            await done
        await asyncio.wait_for(waiting, 2)


@on_loop
async def test_a_result_that_comes_during_the_pause_counts_and_nobody_runs_the_activity_again() -> None:
    clock = standing()
    async with engine(clock=clock) as hub:
        await start(hub)
        async with Worker(hub) as worker:
            await worker.play(activity_call(1))
            await worker.activity()
        await die(hub, clock)
        async with Worker(hub) as worker:
            run = await worker.activity()
        # Three losses, and a pause; then the last worker's result comes after all.
        await asyncio.wait_for(hub.complete_activity(result_of(run, "7")), 5)
        async with Worker(hub) as worker:
            turn = await worker.play(complete(2))
            assert turn.new[1].taskCompleted.result.value == "7"
            clock.advance(60 * SECOND)
            await worker.nothing()


@on_loop
async def test_events_that_come_during_the_pause_of_a_turn_wait_with_it() -> None:
    clock = standing()
    async with engine(clock=clock) as hub:
        await start(hub)
        await die(hub, clock, 3)
        async with Worker(hub) as worker:
            await raise_event(hub)
            await worker.nothing()
            clock.advance(SECOND)
            turn = await worker.turn()
            assert kinds(turn.new) == ["workflowStarted", "executionStarted", "eventRaised"]


@on_loop
async def test_a_purge_during_the_pause_ends_it() -> None:
    clock = standing()
    async with engine(clock=clock) as hub:
        await start(hub)
        async with Worker(hub) as worker:
            await worker.play(activity_call(1))
        await die(hub, clock, 4)
        assert await purge(hub, "one", force=True) == 1
        async with Worker(hub) as worker:
            clock.advance(60 * SECOND)
            await worker.nothing()


@on_loop
async def test_an_activity_that_stalls_its_instance_during_a_turn_is_not_lost() -> None:
    """The answer to the turn that was out must not take the stall back and leave the activity to nobody."""
    clock = standing()
    async with engine(clock=clock) as hub, Worker(hub) as worker:
        warehouse = hub.for_app("warehouse")
        await start(hub)
        await worker.play(to_app(activity_call(1, "poison"), "warehouse"))
        await raise_event(hub)
        turn = await worker.turn()
        await die(warehouse, clock, _MOST)
        await worker.answer(turn)
        if await status(hub) == "STALLED":
            await resume(hub)
        async with Worker(warehouse) as repaired:
            clock.advance(60 * SECOND)
            await repaired.activity(2)


@on_loop
async def test_an_activity_that_waits_is_not_sent_twice_when_its_instance_is_resumed() -> None:
    clock = standing()
    async with engine(clock=clock) as hub:
        await start(hub)
        async with Worker(hub) as worker:
            await worker.play(activity_call(1, "poison"), to_app(activity_call(2, "waits"), "warehouse"))
        await die(hub, clock, _MOST - 1)
        await wait_for_status(hub, "STALLED")
        await resume(hub)
        async with Worker(hub) as worker, Worker(hub.for_app("warehouse")) as other:
            assert (await worker.activity()).request.name == "poison"
            assert (await other.activity()).request.name == "waits"
            clock.advance(60 * SECOND)
            await worker.nothing()
            await other.nothing()


@on_loop
async def test_an_activity_that_pauses_is_not_sent_twice_when_its_instance_is_resumed() -> None:
    clock = standing()
    async with engine(clock=clock) as hub:
        warehouse = hub.for_app("warehouse")
        await start(hub)
        async with Worker(hub) as worker:
            await worker.play(activity_call(1, "poison"), to_app(activity_call(2, "also"), "warehouse"))
        await die(hub, clock, _MOST - 2)
        await die(warehouse, clock, 5)
        await die(hub, clock)
        await wait_for_status(hub, "STALLED")
        # The other one's pause began anew meanwhile.
        await die(warehouse, clock)
        await resume(hub)
        async with Worker(warehouse) as other:
            clock.advance(60 * SECOND)
            await other.activity()
            await other.nothing()


@on_loop
async def test_an_activity_that_nobody_waits_for_does_not_change_an_instance_that_has_ended(
    reopen: Callable[[], Store],
) -> None:
    clock = standing()
    async with engine(reopen(), clock=clock) as hub:
        await start(hub)
        async with Worker(hub) as worker:
            await worker.play(activity_call(1), complete(2, '"done"'))
        await die(hub, clock, _MOST - 1)
        await asyncio.sleep(0.01)
        await nobody_gets_anything(hub, clock)
        assert await status(hub) == "COMPLETED"
        assert kinds(await hub.history("one"))[-1] == "executionCompleted"
    async with engine(reopen(), clock=clock) as hub:
        assert await status(hub) == "COMPLETED"
        assert kinds(await hub.history("one"))[-1] == "executionCompleted"
        assert await purge(hub, "one") == 1
