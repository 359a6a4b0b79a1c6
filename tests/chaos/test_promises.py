"""Promises that chaos once found broken, each in the few steps that break it.

The disk is held in the middle of a commit and then fails, which is the moment a power cut would choose: whatever was
answered until then must hold afterwards.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dapr_workflow_sdk import EmbeddedEngine
from dapr_workflow_sdk.engine.hub import EngineHub
from dapr_workflow_sdk.engine.state import InstanceState
from dapr_workflow_sdk.engine.stores.sqlite import SqliteStore
from dapr_workflow_sdk.errors import TaskHubUnavailableError
from dapr_workflow_sdk.taskhub.port import Milestone
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.chaos.disk import Disk
from tests.chaos.invariants import check_instance
from tests.stored import read_file
from tests.worker.support import (
    PATIENCE,
    Hand,
    activity_call,
    answer_to,
    child_call,
    complete,
    kinds,
    on_loop,
    run_python,
    timer,
)


class _SickStore(SqliteStore):
    """A SQLite file whose disk can be held in a commit, and can fail to read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.reading_fails = False
        self._hold = False
        self._reached = threading.Event()
        self._go_on = threading.Event()

    def hold(self) -> None:
        """Lets the next commit wait, and then fail."""
        self._hold = True

    async def held(self) -> None:
        """Waits until a commit waits."""
        assert await asyncio.to_thread(self._reached.wait, PATIENCE)

    def fail(self) -> None:
        """Lets the commit that waits fail."""
        self._go_on.set()

    def sync(self) -> None:
        if self._hold:
            self._hold = False
            self._reached.set()
            self._go_on.wait(PATIENCE)
            self._take_back()
            raise sqlite3.OperationalError("disk I/O error")
        super().sync()

    def load(self, *key: object) -> InstanceState | None:
        if self.reading_fails:
            raise sqlite3.DatabaseError("database disk image is malformed")
        return super().load(*key)


@asynccontextmanager
async def _engine(folder: Path) -> AsyncIterator[tuple[EngineHub, _SickStore]]:
    store = _SickStore(folder / "sick.db")
    hub = EngineHub(store, name="sick.db")
    await hub.open()
    try:
        yield hub, store
    finally:
        store.fail()
        await hub.aclose()


async def _start(hub: EngineHub, name: str = "i") -> None:
    await hub.start(pb.CreateInstanceRequest(instanceId=name, name="work"))


@asynccontextmanager
async def _end_that_fails(folder: Path) -> AsyncIterator[tuple[EngineHub, _SickStore, Hand]]:
    """An instance whose end is on its way to a disk that is going to refuse it."""
    async with _engine(folder) as (hub, store), Hand(hub) as hand:
        await _start(hub)
        turn = await hand.turn()
        store.hold()
        ending = asyncio.ensure_future(hub.complete_turn(answer_to(turn, complete(1, '"first"'))))
        await store.held()
        yield hub, store, hand
        with pytest.raises(TaskHubUnavailableError):
            await ending


@on_loop
async def test_nobody_is_told_of_an_end_that_is_not_durable(tmp_path: Path) -> None:
    """A client that asks meanwhile must not hear of an end that a crash can take back."""
    async with _end_that_fails(tmp_path) as (hub, store, _):
        asked = asyncio.ensure_future(hub.state("i", payloads=True))
        await asyncio.sleep(0)
        store.fail()
        try:
            state = await asked
        except TaskHubUnavailableError:
            return  # That is as true.
        assert state is not None
        assert state.workflowStatus != pb.WORKFLOW_STATUS_COMPLETED


@on_loop
async def test_a_wait_goes_on_until_the_end_is_durable(tmp_path: Path) -> None:
    """A client that waits hears of the end that lasts."""
    async with _end_that_fails(tmp_path) as (hub, store, hand):
        waiting = asyncio.ensure_future(hub.wait("i", Milestone.COMPLETED, payloads=True))
        await asyncio.sleep(0)
        store.fail()
        await hand.play(complete(1, '"second"'))
        state = await waiting
        assert state is not None
        assert state.output.value == '"second"'


@on_loop
async def test_an_event_is_not_dropped_for_an_end_that_is_not_durable(tmp_path: Path) -> None:
    """An acknowledged event is there when the end it came too late for never was."""
    async with _end_that_fails(tmp_path) as (hub, store, hand):
        raising = asyncio.ensure_future(hub.raise_event(pb.RaiseEventRequest(instanceId="i", name="mail")))
        await asyncio.sleep(0)
        store.fail()
        try:
            await raising
        except TaskHubUnavailableError:
            return  # The client knows that it has to raise it again.
        # The turn that was taken back comes again first, with or without it.
        turn = await hand.turn()
        if "eventRaised" not in kinds(turn.new):
            await hand.answer(turn)
            turn = await hand.turn()
        assert "eventRaised" in kinds(turn.new)


