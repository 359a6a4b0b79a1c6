"""One HTTP connection: uvicorn's, with limits on how long anything may take."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from dapr_workflow_sdk.engine.server.limits import Limits


def connection_type(limits: Limits) -> type[H11Protocol]:
    """The class of connections under the limits, for uvicorn to make one of each."""

    class Connection(_Connection):
        _limits = limits

    return Connection


class _Connection(H11Protocol):
    """Ends a connection whose other side takes too long to send a head or a body, or to read an answer.

    uvicorn only counts the time between requests, so clients that send a byte now and then could hold all places.
    """

    _limits: Limits
    _patience: asyncio.TimerHandle | None = None
    _write_patience: asyncio.TimerHandle | None = None
    _stage = ""
    _problem = (400, "")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._limits.http_connections:
            self._refuse(503, f"this engine has {self._limits.http_connections} connections open, its limit")
        else:
            self._wait_for("head", self._limits.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_for("")
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self.transport.is_closing():
            super().data_received(data)
            self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def _look(self) -> None:
        """Sees what is awaited from the client now."""
        if self.transport.is_closing():
            return
        state = self.conn.their_state
        if state is h11.SEND_BODY:
            self._wait_for("body", self._limits.body_seconds)
        elif state is h11.IDLE and (self.timeout_keep_alive_task is None or self.conn.trailing_data[0]):
            self._wait_for("head", self._limits.head_seconds)
        else:
            self._wait_for("")

    def _wait_for(self, stage: str, seconds: float = 0.0) -> None:
        if stage == self._stage:
            return
        self._stage = stage
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        if stage:
            self._patience = self.loop.call_later(seconds, self._too_slow, stage, seconds)

    def _too_slow(self, stage: str, seconds: float) -> None:
        if self.transport.is_closing():
            return
        # The first request of a connection has none.
        cycle: Any = self.cycle
        if cycle is not None and not cycle.response_complete and cycle.response_started:
            self.transport.abort()
        else:
            self._refuse(408, f"the {stage} of the request took longer than {seconds:g} s to arrive")

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_patience is None:
            self._write_patience = self.loop.call_later(self._limits.send_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        if self._write_patience is not None:
            self._write_patience.cancel()
            self._write_patience = None
        super().resume_writing()

    def _refuse(self, status: int, message: str) -> None:
        """Answers without the application, and ends the connection."""
        self._problem = (status, message)
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.send_400_response(message)
        else:
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls when a head makes no sense; here with the reason, as Dapr's clients read errors."""
        status, message = self._problem
        error = sys.exc_info()[1]
        if isinstance(error, h11.RemoteProtocolError):
            status = error.error_status_hint
            message = str(error)
            if status == 431:
                message = f"the head of the request is longer than {self._limits.header_bytes:,} bytes"
        code = {408: "ERR_REQUEST_TIMEOUT", 431: "ERR_HEADER_TOO_LARGE", 503: "ERR_TOO_MANY_CONNECTIONS"}.get(
            status, "ERR_BAD_REQUEST"
        )
        body = json.dumps({"errorCode": code, "message": message or msg}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        try:
            for event in (h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:
            self.transport.abort()
        else:
            self.transport.close()
