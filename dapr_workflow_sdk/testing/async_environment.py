"""The test environment on the caller's own event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterable
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, TypeVar, overload

from typing_extensions import Self

from dapr_workflow_sdk.authoring.context import V
from dapr_workflow_sdk.testing.base_environment import BaseEnvironment
from dapr_workflow_sdk.testing.runs import WorkflowRun
from dapr_workflow_sdk.testing.stage import AppWorker, Stage

R = TypeVar("R")
T = TypeVar("T")


class AsyncWorkflowEnvironment(BaseEnvironment):
    """What ``async with WorkflowEnvironment()`` gives: the same environment with methods that are awaited.

    Workflows and activities run on the loop of the caller, between its own tasks. Time goes on when the environment
    has nothing to do, whatever other tasks of the test still do. Plain activities run inline: one that
    blocks blocks the loop.
    """

    def __init__(self, stage: Stage, worker: AppWorker) -> None:
        """Made by `WorkflowEnvironment`."""
        super().__init__(stage, worker)
        self._opened = False
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stage.aclose()

    async def _open(self) -> None:
        if not self._opened:
            self._opened = True
            self._loop = asyncio.get_running_loop()
            await self._stage.open()

    def leave(self) -> None:
        """Closes the environment from outside of its loop, which does not run any more."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.run_until_complete(self._stage.aclose())
        self._stage.closed = True

    async def _call(self, work: Coroutine[Any, Any, T]) -> T:
        await self._open()
        return await work

    async def _do(self, operation: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
        await self._open()
        return await self._stage.done(operation, *arguments)

    def _finish(self, run: WorkflowRun[Any]) -> Coroutine[Any, Any, None]:
        return self._stage.finish(run._key)

    async def app(
        self,
        app_id: str,
        *,
        workflows: Iterable[Callable[..., Any]] = (),
        activities: Iterable[Callable[..., Any]] = (),
    ) -> AsyncWorkflowEnvironment:
        """Another app on the same engine and clock, as `WorkflowEnvironment.app` makes it."""
        await self._open()
        found = AsyncWorkflowEnvironment(self._stage, await self._stage.open_app(app_id))
        found._opened = True
        found.register(workflows=workflows, activities=activities)
        return found

    # ---- running workflows ---------------------------------------------------------------------------------

    @overload
    async def run(
        self,
        workflow: Callable[..., Generator[Any, Any, R]],
        input: Any = None,
        *,
        instance_id: str | None = None,
        start_at: datetime | None = None,
    ) -> WorkflowRun[R]: ...
    @overload
    async def run(
        self,
        workflow: Callable[..., Coroutine[Any, Any, R]],
        input: Any = None,
        *,
        instance_id: str | None = None,
        start_at: datetime | None = None,
    ) -> WorkflowRun[R]: ...
    @overload
    async def run(
        self,
        workflow: Callable[..., V],
        input: Any = None,
        *,
        instance_id: str | None = None,
        start_at: datetime | None = None,
    ) -> WorkflowRun[V]: ...
    @overload
    async def run(
        self, workflow: str, input: Any = None, *, instance_id: str | None = None, start_at: datetime | None = None
    ) -> WorkflowRun[Any]: ...
    async def run(
        self,
        workflow: Callable[..., Any] | str,
        input: Any = None,
        *,
        instance_id: str | None = None,
        start_at: datetime | None = None,
    ) -> WorkflowRun[Any]:
        """Starts a workflow and lets time go on until it has ended; see `WorkflowEnvironment.run`."""
        name, instance_id = self._new(workflow, instance_id)
        await self._call(self._worker.run(name, input, instance_id, start_at))
        return self._run(instance_id)

    @overload
    async def start(
        self,
        workflow: Callable[..., Generator[Any, Any, R]],
        input: Any = None,
        *,
        instance_id: str | None = None,
        start_at: datetime | None = None,
    ) -> WorkflowRun[R]: ...
    @overload
    async def start(
        self,
        workflow: Callable[..., Coroutine[Any, Any, R]],
        input: Any = None,
        *,
        instance_id: str | None = None,
        start_at: datetime | None = None,
    ) -> WorkflowRun[R]: ...
    @overload
    async def start(
        self,
        workflow: Callable[..., V],
        input: Any = None,
        *,
        instance_id: str | None = None,
        start_at: datetime | None = None,
    ) -> WorkflowRun[V]: ...
    @overload
    async def start(
        self, workflow: str, input: Any = None, *, instance_id: str | None = None, start_at: datetime | None = None
    ) -> WorkflowRun[Any]: ...
    async def start(
        self,
        workflow: Callable[..., Any] | str,
        input: Any = None,
        *,
        instance_id: str | None = None,
        start_at: datetime | None = None,
    ) -> WorkflowRun[Any]:
        """Starts a workflow and lets happen what can happen without time going on; see `WorkflowEnvironment.start`."""
        name, instance_id = self._new(workflow, instance_id)
        await self._do(self._worker.start, name, input, instance_id, start_at)
        return self._run(instance_id)

    async def wait(self, run: WorkflowRun[R]) -> WorkflowRun[R]:
        """Lets time go on until an instance has ended, and returns it; see `WorkflowEnvironment.wait`."""
        await self._call(self._finish(run))
        return run

    # ---- events and time -----------------------------------------------------------------------------------

    async def raise_event(self, run: WorkflowRun[Any] | str, name: str, data: Any = None) -> None:
        """Raises an event, and lets happen what follows from it; see `WorkflowEnvironment.raise_event`."""
        await self._do(self._worker.raise_event, self._id(run), name, data)

    async def skip(self, length: timedelta) -> None:
        """Lets time go on so far, timer by timer; see `WorkflowEnvironment.skip`."""
        await self._call(self._stage.skip(length))

    async def settle(self) -> None:
        """Lets happen what can happen without time going on; after anything but the methods here, if need be."""
        await self._call(self._stage.settle())

    # ---- managing instances --------------------------------------------------------------------------------

    async def pause(self, run: WorkflowRun[Any] | str) -> None:
        """Pauses an instance: events and results are kept for it until it is resumed."""
        await self._do(self._worker.pause, self._id(run))

    async def resume(self, run: WorkflowRun[Any] | str) -> None:
        """Lets a paused instance go on."""
        await self._do(self._worker.resume, self._id(run))

    async def terminate(self, run: WorkflowRun[Any] | str, *, output: Any = None, recursive: bool = True) -> None:
        """Ends an instance where it stands; see `WorkflowEnvironment.terminate`."""
        await self._do(self._worker.terminate, self._id(run), output, recursive)

    async def purge(self, run: WorkflowRun[Any] | str, *, recursive: bool = True) -> int:
        """Removes an instance that has ended; returns how many were removed. See `WorkflowEnvironment.purge`."""
        return await self._do(self._worker.purge, self._id(run), recursive)
