"""Instances at rest leave memory and come back, and nobody can tell."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator

import pytest

from dapr_workflow_sdk import VirtualClock
from dapr_workflow_sdk.engine.clock import SECOND
from dapr_workflow_sdk.engine.hub import EngineHub
from dapr_workflow_sdk.engine.live import Live
from dapr_workflow_sdk.engine.resting import RestingInstances
from dapr_workflow_sdk.engine.state import Change, InstanceKey
from dapr_workflow_sdk.engine.stores.base import Store
from dapr_workflow_sdk.engine.stores.memory import MemoryStore
from dapr_workflow_sdk.engine.stores.sqlite import SqliteStore
from dapr_workflow_sdk.engine.transitions import create
from dapr_workflow_sdk.taskhub.port import Milestone
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.builders import EPOCH_SECONDS, started
from tests.engine.support import (
    DAY,
    Worker,
    engine,
    output,
    purge,
    put,
    raise_event,
    resume,
    standing,
    start,
    start_activity,
    status,
    suspend,
    terminate,
    told,
    wakes,
)
from tests.worker.support import (
    FlakyStore,
    activity_call,
    again,
    answer_to,
    child_call,
    complete,
    kinds,
    on_loop,
    timer,
)

_BEGIN = EPOCH_SECONDS * SECOND
_numbers = itertools.count(1)


def resting(instance_id: str) -> Live:
    """An instance that waits for an event."""
    state, _ = create("app", next(_numbers), started(instance_id=instance_id), _BEGIN, 1)
    state.inbox.clear()
    return Live(state)


class TestResting:
    def _room(self, limit: int = 2) -> tuple[RestingInstances, list[InstanceKey], Store, VirtualClock]:
        store, clock, woken = MemoryStore(), VirtualClock(_BEGIN, auto_advance=False), list[InstanceKey]()
        return RestingInstances(store, clock, limit, woken.append), woken, store, clock

    def test_lets_the_least_recently_used_go(self) -> None:
        room, _, _, _ = self._room()
        a, b, c, d = (resting(name) for name in "abcd")
        assert [room.rest(live) for live in (a, b)] == [[], []]
        assert room.rest(a) == [], "it has rested again"
        assert room.rest(c) == [b]
        room.forget(a.key)
        assert room.rest(d) == []
        assert room.rest(resting("e")) == [c]

    def test_keeps_those_that_do_something_again(self) -> None:
        room, _, _, _ = self._room(1)
        busy, idle = resting("busy"), resting("idle")
        room.rest(busy)
        busy.queued = True
        assert room.rest(idle) == []
        assert room.rest(resting("other")) == [idle]

    @on_loop
    async def test_looks_into_the_store_when_the_first_timer_is_due(self) -> None:
        room, woken, store, clock = self._room()
        for number, seconds in enumerate((30, 10, 20), 1):
            state, change = create("app", number, started(instance_id=f"i{number}"), _BEGIN, 1)
            change.timers_added.append((1, _BEGIN + seconds * SECOND))
            put(store, change)
            room.watch_timers(_BEGIN + seconds * SECOND)
        assert woken == []
        for expected in (["i2"], ["i3"], ["i1"]):
            clock.advance(10 * SECOND)
            assert [instance_id for _, instance_id in woken] == expected
            # Whoever is woken takes its timer out of the store.
            number = int(expected[0][1:])
            put(store, Change(woken[0], number, timers_removed=[1]))
            woken.clear()
        clock.advance(DAY)
        assert woken == []

    @on_loop
    async def test_looks_for_timers_that_were_due_before_it_began(self) -> None:
        room, woken, store, clock = self._room()
        _, change = create("app", 1, started(), _BEGIN, 1)
        change.timers_added.append((1, _BEGIN - DAY))
        put(store, change)
        room.watch_stored_timers()
        await asyncio.sleep(0)
        assert len(woken) == 1

    @on_loop
    async def test_looks_at_nothing_any_more_when_closed(self) -> None:
        room, woken, store, clock = self._room()
        _, change = create("app", 1, started(), _BEGIN, 1)
        change.timers_added.append((1, _BEGIN + SECOND))
        put(store, change)
        room.watch_stored_timers()
        room.watch_timers(None)
        room.close()
        room.close()
        clock.advance(DAY)
        assert woken == []


class TestWhatRests:
    def test_is_what_has_nothing_going_on(self) -> None:
        assert resting("a").rests

    @pytest.mark.parametrize(
        "busy",
        [
            lambda live: live.state.inbox.append(object()),
            lambda live: live.state.tasks.update({(1, 1): pb.ActivityRequest()}),
            lambda live: setattr(live, "turn", object()),
            lambda live: setattr(live, "queued", True),
            lambda live: setattr(live, "uncommitted", 1),
            lambda live: live.waiters.append(object()),
            lambda live: live.acknowledgements.update({(1, 1): object()}),
        ],
        ids=["an event", "an activity", "a turn", "a turn to come", "a commit", "a client", "a worker"],
    )
    def test_is_not_what_has(self, busy: Callable[[Live], object]) -> None:
        live = resting("a")
        busy(live)
        assert not live.rests


# ---- on the hub ------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two instances rest in memory."""
    monkeypatch.setattr("dapr_workflow_sdk.engine.runner._MOST_RESTING", 2)


