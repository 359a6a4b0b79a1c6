"""Helpers, classes, closures, decorators and generators."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Awaitable, Callable, Generator, Iterator
from datetime import timedelta
from typing import Any, TypeVar

from dapr_workflow_sdk import RetryPolicy, Task, WorkflowContext, when_all, when_any, workflow
from tests.determinism.case import Case
from tests.determinism.good import open_files
from tests.determinism.shop import charge, check, notify, price_of, refund, reserve, ship

T = TypeVar("T")
PRICES = {"lamp": 30, "desk": 120}
TWICE = RetryPolicy(first_retry_interval=timedelta(seconds=1), max_number_of_attempts=2)
STEPS: tuple[Callable[..., Any], ...] = (reserve, charge, ship)


def pay_for(ctx: WorkflowContext, order: str) -> Generator[Any, Any, str]:
    receipt = yield ctx.call_activity(charge, input=order)
    yield ctx.call_activity(notify, input=receipt)
    return receipt


@workflow
def helper_that_yields(ctx: WorkflowContext, order: str):
    receipt = yield from pay_for(ctx, order)
    parcel = yield ctx.call_activity(ship, input=order)
    return [receipt, parcel]


async def pay_all(ctx: WorkflowContext, orders: list) -> list:
    return [await ctx.call_activity(charge, input=order) for order in orders]


@workflow
async def helper_that_awaits(ctx: WorkflowContext, orders: list):
    receipts = await pay_all(ctx, orders)
    return len(receipts)


def shipping(ctx: WorkflowContext, order: str) -> Task[str]:
    return ctx.call_activity(ship, input=order)


@workflow
def helper_that_returns_a_task(ctx: WorkflowContext, orders: list):
    tasks = [shipping(ctx, order) for order in orders]
    first = yield when_any(tasks)
    parcels = yield when_all(tasks)
    return {"first": first.get_result(), "all": parcels}


@workflow
async def waits_later(ctx: WorkflowContext, order: str):
    quote = ctx.call_activity(price_of, input=order)
    reservation = await ctx.call_activity(reserve, input=order)
    price = await quote
    return {"price": price, "reservation": reservation}


@workflow
def steps_of_a_tuple(ctx: WorkflowContext, order: str):
    results = []
    for step in STEPS:
        results.append((yield ctx.call_activity(step, input=order)))
    return results


class Basket:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.total = 0

    def add(self, sku: str) -> Basket:
        self.lines.append(sku)
        self.total += PRICES[sku]
        return self

    def pay(self, ctx: WorkflowContext) -> Generator[Any, Any, str]:
        receipt = yield ctx.call_activity(charge, input=self.total)
        return receipt

    def __iter__(self) -> Iterator[str]:
        yield from self.lines


@workflow
def object_of_its_own(ctx: WorkflowContext, skus: list):
    basket = Basket()
    for sku in skus:
        basket.add(sku)
    for sku in basket:
        yield ctx.call_activity(reserve, input=sku)
    return (yield from basket.pay(ctx))


@workflow
def closures_of_its_own(ctx: WorkflowContext, orders: list):
    count = 0

    def numbered(order: str) -> dict:
        nonlocal count
        count += 1
        return {"order": order, "number": count}

    log: list[str] = []
    remember = log.append
    for order in orders:
        yield ctx.call_activity(ship, input=numbered(order))
        remember(order)
    return {"count": count, "log": log}


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(ctx: WorkflowContext, order: str) -> Generator[Any, Any, Any]:
        ctx.logger.info("begins")
        result = yield from function(ctx, order)
        ctx.logger.info("ends")
        return result

    return run


@workflow
@logged
def under_a_decorator(ctx: WorkflowContext, order: str):
    receipt = yield ctx.call_activity(charge, input=order)
    return receipt


class Discount:
    def __init__(self, percent: int) -> None:
        self.percent = percent

    def __call__(self, price: float) -> float:
        return price * (100 - self.percent) / 100


@workflow
async def callable_object(ctx: WorkflowContext, order: dict):
    discount = Discount(order["percent"])
    prices = await when_all([ctx.call_activity(price_of, input=sku) for sku in order["skus"]])
    return [discount(price) for price in prices]


def tree_total(node: dict) -> int:
    return node.get("amount", 0) + sum(map(tree_total, node.get("parts", [])))


def ship_tree(ctx: WorkflowContext, node: dict) -> Generator[Any, Any, int]:
    sent = 1
    yield ctx.call_activity(ship, input=node["name"])
    for part in node.get("parts", []):
        sent += yield from ship_tree(ctx, part)
    return sent


@workflow
def recursion(ctx: WorkflowContext, root: dict):
    sent = yield from ship_tree(ctx, root)
    return {"sent": sent, "amount": tree_total(root)}


def batches(items: list, size: int) -> Iterator[list]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


@workflow
def batches_of_a_generator(ctx: WorkflowContext, orders: list):
    results = []
    for batch in batches(orders, 2):
        results += yield when_all([ctx.call_activity(ship, input=order) for order in batch])
    return results


@workflow
async def sliding_window(ctx: WorkflowContext, orders: list):
    running: list[Task] = []
    parcels = []
    for order in orders:
        if len(running) == 2:
            done = await when_any(running)
            running.remove(done)
            parcels.append(done.get_result())
        running.append(ctx.call_activity(ship, input=order))
    return parcels + await when_all(running)


@functools.lru_cache
def tax(price: int) -> int:
    return price * 21 // 100


@workflow
def cached_pure_helper(ctx: WorkflowContext, skus: list):
    total = sum(PRICES[sku] + tax(PRICES[sku]) for sku in skus)
    yield ctx.call_activity(charge, input=total)
    return total


async def first_of(*tasks: Awaitable[T]) -> T:
    return await tasks[0]


@workflow
async def generic_helper(ctx: WorkflowContext, order: str):
    await ctx.call_activity(notify, input=order)
    return await first_of(ctx.call_activity(check, input=order))


@workflow
def helpers_of_another_module(ctx: WorkflowContext, orders: list):
    still_open = open_files.open_orders(orders)
    for order in still_open:
        yield ctx.call_activity(check, input=order["id"])
    return open_files.random_access(orders, 0)


@contextlib.contextmanager
def section(log: list, name: str) -> Iterator[None]:
    log.append(f"begin {name}")
    yield
    log.append(f"end {name}")


@workflow
def sections(ctx: WorkflowContext, order: str):
    log: list[str] = []
    with section(log, "charge"):
        yield ctx.call_activity(charge, input=order)
    with section(log, "ship"):
        yield ctx.call_activity(ship, input=order)
    return log


@workflow
def matched(ctx: WorkflowContext, command: dict):
    match command:
        case {"kind": "refund", "receipt": receipt}:
            yield ctx.call_activity(refund, input=receipt, retry_policy=TWICE)
            return "refunded"
        case {"kind": kind}:
            return f"{kind} is not known"


CASES = [
    Case(helper_that_yields, "yield from a helper.", "A-1", (charge, notify, ship)),
    Case(helper_that_awaits, "await of a helper that awaits tasks only.", ["A-1", "A-2"], (charge,)),
    Case(helper_that_returns_a_task, "A helper returns the task; the workflow waits for it.", ["A-1", "A-2"], (ship,)),
    Case(waits_later, "A task is waited for later than it is made.", "lamp", (price_of, reserve)),
    Case(steps_of_a_tuple, "A constant holds the activities to call.", "A-1", (reserve, charge, ship)),
    Case(object_of_its_own, "An object that the run makes and changes.", ["lamp", "desk"], (reserve, charge)),
    Case(closures_of_its_own, "nonlocal, but of the run itself.", ["A-1", "A-2"], (ship,)),
    Case(under_a_decorator, "A decorator writes to the logger of the context.", "A-1", (charge,)),
    Case(callable_object, "An object that can be called.", {"percent": 10, "skus": ["lamp"]}, (price_of,)),
    Case(
        recursion,
        "Helpers call themselves.",
        {"name": "a", "amount": 2, "parts": [{"name": "b", "amount": 3}, {"name": "c"}]},
        (ship,),
    ),
    Case(batches_of_a_generator, "A generator of data, not of tasks.", ["a", "b", "c"], (ship,)),
    Case(sliding_window, "At most two at a time, by when_any.", ["a", "b", "c", "d"], (ship,)),
    Case(cached_pure_helper, "lru_cache of a pure function.", ["lamp", "desk"], (charge,)),
    Case(generic_helper, "A helper awaits what it is given, which is a task.", "A-1", (notify, check)),
    Case(
        helpers_of_another_module,
        "Helpers and modules whose names sound like files and chance.",
        [{"id": "A-1", "open": True}, {"id": "A-2", "open": False}],
        (check,),
    ),
    Case(sections, "A context manager over a wait that changes local state only.", "A-1", (charge, ship)),
    Case(matched, "match on the input.", {"kind": "refund", "receipt": "r"}, (refund,)),
]
