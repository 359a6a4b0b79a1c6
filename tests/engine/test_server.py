"""The engine as a sidecar: the worker protocol over gRPC, called as any program in any language would."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from dapr_workflow_sdk import EmbeddedEngine, RuntimeStateError, WorkflowClient, WorkflowContext, WorkflowRuntime
from dapr_workflow_sdk.portal import PORTAL
from dapr_workflow_sdk.taskhub.address import Address
from dapr_workflow_sdk.taskhub.channel import GrpcTaskHub
from dapr_workflow_sdk.taskhub.wire import methods
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import text_of, timestamp_from_ns
from tests.worker.support import Hand, activity_call, complete, eventually, kinds, python_child, within

CODE = grpc.StatusCode


class Caller:
    """Calls methods by their path."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.channel = grpc.insecure_channel(
            f"127.0.0.1:{port}", options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        )

    def __call__(self, method: str, request: Any, response: Any = None, timeout: float = 5) -> Any:
        call: Any = self.channel.unary_unary(
            f"/TaskHubSidecarService/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=(response or Empty).FromString,
        )
        return call(request, timeout=timeout)

    def fails(self, method: str, request: Any) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.RpcError) as failed:
            self(method, request)
        error: Any = failed.value
        return error.code(), error.details()

    def stream(self, turns: int = 0, activities: int = 0) -> Any:
        call = self.channel.unary_stream(
            "/TaskHubSidecarService/GetWorkItems",
            request_serializer=pb.GetWorkItemsRequest.SerializeToString,
            response_deserializer=pb.WorkItem.FromString,
        )
        stream = call(
            pb.GetWorkItemsRequest(maxConcurrentWorkflowWorkItems=turns, maxConcurrentActivityWorkItems=activities)
        )
        stream.initial_metadata()  # Comes as soon as the engine has subscribed the worker.
        return stream

    def start(self, instance_id: str = "one", **more: Any) -> str:
        request = pb.CreateInstanceRequest(instanceId=instance_id, name="flow", **more)
        made: pb.CreateInstanceResponse = self("StartInstance", request, pb.CreateInstanceResponse)
        return made.instanceId

    def state(self, instance_id: str = "one", *, payloads: bool = True) -> pb.GetInstanceResponse:
        request = pb.GetInstanceRequest(instanceId=instance_id, getInputsAndOutputs=payloads)
        found: pb.GetInstanceResponse = self("GetInstance", request, pb.GetInstanceResponse)
        return found


@pytest.fixture
def engine() -> Iterator[EmbeddedEngine]:
    with EmbeddedEngine() as engine:
        yield engine


@pytest.fixture
def call(engine: EmbeddedEngine) -> Iterator[Caller]:
    with engine.serve() as served:
        caller = Caller(served.grpc_port)
        with caller.channel:
            yield caller


def test_hello(call: Caller) -> None:
    assert call("Hello", Empty()) == Empty()


@pytest.mark.parametrize("name", ["CompleteOrchestratorTask", "CompleteWorkflowTask"])
def test_turns_are_completed_under_the_old_and_the_new_name(call: Caller, name: str) -> None:
    stream = call.stream()
    call.start(input=text_of("0"))
    item = next(stream)
    assert item.workflowRequest.instanceId == "one"
    assert kinds(item.workflowRequest.newEvents) == ["workflowStarted", "executionStarted"]
    assert item.completionToken
    answer = pb.WorkflowResponse(instanceId="one", actions=[complete(1, "0")], completionToken=item.completionToken)
    call(name, answer, pb.CompleteTaskResponse)
    call(name, answer, pb.CompleteTaskResponse)
    state = call.state()
    assert state.workflowState.workflowStatus == pb.WORKFLOW_STATUS_COMPLETED
    assert state.workflowState.output.value == "0"
    bare = call.state(payloads=False).workflowState
    assert not bare.HasField("output")
    assert not bare.HasField("input")
    stream.cancel()


