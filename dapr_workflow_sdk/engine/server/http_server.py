"""Dapr's HTTP API for workflows, served from a hub, so that the `curl` lines of Dapr's documents work."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from google.protobuf.wrappers_pb2 import StringValue
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dapr_workflow_sdk.engine.hub import EngineHub
from dapr_workflow_sdk.errors import RuntimeStateError, TaskHubError, WorkflowNotFoundError
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.version import __version__

_PREFIXES = ("/v1.0", "/v1.0-beta1", "/v1.0-alpha1")
_LONGEST_ID = 64
_ID = re.compile(r"[A-Za-z0-9_-]+")

_Handler = Callable[[Request], Awaitable[Response]]


class HttpServer:
    """Serves one hub on one port."""

    def __init__(self, hub: EngineHub) -> None:
        """Listens nowhere yet."""
        self._hub = hub
        self._server: _QuietServer | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> int:
        """Listens, and returns the port.

        Raises:
            RuntimeStateError: The port is taken.
        """
        listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except OSError as error:
            listening.close()
            raise RuntimeStateError(
                f"Cannot listen for HTTP on {host}:{port}: {error.strerror}. Choose another port, or 0 for any that is "
                "free."
            ) from error
        config = uvicorn.Config(
            make_app(self._hub),
            log_config=None,
            access_log=False,
            date_header=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        server = self._server = _QuietServer(config)
        self._task = asyncio.get_running_loop().create_task(server.serve(sockets=[listening]))
        while not server.started and not self._task.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.005)
        return int(listening.getsockname()[1])

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


def make_app(hub: EngineHub) -> Starlette:
    """The HTTP API of a hub as an ASGI application."""
    api = _WorkflowApi(hub)
    routes = [
        Route("/v1.0/healthz", api.health, methods=["GET"]),
        Route("/v1.0/healthz/outbound", api.health, methods=["GET"]),
        Route("/v1.0/metadata", api.metadata, methods=["GET"]),
    ]
    for prefix in _PREFIXES:
        base = f"{prefix}/workflows/{{component}}"
        routes += [
            Route(f"{base}/{{name}}/start", _answer(api.start, "ERR_START_WORKFLOW"), methods=["POST"]),
            Route(
                f"{base}/{{id}}/raiseEvent/{{event}}",
                _answer(api.raise_event, "ERR_RAISE_EVENT_WORKFLOW"),
                methods=["POST"],
            ),
            Route(
                f"{base}/{{id}}/terminate",
                _answer(api.terminate, "ERR_TERMINATE_WORKFLOW", missing=404),
                methods=["POST"],
            ),
            Route(f"{base}/{{id}}/pause", _answer(api.pause, "ERR_PAUSE_WORKFLOW"), methods=["POST"]),
            Route(f"{base}/{{id}}/resume", _answer(api.resume, "ERR_RESUME_WORKFLOW"), methods=["POST"]),
            Route(f"{base}/{{id}}/purge", _answer(api.purge, "ERR_PURGE_WORKFLOW", missing=404), methods=["POST"]),
            Route(f"{base}/{{id}}", _answer(api.get, "ERR_GET_WORKFLOW", missing=404), methods=["GET"]),
        ]
    return Starlette(routes=routes)


def _answer(handler: _Handler, error_code: str, *, missing: int = 500) -> _Handler:
    """Turns errors of the hub into Dapr's answers; for some operations a missing instance is a 404, for some a 500."""

    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except WorkflowNotFoundError as error:
            if missing == 404:
                return _not_found(request.path_params["id"])
            return _error(500, error_code, error.details())
        except TaskHubError as error:
            return _error(500, error_code, error.details())
        except UnicodeDecodeError:
            return _error(400, error_code, "the body is not UTF-8 text")

    return handle


def _error(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"errorCode": code, "message": message}, status_code=status)


def _not_found(instance_id: str) -> JSONResponse:
    message = f"unable to find workflow with the provided instance ID: {instance_id}"
    return _error(404, "ERR_INSTANCE_ID_NOT_FOUND", message)


