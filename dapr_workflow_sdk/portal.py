"""One background event loop for the whole process, and the way to it from ordinary code.

Everything asynchronous in this package runs there: the engine, gRPC channels, workers. The synchronous faces hand
their work over and wait. One loop also means one user of gRPC's asyncio support, which does not like several.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Portal:
    """A loop in a daemon thread, started when it is first needed."""

    def __init__(self) -> None:
        """Starts nothing yet."""
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._process = 0

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, running."""
        loop = self._loop
        if loop is not None and self._process == os.getpid():
            return loop
        with self._lock:
            if self._loop is None or self._process != os.getpid():
                # A forked child has no thread of its parent's, so it starts its own.
                ready = threading.Event()
                self._loop = asyncio.new_event_loop()
                self._process = os.getpid()
                self._thread = threading.Thread(
                    target=self._run, args=(self._loop, ready), name="dapr-workflow-sdk", daemon=True
                )
                self._thread.start()
                ready.wait()
            return self._loop

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop, ready: threading.Event) -> None:
        asyncio.set_event_loop(loop)
        loop.call_soon(ready.set)
        loop.run_forever()

    @property
    def here(self) -> bool:
        """Whether the caller runs on the loop's own thread."""
        return threading.current_thread() is self._thread

    @property
    def thread_id(self) -> int | None:
        """Identifier of the loop's thread."""
        return None if self._thread is None else self._thread.ident

    def call(self, function: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """Calls a function on the loop and waits for what it gives to be there.

        Raises:
            RuntimeError: The caller is on the loop's thread, where waiting would never end: an async activity that
                uses a synchronous client, for instance. Or the interpreter is ending.
        """
        if self.here:
            raise RuntimeError(
                "A synchronous call from inside the SDK's event loop would wait for itself. In an async activity, "
                "run it with `await asyncio.to_thread(...)`; workflow code must not do I/O at all."
            )
        if sys.is_finalizing():
            raise RuntimeError("The interpreter is ending, and the SDK's event loop has ended before it.")
        call = _Call(self.loop, function, arguments)
        try:
            return call.result()
        except BaseException:
            # Ctrl-C while waiting: nobody wants the result any more.
            call.cancel()
            raise

    async def acall(self, function: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
        """Runs a coroutine function on the loop, from whatever loop the caller is on."""
        if self.here:
            return await function(*arguments)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(function(*arguments), self.loop))


class _Call(Generic[T]):
    """A call on the loop that another thread waits for.

    It does what `asyncio.run_coroutine_threadsafe` does, without that function's two futures that copy each other's
    state: every operation of a synchronous client comes this way.
    """

    __slots__ = ("_arguments", "_done", "_error", "_function", "_loop", "_result", "_task")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, function: Callable[..., Awaitable[T]], arguments: tuple[Any, ...]
    ) -> None:
        self._loop = loop
        self._function = function
        self._arguments = arguments
        self._task: asyncio.Task[None] | None = None
        self._error: BaseException | None = None
        self._done = threading.Lock()
        self._done.acquire()
        loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._run())

    async def _run(self) -> None:
        try:
            self._result = await self._function(*self._arguments)
        except asyncio.CancelledError:
            self._error = concurrent.futures.CancelledError()
        except BaseException as error:  # noqa: BLE001 - it is raised where the call was made
            self._error = error
        finally:
            self._done.release()

    def result(self) -> T:
        self._done.acquire()
        try:
            if self._error is not None:
                raise self._error
            return self._result
        finally:
            # An error holds the frames it went through, and these frames this call: the circle is broken here.
            self._error = None

    def cancel(self) -> None:
        self._loop.call_soon_threadsafe(lambda: self._task is not None and self._task.cancel())


PORTAL = Portal()
