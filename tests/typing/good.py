"""What type checkers must accept, with the types they must infer."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from typing_extensions import assert_type

from dapr_workflow_sdk import Task, WorkflowActivityContext, WorkflowContext, activity, when_all, when_any, workflow


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