def test_activities_are_completed_and_unknown_completions_are_fine(call: Caller) -> None:
    stream = call.stream()
    call.start()
    turn = next(stream)
    call("CompleteOrchestratorTask", pb.WorkflowResponse(instanceId="one", actions=[activity_call(1)]))
    item = next(stream)
    assert item.activityRequest.name == "work"
    for late in (
        pb.ActivityResponse(instanceId="gone", taskId=1),
        pb.ActivityResponse(instanceId="one", taskId=9),
        pb.ActivityResponse(instanceId="one", taskId=1, completionToken="stale"),
    ):
        call("CompleteActivityTask", late)
    call("CompleteOrchestratorTask", pb.WorkflowResponse(instanceId="gone"))
    call("CompleteOrchestratorTask", pb.WorkflowResponse(instanceId="one", completionToken=turn.completionToken))
    sent = call.channel.unary_unary(
        "/TaskHubSidecarService/CompleteActivityTask",
        request_serializer=pb.ActivityResponse.SerializeToString,
        response_deserializer=pb.CompleteTaskResponse.FromString,
    ).future(pb.ActivityResponse(instanceId="one", taskId=1, result=text_of("5"), completionToken=item.completionToken))
    assert next(stream).workflowRequest.newEvents[-1].taskCompleted.result.value == "5"
    call("CompleteOrchestratorTask", pb.WorkflowResponse(instanceId="one", actions=[complete(2)]))
    sent.result(5)
    stream.cancel()


def test_every_error_has_its_code_and_text(call: Caller) -> None:
    missing = (CODE.NOT_FOUND, "no such instance exists")
    assert call.fails("RaiseEvent", pb.RaiseEventRequest(instanceId="x", name="go")) == missing
    assert call.fails("SuspendInstance", pb.SuspendRequest(instanceId="x")) == missing
    assert call.fails("ResumeInstance", pb.ResumeRequest(instanceId="x")) == missing
    assert call.fails("TerminateInstance", pb.TerminateRequest(instanceId="x")) == missing
    assert call.fails("GetInstanceHistory", pb.GetInstanceHistoryRequest(instanceId="x"))[0] is CODE.NOT_FOUND
    code, details = call.fails("PurgeInstances", pb.PurgeInstancesRequest(instanceId="x"))
    assert code is CODE.NOT_FOUND
    assert "no such instance exists" in details
    running = pb.PurgeInstanceFilter(runtimeStatus=[pb.WORKFLOW_STATUS_RUNNING])
    for request in (pb.PurgeInstancesRequest(), pb.PurgeInstancesRequest(purgeInstanceFilter=running)):
        assert call.fails("PurgeInstances", request)[0] is CODE.INVALID_ARGUMENT
    call.start("runs")
    code, details = call.fails("StartInstance", pb.CreateInstanceRequest(instanceId="runs", name="flow"))
    assert (code, details) == (
        CODE.ALREADY_EXISTS,
        "failed to create workflow instance: an active workflow with ID 'runs' already exists",
    )
    code, details = call.fails("PurgeInstances", pb.PurgeInstancesRequest(instanceId="runs"))
    assert code is CODE.FAILED_PRECONDITION
    assert "orchestration has not yet completed" in details
    assert call.fails("StartInstance", pb.CreateInstanceRequest(instanceId="x"))[0] is CODE.INVALID_ARGUMENT
    assert not call.state("x").exists
    for name in ("WaitForInstanceStart", "WaitForInstanceCompletion"):
        assert not call(name, pb.GetInstanceRequest(instanceId="x"), pb.GetInstanceResponse).exists


def test_methods_that_are_not_served_are_unimplemented(call: Caller) -> None:
    for name in ("QueryInstances", "CreateTaskHub", "StreamInstanceHistory", "NoSuchMethod"):
        assert call.fails(name, Empty())[0] is CODE.UNIMPLEMENTED
    other = call.channel.unary_unary(
        "/dapr.proto.runtime.v1.Dapr/GetMetadata",
        request_serializer=Empty.SerializeToString,
        response_deserializer=Empty.FromString,
    )
    with pytest.raises(grpc.RpcError) as failed:
        other(Empty(), timeout=5)
    error: Any = failed.value
    assert error.code() is CODE.UNIMPLEMENTED


def test_garbage_is_refused_and_harms_nobody(call: Caller) -> None:
    raw: Any = call.channel.unary_unary("/TaskHubSidecarService/StartInstance")
    with pytest.raises(grpc.RpcError) as failed:
        raw(b"\xff\xff\xff\xff", timeout=5)
    error: Any = failed.value
    assert error.code() in (CODE.INTERNAL, CODE.UNKNOWN, CODE.INVALID_ARGUMENT)
    assert call("Hello", Empty()) == Empty()


