"""The clock of test environments: it moves only when it is told to, and tells when nothing else can happen."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from datetime import datetime, timedelta, timezone

from dapr_workflow_sdk.engine.clock import VirtualClock
from dapr_workflow_sdk.taskhub.wire.values import nanoseconds, timestamp_of, to_naive_utc

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class SteppedClock(VirtualClock):
    """A virtual clock that is moved from one alarm to the next by whoever waits for quiet."""

    def __init__(self, start: datetime) -> None:
        """Starts at `start`; naive means UTC."""
        super().__init__(nanoseconds(timestamp_of(to_naive_utc(start))), auto_advance=False)
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def moment(self) -> int:
        """Where the clock stands, in nanoseconds since 1970. Unlike `now` the question takes no time."""
        return self._moment

    def idle(self) -> None:
        """Tells the first of those who wait for quiet: what it then does may end the quiet for the others."""
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return

    def tell_when_quiet(self, waiting: asyncio.Future[None]) -> None:
        """Has a future done when nothing can happen before the next alarm."""
        self._waiting.append(waiting)

    @property
    def next_alarm(self) -> int | None:
        """When the next alarm rings; None if there is none."""
        while self._alarms and self._alarms[0][2].cancelled:
            heapq.heappop(self._alarms)
        return self._alarms[0][0] if self._alarms else None

    def jump(self, until: int | None = None) -> bool:
        """Moves to the next alarm and rings it; returns whether there is one, by the given moment."""
        alarm = self.next_alarm
        if alarm is None or (until is not None and alarm > until):
            return False
        self._move_to(alarm)
        return True

    def move_to(self, moment: int) -> None:
        """Moves on to a moment; what comes due on the way rings."""
        self._move_to(moment)


def aware(moment: int) -> datetime:
    """A moment of the engine's clock, in UTC, to the microsecond."""
    return _EPOCH + timedelta(microseconds=moment // 1000)
