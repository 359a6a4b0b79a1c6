"""Starting, stopping and registering."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from dapr_workflow_sdk import (
    EmbeddedEngine,
    RegistrationError,
    RuntimeStateError,
    TaskHubUnavailableError,
    WorkflowActivityContext,
    WorkflowClient,
    WorkflowContext,
    WorkflowRuntime,
    WorkflowStatus,
)
from dapr_workflow_sdk.portal import PORTAL
from tests.sidecar.ports import free_port
from tests.worker.support import FakeSidecar, Place, eventually, within


def echo(ctx: WorkflowActivityContext, value: Any) -> Any:
    return value


def calls_echo(ctx: WorkflowContext, value: Any) -> Any:
    result = yield ctx.call_activity(echo, input=value)
    return result


def finish(client: WorkflowClient, instance_id: str, timeout: float = 10) -> str | None:
    """Waits for an instance and returns its output."""
    state = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=timeout)
    assert state is not None
    state.raise_if_failed()
    return state.serialized_output


def run(client: WorkflowClient, workflow: Callable[..., Any] | str = calls_echo, value: Any = 7) -> str | None:
    """Runs a workflow and returns its output."""
    return finish(client, client.schedule_new_workflow(workflow, input=value))


def sdk_threads(before: set[threading.Thread]) -> set[str]:
    """Names of the package's threads that came since, but for the one that lasts."""
    new = {t.name for t in threading.enumerate() if t not in before}
    return {name for name in new if name.startswith("dapr-workflow-") and name != "dapr-workflow-sdk"}