def in_memory(hub: EngineHub) -> set[str]:
    """Instances that are in memory."""
    return {instance_id for _, instance_id in hub._runner._live}


async def lay_down(hub: EngineHub, worker: Worker, *names: str) -> None:
    """Instances that wait for an event."""
    for name in names:
        await start(hub, name)
        turn = await worker.turn()
        await worker.answer(turn)


@on_loop
async def test_the_least_recently_used_leave_memory_and_answer_all_the_same(reopen: Callable[[], Store]) -> None:
    async with engine(reopen()) as hub, Worker(hub) as worker:
        await lay_down(hub, worker, "a", "b", "c", "d", "e")
        assert in_memory(hub) == {"d", "e"}
        for name in "abcde":
            assert await status(hub, name) == "RUNNING"
            assert kinds(await hub.history(name)) == ["workflowStarted", "executionStarted"]
        assert in_memory(hub) == {"d", "e"}, "looking at one does not bring it back"
        listed = await hub.instances(pb.ListInstancesRequest())
        assert [state.instanceId for state in listed.workflowStates] == ["e", "d", "c", "b", "a"]


@on_loop
async def test_an_event_brings_one_back_with_its_whole_history(reopen: Callable[[], Store]) -> None:
    async with engine(reopen()) as hub, Worker(hub) as worker:
        await lay_down(hub, worker, "a", "b", "c", "d")
        for round_ in range(3):
            for name in "abcd":
                assert name not in in_memory(hub)
                await raise_event(hub, name, data=str(round_))
                turn = await worker.play()
                assert turn.instance_id == name
                assert turn.new[1].eventRaised.input.value == str(round_)
                assert len(turn.past) == 2 + 2 * round_
                assert len(in_memory(hub)) <= 3
        for name in "abcd":
            await raise_event(hub, name)
            await worker.play(complete(1, f'"{name}"'))
            assert await output(hub, name) == f'"{name}"'


@on_loop
async def test_timers_of_those_that_left_fire_in_time(reopen: Callable[[], Store]) -> None:
    clock = standing()
    begin = clock.now()
    async with engine(reopen(), clock=clock) as hub, Worker(hub) as worker:
        # The first to leave has the last timer, and one has two.
        for name, days in (("late", [9]), ("two", [3, 5]), ("early", [1]), ("stays", [7]), ("x", []), ("y", [])):
            await start(hub, name)
            await worker.play(*(timer(n, begin + d * DAY) for n, d in enumerate(days, 1)))
        assert in_memory(hub) == {"x", "y"}
        fired: list[tuple[int, str]] = []
        for day in range(1, 11):
            clock.advance(DAY)
            await asyncio.sleep(0.01)
            item = await worker._poll(0.01)
            if item is not None:
                await hub.complete_turn(answer_to(item))  # type: ignore[arg-type]
                fired.append((day, item.instance_id))  # type: ignore[union-attr]
        assert fired == [(1, "early"), (3, "two"), (5, "two"), (7, "stays"), (9, "late")]


