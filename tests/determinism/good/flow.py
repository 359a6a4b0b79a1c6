"""Events, timers, children, errors, renewal, logging."""

from __future__ import annotations

import contextlib
import logging
import time
from datetime import timedelta
from pathlib import Path

from dapr_workflow_sdk import (
    NonRetryableError,
    RetryPolicy,
    TaskFailedError,
    WorkflowActivityContext,
    WorkflowContext,
    activity,
    when_all,
    when_any,
    workflow,
)
from tests.determinism.case import Case, World
from tests.determinism.shop import charge, check, decline, notify, price_of, refund, reserve, ship

logger = logging.getLogger("shop.flow")
TWICE = RetryPolicy(first_retry_interval=timedelta(seconds=1), max_number_of_attempts=2)


class OutOfStock(Exception):
    """Nothing is left."""


@workflow
def approval(ctx: WorkflowContext, request: str):
    try:
        answer = yield ctx.wait_for_external_event("approved", timeout=timedelta(days=2))
    except TimeoutError:
        yield ctx.call_activity(notify, input=f"{request} has expired")
        return "expired"
    return answer


@workflow
async def race(ctx: WorkflowContext, request: str):
    approved = ctx.wait_for_external_event("approved")
    expired = ctx.create_timer(timedelta(hours=1))
    winner = await when_any([approved, expired])
    if winner == approved:
        await ctx.call_activity(charge, input=approved.get_result())
        return "approved"
    return "expired"


@workflow
def looks_at_the_loser(ctx: WorkflowContext, order: str):
    fast, slow = ctx.call_activity(price_of, input=order), ctx.create_timer(timedelta(minutes=1))
    yield when_any([fast, slow])
    yield ctx.create_timer(timedelta(minutes=2))
    return {"slow": slow.is_complete, "price": fast.get_result() if fast.is_complete else None}


@workflow
def one_deadline_for_all(ctx: WorkflowContext, job: str):
    deadline = ctx.create_timer(timedelta(minutes=10))
    while not deadline.is_complete:
        if (yield ctx.call_activity(check, input=job)) == "done":
            return "done"
        yield when_any([deadline, ctx.create_timer(timedelta(minutes=4))])
    return "late"


@workflow
async def saga(ctx: WorkflowContext, order: str):
    undo = []
    try:
        reservation = await ctx.call_activity(reserve, input=order)
        undo.append((refund, reservation))
        await ctx.call_activity(decline, input=order)
    except TaskFailedError as error:
        for step, what in reversed(undo):
            await ctx.call_activity(step, input=what)
        return f"undone: {error.details.error_type}"
    return "done"


@workflow
async def catches_exception(ctx: WorkflowContext, order: str):
    try:
        await ctx.call_activity(decline, input=order, retry_policy=TWICE)
    except Exception as error:
        ctx.logger.warning("declined: %s", error)
        await ctx.call_activity(notify, input=type(error).__name__)
    return "handled"


@workflow
async def raises_again(ctx: WorkflowContext, order: str):
    try:
        receipt = await ctx.call_activity(charge, input=order)
    except BaseException:
        ctx.logger.info("%s ends", order)
        raise
    return receipt


@workflow
def cleans_up_locally(ctx: WorkflowContext, orders: list):
    open_orders = list(orders)
    try:
        for order in orders:
            yield ctx.call_activity(ship, input=order)
            open_orders.remove(order)
    finally:
        open_orders.append("end")
    return open_orders


@workflow
def finally_at_the_real_end(ctx: WorkflowContext, order: str):
    try:
        yield ctx.call_activity(charge, input=order)
    finally:
        if not ctx.is_replaying:
            logger.debug("%s is over", order)
    return "over"


@workflow
def releases_at_the_end(ctx: WorkflowContext, room: str):
    reservation = yield ctx.call_activity(reserve, input=room)
    try:
        yield ctx.create_timer(timedelta(hours=1))
    finally:
        ctx.logger.info("leaving %s", room)
    yield ctx.call_activity(refund, input=reservation)
    return "left"


@workflow
async def suppresses_failures(ctx: WorkflowContext, order: str):
    with contextlib.suppress(TaskFailedError, TimeoutError):
        await ctx.call_activity(decline, input=order)
    return "went on"


@workflow
async def fails_on_purpose(ctx: WorkflowContext, order: dict):
    try:
        if order["amount"] > 10:
            raise OutOfStock(f"{order['amount']} is more than there is")
        await ctx.call_activity(charge, input=order)
    except OutOfStock as error:
        await ctx.call_activity(notify, input=str(error))
        return "not now"


@workflow
async def only_logs_when_live(ctx: WorkflowContext, order: str):
    if not ctx.is_replaying:
        logger.debug("order %s begins", order)
    receipt = await ctx.call_activity(charge, input=order)
    if not ctx.is_replaying:
        logger.debug("order %s is paid", order)
    return receipt


