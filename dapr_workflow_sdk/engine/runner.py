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
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from dapr_workflow_sdk.engine import transitions
from dapr_workflow_sdk.engine.actions import Conclusion, Message
from dapr_workflow_sdk.engine.activity_desk import ActivityDesk, nothing_to_wait_for
from dapr_workflow_sdk.engine.app_queue import AppQueue
from dapr_workflow_sdk.engine.clock import Clock
from dapr_workflow_sdk.engine.committer import Committed, Committer
from dapr_workflow_sdk.engine.conclusion import conclude, parent_of, reason_to_stall, targets
from dapr_workflow_sdk.engine.identifiers import new_execution_id, tokens
from dapr_workflow_sdk.engine.live import Live, Turn, is_terminated, reached
from dapr_workflow_sdk.engine.resting import RestingInstances
from dapr_workflow_sdk.engine.state import START_TIMER, Change, InstanceKey, InstanceRow, InstanceState
from dapr_workflow_sdk.engine.stores.base import Store
from dapr_workflow_sdk.engine.subscription import Subscription
from dapr_workflow_sdk.engine.transitions import (
    accept,
    accept_unstored,
    create,
    event_at,
    refused_child,
    unstall,
    wants,
)
from dapr_workflow_sdk.engine.turn_desk import TurnDesk
from dapr_workflow_sdk.engine.workers import Workers
from dapr_workflow_sdk.errors import TaskHubUnavailableError
from dapr_workflow_sdk.taskhub.failures import already_exists, unavailable
from dapr_workflow_sdk.taskhub.port import Milestone, WorkerOffer
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import text_of, timestamp_from_ns

if TYPE_CHECKING:
    from dapr_workflow_sdk.engine.spans import EngineSpans

logger = logging.getLogger("dapr_workflow_sdk.engine")

R = TypeVar("R")

# After a failed commit (a full disk, say) the engine waits this long, in seconds, before it tries again.
_RECOVERY_PAUSE = 0.5
# So many instances at rest stay in memory.
_MOST_RESTING = 2000


