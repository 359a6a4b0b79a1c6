"""Threads for activities written as plain functions."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("dapr_workflow_sdk.worker")

# The result of an activity, and its error if it failed.
Outcome = tuple[Any, "BaseException | None"]
_Work = tuple[Callable[[Outcome], None], Callable[[], bool], contextvars.Context, Callable[..., Any], tuple[Any, ...]]


class ActivityThreads:
    """A pool of daemon threads, which start as they are needed.

    The standard pool joins its threads when the interpreter exits, so one activity that never returns would keep a
    stopped program alive; this one does not.
    """

    def __init__(self, size: int) -> None:
        """Starts no thread yet; there will be at most `size`."""
        self._size = size
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._outcomes: deque[tuple[Callable[[Outcome], None], Outcome]] = deque()
        self._telling = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle = 0
        self._threads = 0
        self._lock = threading.Lock()

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Runs a function on a thread of the pool, in a copy of the caller's context, and gives its result."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def settle(outcome: Outcome) -> None:
            if not future.done():
                future.set_result(outcome)

        self.submit(settle, future.cancelled, function, *arguments)
        result, error = await future
        if error is not None:
            raise error
        return result

    def submit(
        self,
        settle: Callable[[Outcome], None],
        given_up: Callable[[], bool],
        function: Callable[..., Any],
        *arguments: Any,
    ) -> None:
        """Has a function run on a thread of the pool, in a copy of the caller's context; to be called on a loop.

        Args:
            settle: Called with the outcome, on that loop.
            given_up: Asked before the function begins; if it says yes, nothing happens.
            function: What to run.
            arguments: What to run it with.
        """
        self._loop = asyncio.get_running_loop()
        context = contextvars.copy_context()
        with self._lock:
            if self._idle > 0:
                self._idle -= 1
            elif self._threads < self._size:
                self._threads += 1
                name = f"dapr-workflow-activity-{self._threads}"
                threading.Thread(target=self._serve, name=name, daemon=True).start()
            else:
                # Every thread is busy: the one that finishes next takes this work without becoming idle first.
                self._idle -= 1
        self._work.put((settle, given_up, context, function, arguments))

    def _run(self, work: _Work) -> None:
        settle, given_up, context, function, arguments = work
        if given_up():
            return  # It was given up before it began; somebody else may run it by now.
        # The error travels as a value: some, GeneratorExit for one, mean something else to an event loop.
        outcome: Outcome
        try:
            outcome = (context.run(function, *arguments), None)
        except StopIteration as error:
            outcome = (None, RuntimeError(f"the activity raised {error!r}"))
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever called
            outcome = (None, error)
        self._outcomes.append((settle, outcome))
        if self._telling:
            return  # The loop is about to look, and has not looked yet: it forgets this first.
        self._telling = True
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._tell)
        except RuntimeError:
            return  # The loop is closed: nobody waits any more.

    def _tell(self) -> None:
        """Takes the outcomes of all threads to those who wait; one call, and one wake-up of the loop, for many."""
        self._telling = False
        while self._outcomes:
            settle, outcome = self._outcomes.popleft()
            try:
                settle(outcome)
            except Exception:
                logger.exception("An activity's outcome could not be handed on")

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            self._run(work)
            with self._lock:
                self._idle += 1

    def stop(self) -> None:
        """Lets idle threads end; busy ones end when their activity does."""
        with self._lock:
            for _ in range(self._threads):
                self._work.put(None)
            self._threads = 0
            self._idle = 0
