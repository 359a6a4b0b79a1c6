"""Threads, locks, asyncio and code that blocks."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from dapr_workflow_sdk import WorkflowActivityContext, WorkflowContext, activity, workflow
from tests.determinism.case import Case, Shows
from tests.determinism.shop import charge, check, notify, price_of, reserve, ship

STOCK = threading.Lock()
LEDGER = asyncio.Lock()
SENT: list[str] = []


@activity
def slow_charge(ctx: WorkflowActivityContext, order: str) -> str:
    time.sleep(0.05)
    return f"receipt for {order}"


@workflow
def status_from_a_thread(ctx: WorkflowContext, order: str):
    errors: list[BaseException] = []
    done = threading.Event()

    def tell() -> None:
        seconds = 0.0
        try:
            while not done.wait(0.005):
                seconds += 0.005
                ctx.set_custom_status(f"charging for {seconds:.3f} s")
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=tell)
    thread.start()
    receipt = yield ctx.call_activity(slow_charge, input=order)
    done.set()
    thread.join()
    if errors:
        raise errors[0]
    return receipt


@workflow
def reports_in_the_background(ctx: WorkflowContext, order: str):
    thread = threading.Thread(target=SENT.append, args=(order,))
    thread.start()
    thread.join()
    yield ctx.call_activity(charge, input=order)
    yield ctx.call_activity(ship, input=order)


@workflow
def pool_of_quotes(ctx: WorkflowContext, skus: list):
    names = set()
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix=f"quote-{time.time_ns()}") as pool:
        quotes = list(pool.map(lambda sku: (len(sku), names.add(threading.current_thread().name)), skus))
    yield ctx.call_activity(charge, input={"total": sum(price for price, _ in quotes), "by": min(names)})


@workflow
async def sleeps_with_asyncio(ctx: WorkflowContext, order: str):
    await ctx.call_activity(reserve, input=order)
    await asyncio.sleep(0.01)
    return await ctx.call_activity(ship, input=order)


@workflow
async def gathers(ctx: WorkflowContext, skus: list):
    prices = await asyncio.gather(*(ctx.call_activity(price_of, input=sku) for sku in skus))
    return sum(prices)


async def fetch_rate(currency: str) -> float:
    await asyncio.sleep(0)
    return 1.1 if currency == "usd" else 1.0


@workflow
async def creates_a_task(ctx: WorkflowContext, currency: str):
    rate = asyncio.create_task(fetch_rate(currency))
    amount = await ctx.call_activity(price_of, input="lamp")
    return amount * await rate


@workflow
async def waits_with_asyncio(ctx: WorkflowContext, request: str):
    await ctx.call_activity(notify, input=request)
    try:
        return await asyncio.wait_for(ctx.wait_for_external_event("decision"), timeout=5)
    except asyncio.TimeoutError:
        return "no answer"


@workflow
async def to_a_thread(ctx: WorkflowContext, rows: list):
    total = await asyncio.to_thread(sum, rows)
    return await ctx.call_activity(charge, input=total)


async def log_line(text: str) -> None:
    await asyncio.get_running_loop().run_in_executor(None, SENT.append, text)


@workflow
async def awaits_an_executor(ctx: WorkflowContext, order: str):
    await ctx.call_activity(reserve, input=order)
    await log_line(f"reserved {order}")
    return await ctx.call_activity(charge, input=order)


@workflow
def sleeps(ctx: WorkflowContext, order: str):
    for _ in range(2):
        status = yield ctx.call_activity(check, input=order)
        if status == "done":
            break
        time.sleep(0.12)
    return status


@workflow
def waits_busily(ctx: WorkflowContext, order: str):
    yield ctx.call_activity(reserve, input=order)
    until = time.monotonic() + 0.12
    while time.monotonic() < until:
        pass
    return (yield ctx.call_activity(ship, input=order))


@workflow
def lock_over_a_wait(ctx: WorkflowContext, order: str):
    if not STOCK.acquire(timeout=0.02):
        raise TimeoutError("The stock is being counted.")
    try:
        reservation = yield ctx.call_activity(reserve, input=order)
    finally:
        STOCK.release()
    return reservation


@workflow
async def async_lock_over_a_wait(ctx: WorkflowContext, order: str):
    async with LEDGER:
        await ctx.call_activity(charge, input=order)
        await ctx.create_timer(timedelta(seconds=1))
    return await ctx.call_activity(ship, input=order)


OUTSIDE = "outside of the workflow's own code"
NOT_A_TASK = "which is not a task"
CASES = [
    Case(status_from_a_thread, "A thread uses the context.", "A-1", (slow_charge,), shows=Shows.REFUSED, says=OUTSIDE),
    Case(
        reports_in_the_background,
        "A thread reports, again with each replay.",
        "A-1",
        (charge, ship),
        shows=Shows.REPEATS,
        witness=lambda world: len(SENT),
    ),
    Case(pool_of_quotes, "A thread pool does the work.", ["lamp", "desk"], (charge,), shows=Shows.AGAIN),
    Case(sleeps_with_asyncio, "It awaits asyncio.sleep.", "A-1", (reserve, ship), shows=Shows.REFUSED, says=NOT_A_TASK),
    Case(gathers, "It awaits asyncio.gather.", ["lamp", "desk"], (price_of,), shows=Shows.REFUSED, says=NOT_A_TASK),
    Case(creates_a_task, "It awaits a task of asyncio.", "usd", (price_of,), shows=Shows.REFUSED, says=NOT_A_TASK),
    Case(
        waits_with_asyncio,
        "It awaits asyncio.wait_for.",
        "R-1",
        (notify,),
        events=(("decision", "yes"),),
        shows=Shows.REFUSED,
        says="",
    ),
    Case(to_a_thread, "It awaits a thread.", [1, 2], (charge,), shows=Shows.REFUSED, says=NOT_A_TASK),
    Case(
        awaits_an_executor,
        "A helper awaits an executor.",
        "A-1",
        (reserve, charge),
        shows=Shows.REFUSED,
        says=NOT_A_TASK,
    ),
    Case(sleeps, "It sleeps, and all other instances with it.", "A-1", (check,), shows=Shows.BLOCKS),
    Case(waits_busily, "It waits in a loop.", "A-1", (reserve, ship), shows=Shows.BLOCKS),
    Case(
        lock_over_a_wait,
        "A lock is held over a wait; another run in the process does not get it.",
        "A-1",
        (reserve,),
        shows=Shows.AGAIN,
    ),
    Case(
        async_lock_over_a_wait,
        "An asyncio lock is held over a wait; a second run awaits the lock.",
        "A-1",
        (charge, ship),
        shows=Shows.AGAIN,
    ),
]
