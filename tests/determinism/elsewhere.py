"""Makes a process look as if it ran on another machine, at another time. To be called before anything else is imported.

Environment variables, arguments, the time zone and the hash seed are given to the process by whoever starts it.
"""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
import socket
import sys
import time
import types
from typing import Any

# Another day of the week, and with the other time zone another half of the day.
LATER = 2 * 86_400 + 3 * 3_600


def pretend() -> None:
    """Replaces what tells about the machine and the time."""
    _shift_the_clock()
    machine: Any = {
        (socket, "gethostname"): lambda: "worker-b",
        (platform, "node"): lambda: "worker-b",
        (platform, "python_version"): lambda: "3.99.1",
        (os, "cpu_count"): lambda: 3,
        (importlib.metadata, "version"): lambda name: "99.0.0",
    }
    sys.modules["shop_accelerator"] = types.ModuleType("shop_accelerator")
    for (module, name), instead in machine.items():
        setattr(module, name, instead)


def _shift_the_clock() -> None:
    now, now_ns, local, text = time.time, time.time_ns, time.localtime, time.strftime
    time.time = lambda: now() + LATER
    time.time_ns = lambda: now_ns() + LATER * 1_000_000_000
    time.localtime = lambda seconds=None: local(now() + LATER if seconds is None else seconds)
    time.strftime = lambda form, moment=None: text(form, time.localtime() if moment is None else moment)
    real_date, real_datetime = dt.date, dt.datetime
    later = dt.timedelta(seconds=LATER)

    class DateKind(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, real_date)

    class DatetimeKind(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, real_datetime)

    class Date(real_date, metaclass=DateKind):
        @classmethod
        def today(cls) -> dt.date:
            return (real_datetime.now() + later).date()

    class Datetime(real_datetime, metaclass=DatetimeKind):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:
            return real_datetime.now(tz) + later

        @classmethod
        def today(cls) -> dt.datetime:
            return real_datetime.now() + later

    dt.date, dt.datetime = Date, Datetime
