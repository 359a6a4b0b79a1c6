"""The author's code of one run: a generator or coroutine between its waits, or a function that is over at once."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from types import CodeType
from typing import Any, cast

from dapr_workflow_sdk.authoring.tasks import Task
from dapr_workflow_sdk.replay.calls import Place
from dapr_workflow_sdk.replay.explanation import waiting_place
from dapr_workflow_sdk.replay.stubbornness import keep_for_ever


@dataclass(frozen=True, slots=True)
class Returned:
    """The code is over and gave this value."""

    value: Any


@dataclass(frozen=True, slots=True)
class Raised:
    """The code is over and raised this."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class NotATask:
    """The code waits for something that cannot be waited for."""

    value: Any
    place: Place | None
    awaited: bool


End = Returned | Raised | NotATask

# How often code that waits again while it unwinds is asked to end.
_MOST_UNWINDING = 10


class Code:
    """Runs the code from one wait to the next. `start` and `resume` return how it ended, or None while it waits."""

    __slots__ = ("_running", "awaited", "closed", "inside", "leaving", "stubborn")

    def __init__(self) -> None:
        """Nothing runs yet."""
        self._running: Generator[Any, Any, Any] | Coroutine[Any, Any, Any] | None = None
        self.awaited: Task[Any] | None = None
        # Whether the code runs right now: its context may only be used then.
        self.inside = False
        self.closed = False
        # Whether it went on when it was asked to end, again and again.
        self.stubborn = False
        # Set by the code's wish to continue as new: it is over at its next wait.
        self.leaving = False

    @property
    def place(self) -> Place | None:
        """File and line where it waits."""
        return waiting_place(self._running)

    def runs(self, code: CodeType) -> bool:
        """Whether this is a suspended generator or coroutine of exactly this code."""
        running = self._running
        return getattr(running, "gi_code", None) is code or getattr(running, "cr_code", None) is code

    def start(self, function: Callable[..., Any], *arguments: Any) -> End | None:
        """Calls the function and runs to its first wait."""
        self.inside = True
        try:
            produced = function(*arguments)
        except BaseException as error:  # noqa: BLE001 - whatever workflow code raises ends the instance, not the worker
            return Raised(error)
        finally:
            self.inside = False
        if not isinstance(produced, Generator | Coroutine):
            return Returned(produced)
        self._running = cast("Any", produced)
        return self._run(None)

    def resume(self) -> End | None:
        """Goes on if what the code waits for is there."""
        awaited = self.awaited
        return self._run(awaited) if awaited is not None and awaited._done else None

    def _run(self, settled: Task[Any] | None) -> End | None:
        running = self._running
        if running is None:
            return None
        self.awaited = None
        self.inside = True
        try:
            while True:
                if settled is None:
                    yielded = running.send(None)
                elif settled._error is not None:
                    yielded = running.throw(settled._error)
                else:
                    yielded = running.send(settled._result)
                if self.leaving:
                    return Returned(None)
                if not isinstance(yielded, Task):
                    return NotATask(yielded, self.place, isinstance(running, Coroutine))
                if not yielded._done:
                    self.awaited = yielded
                    return None
                settled = cast("Any", yielded)
        except StopIteration as stop:
            return Returned(stop.value)
        except BaseException as error:  # noqa: BLE001 - as above
            return Raised(error)
        finally:
            self.inside = False

    def close(self) -> None:
        """Drops the code: where it is suspended inside ``try`` it unwinds, and nothing it then asks for happens."""
        running, self._running = self._running, None
        self.awaited = None
        self.closed = True
        self.inside = False
        if running is None:
            return
        for _ in range(_MOST_UNWINDING):
            try:
                running.close()
            except BaseException:  # noqa: BLE001, S112 - code that yields or raises as it unwinds has no one to tell
                continue
            return
        self.stubborn = True
        keep_for_ever(running)