@contextlib.contextmanager
def silent_listener() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@contextlib.contextmanager
def rude_listener(connections: list[float]) -> Iterator[int]:
    """A port that takes connections and closes them at once."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                connections.append(time.monotonic())
                connection.close()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(2)


@pytest.mark.parametrize("kind", ["closed", "silent", "rude"])
def test_without_a_task_hub_start_fails_in_time_and_names_both_ways_out(kind: str) -> None:
    before = set(threading.enumerate())
    with contextlib.ExitStack() as stack:
        if kind == "closed":
            port = free_port()
        elif kind == "silent":
            port = stack.enter_context(silent_listener())
        else:
            port = stack.enter_context(rude_listener([]))
        runtime = WorkflowRuntime("127.0.0.1", port, worker_ready_timeout=0.6)
        began = time.monotonic()
        with pytest.raises(TaskHubUnavailableError) as failed:
            within(runtime.start, 5, "start")
        assert 0.3 < time.monotonic() - began < 2
        text = str(failed.value)
        assert f"127.0.0.1:{port}" in text
        assert "0.6 s" in text
        assert "dapr-workflow run" in text
        assert "dapr run" in text
        assert "EmbeddedEngine" in text
        assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
        assert not runtime.is_worker_ready()
        runtime.shutdown()
    assert sdk_threads(before) == set()


def test_a_start_that_is_refused_says_why_and_does_not_claim_to_have_waited() -> None:
    with FakeSidecar() as sidecar:
        sidecar.hello = (grpc.StatusCode.UNAUTHENTICATED, "invalid api token")
        runtime = WorkflowRuntime("127.0.0.1", sidecar.port, worker_ready_timeout=20)
        with pytest.raises(TaskHubUnavailableError, match="invalid api token") as failed:
            within(runtime.start, 5, "start")
        assert "within 20 s" not in str(failed.value)


def test_a_task_hub_that_comes_late_is_waited_for() -> None:
    port = free_port()
    runtime = WorkflowRuntime("127.0.0.1", port, worker_ready_timeout=10)
    starting = threading.Thread(target=runtime.start, daemon=True)
    starting.start()
    time.sleep(0.3)
    with EmbeddedEngine() as engine, engine.serve(grpc_port=port):
        starting.join(8)
        assert not starting.is_alive()
        assert runtime.is_worker_ready()
        runtime.shutdown()


def test_a_runtime_can_start_after_a_start_that_failed() -> None:
    port = free_port()
    runtime = WorkflowRuntime("127.0.0.1", port, worker_ready_timeout=0.8)
    runtime.register_workflow(calls_echo, name="calls_echo")
    runtime.register_activity(echo, name="echo")
    with pytest.raises(TaskHubUnavailableError):
        runtime.start()
    with EmbeddedEngine() as engine, engine.serve(grpc_port=port), WorkflowClient(engine=engine) as client:
        with runtime:
            assert run(client) == "7"


def test_starting_twice_is_refused(place: Place) -> None:
    runtime = place.runtime()
    runtime.start()
    with pytest.raises(RuntimeStateError, match="running already") as refused:
        runtime.start()
    assert isinstance(refused.value, RuntimeError)
    assert runtime.is_worker_ready()
    runtime.shutdown()


def test_of_two_threads_that_start_a_runtime_one_wins(place: Place) -> None:
    runtime = place.runtime()
    outcomes: list[BaseException | None] = []
    together = threading.Barrier(4)

    def begin() -> None:
        together.wait()
        try:
            runtime.start()
        except RuntimeStateError as error:
            outcomes.append(error)
        else:
            outcomes.append(None)

    threads = [threading.Thread(target=begin, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert len(outcomes) == 4
    assert outcomes.count(None) == 1
    assert runtime.is_worker_ready()


def test_a_runtime_can_be_shut_down_twice_and_started_again(place: Place) -> None:
    runtime, client = place.runtime(), place.client()
    runtime.register_workflow(calls_echo)
    runtime.register_activity(echo)
    runtime.shutdown()
    for _ in range(3):
        runtime.start()
        assert run(client) == "7"
        runtime.shutdown()
        assert not runtime.is_worker_ready()
        assert not runtime.wait_for_worker_ready(0.01)
        runtime.shutdown()


def test_a_shutdown_while_starting_ends_the_start() -> None:
    runtime = WorkflowRuntime("127.0.0.1", free_port(), worker_ready_timeout=20)
    failures: list[BaseException] = []

    def begin() -> None:
        try:
            runtime.start()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=begin, daemon=True)
    thread.start()
    eventually(lambda: runtime._running, "the start")
    within(runtime.shutdown, 5, "shutdown")
    thread.join(3)
    assert not thread.is_alive(), "start goes on after shutdown"
    assert isinstance(failures[0], RuntimeStateError)


def test_with_starts_and_stops_and_lets_errors_through(place: Place) -> None:
    runtime, client = place.runtime(), place.client()
    runtime.register_workflow(calls_echo)
    runtime.register_activity(echo)
    with pytest.raises(ZeroDivisionError), runtime as same:
        assert same is runtime
        assert run(client) == "7"
        raise ZeroDivisionError
    assert not runtime.is_worker_ready()


def test_async_with_runs_async_activities_on_the_callers_loop(place: Place) -> None:
    client = place.client()
    runtime = place.runtime()
    seen: dict[str, Any] = {}

    @runtime.activity
    async def on_loop(ctx: WorkflowActivityContext) -> str:
        seen["loop"], seen["thread"] = asyncio.get_running_loop(), threading.current_thread()
        await asyncio.wait_for(seen["gate"].wait(), 5)
        return "loop"

    @runtime.activity
    def on_thread(ctx: WorkflowActivityContext) -> str:
        seen["pool"] = threading.current_thread()
        return "thread"

    @runtime.workflow
    def both(ctx: WorkflowContext) -> Any:
        first = ctx.call_activity(on_loop)
        second = yield ctx.call_activity(on_thread)
        return [(yield first), second]

    async def main() -> None:
        # A gate of this loop: on another one, waiting for it would fail.
        seen["gate"] = asyncio.Event()
        async with runtime as same:
            assert same is runtime
            instance_id = client.schedule_new_workflow(both)
            await asyncio.sleep(0.02)
            seen["gate"].set()
            output = await asyncio.to_thread(finish, client, instance_id)
            assert output == '["loop", "thread"]'
            assert seen["loop"] is asyncio.get_running_loop()
            assert seen["thread"] is threading.current_thread()
            assert seen["pool"] is not threading.current_thread()
        assert not runtime.is_worker_ready()
        with pytest.raises(ZeroDivisionError):
            async with runtime:
                raise ZeroDivisionError

    asyncio.run(asyncio.wait_for(main(), 15))


def test_async_with_waits_for_running_activities_without_blocking_the_loop(here: Place) -> None:
    client, runtime = here.client(), here.runtime(shutdown_timeout=5)
    entered = threading.Event()

    @runtime.activity
    async def slow(ctx: WorkflowActivityContext) -> str:
        entered.set()
        await asyncio.sleep(0.2)
        return "done"

    @runtime.workflow
    def calls(ctx: WorkflowContext) -> Any:
        return (yield ctx.call_activity(slow))

    async def main() -> str:
        async with runtime:
            instance_id = client.schedule_new_workflow(calls)
            await asyncio.to_thread(entered.wait, 5)
        return instance_id

    instance_id = asyncio.run(asyncio.wait_for(main(), 10))
    assert finish(client, instance_id, 2) == '"done"'


def test_without_async_with_async_activities_run_on_the_loop_of_the_package(here: Place) -> None:
    runtime, client = here.runtime(), here.client()

    @runtime.activity
    async def where(ctx: WorkflowActivityContext) -> bool:
        return asyncio.get_running_loop() is PORTAL.loop

    @runtime.workflow
    def asks(ctx: WorkflowContext) -> Any:
        return (yield ctx.call_activity(where))

    with runtime:
        assert run(client, asks, None) == "true"


def test_functions_can_be_registered_while_the_worker_runs(place: Place) -> None:
    runtime, client = place.runtime(), place.client()
    with runtime:
        runtime.register_workflow(calls_echo, name="late-flow")
        runtime.register_activity(echo, name="echo")

        @runtime.workflow(name="decorated")
        def decorated(ctx: WorkflowContext) -> int:
            return 3

        assert decorated(None) == 3  # type: ignore[arg-type]
        assert run(client, "late-flow") == "7"
        assert run(client, "decorated", None) == "3"
        with pytest.raises(RegistrationError, match="late-flow"):
            runtime.register_workflow(lambda ctx: None, name="late-flow")


def test_several_runtimes_can_have_the_same_functions(place: Place) -> None:
    first, second, client = place.runtime(), place.runtime(), place.client()
    for runtime in (first, second):
        runtime.register_workflow(calls_echo)
        runtime.register_activity(echo)
    with first, second:
        ids = [client.schedule_new_workflow(calls_echo, input=n) for n in range(20)]
        assert [finish(client, i) for i in ids] == [str(n) for n in range(20)]
    with second:
        assert run(client) == "7"


def test_two_workers_for_two_engines_do_not_mix(here: Place) -> None:
    with EmbeddedEngine() as other:
        here_runtime, there_runtime = here.runtime(), WorkflowRuntime(engine=other, shutdown_timeout=0.5)
        here_runtime.register_workflow(lambda ctx: "here", name="where")
        there_runtime.register_workflow(lambda ctx: "there", name="where")
        with here_runtime, there_runtime, WorkflowClient(engine=other) as there:
            assert run(here.client(), "where", None) == '"here"'
            assert run(there, "where", None) == '"there"'


@pytest.mark.parametrize(
    "name",
    [
        "maximum_concurrent_activity_work_items",
        "maximum_concurrent_orchestration_work_items",
        "maximum_thread_pool_workers",
    ],
)
def test_numbers_that_make_no_sense_are_refused(name: str) -> None:
    for number in (0, -1):
        with pytest.raises(ValueError, match=f"{name} must be at least 1"):
            WorkflowRuntime(**{name: number})  # type: ignore[arg-type]


def test_an_engine_and_an_address_are_refused(here: Place) -> None:
    either: list[dict[str, Any]] = [{"host": "127.0.0.1"}, {"port": 50001}]
    for options in either:
        with pytest.raises(ValueError, match="not both"):
            WorkflowRuntime(engine=here.engine, **options)
        with pytest.raises(ValueError, match="not both"):
            WorkflowClient(engine=here.engine, **options)


def test_a_bad_address_is_refused_with_the_name_of_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAPR_GRPC_PORT", "none")
    with pytest.raises(ValueError, match="DAPR_GRPC_PORT"):
        WorkflowRuntime().start()


def test_a_closed_engine_cannot_be_worked_for() -> None:
    engine = EmbeddedEngine()
    engine.close()
    with pytest.raises(TaskHubUnavailableError, match="closed"):
        WorkflowRuntime(engine=engine).start()


def test_shutdown_after_the_engine_was_closed_is_quick_and_quiet(caplog: pytest.LogCaptureFixture) -> None:
    engine = EmbeddedEngine()
    runtime = WorkflowRuntime(engine=engine, shutdown_timeout=5)
    entered, gate = threading.Event(), threading.Event()

    @runtime.activity
    def slow(ctx: WorkflowActivityContext) -> None:
        entered.set()
        gate.wait(5)

    @runtime.workflow
    def calls(ctx: WorkflowContext) -> Any:
        yield ctx.call_activity(slow)

    runtime.start()
    with WorkflowClient(engine=engine) as client:
        client.schedule_new_workflow(calls)
    assert entered.wait(5)
    engine.close()
    gate.set()
    began = time.monotonic()
    within(runtime.shutdown, 6, "shutdown")
    assert time.monotonic() - began < 2
    assert [r.getMessage() for r in caplog.records if r.levelname in ("ERROR", "CRITICAL")] == []


def test_nothing_is_left_of_a_runtime_that_was_shut_down(place: Place) -> None:
    client = place.client()
    before, threads = len(asyncio.all_tasks(PORTAL.loop)), set(threading.enumerate())
    for _ in range(3):
        runtime = place.runtime()
        runtime.register_workflow(calls_echo)
        runtime.register_activity(echo)
        with runtime:
            for _ in range(5):
                run(client)
        eventually(lambda: not sdk_threads(threads), "the end of all threads", 3)
    eventually(lambda: len(asyncio.all_tasks(PORTAL.loop)) <= before, "the end of all tasks", 3)


def test_an_unknown_workflow_fails_with_the_names_that_are_known(place: Place) -> None:
    runtime, client = place.runtime(), place.client()
    runtime.register_workflow(calls_echo, name="known-flow")
    with runtime:
        instance_id = client.schedule_new_workflow("unknown-flow")
        state = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=10)
        assert state is not None
        assert state.runtime_status is WorkflowStatus.FAILED
        assert state.failure_details is not None
        assert "unknown-flow" in state.failure_details.message
        assert "known-flow" in state.failure_details.message
