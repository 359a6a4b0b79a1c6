"""A store that forgets everything when the process ends."""

from __future__ import annotations

from collections.abc import Sequence

from dapr_workflow_sdk.engine.state import Change, InstanceRow, InstanceState, TaskKey
from dapr_workflow_sdk.engine.transitions import restore
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb


class _Kept:
    __slots__ = ("history", "inbox", "row", "tasks", "timers")

    def __init__(self, row: InstanceRow) -> None:
        self.row = row
        self.history: list[pb.HistoryEvent] = []
        self.inbox: dict[int, pb.HistoryEvent] = {}
        self.tasks: dict[TaskKey, pb.ActivityRequest] = {}
        self.timers: dict[int, int] = {}


class MemoryStore:
    """Keeps instances in a dictionary."""

    def __init__(self) -> None:
        """Starts empty."""
        self._kept: dict[str, _Kept] = {}

    @property
    def waits(self) -> bool:
        """A dictionary never waits."""
        return False

    def commit(self, changes: Sequence[Change]) -> None:
        """Applies the changes."""
        for change in changes:
            if change.row is None:
                self._kept.pop(change.instance_id, None)
                continue
            kept = self._kept.get(change.instance_id)
            if kept is None:
                kept = self._kept[change.instance_id] = _Kept(change.row)
            kept.row = change.row
            if change.renewed:
                kept.history = []
                kept.inbox = {}
                kept.timers = {}
            kept.history.extend(change.history)
            kept.inbox.update(change.inbox_added)
            kept.tasks.update(change.tasks_added)
            kept.timers.update(change.timers_added)
            for number in change.inbox_removed:
                kept.inbox.pop(number, None)
            for key in change.tasks_removed:
                kept.tasks.pop(key, None)
            for timer in change.timers_removed:
                kept.timers.pop(timer, None)

    def load(self, instance_id: str) -> InstanceState | None:
        """A copy of what is kept, for the engine to change."""
        kept = self._kept.get(instance_id)
        if kept is None:
            return None
        return restore(kept.row, list(kept.history), sorted(kept.inbox.items()), dict(kept.tasks), dict(kept.timers))

    def row(self, instance_id: str) -> InstanceRow | None:
        """The scalar part."""
        kept = self._kept.get(instance_id)
        return None if kept is None else kept.row

    def unfinished(self) -> list[str]:
        """Instances with something to do."""
        return [name for name, kept in self._kept.items() if kept.inbox or kept.tasks or kept.timers]

    def close(self) -> None:
        """Keeps what there is: an engine that opens the store again finds it."""
