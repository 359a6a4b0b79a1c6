"""Instances at rest: some stay in memory for their next turn, the others live in the store alone.

An instance that waits for a person, a child or a timer costs a row in the store. The least recently used ones leave
memory; an event brings one back, and for timers one alarm rings when the first timer in the store is due.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable

from dapr_workflow_sdk.engine.clock import Alarm, Clock
from dapr_workflow_sdk.engine.live import Live
from dapr_workflow_sdk.engine.state import InstanceKey
from dapr_workflow_sdk.engine.stores.base import MOST_DUE, Store

logger = logging.getLogger("dapr_workflow_sdk.engine")

# After a look that failed, the next comes so many nanoseconds later.
_PAUSE = 1_000_000_000
# The same in seconds where there is more to wake than one look brings.
_BREATH = 0.005


class RestingInstances:
    """Decides which instances leave memory, and wakes those whose time has come."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        limit: int,
        wake: Callable[[InstanceKey], object],
        on_looked: Callable[[], None] = lambda: None,
    ) -> None:
        """Keeps none.

        Args:
            store: Where instances are while they are not in memory.
            clock: Where the time comes from.
            limit: How many resting instances stay in memory.
            wake: Brings an instance into memory, and its timers with it.
            on_looked: Called when those whose time has come were woken.
        """
        self._store = store
        self._clock = clock
        self._limit = limit
        self._wake = wake
        self._on_looked = on_looked
        self._resting: OrderedDict[InstanceKey, Live] = OrderedDict()
        self._alarm: Alarm | None = None
        self._due: int | None = None
        # Whether there is more to wake than the last look brought.
        self.looking = False

    def rest(self, live: Live) -> list[Live]:
        """Notes that an instance rests; returns those that may leave memory for it."""
        self._resting[live.key] = live
        self._resting.move_to_end(live.key)
        leaving: list[Live] = []
        while len(self._resting) > self._limit:
            _, oldest = self._resting.popitem(last=False)
            if oldest.rests:
                leaving.append(oldest)
        return leaving

    def forget(self, key: InstanceKey) -> None:
        """Notes that an instance is not in memory any more, whatever the reason."""
        self._resting.pop(key, None)

    def watch_timers(self, first: int | None) -> None:
        """Makes sure that somebody looks into the store when a timer is due there."""
        if first is None or (self._due is not None and self._due <= first):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._due = first
        self._alarm = self._clock.call_at(first, self._look)

    def watch_stored_timers(self) -> None:
        """The same for all timers there are, as when the engine opens."""
        self.watch_timers(self._store.next_due(-1))

    def _look(self) -> None:
        self._alarm = self._due = None
        now = self._clock.now()
        try:
            due = self._store.due(now)
            for key in due:
                self._wake(key)
            # Timers of instances in memory have alarms of their own; the store still has some on their way out.
            first = self._store.next_due(now)
            self.looking = len(due) >= MOST_DUE
            if self.looking:
                # There are more. The next look comes soon, whatever the clock says: they are due already.
                asyncio.get_running_loop().call_later(_BREATH, self._look_again)
        except Exception as error:  # noqa: BLE001 - whatever the disk says, it may be well again soon
            logger.critical("Timers could not be read: %s. Trying again.", error)
            first = now + _PAUSE
        self.watch_timers(first)
        self._on_looked()

    def _look_again(self) -> None:
        if self.looking:
            if self._alarm is not None:
                self._alarm.cancel()
            self._look()

    def close(self) -> None:
        """Watches nothing any more."""
        self.looking = False
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = self._due = None
        self._resting.clear()
