"""What type checkers must accept, with the types they must infer."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from typing_extensions import assert_type

from dapr_workflow_sdk import Task, WorkflowActivityContext, WorkflowContext, activity, when_all, when_any, workflow
from dapr_workflow_sdk.testing import (
    ActivityEnvironment,
    ActivityStandIn,
    AsyncWorkflowEnvironment,
    WorkflowEnvironment,
    WorkflowRun,
)


@dataclass
class Order:
    total: float


@activity
def price(ctx: WorkflowActivityContext, order: Order) -> float:
    return order.total


@activity(name="ship-it")
async def ship(ctx: WorkflowActivityContext, order: Order) -> str:
    return "tracking"


@workflow
def child(ctx: WorkflowContext, order: Order) -> Generator[Task[Any], Any, int]:
    yield from ctx.call_activity(price, input=order)
    return 1


@workflow(name="parent")
def parent(ctx: WorkflowContext, order: Order) -> Generator[Task[Any], Any, str]:
    assert_type((yield from ctx.call_activity(price, input=order)), float)
    assert_type((yield from ctx.call_activity(ship, input=order)), str)
    assert_type((yield from ctx.call_activity("by-name", input=order)), Any)
    assert_type((yield from ctx.call_child_workflow(child, input=order)), int)
    assert_type((yield from when_all([ctx.call_activity(price, input=order)])), list[float])
    first = ctx.call_activity(price, input=order)
    winner = yield from when_any([first])
    assert_type(winner, Task[float])
    assert_type(winner.get_result(), float)
    return "done"


@workflow
async def waiting(ctx: WorkflowContext, order: Order) -> str:
    assert_type(await ctx.call_activity(price, input=order), float)
    assert_type(await ctx.call_child_workflow(parent, input=order), str)
    assert_type(await ctx.call_child_workflow(waiting, input=order), str)
    return "done"


# Decorated functions keep their signatures, so a test calls them like any other function.
assert_type(price(WorkflowActivityContext("i", 1), Order(1.0)), float)


def plain_workflow(ctx: WorkflowContext, order: Order) -> float:
    return order.total


# Runs in test environments have the type of the workflow's result, stand-ins that of the activity's.
with WorkflowEnvironment() as env:
    assert_type(env.run(parent, Order(1.0)), WorkflowRun[str])
    assert_type(env.run(child, Order(1.0)).result, int)
    assert_type(env.run(waiting, Order(1.0)).result, str)
    assert_type(env.start(plain_workflow, Order(1.0)).result, float)
    assert_type(env.run("by-name").result, Any)
    assert_type(env.activity(price), ActivityStandIn[float])
    assert_type(env.activity(ship), ActivityStandIn[str])
    assert_type(env.activity("by-name"), ActivityStandIn[Any])
    env.activity(price).returns(1.0).raises(ValueError, times=2)
assert_type(ActivityEnvironment().run(price, Order(1.0)), float)
assert_type(ActivityEnvironment().run(ship, Order(1.0)), str)


async def asynchronously() -> None:
    async with WorkflowEnvironment() as env:
        assert_type(env, AsyncWorkflowEnvironment)
        assert_type((await env.run(parent, Order(1.0))).result, str)
        assert_type((await env.start(waiting, Order(1.0))).result, str)
        assert_type(env.activity(ship), ActivityStandIn[str])
    assert_type(await ActivityEnvironment().run_async(ship, Order(1.0)), str)
