"""What every HTTP request has to pass before a route sees it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dapr_workflow_sdk.engine.server.access import TOKEN_HEADER, Access
from dapr_workflow_sdk.engine.server.limits import Limits

# They tell nothing and change nothing, and probes know neither the token nor the name of the machine.
OPEN_PATHS = ("/v1.0/healthz", "/v1.0/healthz/outbound")
_SLASHES = re.compile(r"/{2,}")


class BodyTooLargeError(Exception):
    """A body is longer than the limit."""


class Guard:
    """Checks the host, the origin, the token and the size of requests, and then calls the application."""

    def __init__(self, app: ASGIApp, access: Access, limits: Limits) -> None:
        """Wraps an application."""
        self._app = app
        self._access = access
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return
        # Routes see the path as it was sent: a %2F in an id is part of the id. As at Dapr, slashes too many are fine.
        path = _SLASHES.sub("/", scope.get("raw_path", b"").decode("latin-1"))
        scope["path"] = path.rstrip("/") or "/"
        if self._head_size(scope) > self._limits.header_bytes:
            await head_too_large(self._limits)(scope, receive, send)
            return
        if scope["path"] not in OPEN_PATHS and (refusal := self._refusal(scope)) is not None:
            await refusal(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length")
        if length is not None and length.isdecimal() and int(length) > self._limits.body_bytes:
            await too_large(self._limits)(scope, receive, send)
            return
        await self._app(scope, self._counted(receive), send)

    @staticmethod
    def _head_size(scope: Scope) -> int:
        # The parser only counts a head that comes in pieces.
        headers = sum(len(name) + len(value) + 4 for name, value in scope["headers"])
        return headers + len(scope.get("raw_path", b"")) + len(scope["query_string"])

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        host = headers.get("host")
        local = scope["server"][0] if scope.get("server") else None
        if not self._access.accepts_host(host, local):
            return error(
                403,
                "ERR_HOST_NOT_ALLOWED",
                f"the engine does not answer for the host {host or ''!r}; if it is a name of this machine, allow it "
                "with --allowed-host (allowed_hosts= in Python)",
            )
        if not self._access.accepts_origin(headers.get("origin"), headers.get("sec-fetch-site"), host):
            return error(403, "ERR_ORIGIN_NOT_ALLOWED", "the engine does not answer requests of pages of other sites")
        if not self._access.accepts_token(headers.get(TOKEN_HEADER)):
            return error(
                401,
                "ERR_API_TOKEN",
                f"invalid api token: the request has no {TOKEN_HEADER} header, or not the right one",
                {"www-authenticate": TOKEN_HEADER},
            )
        return None

    def _counted(self, receive: Receive) -> Callable[[], Awaitable[Message]]:
        left = self._limits.body_bytes

        async def counted() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise BodyTooLargeError
            return message

        return counted


def error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error as Dapr writes it."""
    return JSONResponse({"errorCode": code, "message": message}, status_code=status, headers=headers)


def head_too_large(limits: Limits) -> JSONResponse:
    """The answer to a head that is too long."""
    message = f"the head of the request is longer than {limits.header_bytes:,} bytes"
    return error(431, "ERR_HEADER_TOO_LARGE", message, {"connection": "close"})


def too_large(limits: Limits) -> JSONResponse:
    """The answer to a body that is too long; the connection ends, as the rest of it may still come."""
    message = f"failed to read request body: stream too large, the limit is {limits.body_bytes:,} bytes"
    return error(400, "ERR_BODY_READ", message, {"connection": "close"})
