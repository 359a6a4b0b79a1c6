"""Sets that have no say in the order, dictionaries, and plain computing."""

from __future__ import annotations

import collections
import copy
import functools
import itertools
import json
import math
import operator
import os.path
import re
import statistics
import string
import textwrap
from collections import Counter, defaultdict, deque
from dataclasses import asdict, dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePosixPath
from typing import NamedTuple

from dapr_workflow_sdk import WorkflowContext, when_all, workflow
from tests.determinism.case import Case
from tests.determinism.shop import charge, check, notify, price_of, reserve, ship

ALLOWED = {"lamp", "desk", "chair"}
CODE = re.compile(r"^(?P<kind>[A-Z]+)-(?P<number>\d+)$")
RATES = {"eur": Decimal("1.08"), "usd": Decimal(1)}


class Size(Enum):
    SMALL = 1
    LARGE = 2


class Line(NamedTuple):
    sku: str
    amount: int


@dataclass
class Order:
    id: str
    lines: list[dict]
    paid: bool = False


@workflow
async def sorted_set(ctx: WorkflowContext, skus: list):
    for sku in sorted(set(skus)):
        await ctx.call_activity(reserve, input=sku)
    return len(set(skus))


@workflow
async def only_membership(ctx: WorkflowContext, skus: list):
    seen: set[str] = set()
    for sku in skus:
        if sku in seen or sku not in ALLOWED:
            continue
        seen.add(sku)
        await ctx.call_activity(reserve, input=sku)
    return len(seen)


@workflow
def what_is_missing(ctx: WorkflowContext, order: dict):
    missing = set(order["wanted"]) - set(order["stock"])
    if missing:
        yield ctx.call_activity(notify, input={"missing": sorted(missing, key=str.lower), "of": len(order["wanted"])})
    if set(order["wanted"]).issubset(ALLOWED) and any(sku == "lamp" for sku in missing):
        yield ctx.call_activity(check, input=max(missing))
    return bool(missing)


@workflow
def unique_in_order(ctx: WorkflowContext, skus: list):
    for sku in dict.fromkeys(skus):
        yield ctx.call_activity(price_of, input=sku)
    return list(dict.fromkeys(skus))


@workflow
def grouped(ctx: WorkflowContext, lines: list):
    by_shop: dict[str, list] = defaultdict(list)
    for line in lines:
        by_shop[line["shop"]].append(line["sku"])
    for shop, skus in by_shop.items():
        yield ctx.call_activity(ship, input={"shop": shop, "skus": skus})
    return Counter(line["shop"] for line in lines).most_common(1)[0][0]


@workflow
async def price_table(ctx: WorkflowContext, skus: list):
    prices = await when_all([ctx.call_activity(price_of, input=sku) for sku in skus])
    table = {sku: Decimal(str(price)) for sku, price in zip(skus, prices, strict=True)}
    total = sum(table.values(), Decimal(0)) * RATES["eur"]
    return str(total.quantize(Decimal("0.01"), ROUND_HALF_UP))


@workflow
def sum_of_a_set(ctx: WorkflowContext, amounts: list):
    total = sum({round(amount) for amount in amounts})
    yield ctx.call_activity(charge, input=total)
    return {"total": total, "highest": max(set(amounts))}


@workflow
async def reduced(ctx: WorkflowContext, lines: list):
    total = functools.reduce(operator.add, (line["amount"] for line in lines), 0)
    add_tax = functools.partial(operator.mul, 2)
    chunks = itertools.zip_longest(*[iter(lines)] * 2)
    for number, chunk in enumerate(chunks, 1):
        await ctx.call_activity(ship, input={"number": number, "lines": [line for line in chunk if line]})
    return add_tax(total)


@workflow
def copied_order(ctx: WorkflowContext, order: Order):
    draft = copy.deepcopy(order)
    draft.lines.append({"sku": "gift", "amount": 1})
    yield ctx.call_activity(reserve, input=asdict(draft))
    final = replace(order, paid=True)
    return {"lines": len(final.lines), "paid": final.paid}


@workflow
def parsed_codes(ctx: WorkflowContext, codes: list):
    good = [match for code in codes if (match := CODE.match(code))]
    for match in good:
        yield ctx.call_activity(check, input=int(match["number"]))
    return string.Template("$n of $m").substitute(n=len(good), m=len(codes))


