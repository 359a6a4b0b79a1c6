"""What tests of workflows ask of the engine: ids that are the same in each run, and to be told when all is quiet."""

from __future__ import annotations

import asyncio
import itertools

from dapr_workflow_sdk import VirtualClock
from dapr_workflow_sdk.engine.clock import SECOND
from tests.engine.support import Worker, engine, start
from tests.worker.support import again, child_call, on_loop


@on_loop
async def test_ids_of_executions_may_be_counted() -> None:
    ids = (f"execution {number}" for number in itertools.count(1))
    async with engine(execution_ids=lambda: next(ids)) as hub, Worker(hub) as worker:
        await start(hub)
        turns = [await worker.play(child_call(1, "kid")), await worker.play(again(1)), await worker.turn()]
        begun = [turn.new[1].executionStarted.workflowInstance.executionId.value for turn in turns]
        assert begun[0] == "execution 1"
        assert len(set(begun)) == 3
        assert all(name.startswith("execution ") for name in begun)


@on_loop
async def test_whoever_watches_is_told_of_idleness_although_no_client_waits() -> None:
    rung = asyncio.Event()
    clock = VirtualClock()
    async with engine(clock=clock) as hub:
        clock.call_at(clock.now() + SECOND, rung.set)
        await asyncio.sleep(0.01)
        assert not rung.is_set()
        with hub._runner.watched():
            await asyncio.wait_for(rung.wait(), 5)
