"""The machine's clock and time zone."""

from __future__ import annotations

import time
from datetime import date, datetime, timedelta, timezone

from dapr_workflow_sdk import WorkflowActivityContext, WorkflowContext, activity, when_any, workflow
from tests.determinism.case import Case, Shows
from tests.determinism.shop import charge, check, notify, price_of, ship

STARTED_AT = datetime.now()
SEASON = "sale" if date.today().toordinal() % 2 else "regular"


@workflow
def evening_discount(ctx: WorkflowContext, order: dict):
    total = sum(line["price"] for line in order["lines"])
    hour = datetime.now().hour
    yield ctx.call_activity(check, input=order["id"])
    if 4 <= (hour - order["opens"]) % 24 < 16:
        total = round(total * 0.9, 2)
        yield ctx.call_activity(notify, input={"discount": total})
    receipt = yield ctx.call_activity(charge, input=total)
    return {"order": order["id"], "receipt": receipt}


@workflow
async def reminder_by_the_wall(ctx: WorkflowContext, invoice: dict):
    due = datetime.now(timezone.utc) + timedelta(days=invoice["days"])
    for attempt in range(2):
        await ctx.create_timer(due + timedelta(days=7 * attempt))
        await ctx.call_activity(notify, input={"invoice": invoice["number"], "reminder": attempt + 1})
    return "sent to collection"


@activity
def slow_quote(ctx: WorkflowActivityContext, order: dict) -> int:
    time.sleep(0.1)
    return 40


@workflow
def impatient_quote(ctx: WorkflowContext, order: dict):
    began = time.monotonic()
    price = yield ctx.call_activity(slow_quote, input=order)
    if time.monotonic() - began > 0.05:
        yield ctx.call_activity(notify, input="The quote took too long; asking the other carrier.")
        price = yield ctx.call_activity(price_of, input=order["sku"])
    return price


@workflow
async def daily_report(ctx: WorkflowContext, shop: str):
    today = date.today()
    status = await ctx.call_activity(check, input={"shop": shop, "day": today.isoformat()})
    if status == "done":
        return "already there"
    await ctx.call_activity(notify, input=f"Report of {shop} is {status}")
    return "made"


@workflow
def batch_by_timestamp(ctx: WorkflowContext, orders: list):
    batch = f"batch-{time.time():.6f}"
    for order in orders:
        yield ctx.call_activity(ship, input={"order": order, "batch": batch})
    return len(orders)


@workflow
def stamped_archive(ctx: WorkflowContext, document: str):
    folder = time.strftime("%Y/%m/%d/%H")
    parcel = yield ctx.call_activity(ship, input={"document": document, "to": folder})
    yield ctx.call_activity(notify, input=f"{document} is in {parcel}")


@workflow
def night_shift(ctx: WorkflowContext, order: str):
    clock = time.localtime()
    crew = "night" if clock.tm_hour >= 12 else "day"
    yield ctx.call_activity(check, input=order)
    yield ctx.call_activity(notify, input={"order": order, "crew": crew})


@workflow
def local_delivery_day(ctx: WorkflowContext, order: dict):
    placed = datetime.fromtimestamp(order["placed_at"])
    if placed.hour < 12:
        parcel = yield ctx.call_activity(ship, input={"order": order["id"], "express": False})
    else:
        yield ctx.call_activity(notify, input="Ordered after noon: shipped tomorrow.")
        yield ctx.create_timer(timedelta(hours=12))
        parcel = yield ctx.call_activity(ship, input={"order": order["id"], "express": True})
    return parcel


@workflow
def office_hours(ctx: WorkflowContext, ticket: str):
    here = ctx.current_utc_datetime.replace(tzinfo=timezone.utc).astimezone()
    if not 8 <= here.hour < 17:
        opens = here.replace(hour=8, minute=0, second=0) + timedelta(days=1)
        yield ctx.create_timer(opens)
    yield ctx.call_activity(notify, input={"ticket": ticket, "agent": "on duty"})
    return here.strftime("%H:%M")


@workflow
def expiry_in_seconds(ctx: WorkflowContext, voucher: str):
    expires = ctx.current_utc_datetime.timestamp() + 3600
    yield ctx.call_activity(notify, input={"voucher": voucher, "expires": expires})
    winner = yield when_any([ctx.wait_for_external_event("redeemed"), ctx.create_timer(timedelta(hours=1))])
    return winner.is_failed


@workflow
def since_the_start(ctx: WorkflowContext, job: str):
    yield ctx.call_activity(check, input=job)
    yield ctx.call_activity(notify, input={"job": job, "worker_since": STARTED_AT.isoformat()})


def next_opening(day: datetime = datetime.now()) -> datetime:
    return day.replace(hour=9, minute=0, second=0, microsecond=0) + timedelta(days=1)


