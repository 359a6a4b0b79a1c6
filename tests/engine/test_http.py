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
from dapr_workflow_sdk.portal import PORTAL
from dapr_workflow_sdk.taskhub.port import Milestone
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

PREFIXES = ["/v1.0", "/v1.0-beta1", "/v1.0-alpha1"]


@dataclass
class Api:
    """The API of an engine with a worker."""

    http: httpx.Client
    client: WorkflowClient
    engine: EmbeddedEngine
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

        @runtime.activity
        def double(ctx: Any, value: int) -> int:
            return value * 2

        @runtime.workflow
        def calls(ctx: WorkflowContext, value: int) -> Any:
            return (yield ctx.call_activity(double, input=value))

        with (
            runtime,
            WorkflowClient(engine=engine) as client,
            httpx.Client(base_url=f"http://127.0.0.1:{ports.http_port}", trust_env=False, timeout=10) as http,
        ):
            yield Api(http, client, engine)


@pytest.fixture(params=PREFIXES)
def api(served: Api, request: pytest.FixtureRequest) -> Api:
    """The API under each of its prefixes."""
    return Api(served.http, served.client, served.engine, request.param)


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


def test_paths_are_read_as_dapr_reads_them(api: Api) -> None:
    name = new_id(api)
    assert api("POST", f"echo/start/?instanceID={name}")[0] == 202
    assert api("GET", f"{name}/")[1]["instanceID"] == name
    assert api.http.get(f"{api.prefix}//workflows//dapr/{name}").status_code == 200
    slashed = f"a/b c/{name}"
    PORTAL.call(api.engine.hub.start, pb.CreateInstanceRequest(name="listens", instanceId=slashed))
    quoted = slashed.replace("/", "%2F").replace(" ", "%20")
    assert api("GET", quoted)[1]["instanceID"] == slashed
    assert api("POST", f"{quoted}/raiseEvent/Go", b"1") == (202, {})
    PORTAL.call(lambda: api.engine.hub.wait(slashed, Milestone.COMPLETED, payloads=False))
    assert api("GET", quoted)[1]["properties"]["dapr.workflow.output"] == "1"


def test_what_is_not_there_is_told_in_json(api: Api) -> None:
    for path in ("/", "/v1.0", f"{api.prefix}/workflows", f"{api.prefix}/workflows/dapr/x/y/z/w", "/v2.0/healthz"):
        response = api.http.get(path)
        assert (response.status_code, response.json()["errorCode"]) == (404, "ERR_NOT_FOUND")
    response = api.http.put(f"{api.prefix}/workflows/dapr/x")
    assert (response.status_code, response.json()["errorCode"]) == (405, "ERR_METHOD_NOT_ALLOWED")
    assert "GET" in response.headers["allow"]


# ---- lists, histories and reruns: the engine's own ---------------------------------------------------------------


def started(api: Api, workflow: str, count: int) -> list[str]:
    names = [new_id(api) for _ in range(count)]
    for name in names:
        assert api("POST", f"{workflow}/start?instanceID={name}", b"1")[0] == 202
    return names


def listed(api: Api, **query: Any) -> tuple[list[str], str | None]:
    response = api.http.get(f"{api.prefix}/workflows/dapr", params=query)
    assert response.status_code == 200, response.text
    page = response.json()
    assert set(page) <= {"workflows", "continuationToken"}
    return [state["instanceID"] for state in page["workflows"]], page.get("continuationToken")


def test_instances_are_listed_page_by_page(api: Api) -> None:
    names = started(api, "echo", 7)
    for name in names:
        api.finish(name)
    seen, token = listed(api, pageSize=3, name="echo")
    pages = [seen]
    while token:
        seen, token = listed(api, pageSize=3, name="echo", continuationToken=token)
        pages.append(seen)
    everything = [name for page in pages for name in page]
    assert all(len(page) == 3 for page in pages[:-1])
    assert len(everything) == len(set(everything))
    # Newest first.
    assert everything[:7] == names[::-1]
    state = api.http.get(f"{api.prefix}/workflows/dapr", params={"pageSize": 1, "name": "echo"}).json()["workflows"][0]
    assert (state["workflowName"], state["runtimeStatus"]) == ("echo", "COMPLETED")


