"""Every method of the client, on both kinds of task hub."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import json
import threading
import time
import weakref
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import grpc
import pytest

from dapr_workflow_sdk import (
    EmbeddedEngine,
    InvalidOperationError,
    PayloadError,
    TaskHubError,
    TaskHubUnavailableError,
    WorkflowAlreadyExistsError,
    WorkflowClient,
    WorkflowContext,
    WorkflowError,
    WorkflowFailedError,
    WorkflowNotFinishedError,
    WorkflowNotFoundError,
    WorkflowRuntime,
    WorkflowStatus,
)
from dapr_workflow_sdk.portal import PORTAL
from tests.sidecar.ports import free_port
from tests.worker.support import Place, eventually, run_python, within

FALSY: list[Any] = [0, False, "", [], {}, 0.0]


def listener(ctx: WorkflowContext, value: Any = "no input") -> Any:
    """Waits for an event and gives back what it got."""
    ctx.set_custom_status("waits")
    event = yield ctx.wait_for_external_event("Go")
    return [value, event]


def fails(ctx: WorkflowContext) -> None:
    raise ValueError("on purpose")


def working(place: Place) -> WorkflowClient:
    """A client, with a worker that knows the workflows above."""
    runtime = place.runtime()
    for workflow in (listener, fails):
        runtime.register_workflow(workflow)
    runtime.start()
    return place.client()


def assert_is_call_error(error: TaskHubError, code: grpc.StatusCode, text: str) -> None:
    """What `except grpc.RpcError` of older programs relies on."""
    assert isinstance(error, grpc.RpcError)
    assert isinstance(error, WorkflowError)
    assert error.code() is code
    assert text in error.details()
    assert text in str(error)


# ---- the life of an instance -----------------------------------------------------------------------------------


def test_from_the_start_to_the_purge(place: Place) -> None:
    client = working(place)
    before = datetime.now(timezone.utc).replace(tzinfo=None) - timedelta(seconds=0.001)
    instance_id = client.schedule_new_workflow(listener, input={"a": 1}, instance_id="order-1")
    assert instance_id == "order-1"
    begun = client.wait_for_workflow_start(instance_id, timeout_in_seconds=5)
    assert begun is not None
    assert begun.runtime_status is WorkflowStatus.RUNNING
    assert begun.serialized_input is None, "payloads are not fetched by default here"
    state = client.get_workflow_state(instance_id)
    assert state is not None
    assert (state.instance_id, state.name) == ("order-1", "listener")
    assert state.serialized_input == '{"a": 1}'
    assert state.serialized_custom_status == "waits", "text is sent as it is, as the official SDK does"
    assert before <= state.created_at <= state.last_updated_at
    assert state.created_at.tzinfo is None
    bare = client.get_workflow_state(instance_id, fetch_payloads=False)
    assert bare is not None
    assert (bare.serialized_input, bare.serialized_custom_status) == (None, None)

    client.pause_workflow(instance_id)
    client.pause_workflow(instance_id)
    state = client.get_workflow_state(instance_id)
    assert state is not None
    assert state.runtime_status is WorkflowStatus.SUSPENDED
    client.raise_workflow_event(instance_id, "go", data={"b": 2})
    client.resume_workflow(instance_id)
    client.resume_workflow(instance_id)
    done = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=5)
    assert done is not None
    assert done.runtime_status is WorkflowStatus.COMPLETED
    assert json.loads(done.serialized_output or "") == [{"a": 1}, {"b": 2}]
    assert done.completed_at is not None
    done.raise_if_failed()
    for operation in (client.pause_workflow, client.resume_workflow, client.terminate_workflow):
        operation(instance_id)
    client.raise_workflow_event(instance_id, "go")
    assert client.get_workflow_state(instance_id) == done
    assert client.purge_workflow(instance_id) == 1
    assert client.get_workflow_state(instance_id) is None


def test_a_failed_instance_says_why(place: Place) -> None:
    client = working(place)
    instance_id = client.schedule_new_workflow("fails")
    state = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=5)
    assert state is not None
    assert state.runtime_status is WorkflowStatus.FAILED
    assert state.failure_details is not None
    assert (state.failure_details.error_type, state.failure_details.message) == ("ValueError", "on purpose")
    assert "in fails" in (state.failure_details.stack_trace or "")
    with pytest.raises(WorkflowFailedError, match="on purpose"):
        state.raise_if_failed()
    assert json.loads(str(state))["status"] == "FAILED"


@pytest.mark.parametrize("value", FALSY, ids=repr)
def test_falsy_payloads_are_not_lost(place: Place, value: Any) -> None:
    client = working(place)
    instance_id = client.schedule_new_workflow(listener, input=value)
    state = client.get_workflow_state(instance_id)
    assert state is not None
    assert state.serialized_input == json.dumps(value)
    client.raise_workflow_event(instance_id, "Go", data=value)
    state = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=5)
    assert state is not None
    assert json.loads(state.serialized_output or "") == [value, value]
    ended = client.schedule_new_workflow(listener)
    client.terminate_workflow(ended, output=value)
    state = client.wait_for_workflow_completion(ended, timeout_in_seconds=5)
    assert state is not None
    assert state.runtime_status is WorkflowStatus.TERMINATED
    assert state.serialized_output == json.dumps(value)


def test_nothing_is_nothing(place: Place) -> None:
    client = working(place)
    instance_id = client.schedule_new_workflow(listener)
    client.raise_workflow_event(instance_id, "Go")
    state = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=5)
    assert state is not None
    assert state.serialized_input is None
    assert json.loads(state.serialized_output or "") == ["no input", None]


# ---- typed errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "operation",
    [
        lambda client: client.raise_workflow_event("nobody", "go"),
        lambda client: client.pause_workflow("nobody"),
        lambda client: client.resume_workflow("nobody"),
        lambda client: client.terminate_workflow("nobody"),
        lambda client: client.purge_workflow("nobody"),
    ],
)
def test_an_unknown_instance_is_said_to_be_unknown(place: Place, operation: Callable[[WorkflowClient], Any]) -> None:
    client = place.client()
    with pytest.raises(WorkflowNotFoundError) as missing:
        operation(client)
    assert_is_call_error(missing.value, grpc.StatusCode.NOT_FOUND, "no such instance exists")
    assert "'nobody'" in str(missing.value)


def test_states_of_unknown_instances_are_none(place: Place) -> None:
    client = place.client()
    assert client.get_workflow_state("nobody") is None
    assert client.wait_for_workflow_start("nobody", timeout_in_seconds=5) is None
    assert client.wait_for_workflow_completion("nobody", timeout_in_seconds=5) is None


def test_an_id_in_use_is_refused(place: Place) -> None:
    client = place.client()
    client.schedule_new_workflow("listener", instance_id="twice")
    with pytest.raises(WorkflowAlreadyExistsError) as taken:
        client.schedule_new_workflow("listener", instance_id="twice")
    assert_is_call_error(
        taken.value, grpc.StatusCode.ALREADY_EXISTS, "an active workflow with ID 'twice' already exists"
    )


def test_what_runs_cannot_be_purged(place: Place) -> None:
    client = place.client()
    client.schedule_new_workflow("listener", instance_id="runs")
    with pytest.raises(WorkflowNotFinishedError) as running:
        client.purge_workflow("runs")
    assert_is_call_error(running.value, grpc.StatusCode.FAILED_PRECONDITION, "orchestration has not yet completed")
    assert "'runs'" in str(running.value)


def test_payloads_that_are_none_are_refused_before_anything_is_sent(place: Place) -> None:
    client = place.client()
    instance_id = client.schedule_new_workflow("listener")
    for operation, what in (
        (
            lambda: client.schedule_new_workflow("listener", input={1}, instance_id="bad"),
            "input of workflow 'listener'",
        ),
        (lambda: client.raise_workflow_event(instance_id, "go", data=object()), "data of event 'go'"),
        (lambda: client.terminate_workflow(instance_id, output={1}), "output"),
    ):
        with pytest.raises(PayloadError, match=what):
            operation()
    assert client.get_workflow_state("bad") is None
    with pytest.raises(InvalidOperationError, match="name"):
        client.raise_workflow_event(instance_id, "")


@pytest.mark.parametrize("name", ["", None, 5])
def test_a_workflow_without_a_name_is_refused(place: Place, name: Any) -> None:
    with pytest.raises((InvalidOperationError, ValueError, TypeError)) as refused:
        place.client().schedule_new_workflow(name)
    assert "name" in str(refused.value)


def test_nobody_there_is_said_soon_and_with_the_address() -> None:
    port = free_port()

    def fail(operation: Callable[[], Any]) -> float:
        began = time.monotonic()
        with pytest.raises(TaskHubUnavailableError) as missing:
            operation()
        assert_is_call_error(missing.value, grpc.StatusCode.UNAVAILABLE, "")
        assert f"127.0.0.1:{port}" in str(missing.value)
        return time.monotonic() - began

    with WorkflowClient("127.0.0.1", port) as client, concurrent.futures.ThreadPoolExecutor(7) as pool:
        operations: list[Callable[[], Any]] = [
            lambda: client.schedule_new_workflow("x"),
            lambda: client.get_workflow_state("x"),
            lambda: client.raise_workflow_event("x", "go"),
            lambda: client.pause_workflow("x"),
            lambda: client.resume_workflow("x"),
            lambda: client.terminate_workflow("x"),
            lambda: client.purge_workflow("x"),
        ]
        for took in [pool.submit(fail, operation) for operation in operations]:
            assert took.result(10) < 5


def test_the_sidecar_may_be_reached_again(place: Place) -> None:
    """A client made and used before its sidecar runs works when that has come up."""
    port = free_port()
    with WorkflowClient("127.0.0.1", port) as client:
        with pytest.raises(TaskHubUnavailableError):
            client.get_workflow_state("x")
        with place.engine.serve(grpc_port=port):

            def answered() -> bool:
                try:
                    return client.get_workflow_state("x") is None
                except TaskHubUnavailableError:
                    return False

            eventually(answered, "an answer", 5)


# ---- waiting ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", ["wait_for_workflow_start", "wait_for_workflow_completion"])
def test_waits_end_in_time_with_the_builtin_error(place: Place, wait: str) -> None:
    client = place.client()
    instance_id = client.schedule_new_workflow("listener")
    began = time.monotonic()
    with pytest.raises(TimeoutError) as late:
        getattr(client, wait)(instance_id, timeout_in_seconds=0.2)
    assert 0.15 < time.monotonic() - began < 1.5
    assert type(late.value) is TimeoutError
    assert instance_id in str(late.value)
    assert "0.2 s" in str(late.value)
    # The wait was taken back and does no harm.
    client.terminate_workflow(instance_id)
    assert client.wait_for_workflow_completion(instance_id, timeout_in_seconds=5) is not None


def test_a_wait_without_a_limit_ends_with_the_instance(place: Place) -> None:
    client = working(place)
    instance_id = client.schedule_new_workflow(listener)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        waits = [pool.submit(client.wait_for_workflow_completion, instance_id) for _ in range(20)]
        time.sleep(0.05)
        client.raise_workflow_event(instance_id, "go")
        for wait in waits:
            state = wait.result(5)
            assert state is not None
            assert state.runtime_status is WorkflowStatus.COMPLETED


def test_a_wait_ends_when_the_instance_is_purged(place: Place) -> None:
    client = working(place)
    instance_id = client.schedule_new_workflow(listener)
    client.wait_for_workflow_start(instance_id, timeout_in_seconds=5)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        wait = pool.submit(client.wait_for_workflow_completion, instance_id, timeout_in_seconds=5)
        client.terminate_workflow(instance_id)
        client.purge_workflow(instance_id)
        state = wait.result(5)
        assert state is None or state.runtime_status is WorkflowStatus.TERMINATED


def test_waits_of_a_closed_engine_end_with_an_error() -> None:
    engine = EmbeddedEngine()
    client = WorkflowClient(engine=engine)
    instance_id = client.schedule_new_workflow("listener")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        wait = pool.submit(client.wait_for_workflow_completion, instance_id)
        time.sleep(0.05)
        engine.close()
        with pytest.raises(TaskHubUnavailableError, match="closed"):
            wait.result(5)
    with pytest.raises(TaskHubUnavailableError, match="closed"):
        client.get_workflow_state(instance_id)


# ---- threads, loops and closing --------------------------------------------------------------------------------


def test_many_threads_share_a_client(place: Place) -> None:
    client = working(place)

    def one(number: int) -> Any:
        instance_id = client.schedule_new_workflow(listener, input=number)
        client.raise_workflow_event(instance_id, "go", data=-number)
        state = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=20)
        assert state is not None
        assert client.purge_workflow(instance_id) == 1
        return json.loads(state.serialized_output or "")

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert list(pool.map(one, range(100))) == [[n, -n] for n in range(100)]


def test_a_client_can_be_used_from_a_running_loop(place: Place) -> None:
    client = working(place)

    async def main() -> WorkflowStatus:
        instance_id = client.schedule_new_workflow(listener)
        client.raise_workflow_event(instance_id, "go")
        state = await asyncio.to_thread(client.wait_for_workflow_completion, instance_id, timeout_in_seconds=5)
        assert state is not None
        return state.runtime_status

    assert asyncio.run(main()) is WorkflowStatus.COMPLETED


def test_closing_twice_and_leaving_with_are_fine(place: Place) -> None:
    client = place.client()
    with client as same:
        assert same is client
        client.get_workflow_state("x")
    client.close()
    client.close()
    with pytest.raises(ZeroDivisionError), place.client():
        raise ZeroDivisionError


def test_a_closed_client_is_not_opened_again_by_accident() -> None:
    """It would be a channel that nobody ever closes."""
    with EmbeddedEngine() as engine, engine.serve() as served:
        client = WorkflowClient("127.0.0.1", served.grpc_port)
        client.get_workflow_state("x")
        client.close()
        with pytest.raises(WorkflowError, match="closed"):
            client.get_workflow_state("x")


def test_closing_a_client_ends_its_waits_with_an_explanation() -> None:
    with EmbeddedEngine() as engine, engine.serve() as served:
        client = WorkflowClient("127.0.0.1", served.grpc_port)
        instance_id = client.schedule_new_workflow("listener")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            wait = pool.submit(client.wait_for_workflow_completion, instance_id)
            time.sleep(0.1)
            client.close()
            with pytest.raises(WorkflowError, match="closed"):
                wait.result(5)


def test_closing_one_client_leaves_the_others_alone(place: Place) -> None:
    first, second = place.client(), place.client()
    first.get_workflow_state("x")
    second.get_workflow_state("x")
    first.close()
    assert second.get_workflow_state("x") is None


def test_an_unclosed_client_is_closed_when_it_is_garbage() -> None:
    with EmbeddedEngine() as engine, engine.serve() as served:
        channels = []
        for _ in range(20):
            client = WorkflowClient("127.0.0.1", served.grpc_port)
            client.get_workflow_state("x")
            hub: Any = client._operations._hub
            channels.append(weakref.ref(hub._channel))
            del client, hub
        gc.collect()
        eventually(lambda: gc.collect() >= 0 and not any(channel() for channel in channels), "the end of the channels")


def test_clients_in_garbage_circles_do_no_harm() -> None:
    """Collected on any thread at any moment, also by the loop's own."""
    with EmbeddedEngine() as engine, engine.serve() as served:

        class Holder:
            def __init__(self) -> None:
                self.me = self
                self.client = WorkflowClient("127.0.0.1", served.grpc_port)

        async def collect() -> int:
            return gc.collect()

        for _ in range(10):
            Holder().client.get_workflow_state("x")
            within(lambda: PORTAL.call(collect), 5, "the collection")


