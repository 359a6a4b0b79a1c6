"""Child workflows: a large job made of smaller ones.

Each child has an id and a history of its own, and may fail without taking its parent with it.

    dapr-workflow run examples/child_workflows.py
"""

import uuid
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from dapr_workflow_sdk import (
    EmbeddedEngine,
    Task,
    TaskFailedError,
    WorkflowActivityContext,
    WorkflowClient,
    WorkflowContext,
    WorkflowRuntime,
    activity,
    when_all,
    workflow,
)


@dataclass
class Count:
    """What the inventory of one warehouse found."""

    warehouse: str
    pieces: int


@workflow
def count_company(ctx: WorkflowContext, warehouses: list[str]) -> Generator[Task, Any, str]:
    """Counts all warehouses at the same time; one that cannot be counted does not spoil the others."""
    children = [
        ctx.call_child_workflow(count_warehouse, input=name, instance_id=f"{ctx.instance_id}-{name}")
        for name in warehouses
    ]
    try:
        yield when_all(children)
    except TaskFailedError as error:
        ctx.set_custom_status(f"incomplete: {error.details.message}")
    counts = [child.get_result() for child in children if not child.is_failed]
    counted = " and ".join(count.warehouse for count in counts)
    return f"{sum(count.pieces for count in counts)} pieces in {counted}"


@workflow
def count_warehouse(ctx: WorkflowContext, name: str) -> Generator[Task, Any, Count]:
    """Counts one warehouse, shelf by shelf."""
    shelves = yield from ctx.call_activity(find_shelves, input=name)
    pieces = yield from when_all([ctx.call_activity(count_shelf, input=shelf) for shelf in shelves])
    return Count(name, sum(pieces))


@activity
def find_shelves(ctx: WorkflowActivityContext, warehouse: str) -> list[str]:
    """The shelves of a warehouse."""
    if warehouse == "atlantis":
        raise LookupError(f"there is no warehouse {warehouse}")
    return [f"{warehouse}/{row}{number}" for row in "ab" for number in range(1, len(warehouse))]


@activity
def count_shelf(ctx: WorkflowActivityContext, shelf: str) -> int:
    """How many pieces lie on a shelf."""
    return len(shelf) * 10


def main(engine: EmbeddedEngine | None = None) -> None:
    """Takes two inventories, the second with a warehouse that does not exist."""
    with WorkflowRuntime(engine=engine), WorkflowClient(engine=engine) as client:
        for warehouses in (["hamburg", "genoa"], ["hamburg", "atlantis"]):
            instance_id = client.schedule_new_workflow(
                count_company, input=warehouses, instance_id=f"inventory-{uuid.uuid4().hex}"
            )
            state = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=30)
            assert state is not None
            print(f"{' and '.join(warehouses)}: {state.serialized_output}")
            for name in warehouses:
                child = client.get_workflow_state(f"{instance_id}-{name}")
                assert child is not None
                print(f"  child {name}: {child.runtime_status.name} {child.failure_details or ''}")


if __name__ == "__main__":
    main()
