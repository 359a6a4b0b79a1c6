"""Dapr's HTTP API for workflows, served from a hub, so that the `curl` lines of Dapr's documents work."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.wrappers_pb2 import StringValue
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dapr_workflow_sdk.engine.hub import EngineHub
from dapr_workflow_sdk.engine.server.access import Access
from dapr_workflow_sdk.engine.server.checks import check
from dapr_workflow_sdk.engine.server.http_guard import BodyTooLargeError, Guard, error, too_large
from dapr_workflow_sdk.engine.server.limits import Limits, Places
from dapr_workflow_sdk.engine.server.openapi import document
from dapr_workflow_sdk.errors import InvalidOperationError, TaskHubError, WorkflowNotFoundError
from dapr_workflow_sdk.taskhub.failures import invalid
from dapr_workflow_sdk.taskhub.trace_context import from_headers
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import STATUSES, status_name
from dapr_workflow_sdk.version import __version__

logger = logging.getLogger("dapr_workflow_sdk.engine")

_PREFIXES = ("/v1.0", "/v1.0-beta1", "/v1.0-alpha1")
# Dapr's rules for ids that its HTTP API starts.
_LONGEST_ID = 64
_ID = re.compile(r"[A-Za-z0-9_-]+")
_LARGEST_NUMBER = 2**31 - 1

_Handler = Callable[[Request], Awaitable[Response]]


def make_app(hub: EngineHub, access: Access, limits: Limits, waits: Places) -> Starlette:
    """The HTTP API of a hub as an ASGI application."""
    api = _WorkflowApi(hub, limits, waits)

    def route(path: str, handler: _Handler, operation: str, *, method: str = "POST", missing: int = 500) -> Route:
        return Route(path, _answer(handler, f"ERR_{operation}", missing, limits), methods=[method])

    routes = [
        Route("/v1.0/healthz", api.health, methods=["GET"]),
        Route("/v1.0/healthz/outbound", api.health, methods=["GET"]),
        Route("/v1.0/metadata", api.metadata, methods=["GET"]),
        Route("/v1.0/openapi.json", api.openapi, methods=["GET"]),
    ]
    for prefix in _PREFIXES:
        base = f"{prefix}/workflows/{{component}}"
        one = f"{base}/{{id}}"
        routes += [
            route(f"{base}/{{name}}/start", api.start, "START_WORKFLOW"),
            route(f"{one}/raiseEvent/{{event}}", api.raise_event, "RAISE_EVENT_WORKFLOW"),
            route(f"{one}/terminate", api.terminate, "TERMINATE_WORKFLOW", missing=404),
            route(f"{one}/pause", api.pause, "PAUSE_WORKFLOW"),
            route(f"{one}/resume", api.resume, "RESUME_WORKFLOW"),
            route(f"{one}/purge", api.purge, "PURGE_WORKFLOW", missing=404),
            route(f"{one}/rerun", api.rerun, "RERUN_WORKFLOW", missing=404),
            route(f"{one}/history", api.history, "GET_WORKFLOW_HISTORY", method="GET", missing=404),
            route(one, api.get, "GET_WORKFLOW", method="GET", missing=404),
            route(base, api.list, "LIST_WORKFLOWS", method="GET"),
        ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, access=access, limits=limits)],
        exception_handlers={HTTPException: _no_route},
    )


async def _no_route(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, HTTPException)
    if problem.status_code == 405:
        headers = dict(problem.headers or {})
        return error(405, "ERR_METHOD_NOT_ALLOWED", f"this path does not answer to {request.method}", headers)
    return error(404, "ERR_NOT_FOUND", "there is nothing at this path; /v1.0/openapi.json lists what there is")


def _answer(handler: _Handler, error_code: str, missing: int, limits: Limits) -> _Handler:
    """Turns errors into Dapr's answers; for some operations a missing instance is a 404, for some a 500."""

    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except _BadIdError as problem:
            return error(400, problem.code, problem.message)
        except TaskHubError as problem:
            if missing == 404 and isinstance(problem, WorkflowNotFoundError):
                return _not_found(request, problem)
            return error(_status(problem, error_code), error_code, _told(request, error_code, problem))
        except UnicodeDecodeError:
            return error(400, error_code, "the body is not UTF-8 text")
        except BodyTooLargeError:
            return too_large(limits)
        except ClientDisconnect:
            return Response(status_code=400)  # Nobody is there to read it.
        except Exception as problem:
            logger.exception("%s %s failed", request.method, request.scope["path"])
            return error(500, "ERR_INTERNAL", f"the engine failed: {problem!r}")

    return handle


