"""Decisions by replay itself and by what the module's code looks like."""

from __future__ import annotations

import inspect
import sys
import traceback
from datetime import timedelta

from dapr_workflow_sdk import TaskFailedError, WorkflowContext, workflow
from tests.determinism.case import Case, Shows
from tests.determinism.shop import charge, check, decline, notify, price_of, reserve, ship


@workflow
async def notifies_once(ctx: WorkflowContext, order: str):
    await ctx.call_activity(charge, input=order)
    if not ctx.is_replaying:
        await ctx.call_activity(notify, input=order)
    return await ctx.call_activity(ship, input=order)


@workflow
async def marks_replays(ctx: WorkflowContext, order: str):
    mode = "replay" if ctx.is_replaying else "live"
    await ctx.call_activity(reserve, input=order)
    later = await ctx.call_activity(check, input={"order": order, "mode": mode})
    if ctx.is_replaying:
        return "again"
    await ctx.create_timer(timedelta(seconds=5))
    return later


def _live(ctx: WorkflowContext) -> bool:
    return not ctx.is_replaying


@workflow
def is_replaying_in_a_helper(ctx: WorkflowContext, order: str):
    live = _live(ctx)
    yield ctx.call_activity(reserve, input={"order": order, "live": live})
    for _ in range(2 if live else 1):
        yield ctx.call_activity(check, input=order)
    return "checked"


def step_1_reserve(ctx: WorkflowContext, order: str):
    return ctx.call_activity(reserve, input=order)


def step_2_charge(ctx: WorkflowContext, order: str):
    return ctx.call_activity(charge, input=order)


@workflow
def every_step_of_the_module(ctx: WorkflowContext, order: str):
    names = sorted(name for name in globals() if name.startswith("step_"))
    for name in names:
        yield globals()[name](ctx, order)
    return names


class Channel:
    def send(self, ctx: WorkflowContext, text: str):
        raise NotImplementedError


class Mail(Channel):
    def send(self, ctx: WorkflowContext, text: str):
        return ctx.call_activity(notify, input={"mail": text})


class Push(Channel):
    def send(self, ctx: WorkflowContext, text: str):
        return ctx.call_activity(notify, input={"push": text})


@workflow
async def every_subclass(ctx: WorkflowContext, text: str):
    for kind in Channel.__subclasses__():
        await kind().send(ctx, text)
    return "sent"


class Pricing:
    def a_list(self, ctx: WorkflowContext, sku: str):
        return ctx.call_activity(price_of, input=sku)

    def b_tax(self, ctx: WorkflowContext, sku: str):
        return ctx.call_activity(price_of, input=f"{sku}-tax")


@workflow
def every_method(ctx: WorkflowContext, sku: str):
    pricing, total = Pricing(), 0.0
    for name in dir(pricing):
        if not name.startswith("_"):
            total += yield getattr(pricing, name)(ctx, sku)
    return total


@workflow
def key_from_the_line(ctx: WorkflowContext, order: str):
    key = f"{order}-{sys._getframe().f_lineno}"
    yield ctx.call_activity(charge, input={"key": key})
    return key


@workflow
def key_from_the_source(ctx: WorkflowContext, order: str):
    line = inspect.getsourcelines(key_from_the_source)[1]
    yield ctx.call_activity(charge, input={"order": order, "key": f"v{line}"})
    yield ctx.call_activity(notify, input=order)


@workflow
def sends_its_trace(ctx: WorkflowContext, order: str):
    try:
        yield ctx.call_activity(decline, input=order)
    except TaskFailedError:
        yield ctx.call_activity(notify, input={"order": order, "where": traceback.format_exc()})
    return "declined"


ORDER = "A-1"
CASES = [
    Case(notifies_once, "A call depends on is_replaying.", ORDER, (charge, notify, ship), shows=Shows.AGAIN),
    Case(marks_replays, "An input depends on is_replaying.", ORDER, (reserve, check), shows=Shows.AGAIN),
    Case(is_replaying_in_a_helper, "A helper asks is_replaying.", ORDER, (reserve, check), shows=Shows.AGAIN),
    Case(
        every_step_of_the_module,
        "It calls whatever functions its module has; a new one changes running instances.",
        ORDER,
        (reserve, charge),
        shows=Shows.DEPLOYED,
    ),
    Case(
        every_subclass,
        "It calls whatever subclasses there are, in the order of their definition.",
        "hello",
        (notify,),
        shows=Shows.DEPLOYED,
    ),
    Case(every_method, "It calls whatever methods there are.", "lamp", (price_of,), shows=Shows.DEPLOYED),
    Case(key_from_the_line, "A key is made from a line number.", ORDER, (charge,), shows=Shows.DEPLOYED),
    Case(key_from_the_source, "A key is made from the source.", ORDER, (charge, notify), shows=Shows.DEPLOYED),
    Case(sends_its_trace, "A trace has the line numbers of the code.", ORDER, (decline, notify), shows=Shows.DEPLOYED),
]

# What somebody changes later, in places that should not matter.
EDITS = [
    (
        "def step_2_charge(",
        "def step_1_verify(ctx, order):\n    return ctx.call_activity(check, input=order)\n\n\ndef step_2_charge(",
    ),
    ("class Push(Channel):", "class Letter(Mail, Channel):\n    pass\n\n\nclass Push(Channel):"),
    (
        "    def b_tax(",
        "    def a_tax(self, ctx, sku):\n        return ctx.call_activity(price_of, input='x')\n\n    def b_tax(",
    ),
]
