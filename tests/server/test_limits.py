"""What is too much is refused with a clear answer, and nothing is lost by it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from dapr_workflow_sdk import EmbeddedEngine, WorkflowClient, WorkflowContext, WorkflowRuntime
from dapr_workflow_sdk.engine.server import Limits
from dapr_workflow_sdk.engine.server.checks import check, read
from dapr_workflow_sdk.engine.server.limits import longest_text
from dapr_workflow_sdk.errors import InvalidOperationError, TaskHubError
from dapr_workflow_sdk.portal import PORTAL
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import NEVER, text_of
from tests.server.support import call, refused, wire
from tests.worker.support import activity_call, eventually, within

CODE = grpc.StatusCode
SMALL = Limits(
    message_bytes=100_000,
    payload_bytes=10_000,
    body_bytes=10_000,
    header_bytes=4096,
    id_characters=50,
    name_characters=20,
    page_size=5,
    worker_streams=2,
    waiting_calls=2,
    http_connections=4,
    head_seconds=0.3,
    body_seconds=0.3,
    idle_seconds=0.3,
    send_seconds=0.3,
)


@pytest.fixture
def ports(engine: EmbeddedEngine) -> Iterator[tuple[int, int]]:
    with engine.serve(http_port=0, limits=SMALL) as served:
        assert served.http_port is not None
        yield served.grpc_port, served.http_port


@pytest.fixture
def channel(ports: tuple[int, int]) -> Iterator[Any]:
    with new_channel(ports[0]) as channel:
        yield channel


def new_channel(port: int, *more: tuple[str, Any]) -> Any:
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1), *more]
    return grpc.insecure_channel(f"127.0.0.1:{port}", options=options)


@contextmanager
def subscribed(channel: Any) -> Iterator[Any]:
    stream = channel.unary_stream(
        "/TaskHubSidecarService/GetWorkItems",
        request_serializer=pb.GetWorkItemsRequest.SerializeToString,
        response_deserializer=pb.WorkItem.FromString,
    )(pb.GetWorkItemsRequest(maxConcurrentWorkflowWorkItems=300))
    stream.initial_metadata()
    try:
        yield stream
    finally:
        stream.cancel()


def start(channel: Any, instance_id: str = "one", **more: Any) -> None:
    call(channel, "StartInstance", pb.CreateInstanceRequest(instanceId=instance_id, name="flow", **more))


def test_limits_are_above_0() -> None:
    for name in ("message_bytes", "head_seconds", "waiting_calls"):
        with pytest.raises(ValueError, match=name):
            Limits(**{name: 0})


def test_a_message_that_is_too_large(channel: Any, engine: EmbeddedEngine) -> None:
    code, details = refused(
        channel, "StartInstance", pb.CreateInstanceRequest(instanceId="one", name="flow", tags={"a": "x" * 100_000})
    )
    assert code is CODE.RESOURCE_EXHAUSTED
    assert "100000" in details
    call(channel, "Hello")
    with WorkflowClient(engine=engine) as client:
        assert client.get_workflow_state("one") is None


def test_a_payload_that_is_too_large(channel: Any) -> None:
    start(channel, "other")
    too_large = text_of("ä" * 5001)
    for method, request in (
        ("StartInstance", pb.CreateInstanceRequest(instanceId="one", name="flow", input=too_large)),
        ("RaiseEvent", pb.RaiseEventRequest(instanceId="other", name="go", input=too_large)),
        ("TerminateInstance", pb.TerminateRequest(instanceId="other", output=too_large)),
    ):
        code, details = refused(channel, method, request)
        assert code is CODE.RESOURCE_EXHAUSTED
        assert "10,002 bytes" in details
        assert "10,000 bytes" in details
    start(channel, "one", input=text_of("ä" * 5000))


def test_a_result_that_is_too_large_fails_the_activity_and_not_the_worker(ports: tuple[int, int]) -> None:
    runtime = WorkflowRuntime("127.0.0.1", ports[0])

    @runtime.activity
    def large(ctx: Any) -> str:
        return "x" * 20_000

    @runtime.workflow
    def flow(ctx: WorkflowContext) -> Any:
        try:
            yield ctx.call_activity(large)
        except Exception as error:
            return str(error)
        return "not refused"

    with runtime, WorkflowClient("127.0.0.1", ports[0]) as client:
        instance_id = client.schedule_new_workflow(flow)
        state = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=10)
        assert state is not None
        assert "too large" in str(state.serialized_output)
        assert "10,000 bytes" in str(state.serialized_output)


def test_ids_names_and_times_that_are_none(channel: Any) -> None:
    start(channel, "x" * 50)
    for request, words in (
        (pb.CreateInstanceRequest(instanceId="x" * 51, name="flow"), "51 characters"),
        (pb.CreateInstanceRequest(name="n" * 21), "21 characters"),
        (pb.CreateInstanceRequest(name="flow", scheduledStartTimestamp=Timestamp(seconds=2**62)), "start time"),
        (pb.CreateInstanceRequest(name="flow", scheduledStartTimestamp=Timestamp(seconds=-(2**62))), "start time"),
        (pb.CreateInstanceRequest(name="flow", scheduledStartTimestamp=Timestamp(nanos=-1)), "start time"),
    ):
        code, details = refused(channel, "StartInstance", request)
        assert code is CODE.INVALID_ARGUMENT
        assert words in details
    code, details = refused(channel, "RaiseEvent", pb.RaiseEventRequest(instanceId="x" * 50, name="n" * 21))
    assert code is CODE.INVALID_ARGUMENT


def test_details_fit_into_the_answer(channel: Any) -> None:
    name = "\U0001f600" * 20
    for request in (b"\xff" * 50_000, pb.CreateInstanceRequest(instanceId="\U0001f600" * 2000, name=name)):
        code, _ = refused(channel, "StartInstance", request)
        assert code is CODE.INVALID_ARGUMENT


def test_metadata_that_is_too_large(channel: Any) -> None:
    code, _ = refused(channel, "Hello", metadata=(("x-padding", "x" * 10_000),))
    assert code is CODE.RESOURCE_EXHAUSTED
    call(channel, "Hello")


def test_worker_streams(engine: EmbeddedEngine, channel: Any) -> None:
    with subscribed(channel), subscribed(channel) as second:
        third = channel.unary_stream("/TaskHubSidecarService/GetWorkItems")(b"", timeout=5)
        with pytest.raises(grpc.RpcError) as failed:
            next(third)
        error: Any = failed.value
        assert error.code() is CODE.RESOURCE_EXHAUSTED
        assert "2 worker streams" in error.details()
        assert engine.hub.worker_count == 2
        second.cancel()
        eventually(lambda: engine.hub.worker_count == 1, "the end of the second")
        with subscribed(channel):
            assert engine.hub.worker_count == 2


def test_waiting_calls_over_both_servers(engine: EmbeddedEngine, ports: tuple[int, int], channel: Any) -> None:
    start(channel)
    request = pb.GetInstanceRequest(instanceId="one")
    with subscribed(channel) as stream:
        next(stream)
        waiting: list[Any] = [
            channel.unary_unary(
                "/TaskHubSidecarService/WaitForInstanceCompletion",
                request_serializer=pb.GetInstanceRequest.SerializeToString,
                response_deserializer=pb.GetInstanceResponse.FromString,
            ).future(request)
            for _ in range(2)
        ]
        # How a call is refused tells that the other two wait.
        eventually(lambda: _refused_soon(channel, request), "both waits")
        answer = httpx.post(f"http://127.0.0.1:{ports[1]}/v1.0/workflows/dapr/one/terminate", trust_env=False)
        assert (answer.status_code, answer.json()["errorCode"]) == (503, "ERR_TERMINATE_WORKFLOW")
        assert "2 calls waiting" in answer.json()["message"]
        # What does not wait goes on.
        call(channel, "GetInstance", request, pb.GetInstanceResponse)
        for wait in waiting:
            wait.cancel()
        eventually(lambda: not _refused_soon(channel, request), "a free place")


def _refused_soon(channel: Any, request: Any) -> bool:
    stub = channel.unary_unary(
        "/TaskHubSidecarService/WaitForInstanceCompletion", request_serializer=lambda m: m.SerializeToString()
    )
    try:
        stub(request, timeout=0.2)
    except grpc.RpcError as error:
        failed: Any = error
        return failed.code() is CODE.RESOURCE_EXHAUSTED
    return False


def test_a_burst_of_calls_is_answered_when_the_engine_comes_to_it(engine: EmbeddedEngine) -> None:
    async def be_busy(until: threading.Event) -> None:
        until.wait(10)

    until = threading.Event()
    with engine.serve() as served, new_channel(served.grpc_port) as channel:
        call(channel, "Hello")
        busy = threading.Thread(target=PORTAL.call, args=(be_busy, until))
        busy.start()
        stub = channel.unary_unary("/TaskHubSidecarService/Hello")
        try:
            calls = [stub.future(b"", timeout=30) for _ in range(4000)]
        finally:
            until.set()
            busy.join()
        assert {each.code() for each in calls} == {CODE.OK}


def test_an_http_client_that_leaves_gives_its_place_back(ports: tuple[int, int], channel: Any) -> None:
    with subscribed(channel) as stream:
        start(channel)
        next(stream)
        for _ in range(3):
            with wire(ports[1]) as connection:
                connection.send(b"POST /v1.0/workflows/dapr/one/terminate HTTP/1.1\r\nhost: localhost\r\n\r\n")
                connection.socket.settimeout(0.1)
                with pytest.raises(TimeoutError):
                    connection.answer()
        eventually(lambda: not _refused_soon(channel, pb.GetInstanceRequest(instanceId="one")), "a free place")


def test_a_worker_that_does_not_read_loses_its_items_to_others(engine: EmbeddedEngine, ports: tuple[int, int]) -> None:
    """Its connection is alive, and full."""
    # gRPC would take more and more into its own buffers.
    small = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65536))
    with (
        new_channel(ports[0], *small) as blocked,
        new_channel(ports[0]) as other,
        WorkflowClient(engine=engine) as client,
    ):
        with subscribed(blocked) as stream:
            for number in range(300):
                client.schedule_new_workflow("flow", input="x" * 9_000, instance_id=f"i{number}")
            # Nobody reads the stream; after a while the engine takes everything back.
            eventually(lambda: engine.hub.worker_count == 0, "the end of the blocked worker")
            with subscribed(other) as second:
                seen = {within(lambda: next(second), 5, "a turn").workflowRequest.instanceId for _ in range(300)}
                assert len(seen) == 300
            # The worker that was blocked finds its stream ended, with the reason.
            with pytest.raises(grpc.RpcError) as failed:
                within(lambda: list(stream), 10, "the end of the stream")
            error: Any = failed.value
            assert error.code() is CODE.UNAVAILABLE
            assert "took nothing for 0.3 s" in error.details()


def test_a_slow_worker_is_not_a_blocked_one(engine: EmbeddedEngine, ports: tuple[int, int]) -> None:
    with new_channel(ports[0]) as slow, WorkflowClient(engine=engine) as client, subscribed(slow) as stream:
        for _ in range(4):
            client.schedule_new_workflow("flow", input="x" * 9_000)
            within(lambda: next(stream), 5, "a turn")
        assert engine.hub.worker_count == 1


# ---- messages -----------------------------------------------------------------------------------------------


def nested(depth: int) -> pb.TaskFailureDetails:
    failure = pb.TaskFailureDetails(errorType="Bottom")
    for _ in range(depth):
        failure = pb.TaskFailureDetails(errorType="E", innerFailure=failure)
    return failure


def test_failures_that_are_nested_too_deep_are_cut(engine: EmbeddedEngine, channel: Any) -> None:
    """Else what could just be read from the worker could never be read again: not by it, and not from the file."""
    start(channel)
    with subscribed(channel) as stream:
        turn = within(lambda: next(stream), 5, "the turn")
        call(
            channel,
            "CompleteOrchestratorTask",
            pb.WorkflowResponse(instanceId="one", actions=[activity_call(1)], completionToken=turn.completionToken),
        )
        item = within(lambda: next(stream), 5, "the activity")
        answer = pb.ActivityResponse(
            instanceId="one", taskId=1, failureDetails=nested(97), completionToken=item.completionToken
        )
        complete = channel.unary_unary("/TaskHubSidecarService/CompleteActivityTask")
        acknowledged = complete.future(answer.SerializeToString(), timeout=10)
        failed = within(lambda: next(stream), 5, "the next turn").workflowRequest.newEvents[-1].taskFailed
        assert failed.failureDetails.innerFailure.innerFailure.errorType == "E"
        acknowledged.cancel()


def test_what_is_not_known_is_not_kept() -> None:
    unknown = b"\xba\x3e\x03abc"  # Field 999.
    request = read(pb.RaiseEventRequest, pb.RaiseEventRequest(name="go").SerializeToString() + unknown, Limits())
    assert request.SerializeToString() == pb.RaiseEventRequest(name="go").SerializeToString()
    with pytest.raises(InvalidOperationError, match="no RaiseEventRequest"):
        read(pb.RaiseEventRequest, b"\x12\x01\xff", Limits())


def test_times_that_no_store_can_keep_are_brought_near() -> None:
    """A start or a timer thousands of years away is never, and says so as well a little earlier."""
    request = pb.CreateInstanceRequest(name="flow", scheduledStartTimestamp=Timestamp(seconds=20_000_000_000))
    check(request, SMALL)
    assert request.scheduledStartTimestamp.ToDatetime().year == 2200
    answer = pb.WorkflowResponse(
        actions=[
            pb.WorkflowAction(createTimer=pb.CreateTimerAction(fireAt=Timestamp(seconds=-62_135_596_800))),
            pb.WorkflowAction(createTimer=pb.CreateTimerAction(fireAt=NEVER)),
        ]
    )
    check(answer, SMALL)
    assert answer.actions[0].createTimer.fireAt.ToDatetime().year == 1740
    assert answer.actions[1].createTimer.fireAt == NEVER


def test_the_longest_text_is_found_wherever_it_is() -> None:
    assert longest_text(pb.CreateInstanceRequest()) == 0
    assert longest_text(pb.CreateInstanceRequest(name="ä", tags={"k": "xyz"})) == 3
    action = pb.WorkflowAction(scheduleTask=pb.ScheduleTaskAction(name="n", input=text_of("x" * 9)))
    assert longest_text(pb.WorkflowResponse(instanceId="i", actions=[pb.WorkflowAction(), action])) == 9
    with pytest.raises(TaskHubError, match="9 bytes"):
        read(pb.WorkflowResponse, pb.WorkflowResponse(actions=[action]).SerializeToString(), Limits(payload_bytes=8))


def test_pages_are_as_long_as_the_limit_at_most() -> None:
    request = pb.ListInstancesRequest(pageSize=4_000_000_000)
    check(request, SMALL)
    assert request.pageSize == 5
    with pytest.raises(InvalidOperationError, match="created from"):
        check(pb.ListInstancesRequest(createdTimeFrom=Timestamp(seconds=2**60)), SMALL)


# ---- http ---------------------------------------------------------------------------------------------------


def test_a_body_that_is_too_large(ports: tuple[int, int]) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(11):
            yield b"x" * 1000

    url = f"http://127.0.0.1:{ports[1]}/v1.0/workflows/dapr/flow/start?instanceID=one"
    with httpx.Client(trust_env=False) as http:
        for content in (b"x" * 10_001, chunks()):
            response = http.post(url, content=content)
            assert response.status_code == 400
            assert response.json()["errorCode"] == "ERR_BODY_READ"
            assert response.json()["message"].startswith("failed to read request body: stream too large")
            assert "10,000" in response.json()["message"]
        assert http.get(url.replace("/flow/start", "/one")).status_code == 404
        assert http.post(url, content=b"x" * 10_000).status_code == 202


def test_a_head_that_is_too_large(ports: tuple[int, int]) -> None:
    url = f"http://127.0.0.1:{ports[1]}/v1.0/metadata"
    response = httpx.get(url, headers={"x-padding": "x" * 5000}, trust_env=False)
    assert response.status_code == 431
    assert response.json()["errorCode"] == "ERR_HEADER_TOO_LARGE"
    assert "4,096 bytes" in response.json()["message"]


HEAD = b"POST /v1.0/workflows/dapr/flow/start HTTP/1.1\r\nhost: localhost\r\n"


@pytest.mark.parametrize(
    ("sent", "stage"),
    [
        (b"", b"head"),
        (b"GET", b"head"),
        (b"GET / HTTP/1.1\r\nhost: loc", b"head"),
        (HEAD + b"content-length: 5\r\n\r\n", b"body"),
        (HEAD + b"content-length: 5\r\n\r\n123", b"body"),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\n12", b"body"),
    ],
)
def test_a_request_that_does_not_come(ports: tuple[int, int], sent: bytes, stage: bytes) -> None:
    with wire(ports[1]) as connection:
        connection.send(sent)
        answer = connection.rest()
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"ERR_REQUEST_TIMEOUT" in answer
    assert b"the " + stage + b" of the request" in answer


def test_a_request_that_drips_is_no_better(ports: tuple[int, int]) -> None:
    with wire(ports[1]) as connection:
        connection.socket.settimeout(0.05)
        answer = b""
        for _ in range(100):
            try:
                connection.send(b"a")
                answer += connection.socket.recv(1000)
            except TimeoutError:
                continue
            except OSError:
                break
            if answer:
                break
        assert answer.startswith(b"HTTP/1.1 408")


def test_a_connection_is_kept_and_ends_when_it_is_idle(ports: tuple[int, int]) -> None:
    with wire(ports[1]) as connection:
        for _ in range(3):
            connection.send(b"GET /v1.0/healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert connection.answer().startswith(b"HTTP/1.1 204")
        assert connection.rest() == b""


def test_half_a_second_request_does_not_keep_a_connection(ports: tuple[int, int]) -> None:
    with wire(ports[1]) as connection:
        connection.send(b"GET /v1.0/healthz HTTP/1.1\r\nhost: localhost\r\n\r\nGET /v1.0/healthz HTTP/1.1\r\nho")
        assert connection.rest().startswith(b"HTTP/1.1 204")


def test_a_client_that_does_not_read_its_answer_is_left(ports: tuple[int, int], engine: EmbeddedEngine) -> None:
    with WorkflowClient(engine=engine) as client:
        client.schedule_new_workflow("flow", input="x" * 5_000_000, instance_id="one")
    with wire(ports[1]) as connection:
        connection.socket.setsockopt(1, 8, 4096)
        connection.send(b"GET /v1.0/workflows/dapr/one HTTP/1.1\r\nhost: localhost\r\n\r\n" * 5)

        connection.socket.settimeout(0.05)
        eventually(lambda: _gone(connection), "the end of the connection", timeout=10)


def _gone(connection: Any) -> bool:
    """Whether the other side has ended the connection, without reading what came before."""
    try:
        connection.socket.send(b"x" * 10)
    except (ConnectionResetError, BrokenPipeError):
        return True
    except TimeoutError:
        return False
    return False


def test_connections(ports: tuple[int, int]) -> None:
    with ExitStack() as stack:
        for _ in range(4):
            # A request in hand, so that none of them is ended as idle.
            connection = stack.enter_context(wire(ports[1]))
            connection.send(b"GET /v1.0/healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
            connection.answer()
        with wire(ports[1]) as fifth:
            answer = fifth.rest()
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"4 connections" in answer
    eventually(lambda: _healthy(ports[1]), "a free place")


def _healthy(port: int) -> bool:
    return httpx.get(f"http://127.0.0.1:{port}/v1.0/healthz", trust_env=False).status_code == 204


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET  /v1.0/healthz HTTP/1.1\r\n\r\n",
        b"GET /v1.0/healthz HTTP/1.1\r\n\r\n",
        HEAD + b"content-length: -1\r\n\r\n",
        HEAD + b"content-length: 5\r\ncontent-length: 6\r\n\r\n",
        HEAD + b"transfer-encoding: gzip\r\n\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /v1.0/workflows/dapr/\xff\xfe HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(ports: tuple[int, int], sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with wire(ports[1]) as connection:
        connection.send(sent)
        answer = connection.rest()
    assert answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 408", b"HTTP/1.1 403", b"HTTP/1.1 501"), answer
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]
    assert _healthy(ports[1])


def test_a_caller_that_leaves_as_it_is_answered_is_no_error(
    ports: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    """gRPC says so in these words, with a trace; whatever else it says is left alone."""
    said = logging.getLogger("grpc._cython.cygrpc")
    said.error("ExecuteBatchError raised in core by servicer method [%s]", "/S/M")
    said.error("Unexpected [%s] raised by servicer method [%s]", "E", "/S/M")
    assert [record.getMessage() for record in caplog.records] == ["Unexpected [E] raised by servicer method [/S/M]"]
