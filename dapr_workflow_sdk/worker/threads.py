"""Threads for activities written as plain functions."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Any


class ActivityThreads:
    """A pool of daemon threads, which start as they are needed.

    The standard pool joins its threads when the interpreter exits, so one activity that never returns would keep a
    stopped program alive; this one does not.
    """

    def __init__(self, size: int) -> None:
        """Starts no thread yet; there will be at most `size`."""
        self._size = size
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._idle = 0
        self._threads = 0
        self._lock = threading.Lock()

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Runs a function on a thread of the pool, in a copy of the caller's context, and gives its result."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        context = contextvars.copy_context()

        def work() -> None:
            if future.cancelled():
                return  # It was given up before it began; somebody else may run it by now.
            # The error travels as a value: some, GeneratorExit for one, mean something else to an event loop.
            outcome: tuple[Any, BaseException | None]
            try:
                outcome = (context.run(function, *arguments), None)
            except StopIteration as error:
                outcome = (None, RuntimeError(f"the activity raised {error!r}"))
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever called
                outcome = (None, error)
            _tell(loop, future, outcome)

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
        self._work.put(work)
        result, error = await future
        if error is not None:
            raise error
        return result

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            work()
            with self._lock:
                self._idle += 1

    def stop(self) -> None:
        """Lets idle threads end; busy ones end when their activity does."""
        with self._lock:
            for _ in range(self._threads):
                self._work.put(None)
            self._threads = 0
            self._idle = 0


def _tell(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], outcome: object) -> None:
    def settle() -> None:
        if not future.done():
            future.set_result(outcome)

    try:
        loop.call_soon_threadsafe(settle)
    except RuntimeError:
        return  # The loop is closed: nobody waits any more.
