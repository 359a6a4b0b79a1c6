"""The desk: starts the workflow of each order, is the approver, and waits for how it ends. It is not durable."""

import time
from collections import Counter, deque

import msgspec

from dapr_workflow_sdk import WorkflowAlreadyExistsError, WorkflowClient, WorkflowState, WorkflowStatus
from orders.model import APPROVAL_LIMIT, Order, OrderResult
from orders.report import progress


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
            client.schedule_new_workflow("process_order", input=order, instance_id=instance_id)
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
