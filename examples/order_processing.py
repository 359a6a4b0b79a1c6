"""Order processing: a file of orders, each taken from validation to shipment by a durable workflow.

Shows fan-out, retries, an approval that may never come, a child workflow, compensation, custom status, and a driver
that may be killed at any moment: run the same command again, and every order goes on. The steps are in `orders/`.

    dapr-workflow run examples/order_processing.py --db orders.db
    dapr-workflow run examples/order_processing.py --db orders.db -- --orders mine.json --parallel 100 --json
"""

import argparse
import sys
import time
from collections.abc import Callable, Generator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from dapr_workflow_sdk import (
    EmbeddedEngine,
    Task,
    TaskFailedError,
    WorkflowClient,
    WorkflowContext,
    WorkflowRuntime,
    when_all,
    workflow,
)
from orders.activities import (
    RETRIES,
    charge_payment,
    notify_customer,
    refund_payment,
    release_line,
    reserve_line,
    validate_order,
)
from orders.desk import process
from orders.model import APPROVAL_LIMIT, Order, OrderResult, RejectedError, read_orders
from orders.report import print_summary
from orders.shipment import shipment

APPROVAL_TIMEOUT = timedelta(seconds=3)
Undo = tuple[Callable[..., Any], Any]  # An activity, and its input.


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


def main(argv: Sequence[str] | None = None, engine: EmbeddedEngine | None = None) -> int:
    """Processes a file of orders; 0 when every order has come to an end, good or bad."""
    parser = argparse.ArgumentParser(description="Processes a file of orders, each by a durable workflow.")
    parser.add_argument("--orders", type=Path, default=Path(__file__).parent / "data" / "orders.json")
    parser.add_argument("--parallel", type=int, default=50, help="how many orders are in flight at a time")
    parser.add_argument("--json", action="store_true", help="print the results as JSON in the last line")
    options = parser.parse_args(argv or [])
    try:
        orders, malformed = read_orders(options.orders)
    except (OSError, ValueError) as error:
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
    print_summary(results, len(malformed), finished_before, time.monotonic() - started, as_json=options.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