class _BadIdError(Exception):
    """An id that Dapr's HTTP API does not start."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def _status(problem: TaskHubError, error_code: str) -> int:
    if isinstance(problem, InvalidOperationError):
        return 400
    if problem.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return 503
    # Dapr starts an instance with a taken id with a 500, and has no rerun here.
    if problem.code() is grpc.StatusCode.ALREADY_EXISTS and error_code == "ERR_RERUN_WORKFLOW":
        return 409
    return 500


def _not_found(request: Request, problem: WorkflowNotFoundError) -> JSONResponse:
    if "history event" in problem.details() or "target event" in problem.details():
        return error(404, "ERR_EVENT_NOT_FOUND", problem.details())
    message = f"unable to find workflow with the provided instance ID: {_parameter(request, 'id')}"
    return error(404, "ERR_INSTANCE_ID_NOT_FOUND", message)


# What Dapr says before the reason.
_LEADS = {
    "ERR_START_WORKFLOW": "error starting workflow '{name}': unable to start workflow: failed to start orchestration: ",
    "ERR_PAUSE_WORKFLOW": "error pausing workflow {id}: failed to pause workflow {id}: failed to suspend "
    "orchestration: ",
    "ERR_RESUME_WORKFLOW": "error resuming workflow {id}: failed to resume workflow {id}: failed to resume "
    "orchestration: ",
    "ERR_PURGE_WORKFLOW": "error purging workflow {id}: failed to Purge workflow {id}: ",
    "ERR_TERMINATE_WORKFLOW": "error terminating workflow {id}: failed to terminate workflow {id}: ",
    "ERR_RAISE_EVENT_WORKFLOW": "error raising event on workflow '{id}': failed to raise event {event} on workflow "
    "{id}: failed to raise event: ",
}


def _told(request: Request, error_code: str, problem: TaskHubError) -> str:
    values = {name: _parameter(request, name) for name in request.path_params}
    lead = _LEADS.get(error_code, "").format(**values)
    return lead + problem.details().removeprefix("failed to create workflow instance: ")


class _WorkflowApi:
    """The handlers."""

    def __init__(self, hub: EngineHub, limits: Limits, waits: Places) -> None:
        self._hub = hub
        self._limits = limits
        self._waits = waits
        self._document = document(limits)

    async def health(self, request: Request) -> Response:
        if self._hub.closed:
            return error(500, "ERR_HEALTH_NOT_READY", "dapr is not ready: the engine is closed")
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

    async def openapi(self, request: Request) -> Response:
        return JSONResponse(self._document)

    async def start(self, request: Request) -> Response:
        instance_id = _asked(request, "instanceID", "")
        _check_id(instance_id)
        asked = pb.CreateInstanceRequest(
            instanceId=instance_id,
            name=_parameter(request, "name"),
            input=await _body(request),
            parentTraceContext=from_headers(request.headers.items()),
        )
        check(asked, self._limits)
        return JSONResponse({"instanceID": await self._hub.start(asked)}, status_code=202)

    async def get(self, request: Request) -> Response:
        state = await self._hub.state(_parameter(request, "id"), payloads=True)
        if state is None:
            message = f"unable to find workflow with the provided instance ID: {_parameter(request, 'id')}"
            return error(404, "ERR_INSTANCE_ID_NOT_FOUND", message)
        return JSONResponse(_shown(state))

    async def terminate(self, request: Request) -> Response:
        asked = pb.TerminateRequest(instanceId=_parameter(request, "id"), recursive=True)
        with self._waits.one():
            await _while_connected(request, self._hub.terminate(asked))
        return _accepted()

    async def pause(self, request: Request) -> Response:
        await self._hub.suspend(pb.SuspendRequest(instanceId=_parameter(request, "id")))
        return _accepted()

    async def resume(self, request: Request) -> Response:
        await self._hub.resume(pb.ResumeRequest(instanceId=_parameter(request, "id")))
        return _accepted()

    async def purge(self, request: Request) -> Response:
        await self._hub.purge(pb.PurgeInstancesRequest(instanceId=_parameter(request, "id"), recursive=True))
        return _accepted()

    async def raise_event(self, request: Request) -> Response:
        asked = pb.RaiseEventRequest(
            instanceId=_parameter(request, "id"), name=_parameter(request, "event"), input=await _body(request)
        )
        check(asked, self._limits)
        await self._hub.raise_event(asked)
        return _accepted()

    async def list(self, request: Request) -> Response:
        asked = pb.ListInstancesRequest(
            runtimeStatus=[_status_named(name) for name in request.query_params.getlist("status")],
            name=_asked(request, "name", ""),
            pageSize=_number(_asked(request, "pageSize", str(self._limits.page_size)), "pageSize", least=1),
            continuationToken=_asked(request, "continuationToken", ""),
        )
        check(asked, self._limits)
        found = await self._hub.instances(asked)
        page: dict[str, Any] = {"workflows": [_shown(state) for state in found.workflowStates]}
        if found.continuationToken:
            page["continuationToken"] = found.continuationToken
        return JSONResponse(page)

    async def history(self, request: Request) -> Response:
        events = await self._hub.history(_parameter(request, "id"))
        return JSONResponse({"instanceID": _parameter(request, "id"), "events": [MessageToDict(e) for e in events]})

    async def rerun(self, request: Request) -> Response:
        if "eventID" not in request.query_params:
            raise invalid("the query needs eventID, the number of the event to run again from")
        new_id = _asked(request, "newInstanceID", "")
        _check_id(new_id)
        body = await _body(request)
        asked = pb.RerunWorkflowFromEventRequest(
            sourceInstanceID=_parameter(request, "id"),
            eventID=_number(_asked(request, "eventID", ""), "eventID", least=0),
            newInstanceID=new_id or None,
            input=body if body.value else None,
            overwriteInput=bool(body.value),
        )
        check(asked, self._limits)
        return JSONResponse({"instanceID": await self._hub.rerun(asked)}, status_code=202)


def _parameter(request: Request, name: str) -> str:
    # Routes see the path as it was sent.
    return unquote(request.path_params[name], errors="replace")


def _asked(request: Request, name: str, default: str) -> str:
    # As at Dapr, the first of several counts.
    return next(iter(request.query_params.getlist(name)), default)


def _check_id(instance_id: str) -> None:
    if len(instance_id) > _LONGEST_ID:
        message = f"workflow instance ID exceeds the max length of {_LONGEST_ID} characters"
        raise _BadIdError("ERR_INSTANCE_ID_TOO_LONG", message)
    if instance_id and not _ID.fullmatch(instance_id):
        allowed = "only alphanumeric and underscore characters are allowed"
        raise _BadIdError("ERR_INSTANCE_ID_INVALID", f"workflow instance ID '{instance_id}' is invalid: {allowed}")


def _number(text: str, name: str, *, least: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and least <= int(text) <= _LARGEST_NUMBER):
        raise invalid(f"{name} is to be a whole number from {least} to {_LARGEST_NUMBER}, not {text!r}")
    return int(text)


def _status_named(name: str) -> pb.WorkflowStatus:
    status: pb.WorkflowStatus | None = STATUSES.get(name.upper())
    if status is None:
        raise invalid(f"{name!r} is no status; there are {', '.join(STATUSES)}")
    return status


async def _body(request: Request) -> StringValue:
    return StringValue(value=(await request.body()).decode())


async def _while_connected(request: Request, work: Awaitable[None]) -> None:
    """Waits for something until it is done, or the client is gone."""
    await request.body()

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        await working
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


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
        "runtimeStatus": status_name(state.workflowStatus),
        "properties": properties,
    }
