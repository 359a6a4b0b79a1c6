"""Hubs of a test's own: without a worker, with one played by hand, and made to fail."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import AbstractAsyncContextManager, ExitStack, closing, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from typing_extensions import Self

from dapr_workflow_sdk import EmbeddedEngine, WorkflowClient, WorkflowRuntime
from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.converter import JsonConverter
from dapr_workflow_sdk.engine.server.limits import Limits
from dapr_workflow_sdk.replay.parked import ParkedInstances
from dapr_workflow_sdk.replay.turn import run_turn
from dapr_workflow_sdk.taskhub.port import ActivityItem, TurnItem, WorkerOffer, WorkItem
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import text_of
from tests.conformance.hubs import F, Hub, T
from tests.sidecar.cluster import DaprCluster, DaprSidecar
from tests.sidecar.ports import HOST, free_port
from tests.sidecar.processes import ServerProcess

_REPOSITORY = Path(__file__).parents[2]
_PATIENCE = 20.0
_ENGINE = """
import sys, threading
from dapr_workflow_sdk import EmbeddedEngine
with EmbeddedEngine(sys.argv[1]) as engine, engine.serve(grpc_port=int(sys.argv[2]), http_port=0):
    threading.Event().wait()
"""


class OwnHub(Hub):
    """A hub without a worker; `runtime` is there but not started, and ends with the hub.

    Functions registered with `workflow` and `activity` are known to every worker the hub ever has.
    """

    def __post_init__(self) -> None:
        self._registered: list[tuple[str, Callable[..., Any], str]] = []
        super().__post_init__()

    def new_runtime(self, **options: Any) -> WorkflowRuntime:
        """A worker, not started, that gives up what it cannot finish almost at once when it ends."""
        runtime = super().new_runtime(**{"shutdown_timeout": 0.2, **options})
        for kind, function, name in self._registered:
            getattr(runtime, f"register_{kind}")(function, name=name)
        return runtime

    def workflow(self, function: F) -> F:
        """Registers a workflow under a fresh name, here and with every worker to come."""
        return self._register("workflow", function)

    def activity(self, function: F) -> F:
        """Registers an activity under a fresh name, here and with every worker to come."""
        return self._register("activity", function)

    def _register(self, kind: str, function: F) -> F:
        name = self.fresh(function.__name__)
        self._registered.append((kind, function, name))
        getattr(self.runtime, f"register_{kind}")(function, name=name)
        return function

    def know(self, other: OwnHub) -> None:
        """Registers what another hub has registered, under the same names."""
        for kind, function, name in other._registered:
            self._registered.append((kind, function, name))
            getattr(self.runtime, f"register_{kind}")(function, name=name)

    def registered_name(self, function: Callable[..., Any]) -> str:
        """The fresh name of a function that was registered with `workflow` or `activity`."""
        return next(name for _, known, name in self._registered if known is function)

    @property
    def registry(self) -> Registry:
        """What is registered, for workers played by hand."""
        registry = Registry(module_level=False)
        for kind, function, name in self._registered:
            registry.add("workflow" if kind == "workflow" else "activity", function, name)
        return registry

    def runtime_of(self, app_id: str) -> WorkflowRuntime:
        """A worker of another app on the same engine, not started; it knows what is registered here."""
        if self.engine is not None:
            runtime = WorkflowRuntime(engine=self.engine.app(app_id), shutdown_timeout=0.2)
        else:
            runtime = WorkflowRuntime("127.0.0.1", self.grpc_port, app_id=app_id, shutdown_timeout=0.2)
        for kind, function, name in self._registered:
            getattr(runtime, f"register_{kind}")(function, name=name)
        return runtime

    def client_of(self, app_id: str) -> WorkflowClient:
        """A client of another app on the same engine."""
        if self.engine is not None:
            return WorkflowClient(engine=self.engine.app(app_id))
        return WorkflowClient("127.0.0.1", self.grpc_port, app_id=app_id)

    def start_soon(self, workflow: Callable[..., Any] | str, value: Any = None) -> str:
        """Starts an instance without waiting for its first turn, as sidecars do when no time is named."""
        now = datetime.now(timezone.utc)
        return self.client.schedule_new_workflow(workflow, input=value, instance_id=self.fresh("i"), start_at=now)

    def kill(self) -> None:
        """Ends the hub as roughly as its kind allows."""
        raise NotImplementedError(f"a hub of kind {self.kind} does not outlive its process")

    def revive(self) -> None:
        """Starts the hub again where it was, with what it kept. A worker that ran runs again."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends the hub for good."""
        self.runtime.shutdown()
        self.client.close()


