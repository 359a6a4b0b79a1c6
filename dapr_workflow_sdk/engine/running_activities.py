"""Which worker runs which activity, and whose answer counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dapr_workflow_sdk.engine.activity_run import ActivityRun
from dapr_workflow_sdk.engine.state import InstanceKey, TaskKey
from dapr_workflow_sdk.engine.subscription import Subscription
from dapr_workflow_sdk.taskhub.port import ActivityItem


class RunningActivities:
    """The activities that workers have, by token and by call.

    The token of an activity whose worker is gone stays good until another worker gets it: a result that still comes
    is taken.
    """

    def __init__(self, tokens: Iterator[str]) -> None:
        """Starts empty."""
        self._tokens = tokens
        self._by_token: dict[str, ActivityRun] = {}
        # Workers that send no token back name the call. A later generation may have a call of the same number.
        self._by_call: dict[tuple[str, int], ActivityRun] = {}

    def __len__(self) -> int:
        return len(self._by_token)

    def send(self, run: ActivityRun, worker: Subscription) -> None:
        """Gives an activity to a worker."""
        self._by_token.pop(run.token, None)
        run.token = next(self._tokens)
        run.worker = worker
        self._by_token[run.token] = run
        self._by_call[run.instance[1], run.key[1]] = run
        worker.activities.add(run.token)
        if run.losses.suspicious:
            worker.suspect = run
        worker.send(ActivityItem(run.request, run.token))

    def find(self, instance_id: str, task_id: int, token: str) -> ActivityRun | None:
        """The activity that an answer, or a sign of life, belongs to; None if it is nobody's any more."""
        run = self._by_token.get(token) if token else self._by_call.get((instance_id, task_id))
        if run is None or run.instance[1] != instance_id or run.key[1] != task_id:
            return None
        return run

    def of_token(self, token: str) -> ActivityRun | None:
        """The activity that a worker has under a token."""
        return self._by_token.get(token)

    def finish(self, run: ActivityRun) -> None:
        """Forgets an activity that is over."""
        run.quiet()
        self._by_token.pop(run.token, None)
        call = (run.instance[1], run.key[1])
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

    def of(self, instance: InstanceKey, keys: Iterable[TaskKey]) -> Iterator[ActivityRun]:
        """Those of some calls of an instance that a worker has."""
        for key in keys:
            run = self._by_call.get((instance[1], key[1]))
            if run is not None and run.instance == instance and run.key == key and run.worker is not None:
                yield run

    def clear(self) -> None:
        """Forgets everything."""
        for run in self._by_token.values():
            run.quiet()
        self._by_token.clear()
        self._by_call.clear()
