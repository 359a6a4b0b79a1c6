"""The HTTP API as an OpenAPI 3.1 document."""

from __future__ import annotations

from typing import Any

from dapr_workflow_sdk.engine.server.limits import Limits
from dapr_workflow_sdk.taskhub.wire.values import STATUSES
from dapr_workflow_sdk.version import __version__

_Json = dict[str, Any]

_ID_PATTERN = "^[A-Za-z0-9_-]*$"


def document(limits: Limits) -> _Json:
    """The document; the limits are in it."""
    one = "/workflows/{component}/{id}"
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Workflow engine",
            "version": __version__,
            "description": "Dapr's HTTP API for workflows, and lists, histories and reruns of the engine's own.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": url} for url in ("/v1.0", "/v1.0-beta1", "/v1.0-alpha1")],
        "security": [{}, {"apiToken": []}],
        "paths": {
            "/healthz": _open("Is the engine up?"),
            "/healthz/outbound": _open("Is the engine up? As Dapr's sidecars are asked before they are used."),
            "/metadata": _only_v1(_read("metadata", "What runs here.", "Metadata", [], 503)),
            "/openapi.json": _only_v1(_read("openapi", "This document.", None, [], 503)),
            "/workflows/{component}": {
                "parameters": [_component()],
                "get": _read(
                    "list",
                    "Instances, newest first, page by page.",
                    "Page",
                    [
                        _query("pageSize", {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}, "How many at most"),
                        _query("continuationToken", {"type": "string"}, "Where to go on, from the page before"),
                        {
                            **_query("status", {"type": "array", "items": {"enum": list(STATUSES)}}, "Only these"),
                            "explode": True,
                        },
                        _query("name", {"type": "string"}, "Only of this workflow"),
                    ],
                    400,
                    500,
                    503,
                ),
            },
            "/workflows/{component}/{name}/start": {
                "parameters": [_component(), _path("name", "Name of the workflow", limits.name_characters)],
                "post": _write(
                    "start",
                    "Starts an instance; the body is its input.",
                    [_query("instanceID", _id_schema(), "The id; made if it is not given")],
                    400,
                    500,
                    503,
                    body=limits.body_bytes,
                    answer="Started",
                ),
            },
            one: {
                "parameters": _which(),
                "get": _read("get", "The state of an instance.", "State", [], 404, 500, 503),
            },
            f"{one}/history": {
                "parameters": _which(),
                "get": _read("history", "The history of an instance.", "History", [], 404, 500, 503),
            },
            f"{one}/terminate": _operation("terminate", "Ends an instance and its children.", 404, 500, 503),
            f"{one}/pause": _operation("pause", "Suspends an instance.", 500, 503),
            f"{one}/resume": _operation("resume", "Lets a suspended instance go on.", 500, 503),
            f"{one}/purge": _operation("purge", "Forgets a finished instance and its children.", 404, 500, 503),
            f"{one}/raiseEvent/{{event}}": {
                "parameters": [*_which(), _path("event", "Name of the event", limits.name_characters)],
                "post": _write(
                    "raiseEvent",
                    "Raises an event; the body is its data.",
                    [],
                    400,
                    500,
                    503,
                    body=limits.body_bytes,
                    answer="Accepted",
                ),
            },
            f"{one}/rerun": {
                "parameters": _which(),
                "post": _write(
                    "rerun",
                    "Runs a finished instance again from an event, as a new one; a body replaces the event's input.",
                    [
                        {
                            **_query("eventID", {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}, "The event"),
                            "required": True,
                        },
                        _query("newInstanceID", _id_schema(), "Id of the new instance; made if it is not given"),
                    ],
                    400,
                    404,
                    409,
                    500,
                    503,
                    body=limits.body_bytes,
                    answer="Started",
                ),
            },
        },
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"apiToken": {"type": "apiKey", "in": "header", "name": "dapr-api-token"}},
        },
    }


