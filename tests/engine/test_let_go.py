"""An instance whose end is on its way to the store stays in memory until it is there."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from dapr_workflow_sdk.engine.stores.sqlite import SqliteStore
from dapr_workflow_sdk.taskhub.port import ActivityItem, Milestone, TurnItem
from tests.engine.support import Worker, engine, output, start
from tests.worker.support import activity_call, answer_to, child_call, complete, kinds, on_loop, result_of, soon


class SteppedStore(SqliteStore):
    """A file whose commits wait, each for a pass of its own, once the test has made it so."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.stepped = False
        self.waiting = 0
        self.passes = threading.Semaphore(0)

    def sync(self) -> None:
        if self.stepped:
            self.waiting += 1
            assert self.passes.acquire(timeout=10), "the test never let it pass"
        super().sync()


@on_loop
async def test_an_instance_stays_in_memory_until_its_end_is_durable(tmp_path: Path) -> None:
    store = SteppedStore(tmp_path / "engine.db")
    async with engine(store) as hub, Worker(hub) as worker:
        await start(hub)
        await worker.answer(await worker.turn(), activity_call(1), child_call(2, "child"))
        items = [await worker.item(), await worker.item()]
        child = next(item for item in items if isinstance(item, TurnItem))
        activity = next(item for item in items if isinstance(item, ActivityItem))

        store.stepped = True
        answers = [asyncio.ensure_future(hub.complete_turn(answer_to(child, complete(1))))]
        await soon(lambda: store.waiting == 1, "the commit of the child's end, which wakes the parent")
        answers.append(asyncio.ensure_future(hub.complete_activity(result_of(activity))))
        last = await worker.turn()
        assert kinds(last.new) == ["workflowStarted", "childWorkflowInstanceCompleted", "taskCompleted"]
        answers.append(asyncio.ensure_future(hub.complete_turn(answer_to(last, complete(3, '"done"')))))
        store.passes.release()
        await soon(lambda: store.waiting == 2, "the commit of the parent's end")

        waiting = asyncio.ensure_future(hub.wait("one", Milestone.COMPLETED, payloads=True))
        await worker.nothing()
        store.stepped = False
        store.passes.release()
        await asyncio.gather(waiting, *answers)
        assert await output(hub) == '"done"'
