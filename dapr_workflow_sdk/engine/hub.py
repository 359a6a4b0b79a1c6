"""The engine as a task hub: instances, store, clock and workers tied together on one event loop.

The order of commits is what makes a crash harmless, and it is this. A step of an instance changes its state in
memory at once; everything the step causes (activities sent out, timers set, waiting clients told, completions
acknowledged) happens only when the change is durable. An instance takes its next turn only then, too. The results of
activities are an exception: they go to the turn that waits for them without a commit of their own, and the worker
gets its acknowledgement when that turn is durable; until then the activity's own row stands for the result, and a
crash makes the activity run again.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.wrappers_pb2 import StringValue

from dapr_workflow_sdk.engine.clock import Alarm, Clock, SystemClock
from dapr_workflow_sdk.engine.committer import Committer
from dapr_workflow_sdk.engine.state import Change, InboxEvent, InstanceState, TaskKey, describe
from dapr_workflow_sdk.engine.stores.base import Store
from dapr_workflow_sdk.engine.subscription import Subscription
from dapr_workflow_sdk.engine.transitions import (
    Conclusion,
    Message,
    accept,
    accept_unstored,
    conclude,
    create,
    drop_task,
    event_at,
    refused_child,
    store_unstored,
    wants,
)
from dapr_workflow_sdk.taskhub.failures import already_exists, invalid, not_finished, not_found, unavailable
from dapr_workflow_sdk.taskhub.port import ActivityItem, Milestone, TurnItem, WorkerOffer, WorkItem
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import nanoseconds, text_of, timestamp_from_ns

logger = logging.getLogger("dapr_workflow_sdk.engine")

# After a failed commit (a full disk, say) the engine waits this long, in seconds, before it tries again.
_RECOVERY_PAUSE = 0.5


@dataclass
class _Turn:
    token: str
    taken: list[InboxEvent]
    new: list[pb.HistoryEvent]
    worker: Subscription | None
    answered: bool = False


@dataclass(eq=False)
class _Live:
    """An instance in memory and what goes on around it."""

    state: InstanceState
    turn: _Turn | None = None
    queued: bool = False
    alarms: dict[int, Alarm] = field(default_factory=dict[int, Alarm])
    start_alarm: Alarm | None = None
    waiters: list[tuple[Milestone, asyncio.Future[None]]] = field(
        default_factory=list[tuple[Milestone, asyncio.Future[None]]]
    )
    acknowledgements: dict[TaskKey, asyncio.Future[None]] = field(default_factory=dict[TaskKey, asyncio.Future[None]])

    @property
    def id(self) -> str:
        return self.state.row.instance_id


@dataclass(eq=False)
class _Run:
    """An activity at a worker, or on its way to one."""

    instance_id: str
    key: TaskKey
    request: pb.ActivityRequest
    token: str = ""
    worker: Subscription | None = None


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
        self._name = name
        self._committer = Committer(store, self._on_commit_failed)
        self._live: dict[str, _Live] = {}
        self._turns: deque[_Live] = deque()
        self._activities: deque[_Run] = deque()
        self._runs: dict[str, _Run] = {}
        self._run_of_call: dict[tuple[str, int], str] = {}
        self._workers: deque[Subscription] = deque()
        self._background: set[asyncio.Task[None]] = set()
        self._turns_out = 0
        self._waiting_clients = 0
        self._idle_check: asyncio.Handle | None = None
        self._closed = False

    @property
    def description(self) -> str:
        """Where this task hub is."""
        return f"the embedded engine ({self._name})"

    @property
    def worker_count(self) -> int:
        """How many workers are subscribed."""
        return len(self._workers)

    @property
    def app_id(self) -> str:
        """Id of the application."""
        return self._app_id

    async def open(self) -> None:
        """Takes up what an earlier engine left unfinished in the store."""
        unfinished = self._store.unfinished()
        for instance_id in unfinished:
            live = self._find(instance_id)
            if live is not None:
                self._take_up(live)
        if unfinished:
            logger.info("Took up %d unfinished instances from %s", len(unfinished), self._name)
        self._pump()

    def _take_up(self, live: _Live) -> None:
        for timer, fire_at in live.state.timers.items():
            self._set_alarm(live, timer, fire_at)
        for key, request in live.state.tasks.items():
            self._activities.append(_Run(live.id, key, request))
        self._make_ready(live)

    async def aclose(self) -> None:
        """Ends all subscriptions, makes everything durable and closes the store."""
        if self._closed:
            return
        self._closed = True
        for worker in self._workers:
            worker.end()
        for live in self._live.values():
            for alarm in live.alarms.values():
                alarm.cancel()
            if live.start_alarm is not None:
                live.start_alarm.cancel()
            for future in (*(waiter for _, waiter in live.waiters), *live.acknowledgements.values()):
                if not future.done():
                    future.set_exception(unavailable(f"{self.description} was closed while somebody waited."))
                    future.exception()
        await self._committer.drain()
        for task in list(self._background):
            task.cancel()
        self._store.close()

    # ---- instance operations -------------------------------------------------------------------------------

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
        live, change = self._create(instance_id, event, now)
        committed = self._committer.submit([change])
        self._make_ready(live)
        await committed
        return instance_id

    def _create(self, instance_id: str, started: pb.HistoryEvent, now: int) -> tuple[_Live, Change]:
        generation = 1
        live = self._live.get(instance_id)
        row = live.state.row if live is not None else self._store.row(instance_id)
        if row is not None:
            if row.ended is None:
                raise already_exists(instance_id)
            generation = row.generation + 1
        state, change = create(started, now, generation)
        if live is None:
            live = self._live[instance_id] = _Live(state)
        else:
            # Activities that an earlier run left behind still run, so their rows stay known.
            state.tasks.update(live.state.tasks)
            live.state = state
        if state.row.scheduled is not None:
            live.start_alarm = self._clock.call_at(state.row.scheduled, lambda: self._begin_scheduled(live))
        return live, change

    def _begin_scheduled(self, live: _Live) -> None:
        live.start_alarm = None
        self._make_ready(live)

    async def state(self, instance_id: str, *, payloads: bool) -> pb.WorkflowState | None:
        """The state of an instance."""
        self._check_open()
        live = self._live.get(instance_id)
        if live is not None:
            return describe(live.state, payloads=payloads)
        row = self._store.row(instance_id)
        return None if row is None else describe(InstanceState(row), payloads=payloads)

    async def wait(self, instance_id: str, until: Milestone, *, payloads: bool) -> pb.WorkflowState | None:
        """Waits for an instance to begin or end."""
        self._check_open()
        live = self._live.get(instance_id)
        if live is not None and not _reached(live.state, until):
            await self._wait_for(live, until)
        elif live is None:
            row = self._store.row(instance_id)
            if row is not None and not _reached(InstanceState(row), until):
                found = self._find(instance_id)
                assert found is not None
                await self._wait_for(found, until)
        return await self.state(instance_id, payloads=payloads)

    async def _wait_for(self, live: _Live, until: Milestone) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (until, waiter)
        live.waiters.append(entry)
        self._waiting_clients += 1
        self._look_for_idleness()
        try:
            await waiter
        finally:
            self._waiting_clients -= 1
            if entry in live.waiters:
                live.waiters.remove(entry)

    async def raise_event(self, request: pb.RaiseEventRequest) -> None:
        """Delivers an event."""
        event = event_at(self._clock.now())
        event.eventRaised.CopyFrom(
            pb.EventRaisedEvent(name=request.name, input=request.input if request.HasField("input") else None)
        )
        await self._deliver(request.instanceId, event)

    async def suspend(self, request: pb.SuspendRequest) -> None:
        """Suspends an instance."""
        live = self._get(request.instanceId)
        if not live.state.ended and not live.state.row.suspended:
            event = event_at(self._clock.now())
            event.executionSuspended.CopyFrom(pb.ExecutionSuspendedEvent(input=_reason(request)))
            await self._deliver(request.instanceId, event)

    async def resume(self, request: pb.ResumeRequest) -> None:
        """Resumes an instance."""
        live = self._get(request.instanceId)
        if not live.state.ended and live.state.row.suspended:
            event = event_at(self._clock.now())
            event.executionResumed.CopyFrom(pb.ExecutionResumedEvent(input=_reason(request)))
            await self._deliver(request.instanceId, event)

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
        await self._deliver(request.instanceId, event)
        if not live.state.ended:
            await self._wait_for(live, Milestone.COMPLETED)

    async def _deliver(self, instance_id: str, event: pb.HistoryEvent) -> None:
        live = self._get(instance_id)
        if live.state.ended:
            return
        committed = self._committer.submit([accept(live.state, event)])
        self._make_ready(live)
        await committed

    async def purge(self, request: pb.PurgeInstancesRequest) -> int:
        """Removes a finished instance."""
        self._check_open()
        if request.WhichOneof("request") != "instanceId":
            raise invalid("multi-instance purge is not implemented")
        doomed: list[str] = []
        self._collect_doomed(request.instanceId, request.recursive, request.force, doomed)
        if not doomed:
            raise not_found(request.instanceId)
        changes: list[Change] = []
        for instance_id in doomed:
            live = self._live.pop(instance_id, None)
            if live is not None:
                self._forget(live)
            changes.append(Change(instance_id, None))
        await self._committer.submit(changes)
        return len(doomed)

    def _collect_doomed(self, instance_id: str, recursive: bool, force: bool, doomed: list[str]) -> None:
        live = self._find(instance_id, remember=False)
        if live is None or instance_id in doomed:
            return
        if not live.state.ended and not force:
            raise not_finished(instance_id)
        if recursive:
            for event in live.state.history:
                if event.WhichOneof("eventType") == "childWorkflowInstanceCreated":
                    self._collect_doomed(event.childWorkflowInstanceCreated.instanceId, True, force, doomed)
        doomed.append(instance_id)

    def _forget(self, live: _Live) -> None:
        for alarm in live.alarms.values():
            alarm.cancel()
        live.alarms = {}
        if live.turn is not None:
            if live.turn.worker is not None:
                live.turn.worker.turns.discard(live.id)
            self._end_turn(live)
        live.state.inbox = []
        self._acknowledge(live, list(live.acknowledgements))
        for _, waiter in live.waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def history(self, instance_id: str) -> Sequence[pb.HistoryEvent]:
        """The committed history of the current execution."""
        self._check_open()
        live = self._find(instance_id, remember=False)
        if live is None:
            raise not_found(instance_id)
        return list(live.state.history)

    # ---- workers -------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def work_items(self, offer: WorkerOffer) -> AsyncGenerator[AsyncIterator[WorkItem], None]:
        """Subscribes a worker; when it leaves, others get what it had not finished."""
        self._check_open()
        worker = Subscription(offer)
        self._workers.append(worker)
        self._pump()
        try:
            yield worker.items()
        finally:
            self._workers.remove(worker)
            if not self._closed:
                self._take_back(worker)

    def _take_back(self, worker: Subscription) -> None:
        for instance_id in worker.turns:
            live = self._live.get(instance_id)
            if live is not None and live.turn is not None and live.turn.worker is worker:
                self._end_turn(live)
                self._make_ready(live)
        for token in worker.activities:
            # The token stays good until another worker gets the activity: a result that still comes is taken.
            run = self._runs[token]
            run.worker = None
            self._activities.appendleft(run)
        if not self._workers:
            # Nobody is there to take a turn: what was not stored is stored now, and its senders are answered.
            for live in list(self._live.values()):
                self._store_unstored(live)
                self._end_without_worker(live)
        self._pump()

    def _store_unstored(self, live: _Live) -> None:
        if live.turn is not None:
            return
        change = store_unstored(live.state)
        if change is not None:
            self._in_background(self._commit_and_acknowledge(live, change))

    async def _commit_and_acknowledge(self, live: _Live, change: Change) -> None:
        await self._committer.submit([change])
        self._acknowledge(live, change.tasks_removed)

    def _acknowledge(self, live: _Live, keys: Sequence[TaskKey]) -> None:
        for key in keys:
            acknowledgement = live.acknowledgements.pop(key, None)
            if acknowledgement is not None and not acknowledgement.done():
                acknowledgement.set_result(None)

    def _make_ready(self, live: _Live) -> None:
        """Queues an instance for a turn if it has something to take one for."""
        if live.turn is None and not live.queued and self._may_run(live.state):
            if not self._workers and self._end_without_worker(live):
                return
            live.queued = True
            self._turns.append(live)
            self._pump()

    def _may_run(self, state: InstanceState) -> bool:
        if not state.inbox or state.ended:
            return False
        if state.row.started is None and state.row.scheduled is not None and self._clock.now() < state.row.scheduled:
            return _is_terminated(state)
        return True

    def _pump(self) -> None:
        """Sends out what workers have room for."""
        while self._turns:
            worker = self._next_worker("turn")
            if worker is None:
                break
            live = self._turns.popleft()
            live.queued = False
            if live.turn is None and self._live.get(live.id) is live and self._may_run(live.state):
                self._send_turn(live, worker)
        while self._activities:
            worker = self._next_worker("activity")
            if worker is None:
                break
            self._send_activity(self._activities.popleft(), worker)
        self._look_for_idleness()

    def _next_worker(self, kind: str) -> Subscription | None:
        for _ in range(len(self._workers)):
            worker = self._workers[0]
            self._workers.rotate(-1)
            if worker.takes_turns if kind == "turn" else worker.takes_activities:
                return worker
        return None

    def _send_turn(self, live: _Live, worker: Subscription) -> None:
        turn = self._begin_turn(live, worker)
        worker.turns.add(live.id)
        worker.send(TurnItem(live.id, live.state.history, turn.new, turn.token))

    def _begin_turn(self, live: _Live, worker: Subscription | None) -> _Turn:
        marker = event_at(self._clock.now())
        marker.workflowStarted.SetInParent()
        taken = list(live.state.inbox)
        turn = _Turn(uuid.uuid4().hex, taken, [marker, *(item.event for item in taken)], worker)
        live.turn = turn
        self._turns_out += 1
        return turn

    def _end_turn(self, live: _Live) -> None:
        live.turn = None
        self._turns_out -= 1

    def _send_activity(self, run: _Run, worker: Subscription) -> None:
        self._runs.pop(run.token, None)
        run.token = uuid.uuid4().hex
        run.worker = worker
        self._runs[run.token] = run
        self._run_of_call[run.instance_id, run.key[1]] = run.token
        worker.activities.add(run.token)
        worker.send(ActivityItem(run.request, run.token))

    async def complete_turn(self, response: pb.WorkflowResponse) -> None:
        """Applies a worker's answer; returns when it is durable."""
        self._check_open()
        live = self._live.get(response.instanceId)
        turn = None if live is None else live.turn
        if live is None or turn is None or turn.answered or response.completionToken not in ("", turn.token):
            logger.debug("Ignored the answer to a turn of %s that is not running.", response.instanceId)
            return
        if turn.worker is not None:
            turn.worker.turns.discard(live.id)
        await self._conclude(live, turn, response)

    async def _conclude(self, live: _Live, turn: _Turn, response: pb.WorkflowResponse) -> None:
        turn.answered = True
        now = self._clock.now()
        conclusion = conclude(live.state, turn.taken, turn.new, response, now, self._app_id, str(uuid.uuid4()))
        changes = [conclusion.change]
        woken = [live]
        for message in conclusion.messages:
            self._pass_on(live, message, now, changes, woken)
        self._pump()
        await self._committer.submit(changes)
        self._after_turn(live, turn, conclusion)
        for other in woken:
            self._make_ready(other)
        self._pump()

    def _pass_on(self, sender: _Live, message: Message, now: int, changes: list[Change], woken: list[_Live]) -> None:
        """Delivers a message between two instances in the sender's own transaction."""
        if message.creates:
            started = message.event.executionStarted
            started.workflowInstance.executionId.value = str(uuid.uuid4())
            target = self._find(message.target)
            if target is not None and not target.state.ended:
                if started.HasField("parentInstance"):
                    refusal = refused_child(started.parentInstance.taskScheduledId, message.target, now)
                    if wants(sender.state, refusal):
                        changes.append(accept(sender.state, refusal))
                else:
                    logger.warning("%s: detached workflow %s already runs.", sender.id, message.target)
                return
            target, change = self._create(message.target, message.event, now)
            changes.append(change)
            woken.append(target)
            return
        target = self._find(message.target)
        if target is None or target.state.ended:
            return
        if message.for_execution and message.for_execution != target.state.row.execution_id:
            return
        if wants(target.state, message.event):
            changes.append(accept(target.state, message.event))
            woken.append(target)

    def _after_turn(self, live: _Live, turn: _Turn, conclusion: Conclusion) -> None:
        change = conclusion.change
        if live.turn is turn:
            self._end_turn(live)
        self._acknowledge(live, change.tasks_removed)
        for key, request in conclusion.activities:
            self._activities.append(_Run(live.id, key, request))
        for timer in [number for number in live.alarms if number not in live.state.timers]:
            live.alarms.pop(timer).cancel()
        for timer, fire_at in change.timers_added:
            self._set_alarm(live, timer, fire_at)
        self._tell_waiters(live)
        self._let_go(live)

    def _tell_waiters(self, live: _Live) -> None:
        for until, waiter in live.waiters:
            if not waiter.done() and _reached(live.state, until):
                waiter.set_result(None)

    def _let_go(self, live: _Live) -> None:
        """Drops an instance from memory once nothing can happen to it any more."""
        if live.state.ended and not live.state.tasks and self._live.get(live.id) is live:
            del self._live[live.id]

    def _set_alarm(self, live: _Live, timer: int, fire_at: int) -> None:
        live.alarms[timer] = self._clock.call_at(fire_at, lambda: self._fire(live, timer, fire_at))

    def _fire(self, live: _Live, timer: int, fire_at: int) -> None:
        live.alarms.pop(timer, None)
        event = event_at(self._clock.now())
        event.timerFired.CopyFrom(pb.TimerFiredEvent(fireAt=timestamp_from_ns(fire_at), timerId=timer))
        if self._live.get(live.id) is live and wants(live.state, event):
            accept_unstored(live.state, event, timer=timer)
            self._make_ready(live)

    async def complete_activity(self, response: pb.ActivityResponse) -> None:
        """Takes an activity's result; returns when it is durable."""
        self._check_open()
        token = response.completionToken or self._run_of_call.get((response.instanceId, response.taskId), "")
        run = self._runs.pop(token, None)
        if run is None or run.instance_id != response.instanceId or run.key[1] != response.taskId:
            logger.debug("Ignored the result of activity %d of %s.", response.taskId, response.instanceId)
            return
        self._run_of_call.pop((run.instance_id, run.key[1]), None)
        if run.worker is not None:
            run.worker.activities.discard(token)
        elif run in self._activities:
            self._activities.remove(run)
        live = self._live.get(run.instance_id)
        if live is None:
            self._pump()
            return
        event = self._result_event(run, response)
        if not wants(live.state, event, run.key):
            change = drop_task(live.state, run.key)
            self._pump()
            if change is not None:
                await self._committer.submit([change])
            self._let_go(live)
            return
        accept_unstored(live.state, event, task=run.key)
        acknowledgement: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        live.acknowledgements[run.key] = acknowledgement
        self._make_ready(live)
        if not self._workers:
            self._store_unstored(live)
        self._pump()
        await acknowledgement

    def _result_event(self, run: _Run, response: pb.ActivityResponse) -> pb.HistoryEvent:
        event = event_at(self._clock.now())
        if response.HasField("failureDetails"):
            event.taskFailed.CopyFrom(
                pb.TaskFailedEvent(
                    taskScheduledId=response.taskId,
                    failureDetails=response.failureDetails,
                    taskExecutionId=run.request.taskExecutionId,
                )
            )
        else:
            event.taskCompleted.CopyFrom(
                pb.TaskCompletedEvent(
                    taskScheduledId=response.taskId,
                    result=response.result if response.HasField("result") else None,
                    taskExecutionId=run.request.taskExecutionId,
                )
            )
        return event

    def _end_without_worker(self, live: _Live) -> bool:
        """Ends a terminated instance by the engine alone when no worker is there to do it."""
        if live.turn is not None or live.state.ended or not _is_terminated(live.state):
            return False
        turn = self._begin_turn(live, None)
        status = text_of(live.state.row.custom_status)
        answer = pb.WorkflowResponse(instanceId=live.id, customStatus=status, completionToken=turn.token)
        self._in_background(self._conclude(live, turn, answer))
        return True

    # ---- housekeeping --------------------------------------------------------------------------------------

    def _find(self, instance_id: str, *, remember: bool = True) -> _Live | None:
        live = self._live.get(instance_id)
        if live is None:
            state = self._store.load(instance_id)
            if state is None:
                return None
            live = _Live(state)
            if (remember and not state.ended) or state.tasks:
                self._live[instance_id] = live
        return live

    def _get(self, instance_id: str) -> _Live:
        self._check_open()
        live = self._find(instance_id)
        if live is None:
            raise not_found(instance_id)
        return live

    def _check_open(self) -> None:
        if self._closed:
            raise unavailable(f"{self.description} is closed.")

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _look_for_idleness(self) -> None:
        if self._clock.jumps and self._waiting_clients and self._idle_check is None:
            self._idle_check = asyncio.get_running_loop().call_soon(self._check_idleness)

    def _check_idleness(self) -> None:
        self._idle_check = None
        if (
            self._waiting_clients
            and not self._closed
            and not self._turns
            and not self._activities
            and not self._runs
            and not self._committer.busy
            and not self._turns_out
        ):
            self._clock.idle()

    def _on_commit_failed(self, error: BaseException) -> None:
        """Falls back to what is durable: the states in memory are ahead of the store and are dropped."""
        logger.critical("%s could not commit: %s. Unfinished steps are taken back.", self.description, error)
        lost = list(self._live.values())
        self._live = {}
        self._turns_out = 0
        self._turns.clear()
        self._activities.clear()
        for live in lost:
            for alarm in live.alarms.values():
                alarm.cancel()
            for acknowledgement in live.acknowledgements.values():
                if not acknowledgement.done():
                    acknowledgement.set_exception(unavailable(f"{self.description} could not commit: {error}"))
                    acknowledgement.exception()
        self._runs.clear()
        self._run_of_call.clear()
        for worker in self._workers:
            worker.turns.clear()
            worker.activities.clear()
        asyncio.get_running_loop().call_later(_RECOVERY_PAUSE, self._recover, lost)

    def _recover(self, lost: Sequence[_Live]) -> None:
        if self._closed:
            return
        for instance_id in self._store.unfinished():
            live = self._find(instance_id)
            if live is not None and live.turn is None and not live.queued:
                self._take_up(live)
        for before in lost:
            for until, waiter in before.waiters:
                live = self._find(before.id)
                if live is None or _reached(live.state, until):
                    if not waiter.done():
                        waiter.set_result(None)
                else:
                    live.waiters.append((until, waiter))
        self._pump()


def _reached(state: InstanceState, until: Milestone) -> bool:
    return state.ended or (until is Milestone.STARTED and state.row.started is not None)


def _is_terminated(state: InstanceState) -> bool:
    return any(item.event.WhichOneof("eventType") == "executionTerminated" for item in state.inbox)


def _reason(request: pb.SuspendRequest | pb.ResumeRequest) -> StringValue | None:
    return request.reason if request.HasField("reason") else None
