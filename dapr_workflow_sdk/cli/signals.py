"""Waiting for Ctrl-C and SIGTERM."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

from typing_extensions import Self


class StopSignals:
    """Catches SIGINT and SIGTERM while it is open, and remembers which came."""

    def __init__(self) -> None:
        """Catches nothing yet."""
        self._came = threading.Event()
        self._before: dict[int, Any] = {}
        self.received: int | None = None

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._catch)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        self._came.set()

    def wake(self) -> None:
        """Ends `wait` without a signal."""
        self._came.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Waits for a signal, or for `wake`; returns whether one of them has come."""
        return self._came.wait(timeout)


def reached_children(number: int) -> bool:
    """Whether a signal that this process got has also gone to its children: Ctrl-C in a terminal has."""
    if number != signal.SIGINT or not hasattr(os, "tcgetpgrp"):
        return False
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