class InstanceRunner:
    """Runs the instances of one store with the workers that subscribe."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        description: str,
        *,
        lease: int = 0,
        execution_ids: Callable[[], str] = new_execution_id,
    ) -> None:
        """Does nothing until `open`.

        Args:
            store: What keeps the instances.
            clock: Where the time comes from.
            description: Where this is, for messages.
            lease: How long a worker may have an activity without a sign of life, in nanoseconds; 0 for ever.
            execution_ids: Where ids of executions come from.
        """
        self.description = description
        self.new_execution_id = execution_ids
        self.store = store
        self._clock = clock
        self._committer = Committer(store, self._on_commit_failed, self.look_for_idleness)
        self._live: dict[InstanceKey, Live] = {}
        self._resting = RestingInstances(store, clock, _MOST_RESTING, self.find, self.look_for_idleness)
        answer_tokens = tokens()
        self.turns = TurnDesk(self, clock, answer_tokens)
        self.activities = ActivityDesk(self, clock, answer_tokens, lease)
        self._workers = Workers(self._send_queued_turn, self.activities.send)
        self._stalled: set[InstanceKey] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._purging: set[InstanceKey] = set()
        self._waiting_clients = 0
        self._idle_check: asyncio.Handle | None = None
        self._closed = False
        self.longest_history = 0
        # Told of what ends, if the application traces.
        self.spans: EngineSpans | None = None
        self.on_ended: Callable[[InstanceRow], None] = lambda _: None

    def app(self, app_id: str) -> AppQueue:
        """What waits for the workers of an app."""
        return self._workers.app(app_id)

    def workers(self, app_id: str) -> Sequence[Subscription]:
        """The workers of an app."""
        return self._workers.of(app_id)

    def apps(self) -> list[str]:
        """Apps that have instances or workers."""
        return sorted({*self.store.apps(), *self._workers.apps()})

    def open(self) -> None:
        """Takes up what an earlier engine left unfinished in the store."""
        unfinished = self.store.ready(self._clock.now())
        for key in unfinished:
            self.find(key)
        self._resting.watch_stored_timers()
        if unfinished:
            logger.info("Took up %d unfinished instances from %s", len(unfinished), self.description)

    def _take_up(self, live: Live) -> None:
        now = self._clock.now()
        for timer, fire_at in list(live.state.timers.items()):
            if fire_at <= now:
                # At once, so that the instance does not leave memory again before its alarm has rung.
                self._fire(live, timer, fire_at)
            else:
                self._set_alarm(live, timer, fire_at)
        if live.state.row.stalled is not None:
            self._stalled.add(live.key)
        if live.state.row.stalled == pb.STALLED_REASON_WORKER_LOST:
            live.set_aside.update(live.state.tasks)
        else:
            live.retry = True
            for key, request in live.state.tasks.items():
                self.activities.put(live, key, request)
        self.make_ready(live)

    async def close(self) -> None:
        """Ends all subscriptions and makes everything durable."""
        self._closed = True
        self._workers.end()
        self.activities.close()
        self._resting.close()
        for live in self._live.values():
            live.silence()
            live.abandon(unavailable(f"{self.description} was closed while somebody waited."))
        await self._committer.drain()
        for task in list(self._background):
            task.cancel()

    # ---- instances -----------------------------------------------------------------------------------------

    def find(self, key: InstanceKey, *, remember: bool = True) -> Live | None:
        """An instance, loaded from the store if need be; `remember` keeps an unfinished one in memory then."""
        live = self._live.get(key)
        if live is None:
            state = None if key in self._purging else self._read(self.store.load, key)
            if state is None:
                return None
            live = Live(state, durable=state.row)
            if remember and (not state.ended or state.tasks):
                self._live[key] = live
                self._take_up(live)
                if live.rests:
                    self._let_rest(live)
        return live

    def live(self, key: InstanceKey) -> Live | None:
        """An instance, if it is in memory."""
        return self._live.get(key)

    def row(self, key: InstanceKey) -> InstanceRow | None:
        """The scalar part of an instance as it is, durable or not yet."""
        live = self._live.get(key)
        if live is not None:
            return live.state.row
        return None if key in self._purging else self._read(self.store.row, key)

    def durable_row(self, key: InstanceKey) -> InstanceRow | None:
        """The scalar part of an instance as no crash can take it back: what others may be told."""
        live = self._live.get(key)
        if live is not None:
            return live.durable
        return self._read(self.store.row, key)

    def _read(self, read: Callable[[InstanceKey], R], key: InstanceKey) -> R:
        try:
            return read(key)
        except Exception as error:
            raise unavailable(f"{self.description} could not read instance {key[1]!r}: {error}") from error

    def _let_rest(self, live: Live) -> None:
        for leaving in self._resting.rest(live):
            del self._live[leaving.key]
            leaving.silence()
            self._resting.watch_timers(min(leaving.state.timers.values(), default=None))

    def commit(self, changes: Sequence[Change], then: Callable[[], None] = lambda: None) -> asyncio.Future[None]:
        """Submits changes at once; the future is done when they are durable, and `then` is called before that."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def committed(error: Exception | None) -> None:
            if error is not None:
                _refuse(done, self._not_stored(error))
                return
            then()
            if not done.done():
                done.set_result(None)

        self._submit(changes, committed)
        return done

    def _submit(self, changes: Sequence[Change], committed: Committed) -> None:
        lives = [(live, change.row) for change in changes if (live := self._live.get(change.key)) is not None]
        for live, _ in lives:
            live.uncommitted += 1

        def stored(error: Exception | None) -> None:
            for live, row in lives:
                live.stored(row if error is None else None)
            committed(error)

        self._committer.commit(changes, stored)

    def _not_stored(self, error: Exception) -> TaskHubUnavailableError:
        return unavailable(f"{self.description} could not store what was to happen: {error}")

    async def purge(self, rows: Sequence[InstanceRow]) -> None:
        """Removes instances, all or none; returns when that is durable."""
        waiters = [waiter for row in rows for waiter in self._forget(row.key)]
        # Until the store has forgotten them, they must not be read from it again.
        self._purging.update(row.key for row in rows)
        committed = self.commit([Change(row.key, row.number, removed=True) for row in rows])
        await self._whatever_callers_do(self._finish_purge(committed, rows, waiters))

    async def _finish_purge(
        self, committed: asyncio.Future[None], rows: Sequence[InstanceRow], waiters: list[asyncio.Future[None]]
    ) -> None:
        try:
            await committed
        finally:
            self._purging.difference_update(row.key for row in rows)
            # They look again what has become of their instance.
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def create(
        self, key: InstanceKey, started: pb.HistoryEvent, now: int, propagated: pb.PropagatedHistory | None = None
    ) -> tuple[Live, Change]:
        """Makes an instance, or raises `WorkflowAlreadyExistsError`; the change is for the caller to commit."""
        generation, number = 1, 0
        row = self.row(key)
        if row is not None:
            if row.ended is None:
                raise already_exists(key[1])
            generation, number = row.generation + 1, row.number
        state, change = create(key[0], number or self.store.new_number(), started, now, generation, propagated)
        return self.adopt(state, row), change

    def adopt(self, state: InstanceState, before: InstanceRow | None = None) -> Live:
        """Takes a new instance into memory, in the place of a finished one of the same id if there is one.

        Args:
            state: The new one.
            before: The finished one, which others are told of until the new one is durable.
        """
        live = self._live.get(state.row.key)
        if live is None:
            live = self._live[state.row.key] = Live(state, durable=before)
        else:
            # Activities that an earlier run left behind still run, so their rows stay known.
            state.tasks.update(live.state.tasks)
            live.silence()
            live.state = state
        for timer, fire_at in state.timers.items():
            self._set_alarm(live, timer, fire_at)
        return live

    async def start(self, key: InstanceKey, started: pb.HistoryEvent, now: int) -> None:
        """Makes an instance and lets it run; returns when it is durable."""
        live, change = self.create(key, started, now)
        committed = self.commit([change])
        self.make_ready(live)
        await committed

    async def start_in_the_middle(self, state: InstanceState, change: Change, messages: Sequence[Message]) -> None:
        """Lets an instance run that begins with a history; returns when it is durable."""
        live = self.adopt(state)
        changes = [change]
        woken = [live]
        now = self._clock.now()
        for message in messages:
            self._pass_on(live, message, now, changes, woken)
        await self._whatever_callers_do(self._begin(live, self.commit(changes), woken))

    async def _begin(self, live: Live, committed: asyncio.Future[None], woken: list[Live]) -> None:
        await committed
        for key, request in live.state.tasks.items():
            self.activities.put(live, key, request)
        for other in woken:
            self.make_ready(other)
        self.pump()

    async def deliver(self, live: Live, event: pb.HistoryEvent) -> None:
        """Puts an event into an inbox; returns when it is durable."""
        committed = self.commit([accept(live.state, event)])
        self.make_ready(live)
        await committed

    async def take_up_again(self, live: Live) -> None:
        """Lets a stalled instance go on; returns when that is durable."""
        self._stalled.discard(live.key)
        live.losses.count = 0
        committed = self.commit([unstall(live.state)])
        self.activities.take_up_again(live)
        self.make_ready(live)
        self.pump()
        await committed

    def _forget(self, key: InstanceKey) -> list[asyncio.Future[None]]:
        """Drops an instance that is purged from memory; returns those who wait for it."""
        live = self._live.pop(key, None)
        self._resting.forget(key)
        self._stalled.discard(key)
        if live is None:
            return []
        self.activities.tell_workers(live, "the instance was purged")
        self.activities.forget(live)
        live.silence()
        if live.turn is not None:
            self.turns.take_away(live)
        live.state.inbox = []
        live.acknowledge(list(live.acknowledgements))
        return [waiter for _, waiter in live.waiters]

    def let_go(self, live: Live) -> None:
        """Drops an instance from memory once nothing can happen to it any more, or not for long."""
        if self._live.get(live.key) is not live:
            return
        if not live.state.ended:
            if live.rests:
                self._let_rest(live)
        elif not live.state.tasks and not live.uncommitted:
            # Until its end is durable, the store has it as it was before, and it would begin its last turn again.
            del self._live[live.key]
            self._resting.forget(live.key)

    async def wait_for(self, live: Live, until: Milestone) -> None:
        """Waits until an instance has come so far."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (until, waiter)
        live.waiters.append(entry)
        self._waiting_clients += 1
        self.look_for_idleness()
        try:
            await waiter
        finally:
            self._waiting_clients -= 1
            if entry in live.waiters:
                live.waiters.remove(entry)
            self.let_go(live)

    # ---- workers -------------------------------------------------------------------------------------------

    def subscribe(self, app_id: str, offer: WorkerOffer) -> Subscription:
        """Adds a worker."""
        worker = Subscription(app_id, offer, self._clock.now(), on_read=self.pump)
        self.app(app_id).workers.append(worker)
        for key in [key for key in self._stalled if key[0] == app_id]:
            # Perhaps this worker has the code that was missing.
            live = self.find(key)
            if live is not None and live.state.row.stalled != pb.STALLED_REASON_WORKER_LOST:
                live.retry = True
                self.make_ready(live)
        self.pump()
        return worker

    def unsubscribe(self, worker: Subscription) -> None:
        """Removes a worker, and gives what it had to others."""
        queue = self.app(worker.app_id)
        queue.workers.remove(worker)
        worker.gone = True
        if self._closed:
            return
        self.turns.leave(worker)
        self.activities.leave(worker)
        if not queue.workers:
            # Nobody is there to take a turn: what was not stored is stored now, and its senders are answered.
            for live in [live for live in self._live.values() if live.key[0] == worker.app_id]:
                if not self._end_without_worker(live):
                    self.store_unstored(live)
        self.pump()

    def pump(self) -> None:
        """Sends out what workers have room for."""
        self._workers.pump()
        self.look_for_idleness()

    # ---- turns ---------------------------------------------------------------------------------------------

    def make_ready(self, live: Live) -> None:
        """Queues an instance for a turn if it has something to take one for."""
        if live.turn is not None or not self._may_run(live):
            return
        queue = self.app(live.key[0])
        if not queue.workers:
            if self._end_without_worker(live):
                return
            self.store_unstored(live)
        if live.queued or live.pause is not None:
            return
        live.queued = True
        queue.put_turn(live)
        self.pump()

    def _may_run(self, live: Live) -> bool:
        state = live.state
        if not state.inbox or state.ended:
            return False
        row = state.row
        if row.stalled is not None and not live.retry:
            return False
        if row.started is None and row.scheduled is not None and self._clock.now() < row.scheduled:
            return is_terminated(state)
        return True

    def _send_queued_turn(self, live: Live, worker: Subscription) -> None:
        live.queued = False
        if live.turn is None and self._live.get(live.key) is live and self._may_run(live):
            self.turns.send(live, worker)

    def stall(self, live: Live, reason: pb.StalledReason, text: str) -> asyncio.Future[None]:
        """Lets an instance stand still, with what it has in its inbox, until somebody repairs the cause.

        The future is done when that is durable.
        """
        self._stalled.add(live.key)
        live.retry = False
        change = transitions.stall(live.state, reason, text, self._clock.now())
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def committed(error: Exception | None) -> None:
            if error is not None:
                _refuse(done, self._not_stored(error))
                return
            live.tell_waiters()
            # Whoever ended it need not wait for the code that is missing.
            if not (is_terminated(live.state) and self._end_without_worker(live)):
                self.store_unstored(live)
            self.look_for_idleness()
            if not done.done():
                done.set_result(None)

        if change is None:
            committed(None)
        else:
            logger.warning("%s %s stalled: %s", live.state.row.name, live.id, text)
            self._submit([change], committed)
        return done

    async def refuse_turn(self, key: InstanceKey, token: str, reason: pb.StalledReason, text: str) -> None:
        """Takes back a turn that cannot be sent to its worker, and lets the instance stand still."""
        live = self._live.get(key)
        if live is not None:
            await self.turns.refuse(live, token, reason, text)

    def abandon_turn(self, token: str) -> None:
        """Takes a turn back from a worker that does not want it, for another one."""
        self.turns.abandon(self._live.values(), token)

    def complete_turn(self, app_id: str, response: pb.WorkflowResponse) -> asyncio.Future[None]:
        """Applies a worker's answer at once; the future is done when that is durable."""
        live = self._live.get((app_id, response.instanceId))
        turn = None if live is None else live.turn
        if live is None or turn is None or turn.answered or response.completionToken not in ("", turn.token):
            logger.debug("Ignored the answer to a turn of %s that is not running.", response.instanceId)
            return nothing_to_wait_for()
        try:
            # What can fail comes before anything is changed.
            for target in targets(live.state, response):
                self.find(target)
        except TaskHubUnavailableError:
            # Not every worker answers again, so the turn comes again.
            self.turns.take_away(live)
            live.sent = (0, 0)
            asyncio.get_running_loop().call_later(_RECOVERY_PAUSE, self.make_ready, live)
            raise
        self.turns.leave_worker(live, turn)
        reason = reason_to_stall(live.state, response, self.longest_history)
        if reason is not None:
            self.turns.end(live)
            stalled = self.stall(live, *reason)
            self.pump()
            return stalled
        return self._conclude(live, turn, response)

    def _conclude(self, live: Live, turn: Turn, response: pb.WorkflowResponse) -> asyncio.Future[None]:
        turn.answered = True
        live.losses.count = 0
        # An activity that was set aside while the turn was out keeps the instance where it is.
        still = bool(live.set_aside)
        if not still:
            self._stalled.discard(live.key)
        now = self._clock.now()
        row, past = live.state.row, live.state.history
        try:
            conclusion = conclude(live.state, turn.taken, turn.new, response, now, self.new_execution_id, stalled=still)
        except Exception:
            # A defect of this package; what it left of the state in memory is worth nothing.
            self._read_again(live)
            raise
        changes = [conclusion.change]
        woken = [live]
        for message in conclusion.messages:
            self._pass_on(live, message, now, changes, woken)
        self.pump()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def committed(error: Exception | None) -> None:
            if error is not None:
                _refuse(done, self._not_stored(error))
                return
            self._after_turn(live, turn, conclusion)
            if self.spans is not None:
                self.spans.turn_over(row, past, turn.new, conclusion.change)
            for other in woken:
                self.make_ready(other)
            self.pump()
            for other in woken:
                self.let_go(other)
            if not done.done():
                done.set_result(None)

        self._submit(changes, committed)
        return done

    def _read_again(self, live: Live) -> None:
        """Drops the state of an instance in memory for the one in the store."""
        if live.turn is not None:
            self.turns.take_away(live)
        live.silence()
        self._live.pop(live.key, None)
        self._resting.forget(live.key)
        self.activities.forget(live)

        async def read() -> None:
            await live.settle()
            self.find(live.key)
            self._carry_over(live)

        self.in_background(read())

    def _pass_on(self, sender: Live, message: Message, now: int, changes: list[Change], woken: list[Live]) -> None:
        """Delivers a message between two instances in the sender's own transaction."""
        if message.creates:
            started = message.event.executionStarted
            started.workflowInstance.executionId.value = self.new_execution_id()
            target = self.find(message.target)
            if target is not None and not target.state.ended:
                if started.HasField("parentInstance"):
                    refusal = refused_child(started.parentInstance.taskScheduledId, message.target[1], now)
                    if wants(sender.state, refusal):
                        changes.append(accept(sender.state, refusal))
                else:
                    logger.warning("%s: detached workflow %s already runs.", sender.id, message.target[1])
                return
            target, change = self.create(message.target, message.event, now, message.propagated)
            changes.append(change)
            woken.append(target)
            self.warn_if_nobody_works(message.target[0], sender)
            return
        target = self.find(message.target)
        if target is None or target.state.ended:
            return
        if message.for_execution and message.for_execution != target.state.row.execution_id:
            return
        if wants(target.state, message.event):
            changes.append(accept(target.state, message.event))
            woken.append(target)

    def still(self, row: InstanceRow) -> bool:
        """Whether a row that was read from the store is of the execution that there is now."""
        now = self.row(row.key)
        return now is not None and now.execution_id == row.execution_id and now.ended == row.ended

    def warn_if_nobody_works(self, app_id: str, caller: Live) -> None:
        """Says that a call to another app waits for a worker."""
        if app_id != caller.key[0] and not self.workers(app_id):
            logger.warning(
                "%s %s calls app %r, of which no worker is connected to %s; the call waits for one.",
                caller.state.row.name,
                caller.id,
                app_id,
                self.description,
            )

    def _after_turn(self, live: Live, turn: Turn, conclusion: Conclusion) -> None:
        change = conclusion.change
        if live.turn is turn:
            self.turns.end(live)
        live.acknowledge(change.tasks_removed)
        for key, request in conclusion.activities:
            self.activities.put(live, key, request)
        for timer in [number for number in live.alarms if number not in live.state.timers]:
            live.alarms.pop(timer).cancel()
        for timer, fire_at in change.timers_added:
            self._set_alarm(live, timer, fire_at)
        live.tell_waiters()
        row = live.state.row
        if row.ended is not None:
            live.silence()
            if row.ended == pb.WORKFLOW_STATUS_TERMINATED and live.state.tasks:
                self.activities.tell_workers(live, "the instance was terminated")
            self.on_ended(row)

    def _end_without_worker(self, live: Live) -> bool:
        """Ends a terminated instance by the engine alone when no worker is there to do it."""
        if live.turn is not None or live.state.ended or not is_terminated(live.state):
            return False
        for target in (*live.state.children.values(), *parent_of(live.state)):
            self.find(target)
        turn = self.turns.begin(live, None)
        status = text_of(live.state.row.custom_status)
        answer = pb.WorkflowResponse(instanceId=live.id, customStatus=status, completionToken=turn.token)
        self._conclude(live, turn, answer)
        return True

    # ---- timers and activities -----------------------------------------------------------------------------

    def _set_alarm(self, live: Live, timer: int, fire_at: int) -> None:
        live.alarms[timer] = self._clock.call_at(fire_at, lambda: self._fire(live, timer, fire_at))

    def _fire(self, live: Live, timer: int, fire_at: int) -> None:
        live.alarms.pop(timer, None)
        if timer == START_TIMER:
            self.make_ready(live)
            self.look_for_idleness()
            return
        event = event_at(self._clock.now())
        event.timerFired.CopyFrom(pb.TimerFiredEvent(fireAt=timestamp_from_ns(fire_at), timerId=timer))
        if self._live.get(live.key) is live and wants(live.state, event):
            accept_unstored(live.state, event, timer=timer)
            self.make_ready(live)
        self.look_for_idleness()

    def store_unstored(self, live: Live) -> None:
        """Stores what an instance has taken in without a commit, because no turn is going to take it soon."""
        if live.turn is not None:
            return
        change = transitions.store_unstored(live.state)
        if change is None:
            return
        removed = change.tasks_removed

        def committed(error: Exception | None) -> None:
            if error is None:
                live.acknowledge(removed)

        # Submitted at once: what else becomes of the instance is submitted after it.
        self._submit([change], committed)

    # ---- housekeeping --------------------------------------------------------------------------------------

    def in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Lets something happen that nobody waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        self.look_for_idleness()
        if not task.cancelled():
            # Whoever waits for it gets the error; the failed commit behind it is in the log.
            task.exception()

    async def _whatever_callers_do(self, work: Coroutine[Any, Any, None]) -> None:
        """Finishes a step whose commit is on its way also when its caller goes away, as a broken gRPC call does."""
        await asyncio.shield(self.in_background(work))

    @contextmanager
    def watched(self) -> Generator[None, None, None]:
        """Lets the clock be told of idleness as it is while a client waits."""
        self._waiting_clients += 1
        self.look_for_idleness()
        try:
            yield
        finally:
            self._waiting_clients -= 1
            self.look_for_idleness()

    def look_for_idleness(self) -> None:
        """Has a virtual clock told if nothing can happen before the next alarm."""
        if self._clock.jumps and self._waiting_clients and self._idle_check is None:
            self._idle_check = asyncio.get_running_loop().call_soon(self._check_idleness)

    def _check_idleness(self) -> None:
        self._idle_check = None
        if (
            self._waiting_clients
            and not self._closed
            and self._workers.idle
            and not self._committer.busy
            and not self.turns.out
            and not self._resting.looking
        ):
            self._clock.idle()

    def _on_commit_failed(self, error: BaseException) -> None:
        """Falls back to what is durable: the states in memory are ahead of the store and are dropped."""
        logger.critical("%s could not commit: %s. Unfinished steps are taken back.", self.description, error)
        lost = list(self._live.values())
        self._live = {}
        self._stalled.clear()
        self.turns.clear()
        self.activities.clear()
        for live in lost:
            live.silence()
            self._resting.forget(live.key)
            for acknowledgement in live.acknowledgements.values():
                if not acknowledgement.done():
                    acknowledgement.set_exception(unavailable(f"{self.description} could not commit: {error}"))
                    acknowledgement.exception()
        self._workers.clear()
        asyncio.get_running_loop().call_later(_RECOVERY_PAUSE, self._recover, lost)

    def _recover(self, lost: Sequence[Live]) -> None:
        if self._closed:
            return
        try:
            for key in self.store.ready(self._clock.now()):
                self.find(key)
            self._resting.watch_stored_timers()
        except Exception as error:  # noqa: BLE001 - whatever the disk says, it may be well again soon
            logger.critical("%s could not be read: %s. Trying again.", self.description, error)
            asyncio.get_running_loop().call_later(_RECOVERY_PAUSE, self._recover, lost)
            return
        for before in lost:
            self._carry_over(before)
        self.pump()

    def _carry_over(self, before: Live) -> None:
        """Lets those who waited for an instance as it was in memory wait for it as it was read again."""
        for until, waiter in before.waiters:
            live = self.find(before.key)
            row = None if live is None else live.durable
            if live is not None and row is not None and not reached(row, until):
                live.waiters.append((until, waiter))
            elif not waiter.done():
                waiter.set_result(None)


def _refuse(future: asyncio.Future[None], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        # Nobody may be waiting for it any more, and the failure is already in the log.
        future.exception()
