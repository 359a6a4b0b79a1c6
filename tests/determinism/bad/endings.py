"""Runs that do not let go when they are dropped from memory, and code that acts when it is dropped."""

from __future__ import annotations

import contextlib
import logging
from datetime import timedelta

from dapr_workflow_sdk import WorkflowContext, when_all, workflow
from tests.determinism.case import Case, Shows
from tests.determinism.shop import charge, check, notify, refund, reserve, ship

logger = logging.getLogger("shop")
FREED: list[str] = []


@workflow
async def bare_except(ctx: WorkflowContext, order: str):
    try:
        await ctx.call_activity(charge, input=order)
        await ctx.call_activity(ship, input=order)
    except:
        return "failed"
    return "shipped"


@workflow
async def base_exception(ctx: WorkflowContext, order: str):
    try:
        receipt = await ctx.call_activity(charge, input=order)
    except BaseException as error:
        logger.debug("order %s: %s", order, error)
        receipt = None
    return {"order": order, "paid": receipt is not None}


@workflow
def never_gives_up(ctx: WorkflowContext, order: str):
    while True:
        try:
            status = yield ctx.call_activity(check, input=order)
            if status == "done":
                return status
            yield ctx.create_timer(timedelta(minutes=1))
        except BaseException:
            continue


@workflow
def suppresses_everything(ctx: WorkflowContext, order: str):
    with contextlib.suppress(BaseException):
        yield ctx.call_activity(notify, input=order)
    return "told, or not"


@workflow
def catches_generator_exit(ctx: WorkflowContext, order: str):
    reservation = yield ctx.call_activity(reserve, input=order)
    try:
        yield ctx.wait_for_external_event("paid")
    except (GeneratorExit, TimeoutError):
        return "released"
    return reservation


@workflow
def waits_in_finally(ctx: WorkflowContext, orders: list):
    tasks = [ctx.call_activity(ship, input=order) for order in orders]
    everything = when_all(tasks)
    try:
        yield ctx.call_activity(notify, input=len(orders))
    finally:
        yield everything
    return everything.get_result()


@workflow
async def frees_in_finally(ctx: WorkflowContext, room: str):
    try:
        await ctx.call_activity(reserve, input=room)
        await ctx.create_timer(timedelta(hours=1))
    finally:
        FREED.append(room)
    return "left"


class Step:
    """Notes how a step has ended."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> Step:
        return self

    def __exit__(self, kind, error, trace) -> bool:
        return error is not None


@workflow
def forgiving_steps(ctx: WorkflowContext, order: str):
    with Step("charge"):
        yield ctx.call_activity(charge, input=order)
    with Step("ship"):
        yield ctx.call_activity(ship, input=order)
    return "went through"


def tolerant(ctx: WorkflowContext, order: str):
    while True:
        try:
            return (yield ctx.call_activity(charge, input=order))
        except BaseException:
            logger.debug("once more: %s", order)


@workflow
def tolerant_helper(ctx: WorkflowContext, order: str):
    receipt = yield from tolerant(ctx, order)
    yield ctx.call_activity(refund, input=receipt)
    return "refunded"


CASES = [
    Case(
        bare_except,
        "A bare except takes the end of the run for a failure.",
        "A-1",
        (charge, ship),
        shows=Shows.SWALLOWS,
    ),
    Case(base_exception, "except BaseException, and the code goes on.", "A-1", (charge,), shows=Shows.SWALLOWS),
    Case(never_gives_up, "except BaseException inside of a loop.", "A-1", (check,), shows=Shows.SWALLOWS),
    Case(suppresses_everything, "suppress(BaseException).", "A-1", (notify,), shows=Shows.SWALLOWS),
    Case(
        catches_generator_exit,
        "It takes GeneratorExit for a reason to end.",
        "A-1",
        (reserve,),
        events=(("paid", None),),
        shows=Shows.SWALLOWS,
    ),
    Case(
        waits_in_finally,
        "finally waits for a task that was made before.",
        ["A-1", "A-2"],
        (ship, notify),
        shows=Shows.SWALLOWS,
    ),
    Case(
        frees_in_finally,
        "finally acts whenever the run is dropped from memory.",
        "101",
        (reserve,),
        shows=Shows.REPEATS,
        witness=lambda world: len(FREED),
    ),
    Case(forgiving_steps, "A context manager swallows every error.", "A-1", (charge, ship), shows=Shows.SWALLOWS),
    Case(
        tolerant_helper, "A helper tries for ever, whatever the error.", "A-1", (charge, refund), shows=Shows.SWALLOWS
    ),
]
