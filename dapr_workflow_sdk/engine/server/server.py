"""Both servers of one engine, started and stopped together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dapr_workflow_sdk.engine.hub import EngineHub
from dapr_workflow_sdk.engine.server.access import Access
from dapr_workflow_sdk.engine.server.grpc_server import GrpcServer
from dapr_workflow_sdk.engine.server.limits import Limits, Places
from dapr_workflow_sdk.errors import RuntimeStateError

if TYPE_CHECKING:
    from dapr_workflow_sdk.engine.server.http_server import HttpServer


class EngineServer:
    """Serves an engine's hub over gRPC and, if asked to, HTTP."""

    def __init__(
        self,
        hub: EngineHub,
        *,
        grpc_port: int,
        http_port: int | None,
        access: Access | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Listens nowhere yet; port 0 takes a free one.

        Args:
            hub: What is served.
            grpc_port: Port of the worker protocol.
            http_port: Port of the HTTP API, or None for none.
            access: The address, and who may talk; loopback and everybody by default.
            limits: How much a request may ask.

        Raises:
            ValueError: A port is none.
        """
        for port in (grpc_port, http_port):
            if port is not None and not 0 <= port < 65536:
                raise ValueError(f"{port} is no port: ports are 0 (any that is free) to 65535.")
        self._hub = hub
        self._access = access or Access()
        self._limits = limits or Limits()
        self._waits = Places(self._limits.waiting_calls, "calls waiting for instances")
        self._asked_grpc_port = grpc_port
        self._asked_http_port = http_port
        self._grpc: GrpcServer | None = None
        self._http: HttpServer | None = None
        self.grpc_port = 0
        self.http_port: int | None = None

    async def start(self) -> None:
        """Begins to listen.

        Raises:
            RuntimeStateError: A port is taken, or the HTTP API needs packages that are not installed.
        """
        self._grpc = GrpcServer(self._hub, self._access, self._limits, self._waits)
        self.grpc_port = await self._grpc.start(self._asked_grpc_port)
        if self._asked_http_port is not None:
            try:
                from dapr_workflow_sdk.engine.server.http_server import HttpServer
            except ImportError as error:
                await self.stop()
                raise RuntimeStateError(
                    f"The engine's HTTP API needs the package {error.name}: pip install 'dapr-workflow-sdk[cli]'."
                ) from error
            try:
                self._http = HttpServer(self._hub, self._access, self._limits, self._waits)
                self.http_port = await self._http.start(self._asked_http_port)
            except RuntimeStateError:
                self._http = None
                await self.stop()
                raise

    async def stop(self) -> None:
        """Ends all connections."""
        if self._http is not None:
            await self._http.stop()
        if self._grpc is not None:
            await self._grpc.stop()
