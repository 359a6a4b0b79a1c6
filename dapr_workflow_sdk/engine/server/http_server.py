"""The HTTP server."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

import uvicorn

from dapr_workflow_sdk.engine.hub import EngineHub
from dapr_workflow_sdk.engine.server.access import Access
from dapr_workflow_sdk.engine.server.http_api import make_app
from dapr_workflow_sdk.engine.server.http_connection import connection_type
from dapr_workflow_sdk.engine.server.limits import Limits, Places
from dapr_workflow_sdk.errors import RuntimeStateError


class HttpServer:
    """Serves one hub on one port."""

    def __init__(self, hub: EngineHub, access: Access, limits: Limits, waits: Places) -> None:
        """Listens nowhere yet.

        Args:
            hub: What is served.
            access: Where, and to whom.
            limits: How much a request may ask.
            waits: Places for calls that wait for instances.
        """
        self._app = make_app(hub, access, limits, waits)
        self._access = access
        self._limits = limits
        self._server: _QuietServer | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, port: int) -> int:
        """Listens, and returns the port.

        Raises:
            RuntimeStateError: The port is taken.
        """
        host = self._access.host.strip("[]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # asyncio sends small answers at once (TCP_NODELAY) only on sockets whose protocol is named.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except OSError as error:
            listening.close()
            raise RuntimeStateError(
                f"Cannot listen for HTTP on {host}:{port}: {error.strerror}. Choose another port, or 0 for any that is "
                "free."
            ) from error
        server = self._server = _QuietServer(self._config())
        self._task = asyncio.get_running_loop().create_task(server.serve(sockets=[listening]))
        while not server.started and not self._task.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.005)
        return int(listening.getsockname()[1])

    def _config(self) -> uvicorn.Config:
        access = self._access
        return uvicorn.Config(
            self._app,
            http=connection_type(self._limits),
            ws="none",
            log_config=None,
            access_log=False,
            date_header=False,
            server_header=False,
            # What a proxy says about its clients decides nothing here.
            proxy_headers=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
            timeout_keep_alive=self._limits.idle_seconds,  # type: ignore[arg-type]
            h11_max_incomplete_event_size=self._limits.header_bytes,
            ssl_certfile=access.tls_cert,
            ssl_keyfile=access.tls_key,
            ssl_ca_certs=None if access.tls_client_ca is None else str(access.tls_client_ca),
            ssl_cert_reqs=ssl.CERT_NONE if access.tls_client_ca is None else ssl.CERT_REQUIRED,
        )

    async def stop(self) -> None:
        """Ends all connections."""
        if self._server is not None and self._task is not None:
            self._server.leave()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._server = self._task = None


class _QuietServer(uvicorn.Server):
    """A server that does not look ten times a second whether it should stop: it is told."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._leaving = asyncio.Event()

    def leave(self) -> None:
        self.should_exit = True
        self._leaving.set()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self._leaving.wait()
