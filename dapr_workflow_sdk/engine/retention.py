"""Forgetting finished instances after a while."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from dapr_workflow_sdk.engine.clock import Alarm, Clock
from dapr_workflow_sdk.engine.state import InstanceRow
from dapr_workflow_sdk.engine.stores.base import Selection, Store
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

if TYPE_CHECKING:
    from dapr_workflow_sdk.engine.runner import InstanceRunner

logger = logging.getLogger("dapr_workflow_sdk.engine")

_BATCH = 500
_SHORTEST_ROUND = 1_000_000_000
_LONGEST_ROUND = 60_000_000_000


@dataclass(frozen=True)
class RetentionPolicy:
    """How long finished instances are kept; what is not given is kept until somebody purges it.

    A duration of zero removes an instance as soon as it has ended. Longer ones are looked after in rounds, so an
    instance may stay up to a tenth of its time longer, or a minute if that is less.

    Attributes:
        any_terminal: For every instance that has ended, unless one of the others says otherwise.
        completed: For those that completed.
        failed: For those that failed.
        terminated: For those that were terminated.
    """

    any_terminal: timedelta | None = None
    completed: timedelta | None = None
    failed: timedelta | None = None
    terminated: timedelta | None = None

    def __post_init__(self) -> None:
        """Refuses times before the end.

        Raises:
            ValueError: A duration is negative.
        """
        for name in ("any_terminal", "completed", "failed", "terminated"):
            duration: timedelta | None = getattr(self, name)
            if duration is not None and duration < timedelta(0):
                raise ValueError(f"{name} must not be negative, as {duration} is")

    def durations(self) -> Iterator[tuple[pb.WorkflowStatus, int]]:
        """How long instances of each final status are kept, in nanoseconds."""
        for status, own in (
            (pb.WORKFLOW_STATUS_COMPLETED, self.completed),
            (pb.WORKFLOW_STATUS_FAILED, self.failed),
            (pb.WORKFLOW_STATUS_TERMINATED, self.terminated),
        ):
            duration = own if own is not None else self.any_terminal
            if duration is not None:
                yield status, duration // timedelta(microseconds=1) * 1000


class Janitor:
    """Removes finished instances when their time is over."""

    def __init__(self, store: Store, clock: Clock, policy: RetentionPolicy, runner: InstanceRunner) -> None:
        """Removes nothing until `open`.

        Args:
            store: Where the instances are.
            clock: Where the time comes from.
            policy: How long they stay.
            runner: Who removes them.
        """
        self._store = store
        self._clock = clock
        self._durations = dict(policy.durations())
        self._runner = runner
        self._alarm: Alarm | None = None

    def ended(self, row: InstanceRow) -> None:
        """Notes that an instance has ended."""
        duration = None if row.ended is None else self._durations.get(row.ended)
        if duration == 0:
            self._runner.in_background(self._runner.purge([row]))
        elif duration is not None:
            self._wait(duration)

    def open(self) -> None:
        """Removes what has become too old while nobody looked."""
        if self._durations:
            self._runner.in_background(self._round())

    def close(self) -> None:
        """Removes nothing any more."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _wait(self, duration: int) -> None:
        if self._alarm is None:
            pause = min(max(duration // 10, _SHORTEST_ROUND), _LONGEST_ROUND)
            self._alarm = self._clock.call_at(self._clock.now() + min(pause, duration), self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._runner.in_background(self._round())

    async def _round(self) -> None:
        removed = 0
        try:
            for app_id in self._store.apps():
                for status, duration in self._durations.items():
                    removed += await self._remove(app_id, status, duration)
        except Exception as error:  # noqa: BLE001 - whatever the disk says, the next round may find it well
            logger.warning("Finished instances could not be removed: %s. Trying again.", error)
            self._wait(_SHORTEST_ROUND)
        if removed:
            logger.info("Removed %d finished instances, as the retention policy says", removed)

    async def _remove(self, app_id: str, status: pb.WorkflowStatus, duration: int) -> int:
        removed = 0
        ended = frozenset({status})
        selection = Selection(app_id, statuses=ended, completed_to=self._clock.now() - duration, limit=_BATCH)
        while rows := self._store.select(selection):
            selection = replace(selection, after=rows[-1].number)
            # The store may not know yet that an id has been used again.
            old = [row for row in rows if self._runner.still(row)]
            if old:
                await self._runner.purge(old)
                removed += len(old)
        if self._store.select(Selection(app_id, statuses=ended, limit=1)):
            self._wait(duration)
        return removed
