"""Workflows that break by one thing each, and some that look as if they would."""

from __future__ import annotations

import datetime as dt
import functools
import os
import random
import secrets
import socket
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from dapr_workflow_sdk import Task, TaskFailedError, activity, when_all, when_any, workflow

IMPORTED = dt.datetime.now()
LOADED_BY = os.getpid()
SEEN: list[str] = []
WON: list[int] = []
DROPPED: list[int] = []


@activity
def step(ctx: Any, value: Any = None) -> Any:
    return value


@activity
def other(ctx: Any, value: Any = None) -> Any:
    return value


def choose(ctx: Any, condition: object) -> Any:
    return ctx.call_activity(step if condition else other)


# ---- broken ---------------------------------------------------------------------------------------------------


@workflow
def by_the_hour(ctx: Any) -> Any:
    yield choose(ctx, dt.datetime.now().hour < 6)


@workflow
def by_elapsed_time(ctx: Any) -> Any:
    began = time.time()
    yield ctx.create_timer(dt.timedelta(hours=1))
    yield choose(ctx, time.time() - began > 60)


@workflow
def by_monotonic(ctx: Any) -> Any:
    began = time.monotonic()
    yield ctx.create_timer(dt.timedelta(hours=1))
    yield choose(ctx, time.monotonic() - began > 60)


@workflow
def by_zone(ctx: Any) -> Any:
    midnight = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc).astimezone()
    yield ctx.call_activity(step, input=midnight.strftime("%H:%M"))


@workflow
def by_chance(ctx: Any) -> Any:
    yield choose(ctx, random.random() < 0.5)


@workflow
async def by_secret(ctx: Any) -> Any:
    await choose(ctx, secrets.randbelow(2))


@workflow
def by_uuid(ctx: Any) -> Any:
    yield ctx.call_activity(step, input=str(uuid.uuid4()))


@workflow
def by_thread(ctx: Any) -> Any:
    yield ctx.call_activity(step, input=threading.current_thread().name)


@workflow
def by_counter(ctx: Any) -> Any:
    SEEN.append("run")
    yield ctx.call_activity(step, input=len(SEEN))


@functools.lru_cache
def _cached(key: str) -> list[int]:
    return []


@workflow
def by_replaying(ctx: Any) -> Any:
    if not ctx.is_replaying:
        yield ctx.call_activity(step)
    yield ctx.call_activity(other)


@workflow
def by_set(ctx: Any) -> Any:
    for name in {"oslo", "rome", "lima", "bern", "kyiv"}:
        yield ctx.call_activity(step, input=name)  # of a set


@workflow
def by_import_time(ctx: Any) -> Any:
    yield choose(ctx, IMPORTED.year % 2)


@workflow
def by_pid(ctx: Any) -> Any:
    yield ctx.call_activity(step, input=LOADED_BY)


@workflow
def by_arguments(ctx: Any) -> Any:
    yield ctx.call_activity(step, input=str(Path.cwd()))


@workflow
def by_order(ctx: Any) -> Any:
    first, second = ctx.call_activity(step), ctx.call_activity(other)
    winner = yield when_any([first, second])
    if winner is second:
        WON.append(1)
        yield ctx.call_activity(step, input=len(WON))


# ---- rules ----------------------------------------------------------------------------------------------------


@workflow
def reads_environment(ctx: Any) -> Any:
    yield choose(ctx, os.environ.get("PRICING", "old") == "new")


@workflow
def reads_a_file(ctx: Any) -> Any:
    text = Path(__file__).read_text()
    yield choose(ctx, text)


@workflow
def lists_a_folder(ctx: Any) -> Any:
    yield choose(ctx, os.listdir(tempfile.gettempdir()) is None)  # noqa: PTH208


@workflow
def asks_who_it_is(ctx: Any) -> Any:
    yield choose(ctx, socket.gethostname() == "")


@workflow
def starts_a_thread(ctx: Any) -> Any:
    thread = threading.Thread(target=len, args=("",))
    thread.start()
    thread.join()
    yield ctx.call_activity(step)


@workflow
def sleeps(ctx: Any) -> Any:
    time.sleep(0.001)
    yield ctx.call_activity(step)


@workflow
def waits_busily(ctx: Any) -> Any:
    until = dt.datetime.now() + dt.timedelta(seconds=0.01)
    while dt.datetime.now() < until:
        pass
    yield ctx.call_activity(step)


@workflow
def forgets_a_yield(ctx: Any) -> Any:
    ctx.call_activity(step, input="lost")
    yield ctx.call_activity(other)


@workflow
def uses_a_task_too_early(ctx: Any) -> Any:
    task = ctx.call_activity(step)
    return task.get_result()
    yield


async def _helper(ctx: Any) -> None:
    await ctx.call_activity(step)


@workflow
async def forgets_an_await(ctx: Any) -> None:
    _helper(ctx)
    await ctx.call_activity(other)


@workflow
def catches_everything(ctx: Any) -> Any:
    while True:
        try:
            yield ctx.wait_for_external_event("go")
            return
        except BaseException:
            continue


@workflow
def cleans_up_when_dropped(ctx: Any) -> Any:
    try:
        yield ctx.call_activity(step)
    finally:
        yield ctx.call_activity(other)


@workflow
def takes_the_end_for_an_answer(ctx: Any) -> Any:
    try:
        yield ctx.call_activity(step)
    except BaseException:
        return "failed"


@workflow
def adds_a_task(ctx: Any) -> Any:
    total = yield ctx.call_activity(step, input=1)
    return total + "2"


@workflow
def waits_for_its_own_task(ctx: Any) -> Any:
    yield Task()


@workflow
def yields_a_value(ctx: Any) -> Any:
    yield "Hello"


LEAKED: list[Any] = []


@activity
def uses_the_context(ctx: Any, _: Any = None) -> None:
    LEAKED[-1].call_activity(step)


@workflow
def leaks_its_context(ctx: Any) -> Any:
    LEAKED.append(ctx)
    yield ctx.call_activity(uses_the_context)


# ---- fine -----------------------------------------------------------------------------------------------------


@workflow
def good(ctx: Any, amount: int = 3) -> Any:
    """What a workflow may do."""
    dice = random.Random(amount)
    receipts = yield when_all([ctx.call_activity(step, input=dice.randint(1, 6)) for _ in range(amount)])
    deadline = ctx.create_timer(dt.timedelta(days=2))
    approval = ctx.wait_for_external_event("approval")
    winner = yield when_any([approval, deadline])
    if winner is deadline:
        return "late"
    try:
        yield ctx.call_activity(other, input=str(ctx.new_guid()))
    except TaskFailedError:
        return "failed"
    for name in sorted({"oslo", "rome"}):
        yield ctx.call_activity(step, input=name)
    yield choose(ctx, ctx.current_utc_datetime.hour < 6)
    return receipts


@workflow
async def good_async(ctx: Any, amount: int = 3) -> Any:
    zone = dt.timezone(dt.timedelta(hours=2))
    moment = dt.datetime(2026, 1, 1, tzinfo=zone).isoformat()
    try:
        return await ctx.call_activity(step, input=moment)
    finally:
        if not ctx.is_replaying:
            DROPPED.append(1)
