"""Hashes, addresses, and what the process and the machine are."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import socket
import sys
import threading
import weakref

from dapr_workflow_sdk import TaskFailedError, WorkflowContext, when_all, workflow
from tests.determinism.case import Case, Shows
from tests.determinism.shop import charge, check, decline, notify, price_of, ship


class Basket:
    """Things somebody wants; has no text of its own."""

    def __init__(self, lines: list) -> None:
        self.lines = lines


class PaymentError(Exception):
    def __init__(self, basket: Basket) -> None:
        super().__init__(f"No payment for {basket}")


class Profile:
    def __init__(self, tier: str) -> None:
        self.tier = tier


PROFILES: weakref.WeakValueDictionary[str, Profile] = weakref.WeakValueDictionary()


@workflow
def lock_by_address(ctx: WorkflowContext, lines: list):
    basket = Basket(lines)
    token = f"lock-{id(basket)}"
    yield ctx.call_activity(check, input=token)
    yield ctx.call_activity(charge, input={"token": token, "lines": basket.lines})
    return token


@workflow
def shard_by_hash(ctx: WorkflowContext, customers: list):
    for customer in customers:
        shard = hash(customer) % 16
        yield ctx.call_activity(notify, input={"customer": customer, "queue": f"mail-{shard:02d}"})
    return len(customers)


@workflow
async def ordered_by_hash(ctx: WorkflowContext, skus: list):
    prices = {}
    for sku in sorted(skus, key=hash):
        prices[sku] = await ctx.call_activity(price_of, input=sku)
    return prices


@workflow
def dedupe_by_text(ctx: WorkflowContext, lines: list):
    basket = Basket(lines)
    yield ctx.call_activity(charge, input={"dedupe": str(basket), "lines": basket.lines})
    yield ctx.call_activity(notify, input="charged")


@workflow
async def error_text_with_address(ctx: WorkflowContext, lines: list):
    basket = Basket(lines)
    try:
        await ctx.call_activity(decline, input=lines)
    except TaskFailedError:
        problem = PaymentError(basket)
        await ctx.call_activity(notify, input=str(problem))
    return "not paid"


@workflow
async def owned_by_process(ctx: WorkflowContext, job: str):
    owner = f"worker-{os.getpid()}"
    await ctx.call_activity(notify, input={"job": job, "owner": owner})
    status = await ctx.call_activity(check, input=job)
    return {"status": status, "owner": owner}


@workflow
def export_part(ctx: WorkflowContext, part: int):
    return (yield ctx.call_activity(check, input=part))


@workflow
async def named_by_host(ctx: WorkflowContext, parts: int):
    host = socket.gethostname().split(".")[0]
    tasks = [
        ctx.call_child_workflow(export_part, input=part, instance_id=f"{host}-export-{part}") for part in range(parts)
    ]
    await when_all(tasks)
    return host


@workflow
def by_thread(ctx: WorkflowContext, order: str):
    lane = threading.current_thread().name
    yield ctx.call_activity(ship, input={"order": order, "lane": lane})


@workflow
async def as_wide_as_the_machine(ctx: WorkflowContext, rows: int):
    width = (os.cpu_count() or 1) * 2 + 1
    size = -(-rows // width)
    parts = [list(range(start, min(start + size, rows))) for start in range(0, rows, size)]
    results = await when_all([ctx.call_activity(check, input=part) for part in parts])
    return len(results)


@workflow
def by_interpreter(ctx: WorkflowContext, order: dict):
    release = tuple(int(part) for part in platform.python_version().split(".")[:2])
    yield ctx.call_activity(check, input=order)
    if release >= (3, 50):
        return (yield ctx.call_activity(price_of, input=order["sku"]))
    return (yield ctx.call_activity(charge, input=order["sku"]))


@workflow
def by_library_version(ctx: WorkflowContext, order: dict):
    if int(importlib.metadata.version("msgspec").split(".")[0]) >= 5:
        yield ctx.call_activity(notify, input="The new encoder is in use.")
    receipt = yield ctx.call_activity(charge, input=order)
    return receipt


@workflow
def remembered_weakly(ctx: WorkflowContext, customer: str):
    profile = PROFILES.get(customer)
    if profile is None:
        tier = yield ctx.call_activity(check, input=customer)
        profile = PROFILES[customer] = Profile(tier)
    yield ctx.call_activity(notify, input={"customer": customer, "tier": profile.tier})
    yield ctx.call_activity(charge, input=customer)
    return profile.tier


@workflow
def fast_path_if_loaded(ctx: WorkflowContext, rows: list):
    engine = "threads" if "shop_accelerator" in sys.modules else "plain"
    yield ctx.call_activity(check, input={"rows": rows, "engine": engine})
    return engine


CUSTOMERS = ["ada", "ben", "cleo", "dan", "eve", "finn"]

CASES = [
    Case(
        lock_by_address,
        "A token is made from the address of an object.",
        ["lamp"],
        (check, charge),
        shows=Shows.ELSEWHERE,
    ),
    Case(
        shard_by_hash, "hash() of a text differs from process to process.", CUSTOMERS, (notify,), shows=Shows.ELSEWHERE
    ),
    Case(ordered_by_hash, "It sorts by hash().", CUSTOMERS, (price_of,), shows=Shows.ELSEWHERE),
    Case(
        dedupe_by_text,
        "The text of an object without __str__ holds its address.",
        ["lamp"],
        (charge, notify),
        shows=Shows.ELSEWHERE,
    ),
    Case(
        error_text_with_address,
        "The text of an error holds the address of an object.",
        ["lamp"],
        (decline, notify),
        shows=Shows.ELSEWHERE,
    ),
    Case(owned_by_process, "It asks for the process id.", "export", (notify, check), shows=Shows.ELSEWHERE),
    Case(
        named_by_host,
        "Its children are named after the machine.",
        2,
        (check,),
        (export_part,),
        shows=Shows.ELSEWHERE,
    ),
    Case(by_thread, "It asks which thread runs it.", "A-1", (ship,), shows=Shows.ELSEWHERE),
    Case(as_wide_as_the_machine, "Its width is the number of processors.", 21, (check,), shows=Shows.ELSEWHERE),
    Case(
        by_interpreter,
        "It asks which Python runs it.",
        {"sku": "lamp"},
        (check, charge),
        shows=Shows.ELSEWHERE,
    ),
    Case(
        by_library_version,
        "It asks which version of a library is installed.",
        {"sku": "lamp"},
        (charge,),
        shows=Shows.ELSEWHERE,
    ),
    Case(
        remembered_weakly,
        "A cache holds what other runs have not yet let go of.",
        "ada",
        (check, notify, charge),
        shows=Shows.AGAIN,
    ),
    Case(fast_path_if_loaded, "It looks which modules are loaded.", [1, 2], (check,), shows=Shows.ELSEWHERE),
]
