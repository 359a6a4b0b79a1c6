"""Order processing: a file of orders, each taken from validation to shipment by a durable workflow.

Shows fan-out over the lines of an order, retries of a flaky bank, an approval that may never come, a child
workflow that ships, compensation when a step fails, custom status, and a driver that may be killed at any
moment: run the same command again, and every order goes on where it was.

    dapr-workflow run examples/order_processing.py --db orders.db
    dapr-workflow run examples/order_processing.py --db orders.db -- --orders mine.json --parallel 100 --json
"""

import argparse
import asyncio
import json
import sys
import time
import zlib
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from dapr_workflow_sdk import (
    EmbeddedEngine,
    RetryPolicy,
    Task,
    TaskFailedError,
    WorkflowActivityContext,
    WorkflowAlreadyExistsError,
    WorkflowClient,
    WorkflowContext,
    WorkflowRuntime,
    WorkflowState,
    WorkflowStatus,
    activity,
    when_all,
    workflow,
)

APPROVAL_LIMIT = Decimal("1000.00")
APPROVAL_TIMEOUT = timedelta(seconds=3)
RETRIES = RetryPolicy(
    first_retry_interval=timedelta(milliseconds=50),
    max_number_of_attempts=8,
    non_retryable_error_types=["CardDeclinedError"],
)
Undo = tuple[Callable[..., Any], Any]  # An activity, and its input.

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


# ---- Data: checked where it is made, be it from the file or from a payload --------------------------------


@dataclass(frozen=True)
class OrderLine:
    """So many pieces of one kind of goods."""

    sku: str
    quantity: int
    unit_price: Decimal

    def __post_init__(self) -> None:
        """Refuses what no shop can sell."""
        if self.quantity < 1:
            raise ValueError(f"quantity must be at least 1, not {self.quantity}")
        if not self.unit_price.is_finite() or not 0 <= self.unit_price < 1_000_000:
            raise ValueError(f"unit_price must be between 0 and a million, not {self.unit_price}")


@dataclass(frozen=True)
class Order:
    """What a customer wants."""

    id: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,40}$")]
    customer: str
    lines: Annotated[list[OrderLine], Meta(min_length=1)]
    currency: Literal["EUR"] = "EUR"
    notes: str = ""

    @property
    def total(self) -> Decimal:
        """The price of all lines."""
        return sum((line.quantity * line.unit_price for line in self.lines), Decimal(0))


@dataclass(frozen=True)
class OrderResult:
    """How an order ended: completed, compensated, rejected or timed_out; failed if its workflow broke."""

    order_id: str
    outcome: str
    detail: str
    total: Decimal


class OutOfStockError(Exception):
    """The warehouse has less than was ordered."""


class CardDeclinedError(Exception):
    """The bank refuses the payment, and will refuse it again."""


class RejectedError(Exception):
    """The order cannot or must not be carried out."""


# ---- Activities: they do the work, may run more than once, and keep nothing in memory ---------------------


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
async def book_carrier(ctx: WorkflowActivityContext, order: Order) -> str:
    """Finds a carrier: a van for what is bulky, else the post."""
    await asyncio.sleep(0.01)
    return "van" if sum(line.quantity for line in order.lines) > 10 else "post"


@activity
def print_label(ctx: WorkflowActivityContext, order: Order) -> str:
    """Prints the label of the parcel, and returns its tracking number."""
    return f"TRK{zlib.crc32(order.id.encode()):010d}"


@activity
def notify_customer(ctx: WorkflowActivityContext, result: OrderResult) -> None:
    """Tells the customer how it ended; a real shop would send a mail here."""


# ---- Workflows: they decide what happens next, and are replayed after a crash -----------------------------


