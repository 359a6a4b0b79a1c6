"""Conditions under which code runs: the clock, the time zone, random numbers.

Where they are pinned, one run differs from another only in what was changed on purpose. The clock is pinned by
`time_machine`, which replaces the functions of the interpreter itself, so that names obey which a module imported long
ago. It comes with the extra ``testing``; without it, the clock runs free.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
import warnings
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

try:
    import time_machine
except ImportError:  # pragma: no cover - the test group has it
    _travel: Any = None
else:
    _travel = time_machine.travel

# The first of January 2026, where simulations begin.
START = 1_767_225_600.0
CAN_PIN_CLOCK = _travel is not None
CAN_PIN_ZONE = hasattr(time, "tzset")
# The counters of the machine are shifted along with its clock; they only have to go on from somewhere.
_COUNTERS = ("monotonic", "perf_counter", "process_time", "thread_time")


@dataclass(frozen=True, slots=True)
class Conditions:
    """Conditions of a run.

    Attributes:
        clock: What the clock of the machine shows, in seconds since 1970; it stands still.
        zone: The time zone, in the words of ``TZ``; None leaves it.
        seed: What random numbers begin with.
    """

    clock: float = START
    zone: str | None = None
    seed: int = 0

    @contextlib.contextmanager
    def applied(self, entropy: Entropy) -> Generator[None, None, None]:
        """Lets code run under these conditions."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            # Of coroutines that nobody awaits; each replay would warn again.
            warnings.simplefilter("ignore", RuntimeWarning)
            if self.zone is not None and CAN_PIN_ZONE:
                stack.enter_context(_zone(self.zone))
            if _travel is not None:
                stack.enter_context(_travel(self.clock, tick=False))
                stack.enter_context(_counters(self.clock))
            stack.enter_context(entropy.applied())
            yield


@dataclass
class Entropy:
    """Where a run takes its random numbers from: the same run takes the same, however often it is interrupted.

    Attributes:
        seed: What they begin with.
    """

    seed: int = 0
    _bytes: random.Random = field(init=False)
    _state: Any = None

    def __post_init__(self) -> None:
        self._bytes = random.Random(f"bytes of {self.seed}")

    def _urandom(self, size: int, /) -> bytes:
        return self._bytes.randbytes(size)

    @contextlib.contextmanager
    def applied(self) -> Generator[None, None, None]:
        """Lets code take them instead of the machine's."""
        before = random.getstate()
        if self._state is None:
            random.seed(f"numbers of {self.seed}")
        else:
            random.setstate(self._state)
        urandom, inner = os.urandom, random._urandom  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType, reportUnknownMemberType]
        os.urandom = self._urandom
        random._urandom = self._urandom  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        try:
            yield
        finally:
            self._state = random.getstate()
            os.urandom = urandom
            random._urandom = inner  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
            random.setstate(before)


@contextlib.contextmanager
def _zone(name: str) -> Generator[None, None, None]:
    before = os.environ.get("TZ")
    _set_zone(name)
    try:
        yield
    finally:
        _set_zone(before)


def _set_zone(name: str | None) -> None:
    if name is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = name
    time.tzset()


@contextlib.contextmanager
def _counters(clock: float) -> Generator[None, None, None]:
    """Counters that stand still as the clock does."""
    before = {name: getattr(time, name) for name in (*_COUNTERS, *(f"{name}_ns" for name in _COUNTERS))}
    stands = clock - START + 1_000_000.0
    nanoseconds = int(stands * 1_000_000_000)
    for name in _COUNTERS:
        setattr(time, name, lambda: stands)
        setattr(time, f"{name}_ns", lambda: nanoseconds)
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(time, name, function)