def test_a_program_that_closes_no_client_ends_quietly() -> None:
    code = """
import sys
from dapr_workflow_sdk import EmbeddedEngine, WorkflowClient
engine = EmbeddedEngine()
with engine.serve() as served:
    clients = [WorkflowClient("127.0.0.1", served.grpc_port) for _ in range(5)]
    for client in clients:
        client.get_workflow_state("x")
"""
    done = run_python(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_connections_do_not_pile_up() -> None:
    """Programs make a client per request."""
    with EmbeddedEngine() as engine, engine.serve() as served:
        before = threading.active_count()
        for _ in range(60):
            WorkflowClient("127.0.0.1", served.grpc_port).get_workflow_state("x")
        eventually(lambda: gc.collect() >= 0 and len(asyncio.all_tasks(PORTAL.loop)) < 30, "the end of the clients")
        assert threading.active_count() <= before + 8


# ---- ids and times ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "instance_id",
    ["a", "A-1_b.c", "order:0001", "7", "x" * 200, "parent:0001:0002", "a b", "tenant||order"],
)
def test_ids_that_are_taken(place: Place, instance_id: str) -> None:
    client = place.client()
    assert client.schedule_new_workflow("listener", instance_id=instance_id) == instance_id
    assert client.get_workflow_state(instance_id) is not None