@workflow
def process_order(ctx: WorkflowContext, order: Order) -> Generator[Task, Any, OrderResult]:
    """Takes one order from validation to shipment; if a step fails, undoes the steps before it."""
    # How to undo a step is noted before the step: one that failed may have had its effect all the same.
    undo: list[Undo] = []
    try:
        ctx.set_custom_status("validating")
        problem = yield from ctx.call_activity(validate_order, input=order)
        if problem is not None:
            raise RejectedError(problem)

        ctx.set_custom_status(f"reserving {len(order.lines)} line{'s' if len(order.lines) > 1 else ''}")
        undo += [(release_line, line) for line in order.lines]
        yield from when_all([ctx.call_activity(reserve_line, input=line) for line in order.lines])

        if order.total > APPROVAL_LIMIT:
            ctx.set_custom_status("awaiting approval")
            answer = yield from ctx.wait_for_external_event("approval", timeout=APPROVAL_TIMEOUT)
            if answer != "yes":
                raise RejectedError(f"the approver says {answer!r}")

        ctx.set_custom_status("charging")
        undo.append((refund_payment, order))
        payment = yield from ctx.call_activity(charge_payment, input=order, retry_policy=RETRIES)

        ctx.set_custom_status("shipping")
        parcel = yield from ctx.call_child_workflow(shipment, input=order, instance_id=f"{ctx.instance_id}-shipment")
        outcome, detail = "completed", f"{parcel}, {payment}"
        undo.clear()
    except RejectedError as error:
        outcome, detail = "rejected", str(error)
    except TimeoutError:
        outcome, detail = "timed_out", "nobody approved it in time"
    except TaskFailedError as error:
        outcome, detail = "compensated", error.details.message

    if undo:
        ctx.set_custom_status("undoing")
    for step, value in reversed(undo):
        yield ctx.call_activity(step, input=value, retry_policy=RETRIES)
    result = OrderResult(order.id, outcome, detail, order.total)
    yield ctx.call_activity(notify_customer, input=result, retry_policy=RETRIES)
    ctx.set_custom_status("done")
    return result


@workflow
def shipment(ctx: WorkflowContext, order: Order) -> Generator[Task, Any, str]:
    """Sends an order on its way, and says how."""
    carrier = yield from ctx.call_activity(book_carrier, input=order, retry_policy=RETRIES)
    tracking = yield from ctx.call_activity(print_label, input=order)
    yield ctx.create_timer(timedelta(milliseconds=50))  # Until the carrier comes by.
    return f"{tracking} by {carrier}"


# ---- The driver: reads the file, starts the workflows, is the approver, shows what happens ----------------


def read_orders(path: Path) -> tuple[list[Order], list[str]]:
    """The orders of a file, and a complaint for each entry that is not a proper order."""
    text = path.read_bytes()
    position = 0
    orders: dict[str, Order] = {}
    malformed: list[str] = []
    for entry in map(bytes, msgspec.json.decode(text, type=list[msgspec.Raw])):
        position = text.index(entry, position)
        try:
            order = msgspec.json.decode(entry, type=Order)
            if order.id in orders:
                raise ValueError(f"there is an order {order.id} before it")
            orders[order.id] = order
        except ValueError as error:
            line = 1 + text.count(b"\n", 0, position)
            malformed.append(f"{path.name}:{line}: malformed order: {error}")
        position += len(entry)
    return list(orders.values()), malformed


def approvers_answer(order: Order) -> str | None:
    """What the approver says to an order; None if there will be no answer."""
    if order.notes == "approver on leave":
        return None
    return "yes" if order.total <= 5 * APPROVAL_LIMIT else "too expensive"


def start_or_resume(client: WorkflowClient, order: Order) -> bool:
    """Starts the workflow of an order unless an earlier run did; returns whether it has finished already."""
    instance_id = f"order-{order.id}"
    state = client.get_workflow_state(instance_id)
    if state is None:
        try:
            client.schedule_new_workflow(process_order, input=order, instance_id=instance_id)
        except WorkflowAlreadyExistsError:
            pass  # Another driver was quicker, which is just as well.
    elif result_of(order, state) is not None:
        return True
    # An event may come before the workflow waits for it, and a second one after a crash does no harm.
    if order.total > APPROVAL_LIMIT and (answer := approvers_answer(order)) is not None:
        client.raise_workflow_event(instance_id, "approval", data=answer)
    return False


def result_of(order: Order, state: WorkflowState | None) -> OrderResult | None:
    """How an order ended; None while it has not."""
    if state is None:
        return OrderResult(order.id, "failed", "its workflow was purged", order.total)
    if state.runtime_status is WorkflowStatus.COMPLETED:
        return msgspec.json.decode(state.serialized_output or "", type=OrderResult)
    if state.runtime_status.is_final:
        reason = state.failure_details or "its workflow was terminated"
        return OrderResult(order.id, "failed", str(reason), order.total)
    return None


