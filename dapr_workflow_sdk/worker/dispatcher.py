"""What happens to each work item: turns run at once, activities as many at a time as configured."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.converter import Converter
from dapr_workflow_sdk.errors import TaskHubError, describe_failure
from dapr_workflow_sdk.replay.parked import ParkedInstances
from dapr_workflow_sdk.replay.turn import HistoryGapError, run_turn
from dapr_workflow_sdk.taskhub.port import ActivityItem, TaskHub, TurnItem, WorkItem
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import failure_to_wire
from dapr_workflow_sdk.worker.activities import ActivityRunner
from dapr_workflow_sdk.worker.delivery import R, Session, deliver, oversize_activity, oversize_turn
from dapr_workflow_sdk.worker.traces import leave, turn_traces
from dapr_workflow_sdk.worker.watchdog import TurnWatchdog

logger = logging.getLogger("dapr_workflow_sdk.worker")

# A sidecar sends all it has whatever is offered, and tears the stream down when the worker does not read for ten
# seconds. So the worker reads on and keeps what it cannot run yet, up to a number no sane program reaches.
MOST_QUEUED = 20_000
# Seconds for which items are taken one after the other before the rest of the loop has its turn.
_LONGEST_STRETCH = 0.001


class Dispatcher:
    """Runs the work items of one worker."""

    def __init__(
        self,
        hub: TaskHub,
        registry: Registry,
        converter: Converter,
        runner: ActivityRunner,
        parked: ParkedInstances,
        watchdog: TurnWatchdog,
        most_activities: int,
        stalls: bool = True,
    ) -> None:
        """Ties the parts of a worker together; see `WorkflowRuntime` for what the numbers mean."""
        self._hub = hub
        self._registry = registry
        self._converter = converter
        self._runner = runner
        self._parked = parked
        self._watchdog = watchdog
        self._most_activities = most_activities
        self._stalls = stalls
        # Whether the task hub keeps versions of code and patches; older sidecars do not.
        self.versions = True
        self._traces = turn_traces()
        self._queued: deque[tuple[ActivityItem, Session]] = deque()
        self._activities: set[asyncio.Future[None]] = set()
        self._turns: set[asyncio.Future[None]] = set()
        self._results: set[asyncio.Future[None]] = set()
        self._pause_at = 0.0
        self._room = asyncio.Event()
        self._room.set()
        self._draining = False
        self._loop = asyncio.get_running_loop()

    async def submit(self, item: WorkItem, session: Session) -> None:
        """Takes an item; returns when the next one may be read."""
        if isinstance(item, TurnItem):
            # Also while draining: the result of the last activity is acknowledged when its turn is durable.
            await self._run_turn(item, session)
        elif self._draining:
            return  # The task hub hands it out again when this worker's session ends.
        elif len(self._activities) < self._most_activities:
            self._start(item, session)
        else:
            self._queued.append((item, session))
            if len(self._queued) >= MOST_QUEUED:
                self._room.clear()
        # Items may come without a pause between them; completions and activities need the loop as well.
        if time.monotonic() > self._pause_at:
            await asyncio.sleep(0)
            self._pause_at = time.monotonic() + _LONGEST_STRETCH
        if not self._room.is_set():
            await self._room.wait()

    async def _run_turn(self, item: TurnItem, session: Session) -> None:
        try:
            response = self._answer(item)
        except HistoryGapError:
            # The run was dropped. If its history cannot be read the stream ends, and the turn comes again, whole.
            history = await self._hub.history(item.instance_id)
            past = history[: item.cached + len(item.past)]
            response = self._answer(dataclasses.replace(item, past=past, cached=0))
        self._send(self._turns, self._hub.complete_turn, response, session, oversize_turn)

    def _answer(self, item: TurnItem) -> pb.WorkflowResponse:
        self._watchdog.enter(item.instance_id)
        trace = None if self._traces is None else self._traces.enter(item)
        try:
            output = run_turn(
                item.instance_id,
                item.past,
                item.new,
                self._registry,
                self._converter,
                self._parked,
                item.cached,
                versions=self.versions,
            )
        except HistoryGapError:
            raise
        except Exception as error:
            # A defect of this package must not leave the instance hanging without a word.
            logger.exception("The turn of instance %s could not be run", item.instance_id)
            complete = pb.CompleteWorkflowAction(
                workflowStatus=pb.WORKFLOW_STATUS_FAILED, failureDetails=failure_to_wire(describe_failure(error))
            )
            return pb.WorkflowResponse(
                instanceId=item.instance_id,
                actions=[pb.WorkflowAction(id=-1, completeWorkflow=complete)],
                completionToken=item.token,
            )
        else:
            for notice in output.notices:
                logger.warning("%s %s: %s", output.workflow_name, item.instance_id, notice)
            if output.outcome is not None and output.outcome.failure is not None:
                logger.info("%s %s failed: %s", output.workflow_name, item.instance_id, output.outcome.failure)
            response = output.response(item.instance_id, item.token)
            if output.mismatch is not None:
                logger.error("%s", output.mismatch)
                if self._stalls:
                    # A task hub that does not know the field carries out the actions: the instance fails.
                    response.historyMismatch = str(output.mismatch)
            return response
        finally:
            if trace is not None:
                leave(trace)
            self._watchdog.leave()

    def _start(self, item: ActivityItem, session: Session) -> None:
        self._keep(self._activities, self._run_activity(item, session))

    async def _run_activity(self, item: ActivityItem, session: Session) -> None:
        response = await self._runner.run(item.request, item.token)
        # The slot is free as soon as the activity has run; its completion waits for the disk on its own time.
        task = asyncio.current_task()
        if task is not None:
            self._activities.discard(task)
        self._send(self._results, self._hub.complete_activity, response, session, oversize_activity)
        if self._queued:
            self._start_queued()

    def _send(
        self,
        answers: set[asyncio.Future[None]],
        send: Callable[[R], Awaitable[None]],
        response: R,
        session: Session,
        too_large: Callable[[R, str], R],
    ) -> None:
        """Sends a completion; in this process that happens at once, and a task is only needed where it fails."""
        if session.over:
            return
        try:
            sent = send(response)
        except TaskHubError:
            self._keep(answers, deliver(send, response, session, too_large))
            return
        if not isinstance(sent, asyncio.Future):
            self._keep(answers, deliver(send, response, session, too_large, sent))
            return
        if sent.done() and not sent.cancelled() and sent.exception() is None:
            return

        def acknowledged(answer: asyncio.Future[None]) -> None:
            answers.discard(answer)
            if not answer.cancelled() and answer.exception() is not None:
                self._keep(answers, deliver(send, response, session, too_large))

        answers.add(sent)
        sent.add_done_callback(acknowledged)

    def _start_queued(self) -> None:
        while self._queued and not self._draining and len(self._activities) < self._most_activities:
            item, session = self._queued.popleft()
            if not session.over:
                self._start(item, session)
        if len(self._queued) < MOST_QUEUED // 2:
            self._room.set()

    def _keep(self, tasks: set[asyncio.Future[None]], work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    @property
    def running_activities(self) -> int:
        """How many activities run now."""
        return len(self._activities)

    async def drain(self, timeout: float) -> int:
        """Takes nothing new and waits for what runs; returns how many activities were given up.

        Args:
            timeout: Seconds to wait at most.
        """
        self._draining = True
        self._queued.clear()
        self._room.set()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while (busy := self._activities | self._results) and (left := deadline - loop.time()) > 0:
            await asyncio.wait(busy, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        given_up = len(self._activities)
        self._runner.stopping = True
        if self._turns and (left := deadline - loop.time()) > 0:
            await asyncio.wait(self._turns, timeout=left)
        for task in [*self._activities, *self._results, *self._turns]:
            task.cancel()
        self._parked.clear()
        return given_up
