"""The task hub at the other end of a channel."""

from __future__ import annotations

import logging
import socket
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from dapr_workflow_sdk import EmbeddedEngine, TaskHubError, TaskHubUnavailableError, WorkflowClient, WorkflowRuntime
from dapr_workflow_sdk.portal import PORTAL
from dapr_workflow_sdk.taskhub.address import Address
from dapr_workflow_sdk.taskhub.channel import GrpcTaskHub
from dapr_workflow_sdk.taskhub.failures import of_call
from dapr_workflow_sdk.taskhub.port import TaskHub
from tests.sidecar.ports import free_port
from tests.worker.support import FakeSidecar, activity_item, eventually

CODE = grpc.StatusCode


def tokens(sidecar: FakeSidecar) -> dict[str, str | None]:
    """The token that came with the last call of each method."""
    return {name: metadata.get("dapr-api-token") for name, metadata in sidecar.calls}


def test_the_token_of_the_environment_goes_with_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAPR_API_TOKEN", "secret-1")
    with FakeSidecar(activity_item("work")) as sidecar:
        runtime = WorkflowRuntime("127.0.0.1", sidecar.port)
        runtime.register_activity(lambda ctx: 1, name="work")
        with runtime:
            eventually(lambda: sidecar.completions, "the completion")
            expected = {"Hello": "secret-1", "GetWorkItems": "secret-1", "CompleteActivityTask": "secret-1"}
            assert tokens(sidecar) == expected
            # A token that was changed while the program runs is used for the next calls.
            monkeypatch.setenv("DAPR_API_TOKEN", "secret-2")
            sidecar.hang_up()
            eventually(lambda: len(sidecar.completions) == 2, "the next completion")
            assert set(tokens(sidecar).values()) == {"secret-2"}


def test_without_a_token_there_is_none() -> None:
    with FakeSidecar(activity_item("work")) as sidecar:
        runtime = WorkflowRuntime("127.0.0.1", sidecar.port)
        runtime.register_activity(lambda ctx: 1, name="work")
        with runtime:
            eventually(lambda: sidecar.completions, "the completion")
        assert set(tokens(sidecar).values()) == {None}


def test_a_token_is_in_no_message(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("DAPR_API_TOKEN", "secret-1")
    with FakeSidecar() as sidecar:
        sidecar.hello = (CODE.UNAUTHENTICATED, "invalid api token")
        with pytest.raises(TaskHubUnavailableError) as failed:
            WorkflowRuntime("127.0.0.1", sidecar.port, worker_ready_timeout=1).start()
    assert "secret-1" not in str(failed.value)
    assert "secret-1" not in caplog.text


def test_a_socket_of_the_file_system_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`dapr run --unix-domain-socket` opens no port."""
    path = tmp_path / "s.sock"
    hub = GrpcTaskHub(Address(f"unix:{path}", tls=False, source="test"))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        async def say_hello() -> None:
            try:
                await hub.connect(0.3)
            finally:
                await hub.aclose()

        with pytest.raises(TaskHubUnavailableError, match=r"s\.sock"):
            PORTAL.call(say_hello)


def test_tls_is_used_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain server cannot understand it, which is how it shows."""
    with EmbeddedEngine() as engine, engine.serve() as served:
        monkeypatch.setenv("DAPR_GRPC_ENDPOINT", f"https://127.0.0.1:{served.grpc_port}")
        with WorkflowClient() as client, pytest.raises(TaskHubUnavailableError):
            client.get_workflow_state("x")
        monkeypatch.setenv("DAPR_GRPC_ENDPOINT", f"http://127.0.0.1:{served.grpc_port}")
        with WorkflowClient() as client:
            assert client.get_workflow_state("x") is None


def test_a_new_client_does_not_wait_because_another_one_failed_before() -> None:
    """gRPC shares connections of one process, and with them how long it pauses after a failure: up to five seconds."""
    port = free_port()
    with WorkflowClient("127.0.0.1", port) as old:
        end = time.monotonic() + 4.6
        while time.monotonic() < end:
            with pytest.raises(TaskHubUnavailableError):
                old.get_workflow_state("x")
        with EmbeddedEngine() as engine, engine.serve(grpc_port=port), WorkflowClient("127.0.0.1", port) as new:
            assert new.get_workflow_state("x") is None


def answer(code: grpc.StatusCode, details: str) -> TaskHubError:
    """The error for what a call answered."""
    error = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details=details)
    return of_call(error, "do it", "one", "there")


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        (CODE.UNKNOWN, "no such instance exists", "WorkflowNotFoundError"),
        (CODE.UNKNOWN, "failed to submit termination request: no such instance exists", "WorkflowNotFoundError"),
        (CODE.UNKNOWN, "failed to purge orchestration state: no such instance exists", "WorkflowNotFoundError"),
        (CODE.NOT_FOUND, "workflow instance 'one' not found", "WorkflowNotFoundError"),
        (
            CODE.UNKNOWN,
            "failed to create orchestration instance: an active workflow with ID 'one' already exists",
            "WorkflowAlreadyExistsError",
        ),
        (CODE.ALREADY_EXISTS, "x", "WorkflowAlreadyExistsError"),
        (
            CODE.UNKNOWN,
            "failed to purge orchestration state: orchestration has not yet completed",
            "WorkflowNotFinishedError",
        ),
        (CODE.UNKNOWN, "failed to purge workflow state: workflow has not yet completed", "WorkflowNotFinishedError"),
        (CODE.INVALID_ARGUMENT, "x", "InvalidOperationError"),
        (CODE.UNAVAILABLE, "failed to connect to all addresses", "TaskHubUnavailableError"),
        (CODE.DEADLINE_EXCEEDED, "Deadline Exceeded", "TaskHubUnavailableError"),
        (CODE.UNKNOWN, "did not find address for actor", "TaskHubError"),
        (CODE.INTERNAL, "", "TaskHubError"),
        (CODE.UNIMPLEMENTED, "unknown method", "TaskHubError"),
    ],
)
def test_what_sidecars_of_all_ages_answer_becomes_the_right_error(
    code: grpc.StatusCode, details: str, kind: str
) -> None:
    error = answer(code, details)
    assert type(error).__name__ == kind
    assert error.code() is code
    assert isinstance(error, grpc.RpcError)
    assert details in str(error)
    assert "'one'" in str(error)
    assert "there" in str(error)
    assert str(error).strip() == str(error)


def test_an_answer_without_text_still_says_something() -> None:
    error = answer(CODE.INTERNAL, "")
    assert "INTERNAL" in str(error)
    assert "AioRpcError" not in str(error)
    assert "\n" not in str(error)


def test_a_method_a_sidecar_does_not_have_is_a_plain_error() -> None:
    with FakeSidecar() as sidecar, WorkflowClient("127.0.0.1", sidecar.port) as client:
        with pytest.raises(TaskHubError) as missing:
            client.get_workflow_state("x")
        assert missing.value.code() is CODE.UNIMPLEMENTED


def test_both_hubs_are_the_port() -> None:
    def methods_of(kind: Any) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    with EmbeddedEngine() as engine:
        assert methods_of(TaskHub) <= methods_of(GrpcTaskHub)
        assert methods_of(TaskHub) <= methods_of(engine.hub)
