"""Scenarios 92, 93, 95 and 96 of the conformance list: histories, lists, and hubs that have nowhere to keep anything."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from dapr_workflow_sdk import (
    EmbeddedEngine,
    RuntimeStateError,
    Task,
    TaskHubError,
    WorkflowClient,
    WorkflowContext,
    WorkflowNotFoundError,
    WorkflowRuntime,
    WorkflowStatus,
)
from dapr_workflow_sdk.authoring.definitions import name_of
from dapr_workflow_sdk.taskhub.port import TaskHub
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.conformance.hubs import Hub, kind_of
from tests.conformance.own_hubs import HandWorker, OwnHub, engine_hub
from tests.sidecar.cluster import DaprCluster

Run = Generator[Task[Any], Any, Any]

_not_before_17 = pytest.mark.not_on("daprd", reason="it came with 1.17")
_not_before_18 = pytest.mark.not_on("daprd", reason="it came with 1.18")


@pytest.fixture
def own(hub: Hub, tmp_path: Path) -> Iterator[OwnHub]:
    """An engine of its own, of the same kind, without a worker."""
    with engine_hub(hub.kind, tmp_path) as own:
        yield own


def _make_waiting() -> Callable[[WorkflowContext], Run]:
    def waiting(ctx: WorkflowContext) -> Run:
        return (yield ctx.wait_for_external_event("go"))

    return waiting


# ---- 92: histories -----------------------------------------------------------------------------------------


@_not_before_17
def test_092_the_history_of_what_is_not_there_is_not_found(hub: Hub) -> None:
    missing = hub.fresh("missing")
    with pytest.raises(WorkflowNotFoundError) as caught:
        hub.history(missing)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert caught.value.details() == f"workflow instance '{missing}' not found"


@_not_before_17
def test_092_a_history_is_that_of_the_current_execution_so_far(hub: Hub) -> None:
    @hub.workflow
    def renew(ctx: WorkflowContext, generation: int | None) -> Run:
        taken = yield ctx.wait_for_external_event("go")
        if generation is None:
            ctx.continue_as_new(2)
        return taken

    def waits(generation: str) -> bool:
        history = hub.history(instance_id)
        return len(history) > 2 and history[1].executionStarted.input.value == generation

    instance_id = hub.start(renew)
    begun = ["workflowStarted", "executionStarted", "timerCreated"]
    for generation in ("", "2"):
        hub.eventually(lambda of=generation: waits(of), "it waits")  # type: ignore[misc]
        assert [kind_of(event) for event in hub.history(instance_id)] == begun
        hub.client.raise_workflow_event(instance_id, "go", data=generation)
    assert hub.finish(instance_id).serialized_output == '"2"'
    history = hub.history(instance_id)
    assert [kind_of(event) for event in history] == [*begun, "workflowStarted", "eventRaised", "executionCompleted"]
    moments = [event.timestamp.ToNanoseconds() for event in history if kind_of(event) == "workflowStarted"]
    assert moments == sorted(moments)
    assert all(event.timestamp.ToNanoseconds() > 0 for event in history)


# ---- 93: lists ---------------------------------------------------------------------------------------------


def _page(hub: Hub, token: str | None = None, size: int | None = None) -> pb.ListInstanceIDsResponse:
    request = pb.ListInstanceIDsRequest(continuationToken=token, pageSize=size)
    return hub.ask(lambda port: port.list_ids(request))


def _start_many(hub: Hub, ids: list[str]) -> None:
    async def start(port: TaskHub) -> None:
        requests = [pb.CreateInstanceRequest(instanceId=instance_id, name="listed") for instance_id in ids]
        await asyncio.gather(*(port.start(request) for request in requests))

    hub.ask(start)


@_not_before_17
def test_093_a_list_of_nothing_and_of_one(own: OwnHub) -> None:
    nothing = _page(own)
    assert (list(nothing.instanceIds), nothing.HasField("continuationToken")) == ([], False)
    _start_many(own, ["only"])
    one = _page(own)
    assert (list(one.instanceIds), one.HasField("continuationToken")) == (["only"], False)


@_not_before_17
def test_093_a_page_has_1024_ids(own: OwnHub) -> None:
    ids = [f"i{number:04}" for number in range(1030)]
    _start_many(own, ids)
    first = _page(own)
    assert (len(first.instanceIds), first.HasField("continuationToken")) == (1024, True)
    second = _page(own, first.continuationToken)
    assert (len(second.instanceIds), second.HasField("continuationToken")) == (6, False)
    assert sorted([*first.instanceIds, *second.instanceIds]) == ids


@_not_before_17
def test_093_pages_are_as_long_as_asked_for_and_hold_everything_once(own: OwnHub) -> None:
    ids = [f"i{number}" for number in range(10)]
    _start_many(own, ids)
    for size, lengths in ((3, [3, 3, 3, 1]), (5, [5, 5]), (10, [10]), (11, [10])):
        pages: list[list[str]] = []
        token: str | None = None
        while not pages or token is not None:
            page = _page(own, token, size)
            pages.append(list(page.instanceIds))
            token = page.continuationToken if page.HasField("continuationToken") else None
        assert [len(page) for page in pages] == lengths
        assert sorted(instance_id for page in pages for instance_id in page) == sorted(ids)


@_not_before_17
def test_093_a_page_goes_on_where_the_one_before_ended_whatever_happened_since(own: OwnHub) -> None:
    ids = [f"i{number}" for number in range(6)]
    _start_many(own, ids)
    first = _page(own, size=3)
    for gone in (first.instanceIds[2], next(of for of in ids if of not in first.instanceIds)):
        own.client.terminate_workflow(gone)
        own.client.purge_workflow(gone)
    _start_many(own, ["later"])
    rest = _page(own, first.continuationToken, 10)
    assert len(rest.instanceIds) == 3
    assert set(rest.instanceIds) < {*ids, "later"} - set(first.instanceIds)


@_not_before_17
def test_093_ids_are_listed_as_they_are(own: OwnHub) -> None:
    ids = ["a b", "a||b", "a.b", "a:b", "UPPER", "a-_b", "7", "x" * 200]
    _start_many(own, ids)
    assert sorted(_page(own).instanceIds) == sorted(ids)


@_not_before_17
def test_093_instances_of_every_status_are_listed_until_they_are_removed(own: OwnHub) -> None:
    @own.workflow
    def subject(ctx: WorkflowContext, how: str) -> Run:
        if how == "failed":
            raise ValueError("on purpose")
        if how != "completed":
            yield ctx.wait_for_external_event("never")

    with own.runtime:
        ids = {how: own.start(subject, how) for how in ("completed", "failed", "terminated", "paused", "running")}
        for instance_id in ids.values():
            own.client.wait_for_workflow_start(instance_id, timeout_in_seconds=10)
        own.client.terminate_workflow(ids["terminated"])
        own.client.pause_workflow(ids["paused"])
    ids["pending"] = own.start_soon(subject, "pending")
    assert sorted(_page(own).instanceIds) == sorted(ids.values())
    for how in ("completed", "failed", "terminated"):
        own.client.purge_workflow(ids.pop(how))
    assert sorted(_page(own).instanceIds) == sorted(ids.values())


@_not_before_17
def test_093_an_app_lists_its_own_instances(own: OwnHub) -> None:
    _start_many(own, ["mine"])
    with own.client_of("other") as others:
        others.schedule_new_workflow("listed", instance_id="theirs")
    assert list(_page(own).instanceIds) == ["mine"]


@_not_before_17
def test_093_a_token_that_is_none_is_refused(own: OwnHub) -> None:
    with pytest.raises(TaskHubError) as caught:
        _page(own, "no token")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "'no token'" in caught.value.details()


# ---- 95: nowhere to keep anything --------------------------------------------------------------------------


@pytest.mark.not_on("memory", "daprd", reason="it has no file")
@pytest.mark.parametrize("what", ["a folder", "another file", "below a file"])
def test_095_an_engine_whose_file_cannot_be_used_says_so(hub: Hub, tmp_path: Path, what: str) -> None:
    path = tmp_path / "hub.db"
    if what == "a folder":
        path.mkdir()
    else:
        path.write_text("This is no database, and long enough not to be taken for an empty one. " * 20)
    if what == "below a file":
        path /= "hub.db"
    if hub.kind == "sqlite":
        with pytest.raises(RuntimeStateError) as caught:
            EmbeddedEngine(path)
        told = str(caught.value)
    else:
        command = [sys.executable, "-m", "dapr_workflow_sdk", "engine", "--db", str(path), "--grpc-port", "0"]
        ended = subprocess.run([*command, "--http-port", "0"], capture_output=True, text=True, timeout=30, check=False)
        assert ended.returncode == 2
        told = ended.stderr
        assert "Traceback" not in told
    assert "hub.db" in told.replace("\n", "")


@pytest.mark.not_on("memory", "sqlite", "grpc", reason="an engine brings its store with it")
def test_095_a_sidecar_without_a_state_store_for_actors_says_so(
    hub: Hub, tmp_path: Path, own_cluster: DaprCluster
) -> None:
    component = {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": "statestore"},
        "spec": {
            "type": "state.sqlite",
            "version": "v1",
            "metadata": [
                {"name": "connectionString", "value": str(tmp_path / "state.db")},
                {"name": "actorStateStore", "value": "false"},
            ],
        },
    }
    (tmp_path / "state.yaml").write_text(json.dumps(component))
    sidecar = own_cluster.sidecar("stateless", resources=tmp_path)
    runtime = WorkflowRuntime("127.0.0.1", sidecar.grpc_port)
    runtime.register_workflow(_make_waiting(), name="waiting")
    missing = "the state store is not configured to use the actor runtime"
    # Without a worker it says nothing, as always.
    with runtime, WorkflowClient("127.0.0.1", sidecar.grpc_port) as client:
        for operation in (
            lambda: client.schedule_new_workflow("waiting"),
            lambda: client.raise_workflow_event("any", "go"),
            # Reading an instance, or removing it with its children, would crash this sidecar.
            lambda: client.purge_workflow("any", recursive=False),
        ):
            with pytest.raises(TaskHubError) as caught:
                operation()
            assert caught.value.code() is grpc.StatusCode.INTERNAL
            assert missing in str(caught.value)
            assert missing in caught.value.details()
        address = f"http://127.0.0.1:{sidecar.http_port}/v1.0/workflows/dapr/waiting/start"
        answer = httpx.post(address, trust_env=False, verify=False, timeout=20)
    assert (answer.status_code, answer.json()["errorCode"]) == (500, "ERR_START_WORKFLOW")
    assert missing in answer.json()["message"]


# ---- 96: when it started -----------------------------------------------------------------------------------


@_not_before_18
def test_096_an_instance_has_started_when_its_first_turn_is_over(own: OwnHub) -> None:
    waiting = own.workflow(_make_waiting())

    def state() -> pb.WorkflowState:
        found = own.ask(lambda port: port.state(instance_id, payloads=False))
        assert found is not None
        return found

    with HandWorker(own) as worker:
        instance_id = own.start_soon(waiting)
        assert state().name == name_of(waiting)
        turn = worker.turn(instance_id)
        assert not state().HasField("startedAt")
        worker.play(turn)
        started = state().startedAt.ToNanoseconds()
        assert started >= state().createdTimestamp.ToNanoseconds()
        assert started >= turn.new[0].timestamp.ToNanoseconds()
        own.client.raise_workflow_event(instance_id, "go")
        worker.play(worker.turn(instance_id))
        assert own.finish(instance_id).runtime_status is WorkflowStatus.COMPLETED
    assert state().startedAt.ToNanoseconds() == started
    assert state().completedTimestamp.ToNanoseconds() > started


@_not_before_18
def test_096_an_instance_that_ends_before_any_turn_has_started_as_well(own: OwnHub) -> None:
    instance_id = own.start_soon(own.workflow(_make_waiting()))
    own.client.terminate_workflow(instance_id)
    found = own.ask(lambda port: port.state(instance_id, payloads=False))
    assert found is not None
    assert found.workflowStatus == pb.WORKFLOW_STATUS_TERMINATED
    assert found.HasField("startedAt")