def test_lists_have_only_what_is_asked_for(api: Api) -> None:
    (running,), (failed,) = started(api, "listens", 1), started(api, "fails", 1)
    api.finish(failed)
    assert failed in listed(api, status="FAILED")[0]
    assert running not in listed(api, status="failed")[0]
    both = listed(api, status=["RUNNING", "FAILED", "PENDING"])[0]
    assert {running, failed} <= set(both)
    assert listed(api, name="nothing is called so") == ([], None)
    assert failed in listed(api, name="fails")[0]
    assert running not in listed(api, name="fails")[0]
    api("POST", f"{running}/terminate")


@pytest.mark.parametrize(
    "query",
    [
        "pageSize=0",
        "pageSize=-1",
        "pageSize=x",
        "pageSize=99999999999",
        "pageSize=%D9%A3",
        "status=SLEEPING",
        "status=",
    ],
)
def test_lists_that_cannot_be_are_refused(api: Api, query: str) -> None:
    response = api.http.get(f"{api.prefix}/workflows/dapr?{query}")
    assert (response.status_code, response.json()["errorCode"]) == (400, "ERR_LIST_WORKFLOWS")
    assert query.split("=")[0] in response.json()["message"]


@pytest.mark.parametrize("token", ["x", "-1", "99999999999999999999999999", "%00"])
def test_a_token_that_the_engine_did_not_give(api: Api, token: str) -> None:
    response = api.http.get(f"{api.prefix}/workflows/dapr?continuationToken={token}")
    assert response.status_code in (200, 400), response.text


def test_histories(api: Api) -> None:
    (name,) = started(api, "echo", 1)
    api.finish(name)
    status, body = api("GET", f"{name}/history")
    assert status == 200
    assert body["instanceID"] == name
    kinds = [next(kind for kind in event if kind not in ("eventId", "timestamp", "router")) for event in body["events"]]
    assert kinds == ["workflowStarted", "executionStarted", "executionCompleted"]
    assert body["events"][1]["executionStarted"]["name"] == "echo"
    assert body["events"][2]["executionCompleted"]["result"] == "1"
    assert api("GET", "nobody/history") == (
        404,
        {
            "errorCode": "ERR_INSTANCE_ID_NOT_FOUND",
            "message": "unable to find workflow with the provided instance ID: nobody",
        },
    )


def test_reruns(api: Api) -> None:
    (name,) = started(api, "calls", 1)
    assert api.finish(name)["properties"]["dapr.workflow.output"] == "2"
    again = new_id(api)
    assert api("POST", f"{name}/rerun?eventID=1&newInstanceID={again}") == (202, {"instanceID": again})
    assert api.finish(again)["properties"]["dapr.workflow.output"] == "2"
    status, body = api("POST", f"{name}/rerun?eventID=1", b"5")
    assert status == 202
    assert api.finish(body["instanceID"])["properties"]["dapr.workflow.output"] == "10"


def test_reruns_that_cannot_be(api: Api) -> None:
    (name,) = started(api, "calls", 1)
    api.finish(name)
    for path, status, code in (
        (f"{name}/rerun", 400, "ERR_RERUN_WORKFLOW"),
        (f"{name}/rerun?eventID=x", 400, "ERR_RERUN_WORKFLOW"),
        (f"{name}/rerun?eventID=-1", 400, "ERR_RERUN_WORKFLOW"),
        (f"{name}/rerun?eventID=1&newInstanceID={name}", 400, "ERR_RERUN_WORKFLOW"),
        (f"{name}/rerun?eventID=1&newInstanceID=a.b", 400, "ERR_INSTANCE_ID_INVALID"),
        (f"{name}/rerun?eventID=77", 404, "ERR_EVENT_NOT_FOUND"),
        ("nobody/rerun?eventID=1", 404, "ERR_INSTANCE_ID_NOT_FOUND"),
    ):
        answer = api("POST", path)
        assert (answer[0], answer[1]["errorCode"]) == (status, code), answer
    taken = started(api, "listens", 1)[0]
    answer = api("POST", f"{name}/rerun?eventID=1&newInstanceID={taken}")
    assert (answer[0], answer[1]["errorCode"]) == (409, "ERR_RERUN_WORKFLOW")
    api("POST", f"{taken}/terminate")


def test_a_closed_engine_is_not_healthy() -> None:
    with EmbeddedEngine() as engine, engine.serve(http_port=0) as ports:
        engine.close()
        response = httpx.get(f"http://127.0.0.1:{ports.http_port}/v1.0/healthz", trust_env=False)
        assert (response.status_code, response.json()["errorCode"]) == (500, "ERR_HEALTH_NOT_READY")
