"""State that outlives a run."""

from __future__ import annotations

import contextvars
import functools
import itertools

from dapr_workflow_sdk import Task, WorkflowActivityContext, WorkflowContext, activity, when_all, workflow
from tests.determinism.case import Case, Shows
from tests.determinism.shop import charge, check, notify, price_of, reserve, ship

invoices = 0
AUDIT: list[str] = []
PROFILES: dict[str, str] = {}
SOLD: dict[str, int] = {}
NUMBERS = itertools.count(1)
CARRIERS = itertools.cycle(["north", "south", "west"])
PLANS = {"basic": ["mail"], "full": ["mail", "phone"]}
ATTEMPTS: contextvars.ContextVar[int] = contextvars.ContextVar("ATTEMPTS", default=0)


@workflow
def numbered_invoice(ctx: WorkflowContext, order: dict):
    global invoices
    invoices += 1
    number = f"2026-{invoices:05d}"
    yield ctx.call_activity(charge, input={"order": order["id"], "invoice": number})
    yield ctx.call_activity(notify, input=f"Invoice {number} is paid.")
    return number


def collect(sku: str, seen: list = []) -> list:
    seen.append(sku)
    return seen


@workflow
def default_list(ctx: WorkflowContext, skus: list):
    for sku in skus:
        batch = collect(sku)
        yield ctx.call_activity(reserve, input=batch)
    return len(batch)


class PriceBook:
    prices: dict[str, float] = {}

    def known(self, sku: str) -> bool:
        return sku in self.prices

    def learn(self, sku: str, price: float) -> None:
        self.prices[sku] = price


@workflow
async def price_book(ctx: WorkflowContext, skus: list):
    book = PriceBook()
    for sku in skus:
        if not book.known(sku):
            book.learn(sku, await ctx.call_activity(price_of, input=sku))
    return await ctx.call_activity(charge, input=sum(book.prices[sku] for sku in skus))


@functools.lru_cache
def default_recipients(team: str) -> list:
    return [f"{team}-lead", f"{team}-office"]


@workflow
def cached_recipients(ctx: WorkflowContext, request: dict):
    recipients = default_recipients(request["team"])
    recipients.append(request["author"])
    yield when_all([ctx.call_activity(notify, input=recipient) for recipient in recipients])
    return len(recipients)


@workflow
async def numbered_audit(ctx: WorkflowContext, order: str):
    AUDIT.append(f"started {order}")
    await ctx.call_activity(check, input={"order": order, "entry": len(AUDIT)})
    AUDIT.append(f"finished {order}")
    return len(AUDIT)


def make_workflow(prefix: str):
    made = 0

    @workflow(name="counted_in_a_closure")
    def counted_in_a_closure(ctx: WorkflowContext, order: str):
        nonlocal made
        made += 1
        yield ctx.call_activity(ship, input=f"{prefix}-{made}-{order}")
        return made

    return counted_in_a_closure


counted = make_workflow("parcel")


def next_ticket() -> int:
    next_ticket.last = getattr(next_ticket, "last", 0) + 1
    return next_ticket.last


@workflow
def function_attribute(ctx: WorkflowContext, problem: str):
    ticket = next_ticket()
    yield ctx.call_activity(notify, input={"ticket": ticket, "problem": problem})
    answer = yield ctx.wait_for_external_event("answer")
    return {"ticket": ticket, "answer": answer}


@workflow
async def counted_parcels(ctx: WorkflowContext, orders: list):
    for order in orders:
        await ctx.call_activity(ship, input={"order": order, "number": next(NUMBERS)})
    return len(orders)


@workflow
def round_robin(ctx: WorkflowContext, orders: list):
    for order in orders:
        carrier = next(CARRIERS)
        yield ctx.call_activity(ship, input={"order": order, "carrier": carrier})
    return "shipped"


@workflow
async def profile_cache(ctx: WorkflowContext, customer: str):
    if customer not in PROFILES:
        PROFILES[customer] = await ctx.call_activity(check, input=customer)
    await ctx.call_activity(notify, input={"customer": customer, "profile": PROFILES[customer]})
    return PROFILES[customer]


@activity
def sell(ctx: WorkflowActivityContext, sku: str) -> None:
    SOLD[sku] = SOLD.get(sku, 0) + 1


@workflow
def reads_what_activities_count(ctx: WorkflowContext, sku: str):
    yield ctx.call_activity(sell, input=sku)
    if SOLD.get(sku, 0) > 1:
        yield ctx.call_activity(notify, input=f"{sku} sells well")
    yield ctx.call_activity(sell, input=sku)
    return sku


