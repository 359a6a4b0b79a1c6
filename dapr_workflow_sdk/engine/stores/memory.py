"""A store that forgets everything when the process ends."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

from dapr_workflow_sdk.engine.state import Change, InstanceKey, InstanceRow, InstanceState, TaskKey
from dapr_workflow_sdk.engine.stores.base import MOST_DUE, Selection
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
        self._kept: dict[InstanceKey, _Kept] = {}
        self._numbers = 0
        # When timers fire; entries of timers that are gone are dropped when their time comes.
        self._times: list[tuple[int, InstanceKey, int]] = []

    @property
    def waits(self) -> bool:
        """A dictionary never waits."""
        return False

    def new_number(self) -> int:
        """The next number."""
        self._numbers += 1
        return self._numbers

    def sync(self) -> None:
        """What was written is there."""

    def write(self, changes: Sequence[Change]) -> None:
        """Applies the changes."""
        for change in changes:
            if change.removed:
                self._kept.pop(change.key, None)
                continue
            kept = self._kept.get(change.key)
            if kept is None:
                if change.row is None:
                    continue
                kept = self._kept[change.key] = _Kept(change.row)
            elif change.row is not None:
                kept.row = change.row
            if change.renewed:
                kept.history = []
                kept.inbox = {}
                kept.timers = {}
            kept.history.extend(change.history)
            kept.inbox.update(change.inbox_added)
            kept.tasks.update(change.tasks_added)
            for timer, fire_at in change.timers_added:
                kept.timers[timer] = fire_at
                heapq.heappush(self._times, (fire_at, change.key, timer))
            for number in change.inbox_removed:
                kept.inbox.pop(number, None)
            for key in change.tasks_removed:
                kept.tasks.pop(key, None)
            for timer in change.timers_removed:
                kept.timers.pop(timer, None)

    def load(self, key: InstanceKey) -> InstanceState | None:
        """A copy of what is kept, for the engine to change."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        return restore(kept.row, list(kept.history), sorted(kept.inbox.items()), dict(kept.tasks), dict(kept.timers))

    def row(self, key: InstanceKey) -> InstanceRow | None:
        """The scalar part."""
        kept = self._kept.get(key)
        return None if kept is None else kept.row

    def select(self, selection: Selection) -> list[InstanceRow]:
        """Rows that fit."""
        rows = sorted(
            (kept.row for kept in self._kept.values() if _fits(kept.row, selection)),
            key=lambda row: row.number,
            reverse=selection.newest_first,
        )
        return rows[: selection.limit]

    def ready(self, now: int) -> list[InstanceKey]:
        """Instances with something to do."""
        return [key for key, kept in self._kept.items() if (kept.inbox and _begun(kept.row, now)) or kept.tasks]

    def due(self, now: int) -> list[InstanceKey]:
        """Instances whose timers should have fired."""
        return list(dict.fromkeys(key for _, key in self._until(now)))[:MOST_DUE]

    def _until(self, now: int) -> Iterator[tuple[int, InstanceKey]]:
        again: list[tuple[int, InstanceKey, int]] = []
        while self._times and self._times[0][0] <= now:
            entry = heapq.heappop(self._times)
            if self._is_set(entry):
                again.append(entry)
                yield entry[0], entry[1]
        for entry in again:
            heapq.heappush(self._times, entry)

    def next_due(self, now: int) -> int | None:
        """When the first timer after now fires."""
        while self._times and not self._is_set(self._times[0]):
            heapq.heappop(self._times)
        if self._times and self._times[0][0] > now:
            return self._times[0][0]
        return min((entry[0] for entry in self._times if entry[0] > now and self._is_set(entry)), default=None)

    def _is_set(self, entry: tuple[int, InstanceKey, int]) -> bool:
        fire_at, key, timer = entry
        kept = self._kept.get(key)
        return kept is not None and kept.timers.get(timer) == fire_at

    def apps(self) -> list[str]:
        """Apps that have instances."""
        return sorted({app_id for app_id, _ in self._kept})

    def size(self) -> int:
        """Nothing is on a medium."""
        return 0

    def close(self) -> None:
        """Keeps what there is: an engine that opens the store again finds it."""


def _begun(row: InstanceRow, now: int) -> bool:
    return row.started is not None or row.scheduled is None or row.scheduled <= now


def _fits(row: InstanceRow, selection: Selection) -> bool:
    if row.app_id != selection.app_id or not row.instance_id.startswith(selection.prefix):
        return False
    if selection.after and (row.number >= selection.after if selection.newest_first else row.number <= selection.after):
        return False
    return (
        (not selection.statuses or row.status in selection.statuses)
        and (not selection.name or row.name == selection.name)
        and (selection.created_from is None or row.created >= selection.created_from)
        and (selection.created_to is None or row.created <= selection.created_to)
        and (selection.completed_to is None or (row.completed is not None and row.completed <= selection.completed_to))
    )
