"""What waits for the workers of one app, and who of them gets it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from dapr_workflow_sdk.engine.activity_run import ActivityRun
from dapr_workflow_sdk.engine.live import Live
from dapr_workflow_sdk.engine.subscription import Subscription


@dataclass(eq=False)
class AppQueue:
    """One app's workers, and the turns and activities that wait for them.

    Attributes:
        app_id: The app.
        workers: Who is subscribed; the first has waited longest for something to do.
        turns: Instances that wait for a turn.
        activities: Activities that wait to be run.
        suspects: Of both, those that workers were lost with before; see `suspicion`.
    """

    app_id: str
    workers: deque[Subscription] = field(default_factory=deque[Subscription])
    turns: deque[Live] = field(default_factory=deque[Live])
    activities: deque[ActivityRun] = field(default_factory=deque[ActivityRun])
    suspects: deque[Live | ActivityRun] = field(default_factory=deque[Live | ActivityRun])

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self.turns and not self.activities and not self.suspects

    def worker_for_turn(self, live: Live) -> Subscription | None:
        """Who takes a turn of an instance: the worker that had its last one, if it has room."""
        last = live.worker
        if last is not None and not last.gone and last.takes_turns:
            return last
        for _ in range(len(self.workers)):
            worker = self.workers[0]
            self.workers.rotate(-1)
            if worker.takes_turns:
                return worker
        return None

    def worker_for_activity(self) -> Subscription | None:
        """Who takes an activity."""
        for _ in range(len(self.workers)):
            worker = self.workers[0]
            self.workers.rotate(-1)
            if worker.takes_activities:
                return worker
        return None

    def worker_for_suspect(self, suspect: Live | ActivityRun) -> Subscription | None:
        """Who takes an item under suspicion: a worker that has no other such item."""
        for worker in self.workers:
            room = worker.takes_turns if isinstance(suspect, Live) else worker.takes_activities
            if room and worker.suspect is None:
                return worker
        return None

    def put_last(self, worker: Subscription) -> None:
        """Lets a worker be asked after all others."""
        if worker in self.workers:
            self.workers.remove(worker)
            self.workers.append(worker)

    def put_activity(self, run: ActivityRun, *, first: bool = False) -> None:
        """Lets an activity wait."""
        if run.losses.suspicious:
            self.suspects.append(run)
        elif first:
            self.activities.appendleft(run)
        else:
            self.activities.append(run)

    def put_turn(self, live: Live) -> None:
        """Lets an instance wait for a turn."""
        (self.suspects if live.losses.suspicious else self.turns).append(live)

    def clear(self) -> None:
        """Forgets what waits."""
        self.turns.clear()
        self.activities.clear()
        self.suspects.clear()
