"""Activities that many cases call."""

from __future__ import annotations

from typing import Any

from dapr_workflow_sdk import WorkflowActivityContext, activity


@activity
def reserve(ctx: WorkflowActivityContext, order: Any) -> str:
    return f"reservation-{ctx.task_id}"


@activity
def charge(ctx: WorkflowActivityContext, order: Any) -> str:
    return f"receipt-{ctx.task_id}"


@activity
def ship(ctx: WorkflowActivityContext, order: Any) -> str:
    return f"parcel-{ctx.task_id}"


@activity
def notify(ctx: WorkflowActivityContext, message: Any) -> None:
    """Tells somebody something."""


@activity
def refund(ctx: WorkflowActivityContext, receipt: Any) -> bool:
    return True


@activity
def check(ctx: WorkflowActivityContext, what: Any) -> str:
    return "in progress" if ctx.task_id < 4 else "done"


@activity
def price_of(ctx: WorkflowActivityContext, sku: Any) -> float:
    return 9.5 + len(str(sku))


@activity
def decline(ctx: WorkflowActivityContext, order: Any) -> str:
    raise ValueError(f"The card for {order!r} was declined.")