@workflow
def waits_for_opening(ctx: WorkflowContext, order: str):
    yield ctx.create_timer(next_opening())
    parcel = yield ctx.call_activity(ship, input=order)
    return parcel


@workflow
async def seasonal_price(ctx: WorkflowContext, sku: str):
    price = await ctx.call_activity(price_of, input=sku)
    await ctx.call_activity(notify, input={"sku": sku, "price": price, "season": SEASON, "since": STARTED_AT.day})
    return price


@workflow
async def metered_job(ctx: WorkflowContext, steps: list):
    spent = 0.0
    for step in steps:
        before = time.perf_counter()
        await ctx.call_activity(check, input=step)
        spent += time.perf_counter() - before
    return {"steps": len(steps), "seconds": spent}


@workflow
def approval_until_tonight(ctx: WorkflowContext, request: str):
    midnight = datetime.now(timezone.utc).replace(hour=0, minute=0) + timedelta(days=1)
    try:
        decision = yield ctx.wait_for_external_event("decision", timeout=midnight)
    except TimeoutError:
        decision = "declined"
    yield ctx.call_activity(notify, input={"request": request, "decision": decision})
    return decision


@workflow
def heartbeat_for_ever(ctx: WorkflowContext, state: dict):
    status = yield ctx.call_activity(check, input=state["job"])
    if state["runs"] == 0:
        return status
    yield ctx.create_timer(timedelta(minutes=5))
    ctx.continue_as_new({"job": state["job"], "runs": state["runs"] - 1, "last": datetime.now().isoformat()})


ORDER = {"id": "A-1", "sku": "lamp", "opens": 0, "lines": [{"price": 30.0}, {"price": 12.5}]}


def _opens_now(world):
    # The shop opens at an hour that makes this run see another half of the day than one nine hours later.
    return {**ORDER, "opens": datetime.now().hour}


CASES = [
    Case(
        evening_discount,
        "It grants a discount by the machine's clock.",
        _opens_now,
        (charge, notify, check),
        shows=Shows.ELSEWHERE,
    ),
    Case(
        reminder_by_the_wall,
        "Its timers are computed from the machine's clock.",
        {"number": 7, "days": 14},
        (notify,),
        shows=Shows.AGAIN,
    ),
    Case(
        impatient_quote,
        "It measures how long an activity takes; a replay takes no time.",
        ORDER,
        (slow_quote, notify, price_of),
        shows=Shows.AGAIN,
    ),
    Case(daily_report, "It asks for today's date.", "Ghent", (check, notify), shows=Shows.ELSEWHERE),
    Case(batch_by_timestamp, "A batch is named by the machine's clock.", ["a", "b"], (ship,), shows=Shows.AGAIN),
    Case(stamped_archive, "A folder is named by strftime.", "invoice.pdf", (ship, notify), shows=Shows.ELSEWHERE),
    Case(night_shift, "It decides by localtime.", "A-1", (check, notify), shows=Shows.ELSEWHERE),
    Case(
        local_delivery_day,
        "fromtimestamp without a zone uses that of the machine.",
        {"id": "A-1", "placed_at": 1_767_263_400},
        (ship, notify),
        shows=Shows.ELSEWHERE,
    ),
    Case(
        office_hours, "astimezone() without a zone uses that of the machine.", "T-9", (notify,), shows=Shows.ELSEWHERE
    ),
    Case(
        expiry_in_seconds,
        "timestamp() takes the naive time of the context for local time.",
        "V-3",
        (notify,),
        events=(("redeemed", True),),
        shows=Shows.ELSEWHERE,
    ),
    Case(
        since_the_start,
        "A module constant holds the time of the import.",
        "export",
        (check, notify),
        shows=Shows.ELSEWHERE,
    ),
    Case(
        waits_for_opening,
        "A default is computed from the clock, once per process.",
        "A-1",
        (ship,),
        shows=Shows.ELSEWHERE,
    ),
    Case(
        seasonal_price,
        "A module constant depends on the day of the import.",
        "lamp",
        (price_of, notify),
        shows=Shows.ELSEWHERE,
    ),
    Case(
        metered_job,
        "It returns how long the machine took.",
        ["extract", "load"],
        (check,),
        shows=Shows.AGAIN,
    ),
    Case(
        approval_until_tonight,
        "The end of a wait is computed from the machine's clock.",
        "R-1",
        (notify,),
        events=(("decision", "approved"),),
        shows=Shows.AGAIN,
    ),
    Case(
        heartbeat_for_ever,
        "The input of the next run holds the machine's time.",
        {"job": "backup", "runs": 1},
        (check,),
        shows=Shows.AGAIN,
    ),
]
