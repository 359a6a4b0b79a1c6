"""The servers of one engine, started and stopped together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from dapr_workflow_sdk.engine.hub import EngineHub
from dapr_workflow_sdk.engine.server.access import Access
from dapr_workflow_sdk.engine.server.grpc_server import GrpcServer
from dapr_workflow_sdk.engine.server.limits import Limits, Places
from dapr_workflow_sdk.errors import RuntimeStateError

if TYPE_CHECKING:
    from dapr_workflow_sdk.engine.server.http_server import HttpServer


class EngineServer:
    """Serves an engine's hub over gRPC, also further apps at ports of their own, and HTTP if asked to."""

    def __init__(
        self,
        hub: EngineHub,
        *,
        grpc_port: int,
        http_port: int | None,
        apps: Mapping[str, int] | None = None,
        access: Access | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Listens nowhere yet; port 0 takes a free one.

        Args:
            hub: What is served.
            grpc_port: Port of the worker protocol.
            http_port: Port of the HTTP API, or None for none.
            apps: Further apps and a gRPC port for each.
            access: The address, and who may talk; loopback and everybody by default.
            limits: How much a request may ask.

        Raises:
            ValueError: A port is none.
        """
        self._asked_app_ports = dict(apps or {})
        for port in (grpc_port, http_port, *self._asked_app_ports.values()):
            if port is not None and not 0 <= port < 65536:
                raise ValueError(f"{port} is no port: ports are 0 (any that is free) to 65535.")
        self._hub = hub
        self._access = access or Access()
        self._limits = limits or Limits()
        self._waits = Places(self._limits.waiting_calls, "calls waiting for instances")
        self._asked_grpc_port = grpc_port
        self._asked_http_port = http_port
        self._grpc: list[GrpcServer] = []
        self._http: HttpServer | None = None
        self.grpc_port = 0
        self.http_port: int | None = None
        self.app_ports: dict[str, int] = {}

    async def start(self) -> None:
        """Begins to listen.

        Raises:
            RuntimeStateError: A port is taken, or the HTTP API needs packages that are not installed.
        """
        self._hub.limit_history(self._limits.history_events)
        try:
            self.grpc_port = await self._serve(self._hub, self._asked_grpc_port)
            for app_id, port in self._asked_app_ports.items():
                self.app_ports[app_id] = await self._serve(self._hub.for_app(app_id), port)
        except RuntimeStateError:
            await self.stop()
            raise
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

    async def _serve(self, hub: EngineHub, port: int) -> int:
        server = GrpcServer(hub, self._access, self._limits, self._waits)
        bound = await server.start(port)
        self._grpc.append(server)
        return bound

    async def stop(self) -> None:
        """Ends all connections."""
        if self._http is not None:
            await self._http.stop()
        servers, self._grpc = self._grpc, []
        # Together, because each waits a moment for its calls.
        await asyncio.gather(*(server.stop() for server in servers))
