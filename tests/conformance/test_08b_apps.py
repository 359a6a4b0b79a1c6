"""Scenario 127 of the conformance list: activities and child workflows of another app."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from typing import Any

import pytest

from dapr_workflow_sdk import (
    EmbeddedEngine,
    RetryPolicy,
    Task,
    TaskFailedError,
    WorkflowActivityContext,
    WorkflowContext,
    WorkflowStatus,
    when_all,
)
from tests.conformance.hubs import Hub, kind_of
from tests.sidecar.cluster import DaprSidecar

Run = Generator[Task[Any], Any, Any]

# The app of the session's hubs, and the other one.
_HERE, _THERE = "app", "there"


def _app_of(hub: Hub, app_id: str) -> Hub:
    """Another app on the same engine."""
    if hub.engine is not None:
        assert isinstance(hub.engine, EmbeddedEngine)
        return Hub(hub.kind, engine=hub.engine.app(app_id))
    return Hub(hub.kind, grpc_port=hub.grpc_port, app_id=app_id)


@pytest.fixture(scope="module")
def there(hub: Hub, request: pytest.FixtureRequest) -> Iterator[Hub]:
    """The app "there" beside the app of `hub`, with a worker of its own."""
    with ExitStack() as stack:
        if hub.is_daprd:
            sidecar: DaprSidecar = request.getfixturevalue("dapr_cluster").sidecar(_THERE)
            stack.callback(sidecar.stop)
            there = Hub(hub.kind, grpc_port=sidecar.grpc_port)
        else:
            there = _app_of(hub, _THERE)
        stack.enter_context(there.runtime)
        stack.enter_context(there.client)
        yield there


def _both(here: Hub, there: Hub, kind: str, name: str, make: Callable[[str], Callable[..., Any]]) -> str:
    """Registers a function of one name in both apps; each is made for its app."""
    name = here.fresh(name)
    for hub, where in ((here, "here"), (there, "there")):
        getattr(hub.runtime, f"register_{kind}")(make(where), name=name)
    return name


def _place(where: str) -> Callable[..., Any]:
    def place(ctx: WorkflowActivityContext, value: Any = None) -> list[Any]:
        return [where, value, ctx.workflow_id]

    return place


def test_127_an_activity_of_another_app_runs_there(hub: Hub, there: Hub) -> None:
    place = _both(hub, there, "activity", "place", _place)

    @hub.workflow
    def call(ctx: WorkflowContext) -> Run:
        results = [(yield ctx.call_activity(place, input=1))]
        results.append((yield ctx.call_activity(place, input=2, app_id=_THERE)))
        results.append((yield ctx.call_activity(place, input=3)))
        return results

    instance_id = hub.start(call)
    state = hub.finish(instance_id)
    assert json.loads(state.serialized_output or "") == [
        ["here", 1, instance_id],
        ["there", 2, instance_id],
        ["here", 3, instance_id],
    ]
    if hub.has_history:
        calls = [event for event in hub.history(instance_id) if kind_of(event) == "taskScheduled"]
        assert [event.router.targetAppID for event in calls] == ["", _THERE, ""]
        assert {event.router.sourceAppID for event in calls} == {_HERE}


def test_127_both_apps_work_at_the_same_time(hub: Hub, there: Hub) -> None:
    place = _both(hub, there, "activity", "place", _place)

    @hub.workflow
    def fan(ctx: WorkflowContext) -> Run:
        apps = [_THERE if number % 2 else None for number in range(10)]
        results = yield when_all(
            [ctx.call_activity(place, input=number, app_id=app) for number, app in enumerate(apps)]
        )
        return [where for where, _, _ in results]

    assert json.loads(hub.run(fan).serialized_output or "") == ["here", "there"] * 5


def test_127_a_failure_of_another_app_reaches_the_workflow(hub: Hub, there: Hub) -> None:
    def refuse(ctx: WorkflowActivityContext) -> None:
        raise ValueError("not here either")

    name = there.fresh("refuse")
    there.runtime.register_activity(refuse, name=name)

    @hub.workflow
    def call(ctx: WorkflowContext) -> Run:
        try:
            yield ctx.call_activity(name, app_id=_THERE)
        except TaskFailedError as error:
            return [error.details.error_type, error.details.message]

    assert hub.run(call).serialized_output == '["ValueError", "not here either"]'


def test_127_a_call_of_another_app_is_tried_again_there(hub: Hub, there: Hub) -> None:
    tries: list[str] = []
    name = there.fresh("flaky")

    def flaky(ctx: WorkflowActivityContext) -> int:
        tries.append(ctx.task_execution_id)
        if len(tries) < 3:
            raise ValueError("not yet")
        return len(tries)

    there.runtime.register_activity(flaky, name=name)

    @hub.workflow
    def call(ctx: WorkflowContext) -> Run:
        policy = RetryPolicy(first_retry_interval=timedelta(milliseconds=1), max_number_of_attempts=3)
        return (yield ctx.call_activity(name, app_id=_THERE, retry_policy=policy))

    assert hub.run(call).serialized_output == "3"
    assert len(tries) == 3
    assert len(set(tries)) == 1


def test_127_a_child_of_another_app_lives_there_and_answers(hub: Hub, there: Hub) -> None:
    place = _both(hub, there, "activity", "place", _place)
    name = there.fresh("kid")

    def kid(ctx: WorkflowContext, value: int) -> Run:
        near = yield ctx.call_activity(place, input=value)
        back = yield ctx.call_activity(place, input=value + 1, app_id=_HERE)
        word = yield ctx.wait_for_external_event("word")
        return [near, back, word]

    there.runtime.register_workflow(kid, name=name)

    @hub.workflow
    def parent(ctx: WorkflowContext, child_id: str) -> Run:
        return (yield ctx.call_child_workflow(name, input=1, instance_id=child_id, app_id=_THERE))

    child_id = hub.fresh("kid")
    instance_id = hub.start(parent, child_id)
    there.eventually(lambda: there.client.get_workflow_state(child_id), "the child is there")
    assert hub.client.get_workflow_state(child_id) is None
    assert there.client.get_workflow_state(instance_id) is None
    there.client.raise_workflow_event(child_id, "word", data="done")
    state = hub.finish(instance_id)
    assert json.loads(state.serialized_output or "") == [["there", 1, child_id], ["here", 2, child_id], "done"]
    assert there.finish(child_id).serialized_output == state.serialized_output


def test_127_a_child_of_another_app_that_fails_fails_in_its_parent(hub: Hub, there: Hub) -> None:
    name = there.fresh("kid")

    def kid(ctx: WorkflowContext) -> None:
        raise ValueError("no luck")

    there.runtime.register_workflow(kid, name=name)

    @hub.workflow
    def parent(ctx: WorkflowContext) -> Run:
        try:
            yield ctx.call_child_workflow(name, app_id=_THERE)
        except TaskFailedError as error:
            return [error.details.error_type, error.details.message]

    assert hub.run(parent).serialized_output == '["ValueError", "no luck"]'


def test_127_an_id_may_be_taken_in_each_app(hub: Hub, there: Hub) -> None:
    def wait_for(where: str) -> Callable[..., Any]:
        def wait(ctx: WorkflowContext) -> Run:
            return [where, (yield ctx.wait_for_external_event("go"))]

        return wait

    wait, instance_id = _both(hub, there, "workflow", "wait", wait_for), hub.fresh("twin")
    for app in (hub, there):
        app.start(wait, instance_id=instance_id)
    there.client.raise_workflow_event(instance_id, "go", data=2)
    assert there.finish(instance_id).serialized_output == '["there", 2]'
    assert hub.state(instance_id).runtime_status is WorkflowStatus.RUNNING
    there.client.purge_workflow(instance_id)
    hub.client.raise_workflow_event(instance_id, "go", data=1)
    assert hub.finish(instance_id).serialized_output == '["here", 1]'


@pytest.mark.not_on("daprd", reason="on 1.16 a parent with a running child in another app never ends")
def test_127_the_end_of_a_parent_is_the_end_of_its_child_in_another_app(hub: Hub, there: Hub) -> None:
    name, child_id = there.fresh("kid"), there.fresh("kid")

    def kid(ctx: WorkflowContext) -> Run:
        yield ctx.wait_for_external_event("never")

    there.runtime.register_workflow(kid, name=name)

    @hub.workflow
    def parent(ctx: WorkflowContext) -> Run:
        yield ctx.call_child_workflow(name, instance_id=child_id, app_id=_THERE)

    instance_id = hub.start(parent)
    there.eventually(lambda: there.client.get_workflow_state(child_id), "the child is there")
    hub.client.terminate_workflow(instance_id, output="enough")
    assert hub.finish(instance_id).runtime_status is WorkflowStatus.TERMINATED
    assert there.finish(child_id).runtime_status is WorkflowStatus.TERMINATED


@pytest.mark.not_on("daprd", reason="on 1.16 the turn that calls an unknown app never ends, and nothing is told")
def test_127_a_call_of_an_app_without_a_worker_waits_for_one_and_says_so(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    app_id = hub.fresh("later")
    work, kid = hub.fresh("work"), hub.fresh("kid")

    @hub.workflow
    def call(ctx: WorkflowContext) -> Run:
        ctx.set_custom_status("called")
        return (yield when_all([ctx.call_activity(work, app_id=app_id), ctx.call_child_workflow(kid, app_id=app_id)]))

    def warnings() -> list[str]:
        return [record.getMessage() for record in caplog.records if app_id in record.getMessage()]

    with caplog.at_level(logging.WARNING, "dapr_workflow_sdk.engine"):
        instance_id = hub.start(call)
        hub.eventually(lambda: len(warnings()) == 2, "a warning for each call")
    hub.eventually(lambda: hub.state(instance_id).serialized_custom_status, "its turn is over")
    assert all(instance_id in text and "no worker" in text for text in warnings())
    assert hub.state(instance_id).runtime_status is WorkflowStatus.RUNNING

    later = _app_of(hub, app_id)
    later.runtime.register_activity(lambda ctx: "worked", name=work)
    later.runtime.register_workflow(lambda ctx: "grown up", name=kid)
    with later.runtime, closing(later.client):
        assert hub.finish(instance_id).serialized_output == '["worked", "grown up"]'