class Sequence:
    def __init__(self) -> None:
        self.value = 100

    def advance(self) -> int:
        self.value += 1
        return self.value


ORDER_NUMBERS = Sequence()


@workflow
async def sequence_object(ctx: WorkflowContext, sku: str):
    number = ORDER_NUMBERS.advance()
    await ctx.call_activity(reserve, input={"number": number, "sku": sku})
    return await ctx.call_activity(charge, input=number)


@workflow
def changes_a_plan(ctx: WorkflowContext, customer: dict):
    channels = PLANS[customer["plan"]]
    if customer["vip"]:
        channels.append("visit")
    yield when_all([ctx.call_activity(notify, input=channel) for channel in channels])
    return "told"


@workflow
async def context_variable(ctx: WorkflowContext, order: str):
    ATTEMPTS.set(ATTEMPTS.get() + 1)
    await ctx.call_activity(charge, input={"order": order, "attempt": ATTEMPTS.get()})
    await ctx.call_activity(ship, input=order)


TOKEN: Task | None = None


@workflow
def shared_token(ctx: WorkflowContext, order: str):
    global TOKEN
    if TOKEN is None:
        TOKEN = ctx.call_activity(check, input="token")
    token = yield TOKEN
    return (yield ctx.call_activity(charge, input={"order": order, "token": token}))


class Current:
    ctx: WorkflowContext


def tell(text: str):
    return Current.ctx.call_activity(notify, input=text)


@workflow
def context_in_a_class(ctx: WorkflowContext, order: str):
    Current.ctx = ctx
    yield tell(f"{order} has come")
    yield ctx.call_activity(ship, input=order)
    yield tell(f"{order} has left")


class Throttle:
    """Lets every third call through."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> bool:
        self.calls += 1
        return self.calls % 3 == 1


may_notify = Throttle()


@workflow
def throttled(ctx: WorkflowContext, order: str):
    if may_notify():
        yield ctx.call_activity(notify, input=order)
    yield ctx.call_activity(ship, input=order)


CASES = [
    Case(numbered_invoice, "A module's counter is increased.", {"id": "A-1"}, (charge, notify), shows=Shows.AGAIN),
    Case(default_list, "A default argument is a list that grows.", ["lamp", "desk"], (reserve,), shows=Shows.AGAIN),
    Case(price_book, "A class attribute is a cache.", ["lamp", "desk"], (price_of, charge), shows=Shows.AGAIN),
    Case(
        cached_recipients,
        "A cached list is changed.",
        {"team": "sales", "author": "ada"},
        (notify,),
        shows=Shows.AGAIN,
    ),
    Case(numbered_audit, "A module's list grows with each replay.", "A-1", (check,), shows=Shows.AGAIN),
    Case(counted, "A closure counts the runs.", "A-1", (ship,), shows=Shows.AGAIN),
    Case(
        function_attribute,
        "A function keeps a counter as its attribute.",
        "no light",
        (notify,),
        events=(("answer", "switch it on"),),
        shows=Shows.AGAIN,
    ),
    Case(counted_parcels, "A module's itertools.count goes on.", ["A-1", "A-2"], (ship,), shows=Shows.AGAIN),
    Case(round_robin, "A module's itertools.cycle goes on.", ["A-1"], (ship,), shows=Shows.AGAIN),
    Case(profile_cache, "A module's dictionary is a cache.", "ada", (check, notify), shows=Shows.AGAIN),
    Case(
        reads_what_activities_count,
        "It reads what its activities change in memory.",
        "lamp",
        (sell, notify),
        shows=Shows.AGAIN,
    ),
    Case(sequence_object, "An object of the module counts.", "lamp", (reserve, charge), shows=Shows.AGAIN),
    Case(
        changes_a_plan,
        "A list inside of a constant is changed.",
        {"plan": "basic", "vip": True},
        (notify,),
        shows=Shows.AGAIN,
    ),
    Case(context_variable, "A context variable counts.", "A-1", (charge, ship), shows=Shows.AGAIN),
    Case(shared_token, "A task is kept for other instances.", "A-1", (check, charge), shows=Shows.AGAIN),
    Case(
        context_in_a_class,
        "The context is kept where another run replaces it.",
        "A-1",
        (notify, ship),
        shows=Shows.REFUSED,
        says="",
    ),
    Case(throttled, "An object counts its calls.", "A-1", (notify, ship), shows=Shows.AGAIN),
]
