"""Time and dates as the context and the input give them."""

from __future__ import annotations

import calendar
import time as clock
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone

from dapr_workflow_sdk import WorkflowActivityContext, WorkflowContext, activity, when_any, workflow
from tests.determinism.case import Case
from tests.determinism.shop import charge, check, notify, ship

LAUNCH = datetime(2026, 3, 1, 9, 0, tzinfo=timezone.utc)
HOLIDAYS = {date(2026, 1, 1), date(2026, 12, 25)}
BUSINESS_DAY = timedelta(hours=8)


@workflow
def reminder(ctx: WorkflowContext, invoice: dict):
    due = ctx.current_utc_datetime + timedelta(days=invoice["days"])
    winner = yield when_any([paid := ctx.wait_for_external_event("paid"), ctx.create_timer(due)])
    if winner is paid:
        return "paid"
    yield ctx.call_activity(notify, input={"invoice": invoice["number"], "since": due.isoformat()})
    return "reminded"


@workflow
async def launch_countdown(ctx: WorkflowContext, product: str):
    now = ctx.current_utc_datetime.replace(tzinfo=timezone.utc)
    if now < LAUNCH:
        await ctx.create_timer(LAUNCH)
    await ctx.call_activity(notify, input=f"{product} is here")
    return (LAUNCH - now).days


@workflow
async def parsed_dates(ctx: WorkflowContext, order: dict):
    placed = datetime.fromisoformat(order["placed"])
    wanted = datetime.strptime(order["wanted"], "%d.%m.%Y")
    seen = datetime.fromtimestamp(order["seen"], tz=timezone.utc)
    await ctx.call_activity(ship, input={"days": (wanted - placed).days, "seen": seen.isoformat()})
    return date(placed.year, placed.month, placed.day).strftime("%Y-%m-%d")


@workflow
def in_the_shops_zone(ctx: WorkflowContext, shop: dict):
    zone = timezone(timedelta(hours=shop["offset"]))
    local = ctx.current_utc_datetime.replace(tzinfo=timezone.utc).astimezone(zone)
    if local.hour < 9:
        yield ctx.create_timer(local.replace(hour=9, minute=0, second=0, microsecond=0))
    yield ctx.call_activity(notify, input=f"{shop['name']} opens at {local:%H:%M}")
    return local.utcoffset() == timedelta(hours=shop["offset"])


@workflow
def named_zone(ctx: WorkflowContext, order: str):
    here = ctx.current_utc_datetime.replace(tzinfo=timezone(timedelta(0), "shop"))
    yield ctx.call_activity(check, input={"order": order, "seconds": int(here.timestamp())})


@workflow
def time_of_day(ctx: WorkflowContext, slots: list):
    for time in slots:
        hours, minutes = time.split(":")
        yield ctx.create_timer(timedelta(hours=int(hours), minutes=int(minutes)))
        yield ctx.call_activity(notify, input=time)
    return len(slots)


@workflow
async def next_working_day(ctx: WorkflowContext, order: str):
    day = ctx.current_utc_datetime.date()
    while day in HOLIDAYS or day.weekday() >= 5:
        day += timedelta(days=1)
    last = calendar.monthrange(day.year, day.month)[1]
    await ctx.call_activity(ship, input={"order": order, "on": day.isoformat(), "of": last})
    return day.isoformat()


@activity
def timed_upload(ctx: WorkflowActivityContext, name: str) -> str:
    began = clock.perf_counter()
    clock.sleep(0)
    return f"{name} at {datetime.now():%Y} in {clock.perf_counter() - began < 5}"


@workflow
def activity_reads_the_clock(ctx: WorkflowContext, name: str):
    text = yield ctx.call_activity(timed_upload, input=name)
    yield ctx.call_activity(notify, input=text.split(" at ")[0])
    return text.split(" in ")[1]


def backoff(attempts: int, now: int = 1) -> Iterator[timedelta]:
    for attempt in range(attempts):
        yield timedelta(seconds=now * 2**attempt)


@workflow
async def own_backoff(ctx: WorkflowContext, job: str):
    for delay in backoff(4):
        if await ctx.call_activity(check, input=job) == "done":
            return "done"
        await ctx.create_timer(delay)
    return "given up"


@workflow
def elapsed_in_history_time(ctx: WorkflowContext, job: str):
    began = ctx.current_utc_datetime
    yield ctx.create_timer(timedelta(minutes=3))
    yield ctx.call_activity(check, input=job)
    took = (ctx.current_utc_datetime - began).total_seconds()
    return {"job": job, "over a minute": took > 60}


@workflow
def formats_the_input(ctx: WorkflowContext, order: dict):
    text = clock.strftime("%Y-%m-%d", clock.gmtime(order["at"]))
    receipt = yield ctx.call_activity(charge, input={"day": text})
    return receipt


CASES = [
    Case(reminder, "Its time is that of the context.", {"number": 7, "days": 3}, (notify,)),
    Case(launch_countdown, "A module constant is a date that is written there.", "lamp", (notify,)),
    Case(
        parsed_dates,
        "It parses dates of the input, with a zone where one is needed.",
        {"placed": "2026-01-02T03:04:05", "wanted": "09.01.2026", "seen": 1_767_263_400},
        (ship,),
    ),
    Case(in_the_shops_zone, "astimezone() has a zone.", {"name": "Ghent", "offset": 1}, (notify,)),
    Case(named_zone, "timestamp() of a time that has a zone.", "A-1", (check,)),
    Case(time_of_day, "A local variable is named time.", ["01:30", "02:00"], (notify,)),
    Case(next_working_day, "It calculates with the calendar; a set is only asked what it holds.", "A-1", (ship,)),
    Case(
        activity_reads_the_clock,
        "An activity in the same file reads the clock and sleeps.",
        "a.csv",
        (timed_upload, notify),
    ),
    Case(own_backoff, "A generator of delays, with a parameter named now.", "export", (check,)),
    Case(elapsed_in_history_time, "It measures time with the context.", "export", (check,)),
    Case(formats_the_input, "strftime and gmtime of a given moment.", {"at": 1_767_263_400}, (charge,)),
]
