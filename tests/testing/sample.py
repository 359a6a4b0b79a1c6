"""Workflows and activities that tests of the testing kit run; none of them is known at module level."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from dapr_workflow_sdk import RetryPolicy, Task, WorkflowActivityContext, WorkflowContext, when_all, when_any
from dapr_workflow_sdk.testing import WorkflowEnvironment

PATIENTLY = RetryPolicy(first_retry_interval=timedelta(minutes=1), max_number_of_attempts=3, backoff_coefficient=2)


@dataclass
class Order:
    item: str
    amount: float


def reserve(ctx: WorkflowActivityContext, order: Order) -> str:
    return f"{order.item} reserved"


def charge(ctx: WorkflowActivityContext, amount: float) -> str:
    return f"receipt over {amount:.2f}"


async def ship(ctx: WorkflowActivityContext, order: Order) -> str:
    await asyncio.sleep(0)
    return f"{order.item} shipped"


def buy(ctx: WorkflowContext, order: Order) -> Generator[Task[Any], Any, str]:
    """Three activities, the second with retries, and two days in between."""
    yield from ctx.call_activity(reserve, input=order)
    ctx.set_custom_status("reserved")
    receipt = yield from ctx.call_activity(charge, input=order.amount, retry_policy=PATIENTLY)
    yield from ctx.create_timer(timedelta(days=2))
    yield from ctx.call_activity(ship, input=order)
    return receipt


async def approve(ctx: WorkflowContext) -> str:
    """Waits for ever."""
    ctx.set_custom_status({"waits": "for approval"})
    return str(await ctx.wait_for_external_event("approval"))


async def approve_soon(ctx: WorkflowContext) -> str:
    """Waits for three days."""
    try:
        return str(await ctx.wait_for_external_event("approval", timeout=timedelta(days=3)))
    except TimeoutError:
        return "nobody came"


async def race(ctx: WorkflowContext) -> str:
    """An activity against a clock."""
    slow = ctx.call_activity(charge, input=1.0)
    limit = ctx.create_timer(timedelta(hours=1))
    winner = await when_any([slow, limit])
    return "charged" if winner is slow else "too slow"


async def parent(ctx: WorkflowContext, items: list[str]) -> list[str]:
    """Children side by side."""
    return await when_all([ctx.call_child_workflow(buy, input=Order(item, 1.0)) for item in items])


async def waiting_parent(ctx: WorkflowContext) -> str:
    return await ctx.call_child_workflow(approve, instance_id="the-child")


async def monitor(ctx: WorkflowContext, rounds: int) -> int:
    """Looks every day, and begins anew every ten rounds."""
    for _ in range(min(rounds, 10)):
        await ctx.create_timer(timedelta(days=1))
    if rounds > 10:
        ctx.continue_as_new(rounds - 10)
    return rounds


async def long_monitor(ctx: WorkflowContext, rounds: int) -> str:
    """Looks every 26 hours and 18 minutes, in one execution."""
    for _ in range(rounds):
        await ctx.create_timer(timedelta(hours=26, minutes=18))
    return ctx.current_utc_datetime.date().isoformat()


async def fail(ctx: WorkflowContext) -> None:
    """Fails by itself."""
    await ctx.create_timer(timedelta(seconds=1))
    raise LookupError("no such thing")


async def elsewhere(ctx: WorkflowContext, amount: float) -> str:
    """Calls an activity of another app."""
    return str(await ctx.call_activity("invoice", input=amount, app_id="billing"))


async def child_elsewhere(ctx: WorkflowContext, amount: float) -> str:
    return str(await ctx.call_child_workflow("settle", input=amount, app_id="billing"))


WORKFLOWS = [
    buy, approve, approve_soon, race, parent, waiting_parent, monitor, long_monitor, fail, elsewhere, child_elsewhere,
]  # fmt: skip
ACTIVITIES = [reserve, charge, ship]
BOOK = Order("book", 12.5)


def environment(**options: Any) -> WorkflowEnvironment:
    """An environment that knows all of them."""
    return WorkflowEnvironment(workflows=WORKFLOWS, activities=ACTIVITIES, **options)
