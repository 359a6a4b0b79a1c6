"""Activities run by themselves."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from dapr_workflow_sdk import PayloadError, RuntimeStateError, WorkflowActivityContext
from dapr_workflow_sdk.testing import ActivityEnvironment
from tests.testing.sample import BOOK, Order
from tests.worker.support import on_loop


def double(ctx: WorkflowActivityContext, order: Order) -> Order:
    return Order(order.item, order.amount * 2)


async def where(ctx: WorkflowActivityContext) -> str:
    await asyncio.sleep(0)
    return f"{ctx.workflow_id} {ctx.task_id} {ctx.attempt} {ctx.name}"


def rows(ctx: WorkflowActivityContext, count: int) -> int:
    begun = (ctx.heartbeat_details or {"row": 0})["row"]
    for row in range(begun, count):
        if ctx.cancelled or ctx.wait_cancelled(1000.0):
            return row
        ctx.heartbeat({"row": row + 1}, timeout=timedelta(minutes=1))
    return count


def test_an_activity_gets_its_input_and_gives_its_result_as_annotated() -> None:
    assert ActivityEnvironment().run(double, BOOK) == Order("book", 25.0)


def test_an_async_activity_runs_on_a_loop_of_its_own() -> None:
    assert ActivityEnvironment().run(where) == "test-workflow 1 1 where"


def test_the_context_is_what_the_test_says() -> None:
    env = ActivityEnvironment(workflow_id="order-7", task_id=4, attempt=2, task_execution_id="key")
    assert env.run(where) == "order-7 4 2 where"
    assert env.run(lambda_key) == "key"


def lambda_key(ctx: WorkflowActivityContext) -> str:
    return ctx.task_execution_id


def test_heartbeats_are_kept_and_those_of_the_run_before_are_there() -> None:
    env = ActivityEnvironment(heartbeat_details={"row": 3})
    assert env.run(rows, 5) == 5
    assert [beat.details for beat in env.heartbeats] == [{"row": 4}, {"row": 5}]
    assert env.heartbeats[0].timeout == timedelta(minutes=1)


def test_an_activity_is_cancelled_before_or_while_it_runs() -> None:
    env = ActivityEnvironment()
    env.cancel()
    assert env.run(rows, 5) == 0
    while_running = ActivityEnvironment(on_heartbeat=lambda details: details["row"] == 2 and while_running.cancel())
    assert while_running.run(rows, 5) == 2


def test_waiting_for_ever_to_be_cancelled_is_an_error() -> None:
    def wait(ctx: WorkflowActivityContext) -> bool:
        return ctx.wait_cancelled()

    with pytest.raises(RuntimeStateError, match="'wait' waits for ever to be cancelled"):
        ActivityEnvironment().run(wait)


def test_errors_are_the_activitys_own() -> None:
    def fail(ctx: WorkflowActivityContext) -> None:
        raise LookupError("nothing here")

    with pytest.raises(LookupError, match="nothing here"):
        ActivityEnvironment().run(fail)


def test_what_a_workflow_could_not_send_or_receive_fails_here_too() -> None:
    def bad(ctx: WorkflowActivityContext) -> object:
        return object()

    with pytest.raises(PayloadError, match=r"'bad' \(.*\) returned a result that cannot be stored"):
        ActivityEnvironment().run(bad)
    with pytest.raises(PayloadError, match="cannot read its input"):
        ActivityEnvironment().run(double, "book")


def test_nothing_and_plain_json_are_results_too() -> None:
    def nothing(ctx: WorkflowActivityContext) -> None:
        return None

    def plain(ctx, value):  # type: ignore[no-untyped-def]
        return {"got": value}

    assert ActivityEnvironment().run(nothing) is None
    assert ActivityEnvironment().run(plain, [1]) == {"got": [1]}


@on_loop
async def test_in_async_tests_activities_are_awaited() -> None:
    env = ActivityEnvironment()
    assert await env.run_async(where) == "test-workflow 1 1 where"
    assert await env.run_async(double, BOOK) == Order("book", 25.0)
    assert env.run(double, BOOK) == Order("book", 25.0)
    with pytest.raises(RuntimeStateError, match=r"await env\.run_async"):
        env.run(where)