@pytest.mark.parametrize(
    ("instance_id", "problem"),
    [
        ("", "empty"),
        ("x" * 201, "201 characters"),
        ("a::b", "'::'"),
        ("-a", "begins with '-'"),
        (":a", "begins with ':'"),
        (" a", "begins with ' '"),
        ("a/b", "'/'"),
        ("ä", "'ä'"),
        ("a\n", r"'\\n'"),
        ("a\x00b", r"'\\x00'"),
        ("a|b", "single '|'"),
        ("a|||b", r"'\|'"),
        ("a\udcff", "udcff"),
    ],
)
def test_ids_that_some_hub_cannot_work_with_are_refused_everywhere(
    place: Place, instance_id: str, problem: str
) -> None:
    client = place.client()
    with pytest.raises(InvalidOperationError, match=problem) as refused:
        client.schedule_new_workflow("listener", instance_id=instance_id)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "letters, digits" in str(refused.value)


def test_ids_that_are_made_are_different_hexadecimal_numbers(place: Place) -> None:
    client = place.client()
    made = {client.schedule_new_workflow("listener") for _ in range(20)}
    assert len(made) == 20
    assert all(len(name) == 32 and int(name, 16) >= 0 for name in made)


@pytest.mark.parametrize(
    "past",
    [
        datetime.now() - timedelta(days=2),
        datetime.now(timezone.utc) - timedelta(seconds=1),
        datetime(1970, 1, 1),
        datetime(1970, 1, 1, tzinfo=timezone(timedelta(hours=5))),
        datetime.min,
    ],
    ids=["naive", "aware", "epoch", "epoch east", "min"],
)
def test_a_start_in_the_past_is_a_start_now(place: Place, past: datetime) -> None:
    client = working(place)
    instance_id = client.schedule_new_workflow(listener, start_at=past)
    state = client.wait_for_workflow_start(instance_id, timeout_in_seconds=5)
    assert state is not None
    assert state.runtime_status is WorkflowStatus.RUNNING


