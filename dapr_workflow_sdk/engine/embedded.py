"""The public face of the engine."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from typing_extensions import Self

from dapr_workflow_sdk.engine.clock import Clock
from dapr_workflow_sdk.engine.hub import EngineHub
from dapr_workflow_sdk.engine.retention import RetentionPolicy
from dapr_workflow_sdk.engine.stores.base import Store
from dapr_workflow_sdk.engine.stores.memory import MemoryStore
from dapr_workflow_sdk.portal import PORTAL

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from dapr_workflow_sdk.engine.server.limits import Limits


@dataclass(frozen=True)
class ServedEngine:
    """Where an engine listens.

    Attributes:
        grpc_port: Port of the worker protocol.
        http_port: Port of the HTTP API, or None if it was not asked for.
        app_ports: Ports of the worker protocol for further apps.
    """

    grpc_port: int
    http_port: int | None
    app_ports: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True)
class EngineApp:
    """One of several apps on an engine.

    Attributes:
        hub: The engine as the task hub of this app.
    """

    hub: EngineHub


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
        retention: RetentionPolicy | None = None,
        activity_lease: timedelta | None = None,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        """Opens the engine and takes up what an earlier one left unfinished.

        Args:
            path: The SQLite file, made if it is not there; None keeps everything in memory.
            app_id: Id of the application, as histories record it.
            clock: Where the time comes from: the machine by default, a `VirtualClock` in tests.
            synchronous: SQLite's setting of this name: FULL (the default) survives a power cut, NORMAL a crash.
            retention: How long finished instances are kept; until somebody purges them by default.
            activity_lease: How long a worker may run an activity without a heartbeat before another worker gets it;
                as long as it likes by default.
            tracer_provider: OpenTelemetry's provider that is told of spans; the one of the process by default, if the
                application has set one up.

        Raises:
            RuntimeStateError: The file cannot be used, or another engine has it open.
        """
        store: Store
        if path is None or str(path) == ":memory:":
            store, name = MemoryStore(), "in memory"
        else:
            from dapr_workflow_sdk.engine.stores.sqlite import SqliteStore

            store, name = SqliteStore(path, synchronous=synchronous, app_id=app_id), str(path)
        self._hub = EngineHub(
            store,
            clock=clock,
            app_id=app_id,
            name=name,
            retention=retention,
            activity_lease=activity_lease,
            tracer_provider=tracer_provider,
        )
        self._closed = False
        PORTAL.call(self._hub.open)

    @property
    def hub(self) -> EngineHub:
        """The engine as a task hub; its methods run on the SDK's own event loop."""
        return self._hub

    def app(self, app_id: str) -> EngineApp:
        """Another app on this engine, for a `WorkflowRuntime` and a `WorkflowClient` of its own.

        Workflows of one app call activities and child workflows of the other with ``app_id=``, as they do on Dapr.
        """
        return EngineApp(self._hub.for_app(app_id))

    @contextlib.contextmanager
    def serve(
        self,
        *,
        grpc_port: int = 0,
        http_port: int | None = None,
        apps: Mapping[str, int] | None = None,
        host: str = "127.0.0.1",
        api_token: str | None = None,
        tls_cert: str | Path | None = None,
        tls_key: str | Path | None = None,
        tls_client_ca: str | Path | None = None,
        allowed_hosts: Sequence[str] = (),
        limits: Limits | None = None,
    ) -> Generator[ServedEngine, None, None]:
        """Lets other processes use this engine while the context is open, as they would use a Dapr sidecar.

        Args:
            grpc_port: Port of the worker protocol; 0 takes a free one.
            http_port: Port of the HTTP API (needs the ``cli`` extra); 0 takes a free one, None opens none.
            apps: Further apps and a port of the worker protocol for each, 0 for a free one. Without a port of its own
                an app shares `grpc_port` and names itself in the metadata ``dapr-app-id``, as ``app_id=`` of
                `WorkflowRuntime` and `WorkflowClient` does.
            host: Address to listen on; one that other machines reach needs an `api_token`.
            api_token: What callers have to send as ``dapr-api-token``.
            tls_cert: File with the server's certificate (PEM); with `tls_key`, both servers are encrypted.
            tls_key: File with the certificate's key (PEM).
            tls_client_ca: File with the authorities (PEM) by which clients' certificates must be signed.
            allowed_hosts: Names of this machine that HTTP requests may ask for, besides loopback and `host`.
            limits: How much a request may ask; generous by default.

        Raises:
            RuntimeStateError: A port is taken, the TLS files are of no use, or `host` needs a token.
        """
        from dapr_workflow_sdk.engine.server import EngineServer
        from dapr_workflow_sdk.engine.server.access import Access

        access = Access(
            host=host,
            api_token=api_token,
            tls_cert=None if tls_cert is None else Path(tls_cert),
            tls_key=None if tls_key is None else Path(tls_key),
            tls_client_ca=None if tls_client_ca is None else Path(tls_client_ca),
            allowed_hosts=tuple(allowed_hosts),
        )
        server = EngineServer(
            self._hub, grpc_port=grpc_port, http_port=http_port, apps=apps, access=access, limits=limits
        )
        PORTAL.call(server.start)
        try:
            yield ServedEngine(server.grpc_port, server.http_port, server.app_ports)
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
