"""Random numbers with a seed, ids that are no accident, hashes that are the same everywhere."""

from __future__ import annotations

import base64
import hashlib
import hmac
import random
import uuid
import zlib
from dataclasses import dataclass, field
from random import Random

from dapr_workflow_sdk import WorkflowActivityContext, WorkflowContext, activity, when_all, workflow
from tests.determinism.case import Case
from tests.determinism.shop import charge, check, notify, reserve, ship

SHOP = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")


@workflow
def seeded_sample(ctx: WorkflowContext, lottery: dict):
    dice = random.Random(lottery["seed"])
    winners = dice.sample(lottery["tickets"], 2)
    for winner in winners:
        yield ctx.call_activity(notify, input=winner)
    return winners


@workflow
async def seeded_by_the_instance(ctx: WorkflowContext, orders: list):
    dice = Random(ctx.instance_id)
    dice.shuffle(orders)
    for order in orders:
        await ctx.call_activity(ship, input=order)
    return orders


@activity
def draw(ctx: WorkflowActivityContext, sides: int) -> int:
    return random.randint(1, sides)


@workflow
def drawn_by_an_activity(ctx: WorkflowContext, game: str):
    first = yield ctx.call_activity(draw, input=6)
    second = yield ctx.call_activity(draw, input=6)
    yield ctx.call_activity(notify, input="even" if (first + second) % 2 == 0 else "odd")
    return game


@workflow
def ids_of_the_context(ctx: WorkflowContext, orders: list):
    keys = [str(ctx.new_guid()) for _ in orders]
    yield when_all([ctx.call_activity(charge, input=[key, order]) for key, order in zip(keys, orders, strict=True)])
    return len(set(keys)) == len(keys)


@workflow
async def named_ids(ctx: WorkflowContext, order: dict):
    key = uuid.uuid5(SHOP, order["id"])
    known = uuid.UUID(order["customer"])
    await ctx.call_activity(charge, input={"key": str(key), "customer": known.hex})
    return key.version


@workflow
def sharded_by_digest(ctx: WorkflowContext, customers: list):
    for customer in customers:
        digest = hashlib.sha256(customer.encode()).digest()
        shard = int.from_bytes(digest[:4], "big") % 16
        yield ctx.call_activity(notify, input={"customer": customer, "queue": shard})
    return len(customers)


@workflow
async def signed_link(ctx: WorkflowContext, document: dict):
    signature = hmac.new(document["key"].encode(), document["name"].encode(), "sha256").digest()
    link = f"/get/{base64.urlsafe_b64encode(signature).decode()}"
    await ctx.call_activity(notify, input={"link": link, "sum": zlib.crc32(document["name"].encode())})
    return link


@dataclass(frozen=True)
class Parcel:
    content: str
    notes: list[str] = field(default_factory=list)
    weight: float = field(default=0.5, hash=False)


@workflow
def parcels_as_keys(ctx: WorkflowContext, contents: list):
    parcels = [Parcel(content) for content in contents]
    for parcel in parcels:
        parcel.notes.append(f"number {len(parcel.notes) + 1}")
        yield ctx.call_activity(ship, input=parcel)
    return [parcel.notes for parcel in parcels]


@workflow
def choice_of_the_input(ctx: WorkflowContext, order: dict):
    choice, random_order = order["choice"], order["random"]
    yield ctx.call_activity(reserve, input=choice)
    for item in random_order:
        yield ctx.call_activity(check, input=item)
    return choice


class Uuid4:
    """A name that sounds like something else."""

    def __init__(self, text: str) -> None:
        self.text = text


@workflow
def sounds_like_uuid4(ctx: WorkflowContext, order: str):
    uuid4 = Uuid4(order)
    yield ctx.call_activity(charge, input=uuid4.text)


CASES = [
    Case(seeded_sample, "The seed is part of the input.", {"seed": 7, "tickets": ["a", "b", "c", "d"]}, (notify,)),
    Case(seeded_by_the_instance, "The seed is the id of the instance.", ["a", "b", "c"], (ship,)),
    Case(drawn_by_an_activity, "An activity draws.", "craps", (draw, notify)),
    Case(ids_of_the_context, "Its ids come from the context.", ["A-1", "A-2"], (charge,)),
    Case(
        named_ids,
        "uuid5, and a UUID that is read from a text.",
        {"id": "A-1", "customer": "12345678-1234-5678-1234-567812345678"},
        (charge,),
    ),
    Case(sharded_by_digest, "hashlib is the same everywhere.", ["ada", "ben"], (notify,)),
    Case(signed_link, "hmac, base64 and crc32 are the same everywhere.", {"name": "a.pdf", "key": "secret"}, (notify,)),
    Case(parcels_as_keys, "A dataclass has a default_factory, and hash=False.", ["lamp", "desk"], (ship,)),
    Case(
        choice_of_the_input,
        "Variables are named choice and random_order.",
        {"choice": "lamp", "random": ["b", "a"]},
        (reserve, check),
    ),
    Case(sounds_like_uuid4, "A variable is named uuid4.", "A-1", (charge,)),
]
