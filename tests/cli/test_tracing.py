"""Spans of the engine as a process of its own go where OpenTelemetry's variables say."""

from __future__ import annotations

import gzip
import signal
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from dapr_workflow_sdk import WorkflowClient, WorkflowContext, WorkflowRuntime
from dapr_workflow_sdk.cli.tracing import exported_spans
from tests.cli.test_command import COMMAND
from tests.worker.support import child


class Collector:
    """What collects spans: the name of each, with the name of the service it is of."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, str]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                if self.path == "/v1/traces":
                    collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def take(self, request: ExportTraceServiceRequest) -> None:
        """Takes what is sent."""
        for sent in request.resource_spans:
            names = [item.value.string_value for item in sent.resource.attributes if item.key == "service.name"]
            self.spans += [(names[0], span.name) for scope in sent.scope_spans for span in scope.spans]

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    """One that runs."""
    collector = Collector()
    yield collector
    collector.close()


@pytest.mark.parametrize("service", ["", "orders"])
def test_the_engine_sends_its_spans_before_it_ends(collector: Collector, service: str) -> None:
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.address, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    if service:
        settings["OTEL_RESOURCE_ATTRIBUTES"] = f"service.name={service}"
    command = [*COMMAND, "engine", "--grpc-port", "0", "--http-port", "0"]
    with child(command, NO_COLOR="1", **settings) as process:
        port = int(process.says("Engine ready").split("gRPC 127.0.0.1:")[1].split(",")[0])
        runtime = WorkflowRuntime("127.0.0.1", port)

        def flow(ctx: WorkflowContext) -> str:
            return "done"

        runtime.register_workflow(flow)
        with runtime, WorkflowClient("127.0.0.1", port) as client:
            instance_id = client.schedule_new_workflow(flow)
            assert client.wait_for_workflow_completion(instance_id, timeout_in_seconds=10) is not None
        process.process.send_signal(signal.SIGTERM)
        process.ends()
    name = service or "dapr-workflow"
    assert sorted(collector.spans) == [(name, "create_orchestration||flow"), (name, "orchestration||flow")]


@pytest.mark.parametrize(
    ("variable", "protocol", "package"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http/protobuf", "opentelemetry-exporter-otlp-proto-http"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "grpc", "opentelemetry-exporter-otlp-proto-grpc"),
    ],
)
def test_what_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, protocol: str, package: str
) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    for module in ("grpc", "http"):
        monkeypatch.setitem(sys.modules, f"opentelemetry.exporter.otlp.proto.{module}.trace_exporter", None)
    told: list[str] = []
    with exported_spans(told.append) as provider:
        assert provider is None
    (sentence,) = told
    assert sentence.startswith(f"{variable} asks for traces, which needs packages that are not installed")
    assert sentence.endswith(f"pip install 'dapr-workflow-sdk[otel]' {package}")


@pytest.mark.parametrize("settings", [{}, {"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}])
def test_nothing_is_exported_unless_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", raising=False)
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    told: list[str] = []
    with exported_spans(told.append) as provider:
        assert provider is None
    assert told == []