def test_operations_over_the_wire(call: Caller) -> None:
    stream = call.stream()
    assert call.start(tags={"a": "b"}, input=text_of("1")) == "one"
    turn = next(stream)
    assert turn.workflowRequest.newEvents[1].executionStarted.tags == {"a": "b"}
    call("SuspendInstance", pb.SuspendRequest(instanceId="one", reason=text_of("why")), pb.SuspendResponse)
    assert call.state().workflowState.workflowStatus == pb.WORKFLOW_STATUS_SUSPENDED
    call("ResumeInstance", pb.ResumeRequest(instanceId="one"), pb.ResumeResponse)
    call("RaiseEvent", pb.RaiseEventRequest(instanceId="one", name="go", input=text_of("2")), pb.RaiseEventResponse)
    call("CompleteOrchestratorTask", pb.WorkflowResponse(instanceId="one", customStatus=text_of("status")))
    second = next(stream).workflowRequest
    assert kinds(second.newEvents) == ["workflowStarted", "executionSuspended", "executionResumed", "eventRaised"]
    assert call.state().workflowState.customStatus.value == "status"
    call("CompleteOrchestratorTask", pb.WorkflowResponse(instanceId="one", actions=[complete(1, "3")]))
    waited = call("WaitForInstanceCompletion", pb.GetInstanceRequest(instanceId="one"), pb.GetInstanceResponse)
    assert waited.workflowState.workflowStatus == pb.WORKFLOW_STATUS_COMPLETED
    history = call("GetInstanceHistory", pb.GetInstanceHistoryRequest(instanceId="one"), pb.GetInstanceHistoryResponse)
    assert kinds(history.events)[-1] == "executionCompleted"
    purged = call("PurgeInstances", pb.PurgeInstancesRequest(instanceId="one"), pb.PurgeInstancesResponse)
    assert (purged.deletedInstanceCount, purged.isComplete.value) == (1, True)
    # Clients of the JavaScript SDK always send a start time, and mean now by it.
    assert call.start("epoch", scheduledStartTimestamp=timestamp_from_ns(0)) == "epoch"
    assert next(stream).workflowRequest.instanceId == "epoch"
    stream.cancel()


def test_offers_are_respected_over_the_wire(call: Caller) -> None:
    stream = call.stream(turns=2)
    for number in range(4):
        call.start(f"i{number}")
    held = [next(stream), next(stream)]
    other = call.stream()
    # The second worker gets what the first one has no room for.
    assert {next(other).workflowRequest.instanceId for _ in range(2)} == {"i0", "i1", "i2", "i3"} - {
        item.workflowRequest.instanceId for item in held
    }
    stream.cancel()
    assert {next(other).workflowRequest.instanceId for _ in range(2)} == {
        item.workflowRequest.instanceId for item in held
    }
    other.cancel()


_WORKER = """
import sys, time
from dapr_workflow_sdk import WorkflowRuntime
runtime = WorkflowRuntime("127.0.0.1", int(sys.argv[1]))
@runtime.activity
def slow(ctx):
    print("running", flush=True)
    time.sleep(60)
@runtime.workflow
def flow(ctx):
    return (yield ctx.call_activity(slow))
runtime.start()
print("ready", flush=True)
time.sleep(60)
"""


def test_what_a_killed_worker_had_is_handed_out_again_at_once(call: Caller) -> None:
    with python_child(_WORKER, str(call.port)) as worker:
        worker.says("ready")
        call.start()
        worker.says("running")
        stream = call.stream()
        os.kill(worker.pid, signal.SIGKILL)
        began = time.monotonic()
        item = within(lambda: next(stream), 5, "the activity")
        assert time.monotonic() - began < 1
        assert item.activityRequest.name == "slow"
        stream.cancel()


def test_what_was_on_its_way_to_a_killed_worker_is_handed_out_again_at_once(call: Caller) -> None:
    """A worker that does not read has a stream full of items."""
    first = call.stream(turns=300)
    for number in range(300):
        call.start(f"i{number}", input=text_of("x" * 10_000))
    first.cancel()
    second = call.stream(turns=300)
    names = {within(lambda: next(second), 5, "a turn").workflowRequest.instanceId for _ in range(300)}
    assert len(names) == 300
    second.cancel()


_VANISHING = """
import faulthandler, sys
faulthandler.enable()
import grpc
from dapr_workflow_sdk import EmbeddedEngine, WorkflowClient
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
with EmbeddedEngine() as engine, engine.serve() as served, WorkflowClient(engine=engine) as client:
    for _ in range(200):
        client.schedule_new_workflow("flow", input="x" * 1000)
    for _ in range(30):
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}", options=options) as channel:
            stream = channel.unary_stream(
                "/TaskHubSidecarService/GetWorkItems",
                request_serializer=pb.GetWorkItemsRequest.SerializeToString,
                response_deserializer=pb.WorkItem.FromString,
            )(pb.GetWorkItemsRequest())
            next(stream)
    print("fine")
"""


