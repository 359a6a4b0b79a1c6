"""The engine as a task hub: the port's operations, over the instances that a runner runs."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

from google.protobuf.wrappers_pb2 import StringValue

from dapr_workflow_sdk.engine.clock import Clock, SystemClock
from dapr_workflow_sdk.engine.live import Live, reached
from dapr_workflow_sdk.engine.runner import InstanceRunner
from dapr_workflow_sdk.engine.state import describe
from dapr_workflow_sdk.engine.stores.base import Store
from dapr_workflow_sdk.engine.transitions import event_at
from dapr_workflow_sdk.taskhub.failures import invalid, not_finished, not_found, unavailable
from dapr_workflow_sdk.taskhub.port import Milestone, WorkerOffer, WorkItem
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import nanoseconds


class EngineHub:
    """A task hub over a store. All methods are to be called on one event loop, the one it is opened on."""

    def __init__(self, store: Store, *, clock: Clock | None = None, app_id: str = "app", name: str = "memory") -> None:
        """Makes a hub that does nothing until `open`.

        Args:
            store: What keeps the instances; the hub closes it.
            clock: Where the time comes from; the machine by default.
            app_id: Id of the application, as histories record it.
            name: What the store is, for messages.
        """
        self._store = store
        self._clock: Clock = clock or SystemClock()
        self._app_id = app_id
        self._description = f"the embedded engine ({name})"
        self._runner = InstanceRunner(store, self._clock, app_id, self._description)
        self._closed = False

    @property
    def description(self) -> str:
        """Where this task hub is."""
        return self._description

    @property
    def closed(self) -> bool:
        """Whether the engine is closed, which is for good."""
        return self._closed

    @property
    def worker_count(self) -> int:
        """How many workers are subscribed."""
        return self._runner.worker_count

    @property
    def app_id(self) -> str:
        """Id of the application."""
        return self._app_id

    async def open(self) -> None:
        """Takes up what an earlier engine left unfinished in the store."""
        self._runner.open()

    async def aclose(self) -> None:
        """Ends all subscriptions, makes everything durable and closes the store."""
        if not self._closed:
            self._closed = True
            await self._runner.close()
            self._store.close()

    async def connect(self, timeout: float) -> None:
        """Answers at once."""
        self._check_open()

    async def start(self, request: pb.CreateInstanceRequest) -> str:
        """Creates an instance; it is durable when this returns, and runs as soon as a worker is there."""
        self._check_open()
        if not request.name:
            raise invalid("A workflow needs a name, and the request to start one has none.")
        instance_id = request.instanceId or str(uuid.uuid4())
        now = self._clock.now()
        scheduled = None
        if request.HasField("scheduledStartTimestamp") and nanoseconds(request.scheduledStartTimestamp) > now:
            scheduled = request.scheduledStartTimestamp
        event = event_at(now, self._app_id)
        event.executionStarted.CopyFrom(
            pb.ExecutionStartedEvent(
                name=request.name,
                version=request.version if request.HasField("version") else None,
                input=request.input if request.HasField("input") else None,
                workflowInstance=pb.WorkflowInstance(
                    instanceId=instance_id, executionId=StringValue(value=str(uuid.uuid4()))
                ),
                scheduledStartTimestamp=scheduled,
                parentTraceContext=request.parentTraceContext if request.HasField("parentTraceContext") else None,
                tags=request.tags,
            )
        )
        await self._runner.start(instance_id, event, now)
        return instance_id

    async def state(self, instance_id: str, *, payloads: bool) -> pb.WorkflowState | None:
        """The state of an instance."""
        self._check_open()
        row = self._runner.row(instance_id)
        return None if row is None else describe(row, payloads=payloads)

    async def wait(self, instance_id: str, until: Milestone, *, payloads: bool) -> pb.WorkflowState | None:
        """Waits for an instance to begin or end."""
        self._check_open()
        row = self._runner.row(instance_id)
        if row is not None and row.ended is None:
            live = self._get(instance_id)
            if not reached(live.state, until):
                await self._runner.wait_for(live, until)
        return await self.state(instance_id, payloads=payloads)

    async def raise_event(self, request: pb.RaiseEventRequest) -> None:
        """Delivers an event."""
        live = self._get(request.instanceId)
        event = event_at(self._clock.now())
        event.eventRaised.CopyFrom(
            pb.EventRaisedEvent(name=request.name, input=request.input if request.HasField("input") else None)
        )
        if not live.state.ended:
            await self._runner.deliver(live, event)

    async def suspend(self, request: pb.SuspendRequest) -> None:
        """Suspends an instance."""
        live = self._get(request.instanceId)
        if not live.state.ended and not live.state.row.suspended:
            event = event_at(self._clock.now())
            event.executionSuspended.CopyFrom(pb.ExecutionSuspendedEvent(input=_reason(request)))
            await self._runner.deliver(live, event)

    async def resume(self, request: pb.ResumeRequest) -> None:
        """Resumes an instance."""
        live = self._get(request.instanceId)
        if not live.state.ended and live.state.row.suspended:
            event = event_at(self._clock.now())
            event.executionResumed.CopyFrom(pb.ExecutionResumedEvent(input=_reason(request)))
            await self._runner.deliver(live, event)

    async def terminate(self, request: pb.TerminateRequest) -> None:
        """Ends an instance, and returns when it has ended."""
        live = self._get(request.instanceId)
        if live.state.ended:
            return
        event = event_at(self._clock.now())
        event.executionTerminated.CopyFrom(
            pb.ExecutionTerminatedEvent(
                input=request.output if request.HasField("output") else None, recurse=request.recursive
            )
        )
        await self._runner.deliver(live, event)
        if not live.state.ended:
            await self._runner.wait_for(live, Milestone.COMPLETED)

    async def purge(self, request: pb.PurgeInstancesRequest) -> int:
        """Removes a finished instance."""
        self._check_open()
        if request.WhichOneof("request") != "instanceId":
            raise invalid("multi-instance purge is not implemented")
        doomed: list[str] = []
        self._collect_doomed(request.instanceId, request.recursive, request.force, doomed)
        if not doomed:
            raise not_found(request.instanceId)
        await self._runner.purge(doomed)
        return len(doomed)

    def _collect_doomed(self, instance_id: str, recursive: bool, force: bool, doomed: list[str]) -> None:
        live = self._runner.find(instance_id, remember=False)
        if live is None or instance_id in doomed:
            return
        if not live.state.ended and not force:
            raise not_finished(instance_id)
        if recursive:
            for event in live.state.history:
                if event.WhichOneof("eventType") == "childWorkflowInstanceCreated":
                    self._collect_doomed(event.childWorkflowInstanceCreated.instanceId, True, force, doomed)
        doomed.append(instance_id)

    async def history(self, instance_id: str) -> Sequence[pb.HistoryEvent]:
        """The committed history of the current execution."""
        self._check_open()
        live = self._runner.find(instance_id, remember=False)
        if live is None:
            raise not_found(instance_id)
        return list(live.state.history)

    @asynccontextmanager
    async def work_items(self, offer: WorkerOffer) -> AsyncGenerator[AsyncIterator[WorkItem], None]:
        """Subscribes a worker; when it leaves, others get what it had not finished."""
        self._check_open()
        worker = self._runner.subscribe(offer)
        try:
            yield worker.items()
        finally:
            self._runner.unsubscribe(worker)

    async def complete_turn(self, response: pb.WorkflowResponse) -> None:
        """Applies a worker's answer; returns when it is durable."""
        self._check_open()
        await self._runner.complete_turn(response)

    async def complete_activity(self, response: pb.ActivityResponse) -> None:
        """Takes an activity's result; returns when it is durable."""
        self._check_open()
        await self._runner.complete_activity(response)

    def _get(self, instance_id: str) -> Live:
        self._check_open()
        live = self._runner.find(instance_id)
        if live is None:
            raise not_found(instance_id)
        return live

    def _check_open(self) -> None:
        if self._closed:
            raise unavailable(f"{self.description} is closed.")


def _reason(request: pb.SuspendRequest | pb.ResumeRequest) -> StringValue | None:
    return request.reason if request.HasField("reason") else None
