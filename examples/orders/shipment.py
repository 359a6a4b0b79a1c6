"""The last part of an order: a workflow of its own, because one order may come to need several."""

import asyncio
import zlib
from collections.abc import Generator
from datetime import timedelta
from typing import Any

from dapr_workflow_sdk import Task, WorkflowActivityContext, WorkflowContext, activity, workflow
from orders.activities import RETRIES
from orders.model import Order


@workflow
def shipment(ctx: WorkflowContext, order: Order) -> Generator[Task, Any, str]:
    """Sends an order on its way, and says how."""
    carrier = yield from ctx.call_activity(book_carrier, input=order, retry_policy=RETRIES)
    tracking = yield from ctx.call_activity(print_label, input=order)
    yield ctx.create_timer(timedelta(milliseconds=50))  # Until the carrier comes by.
    return f"{tracking} by {carrier}"


@activity
async def book_carrier(ctx: WorkflowActivityContext, order: Order) -> str:
    """Finds a carrier: a van for what is bulky, else the post."""
    await asyncio.sleep(0.01)
    return "van" if sum(line.quantity for line in order.lines) > 10 else "post"


@activity
def print_label(ctx: WorkflowActivityContext, order: Order) -> str:
    """Prints the label of the parcel, and returns its tracking number."""
    return f"TRK{zlib.crc32(order.id.encode()):010d}"
