"""Activities between the commit that asks for them and the worker that runs them."""

from __future__ import annotations

import uuid
from collections import deque
from dataclasses import dataclass

from dapr_workflow_sdk.engine.state import TaskKey
from dapr_workflow_sdk.engine.subscription import Subscription
from dapr_workflow_sdk.taskhub.port import ActivityItem
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb


@dataclass(eq=False)
class ActivityRun:
    """An activity at a worker, or on its way to one."""

    instance_id: str
    key: TaskKey
    request: pb.ActivityRequest
    token: str = ""
    worker: Subscription | None = None


class ActivityQueue:
    """Hands out activities, and knows which worker has which."""

    def __init__(self) -> None:
        """Starts empty."""
        self._waiting: deque[ActivityRun] = deque()
        self._running: dict[str, ActivityRun] = {}
        self._token_of_call: dict[tuple[str, int], str] = {}

    @property
    def waiting(self) -> bool:
        """Whether an activity waits for a worker."""
        return bool(self._waiting)

    @property
    def empty(self) -> bool:
        """Whether no activity waits or runs."""
        return not self._waiting and not self._running

    def add(self, instance_id: str, key: TaskKey, request: pb.ActivityRequest) -> None:
        """Adds an activity that is durable."""
        self._waiting.append(ActivityRun(instance_id, key, request))

    def send_next(self, worker: Subscription) -> None:
        """Gives the first waiting activity to a worker."""
        run = self._waiting.popleft()
        self._running.pop(run.token, None)
        run.token = uuid.uuid4().hex
        run.worker = worker
        self._running[run.token] = run
        self._token_of_call[run.instance_id, run.key[1]] = run.token
        worker.activities.add(run.token)
        worker.send(ActivityItem(run.request, run.token))

    def take_back(self, worker: Subscription) -> None:
        """Lets other workers have the activities of one that is gone."""
        for token in worker.activities:
            # The token stays good until another worker gets the activity: a result that still comes is taken.
            run = self._running[token]
            run.worker = None
            self._waiting.appendleft(run)

    def take_result(self, response: pb.ActivityResponse) -> ActivityRun | None:
        """The activity that this is the result of, which is over now; None if nobody waits for it."""
        token = response.completionToken or self._token_of_call.get((response.instanceId, response.taskId), "")
        run = self._running.get(token)
        if run is None or run.instance_id != response.instanceId or run.key[1] != response.taskId:
            return None
        del self._running[token]
        call = (run.instance_id, run.key[1])
        if self._token_of_call.get(call) == token:  # A later generation may have a call of this number, too.
            del self._token_of_call[call]
        if run.worker is not None:
            run.worker.activities.discard(token)
        elif run in self._waiting:
            self._waiting.remove(run)
        return run

    def clear(self) -> None:
        """Forgets everything."""
        self._waiting.clear()
        self._running.clear()
        self._token_of_call.clear()
