"""Finished instances are forgotten when the policy says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from dapr_workflow_sdk import VirtualClock
from dapr_workflow_sdk.engine.clock import SECOND
from dapr_workflow_sdk.engine.hub import EngineHub
from dapr_workflow_sdk.engine.retention import RetentionPolicy
from dapr_workflow_sdk.engine.stores.base import Selection, Store
from dapr_workflow_sdk.taskhub.port import Milestone
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.engine.support import (
    DAY,
    Worker,
    engine,
    purge,
    standing,
    start,
    start_activity,
    status,
    terminate,
)
from tests.worker.support import (
    FlakyStore,
    SlowStore,
    child_call,
    complete,
    kinds,
    on_loop,
    soon,
    timer,
)

_COMPLETED, _FAILED, _TERMINATED = (
    pb.WORKFLOW_STATUS_COMPLETED,
    pb.WORKFLOW_STATUS_FAILED,
    pb.WORKFLOW_STATUS_TERMINATED,
)


class TestPolicy:
    @pytest.mark.parametrize(
        ("policy", "expected"),
        [
            (RetentionPolicy(), {}),
            (RetentionPolicy(any_terminal=timedelta(days=1)), dict.fromkeys((_COMPLETED, _FAILED, _TERMINATED), DAY)),
            (RetentionPolicy(completed=timedelta(0)), {_COMPLETED: 0}),
            (
                RetentionPolicy(any_terminal=timedelta(days=2), failed=timedelta(days=1), terminated=timedelta(0)),
                {_COMPLETED: 2 * DAY, _FAILED: DAY, _TERMINATED: 0},
            ),
            (RetentionPolicy(failed=timedelta(microseconds=1)), {_FAILED: 1000}),
        ],
    )
    def test_says_how_long_each_status_is_kept(self, policy: RetentionPolicy, expected: dict[int, int]) -> None:
        assert dict(policy.durations()) == expected

    @pytest.mark.parametrize("name", ["any_terminal", "completed", "failed", "terminated"])
    def test_has_no_negative_times(self, name: str) -> None:
        with pytest.raises(ValueError, match=f"{name} must not be negative"):
            RetentionPolicy(**{name: timedelta(microseconds=-1)})


async def one_of_each(hub: EngineHub, worker: Worker) -> None:
    """A completed, a failed, a terminated and a running instance."""
    await start(hub, "completed")
    await worker.play(complete(1))
    await start(hub, "failed")
    await worker.play(complete(1, failed="no luck"))
    await start(hub, "terminated")
    await worker.play()
    ending = asyncio.ensure_future(terminate(hub, "terminated"))
    await worker.play()
    await ending
    await start(hub, "running")
    await worker.play()


async def left(hub: EngineHub) -> set[str]:
    """Which instances there are, once everything on its way is durable."""
    for _ in range(20):
        await asyncio.sleep(0.001)
    return set((await hub.list_ids(pb.ListInstanceIDsRequest())).instanceIds)


_ALL = {"completed", "failed", "terminated", "running"}


@pytest.mark.parametrize("named", ["completed", "failed", "terminated"])
@on_loop
async def test_each_status_has_its_own_time(named: str) -> None:
    clock = standing()
    policy = RetentionPolicy(**{named: timedelta(days=1)})
    async with engine(clock=clock, retention=policy) as hub, Worker(hub) as worker:
        await one_of_each(hub, worker)
        clock.advance(DAY - SECOND)
        assert await left(hub) == _ALL
        # Rounds may come a minute late.
        clock.advance(62 * SECOND)
        assert await left(hub) == _ALL - {named}
        clock.advance(100 * DAY)
        assert await left(hub) == _ALL - {named}


@on_loop
async def test_what_has_no_time_of_its_own_has_that_of_all() -> None:
    clock = standing()
    policy = RetentionPolicy(any_terminal=timedelta(hours=1), failed=timedelta(days=1))
    async with engine(clock=clock, retention=policy) as hub, Worker(hub) as worker:
        await one_of_each(hub, worker)
        clock.advance(3700 * SECOND)
        assert await left(hub) == {"failed", "running"}
        clock.advance(DAY)
        assert await left(hub) == {"running"}


@on_loop
async def test_without_a_policy_everything_stays() -> None:
    clock = standing()
    async with engine(clock=clock) as hub, Worker(hub) as worker:
        await one_of_each(hub, worker)
        clock.advance(10_000 * DAY)
        assert await left(hub) == _ALL


@on_loop
async def test_no_time_is_at_once_and_clients_that_wait_still_learn_the_result() -> None:
    clock = standing()
    policy = RetentionPolicy(completed=timedelta(0))
    async with engine(clock=clock, retention=policy) as hub, Worker(hub) as worker:
        await start(hub)
        waiting = asyncio.ensure_future(hub.wait("one", Milestone.COMPLETED, payloads=True))
        await worker.play(complete(1, '"result"'))
        state = await asyncio.wait_for(waiting, 2)
        assert state is not None
        assert state.output.value == '"result"'
        assert await left(hub) == set()
        assert await status(hub) == "MISSING"
        # The id is free, and nothing of the old instance is left.
        await start(hub)
        assert (await worker.play(complete(1))).past == []


@on_loop
async def test_a_termination_returns_although_the_instance_is_gone_then() -> None:
    async with engine(retention=RetentionPolicy(terminated=timedelta(0))) as hub:
        await start(hub)
        await asyncio.wait_for(terminate(hub), 2)
        assert await left(hub) == set()


@on_loop
async def test_children_tell_their_parents_before_they_are_forgotten() -> None:
    async with engine(retention=RetentionPolicy(any_terminal=timedelta(0))) as hub, Worker(hub) as worker:
        await start(hub, "parent")
        await worker.play(child_call(1, "kid"))
        await worker.play(complete(1, '"kid"'))
        turn = await worker.play(complete(2))
        assert turn.new[1].childWorkflowInstanceCompleted.result.value == '"kid"'
        assert await left(hub) == set()


@on_loop
async def test_what_became_too_old_while_no_engine_ran_goes_when_one_opens(reopen: Callable[[], Store]) -> None:
    clock = standing()
    policy = RetentionPolicy(completed=timedelta(days=1), failed=timedelta(days=3))
    async with engine(reopen(), clock=clock, retention=policy) as hub, Worker(hub) as worker:
        await one_of_each(hub, worker)
    clock.advance(2 * DAY)
    async with engine(reopen(), clock=clock) as hub:
        assert await left(hub) == _ALL
    async with engine(reopen(), clock=clock, retention=policy) as hub:
        assert await left(hub) == _ALL - {"completed"}
        # Rounds go on for those that are not old enough.
        clock.advance(DAY + 62 * SECOND)
        assert await left(hub) == {"terminated", "running"}


@on_loop
async def test_what_ends_later_goes_later() -> None:
    clock = standing()
    async with engine(clock=clock, retention=RetentionPolicy(any_terminal=timedelta(hours=1))) as hub:
        async with Worker(hub) as worker:
            for number in range(5):
                await start(hub, f"i{number}")
                await worker.play(complete(1))
                clock.advance(600 * SECOND)
        present: list[int] = []
        for _ in range(6):
            present.append(len(await left(hub)))
            clock.advance(700 * SECOND)
        assert present == sorted(present, reverse=True)
        assert present[0] == 5
        assert present[-1] == 0
        assert len(set(present)) > 3


@on_loop
async def test_instances_of_every_app_go() -> None:
    clock = standing()
    async with engine(clock=clock, retention=RetentionPolicy(any_terminal=timedelta(hours=1))) as hub:
        other = hub.for_app("warehouse")
        for each in (hub, other):
            async with Worker(each) as worker:
                await start(each)
                await worker.play(complete(1))
        clock.advance(2 * 3600 * SECOND)
        assert (await left(hub), await left(other)) == (set(), set())


@on_loop
async def test_more_than_one_batch_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dapr_workflow_sdk.engine.retention._BATCH", 7)
    clock = standing()
    async with engine(clock=clock, retention=RetentionPolicy(any_terminal=timedelta(hours=1))) as hub:
        async with Worker(hub) as worker:
            for number in range(30):
                await start(hub, f"i{number}")
                await worker.play(complete(1))
        clock.advance(2 * 3600 * SECOND)
        assert await left(hub) == set()


@on_loop
async def test_virtual_time_that_jumps_forgets_on_the_way() -> None:
    clock = VirtualClock()
    policy = RetentionPolicy(any_terminal=timedelta(days=1))
    async with engine(clock=clock, retention=policy) as hub, Worker(hub) as worker:
        await start(hub, "old")
        await worker.play(complete(1))
        await start(hub, "long")
        await worker.play(timer(1, clock.now() + 30 * DAY))
        waiting = asyncio.ensure_future(hub.wait("long", Milestone.COMPLETED, payloads=False))
        fired = await worker.play(complete(2))
        assert kinds(fired.new) == ["workflowStarted", "timerFired"]
        await waiting
        assert await left(hub) == {"long"}


@on_loop
async def test_an_activity_that_nobody_waits_for_does_not_keep_its_instance() -> None:
    async with engine(retention=RetentionPolicy(any_terminal=timedelta(0))) as hub, Worker(hub) as worker:
        run = await start_activity(hub, worker, complete(2))
        assert await left(hub) == set()
        await asyncio.wait_for(worker.finish(run), 2)


@on_loop
async def test_purging_by_hand_comes_first_and_disturbs_nothing() -> None:
    clock = standing()
    policy = RetentionPolicy(any_terminal=timedelta(hours=1))
    async with engine(clock=clock, retention=policy) as hub, Worker(hub) as worker:
        await one_of_each(hub, worker)
        assert await purge(hub, "completed") == 1
        clock.advance(2 * 3600 * SECOND)
        assert await left(hub) == {"running"}


@on_loop
async def test_a_round_that_cannot_be_stored_is_made_again() -> None:
    clock, store = standing(), FlakyStore()
    policy = RetentionPolicy(any_terminal=timedelta(hours=1))
    async with engine(store, clock=clock, retention=policy) as hub, Worker(hub) as worker:
        await start(hub)
        await worker.play(complete(1))
        store.failures = 1
        clock.advance(3600 * SECOND + 62 * SECOND)
        assert await left(hub) == {"one"}
        # The next ones find it.
        for _ in range(10):
            clock.advance(60 * SECOND)
            await asyncio.sleep(0.005)
        assert await left(hub) == set()


@on_loop
async def test_a_new_instance_of_an_id_does_not_go_with_the_old_one() -> None:
    """A round may fall between the start of the new one and the moment at which that is durable."""
    clock, store = standing(), SlowStore()
    policy = RetentionPolicy(any_terminal=timedelta(hours=1))
    async with engine(store, clock=clock, retention=policy) as hub, Worker(hub) as worker:
        await start(hub)
        await worker.play(complete(1, '"old"'))
        assert [row.output for row in store.select(Selection("app"))] == ['"old"']
        store.entered.clear()
        store.gate.clear()
        starting = asyncio.ensure_future(start(hub))
        await soon(store.entered.is_set, "the commit")
        clock.advance(2 * 3600 * SECOND)
        await asyncio.sleep(0.01)
        store.gate.set()
        assert await starting == "one"
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert await status(hub) == "PENDING"
        assert (await worker.play(complete(1))).past == []


@on_loop
async def test_closing_the_engine_ends_the_rounds() -> None:
    clock = standing()
    policy: Any = RetentionPolicy(any_terminal=timedelta(hours=1))
    async with engine(clock=clock, retention=policy) as hub, Worker(hub) as worker:
        await start(hub)
        await worker.play(complete(1))
    # Nothing rings that would use the closed store.
    clock.advance(10 * DAY)
    await asyncio.sleep(0.01)
