"""Clocks: the engine asks them for the time and has itself called at a time."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from typing import Protocol

SECOND = 1_000_000_000
# Longer delays are taken in steps, because event loops and changes of the wall clock do not mix over days.
_LONGEST_SLEEP = 3600.0


class Alarm(Protocol):
    """A call in the future that can be cancelled."""

    def cancel(self) -> None:
        """Takes the call back."""
        ...


class Clock(Protocol):
    """Time in nanoseconds since 1970, UTC."""

    @property
    def jumps(self) -> bool:
        """Whether `idle` does anything."""
        ...

    def now(self) -> int:
        """The time now; never earlier than an answer given before."""
        ...

    def call_at(self, moment: int, callback: Callable[[], None]) -> Alarm:
        """Has `callback` called on the running loop when `moment` has come."""
        ...

    def idle(self) -> None:
        """Told that nothing can happen before the next alarm and somebody waits for it; a virtual clock jumps."""
        ...


class SystemClock:
    """The clock of the machine."""

    jumps = False

    def __init__(self) -> None:
        """Starts at the machine's time."""
        self._last = 0

    def now(self) -> int:
        """Nanoseconds since 1970; distinct for each call, so that events have an order."""
        moment = max(time.time_ns(), self._last + 1)
        self._last = moment
        return moment

    def call_at(self, moment: int, callback: Callable[[], None]) -> Alarm:
        """Calls back at `moment`, not before."""
        return _SystemAlarm(moment, callback)

    def idle(self) -> None:
        """Real time cannot jump."""


class _SystemAlarm:
    def __init__(self, moment: int, callback: Callable[[], None]) -> None:
        self._moment = moment
        self._callback = callback
        self._handle = self._sleep()

    def _sleep(self) -> asyncio.TimerHandle:
        delay = max(0.0, (self._moment - time.time_ns()) / SECOND)
        return asyncio.get_running_loop().call_later(min(delay, _LONGEST_SLEEP), self._wake)

    def _wake(self) -> None:
        if time.time_ns() >= self._moment:
            self._callback()
        else:
            self._handle = self._sleep()

    def cancel(self) -> None:
        self._handle.cancel()


class VirtualClock:
    """A clock that stands still and jumps to the next alarm when a client waits and nothing else can happen.

    With it a workflow that sleeps for a year finishes in microseconds.
    """

    jumps = True

    def __init__(self, start: int = 1_767_225_600 * SECOND, *, auto_advance: bool = True) -> None:
        """Starts at `start` (nanoseconds since 1970; the first of January 2026 by default).

        Args:
            start: Where the clock stands.
            auto_advance: Jump while a client waits; without it only `advance` moves the clock.
        """
        self._moment = start
        self._auto = auto_advance
        self._order = itertools.count()
        self._alarms: list[tuple[int, int, _VirtualAlarm]] = []

    def now(self) -> int:
        """The time the clock stands at; a microsecond passes with each question, so that events have an order."""
        self._moment += 1000
        return self._moment

    def call_at(self, moment: int, callback: Callable[[], None]) -> Alarm:
        """Calls back when the clock has moved to `moment`; at once if it stands there."""
        alarm = _VirtualAlarm(callback)
        if moment <= self._moment:
            asyncio.get_running_loop().call_soon(alarm.ring)
        else:
            heapq.heappush(self._alarms, (moment, next(self._order), alarm))
        return alarm

    def idle(self) -> None:
        """Jumps to the next alarm."""
        if self._auto:
            while self._alarms and self._alarms[0][2].cancelled:
                heapq.heappop(self._alarms)
            if self._alarms:
                self._move_to(self._alarms[0][0])

    def advance(self, nanoseconds: int) -> None:
        """Moves the clock on and rings what comes due on the way. Call it on the engine's loop."""
        self._move_to(self._moment + nanoseconds)

    def _move_to(self, moment: int) -> None:
        while self._alarms and self._alarms[0][0] <= moment:
            due, _, alarm = heapq.heappop(self._alarms)
            self._moment = max(self._moment, due)
            alarm.ring()
        self._moment = max(self._moment, moment)


class _VirtualAlarm:
    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback = callback
        self.cancelled = False

    def ring(self) -> None:
        if not self.cancelled:
            self.cancelled = True
            self._callback()

    def cancel(self) -> None:
        self.cancelled = True