class _Embedded(OwnHub):
    """An engine in this process; with a file it can be closed and opened again."""

    path: Path | None = None
    _worked = False

    def kill(self) -> None:
        if self.path is None:
            super().kill()
        assert self.engine is not None
        self._worked = self.runtime.is_worker_ready()
        self.runtime.shutdown()
        self.engine.close()

    def revive(self) -> None:
        self.engine = EmbeddedEngine(self.path)
        self.runtime, self.client = self.new_runtime(), self.new_client()
        if self._worked:
            self.runtime.start()

    def close(self) -> None:
        super().close()
        assert self.engine is not None
        self.engine.close()


class _Child(OwnHub):
    """An engine in a process of its own, reached over gRPC."""

    process: ServerProcess
    path: Path

    def kill(self) -> None:
        self.process.kill()

    def revive(self) -> None:
        command = [sys.executable, "-c", _ENGINE, str(self.path), str(self.grpc_port)]
        self.process.start(command, self._answers, _PATIENCE)

    def _answers(self) -> bool:
        assert self.grpc_port is not None
        socket.create_connection((HOST, self.grpc_port), 1).close()
        return True

    def close(self) -> None:
        alive = self.process.running
        try:
            super().close()
        finally:
            self.process.stop()
        assert alive, f"the engine had ended by itself:\n{self.process.log_tail()}"


class _Sidecar(OwnHub):
    """A daprd with a control plane of its own."""

    sidecar: DaprSidecar

    def kill(self) -> None:
        self.sidecar.kill()

    def revive(self) -> None:
        self.sidecar.restart()