def process(client: WorkflowClient, orders: list[Order], parallel: int) -> tuple[list[OrderResult], int]:
    """Sees all orders to their end, some at a time; also returns how many an earlier run had finished."""
    waiting = deque(orders)
    in_flight: list[Order] = []
    results: list[OrderResult] = []
    finished_before = 0
    with progress(len(orders)) as show:
        while waiting or in_flight:
            while waiting and len(in_flight) < parallel:
                in_flight.append(waiting.popleft())
                finished_before += start_or_resume(client, in_flight[-1])
            counts: Counter[str] = Counter()
            for order in in_flight.copy():
                state = client.get_workflow_state(f"order-{order.id}")
                result = result_of(order, state)
                if result is not None:
                    results.append(result)
                    in_flight.remove(order)
                elif state is not None:
                    counts[(state.serialized_custom_status or "starting").split()[0]] += 1
            show(counts + Counter(result.outcome for result in results))
            time.sleep(0.02)
    return results, finished_before


@contextmanager
def progress(total: int) -> Generator[Callable[[Counter[str]], None], None, None]:
    """Shows counts as they change: in one place if there is a terminal and rich, else a line every second."""

    def text(counts: Counter[str]) -> str:
        return f"{total} orders: " + ", ".join(f"{count} {status}" for status, count in counts.items())

    if sys.stdout.isatty() and find_spec("rich"):
        from rich.live import Live

        with Live(refresh_per_second=10) as live:
            yield lambda counts: live.update(text(counts))
        return
    next_line = 0.0

    def print_line(counts: Counter[str]) -> None:
        nonlocal next_line
        if time.monotonic() >= next_line:
            print(text(counts), flush=True)
            next_line = time.monotonic() + 1

    yield print_line


def main(argv: Sequence[str] | None = None, engine: EmbeddedEngine | None = None) -> int:
    """Processes a file of orders; 0 when every order has come to an end, good or bad."""
    parser = argparse.ArgumentParser(description="Processes a file of orders, each by a durable workflow.")
    parser.add_argument("--orders", type=Path, default=Path(__file__).parent / "data" / "orders.json")
    parser.add_argument("--parallel", type=int, default=50, help="how many orders are in flight at a time")
    parser.add_argument("--json", action="store_true", help="print the results as JSON in the last line")
    options = parser.parse_args(argv or [])
    try:
        orders, malformed = read_orders(options.orders)
    except (OSError, msgspec.DecodeError) as error:
        parser.error(f"cannot read {options.orders}: {error}")
    for complaint in malformed:
        print(complaint)

    started = time.monotonic()
    try:
        with WorkflowRuntime(engine=engine), WorkflowClient(engine=engine) as client:
            results, finished_before = process(client, orders, max(1, options.parallel))
    except KeyboardInterrupt:
        print("\nInterrupted; the same command goes on from here.")
        return 130
    elapsed = time.monotonic() - started

    counts = Counter({"completed": 0, "compensated": 0, "rejected": 0, "timed_out": 0, "failed": 0})
    totals: dict[str, Decimal] = {}
    for result in results:
        counts[result.outcome] += 1
        totals[result.outcome] = totals.get(result.outcome, Decimal(0)) + result.total
    counts["malformed"] = len(malformed)
    print(f"\n{'outcome':<12} {'orders':>6} {'EUR':>12}")
    for outcome, count in counts.items():
        print(f"{outcome:<12} {count:>6} {totals.get(outcome, Decimal(0)):>12,.2f}")
    print(f"{counts.total()} entries in {elapsed:.1f} s")
    if finished_before:
        print(f"{finished_before} of them were finished by an earlier run; a new --db starts over.")
    if options.json:
        outcomes = {result.order_id: result.outcome for result in results}
        amounts = {outcome: f"{total:.2f}" for outcome, total in totals.items()}
        print(json.dumps({"counts": counts, "totals": amounts, "outcomes": outcomes}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