@pytest.mark.parametrize("kind", ["naive", "utc", "east", "west"])
def test_a_start_in_the_future_is_waited_for(place: Place, kind: str) -> None:
    client = working(place)
    moment = datetime.now(timezone.utc) + timedelta(seconds=0.5)
    zones = {
        "utc": timezone.utc,
        "east": timezone(timedelta(hours=9)),
        "west": timezone(timedelta(hours=-7, minutes=-30)),
    }
    given = moment.replace(tzinfo=None) if kind == "naive" else moment.astimezone(zones[kind])
    instance_id = client.schedule_new_workflow(listener, start_at=given)
    state = client.get_workflow_state(instance_id)
    assert state is not None
    assert state.runtime_status is WorkflowStatus.PENDING
    client.wait_for_workflow_start(instance_id, timeout_in_seconds=5)
    assert moment <= datetime.now(timezone.utc) < moment + timedelta(seconds=2)


def test_the_last_moment_there_is_can_be_a_start(place: Place) -> None:
    client = working(place)
    for moment in (datetime.max, datetime.max.replace(tzinfo=timezone.utc)):
        instance_id = client.schedule_new_workflow(listener, start_at=moment)
        client.terminate_workflow(instance_id)
        assert client.purge_workflow(instance_id) == 1


def test_large_payloads_travel(place: Place) -> None:
    client = working(place)
    large = "x" * 5_000_000
    instance_id = client.schedule_new_workflow(listener, input=large)
    client.raise_workflow_event(instance_id, "go", data=large)
    state = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=20)
    assert state is not None
    assert state.serialized_output is not None
    assert len(state.serialized_output) > 10_000_000


