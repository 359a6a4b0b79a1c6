"""The order of sets."""

from __future__ import annotations

import enum

from dapr_workflow_sdk import WorkflowContext, when_all, workflow
from tests.determinism.case import Case, Shows
from tests.determinism.shop import charge, check, notify, price_of, reserve, ship


class Channel(enum.Enum):
    MAIL = "mail"
    SMS = "sms"
    PUSH = "push"
    LETTER = "letter"
    PHONE = "phone"


@workflow
def tells_everybody(ctx: WorkflowContext, text: str):
    for channel in {"mail", "sms", "push", "letter", "phone"}:
        yield ctx.call_activity(notify, input={"channel": channel, "text": text})
    return "told"


@workflow
async def without_duplicates(ctx: WorkflowContext, skus: list):
    unique = list(set(skus))
    prices = await when_all([ctx.call_activity(price_of, input=sku) for sku in unique])
    return dict(zip(unique, prices, strict=True))


@workflow
def keyed_by_a_set(ctx: WorkflowContext, lines: list):
    totals = {sku: 0 for sku in {line["sku"] for line in lines}}
    for line in lines:
        totals[line["sku"]] += line["amount"]
    for sku, amount in totals.items():
        yield ctx.call_activity(reserve, input={"sku": sku, "amount": amount})
    return totals


@workflow
def takes_from_a_set(ctx: WorkflowContext, names: list):
    waiting = set(names)
    served = []
    while waiting:
        name = waiting.pop()
        yield ctx.call_activity(notify, input=name)
        served.append(name)
    return served


def missing_papers(required: list, present: list) -> set:
    return set(required) - set(present)


@workflow
def asks_for_papers(ctx: WorkflowContext, application: dict):
    missing = missing_papers(application["required"], application["present"])
    for paper in missing:
        yield ctx.call_activity(notify, input=f"Please send your {paper}.")
    return len(missing)


@workflow
async def joined_tags(ctx: WorkflowContext, product: dict):
    tags = frozenset(tag.lower() for tag in product["tags"])
    await ctx.call_activity(check, input=",".join(tags))
    return await ctx.call_activity(ship, input=product["sku"])


@workflow
def in_stock_and_ordered(ctx: WorkflowContext, order: dict):
    for sku in order["stock"].keys() & order["wanted"].keys():
        yield ctx.call_activity(reserve, input={"sku": sku, "amount": order["wanted"][sku]})
    return "reserved"


@workflow
async def first_of_a_set(ctx: WorkflowContext, carriers: list):
    best, *others = {carrier["name"] for carrier in carriers if carrier["days"] < 4}
    await ctx.call_activity(ship, input=best)
    return {"with": best, "instead of": len(others)}


@workflow
def shortest_name(ctx: WorkflowContext, carriers: list):
    chosen = min(set(carriers), key=len)
    parcel = yield ctx.call_activity(ship, input=chosen)
    return parcel


@workflow
def channels_of_an_enum(ctx: WorkflowContext, wanted: list):
    channels = {Channel(name) for name in wanted}
    for number, channel in enumerate(channels):
        yield ctx.call_activity(notify, input={"number": number, "channel": channel.value})


@workflow
async def pairs_seats(ctx: WorkflowContext, guests: list):
    seats = ["1A", "1B", "2A", "2B", "3A", "3B"]
    plan = dict(zip(set(guests), seats, strict=False))
    await ctx.call_activity(charge, input=plan)
    return plan


class Cart:
    def __init__(self, skus: list) -> None:
        self.skus = set(skus)

    def each(self):
        yield from self.skus


@workflow
def cart_in_any_order(ctx: WorkflowContext, skus: list):
    cart = Cart(skus)
    for sku in cart.each():
        yield ctx.call_activity(reserve, input=sku)
    return (yield ctx.call_activity(charge, input=len(cart.skus)))


NAMES = ["ada", "ben", "cleo", "dan", "eve", "finn"]
CASES = [
    Case(tells_everybody, "It iterates over a set.", "Hello", (notify,), shows=Shows.ELSEWHERE),
    Case(without_duplicates, "list(set(...)) has the order of the set.", NAMES, (price_of,), shows=Shows.ELSEWHERE),
    Case(
        keyed_by_a_set,
        "A dictionary is made from a set and has its order.",
        [{"sku": name, "amount": 1} for name in NAMES],
        (reserve,),
        shows=Shows.ELSEWHERE,
    ),
    Case(takes_from_a_set, "pop() takes any element.", NAMES, (notify,), shows=Shows.ELSEWHERE),
    Case(
        asks_for_papers,
        "A helper returns a set, and the workflow iterates over it.",
        {"required": NAMES, "present": ["dan"]},
        (notify,),
        shows=Shows.ELSEWHERE,
    ),
    Case(
        joined_tags,
        "A set is joined to a text.",
        {"sku": "lamp", "tags": NAMES},
        (check, ship),
        shows=Shows.ELSEWHERE,
    ),
    Case(
        in_stock_and_ordered,
        "What two dictionaries have in common is a set.",
        {"stock": dict.fromkeys(NAMES, 9), "wanted": dict.fromkeys(NAMES, 1)},
        (reserve,),
        shows=Shows.ELSEWHERE,
    ),
    Case(
        first_of_a_set,
        "A set is unpacked.",
        [{"name": name, "days": 2} for name in NAMES],
        (ship,),
        shows=Shows.ELSEWHERE,
    ),
    Case(
        shortest_name,
        "min() of a set takes any of several that are equal.",
        ["bolt", "dash", "jet4", "mule", "rush", "send"],
        (ship,),
        shows=Shows.ELSEWHERE,
    ),
    Case(
        channels_of_an_enum,
        "Members of an enum are hashed by their names.",
        [channel.value for channel in Channel],
        (notify,),
        shows=Shows.ELSEWHERE,
    ),
    Case(pairs_seats, "A set is zipped with a list.", NAMES, (charge,), shows=Shows.ELSEWHERE),
    Case(cart_in_any_order, "A method gives the elements of a set.", NAMES, (reserve, charge), shows=Shows.ELSEWHERE),
]