@workflow
def paths_without_files(ctx: WorkflowContext, name: str):
    folder = PurePosixPath("/exports") / "2026"
    target = folder / name
    stem, extension = os.path.splitext(os.path.basename(name))
    yield ctx.call_activity(ship, input=os.path.join(str(folder), stem + ".zip"))
    return {"suffix": target.suffix, "same": extension == target.suffix, "in": str(target.parent)}


@workflow
async def by_size(ctx: WorkflowContext, sizes: list):
    for size in Size:
        if size.name in sizes:
            await ctx.call_activity(notify, input=size.value)
    return Size[sizes[0]].value


@workflow
def calculated(ctx: WorkflowContext, values: list):
    mean, spread = statistics.mean(values), math.sqrt(statistics.pvariance(values))
    outliers = [value for value in values if abs(value - mean) > 1.5 * spread]
    for value in outliers:
        yield ctx.call_activity(notify, input=value)
    return str(Fraction(len(outliers), len(values)))


@workflow
def worked_off(ctx: WorkflowContext, jobs: list):
    queue = deque(jobs)
    done = collections.OrderedDict()
    while queue:
        job = queue.popleft()
        status = yield ctx.call_activity(check, input=job)
        if status != "done":
            queue.append(job)
        done[job] = status
        done.move_to_end(job)
    return list(done)


@workflow
def most_urgent_first(ctx: WorkflowContext, tickets: list):
    ranking = {"high": 0, "low": 1}
    lines = [Line(ticket["sku"], ticket["amount"]) for ticket in tickets]
    for ticket in sorted(tickets, key=lambda ticket: (ranking[ticket["urgency"]], -ticket["amount"])):
        yield ctx.call_activity(notify, input=json.dumps(ticket, sort_keys=True))
    return max(lines, key=operator.attrgetter("amount")).sku


@workflow
def letters(ctx: WorkflowContext, customer: dict):
    text = textwrap.dedent(f"""\
        Dear {customer["name"].title()},
        your order has left us.""")
    for line in text.splitlines():
        yield ctx.call_activity(notify, input=line)
    return f"{len(text):>5}|{customer['name']!r}"


@workflow
def popped_entries(ctx: WorkflowContext, options: dict):
    options = dict(options)
    carrier = options.pop("carrier", "post")
    last = options.popitem()
    yield ctx.call_activity(ship, input={"carrier": carrier, "last": list(last)})
    return len(options)


CASES = [
    Case(sorted_set, "The set is sorted.", ["lamp", "desk", "lamp"], (reserve,)),
    Case(only_membership, "Sets are only asked what they hold.", ["lamp", "desk", "lamp", "sofa"], (reserve,)),
    Case(
        what_is_missing,
        "A difference of sets is sorted, counted and tested.",
        {"wanted": ["lamp", "desk"], "stock": ["desk"]},
        (notify, check),
    ),
    Case(unique_in_order, "dict.fromkeys keeps the order.", ["b", "a", "b"], (price_of,)),
    Case(
        grouped,
        "Dictionaries have the order of insertion.",
        [{"shop": "x", "sku": "a"}, {"shop": "y", "sku": "b"}],
        (ship,),
    ),
    Case(price_table, "It calculates with decimals and a constant.", ["lamp", "desk"], (price_of,)),
    Case(sum_of_a_set, "The sum and the maximum of a set of numbers.", [1.2, 3.9, 3.9], (charge,)),
    Case(reduced, "functools and itertools over lists.", [{"amount": 2}, {"amount": 3}, {"amount": 4}], (ship,)),
    Case(copied_order, "It changes a copy of its input.", {"id": "A-1", "lines": []}, (reserve,)),
    Case(parsed_codes, "Regular expressions, and string.Template.", ["A-1", "b", "C-22"], (check,)),
    Case(paths_without_files, "Paths without a file system.", "may.csv", (ship,)),
    Case(by_size, "An enum is iterated in the order of its definition.", ["LARGE", "SMALL"], (notify,)),
    Case(calculated, "It calculates.", [1, 1, 1, 1, 9], (notify,)),
    Case(worked_off, "A queue of its own.", ["a", "b"], (check,)),
    Case(
        most_urgent_first,
        "It sorts by a lambda, and writes JSON.",
        [{"sku": "a", "amount": 1, "urgency": "low"}, {"sku": "b", "amount": 2, "urgency": "high"}],
        (notify,),
    ),
    Case(letters, "It formats text.", {"name": "ada"}, (notify,)),
    Case(popped_entries, "pop and popitem of a dictionary.", {"carrier": "bike", "gift": True, "note": "hi"}, (ship,)),
]
