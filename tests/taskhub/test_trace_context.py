"""Trace contexts in headers, on the wire and in OpenTelemetry."""

from __future__ import annotations

import concurrent.futures
import json
import textwrap
from typing import Any

import grpc
import httpx
import pytest
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    TraceState,
    get_current_span,
    use_span,
)

from dapr_workflow_sdk import EmbeddedEngine, WorkflowClient
from dapr_workflow_sdk.portal import PORTAL
from dapr_workflow_sdk.taskhub.trace_context import active_context, from_headers, otel_context, to_headers, to_wire
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import text_of
from tests.worker.support import Place, place_of, run_python

_TRACE, _SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
_PARENT = f"00-{_TRACE}-{_SPAN}-01"
_CONTEXT = SpanContext(
    int(_TRACE, 16),
    int(_SPAN, 16),
    is_remote=False,
    trace_flags=TraceFlags(1),
    trace_state=TraceState([("vendor", "1")]),
)
_WIRE = pb.TraceContext(traceParent=_PARENT, spanID=_SPAN, traceState=text_of("vendor=1"))


def test_a_span_becomes_its_wire_form_and_a_span_again() -> None:
    assert to_wire(_CONTEXT) == _WIRE
    back = otel_context(_WIRE)
    assert back is not None
    found = get_current_span(back).get_span_context()
    assert (found.trace_id, found.span_id, found.trace_flags) == (_CONTEXT.trace_id, _CONTEXT.span_id, 1)
    assert found.trace_state.to_header() == "vendor=1"
    assert found.is_remote


@pytest.mark.parametrize(
    "text", ["", "garbage", "00-ab-cd-01", f"00-{'0' * 32}-{_SPAN}-01", f"00-{_TRACE}-{'0' * 16}-01"]
)
def test_garbage_is_no_context(text: str) -> None:
    assert otel_context(pb.TraceContext(traceParent=text)) is None
    assert from_headers([("traceparent", text)]) is None
    assert to_headers(pb.TraceContext(traceParent=text)) == ()


def test_the_current_span_is_the_active_context() -> None:
    assert active_context() is None
    with use_span(NonRecordingSpan(_CONTEXT)):
        assert active_context() == _WIRE
    assert active_context() is None


def test_headers_carry_a_context() -> None:
    headers = to_headers(_WIRE)
    assert headers == (("traceparent", _PARENT), ("tracestate", "vendor=1"))
    assert from_headers(headers) == _WIRE
    assert from_headers([("Traceparent", f" {_PARENT} "), ("other", "x")]) == pb.TraceContext(
        traceParent=_PARENT, spanID=_SPAN
    )
    assert from_headers([("tracestate", "vendor=1")]) is None
    assert from_headers([("traceparent", _PARENT), ("tracestate", "v=" + "1" * 600)]) == pb.TraceContext(
        traceParent=_PARENT, spanID=_SPAN
    )


def test_a_state_that_no_header_can_have_stays_behind() -> None:
    odd = pb.TraceContext(traceParent=_PARENT, traceState=text_of("vendor=ü"))
    assert to_headers(odd) == (("traceparent", _PARENT),)


@pytest.mark.parametrize("kind", ["in-process", "grpc"])
def test_a_client_starts_workflows_in_the_trace_of_its_caller(kind: str) -> None:
    with place_of(kind) as place:
        client = place.client()
        with use_span(NonRecordingSpan(_CONTEXT)):
            traced = client.schedule_new_workflow("flow")
        untraced = client.schedule_new_workflow("flow")
        assert _given(place, traced) == _WIRE
        assert not _given(place, untraced).traceParent


def _given(place: Place, instance_id: str) -> pb.TraceContext:
    live = PORTAL.call(_look, place.engine, instance_id)
    return live.state.inbox[0].event.executionStarted.parentTraceContext


async def _look(engine: EmbeddedEngine, instance_id: str) -> Any:
    return engine.hub._runner.find(("app", instance_id))


def test_a_client_sends_its_trace_in_the_metadata_too() -> None:
    """A sidecar of 1.16 looks nowhere else."""
    calls: list[dict[str, Any]] = []

    def answer(_: bytes, context: grpc.ServicerContext) -> bytes:
        calls.append({key: value for key, value in context.invocation_metadata()})
        return b""

    handlers = {"StartInstance": grpc.unary_unary_rpc_method_handler(answer)}
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("TaskHubSidecarService", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with WorkflowClient("127.0.0.1", port) as client:
        with use_span(NonRecordingSpan(_CONTEXT)):
            client.schedule_new_workflow("flow")
        client.schedule_new_workflow("flow")
    server.stop(None).wait()
    traced, untraced = calls
    assert (traced["traceparent"], traced["tracestate"]) == (_PARENT, "vendor=1")
    assert "traceparent" not in untraced


@pytest.mark.parametrize("own", [True, False], ids=["with a context of its own", "without one"])
def test_the_engine_takes_the_trace_of_a_call(own: bool) -> None:
    """Of clients that are instrumented for gRPC and know nothing else of traces."""
    with place_of("grpc") as place, grpc.insecure_channel(f"127.0.0.1:{place.port}") as channel:
        start: Any = channel.unary_unary(
            "/TaskHubSidecarService/StartInstance",
            request_serializer=pb.CreateInstanceRequest.SerializeToString,
            response_deserializer=pb.CreateInstanceResponse.FromString,
        )
        other = pb.TraceContext(traceParent=_PARENT.replace(_SPAN, "1" * 16)) if own else None
        request = pb.CreateInstanceRequest(instanceId="one", name="flow", parentTraceContext=other)
        start(request, metadata=to_headers(_WIRE), timeout=5)
        assert _given(place, "one") == (other or _WIRE)


def test_the_engine_takes_the_trace_of_an_http_request() -> None:
    with EmbeddedEngine() as engine, engine.serve(http_port=0) as served:
        address = f"http://127.0.0.1:{served.http_port}/v1.0/workflows/dapr/flow/start"
        for instance_id, headers in (("one", dict(to_headers(_WIRE))), ("two", {"traceparent": "garbage"})):
            answer = httpx.post(address, params={"instanceID": instance_id}, headers=headers, trust_env=False)
            assert (answer.status_code, json.loads(answer.text)) == (202, {"instanceID": instance_id})
        place = Place("in-process", engine)
        assert _given(place, "one") == _WIRE
        assert not _given(place, "two").traceParent


def test_opentelemetry_is_imported_only_for_traces() -> None:
    program = """
        import sys
        from dapr_workflow_sdk import EmbeddedEngine, WorkflowClient, WorkflowRuntime
        def flow(ctx):
            return (yield ctx.call_activity(work))
        def work(ctx):
            return 1
        with EmbeddedEngine() as engine, WorkflowClient(engine=engine) as client:
            runtime = WorkflowRuntime(engine=engine)
            runtime.register_workflow(flow)
            runtime.register_activity(work)
            with runtime:
                state = client.wait_for_workflow_completion(client.schedule_new_workflow(flow), timeout_in_seconds=10)
                print(state.serialized_output, [name for name in sys.modules if name.startswith("opentelemetry.")])
    """
    done = run_python(textwrap.dedent(program))
    assert (done.stdout, done.stderr) == ("1 []\n", "")
