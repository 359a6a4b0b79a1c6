"""Activities between the turns that ask for them and the turns that take their results."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

from dapr_workflow_sdk.engine.activity_run import ActivityRun
from dapr_workflow_sdk.engine.clock import Clock
from dapr_workflow_sdk.engine.floor import Floor
from dapr_workflow_sdk.engine.live import Live
from dapr_workflow_sdk.engine.running_activities import RunningActivities
from dapr_workflow_sdk.engine.state import TaskKey
from dapr_workflow_sdk.engine.subscription import Subscription
from dapr_workflow_sdk.engine.transitions import accept_unstored, beat, drop_task, event_at, wants
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

logger = logging.getLogger("dapr_workflow_sdk.engine")


class ActivityDesk:
    """Hands activities to workers, and takes their results, their signs of life and their losses."""

    def __init__(self, floor: Floor, clock: Clock, tokens: Iterator[str], lease: int) -> None:
        """Has none yet.

        Args:
            floor: Whose instances call the activities.
            clock: Where the time comes from.
            tokens: Tokens for answers.
            lease: How long a worker may have an activity without a sign of life, in nanoseconds; 0 for ever.
        """
        self._floor = floor
        self._clock = clock
        self._lease = lease
        self._running = RunningActivities(tokens)
        self._notices: dict[str, asyncio.Queue[pb.Notice | None]] = {}

    def put(self, live: Live, key: TaskKey, request: pb.ActivityRequest) -> None:
        """Lets an activity that is durable wait for a worker."""
        app_id = request.targetAppId or live.key[0]
        run = ActivityRun(live.key, key, request, app_id, lease=self._lease)
        if self._running.add(run):
            self._floor.app(app_id).put_activity(run)
            self._floor.warn_if_nobody_works(app_id, live)

    def send(self, run: ActivityRun, worker: Subscription) -> None:
        """Gives an activity to a worker, unless it has got its result meanwhile."""
        if not run.over:
            self._running.send(run, worker)
            self._renew_lease(run)
            if self._floor.spans is not None:
                run.sent = self._clock.now()

    def _renew_lease(self, run: ActivityRun) -> None:
        run.quiet()
        if run.lease:
            token = run.token
            run.alarm = self._clock.call_at(self._clock.now() + run.lease, lambda: self._lease_over(run, token))

    def _lease_over(self, run: ActivityRun, token: str) -> None:
        run.alarm = None
        if run.token != token or run.worker is None:
            return
        logger.warning(
            "Activity %s (call %d) of %s has given no sign of life for %g s; another worker gets it.",
            run.request.name,
            run.key[1],
            run.instance[1],
            run.lease / 1e9,
        )
        self._running.take_away(run)
        self._lost(run)
        self._floor.pump()

    def heartbeat(self, app_id: str, request: pb.HeartbeatRequest) -> pb.HeartbeatResponse:
        """Takes a sign of life of an activity, and keeps its details for the next try."""
        run = self._running.find(app_id, request.instanceId, request.taskId, request.completionToken)
        if run is None or run.worker is None:
            return pb.HeartbeatResponse(lost=True)
        if request.timeoutSeconds > 0:
            run.lease = int(request.timeoutSeconds * 1e9)
        self._renew_lease(run)
        live = self._floor.live(run.instance)
        if live is None or self._is_in_vain(live, run.key):
            return pb.HeartbeatResponse(cancelled=True)
        if request.HasField("details"):
            kept = beat(live.state, run.key, request.details.value)
            if kept is not None:
                run.request, change = kept
                self._floor.commit([change])
        return pb.HeartbeatResponse()

    @staticmethod
    def _is_in_vain(live: Live, key: TaskKey) -> bool:
        row = live.state.row
        return row.ended == pb.WORKFLOW_STATUS_TERMINATED or key[0] != row.generation

    def open_notices(self, worker_id: str) -> asyncio.Queue[pb.Notice | None]:
        """Begins to tell a worker which of its activities are in vain."""
        self._notices[worker_id] = asyncio.Queue()
        return self._notices[worker_id]

    def close_notices(self, worker_id: str, queue: asyncio.Queue[pb.Notice | None]) -> None:
        """Stops telling it."""
        if self._notices.get(worker_id) is queue:
            del self._notices[worker_id]

    def tell_workers(self, live: Live, reason: str) -> None:
        """Tells workers that the activities of an instance are in vain."""
        for run in self._running.of(live.key, live.state.tasks):
            notices = self._notices.get(run.worker.offer.worker_id) if run.worker is not None else None
            if notices is not None:
                notices.put_nowait(pb.Notice(completionToken=run.token, reason=reason))

    def take_up_again(self, live: Live) -> None:
        """Lets activities wait for a worker again that were set aside when their instance stalled."""
        for key in live.set_aside:
            request = live.state.tasks.get(key)
            if request is not None:
                self.put(live, key, request)
        live.set_aside.clear()

    def forget(self, live: Live) -> None:
        """Takes back what there is of an instance, so that these results are not taken for those of another one."""
        for run in self._running.of(live.key, live.state.tasks):
            self._running.finish(run)

    def leave(self, worker: Subscription) -> None:
        """Takes back what a worker had that is gone."""
        for run in self._running.at(worker):
            self._running.take_away(run)
            self._lost(run)

    def close(self) -> None:
        """Ends all notices."""
        for notices in self._notices.values():
            notices.put_nowait(None)

    def clear(self) -> None:
        """Forgets what workers have."""
        self._running.clear()

    def _lost(self, run: ActivityRun) -> None:
        run.losses.count += 1
        if run.losses.too_many:
            name = run.request.name
            text = (
                f"A worker was lost {run.losses.count} times in a row while it ran activity {name!r} (call "
                f"{run.key[1]}) of this instance. Look into its log, repair the cause, and resume the instance."
            )
            self._set_aside(run, pb.STALLED_REASON_WORKER_LOST, text)
        elif run.losses.pause:
            run.alarm = self._clock.call_at(self._clock.now() + run.losses.pause, lambda: self._send_again(run))
        else:
            self._floor.app(run.app_id).put_activity(run, first=True)

    def _set_aside(self, run: ActivityRun, reason: pb.StalledReason, text: str) -> asyncio.Future[None]:
        """Sends an activity to nobody any more, and lets its instance stand still if it waits for it."""
        self._running.finish(run)
        live = self._floor.live(run.instance)
        if live is None:
            return nothing_to_wait_for()
        if live.state.ended:
            logger.error("Activity %s of %s, which has ended, is given up: %s", run.request.name, live.id, text)
            return self._drop(live, run.key)
        live.set_aside.add(run.key)
        return self._floor.stall(live, reason, text)

    def _send_again(self, run: ActivityRun) -> None:
        run.alarm = None
        if run.over:
            return
        self._floor.app(run.app_id).put_activity(run)
        self._floor.pump()

    def abandon(self, token: str) -> None:
        """Takes an activity back from a worker that does not want it, for another one."""
        run = self._running.of_token(token)
        if run is not None and run.worker is not None:
            self._running.take_away(run)
            self._floor.app(run.app_id).put_activity(run)
            self._floor.pump()

    async def refuse(self, token: str, reason: pb.StalledReason, text: str) -> None:
        """Takes back an activity that cannot be sent to its worker, and lets the instance stand still."""
        run = self._running.of_token(token)
        if run is not None:
            done = self._set_aside(run, reason, text)
            self._floor.pump()
            await done

    def complete(self, app_id: str, response: pb.ActivityResponse) -> asyncio.Future[None]:
        """Takes an activity's result at once; the future is done when it is durable."""
        run = self._running.find(app_id, response.instanceId, response.taskId, response.completionToken)
        if run is not None:
            self._running.finish(run)
        live = None if run is None else self._floor.live(run.instance)
        if run is None or live is None:
            logger.debug("Ignored the result of activity %d of %s.", response.taskId, response.instanceId)
            self._floor.pump()
            return nothing_to_wait_for()
        event = self._result_event(run, response)
        done = self._take(live, run, event)
        if self._floor.spans is not None:
            self._floor.spans.activity_over(run, event, done)
        return done

    def _take(self, live: Live, run: ActivityRun, event: pb.HistoryEvent) -> asyncio.Future[None]:
        if not wants(live.state, event, run.key):
            self._floor.pump()
            return self._drop(live, run.key)
        accept_unstored(live.state, event, task=run.key)
        acknowledgement: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        live.acknowledgements[run.key] = acknowledgement
        self._floor.make_ready(live)
        if live.turn is None and (
            live.pause is not None or not live.queued or not self._floor.app(live.key[0]).workers
        ):
            # No turn is going to take it soon.
            self._floor.store_unstored(live)
        self._floor.pump()
        return acknowledgement

    def _drop(self, live: Live, key: TaskKey) -> asyncio.Future[None]:
        """Forgets an activity whose result nobody takes; the future is done when that is durable."""
        change = drop_task(live.state, key)
        if change is None:
            return nothing_to_wait_for()
        return self._floor.commit([change], lambda: self._floor.let_go(live))

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
            completed = event.taskCompleted
            completed.taskScheduledId = response.taskId
            completed.taskExecutionId = run.request.taskExecutionId
            if response.HasField("result"):
                completed.result.CopyFrom(response.result)
        return event


def nothing_to_wait_for() -> asyncio.Future[None]:
    """What a completion gets that nobody waits for."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future
