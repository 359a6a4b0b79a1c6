"""Random numbers and random ids."""

from __future__ import annotations

import os
import random
import secrets
import tempfile
import uuid
from dataclasses import dataclass, field
from datetime import timedelta

from dapr_workflow_sdk import RetryPolicy, WorkflowContext, when_all, workflow
from tests.determinism.case import Case, Shows
from tests.determinism.shop import charge, check, notify, reserve, ship

DICE = random.Random(42)
REVIEWERS = ["ada", "ben", "cleo", "dan", "eve", "finn", "gus", "hana"]


@workflow
def shuffled_review(ctx: WorkflowContext, document: str):
    order = list(REVIEWERS)
    random.shuffle(order)
    for reviewer in order:
        yield ctx.call_activity(notify, input={"document": document, "reviewer": reviewer})
    return order[0]


@workflow
async def experiment(ctx: WorkflowContext, customers: list):
    groups = {customer: "b" if random.random() < 0.5 else "a" for customer in customers}
    await when_all([ctx.call_activity(notify, input=[name, group]) for name, group in groups.items()])
    treated = [name for name, group in groups.items() if group == "b"]
    for name in treated:
        await ctx.call_activity(check, input=name)
    return len(treated)


@workflow
def retry_with_jitter(ctx: WorkflowContext, order: str):
    for attempt in range(2):
        status = yield ctx.call_activity(check, input=order)
        if status == "done":
            return attempt
        yield ctx.create_timer(timedelta(seconds=2**attempt + random.uniform(0, 1)))
    return "gave up"


@workflow
async def coupon(ctx: WorkflowContext, customer: str):
    code = secrets.token_hex(8).upper()
    await ctx.call_activity(charge, input={"customer": customer, "coupon": code})
    await ctx.call_activity(notify, input=f"Your code is {code}")
    return code


@workflow
def seeded_once(ctx: WorkflowContext, lottery: dict):
    yield ctx.call_activity(check, input=lottery["name"])
    winners = DICE.sample(lottery["tickets"], 3)
    for winner in winners:
        yield ctx.call_activity(notify, input=winner)
    return winners


@workflow
def ship_parcel(ctx: WorkflowContext, parcel: str):
    return (yield ctx.call_activity(ship, input=parcel))


@workflow
def children_with_new_ids(ctx: WorkflowContext, parcels: list):
    tasks = [
        ctx.call_child_workflow(ship_parcel, input=parcel, instance_id=f"parcel-{uuid.uuid4()}") for parcel in parcels
    ]
    done = yield when_all(tasks)
    return len(done)


@workflow
async def idempotent_charge(ctx: WorkflowContext, order: dict):
    key = str(uuid.uuid1())
    reservation = await ctx.call_activity(reserve, input=order["sku"])
    return await ctx.call_activity(
        charge,
        input={"key": key, "amount": order["amount"], "reservation": reservation},
        retry_policy=RetryPolicy(first_retry_interval=timedelta(seconds=1), max_number_of_attempts=3),
    )


@workflow
def upload_token(ctx: WorkflowContext, file: str):
    token = os.urandom(12).hex()
    yield ctx.call_activity(check, input={"file": file, "token": token})
    yield ctx.wait_for_external_event("uploaded")
    return token


@dataclass
class Parcel:
    content: str
    label: str = field(default_factory=lambda: uuid.uuid4().hex[:12])


@workflow
async def labelled_parcels(ctx: WorkflowContext, contents: list):
    parcels = [Parcel(content) for content in contents]
    for parcel in parcels:
        await ctx.call_activity(ship, input=parcel)
    return [parcel.label for parcel in parcels]


@workflow
async def scratch_folder(ctx: WorkflowContext, export: str):
    name = tempfile.mktemp(prefix=export, suffix=".csv")
    await ctx.call_activity(check, input=name)
    await ctx.call_activity(notify, input=f"{export} is ready")


@workflow
def unique_approval(ctx: WorkflowContext, request: str):
    name = f"approved-{uuid.uuid4().hex[:6]}"
    yield ctx.call_activity(notify, input={"request": request, "answer": name})
    answer = yield ctx.wait_for_external_event(name, timeout=timedelta(days=1))
    return answer


def pick(items: list) -> str:
    return items[random.randrange(10**6) % len(items)]


def assign(reviewers: list, documents: list) -> dict:
    return {document: pick(reviewers) for document in documents}


@workflow
def through_helpers(ctx: WorkflowContext, documents: list):
    for document, reviewer in assign(REVIEWERS, documents).items():
        yield ctx.call_activity(notify, input={"document": document, "reviewer": reviewer})
    return "assigned"


CASES = [
    Case(shuffled_review, "It shuffles.", "plan", (notify,), shows=Shows.AGAIN),
    Case(
        experiment,
        "It tosses a coin for each customer.",
        [f"c{i}" for i in range(24)],
        (notify, check),
        shows=Shows.AGAIN,
    ),
    Case(retry_with_jitter, "Its timer has a random jitter.", "A-1", (check,), shows=Shows.AGAIN),
    Case(coupon, "It makes a secret.", "ada", (charge, notify), shows=Shows.AGAIN),
    Case(
        seeded_once,
        "The generator has a seed, but all runs draw from the same one.",
        {"name": "may", "tickets": [f"ticket-{i}" for i in range(50)]},
        (check, notify),
        shows=Shows.AGAIN,
    ),
    Case(
        children_with_new_ids,
        "Its children have ids that differ with each replay.",
        ["a", "b"],
        (ship,),
        (ship_parcel,),
        shows=Shows.AGAIN,
    ),
    Case(
        idempotent_charge,
        "A key against double charges that is new on each replay.",
        {"sku": "lamp", "amount": 30},
        (reserve, charge),
        shows=Shows.AGAIN,
    ),
    Case(upload_token, "It reads random bytes.", "x.csv", (check,), events=(("uploaded", None),), shows=Shows.AGAIN),
    Case(
        labelled_parcels,
        "A dataclass fills in a new id by default.",
        ["lamp", "desk"],
        (ship,),
        shows=Shows.AGAIN,
    ),
    Case(scratch_folder, "It asks for a random file name.", "orders", (check, notify), shows=Shows.AGAIN),
    Case(
        unique_approval,
        "It waits for an event whose name is new on each replay.",
        "R-1",
        (notify,),
        shows=Shows.AGAIN,
        says="Timed out",
    ),
    Case(
        through_helpers,
        "Two helpers away, something is drawn.",
        [f"d{i}" for i in range(12)],
        (notify,),
        shows=Shows.AGAIN,
    ),
]