def _schemas() -> _Json:
    text: _Json = {"type": "string"}
    moment: _Json = {"type": "string", "format": "date-time"}
    return {
        "Error": _object(errorCode={"type": "string", "pattern": "^ERR_(?!INTERNAL$)"}, message=text),
        "Started": _object(instanceID=text),
        "Accepted": {"type": "object", "maxProperties": 0},
        "Metadata": _object(
            id=text,
            runtimeVersion=text,
            workflows={"type": "object", "properties": {"connectedWorkers": {"type": "integer", "minimum": 1}}},
        ),
        "State": _object(
            instanceID=text,
            workflowName=text,
            createdAt=moment,
            lastUpdatedAt=moment,
            runtimeStatus={"enum": [*STATUSES, "UNKNOWN"]},
            properties={"type": "object", "additionalProperties": text},
        ),
        "Page": {
            **_object(workflows={"type": "array", "items": {"$ref": "#/components/schemas/State"}}),
            "properties": {
                "workflows": {"type": "array", "items": {"$ref": "#/components/schemas/State"}},
                "continuationToken": {"type": "string", "description": "Not there on the last page."},
            },
        },
        "History": _object(instanceID=text, events={"type": "array", "items": {"type": "object"}}),
    }


def _object(**properties: _Json) -> _Json:
    return {"type": "object", "required": list(properties), "properties": properties}


def _id_schema() -> _Json:
    return {"type": "string", "maxLength": 64, "pattern": _ID_PATTERN}


def _query(name: str, schema: _Json, description: str) -> _Json:
    return {"name": name, "in": "query", "description": f"{description}.", "schema": schema}


def _path(name: str, description: str, longest: int | None = None) -> _Json:
    schema: _Json = {"type": "string", "minLength": 1}
    if longest is not None:
        schema["maxLength"] = longest
    return {"name": name, "in": "path", "required": True, "description": f"{description}.", "schema": schema}


def _component() -> _Json:
    return _path("component", "Any name; Dapr's clients say dapr")


def _which() -> list[_Json]:
    return [_component(), _path("id", "Id of the instance")]


def _only_v1(get: _Json) -> _Json:
    return {"servers": [{"url": "/v1.0"}], "get": get}


def _open(summary: str) -> _Json:
    responses = {"204": {"description": "It is."}, "500": _response("It is not.", "Error")}
    return _only_v1({"summary": summary, "security": [], "responses": responses})


_MEANINGS = {
    400: "The request is not as it has to be",
    401: "The engine asks for an API token, and this is not it",
    403: "The Host or the Origin of the request is not the engine's",
    404: "There is no such instance",
    408: "The request took too long to arrive",
    409: "The new id is taken",
    431: "The head of the request is too large",
    500: "Not now, as errorCode and message say",
    503: "A limit of the engine is reached",
}


def _read(operation: str, summary: str, schema: str | None, parameters: list[_Json], *errors: int) -> _Json:
    return _described(operation, summary, parameters, {"200": _response("Here it is.", schema)}, errors)


def _operation(operation: str, summary: str, *errors: int) -> _Json:
    return {"parameters": _which(), "post": _write(operation, summary, [], *errors, answer="Accepted")}


def _write(
    operation: str, summary: str, parameters: list[_Json], *errors: int, answer: str, body: int | None = None
) -> _Json:
    done = _response("Done.", answer)
    if answer == "Started":
        done["links"] = {name: _link(name) for name in _OF_ONE}
    described = _described(operation, summary, parameters, {"202": done}, errors)
    if body is not None:
        description = f"Any UTF-8 text, usually JSON, of at most {body:,} bytes."
        any_text: _Json = {"schema": {}}
        content = {"application/json": any_text}
        described["requestBody"] = {"description": description, "required": False, "content": content}
    return described


def _described(
    operation: str, summary: str, parameters: list[_Json], responses: _Json, errors: tuple[int, ...]
) -> _Json:
    for status in sorted({400, 401, 403, 408, 431, *errors}):
        responses[str(status)] = _response(f"{_MEANINGS[status]}.", "Error")
    return {"operationId": operation, "summary": summary, "parameters": parameters, "responses": responses}


_OF_ONE = ("get", "history", "terminate", "pause", "resume", "purge", "raiseEvent", "rerun")


def _link(operation: str) -> _Json:
    return {"operationId": operation, "parameters": {"id": "$response.body#/instanceID"}}


def _response(description: str, schema: str | None) -> _Json:
    content: _Json = {"schema": {"$ref": f"#/components/schemas/{schema}"} if schema else {"type": "object"}}
    return {"description": description, "content": {"application/json": content}}
