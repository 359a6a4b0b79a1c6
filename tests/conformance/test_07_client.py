"""Scenarios 86 to 96 of the conformance list: what clients see."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import grpc
import pytest

from dapr_workflow_sdk import Task, WorkflowActivityContext, WorkflowContext, WorkflowStatus
from dapr_workflow_sdk.taskhub.port import Milestone, TaskHub
from dapr_workflow_sdk.taskhub.wire import methods
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.conformance.hubs import Hub
from tests.conformance.own_hubs import HandWorker, OwnHub, in_background, own_hub

Run = Generator[Task[Any], Any, Any]


@pytest.fixture(scope="module")
def own(hub: Hub, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[OwnHub]:
    """A hub of the same kind, without a worker unless a test connects one."""
    with own_hub(hub.kind, tmp_path_factory.mktemp("own"), request) as own:
        yield own


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _make_waiting() -> Callable[[WorkflowContext], Run]:
    def waiting(ctx: WorkflowContext) -> Run:
        ctx.set_custom_status("waiting")
        return (yield ctx.wait_for_external_event("go"))

    return waiting


# ---- 86, 87: starting later --------------------------------------------------------------------------------


def test_086_an_instance_can_be_started_later(hub: Hub) -> None:
    @hub.workflow
    def tell_time(ctx: WorkflowContext) -> str:
        return ctx.current_utc_datetime.isoformat()

    hub.run(tell_time)  # The first instance after a worker connects waits for the sidecar anyway.
    start_at = _now() + hub.short(0.8)
    instance_id = hub.client.schedule_new_workflow(tell_time, instance_id=hub.fresh("i"), start_at=start_at)
    assert _now() < start_at
    assert hub.state(instance_id).runtime_status is WorkflowStatus.PENDING

    output = hub.finish(instance_id).serialized_output
    assert output is not None
    began = datetime.fromisoformat(output.strip('"')).replace(tzinfo=timezone.utc)
    # A sidecar of 1.16 cuts the time to whole seconds.
    early = timedelta(seconds=1) if hub.is_daprd else timedelta(0)
    assert start_at - early <= began <= start_at + timedelta(seconds=2)


def test_086_the_start_of_a_pending_instance_can_be_waited_for(hub: Hub) -> None:
    waiting = hub.workflow(_make_waiting())
    start_at = _now() + hub.short(0.3)
    instance_id = hub.client.schedule_new_workflow(waiting, instance_id=hub.fresh("i"), start_at=start_at)
    state = hub.client.wait_for_workflow_start(instance_id, fetch_payloads=True, timeout_in_seconds=10)
    assert state is not None
    assert (state.runtime_status, state.serialized_custom_status) == (WorkflowStatus.RUNNING, "waiting")
    hub.client.terminate_workflow(instance_id)


@pytest.mark.parametrize("when", ["now", "past", "epoch"])
def test_087_a_time_that_has_come_is_no_delay(hub: Hub, when: str) -> None:
    moments = {"now": _now(), "past": _now() - timedelta(days=1), "epoch": datetime(1970, 1, 1)}
    echo = hub.workflow(lambda ctx, value: value)
    instance_id = hub.client.schedule_new_workflow(echo, input=when, instance_id=hub.fresh("i"), start_at=moments[when])
    assert hub.finish(instance_id, 5).serialized_output == f'"{when}"'


def test_087_a_start_at_a_given_time_waits_for_no_worker(own: OwnHub) -> None:
    with HandWorker(own) as worker:
        instance_id = own.start_soon(own.workflow(_make_waiting()))
        state = own.state(instance_id)
        assert state.runtime_status is WorkflowStatus.PENDING
        worker.play(worker.turn(instance_id))
        own.client.wait_for_workflow_start(instance_id, timeout_in_seconds=10)


# ---- 88, 89: waiting ---------------------------------------------------------------------------------------


def test_088_waiting_for_a_start_that_does_not_come_times_out(own: OwnHub) -> None:
    waiting = own.workflow(_make_waiting())
    # Without a worker a sidecar would not even take the request to start.
    with HandWorker(own):
        start_at = _now() + timedelta(seconds=1 if own.is_daprd else 0)
        instance_id = own.client.schedule_new_workflow(waiting, instance_id=own.fresh("i"), start_at=start_at)

    with pytest.raises(TimeoutError, match=f"{instance_id}' has not begun within 0.3 s"):
        own.client.wait_for_workflow_start(instance_id, timeout_in_seconds=0.3)
    if own.grpc_port is not None:
        assert _wait_times_out(own, methods.WAIT_START, instance_id)
    state = own.state(instance_id)
    assert state.runtime_status is WorkflowStatus.PENDING

    patient = in_background(lambda: own.client.wait_for_workflow_start(instance_id, timeout_in_seconds=20))
    with own.runtime:
        started = patient.result(20)
        assert started is not None
        assert started.runtime_status is WorkflowStatus.RUNNING
        own.client.raise_workflow_event(instance_id, "go", data="at last")
        assert own.finish(instance_id).serialized_output == '"at last"'


def _wait_times_out(hub: Hub, method: methods.Method, instance_id: str) -> bool:
    """Whether a client of any kind is told so when the deadline of its wait passes."""
    # A sidecar is told the deadline too, and may answer at that moment that the call was cancelled.
    codes = [grpc.StatusCode.DEADLINE_EXCEEDED, *([grpc.StatusCode.CANCELLED] if hub.is_daprd else [])]
    with grpc.insecure_channel(f"127.0.0.1:{hub.grpc_port}") as channel:
        call = channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        with pytest.raises(grpc.RpcError) as caught:
            call(pb.GetInstanceRequest(instanceId=instance_id), timeout=0.3)
    return caught.value.code() in codes


def test_089_waiting_for_an_end_that_does_not_come_times_out(hub: Hub) -> None:
    instance_id = hub.start(hub.workflow(_make_waiting()))
    before = time.monotonic()
    with pytest.raises(TimeoutError, match=f"{instance_id}' has not ended within 0.2 s"):
        hub.client.wait_for_workflow_completion(instance_id, timeout_in_seconds=0.2)
    assert 0.2 <= time.monotonic() - before < 2
    if hub.grpc_port is not None:
        assert _wait_times_out(hub, methods.WAIT_COMPLETION, instance_id)

    hub.client.raise_workflow_event(instance_id, "go", data="done")
    assert hub.finish(instance_id).serialized_output == '"done"'


def test_089_many_clients_may_wait_for_one_instance(hub: Hub) -> None:
    instance_id = hub.start(hub.workflow(_make_waiting()))
    waits = [in_background(lambda: hub.finish(instance_id)) for _ in range(10)]
    hub.client.raise_workflow_event(instance_id, "go", data="all")
    assert {wait.result(20).serialized_output for wait in waits} == {'"all"'}
    # And so does one that comes later.
    assert hub.finish(instance_id).serialized_output == '"all"'


# ---- 90, 91, 94: reading -----------------------------------------------------------------------------------


def test_090_payloads_are_read_only_when_asked_for(hub: Hub) -> None:
    @hub.workflow
    def echo(ctx: WorkflowContext, value: str) -> str:
        ctx.set_custom_status("short")
        return value

    instance_id = hub.run(echo, "long").instance_id
    for read in (hub.client.get_workflow_state, hub.client.wait_for_workflow_completion):
        bare = read(instance_id, fetch_payloads=False)
        assert bare is not None
        assert (bare.instance_id, bare.runtime_status) == (instance_id, WorkflowStatus.COMPLETED)
        assert bare.name.startswith("echo")
        payloads = (bare.serialized_input, bare.serialized_output, bare.serialized_custom_status)
        assert payloads == (None, None, None)

        full = read(instance_id, fetch_payloads=True)
        assert full is not None
        payloads = (full.serialized_input, full.serialized_output, full.serialized_custom_status)
        assert payloads == ('"long"', '"long"', "short")


def test_090_failure_details_count_as_a_payload(hub: Hub) -> None:
    @hub.workflow
    def fail(ctx: WorkflowContext) -> None:
        raise ValueError("on purpose")

    instance_id = hub.run(fail).instance_id
    bare = hub.client.get_workflow_state(instance_id, fetch_payloads=False)
    full = hub.client.get_workflow_state(instance_id, fetch_payloads=True)
    assert bare is not None
    assert full is not None
    assert bare.runtime_status is full.runtime_status is WorkflowStatus.FAILED
    assert bare.failure_details is None
    assert full.failure_details is not None
    assert (full.failure_details.error_type, full.failure_details.message) == ("ValueError", "on purpose")


def test_091_reading_what_is_not_there_is_no_error(hub: Hub) -> None:
    missing = hub.fresh("missing")
    assert hub.client.get_workflow_state(missing) is None
    assert hub.client.get_workflow_state(missing, fetch_payloads=False) is None
    # A client of the worker protocol would wait for ever for it; ours asks first.
    assert hub.client.wait_for_workflow_start(missing, timeout_in_seconds=5) is None
    assert hub.client.wait_for_workflow_completion(missing, timeout_in_seconds=5) is None


def test_091_the_port_answers_none_for_what_is_not_there(hub: Hub) -> None:
    missing = hub.fresh("missing")

    async def ask(port: TaskHub) -> list[pb.WorkflowState | None]:
        return [
            await port.state(missing, payloads=True),
            await port.wait(missing, Milestone.STARTED, payloads=True),
        ]

    assert hub.ask(ask) == [None, None]


@pytest.mark.not_on("memory", "sqlite", reason="no HTTP API is served")
def test_091_http_answers_404_for_what_is_not_there(hub: Hub) -> None:
    missing = hub.fresh("missing")
    answer = hub.http("GET", missing)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json() == {
        "errorCode": "ERR_INSTANCE_ID_NOT_FOUND",
        "message": f"unable to find workflow with the provided instance ID: {missing}",
    }


@pytest.mark.not_on("memory", "sqlite", reason="no HTTP API is served")
@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("terminate", 404, "ERR_INSTANCE_ID_NOT_FOUND"),
        ("purge", 404, "ERR_INSTANCE_ID_NOT_FOUND"),
        ("pause", 500, "ERR_PAUSE_WORKFLOW"),
        ("resume", 500, "ERR_RESUME_WORKFLOW"),
        ("raiseEvent/go", 500, "ERR_RAISE_EVENT_WORKFLOW"),
    ],
)
def test_091_http_answers_to_changing_what_is_not_there(hub: Hub, path: str, status: int, code: str) -> None:
    missing = hub.fresh("missing")
    answer = hub.http("POST", f"{missing}/{path}")
    assert (answer.status_code, answer.json()["errorCode"]) == (status, code)
    told = missing if status == 404 else "no such instance exists"
    assert told in answer.json()["message"]


@pytest.mark.not_on("memory", "sqlite", reason="no HTTP API is served")
def test_091_http_tells_what_is_there(hub: Hub) -> None:
    @hub.workflow
    def ask(ctx: WorkflowContext, value: int) -> Run:
        ctx.set_custom_status("asking")
        return (yield ctx.wait_for_external_event("Reply")) + value

    known = hub.state(hub.start(ask, 1))
    instance_id = hub.fresh("i")
    answer = hub.http("POST", f"{known.name}/start?instanceID={instance_id}", b"40")
    assert (answer.status_code, answer.json()) == (202, {"instanceID": instance_id})
    hub.client.wait_for_workflow_start(instance_id, timeout_in_seconds=10)

    shown = hub.http("GET", instance_id).json()
    assert shown.keys() == {
        "instanceID",
        "workflowName",
        "createdAt",
        "lastUpdatedAt",
        "runtimeStatus",
        "properties",
    }
    assert (shown["instanceID"], shown["workflowName"]) == (instance_id, known.name)
    assert shown["runtimeStatus"] == "RUNNING"
    properties = {"dapr.workflow.input": "40", "dapr.workflow.custom_status": "asking"}
    assert shown["properties"] == properties
    for field in ("createdAt", "lastUpdatedAt"):
        moment = datetime.fromisoformat(shown[field].split(".")[0].rstrip("Z")).replace(tzinfo=timezone.utc)
        assert abs(_now() - moment) < timedelta(minutes=1)

    for path, content in (("pause", b""), ("raiseEvent/reply", b"2"), ("resume", b"")):
        answer = hub.http("POST", f"{instance_id}/{path}", content)
        assert (answer.status_code, answer.content) == (202, b"{}"), path
    hub.finish(instance_id)
    shown = hub.http("GET", instance_id).json()
    assert shown["runtimeStatus"] == "COMPLETED"
    assert shown["properties"] == {**properties, "dapr.workflow.output": "42"}
    hub.client.terminate_workflow(known.instance_id)


def test_094_the_custom_status_is_seen_while_the_instance_runs(hub: Hub) -> None:
    went_on = threading.Event()

    @hub.activity
    def go_on(ctx: WorkflowActivityContext) -> None:
        went_on.set()

    @hub.workflow
    def report(ctx: WorkflowContext) -> Run:
        ctx.set_custom_status("one")
        yield ctx.wait_for_external_event("next")
        ctx.set_custom_status({"step": 2})
        yield ctx.wait_for_external_event("next")
        yield ctx.call_activity(go_on)
        yield ctx.wait_for_external_event("next")
        ctx.set_custom_status(None)
        yield ctx.wait_for_external_event("next")

    def shows(status: str | None) -> bool:
        return hub.state(instance_id).serialized_custom_status == status

    instance_id = hub.start(report)
    hub.eventually(lambda: shows("one"), "the first status is seen")
    hub.client.raise_workflow_event(instance_id, "next")
    hub.eventually(lambda: shows('{"step": 2}'), "the second status is seen")
    hub.client.raise_workflow_event(instance_id, "next")
    # It is not set again, and stays.
    assert went_on.wait(10)
    assert shows('{"step": 2}')
    hub.client.raise_workflow_event(instance_id, "next")
    hub.eventually(lambda: shows(None), "the status is gone")
    hub.client.raise_workflow_event(instance_id, "next")
    assert hub.finish(instance_id).serialized_custom_status is None


def test_094_the_custom_status_is_still_there_at_the_end(hub: Hub) -> None:
    @hub.workflow
    def report(ctx: WorkflowContext) -> Run:
        ctx.set_custom_status("half way")
        yield ctx.create_timer(timedelta(0))

    assert hub.run(report).serialized_custom_status == "half way"


def test_094_the_custom_status_of_an_older_generation_is_gone(hub: Hub) -> None:
    @hub.workflow
    def renew(ctx: WorkflowContext, generation: int) -> Run:
        if generation == 1:
            ctx.set_custom_status("first generation")
            yield ctx.wait_for_external_event("renew")
            ctx.continue_as_new(2)
        yield ctx.wait_for_external_event("go")

    instance_id = hub.start(renew, 1)
    hub.client.wait_for_workflow_start(instance_id, timeout_in_seconds=10)
    assert hub.state(instance_id).serialized_custom_status == "first generation"
    hub.client.raise_workflow_event(instance_id, "renew")
    hub.eventually(lambda: hub.state(instance_id).serialized_custom_status is None, "the status is gone")
    hub.client.raise_workflow_event(instance_id, "go")
    assert hub.finish(instance_id).serialized_custom_status is None


def test_094_a_worker_that_leaves_the_custom_status_out_clears_it(own: OwnHub) -> None:
    with HandWorker(own) as worker:
        instance_id = own.start_soon(own.workflow(_make_waiting()))
        item = worker.turn(instance_id)
        worker.answer(item, [], custom_status="set")
        own.client.wait_for_workflow_start(instance_id, timeout_in_seconds=10)
        assert own.state(instance_id).serialized_custom_status == "set"
        own.client.raise_workflow_event(instance_id, "anything")
        worker.answer(worker.turn(instance_id), [])
        own.eventually(lambda: own.state(instance_id).serialized_custom_status is None, "the status is gone")