@workflow
def polls(ctx: WorkflowContext, state: dict):
    status = yield ctx.call_activity(check, input=state["job"])
    if status == "done" or state["left"] == 0:
        return state
    yield ctx.create_timer(timedelta(minutes=state["minutes"]))
    ctx.continue_as_new({**state, "left": state["left"] - 1, "minutes": state["minutes"] * 2}, save_events=True)


@workflow
def pack(ctx: WorkflowContext, order: str):
    return (yield ctx.call_activity(ship, input=order))


@workflow
async def children_by_number(ctx: WorkflowContext, orders: list):
    tasks = [
        ctx.call_child_workflow(pack, input=order, instance_id=f"{ctx.instance_id}-pack-{number}")
        for number, order in enumerate(orders)
    ]
    return await when_all(tasks)


@workflow
def counts_votes(ctx: WorkflowContext, needed: int):
    votes: dict[str, int] = {}
    while sum(votes.values()) < needed:
        vote = yield ctx.wait_for_external_event("vote")
        votes[vote] = votes.get(vote, 0) + 1
        ctx.set_custom_status(dict(votes))
    return max(votes, key=lambda name: votes[name])


@activity
def archive(ctx: WorkflowActivityContext, path: str) -> int:
    with open(path, "a") as file:
        file.write(f"{time.time()}\n")
    return len(Path(path).read_text().splitlines())


@workflow
def activity_writes_files(ctx: WorkflowContext, path: str):
    lines = yield ctx.call_activity(archive, input=path)
    lines += yield ctx.call_activity(archive, input=path)
    return lines


@activity
async def fetch(ctx: WorkflowActivityContext, name: str) -> dict:
    return {"name": name, "at": time.time() > 0}


@workflow
async def async_activity(ctx: WorkflowContext, name: str):
    page = await ctx.call_activity(fetch, input=name)
    return page["name"]


@workflow
def nothing_to_do(ctx: WorkflowContext, orders: list):
    if not orders:
        return "nothing to do"
    return (yield when_all([ctx.call_activity(ship, input=order) for order in orders]))


@workflow
def plain_function(ctx: WorkflowContext, order: dict):
    ctx.logger.info("%s costs %s", order["id"], order["amount"])
    return round(order["amount"] * 1.21, 2)


@workflow
def gives_up_for_good(ctx: WorkflowContext, order: str):
    for attempt in range(3):
        try:
            return (yield ctx.call_activity(decline, input=[order, attempt]))
        except (TaskFailedError, NonRetryableError):
            yield ctx.create_timer(timedelta(seconds=10 * (attempt + 1)))
    return "gave up"


ORDER = "A-1"
CASES = [
    Case(approval, "A wait with a timeout.", "R-1", (notify,)),
    Case(race, "The winner is compared with ==, which is identity here.", "R-1", (charge,), events=(("approved", 3),)),
    Case(looks_at_the_loser, "is_complete of a loser: the history decides it.", "lamp", (price_of,)),
    Case(one_deadline_for_all, "A timer is waited for again and again.", "export", (check,)),
    Case(saga, "Failures are undone in except.", ORDER, (reserve, decline, refund)),
    Case(catches_exception, "except Exception leaves GeneratorExit alone.", ORDER, (decline, notify)),
    Case(raises_again, "except BaseException raises again.", ORDER, (charge,)),
    Case(cleans_up_locally, "finally changes local state.", ["A-1", "A-2"], (ship,)),
    Case(finally_at_the_real_end, "finally asks is_replaying before it logs.", ORDER, (charge,)),
    Case(releases_at_the_end, "finally logs by the context; the activity comes after it.", "101", (reserve, refund)),
    Case(suppresses_failures, "suppress() of failures of tasks.", ORDER, (decline,)),
    Case(fails_on_purpose, "An exception of its own.", {"amount": 11}, (notify,)),
    Case(only_logs_when_live, "is_replaying decides about log lines only.", ORDER, (charge,)),
    Case(polls, "It continues as new, with its state as input.", {"job": "x", "left": 2, "minutes": 1}, (check,)),
    Case(children_by_number, "Ids of children from the instance and a number.", ["A-1", "A-2"], (ship,), (pack,)),
    Case(
        counts_votes,
        "It counts events in a local dictionary.",
        3,
        events=(("vote", "yes"), ("vote", "no"), ("vote", "yes")),
    ),
    Case(
        activity_writes_files,
        "An activity in the same file writes a file.",
        lambda world: _file(world),
        (archive,),
    ),
    Case(async_activity, "An async activity reads the clock.", "home", (fetch,)),
    Case(nothing_to_do, "It may end without a call.", [ORDER], (ship,)),
    Case(plain_function, "A workflow that never waits.", {"id": ORDER, "amount": 10}),
    Case(gives_up_for_good, "It tries again by itself.", ORDER, (decline,)),
]


def _file(world: World) -> str:
    return str(world.folder / "archive.txt")
