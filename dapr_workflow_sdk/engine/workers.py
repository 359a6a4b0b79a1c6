"""The workers of all apps, and what waits for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dapr_workflow_sdk.engine.activity_run import ActivityRun
from dapr_workflow_sdk.engine.app_queue import AppQueue
from dapr_workflow_sdk.engine.live import Live
from dapr_workflow_sdk.engine.subscription import Subscription


class Workers:
    """Who is subscribed, by app."""

    def __init__(
        self,
        send_turn: Callable[[Live, Subscription], None],
        send_activity: Callable[[ActivityRun, Subscription], None],
    ) -> None:
        """Knows nobody.

        Args:
            send_turn: Gives a worker a turn, if it is still due.
            send_activity: Gives a worker an activity, if somebody still waits for it.
        """
        self._send_turn = send_turn
        self._send_activity = send_activity
        self._apps: dict[str, AppQueue] = {}

    def app(self, app_id: str) -> AppQueue:
        """What waits for the workers of an app."""
        queue = self._apps.get(app_id)
        if queue is None:
            queue = self._apps[app_id] = AppQueue(app_id)
        return queue

    def of(self, app_id: str) -> Sequence[Subscription]:
        """The workers of an app."""
        queue = self._apps.get(app_id)
        return () if queue is None else queue.workers

    def apps(self) -> list[str]:
        """Apps that have workers."""
        return [app_id for app_id, queue in self._apps.items() if queue.workers]

    @property
    def idle(self) -> bool:
        """Whether nothing waits for a worker, and no worker has an activity."""
        return all(
            queue.empty and not any(worker.activities for worker in queue.workers) for queue in self._apps.values()
        )

    def pump(self) -> None:
        """Sends out what workers have room for."""
        for queue in self._apps.values():
            while queue.turns:
                worker = queue.worker_for_turn(queue.turns[0])
                if worker is None:
                    break
                self._send_turn(queue.turns.popleft(), worker)
            while queue.activities:
                worker = queue.worker_for_activity()
                if worker is None:
                    break
                self._send_activity(queue.activities.popleft(), worker)
            for _ in range(len(queue.suspects)):
                suspect = queue.suspects.popleft()
                worker = queue.worker_for_suspect(suspect)
                if worker is None:
                    queue.suspects.append(suspect)
                elif isinstance(suspect, Live):
                    self._send_turn(suspect, worker)
                else:
                    self._send_activity(suspect, worker)

    def end(self) -> None:
        """Ends all streams of work items."""
        for queue in self._apps.values():
            for worker in queue.workers:
                worker.end()

    def clear(self) -> None:
        """Forgets what waits and what workers have; they stay subscribed."""
        for queue in self._apps.values():
            queue.clear()
            for worker in queue.workers:
                worker.turns.clear()
                worker.activities.clear()
                worker.suspect = None
