"""Code that changes while instances are on their way: patches and versions, from one worker to the next."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from datetime import timedelta
from typing import Any

import pytest

from dapr_workflow_sdk import (
    NotSupportedError,
    WorkflowClient,
    WorkflowContext,
    WorkflowRuntime,
    WorkflowState,
    WorkflowStatus,
)
from tests.sidecar.cluster import DaprCluster, DaprSidecar
from tests.worker.support import Place, eventually, place_of


@pytest.fixture(params=["in-process", "grpc"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with place_of(request.param) as place:
        yield place


@pytest.fixture(params=[0, 100], ids=["replayed", "parked"])
def parked(request: pytest.FixtureRequest) -> int:
    limit: int = request.param
    return limit


def worker(place: Place, parked: int, *workflows: Callable[..., Any]) -> WorkflowRuntime:
    runtime = place.runtime(max_parked_instances=parked)
    for workflow in workflows:
        runtime.register_workflow(workflow, name="changing_order")
    return runtime


def old(ctx: WorkflowContext) -> Generator[Any, Any, Any]:
    yield ctx.wait_for_external_event("paid")
    yield ctx.wait_for_external_event("sent")
    return "old"


def patched(ctx: WorkflowContext) -> Generator[Any, Any, Any]:
    checked = ctx.is_patched("check first")
    if checked:
        yield ctx.wait_for_external_event("checked")
    yield ctx.wait_for_external_event("paid")
    yield ctx.wait_for_external_event("sent")
    return "patched" if checked else "old"


def done(client: WorkflowClient, instance_id: str) -> WorkflowState:
    state = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=10)
    assert state is not None
    return state


def has_status(client: WorkflowClient, instance_id: str, status: WorkflowStatus) -> None:
    def there() -> bool:
        state = client.get_workflow_state(instance_id)
        return state is not None and state.runtime_status is status

    eventually(there, f"{instance_id} is {status.name}")


def test_old_instances_end_the_old_way_and_new_ones_the_new(place: Place, parked: int) -> None:
    client = place.client()
    with worker(place, parked, old):
        client.schedule_new_workflow("changing_order", instance_id="old")
        client.raise_workflow_event("old", "paid")
        client.wait_for_workflow_start("old", timeout_in_seconds=10)
    with worker(place, parked, patched):
        client.schedule_new_workflow("changing_order", instance_id="new")
        client.wait_for_workflow_start("new", timeout_in_seconds=10)
    # Another worker replays both.
    with worker(place, parked, patched):
        for event in ("checked", "paid", "sent"):
            client.raise_workflow_event("new", event)
        client.raise_workflow_event("old", "sent")
        assert done(client, "old").serialized_output == '"old"'
        assert done(client, "new").serialized_output == '"patched"'


def test_code_that_has_lost_a_patch_waits_until_it_is_back(place: Place, parked: int) -> None:
    client = place.client()
    with worker(place, parked, patched):
        client.schedule_new_workflow("changing_order", instance_id="one")
        client.wait_for_workflow_start("one", timeout_in_seconds=10)
    with worker(place, parked, old):
        client.raise_workflow_event("one", "checked")
        has_status(client, "one", WorkflowStatus.STALLED)
    with worker(place, parked, patched):
        for event in ("paid", "sent"):
            eventually(lambda event=event: _raised(client, event), "the instance takes events again")
        assert done(client, "one").serialized_output == '"patched"'


def _raised(client: WorkflowClient, event: str) -> bool:
    try:
        client.raise_workflow_event("one", event)
    except Exception as error:
        assert "stalled" in str(error)
        return False
    return True


# ---- versions ----------------------------------------------------------------------------------------------


def first(ctx: WorkflowContext) -> Generator[Any, Any, Any]:
    yield ctx.wait_for_external_event("go")
    return "first"


def second(ctx: WorkflowContext) -> Generator[Any, Any, Any]:
    yield ctx.create_timer(timedelta(0))
    yield ctx.wait_for_external_event("go")
    return "second"


def versioned(place: Place, parked: int, **versions: Callable[..., Any]) -> WorkflowRuntime:
    """A worker with these versions, the last of them the latest."""
    runtime = place.runtime(max_parked_instances=parked)
    for name, function in versions.items():
        runtime.register_versioned_workflow(function, name="changing_order", version_name=name, is_latest=True)
    return runtime


def test_instances_stay_with_the_version_they_began_with(place: Place, parked: int) -> None:
    client = place.client()
    with versioned(place, parked, v1=first):
        client.schedule_new_workflow("changing_order", instance_id="one")
        client.wait_for_workflow_start("one", timeout_in_seconds=10)
    with versioned(place, parked, v1=first, v2=second):
        client.schedule_new_workflow("changing_order", instance_id="two")
        for instance_id in ("one", "two"):
            client.raise_workflow_event(instance_id, "go")
        assert done(client, "one").serialized_output == '"first"'
        assert done(client, "two").serialized_output == '"second"'


def test_an_instance_whose_version_is_gone_waits_until_it_is_back(
    place: Place, parked: int, caplog: pytest.LogCaptureFixture
) -> None:
    client = place.client()
    with versioned(place, parked, v1=first):
        client.schedule_new_workflow("changing_order", instance_id="one")
        client.wait_for_workflow_start("one", timeout_in_seconds=10)
    with versioned(place, parked, v2=second):
        client.raise_workflow_event("one", "go")
        has_status(client, "one", WorkflowStatus.STALLED)
    assert "Version 'v1' of the workflow, with which the instance has begun, is not registered on this" in caplog.text
    with versioned(place, parked, v1=first, v2=second):
        assert done(client, "one").serialized_output == '"first"'


def test_versions_are_decorated_and_stay_functions(place: Place) -> None:
    runtime = place.runtime()

    @runtime.versioned_workflow(name="versioned_greeting", is_latest=False)
    def greet_1(ctx: WorkflowContext) -> str:
        return "hello"

    @runtime.versioned_workflow(name="versioned_greeting", version_name="polite", is_latest=True)
    def greet_2(ctx: WorkflowContext) -> str:
        return "good day"

    assert (greet_1.__name__, greet_2.__name__) == ("greet_1", "greet_2")
    client = place.client()
    with runtime:
        assert done(client, client.schedule_new_workflow(greet_1)).serialized_output == '"good day"'
        assert done(client, client.schedule_new_workflow("versioned_greeting")).serialized_output == '"good day"'


@pytest.fixture(scope="module")
def old_sidecar(dapr_cluster: DaprCluster) -> Iterator[DaprSidecar]:
    """A sidecar of 1.16 that no other test's worker is connected to."""
    sidecar = dapr_cluster.sidecar("changing-code")
    yield sidecar
    sidecar.stop()


def test_a_sidecar_that_keeps_no_versions_is_refused(old_sidecar: DaprSidecar) -> None:
    runtime = WorkflowRuntime("127.0.0.1", old_sidecar.grpc_port)
    runtime.register_versioned_workflow(first, name="order-with-versions", is_latest=True)
    with pytest.raises(NotSupportedError, match="need a Dapr sidecar of version 1.17 or newer"):
        runtime.start()
    assert not runtime.is_worker_ready()


def test_a_sidecar_that_keeps_no_patches_is_told_apart(old_sidecar: DaprSidecar) -> None:
    runtime = WorkflowRuntime("127.0.0.1", old_sidecar.grpc_port)
    runtime.register_workflow(patched, name="patched-order")
    with runtime, WorkflowClient("127.0.0.1", old_sidecar.grpc_port) as client:
        with pytest.raises(NotSupportedError, match="need a Dapr sidecar of version 1.17 or newer"):
            runtime.register_versioned_workflow(first, name="order-with-versions", is_latest=True)
        state = done(client, client.schedule_new_workflow("patched-order"))
    assert state.failure_details is not None
    assert state.failure_details.error_type == "NotSupportedError"
