"""The public face of the engine."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from dapr_workflow_sdk.engine.clock import Clock
from dapr_workflow_sdk.engine.hub import EngineHub
from dapr_workflow_sdk.engine.stores.base import Store
from dapr_workflow_sdk.engine.stores.memory import MemoryStore
from dapr_workflow_sdk.portal import PORTAL


@dataclass(frozen=True)
class ServedEngine:
    """Where an engine listens.

    Attributes:
        grpc_port: Port of the worker protocol.
        http_port: Port of the HTTP API, or None if it was not asked for.
    """

    grpc_port: int
    http_port: int | None


class EmbeddedEngine:
    """A durable task hub inside this process.

    Give it to a `WorkflowRuntime` and a `WorkflowClient`; no port is opened. With a path, instances live in that
    SQLite file and go on when a new engine opens it; without one, they live as long as the engine.

    Example::

        engine = EmbeddedEngine("orders.db")
        with WorkflowRuntime(engine=engine), WorkflowClient(engine=engine) as client:
            client.schedule_new_workflow(process_order, input=order)
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        app_id: str = "app",
        clock: Clock | None = None,
        synchronous: str = "FULL",
    ) -> None:
        """Opens the engine and takes up what an earlier one left unfinished.

        Args:
            path: The SQLite file, made if it is not there; None keeps everything in memory.
            app_id: Id of the application, as histories record it.
            clock: Where the time comes from: the machine by default, a `VirtualClock` in tests.
            synchronous: SQLite's setting of this name: FULL (the default) survives a power cut, NORMAL a crash.

        Raises:
            RuntimeStateError: The file cannot be used, or another engine has it open.
        """
        store: Store
        if path is None or str(path) == ":memory:":
            store, name = MemoryStore(), "in memory"
        else:
            from dapr_workflow_sdk.engine.stores.sqlite import SqliteStore

            store, name = SqliteStore(path, synchronous=synchronous), str(path)
        self._hub = EngineHub(store, clock=clock, app_id=app_id, name=name)
        self._closed = False
        PORTAL.call(self._hub.open)

    @property
    def hub(self) -> EngineHub:
        """The engine as a task hub; its methods run on the SDK's own event loop."""
        return self._hub

    @contextlib.contextmanager
    def serve(
        self, *, grpc_port: int = 0, http_port: int | None = None, host: str = "127.0.0.1"
    ) -> Generator[ServedEngine, None, None]:
        """Lets other processes use this engine while the context is open, as they would use a Dapr sidecar.

        Args:
            grpc_port: Port of the worker protocol; 0 takes a free one.
            http_port: Port of the HTTP API (needs the ``cli`` extra); 0 takes a free one, None opens none.
            host: Address to listen on.

        Raises:
            RuntimeStateError: A port is taken.
        """
        from dapr_workflow_sdk.engine.server import EngineServer

        server = EngineServer(self._hub, host=host, grpc_port=grpc_port, http_port=http_port)
        PORTAL.call(server.start)
        try:
            yield ServedEngine(server.grpc_port, server.http_port)
        finally:
            PORTAL.call(server.stop)

    def close(self) -> None:
        """Makes everything durable and closes the file. Closing twice does nothing."""
        if not self._closed:
            self._closed = True
            PORTAL.call(self._hub.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
