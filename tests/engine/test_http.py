"""Dapr's HTTP API for workflows, byte for byte where Dapr's documents and clients look."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from dapr_workflow_sdk import EmbeddedEngine, WorkflowClient, WorkflowContext, WorkflowRuntime, __version__

PREFIXES = ["/v1.0", "/v1.0-beta1", "/v1.0-alpha1"]


@dataclass
class Api:
    """The API of an engine with a worker."""

    http: httpx.Client
    client: WorkflowClient
    prefix: str = "/v1.0"

    def __call__(
        self, method: str, path: str, content: bytes | None = None, *, component: str = "dapr", **more: Any
    ) -> tuple[int, Any]:
        url = f"{self.prefix}/workflows/{component}/{path}"
        response = self.http.request(method, url, content=content, **more)
        assert response.headers["content-type"] == "application/json"
        return response.status_code, response.json()

    def finish(self, instance_id: str) -> dict[str, Any]:
        self.client.wait_for_workflow_completion(instance_id, timeout_in_seconds=5)
        status, body = self("GET", instance_id)
        assert status == 200
        return dict(body)


@pytest.fixture(scope="module")
def served() -> Iterator[Api]:
    with EmbeddedEngine(app_id="the-app") as engine, engine.serve(http_port=0) as ports:
        runtime = WorkflowRuntime(engine=engine)

        @runtime.workflow
        def echo(ctx: WorkflowContext, value: Any = "no input") -> Any:
            return value

        @runtime.workflow
        def listens(ctx: WorkflowContext, value: Any = None) -> Any:
            ctx.set_custom_status("waiting")
            return (yield ctx.wait_for_external_event("Go"))

        @runtime.workflow
        def fails(ctx: WorkflowContext) -> None:
            raise ValueError("on purpose")

        with (
            runtime,
            WorkflowClient(engine=engine) as client,
            httpx.Client(base_url=f"http://127.0.0.1:{ports.http_port}", trust_env=False, timeout=10) as http,
        ):
            yield Api(http, client)


@pytest.fixture(params=PREFIXES)
def api(served: Api, request: pytest.FixtureRequest) -> Api:
    """The API under each of its prefixes."""
    return Api(served.http, served.client, request.param)


def new_id(api: Api) -> str:
    new_id.count += 1  # type: ignore[attr-defined]
    return f"i_{new_id.count}-x"  # type: ignore[attr-defined]


new_id.count = 0  # type: ignore[attr-defined]


def test_start_and_get(api: Api) -> None:
    name = new_id(api)
    assert api("POST", f"echo/start?instanceID={name}", b'{"a": "\xc3\xa9"}') == (202, {"instanceID": name})
    body = api.finish(name)
    times = {key: body.pop(key) for key in ("createdAt", "lastUpdatedAt")}
    assert body == {
        "instanceID": name,
        "workflowName": "echo",
        "runtimeStatus": "COMPLETED",
        "properties": {"dapr.workflow.input": '{"a": "é"}', "dapr.workflow.output": '{"a": "\\u00e9"}'},
    }
    for moment in times.values():
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", moment)
    assert times["createdAt"] <= times["lastUpdatedAt"]


def test_an_id_is_made_where_none_is_given(api: Api) -> None:
    for path in ("echo/start", "echo/start?instanceID="):
        status, body = api("POST", path)
        assert status == 202
        assert list(body) == ["instanceID"]
        assert re.fullmatch(r"[0-9a-f-]{32,36}", body["instanceID"])


def test_the_component_does_not_matter(api: Api) -> None:
    name = new_id(api)
    assert api("POST", f"echo/start?instanceID={name}", component="whatever")[0] == 202
    assert api("GET", name, component="other")[0] == 200


def test_events_pause_resume_and_purge(api: Api) -> None:
    name = new_id(api)
    api("POST", f"listens/start?instanceID={name}")
    assert api("POST", f"{name}/pause") == (202, {})
    assert api("GET", name)[1]["runtimeStatus"] == "SUSPENDED"
    assert api("POST", f"{name}/raiseEvent/go", b"0") == (202, {})
    assert api("POST", f"{name}/resume") == (202, {})
    body = api.finish(name)
    assert body["properties"]["dapr.workflow.output"] == "0"
    assert api("POST", f"{name}/raiseEvent/go", b"0") == (202, {})
    for operation in ("pause", "resume", "terminate"):
        assert api("POST", f"{name}/{operation}") == (202, {})
    assert api("POST", f"{name}/purge") == (202, {})
    assert api("GET", name)[0] == 404


def test_custom_status_and_terminate(api: Api) -> None:
    name = new_id(api)
    api("POST", f"listens/start?instanceID={name}", b'"in"')
    api.client.wait_for_workflow_start(name, timeout_in_seconds=5)
    status, body = api("GET", name)
    assert body["runtimeStatus"] == "RUNNING"
    assert body["properties"] == {"dapr.workflow.custom_status": "waiting", "dapr.workflow.input": '"in"'}
    assert api("POST", f"{name}/terminate") == (202, {})
    assert api.finish(name)["runtimeStatus"] == "TERMINATED"


def test_failures(api: Api) -> None:
    name = new_id(api)
    api("POST", f"fails/start?instanceID={name}")
    body = api.finish(name)
    assert body["runtimeStatus"] == "FAILED"
    properties = body["properties"]
    assert properties["dapr.workflow.failure.error_type"] == "ValueError"
    assert properties["dapr.workflow.failure.error_message"] == "on purpose"
    assert "on purpose" in properties["dapr.workflow.failure.stack_trace"]
    assert "dapr.workflow.output" not in properties


def test_an_empty_body_is_no_input(api: Api) -> None:
    name = new_id(api)
    api("POST", f"echo/start?instanceID={name}", b"")
    assert api.finish(name)["properties"]["dapr.workflow.output"] == '"no input"'
    name = new_id(api)
    api("POST", f"listens/start?instanceID={name}")
    assert api("POST", f"{name}/raiseEvent/Go", b"") == (202, {})
    assert api.finish(name)["properties"].get("dapr.workflow.output") in (None, "null")


def test_what_is_not_there(api: Api) -> None:
    missing = {
        "errorCode": "ERR_INSTANCE_ID_NOT_FOUND",
        "message": "unable to find workflow with the provided instance ID: nobody",
    }
    assert api("GET", "nobody") == (404, missing)
    assert api("POST", "nobody/terminate") == (404, missing)
    assert api("POST", "nobody/purge") == (404, missing)
    for operation, code in (
        ("pause", "ERR_PAUSE_WORKFLOW"),
        ("resume", "ERR_RESUME_WORKFLOW"),
        ("raiseEvent/go", "ERR_RAISE_EVENT_WORKFLOW"),
    ):
        status, body = api("POST", f"nobody/{operation}")
        assert status == 500
        assert set(body) == {"errorCode", "message"}
        assert body["errorCode"] == code
        assert "no such instance exists" in body["message"]


def test_what_is_not_allowed_now(api: Api) -> None:
    name = new_id(api)
    api("POST", f"listens/start?instanceID={name}")
    status, body = api("POST", f"listens/start?instanceID={name}")
    assert (status, body["errorCode"]) == (500, "ERR_START_WORKFLOW")
    assert f"an active workflow with ID '{name}' already exists" in body["message"]
    status, body = api("POST", f"{name}/purge")
    assert (status, body["errorCode"]) == (500, "ERR_PURGE_WORKFLOW")
    assert "orchestration has not yet completed" in body["message"]
    api("POST", f"{name}/terminate")


def test_ids(api: Api) -> None:
    longest = ("x" * 50 + new_id(api)).ljust(64, "y")
    assert api("POST", f"echo/start?instanceID={longest}")[0] == 202
    assert api("POST", f"echo/start?instanceID={longest}z") == (
        400,
        {
            "errorCode": "ERR_INSTANCE_ID_TOO_LONG",
            "message": "workflow instance ID exceeds the max length of 64 characters",
        },
    )
    for bad in ("a b", "a:b", "a.b", "ä", "a%0a", "a/b"):
        status, body = api("POST", f"echo/start?instanceID={bad}")
        assert (status, body["errorCode"]) == (400, "ERR_INSTANCE_ID_INVALID"), bad
    assert api("POST", "echo/start?instanceID=a:b")[1]["message"] == (
        "workflow instance ID 'a:b' is invalid: only alphanumeric and underscore characters are allowed"
    )


@pytest.mark.parametrize("path", ["echo/start", "{name}/raiseEvent/go"])
def test_a_body_that_is_no_text_is_refused(api: Api, path: str) -> None:
    name = new_id(api)
    api("POST", f"listens/start?instanceID={name}")
    status, body = api("POST", path.format(name=name), b"\xff\xfe")
    assert status == 400
    assert set(body) == {"errorCode", "message"}
    assert "UTF-8" in body["message"]


def test_a_body_that_is_no_json_fails_the_workflow_with_an_explanation(api: Api) -> None:
    name = new_id(api)
    assert api("POST", f"echo/start?instanceID={name}", b"not json")[0] == 202
    body = api.finish(name)
    assert body["runtimeStatus"] == "FAILED"
    assert "not json" in body["properties"]["dapr.workflow.failure.error_message"]


def test_encoded_names(api: Api) -> None:
    name = new_id(api)
    api("POST", f"listens/start?instanceID={name}")
    assert api("POST", f"{name}/raiseEvent/some%20event%C3%A9", b"1") == (202, {})
    assert api("POST", f"{name}/terminate")[0] == 202
    status, body = api("POST", f"caf%C3%A9%20flow/start?instanceID={new_id(api)}")
    assert status == 202
    assert api.finish(body["instanceID"])["workflowName"] == "café flow"


def test_instances_with_ids_that_http_cannot_make_can_be_managed(api: Api) -> None:
    name = f"parent:{new_id(api)}"
    api.client.schedule_new_workflow("listens", instance_id=name)
    assert api("GET", name)[1]["instanceID"] == name
    assert api("POST", f"{name}/terminate") == (202, {})
    assert api("POST", f"{name}/purge") == (202, {})


def test_wrong_methods_and_paths(api: Api) -> None:
    for method, path in (("GET", "echo/start"), ("PUT", "x"), ("DELETE", "x"), ("POST", "x"), ("GET", "x/terminate")):
        response = api.http.request(method, f"{api.prefix}/workflows/dapr/{path}")
        assert response.status_code in (404, 405), (method, path)
    assert api.http.get("/").status_code == 404


def test_large_bodies(served: Api) -> None:
    api, name = served, new_id(served)
    text = json.dumps("x" * 5_000_000).encode()
    assert api("POST", f"echo/start?instanceID={name}", text)[0] == 202
    assert len(api.finish(name)["properties"]["dapr.workflow.output"]) == 5_000_002


def test_health_and_metadata(served: Api) -> None:
    for path in ("/v1.0/healthz", "/v1.0/healthz/outbound"):
        response = served.http.get(path)
        assert (response.status_code, response.content) == (204, b"")
    response = served.http.get("/v1.0/metadata")
    assert response.status_code == 200
    assert response.json() == {
        "id": "the-app",
        "runtimeVersion": f"dapr-workflow-sdk {__version__}",
        "workflows": {"connectedWorkers": 1},
    }


def test_metadata_without_a_worker() -> None:
    with EmbeddedEngine() as engine, engine.serve(http_port=0) as ports:
        body = httpx.get(f"http://127.0.0.1:{ports.http_port}/v1.0/metadata", trust_env=False).json()
        assert body["workflows"] == {}


def test_a_request_that_waits_does_not_keep_the_engine_from_stopping() -> None:
    import threading
    import time

    with EmbeddedEngine() as engine:
        runtime = WorkflowRuntime(engine=engine, shutdown_timeout=0.2)
        gate = threading.Event()

        @runtime.workflow
        def stuck(ctx: WorkflowContext) -> Any:
            gate.wait(3)
            return 1
            yield

        with engine.serve(http_port=0) as ports, httpx.Client(trust_env=False) as http:
            http.get(f"http://127.0.0.1:{ports.http_port}/v1.0/healthz")
            began = time.monotonic()
        assert time.monotonic() - began < 2
        gate.set()


def test_errors_of_the_store_are_answers_too(served: Api) -> None:
    """Whatever happens, Dapr's clients read a JSON body."""
    with EmbeddedEngine() as engine, engine.serve(http_port=0) as ports:
        engine.close()
        response = httpx.get(f"http://127.0.0.1:{ports.http_port}/v1.0/workflows/dapr/x", trust_env=False)
        assert response.status_code == 500
        assert response.json()["errorCode"] == "ERR_GET_WORKFLOW"
