"""Environment variables, arguments, folders, locale and settings."""

from __future__ import annotations

import locale
import os
import sys
from dataclasses import dataclass
from datetime import timedelta
from os import environ
from pathlib import Path

from dapr_workflow_sdk import RetryPolicy, WorkflowContext, workflow
from tests.determinism.case import Case, Shows
from tests.determinism.shop import charge, check, notify, price_of, reserve, ship

REGION = os.environ.get("SHOP_REGION", "eu")


@dataclass(frozen=True)
class Settings:
    retries: int = 2
    bucket: str = "reports-a"

    @classmethod
    def load(cls) -> Settings:
        return cls(
            retries=int(os.environ.get("SHOP_MAX_RETRIES", "2")),
            bucket=os.getenv("SHOP_REPORT_BUCKET", "reports-a"),
        )


settings = Settings.load()


@workflow
def flagged_checkout(ctx: WorkflowContext, order: dict):
    yield ctx.call_activity(reserve, input=order)
    if environ.get("SHOP_NEW_CHECKOUT") == "1":
        yield ctx.call_activity(check, input=order["id"])
    return (yield ctx.call_activity(charge, input=order))


@workflow
async def to_the_bucket(ctx: WorkflowContext, report: str):
    bucket = os.getenv("SHOP_REPORT_BUCKET", "reports-a")
    await ctx.call_activity(check, input=report)
    return await ctx.call_activity(ship, input=f"s3://{bucket}/{report}")


@workflow
async def regional_price(ctx: WorkflowContext, sku: str):
    price = await ctx.call_activity(price_of, input=sku)
    if REGION == "us":
        await ctx.call_activity(notify, input="Prices are in dollars.")
    await ctx.call_activity(charge, input={"sku": sku, "price": price})
    return price


@workflow
def as_often_as_configured(ctx: WorkflowContext, order: dict):
    for attempt in range(settings.retries):
        status = yield ctx.call_activity(check, input={"order": order["id"], "attempt": attempt})
        if status == "done":
            return attempt
        yield ctx.create_timer(timedelta(seconds=10))
    yield ctx.call_activity(notify, input=f"{order['id']} is still {status}")
    return settings.retries


@workflow
def retried_as_configured(ctx: WorkflowContext, report: str):
    policy = RetryPolicy(first_retry_interval=timedelta(seconds=1), max_number_of_attempts=settings.retries)
    yield ctx.call_activity(check, input=report, retry_policy=policy)
    return (yield ctx.call_activity(ship, input={"report": report, "to": settings.bucket}))


@workflow
def dry_run(ctx: WorkflowContext, orders: list):
    pretend = "--dry-run" in sys.argv
    for order in orders:
        yield ctx.call_activity(check, input=order)
        if not pretend:
            yield ctx.call_activity(charge, input=order)
    return len(orders)


@workflow
def relative_export(ctx: WorkflowContext, name: str):
    target = Path.cwd() / "exports" / name
    yield ctx.call_activity(check, input=str(target))
    yield ctx.call_activity(notify, input=f"{name} is there")
    return target.name


@workflow
async def home_export(ctx: WorkflowContext, name: str):
    target = os.path.expanduser(f"~/exports/{name}")
    await ctx.call_activity(ship, input=target)
    return target


@workflow
def encoded_for_the_machine(ctx: WorkflowContext, rows: list):
    encoding = locale.getpreferredencoding(False)
    for row in rows:
        yield ctx.call_activity(ship, input={"row": row, "encoding": encoding})
    return len(rows)


@workflow
def ship_eu(ctx: WorkflowContext, order: dict):
    return (yield ctx.call_activity(ship, input=order))


@workflow
def ship_us(ctx: WorkflowContext, order: dict):
    yield ctx.call_activity(check, input=order)
    return (yield ctx.call_activity(ship, input=order))


@workflow
def child_by_region(ctx: WorkflowContext, order: dict):
    child = {"eu": ship_eu, "us": ship_us}[os.environ.get("SHOP_REGION", "eu")]
    parcel = yield ctx.call_child_workflow(child, input=order)
    return parcel


ORDER = {"id": "A-1", "sku": "lamp"}
CASES = [
    Case(
        flagged_checkout, "A feature flag comes from the environment.", ORDER, (reserve, charge), shows=Shows.ELSEWHERE
    ),
    Case(to_the_bucket, "An address comes from the environment.", "may", (check, ship), shows=Shows.ELSEWHERE),
    Case(
        regional_price,
        "A module constant comes from the environment.",
        "lamp",
        (price_of, charge),
        shows=Shows.ELSEWHERE,
    ),
    Case(
        as_often_as_configured,
        "A settings object is filled from the environment at import.",
        ORDER,
        (check, notify),
        shows=Shows.ELSEWHERE,
    ),
    Case(
        retried_as_configured,
        "Retries and target are settings from the environment.",
        "may",
        (check, ship),
        shows=Shows.ELSEWHERE,
    ),
    Case(dry_run, "It looks at the arguments of the program.", ["A-1", "A-2"], (check, charge), shows=Shows.ELSEWHERE),
    Case(relative_export, "It asks for the current folder.", "may.csv", (check, notify), shows=Shows.ELSEWHERE),
    Case(home_export, "It asks for the home folder.", "may.csv", (ship,), shows=Shows.ELSEWHERE),
    Case(encoded_for_the_machine, "It asks for the locale's encoding.", ["a", "b"], (ship,), shows=Shows.ELSEWHERE),
    Case(
        child_by_region,
        "The environment chooses the child.",
        ORDER,
        (ship, check),
        (ship_eu, ship_us),
        shows=Shows.ELSEWHERE,
    ),
]
