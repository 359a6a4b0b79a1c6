"""Who is let in: loopback without a token, every other address only with one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from dapr_workflow_sdk import EmbeddedEngine, RuntimeStateError, WorkflowClient, WorkflowRuntime
from dapr_workflow_sdk.engine.server.access import Access, is_loopback
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.cli.test_command import run
from tests.server.support import call, refused

SECRET = "s3cret-token"
WRONG = [(), (("dapr-api-token", "wrong"),), (("dapr-api-token", ""),), (("authorization", f"Bearer {SECRET}"),)]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", "", "127.0.0.1.example.com", "10.0.0.1"])
@pytest.mark.parametrize("token", [None, ""])
def test_addresses_that_others_reach_need_a_token(engine: EmbeddedEngine, host: str, token: str | None) -> None:
    with (
        pytest.raises(RuntimeStateError, match=r"without an API token.*DAPR_API_TOKEN"),
        engine.serve(host=host, api_token=token, http_port=0),
    ):
        pass


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "LOCALHOST", "::ffff:127.0.0.1"]
)
def test_loopback_needs_none(host: str) -> None:
    assert is_loopback(host)
    Access(host=host)


def test_with_a_token_every_address_can_be_served(engine: EmbeddedEngine) -> None:
    with engine.serve(host="0.0.0.0", http_port=0, api_token=SECRET) as served:
        with grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}") as channel:
            call(channel, "Hello", metadata=(("dapr-api-token", SECRET),))
            assert refused(channel, "Hello")[0] is grpc.StatusCode.UNAUTHENTICATED
        url = f"http://127.0.0.1:{served.http_port}/v1.0/metadata"
        assert httpx.get(url, headers={"dapr-api-token": SECRET}, trust_env=False).status_code == 200
        assert httpx.get(url, trust_env=False).status_code == 401


def test_ipv6_is_served_on_both_ports(engine: EmbeddedEngine) -> None:
    with engine.serve(host="::1", http_port=0) as served:
        with grpc.insecure_channel(f"[::1]:{served.grpc_port}") as channel:
            call(channel, "Hello")
        assert httpx.get(f"http://[::1]:{served.http_port}/v1.0/metadata", trust_env=False).status_code == 200


@pytest.mark.parametrize("metadata", WRONG)
def test_every_rpc_is_refused_without_the_token(engine: EmbeddedEngine, metadata: Any) -> None:
    with engine.serve(api_token=SECRET) as served, grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}") as channel:
        for method in ("Hello", "StartInstance", "GetInstance", "CompleteActivityTask", "NoSuchMethod"):
            code, details = refused(channel, method, metadata=metadata)
            assert code is grpc.StatusCode.UNAUTHENTICATED
            assert details.startswith("Unauthorized")
            assert SECRET not in details
        stream = channel.unary_stream("/TaskHubSidecarService/GetWorkItems")(b"", timeout=5, metadata=metadata)
        with pytest.raises(grpc.RpcError) as failed:
            next(stream)
        error: Any = failed.value
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        assert engine.hub.worker_count == 0


def test_a_large_request_without_the_token_is_not_read(engine: EmbeddedEngine) -> None:
    options = [("grpc.max_send_message_length", -1)]
    with (
        engine.serve(api_token=SECRET) as served,
        grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}", options=options) as channel,
    ):
        request = pb.CreateInstanceRequest(name="x" * 20_000_000)
        assert refused(channel, "StartInstance", request)[0] is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("headers", [{}, {"dapr-api-token": "wrong"}, {"authorization": f"Bearer {SECRET}"}])
def test_every_route_but_health_is_refused_without_the_token(engine: EmbeddedEngine, headers: dict[str, str]) -> None:
    with (
        engine.serve(api_token=SECRET, http_port=0) as served,
        httpx.Client(base_url=f"http://127.0.0.1:{served.http_port}", trust_env=False, headers=headers) as http,
    ):
        for method, path in (
            ("GET", "/v1.0/metadata"),
            ("GET", "/v1.0/openapi.json"),
            ("GET", "/v1.0/workflows/dapr/x"),
            ("GET", "/v1.0/healthz/other"),
            ("POST", "/v1.0/workflows/dapr/flow/start"),
            ("GET", "/nothing"),
        ):
            response = http.request(method, path)
            assert response.status_code == 401, path
            assert response.json()["errorCode"] == "ERR_API_TOKEN"
            assert "invalid api token" in response.json()["message"]
            assert SECRET not in response.text
        # As at Dapr: probes have no token.
        assert http.get("/v1.0/healthz").status_code == 204
        assert http.get("/v1.0/healthz/outbound").status_code == 204


def test_workers_and_clients_of_this_package_send_it(
    engine: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("DAPR_API_TOKEN", SECRET)
    with engine.serve(api_token=SECRET) as served:
        runtime = WorkflowRuntime("127.0.0.1", served.grpc_port)
        runtime.register_workflow(lambda ctx: 7, name="flow")
        with runtime, WorkflowClient("127.0.0.1", served.grpc_port) as client:
            state = client.wait_for_workflow_completion(client.schedule_new_workflow("flow"), timeout_in_seconds=5)
            assert state is not None
            assert state.serialized_output == "7"
    assert SECRET not in caplog.text


@pytest.mark.parametrize("token", ["späß", "two\nlines", " spaces ", "tab\t"])
def test_tokens_that_no_header_carries_are_refused(engine: EmbeddedEngine, token: str) -> None:
    with pytest.raises(ValueError, match="token"), engine.serve(api_token=token):
        pass


def test_the_command_refuses_and_says_what_to_do() -> None:
    done = run("engine", "--host", "0.0.0.0", "--grpc-port", "0", "--http-port", "0")
    assert done.returncode == 2
    assert "Refusing to listen on '0.0.0.0' without an API token" in done.stderr
    assert "Traceback" not in done.stderr


_SHOWS = """
import os, httpx
from dapr_workflow_sdk import WorkflowClient, WorkflowRuntime
runtime = WorkflowRuntime()
runtime.register_workflow(lambda ctx: 1, name="flow")
with runtime, WorkflowClient() as client:
    print(client.wait_for_workflow_completion(client.schedule_new_workflow("flow"), timeout_in_seconds=5).serialized_output)
url = f"http://127.0.0.1:{os.environ['DAPR_HTTP_PORT']}/v1.0/metadata"
print(httpx.get(url, trust_env=False).status_code, os.environ["DAPR_API_TOKEN"])
"""


@pytest.mark.parametrize("how", ["option", "variable"])
def test_a_program_beside_its_engine_has_the_token(tmp_path: Path, how: str) -> None:
    program = tmp_path / "app.py"
    program.write_text(_SHOWS)
    options, variables = (["--api-token", SECRET], {}) if how == "option" else ([], {"DAPR_API_TOKEN": SECRET})
    done = run("run", *options, str(program), cwd=tmp_path, **variables)
    assert done.stdout == f"1\n401 {SECRET}\n", done.stderr
