"""Running instances: turns and activities handed to workers, timers, commits, and what follows from each commit.

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
from collections.abc import Coroutine, Sequence
from typing import Any

from dapr_workflow_sdk.engine.activity_queue import ActivityQueue, ActivityRun
from dapr_workflow_sdk.engine.clock import Clock
from dapr_workflow_sdk.engine.committer import Committer
from dapr_workflow_sdk.engine.live import Live, Turn, is_terminated, reached
from dapr_workflow_sdk.engine.state import Change, InstanceRow, InstanceState
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
from dapr_workflow_sdk.taskhub.failures import already_exists, unavailable
from dapr_workflow_sdk.taskhub.port import Milestone, TurnItem, WorkerOffer
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import text_of, timestamp_from_ns

logger = logging.getLogger("dapr_workflow_sdk.engine")

# After a failed commit (a full disk, say) the engine waits this long, in seconds, before it tries again.
_RECOVERY_PAUSE = 0.5


class InstanceRunner:
    """Runs the instances of one store with the workers that subscribe."""

    def __init__(self, store: Store, clock: Clock, app_id: str, description: str) -> None:
        """Does nothing until `open`."""
        self.description = description
        self._store = store
        self._clock = clock
        self._app_id = app_id
        self._committer = Committer(store, self._on_commit_failed, self._look_for_idleness)
        self._live: dict[str, Live] = {}
        self._turns: deque[Live] = deque()
        self._turns_out = 0
        self._activities = ActivityQueue()
        self._workers: deque[Subscription] = deque()
        self._background: set[asyncio.Task[None]] = set()
        self._purging: set[str] = set()
        self._waiting_clients = 0
        self._idle_check: asyncio.Handle | None = None
        self._closed = False

    @property
    def worker_count(self) -> int:
        """How many workers are subscribed."""
        return len(self._workers)

    def open(self) -> None:
        """Takes up what an earlier engine left unfinished in the store."""
        unfinished = self._store.unfinished()
        for instance_id in unfinished:
            self.find(instance_id)
        if unfinished:
            logger.info("Took up %d unfinished instances from %s", len(unfinished), self.description)

    def _take_up(self, live: Live) -> None:
        for timer, fire_at in live.state.timers.items():
            self._set_alarm(live, timer, fire_at)
        for key, request in live.state.tasks.items():
            self._activities.add(live.id, key, request)
        self._schedule_start(live)
        self.make_ready(live)

    async def close(self) -> None:
        """Ends all subscriptions and makes everything durable."""
        self._closed = True
        for worker in self._workers:
            worker.end()
        for live in self._live.values():
            live.silence()
            live.abandon(unavailable(f"{self.description} was closed while somebody waited."))
        await self._committer.drain()
        for task in list(self._background):
            task.cancel()

    # ---- instances -----------------------------------------------------------------------------------------

    def find(self, instance_id: str, *, remember: bool = True) -> Live | None:
        """An instance, loaded from the store if need be; `remember` keeps an unfinished one in memory then."""
        live = self._live.get(instance_id)
        if live is None:
            state = None if instance_id in self._purging else self._store.load(instance_id)
            if state is None:
                return None
            live = Live(state)
            if remember and (not state.ended or state.tasks):
                self._live[instance_id] = live
                self._take_up(live)
        return live

    def row(self, instance_id: str) -> InstanceRow | None:
        """The scalar part of an instance, without loading the rest."""
        live = self._live.get(instance_id)
        if live is not None:
            return live.state.row
        return None if instance_id in self._purging else self._store.row(instance_id)

    def _commit(self, changes: Sequence[Change]) -> Coroutine[Any, Any, None]:
        """Submits changes at once; what it returns waits until they are durable."""
        return self._durable(self._committer.submit(changes))

    async def _durable(self, committed: asyncio.Future[None]) -> None:
        try:
            await committed
        except Exception as error:
            raise unavailable(f"{self.description} could not store what was to happen: {error}") from error

    async def purge(self, instance_ids: Sequence[str]) -> None:
        """Removes instances, all or none; returns when that is durable."""
        for instance_id in instance_ids:
            self._forget(instance_id)
        # Until the store has forgotten them, they must not be read from it again.
        self._purging.update(instance_ids)
        await self._whatever_callers_do(self._purge(instance_ids))

    async def _purge(self, instance_ids: Sequence[str]) -> None:
        try:
            await self._commit([Change(instance_id, None) for instance_id in instance_ids])
        finally:
            self._purging.difference_update(instance_ids)

    def create(self, instance_id: str, started: pb.HistoryEvent, now: int) -> tuple[Live, Change]:
        """Makes an instance, or raises `WorkflowAlreadyExistsError`; the change is for the caller to commit."""
        generation = 1
        live = self._live.get(instance_id)
        row = self.row(instance_id)
        if row is not None:
            if row.ended is None:
                raise already_exists(instance_id)
            generation = row.generation + 1
        state, change = create(started, now, generation)
        if live is None:
            live = self._live[instance_id] = Live(state)
        else:
            # Activities that an earlier run left behind still run, so their rows stay known.
            state.tasks.update(live.state.tasks)
            live.state = state
        self._schedule_start(live)
        return live, change

    def _schedule_start(self, live: Live) -> None:
        scheduled = live.state.row.scheduled
        if scheduled is not None and live.state.row.started is None:
            live.start_alarm = self._clock.call_at(scheduled, lambda: self._begin_scheduled(live))

    async def start(self, instance_id: str, started: pb.HistoryEvent, now: int) -> None:
        """Makes an instance and lets it run; returns when it is durable."""
        live, change = self.create(instance_id, started, now)
        committed = self._commit([change])
        self.make_ready(live)
        await committed

    def _begin_scheduled(self, live: Live) -> None:
        live.start_alarm = None
        self.make_ready(live)
        self._look_for_idleness()

    async def deliver(self, live: Live, event: pb.HistoryEvent) -> None:
        """Puts an event into an inbox; returns when it is durable."""
        committed = self._commit([accept(live.state, event)])
        self.make_ready(live)
        await committed

    def _forget(self, instance_id: str) -> None:
        live = self._live.pop(instance_id, None)
        if live is None:
            return
        live.silence()
        if live.turn is not None:
            if live.turn.worker is not None:
                live.turn.worker.turns.discard(live.id)
            self._end_turn(live)
        live.state.inbox = []
        live.acknowledge(list(live.acknowledgements))
        for _, waiter in live.waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _let_go(self, live: Live) -> None:
        """Drops an instance from memory once nothing can happen to it any more."""
        if live.state.ended and not live.state.tasks and self._live.get(live.id) is live:
            del self._live[live.id]

    async def wait_for(self, live: Live, until: Milestone) -> None:
        """Waits until an instance has come so far."""
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

    # ---- workers -------------------------------------------------------------------------------------------

    def subscribe(self, offer: WorkerOffer) -> Subscription:
        """Adds a worker."""
        worker = Subscription(offer)
        self._workers.append(worker)
        self._pump()
        return worker

    def unsubscribe(self, worker: Subscription) -> None:
        """Removes a worker, and gives what it had to others."""
        self._workers.remove(worker)
        if self._closed:
            return
        for instance_id in worker.turns:
            live = self._live.get(instance_id)
            if live is not None and live.turn is not None and live.turn.worker is worker:
                self._end_turn(live)
                self.make_ready(live)
        self._activities.take_back(worker)
        if not self._workers:
            # Nobody is there to take a turn: what was not stored is stored now, and its senders are answered.
            for live in list(self._live.values()):
                if not self._end_without_worker(live):
                    self._store_unstored(live)
        self._pump()

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
        while self._activities.waiting:
            worker = self._next_worker("activity")
            if worker is None:
                break
            self._activities.send_next(worker)
        self._look_for_idleness()

    def _next_worker(self, kind: str) -> Subscription | None:
        for _ in range(len(self._workers)):
            worker = self._workers[0]
            self._workers.rotate(-1)
            if worker.takes_turns if kind == "turn" else worker.takes_activities:
                return worker
        return None

    # ---- turns ---------------------------------------------------------------------------------------------

    def make_ready(self, live: Live) -> None:
        """Queues an instance for a turn if it has something to take one for."""
        if live.turn is not None or not self._may_run(live.state):
            return
        if not self._workers:
            if self._end_without_worker(live):
                return
            self._store_unstored(live)
        if live.queued:
            return
        live.queued = True
        self._turns.append(live)
        self._pump()

    def _may_run(self, state: InstanceState) -> bool:
        if not state.inbox or state.ended:
            return False
        if state.row.started is None and state.row.scheduled is not None and self._clock.now() < state.row.scheduled:
            return is_terminated(state)
        return True

    def _send_turn(self, live: Live, worker: Subscription) -> None:
        turn = self._begin_turn(live, worker)
        worker.turns.add(live.id)
        worker.send(TurnItem(live.id, live.state.history, turn.new, turn.token))

    def _begin_turn(self, live: Live, worker: Subscription | None) -> Turn:
        marker = event_at(self._clock.now())
        marker.workflowStarted.SetInParent()
        taken = list(live.state.inbox)
        turn = Turn(uuid.uuid4().hex, taken, [marker, *(item.event for item in taken)], worker)
        live.turn = turn
        self._turns_out += 1
        return turn

    def _end_turn(self, live: Live) -> None:
        live.turn = None
        self._turns_out -= 1

    async def complete_turn(self, response: pb.WorkflowResponse) -> None:
        """Applies a worker's answer; returns when it is durable."""
        live = self._live.get(response.instanceId)
        turn = None if live is None else live.turn
        if live is None or turn is None or turn.answered or response.completionToken not in ("", turn.token):
            logger.debug("Ignored the answer to a turn of %s that is not running.", response.instanceId)
            return
        if turn.worker is not None:
            turn.worker.turns.discard(live.id)
        await self._whatever_callers_do(self._conclude(live, turn, response))

    async def _conclude(self, live: Live, turn: Turn, response: pb.WorkflowResponse) -> None:
        turn.answered = True
        now = self._clock.now()
        conclusion = conclude(live.state, turn.taken, turn.new, response, now, self._app_id, str(uuid.uuid4()))
        changes = [conclusion.change]
        woken = [live]
        for message in conclusion.messages:
            self._pass_on(live, message, now, changes, woken)
        self._pump()
        await self._commit(changes)
        self._after_turn(live, turn, conclusion)
        for other in woken:
            self.make_ready(other)
        self._pump()

    def _pass_on(self, sender: Live, message: Message, now: int, changes: list[Change], woken: list[Live]) -> None:
        """Delivers a message between two instances in the sender's own transaction."""
        if message.creates:
            started = message.event.executionStarted
            started.workflowInstance.executionId.value = str(uuid.uuid4())
            target = self.find(message.target)
            if target is not None and not target.state.ended:
                if started.HasField("parentInstance"):
                    refusal = refused_child(started.parentInstance.taskScheduledId, message.target, now)
                    if wants(sender.state, refusal):
                        changes.append(accept(sender.state, refusal))
                else:
                    logger.warning("%s: detached workflow %s already runs.", sender.id, message.target)
                return
            target, change = self.create(message.target, message.event, now)
            changes.append(change)
            woken.append(target)
            return
        target = self.find(message.target)
        if target is None or target.state.ended:
            return
        if message.for_execution and message.for_execution != target.state.row.execution_id:
            return
        if wants(target.state, message.event):
            changes.append(accept(target.state, message.event))
            woken.append(target)

    def _after_turn(self, live: Live, turn: Turn, conclusion: Conclusion) -> None:
        change = conclusion.change
        if live.turn is turn:
            self._end_turn(live)
        live.acknowledge(change.tasks_removed)
        for key, request in conclusion.activities:
            self._activities.add(live.id, key, request)
        for timer in [number for number in live.alarms if number not in live.state.timers]:
            live.alarms.pop(timer).cancel()
        for timer, fire_at in change.timers_added:
            self._set_alarm(live, timer, fire_at)
        live.tell_waiters()
        if live.state.ended:
            live.silence()
        self._let_go(live)

    def _end_without_worker(self, live: Live) -> bool:
        """Ends a terminated instance by the engine alone when no worker is there to do it."""
        if live.turn is not None or live.state.ended or not is_terminated(live.state):
            return False
        turn = self._begin_turn(live, None)
        status = text_of(live.state.row.custom_status)
        answer = pb.WorkflowResponse(instanceId=live.id, customStatus=status, completionToken=turn.token)
        self._in_background(self._conclude(live, turn, answer))
        return True

    # ---- timers and activities -----------------------------------------------------------------------------

    def _set_alarm(self, live: Live, timer: int, fire_at: int) -> None:
        live.alarms[timer] = self._clock.call_at(fire_at, lambda: self._fire(live, timer, fire_at))

    def _fire(self, live: Live, timer: int, fire_at: int) -> None:
        live.alarms.pop(timer, None)
        event = event_at(self._clock.now())
        event.timerFired.CopyFrom(pb.TimerFiredEvent(fireAt=timestamp_from_ns(fire_at), timerId=timer))
        if self._live.get(live.id) is live and wants(live.state, event):
            accept_unstored(live.state, event, timer=timer)
            self.make_ready(live)
        self._look_for_idleness()

    async def complete_activity(self, response: pb.ActivityResponse) -> None:
        """Takes an activity's result; returns when it is durable."""
        run = self._activities.take_result(response)
        live = None if run is None else self._live.get(run.instance_id)
        if run is None or live is None:
            logger.debug("Ignored the result of activity %d of %s.", response.taskId, response.instanceId)
            self._pump()
            return
        event = self._result_event(run, response)
        if not wants(live.state, event, run.key):
            change = drop_task(live.state, run.key)
            self._pump()
            await self._whatever_callers_do(self._drop(live, change))
            return
        accept_unstored(live.state, event, task=run.key)
        acknowledgement: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        live.acknowledgements[run.key] = acknowledgement
        self.make_ready(live)
        if not self._workers:
            self._store_unstored(live)
        self._pump()
        await acknowledgement

    async def _drop(self, live: Live, change: Change | None) -> None:
        if change is not None:
            await self._commit([change])
        self._let_go(live)

    def _result_event(self, run: ActivityRun, response: pb.ActivityResponse) -> pb.HistoryEvent:
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

    def _store_unstored(self, live: Live) -> None:
        if live.turn is not None:
            return
        change = store_unstored(live.state)
        if change is not None:
            self._in_background(self._commit_and_acknowledge(live, change))

    async def _commit_and_acknowledge(self, live: Live, change: Change) -> None:
        await self._commit([change])
        live.acknowledge(change.tasks_removed)

    # ---- housekeeping --------------------------------------------------------------------------------------

    def _in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled():
            # Whoever waits for it gets the error; the failed commit behind it is in the log.
            task.exception()

    async def _whatever_callers_do(self, work: Coroutine[Any, Any, None]) -> None:
        """Finishes a step whose commit is on its way also when its caller goes away, as a broken gRPC call does."""
        await asyncio.shield(self._in_background(work))

    def _look_for_idleness(self) -> None:
        if self._clock.jumps and self._waiting_clients and self._idle_check is None:
            self._idle_check = asyncio.get_running_loop().call_soon(self._check_idleness)

    def _check_idleness(self) -> None:
        self._idle_check = None
        if (
            self._waiting_clients
            and not self._closed
            and not self._turns
            and self._activities.empty
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
            live.silence()
            for acknowledgement in live.acknowledgements.values():
                if not acknowledgement.done():
                    acknowledgement.set_exception(unavailable(f"{self.description} could not commit: {error}"))
                    acknowledgement.exception()
        for worker in self._workers:
            worker.turns.clear()
            worker.activities.clear()
        asyncio.get_running_loop().call_later(_RECOVERY_PAUSE, self._recover, lost)

    def _recover(self, lost: Sequence[Live]) -> None:
        if self._closed:
            return
        for instance_id in self._store.unfinished():
            self.find(instance_id)
        for before in lost:
            for until, waiter in before.waiters:
                live = self.find(before.id)
                if live is None or reached(live.state, until):
                    if not waiter.done():
                        waiter.set_result(None)
                else:
                    live.waiters.append((until, waiter))
        self._pump()
