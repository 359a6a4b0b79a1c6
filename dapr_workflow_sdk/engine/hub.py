"""The engine as a task hub: the port's operations, over the instances that a runner runs.

One engine serves several apps. Each has a hub of its own, made by `EngineHub.for_app`; all share the runner, and so the
store and the clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import StringValue

from dapr_workflow_sdk.engine.clock import Clock, SystemClock
from dapr_workflow_sdk.engine.identifiers import new_execution_id
from dapr_workflow_sdk.engine.listening import find_spans
from dapr_workflow_sdk.engine.live import Live, reached
from dapr_workflow_sdk.engine.rerun import rerun
from dapr_workflow_sdk.engine.retention import Janitor, RetentionPolicy
from dapr_workflow_sdk.engine.runner import InstanceRunner
from dapr_workflow_sdk.engine.state import LAST_MOMENT, InstanceKey, InstanceRow, InstanceState, describe
from dapr_workflow_sdk.engine.stores.base import Selection, Store
from dapr_workflow_sdk.engine.subscription import Subscription
from dapr_workflow_sdk.engine.transitions import event_at
from dapr_workflow_sdk.taskhub.failures import (
    child_still_runs,
    exists_for_ever,
    invalid,
    not_finished,
    not_found,
    nothing_there,
    rerun_target_exists,
    stalled,
    unavailable,
)
from dapr_workflow_sdk.taskhub.identifiers import new_instance_id, with_dashes
from dapr_workflow_sdk.taskhub.port import Capabilities, Milestone, TurnItem, WorkerOffer, WorkItem
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import FINAL_STATUSES, nanoseconds, status_name, timestamp_from_ns
from dapr_workflow_sdk.version import __version__

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from dapr_workflow_sdk.engine.spans import EngineSpans

_IDS_PER_PAGE = 1024
_STATES_PER_PAGE = 100
_PURGED_AT_ONCE = 500


@dataclass
class _Engine:
    """What the hubs of one engine share."""

    name: str
    clock: Clock
    runner: InstanceRunner
    janitor: Janitor | None
    tracer_provider: TracerProvider | None
    closed: bool = False


class EngineHub:
    """A task hub over a store. All methods are to be called on one event loop, the one it is opened on."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock | None = None,
        app_id: str = "app",
        name: str = "memory",
        retention: RetentionPolicy | None = None,
        activity_lease: timedelta | None = None,
        execution_ids: Callable[[], str] = new_execution_id,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        """Makes a hub that does nothing until `open`.

        Args:
            store: What keeps the instances; the hub closes it.
            clock: Where the time comes from; the machine by default.
            app_id: Id of the application, as histories record it.
            name: What the store is, for messages.
            retention: How long finished instances are kept; for ever by default.
            activity_lease: How long a worker may have an activity without a heartbeat; for ever by default.
            execution_ids: Where ids of executions come from; random ones by default.
            tracer_provider: Who is told of spans; the provider of the process by default, if it has one.
        """
        clock = clock or SystemClock()
        lease = 0 if activity_lease is None else activity_lease // timedelta(microseconds=1) * 1000
        runner = InstanceRunner(store, clock, f"the embedded engine ({name})", lease=lease, execution_ids=execution_ids)
        janitor = None
        if retention is not None:
            janitor = Janitor(store, clock, retention, runner)
            runner.on_ended = janitor.ended
        self._enter(_Engine(name, clock, runner, janitor, tracer_provider), app_id)

    def _enter(self, engine: _Engine, app_id: str) -> None:
        self._engine = engine
        self._clock = engine.clock
        self._runner = engine.runner
        self._app_id = app_id

    def for_app(self, app_id: str) -> EngineHub:
        """The hub of another app on the same engine; closing any of them closes the engine."""
        if app_id == self._app_id:
            return self
        found = EngineHub.__new__(EngineHub)
        found._enter(self._engine, app_id)
        return found

    @property
    def description(self) -> str:
        """Where this task hub is."""
        return self._runner.description

    @property
    def closed(self) -> bool:
        """Whether the engine is closed, which is for good."""
        return self._engine.closed

    @property
    def worker_count(self) -> int:
        """How many workers of this app are subscribed."""
        return len(self._runner.workers(self._app_id))

    @property
    def app_id(self) -> str:
        """Id of the application."""
        return self._app_id

    def limit_history(self, events: int) -> None:
        """Lets instances stall whose history would get longer; 0 is without limit."""
        self._runner.longest_history = events

    async def open(self) -> None:
        """Takes up what an earlier engine left unfinished in the store."""
        self._look_for_tracer()
        self._runner.open()
        if self._engine.janitor is not None:
            self._engine.janitor.open()

    async def aclose(self) -> None:
        """Ends all subscriptions, makes everything durable and closes the store."""
        engine = self._engine
        if not engine.closed:
            engine.closed = True
            if engine.janitor is not None:
                engine.janitor.close()
            await engine.runner.close()
            engine.runner.store.close()

    async def connect(self, timeout: float) -> None:
        """Answers at once."""
        self._check_open()

    def _key(self, instance_id: str) -> InstanceKey:
        return self._app_id, instance_id

    async def start(self, request: pb.CreateInstanceRequest) -> str:
        """Creates an instance; it is durable when this returns, and runs as soon as a worker is there."""
        self._check_open()
        if not request.name:
            raise invalid("A workflow needs a name, and the request to start one has none.")
        spans = self._look_for_tracer()
        return await (self._start(request) if spans is None else spans.creation(request, self._start))

    def _look_for_tracer(self) -> EngineSpans | None:
        """Applications may set up their tracing at any time."""
        runner = self._runner
        if runner.spans is None:
            runner.spans = find_spans(self._engine.tracer_provider, self._clock)
        return runner.spans

    async def _start(self, request: pb.CreateInstanceRequest) -> str:
        instance_id = request.instanceId or with_dashes(new_instance_id())
        if request.instanceId and not await self._make_way(request):
            return instance_id
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
                    instanceId=instance_id, executionId=StringValue(value=self._runner.new_execution_id())
                ),
                scheduledStartTimestamp=scheduled,
                parentTraceContext=request.parentTraceContext if request.HasField("parentTraceContext") else None,
                tags=request.tags,
            )
        )
        await self._runner.start(self._key(instance_id), event, now)
        return instance_id

    async def _make_way(self, request: pb.CreateInstanceRequest) -> bool:
        """Looks whether an id may be used again; returns whether an instance is to be made."""
        key = self._key(request.instanceId)
        row = self._runner.row(key)
        if row is None:
            return True
        if request.enforceUniqueInstanceId:
            raise exists_for_ever(request.instanceId)
        policy = request.workflowIdReusePolicy
        if request.HasField("workflowIdReusePolicy") and row.status in policy.workflowStatus:
            if policy.action == pb.CREATE_WORKFLOW_ACTION_IGNORE:
                return False
            if policy.action == pb.CREATE_WORKFLOW_ACTION_TERMINATE and row.ended is None:
                await self.terminate(pb.TerminateRequest(instanceId=request.instanceId, recursive=True))
                return True
        if row.ended is not None:
            for child in self._children(key, row):
                child_row = self._runner.row(child)
                if child_row is not None and child_row.ended is None:
                    raise child_still_runs(request.instanceId, child[1])
        return True

    async def state(self, instance_id: str, *, payloads: bool) -> pb.WorkflowState | None:
        """The state of an instance."""
        self._check_open()
        row = self._runner.durable_row(self._key(instance_id))
        return None if row is None else describe(row, payloads=payloads)

    async def wait(self, instance_id: str, until: Milestone, *, payloads: bool) -> pb.WorkflowState | None:
        """Waits for an instance to begin or end."""
        self._check_open()
        key = self._key(instance_id)
        while True:
            row = self._runner.durable_row(key)
            if row is not None and reached(row, until):
                return describe(row, payloads=payloads)
            live = self._runner.find(key)
            if live is None:
                return None
            await self._runner.wait_for(live, until)

    async def raise_event(self, request: pb.RaiseEventRequest) -> None:
        """Delivers an event."""
        live = await self._movable(request.instanceId)
        event = event_at(self._clock.now())
        event.eventRaised.CopyFrom(
            pb.EventRaisedEvent(name=request.name, input=request.input if request.HasField("input") else None)
        )
        if not live.state.ended:
            await self._runner.deliver(live, event)

    async def suspend(self, request: pb.SuspendRequest) -> None:
        """Suspends an instance."""
        live = await self._movable(request.instanceId)
        if live.state.ended:
            return
        if live.state.row.suspended:
            await live.settle()
            return
        event = event_at(self._clock.now())
        event.executionSuspended.CopyFrom(pb.ExecutionSuspendedEvent(input=_reason(request)))
        await self._runner.deliver(live, event)

    async def resume(self, request: pb.ResumeRequest) -> None:
        """Resumes an instance, also one that stalled because workers were lost with it."""
        live = self._get(request.instanceId)
        if live.state.row.stalled == pb.STALLED_REASON_WORKER_LOST:
            await self._runner.take_up_again(live)
            return
        live = await self._movable(request.instanceId)
        if live.state.ended:
            return
        if not live.state.row.suspended:
            await live.settle()
            return
        event = event_at(self._clock.now())
        event.executionResumed.CopyFrom(pb.ExecutionResumedEvent(input=_reason(request)))
        await self._runner.deliver(live, event)

    async def terminate(self, request: pb.TerminateRequest) -> None:
        """Ends an instance, and returns when it has ended."""
        live = await self._movable(request.instanceId)
        if live.state.ended:
            return
        event = event_at(self._clock.now())
        event.executionTerminated.CopyFrom(
            pb.ExecutionTerminatedEvent(
                input=request.output if request.HasField("output") else None, recurse=request.recursive
            )
        )
        await self._runner.deliver(live, event)
        if live.durable is None or live.durable.ended is None:
            await self._runner.wait_for(live, Milestone.COMPLETED)

    async def purge(self, request: pb.PurgeInstancesRequest) -> int:
        """Removes a finished instance, or all finished ones that a filter lets through."""
        self._check_open()
        kind = request.WhichOneof("request")
        if kind == "purgeInstanceFilter":
            return await self._purge_all(request)
        if kind != "instanceId":
            raise invalid("a request to purge needs an instance ID or a filter")
        doomed: dict[InstanceKey, InstanceRow] = {}
        self._collect_doomed(self._key(request.instanceId), request.recursive, request.force, doomed)
        if not doomed:
            raise not_found(request.instanceId)
        await self._runner.purge(list(doomed.values()))
        return len(doomed)

    async def _purge_all(self, request: pb.PurgeInstancesRequest) -> int:
        wanted = request.purgeInstanceFilter
        statuses = frozenset(wanted.runtimeStatus) or FINAL_STATUSES
        if not request.force and not statuses <= FINAL_STATUSES:
            names = ", ".join(sorted(map(status_name, statuses - FINAL_STATUSES)))
            raise invalid(f"only finished instances can be purged, and {names} is not a final status")
        selection = Selection(
            self._app_id,
            statuses=statuses,
            created_from=_moment(wanted.createdTimeFrom) if wanted.HasField("createdTimeFrom") else None,
            created_to=_moment(wanted.createdTimeTo) if wanted.HasField("createdTimeTo") else None,
            limit=_PURGED_AT_ONCE,
        )
        removed = 0
        while rows := self._runner.store.select(selection):
            selection = replace(selection, after=rows[-1].number)
            doomed: dict[InstanceKey, InstanceRow] = {}
            for row in rows:
                if self._runner.still(row):  # The store may not know yet that the id has been used again.
                    self._collect_doomed(row.key, request.recursive, request.force, doomed, strict=False)
            if doomed:
                await self._runner.purge(list(doomed.values()))
                removed += len(doomed)
        return removed

    def _collect_doomed(
        self,
        key: InstanceKey,
        recursive: bool,
        force: bool,
        doomed: dict[InstanceKey, InstanceRow],
        *,
        strict: bool = True,
    ) -> None:
        if key in doomed:
            return
        row = self._runner.row(key)
        if row is None:
            return
        if row.ended is None and not force:
            if not strict:
                return
            if row.stalled is not None:
                raise stalled(key[1], row.stalled_because or "")
            raise not_finished(key[1])
        doomed[key] = row
        if recursive:
            for child in self._children(key, row):
                self._collect_doomed(child, True, force, doomed, strict=strict)

    def _children(self, key: InstanceKey, row: InstanceRow) -> list[InstanceKey]:
        """Children of this execution; a rerun has the events of other children in its history."""
        live = self._runner.find(key, remember=False)
        found: list[InstanceKey] = []
        for child in () if live is None else _called(live.state):
            child_row = self._runner.row(child)
            if child_row is not None and child_row.parent is not None:
                caller = child_row.parent.workflowInstance
                if caller.instanceId == key[1] and caller.executionId.value == row.execution_id:
                    found.append(child)
        return found

    async def history(self, instance_id: str) -> Sequence[pb.HistoryEvent]:
        """The committed history of the current execution."""
        self._check_open()
        live = self._runner.find(self._key(instance_id), remember=False)
        if live is None:
            raise nothing_there(f"workflow instance '{instance_id}' not found")
        await live.settle()
        return list(live.state.history)

    async def capabilities(self) -> Capabilities:
        """Everything."""
        return Capabilities(lists=True, stalls=True, detaches=True, extensions=True)

    async def list_ids(self, request: pb.ListInstanceIDsRequest) -> pb.ListInstanceIDsResponse:
        """Ids of this app's instances, oldest first."""
        self._check_open()
        size = request.pageSize or _IDS_PER_PAGE
        rows = self._runner.store.select(
            Selection(self._app_id, after=_number(request.continuationToken), limit=size + 1)
        )
        token = str(rows[size - 1].number) if len(rows) > size else None
        return pb.ListInstanceIDsResponse(instanceIds=[row.instance_id for row in rows[:size]], continuationToken=token)

    async def instances(self, request: pb.ListInstancesRequest) -> pb.ListInstancesResponse:
        """States of this app's instances, newest first."""
        self._check_open()
        size = request.pageSize or _STATES_PER_PAGE
        rows = self._runner.store.select(
            Selection(
                self._app_id,
                statuses=frozenset(request.runtimeStatus),
                name=request.name,
                prefix=request.idPrefix,
                created_from=_moment(request.createdTimeFrom) if request.HasField("createdTimeFrom") else None,
                created_to=_moment(request.createdTimeTo) if request.HasField("createdTimeTo") else None,
                after=_number(request.continuationToken),
                newest_first=True,
                limit=size + 1,
            )
        )
        return pb.ListInstancesResponse(
            workflowStates=[describe(row, payloads=request.getInputsAndOutputs) for row in rows[:size]],
            continuationToken=str(rows[size - 1].number) if len(rows) > size else "",
        )

    async def rerun(self, request: pb.RerunWorkflowFromEventRequest) -> str:
        """Starts a new instance in the middle of the history of a finished one."""
        self._check_open()
        source_id = request.sourceInstanceID
        if not source_id:
            raise invalid("rerun workflow source instance ID is required")
        new_id = request.newInstanceID or with_dashes(new_instance_id())
        if new_id == source_id:
            raise invalid("rerun workflow instance ID must be different from the original instance ID")
        source = self._runner.find(self._key(source_id), remember=False)
        if source is None:
            raise nothing_there(f"workflow instance does not exist with ID '{source_id}'")
        if not source.state.ended:
            raise invalid(f"'{source_id}' is not in a terminal state")
        if source.state.row.parent is not None:
            raise invalid(f"'{source_id}': cannot rerun from child-workflows")
        number = self._runner.store.new_number()
        new = rerun(source.state, request, new_id, number, self._clock.now(), self._runner.new_execution_id())
        if self._runner.row(self._key(new_id)) is not None:
            raise rerun_target_exists(new_id)
        await self._runner.start_in_the_middle(new.state, new.change, new.messages)
        return new_id

    async def describe(self) -> pb.DescribeEngineResponse:
        """This engine."""
        self._check_open()
        return pb.DescribeEngineResponse(
            version=__version__,
            appId=self._app_id,
            appIds=sorted({*self._runner.apps(), self._app_id}),
            store=self._engine.name,
            storeBytes=self._runner.store.size(),
        )

    async def workers(self) -> Sequence[pb.WorkerInfo]:
        """This app's workers."""
        self._check_open()
        return [
            pb.WorkerInfo(
                workerId=worker.offer.worker_id,
                identity=worker.offer.identity,
                appId=worker.app_id,
                connectedAt=timestamp_from_ns(worker.since),
                turns=len(worker.turns),
                activities=len(worker.activities),
                maxTurns=worker.offer.turns,
                maxActivities=worker.offer.activities,
            )
            for worker in sorted(self._runner.workers(self._app_id), key=lambda worker: worker.since)
        ]

    async def heartbeat(self, request: pb.HeartbeatRequest) -> pb.HeartbeatResponse:
        """Takes a sign of life of an activity."""
        self._check_open()
        return self._runner.activities.heartbeat(self._app_id, request)

    @asynccontextmanager
    async def notices(self, worker_id: str) -> AsyncGenerator[AsyncIterator[pb.Notice], None]:
        """Tells a worker which of its activities are in vain."""
        self._check_open()
        queue = self._runner.activities.open_notices(worker_id)

        async def read() -> AsyncIterator[pb.Notice]:
            while (notice := await queue.get()) is not None:
                yield notice

        try:
            yield read()
        finally:
            self._runner.activities.close_notices(worker_id, queue)

    async def refuse(self, item: WorkItem, text: str) -> None:
        """Takes back an item that is too large for its worker; its instance stands still until that is repaired."""
        reason = pb.STALLED_REASON_PAYLOAD_SIZE_EXCEEDED
        if isinstance(item, TurnItem):
            await self._runner.refuse_turn(self._key(item.instance_id), item.token, reason, text)
        else:
            await self._runner.activities.refuse(item.token, reason, text)

    async def abandon(self, token: str, *, turn: bool) -> None:
        """Takes back an item that its worker does not want."""
        self._check_open()
        if turn:
            self._runner.abandon_turn(token)
        else:
            self._runner.activities.abandon(token)

    @asynccontextmanager
    async def work_items(self, offer: WorkerOffer) -> AsyncGenerator[AsyncIterator[WorkItem], None]:
        """Subscribes a worker; when it leaves, others get what it had not finished."""
        async with self.subscription(offer) as worker:
            yield worker.items()

    @asynccontextmanager
    async def subscription(self, offer: WorkerOffer) -> AsyncGenerator[Subscription, None]:
        """The same with the subscription itself, for servers that look what is on its way."""
        self._check_open()
        self._look_for_tracer()
        worker = self._runner.subscribe(self._app_id, offer)
        try:
            yield worker
        finally:
            self._runner.unsubscribe(worker)

    def complete_turn(self, response: pb.WorkflowResponse) -> asyncio.Future[None]:
        """Applies a worker's answer at once; the future is done when that is durable."""
        self._check_open()
        return self._runner.complete_turn(self._app_id, response)

    def complete_activity(self, response: pb.ActivityResponse) -> asyncio.Future[None]:
        """Takes an activity's result at once; the future is done when it is durable."""
        self._check_open()
        return self._runner.activities.complete(self._app_id, response)

    def _get(self, instance_id: str) -> Live:
        self._check_open()
        live = self._runner.find(self._key(instance_id))
        if live is None:
            raise not_found(instance_id)
        return live

    async def _movable(self, instance_id: str) -> Live:
        """An instance that clients may move; if it has ended, that is durable."""
        while True:
            live = self._get(instance_id)
            self._check_movable(live)
            if not live.state.ended or not live.uncommitted:
                return live
            # Whether it has ended is known when that is stored, or could not be.
            await live.settle()

    @staticmethod
    def _check_movable(live: Live) -> None:
        row = live.state.row
        if row.stalled is not None and row.ended is None:
            raise stalled(live.id, row.stalled_because or "")

    def _check_open(self) -> None:
        if self.closed:
            raise unavailable(f"{self.description} is closed.")


def _called(state: InstanceState) -> list[InstanceKey]:
    return [
        (event.router.targetAppID or state.row.app_id, event.childWorkflowInstanceCreated.instanceId)
        for event in state.history
        if event.WhichOneof("eventType") == "childWorkflowInstanceCreated"
    ]


def _moment(given: Timestamp) -> int:
    return max(0, min(nanoseconds(given), LAST_MOMENT))


def _number(token: str) -> int:
    if not token:
        return 0
    if not (token.isascii() and token.isdecimal() and len(token) < 19):
        raise invalid(f"{token!r} is no continuation token of this engine")
    return int(token)


def _reason(request: pb.SuspendRequest | pb.ResumeRequest) -> StringValue | None:
    return request.reason if request.HasField("reason") else None