@contextmanager
def own_hub(kind: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[OwnHub]:
    """A hub of its own of any kind, ended with the context.

    Args:
        kind: One of the kinds of hubs.
        folder: Where its files go.
        request: Of the fixture; a sidecar's binaries are built when it asks for them.
    """
    if kind == "daprd":
        with DaprCluster(binaries=request.getfixturevalue("dapr_binaries")) as cluster:
            sidecar = cluster.sidecar("own")
            database = sidecar.state_dir / "state.db"
            served = _Sidecar(kind, grpc_port=sidecar.grpc_port, http_port=sidecar.http_port, database=database)
            served.sidecar = sidecar
            with closing(served):
                yield served
    elif kind == "grpc":
        with closing(_child(folder)) as child:
            yield child
    else:
        path = folder / "hub.db" if kind == "sqlite" else None
        embedded = _Embedded(kind, engine=EmbeddedEngine(path))
        embedded.path = path
        with closing(embedded):
            yield embedded


@contextmanager
def engine_hub(kind: str, folder: Path, *, limits: Limits | None = None, **options: Any) -> Iterator[OwnHub]:
    """An engine of this process with settings of its own, reached in the way of its kind; "daprd" is none.

    Args:
        kind: One of the kinds of hubs.
        folder: Where its file goes, or is from an earlier engine; that of kind "memory" has none.
        limits: Of the port of one of kind "grpc".
        options: For `EmbeddedEngine`.
    """
    with ExitStack() as stack:
        path = None if kind == "memory" else folder / "hub.db"
        engine = stack.enter_context(EmbeddedEngine(path, **options))
        if kind == "grpc":
            served = stack.enter_context(engine.serve(http_port=0, limits=limits))
            hub = OwnHub(kind, grpc_port=served.grpc_port, http_port=served.http_port)
        else:
            hub = OwnHub(kind, engine=engine)
        yield stack.enter_context(closing(hub))


def _child(folder: Path) -> _Child:
    hub = _Child("grpc", grpc_port=free_port())
    hub.path = folder / "hub.db"
    environment = {**os.environ, "PYTHONPATH": str(_REPOSITORY)}
    hub.process = ServerProcess("the engine", folder / "engine.log", environment)
    hub.revive()
    return hub


class HandWorker:
    """A worker played by the test: it takes the items it asks for, and answers them as it likes or never.

    Use it in a ``with`` statement; leaving it ends the stream, as the death of a worker would.
    """

    def __init__(self, hub: OwnHub, offer: WorkerOffer = WorkerOffer(0, 0)) -> None:
        """Connects to nothing yet.

        Args:
            hub: The hub to work for.
            offer: What the worker offers; to take whatever comes by default.
        """
        self._hub = hub
        self._offer = offer
        self._port = hub.port()
        self._stream: AbstractAsyncContextManager[AsyncIterator[WorkItem]] | None = None
        self._items: AsyncIterator[WorkItem] | None = None
        self._reading: asyncio.Task[WorkItem] | None = None
        self._others: deque[WorkItem] = deque()

    def __enter__(self) -> Self:
        self._hub.call(self._subscribe)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hub.call(self._leave)

    async def _subscribe(self) -> None:
        await self._port.connect(_PATIENCE)
        self._stream = self._port.work_items(self._offer)
        self._items = await self._stream.__aenter__()

    async def _leave(self) -> None:
        items, stream, self._items, self._stream = self._items, self._stream, None, None
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if items is not None and stream is not None:
            await items.aclose()  # type: ignore[attr-defined]
            await stream.__aexit__(None, None, None)
        if self._hub.engine is None:
            await self._port.aclose()

    def turn(self, instance_id: str) -> TurnItem:
        """The next turn of an instance."""
        item = self._take(lambda item: isinstance(item, TurnItem) and item.instance_id == instance_id)
        assert isinstance(item, TurnItem)
        return item

    def activity(self, instance_id: str) -> ActivityItem:
        """The next activity of an instance."""
        item = self._take(
            lambda item: isinstance(item, ActivityItem) and item.request.workflowInstance.instanceId == instance_id
        )
        assert isinstance(item, ActivityItem)
        return item

    def _take(self, wanted: Callable[[WorkItem], bool]) -> WorkItem:
        return self._hub.call(self._find, wanted)

    async def _find(self, wanted: Callable[[WorkItem], bool]) -> WorkItem:
        give_up = asyncio.get_running_loop().time() + _PATIENCE
        while True:
            for item in self._others:
                if wanted(item):
                    self._others.remove(item)
                    return item
            reading = self._read()
            await asyncio.wait({reading}, timeout=give_up - asyncio.get_running_loop().time())
            if not reading.done():
                raise TimeoutError(f"no such item within {_PATIENCE:g} s, only {list(self._others)}")
            reading.result()

    def _read(self) -> asyncio.Task[WorkItem]:
        """The next item on its way, which goes to `_others`."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._next())
            self._reading.add_done_callback(self._has_read)
        return self._reading

    async def _next(self) -> WorkItem:
        assert self._items is not None
        return await self._items.__anext__()

    def _has_read(self, reading: asyncio.Task[WorkItem]) -> None:
        self._reading = None
        if not reading.cancelled() and reading.exception() is None:
            self._others.append(reading.result())

    async def _send(self, complete: Callable[[Any], Awaitable[None]], response: Any) -> None:
        # Acknowledgements may come with the items, so those are read while one is waited for, and only then.
        sending = asyncio.ensure_future(_done(complete(response)))
        while not sending.done():
            reading = self._read()
            await asyncio.wait({sending, reading}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done() and reading.exception() is not None:
                break
        await sending

    def play(self, item: TurnItem) -> list[pb.WorkflowAction]:
        """Answers a turn as the code of the workflow asks, and returns the actions."""
        output = run_turn(
            item.instance_id, item.past, item.new, self._hub.registry, JsonConverter(), ParkedInstances(0)
        )
        self.answer(item, output.actions, custom_status=output.custom_status)
        return output.actions

    def answer(
        self,
        item: TurnItem,
        actions: list[pb.WorkflowAction],
        *,
        custom_status: str | None = None,
        version: pb.WorkflowVersion | None = None,
    ) -> None:
        """Answers a turn with the given actions, and with the version of the code if there is one."""
        response = pb.WorkflowResponse(
            instanceId=item.instance_id,
            actions=actions,
            customStatus=text_of(custom_status),
            completionToken=item.token,
            version=version,
        )
        self._hub.call(self._send, self._port.complete_turn, response)

    def finish(self, item: ActivityItem, text: str | None = None) -> None:
        """Answers an activity with a result."""
        response = pb.ActivityResponse(
            instanceId=item.request.workflowInstance.instanceId,
            taskId=item.request.taskId,
            result=text_of(text),
            completionToken=item.token,
        )
        self._hub.call(self._send, self._port.complete_activity, response)

    def turn_with_all_of(
        self, instance_id: str, *operations: Callable[[], None]
    ) -> tuple[TurnItem, list[Future[None]]]:
        """A turn that gets what several client operations send in one batch, and the operations themselves.

        They are carried out one after the other while an earlier turn of the instance is out. Some return
        only when the instance has ended, so each has a thread, and the next begins after a moment.

        Args:
            instance_id: The instance; it must be waiting, with no turn out.
            operations: What to do.
        """
        self._hub.client.raise_workflow_event(instance_id, "nobody waits for this")
        out = self.turn(instance_id)
        futures = []
        for operation in operations:
            futures.append(in_background(operation))
            wait(futures, timeout=0.2)
        self.play(out)
        return self.turn(instance_id), futures


async def _done(awaitable: Awaitable[None]) -> None:
    await awaitable


def in_background(function: Callable[[], T]) -> Future[T]:
    """Runs a function on a thread that nobody has to wait for."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever asks for the result
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
