"""A worker comes back to its task hub, for ever, and does not storm it."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from dapr_workflow_sdk import WorkflowActivityContext, WorkflowClient, WorkflowContext, WorkflowRuntime
from tests.sidecar.ports import free_port
from tests.worker.support import FakeSidecar, activity_item, eventually, python_child, within
from tests.worker.test_runtime import calls_echo, echo, finish, rude_listener

_ENGINE = """
import sys, threading
from dapr_workflow_sdk import EmbeddedEngine
with EmbeddedEngine(sys.argv[1]) as engine, engine.serve(grpc_port=int(sys.argv[2])):
    print("ready", flush=True)
    threading.Event().wait()
"""


def test_a_worker_and_a_waiting_client_outlive_an_engine_that_is_killed(tmp_path: Path) -> None:
    port, path = free_port(), str(tmp_path / "engine.db")
    runtime = WorkflowRuntime("127.0.0.1", port, shutdown_timeout=0.5)
    runtime.register_workflow(calls_echo)
    runtime.register_activity(echo)
    gate, entered, runs = threading.Event(), threading.Event(), []

    @runtime.activity
    def slow(ctx: WorkflowActivityContext) -> str:
        runs.append(ctx.task_execution_id)
        entered.set()
        gate.wait(20)
        return "slow"

    @runtime.workflow
    def calls_slow(ctx: WorkflowContext) -> Any:
        return (yield ctx.call_activity(slow))

    outputs: list[str | None] = []
    with WorkflowClient("127.0.0.1", port) as client:
        with python_child(_ENGINE, path, str(port)) as first:
            first.says("ready")
            runtime.start()
            assert finish(client, client.schedule_new_workflow(calls_echo, input=1)) == "1"
            instance_id = client.schedule_new_workflow(calls_slow)
            assert entered.wait(5)
            waiting = threading.Thread(target=lambda: outputs.append(finish(client, instance_id, 30)), daemon=True)
            waiting.start()
            time.sleep(0.3)  # By now the wait has reached the engine.
            first.kill()
        eventually(lambda: not runtime.is_worker_ready(), "the end of the connection")
        gate.set()
        with python_child(_ENGINE, path, str(port)) as second:
            second.says("ready")
            began = time.monotonic()
            eventually(runtime.is_worker_ready, "the worker's return", 15)
            assert time.monotonic() - began < 8
            waiting.join(10)
            assert outputs == ['"slow"']
            assert len(runs) == 2, "the activity ran again: its result never arrived"
            assert len(set(runs)) == 1, "with the same idempotency key"
            assert finish(client, client.schedule_new_workflow(calls_echo, input=2)) == "2"
            within(runtime.shutdown, 5, "shutdown")


def test_a_wait_that_begins_while_the_engine_restarts_outlives_that_too(tmp_path: Path) -> None:
    port, path = free_port(), str(tmp_path / "engine.db")
    outcomes: list[Any] = []

    def wait_for_end() -> None:
        try:
            outcomes.append(finish(client, instance_id, 10))
        except BaseException as error:
            outcomes.append(error)

    with WorkflowClient("127.0.0.1", port) as client:
        with python_child(_ENGINE, path, str(port)) as first:
            first.says("ready")
            instance_id = client.schedule_new_workflow("nobody")
            first.kill()
        waiting = threading.Thread(target=wait_for_end, daemon=True)
        waiting.start()
        with python_child(_ENGINE, path, str(port)) as second:
            second.says("ready")
            assert outcomes == [], "the wait is over before anything could happen"
            eventually(lambda: client.get_workflow_state(instance_id) is not None, "the engine's return")
            client.terminate_workflow(instance_id, output="end")
            waiting.join(8)
            assert outcomes == ['"end"']


def test_a_worker_whose_hub_is_gone_can_be_shut_down(tmp_path: Path) -> None:
    port = free_port()
    runtime = WorkflowRuntime("127.0.0.1", port, shutdown_timeout=5)
    with python_child(_ENGINE, str(tmp_path / "engine.db"), str(port)) as engine:
        engine.says("ready")
        runtime.start()
        engine.kill()
    eventually(lambda: not runtime.is_worker_ready(), "the end of the connection")
    began = time.monotonic()
    within(runtime.shutdown, 8, "shutdown")
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.NOT_FOUND,
    ],
)
def test_a_worker_comes_back_whatever_ended_its_stream(code: grpc.StatusCode) -> None:
    with FakeSidecar() as sidecar:
        sidecar.ends = (code, "shutting down")
        runtime = WorkflowRuntime("127.0.0.1", sidecar.port, shutdown_timeout=0.3)
        runtime.register_activity(lambda ctx: 1, name="work")
        with runtime:
            eventually(lambda: sidecar.subscriptions >= 3, "two more subscriptions")
            sidecar.ends = None
            sidecar.items = [activity_item("work")]
            eventually(lambda: sidecar.completions, "work after all", 15)


def test_a_stream_that_ends_at_once_every_time_is_opened_ever_more_seldom() -> None:
    with FakeSidecar() as sidecar:
        sidecar.ends = (grpc.StatusCode.UNAVAILABLE, "unable to establish work item stream at this time")
        runtime = WorkflowRuntime("127.0.0.1", sidecar.port, shutdown_timeout=0.3)
        with runtime:
            time.sleep(2)
            assert 2 <= sidecar.subscriptions <= 8
            assert sum(name == "Hello" for name, _ in sidecar.calls) <= 12


def test_a_hub_that_is_gone_is_not_stormed() -> None:
    connections: list[float] = []
    with FakeSidecar() as sidecar:
        runtime = WorkflowRuntime("127.0.0.1", sidecar.port, shutdown_timeout=0.3)
        runtime.start()
        port = sidecar.port
    import socket

    with socket.create_server(("127.0.0.1", port)) as listening:
        listening.settimeout(0.1)
        end = time.monotonic() + 2
        while time.monotonic() < end:
            try:
                connection, _ = listening.accept()
            except TimeoutError:
                continue
            connections.append(time.monotonic())
            connection.close()
        assert 1 <= len(connections) <= 8, f"{len(connections)} connections in 2 s"
        within(runtime.shutdown, 5, "shutdown")


_CPU = """
import os, sys, time
from dapr_workflow_sdk import WorkflowRuntime
import logging; logging.basicConfig(level=logging.CRITICAL)
runtime = WorkflowRuntime("127.0.0.1", int(sys.argv[1]), shutdown_timeout=0.2)
runtime.start()
print("up", flush=True)
sys.stdin.readline()
before = time.process_time()
time.sleep(2)
print("cpu", time.process_time() - before, flush=True)
runtime.shutdown()
"""


def test_waiting_for_a_hub_that_is_gone_takes_hardly_any_time_of_the_processor() -> None:
    import subprocess

    from tests.worker.support import environment

    with FakeSidecar() as sidecar:
        child = subprocess.Popen(
            [sys.executable, "-c", _CPU, str(sidecar.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == "up\n"
    with rude_listener([]):
        child.stdin.write("go\n")
        child.stdin.flush()
        used = float(child.stdout.readline().removeprefix("cpu "))
        child.communicate(timeout=10)
    assert used < 0.2


def test_every_loss_is_said_once_and_names_the_hub(caplog: pytest.LogCaptureFixture) -> None:
    with FakeSidecar() as sidecar:
        runtime = WorkflowRuntime("127.0.0.1", sidecar.port, shutdown_timeout=0.3)
        with runtime:
            sidecar.hang_up()
            eventually(lambda: sidecar.subscriptions == 2, "another subscription")
            eventually(runtime.is_worker_ready, "the worker")
    (line,) = [r.getMessage() for r in caplog.records if r.name == "dapr_workflow_sdk.worker"]
    assert f"127.0.0.1:{sidecar.port}" in line
    assert ".." not in line


def test_a_worker_of_an_engine_of_its_process_gives_up_when_that_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    """A closed engine does not come back, so there is nothing to connect to again."""
    from dapr_workflow_sdk import EmbeddedEngine

    engine = EmbeddedEngine()
    runtime = WorkflowRuntime(engine=engine, shutdown_timeout=0.3)
    runtime.start()
    engine.close()
    eventually(lambda: not runtime.is_worker_ready(), "the end of the stream")
    time.sleep(0.8)
    runtime.shutdown()
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) <= 1, warnings