@pytest.mark.parametrize(
    "value", ["\u2028 \x00 \U0001f600 é", "lone \udcff", {"k\ud800": 1}], ids=["odd", "lone", "key"]
)
def test_odd_texts_travel(place: Place, value: Any) -> None:
    client = working(place)
    instance_id = client.schedule_new_workflow(listener, input=value)
    client.raise_workflow_event(instance_id, "go", data=value)
    state = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=10)
    assert state is not None
    assert json.loads(state.serialized_output or "") == [value, value]


@pytest.mark.parametrize("text", ["naïve-events-œ", "x" * 1000, "a/b c"])
def test_odd_names_of_events_and_workflows(place: Place, text: str) -> None:
    client = working(place)
    runtime_name = client.schedule_new_workflow(text)
    state = client.wait_for_workflow_completion(runtime_name, timeout_in_seconds=5)
    assert state is not None
    assert state.name == text
    assert state.runtime_status is WorkflowStatus.FAILED
    instance_id = client.schedule_new_workflow(listener)
    client.raise_workflow_event(instance_id, text)
    client.terminate_workflow(instance_id)


# ---- instances of other apps -----------------------------------------------------------------------------------


def test_a_client_moves_instances_of_another_app(place: Place) -> None:
    """The same engine serves both; the client's own app has an instance of the same id, which nobody touches."""
    here, there = working(place), "billing"
    other = (
        WorkflowRuntime("127.0.0.1", place.port, app_id=there, shutdown_timeout=0.5)
        if place.kind == "grpc"
        else WorkflowRuntime(engine=place.engine.app(there), shutdown_timeout=0.5)
    )
    other.register_workflow(listener)
    with other:
        here.schedule_new_workflow(listener, input="here", instance_id="twin")
        assert here.schedule_new_workflow(listener, input="there", instance_id="twin", app_id=there) == "twin"
        assert here.wait_for_workflow_start("twin", timeout_in_seconds=5, app_id=there) is not None
        here.pause_workflow("twin", app_id=there)
        states = [here.get_workflow_state("twin"), here.get_workflow_state("twin", app_id=there)]
        assert [state.runtime_status for state in states if state] == [WorkflowStatus.RUNNING, WorkflowStatus.SUSPENDED]
        here.resume_workflow("twin", app_id=there)
        here.raise_workflow_event("twin", "go", data=1, app_id=there)
        done = here.wait_for_workflow_completion("twin", timeout_in_seconds=5, app_id=there)
        assert done is not None
        assert done.serialized_output == '["there", 1]'
        assert here.purge_workflow("twin", app_id=there) == 1
        assert here.get_workflow_state("twin", app_id=there) is None
        here.schedule_new_workflow(listener, instance_id="second", app_id=there)
        here.terminate_workflow("second", output="enough", app_id=there)
        ended = here.get_workflow_state("second", app_id=there)
        assert ended is not None
        assert ended.runtime_status is WorkflowStatus.TERMINATED
        state = here.get_workflow_state("twin")
        assert state is not None
        assert state.runtime_status is WorkflowStatus.RUNNING
        assert here.list_workflow_instance_ids().instance_ids == ["twin"]