@on_loop
async def test_a_year_of_timers_of_many_instances_passes_at_once() -> None:
    clock = VirtualClock()
    async with engine(clock=clock) as hub, Worker(hub) as worker:
        for number in range(6):
            await start(hub, f"i{number}")
            await worker.play(timer(1, clock.now() + (number + 1) * 30 * DAY))
        waits = [
            asyncio.ensure_future(hub.wait(f"i{number}", Milestone.COMPLETED, payloads=False)) for number in (5, 0)
        ]
        order = [(await worker.play(complete(2))).instance_id for _ in range(6)]
        assert order == [f"i{number}" for number in range(6)]
        await asyncio.wait_for(asyncio.gather(*waits), 2)


@on_loop
async def test_virtual_time_goes_on_past_the_timers_of_those_that_were_purged_at_rest() -> None:
    clock = VirtualClock()
    async with engine(clock=clock) as hub, Worker(hub) as worker:
        for name, days in (("gone", 1), ("x", 50), ("y", 60), ("sleeper", 30)):
            await start(hub, name)
            await worker.play(timer(1, clock.now() + days * DAY))
        assert "gone" not in in_memory(hub)
        assert await purge(hub, "gone", force=True) == 1
        await wakes(hub, worker, "sleeper")


@on_loop
async def test_those_that_left_are_taken_up_by_the_next_engine(
    reopen: Callable[[], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    # There is room for as many as a store gives at a time.
    monkeypatch.setattr("dapr_workflow_sdk.engine.runner._MOST_RESTING", 5)
    clock = standing()
    async with engine(reopen(), clock=clock) as hub, Worker(hub) as worker:
        for number in range(5):
            await start(hub, f"i{number}")
            await worker.play(timer(1, clock.now() + DAY))
    names = {f"i{number}" for number in range(5)}
    async with engine(reopen(), clock=clock) as hub, Worker(hub) as worker:
        assert in_memory(hub) == set(), "nothing of them is due"
        clock.advance(DAY + SECOND)
        assert {(await worker.turn()).instance_id for _ in range(5)} == names
    async with engine(reopen(), clock=clock) as hub, Worker(hub) as worker:
        assert {(await worker.turn()).instance_id for _ in range(5)} == names


@pytest.mark.parametrize("restarts", [False, True])
@on_loop
async def test_more_timers_fire_at_once_than_a_store_gives_at_a_time(
    reopen: Callable[[], Store], restarts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dapr_workflow_sdk.engine.runner._MOST_RESTING", 10)
    for module in ("stores.memory", "stores.sqlite", "resting"):
        monkeypatch.setattr(f"dapr_workflow_sdk.engine.{module}.MOST_DUE", 5)
    clock = standing()
    names = {f"i{number}" for number in range(23)}

    async def fire(hub: EngineHub, worker: Worker) -> set[str]:
        clock.advance(DAY + SECOND)
        found: set[str] = set()
        while found != names:
            item = await worker._poll(1)
            if item is None:
                break
            found.add(item.instance_id)  # type: ignore[union-attr]
            await hub.complete_turn(answer_to(item, complete(2)))  # type: ignore[arg-type]
        return found

    async with engine(reopen(), clock=clock) as hub, Worker(hub) as worker:
        moment = clock.now() + DAY
        for name in sorted(names):
            await start(hub, name)
            await worker.play(timer(1, moment))
        if not restarts:
            assert await fire(hub, worker) == names
            return
    clock.advance(DAY)
    async with engine(reopen(), clock=clock) as hub, Worker(hub) as worker:
        assert await fire(hub, worker) == names


@on_loop
async def test_everything_else_can_be_asked_of_those_that_left(reopen: Callable[[], Store]) -> None:
    async with engine(reopen()) as hub, Worker(hub) as worker:
        await lay_down(hub, worker, "parent", "suspended", "ended", "purged", "x", "y")
        assert in_memory(hub) == {"x", "y"}
        await suspend(hub, "suspended")
        await worker.play()
        await lay_down(hub, worker, "z", "zz")
        assert "suspended" not in in_memory(hub)
        assert await status(hub, "suspended") == "SUSPENDED"
        await resume(hub, "suspended")
        assert kinds((await worker.play()).new) == ["workflowStarted", "executionResumed"]
        ending = asyncio.ensure_future(terminate(hub, "ended", '"out"'))
        await worker.play()
        await asyncio.wait_for(ending, 2)
        assert await output(hub, "ended") == '"out"'
        assert await purge(hub, "purged", force=True) == 1
        assert await status(hub, "purged") == "MISSING"
        await start(hub, "purged")
        assert (await worker.play(complete(1))).past == []


@on_loop
async def test_a_parent_that_left_gets_the_result_of_its_child(reopen: Callable[[], Store]) -> None:
    async with engine(reopen()) as hub, Worker(hub) as worker:
        await start(hub, "parent")
        await worker.play(child_call(1, "kid"))
        await worker.play()
        await lay_down(hub, worker, "x", "y", "z")
        assert not {"parent", "kid"} & in_memory(hub)
        await raise_event(hub, "kid")
        await worker.play(complete(1, '"kid"'))
        turn = await worker.play(complete(2))
        assert turn.instance_id == "parent"
        assert turn.new[1].childWorkflowInstanceCompleted.result.value == '"kid"'


@on_loop
async def test_children_that_left_are_terminated_with_their_parent(reopen: Callable[[], Store]) -> None:
    async with engine(reopen()) as hub, Worker(hub) as worker:
        await start(hub, "parent")
        names = [f"kid-{number}" for number in range(5)]
        await worker.play(*(child_call(number, name) for number, name in enumerate(names, 1)))
        for _ in names:
            await worker.play()
        await lay_down(hub, worker, "x", "y", "z")
        ending = asyncio.ensure_future(terminate(hub, "parent"))
        for _ in range(6):
            await worker.play()
        await asyncio.wait_for(ending, 2)
        assert [await status(hub, name) for name in names] == ["TERMINATED"] * 5


@on_loop
async def test_one_that_a_client_waits_for_stays() -> None:
    async with engine() as hub, Worker(hub) as worker:
        await lay_down(hub, worker, "awaited", "x", "y")
        waiting = asyncio.ensure_future(hub.wait("awaited", Milestone.COMPLETED, payloads=False))
        await asyncio.sleep(0)
        await lay_down(hub, worker, "z", "zz", "zzz")
        assert "awaited" in in_memory(hub)
        await raise_event(hub, "awaited")
        await worker.play(complete(1))
        assert await told(waiting) == "COMPLETED"


@on_loop
async def test_one_that_nobody_waits_for_any_more_may_leave() -> None:
    """Clients that give up, as those with a timeout do, must not keep instances in memory for ever."""
    async with engine() as hub, Worker(hub) as worker:
        await lay_down(hub, worker, "x", "y")
        names = [f"i{number}" for number in range(10)]
        for name in names:
            await start(hub, name)
            waiting = asyncio.ensure_future(hub.wait(name, Milestone.COMPLETED, payloads=False))
            await worker.play()
            waiting.cancel()
            await asyncio.wait([waiting])
        await lay_down(hub, worker, "last", "of all")
        assert len(in_memory(hub)) <= 3


@on_loop
async def test_finished_ones_are_no_longer_in_memory() -> None:
    async with engine() as hub, Worker(hub) as worker:
        for number in range(5):
            await start(hub, f"i{number}")
            await worker.play(complete(1))
        assert in_memory(hub) == set()
        run = await start_activity(hub, worker, complete(2), instance_id="busy")
        assert in_memory(hub) == {"busy"}
        await worker.finish(run)
        assert in_memory(hub) == set()


@on_loop
async def test_scheduled_ones_start_in_time(reopen: Callable[[], Store]) -> None:
    clock = standing()
    async with engine(reopen(), clock=clock) as hub, Worker(hub) as worker:
        begin = clock.now()
        for number in range(6):
            await start(hub, f"i{number}", at=begin + (6 - number) * DAY)
        await lay_down(hub, worker, "x", "y", "z")
        for number in (5, 4):
            clock.advance(DAY)
            assert (await worker.play(complete(1))).instance_id == f"i{number}"
    async with engine(reopen(), clock=clock) as hub, Worker(hub) as worker:
        assert in_memory(hub) == set()
        for number in (3, 2, 1, 0):
            clock.advance(DAY)
            assert (await worker.play(complete(1))).instance_id == f"i{number}"
            await worker.nothing()


@on_loop
async def test_a_failed_commit_forgets_nobody() -> None:
    clock, store = standing(), FlakyStore()
    async with engine(store, clock=clock) as hub, Worker(hub) as worker:
        for name in ("a", "b", "c", "d"):
            await start(hub, name)
            await worker.play(timer(1, clock.now() + DAY))
        store.failures = 1
        with pytest.raises(Exception, match="No space left"):
            await raise_event(hub, "d")
        assert in_memory(hub) == set()
        # The engine recovers by itself after a while.
        await asyncio.sleep(0.6)
        clock.advance(DAY + SECOND)
        assert {(await worker.turn()).instance_id for _ in range(4)} == {"a", "b", "c", "d"}


class CountingStore(SqliteStore):
    """Counts what the engine asks of it."""

    loads = 0

    def load(self, key: InstanceKey) -> object:  # type: ignore[override]
        self.loads += 1
        return super().load(key)


@pytest.fixture
def counting(tmp_path: object) -> Iterator[CountingStore]:
    yield CountingStore(f"{tmp_path}/counting.db", synchronous="OFF")


@on_loop
async def test_those_in_memory_are_not_loaded_and_the_others_once(counting: CountingStore) -> None:
    async with engine(counting) as hub, Worker(hub) as worker:
        await lay_down(hub, worker, "a", "b", "c")
        counting.loads = 0
        for _ in range(5):
            await raise_event(hub, "c")
            await worker.play()
        assert counting.loads == 0
        await raise_event(hub, "a")
        await worker.play()
        assert counting.loads == 1


@on_loop
async def test_what_is_done_to_many_does_not_depend_on_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same scenario with room for one and for all ends with the same histories, for the same number of commits."""

    async def scenario(room: int) -> tuple[int, list[list[str]]]:
        monkeypatch.setattr("dapr_workflow_sdk.engine.runner._MOST_RESTING", room)
        clock, store = standing(), FlakyStore()
        async with engine(store, clock=clock) as hub, Worker(hub) as worker:
            names = [f"i{number}" for number in range(6)]
            for days, name in enumerate(names, 1):
                await start(hub, name)
                await worker.play(timer(1, clock.now() + days * DAY))
            for name in names[::2]:
                await raise_event(hub, name)
                await worker.play(activity_call(2))
                run = await worker.activity()
                done = asyncio.ensure_future(worker.finish(run))
                await worker.play(again(3) if name == "i2" else child_call(3, f"{name}-kid"))
                await done
                await worker.play()
            # The one that goes on as new has lost its timer.
            for name in ("i0", "i1", "i3", "i4", "i5"):
                clock.advance((2 if name == "i3" else 1) * DAY)
                assert (await worker.play()).instance_id == name
            await worker.nothing()
            return len(store.committed), [kinds(await hub.history(name)) for name in [*names, "i0-kid", "i4-kid"]]

    assert await scenario(1) == await scenario(1000)
