"""Which worker runs which activity, and whose answer counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dapr_workflow_sdk.engine.activity_run import ActivityRun
from dapr_workflow_sdk.engine.state import InstanceKey, TaskKey
from dapr_workflow_sdk.engine.subscription import Subscription
from dapr_workflow_sdk.taskhub.port import ActivityItem


class RunningActivities:
    """The activities without a result that wait for a worker or have one, by call and by token.

    The token of an activity whose worker is gone stays good until another worker gets it: a result that still comes
    is taken.
    """

    def __init__(self, tokens: Iterator[str]) -> None:
        """Starts empty."""
        self._tokens = tokens
        self._runs: dict[tuple[InstanceKey, TaskKey], ActivityRun] = {}
        self._by_token: dict[str, ActivityRun] = {}
        # Workers that send no token back name the call. A later generation may have a call of the same number.
        self._by_call: dict[tuple[str, str, int], ActivityRun] = {}

    def add(self, run: ActivityRun) -> bool:
        """Adds an activity, unless it is there already; returns whether it was added."""
        call = (run.instance, run.key)
        if call in self._runs:
            return False
        self._runs[call] = run
        return True

    def send(self, run: ActivityRun, worker: Subscription) -> None:
        """Gives an activity to a worker."""
        self._by_token.pop(run.token, None)
        run.token = next(self._tokens)
        run.worker = worker
        self._by_token[run.token] = run
        self._by_call[run.app_id, run.instance[1], run.key[1]] = run
        worker.activities.add(run.token)
        if run.losses.suspicious:
            worker.suspect = run
        worker.send(ActivityItem(run.request, run.token))

    def find(self, app_id: str, instance_id: str, task_id: int, token: str) -> ActivityRun | None:
        """The activity that an answer, or a sign of life, belongs to; None if it is nobody's any more.

        Args:
            app_id: The app of the worker.
            instance_id: Id of the caller.
            task_id: Number of the call.
            token: What the worker was given with it, if it sends that back.
        """
        run = self._by_token.get(token) if token else self._by_call.get((app_id, instance_id, task_id))
        if run is None or run.instance[1] != instance_id or run.key[1] != task_id:
            return None
        return run

    def of_token(self, token: str) -> ActivityRun | None:
        """The activity that a worker has under a token."""
        return self._by_token.get(token)

    def finish(self, run: ActivityRun) -> None:
        """Forgets an activity that is over, wherever it waits."""
        run.over = True
        self._runs.pop((run.instance, run.key), None)
        self._by_token.pop(run.token, None)
        call = (run.app_id, run.instance[1], run.key[1])
        if self._by_call.get(call) is run:
            del self._by_call[call]
        self.take_away(run)

    @staticmethod
    def take_away(run: ActivityRun) -> None:
        """Takes an activity from its worker, if it has one."""
        worker, run.worker = run.worker, None
        run.quiet()
        if worker is not None:
            worker.activities.discard(run.token)
            if worker.suspect is run:
                worker.suspect = None

    def at(self, worker: Subscription) -> list[ActivityRun]:
        """What a worker has."""
        return [self._by_token[token] for token in worker.activities]

    def of(self, instance: InstanceKey, keys: Iterable[TaskKey]) -> list[ActivityRun]:
        """Those of some calls of an instance."""
        return [run for key in keys if (run := self._runs.get((instance, key))) is not None]

    def clear(self) -> None:
        """Forgets everything."""
        for run in self._runs.values():
            run.over = True
            run.quiet()
        self._runs.clear()
        self._by_token.clear()
        self._by_call.clear()
