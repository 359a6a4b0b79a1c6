"""Tasks that are not waited for, and things that are no tasks."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import timedelta

from dapr_workflow_sdk import (
    Task,
    TaskFailedError,
    WorkflowActivityContext,
    WorkflowContext,
    activity,
    when_all,
    workflow,
)
from tests.determinism.case import Case, Shows
from tests.determinism.shop import charge, check, notify, price_of, refund, reserve, ship

LEAKED: list[WorkflowContext] = []


@workflow
def forgets_to_yield(ctx: WorkflowContext, order: str):
    receipt = yield ctx.call_activity(charge, input=order)
    ctx.call_activity(ship, input=order)
    return receipt


@workflow
async def forgets_to_await(ctx: WorkflowContext, order: str):
    ctx.call_activity(reserve, input=order)
    receipt = await ctx.call_activity(charge, input=order)
    ctx.call_activity(notify, input=receipt)
    return receipt


@workflow
def forgets_the_timer(ctx: WorkflowContext, order: str):
    for _ in range(3):
        status = yield ctx.call_activity(check, input=order)
        if status == "done":
            break
        ctx.create_timer(timedelta(minutes=10))
    ctx.call_child_workflow(counting, input=1)
    return status


@workflow
def counting(ctx: WorkflowContext, number: int):
    return (yield ctx.call_activity(check, input=number))


@workflow
def yields_text(ctx: WorkflowContext, order: str):
    yield f"processing {order}"
    yield ctx.call_activity(charge, input=order)


@workflow
def yields_a_list(ctx: WorkflowContext, skus: list):
    prices = yield [ctx.call_activity(price_of, input=sku) for sku in skus]
    return sum(prices)


@workflow
def returns_a_task(ctx: WorkflowContext, order: str):
    yield ctx.call_activity(reserve, input=order)
    return ctx.call_activity(charge, input=order)


@workflow
def reads_too_soon(ctx: WorkflowContext, order: str):
    receipt = ctx.call_activity(charge, input=order)
    parcel = ctx.call_activity(ship, input=order)
    yield parcel
    refunded = ctx.call_activity(refund, input=receipt.get_result())
    return refunded.get_result()


@workflow
def combines_one(ctx: WorkflowContext, order: str):
    results = yield when_all(ctx.call_activity(charge, input=order))
    return results[0]


def pay(ctx: WorkflowContext, order: str):
    receipt = yield ctx.call_activity(charge, input=order)
    return receipt


@workflow
def helper_without_yield_from(ctx: WorkflowContext, order: str):
    yield ctx.call_activity(reserve, input=order)
    pay(ctx, order)
    return (yield ctx.call_activity(ship, input=order))


@workflow
def yields_the_helper(ctx: WorkflowContext, order: str):
    receipt = yield pay(ctx, order)
    return receipt


async def undo(ctx: WorkflowContext, receipt: str) -> None:
    await ctx.call_activity(refund, input=receipt)


@workflow
async def helper_without_await(ctx: WorkflowContext, order: str):
    receipt = await ctx.call_activity(charge, input=order)
    undo(ctx, receipt)
    return await ctx.call_activity(ship, input=order)


@workflow
async def timer_of_a_number(ctx: WorkflowContext, order: str):
    await ctx.call_activity(reserve, input=order)
    await ctx.create_timer(30)
    return "released"


@workflow
def asks_the_task(ctx: WorkflowContext, request: str):
    yield ctx.call_activity(notify, input=request)
    if ctx.wait_for_external_event("approved"):
        yield ctx.call_activity(charge, input=request)
    yield ctx.wait_for_external_event("closed")
    return "paid"


@workflow
def goes_on_after_renewal(ctx: WorkflowContext, runs: int):
    yield ctx.call_activity(check, input=runs)
    if runs > 0:
        ctx.continue_as_new(runs - 1)
        yield ctx.call_activity(notify, input=f"run {runs} is over")
    return "over"


@workflow
def makes_its_own_task(ctx: WorkflowContext, order: str):
    gate: Task[str] = Task()
    yield ctx.call_activity(notify, input=order)
    answer = yield gate
    return answer


@workflow
def lazy_calls(ctx: WorkflowContext, orders: list):
    yield ctx.call_activity(check, input=len(orders))
    map(lambda order: ctx.call_activity(ship, input=order), orders)
    return "shipped"


@workflow
def lazy_comprehension(ctx: WorkflowContext, orders: list):
    parcels = (ctx.call_activity(ship, input=order) for order in orders)
    yield ctx.call_activity(notify, input=f"{len(orders)} parcels")
    return parcels is not None


@activity
def uses_the_context(ctx: WorkflowActivityContext, order: str) -> None:
    LEAKED[-1].call_activity(notify, input=order)


@workflow
def leaks_the_context(ctx: WorkflowContext, order: str):
    LEAKED.append(ctx)
    yield ctx.call_activity(uses_the_context, input=order)
    yield ctx.call_activity(notify, input=order)


@dataclass
class Line:
    sku: str
    lock: object = None


@workflow
def unsendable_input(ctx: WorkflowContext, skus: list):
    lines = [Line(sku, threading.Lock()) for sku in skus]
    yield ctx.call_activity(reserve, input=lines)


@workflow
def set_as_input(ctx: WorkflowContext, skus: list):
    yield ctx.call_activity(reserve, input={sku.upper() for sku in skus})


@workflow
def activity_called_directly(ctx: WorkflowContext, order: str):
    receipt = charge(WorkflowActivityContext(name="charge"), order)
    try:
        yield ctx.call_activity(ship, input=receipt)
    except TaskFailedError:
        refund(WorkflowActivityContext(name="refund"), receipt)
    return receipt


@workflow
async def awaits_a_result(ctx: WorkflowContext, order: str):
    receipt = await ctx.call_activity(charge, input=order)
    return await receipt


NOT_A_TASK = "which is not a task"
CASES = [
    Case(forgets_to_yield, "A call stands alone: nobody waits for it.", "A-1", (charge, ship), shows=Shows.LOSES),
    Case(forgets_to_await, "Two calls stand alone.", "A-1", (reserve, charge, notify), shows=Shows.LOSES),
    Case(
        forgets_the_timer,
        "A timer and a child stand alone.",
        "A-1",
        (check,),
        (counting,),
        shows=Shows.LOSES,
    ),
    Case(yields_text, "It yields a text.", "A-1", (charge,), shows=Shows.REFUSED, says=NOT_A_TASK),
    Case(yields_a_list, "It yields a list of tasks.", ["lamp"], (price_of,), shows=Shows.REFUSED, says=NOT_A_TASK),
    Case(returns_a_task, "It returns a task.", "A-1", (reserve, charge), shows=Shows.REFUSED, says="type Task"),
    Case(
        reads_too_soon,
        "It reads a result that nobody has waited for.",
        "A-1",
        (charge, ship, refund),
        shows=Shows.REFUSED,
        says="has not completed yet",
    ),
    Case(
        combines_one, "when_all() gets one task.", "A-1", (charge,), shows=Shows.REFUSED, says="takes a list of tasks"
    ),
    Case(
        helper_without_yield_from,
        "A helper that yields is only called, so it never runs.",
        "A-1",
        (reserve, charge, ship),
        shows=Shows.LOSES,
    ),
    Case(yields_the_helper, "It yields a helper's generator.", "A-1", (charge,), shows=Shows.REFUSED, says=NOT_A_TASK),
    Case(
        helper_without_await,
        "A helper that awaits is only called, so it never runs.",
        "A-1",
        (charge, refund, ship),
        shows=Shows.LOSES,
    ),
    Case(timer_of_a_number, "A timer gets a number.", "A-1", (reserve,), shows=Shows.REFUSED, says="takes a timedelta"),
    Case(
        asks_the_task,
        "It takes a task for its result.",
        "R-1",
        (notify, charge),
        events=(("closed", None),),
        shows=Shows.LOSES,
    ),
    Case(
        goes_on_after_renewal,
        "What it calls after continue_as_new never happens.",
        1,
        (check, notify),
        shows=Shows.LOSES,
    ),
    Case(makes_its_own_task, "It waits for a task that nobody finishes.", "A-1", (notify,), shows=Shows.HANGS),
    Case(lazy_calls, "map() is lazy: nothing is called.", ["A-1"], (check, ship), shows=Shows.LOSES),
    Case(lazy_comprehension, "A generator expression is lazy.", ["A-1"], (ship, notify), shows=Shows.LOSES),
    Case(
        leaks_the_context,
        "An activity uses the context of the workflow.",
        "A-1",
        (uses_the_context, notify),
        shows=Shows.REFUSED,
        says="outside of the workflow's own code",
    ),
    Case(
        unsendable_input, "An input has no JSON text.", ["lamp"], (reserve,), shows=Shows.REFUSED, says="no JSON text"
    ),
    Case(
        set_as_input, "An input is a set.", ["lamp", "desk"], (reserve,), shows=Shows.REFUSED, says="a set has no order"
    ),
    Case(
        activity_called_directly,
        "An activity is called as a function: it runs in the workflow, again with each replay.",
        "A-1",
        (ship, charge, refund),
        shows=Shows.LOSES,
    ),
    Case(awaits_a_result, "It awaits a result.", "A-1", (charge,), shows=Shows.REFUSED, says="await"),
]
