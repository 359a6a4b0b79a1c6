"""Scenarios 36 to 46 of the conformance list."""

from __future__ import annotations

import json
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from dapr_workflow_sdk import Task, WorkflowContext, WorkflowStatus
from tests.conformance.hubs import Hub, kind_of

Steps = Generator[Task[Any], Any, Any]


def test_036_an_event_arrives_with_its_payload(hub: Hub) -> None:
    received: dict[str, Any] = {}

    @hub.workflow
    def waiting(ctx: WorkflowContext) -> Steps:
        ctx.set_custom_status("waiting")
        payload = yield ctx.wait_for_external_event("payload")
        received[ctx.instance_id] = payload
        return payload

    values = [{"a": [1, None, "é"], "b": {"c": 1.5}}, 0, "", [], False, "\u2028\\\x22\n\x00", "x" * 100_000]
    started = {hub.start(waiting): value for value in [*values, None]}

    def waits(instance_id: str) -> bool:
        state = hub.client.get_workflow_state(instance_id)
        return state is not None and state.serialized_custom_status == "waiting"

    for instance_id, value in started.items():
        hub.eventually(lambda waiter=instance_id: waits(waiter), "it waits")  # type: ignore[misc]
        hub.client.raise_workflow_event(instance_id, "payload", data=value)
    for instance_id, value in started.items():
        state = hub.finish(instance_id)
        assert state.runtime_status is WorkflowStatus.COMPLETED
        assert received[instance_id] == value
        assert type(received[instance_id]) is type(value)
        assert json.loads(state.serialized_output or "null") == value
        if hub.has_history:
            (raised,) = [e.eventRaised for e in hub.history(instance_id) if kind_of(e) == "eventRaised"]
            assert raised.name == "payload"
            assert json.loads(raised.input.value or "null") == value


def test_037_events_that_come_before_the_wait_are_kept_in_order(hub: Hub) -> None:
    @hub.workflow
    def busy(ctx: WorkflowContext) -> Steps:
        yield ctx.wait_for_external_event("go")
        taken = []
        for _ in range(3):
            payload = yield ctx.wait_for_external_event("data")
            taken.append(payload)
        return taken

    instance_id = hub.start(busy)
    for number in range(3):
        hub.client.raise_workflow_event(instance_id, "data", data=number)
    state = hub.client.get_workflow_state(instance_id)
    assert state is not None
    assert state.runtime_status in (WorkflowStatus.RUNNING, WorkflowStatus.PENDING)
    hub.client.raise_workflow_event(instance_id, "go")
    assert json.loads(hub.finish(instance_id).serialized_output or "") == [0, 1, 2]
    if hub.has_history:
        raised = [e.eventRaised.name for e in hub.history(instance_id) if kind_of(e) == "eventRaised"]
        assert raised == ["data", "data", "data", "go"]


def test_038_a_hundred_concurrent_events_are_each_taken_once(hub: Hub) -> None:
    @hub.workflow
    def collect(ctx: WorkflowContext) -> Steps:
        taken = []
        for _ in range(100):
            payload = yield ctx.wait_for_external_event("number")
            taken.append(payload)
        yield ctx.wait_for_external_event("stop")
        try:
            # All are raised before "stop" is, so one delivered twice would be here.
            extra = yield ctx.wait_for_external_event("number", timeout=timedelta(0))
        except TimeoutError:
            return taken
        return ["too many", extra]

    instance_id = hub.start(collect)
    with ThreadPoolExecutor(25) as threads:
        for raised in [
            threads.submit(hub.client.raise_workflow_event, instance_id, "number", data=number) for number in range(100)
        ]:
            raised.result()
    hub.client.raise_workflow_event(instance_id, "stop")
    taken = json.loads(hub.finish(instance_id, timeout=60).serialized_output or "")
    assert sorted(taken) == list(range(100)), taken


def test_039_upper_and_lower_case_of_event_names_do_not_matter(hub: Hub) -> None:
    @hub.workflow
    def waiting(ctx: WorkflowContext, busy: bool) -> Steps:
        if busy:
            yield ctx.wait_for_external_event("go")
        first = yield ctx.wait_for_external_event("Approval")
        second = yield ctx.wait_for_external_event("approval")
        third = yield ctx.wait_for_external_event("APPROVAL")
        return [first, second, third]

    waited, kept = hub.start(waiting, False), hub.start(waiting, True)
    names = ["aPPROVAL", "APPROVAL", "approval"]
    for instance_id in (waited, kept):
        for number, name in enumerate(names):
            hub.client.raise_workflow_event(instance_id, name, data=number)
    hub.client.raise_workflow_event(kept, "GO")
    for instance_id in (waited, kept):
        assert json.loads(hub.finish(instance_id).serialized_output or "") == [0, 1, 2]
        if hub.has_history:
            raised = [e.eventRaised.name for e in hub.history(instance_id) if kind_of(e) == "eventRaised"]
            assert raised[:3] == names


def test_046_events_of_several_names_are_taken_in_the_order_of_the_waits(hub: Hub) -> None:
    @hub.workflow
    def in_order(ctx: WorkflowContext) -> Steps:
        taken = []
        for name in ("a", "b", "c"):
            payload = yield ctx.wait_for_external_event(name)
            taken.append(payload)
        return taken

    orders = ["abc", "acb", "bac", "bca", "cab", "cba"]
    started = {hub.start(in_order): order for order in orders}
    for instance_id, order in started.items():
        for name in order:
            hub.client.raise_workflow_event(instance_id, name, data=name.upper())
    for instance_id in started:
        assert json.loads(hub.finish(instance_id).serialized_output or "") == ["A", "B", "C"]