class _WorkflowApi:
    """The handlers."""

    def __init__(self, hub: EngineHub) -> None:
        self._hub = hub

    async def health(self, request: Request) -> Response:
        return Response(status_code=204)

    async def metadata(self, request: Request) -> Response:
        workers = self._hub.worker_count
        return JSONResponse(
            {
                "id": self._hub.app_id,
                "runtimeVersion": f"dapr-workflow-sdk {__version__}",
                "workflows": {"connectedWorkers": workers} if workers else {},
            }
        )

    async def start(self, request: Request) -> Response:
        instance_id = request.query_params.get("instanceID", "")
        if len(instance_id) > _LONGEST_ID:
            message = f"workflow instance ID exceeds the max length of {_LONGEST_ID} characters"
            return _error(400, "ERR_INSTANCE_ID_TOO_LONG", message)
        if instance_id and not _ID.fullmatch(instance_id):
            allowed = "only alphanumeric and underscore characters are allowed"
            message = f"workflow instance ID '{instance_id}' is invalid: {allowed}"
            return _error(400, "ERR_INSTANCE_ID_INVALID", message)
        started = await self._hub.start(
            pb.CreateInstanceRequest(
                instanceId=instance_id, name=request.path_params["name"], input=await _body(request)
            )
        )
        return JSONResponse({"instanceID": started}, status_code=202)

    async def get(self, request: Request) -> Response:
        state = await self._hub.state(request.path_params["id"], payloads=True)
        if state is None:
            return _not_found(request.path_params["id"])
        return JSONResponse(_shown(state))

    async def terminate(self, request: Request) -> Response:
        await self._hub.terminate(pb.TerminateRequest(instanceId=request.path_params["id"], recursive=True))
        return _accepted()

    async def pause(self, request: Request) -> Response:
        await self._hub.suspend(pb.SuspendRequest(instanceId=request.path_params["id"]))
        return _accepted()

    async def resume(self, request: Request) -> Response:
        await self._hub.resume(pb.ResumeRequest(instanceId=request.path_params["id"]))
        return _accepted()

    async def purge(self, request: Request) -> Response:
        await self._hub.purge(pb.PurgeInstancesRequest(instanceId=request.path_params["id"], recursive=True))
        return _accepted()

    async def raise_event(self, request: Request) -> Response:
        await self._hub.raise_event(
            pb.RaiseEventRequest(
                instanceId=request.path_params["id"], name=request.path_params["event"], input=await _body(request)
            )
        )
        return _accepted()


async def _body(request: Request) -> StringValue:
    return StringValue(value=(await request.body()).decode())


def _accepted() -> JSONResponse:
    return JSONResponse({}, status_code=202)


def _shown(state: pb.WorkflowState) -> dict[str, Any]:
    properties: dict[str, str] = {}
    if state.HasField("customStatus"):
        properties["dapr.workflow.custom_status"] = state.customStatus.value
    if state.HasField("input"):
        properties["dapr.workflow.input"] = state.input.value
    if state.HasField("output"):
        properties["dapr.workflow.output"] = state.output.value
    if state.HasField("failureDetails"):
        properties["dapr.workflow.failure.error_type"] = state.failureDetails.errorType
        properties["dapr.workflow.failure.error_message"] = state.failureDetails.errorMessage
        if state.failureDetails.HasField("stackTrace"):
            properties["dapr.workflow.failure.stack_trace"] = state.failureDetails.stackTrace.value
    return {
        "instanceID": state.instanceId,
        "workflowName": state.name,
        "createdAt": state.createdTimestamp.ToJsonString(),
        "lastUpdatedAt": state.lastUpdatedTimestamp.ToJsonString(),
        "runtimeStatus": pb.WorkflowStatus.Name(state.workflowStatus).removeprefix("WORKFLOW_STATUS_"),
        "properties": properties,
    }
