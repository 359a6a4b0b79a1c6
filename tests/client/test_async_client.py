"""The client for async code: what differs from the synchronous one, on both kinds of task hub."""

from __future__ import annotations

import asyncio
import gc
import inspect
import threading
import weakref
from typing import Any

import pytest

from dapr_workflow_sdk import (
    RuntimeStateError,
    TaskHubUnavailableError,
    WorkflowClient,
    WorkflowContext,
    WorkflowStatus,
    aio,
)
from tests.client.test_histories import Type, charge, note, order
from tests.worker.support import Place, eventually, on_loop


def listener(ctx: WorkflowContext, value: Any = None) -> Any:
    ctx.set_custom_status("waits")
    return [value, (yield ctx.wait_for_external_event("go"))]


def working(place: Place) -> aio.WorkflowClient:
    runtime = place.runtime()
    for workflow in (listener, order, note):
        runtime.register_workflow(workflow)
    runtime.register_activity(charge)
    runtime.start()
    return client_of(place)


def client_of(place: Place) -> aio.WorkflowClient:
    if place.kind == "grpc":
        return aio.WorkflowClient("127.0.0.1", place.port)
    return aio.WorkflowClient(engine=place.engine)


def public(kind: type) -> dict[str, Any]:
    return {name: value for name, value in vars(kind).items() if not name.startswith("_") and callable(value)}


def test_both_faces_have_the_same_methods_and_parameters() -> None:
    ours, theirs = public(aio.WorkflowClient), public(WorkflowClient)
    assert ours.keys() == theirs.keys()
    for name, method in ours.items():
        assert inspect.signature(method).parameters == inspect.signature(theirs[name]).parameters, name
        assert inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method), name
    assert inspect.signature(aio.WorkflowClient) == inspect.signature(WorkflowClient)
    assert aio.DaprWorkflowClient is aio.WorkflowClient


def test_from_the_start_to_the_purge(place: Place) -> None:
    client = working(place)

    @on_loop
    async def life() -> None:
        async with client:
            instance_id = await client.schedule_new_workflow(listener, input={"a": 1}, instance_id="one")
            begun = await client.wait_for_workflow_start(instance_id, timeout_in_seconds=10)
            assert begun is not None
            assert begun.runtime_status is WorkflowStatus.RUNNING
            await client.pause_workflow(instance_id)
            state = await client.get_workflow_state(instance_id)
            assert state is not None
            assert state.runtime_status is WorkflowStatus.SUSPENDED
            await client.resume_workflow(instance_id)
            await client.raise_workflow_event(instance_id, "go", data=0)
            done = await client.wait_for_workflow_completion(instance_id, timeout_in_seconds=10)
            assert done is not None
            assert done.serialized_output == '[{"a": 1}, 0]'
            waiting = await client.schedule_new_workflow(listener)
            await client.terminate_workflow(waiting, output="enough")
            assert [i async for i in client.iter_workflow_instance_ids(page_size=1)] == [instance_id, waiting]
            assert (await client.list_workflow_instance_ids()).instance_ids == [instance_id, waiting]
            assert await client.purge_workflow(instance_id) == 1
            assert await client.get_workflow_state(instance_id) is None

    life()


def test_histories_and_reruns(place: Place) -> None:
    client = working(place)

    @on_loop
    async def run() -> None:
        async with client:
            first = await client.schedule_new_workflow(order, input=1)
            await client.wait_for_workflow_completion(first, timeout_in_seconds=10)
            (call,) = [e for e in await client.get_workflow_history(first) if e.event_type is Type.TASK_SCHEDULED]
            again = await client.rerun_workflow_from_event(first, call.event_id, input=2)
            state = await client.wait_for_workflow_completion(again, timeout_in_seconds=10)
            assert state is not None
            assert state.serialized_output == '["hello", "charged 2"]'

    run()


def test_many_wait_at_once_without_threads_of_their_own(place: Place) -> None:
    client = working(place)

    @on_loop
    async def run() -> None:
        async with client:
            ids = [await client.schedule_new_workflow(listener, input=number) for number in range(50)]
            waits = [asyncio.create_task(client.wait_for_workflow_completion(instance_id)) for instance_id in ids]
            await client.wait_for_workflow_start(ids[-1])
            threads = threading.active_count()
            for instance_id in ids:
                await client.raise_workflow_event(instance_id, "go")
            states = await asyncio.gather(*waits)
            assert [state.serialized_output for state in states if state] == [f"[{n}, null]" for n in range(50)]
            assert threading.active_count() <= threads

    run()


def test_a_wait_can_be_cancelled_and_times_out(place: Place) -> None:
    client = working(place)

    @on_loop
    async def run() -> None:
        async with client:
            instance_id = await client.schedule_new_workflow(listener)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.wait_for_workflow_completion(instance_id), 0.05)
            with pytest.raises(TimeoutError, match="has not ended within 0.01 s"):
                await client.wait_for_workflow_completion(instance_id, timeout_in_seconds=0.01)
            await client.raise_workflow_event(instance_id, "go", data=1)
            assert await client.wait_for_workflow_completion(instance_id, timeout_in_seconds=10) is not None

    run()


def test_one_client_serves_several_loops(place: Place) -> None:
    client = working(place)

    @on_loop
    async def start() -> None:
        await client.schedule_new_workflow(listener, instance_id="shared")

    @on_loop
    async def finish() -> None:
        await client.raise_workflow_event("shared", "go", data="x")
        assert await client.wait_for_workflow_completion("shared", timeout_in_seconds=10) is not None
        await client.close()
        await client.close()

    start()
    finish()


def test_a_closed_client_says_so(place: Place) -> None:
    client = client_of(place)

    @on_loop
    async def run() -> None:
        await client.close()
        with pytest.raises(RuntimeStateError, match="is closed"):
            await client.get_workflow_state("x")

    run()


def test_a_client_that_nobody_closes_closes_its_channel() -> None:
    client = aio.WorkflowClient("127.0.0.1", 1)
    hub = weakref.ref(client._operations._hub)

    @on_loop
    async def ask(client: aio.WorkflowClient) -> None:
        with pytest.raises(TaskHubUnavailableError):
            await client.get_workflow_state("x")

    ask(client)
    del client

    def gone() -> bool:
        gc.collect()
        return hub() is None

    eventually(gone, "the channel is gone")