@on_loop
async def test_a_termination_is_not_dropped_for_an_end_that_is_not_durable(tmp_path: Path) -> None:
    """An acknowledged termination has ended the instance."""
    async with _end_that_fails(tmp_path) as (hub, store, hand):
        ending = asyncio.ensure_future(hub.terminate(pb.TerminateRequest(instanceId="i")))
        await asyncio.sleep(0)
        store.fail()
        # The turn that was taken back comes again, and one with the termination.
        while not ending.done() and "executionTerminated" not in kinds((await hand.play()).new):
            pass
        try:
            await ending
        except TaskHubUnavailableError:
            return
        state = await hub.state("i", payloads=False)
        assert state is not None
        assert state.workflowStatus == pb.WORKFLOW_STATUS_TERMINATED


@on_loop
async def test_a_purged_run_leaves_nothing_to_the_next_of_its_id(tmp_path: Path) -> None:
    """The result of an activity that still ran when its instance was purged is nobody's."""
    async with _engine(tmp_path) as (hub, _), Hand(hub) as hand:
        await _start(hub)
        await hand.play(activity_call(1), complete(2))
        old = await hand.activity()
        await hub.purge(pb.PurgeInstancesRequest(instanceId="i"))
        await _start(hub)
        await hand.play(activity_call(1))
        new = await hand.activity()
        late = asyncio.ensure_future(hand.finish(old, '"of the old run"'))
        done = asyncio.ensure_future(hand.finish(new, '"of the new run"'))
        turn = await hand.play(complete(2))
        await asyncio.gather(late, done)
        assert turn.new[-1].taskCompleted.result.value == '"of the new run"'


@on_loop
async def test_a_read_error_is_answered_as_unavailable(tmp_path: Path) -> None:
    """A disk that cannot be read makes the engine unavailable, as one that cannot be written does."""
    async with _engine(tmp_path) as (hub, store), Hand(hub) as hand:
        await _start(hub)
        await hand.play(complete(1))
        store.reading_fails = True
        with pytest.raises(TaskHubUnavailableError):
            await hub.raise_event(pb.RaiseEventRequest(instanceId="i", name="mail"))


@on_loop
async def test_a_read_error_in_a_turn_takes_the_turn_back(tmp_path: Path) -> None:
    """The turn comes again when the disk can be read again, and nothing of the first try stays."""
    async with _engine(tmp_path) as (hub, store), Hand(hub) as hand:
        await _start(hub)
        turn = await hand.turn()
        store.reading_fails = True
        with pytest.raises(TaskHubUnavailableError):
            await hub.complete_turn(answer_to(turn, child_call(1, "child"), complete(2)))
        store.reading_fails = False
        again = await hand.turn()
        assert again.instance_id == "i"
        assert kinds(again.new) == kinds(turn.new)
        assert not again.past


@on_loop
async def test_an_end_without_a_worker_leaves_nothing_in_the_inbox(tmp_path: Path) -> None:
    """What is stored because the last worker left is stored before the end that follows from it, and not after."""
    async with _engine(tmp_path) as (hub, _):
        names = [f"child-{number}" for number in range(12)]
        async with Hand(hub) as hand:
            await _start(hub)
            await hand.play(*(child_call(number, name) for number, name in enumerate(names, 1)))
            for _ in names:
                # The timer brings a turn, which the worker keeps.
                await hand.play(timer(1, 1))
            for _ in names:
                await hand.turn()
            ending = asyncio.ensure_future(hub.terminate(pb.TerminateRequest(instanceId="i", recursive=True)))
            await hand.turn()
        await ending
        for name in names:
            await hub.wait(name, Milestone.COMPLETED, payloads=False)
    for name, instance in (stored := read_file(tmp_path / "sick.db")).items():
        check_instance(name, instance, stored)


@on_loop
async def test_a_timer_of_a_far_century_is_set(tmp_path: Path) -> None:
    """A time that SQLite's integers do not hold in nanoseconds must not make every commit fail."""
    async with _engine(tmp_path) as (hub, _), Hand(hub) as hand:
        await _start(hub)
        await hand.play(timer(1, 1 << 63))
        state = await hub.state("i", payloads=False)
        assert state is not None
        assert state.workflowStatus == pb.WORKFLOW_STATUS_RUNNING


_LEAVE_UNSYNCED = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA synchronous=OFF")
connection.execute("CREATE TABLE left_behind (number INTEGER)")
connection.commit()
os.kill(os.getpid(), signal.SIGKILL)
"""
_OPEN = """
import os, signal, sys
from dapr_workflow_sdk import EmbeddedEngine
EmbeddedEngine(sys.argv[1])
print("open", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_engine_syncs_what_a_killed_one_left(tmp_path: Path) -> None:
    """What a process wrote and did not live to sync is found by the next, which must not build on sand."""
    database = tmp_path / "left.db"
    EmbeddedEngine(database).close()
    disk = Disk(tmp_path, database)
    run_python(_LEAVE_UNSYNCED, str(database), **disk.environment)
    assert disk.unsynced
    assert run_python(_OPEN, str(database), **disk.environment).stdout == "open\n"
    assert not disk.unsynced
