"""The test environment: the engine in memory and in virtual time, on the thread of the test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterable
from datetime import datetime, timedelta, timezone
from types import TracebackType
from typing import Any, TypeVar, overload

from typing_extensions import Self

from dapr_workflow_sdk.authoring.context import V
from dapr_workflow_sdk.converter import Converter, JsonConverter
from dapr_workflow_sdk.errors import RuntimeStateError
from dapr_workflow_sdk.testing.async_environment import AsyncWorkflowEnvironment
from dapr_workflow_sdk.testing.base_environment import BaseEnvironment
from dapr_workflow_sdk.testing.runs import WorkflowRun
from dapr_workflow_sdk.testing.stage import AppWorker, Stage

R = TypeVar("R")
T = TypeVar("T")

_START = datetime(2026, 1, 1, tzinfo=timezone.utc)
# It remembers how each type is read and written, which takes a while to find out.
_CONVERTER = JsonConverter()


class WorkflowEnvironment(BaseEnvironment):
    """Runs workflows in memory and in virtual time: no ports, no threads, and the same history on each run.

    Use it as a context manager. ``with`` gives methods that return when they are done; ``async with`` gives an
    `AsyncWorkflowEnvironment`, whose methods are awaited on the loop of the caller::

        with WorkflowEnvironment() as env:
            env.activity(charge).returns("receipt")
            run = env.run(order, Order(total=5))
            assert run.result == "receipt"

    Everything happens on the thread that calls, inside of the calls: between them nothing moves. Activities that are
    plain functions run there, too, one after the other; one that blocks blocks the test. ``async def`` activities run
    on the environment's own event loop, side by side.
    """

    def __init__(
        self,
        *,
        workflows: Iterable[Callable[..., Any]] = (),
        activities: Iterable[Callable[..., Any]] = (),
        app_id: str = "app",
        start: datetime = _START,
        converter: Converter | None = None,
        timeout: float = 60.0,
        shadow: bool | None = None,
    ) -> None:
        """Starts nothing yet.

        Args:
            workflows: Workflows to register besides those that are decorated at module level.
            activities: Activities to register, likewise.
            app_id: Id of the app, as histories record it.
            start: Where the clock begins; naive means UTC. The first of January 2026 by default.
            converter: How payloads are written and read; typed JSON by default.
            timeout: Seconds of real time that one call may take.
            shadow: Replay the whole history beside each turn, and end the test with a `NonDeterminismError` if that
                asks for something else. What pytest was told with ``--workflow-shadow`` by default, else no.

        Raises:
            RegistrationError: A function cannot be a workflow or an activity.
        """
        stage = Stage(start=start, converter=converter or _CONVERTER, app_id=app_id, timeout=timeout, shadow=shadow)
        super().__init__(stage, stage.main)
        self.register(workflows=workflows, activities=activities)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asynchronous: AsyncWorkflowEnvironment | None = None

    # ---- life ----------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        _refuse_running_loop()
        if self._loop is not None or self._asynchronous is not None:
            raise RuntimeStateError("This test environment is in use already; make one for each test.")
        self._stage._check_open()
        self._loop = asyncio.new_event_loop()
        self._call(self._stage.open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        try:
            loop.run_until_complete(self._close(loop))
        finally:
            loop.close()

    async def _close(self, loop: asyncio.AbstractEventLoop) -> None:
        await self._stage.aclose()
        await loop.shutdown_asyncgens()
        await loop.shutdown_default_executor()

    async def __aenter__(self) -> AsyncWorkflowEnvironment:
        return await self.on_this_loop().__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stage.aclose()

    def on_this_loop(self) -> AsyncWorkflowEnvironment:
        """The asynchronous face without a context manager, for fixtures.

        It opens on the loop on which it is first used; whoever made it calls `AsyncWorkflowEnvironment.leave` when
        that loop no longer runs.

        Raises:
            RuntimeStateError: The environment is in use already.
        """
        if self._loop is not None or self._asynchronous is not None:
            raise RuntimeStateError("This test environment is in use already; make one for each test.")
        self._asynchronous = AsyncWorkflowEnvironment(self._stage, self._worker)
        return self._asynchronous

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        loop = self._loop
        if loop is None or loop.is_closed():
            work.close()
            state = "closed" if self._stage.closed else "not open"
            raise RuntimeStateError(
                f"This test environment is {state}. Use it in a with statement: with WorkflowEnvironment() as env."
            )
        try:
            _refuse_running_loop()
        except RuntimeStateError:
            work.close()
            raise
        return loop.run_until_complete(work)

    def _do(self, operation: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
        return self._call(self._stage.done(operation, *arguments))

    def _finish(self, run: WorkflowRun[Any]) -> Coroutine[Any, Any, None]:
        return self._stage.finish(run._key)

    # ---- several apps --------------------------------------------------------------------------------------

    def app(
        self,
        app_id: str,
        *,
        workflows: Iterable[Callable[..., Any]] = (),
        activities: Iterable[Callable[..., Any]] = (),
    ) -> WorkflowEnvironment:
        """Another app on the same engine and clock, which workflows call with ``app_id=``.

        It knows what it is given, not what is decorated at module level; any other activity of it may have a stand-in.

        Args:
            app_id: Its id; asked for again, it is the same app.
            workflows: Workflows that it serves.
            activities: Activities that it serves.

        Returns:
            The environment of that app. It closes with this one.
        """
        found = WorkflowEnvironment.__new__(WorkflowEnvironment)
        found._enter(self, self._call(self._stage.open_app(app_id)))
        found.register(workflows=workflows, activities=activities)
        return found

    def _enter(self, other: WorkflowEnvironment, worker: AppWorker) -> None:
        super().__init__(other._stage, worker)
        self._loop = other._loop
        self._asynchronous = None

    # ---- running workflows ---------------------------------------------------------------------------------

    @overload
    def run(
        self,
        workflow: Callable[..., Generator[Any, Any, R]],
        input: Any = None,
        *,
        instance_id: str | None = None,
        start_at: datetime | None = None,
    ) -> WorkflowRun[R]: ...
    @overload
    def run(
        self,
        workflow: Callable[..., Coroutine[Any, Any, R]],
        input: Any = None,
        *,
        instance_id: str | None = None,
        start_at: datetime | None = None,
    ) -> WorkflowRun[R]: ...
    @overload
    def run(
        self,
        workflow: Callable[..., V],
        input: Any = None,
        *,
        instance_id: str | None = None,
        start_at: datetime | None = None,
    ) -> WorkflowRun[V]: ...
    @overload
    def run(
        self, workflow: str, input: Any = None, *, instance_id: str | None = None, start_at: datetime | None = None
    ) -> WorkflowRun[Any]: ...
    def run(
        self,
        workflow: Callable[..., Any] | str,
        input: Any = None,
        *,
        instance_id: str | None = None,
        start_at: datetime | None = None,
    ) -> WorkflowRun[Any]:
        """Starts a workflow and lets time go on until it has ended, well or badly.

        Timers fire at once: whenever nothing can happen any more, the clock jumps to the next one.

        Args:
            workflow: The function, or the name of a registered one.
            input: Its input; it travels as a payload.
            instance_id: Its id; the workflow's name and a count by default.
            start_at: When it begins; naive means UTC. At once by default.

        Returns:
            The instance. Its ``result`` raises if the workflow failed.

        Raises:
            WorkflowStuckError: It waits for something that cannot happen, an event for example; the message says for
                what, since when, and where in the workflow.
            TimeoutError: It took longer, in real time, than the environment allows.
            WorkflowAlreadyExistsError: An unfinished instance has the id.
            PayloadError: The input has no JSON text.
        """
        name, instance_id = self._new(workflow, instance_id)
        self._call(self._worker.run(name, input, instance_id, start_at))
        return self._run(instance_id)

    @overload
    def start(
        self,
        workflow: Callable[..., Generator[Any, Any, R]],
        input: Any = None,
        *,
        instance_id: str | None = None,
        start_at: datetime | None = None,
    ) -> WorkflowRun[R]: ...
    @overload
    def start(
        self,
        workflow: Callable[..., Coroutine[Any, Any, R]],
        input: Any = None,
        *,
        instance_id: str | None = None,
        start_at: datetime | None = None,
    ) -> WorkflowRun[R]: ...
    @overload
    def start(
        self,
        workflow: Callable[..., V],
        input: Any = None,
        *,
        instance_id: str | None = None,
        start_at: datetime | None = None,
    ) -> WorkflowRun[V]: ...
    @overload
    def start(
        self, workflow: str, input: Any = None, *, instance_id: str | None = None, start_at: datetime | None = None
    ) -> WorkflowRun[Any]: ...
    def start(
        self,
        workflow: Callable[..., Any] | str,
        input: Any = None,
        *,
        instance_id: str | None = None,
        start_at: datetime | None = None,
    ) -> WorkflowRun[Any]:
        """Starts a workflow and lets happen what can happen without time going on; then it waits, or has ended.

        Takes and raises the same as `run`, except that a workflow that goes on waiting is no error.
        """
        name, instance_id = self._new(workflow, instance_id)
        self._do(self._worker.start, name, input, instance_id, start_at)
        return self._run(instance_id)

    def wait(self, run: WorkflowRun[R]) -> WorkflowRun[R]:
        """Lets time go on until an instance has ended; raises as `run` does.

        Returns:
            The same instance.
        """
        self._call(self._finish(run))
        return run

    # ---- events and time -----------------------------------------------------------------------------------

    def raise_event(self, run: WorkflowRun[Any] | str, name: str, data: Any = None) -> None:
        """Raises an event, and lets happen what follows from it without time going on.

        Args:
            run: The instance, or its id.
            name: Name of the event; upper and lower case do not matter.
            data: Its payload.

        Raises:
            WorkflowNotFoundError: There is no such instance.
            PayloadError: The data has no JSON text.
        """
        self._do(self._worker.raise_event, self._id(run), name, data)

    def skip(self, length: timedelta) -> None:
        """Lets time go on so far. Timers fire in their order, and what follows from one happens before the next.

        Raises:
            ValueError: The length is negative.
            TimeoutError: It took longer, in real time, than the environment allows.
        """
        self._call(self._stage.skip(length))

    def settle(self) -> None:
        """Lets happen what can happen without time going on; after anything but the methods here, if need be."""
        self._call(self._stage.settle())

    # ---- managing instances --------------------------------------------------------------------------------

    def pause(self, run: WorkflowRun[Any] | str) -> None:
        """Pauses an instance: events and results are kept for it until it is resumed."""
        self._do(self._worker.pause, self._id(run))

    def resume(self, run: WorkflowRun[Any] | str) -> None:
        """Lets a paused instance go on."""
        self._do(self._worker.resume, self._id(run))

    def terminate(self, run: WorkflowRun[Any] | str, *, output: Any = None, recursive: bool = True) -> None:
        """Ends an instance where it stands.

        Args:
            run: The instance, or its id.
            output: What it ends with.
            recursive: Whether its child workflows end, too.
        """
        self._do(self._worker.terminate, self._id(run), output, recursive)

    def purge(self, run: WorkflowRun[Any] | str, *, recursive: bool = True) -> int:
        """Removes an instance that has ended; returns how many were removed.

        Args:
            run: The instance, or its id.
            recursive: Whether its child workflows are removed, too.

        Raises:
            WorkflowNotFinishedError: It has not ended.
        """
        return self._do(self._worker.purge, self._id(run), recursive)


def _refuse_running_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeStateError(
        "An event loop runs here already, as in an async test: use `async with WorkflowEnvironment() as env` and await "
        "its methods, or the fixture async_workflow_env."
    )
