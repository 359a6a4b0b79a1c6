"""The steps of an order: they do the work, may run more than once, and keep nothing in memory."""

import asyncio
import zlib
from datetime import timedelta

from dapr_workflow_sdk import RetryPolicy, WorkflowActivityContext, activity
from orders.model import CardDeclinedError, Order, OrderLine, OrderResult, OutOfStockError

RETRIES = RetryPolicy(
    first_retry_interval=timedelta(milliseconds=50),
    max_number_of_attempts=8,
    non_retryable_error_types=["CardDeclinedError"],
)
# What other systems would know: the warehouse its stock, the bank its cards. Every order is held against the
# whole stock, so that the result of one never depends on which others were quicker.
STOCK = {
    "backpack-canvas": 28, "cable-usb-c-2m": 300, "coffee-beans-1kg": 150, "desk-lamp-brass": 40,
    "desk-mat-wool": 55, "fountain-pen-steel": 70, "french-press": 38, "headset-usb": 45,
    "ink-bottle-blue": 120, "kettle-steel": 30, "keyboard-mechanical": 60, "monitor-arm-single": 35,
    "mouse-wireless": 80, "mug-stoneware": 200, "notebook-a5-dotted": 400, "office-chair-ergo": 18,
    "paper-a4-500": 500, "plant-monstera": 16, "slide-projector": 0, "standing-desk-oak": 9,
    "typewriter-ribbon": 0, "umbrella-folding": 64, "usb-c-dock": 25, "wall-clock-oak": 22,
    "water-filter": 90, "webcam-1080p": 50,
}  # fmt: skip
DECLINED_CARDS = {"boris.quast", "carmen.vidal", "edith.malone", "oskar.finn", "tilda.roth", "yusuf.acar"}


@activity
def validate_order(ctx: WorkflowActivityContext, order: Order) -> str | None:
    """What speaks against the order, or None."""
    unknown = [line.sku for line in order.lines if line.sku not in STOCK]
    return f"no such goods: {', '.join(unknown)}" if unknown else None


@activity
async def reserve_line(ctx: WorkflowActivityContext, line: OrderLine) -> None:
    """Sets stock aside for one line of the order."""
    await asyncio.sleep(0.01)
    if line.quantity > STOCK[line.sku]:
        raise OutOfStockError(f"{line.quantity} x {line.sku} ordered, {STOCK[line.sku]} in stock")


@activity
async def release_line(ctx: WorkflowActivityContext, line: OrderLine) -> None:
    """Undoes `reserve_line`; does nothing if nothing is reserved."""
    await asyncio.sleep(0.005)


@activity
async def charge_payment(ctx: WorkflowActivityContext, order: Order) -> str:
    """Takes the money, and returns the reference of the payment.

    The reference is the same over retries and crashes, so that the bank knows a payment it has seen before.
    """
    await asyncio.sleep(0.01)
    if order.customer in DECLINED_CARDS:
        raise CardDeclinedError(f"the card of {order.customer} was declined")
    # The line to the bank is bad: every fifth call breaks down. A retry has another task id, and better luck.
    if zlib.crc32(f"{ctx.workflow_id}/{ctx.task_id}".encode()) % 5 == 0:
        raise ConnectionError("the bank did not answer")
    return f"payment {ctx.task_execution_id}"


@activity
async def refund_payment(ctx: WorkflowActivityContext, order: Order) -> None:
    """Undoes `charge_payment`; does nothing if no money was taken."""
    await asyncio.sleep(0.005)


@activity
def notify_customer(ctx: WorkflowActivityContext, result: OrderResult) -> None:
    """Tells the customer how it ended; a real shop would send a mail here."""
