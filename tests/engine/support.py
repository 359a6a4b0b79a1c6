"""What tests of the engine have in common: hubs on the loop of the test, requests in short, workers played by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from dapr_workflow_sdk import VirtualClock
from dapr_workflow_sdk.engine.clock import SECOND
from dapr_workflow_sdk.engine.hub import EngineHub
from dapr_workflow_sdk.engine.state import Change
from dapr_workflow_sdk.engine.stores.base import Store
from dapr_workflow_sdk.engine.stores.memory import MemoryStore
from dapr_workflow_sdk.taskhub.port import ActivityItem, Milestone, TurnItem, WorkerOffer
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import status_name, text_of, timestamp_from_ns
from tests.worker.support import PATIENCE, Hand, activity_call, kinds

DAY = 86_400 * SECOND


@asynccontextmanager
async def engine(store: Store | None = None, **options: Any) -> AsyncIterator[EngineHub]:
    """An engine on the loop of the test."""
    hub = EngineHub(store if store is not None else MemoryStore(), **options)
    await hub.open()
    try:
        yield hub
    finally:
        await hub.aclose()


def standing() -> VirtualClock:
    """A clock that only the test moves."""
    return VirtualClock(auto_advance=False)


def put(store: Store, *changes: Change) -> None:
    """Makes changes durable."""
    store.write(changes)
    store.sync()


async def start(
    hub: EngineHub,
    instance_id: str = "one",
    *,
    name: str = "flow",
    at: int | None = None,
    data: str | None = None,
    trace: str = "",
    **more: Any,
) -> str:
    """Starts an instance."""
    return await hub.start(
        pb.CreateInstanceRequest(
            instanceId=instance_id,
            name=name,
            input=text_of(data),
            scheduledStartTimestamp=None if at is None else timestamp_from_ns(at),
            parentTraceContext=pb.TraceContext(traceParent=trace) if trace else None,
            **more,
        )
    )


async def start_activity(
    hub: EngineHub, worker: Hand, *besides: pb.WorkflowAction, instance_id: str = "one"
) -> ActivityItem:
    """Starts an instance and has its first turn call an activity, which the worker takes then.

    Args:
        hub: Where the instance is.
        worker: Who has its first turn, and takes the activity, its call 1.
        besides: What else the turn asks for.
        instance_id: Its id.
    """
    await start(hub, instance_id)
    await worker.play(activity_call(1), *besides)
    return await worker.activity()


async def status(hub: EngineHub, instance_id: str = "one") -> str:
    """The status of an instance, in short."""
    return _short(await hub.state(instance_id, payloads=True))


async def told(waiting: Awaitable[pb.WorkflowState | None]) -> str:
    """The status that a client is told which waits for an instance, in short."""
    return _short(await asyncio.wait_for(waiting, 2))


def _short(state: pb.WorkflowState | None) -> str:
    return "MISSING" if state is None else status_name(state.workflowStatus)


async def wakes(hub: EngineHub, worker: Hand, instance_id: str) -> None:
    """Checks that a timer fires while a client waits for the end of an instance."""
    waiting = asyncio.ensure_future(hub.wait(instance_id, Milestone.COMPLETED, payloads=False))
    fired = await worker.turn(2)
    assert fired.instance_id == instance_id
    assert kinds(fired.new) == ["workflowStarted", "timerFired"]
    waiting.cancel()


async def output(hub: EngineHub, instance_id: str = "one") -> str:
    """What an instance ended with."""
    state = await hub.state(instance_id, payloads=True)
    assert state is not None
    return state.output.value


async def raise_event(hub: EngineHub, instance_id: str = "one", name: str = "go", data: str | None = None) -> None:
    """Raises an event."""
    await hub.raise_event(pb.RaiseEventRequest(instanceId=instance_id, name=name, input=text_of(data)))


def terminate(hub: EngineHub, instance_id: str = "one", output: str | None = None, *, recursive: bool = True) -> Any:
    """Terminates an instance."""
    return hub.terminate(pb.TerminateRequest(instanceId=instance_id, output=text_of(output), recursive=recursive))


def suspend(hub: EngineHub, instance_id: str = "one") -> Any:
    """Suspends an instance."""
    return hub.suspend(pb.SuspendRequest(instanceId=instance_id))


def resume(hub: EngineHub, instance_id: str = "one") -> Any:
    """Resumes an instance."""
    return hub.resume(pb.ResumeRequest(instanceId=instance_id))


def purge(hub: EngineHub, instance_id: str, *, recursive: bool = True, force: bool = False) -> Any:
    """Purges an instance."""
    return hub.purge(pb.PurgeInstancesRequest(instanceId=instance_id, recursive=recursive, force=force))


class Worker(Hand):
    """A worker played by the test that offers whatever a worker can."""

    def __init__(
        self,
        hub: EngineHub,
        turns: int = 0,
        activities: int = 0,
        *,
        stateful: bool = False,
        worker_id: str = "",
        identity: str = "",
    ) -> None:
        super().__init__(hub, turns, activities)
        self._offer = WorkerOffer(turns, activities, stateful, worker_id, identity)

    async def turn(self, timeout: float = PATIENCE) -> TurnItem:
        """The next item, which is a turn."""
        item = await self.item(timeout)
        assert isinstance(item, TurnItem), f"an activity, where a turn was due: {item}"
        # In process the past is the engine's own list, which goes on growing.
        return TurnItem(item.instance_id, list(item.past), list(item.new), item.token, item.cached, item.propagated)

    async def reply(
        self,
        item: TurnItem,
        *actions: pb.WorkflowAction,
        patches: Sequence[str] = (),
        version: str | None = None,
        custom_status: str | None = None,
    ) -> None:
        """Answers a turn, and says what code it was."""
        stamp = pb.WorkflowVersion(patches=patches)
        if version is not None:
            stamp.name = version
        await self._hub.complete_turn(
            pb.WorkflowResponse(
                instanceId=item.instance_id,
                actions=actions,
                completionToken=item.token,
                version=stamp,
                customStatus=text_of(custom_status),
            )
        )


def to_app(action: pb.WorkflowAction, app_id: str) -> pb.WorkflowAction:
    """The same call, to another app."""
    action.router.targetAppID = app_id
    return action


def version_not_available(number: int = 1) -> pb.WorkflowAction:
    """What a worker answers that has not got the version of the history."""
    return pb.WorkflowAction(id=number, workflowVersionNotAvailable=pb.WorkflowVersionNotAvailableAction())