def test_workers_that_vanish_while_items_are_sent_do_not_crash_the_engine() -> None:
    """An object of gRPC that is asked something after its call has ended takes the whole process with it."""
    with python_child(_VANISHING) as engine:
        assert engine.ends(20) == 0, engine.err[:12]
        assert engine.out == ["fine"]


def test_large_messages_pass_both_ways(engine: EmbeddedEngine) -> None:
    large = "x" * 5_000_000
    with engine.serve() as served:
        runtime = WorkflowRuntime("127.0.0.1", served.grpc_port)

        @runtime.activity
        def echo(ctx: Any, value: str) -> str:
            return value

        @runtime.workflow
        def flow(ctx: WorkflowContext, value: str) -> Any:
            first = yield ctx.call_activity(echo, input=value)
            event = yield ctx.wait_for_external_event("more")
            return len(first) + len(event)

        with runtime, WorkflowClient("127.0.0.1", served.grpc_port) as client:
            instance_id = client.schedule_new_workflow(flow, input=large)
            client.raise_workflow_event(instance_id, "more", data=large)
            state = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=20)
            assert state is not None
            assert state.serialized_output == "10000000"


def test_the_engine_may_be_served_twice_and_its_own_workers_go_on(engine: EmbeddedEngine) -> None:
    runtime = WorkflowRuntime(engine=engine)
    runtime.register_workflow(lambda ctx: 1, name="flow")
    with runtime, engine.serve() as first, engine.serve() as second:
        assert first.grpc_port != second.grpc_port
        for served in (first, second):
            with WorkflowClient("127.0.0.1", served.grpc_port) as client:
                state = client.wait_for_workflow_completion(client.schedule_new_workflow("flow"), timeout_in_seconds=5)
                assert state is not None
                assert state.serialized_output == "1"


@pytest.mark.parametrize("kind", ["grpc_port", "http_port"])
def test_a_port_that_is_taken_is_refused_and_nothing_is_left_open(engine: EmbeddedEngine, kind: str) -> None:
    with engine.serve(http_port=0) as served:
        taken = getattr(served, kind)
        with (
            pytest.raises(RuntimeStateError, match=f"127.0.0.1:{taken}"),
            engine.serve(**{"http_port": 0, kind: taken}),
        ):
            pass
        assert Caller(served.grpc_port)("Hello", Empty()) == Empty()
    with engine.serve(grpc_port=served.grpc_port, http_port=served.http_port):
        pass


@pytest.mark.parametrize("options", [{"grpc_port": 70000}, {"http_port": 70000}, {"grpc_port": -1}, {"http_port": -1}])
def test_ports_that_are_none_are_refused(engine: EmbeddedEngine, options: dict[str, Any]) -> None:
    with pytest.raises((RuntimeStateError, ValueError)), engine.serve(**options):
        pass
    with engine.serve():
        pass


def test_stopping_to_serve_ends_streams_and_waits_but_not_the_engine(engine: EmbeddedEngine) -> None:
    with engine.serve() as served:
        caller = Caller(served.grpc_port)
        stream = caller.stream()
        caller.start()
        next(stream)
        wait = caller.channel.unary_unary(
            "/TaskHubSidecarService/WaitForInstanceCompletion",
            request_serializer=pb.GetInstanceRequest.SerializeToString,
            response_deserializer=pb.GetInstanceResponse.FromString,
        ).future(pb.GetInstanceRequest(instanceId="one"))
        began = time.monotonic()
    assert time.monotonic() - began < 3
    with pytest.raises(StopIteration):  # In order, so that workers which connect again only then do.
        next(stream)
    with pytest.raises(grpc.RpcError):
        wait.result(5)
    caller.channel.close()
    eventually(lambda: engine.hub.worker_count == 0, "the end of the worker")
    with WorkflowClient(engine=engine) as client:
        client.terminate_workflow("one")


def test_the_channel_of_this_package_and_a_worker_by_hand_go_together(call: Caller) -> None:
    hub = GrpcTaskHub(Address(f"127.0.0.1:{call.port}", tls=False, source="test"))

    async def play() -> None:
        await hub.connect(5)
        async with Hand(hub, turns=1) as worker:
            await hub.start(pb.CreateInstanceRequest(instanceId="one", name="flow"))
            await worker.play(activity_call(1))
            run = await worker.activity()
            assert run.request.workflowInstance.instanceId == "one"
        async with Hand(hub) as worker:
            rerun = await worker.activity()
            assert rerun.request == run.request
        await hub.aclose()

    PORTAL.call(play)


def test_all_methods_are_known_by_their_paths() -> None:
    assert methods.HELLO.path == "/TaskHubSidecarService/Hello"
